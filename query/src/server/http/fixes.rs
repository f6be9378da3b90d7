//! `POST /v1/fixes` and `GET /v1/fixes`.

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use futures::FutureExt;
use serde_json::json;

use super::parameters::Query;
use super::problem::Problem;
use super::{App, INTERFACE, body};
use crate::access::{Caller, Scope, Visit};
use crate::fixes::{self, NewFix, record};
use crate::session::Session;

/// Records what was done about an incident.
pub(super) async fn fixes(
    State(app): State<App>,
    caller: Caller,
    request: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let fix: NewFix = body(request)?;
    let mut visit = app.gate().visit(&caller, INTERFACE, "fix", &fix.fingerprint);
    let fix_id = record_masked(&app, &caller, &mut visit, fix).await?;
    Ok(super::json(visit, StatusCode::CREATED, 1, &json!({"fix_id": fix_id})))
}

/// Records a fix and gives its id. What a client wrote is masked like telemetry: it may quote some.
pub(in crate::server) async fn record_masked(
    app: &App,
    caller: &Caller,
    visit: &mut Visit,
    fix: NewFix,
) -> Result<String, Problem> {
    let fix = fix.masked(|text| app.gate().masked(text));
    let author = caller.principal.clone();
    let work = move |session: Session| async move { record(&session, &author, fix).await };
    app.ask(caller, Scope::Write, visit, work).await
}

/// What was done before, newest first, with whether the incident came back; all, or of one fingerprint.
pub(super) async fn list(State(app): State<App>, caller: Caller, uri: Uri) -> Result<Response, Problem> {
    let mut query = Query::of(&uri);
    let fingerprint = query.text("fingerprint");
    query.end()?;
    let mut visit = app.gate().visit(&caller, INTERFACE, "fixes", fingerprint.as_deref().unwrap_or_default());
    let work = move |session: Session| async move { fixes::list(&session, fingerprint.as_deref()).boxed().await };
    let found = app.ask(&caller, Scope::Read, &mut visit, work).await?;
    Ok(super::json(visit, StatusCode::OK, found.len(), &json!({"fixes": found})))
}

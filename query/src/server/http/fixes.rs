//! `POST /v1/fixes` and `GET /v1/fixes`.

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use futures::FutureExt;
use serde_json::json;

use super::parameters::Query;
use super::{INTERFACE, body};
use crate::access::{Caller, Scope};
use crate::fixes::{self, NewFix};
use crate::server::app::App;
use crate::server::fixes::record_masked;
use crate::server::problem::Problem;
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

//! `POST /v1/fixes`.

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::problem::Problem;
use super::{App, INTERFACE, body};
use crate::access::{Caller, Scope, Visit};
use crate::fixes::{NewFix, record};
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
    mut fix: NewFix,
) -> Result<String, Problem> {
    let gate = app.gate();
    fix.summary = gate.masked(&fix.summary);
    fix.patch_url = fix.patch_url.map(|url| gate.masked(&url));
    fix.test_name = fix.test_name.map(|name| gate.masked(&name));
    let author = caller.principal.clone();
    let work = move |session: Session| async move { record(&session, &author, fix).await };
    app.ask(caller, Scope::Write, visit, work).await
}

//! `POST /v1/fixes`.

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::problem::Problem;
use super::{App, INTERFACE, body};
use crate::access::{Caller, Scope};
use crate::fixes::{NewFix, record};
use crate::session::Session;

/// Records what was done about an incident. What a client wrote is masked like telemetry: it may quote some.
pub(super) async fn fixes(
    State(app): State<App>,
    caller: Caller,
    request: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let mut fix: NewFix = body(request)?;
    let gate = app.gate();
    fix.summary = gate.masked(&fix.summary);
    fix.patch_url = fix.patch_url.map(|url| gate.masked(&url));
    fix.test_name = fix.test_name.map(|name| gate.masked(&name));
    let mut visit = gate.visit(&caller, INTERFACE, "fix", &fix.fingerprint);
    let author = caller.principal.clone();
    let work = move |session: Session| async move { record(&session, &author, fix).await };
    let fix_id = app.ask(&caller, Scope::Write, &mut visit, work).await?;
    Ok(super::json(visit, StatusCode::CREATED, 1, &json!({"fix_id": fix_id})))
}

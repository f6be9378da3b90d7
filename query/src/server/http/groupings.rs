//! `POST /v1/groupings`.

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::{INTERFACE, body};
use crate::access::{Caller, Scope};
use crate::grouping::{NewGrouping, group};
use crate::server::app::{App, noted};
use crate::server::problem::Problem;
use crate::session::Session;

/// Lets an incident count for another one, or for itself again. What a client wrote is masked like telemetry.
pub(super) async fn groupings(
    State(app): State<App>,
    caller: Caller,
    request: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let grouping: NewGrouping = body(request)?;
    let mut visit = app.gate().visit(&caller, INTERFACE, "group", grouping.fingerprint());
    // To mask takes time, which who may not write gets none of.
    noted(&mut visit, caller.require(Scope::Write).map_err(Problem::from))?;
    noted(&mut visit, grouping.check().map_err(Problem::from))?;
    let grouping = grouping.masked(|text| app.gate().masked(text));
    let author = caller.principal.clone();
    let work = move |session: Session| async move { group(&session, &author, &grouping).await };
    let fingerprint = app.ask(&caller, Scope::Write, &mut visit, work).await?;
    Ok(super::json(visit, StatusCode::CREATED, 1, &json!({"fingerprint": fingerprint})))
}

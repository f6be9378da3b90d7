//! `GET /api/traces/{id}`.

use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use super::envelope::{Failure, data};
use super::{INTERFACE, model};
use crate::access::Caller;
use crate::encode::Encoding;
use crate::server::app::App;
use crate::server::http::Id;
use crate::server::problem::Problem;
use crate::server::traces::whole;

/// One trace. Times that narrow where Jaeger looks for it are not needed here.
pub(super) async fn trace(
    State(app): State<App>,
    caller: Result<Caller, Problem>,
    id: Result<Id, Problem>,
) -> Result<Response, Failure> {
    let (caller, Id(id)) = (caller?, id?);
    let visit = app.gate().visit(&caller, INTERFACE, "trace", &id);
    let told = |id: &str, spans: Vec<_>| Ok(data(json!([model::trace(id, &spans)])).to_string().into_bytes());
    Ok(whole(&app, &caller, visit, id, Encoding::Json.media_type(), told).await?)
}

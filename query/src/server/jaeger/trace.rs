//! `GET /api/traces/{id}`.

use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use super::envelope::{Failure, data};
use super::{INTERFACE, model};
use crate::access::{Caller, Scope};
use crate::encode::Encoding;
use crate::server::app::App;
use crate::server::http::Id;
use crate::server::problem::Problem;
use crate::server::traces::{answer, count, read_one, trace_id, written};
use crate::session::Session;

/// One trace. Times that narrow where Jaeger looks for it are not needed here.
pub(super) async fn trace(
    State(app): State<App>,
    caller: Result<Caller, Problem>,
    id: Result<Id, Problem>,
) -> Result<Response, Failure> {
    let (caller, Id(id)) = (caller?, id?);
    let mut visit = app.gate().visit(&caller, INTERFACE, "trace", &id);
    let work = move |session: Session| async move {
        let (id, spans) = read_one(&session, trace_id(&id)?).await?;
        let count = count(&spans);
        let told = written(move || Ok(data(json!([model::trace(&id, &spans)])).to_string().into_bytes()));
        Ok((count, told.await?))
    };
    let (count, told) = app.ask(&caller, Scope::Read, &mut visit, work).await?;
    Ok(answer(&app, visit, Encoding::Json.media_type(), count, told)?)
}

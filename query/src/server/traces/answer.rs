//! A whole answer, within the limit of bytes.

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::DataFusionError;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use serde_json::Value;

use super::read::{count, read_one};
use super::trace_id;
use crate::access::{Caller, Scope, Visit};
use crate::encode::Encoding;
use crate::error::Result as QueryResult;
use crate::server::app::{App, noted};
use crate::server::meter::Meter;
use crate::server::problem::Problem;
use crate::session::Session;

/// Sends bytes that hold so many rows; the visit ends well.
pub(in crate::server) fn answer(
    app: &App,
    mut visit: Visit,
    media_type: &'static str,
    rows: usize,
    bytes: Vec<u8>,
) -> Result<Response, Problem> {
    let metered = Meter::new(app.gate().limits()).bytes(bytes.len());
    noted(&mut visit, metered.map_err(Problem::from))?;
    visit.gave(rows, bytes.len());
    visit.end("ok");
    Ok(([(header::CONTENT_TYPE, media_type)], Body::from(bytes)).into_response())
}

/// Writes whole spans on a thread that may be kept busy: of many that takes long. It belongs to the work that a caller has
/// a turn and a time for.
///
/// # Errors
/// When they cannot be written.
pub(in crate::server) async fn written(
    write: impl FnOnce() -> QueryResult<Vec<u8>> + Send + 'static,
) -> QueryResult<Vec<u8>> {
    match SpawnedTask::spawn_blocking(write).join_unwind().await {
        Ok(written) => written,
        Err(error) => Err(DataFusionError::ExecutionJoin(Box::new(error)).into()),
    }
}

/// Answers with one whole trace, which `write` makes bytes of.
///
/// # Errors
/// When there is no such trace, or the caller may not have it.
pub(in crate::server) async fn whole(
    app: &App,
    caller: &Caller,
    mut visit: Visit,
    id: String,
    media_type: &'static str,
    write: impl FnOnce(&str, Vec<ResourceSpans>) -> QueryResult<Vec<u8>> + Send + 'static,
) -> Result<Response, Problem> {
    let work = move |session: Session| async move {
        let (id, spans) = read_one(&session, trace_id(&id)?).await?;
        let count = count(&spans);
        Ok((count, written(move || write(&id, spans)).await?))
    };
    let (count, told) = app.ask(caller, Scope::Read, &mut visit, work).await?;
    answer(app, visit, media_type, count, told)
}

/// Sends JSON as [`answer`] sends bytes.
pub(in crate::server) fn json_answer(app: &App, visit: Visit, rows: usize, body: &Value) -> Result<Response, Problem> {
    answer(app, visit, Encoding::Json.media_type(), rows, body.to_string().into_bytes())
}

//! A whole answer, within the limit of bytes.

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::access::Visit;
use crate::encode::Encoding;
use crate::server::app::{App, noted};
use crate::server::meter::Meter;
use crate::server::problem::Problem;

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

/// The same of JSON.
pub(in crate::server) fn json_answer(app: &App, visit: Visit, rows: usize, body: &Value) -> Result<Response, Problem> {
    answer(app, visit, Encoding::Json.media_type(), rows, body.to_string().into_bytes())
}

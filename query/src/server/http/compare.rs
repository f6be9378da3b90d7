//! `POST /v1/compare`.

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::Response;
use futures::FutureExt;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{INTERFACE, body};
use crate::access::{Caller, Scope};
use crate::compare::{Request, Subject};
use crate::server::app::App;
use crate::server::problem::Problem;

/// What is asked for.
#[derive(Deserialize)]
pub(in crate::server) struct Ask {
    trace_id: Option<String>,
    fingerprint: Option<String>,
    /// Which traces; as the options of `compare_to_baseline` in SQL.
    #[serde(flatten)]
    options: Map<String, Value>,
}

impl Ask {
    /// The request for it.
    pub(in crate::server) fn request(self) -> Result<Request, Problem> {
        let subject = match (self.trace_id, self.fingerprint) {
            (Some(trace_id), None) => Subject::Trace(trace_id),
            (None, Some(fingerprint)) => Subject::Fingerprint(fingerprint),
            _ => return Err(Problem::wrong_request("give either trace_id or fingerprint".to_owned())),
        };
        Ok(Request::new(subject).narrowed(&Value::Object(self.options).to_string())?)
    }
}

/// What differs between failing traces and comparable good ones.
pub(super) async fn compare(
    State(app): State<App>,
    caller: Caller,
    request: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let ask: Ask = body(request)?;
    let asked = ask.trace_id.clone().or(ask.fingerprint.clone()).unwrap_or_default();
    let request = ask.request()?;
    let mut visit = app.gate().visit(&caller, INTERFACE, "compare", &asked);
    let work = move |session: crate::Session| async move { session.compare(&request).boxed().await };
    let report = app.ask(&caller, Scope::Read, &mut visit, work).await?;
    Ok(super::json(visit, StatusCode::OK, report.differences.len(), &report.json()))
}

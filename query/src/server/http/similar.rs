//! `POST /v1/similar`.

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::Response;
use futures::FutureExt;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::parameters::whole_number;
use super::{INTERFACE, body};
use crate::access::{Caller, Scope};
use crate::functions::similar::narrowed;
use crate::search::{SimilarIncident, SimilarRequest};
use crate::server::app::App;
use crate::server::problem::Problem;

/// Incidents in an answer where the request names no number.
const DEFAULT_K: usize = 10;
/// Incidents in an answer at most.
const MOST: usize = 1_000;

/// What is asked for.
#[derive(Deserialize)]
pub(in crate::server) struct Ask {
    text: Option<String>,
    trace_id: Option<String>,
    #[serde(default, deserialize_with = "whole_number")]
    k: Option<usize>,
    /// Which incidents; as the options of `similar_incidents` in SQL.
    #[serde(flatten)]
    options: Map<String, Value>,
}

impl Ask {
    /// The request for it.
    pub(in crate::server) fn request(self) -> Result<SimilarRequest, Problem> {
        if self.text.is_some() == self.trace_id.is_some() {
            return Err(Problem::wrong_request("give either text or trace_id".to_owned()));
        }
        let k = self.k.unwrap_or(DEFAULT_K);
        if !(1..=MOST).contains(&k) {
            return Err(Problem::wrong_request(format!("k is from 1 to {MOST}")));
        }
        let request = SimilarRequest { text: self.text, trace_id: self.trace_id, k, ..SimilarRequest::default() };
        Ok(narrowed(request, &Value::Object(self.options).to_string())?)
    }
}

/// Incidents like a text or a trace, most alike first.
pub(super) async fn similar(
    State(app): State<App>,
    caller: Caller,
    request: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let ask: Ask = body(request)?;
    let asked = ask.text.clone().or(ask.trace_id.clone()).unwrap_or_default();
    let request = ask.request()?;
    let mut visit = app.gate().visit(&caller, INTERFACE, "similar", &asked);
    let work = move |session: crate::Session| async move { session.similar(&request).boxed().await };
    let found = app.ask(&caller, Scope::Similar, &mut visit, work).await?;
    let incidents: Vec<Value> = found.iter().map(SimilarIncident::json).collect();
    Ok(super::json(visit, StatusCode::OK, incidents.len(), &json!({"incidents": incidents})))
}

//! `GET /api/traces/{id}` and `GET /api/v2/traces/{id}`: one trace, as protobuf or as JSON.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, TracesData};
use prost::Message;
use serde_json::{Value, json};

use super::failure::Failure;
use super::{INTERFACE, Times, proto_json};
use crate::access::Caller;
use crate::encode::Encoding;
use crate::server::app::App;
use crate::server::http::{Id, Query, preferred};
use crate::server::problem::Problem;
use crate::server::traces::whole;

/// The media type of protobuf.
const PROTOBUF: &str = "application/protobuf";

/// `TraceByIDResponse` of `tempo.proto`. Its trace has the fields of OTLP's `TracesData`; status and message stay away
/// for traces that are whole, and so do metrics of Tempo's own storage.
#[derive(Clone, PartialEq, Message)]
struct TraceById {
    #[prost(message, optional, tag = "1")]
    trace: Option<TracesData>,
    #[prost(message, optional, tag = "2")]
    metrics: Option<Metrics>,
}

/// `TraceByIDMetrics`, of which nothing is told.
#[derive(Clone, PartialEq, Message)]
struct Metrics {}

/// Which of both paths was asked.
#[derive(Clone, Copy)]
enum Version {
    First,
    Second,
}

/// The trace itself.
pub(super) async fn first(
    State(app): State<App>,
    caller: Result<Caller, Problem>,
    id: Result<Id, Problem>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    Ok(trace(&app, &caller?, id?, &uri, &headers, Version::First).await?)
}

/// The trace inside a message that may say more.
pub(super) async fn second(
    State(app): State<App>,
    caller: Result<Caller, Problem>,
    id: Result<Id, Problem>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    Ok(trace(&app, &caller?, id?, &uri, &headers, Version::Second).await?)
}

async fn trace(
    app: &App,
    caller: &Caller,
    Id(id): Id,
    uri: &Uri,
    headers: &HeaderMap,
    version: Version,
) -> Result<Response, Problem> {
    // A trace is found by its id; the times that narrow Tempo's search are read, so that wrong ones are told.
    Times::of(&mut Query::of(uri))?;
    let visit = app.gate().visit(caller, INTERFACE, "trace", &id);
    let is_protobuf = preferred(headers, &[(false, "application/json"), (true, PROTOBUF)]).unwrap_or(false);
    let write = move |_: &str, spans: Vec<ResourceSpans>| match is_protobuf {
        true => Ok(protobuf(spans, version)),
        false => Ok(told(proto_json::resource_spans(&spans)?, version).to_string().into_bytes()),
    };
    let media_type = if is_protobuf { PROTOBUF } else { Encoding::Json.media_type() };
    whole(app, caller, visit, id, media_type, write).await
}

fn protobuf(resource_spans: Vec<ResourceSpans>, version: Version) -> Vec<u8> {
    let trace = TracesData { resource_spans };
    match version {
        Version::First => trace.encode_to_vec(),
        Version::Second => TraceById { trace: Some(trace), metrics: Some(Metrics {}) }.encode_to_vec(),
    }
}

/// The first version calls them `batches`, as protobuf once did.
fn told(resource_spans: Value, version: Version) -> Value {
    match version {
        Version::First => json!({"batches": resource_spans}),
        Version::Second => json!({"trace": {"resourceSpans": resource_spans}, "metrics": {}}),
    }
}

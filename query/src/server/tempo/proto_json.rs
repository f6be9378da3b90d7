//! Spans in the JSON that Tempo writes: protobuf's own, with ids in base64 and enumerations by name, where OTLP/JSON has
//! hex and numbers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use serde_json::{Value, json};

use crate::error::Result;

/// The spans of a trace.
///
/// # Errors
/// When one cannot be written as JSON.
pub(super) fn resource_spans(spans: &[ResourceSpans]) -> Result<Value> {
    let mut told = serde_json::to_value(spans)?;
    for (written, resource) in members(&mut told).zip(spans) {
        for (written, scope) in members(&mut written["scopeSpans"]).zip(&resource.scope_spans) {
            for (written, span) in members(&mut written["spans"]).zip(&scope.spans) {
                as_protobuf_has_it(written, span);
            }
        }
    }
    Ok(told)
}

fn members(list: &mut Value) -> impl Iterator<Item = &mut Value> {
    list.as_array_mut().into_iter().flatten()
}

fn as_protobuf_has_it(written: &mut Value, span: &Span) {
    let base64 = |id: &[u8]| json!(STANDARD.encode(id));
    written["traceId"] = base64(&span.trace_id);
    written["spanId"] = base64(&span.span_id);
    if let Some(members) = written.as_object_mut() {
        match span.parent_span_id.is_empty() {
            true => members.remove("parentSpanId"),
            false => members.insert("parentSpanId".to_owned(), base64(&span.parent_span_id)),
        };
    }
    written["kind"] = json!(SpanKind::try_from(span.kind).unwrap_or(SpanKind::Unspecified).as_str_name());
    if let Some(status) = &span.status {
        let code = StatusCode::try_from(status.code).unwrap_or(StatusCode::Unset);
        written["status"] = json!({"code": code.as_str_name(), "message": status.message});
    }
    for (written, link) in members(&mut written["links"]).zip(&span.links) {
        written["traceId"] = base64(&link.trace_id);
        written["spanId"] = base64(&link.span_id);
    }
}

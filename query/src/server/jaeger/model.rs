//! A trace in Jaeger's JSON (`model/json`): its spans, and the processes that they are of.
//!
//! Attributes become tags, events logs, and parents and links references, as in the translation that OpenTelemetry's
//! specification gives for Jaeger.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use serde_json::{Map, Value, json};
use tracerag_schemas::bundle::{json_double, json_integer};
use tracerag_schemas::values::{SPAN_KINDS, STATUS_CODES};

/// The name of a service whose resource has none, as in Jaeger.
const NO_SERVICE: &str = "unknown-service";
const SERVICE_NAME: &str = "service.name";
/// Nanoseconds of a microsecond, in which Jaeger has times.
const MICRO: u64 = 1_000;

/// A trace by its id.
pub(super) fn trace(trace_id: &str, resource_spans: &[ResourceSpans]) -> Value {
    let mut processes = Map::new();
    let mut known: HashMap<String, String> = HashMap::new();
    let mut spans = Vec::new();
    for resource in resource_spans {
        let process = process(resource.resource.as_ref());
        let id = known.entry(process.to_string()).or_insert_with(|| {
            let id = format!("p{}", processes.len() + 1);
            processes.insert(id.clone(), process);
            id
        });
        for scope in &resource.scope_spans {
            spans.extend(scope.spans.iter().map(|one| span(trace_id, id, scope.scope.as_ref(), one)));
        }
    }
    json!({"traceID": trace_id, "spans": spans, "processes": processes, "warnings": null})
}

fn process(resource: Option<&Resource>) -> Value {
    let attributes = resource.map(|resource| resource.attributes.as_slice()).unwrap_or_default();
    let (names, others): (Vec<_>, Vec<_>) = attributes.iter().partition(|attribute| attribute.key == SERVICE_NAME);
    let name = names.first().and_then(|name| match name.value.as_ref()?.value.as_ref()? {
        Any::StringValue(name) => Some(name.as_str()),
        _ => None,
    });
    let tags: Vec<Value> = others.into_iter().map(attribute).collect();
    json!({"serviceName": name.unwrap_or(NO_SERVICE), "tags": tags})
}

fn span(trace_id: &str, process: &str, scope: Option<&InstrumentationScope>, span: &Span) -> Value {
    let parent =
        (!span.parent_span_id.is_empty()).then(|| reference("CHILD_OF", trace_id, &hex::encode(&span.parent_span_id)));
    let references: Vec<Value> = parent.into_iter().chain(span.links.iter().map(link)).collect();
    json!({
        "traceID": trace_id,
        "spanID": hex::encode(&span.span_id),
        "flags": span.flags & 0xff,
        "operationName": span.name,
        "references": references,
        "startTime": span.start_time_unix_nano / MICRO,
        "duration": span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano) / MICRO,
        "tags": tags(scope, span),
        "logs": span.events.iter().map(log).collect::<Vec<_>>(),
        "processID": process,
        "warnings": null,
    })
}

fn reference(kind: &str, trace_id: &str, span_id: &str) -> Value {
    json!({"refType": kind, "traceID": trace_id, "spanID": span_id})
}

fn link(link: &Link) -> Value {
    reference("FOLLOWS_FROM", &hex::encode(&link.trace_id), &hex::encode(&link.span_id))
}

/// The attributes, and what Jaeger has no field for.
fn tags(scope: Option<&InstrumentationScope>, span: &Span) -> Vec<Value> {
    let mut tags: Vec<Value> = span.attributes.iter().map(attribute).collect();
    let mut word = |key: &str, value: &str| {
        if !value.is_empty() {
            tags.push(tag(key, "string", json!(value)));
        }
    };
    if let Some(scope) = scope {
        word("otel.scope.name", &scope.name);
        word("otel.scope.version", &scope.version);
    }
    if span.kind != 0 {
        word("span.kind", &named(&SPAN_KINDS, span.kind).to_ascii_lowercase());
    }
    word("w3c.tracestate", &span.trace_state);
    if let Some(status) = span.status.as_ref().filter(|status| status.code != 0) {
        word("otel.status_code", named(&STATUS_CODES, status.code));
        word("otel.status_description", &status.message);
        if named(&STATUS_CODES, status.code) == "ERROR" {
            tags.push(tag("error", "bool", json!(true)));
        }
    }
    tags
}

fn named(names: &[&'static str], number: i32) -> &'static str {
    usize::try_from(number).ok().and_then(|number| names.get(number)).copied().unwrap_or_default()
}

fn log(event: &Event) -> Value {
    let name = (!event.name.is_empty()).then(|| tag("event", "string", json!(event.name)));
    let fields: Vec<Value> = name.into_iter().chain(event.attributes.iter().map(attribute)).collect();
    json!({"timestamp": event.time_unix_nano / MICRO, "fields": fields})
}

fn tag(key: &str, kind: &str, value: Value) -> Value {
    json!({"key": key, "type": kind, "value": value})
}

fn attribute(attribute: &KeyValue) -> Value {
    let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
    let (kind, value) = match value {
        None | Some(Any::StringValueStrindex(_)) => ("string", json!("")),
        Some(Any::StringValue(text)) => ("string", json!(text)),
        Some(Any::BoolValue(truth)) => ("bool", json!(truth)),
        // Whole numbers that JavaScript cannot hold are texts, as Jaeger has them.
        Some(Any::IntValue(number)) => ("int64", json_integer(*number)),
        Some(Any::DoubleValue(number)) => ("float64", json_double(*number)),
        Some(Any::BytesValue(bytes)) => ("binary", json!(STANDARD.encode(bytes))),
        Some(nested @ (Any::ArrayValue(_) | Any::KvlistValue(_))) => ("string", json!(plain(Some(nested)).to_string())),
    };
    tag(&attribute.key, kind, value)
}

/// A nested value as plain JSON.
fn plain(value: Option<&Any>) -> Value {
    let inner = |value: &Option<AnyValue>| plain(value.as_ref().and_then(|value| value.value.as_ref()));
    match value {
        None | Some(Any::StringValueStrindex(_)) => Value::Null,
        Some(Any::StringValue(text)) => json!(text),
        Some(Any::BoolValue(truth)) => json!(truth),
        Some(Any::IntValue(number)) => json_integer(*number),
        Some(Any::DoubleValue(number)) => json_double(*number),
        Some(Any::BytesValue(bytes)) => json!(STANDARD.encode(bytes)),
        Some(Any::ArrayValue(array)) => array.values.iter().map(|value| plain(value.value.as_ref())).collect(),
        Some(Any::KvlistValue(list)) => {
            Value::Object(list.values.iter().map(|pair| (pair.key.clone(), inner(&pair.value))).collect())
        }
    }
}

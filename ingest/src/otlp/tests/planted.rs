//! Telemetry with a text of the caller's in each place that takes one, and every text that is stored of it.

use arrow::datatypes::{DataType, Float64Type, Int64Type};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{ArrayValue, EntityRef, InstrumentationScope};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, exemplar, metric, number_data_point,
};
use opentelemetry_proto::tonic::trace::v1::Status;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::json;
use tracerag_schemas::SourcePartition;

use super::redaction::{any, list};
use super::*;
use crate::changes::{DeploymentDecoder, FlagDecoder, HeapDecoder, Origin};

/// Records of every kind, as they come from their topics.
pub(super) struct Telemetry {
    spans: ExportTraceServiceRequest,
    logs: ExportLogsServiceRequest,
    metrics: ExportMetricsServiceRequest,
    /// Of the Kafka record that the spans come in.
    header: String,
    flags: Vec<String>,
    deployment: String,
    heap: String,
}

/// Old names of attributes that the rename map has, of each kind of rename whose value is a text of any content.
const OLD_NAMES: [&str; 9] = [
    "http.url",
    "http.target",
    "http.host",
    "http.user_agent",
    "db.name",
    "peer.service",
    "code.filepath",
    "feature_flag.evaluation.error.message",
    "k8s.pod.labels.note",
];

/// Telemetry with a text in each place; `text` is asked for it by the name of the place.
pub(super) fn telemetry(text: &mut dyn FnMut(&'static str) -> String) -> Telemetry {
    let flags = flags(text);
    let (deployment, heap) = (deployment(text), heap(text));
    Telemetry {
        spans: spans(text),
        logs: logs(text),
        metrics: metrics(text),
        header: text("header"),
        flags,
        deployment,
        heap,
    }
}

fn plain(place: &'static str, text: &mut dyn FnMut(&'static str) -> String) -> Value {
    string(&text(place))
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn in_json(text: &str) -> String {
    json!({"level": "warn", "msg": text, "n": 3}).to_string()
}

/// A scope with a text in each of its places, and the URL of its schema.
fn scope(text: &mut dyn FnMut(&'static str) -> String) -> (InstrumentationScope, String) {
    let scope = InstrumentationScope {
        name: text("scope name"),
        version: text("scope version"),
        attributes: vec![pair("note", plain("scope attribute", text))],
        ..InstrumentationScope::default()
    };
    (scope, text("schema url"))
}

fn spans(text: &mut dyn FnMut(&'static str) -> String) -> ExportTraceServiceRequest {
    let mut attributes = vec![
        pair("note", plain("attribute", text)),
        pair(&text("attribute name"), Value::IntValue(1)),
        pair("db.statement", string(&format!("INSERT INTO t VALUES (1, '{}')", text("old name of a statement")))),
        pair(
            "url.full",
            string(&format!("https://shop.example.com/search?q={}&page=2", encoded(&text("percent-encoded")))),
        ),
        pair("app.json", string(&in_json(&text("json")))),
        pair(
            "app.json_in_json",
            string(&json!({"body": json!({"detail": text("json in json")}).to_string(), "ok": false}).to_string()),
        ),
        pair(
            "app.list",
            Value::ArrayValue(ArrayValue { values: vec![any(plain("array", text)), any(Value::IntValue(1))] }),
        ),
        pair("app.map", list(vec![pair("deep", list(vec![pair("detail", plain("map", text))]))])),
        pair("app.names", list(vec![pair(&text("map name"), Value::BoolValue(true))])),
        pair("app.bytes", Value::BytesValue(text("bytes").into_bytes())),
        pair("http.request.header.content-type", string("application/json")),
        pair("http.request.body.content", string(&json!({"amount": 12, "note": text("payload")}).to_string())),
        pair("http.response.header.content-type", string("application/json")),
        pair("http.response.body.content", string(&json!({"n": 1, "note": text("response payload")}).to_string())),
    ];
    attributes.extend(OLD_NAMES.map(|name| pair(name, plain("old name", text))));
    let stack = text("stack");
    let event = Event {
        name: text("event name"),
        attributes: vec![
            pair("exception.message", string(&format!("charge failed: {}", text("exception message")))),
            pair(
                "exception.stacktrace",
                string(&format!(
                    "java.lang.IllegalStateException: {stack}\n\tat payments.Rounding.round(Rounding.java:117)"
                )),
            ),
        ],
        ..Event::default()
    };
    let link = Link {
        trace_id: vec![3; 16],
        span_id: vec![3; 8],
        trace_state: text("trace state of a link"),
        attributes: vec![pair("note", plain("link", text))],
        ..Link::default()
    };
    let span = Span {
        name: format!("GET {}", text("span name")),
        trace_state: text("trace state"),
        status: Some(Status { message: text("status message"), code: 2 }),
        events: vec![event],
        links: vec![link],
        ..span(attributes)
    };
    let entity = EntityRef {
        schema_url: text("entity schema"),
        r#type: text("entity type"),
        id_keys: vec![text("entity key")],
        ..EntityRef::default()
    };
    let resource = Resource {
        attributes: vec![pair("owner", plain("resource", text))],
        entity_refs: vec![entity],
        ..Resource::default()
    };
    let (scope, schema_url) = scope(text);
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans: vec![span], schema_url }];
    let schema_url = text("schema url of a resource");
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource: Some(resource), scope_spans, schema_url }],
    }
}

fn logs(text: &mut dyn FnMut(&'static str) -> String) -> ExportLogsServiceRequest {
    let log =
        |body, attributes| LogRecord { time_unix_nano: 1, body: Some(any(body)), attributes, ..LogRecord::default() };
    let form = format!("amount=12&note={}", encoded(&text("form payload")));
    let body = format!("WARN checkout {}, retrying in 5s", text("body"));
    let log_records = vec![
        LogRecord {
            severity_text: text("severity"),
            event_name: text("event name of a log"),
            ..log(string(&body), vec![pair("note", plain("log attribute", text))])
        },
        log(string(&in_json(&text("json body"))), Vec::new()),
        log(list(vec![pair("msg", plain("structured body", text))]), Vec::new()),
        log(list(vec![pair(&text("name in a structured body"), Value::IntValue(1))]), Vec::new()),
        log(
            string("a form"),
            vec![
                pair("http.request.header.content-type", string("application/x-www-form-urlencoded")),
                pair("http.request.body.content", string(&form)),
            ],
        ),
    ];
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] }
}

fn metrics(text: &mut dyn FnMut(&'static str) -> String) -> ExportMetricsServiceRequest {
    let exemplar = Exemplar {
        time_unix_nano: 1,
        filtered_attributes: vec![pair("note", plain("exemplar attribute", text))],
        value: Some(exemplar::Value::AsDouble(1.0)),
        ..Exemplar::default()
    };
    let point = NumberDataPoint {
        time_unix_nano: 1,
        value: Some(number_data_point::Value::AsDouble(1.0)),
        attributes: vec![pair("note", plain("metric attribute", text))],
        exemplars: vec![exemplar],
        ..NumberDataPoint::default()
    };
    let gauge = Metric {
        name: text("metric name"),
        description: text("metric description"),
        unit: text("metric unit"),
        metadata: vec![pair("note", plain("metric metadata", text))],
        data: Some(metric::Data::Gauge(Gauge { data_points: vec![point] })),
    };
    let scope_metrics = vec![ScopeMetrics { metrics: vec![gauge], ..ScopeMetrics::default() }];
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }],
    }
}

/// Changes of flags and of configuration. A name decides over its value, so names stand in records of their own.
fn flags(text: &mut dyn FnMut(&'static str) -> String) -> Vec<String> {
    let changes = [
        json!({"config.key": "payments.note", "config.value": text("config value")}),
        json!({"config.key": text("config key"), "config.digest": "sha256:ab"}),
        json!({
            "feature_flag.key": "payments.mode", "feature_flag.result.variant": text("flag variant"),
            "feature_flag.result.value": text("flag value"), "feature_flag.version": text("flag version"),
            "feature_flag.provider.name": text("flag provider"), "feature_flag.result.reason": text("flag reason"),
            "service.name": text("flag service"),
        }),
        json!({"feature_flag.key": text("flag key"), "feature_flag.result.variant": "on"}),
    ];
    changes.iter().map(ToString::to_string).collect()
}

fn deployment(text: &mut dyn FnMut(&'static str) -> String) -> String {
    let content = json!({"environment": {"id": text("environment")}, "artifactId": "pkg:oci/payments@1.9.0"});
    json!({
        "context": {"id": "d-1", "type": "dev.cdevents.service.deployed.0.3.0"},
        "subject": {"id": "payments", "content": content},
        "customData": {
            "service.version": text("build version"), "git_sha": text("build commit"),
            "lockfile_digests": {"Cargo.lock": text("lock file digest"), text("lock file"): "sha256:ab"},
            "schema_migrations": [text("migration")],
        },
    })
    .to_string()
}

fn heap(text: &mut dyn FnMut(&'static str) -> String) -> String {
    json!({
        "format": "summary", "service.name": text("heap service"), "git_sha": text("heap commit"),
        "top_types": [{"type": text("heap type"), "bytes": 3, "count": 1}],
        "top_sites": [{"function": text("heap site"), "file": "a.go", "line": 1, "bytes": 2, "count": 1}],
        "retained_paths": [["root", text("heap path")]],
    })
    .to_string()
}

/// Everything that is stored of telemetry, which comes in this encoding, text by text.
pub(super) fn stored(redactor: &Arc<Redactor>, telemetry: &Telemetry, encoding: Encoding) -> Vec<String> {
    let mut decoder = OtlpDecoder::new(DecoderConfig::new(Arc::clone(redactor)));
    let Telemetry { spans, logs, metrics, .. } = telemetry;
    let requests = match encoding {
        Encoding::Json => [
            (Signal::Spans, serde_json::to_vec(spans).unwrap()),
            (Signal::Logs, serde_json::to_vec(logs).unwrap()),
            (Signal::Metrics, serde_json::to_vec(metrics).unwrap()),
        ],
        _ => [
            (Signal::Spans, spans.encode_to_vec()),
            (Signal::Logs, logs.encode_to_vec()),
            (Signal::Metrics, metrics.encode_to_vec()),
        ],
    };
    let headers = [("x-note", Some(telemetry.header.as_bytes()))];
    for (signal, bytes) in &requests {
        decoder.decode(*signal, encoding, Message { headers: &headers, ..message(bytes) }).unwrap();
    }
    let batches = decoder.finish().unwrap();
    let source = SourcePartition::new("c", "t", 0);
    let origin = Origin { tenant: "acme", source: &source, offset: 7, timestamp: Some(99), ingested_at: 100 };
    let mut flags = FlagDecoder::new(Arc::clone(redactor));
    for change in &telemetry.flags {
        flags.decode(change.as_bytes(), &origin).unwrap();
    }
    let mut deployments = DeploymentDecoder::new(Arc::clone(redactor));
    deployments.decode(telemetry.deployment.as_bytes(), std::iter::empty(), &origin).unwrap();
    let mut heaps = HeapDecoder::new(Arc::clone(redactor));
    heaps.decode(telemetry.heap.as_bytes(), &origin).unwrap();
    let mut texts = Vec::new();
    for batch in [
        lake(Table::Spans, &batches.spans.unwrap()),
        lake(Table::Logs, &batches.logs.unwrap()),
        lake(Table::Metrics, &batches.metrics.unwrap()),
        batches.payloads.unwrap(),
        flags.finish().unwrap(),
        deployments.finish().unwrap(),
        heaps.finish().unwrap(),
    ] {
        batch.columns().iter().for_each(|column| gather(column, &mut texts));
    }
    texts.iter().flat_map(|text| opened(text)).collect()
}

/// All that can be read in a column, numbers too.
pub(super) fn gather(column: &dyn Array, texts: &mut Vec<String>) {
    match column.data_type() {
        DataType::Utf8 => texts.extend(column.as_string::<i32>().iter().flatten().map(str::to_owned)),
        DataType::Binary => {
            texts.extend(
                column.as_binary::<i32>().iter().flatten().map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
            );
        }
        DataType::Int64 => {
            texts.extend(column.as_primitive::<Int64Type>().iter().flatten().map(|number| number.to_string()));
        }
        DataType::Float64 => {
            texts.extend(column.as_primitive::<Float64Type>().iter().flatten().map(|number| number.to_string()));
        }
        DataType::Struct(_) => column.as_struct().columns().iter().for_each(|column| gather(column, texts)),
        DataType::List(_) => gather(column.as_list::<i32>().values(), texts),
        DataType::Map(_, _) => gather(column.as_map().entries(), texts),
        DataType::Dictionary(_, _) => gather(column.as_any_dictionary().values(), texts),
        other => assert!(
            other.is_primitive() || matches!(other, DataType::Boolean | DataType::FixedSizeBinary(_)),
            "columns of {other} are not searched"
        ),
    }
}

/// A text and what it hides: percent-encoded, and in strings of JSON within strings of JSON.
fn opened(text: &str) -> Vec<String> {
    let mut all = vec![text.to_owned()];
    for _ in 0..3 {
        let last = &all[all.len() - 1];
        let next = percent_decode_str(last).decode_utf8_lossy();
        let next = next.replace("\\\"", "\"").replace("\\/", "/").replace("\\u0040", "@").replace("\\\\", "\\");
        if next == *last {
            break;
        }
        all.push(next);
    }
    all
}

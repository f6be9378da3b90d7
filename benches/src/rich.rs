//! The `rich` load: spans of about 400 bytes with 8 attributes, 16 spans a trace, from 20 services of
//! 3 pods each; 1.5 % errors, 1 % with an exception and its stack.
//!
//! A message is what the Collector's batch processor hands to the exporter: many SDK requests, each one
//! resource, with spans in order of their end.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tracerag_schemas::ids::push_hex;

const SERVICES: [&str; 20] = [
    "cart",
    "catalog",
    "checkout",
    "currency",
    "email",
    "frontend",
    "geo",
    "inventory",
    "ledger",
    "login",
    "mail",
    "orders",
    "payment",
    "price",
    "profile",
    "quote",
    "rank",
    "search",
    "ship",
    "user",
];
const PODS: usize = 3;
const SPANS_PER_TRACE: usize = 16;
/// Spans that a message holds at least: the default of the Collector's batch processor is a trigger of 8192.
const SPANS_PER_MESSAGE: usize = 2_048;
const START: u64 = 1_767_225_600_000_000_000;
/// Nanoseconds between the starts of two traces.
const BETWEEN_TRACES: u64 = 8_000_000;

/// Encoded messages.
#[derive(Debug)]
pub struct Messages {
    /// `ExportTraceServiceRequest`s in `otlp_proto`.
    pub encoded: Vec<Vec<u8>>,
    /// Spans in them.
    pub spans: usize,
    /// Spans among them that are sent once: what a table holds in the end.
    pub distinct: usize,
    /// Bytes in them.
    pub bytes: usize,
}

/// At least `spans` spans, rounded up to whole traces; equal seeds give equal bytes.
pub fn messages(seed: u64, spans: usize) -> Messages {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut encoded = Vec::new();
    let mut made = 0;
    let mut clock = START;
    while made < spans {
        let mut traces = Vec::new();
        let mut in_message = 0;
        while in_message < SPANS_PER_MESSAGE && made + in_message < spans {
            clock += BETWEEN_TRACES;
            let size = SPANS_PER_TRACE.min(spans - made - in_message);
            traces.extend(trace(&mut rng, clock, size));
            in_message += size;
        }
        made += in_message;
        encoded.push(message(traces));
    }
    let bytes = encoded.iter().map(Vec::len).sum();
    Messages { encoded, spans: made, distinct: made, bytes }
}

/// One trace in one message, as the Collector's exporter writes it with `partition_traces_by_id`.
#[derive(Debug)]
pub struct Trace {
    /// The trace id in hex: the message's key.
    pub id: String,
    /// An `ExportTraceServiceRequest` in `otlp_proto`.
    pub encoded: Vec<u8>,
    /// Spans in it.
    pub spans: usize,
}

/// Traces without end; equal seeds give equal ones.
#[derive(Debug)]
pub struct Traces {
    rng: SmallRng,
    clock: u64,
    has_roots: bool,
}

impl Traces {
    /// Whole traces.
    pub fn new(seed: u64) -> Self {
        Self { rng: SmallRng::seed_from_u64(seed), clock: START, has_roots: true }
    }

    /// Traces whose root never comes, so that a window holds them as long as it can.
    pub fn without_roots(seed: u64) -> Self {
        Self { has_roots: false, ..Self::new(seed) }
    }

    /// The next one.
    pub fn draw(&mut self) -> Trace {
        self.clock += BETWEEN_TRACES;
        let mut spans = trace(&mut self.rng, self.clock, SPANS_PER_TRACE);
        if !self.has_roots {
            spans.retain(|(_, _, span)| !span.parent_span_id.is_empty());
        }
        let mut id = String::new();
        if let Some((_, _, span)) = spans.first() {
            push_hex(&span.trace_id, &mut id);
        }
        Trace { id, spans: spans.len(), encoded: message(spans) }
    }
}

/// A message: each pod's spans below one resource.
fn message(spans: Vec<(usize, usize, Span)>) -> Vec<u8> {
    let mut by_pod: BTreeMap<(usize, usize), Vec<Span>> = BTreeMap::new();
    for (service, pod, span) in spans {
        by_pod.entry((service, pod)).or_default().push(span);
    }
    let resource_spans = by_pod.into_iter().map(|((service, pod), spans)| request(service, pod, spans)).collect();
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

fn request(service: usize, pod: usize, mut spans: Vec<Span>) -> ResourceSpans {
    spans.sort_by_key(|span| span.end_time_unix_nano);
    let name = SERVICES[service];
    let hash = format!("{:010x}", (service * PODS + pod + 1) * 0x9e37_79b9);
    let attributes = vec![
        text("service.name", name),
        text("service.version", &format!("1.{}.{pod}", name.len())),
        text("service.namespace", "shop"),
        text("service.instance.id", &format!("{}-1234-4abc-8def-{hash}{pod:02}", &hash[..8])),
        text("k8s.pod.name", &format!("{name}-{}-x{pod}f7q", &hash[..9])),
        text("k8s.namespace.name", "shop"),
        text("deployment.environment.name", "production"),
        text("telemetry.sdk.language", "java"),
        text("telemetry.sdk.version", "1.49.0"),
    ];
    ResourceSpans {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_spans: vec![ScopeSpans {
            scope: Some(InstrumentationScope {
                name: String::from("io.opentelemetry.spring-webmvc-6.0"),
                version: String::from("2.15.0-alpha"),
                ..InstrumentationScope::default()
            }),
            spans,
            ..ScopeSpans::default()
        }],
        schema_url: String::from("https://opentelemetry.io/schemas/1.34.0"),
    }
}

fn trace(rng: &mut SmallRng, start: u64, size: usize) -> Vec<(usize, usize, Span)> {
    let trace_id: [u8; 16] = rng.random();
    let mut spans: Vec<(usize, usize, Span)> = Vec::with_capacity(size);
    for index in 0..size {
        let parent = (index > 0).then(|| rng.random_range(index.saturating_sub(8)..index));
        let (service, pod) = match parent {
            None => (5, rng.random_range(0..PODS)),
            Some(parent) if rng.random_bool(0.45) => (spans[parent].0, spans[parent].1),
            Some(_) => (rng.random_range(0..SERVICES.len()), rng.random_range(0..PODS)),
        };
        let begin =
            parent.map_or(start, |parent| spans[parent].2.start_time_unix_nano + rng.random_range(100_000..2_000_000));
        let end = begin + rng.random_range(500_000..9_000_000);
        let mut span = Span {
            trace_id: trace_id.to_vec(),
            span_id: rng.random::<[u8; 8]>().to_vec(),
            parent_span_id: parent.map_or_else(Vec::new, |parent| spans[parent].2.span_id.clone()),
            flags: 0x101,
            start_time_unix_nano: begin,
            end_time_unix_nano: end,
            ..Span::default()
        };
        let failed = rng.random_bool(0.015);
        describe(rng, &mut span, SERVICES[service], index == 0, failed);
        if failed {
            span.status = Some(Status { code: 2, message: String::from("upstream failure") });
        }
        if failed && rng.random_bool(0.66) {
            span.events.push(exception(rng, SERVICES[service], end));
        }
        spans.push((service, pod, span));
    }
    spans
}

fn describe(rng: &mut SmallRng, span: &mut Span, service: &str, root: bool, failed: bool) {
    let kind: f64 = rng.random();
    if root || kind < 0.45 {
        let client = !root && kind < 0.22;
        let method = if rng.random_bool(0.7) { "GET" } else { "POST" };
        let route = format!("/api/v1/{service}/{{id}}");
        span.kind = if client { 3 } else { 2 };
        span.name = if client { method.to_owned() } else { format!("{method} {route}") };
        span.attributes = vec![
            text("http.request.method", method),
            int("http.response.status_code", if failed { 500 } else { 200 }),
            text("url.scheme", "http"),
            text("server.address", &format!("{service}.shop.svc.cluster.local")),
            int("server.port", 8080),
            text("network.protocol.version", "1.1"),
            text("url.path", &format!("/api/v1/{service}/{}", rng.random_range(0..1_000_000))),
            text("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64) shop-web/4.2"),
        ];
    } else if kind < 0.75 {
        let full = format!("shop.{service}.v1.Service");
        span.kind = if rng.random_bool(0.5) { 2 } else { 3 };
        span.name = format!("{full}/Get");
        span.attributes = vec![
            text("rpc.system", "grpc"),
            text("rpc.service", &full),
            text("rpc.method", "Get"),
            int("rpc.grpc.status_code", if failed { 14 } else { 0 }),
            text("server.address", &format!("{service}.shop.svc.cluster.local")),
            int("server.port", 9090),
            text("network.peer.address", &format!("10.1.{}.{}", rng.random_range(0..256), rng.random_range(0..256))),
            text("network.type", "ipv4"),
        ];
    } else {
        span.kind = 3;
        span.name = String::from("SELECT orders");
        span.attributes = vec![
            text("db.system.name", "postgresql"),
            text("db.namespace", service),
            text("db.operation.name", "SELECT"),
            text("db.collection.name", "orders"),
            text("db.query.text", "SELECT * FROM orders WHERE id = $1 AND tenant = $2"),
            text("server.address", &format!("pg-{service}.shop.svc.cluster.local")),
            int("server.port", 5432),
            text("thread.name", &format!("worker-{}", rng.random_range(0..32))),
        ];
    }
}

fn exception(rng: &mut SmallRng, service: &str, at: u64) -> Event {
    const KINDS: [(&str, &str); 4] = [
        ("java.net.SocketTimeoutException", "Read timed out"),
        ("io.grpc.StatusRuntimeException", "UNAVAILABLE: io exception"),
        ("java.lang.IllegalStateException", "Connection pool shut down"),
        ("org.postgresql.util.PSQLException", "ERROR: deadlock detected"),
    ];
    let (kind, message) = KINDS[rng.random_range(0..KINDS.len())];
    let mut stack = format!("{kind}: {message}\n");
    for class in ["Repository", "Service", "Handler", "Filter", "Dispatcher"] {
        let line = rng.random_range(20..400);
        stack.push_str(&format!("\tat com.shop.{service}.{class}.handle({class}.java:{line})\n"));
    }
    Event {
        time_unix_nano: at,
        name: String::from("exception"),
        attributes: vec![
            text("exception.type", kind),
            text("exception.message", message),
            text("exception.stacktrace", &stack),
        ],
        ..Event::default()
    }
}

pub(crate) fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn int(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

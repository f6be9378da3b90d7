//! The harness itself: a broker that starts, survives and goes away, and a Collector that writes to it.

use std::collections::HashSet;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use rdkafka::message::{Headers as _, Message as _};

use crate::support::collector::{Collector, Export, Signal};
use crate::support::kafka::{Kafka, Record};
use crate::support::telemetry;

/// Records with key, header, time and partition go into a topic and come out as they were, a tombstone included;
/// after the broker was killed and started again they are still there. Guarantees that what other tests see is
/// Kafka's doing and not the harness's.
#[test]
fn a_broker_keeps_its_records_over_a_kill() {
    let Some(mut kafka) = Kafka::start() else { return };
    let topic = kafka.topic("smoke", 2);
    let first = Record {
        key: Some(b"k"),
        payload: Some(b"v"),
        partition: Some(1),
        timestamp_ms: Some(1_675_080_055_000),
        headers: &[("tenant", b"acme")],
    };
    let tombstone = Record { key: Some(b"k"), partition: Some(1), ..Record::default() };
    kafka.produce(&topic, [first, tombstone]);

    kafka.kill(0);
    kafka.restart(0);

    assert_eq!(kafka.watermarks(&topic), [(0, 0), (0, 2)]);
    let messages = kafka.read_all(&topic);
    assert_eq!(messages[0].key(), Some(&b"k"[..]));
    assert_eq!(messages[0].payload(), Some(&b"v"[..]));
    assert_eq!(messages[0].timestamp().to_millis(), Some(1_675_080_055_000));
    assert_eq!(messages[0].headers().unwrap().get(0).value, Some(&b"acme"[..]));
    assert_eq!((messages[1].key(), messages[1].payload()), (Some(&b"k"[..]), None));
    kafka.delete_topics(&[&topic]);
    assert_eq!(kafka.partitions(&topic), 0);
}

/// The Collector takes requests of the sample as OTLP/JSON and writes them keyed by trace id: every message's key is
/// the id of the one trace inside, and the spans in Kafka are exactly those sent. Guarantees that the harness loses
/// nothing and that the Collector keys as its documentation says.
#[test]
fn a_collector_writes_what_it_was_sent_keyed_by_trace() {
    let Some(kafka) = Kafka::shared() else { return };
    let (spans, logs, metrics) = (kafka.topic("spans", 4), kafka.topic("logs", 4), kafka.topic("metrics", 1));
    let Some(mut collector) = Collector::start(kafka, &Export::proto(&spans, &logs, &metrics).keyed()) else {
        return;
    };
    let text = telemetry::read(&telemetry::sample().join("traces.jsonl.zst"));
    let lines: Vec<&str> = text.lines().take(5).collect();
    let sent: Vec<String> = lines.iter().flat_map(|line| span_ids(line)).collect();

    collector.post_all(Signal::Traces, lines);
    collector.stop();

    let mut received = Vec::new();
    for message in kafka.read_all(&spans) {
        let request = ExportTraceServiceRequest::decode(message.payload().unwrap()).unwrap();
        let inside = request.resource_spans.iter().flat_map(|r| &r.scope_spans).flat_map(|s| &s.spans);
        let mut traces = HashSet::new();
        for span in inside {
            traces.insert(hex::encode(&span.trace_id));
            received.push(hex::encode(&span.span_id));
        }
        let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
        assert_eq!(traces, HashSet::from([key]));
    }
    assert!(!sent.is_empty());
    assert_eq!(sorted(received), sorted(sent));
}

/// The load generator sends ten traces of two spans through a Collector that writes OTLP/JSON without keys: the topic
/// holds JSON with twenty spans. Guarantees that load of a known size can be made, and that the other encoding works.
#[test]
fn generated_load_arrives_as_json() {
    let Some(kafka) = Kafka::shared() else { return };
    let (spans, logs, metrics) = (kafka.topic("spans", 1), kafka.topic("logs", 1), kafka.topic("metrics", 1));
    let export = Export::proto(&spans, &logs, &metrics).json();
    let Some(collector) = Collector::start(kafka, &export) else { return };
    if !collector.telemetrygen("traces", &["--traces", "10", "--child-spans", "1"]) {
        return;
    }
    collector.stop();

    let messages = kafka.read_all(&spans);
    assert!(messages.iter().all(|message| message.key().is_none()));
    let ids = messages.iter().flat_map(|message| span_ids(std::str::from_utf8(message.payload().unwrap()).unwrap()));
    assert_eq!(ids.collect::<HashSet<_>>().len(), 20);
}

/// The ids of the spans in a request of OTLP/JSON.
pub fn span_ids(request: &str) -> Vec<String> {
    let request: serde_json::Value = serde_json::from_str(request).unwrap();
    let list = |value: &serde_json::Value, field: &str| value[field].as_array().unwrap().clone();
    list(&request, "resourceSpans")
        .iter()
        .flat_map(|resource| list(resource, "scopeSpans"))
        .flat_map(|scope| list(&scope, "spans"))
        .map(|span| span["spanId"].as_str().unwrap().to_owned())
        .collect()
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort_unstable();
    ids
}

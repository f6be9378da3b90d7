//! The Collector's configurations in `deploy/collector`, as they run: a real Collector, a real Kafka, a worker behind it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use rdkafka::message::Message as _;
use serde_json::{Value, json};

use crate::kafka_secured::{as_user, scram, until_seen};
use crate::kafka_smoke::span_ids;
use crate::kafka_worker::{LIMIT, Topics, config, lines, until};
use crate::support::collector::{Collector, Layers, Signal};
use crate::support::kafka::{Kafka, PASSWORD, USER};
use crate::support::program::Tracerag;
use crate::support::secured::{Authority, Operation, Resource};
use crate::support::wait_for;

/// The key of the hashes in `redaction.yaml`.
const REDACTION_KEY: &str = "0123456789abcdef0123456789abcdef";

/// What nobody may find behind `redaction.yaml`.
const PERSONAL: [&str; 4] = ["ann-7", "ann@shop.example", "cust-123456", "swordfish"];

fn layers(names: &[&str], topics: &Topics) -> Layers {
    Layers::of(names).to(&topics.spans, &topics.logs, &topics.metrics).knowing("REDACTION_KEY", REDACTION_KEY)
}

fn attribute(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

/// An id as senders make them: one that is spread over all digits, or tail sampling's dice fall alike for all.
fn trace_id(number: u32) -> String {
    format!("{:032x}", u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

/// The only span of a trace: so many seconds long, with a status code and attributes.
fn span(trace: u32, seconds: u64, status: u8, attributes: &[Value]) -> Value {
    let begin = 1_764_500_000_000_000_000_u64;
    json!({
        "traceId": trace_id(trace), "spanId": format!("{trace:016x}"), "name": "POST /pay",
        "startTimeUnixNano": begin.to_string(), "endTimeUnixNano": (begin + seconds * 1_000_000_000 + 1_000).to_string(),
        "status": {"code": status}, "attributes": attributes,
    })
}

fn request(spans: &[Value]) -> String {
    let resource = json!({"attributes": [attribute("service.name", "payments")]});
    json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}).to_string()
}

/// The ids of the spans in a topic.
fn ids_in(kafka: &Kafka, topic: &str) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for message in kafka.read_all(topic) {
        let request = ExportTraceServiceRequest::decode(message.payload().unwrap()).unwrap();
        let spans = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        ids.extend(spans.flat_map(|scope| &scope.spans).map(|span| hex::encode(&span.span_id)));
    }
    ids
}

fn has_messages(kafka: &Kafka, topic: &str) -> Option<()> {
    kafka.watermarks(topic).iter().any(|(_, high)| *high > 0).then_some(())
}

fn stop(worker: crate::support::process::Process) {
    assert!(worker.terminate(), "the worker does not end on SIGTERM");
}

/// Kafka goes away from a Collector that is sent four times what its queue holds. It takes what there is room for, lets
/// the sender wait with the rest, and takes that when Kafka is back; no request is refused, and every span that was sent
/// is in Kafka then. Guarantees that the shipped configuration loses nothing to a Kafka that is away, however long and
/// however much comes meanwhile, as long as the senders wait.
#[test]
fn what_the_queue_cannot_hold_waits_for_kafka() {
    const QUEUE: usize = 5_000;
    let Some(mut kafka) = Kafka::start() else { return };
    let topics = Topics::new(&kafka);
    let layers = layers(&["kafka-keyed.yaml"], &topics)
        .set(format!("exporters::kafka::sending_queue::queue_size: {QUEUE}"))
        // What is tried again is tried soon.
        .set("exporters::kafka::retry_on_failure::initial_interval: 200ms")
        .set("exporters::kafka::retry_on_failure::max_interval: 1s");
    let Some(mut collector) = Collector::layered(&kafka.bootstrap(), &layers) else { return };
    let requests = lines("traces.jsonl.zst");
    let sent: Vec<Vec<String>> = requests.iter().map(|request| span_ids(request)).collect();
    // The first one may still count among what is in the queue.
    let mut held = 0;
    let fit = sent.iter().take_while(|ids| {
        held += ids.len();
        held <= QUEUE
    });
    let (fits, total) = (fit.count(), requests.len());
    assert!(1 < fits && fits < total / 2, "{fits} of {total} requests fill the queue");

    collector.post(Signal::Traces, &requests[0]);
    wait_for("the first request is in Kafka", LIMIT, || has_messages(&kafka, &topics.spans));
    kafka.stop(0);
    let taken = AtomicUsize::new(1);
    let collector = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            for request in &requests[1..] {
                collector.post(Signal::Traces, request);
                taken.fetch_add(1, Ordering::Relaxed);
            }
            collector
        });
        wait_for("the queue is full", LIMIT, || {
            assert!(!sender.is_finished(), "the Collector has refused a request, or taken all of them");
            (taken.load(Ordering::Relaxed) >= fits).then_some(())
        });
        kafka.restart(0);
        sender.join().expect("every request is taken")
    });
    collector.stop();
    assert_eq!(taken.into_inner(), total);
    let sent: BTreeSet<String> = sent.into_iter().flatten().collect();
    let arrived = ids_in(&kafka, &topics.spans);
    let lost = sent.difference(&arrived).count();
    assert_eq!((lost, arrived.len()), (0, sent.len()), "spans that are lost, and that are in Kafka");
}

/// A Collector logs in with SCRAM over TLS as a user who may write to its three topics and nothing else, and a worker as
/// the same user, who may then read as well: the spans and records that were sent are rows. Guarantees that the fragment
/// for a secured Kafka is all that a Collector needs, and WRITE all that it has to be permitted.
#[test]
fn a_secured_kafka_is_written_to_and_read() {
    let Some(kafka) = Kafka::shared_and_secured() else { return };
    let (tracerag, topics) = (Tracerag::new(), Topics::new(kafka));
    let options = scram(&kafka.certificates().authority(Authority::Trusted), PASSWORD);
    let names = [&topics.spans, &topics.logs, &topics.metrics];
    for topic in names {
        kafka.permit(USER, Operation::Write, Resource::Topic(topic));
        // The exporter drops what it may not write.
        until_seen(kafka, topic, &options);
    }
    let layers = layers(&["kafka-keyed.yaml", "redaction.yaml", "kafka-secured.yaml"], &topics)
        .knowing("KAFKA_USERNAME", USER)
        .knowing("KAFKA_PASSWORD", PASSWORD)
        .knowing("KAFKA_CA", kafka.certificates().authority(Authority::Trusted).display().to_string());
    let Some(mut collector) = Collector::layered(&kafka.scram_bootstrap(), &layers) else { return };
    collector.post_all(Signal::Traces, lines("traces.jsonl.zst").iter().map(String::as_str));
    collector.post_all(Signal::Logs, lines("logs.jsonl.zst").iter().map(String::as_str));
    collector.stop();

    for topic in names {
        kafka.permit(USER, Operation::Read, Resource::Topic(topic));
    }
    kafka.permit(USER, Operation::Read, Resource::Group(&topics.spans));
    let text = std::fs::read_to_string(config(&tracerag, kafka, &topics, "otlp_proto")).unwrap();
    let config = tracerag.write("secured.toml", as_user(kafka, &text, &options, ""));
    wait_for("a plan finds everything permitted", LIMIT, || {
        (tracerag.run(&["--config", config.to_str().unwrap(), "run", "--plan"]).status == 0).then_some(())
    });
    let worker = tracerag.worker(&config);
    until(&tracerag, "select count(*) from spans", 21_061, || worker.log_tail());
    until(&tracerag, "select count(*) from logs", 10_955, || worker.log_tail());
    stop(worker);
    assert_eq!(tracerag.number("select count(*) from traces"), 307);
}

/// Both halves of a trace, and a log record of it, go through a Collector that writes without keys and redacts: one
/// worker makes one trace of them. What is personal or secret in attributes, names and bodies is in no message, while two
/// spans of one user still have the same token. Guarantees that the unkeyed configuration and redaction, laid over each
/// other, give the rows that they should.
#[test]
fn without_keys_and_redacted_it_is_one_trace() {
    let Some(kafka) = Kafka::shared() else { return };
    let (tracerag, topics) = (Tracerag::new(), Topics::new(kafka));
    let layers = layers(&["kafka-unkeyed.yaml", "redaction.yaml"], &topics);
    let Some(mut collector) = Collector::layered(&kafka.bootstrap(), &layers) else { return };
    let attributes = [
        attribute("user.id", "ann-7"),
        attribute("note", "mail ann@shop.example about cust-123456"),
        attribute("http.request.header.authorization", "swordfish"),
    ];
    let (root, mut child) = (span(7, 1, 1, &attributes), span(7, 0, 1, &attributes));
    child["spanId"] = json!("00000000000000c1");
    child["parentSpanId"] = root["spanId"].clone();
    child["name"] = json!("mail to ann@shop.example");
    for half in [child, root] {
        collector.post(Signal::Traces, &request(&[half]));
    }
    let record = json!({
        "timeUnixNano": "1764500000000000000", "traceId": trace_id(7), "spanId": "00000000000000c1",
        "severityNumber": 9, "body": {"stringValue": "mailed ann@shop.example, cust-123456"}, "attributes": attributes,
    });
    let logs = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}).to_string();
    collector.post(Signal::Logs, &logs);
    collector.stop();

    for topic in [&topics.spans, &topics.logs] {
        has_messages(kafka, topic).unwrap_or_else(|| panic!("nothing is in {topic}"));
        for message in kafka.read_all(topic) {
            assert_eq!(message.key(), None);
            let payload = String::from_utf8_lossy(message.payload().unwrap()).into_owned();
            let found: Vec<_> = PERSONAL.iter().filter(|text| payload.contains(**text)).collect();
            assert!(found.is_empty(), "{found:?} in {topic}");
        }
    }
    let worker = tracerag.worker(&config(&tracerag, kafka, &topics, "otlp_proto"));
    until(&tracerag, "select span_count from traces", 2, || worker.log_tail());
    until(&tracerag, "select count(*) from logs where joined_by = 'ids'", 1, || worker.log_tail());
    stop(worker);
    let users = "select count(*) from (select distinct attributes['user.id'] as id from spans) where id is not null";
    assert_eq!(tracerag.number(users), 1);
    assert_eq!(tracerag.number("select count(*) from spans where name = 'mail to ****'"), 1);
}

/// A hundred quick traces go through tail sampling with one that failed and one that took five seconds. Guarantees that
/// the last two are kept whatever the dice say, that a small part of the others is, and that the worker makes a trace of
/// each that is kept. The dice fall by the trace's id, so alike in every run.
#[test]
fn tail_sampling_keeps_failures_and_slow_traces() {
    const OTHERS: u32 = 100;
    let Some(kafka) = Kafka::shared() else { return };
    let (tracerag, topics) = (Tracerag::new(), Topics::new(kafka));
    let layers = layers(&["kafka-keyed.yaml", "redaction.yaml", "tail-sampling.yaml"], &topics)
        .set("processors::tail_sampling::decision_wait: 1s");
    let Some(mut collector) = Collector::layered(&kafka.bootstrap(), &layers) else { return };
    let (failed, slow) = (span(1_001, 0, 2, &[]), span(1_002, 5, 1, &[]));
    let special: BTreeSet<String> =
        [&failed, &slow].iter().map(|span| span["spanId"].as_str().unwrap().to_owned()).collect();
    // In one request, so that all are decided upon at once.
    let spans: Vec<Value> = (1..=OTHERS).map(|trace| span(trace, 0, 1, &[])).chain([failed, slow]).collect();
    collector.post(Signal::Traces, &request(&spans));
    wait_for("the traces are decided upon", LIMIT, || ids_in(kafka, &topics.spans).is_superset(&special).then_some(()));
    collector.stop();

    let kept = ids_in(kafka, &topics.spans);
    let others = kept.difference(&special).count();
    assert!(0 < others && others < OTHERS as usize / 3, "kept of the others: {others}");
    let worker = tracerag.worker(&config(&tracerag, kafka, &topics, "otlp_proto"));
    until(&tracerag, "select count(*) from traces", kept.len() as i64, || worker.log_tail());
    stop(worker);
    assert_eq!(tracerag.number("select count(*) from traces where status = 'ERROR'"), 1);
}

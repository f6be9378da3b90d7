//! Load on topics that are keyed by trace id, made from a seed: traces in two parts, some of them long open and some
//! messages sent twice, with log records, beside metric points. It knows what of it must be in a lake.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::types::RDKafkaErrorCode;
use serde_json::{Value, json};

use super::kafka::Kafka;
use super::program::Tracerag;
use crate::kafka_worker::Topics;

/// How often traces are begun, and how many at once.
const TICK: Duration = Duration::from_millis(100);
const TRACES: usize = 8;

/// How long the producer may take for the rest, a restart of the broker included.
const FLUSH: Duration = Duration::from_secs(120);

/// Sends until it is told to end. Dropping it ends it as well.
pub struct Load {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<Sent>>,
}

impl Load {
    /// Starts to send OTLP/JSON. The broker may be restarted meanwhile.
    pub fn start(kafka: &Kafka, topics: &Topics, seed: u64) -> Load {
        let producer = kafka.client().set("linger.ms", "5").set("enable.idempotence", "true").create();
        let sender = Sender {
            producer: producer.expect("the configuration is valid"),
            topics: topics.clone(),
            random: StdRng::seed_from_u64(seed),
            sent: Sent::default(),
        };
        let ends = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ends);
        Load { ends, thread: Some(std::thread::spawn(move || sender.run(&told))) }
    }

    /// Sends what is left of the traces that were begun; gives all that was sent.
    pub fn end(mut self) -> Sent {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.take().expect("it ends once").join().expect("the broker takes everything")
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

/// What was sent.
#[derive(Default)]
pub struct Sent {
    /// Spans of each trace.
    spans: BTreeMap<String, i64>,
    /// Log records of each trace that has any.
    logs: BTreeMap<String, i64>,
    /// Messages of each topic, copies included. One of metrics has one point.
    messages: BTreeMap<String, i64>,
}

impl Sent {
    /// Holds the lake against it by counting rows: every span and log record once however often it was sent, every
    /// trace in one row that counts all its spans, every point that the topic holds, and no dead letter. Before that the
    /// topics have to hold every message, or nothing would follow from it; a broker that stops between a message and its
    /// acknowledgement may hold one twice.
    pub fn assert_once(&self, tracerag: &Tracerag, kafka: &Kafka, topics: &Topics) {
        let held = |topic: &str| -> i64 { kafka.watermarks(topic).iter().map(|(low, high)| high - low).sum() };
        for (topic, wanted) in &self.messages {
            let held = held(topic);
            assert!(held >= *wanted, "{topic} holds {held} messages of {wanted}");
        }
        assert!(!self.spans.is_empty() && !self.logs.is_empty());
        for (query, wanted) in [
            ("select trace_id, count(*) as n from spans group by trace_id", &self.spans),
            ("select trace_id, count(distinct span_id) as n from spans group by trace_id", &self.spans),
            ("select trace_id, span_count as n from traces", &self.spans),
            ("select trace_id, count(*) as n from logs group by trace_id", &self.logs),
            ("select trace_id, count(distinct body) as n from logs group by trace_id", &self.logs),
        ] {
            assert_same(query, &by_trace(tracerag, query), wanted);
        }
        let points = if self.messages.contains_key(&topics.metrics) { held(&topics.metrics) } else { 0 };
        assert_eq!(tracerag.number("select count(*) from metrics"), points);
        assert_eq!(tracerag.number("select count(*) from dead_letters"), 0);
    }
}

/// The numbers of a query by trace, which has one row for each.
fn by_trace(tracerag: &Tracerag, query: &str) -> BTreeMap<String, i64> {
    let rows = tracerag.sql(query);
    let number = |row: &Value| (row["trace_id"].as_str().unwrap().to_owned(), row["n"].as_i64().unwrap());
    let numbers: BTreeMap<String, i64> = rows.iter().map(number).collect();
    assert_eq!(numbers.len(), rows.len(), "a trace has several rows: {query}");
    numbers
}

fn assert_same(query: &str, found: &BTreeMap<String, i64>, wanted: &BTreeMap<String, i64>) {
    let ids: BTreeSet<&String> = found.keys().chain(wanted.keys()).collect();
    let differ: Vec<_> = ids
        .into_iter()
        .map(|id| (id, found.get(id), wanted.get(id)))
        .filter(|(_, found, wanted)| found != wanted)
        .collect();
    let some: Vec<_> = differ.iter().take(5).collect();
    assert!(differ.is_empty(), "{} traces differ (trace, in the lake, sent): {some:?}\n{query}", differ.len());
}

/// A trace that is begun.
struct Trace {
    number: usize,
    spans: usize,
    logs: usize,
}

impl Trace {
    fn id(&self) -> String {
        format!("{:032x}", self.number + 1)
    }
}

struct Sender {
    producer: BaseProducer,
    topics: Topics,
    random: StdRng,
    sent: Sent,
}

impl Sender {
    fn run(mut self, ends: &AtomicBool) -> Sent {
        let mut open: BTreeMap<u64, Vec<Trace>> = BTreeMap::new();
        let mut tick = 0;
        let mut next = 0;
        while !ends.load(Ordering::Relaxed) {
            for trace in open.remove(&tick).unwrap_or_default() {
                self.finish(&trace);
            }
            for number in next..next + TRACES {
                let trace = self.begin(number);
                // One of ten stays open for seconds, and is read again by whoever gets its partition.
                let ticks: u64 = if self.random.random_ratio(1, 10) { self.random.random_range(10..60) } else { 1 };
                open.entry(tick + ticks).or_default().push(trace);
            }
            next += TRACES;
            self.point(tick);
            self.producer.poll(Duration::ZERO);
            std::thread::sleep(TICK);
            tick += 1;
        }
        for trace in open.into_values().flatten() {
            self.finish(&trace);
        }
        self.producer.flush(FLUSH).expect("the broker takes everything");
        self.sent
    }

    /// Sends a trace but for its root and some of its log records.
    fn begin(&mut self, number: usize) -> Trace {
        let trace =
            Trace { number, spans: self.random.random_range(1..6_usize), logs: self.random.random_range(0..4_usize) };
        self.logs(&trace, 0..trace.logs / 2);
        self.spans(&trace, 2..trace.spans + 1);
        self.sent.spans.insert(trace.id(), trace.spans as i64);
        if trace.logs > 0 {
            self.sent.logs.insert(trace.id(), trace.logs as i64);
        }
        trace
    }

    /// Sends the rest. Logs go first: when the root has come, nothing more does.
    fn finish(&mut self, trace: &Trace) {
        self.logs(trace, trace.logs / 2..trace.logs);
        self.spans(trace, 1..2);
    }

    /// Spans of one message by their numbers; 1 is the root.
    fn spans(&mut self, trace: &Trace, numbers: std::ops::Range<usize>) {
        let id = trace.id();
        let span = |number: usize| {
            let mut span = json!({
                "traceId": id, "spanId": format!("{number:016x}"), "name": "GET /",
                "startTimeUnixNano": "1764500000000000000", "endTimeUnixNano": "1764500001000000000",
            });
            if number > 1 {
                span["parentSpanId"] = json!(format!("{:016x}", 1));
            }
            span
        };
        let spans: Vec<Value> = numbers.map(span).collect();
        if !spans.is_empty() {
            let topic = self.topics.spans.clone();
            self.send(&topic, &id, &json!({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}));
        }
    }

    /// Log records of one message by their numbers.
    fn logs(&mut self, trace: &Trace, numbers: std::ops::Range<usize>) {
        let id = trace.id();
        let record = |number: usize| {
            json!({
                "timeUnixNano": "1764500000000000000", "severityNumber": 9, "traceId": id,
                "spanId": format!("{:016x}", 1), "body": {"stringValue": format!("part {number}")},
            })
        };
        let records: Vec<Value> = numbers.map(record).collect();
        if !records.is_empty() {
            let topic = self.topics.logs.clone();
            self.send(&topic, &id, &json!({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}));
        }
    }

    /// One metric point.
    fn point(&mut self, value: u64) {
        let point = json!({"timeUnixNano": "1764500000000000000", "asDouble": value});
        let metric = json!({"name": "pool", "gauge": {"dataPoints": [point]}});
        let topic = self.topics.metrics.clone();
        self.send(&topic, "pool", &json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}));
    }

    /// Sends a message, one of twenty twice, as a sender does that missed the answer.
    fn send(&mut self, topic: &str, key: &str, message: &Value) {
        let text = message.to_string();
        let copies = if self.random.random_ratio(1, 20) { 2 } else { 1 };
        for _ in 0..copies {
            let mut record = BaseRecord::to(topic).key(key).payload(text.as_str());
            while let Err((error, back)) = self.producer.send(record) {
                assert!(error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull), "producing failed: {error}");
                self.producer.poll(TICK);
                record = back;
            }
        }
        *self.sent.messages.entry(topic.to_owned()).or_default() += copies;
    }
}

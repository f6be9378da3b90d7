//! Load on topics that are keyed by trace id, made from a seed: traces in two parts, some of them long open and some
//! messages sent twice, with log records, beside metric points; and what [`super::evidence`] makes of some of them: errors,
//! payloads, flags, builds and heaps. It knows what of it must be in a lake.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::types::RDKafkaErrorCode;
use serde_json::{Value, json};

use super::evidence::{self, Counts, Evidence, Failure};
use super::kafka::Kafka;
use super::program::Tracerag;
use crate::kafka_worker::{Topics, named_config};

/// How often traces are begun, and how many at once.
const TICK: Duration = Duration::from_millis(100);
const TRACES: usize = 8;

/// One of so many traces has more than spans and records that say little; and so many ticks lie between two changes of
/// each kind.
const TELLING: u32 = 4;
const CHANGES_EVERY: u64 = 5;

/// When all of it was measured, in ns since the epoch.
const TIME: i64 = 1_764_500_000_000_000_000;

/// How long the producer may take for the rest, a restart of the broker included.
const FLUSH: Duration = Duration::from_secs(600);

/// The topics that a load is sent to.
#[derive(Clone)]
pub struct LoadTopics {
    pub telemetry: Topics,
    pub flags: String,
    pub deployments: String,
    pub heaps: String,
}

impl LoadTopics {
    /// Makes them, each with so many partitions.
    pub fn new(kafka: &Kafka, stem: &str, partitions: i32) -> LoadTopics {
        let topic = |name: &str| kafka.topic(&format!("{stem}-{name}"), partitions);
        LoadTopics {
            telemetry: Topics { spans: topic("spans"), logs: topic("logs"), metrics: topic("metrics") },
            flags: topic("flags"),
            deployments: topic("deployments"),
            heaps: topic("heaps"),
        }
    }

    /// A configuration of a worker that reads all of them; see [`named_config`].
    pub fn config(&self, tracerag: &Tracerag, kafka: &Kafka, name: &str, options: &str) -> PathBuf {
        let path = named_config(tracerag, kafka, &self.telemetry, name, options);
        let mut text = std::fs::read_to_string(path).expect("the configuration was written");
        for (key, topic) in [("flags", &self.flags), ("deployments", &self.deployments), ("heaps", &self.heaps)] {
            let none = format!("{key} = {{ topics = [] }}");
            assert!(text.contains(&none), "no {none} in {text}");
            text = text.replacen(&none, &format!("{key} = {{ topics = [\"{topic}\"] }}"), 1);
        }
        tracerag.write(&format!("{name}.toml"), text)
    }
}

/// Sends until it is told to end. Dropping it ends it as well.
pub struct Load {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<Sent>>,
}

impl Load {
    /// Starts to send OTLP/JSON. The broker may be restarted meanwhile.
    pub fn start(kafka: &Kafka, topics: &LoadTopics, seed: u64) -> Load {
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
    /// What else of it must be there.
    evidence: Evidence,
    /// Messages of each topic, copies included. One of metrics has one point, one of changes and heaps is one row.
    messages: BTreeMap<String, i64>,
}

impl Sent {
    /// Whether the lake has as many failures as were sent. They may come after the records that tell of them.
    pub fn has_failures(&self, tracerag: &Tracerag) -> bool {
        tracerag.number("select count(*) from failures") >= self.evidence.failures.values().sum::<i64>()
    }

    /// Holds the lake against it by counting rows: every span and log record once however often it was sent, every
    /// trace in one row that counts all its spans, every failure once and counted once in its incident, every point and
    /// change that a topic holds, and no dead letter. Before that the topics have to hold every message, or nothing would
    /// follow from it; a broker that stops between a message and its acknowledgement may hold one twice.
    pub fn assert_once(&self, tracerag: &Tracerag, kafka: &Kafka, topics: &LoadTopics) {
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
            // A record may come before the first span of its trace, which then counts what its spans tell only.
            ("select trace_id, failure_count as n from traces where error_span_count > 0", &self.evidence.by_trace),
        ] {
            assert_same(query, &by_trace(tracerag, query), wanted);
        }
        let torn = "select count(*) from (select trace_id from trace_revisions group by trace_id \
                    having count(*) <> max(revision) or count(distinct revision) <> count(*))";
        assert_eq!(tracerag.number(torn), 0, "revisions are not 1, 2, 3 ...");
        self.evidence.assert_once(tracerag);
        for (query, topic) in [
            ("select count(*) from metrics", &topics.telemetry.metrics),
            ("select count(*) from flag_events where source = 'change'", &topics.flags),
            ("select count(*) from build_events where source = 'cdevent'", &topics.deployments),
            ("select count(*) from heaps", &topics.heaps),
        ] {
            assert_eq!(tracerag.number(query), held(topic), "{query}");
        }
        assert_eq!(tracerag.number("select count(*) from dead_letters"), 0);
    }
}

impl Evidence {
    /// Holds a lake against it: each failure is one row, the counts of incidents add up to them, payloads are there, and
    /// evaluations once.
    fn assert_once(&self, tracerag: &Tracerag) {
        let query = "select trace_id, span_id, exception_type, message, origin_id is not null as is_echo, count(*) as n \
                     from failures group by 1, 2, 3, 4, 5";
        let failures: BTreeMap<Failure, i64> = tracerag.sql(query).iter().map(failure).collect();
        assert_same(query, &failures, &self.failures);

        let query = "select exception_type, cast(sum(failure_count) as bigint) as origins, \
                     cast(sum(echo_count) as bigint) as echoes, cast(sum(trace_count) as bigint) as traces \
                     from incident_counts group by exception_type";
        let number = |row: &Value, name: &str| row[name].as_i64().unwrap();
        let counts = |row: &Value| Counts {
            origins: number(row, "origins"),
            echoes: number(row, "echoes"),
            traces: number(row, "traces"),
        };
        let found: BTreeMap<String, Counts> =
            tracerag.sql(query).iter().map(|row| (text(row, "exception_type"), counts(row))).collect();
        assert_same(query, &found, &self.counts);

        // Of a span that was sent twice there may be two payloads; `tracerag check` says whether there are more.
        let query = "select distinct trace_id, span_id from payloads";
        let payloads: BTreeSet<(String, String)> =
            tracerag.sql(query).iter().map(|row| (text(row, "trace_id"), text(row, "span_id"))).collect();
        assert!(payloads == self.payloads, "{} payloads of {}", payloads.len(), self.payloads.len());

        let query = "select trace_id, span_id, variant, count(*) as n from flag_events where source = 'evaluation' \
                     group by trace_id, span_id, variant";
        let place = |row: &Value| (text(row, "trace_id"), text(row, "span_id"), text(row, "variant"));
        let found: BTreeMap<_, i64> = tracerag.sql(query).iter().map(|row| (place(row), number(row, "n"))).collect();
        let wanted = self.evaluations.iter().map(|place| (place.clone(), 1)).collect();
        assert_same(query, &found, &wanted);

        let query = "select distinct version from build_events where source = 'resource'";
        let versions: BTreeSet<String> = tracerag.sql(query).iter().map(|row| text(row, "version")).collect();
        assert_eq!(versions, self.versions);
    }
}

/// A text of a row; what is null is empty.
fn text(row: &Value, name: &str) -> String {
    row[name].as_str().unwrap_or_default().to_owned()
}

fn failure(row: &Value) -> (Failure, i64) {
    let failure = Failure {
        trace: text(row, "trace_id"),
        span: text(row, "span_id"),
        exception_type: text(row, "exception_type"),
        message: text(row, "message"),
        is_echo: row["is_echo"].as_bool().unwrap(),
    };
    (failure, row["n"].as_i64().unwrap())
}

/// The numbers of a query by trace, which has one row for each.
fn by_trace(tracerag: &Tracerag, query: &str) -> BTreeMap<String, i64> {
    let mut rows = tracerag.sql(query);
    // Records without a trace are no trace.
    rows.retain(|row| !row["trace_id"].is_null());
    let number = |row: &Value| (row["trace_id"].as_str().unwrap().to_owned(), row["n"].as_i64().unwrap());
    let numbers: BTreeMap<String, i64> = rows.iter().map(number).collect();
    assert_eq!(numbers.len(), rows.len(), "a trace has several rows: {query}");
    numbers
}

fn assert_same<K: Ord + Debug, V: PartialEq + Debug>(query: &str, found: &BTreeMap<K, V>, wanted: &BTreeMap<K, V>) {
    let keys: BTreeSet<&K> = found.keys().chain(wanted.keys()).collect();
    let differ: Vec<_> = keys
        .into_iter()
        .map(|key| (key, found.get(key), wanted.get(key)))
        .filter(|(_, found, wanted)| found != wanted)
        .collect();
    let some: Vec<_> = differ.iter().take(5).collect();
    assert!(differ.is_empty(), "{} differ (of what, in the lake, sent): {some:?}\n{query}", differ.len());
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
    topics: LoadTopics,
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
            if tick.is_multiple_of(CHANGES_EVERY) {
                self.changes(tick);
            }
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
        if self.random.random_ratio(1, TELLING) {
            self.tell(&trace);
        }
        trace
    }

    /// Sends what else happens in a trace.
    fn tell(&mut self, trace: &Trace) {
        let id = trace.id();
        let told = self.sent.evidence.draw(&mut self.random, trace.number, &id, TIME);
        *self.sent.spans.entry(id.clone()).or_default() += told.spans.len() as i64;
        let Topics { spans, logs, .. } = self.topics.telemetry.clone();
        if let Some((message, _)) = told.record {
            *self.sent.logs.entry(id.clone()).or_default() += 1;
            self.send(&logs, &id, &message);
        }
        self.send(&spans, &id, &told.message);
    }

    /// Sends a change of each kind, a heap record, and an error that belongs to no trace.
    fn changes(&mut self, tick: u64) {
        let LoadTopics { telemetry, flags, deployments, heaps } = self.topics.clone();
        let number = usize::try_from(tick / CHANGES_EVERY).expect("the load ends some time");
        // Keyed like one flag and one service each, they would all go to one partition.
        let key = number.to_string();
        self.send(&flags, &key, &evidence::flag_change(number, TIME));
        self.send(&deployments, &key, &evidence::deployment(number, TIME));
        self.send(&heaps, &key, &evidence::heap(number, TIME));
        let (message, _) = self.sent.evidence.alone(number, TIME);
        self.send(&telemetry.logs, &key, &message);
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
            let topic = self.topics.telemetry.spans.clone();
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
            let topic = self.topics.telemetry.logs.clone();
            self.send(&topic, &id, &json!({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}));
        }
    }

    /// One metric point.
    fn point(&mut self, value: u64) {
        let point = json!({"timeUnixNano": "1764500000000000000", "asDouble": value});
        let metric = json!({"name": "pool", "gauge": {"dataPoints": [point]}});
        let topic = self.topics.telemetry.metrics.clone();
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

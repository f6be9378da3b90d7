//! What a worker does when Kafka has deleted records that it still needs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::message::{Headers as _, Message as _};
use serde_json::Value;

use crate::kafka_worker::{LIMIT, Topics, config, until};
use crate::support::kafka::{Kafka, Record};
use crate::support::process::Process;
use crate::support::program::Tracerag;
use crate::support::wait_for;

/// A lake, and a topic of spans with one partition.
struct Bench {
    kafka: &'static Kafka,
    tracerag: Tracerag,
    topics: Topics,
}

impl Bench {
    fn new(kafka: &'static Kafka) -> Bench {
        let topic = |stem: &str| kafka.topic(stem, 1);
        let topics = Topics { spans: topic("gap-spans"), logs: topic("gap-logs"), metrics: topic("gap-metrics") };
        Bench { kafka, tracerag: Tracerag::new(), topics }
    }

    /// A configuration with more keys of Kafka and of the window.
    fn config(&self, name: &str, of_kafka: &str, of_window: &str) -> PathBuf {
        let text = std::fs::read_to_string(config(&self.tracerag, self.kafka, &self.topics, "otlp_json")).unwrap();
        let text = text.replacen("[kafka]\n", &format!("[kafka]\n{of_kafka}\n"), 1);
        self.tracerag.write(name, format!("{text}[window]\n{of_window}\n"))
    }

    fn produce(&self, messages: &[String]) {
        let records = messages.iter().map(|message| Record { payload: Some(message.as_bytes()), ..Record::default() });
        self.kafka.produce(&self.topics.spans, records);
    }

    fn until(&self, query: &str, wanted: i64, worker: &Process) {
        until(&self.tracerag, query, wanted, || worker.log_tail());
    }

    /// Starts a worker that has to end by itself; the end of its log.
    fn failed(&self, config: &Path) -> String {
        let worker = self.tracerag.worker(config);
        wait_for("the worker stops by itself", LIMIT, || (!worker.alive()).then_some(()));
        worker.log_tail()
    }

    /// The only dead letter: its offset, and what it says.
    fn letter(&self) -> (i64, String) {
        let query = "select reason, kafka_topic, kafka_partition, kafka_offset, detail from dead_letters";
        let letters = self.tracerag.sql(query);
        assert_eq!(letters.len(), 1, "{letters:?}");
        let letter = &letters[0];
        assert_eq!((&letter["reason"], &letter["kafka_partition"]), (&Value::from("gap"), &Value::from(0)));
        assert_eq!(letter["kafka_topic"], self.topics.spans.as_str());
        (letter["kafka_offset"].as_i64().unwrap(), letter["detail"].as_str().unwrap().to_owned())
    }

    /// The last digits of the ids of all traces.
    fn traces(&self) -> Vec<String> {
        let rows = self.tracerag.sql("select trace_id from traces order by trace_id");
        rows.iter().map(|row| row["trace_id"].as_str().unwrap().trim_start_matches('0').to_owned()).collect()
    }
}

fn stop(worker: Process) {
    assert!(worker.terminate(), "the worker does not end on SIGTERM");
}

fn assert_says(log: &str, parts: &[&str]) {
    for part in parts {
        assert!(log.contains(part), "no {part:?} in\n{log}");
    }
}

/// A message with one span. Without a parent it is the root, which closes its trace soon.
fn span(trace: u8, span: u8, parent: Option<u8>) -> String {
    let parent = parent.map_or_else(String::new, |parent| format!("\"parentSpanId\": \"{parent:016x}\", "));
    format!(
        "{{\"resourceSpans\": [{{\"scopeSpans\": [{{\"spans\": [{{\"traceId\": \"{trace:032x}\", \
         \"spanId\": \"{span:016x}\", {parent}\"name\": \"GET /\", \"startTimeUnixNano\": \"1764500000000000000\", \
         \"endTimeUnixNano\": \"1764500001000000000\"}}]}}]}}]}}"
    )
}

fn root(trace: u8) -> String {
    span(trace, 1, None)
}

/// Kafka deletes records that nobody has read. By default the worker stops, names them and the key to set, and writes
/// nothing. With `continue` it takes every record that is left once, and one dead letter has the interval, in the table
/// and in the topic; the next worker finds no gap. Guarantees that nothing is skipped in silence, and that a gap is
/// told of once.
#[test]
fn records_are_deleted_before_they_are_read() {
    let Some(kafka) = Kafka::shared() else { return };
    let bench = Bench::new(kafka);
    let stopping = bench.config("stopping.toml", "", "");
    bench.produce(&[root(1)]);
    let worker = bench.tracerag.worker(&stopping);
    bench.until("select count(*) from traces", 1, &worker);
    stop(worker);
    bench.produce(&[root(2), root(3), root(4)]);
    kafka.delete_records(&bench.topics.spans, 0, 3);

    let log = bench.failed(&stopping);
    assert_says(&log, &["offsets 1 to 2 (2)", "begins at 3", "never read", "kafka.out_of_range", &bench.topics.spans]);
    assert_eq!(bench.tracerag.number("select count(*) from dead_letters"), 0);
    assert_eq!(bench.traces(), ["1"]);

    let letters = kafka.topic("gap-letters", 1);
    let keys = format!("out_of_range = \"continue\"\ndead_letter_topic = \"{letters}\"");
    let worker = bench.tracerag.worker(&bench.config("continuing.toml", &keys, ""));
    bench.until("select count(*) from traces", 2, &worker);
    stop(worker);
    assert_eq!(bench.traces(), ["1", "4"]);
    let (offset, detail) = bench.letter();
    assert_eq!(offset, 1);
    assert_says(&detail, &["offsets 1 to 2 (2)", "never read"]);
    let sent = kafka.read_all(&letters);
    assert_eq!((sent.len(), sent[0].payload()), (1, None));
    let reason = sent[0].headers().unwrap().get(0);
    assert_eq!((reason.key, reason.value), ("tracerag.reason", Some(format!("gap: {detail}").as_bytes())));

    bench.produce(&[root(5)]);
    let worker = bench.tracerag.worker(&stopping);
    bench.until("select count(*) from traces", 3, &worker);
    stop(worker);
    assert_eq!(bench.traces(), ["1", "4", "5"]);
    bench.letter();
}

/// A worker ends while a trace is open, and Kafka deletes the trace's oldest record; all records were read. By default
/// the next worker stops and says that a trace loses something. With `continue` what is left of the trace is written,
/// what was written is not written again, one dead letter has the interval, and the next worker finds no gap.
/// Guarantees that the loss of a part of a trace is known.
#[test]
fn a_part_of_an_open_trace_is_deleted() {
    let Some(kafka) = Kafka::shared() else { return };
    let bench = Bench::new(kafka);
    let patient = bench.config("patient.toml", "", "idle_gap = \"4m\"");
    bench.produce(&[span(1, 2, Some(1)), root(2), span(1, 3, Some(1)), root(3)]);
    let worker = bench.tracerag.worker(&patient);
    bench.until("select count(*) from traces", 2, &worker);
    stop(worker);
    assert_eq!(bench.traces(), ["2", "3"]);
    kafka.delete_records(&bench.topics.spans, 0, 2);

    let stopping = bench.config("stopping.toml", "", "");
    let log = bench.failed(&stopping);
    assert_says(&log, &["offsets 0 to 1 (2)", "they were read, but traces that were open", "kafka.out_of_range"]);
    assert_eq!(bench.tracerag.number("select count(*) from dead_letters"), 0);

    bench.produce(&[root(4)]);
    let continuing = bench.config("continuing.toml", "out_of_range = \"continue\"", "idle_gap = \"3s\"");
    let worker = bench.tracerag.worker(&continuing);
    bench.until("select count(*) from traces", 4, &worker);
    stop(worker);
    let (offset, detail) = bench.letter();
    assert_eq!(offset, 0);
    assert_says(&detail, &["offsets 0 to 1 (2)", "traces that were open"]);

    bench.produce(&[root(5)]);
    let worker = bench.tracerag.worker(&stopping);
    bench.until("select count(*) from traces", 5, &worker);
    stop(worker);
    assert_eq!(bench.traces(), ["1", "2", "3", "4", "5"]);
    let spans = bench.tracerag.sql("select trace_id, span_id from spans order by trace_id, span_id");
    assert_eq!(spans.len(), 5, "{spans:?}");
    assert_eq!(spans[0]["span_id"], "0000000000000003", "{spans:?}");
    assert_eq!(bench.tracerag.number("select count(*) from traces where not complete"), 1);
    bench.letter();
}

/// A worker stands still while records come and are deleted again. With `continue` it goes on without a restart: what
/// is left is taken, and one dead letter has the interval.
#[test]
fn retention_overtakes_a_running_worker() {
    let Some(kafka) = Kafka::shared() else { return };
    let bench = Bench::new(kafka);
    bench.produce(&[root(1)]);
    let keys = "out_of_range = \"continue\"\noptions = { \"fetch.wait.max.ms\" = 10 }";
    let mut worker = bench.tracerag.worker(&bench.config("continuing.toml", keys, ""));
    bench.until("select count(*) from traces", 1, &worker);
    worker.signal("STOP");
    wait_for("the worker stands still", LIMIT, || worker.stands_still().then_some(()));
    // The broker answers the last fetch with what comes within a hundredth of a second, or later if it is busy itself. The
    // group does without the worker after 45 seconds.
    std::thread::sleep(Duration::from_secs(5));
    bench.produce(&[root(2), root(3), root(4)]);
    kafka.delete_records(&bench.topics.spans, 0, 3);
    worker.signal("CONT");

    bench.until("select count(*) from traces", 2, &worker);
    assert!(worker.alive(), "{}", worker.log_tail());
    bench.produce(&[root(5)]);
    bench.until("select count(*) from traces", 3, &worker);
    stop(worker);
    assert_eq!(bench.traces(), ["1", "4", "5"]);
    let (offset, detail) = bench.letter();
    assert_eq!(offset, 1);
    assert_says(&detail, &["offsets 1 to 2 (2)", "never read"]);
}

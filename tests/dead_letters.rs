//! `tracerag dead-letters`: records that could not be read are listed, shown, and taken up after a fix.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};
use serde_json::{Value, json};

use crate::kafka_worker::until;
use crate::support::free_port;
use crate::support::program::{Ran, Tracerag};

const SPANS: &str = "letters-spans";
const METRICS: &str = "letters-metrics";

/// A lake, and an embedded broker with a topic of spans and one of metrics.
struct Bench {
    tracerag: Tracerag,
    cluster: MockCluster<'static, DefaultProducerContext>,
    metrics_port: u16,
}

impl Bench {
    fn new() -> Bench {
        let cluster = MockCluster::new(1).unwrap();
        for topic in [SPANS, METRICS] {
            cluster.create_topic(topic, 1, 1).unwrap();
        }
        Bench { tracerag: Tracerag::new(), cluster, metrics_port: free_port() }
    }

    /// A configuration in which both topics have an encoding.
    fn config(&self, encoding: &str) -> PathBuf {
        let text = format!(
            "[kafka]\nbootstrap_servers = \"{}\"\n\
             options = {{ \"session.timeout.ms\" = \"3000\", \"heartbeat.interval.ms\" = \"500\" }}\n\
             [topics]\nspans = {{ topics = [\"{SPANS}\"], encoding = \"{encoding}\" }}\n\
             metrics = {{ topics = [\"{METRICS}\"], encoding = \"{encoding}\" }}\n\
             logs = {{ topics = [] }}\nflags = {{ topics = [] }}\ndeployments = {{ topics = [] }}\nheaps = {{ topics = [] }}\n\
             [redaction]\nkey = \"0123456789abcdef0123456789abcdef\"\n[lake]\nflush_interval = \"500ms\"\n\
             [metrics]\nlisten = \"127.0.0.1:{}\"\n",
            self.cluster.bootstrap_servers(),
            self.metrics_port
        );
        self.tracerag.write(&format!("{encoding}.toml"), text)
    }

    fn publish(&self, topic: &str, values: &[String]) {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", self.cluster.bootstrap_servers());
        let producer: BaseProducer = client.create().unwrap();
        for value in values {
            let record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).partition(0).payload(value.as_bytes());
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(Duration::from_secs(300)).unwrap();
    }

    /// Runs a worker until a query gives a number.
    fn work_until(&self, config: &Path, query: &str, wanted: i64) {
        let worker = self.tracerag.worker(config);
        until(&self.tracerag, query, wanted, || worker.log_tail());
        assert!(worker.terminate(), "the worker does not end on SIGTERM");
    }

    /// `dead-letters` with a configuration; it must succeed.
    fn letters(&self, config: &Path, arguments: &[&str]) -> Ran {
        let ran = self.tracerag.run(&[&["--config", config.to_str().unwrap(), "dead-letters"][..], arguments].concat());
        assert_eq!(ran.status, 0, "{arguments:?}: {}", ran.stderr);
        ran
    }

    fn listed(&self, config: &Path, arguments: &[&str]) -> Value {
        let text = self.letters(config, &[&["list", "--format", "json"][..], arguments].concat()).stdout;
        serde_json::from_str(&text).unwrap()
    }

    /// Spans, traces and points of the lake.
    fn counts(&self) -> [i64; 3] {
        ["spans", "traces", "metrics"].map(|table| self.tracerag.number(&format!("select count(*) from {table}")))
    }
}

/// A message with the only span of a trace.
fn span(trace: u8) -> String {
    format!(
        "{{\"resourceSpans\": [{{\"scopeSpans\": [{{\"spans\": [{{\"traceId\": \"{trace:032x}\", \
         \"spanId\": \"00000000000000a1\", \"name\": \"GET /\", \"startTimeUnixNano\": \"1764500000000000000\", \
         \"endTimeUnixNano\": \"1764500001000000000\"}}]}}]}}]}}"
    )
}

fn point(value: u8) -> String {
    format!(
        "{{\"resourceMetrics\": [{{\"scopeMetrics\": [{{\"metrics\": [{{\"name\": \"pool\", \"gauge\": \
         {{\"dataPoints\": [{{\"timeUnixNano\": \"1764500000000000000\", \"asDouble\": {value}}}]}}}}]}}]}}]}}"
    )
}

fn assert_says(ran: &Ran, parts: &[&str]) {
    for part in parts {
        assert!(ran.stderr.contains(part), "no {part:?} in\n{}", ran.stderr);
    }
}

/// Topics hold OTLP/JSON and are read as protobuf, so every message becomes a letter; they are listed, and one is shown
/// as it came. A dry run writes nothing. After the encoding is corrected a replay writes each good one with its own
/// origin; the one that is nothing stays. A second replay changes nothing and says so, and the worker goes on.
/// Guarantees that a misconfigured topic costs no data, and that nothing is taken up twice.
#[test]
fn letters_are_taken_up_after_a_fix() {
    let bench = Bench::new();
    let tracerag = &bench.tracerag;
    let (wrong, right) = (bench.config("otlp_proto"), bench.config("otlp_json"));
    bench.publish(SPANS, &[span(1), span(2), String::from("nothing at all"), span(3)]);
    bench.publish(METRICS, &[point(1), point(2)]);
    bench.work_until(&wrong, "select count(*) from dead_letters", 6);
    assert_eq!(bench.counts(), [0, 0, 0]);

    let listed = bench.listed(&right, &[]);
    let summary = listed["summary"].as_array().unwrap();
    let of: Vec<_> = summary.iter().map(|row| json!([row["reason"], row["topic"], row["letters"]])).collect();
    assert_eq!(of, [json!(["decode", SPANS, 4]), json!(["decode", METRICS, 2])], "{listed:#}");
    let of_spans = bench.listed(&right, &["--topic", SPANS, "--reason", "decode", "--limit", "1"]);
    assert_eq!(of_spans["letters"][0]["letter"], format!("{SPANS}/0/3"), "{of_spans:#}");
    assert_eq!(of_spans["letters"].as_array().unwrap().len(), 1);
    let table = bench.letters(&right, &["list"]).stdout;
    assert!(table.contains(&format!("{SPANS}/0/2")) && table.contains("decode"), "{table}");

    let name = format!("{SPANS}/0/0");
    let shown = bench.letters(&right, &["show", &name]);
    assert!(shown.stdout.contains("value as JSON") && shown.stdout.contains("\"traceId\""), "{}", shown.stdout);
    assert!(shown.stdout.contains("00000000  7b 22 72 65"), "{}", shown.stdout);
    assert_says(&shown, &["not redacted"]);
    assert_eq!(bench.letters(&right, &["show", &name, "--raw", "-"]).stdout, span(1));
    let raw = tracerag.path("raw");
    bench.letters(&right, &["show", &name, "--raw", raw.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(raw).unwrap(), span(1));

    assert_says(&bench.letters(&right, &["replay", "--dry-run"]), &["would be replayed: 5 letters with 3 spans"]);
    let bad = bench.letters(&wrong, &["replay"]);
    assert_says(&bad, &["nothing replayed", "still bad, and kept: 6 letters"]);
    assert_eq!((bench.counts(), tracerag.number("select count(*) from dead_letters")), ([0, 0, 0], 6));

    let replayed = bench.letters(&right, &["replay", "--topic", METRICS]);
    assert_says(&replayed, &["replayed: 2 letters", "2 metric points"]);
    let replayed = bench.letters(&right, &["replay"]);
    assert_says(&replayed, &["replayed: 3 letters", "3 spans in 3 traces", "still bad, and kept: 1 letters"]);
    assert_says(&replayed, &[&format!("{SPANS}/0/2: ")]);
    assert_eq!(bench.counts(), [3, 3, 2]);
    let origins = tracerag.sql("select kafka_topic, kafka_offset from spans order by 2");
    let expected = [0, 1, 3].map(|offset| json!({"kafka_topic": SPANS, "kafka_offset": offset}));
    assert_eq!(origins, expected);

    let again = bench.letters(&right, &["replay"]);
    assert_says(&again, &["nothing replayed; 5 letters were replayed before", "still bad, and kept: 1 letters"]);
    assert_eq!(bench.counts(), [3, 3, 2]);
    assert_eq!(tracerag.number("select count(*) from dead_letters where reason <> 'replayed'"), 6);
    let left = bench.listed(&right, &[]);
    assert_eq!((left["letters"].as_array().unwrap().len(), &left["summary"][0]["letters"]), (1, &json!(1)), "{left:#}");
    let all = bench.listed(&right, &["--all"]);
    let marked = all["letters"].as_array().unwrap().iter().filter(|letter| letter["replayed_at"].is_string());
    assert_eq!((all["letters"].as_array().unwrap().len(), marked.count()), (6, 5), "{all:#}");
    let shown = bench.letters(&right, &["show", &name]).stdout;
    assert!(!shown.contains("replayed   no"), "{shown}");

    bench.publish(SPANS, &[span(4)]);
    bench.work_until(&right, "select count(*) from spans", 4);
    assert_eq!(bench.counts(), [4, 4, 2]);
    let status = tracerag.done(&["--config", right.to_str().unwrap(), "status", "--format", "json"]);
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["dead_letters"][0]["letters"], 1, "{status:#}");
}

/// A line of a file that is no record is listed and shown under the file's digest, and stays a letter, once, however
/// often it is replayed.
#[test]
fn a_letter_that_is_bad_for_good_stays() {
    let tracerag = Tracerag::new();
    let good =
        "{\"time\": \"2026-11-16T12:00:01Z\", \"feature_flag.key\": \"a\", \"feature_flag.result.variant\": \"on\"}";
    let flags = tracerag.write("flags.jsonl", format!("{good}\n{{\"feature_flag.key\": \n{good}\n"));
    tracerag.replay(&[&flags]);
    let csv = tracerag.done(&["dead-letters", "list", "--format", "csv"]);
    let line = csv.lines().nth(1).unwrap_or_else(|| panic!("no letter in {csv}"));
    let fields: Vec<&str> = line.split(',').collect();
    assert_eq!((fields[0], fields[2], fields[3]), ("change", "0", "1"), "{csv}");
    let shown = tracerag.done(&["dead-letters", "show", &format!("{}/0/1", fields[1])]);
    assert!(shown.contains("value as text") && shown.contains("feature_flag.key"), "{shown}");
    for _ in 0..2 {
        let ran = tracerag.run(&["dead-letters", "replay"]);
        assert_eq!((ran.status, ran.stdout.as_str()), (0, ""), "{}", ran.stderr);
        assert_says(&ran, &["nothing replayed", "still bad, and kept: 1 letters", "/0/1: "]);
        assert_eq!(tracerag.number("select count(*) from dead_letters"), 1);
    }
    assert_eq!(tracerag.number("select count(*) from flag_events"), 2);
}

/// A lake without letters says so in words and ends well; so does another tenant's view of one that has some. An
/// unknown letter is an error that names the list; what is no name of a letter, or no reason that can be replayed, is
/// wrong use.
#[test]
fn nothing_to_list_is_no_error() {
    let tracerag = Tracerag::new();
    let missing = tracerag.run(&["dead-letters", "replay"]);
    assert_eq!((missing.status, missing.stdout.as_str()), (1, ""), "{}", missing.stderr);
    assert_says(&missing, &["tracerag demo"]);

    let good =
        "{\"time\": \"2026-11-16T12:00:01Z\", \"feature_flag.key\": \"a\", \"feature_flag.result.variant\": \"on\"}";
    let flags = tracerag.write("flags.jsonl", format!("{good}\n{{\n"));
    tracerag.replay(&[&flags]);
    for arguments in [&["list"][..], &["list", "--reason", "decode"], &["replay"]] {
        let ran = tracerag.run(&[&["--tenant", "other", "dead-letters"][..], arguments].concat());
        assert_eq!((ran.status, ran.stdout.as_str()), (0, ""), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("no dead letter"), "{arguments:?}: {}", ran.stderr);
    }
    let text = tracerag.done(&["--tenant", "other", "dead-letters", "list", "--format", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), json!({"summary": [], "letters": []}));

    let unknown = tracerag.run(&["dead-letters", "show", "otlp_spans/0/7"]);
    assert_eq!((unknown.status, unknown.stdout.as_str()), (1, ""), "{}", unknown.stderr);
    assert_says(&unknown, &["otlp_spans/0/7", "dead-letters list"]);
    for wrong in [&["show", "otlp_spans"][..], &["replay", "--reason", "gap"], &["replay", "--encoding", "json"]] {
        let ran = tracerag.run(&[&["dead-letters"][..], wrong].concat());
        assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{wrong:?}: {}", ran.stderr);
    }
}

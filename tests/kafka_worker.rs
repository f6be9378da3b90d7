//! `tracerag run` against a real Kafka broker.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::support::collector::{Collector, Export, Signal};
use crate::support::kafka::{Kafka, Record};
use crate::support::program::Tracerag;
use crate::support::{free_port, telemetry, wait_for};

/// More than anything takes that is waited for, on a machine that has much other work, too: who was killed is missed by the
/// group after 45 s, and by the lake up to a minute later. Only what fails waits so long.
pub const LIMIT: Duration = Duration::from_secs(900);

#[derive(Clone)]
pub struct Topics {
    pub spans: String,
    pub logs: String,
    pub metrics: String,
}

impl Topics {
    pub fn new(kafka: &Kafka) -> Topics {
        Topics { spans: kafka.topic("spans", 3), logs: kafka.topic("logs", 3), metrics: kafka.topic("metrics", 1) }
    }
}

pub fn config(tracerag: &Tracerag, kafka: &Kafka, topics: &Topics, encoding: &str) -> PathBuf {
    let text = format!(
        "[kafka]\nbootstrap_servers = \"{}\"\ngroup_id = \"{}\"\n\
         [topics]\nspans = {{ topics = [\"{}\"], encoding = \"{encoding}\" }}\nlogs = {{ topics = [\"{}\"], encoding = \"{encoding}\" }}\n\
         metrics = {{ topics = [\"{}\"], encoding = \"{encoding}\" }}\nflags = {{ topics = [] }}\ndeployments = {{ topics = [] }}\nheaps = {{ topics = [] }}\n\
         [redaction]\nkey = \"0123456789abcdef0123456789abcdef\"\n[lake]\nflush_interval = \"500ms\"\n[metrics]\nlisten = \"127.0.0.1:{}\"\n",
        kafka.bootstrap(),
        topics.spans,
        topics.spans,
        topics.logs,
        topics.metrics,
        free_port()
    );
    tracerag.write("tracerag.toml", text)
}

/// A configuration of a worker of this name, as [`config`] writes it, with more settings of its client.
pub fn named_config(tracerag: &Tracerag, kafka: &Kafka, topics: &Topics, name: &str, options: &str) -> PathBuf {
    let text = std::fs::read_to_string(config(tracerag, kafka, topics, "otlp_json")).unwrap();
    let text = text.replacen("[kafka]\n", &format!("[kafka]\noptions = {{ {options} }}\n"), 1);
    tracerag.write(&format!("{name}.toml"), text)
}

/// The port that a configuration of [`config`] has for metrics.
pub fn metrics_port(config: &Path) -> u16 {
    let text = std::fs::read_to_string(config).unwrap();
    let (_, listen) = text.split_once("listen = \"127.0.0.1:").unwrap();
    listen.trim_end_matches(['"', '\n']).parse().unwrap()
}

/// A file of the sample, line by line: a message each.
pub fn lines(name: &str) -> Vec<String> {
    telemetry::read(&telemetry::sample().join(name)).lines().map(str::to_owned).collect()
}

/// Waits until a query gives a number; the lake may not be there yet.
pub fn until(tracerag: &Tracerag, query: &str, wanted: i64, log: impl Fn() -> String) {
    let mut last = String::new();
    let start = std::time::Instant::now();
    while start.elapsed() < LIMIT {
        let ran = tracerag.run(&["sql", "--format", "json", query]);
        last = format!("{}{}", ran.stdout, ran.stderr);
        let rows: Result<Vec<Value>, _> = serde_json::from_str(&ran.stdout);
        if let Ok(rows) = rows
            && rows.first().and_then(|row| row.as_object()?.values().next()?.as_i64()) == Some(wanted)
        {
            return;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    panic!("{query} did not become {wanted}, but {last}\n{}", log());
}

/// The sample goes through Kafka as OTLP/JSON, the worker is killed in the middle and another one goes on: every span,
/// log record and point is there once, and so is every trace.
#[test]
fn a_killed_worker_loses_nothing_and_doubles_nothing() {
    let Some(kafka) = Kafka::shared() else { return };
    let tracerag = Tracerag::new();
    let topics = Topics::new(kafka);
    let config = config(&tracerag, kafka, &topics, "otlp_json");
    let (spans, logs, metrics) = (lines("traces.jsonl.zst"), lines("logs.jsonl.zst"), lines("metrics.jsonl.zst"));
    let produce = |topic: &str, lines: &[String]| {
        kafka.produce(topic, lines.iter().map(|line| Record { payload: Some(line.as_bytes()), ..Record::default() }));
    };
    let (first, second) = spans.split_at(spans.len() / 2);
    produce(&topics.spans, first);
    produce(&topics.logs, &logs);
    let worker = tracerag.worker(&config);
    wait_for("the first rows", LIMIT, || tracerag.has_spans().then_some(()));
    worker.kill();
    produce(&topics.spans, second);
    produce(&topics.metrics, &metrics);
    let worker = tracerag.worker(&config);
    until(&tracerag, "select count(*) from spans", 21_061, || worker.log_tail());
    until(&tracerag, "select count(*) from metrics", 7_032, || worker.log_tail());
    until(&tracerag, "select count(*) from logs", 10_955, || worker.log_tail());
    assert!(worker.terminate(), "the worker does not end on SIGTERM");
    assert_eq!(tracerag.number("select count(*) from (select distinct trace_id, span_id from spans)"), 21_061);
    assert_eq!(tracerag.number("select count(*) from traces"), 307);
    assert_eq!(tracerag.number("select cast(sum(span_count) as bigint) from traces"), 21_061);
    assert_eq!(tracerag.number("select count(*) from logs where joined_by = 'ids'"), 10_955);

    let replayed = Tracerag::new();
    let sample = telemetry::sample();
    replayed.replay(
        &["traces.jsonl.zst", "logs.jsonl.zst", "metrics.jsonl.zst"]
            .map(|name| sample.join(name))
            .each_ref()
            .map(|path| path.as_path()),
    );
    assert_same_rows(&tracerag, &replayed);
}

/// What is read from Kafka and what is replayed differ in their origin and in when they were taken, and in nothing else.
/// (A log record without any time gets that of its message, so times of logs are left out.)
fn assert_same_rows(one: &Tracerag, other: &Tracerag) {
    const OWN: [&str; 9] = [
        "kafka_topic",
        "kafka_partition",
        "kafka_offset",
        "ingested_at",
        "closed_at",
        "close_reason",
        "revision",
        "record_hash",
        "joined_by",
    ];
    for (table, order) in [
        ("spans", "trace_id, span_id"),
        ("traces", "trace_id"),
        ("logs", "trace_id, span_id, body, severity_text"),
        ("metrics", "service_instance_id, name, time, value"),
    ] {
        let names = one.sql(&format!(
            "select column_name from information_schema.columns where table_name = '{table}' order by ordinal_position"
        ));
        let names: Vec<&str> = names.iter().filter_map(|row| row["column_name"].as_str()).collect();
        let names: Vec<&str> =
            names.into_iter().filter(|name| !(OWN.contains(name) || (table == "logs" && *name == "time"))).collect();
        let query = format!("select {} from {table} order by {order}", names.join(", "));
        let (left, right) =
            (one.done(&["sql", "--format", "csv", &query]), other.done(&["sql", "--format", "csv", &query]));
        for (number, (left, right)) in left.lines().zip(right.lines()).enumerate() {
            assert_eq!(left, right, "line {number} of {table} differs");
        }
        assert_eq!(left.len(), right.len(), "{table} differs in length");
    }
}

/// The answer of a worker to `GET path`: status and body.
pub fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// What `status` tells, once the broker has told it all: a busy one may take longer than the two seconds that `status` waits.
fn status(tracerag: &Tracerag, config: &Path) -> Value {
    wait_for("the broker answers in time", LIMIT, || {
        let text = tracerag.done(&["--config", config.to_str().unwrap(), "status", "--format", "json"]);
        let told: Value = serde_json::from_str(&text).unwrap();
        let mut partitions = told["partitions"].as_array().into_iter().flatten();
        let is_all = told["broker_error"].is_null() && partitions.all(|partition| partition["lag"].is_number());
        is_all.then_some(told)
    })
}

/// A worker whose topics are not there yet waits: `/healthz` answers, `/readyz` does not, and `status` names the
/// topics. Once they appear they are read without a restart, `/readyz` answers, and `status` and `/metrics` tell the
/// lag, which comes down to nothing, and the open traces.
#[test]
fn a_topic_may_appear_later() {
    let Some(kafka) = Kafka::shared() else { return };
    let tracerag = Tracerag::new();
    let name = |signal: &str| format!("later-{signal}-{}", std::process::id());
    let topics = Topics { spans: name("spans"), logs: name("logs"), metrics: name("metrics") };
    let config = config(&tracerag, kafka, &topics, "otlp_json");
    let port = metrics_port(&config);
    let worker = tracerag.worker(&config);
    wait_for("the worker answers", LIMIT, || get(port, "/healthz").filter(|(status, _)| *status == 200));
    wait_for("the lake is there", LIMIT, || (tracerag.run(&["sql", "select 1"]).status == 0).then_some(()));
    assert_eq!(get(port, "/readyz").map(|(status, _)| status), Some(503), "{}", worker.log_tail());
    let mut missing = vec![topics.logs.as_str(), &topics.metrics, &topics.spans];
    missing.sort_unstable();
    let told = status(&tracerag, &config);
    assert_eq!(told["waiting_for_topics"], Value::from(missing), "{told:#}");
    let text = wait_for("the broker answers in time", LIMIT, || {
        let text = tracerag.done(&["--config", config.to_str().unwrap(), "status"]);
        Some(text).filter(|text| !text.contains("lag and missing topics are not known"))
    });
    assert!(text.contains(&format!("waiting for topics: {}", topics.logs)), "{text}");

    for topic in [&topics.spans, &topics.logs, &topics.metrics] {
        kafka.create_topic(topic, 1, &[]);
    }
    let spans = lines("traces.jsonl.zst");
    kafka.produce(
        &topics.spans,
        spans.iter().map(|line| Record { payload: Some(line.as_bytes()), ..Record::default() }),
    );
    until(&tracerag, "select count(*) from spans", 21_061, || worker.log_tail());
    wait_for("the worker is ready", LIMIT, || get(port, "/readyz").filter(|(status, _)| *status == 200));
    let told = wait_for("the worker counts its open traces", LIMIT, || {
        Some(status(&tracerag, &config)).filter(|told| told["open_traces"] == 0)
    });
    assert_eq!(told["waiting_for_topics"], Value::Array(vec![]), "{told:#}");
    let partitions = told["partitions"].as_array().unwrap();
    let of_spans = partitions.iter().find(|partition| partition["topic"] == topics.spans.as_str()).unwrap();
    assert_eq!((of_spans["lag"].as_i64(), of_spans["next_offset"].as_u64()), (Some(0), Some(spans.len() as u64)));
    // The ends of partitions are looked up every second or two.
    let tells_no_lag = |line: &str| {
        line.starts_with("tracerag_lag_records{") && line.contains(topics.spans.as_str()) && line.ends_with(" 0")
    };
    let text = wait_for("/metrics tells that nothing lags", LIMIT, || {
        get(port, "/metrics").map(|(_, text)| text).filter(|text| text.lines().any(tells_no_lag))
    });
    let value = |name: &str| {
        let of_spans = |line: &&str| line.starts_with(&format!("{name}{{")) && line.contains(topics.spans.as_str());
        let line = text.lines().find(of_spans).unwrap_or_else(|| panic!("no {name} of {}:\n{text}", topics.spans));
        line.rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!(value("tracerag_lag_records"), "0");
    assert_eq!(value("tracerag_records_total"), spans.len().to_string());
    assert!(value("tracerag_delay_seconds").parse::<f64>().unwrap() < 60.0);
    for series in ["tracerag_open_traces 0", "tracerag_epoch_seconds_bucket{"] {
        assert!(text.lines().any(|line| line.starts_with(series)), "no {series} in\n{text}");
    }
    assert!(worker.terminate(), "the worker does not end on SIGTERM");
}

/// A real Collector sends the sample keyed by trace id as protobuf: the lake counts what was sent. A message that is no
/// OTLP stands in the dead letters with its origin, a tombstone is skipped, and neither stops its partition.
#[test]
fn a_collector_feeds_the_lake() {
    let Some(kafka) = Kafka::shared() else { return };
    let topics = Topics::new(kafka);
    let export = Export::proto(&topics.spans, &topics.logs, &topics.metrics).keyed();
    let Some(mut collector) = Collector::start(kafka, &export) else { return };
    let tracerag = Tracerag::new();
    let config = config(&tracerag, kafka, &topics, "otlp_proto");
    kafka.produce(
        &topics.spans,
        [
            Record { payload: Some(b"{\"not\": \"protobuf\"}"), partition: Some(1), ..Record::default() },
            Record { key: Some(b"gone"), partition: Some(1), ..Record::default() },
        ],
    );
    let worker = tracerag.worker(&config);
    collector.post_all(Signal::Traces, lines("traces.jsonl.zst").iter().map(String::as_str));
    collector.post_all(Signal::Logs, lines("logs.jsonl.zst").iter().map(String::as_str));
    collector.stop();
    until(&tracerag, "select count(*) from spans", 21_061, || worker.log_tail());
    until(&tracerag, "select count(*) from logs", 10_955, || worker.log_tail());
    assert!(worker.terminate(), "the worker does not end on SIGTERM");
    assert_eq!(tracerag.number("select count(*) from traces"), 307);
    let letters = tracerag.sql("select kafka_topic, kafka_partition, kafka_offset, detail from dead_letters");
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!((letters[0]["kafka_partition"].as_i64(), letters[0]["kafka_offset"].as_i64()), (Some(1), Some(0)));
    assert!(letters[0]["detail"].as_str().unwrap().contains("otlp_json"), "{letters:?}");
}

//! `tracerag rekey` and `tracerag run --rekey` against a real Kafka broker.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::kafka_plan::member_of;
use crate::kafka_worker::{LIMIT, Topics, config, get, lines, metrics_port, until};
use crate::support::kafka::{Kafka, Record};
use crate::support::process::Process;
use crate::support::program::Tracerag;
use crate::support::wait_for;

const SPANS: i64 = 21_061;
const LOGS: i64 = 10_955;
const TRACES: i64 = 307;
const PARTITIONS: usize = 4;

/// Topics that are not keyed, and names for those that are written. None of the latter exists yet.
struct Bench {
    kafka: &'static Kafka,
    tracerag: Tracerag,
    unkeyed: Topics,
    keyed: Topics,
}

impl Bench {
    fn new(kafka: &'static Kafka) -> Bench {
        let unkeyed = Topics {
            spans: kafka.topic("rekey-spans", 3),
            logs: kafka.topic("rekey-logs", 2),
            metrics: kafka.topic("rekey-metrics", 1),
        };
        let by_trace = |topic: &str| format!("{topic}-by-trace");
        let keyed =
            Topics { spans: by_trace(&unkeyed.spans), logs: by_trace(&unkeyed.logs), metrics: unkeyed.metrics.clone() };
        Bench { kafka, tracerag: Tracerag::new(), unkeyed, keyed }
    }

    /// A configuration that reads the topics that are not keyed; `group` is that of the re-keying.
    fn before(&self, name: &str, group: &str) -> PathBuf {
        let text = std::fs::read_to_string(config(&self.tracerag, self.kafka, &self.unkeyed, "otlp_json")).unwrap();
        let rekey = format!(
            "[rekey]\nspans = \"{}\"\nlogs = \"{}\"\npartitions = {PARTITIONS}\ngroup_id = \"{group}\"\n",
            self.keyed.spans, self.keyed.logs
        );
        self.tracerag.write(name, format!("{text}{rekey}"))
    }

    /// A configuration that reads those that are written.
    fn behind(&self) -> PathBuf {
        config(&self.tracerag, self.kafka, &self.keyed, "otlp_proto")
    }

    /// A group of the re-keying that no other test has.
    fn group(&self, name: &str) -> String {
        format!("{}-{name}", self.unkeyed.spans)
    }

    fn rekey(&self, config: &Path) -> Process {
        self.tracerag.background(config, &["rekey"], "rekey.log")
    }

    /// Messages without keys, one after the other into all partitions of a topic.
    fn produce(&self, topic: &str, messages: &[String]) {
        let partitions = self.kafka.partitions(topic) as i32;
        self.kafka.produce(
            topic,
            messages.iter().zip((0..partitions).cycle()).map(|(message, partition)| Record {
                payload: Some(message.as_bytes()),
                partition: Some(partition),
                headers: &[("x-test", b"kept")],
                ..Record::default()
            }),
        );
    }

    /// Waits until a group has committed the end of each partition of the topics that are re-keyed.
    fn until_rekeyed(&self, group: &str, process: &Process) {
        let consumer = member_of(self.kafka, group);
        for topic in [&self.unkeyed.spans, &self.unkeyed.logs] {
            let ends: Vec<i64> = self.kafka.watermarks(topic).iter().map(|(_, high)| *high).collect();
            wait_for("everything is re-keyed", LIMIT, || {
                assert!(process.alive(), "{}", process.log_tail());
                let mut list = TopicPartitionList::new();
                list.add_partition_range(topic, 0, ends.len() as i32 - 1);
                let committed = consumer.committed_offsets(list, Duration::from_secs(10)).ok()?;
                let is_at_end = |(partition, end): (usize, &i64)| {
                    let found = committed.find_partition(topic, partition as i32).unwrap();
                    found.offset() == Offset::Offset(*end)
                };
                ends.iter().enumerate().all(is_at_end).then_some(())
            });
        }
    }

    /// Messages in a topic that is written.
    fn written(&self, topic: &str) -> i64 {
        self.kafka.watermarks(topic).iter().map(|(_, high)| *high).sum()
    }

    /// Waits until a worker that has read from the beginning has taken every re-keyed message, and closed every trace.
    fn until_taken(&self, port: u16, worker: &Process) {
        let topics = [&self.keyed.spans, &self.keyed.logs];
        let wanted: i64 = topics.iter().map(|topic| self.written(topic)).sum();
        let sum = |text: &str, topic: &str| -> i64 {
            let of_topic = format!("topic=\"{topic}\"");
            let lines =
                text.lines().filter(|line| line.starts_with("tracerag_records_total{") && line.contains(&of_topic));
            lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as i64).sum()
        };
        let metrics = || {
            assert!(worker.alive(), "{}", worker.log_tail());
            get(port, "/metrics").map(|(_, text)| text)
        };
        wait_for("the worker has taken all messages", LIMIT, || {
            let text = metrics()?;
            (topics.iter().map(|topic| sum(&text, topic)).sum::<i64>() == wanted).then_some(())
        });
        // The gauge is set every second; one that is older says nothing.
        std::thread::sleep(Duration::from_secs(2));
        wait_for("no trace is open", LIMIT, || {
            metrics()?.lines().any(|line| line == "tracerag_open_traces 0").then_some(())
        });
    }

    fn assert_everything_once(&self) {
        let number = |query: &str| self.tracerag.number(query);
        assert_eq!(number("select count(*) from spans"), SPANS);
        assert_eq!(number("select count(*) from (select distinct trace_id, span_id from spans)"), SPANS);
        assert_eq!(number("select count(*) from logs"), LOGS);
        assert_eq!(number("select count(*) from logs where joined_by = 'ids'"), LOGS);
        assert_eq!(number("select count(*) from traces"), TRACES);
        assert_eq!(number("select cast(sum(span_count) as bigint) from traces"), SPANS);
    }
}

fn stop(process: Process) {
    assert!(process.terminate(), "the process does not end on SIGTERM");
}

/// The sample lies scattered over topics that are not keyed. The re-keying makes its topics, is killed while it writes
/// and started again; then all is re-keyed a second time by another group. Afterwards each trace has its spans and its
/// logs under one partition number, header and origin are kept, and the lake that a worker makes of it has everything
/// that was sent once. A message that cannot be read is a dead letter as it came. Guarantees that what is written twice
/// is stored once, and that a kill loses nothing.
#[test]
fn what_is_rekeyed_twice_is_stored_once() {
    let Some(kafka) = Kafka::shared() else { return };
    let bench = Bench::new(kafka);
    let (first_group, second_group) = (bench.group("first"), bench.group("second"));
    let first = bench.before("first.toml", &first_group);
    let (spans, logs) = (lines("traces.jsonl.zst"), lines("logs.jsonl.zst"));
    let (early, late) = spans.split_at(spans.len() / 2);
    bench.produce(&bench.unkeyed.spans, early);
    bench.produce(&bench.unkeyed.spans, &[String::from("{\"not\": \"OTLP\"}")]);
    let rekey = bench.rekey(&first);
    wait_for("something is re-keyed", LIMIT, || {
        assert!(rekey.alive(), "{}", rekey.log_tail());
        (kafka.partitions(&bench.keyed.spans) > 0 && bench.written(&bench.keyed.spans) > 0).then_some(())
    });
    rekey.kill();
    bench.produce(&bench.unkeyed.spans, late);
    bench.produce(&bench.unkeyed.logs, &logs);
    let rekey = bench.rekey(&first);
    let behind = bench.behind();
    let port = metrics_port(&behind);
    let worker = bench.tracerag.worker(&behind);
    bench.until_rekeyed(&first_group, &rekey);
    stop(rekey);
    until(&bench.tracerag, "select count(*) from spans", SPANS, || worker.log_tail());
    until(&bench.tracerag, "select count(*) from logs", LOGS, || worker.log_tail());

    let once = bench.written(&bench.keyed.spans);
    let rekey = bench.rekey(&bench.before("second.toml", &second_group));
    bench.until_rekeyed(&second_group, &rekey);
    stop(rekey);
    assert!(bench.written(&bench.keyed.spans) > once);
    bench.until_taken(port, &worker);
    stop(worker);
    bench.assert_everything_once();

    let letters = bench.tracerag.sql("select reason, kafka_topic, size_bytes from dead_letters");
    assert!(!letters.is_empty());
    for letter in &letters {
        assert_eq!((letter["reason"].as_str(), letter["size_bytes"].as_i64()), (Some("decode"), Some(15)), "{letter}");
        assert_eq!(letter["kafka_topic"], bench.keyed.spans.as_str());
    }
    let mut places = BTreeMap::new();
    for topic in [&bench.keyed.spans, &bench.keyed.logs] {
        assert_eq!(kafka.partitions(topic), PARTITIONS);
        for message in kafka.read_all(topic) {
            let headers = message.headers().unwrap();
            assert_eq!((headers.get(0).key, headers.get(0).value), ("x-test", Some(&b"kept"[..])));
            let origin = String::from_utf8(headers.get(1).value.unwrap().to_vec()).unwrap();
            assert_eq!(headers.get(1).key, "tracerag.rekeyed_from");
            assert!(origin.starts_with(&bench.unkeyed.spans) || origin.starts_with(&bench.unkeyed.logs), "{origin}");
            let Some(key) = message.key() else { continue };
            let place = *places.entry(key.to_vec()).or_insert(message.partition());
            assert_eq!(place, message.partition(), "{} lies in two partitions", String::from_utf8_lossy(key));
        }
    }
    assert!(places.len() as i64 >= TRACES);
}

/// One process re-keys and reads what it has re-keyed, beside metrics that it reads as they are; it is killed in the
/// middle and started again. The lake has everything once, and the check says so where it is told to read what was
/// re-keyed; otherwise it refuses to pass a lake that it has compared with nothing.
#[test]
fn a_worker_rekeys_for_itself() {
    let Some(kafka) = Kafka::shared() else { return };
    let bench = Bench::new(kafka);
    let group = bench.group("both");
    let both = bench.before("both.toml", &group);
    let (spans, logs, metrics) = (lines("traces.jsonl.zst"), lines("logs.jsonl.zst"), lines("metrics.jsonl.zst"));
    let (early, late) = spans.split_at(spans.len() / 2);
    bench.produce(&bench.unkeyed.spans, early);
    bench.produce(&bench.unkeyed.logs, &logs);
    let start = || bench.tracerag.background(&both, &["run", "--rekey"], "both.log");
    let worker = start();
    wait_for("the first rows", LIMIT, || {
        assert!(worker.alive(), "{}", worker.log_tail());
        bench.tracerag.has_spans().then_some(())
    });
    worker.kill();
    bench.produce(&bench.unkeyed.spans, late);
    bench.produce(&bench.unkeyed.metrics, &metrics);
    let worker = start();
    until(&bench.tracerag, "select count(*) from spans", SPANS, || worker.log_tail());
    until(&bench.tracerag, "select count(*) from logs", LOGS, || worker.log_tail());
    until(&bench.tracerag, "select count(*) from metrics", 7_032, || worker.log_tail());
    bench.until_rekeyed(&group, &worker);
    stop(worker);
    bench.assert_everything_once();
    let check = |more: &[&str]| {
        let arguments = ["--config", both.to_str().unwrap(), "check", "--format", "json"];
        bench.tracerag.run(&[&arguments[..], more].concat())
    };
    let checked = check(&["--rekey"]);
    assert_eq!(checked.status, 0, "{}\n{}", checked.stdout, checked.stderr);
    let report: serde_json::Value = serde_json::from_str(&checked.stdout).unwrap();
    assert_eq!((&report["differences"], &report["tables"]["spans"]["sent"]), (&0.into(), &SPANS.into()), "{report:#}");
    let blind = check(&[]);
    assert_eq!(blind.status, 2, "{}", blind.stdout);
    assert!(blind.stderr.contains("--rekey"), "{}", blind.stderr);
    let topics = bench.tracerag.sql("select distinct kafka_topic from spans");
    assert_eq!(topics.len(), 1, "{topics:?}");
    assert_eq!(topics[0]["kafka_topic"], bench.keyed.spans.as_str());
}

/// The topics that are written have different numbers of partitions: the re-keying ends by itself, and says which and
/// what to do, before it has read anything.
#[test]
fn topics_of_different_sizes_are_refused() {
    let Some(kafka) = Kafka::shared() else { return };
    let bench = Bench::new(kafka);
    kafka.create_topic(&bench.keyed.spans, 2, &[]);
    kafka.create_topic(&bench.keyed.logs, 3, &[]);
    let config = bench.before("rekey.toml", &bench.group("apart"));
    let ran = bench.tracerag.run(&["--config", config.to_str().unwrap(), "rekey"]);
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    let sizes = format!("{:?} has 2 partitions", bench.keyed.spans);
    for part in [sizes.as_str(), "has 3", "[rekey]"] {
        assert!(ran.stderr.contains(part), "no {part:?} in {}", ran.stderr);
    }
}

//! `tracerag run --plan` against a real Kafka broker, and what a worker makes of keys when it comes to others.

use std::path::Path;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::Value;

use crate::kafka_worker::{LIMIT, Topics, config, until};
use crate::support::kafka::{Kafka, Record};
use crate::support::program::{Ran, Tracerag};
use crate::support::wait_for;

/// What a worker's log says where the broker has shown it too little of a topic.
const LATE: &str = "were not looked at in time";

/// Topics of spans and logs, the first with two partitions; that of metrics does not exist.
fn topics(kafka: &Kafka, log_partitions: i32) -> Topics {
    let spans = kafka.topic("plan-spans", 2);
    let metrics = format!("{spans}-metrics");
    Topics { spans, logs: kafka.topic("plan-logs", log_partitions), metrics }
}

fn id(trace: usize) -> String {
    format!("{:032x}", trace + 1)
}

/// A message with the root of a trace.
fn root(trace: usize) -> String {
    format!(
        "{{\"resourceSpans\": [{{\"scopeSpans\": [{{\"spans\": [{{\"traceId\": \"{}\", \"spanId\": \"{:016x}\", \
         \"name\": \"GET /\", \"startTimeUnixNano\": \"1764500000000000000\", \
         \"endTimeUnixNano\": \"1764500001000000000\"}}]}}]}}]}}",
        id(trace),
        trace + 1
    )
}

/// A span without a key, in a partition.
fn produce_unkeyed(kafka: &Kafka, topic: &str, partition: i32, trace: usize) {
    let message = root(trace);
    let record = Record { payload: Some(message.as_bytes()), partition: Some(partition), ..Record::default() };
    kafka.produce(topic, [record]);
}

/// A plan, once it has seen all: a busy broker may not show it everything within the seconds that a plan waits.
fn run_plan(tracerag: &Tracerag, config: &Path, more: &[&str]) -> Ran {
    let config = config.to_str().unwrap();
    wait_for("the broker shows everything in time", LIMIT, || {
        let ran = tracerag.run(&[&["--config", config, "run", "--plan"][..], more].concat());
        let has_missed = ["was not looked at to the end", "are not known"].iter().any(|part| ran.stdout.contains(part));
        (!has_missed).then_some(ran)
    })
}

/// The plan as JSON; a worker would run.
fn planned(tracerag: &Tracerag, config: &Path) -> Value {
    let ran = run_plan(tracerag, config, &["--format", "json"]);
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
    let plan: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(plan["would_run"], true, "{plan:#}");
    plan
}

/// What the plan says of a topic.
fn of<'p>(plan: &'p Value, topic: &str) -> &'p Value {
    let topics = plan["topics"].as_array().unwrap();
    topics.iter().find(|found| found["topic"] == topic).unwrap_or_else(|| panic!("no {topic} in {plan:#}"))
}

/// First offset, where it comes from, end and number of messages of each partition of a topic.
fn offsets(plan: &Value, topic: &str) -> Vec<(i64, String, i64, i64)> {
    let partitions = plan["partitions"].as_array().unwrap();
    let number = |value: &Value| value.as_i64().unwrap();
    let line = |line: &Value| {
        let by = line["from_by"].as_str().unwrap().to_owned();
        (number(&line["from"]), by, number(&line["to"]), number(&line["messages"]))
    };
    partitions.iter().filter(|line| line["topic"] == topic).map(line).collect()
}

pub fn member_of(kafka: &Kafka, group: &str) -> BaseConsumer {
    kafka.client().set("group.id", group).set("enable.auto.commit", "false").create().unwrap()
}

/// Whether the broker knows a group of this name.
fn has_group(kafka: &Kafka, group: &str) -> bool {
    let consumer: BaseConsumer = kafka.client().create().unwrap();
    consumer.fetch_metadata(None, LIMIT).unwrap();
    let found = consumer.fetch_group_list(None, LIMIT).unwrap();
    found.groups().iter().any(|found| found.name() == group)
}

/// A topic whose messages carry the ids of their traces as keys is said to be keyed, by the hash that the producer
/// took; a topic of logs with another number of partitions, and one that is missing, are named, and which partitions
/// go to the same worker. A worker would run. Neither a lake nor a consumer group is there afterwards: guarantees that a
/// plan writes nothing.
#[test]
fn a_keyed_topic_is_planned_and_nothing_is_written() {
    let Some(kafka) = Kafka::shared() else { return };
    let tracerag = Tracerag::new();
    let topics = topics(kafka, 3);
    let config = config(&tracerag, kafka, &topics, "otlp_json");
    kafka.produce_keyed(&topics.spans, (0..40).map(|trace| (id(trace), root(trace))));

    let plan = planned(&tracerag, &config);
    let spans = of(&plan, &topics.spans);
    assert_eq!((&spans["keying"], &spans["partitions"]), (&"keyed".into(), &2.into()), "{plan:#}");
    assert!(spans["because"].as_str().unwrap().contains("CRC-32"), "{plan:#}");
    assert_eq!(spans["encodings_seen"]["otlp_json"], 40, "{plan:#}");
    assert_eq!(of(&plan, &topics.logs)["keying"], "unknown", "{plan:#}");
    assert!(plan["co_partitioning"].as_str().unwrap().contains("numbers of partitions differ"), "{plan:#}");
    assert_eq!(plan["missing_topics"], Value::from(vec![topics.metrics.as_str()]), "{plan:#}");
    assert!(plan["position"].is_null(), "{plan:#}");
    let of_logs = plan["partitions"].as_array().unwrap().iter().filter(|line| line["topic"] == topics.logs.as_str());
    let with: Vec<&str> = of_logs.map(|line| line["goes_with"].as_str().unwrap()).collect();
    assert_eq!(with, [0, 1, 0].map(|number| format!("{}/{number}", topics.spans)), "{plan:#}");
    let read = offsets(&plan, &topics.spans);
    assert!(read.iter().all(|(from, by, to, messages)| *from == 0 && by == "kafka.initial_offset" && to == messages));
    assert_eq!(read.iter().map(|(.., messages)| messages).sum::<i64>(), 40);
    assert_eq!(plan["members"], Value::Array(vec![]), "{plan:#}");

    let text = run_plan(&tracerag, &config, &[]).stdout;
    let missing = format!("waiting for topics: {}", topics.metrics);
    for part in ["there is none yet", "no active members", "a worker would start: 40 messages (about", &missing] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    assert!(!tracerag.path("lake").exists());
    assert!(!has_group(kafka, &topics.spans));
}

/// One trace lies in two partitions of a topic, as JSON where protobuf is configured: the plan says that the topic is
/// not keyed and why, what to set in the Collector, and that the encoding is another one. One worker would run.
#[test]
fn an_unkeyed_topic_and_another_encoding_are_told() {
    let Some(kafka) = Kafka::shared() else { return };
    let tracerag = Tracerag::new();
    let topics = topics(kafka, 2);
    let config = config(&tracerag, kafka, &topics, "otlp_proto");
    produce_unkeyed(kafka, &topics.spans, 0, 7);
    produce_unkeyed(kafka, &topics.spans, 1, 7);

    let plan = planned(&tracerag, &config);
    let spans = of(&plan, &topics.spans);
    assert_eq!(spans["keying"], "not keyed", "{plan:#}");
    let why = format!("parts of trace {} lie in partitions", id(7));
    assert!(spans["because"].as_str().unwrap().starts_with(&why), "{plan:#}");
    assert_eq!((&spans["encoding"], &spans["encodings_seen"]["otlp_json"]), (&"otlp_proto".into(), &2.into()));
    assert!(plan["co_partitioning"].is_null(), "{plan:#}");
    let text = run_plan(&tracerag, &config, &[]).stdout;
    for part in ["not keyed", "partition_traces_by_id: true", "holds otlp_json and is configured as otlp_proto"] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

/// Once a lake has taken something, the plan begins where the lake stands, whatever the group has committed, and leaves
/// both as they were. Where Kafka has deleted what the lake still needs, a worker would not run: status 1, and the
/// offsets and the key to set are named.
#[test]
fn the_lake_says_where_the_plan_begins() {
    let Some(kafka) = Kafka::shared() else { return };
    let tracerag = Tracerag::new();
    let topics = topics(kafka, 1);
    let config = config(&tracerag, kafka, &topics, "otlp_json");
    (0..3).for_each(|trace| produce_unkeyed(kafka, &topics.spans, 0, trace));
    let worker = tracerag.worker(&config);
    until(&tracerag, "select count(*) from traces", 3, || worker.log_tail());
    assert!(worker.terminate(), "the worker does not end on SIGTERM");
    (3..5).for_each(|trace| produce_unkeyed(kafka, &topics.spans, 0, trace));

    let consumer = member_of(kafka, &topics.spans);
    let mut offsets_of_group = TopicPartitionList::new();
    offsets_of_group.add_partition_offset(&topics.spans, 0, Offset::Offset(1)).unwrap();
    wait_for("the offset is committed", LIMIT, || consumer.commit(&offsets_of_group, CommitMode::Sync).ok());
    let position = planned(&tracerag, &config)["position"].clone();
    assert!(position.as_u64().unwrap() > 0);
    let plan = planned(&tracerag, &config);
    assert_eq!(offsets(&plan, &topics.spans)[0], (3, "the lake".to_owned(), 5, 2), "{plan:#}");
    assert_eq!(plan["position"], position, "{plan:#}");
    let committed = consumer.committed_offsets(offsets_of_group, LIMIT).unwrap();
    let committed = committed.find_partition(&topics.spans, 0).unwrap().offset();
    assert_eq!(committed, Offset::Offset(1));

    kafka.delete_records(&topics.spans, 0, 4);
    let ran = run_plan(&tracerag, &config, &[]);
    assert_eq!(ran.status, 1, "{}{}", ran.stdout, ran.stderr);
    for part in ["a worker would not run", "offsets 3 to 3 (1)", "kafka.out_of_range"] {
        assert!(ran.stdout.contains(part), "no {part:?} in\n{}", ran.stdout);
        assert!(ran.stderr.contains(part), "no {part:?} in\n{}", ran.stderr);
    }
}

/// A second worker comes to a topic that is not keyed: it ends by itself, names the topic, the evidence and the remedy,
/// and a plan says the same beforehand. The first one goes on and takes all. Guarantees that a worker that was started
/// by mistake cuts no traces for long.
#[test]
fn a_second_worker_on_an_unkeyed_topic_ends() {
    let Some(kafka) = Kafka::shared() else { return };
    let tracerag = Tracerag::new();
    let topics = topics(kafka, 2);
    let first = config(&tracerag, kafka, &topics, "otlp_json");
    produce_unkeyed(kafka, &topics.spans, 0, 0);
    produce_unkeyed(kafka, &topics.spans, 1, 0);
    produce_unkeyed(kafka, &topics.spans, 1, 1);
    let worker = tracerag.worker(&first);
    until(&tracerag, "select count(*) from traces", 2, || worker.log_tail());
    let ran = run_plan(&tracerag, &first, &[]);
    assert_eq!(ran.status, 1, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("start one worker only"), "{}", ran.stderr);

    let mut count = 1;
    let log = wait_for("another worker ends by itself", LIMIT, || {
        count += 1;
        let name = format!("worker-{count}.log");
        // Another port for its metrics; the first one has read its file.
        let another = tracerag.worker_logging(&config(&tracerag, kafka, &topics, "otlp_json"), &name);
        // It is made a moment after the worker.
        let log = || std::fs::read_to_string(tracerag.path(&name)).unwrap_or_default();
        // Who has seen nothing against itself, because the broker is busy, goes on. It gives place to one that may see it.
        wait_for("it ends, or has not seen the topics in time", LIMIT, || {
            (!another.alive() || log().contains(LATE)).then_some(())
        });
        if another.alive() {
            assert!(another.terminate(), "the worker does not end on SIGTERM");
        }
        let log = log();
        let is_refused = log.contains("is not keyed by trace id");
        assert!(is_refused || log.contains(LATE), "{log}");
        is_refused.then_some(log)
    });
    for part in [topics.spans.as_str(), "start one worker only", "partition_traces_by_id: true"] {
        assert!(log.contains(part), "no {part:?} in\n{log}");
    }
    assert!(worker.alive(), "{log}");
    produce_unkeyed(kafka, &topics.spans, 0, 2);
    produce_unkeyed(kafka, &topics.spans, 1, 3);
    until(&tracerag, "select count(*) from traces", 4, || worker.log_tail());
    assert!(worker.terminate(), "the worker does not end on SIGTERM");
}

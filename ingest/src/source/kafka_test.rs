#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tracerag_schemas::SourcePartition;

use super::*;
use crate::dead_letter::DeadLetter;
use crate::source::{DeadLetterTopic, Encoding, Signal};

type Cluster = MockCluster<'static, DefaultProducerContext>;

/// More than a slow machine takes for several rebalances, of which each may wait for the session's timeout.
const PATIENCE: Duration = Duration::from_secs(120);

fn cluster(topics: &[(&str, i32)]) -> Cluster {
    let cluster = MockCluster::new(1).unwrap();
    for (topic, partitions) in topics {
        cluster.create_topic(topic, *partitions, 1).unwrap();
    }
    cluster
}

fn config(cluster: &Cluster, more: &str) -> KafkaConfig {
    let servers = cluster.bootstrap_servers();
    let mut config: KafkaConfig =
        serde_json::from_str(&format!(r#"{{"bootstrap_servers": "{servers}"{more}}}"#)).unwrap();
    // The mock broker lets a second rebalance wait for the session's timeout.
    config.options.insert("session.timeout.ms".to_owned(), "3000".to_owned());
    config.options.insert("heartbeat.interval.ms".to_owned(), "500".to_owned());
    config
}

fn topics(json: &str) -> TopicsConfig {
    serde_json::from_str(json).unwrap()
}

/// Only spans and logs, so that nothing is missing.
fn two_topics() -> TopicsConfig {
    let none = r#"{"topics": []}"#;
    topics(&format!(r#"{{"metrics": {none}, "flags": {none}, "deployments": {none}, "heaps": {none}}}"#))
}

fn connect(config: &KafkaConfig, topics: &TopicsConfig) -> KafkaSource {
    KafkaSource::connect(config, topics, SourceLimits::default()).unwrap()
}

fn publish(cluster: &Cluster, topic: &str, partition: i32, values: impl IntoIterator<Item = Vec<u8>>) {
    let mut client = rdkafka::ClientConfig::new();
    client.set("bootstrap.servers", cluster.bootstrap_servers());
    let producer: ThreadedProducer<DefaultProducerContext> = client.create().unwrap();
    for value in values {
        let headers = OwnedHeaders::new().insert(Header { key: "env", value: Some("lab") });
        let record = BaseRecord::to(topic).partition(partition).key(&b"key"[..]).payload(&value).headers(headers);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

fn starts(from: &[(SourcePartition, i64)]) -> Vec<Start> {
    from.iter().map(|(source, at)| Start::new(source.clone(), *at)).collect()
}

/// Polls until `done` says so; what it saw is in the panic's message.
fn until(source: &mut KafkaSource, mut done: impl FnMut(Event) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    while Instant::now() < deadline {
        let event = source.poll(Duration::from_millis(200)).unwrap();
        seen.push(format!("{event:.60?}"));
        if done(event) {
            return;
        }
    }
    panic!("not in time: {:?}", seen.iter().rev().take(20).collect::<Vec<_>>());
}

fn assigned(source: &mut KafkaSource) -> Vec<SourcePartition> {
    let mut found = Vec::new();
    until(source, |event| match event {
        Event::Assigned(sources) => {
            found = sources;
            true
        }
        Event::Messages(_) => panic!("a record before the start"),
        _ => false,
    });
    found.sort();
    found
}

/// Reads until every partition is at its end; gives offset and value by partition.
fn read_all(source: &mut KafkaSource) -> BTreeMap<String, Vec<(i64, Vec<u8>)>> {
    let mut records: BTreeMap<String, Vec<(i64, Vec<u8>)>> = BTreeMap::new();
    let deadline = Instant::now() + PATIENCE;
    while !source.reading().all(|(_, at_end)| at_end.is_some()) {
        assert!(Instant::now() < deadline, "not at the end in time");
        if let Event::Messages(batch) = source.poll(Duration::from_millis(200)).unwrap() {
            let to = records.entry(batch.source().to_string()).or_default();
            to.extend(batch.iter().map(|record| (record.offset(), record.value().unwrap().to_vec())));
        }
    }
    records
}

/// Nothing is read before the worker started the assignment; then each partition begins at the offset that
/// it was given, comes in order and whole, with key, headers and timestamp, up to its end; with either assignor.
#[test]
fn assignment_start_and_order() {
    for assignor in ["cooperative-sticky", "range"] {
        let cluster = cluster(&[("otlp_spans", 2), ("otlp_logs", 1)]);
        publish(&cluster, "otlp_spans", 0, (0..1000u32).map(|i| i.to_be_bytes().to_vec()));
        publish(&cluster, "otlp_spans", 1, (0..10u32).map(|i| i.to_be_bytes().to_vec()));
        let options = format!(r#", "headers": ["env"], "options": {{"partition.assignment.strategy": "{assignor}"}}"#);
        let mut source = connect(&config(&cluster, &options), &two_topics());
        let sources = assigned(&mut source);
        let shown: Vec<String> = sources.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["otlp_logs/0", "otlp_spans/0", "otlp_spans/1"], "{assignor}");
        assert!(matches!(source.poll(Duration::from_millis(300)).unwrap(), Event::Idle));

        let mut from = source.initial_offsets(&sources).unwrap();
        assert_eq!(from[1].1, 0);
        from[1].1 = 990;
        source.start(&starts(&from)).unwrap();
        let mut first = None;
        until(&mut source, |event| match event {
            Event::Messages(batch) if &*batch.source().topic == "otlp_spans" && batch.source().partition == 0 => {
                first = Some(batch);
                true
            }
            _ => false,
        });
        let batch = first.unwrap();
        assert_eq!((batch.signal(), batch.encoding()), (Signal::Spans, Encoding::Proto));
        let record = batch.iter().next().unwrap();
        assert_eq!(record.offset(), 990);
        assert_eq!(record.value(), Some(&990u32.to_be_bytes()[..]));
        assert_eq!(record.key(), Some(&b"key"[..]));
        assert_eq!(record.headers().collect::<Vec<_>>(), [("env", Some(&b"lab"[..]))]);
        assert_eq!(record.named_headers().collect::<Vec<_>>(), [("env", Some(&b"lab"[..]))]);
        assert!(record.timestamp().is_some_and(|time| time > 0 && time <= batch.read_at()));

        let rest = read_all(&mut source);
        let last = rest.get("otlp_spans/0").map_or(batch.next_offset() - 1, |records| records.last().unwrap().0);
        assert_eq!(last, 999, "{assignor}");
        source.commit(&[(sources[1].clone(), 1000)]).unwrap();
    }
}

/// After a stop the next worker begins exactly where it is told to, whatever the group's offsets say; and a
/// source that is dropped before it started what it was assigned does not hang.
#[test]
fn restart_reads_where_it_is_told() {
    let cluster = cluster(&[("otlp_spans", 1), ("otlp_logs", 1)]);
    publish(&cluster, "otlp_spans", 0, (0..100u8).map(|i| vec![i]));
    let config = config(&cluster, "");
    let mut unstarted = connect(&config, &two_topics());
    assigned(&mut unstarted);
    drop(unstarted);
    for start in [0i64, 40] {
        let mut source = connect(&config, &two_topics());
        let sources = assigned(&mut source);
        let from: Vec<_> =
            sources.iter().map(|s| (s.clone(), if &*s.topic == "otlp_spans" { start } else { 0 })).collect();
        source.start(&starts(&from)).unwrap();
        let records = &read_all(&mut source)["otlp_spans/0"];
        let expected: Vec<(i64, Vec<u8>)> = (start..100).map(|i| (i, vec![i as u8])).collect();
        assert_eq!(records, &expected);
        source.commit(&[(sources[1].clone(), 77)]).unwrap();
    }
}

/// A partition that is held back hands out nothing until it is let go, and then everything.
#[test]
fn paused_partitions_wait() {
    let cluster = cluster(&[("otlp_spans", 1), ("otlp_logs", 1)]);
    publish(&cluster, "otlp_spans", 0, (0..50u8).map(|i| vec![i]));
    publish(&cluster, "otlp_logs", 0, (0..5u8).map(|i| vec![i]));
    let mut source = connect(&config(&cluster, ""), &two_topics());
    let sources = assigned(&mut source);
    source.start(&starts(&source.initial_offsets(&sources).unwrap())).unwrap();
    let spans = sources[1].clone();
    source.pause(std::slice::from_ref(&spans));
    let mut logs = 0;
    until(&mut source, |event| match event {
        Event::Messages(batch) => {
            assert_ne!(batch.source(), &spans);
            logs += batch.len();
            false
        }
        Event::Idle => logs == 5,
        _ => false,
    });
    source.resume(std::slice::from_ref(&spans));
    assert_eq!(read_all(&mut source)["otlp_spans/0"].len(), 50);
}

/// A partition at its end is seen to be there poll after poll; held back, it keeps the time at which it was seen last,
/// for what comes meanwhile lies unread in its queue.
#[test]
fn the_end_of_a_paused_partition_is_not_seen_again() {
    let cluster = cluster(&[("otlp_spans", 1), ("otlp_logs", 1)]);
    publish(&cluster, "otlp_spans", 0, [vec![1u8]]);
    let mut source = connect(&config(&cluster, ""), &two_topics());
    let sources = assigned(&mut source);
    source.start(&starts(&source.initial_offsets(&sources).unwrap())).unwrap();
    read_all(&mut source);
    let seen = |source: &KafkaSource| source.reading().map(|(_, at_end)| at_end.unwrap()).collect::<Vec<i64>>();
    let idle = |source: &mut KafkaSource| until(source, |event| matches!(event, Event::Idle));
    let before = seen(&source);
    idle(&mut source);
    let again = seen(&source);
    assert!(before.iter().zip(&again).all(|(before, again)| before < again));
    let spans = source.reading().position(|(reading, _)| &*reading.topic == "otlp_spans").unwrap();
    source.pause(&sources[1..]);
    let paused = seen(&source)[spans];
    publish(&cluster, "otlp_spans", 0, [vec![2u8]]);
    idle(&mut source);
    let later = seen(&source);
    assert_eq!(later[spans], paused);
    assert!(later[1 - spans] > paused);
    source.resume(&sources[1..]);
    until(&mut source, |event| matches!(event, Event::Messages(_)));
}

/// An offset that is not in the topic is a clear error, before anything is read, and so are records that were read of a
/// topic that does not have them; so is a start that does not fit the assignment.
#[test]
fn impossible_starts_are_refused() {
    let cluster = cluster(&[("otlp_spans", 1), ("otlp_logs", 1)]);
    let mut source = connect(&config(&cluster, ""), &two_topics());
    let sources = assigned(&mut source);
    let at = |offset| sources.iter().map(|source| Start::new(source.clone(), offset)).collect::<Vec<_>>();
    let error = source.start(&at(7)).unwrap_err();
    assert!(matches!(error, SourceError::OutOfRange { offset: 7, low: 0, high: 0, .. }), "{error}");
    let again: Vec<Start> = at(0).into_iter().map(|start| Start { read_to: 3, ..start }).collect();
    let error = source.start(&again).unwrap_err();
    assert!(matches!(error, SourceError::OutOfRange { offset: 3, low: 0, high: 0, .. }), "{error}");
    let error = source.start(&at(0)[..1]).unwrap_err();
    assert!(matches!(error, SourceError::Assignment { .. }), "{error}");
    source.start(&at(0)).unwrap();
}

/// Topics that are named but do not exist are told once; the plan lists what is there with its amount; the
/// start of a partition that the lake knows is the lake's.
#[test]
fn missing_topics_and_plan() {
    let cluster = cluster(&[("otlp_spans", 2), ("other", 1)]);
    publish(&cluster, "otlp_spans", 1, (0..10u8).map(|i| vec![i]));
    let mut source = connect(&config(&cluster, ""), &topics("{}"));
    assert!(source.has_news());
    until(&mut source, |event| match event {
        Event::Waiting(missing) => {
            assert_eq!(missing, ["deployments", "feature_flags", "heap_summaries", "otlp_logs", "otlp_metrics"]);
            true
        }
        _ => false,
    });
    assert!(!source.has_news());
    let lines = |source: &KafkaSource, taken| -> Vec<(String, i64, i64, i64)> {
        let plan = source.plan(&taken).unwrap();
        plan.iter().map(|line| (line.source.to_string(), line.start, line.end, line.messages)).collect()
    };
    let line = |name: &str, start, end, messages| (name.to_owned(), start, end, messages);
    assert_eq!(lines(&source, BTreeMap::new()), [line("otlp_spans/0", 0, 0, 0), line("otlp_spans/1", 0, 10, 10)]);
    let known = SourcePartition::new(source.cluster().clone(), "otlp_spans", 1);
    let taken = BTreeMap::from([(known, 4)]);
    assert_eq!(lines(&source, taken)[1], line("otlp_spans/1", 4, 10, 6));
}

/// A topic that appears later is read without a restart.
#[test]
fn topics_that_appear_are_read() {
    let cluster = cluster(&[("otlp_spans", 1)]);
    let mut source = connect(&config(&cluster, ""), &two_topics());
    let sources = assigned(&mut source);
    source.start(&starts(&source.initial_offsets(&sources).unwrap())).unwrap();
    cluster.create_topic("otlp_logs", 1, 1).unwrap();
    let mut is_waiting_over = false;
    let mut new = Vec::new();
    until(&mut source, |event| match event {
        Event::Waiting(missing) => {
            is_waiting_over = missing.is_empty();
            false
        }
        Event::Assigned(sources) => {
            new = sources;
            true
        }
        _ => false,
    });
    assert!(is_waiting_over);
    assert_eq!(new.iter().map(ToString::to_string).collect::<Vec<_>>(), ["otlp_logs/0"]);
}

fn begin(source: &mut KafkaSource, sources: &[SourcePartition]) {
    source.start(&starts(&source.initial_offsets(sources).unwrap())).unwrap();
}

/// What a member has, by polling it once: assignments are begun, revocations let go.
fn step(source: &mut KafkaSource, has: &mut BTreeSet<SourcePartition>) {
    match source.poll(Duration::from_millis(50)).unwrap() {
        Event::Assigned(sources) => {
            begin(source, &sources);
            has.extend(sources);
        }
        Event::Revoked(sources) | Event::Lost(sources) => has.retain(|source| !sources.contains(source)),
        _ => {}
    }
}

/// Two members share topics of spans and logs out, with either assignor: each has the partitions of logs that have the
/// numbers of its spans, one that has no such number goes with its remainder, and each partition is with one of them.
/// When one leaves, the other one has all.
#[test]
fn partitions_of_one_number_go_to_one_member() {
    for assignor in ["cooperative-sticky", "range"] {
        let cluster = cluster(&[("otlp_spans", 4), ("otlp_logs", 6)]);
        let options = format!(r#", "options": {{"partition.assignment.strategy": "{assignor}"}}"#);
        let config = config(&cluster, &options);
        let mut members = [connect(&config, &two_topics()), connect(&config, &two_topics())];
        let mut has = [BTreeSet::new(), BTreeSet::new()];
        let deadline = Instant::now() + PATIENCE;
        let of = |has: &BTreeSet<SourcePartition>, topic: &str| -> BTreeSet<i32> {
            has.iter().filter(|source| &*source.topic == topic).map(|source| source.partition).collect()
        };
        while has.iter().any(|has| of(has, "otlp_spans").len() != 2) || has[0].len() + has[1].len() != 10 {
            assert!(Instant::now() < deadline, "{assignor}: {has:?}");
            for (member, has) in members.iter_mut().zip(&mut has) {
                step(member, has);
            }
        }
        for has in &has {
            let spans = of(has, "otlp_spans");
            let expected: BTreeSet<i32> = (0..6).filter(|number| spans.contains(&(number % 4))).collect();
            assert_eq!(of(has, "otlp_logs"), expected, "{assignor}");
        }
        let [mut left, gone] = members;
        drop(gone);
        while has[0].len() < 10 {
            assert!(Instant::now() < deadline + PATIENCE, "{assignor}: {has:?}");
            step(&mut left, &mut has[0]);
        }
    }
}

/// A second member gets nothing as long as the first one has not come back from what it does about a revocation:
/// guarantees that an epoch can land before somebody else claims its partitions.
#[test]
fn the_group_waits_for_what_is_being_written() {
    for assignor in ["cooperative-sticky", "range"] {
        let cluster = cluster(&[("otlp_spans", 2), ("otlp_logs", 2)]);
        let options = format!(r#", "options": {{"partition.assignment.strategy": "{assignor}"}}"#);
        let config = config(&cluster, &options);
        let mut first = connect(&config, &two_topics());
        let sources = assigned(&mut first);
        begin(&mut first, &sources);
        let mut second = connect(&config, &two_topics());
        until(&mut first, |event| matches!(event, Event::Revoked(_)));
        for _ in 0..10 {
            let event = second.poll(Duration::from_millis(100)).unwrap();
            assert!(!matches!(event, Event::Assigned(_)), "{assignor}: {event:?}");
        }
        let (mut of_first, mut of_second) = (BTreeSet::new(), BTreeSet::new());
        let deadline = Instant::now() + PATIENCE;
        while of_second.len() < 2 {
            assert!(Instant::now() < deadline, "{assignor}: {of_first:?} {of_second:?}");
            step(&mut first, &mut of_first);
            step(&mut second, &mut of_second);
        }
    }
}

/// A member that joins again is assigned everything anew, and reads from where it is told to.
#[test]
fn a_member_that_joins_again_begins_anew() {
    let cluster = cluster(&[("otlp_spans", 2), ("otlp_logs", 2)]);
    publish(&cluster, "otlp_spans", 0, (0..20u8).map(|i| vec![i]));
    publish(&cluster, "otlp_logs", 1, (0..10u8).map(|i| vec![i]));
    let mut source = connect(&config(&cluster, ""), &two_topics());
    let sources = assigned(&mut source);
    begin(&mut source, &sources);
    read_all(&mut source);
    source.rejoin().unwrap();
    assert_eq!(source.reading().count(), 0);
    let again = assigned(&mut source);
    assert_eq!(again, sources);
    begin(&mut source, &again);
    let records = read_all(&mut source);
    assert_eq!((records["otlp_spans/0"].len(), records["otlp_logs/1"].len()), (20, 10));
}

fn letter(source: &SourcePartition) -> DeadLetter<'_> {
    const HEADERS: &[(&str, Option<&[u8]>)] = &[("env", Some(b"lab"))];
    DeadLetter {
        tenant: "default",
        reason: "decode",
        detail: "not protobuf",
        source,
        offset: 42,
        timestamp: None,
        key: Some(b"k"),
        value: Some(b"\xff"),
        size_bytes: 1,
        headers: HEADERS,
        ingested_at: 0,
    }
}

/// A topic that takes no letters, because nobody may write to it or a letter is too large for it, stops nothing:
/// the letters stand in the table.
#[test]
fn a_topic_that_refuses_letters_stops_nothing() {
    let from = SourcePartition::new("c", "otlp_spans", 3);
    let open = |cluster: &Cluster| {
        DeadLetterTopic::open(&config(cluster, r#", "dead_letter_topic": "dead""#)).unwrap().unwrap()
    };
    let forbidden = cluster(&[("dead", 1)]);
    forbidden.topic_error("dead", RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED).unwrap();
    let topic = open(&forbidden);
    for _ in 0..2 {
        topic.send(&letter(&from)).unwrap();
        topic.flush(PATIENCE).unwrap();
    }
    let narrow = cluster(&[("dead", 1)]);
    narrow.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    let topic = open(&narrow);
    for _ in 0..2 {
        topic.send(&letter(&from)).unwrap();
        topic.flush(PATIENCE).unwrap();
    }
}

/// A dead letter arrives in its topic as it came, with the reason before its own headers.
#[test]
fn dead_letters_reach_their_topic() {
    let cluster = cluster(&[("dead", 1), ("otlp_logs", 1)]);
    let writing = config(&cluster, r#", "dead_letter_topic": "dead""#);
    let topic = DeadLetterTopic::open(&writing).unwrap().unwrap();
    let from = SourcePartition::new("c", "otlp_spans", 3);
    topic.send(&letter(&from)).unwrap();
    topic.flush(PATIENCE).unwrap();
    let none = r#"{"topics": []}"#;
    let reading = topics(&format!(
        r#"{{"spans": {{"topics": ["dead"]}}, "metrics": {none}, "flags": {none}, "deployments": {none}, "heaps": {none}}}"#
    ));
    let mut source = connect(&config(&cluster, ""), &reading);
    let sources = assigned(&mut source);
    source.start(&starts(&source.initial_offsets(&sources).unwrap())).unwrap();
    until(&mut source, |event| match event {
        Event::Messages(batch) => {
            let record = batch.iter().next().unwrap();
            assert_eq!((record.key(), record.value()), (Some(&b"k"[..]), Some(&b"\xff"[..])));
            assert_eq!(record.named_headers().count(), 0, "none is named");
            let headers: Vec<_> = record.headers().collect();
            assert_eq!(headers[0], ("tracerag.reason", Some(&b"decode: not protobuf"[..])));
            assert_eq!(headers[5], ("env", Some(&b"lab"[..])));
            true
        }
        _ => false,
    });
}

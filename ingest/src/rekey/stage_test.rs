#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, OwnedMessage};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::*;

type Broker = MockCluster<'static, DefaultProducerContext>;

const PATIENCE: Duration = Duration::from_secs(60);
const SPANS: &str = "otlp_spans_by_trace";
const LOGS: &str = "otlp_logs_by_trace";
const PARTITIONS: i32 = 4;

/// Topics without keys of different numbers of partitions, and those that are written.
fn broker() -> Broker {
    let broker = MockCluster::new(1).unwrap();
    for (topic, partitions) in [("otlp_spans", 3), ("otlp_logs", 2), (SPANS, PARTITIONS), (LOGS, PARTITIONS)] {
        broker.create_topic(topic, partitions, 1).unwrap();
    }
    broker
}

fn connect(broker: &Broker, options: &[(&str, &str)], tenant: &str) -> Rekey {
    let servers = broker.bootstrap_servers();
    let mut kafka: KafkaConfig = serde_json::from_str(&format!(r#"{{"bootstrap_servers": "{servers}"}}"#)).unwrap();
    // The mock broker lets a second rebalance wait for the session's timeout.
    for (key, value) in [("session.timeout.ms", "3000"), ("heartbeat.interval.ms", "500")].iter().chain(options) {
        kafka.options.insert((*key).to_owned(), (*value).to_owned());
    }
    let topics: TopicsConfig = serde_json::from_str("{}").unwrap();
    let tenants = Tenants::new(&serde_json::from_str(tenant).unwrap()).unwrap();
    Rekey::connect(&RekeyConfig::default(), &kafka, &topics, tenants, 64 << 20).unwrap()
}

fn publish(broker: &Broker, topic: &str, partition: i32, value: &[u8]) {
    let mut client = rdkafka::ClientConfig::new();
    client.set("bootstrap.servers", broker.bootstrap_servers());
    let producer: ThreadedProducer<DefaultProducerContext> = client.create().unwrap();
    let headers = OwnedHeaders::new().insert(Header { key: "x-tenant", value: Some("sender") });
    let record: BaseRecord<'_, [u8], [u8]> =
        BaseRecord::to(topic).partition(partition).payload(value).timestamp(1_700_000_000_123).headers(headers);
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(PATIENCE).unwrap();
}

/// One span of each of these traces.
fn spans(traces: impl IntoIterator<Item = u8>) -> Vec<u8> {
    let span = |trace| Span { trace_id: vec![trace; 16], span_id: vec![trace; 8], ..Span::default() };
    let spans = traces.into_iter().map(span).collect();
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] }
        .encode_to_vec()
}

/// One log record of each of these traces.
fn logs(traces: impl IntoIterator<Item = u8>) -> Vec<u8> {
    let record = |trace| LogRecord { trace_id: vec![trace; 16], time_unix_nano: 1, ..LogRecord::default() };
    let log_records = traces.into_iter().map(record).collect();
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] }
        .encode_to_vec()
}

/// Steps until so many records were taken, and everything that was made of them is written and committed.
fn run(rekey: &mut Rekey, records: u64) {
    let deadline = Instant::now() + PATIENCE;
    while rekey.tally().records < records || !rekey.is_idle() {
        assert!(Instant::now() < deadline, "not in time: {:?}", rekey.tally());
        rekey.step().unwrap();
    }
}

/// Everything in a topic that is written.
fn read(broker: &Broker, topic: &str) -> Vec<OwnedMessage> {
    let mut client = rdkafka::ClientConfig::new();
    client
        .set("bootstrap.servers", broker.bootstrap_servers())
        .set("group.id", "reader")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true");
    let consumer: BaseConsumer = client.create().unwrap();
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let (mut messages, mut at_end) = (Vec::new(), BTreeSet::new());
    let deadline = Instant::now() + PATIENCE;
    while at_end.len() < PARTITIONS as usize {
        assert!(Instant::now() < deadline, "{topic} cannot be read to its end");
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => messages.push(message.detach()),
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                at_end.insert(partition);
            }
            _ => {}
        }
    }
    messages
}

fn header(message: &OwnedMessage, name: &str) -> Vec<String> {
    let headers = message.headers().unwrap();
    let values = headers.iter().filter(|header| header.key == name).map(|header| header.value.unwrap().to_vec());
    values.map(|value| String::from_utf8(value).unwrap()).collect()
}

/// The partition of each key; a key must not lie in two.
fn places(messages: &[OwnedMessage]) -> BTreeMap<String, i32> {
    let mut places = BTreeMap::new();
    for message in messages {
        let Some(key) = message.key() else { continue };
        let key = String::from_utf8(key.to_vec()).unwrap();
        let place = *places.entry(key.clone()).or_insert(message.partition());
        assert_eq!(place, message.partition(), "{key} lies in two partitions");
    }
    places
}

/// Traces whose parts lie in several partitions, in topics of different numbers of partitions: afterwards each trace
/// has one message for each message that held a part of it, under one partition number in both topics, with its id as key
/// and the headers and the timestamp of the original. What cannot be read is passed on as it came. A
/// second start goes on where the first one stopped, and writes nothing again.
#[test]
fn a_trace_and_its_logs_meet_under_one_number() {
    let broker = broker();
    publish(&broker, "otlp_spans", 0, &spans(1..=20));
    publish(&broker, "otlp_spans", 2, &spans(1..=20));
    publish(&broker, "otlp_spans", 1, b"no protobuf");
    publish(&broker, "otlp_logs", 1, &logs(1..=20));
    let mut rekey = connect(&broker, &[], "{}");
    run(&mut rekey, 4);
    assert_eq!(rekey.tally(), Tally { records: 4, messages: 61, unchanged: 1 });
    rekey.finish(PATIENCE).unwrap();
    drop(rekey);

    let (written, of_logs) = (read(&broker, SPANS), read(&broker, LOGS));
    assert_eq!((written.len(), of_logs.len()), (41, 20));
    let expected: Vec<String> = (1..=20u8).map(|trace| hex::encode([trace; 16])).collect();
    let found = places(&written);
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
    assert_eq!(found, places(&of_logs));
    assert!(found.values().collect::<BTreeSet<_>>().len() > 1);
    for message in written.iter().chain(&of_logs) {
        assert_eq!(message.timestamp().to_millis(), Some(1_700_000_000_123));
        assert_eq!(header(message, "x-tenant"), ["sender"]);
    }
    let unchanged: Vec<&OwnedMessage> = written.iter().filter(|message| message.key().is_none()).collect();
    assert_eq!(unchanged.len(), 1);
    assert_eq!(unchanged[0].payload(), Some(&b"no protobuf"[..]));
    assert_eq!(header(unchanged[0], super::super::ORIGIN_HEADER), ["otlp_spans/1/0"]);
    assert_eq!(of_logs[0].payload(), Some(&logs([hex::decode(of_logs[0].key().unwrap()).unwrap()[0]])[..]));

    publish(&broker, "otlp_spans", 1, &spans([21]));
    let mut rekey = connect(&broker, &[], "{}");
    run(&mut rekey, 1);
    rekey.finish(PATIENCE).unwrap();
    assert_eq!(rekey.tally().records, 1);
    assert_eq!(read(&broker, SPANS).len(), 42);
}

/// A message has more parts than the producer's queue takes: nothing more is read until they are sent, and each is sent
/// once.
#[test]
fn a_full_queue_holds_reading_back() {
    let broker = broker();
    for _ in 0..3 {
        publish(&broker, "otlp_spans", 0, &spans(1..=200));
    }
    let mut rekey = connect(&broker, &[("queue.buffering.max.messages", "7")], "{}");
    run(&mut rekey, 3);
    let written = read(&broker, SPANS);
    assert_eq!((written.len(), places(&written).len()), (600, 200));
}

/// A tenant that is known by its topic is told by the header of the configuration afterwards, behind the one that the
/// sender wrote. Without such a header it would be lost: the stage stops and says what to set.
#[test]
fn the_tenant_of_a_topic_stays() {
    let broker = broker();
    publish(&broker, "otlp_spans", 0, &spans([1]));
    let mut rekey = connect(&broker, &[], r#"{"topics": {"otlp_spans": "acme"}, "header": "x-tenant"}"#);
    run(&mut rekey, 1);
    drop(rekey);
    assert_eq!(header(&read(&broker, SPANS)[0], "x-tenant"), ["sender", "acme"]);

    let mut rekey = connect(&broker, &[], r#"{"topics": {"otlp_spans": "acme"}}"#);
    let deadline = Instant::now() + PATIENCE;
    let error = loop {
        assert!(Instant::now() < deadline, "not refused in time");
        if let Err(error) = rekey.step() {
            break error.to_string();
        }
    };
    assert!(error.contains("otlp_spans") && error.contains("tenant.header"), "{error}");
}

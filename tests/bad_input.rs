//! Bad input: ten thousand messages that cannot be read, among good ones.

use std::collections::BTreeSet;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rdkafka::message::Message as _;
use tracerag_ingest::otlp::{DecoderConfig, Encoding, Message, OtlpDecoder, Signal};
use tracerag_ingest::redact::{PayloadConfig, RedactionConfig, Redactor};

use crate::check::is_all_there_once;
use crate::kafka_worker::{LIMIT, Topics, config};
use crate::support::kafka::{Kafka, Record};
use crate::support::program::Tracerag;
use crate::support::wait_for;

const SEED: u64 = 10_000;
const BAD: usize = 10_000;
/// Good messages of each signal.
const GOOD: usize = 300;

const SIGNALS: [Signal; 3] = [Signal::Spans, Signal::Logs, Signal::Metrics];

/// Bytes that a usual message has on top at most, and range of those that a large one has. One of so many is large.
const PADDING: usize = 200;
const LARGE_PADDING: std::ops::Range<usize> = 1 << 20..4 << 20;
const LARGE_EVERY: usize = 1_000;

const TIME: u64 = 1_764_500_000_000_000_000;

/// A good message with one record, named by `name` and `number`, and `padding` bytes more.
fn message(signal: Signal, name: &str, number: usize, padding: usize) -> Vec<u8> {
    let text = |text: String| Some(AnyValue { value: Some(any_value::Value::StringValue(text)) });
    let attributes =
        vec![KeyValue { key: "padding".to_owned(), value: text("x".repeat(padding)), ..KeyValue::default() }];
    match signal {
        Signal::Spans => {
            let span = Span {
                trace_id: [name.as_bytes().repeat(8)[..8].to_vec(), id(number)].concat(),
                span_id: id(number),
                name: name.to_owned(),
                start_time_unix_nano: TIME,
                end_time_unix_nano: TIME + 1_000_000,
                attributes,
                ..Span::default()
            };
            let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
            let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
            ExportTraceServiceRequest { resource_spans }.encode_to_vec()
        }
        Signal::Logs => {
            let record = LogRecord {
                time_unix_nano: TIME,
                body: text(format!("{name} {number}")),
                attributes,
                ..LogRecord::default()
            };
            let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
            let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
            ExportLogsServiceRequest { resource_logs }.encode_to_vec()
        }
        Signal::Metrics => {
            let value = Some(number_data_point::Value::AsInt(number as i64));
            let point = NumberDataPoint { time_unix_nano: TIME, value, attributes, ..NumberDataPoint::default() };
            let data = Some(metric::Data::Gauge(Gauge { data_points: vec![point] }));
            let metrics = vec![Metric { name: name.to_owned(), data, ..Metric::default() }];
            let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
            let resource_metrics = vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }];
            ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()
        }
    }
}

/// Eight bytes that are not all zeros.
fn id(number: usize) -> Vec<u8> {
    (number as u64 + 1).to_be_bytes().to_vec()
}

/// A message that is most likely bad: cut off, changed, in another encoding, of another signal, or nothing at all.
fn spoiled(random: &mut StdRng, signal: Signal, number: usize) -> Vec<u8> {
    if number.is_multiple_of(LARGE_EVERY) {
        let mut bytes = message(signal, "spoiled", number, random.random_range(LARGE_PADDING));
        bytes.truncate(random.random_range(LARGE_PADDING.start..bytes.len()));
        return bytes;
    }
    let mut bytes = message(signal, "spoiled", number, random.random_range(0..PADDING));
    match random.random_range(0..7) {
        0 => bytes.truncate(random.random_range(1..bytes.len())),
        1 => {
            for _ in 0..random.random_range(1..8) {
                let at = random.random_range(0..bytes.len());
                bytes[at] = random.random();
            }
        }
        2 => {
            let at = random.random_range(0..bytes.len());
            let noise: [u8; 5] = random.random();
            bytes.splice(at..at, noise);
        }
        3 => bytes = format!("{{\"resourceSpans\": [], \"resourceLogs\": [], \"number\": {number}}}").into_bytes(),
        4 => bytes = zstd::encode_all(bytes.as_slice(), 1).unwrap(),
        5 => {
            let other = SIGNALS.into_iter().find(|other| *other != signal).unwrap();
            bytes = message(other, "spoiled", number, PADDING);
        }
        _ => bytes.fill_with(|| random.random()),
    }
    bytes
}

/// Says what is bad, as the worker's decoder does of the very bytes.
struct Judge {
    decoder: OtlpDecoder,
}

impl Judge {
    fn new() -> Judge {
        let config =
            RedactionConfig { key: "0123456789abcdef0123456789abcdef".to_owned(), ..RedactionConfig::default() };
        let redactor = Redactor::new(&config, &PayloadConfig::default()).unwrap();
        Judge { decoder: OtlpDecoder::new(DecoderConfig::new(Arc::new(redactor))) }
    }

    fn is_good(&mut self, signal: Signal, value: &[u8]) -> bool {
        let message = Message {
            value,
            topic: "judged",
            partition: 0,
            offset: 0,
            tenant: "default",
            timestamp_ns: TIME as i64,
            ingested_at: TIME as i64,
            headers: &[],
        };
        let is_good = self.decoder.decode(signal, Encoding::Proto, message).is_ok();
        if self.decoder.bytes() > LARGE_PADDING.start {
            self.decoder.finish().unwrap();
        }
        is_good
    }
}

/// Good messages, a large one for each signal among them; [`BAD`] that are bad; and those that were spoiled and can be
/// read all the same. In no order.
fn messages(judge: &mut Judge) -> Vec<(Signal, Vec<u8>)> {
    let mut random = StdRng::seed_from_u64(SEED);
    let mut messages = Vec::new();
    for number in 0..GOOD {
        let padding = if number == 0 { LARGE_PADDING.start } else { 0 };
        messages.extend(SIGNALS.map(|signal| (signal, message(signal, "good", number, padding))));
    }
    assert!(messages.iter().all(|(signal, bytes)| judge.is_good(*signal, bytes)));
    let (mut bad, mut number) = (0, 0);
    while bad < BAD {
        assert!(number < 4 * BAD, "of {number} messages only {bad} are bad");
        let signal = SIGNALS[number % SIGNALS.len()];
        let bytes = spoiled(&mut random, signal, number);
        bad += usize::from(!judge.is_good(signal, &bytes));
        messages.push((signal, bytes));
        number += 1;
    }
    messages.shuffle(&mut random);
    messages
}

/// Topics of spans, logs and points get messages that are cut off, changed, compressed, in another encoding, of another
/// signal, or noise, some of them megabytes long, with good ones in between. Every message that the decoder refuses
/// stands among the dead letters with its origin and size, and nothing else does; every good one is in the lake once;
/// and the worker that took them is still the first one. Guarantees that no bytes in a topic stop a worker, or cost a
/// record beside them.
#[test]
fn bad_messages_cost_nothing_but_themselves() {
    let Some(kafka) = Kafka::shared() else { return };
    let tracerag = Tracerag::new();
    let topics = Topics::new(kafka);
    let text = std::fs::read_to_string(config(&tracerag, kafka, &topics, "otlp_proto")).unwrap();
    let config = tracerag.write("bad.toml", format!("{text}[window]\nidle_gap = \"3s\"\n"));
    let worker = tracerag.worker(&config);
    let mut judge = Judge::new();
    let messages = messages(&mut judge);
    let mut bad = BTreeSet::new();
    for (signal, topic) in SIGNALS.into_iter().zip([&topics.spans, &topics.logs, &topics.metrics]) {
        let partitions = kafka.partitions(topic) as i32;
        let of_signal = messages.iter().filter(|(of, _)| *of == signal).map(|(_, bytes)| bytes.as_slice());
        kafka.produce(
            topic,
            of_signal.zip((0..partitions).cycle()).map(|(payload, partition)| Record {
                payload: Some(payload),
                partition: Some(partition),
                ..Record::default()
            }),
        );
        for message in kafka.read_all(topic) {
            let value = message.payload().unwrap();
            if !judge.is_good(signal, value) {
                bad.insert((topic.clone(), i64::from(message.partition()), message.offset(), value.len() as i64));
            }
        }
    }
    assert_eq!(bad.len(), BAD);

    wait_for("the lake has spans", LIMIT, || tracerag.has_spans().then_some(()));
    wait_for("all is taken, and no trace is open", LIMIT, || {
        assert!(worker.alive(), "{}", worker.log_tail());
        is_all_there_once(&tracerag, &config).then_some(())
    });
    assert!(worker.terminate(), "the worker does not end on SIGTERM");
    let letters = tracerag.sql("select kafka_topic, kafka_partition, kafka_offset, size_bytes from dead_letters");
    assert_eq!(letters.len(), BAD);
    let number = |value: &serde_json::Value| value.as_i64().unwrap();
    let found: BTreeSet<(String, i64, i64, i64)> = letters
        .iter()
        .map(|letter| {
            let topic = letter["kafka_topic"].as_str().unwrap().to_owned();
            (topic, number(&letter["kafka_partition"]), number(&letter["kafka_offset"]), number(&letter["size_bytes"]))
        })
        .collect();
    let differ: Vec<_> = found.symmetric_difference(&bad).take(5).collect();
    assert!(differ.is_empty(), "{differ:?}");
    for (good, distinct) in [
        ("from spans where name = 'good'", "trace_id"),
        ("from logs where body like 'good %'", "body"),
        ("from metrics where name = 'good'", "value_int"),
    ] {
        assert_eq!(tracerag.number(&format!("select count(*) {good}")), GOOD as i64, "{good}");
        assert_eq!(tracerag.number(&format!("select count(distinct {distinct}) {good}")), GOOD as i64, "{good}");
    }
}

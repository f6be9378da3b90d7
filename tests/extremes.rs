//! Extremes: one endless trace, one huge message, very many open traces, one partition far ahead of another. Each is
//! handled, and `close_reason` says how.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;

use crate::kafka_worker::{LIMIT, Topics, config, until};
use crate::support::kafka::{Kafka, Record};
use crate::support::program::Tracerag;
use crate::support::wait_for;

const TIME: u64 = 1_764_500_000_000_000_000;

/// A span that takes a microsecond; the root of its trace if it is the first.
fn span(trace: u64, number: u64, start: u64, padding: usize) -> Span {
    let text = AnyValue { value: Some(any_value::Value::StringValue("x".repeat(padding))) };
    let padding = KeyValue { key: "padding".to_owned(), value: Some(text), ..KeyValue::default() };
    Span {
        trace_id: [[0xab; 8], trace.to_be_bytes()].concat(),
        span_id: (number + 1).to_be_bytes().to_vec(),
        parent_span_id: if number == 0 { vec![] } else { 1u64.to_be_bytes().to_vec() },
        name: "work".to_owned(),
        start_time_unix_nano: start,
        end_time_unix_nano: start + 1_000,
        attributes: vec![padding],
        ..Span::default()
    }
}

fn message(spans: Vec<Span>) -> Vec<u8> {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// Replays messages with a window of a size.
fn replay(tracerag: &Tracerag, window: &str, messages: impl Iterator<Item = Vec<u8>>) {
    let mut file = Vec::new();
    for message in messages {
        file.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        file.extend(message);
    }
    let file = tracerag.write("spans.binpb", file);
    let text = format!("[window]\n{window}\n[embedding]\nmodel = \"hashed-ngrams\"\n");
    let config = tracerag.write("tracerag.toml", text);
    let ran = tracerag.run(&["--config", config.to_str().unwrap(), "replay", file.to_str().unwrap()]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
}

/// How many revisions closed for each reason, by reason.
fn closed(tracerag: &Tracerag) -> Vec<(String, i64)> {
    let query = "select close_reason, count(*) as revisions from trace_revisions group by close_reason order by 1";
    let rows = tracerag.sql(query);
    rows.iter()
        .map(|row| (row["close_reason"].as_str().unwrap().to_owned(), row["revisions"].as_i64().unwrap()))
        .collect()
}

fn pair(reason: &str, revisions: i64) -> (String, i64) {
    (reason.to_owned(), revisions)
}

/// A trace of 200,000 spans, more than one part may have: it closes in parts as `max_bytes`, each a revision, and what
/// is left at the end as `drained`. Every span is there once, and the newest revision counts them all.
#[test]
fn a_trace_that_never_ends() {
    const SPANS: u64 = 200_000;
    let tracerag = Tracerag::new();
    let spans = |from: u64| (from..from + 1_000).map(|n| span(1, n, TIME + n, 20)).collect();
    let messages = (0..SPANS).step_by(1_000).map(|from| message(spans(from)));
    replay(&tracerag, "memory = \"128MiB\"\nmax_trace_bytes = \"16MiB\"", messages);
    let closed = closed(&tracerag);
    let revisions: i64 = closed.iter().map(|(_, revisions)| revisions).sum();
    assert!(revisions > 2, "{closed:?}");
    let at_end = closed.iter().find(|(reason, _)| reason == "drained").map_or(0, |(_, revisions)| *revisions);
    assert!(at_end <= 1 && closed.contains(&pair("max_bytes", revisions - at_end)), "{closed:?}");
    assert_eq!(tracerag.number("select count(*) from spans"), SPANS as i64);
    assert_eq!(tracerag.number("select count(distinct span_id) from spans"), SPANS as i64);
    assert_eq!(tracerag.number("select max(revision) from trace_revisions"), revisions);
    assert_eq!(tracerag.number("select max(span_count) from traces"), SPANS as i64);
    let largest = "select max(spans) from (select count(*) as spans from spans group by revision)";
    assert!(tracerag.number(largest) < SPANS as i64 / 2, "one revision has most of it");
}

/// A message of nearly 64 MiB is taken as any other. Where its rows do not fit into half of the window it is a dead
/// letter that says so, and what comes behind it is taken.
#[test]
fn a_message_of_64_mib() {
    let large = message((0..20_000).map(|n| span(n / 10, n % 10, TIME, 3_200)).collect());
    assert!(large.len() > 60 << 20 && large.len() < 64 << 20, "{} bytes", large.len());
    let tracerag = Tracerag::new();
    replay(&tracerag, "", std::iter::once(large.clone()));
    assert_eq!(closed(&tracerag), [pair("drained", 2_000)]);
    assert_eq!(tracerag.number("select count(*) from spans"), 20_000);
    assert_eq!(tracerag.number("select count(*) from dead_letters"), 0);

    let small = Tracerag::new();
    replay(&small, "memory = \"64MiB\"", [large, message(vec![span(7, 0, TIME, 0)])].into_iter());
    assert_eq!(small.number("select count(*) from dead_letters where reason = 'too_large'"), 1);
    assert_eq!(small.number("select count(*) from spans"), 1);
}

/// A message as large as the broker takes one, 64 MiB with what Kafka adds to it, comes through a broker, and a small one
/// behind it. Guarantees that no limit between producer and lake is smaller than what is promised, and that the partition
/// goes on.
#[test]
fn a_message_of_64_mib_comes_through_a_broker() {
    /// What Kafka adds to a message is less.
    const OVERHEAD: usize = 1 << 10;
    const SPANS: usize = 20_000;
    let Some(kafka) = Kafka::shared() else { return };
    let spans = |padding: usize| (0..SPANS as u64).map(move |n| span(n / 10, n % 10, TIME, padding));
    let wanted = (64 << 20) - OVERHEAD;
    let padding = 3_200 + (wanted - message(spans(3_200).collect()).len()) / SPANS;
    let large = message(spans(padding).collect());
    assert!(large.len() <= wanted && wanted - large.len() < SPANS, "{} bytes", large.len());

    let tracerag = Tracerag::new();
    let topics = Topics::new(kafka);
    let config = config(&tracerag, kafka, &topics, "otlp_proto");
    let small = message(vec![span(1 << 20, 0, TIME, 0)]);
    let record = |payload| Record { payload: Some(payload), partition: Some(0), ..Record::default() };
    kafka.produce(&topics.spans, [record(large.as_slice()), record(small.as_slice())]);
    let worker = tracerag.worker(&config);
    until(&tracerag, "select count(*) from spans", SPANS as i64 + 1, || worker.log_tail());
    assert_eq!(tracerag.number("select count(*) from dead_letters"), 0);
    assert_eq!(tracerag.number("select count(*) from traces where span_count = 10"), SPANS as i64 / 10);
}

/// 100,000 traces of one span are open at once, more than the window may hold: the oldest close as `memory`, the others
/// at the end as `drained`; every trace is there once and whole.
#[test]
fn very_many_open_traces() {
    const TRACES: u64 = 100_000;
    let tracerag = Tracerag::new();
    let spans = |from: u64| (from..from + 1_000).map(|trace| span(trace, 0, TIME + trace, 20)).collect();
    let messages = (0..TRACES).step_by(1_000).map(|from| message(spans(from)));
    replay(&tracerag, "memory = \"16MiB\"", messages);
    let closed = closed(&tracerag);
    let reasons: Vec<&str> = closed.iter().map(|(reason, _)| reason.as_str()).collect();
    assert_eq!(reasons, ["drained", "memory"]);
    assert_eq!(closed.iter().map(|(_, traces)| traces).sum::<i64>(), TRACES as i64);
    assert_eq!(tracerag.number("select count(distinct trace_id) from traces where complete"), TRACES as i64);
    assert_eq!(tracerag.number("select count(*) from spans"), TRACES as i64);
}

/// A backlog of two partitions, each larger than what may be open, of which one is twenty minutes ahead of the other:
/// the one ahead waits before the window is full. Guarantees that every trace closes because its root has ended, and
/// none for want of memory.
#[test]
fn a_partition_that_is_ahead_waits() {
    let Some(kafka) = Kafka::shared() else { return };
    let tracerag = Tracerag::new();
    let topics = Topics {
        spans: kafka.topic("ahead", 2),
        logs: kafka.topic("ahead-logs", 2),
        metrics: kafka.topic("ahead-metrics", 1),
    };
    let path = config(&tracerag, kafka, &topics, "otlp_proto");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}[window]\nmemory = \"64MiB\"\n[embedding]\nmodel = \"hashed-ngrams\"\n"))
        .unwrap();
    // 300 messages of ten traces of ten spans, three a second, of 45 MiB in all.
    let hour_ago = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - Duration::from_secs(3_600);
    let messages = |partition: u64| -> Vec<(i64, Vec<u8>)> {
        let of = |number: u64| {
            let at = hour_ago + Duration::from_millis(partition * 1_200_000 + number * 333);
            let at = u64::try_from(at.as_nanos()).unwrap();
            let first = (partition * 300 + number) * 10;
            let spans = (0..100).map(|n| span(first + n / 10, n % 10, at, 1_500)).collect();
            (i64::try_from(at / 1_000_000).unwrap(), message(spans))
        };
        (0..300).map(of).collect()
    };
    for partition in [0, 1] {
        let messages = messages(partition);
        kafka.produce(
            &topics.spans,
            messages.iter().map(|(time, payload)| Record {
                payload: Some(payload.as_slice()),
                partition: i32::try_from(partition).ok(),
                timestamp_ms: Some(*time),
                ..Record::default()
            }),
        );
    }
    let worker = tracerag.worker(&path);
    wait_for("the first rows", LIMIT, || tracerag.has_spans().then_some(()));
    until(&tracerag, "select count(*) from spans", 60_000, || worker.log_tail());
    assert_eq!(closed(&tracerag), [pair("root_ended", 6_000)]);
}

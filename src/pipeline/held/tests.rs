//! Records without a trace, and the traces that they belong to.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::{ArrayRef, TimestampNanosecondArray};
use tracerag_ingest::source::Signal;
use tracerag_schemas::time::SECOND;

use super::super::Pipeline;
use super::super::tests::{Bench, HOUR, record, take};
use super::*;

/// When the application threw.
const THROWN: i64 = HOUR - SECOND / 2;

const RESOURCE: &str = r#""resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "web"}}]}"#;
const EXCEPTION: &str = r#""attributes": [{"key": "exception.type", "value": {"stringValue": "KeyError"}},
    {"key": "exception.message", "value": {"stringValue": "'currency'"}}]"#;

/// A message with the root span of a trace, which failed with an exception.
fn failing_span() -> String {
    failing_span_below("")
}

/// A message with a span of a trace, which failed with an exception; without a parent it is the root.
fn failing_span_below(parent: &str) -> String {
    let (trace, start) = (format!("{:032x}", 1), HOUR - SECOND);
    format!(
        r#"{{"resourceSpans": [{{{RESOURCE}, "scopeSpans": [{{"spans": [{{"traceId": "{trace}",
        "spanId": "00000000000000a1", "parentSpanId": "{parent}", "name": "GET /",
        "startTimeUnixNano": "{start}", "endTimeUnixNano": "{HOUR}",
        "status": {{"code": 2}}, "events": [{{"timeUnixNano": "{THROWN}", "name": "exception", {EXCEPTION}}}]}}]}}]}}]}}"#
    )
}

/// A message with the record of the server, which names no trace.
fn logged() -> String {
    let time = THROWN + SECOND / 100;
    format!(
        r#"{{"resourceLogs": [{{{RESOURCE}, "scopeLogs": [{{"logRecords": [{{"timeUnixNano": "{time}",
        "severityNumber": 17, "body": {{"stringValue": "Exception in application"}}, {EXCEPTION}}}]}}]}}]}}"#
    )
}

fn sources() -> [SourcePartition; 2] {
    ["otlp_spans", "otlp_logs"].map(|topic| SourcePartition::new("c", topic, 0))
}

/// A worker to which both partitions are assigned.
async fn worker(bench: &Bench) -> Pipeline {
    let mut pipeline = bench.pipeline().await;
    pipeline.assign(&sources(), |_| true).await.unwrap();
    pipeline
}

/// Nothing comes until `clock`, and what is due then is written. Gives how many failures the worker has written.
async fn failures_at(pipeline: &mut Pipeline, clock: i64) -> u64 {
    for source in sources() {
        pipeline.at_end(&source, clock).unwrap();
    }
    pipeline.flush().await.unwrap();
    pipeline.settle().await.unwrap();
    pipeline.tally.rows(Table::Failures)
}

/// Whether each stored failure has a trace, and whether it is an echo.
async fn stored(pipeline: &Pipeline) -> Vec<(bool, bool)> {
    let head = pipeline.lake.newest_head().await.unwrap();
    let mut found = Vec::new();
    let columns = ["trace_id", "origin_id"];
    tracerag_index::stored::each_batch(&pipeline.lake, &head, Table::Failures, &columns, |batch| {
        let [traces, origins] = columns.map(|name| batch.column_by_name(name).unwrap().as_string::<i32>().clone());
        found.extend((0..batch.num_rows()).map(|row| (traces.is_valid(row), origins.is_valid(row))));
        Ok::<(), tracerag_index::Error>(())
    })
    .await
    .unwrap();
    found.sort_unstable();
    found
}

/// A record without a trace comes before its trace is closed, and the worker is replaced in between. Guarantees that the
/// record is stored at once, that it becomes an echo of the failure in the trace when it has waited, and that this happens
/// once, whoever comes later.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_waits_for_its_trace() {
    let (bench, [spans, logs]) = (Bench::new(), sources());
    let mut first = worker(&bench).await;
    take(&mut first, &record(&logs, Signal::Logs, 0, HOUR, &logged()));
    assert_eq!(failures_at(&mut first, HOUR + SECOND).await, 0);
    assert_eq!(first.tally.rows(Table::Logs), 1);

    let mut next = worker(&bench).await;
    take(&mut next, &record(&spans, Signal::Spans, 0, HOUR + SECOND, &failing_span()));
    assert_eq!(failures_at(&mut next, HOUR + 4 * SECOND).await, 1);
    assert_eq!(failures_at(&mut next, HOUR + 100 * SECOND).await, 2);
    assert_eq!(stored(&next).await, [(false, true), (true, false)]);

    let mut last = worker(&bench).await;
    assert_eq!(failures_at(&mut last, HOUR + 200 * SECOND).await, 0);
}

/// The trace of a record closes because nothing more of it comes, for its root never does. Guarantees that the record waits
/// for that, too, and is an echo.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_waits_for_a_trace_without_a_root() {
    let (bench, [spans, logs]) = (Bench::new(), sources());
    let mut pipeline = worker(&bench).await;
    take(&mut pipeline, &record(&logs, Signal::Logs, 0, HOUR, &logged()));
    take(&mut pipeline, &record(&spans, Signal::Spans, 0, HOUR, &failing_span_below("00000000000000a0")));
    assert_eq!(failures_at(&mut pipeline, HOUR + 9 * SECOND).await, 0);
    assert_eq!(failures_at(&mut pipeline, HOUR + 12 * SECOND).await, 1);
    assert_eq!(failures_at(&mut pipeline, HOUR + 100 * SECOND).await, 2);
    assert_eq!(stored(&pipeline).await, [(false, true), (true, false)]);
}

/// A record of which no trace tells. Guarantees that it is a failure of its own, once, when it has waited in vain.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_without_any_trace_counts() {
    let (bench, [_, logs]) = (Bench::new(), sources());
    let mut worker_alone = worker(&bench).await;
    take(&mut worker_alone, &record(&logs, Signal::Logs, 0, HOUR, &logged()));
    assert_eq!(failures_at(&mut worker_alone, HOUR + 10 * SECOND).await, 0);
    assert_eq!(failures_at(&mut worker_alone, HOUR + 100 * SECOND).await, 1);
    assert_eq!(stored(&worker_alone).await, [(false, false)]);
    let mut next = worker(&bench).await;
    next.drain().await.unwrap();
    assert_eq!(next.tally.rows(Table::Failures), 0);
}

/// The input ends with a record. Guarantees that nothing waits beyond the end.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_waits_beyond_the_end() {
    let (bench, [_, logs]) = (Bench::new(), sources());
    let mut pipeline = worker(&bench).await;
    take(&mut pipeline, &record(&logs, Signal::Logs, 0, HOUR, &logged()));
    pipeline.drain().await.unwrap();
    assert_eq!(stored(&pipeline).await, [(false, false)]);
}

/// One partition of logs stands hours before another one, with a record that waits in each, and the next worker gets both.
/// Guarantees that a record is found, and told, by the time of its own partition, and only what is not told is found.
#[tokio::test(flavor = "multi_thread")]
async fn each_partition_goes_by_its_own_time() {
    let bench = Bench::new();
    let [behind, ahead] = [0, 1].map(|number| SourcePartition::new("c", "otlp_logs", number));
    let both = [behind.clone(), ahead.clone()];
    let mut first = bench.pipeline().await;
    first.assign(&both, |_| true).await.unwrap();
    take(&mut first, &record(&behind, Signal::Logs, 0, HOUR, &logged()));
    let other = logged().replace("in application", "in a job");
    take(&mut first, &record(&ahead, Signal::Logs, 0, 3 * HOUR, &other));
    first.flush().await.unwrap();
    first.settle().await.unwrap();
    assert_eq!(first.tally.rows(Table::Failures), 0);

    let mut next = bench.pipeline().await;
    next.assign(&both, |_| true).await.unwrap();
    assert_eq!(next.held.rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
    next.at_end(&behind, HOUR + 100 * SECOND).unwrap();
    next.flush().await.unwrap();
    next.settle().await.unwrap();
    assert_eq!(next.tally.rows(Table::Failures), 1);

    let mut last = bench.pipeline().await;
    last.assign(&both, |_| true).await.unwrap();
    let left = concat_batches(&last.held.rows[0].schema(), &last.held.rows).unwrap();
    assert_eq!(partitions(&left).unwrap().1.values().to_vec(), [1]);
}

/// More waits in the lake than may be held. Guarantees that it is told at once, and each record once.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_beyond_is_read_later() {
    let (bench, [_, logs]) = (Bench::new(), sources());
    let mut first = worker(&bench).await;
    take(&mut first, &record(&logs, Signal::Logs, 0, HOUR, &logged()));
    assert_eq!(failures_at(&mut first, HOUR + SECOND).await, 0);
    let mut next = worker(&bench).await;
    // As if the one record were the first of very many.
    next.held.beyond = vec![Claimed { source: logs, since: 0 }];
    assert_eq!(failures_at(&mut next, HOUR + 2 * SECOND).await, 1);
    assert!(next.held.is_cut());
    assert_eq!(failures_at(&mut next, HOUR + 3 * SECOND).await, 1);
    assert!(!next.held.is_cut());
}

/// Records of one partition, taken at [`HOUR`], that have so many bytes each.
fn waiting(rows: usize, bytes: usize) -> RecordBatch {
    let taken = TimestampNanosecondArray::from(vec![HOUR; rows]);
    let columns: [(&str, ArrayRef); 4] = [
        ("kafka_topic", Arc::new(StringArray::from(vec!["otlp_logs"; rows]))),
        ("kafka_partition", Arc::new(Int32Array::from(vec![0; rows]))),
        ("ingested_at", Arc::new(taken)),
        ("body", Arc::new(StringArray::from(vec!["x".repeat(bytes); rows]))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// Records come of which none is due, few of them and then very many. Guarantees that few wait, and that all go on as soon
/// as they have more bytes than may wait.
#[test]
fn very_many_do_not_wait() {
    let [_, logs] = sources();
    let reached = [SourceProgress { source: logs, to: 1, low_watermark: 1, stream_time: HOUR }];
    let mut held = Held::default();
    let due = held.due(waiting(2, MOST_BYTES / 4), &reached, SECOND, false).unwrap();
    assert_eq!(due.num_rows(), 0);
    let due = held.due(waiting(3, MOST_BYTES / 4), &reached, SECOND, false).unwrap();
    assert_eq!(due.num_rows(), 5);
    assert!(held.rows.is_empty());
}

/// A partition is given up while a record of it waits, and given to another worker. Guarantees that the one that had it
/// tells nothing of the record, and the next one does, once.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_owner_tells_what_was_given_up() {
    let (bench, [spans, logs]) = (Bench::new(), sources());
    let mut first = worker(&bench).await;
    take(&mut first, &record(&logs, Signal::Logs, 0, HOUR, &logged()));
    assert_eq!(failures_at(&mut first, HOUR + SECOND).await, 0);
    first.revoke(std::slice::from_ref(&logs)).await.unwrap();
    let mut next = bench.pipeline().await;
    next.assign(std::slice::from_ref(&logs), |_| true).await.unwrap();
    first.at_end(&spans, HOUR + 100 * SECOND).unwrap();
    first.drain().await.unwrap();
    assert_eq!(first.tally.rows(Table::Failures), 0);

    next.at_end(&logs, HOUR + 100 * SECOND).unwrap();
    next.flush().await.unwrap();
    next.settle().await.unwrap();
    assert_eq!(stored(&next).await, [(false, false)]);
    next.drain().await.unwrap();
    assert_eq!(next.tally.rows(Table::Failures), 1);
}

//! The stages together, on a lake in a temporary folder.
#![allow(clippy::unwrap_used)]

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use tempfile::TempDir;
use tracerag_index::stored_rows;
use tracerag_ingest::source::files::FileRecord;
use tracerag_ingest::source::{Encoding, Signal};
use tracerag_schemas::time::SECOND;

use super::*;

pub(super) const HOUR: i64 = 3_600 * SECOND;

pub(crate) struct Bench {
    folder: TempDir,
    pub config: Config,
}

impl Bench {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.lake.uri = folder.path().join("lake").display().to_string();
        config.redaction.key = String::from("0123456789abcdef0123456789abcdef");
        Self { folder, config }
    }

    pub async fn pipeline(&self) -> Pipeline {
        assert!(self.folder.path().exists());
        Pipeline::open(&self.config, "test").await.unwrap()
    }
}

pub(super) fn record(
    source: &SourcePartition,
    signal: Signal,
    offset: i64,
    record_time: i64,
    value: &str,
) -> FileRecord {
    let (source, value) = (source.clone(), value.to_owned().into());
    FileRecord { source, signal, encoding: Encoding::Json, offset, record_time, value }
}

pub(super) fn take(pipeline: &mut Pipeline, record: &FileRecord) {
    let records = std::iter::once(Input::from_file(record));
    pipeline.take(&record.source, record.record_time, records).unwrap();
}

/// A whole flagd configuration with one flag.
fn configuration(variant: &str) -> String {
    format!(
        r#"{{"flags": {{"mode": {{"state": "ENABLED", "variants": {{"on": true, "off": false}}, "defaultVariant": "{variant}"}}}}}}"#
    )
}

/// Rows of `flags` that wait for the next epoch.
fn waiting_flags(pipeline: &Pipeline) -> usize {
    let flags = pipeline.waiting.rows.iter().filter(|(_, table, _)| *table == Table::Flags);
    flags.map(|(.., rows)| rows.num_rows()).sum()
}

/// A configuration that was decoded and given up with its partition makes the same difference when it is read
/// again; one that is written, or waits to be, makes none, also when another partition is assigned meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn configurations_that_were_given_up_are_read_again() {
    let bench = Bench::new();
    let (flags, other) = (SourcePartition::new("c", "feature_flags", 0), SourcePartition::new("c", "feature_flags", 1));
    let mut pipeline = bench.pipeline().await;
    let on = |offset| record(&flags, Signal::Flags, offset, HOUR, &configuration("on"));
    for _ in 0..2 {
        pipeline.assign(std::slice::from_ref(&flags), |_| false).await.unwrap();
        take(&mut pipeline, &on(0));
        assert_eq!(waiting_flags(&pipeline), 1);
        pipeline.revoke(std::slice::from_ref(&flags)).await.unwrap();
        assert_eq!((waiting_flags(&pipeline), pipeline.waiting.bytes), (0, 0));
    }
    pipeline.assign(std::slice::from_ref(&flags), |_| false).await.unwrap();
    take(&mut pipeline, &on(0));
    pipeline.assign(&[other], |_| false).await.unwrap();
    take(&mut pipeline, &on(1));
    assert_eq!(waiting_flags(&pipeline), 1);
    pipeline.flush().await.unwrap();
    pipeline.settle().await.unwrap();
    assert_eq!(waiting_flags(&pipeline), 0);

    let mut next = bench.pipeline().await;
    let starts = next.assign(std::slice::from_ref(&flags), |_| false).await.unwrap();
    assert_eq!(starts, [(flags.clone(), Some(2))]);
    take(&mut next, &on(2));
    assert_eq!(waiting_flags(&next), 0);
    take(&mut next, &record(&flags, Signal::Flags, 3, HOUR, &configuration("off")));
    assert_eq!(waiting_flags(&next), 1);
}

/// A change that a worker recorded and did not live to apply is a base for its successor: the claim applies it.
#[tokio::test(flavor = "multi_thread")]
async fn changes_that_were_only_recorded_are_known() {
    let bench = Bench::new();
    let flags = SourcePartition::new("c", "feature_flags", 0);
    let mut dying = bench.pipeline().await;
    dying.assign(std::slice::from_ref(&flags), |_| false).await.unwrap();
    take(&mut dying, &record(&flags, Signal::Flags, 0, HOUR, &configuration("on")));
    let sources = dying.source_progress(&tracerag_enrich::Flushed::empty());
    let rows = dying.waiting.take();
    let mut writer = dying.writer.take().unwrap();
    let staged = writer.stage(tracerag_index::Epoch { rows, sources, closed: vec![] }).await.unwrap();
    writer.record(&staged).await.unwrap();

    let mut next = bench.pipeline().await;
    next.assign(std::slice::from_ref(&flags), |_| false).await.unwrap();
    take(&mut next, &record(&flags, Signal::Flags, 1, HOUR, &configuration("on")));
    assert_eq!(waiting_flags(&next), 0);
}

/// A change that another worker writes is read beside the group: it is in effect for a trace that closes next, and
/// neither it nor what cannot be read is written. After a new start it is read again from where the lake stands.
#[tokio::test(flavor = "multi_thread")]
async fn changes_of_others_hold_at_once() {
    let bench = Bench::new();
    let (flags, spans) = (SourcePartition::new("c", "feature_flags", 0), SourcePartition::new("c", "otlp_spans", 0));
    let mut owner = bench.pipeline().await;
    owner.assign(std::slice::from_ref(&flags), |_| false).await.unwrap();
    take(&mut owner, &record(&flags, Signal::Flags, 0, HOUR - 9 * SECOND, &configuration("off")));
    owner.drain().await.unwrap();

    let mut pipeline = bench.pipeline().await;
    pipeline.assign(std::slice::from_ref(&spans), |_| true).await.unwrap();
    assert_eq!(pipeline.changes_from(), [(flags.clone(), 1)].into());
    let (bad, on) = (String::from("{"), configuration("on"));
    for (offset, value) in [(1, &bad), (2, &on), (3, &on)] {
        let read = record(&flags, Signal::Flags, offset, HOUR - 5 * SECOND, value);
        pipeline.look_on(&flags, HOUR, std::iter::once(Input::from_file(&read))).unwrap();
    }
    take(&mut pipeline, &record(&spans, Signal::Spans, 0, HOUR, &root_span(1, HOUR)));
    pipeline.drain().await.unwrap();
    let written = [Table::Traces, Table::Flags, Table::DeadLetters].map(|table| pipeline.tally.rows(table));
    assert_eq!(written, [1, 0, 0]);

    let head = pipeline.lake.newest_head().await.unwrap();
    let mut shown = String::new();
    let column = ["flags_in_effect"];
    tracerag_index::stored::each_batch(&pipeline.lake, &head, Table::Traces, &column, |batch| {
        shown += &arrow::util::pretty::pretty_format_batches(&[batch]).unwrap().to_string();
        Ok::<(), tracerag_index::Error>(())
    })
    .await
    .unwrap();
    assert!(shown.contains("variant: on") && !shown.contains("variant: off"), "{shown}");

    pipeline.start_over().await;
    assert!(pipeline.changes_from().is_empty());
}

/// A message with one span, the root of a trace.
pub(super) fn root_span(trace: u8, end: i64) -> String {
    let (trace, start) = (format!("{trace:032x}"), end - SECOND);
    format!(
        r#"{{"resourceSpans": [{{"scopeSpans": [{{"spans": [{{"traceId": "{trace}", "spanId": "00000000000000a1",
        "name": "GET /", "startTimeUnixNano": "{start}", "endTimeUnixNano": "{end}"}}]}}]}}]}}"#
    )
}

/// A message with one span that is no root; its trace stays open until nothing comes for a while.
pub(super) fn child_span(trace: u8, span: u8, end: i64) -> String {
    let (trace, span, start) = (format!("{trace:032x}"), format!("{span:016x}"), end - SECOND);
    format!(
        r#"{{"resourceSpans": [{{"scopeSpans": [{{"spans": [{{"traceId": "{trace}", "spanId": "{span}",
        "parentSpanId": "00000000000000a1", "name": "GET /", "startTimeUnixNano": "{start}",
        "endTimeUnixNano": "{end}"}}]}}]}}]}}"#
    )
}

/// The greatest stream time that the head shows of replayed files.
async fn newest_time(bench: &Bench) -> i64 {
    let lake = Lake::open(bench.config.lake.options()).await.unwrap();
    let head = lake.newest_head().await.unwrap();
    let files = head.stream_times.iter().filter(|(source, _)| &*source.cluster == FILE_CLUSTER);
    files.map(|(_, time)| *time).max().unwrap()
}

/// A replay that was killed when its last trace was written, but not sealed, is sealed by being run again; a file that
/// is replayed later, and is older, is stamped after that seal and is sealed as well, though the first file stays where
/// it is.
#[tokio::test(flavor = "multi_thread")]
async fn every_replay_is_sealed() {
    let bench = Bench::new();
    let (a, b) = (SourcePartition::new(FILE_CLUSTER, "file:a", 0), SourcePartition::new(FILE_CLUSTER, "file:b", 0));
    let seal_after = bench.config.window.seal_after.nanos();
    let mut killed = bench.pipeline().await;
    killed.assign(std::slice::from_ref(&a), |_| true).await.unwrap();
    take(&mut killed, &record(&a, Signal::Spans, 0, HOUR, &root_span(1, HOUR)));
    let flushed = killed.window.drain().unwrap();
    killed.write(flushed, false).await.unwrap();
    killed.settle().await.unwrap();
    assert_eq!(newest_time(&bench).await, HOUR);

    let mut again = bench.pipeline().await;
    let starts = again.assign(std::slice::from_ref(&a), |_| true).await.unwrap();
    assert_eq!(starts, [(a, Some(1))]);
    again.drain().await.unwrap();
    let sealed = newest_time(&bench).await;
    assert!(sealed > HOUR + seal_after);

    let mut later = bench.pipeline().await;
    later.assign(std::slice::from_ref(&b), |_| true).await.unwrap();
    take(&mut later, &record(&b, Signal::Spans, 0, HOUR / 2, &root_span(2, HOUR / 2)));
    let flushed = later.window.drain().unwrap();
    assert_eq!(flushed.closed[0].closed_at, sealed);
    later.write(flushed, false).await.unwrap();
    later.drain().await.unwrap();
    assert!(newest_time(&bench).await > sealed + seal_after);
}

/// Records are deleted before they are read: the next worker begins behind them and writes one dead letter, and whoever
/// comes after it goes on there. Guarantees that a gap is told of once.
#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_told_of_once() {
    let bench = Bench::new();
    let spans = SourcePartition::new("c", "otlp_spans", 0);
    let mut first = bench.pipeline().await;
    first.assign(std::slice::from_ref(&spans), |_| true).await.unwrap();
    take(&mut first, &record(&spans, Signal::Spans, 0, HOUR, &root_span(1, HOUR)));
    let flushed = first.window.drain().unwrap();
    first.write(flushed, false).await.unwrap();
    first.settle().await.unwrap();

    let mut next = bench.pipeline().await;
    let starts = next.assign(std::slice::from_ref(&spans), |_| true).await.unwrap();
    assert_eq!((starts, next.read_to(&spans)), (vec![(spans.clone(), Some(1))], 1));
    next.skip(&Gap { source: spans.clone(), from: 1, to: 5, read_to: 1 }, 2 * HOUR).unwrap();
    next.flush().await.unwrap();
    next.settle().await.unwrap();
    assert_eq!(next.tally.rows(Table::DeadLetters), 1);

    let mut last = bench.pipeline().await;
    let starts = last.assign(std::slice::from_ref(&spans), |_| true).await.unwrap();
    assert_eq!((starts, last.read_to(&spans)), (vec![(spans.clone(), Some(5))], 5));
}

/// The oldest record that an open trace needs is deleted, though all records were read: what is left of the trace is
/// written, what was written is not written again, and the next worker finds no gap.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_trace_is_written_without_what_is_gone() {
    let bench = Bench::new();
    let spans = SourcePartition::new("c", "otlp_spans", 0);
    let second = record(&spans, Signal::Spans, 1, HOUR, &child_span(1, 2, HOUR));
    let other = record(&spans, Signal::Spans, 2, HOUR, &root_span(2, HOUR));
    let mut first = bench.pipeline().await;
    first.assign(std::slice::from_ref(&spans), |_| true).await.unwrap();
    take(&mut first, &record(&spans, Signal::Spans, 0, HOUR, &child_span(1, 1, HOUR)));
    take(&mut first, &second);
    take(&mut first, &other);
    first.at_end(&spans, HOUR + 3 * SECOND).unwrap();
    first.flush().await.unwrap();
    first.settle().await.unwrap();
    assert_eq!(first.tally.rows(Table::Spans), 1, "only the trace whose root has ended is closed");

    let mut next = bench.pipeline().await;
    let starts = next.assign(std::slice::from_ref(&spans), |_| true).await.unwrap();
    assert_eq!((starts, next.read_to(&spans)), (vec![(spans.clone(), Some(0))], 3));
    next.skip(&Gap { source: spans.clone(), from: 0, to: 1, read_to: 3 }, 2 * HOUR).unwrap();
    take(&mut next, &second);
    take(&mut next, &other);
    next.drain().await.unwrap();
    let written = [Table::Spans, Table::Traces, Table::DeadLetters].map(|table| next.tally.rows(table));
    assert_eq!(written, [1, 1, 1]);

    let mut last = bench.pipeline().await;
    let starts = last.assign(std::slice::from_ref(&spans), |_| true).await.unwrap();
    assert_eq!((starts, last.read_to(&spans)), (vec![(spans.clone(), Some(3))], 3));
}

/// Another worker claims a partition while an epoch of it is written: the epoch counts for nothing and the error says
/// why. After the worker has started over and claimed anew, it takes the same records as if it had never had them, and
/// the other one is shut out in turn. Guarantees that a worker need not end when it loses a race, and what each trace
/// then is: one revision, written once.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_lost_to_another_worker_is_taken_again() {
    let bench = Bench::new();
    let spans = SourcePartition::new("c", "otlp_spans", 0);
    let root = record(&spans, Signal::Spans, 0, HOUR, &root_span(1, HOUR));
    let (mut one, mut other) = (bench.pipeline().await, bench.pipeline().await);
    one.assign(std::slice::from_ref(&spans), |_| true).await.unwrap();
    take(&mut one, &root);
    other.assign(std::slice::from_ref(&spans), |_| true).await.unwrap();
    take(&mut other, &root);
    let error = one.drain().await.unwrap_err();
    assert!(error.is_lost_claim(), "{error}");

    one.start_over().await;
    let starts = one.assign(std::slice::from_ref(&spans), |_| true).await.unwrap();
    assert_eq!(starts, [(spans.clone(), None)]);
    take(&mut one, &root);
    one.drain().await.unwrap();
    assert_eq!([Table::Spans, Table::Traces].map(|table| one.tally.rows(table)), [1, 1]);
    let error = other.drain().await.unwrap_err();
    assert!(error.is_lost_claim(), "{error}");
    assert_eq!(other.tally.rows(Table::Spans), 0);
}

/// A message with a record of severity ERROR, of a trace.
fn failed_record(trace: u8, time: i64) -> String {
    let trace = format!("{trace:032x}");
    format!(
        r#"{{"resourceLogs": [{{"scopeLogs": [{{"logRecords": [{{"traceId": "{trace}", "spanId": "00000000000000a1",
        "timeUnixNano": "{time}", "severityNumber": 17, "body": {{"stringValue": "no answer"}}}}]}}]}}]}}"#
    )
}

/// A failed record of a trace is written before the trace has a span, and then its root comes, which did not fail.
/// Guarantees that the first row of the trace counts the failure that is stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_before_the_first_span_counts() {
    let bench = Bench::new();
    let [spans, logs] = ["otlp_spans", "otlp_logs"].map(|topic| SourcePartition::new("c", topic, 0));
    let mut pipeline = bench.pipeline().await;
    pipeline.assign(&[spans.clone(), logs.clone()], |_| true).await.unwrap();
    let (first, second) =
        (record(&logs, Signal::Logs, 0, HOUR, &failed_record(1, HOUR)), root_span(1, HOUR + 50 * SECOND));
    let second = record(&spans, Signal::Spans, 0, HOUR + 100 * SECOND, &second);
    for (taken, clock, written) in [(first, HOUR + 100 * SECOND, [1, 0]), (second, HOUR + 200 * SECOND, [1, 1])] {
        take(&mut pipeline, &taken);
        for source in [&spans, &logs] {
            pipeline.at_end(source, clock).unwrap();
        }
        pipeline.flush().await.unwrap();
        pipeline.settle().await.unwrap();
        assert_eq!([Table::Failures, Table::Traces].map(|table| pipeline.tally.rows(table)), written);
    }
    let head = pipeline.lake.newest_head().await.unwrap();
    let (ids, columns) = ([format!("{:032x}", 1)], ["trace_id", "failure_count"]);
    let traces = stored_rows(&pipeline.lake, &head, Table::Traces, &ids, &columns, i64::MIN).await.unwrap();
    let counts = traces.column_by_name("failure_count").unwrap().as_primitive::<Int64Type>();
    assert_eq!(counts.values().to_vec(), [1]);
}

use arrow::array::RecordBatch;
use tracerag_schemas::Table;
use tracerag_schemas::in_flight::materialize;

use super::*;
use crate::testing::{cell, trace_id};
use crate::{ResumedTrace, revise};

fn stored(batch: &RecordBatch, table: Table) -> RecordBatch {
    materialize(batch, &table.lake_schema()).unwrap()
}

/// After a restart a partition is read again from its low watermark: rows of traces that are written, and
/// logs that never wait, are dropped; open traces are built again; later rows of a written trace are late.
#[test]
fn written_rows_are_suppressed() {
    let mut bench = Bench::new(WindowConfig::default());
    bench.at(100).spans(&[child(2, 5, 4), root(1, 1), child(1, 2, 1)]).logs(&[log(2, 1), log(1, 2), log(0, 3)]);
    let flushed = bench.at(102).flush();
    assert_eq!((flushed.spans.num_rows(), flushed.logs.num_rows()), (2, 2));
    let progress = &flushed.progress;
    assert_eq!((progress[0].low_watermark, progress[0].next_offset, progress[1].low_watermark), (0, 3, 0));
    let resume: Vec<ResumeState> = progress
        .iter()
        .map(|progress| ResumeState {
            source: progress.source.clone(),
            feeds_traces: true,
            next: Some(progress.next_offset),
            seek: Some(progress.low_watermark),
            stream_time: progress.stream_time,
            closed: flushed
                .closed
                .iter()
                .flat_map(|closed| {
                    let of_source = closed.last_offsets.iter().filter(|(source, _)| *source == progress.source);
                    of_source.map(|(_, last_offset)| ResumedTrace {
                        tenant: closed.tenant.clone(),
                        trace_id: closed.trace_id,
                        closed_at: closed.closed_at,
                        last_offset: *last_offset,
                    })
                })
                .collect(),
        })
        .collect();
    let mut next = Bench::new(WindowConfig::default());
    next.window.assign(&resume);
    assert_eq!(next.window.stream_time(&next.spans), Some(102 * SECOND));
    next.spans(&[child(2, 5, 4), root(1, 1), child(1, 2, 1), child(1, 3, 1)]);
    next.logs(&[log(2, 1), log(1, 2), log(0, 3)]).logs(&[log(0, 4)]);
    let flushed = next.flush();
    assert_eq!((flushed.spans.num_rows(), flushed.logs.num_rows(), flushed.counts.suppressed), (0, 1, 4));
    let flushed = next.at(112).flush();
    assert_eq!(cells(&flushed.traces, "trace_id"), [1, 2].map(|n| hex::encode(trace_id(n))));
    assert_eq!(flushed.closed.iter().map(|closed| closed.fragment).collect::<Vec<_>>(), [true, true]);
    assert_eq!((flushed.spans.num_rows(), flushed.logs.num_rows(), flushed.counts.late), (2, 1, 1));
}

/// A trace that closed before a restart still comes due to be sealed after it, on topics that bring nothing more and
/// though the partition that lists it has gone on; one that was sealed before does not come due again.
#[test]
fn seals_survive_a_restart() {
    let closed =
        |closed_at| ResumedTrace { tenant: "default".into(), trace_id: trace_id(1), closed_at, last_offset: 0 };
    let mut bench = Bench::new(WindowConfig::default());
    let resume = [(&bench.spans, 1_200), (&bench.logs, 1_000)].map(|(source, reached)| ResumeState {
        source: source.clone(),
        feeds_traces: true,
        next: Some(1),
        seek: Some(1),
        stream_time: Some(reached * SECOND),
        closed: if reached == 1_200 { vec![closed(100 * SECOND), closed(500 * SECOND)] } else { vec![] },
    });
    bench.window.assign(&resume);
    assert_eq!(bench.window.last_seal(), Some(1_100 * SECOND));
    assert!(!bench.window.take_due_seals());
    bench.window.at_high_watermark(&bench.logs, 1_101 * SECOND).unwrap();
    assert!(bench.window.take_due_seals());
}

/// A window that loads the hashes of written logs drops their copies, as the one before would have.
#[test]
fn log_hashes_are_loaded_again() {
    let mut bench = Bench::new(WindowConfig::default());
    let flushed = bench.at(100).logs(&[log(0, 3), log(0, 3)]).flush();
    let mut lake = stored(&flushed.logs, Table::Logs);
    let mut next = Bench::new(WindowConfig::default());
    next.window.remember_logs(&lake).unwrap();
    next.next[1] = 7;
    let flushed = next.at(101).logs(&[log(0, 3), log(0, 3), log(0, 3), log(0, 4)]).flush();
    assert_eq!((flushed.logs.num_rows(), flushed.counts.duplicate_logs), (2, 2));
    lake = lake.project(&[0]).unwrap();
    assert!(next.window.remember_logs(&lake).is_err());
}

/// Revoked partitions take their rows with them; what other partitions brought of a trace stays.
#[test]
fn revoked_partitions_leave_nothing() {
    let mut bench = Bench::new(WindowConfig::default());
    bench.at(100).spans(&[root(1, 1), root(2, 1)]).logs(&[log(1, 2), log(0, 3)]);
    bench.window.revoke(std::slice::from_ref(&bench.spans));
    assert_eq!((bench.window.open_traces(), bench.window.low_watermark(&bench.spans)), (1, None));
    let flushed = bench.window.drain().unwrap();
    assert_eq!((flushed.spans.num_rows(), flushed.logs.num_rows(), flushed.closed.len()), (0, 2, 1));
    assert_eq!(flushed.progress.len(), 1);
}

/// A fragment becomes the next revision: stored spans and logs go, the row of `traces` counts everything
/// and is complete once the root is there. A fragment that brings nothing new leaves no row. Traces
/// beside it stay as they are.
#[test]
fn fragments_become_revisions() {
    let mut bench = Bench::new(WindowConfig::default());
    bench.at(100).spans(&[child(1, 2, 1), child(1, 3, 2), child(9, 2, 1)]).logs(&[log(1, 5)]);
    let mut first = bench.at(110).flush();
    let (spans, logs) = (Table::Spans.lake_schema(), Table::Logs.lake_schema());
    let none = |schema| RecordBatch::new_empty(schema);
    revise(&mut first, &none(spans), &none(Table::Traces.lake_schema()), &none(logs)).unwrap();
    assert_eq!(cells(&first.traces, "revision"), ["1", "1"]);
    let (stored_spans, stored_logs) = (stored(&first.spans, Table::Spans), stored(&first.logs, Table::Logs));

    bench.spans(&[root(1, 1), child(1, 3, 2), child(9, 2, 1), root(5, 1)]).logs(&[log(1, 6)]);
    let mut second = bench.at(120).flush();
    assert_eq!((second.traces.num_rows(), second.spans.num_rows()), (3, 4));
    revise(&mut second, &stored_spans, &first.traces, &stored_logs).unwrap();
    let ids = |numbers: &[u64]| numbers.iter().map(|n| hex::encode(trace_id(*n))).collect::<Vec<_>>();
    assert_eq!(cells(&second.traces, "trace_id"), ids(&[1, 5]));
    assert_eq!(cells(&second.traces, "revision"), ["2", "1"]);
    assert_eq!(cells(&second.traces, "span_count"), ["3", "1"]);
    assert_eq!(cells(&second.traces, "log_count"), ["2", "0"]);
    assert_eq!(cells(&second.traces, "complete"), ["true", "true"]);
    assert_eq!(cell(&second.traces, "root_name", 0), Some("GET /".into()));
    assert_eq!(cells(&second.spans, "span_id"), ["0000000000000001", "0000000000000001"]);
    assert_eq!(cells(&second.spans, "revision"), ["2", "1"]);
    assert_eq!(cells(&second.logs, "revision"), ["2"]);
    assert_eq!((second.counts.spans, second.counts.duplicate_spans), (2, 2));
    assert_eq!(second.closed.len(), 3, "all are listed, so that none is asked about again");
}

/// The count of failures is carried on from the newest stored revision, for the rows of a fragment are all that
/// whoever extracts failures sees; a trace that is new has none.
#[test]
fn revisions_carry_the_failures_of_those_before() {
    let mut bench = Bench::new(WindowConfig::default());
    let first = bench.at(100).spans(&[root(1, 1)]).at(102).flush();
    assert_eq!(cells(&first.traces, "failure_count"), [""]);
    let counted = |revision: i32, failures: i64| {
        let counts: arrow::array::ArrayRef = std::sync::Arc::new(arrow::array::Int64Array::from(vec![failures]));
        let revisions: arrow::array::ArrayRef = std::sync::Arc::new(arrow::array::Int32Array::from(vec![revision]));
        let with = crate::window::close::with_column;
        with(&with(&first.traces, "failure_count", counts).unwrap(), "revision", revisions).unwrap()
    };
    let schema = first.traces.schema();
    let traces = arrow::compute::concat_batches(&schema, &[counted(2, 3), counted(1, 1)]).unwrap();
    let mut second = bench.spans(&[child(1, 2, 1), root(5, 1)]).at(112).flush();
    revise(&mut second, &stored(&first.spans, Table::Spans), &traces, &stored(&first.logs, Table::Logs)).unwrap();
    assert_eq!(cells(&second.traces, "failure_count"), ["3", ""]);
    assert_eq!(cells(&second.traces, "revision"), ["3", "1"]);
}

/// What was in effect stays as the first revision has it; a later part adds what that lacks, and its
/// evaluations take the place of guesses.
#[test]
fn revisions_unite_what_was_in_effect() {
    let flags = crate::testing::flag_changes(&[(5, "mode", "lenient", "", ""), (5, "theme", "dark", "payments", "")]);
    let builds =
        crate::testing::deployments(&[(1, "checkout", "", "2.0", "c0ffee0"), (1, "payments", "", "1.8.2", "0ld5ha0")]);
    let mut bench = Bench::new(WindowConfig::default());
    bench.window.push_flag_events(&flags).unwrap();
    bench.window.push_build_events(&builds).unwrap();
    let first = bench.at(100).spans(&[root(1, 1)]).at(102).flush();
    let event = Some((
        "feature_flag.evaluation",
        vec![("feature_flag.key", "mode"), ("feature_flag.result.variant", "strict")],
    ));
    let mut second = bench.spans(&[Span { event, ..child(1, 2, 1) }]).at(112).flush();
    revise(&mut second, &stored(&first.spans, Table::Spans), &first.traces, &stored(&first.logs, Table::Logs)).unwrap();
    let row = |column| cell(&second.traces, column, 0).unwrap();
    let flags = row("flags_in_effect");
    for part in ["lenient", "strict", "dark"] {
        assert_eq!(flags.matches(part).count(), 1, "{part} in {flags}");
    }
    let builds = row("builds_in_effect");
    assert!(builds.contains("c0ffee0") && builds.contains("0ld5ha0"), "{builds}");
}

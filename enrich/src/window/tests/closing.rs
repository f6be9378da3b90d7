use tracerag_schemas::time::SECOND;

use super::*;
use crate::testing::cell;
use crate::{Candidate, Decision, Error, Sampler};

/// A trace whose root has ended closes after `root_grace` without anything new, not before; each arrival
/// begins the wait anew. Its spans come sorted by start, its logs with it.
#[test]
fn closes_after_the_root_and_its_grace() {
    let mut bench = Bench::new(WindowConfig::default());
    bench.at(100).spans(&[child(1, 2, 1), root(1, 1)]).logs(&[log(1, 7)]);
    assert!(bench.at(101).flush().is_empty());
    bench.spans(&[child(1, 3, 1)]);
    assert!(bench.at(102).flush().is_empty());
    let flushed = bench.at(103).flush();
    assert_eq!(closed(&flushed), [pair("root_ended", "3")]);
    assert_eq!(cells(&flushed.spans, "span_id"), ["0000000000000001", "0000000000000002", "0000000000000003"]);
    assert_eq!(cells(&flushed.spans, "revision"), ["1", "1", "1"]);
    assert_eq!((flushed.logs.num_rows(), cell(&flushed.traces, "log_count", 0)), (1, Some("1".into())));
    assert_eq!(cell(&flushed.traces, "closed_at", 0), Some("1970-01-01T00:01:43Z".into()));
    assert!(!flushed.closed[0].fragment && bench.window.open_traces() == 0);
    assert_eq!(
        flushed.closed[0].last_offsets,
        [(bench.logs.clone(), 0), (bench.spans.clone(), 2)].into_iter().rev().collect::<Vec<_>>()
    );
}

/// A trace without a root waits for `idle_gap` and is a fragment, incomplete for both reasons.
#[test]
fn closes_without_a_root_after_the_gap() {
    let mut bench = Bench::new(WindowConfig::default());
    bench.at(100).spans(&[child(1, 2, 1)]);
    assert!(bench.at(109).flush().is_empty());
    let flushed = bench.at(110).flush();
    assert_eq!(closed(&flushed), [pair("idle", "1")]);
    assert!(flushed.closed[0].fragment);
    assert_eq!(cells(&flushed.traces, "incomplete_reasons"), ["[root_missing, parent_missing]"]);
    assert_eq!(cell(&flushed.traces, "root_span_id", 0), None);
}

/// A partition of metrics that is minutes behind delays no trace.
#[test]
fn other_signals_delay_no_trace() {
    let mut bench = Bench::new(WindowConfig::default());
    let metrics = SourcePartition::new("c", "otlp_metrics", 0);
    bench.window.assign(&[ResumeState { feeds_traces: false, ..ResumeState::fresh(metrics.clone()) }]);
    bench.at(700).spans(&[root(1, 1)]);
    bench.window.advance(&metrics, 100 * SECOND, 1).unwrap();
    let flushed = bench.at(702).flush();
    assert_eq!(closed(&flushed), [pair("root_ended", "1")]);
    let of_metrics = flushed.progress.iter().find(|progress| progress.source == metrics).unwrap();
    assert_eq!(of_metrics.next_offset, 1);
}

/// However often something comes, a trace closes at `max_duration`.
#[test]
fn closes_at_its_greatest_age() {
    let mut bench = Bench::new(WindowConfig { max_duration: 5 * SECOND, ..WindowConfig::default() });
    for second in 0..5 {
        bench.at(100 + second).spans(&[root(1, second as u64 + 1)]);
        assert!(bench.flush().is_empty());
    }
    assert_eq!(closed(&bench.at(105).flush()), [pair("max_duration", "5")]);
}

/// A trace beyond `max_trace_bytes` closes with the next flush, marked as cut; what follows is late.
#[test]
fn closes_at_its_greatest_size() {
    let mut bench = Bench::new(WindowConfig { max_trace_bytes: 1, ..WindowConfig::default() });
    let flushed = bench.at(100).spans(&[root(1, 1)]).flush();
    assert_eq!(closed(&flushed), [pair("max_bytes", "1")]);
    assert_eq!(cells(&flushed.traces, "incomplete_reasons"), ["[truncated]"]);
    let flushed = bench.spans(&[child(1, 2, 1)]).flush();
    assert!(flushed.closed[0].fragment && flushed.counts.late == 1);
}

/// Over its memory the window closes what was touched least recently: a whole trace before one that lacks a
/// parent, and it ends below its limit.
#[test]
fn memory_closes_whole_traces_first() {
    let mut bench = Bench::new(WindowConfig { memory: 1 << 20, ..WindowConfig::default() });
    bench.at(100).spans(&[root(1, 1), child(1, 2, 77)]);
    let mut trace = 2;
    while !bench.window.is_over_memory() {
        bench.spans(&[root(trace, 1), child(trace, 2, 1)]);
        trace += 1;
    }
    let flushed = bench.flush();
    assert!(!bench.window.is_over_memory());
    let reasons = cells(&flushed.traces, "close_reason");
    assert!(!reasons.is_empty() && reasons.iter().all(|reason| reason == "memory"));
    assert!(!cells(&flushed.traces, "trace_id").contains(&hex::encode(crate::testing::trace_id(1))));
    assert!(cells(&flushed.traces, "complete").iter().all(|complete| complete == "true"));
    // The oldest went first.
    assert_eq!(flushed.closed[0].trace_id, crate::testing::trace_id(2));
    assert_eq!(flushed.counts.closed[crate::CloseReason::Memory as usize], reasons.len() as u64);
}

/// One slow trace does not pin the batches of a thousand quick ones.
#[test]
fn sparse_batches_are_rewritten() {
    let mut bench = Bench::new(WindowConfig::default());
    bench.at(100);
    let mut before = 0;
    for batch in 0..20 {
        let quick = (1..200).map(|n| root(1000 + batch * 200 + n, 1));
        let rows: Vec<Span> = quick.chain([child(1, batch + 2, 1)]).collect();
        bench.spans(&rows);
        before = bench.window.bytes();
    }
    bench.at(103);
    while bench.flush().more {}
    assert_eq!(bench.window.open_traces(), 1);
    let held: usize = bench.window.spans.held.iter().map(|held| held.owner.len()).sum();
    assert_eq!((bench.window.spans.held.len(), held), (1, 20));
    assert!(bench.window.spans.bytes() < before / 10);
    assert_eq!(bench.window.low_watermark(&bench.spans), Some(199));
    let flushed = bench.spans(&[root(1, 1)]).at(106).flush();
    assert_eq!(closed(&flushed), [pair("root_ended", "21")]);
    assert_eq!(bench.window.low_watermark(&bench.spans), Some(4001));
}

/// Batches of single rows are put together, in offset order, or the columns of each would outweigh its rows; a large
/// batch beside them stays as it came.
#[test]
fn small_batches_are_put_together() {
    let mut bench = Bench::new(WindowConfig::default());
    bench.at(100);
    let large: Vec<Span> = (0..600).map(|n| root(1000 + n, 1)).collect();
    bench.spans(&large);
    for n in 0..40 {
        bench.spans(&[root(1 + n, 1)]);
    }
    let before = bench.window.bytes();
    assert!(bench.flush().is_empty());
    let rows: Vec<usize> = bench.window.spans.held.iter().map(|held| held.owner.len()).collect();
    assert_eq!(rows, [600, 40]);
    assert!(bench.window.bytes() < before / 2, "{before} {}", bench.window.bytes());
    assert_eq!(bench.window.low_watermark(&bench.spans), Some(0));
    assert_eq!(bench.at(103).flush().traces.num_rows(), 640);
}

/// Spans sent twice are written once, whatever the order; two tenants may use the same ids.
#[test]
fn doubled_spans_are_dropped_within_a_tenant() {
    let mut bench = Bench::new(WindowConfig::default());
    let other = Span { tenant: "other", ..root(1, 1) };
    bench.at(100).spans(&[root(1, 1), child(1, 2, 1), root(1, 1), other]);
    let flushed = bench.spans(&[child(1, 2, 1)]).at(102).flush();
    assert_eq!(cells(&flushed.spans, "tenant_id"), ["default", "default", "other"]);
    assert_eq!(flushed.counts.duplicate_spans, 2);
    // The duplicate's offset counts: it is not asked about again either.
    assert_eq!(flushed.closed[0].last_offsets, [(bench.spans.clone(), 4)]);
}

/// A log record without a trace is written before its group has a time, because the other partition was not heard of yet.
/// Guarantees that its copy is still dropped when the group has one.
#[test]
fn a_record_of_no_known_time_is_remembered() {
    let mut bench = Bench::new(WindowConfig::default());
    bench.window.advance(&bench.logs, 2_000 * SECOND, 0).unwrap();
    assert_eq!(bench.logs(&[log(0, 8)]).flush().logs.num_rows(), 1);
    bench.at(2_000).flush();
    let flushed = bench.logs(&[log(0, 8)]).flush();
    assert_eq!((flushed.logs.num_rows(), flushed.counts.duplicate_logs), (0, 1));
}

/// Equal records within one message are all kept; the same record in another message is dropped, also when
/// its trace has closed, and when it has no trace. Beyond the horizon it is a new one.
#[test]
fn doubled_logs_are_dropped_between_messages() {
    let mut bench = Bench::new(WindowConfig { late_horizon: 10_000 * SECOND, ..WindowConfig::default() });
    bench.at(100).spans(&[root(1, 1)]);
    bench.logs(&[log(1, 7), log(1, 7), log(0, 8)]).logs(&[log(1, 7), log(1, 9), log(0, 8)]);
    let flushed = bench.flush();
    assert_eq!((flushed.logs.num_rows(), flushed.counts.duplicate_logs), (1, 1), "logs without a trace do not wait");
    let flushed = bench.at(103).flush();
    assert_eq!((flushed.logs.num_rows(), flushed.counts.duplicate_logs), (3, 1));
    bench.logs(&[log(1, 7), log(1, 7), log(1, 7), log(0, 8)]);
    let flushed = bench.at(106).flush();
    assert_eq!((flushed.logs.num_rows(), flushed.counts.duplicate_logs), (1, 3), "one more than in any message before");
    bench.at(2000).flush();
    bench.logs(&[log(0, 8)]);
    assert_eq!(bench.flush().logs.num_rows(), 1);
}

/// Logs whose trace has no span are written after the gap, without a row in `traces`; spans that come
/// later are a fragment, for the logs have to be counted.
#[test]
fn logs_without_a_span_are_written() {
    let mut bench = Bench::new(WindowConfig::default());
    bench.at(100).logs(&[log(1, 7)]);
    assert!(bench.at(109).flush().is_empty());
    let flushed = bench.at(110).flush();
    assert_eq!((flushed.logs.num_rows(), flushed.traces.num_rows()), (1, 0));
    assert!(!flushed.closed[0].fragment && flushed.counts.closed == [0; 6]);
    let flushed = bench.spans(&[root(1, 1)]).at(112).flush();
    assert!(flushed.closed[0].fragment);
}

/// What comes after the close is a fragment of the same trace; late logs alone make no row, and are
/// written after `root_grace`. Beyond the horizon a trace with its root is a new one.
#[test]
fn late_parts_are_fragments() {
    let mut bench = Bench::new(WindowConfig { late_horizon: 1000 * SECOND, ..WindowConfig::default() });
    bench.at(100).spans(&[root(1, 1)]).at(102).flush();
    let flushed = bench.logs(&[log(1, 7)]).at(104).flush();
    assert_eq!((flushed.logs.num_rows(), flushed.traces.num_rows(), flushed.counts.late), (1, 0, 1));
    bench.spans(&[child(1, 2, 1)]);
    assert!(bench.at(113).flush().is_empty());
    let flushed = bench.at(114).flush();
    assert!(flushed.closed[0].fragment && flushed.traces.num_rows() == 1);
    bench.at(5000).flush();
    let flushed = bench.spans(&[root(1, 1)]).at(5002).flush();
    assert!(!flushed.closed[0].fragment);
}

/// The end of the input closes everything and says so.
#[test]
fn draining_closes_everything() {
    let mut bench = Bench::new(WindowConfig::default());
    bench.at(100).spans(&[root(1, 1), child(2, 2, 1)]).logs(&[log(3, 7), log(0, 8)]);
    let flushed = bench.window.drain().unwrap();
    assert_eq!(closed(&flushed), [pair("drained", "1"), pair("drained", "1")]);
    assert_eq!((flushed.logs.num_rows(), flushed.more, bench.window.open_traces()), (2, false, 0));
}

/// Spans without a trace id are dropped and counted; the rest of the batch is taken.
#[test]
fn spans_without_a_trace_are_counted() {
    let mut bench = Bench::new(WindowConfig::default());
    let flushed = bench.at(100).spans(&[Span { trace: 0, ..root(1, 1) }, root(2, 1)]).at(102).flush();
    assert_eq!((flushed.counts.without_trace, flushed.spans.num_rows()), (1, 1));
}

/// A trace comes due to be sealed once, when stream time has passed `seal_after`.
#[test]
fn seals_come_due_once() {
    let mut bench = Bench::new(WindowConfig::default());
    bench.at(100).spans(&[root(1, 1)]).at(102).flush();
    assert!(!bench.at(702).window.take_due_seals());
    assert!(bench.at(703).window.take_due_seals());
    assert!(!bench.window.take_due_seals());
}

/// Each trace comes due by itself: one that is due does not wait for those that closed after it.
#[test]
fn seals_come_due_one_by_one() {
    let mut bench = Bench::new(WindowConfig::default());
    bench.at(100).spans(&[root(1, 1)]).at(102).flush();
    bench.at(400).spans(&[root(2, 1)]).at(402).flush();
    assert_eq!(bench.window.last_seal(), Some(1002 * SECOND));
    assert!(bench.at(703).window.take_due_seals());
    assert!(!bench.at(1002).window.take_due_seals());
    assert!(bench.at(1003).window.take_due_seals());
    assert_eq!(bench.window.last_seal(), None);
}

/// Wrong use is an error that says what to do, never a panic.
#[test]
fn wrong_use_is_an_error() {
    let source = SourcePartition::new("c", "otlp_spans", 0);
    let mut window = Window::new(WindowConfig::default());
    let batch = spans(&source, &[root(1, 1)]);
    assert!(matches!(window.push_spans(&source, batch.clone()), Err(Error::NotAssigned(_))));
    window.assign(&[ResumeState::fresh(source.clone())]);
    assert!(matches!(window.push_spans(&source, batch.clone()), Err(Error::NoTime(_))));
    window.advance(&source, 1, 1).unwrap();
    assert!(matches!(window.push_logs(&source, batch), Err(Error::Column { .. })));
}

struct Errors;

impl Sampler for Errors {
    fn decide(&self, trace: &Candidate<'_>) -> Decision {
        if trace.error { Decision::Keep(Some("errors")) } else { Decision::Drop }
    }
}

/// A sampler decides on whole traces: one it drops is listed and counted but not written, and neither is
/// what comes of it later, even where that alone would be kept.
#[test]
fn samplers_decide_on_whole_traces() {
    let mut bench = Bench::new(WindowConfig::default());
    bench.window =
        std::mem::replace(&mut bench.window, Window::new(WindowConfig::default())).with_sampler(Box::new(Errors));
    let failing = Span { error: true, ..child(1, 2, 1) };
    let flushed = bench.at(100).spans(&[root(1, 1), failing.clone(), root(2, 1)]).logs(&[log(2, 9)]).at(102).flush();
    assert_eq!(cells(&flushed.traces, "sampled_by"), ["errors"]);
    assert_eq!((flushed.spans.num_rows(), flushed.logs.num_rows(), flushed.counts.sampled_away), (2, 0, 1));
    assert_eq!(flushed.closed.iter().map(|closed| closed.sampled_away).collect::<Vec<_>>(), [false, true]);
    let late = bench.spans(&[Span { trace: 2, ..failing }]).at(113).flush();
    assert_eq!((late.spans.num_rows(), late.traces.num_rows(), late.counts.sampled_away), (0, 0, 1));
}

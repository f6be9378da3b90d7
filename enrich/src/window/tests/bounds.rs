//! Extremes: what is held stays within its bound, and the rows say why traces closed.

use tracerag_schemas::ids::TraceId;

use super::*;
use crate::ResumedTrace;
use crate::window::flushed::{CloseReason, Closed};
use crate::window::held::memory;

const MIB: usize = 1 << 20;

/// Rows of a batch, as decoders make them.
const BATCH: u64 = 4_096;

/// Spans arrive in one message.
fn message(bench: &mut Bench, rows: &[Span]) {
    let offset = bench.next[0];
    let rows: Vec<Span> = rows.iter().map(|row| Span { offset, ..row.clone() }).collect();
    bench.next[0] += 1;
    let time = bench.window.stream_time(&bench.spans).unwrap();
    bench.window.advance(&bench.spans, time, bench.next[0]).unwrap();
    bench.window.push_spans(&bench.spans, spans(&bench.spans, &rows)).unwrap();
}

/// The trace that a flush has closed, if it is one.
fn only(flushed: &Flushed) -> Option<&Closed> {
    assert!(flushed.closed.len() <= 1, "a flush takes one part of a trace");
    flushed.closed.first()
}

fn last_offset(closed: &Closed) -> i64 {
    closed.last_offsets.iter().map(|(_, offset)| *offset).max().unwrap()
}

/// One trace of 200,000 spans comes while an epoch is written only now and then: it closes in parts of its greatest
/// size, one a flush, in the order in which they came, each of whole messages. Guarantees that a flush stays small
/// however much of a trace has come meanwhile, and that offsets tell what is written of it: each part holds exactly what
/// lies between the last offset of the one before and its own.
#[test]
fn a_trace_without_end_closes_in_parts() {
    const SPANS: u64 = 200_000;
    let mut bench = Bench::new(WindowConfig { max_trace_bytes: MIB, memory: 256 * MIB, ..WindowConfig::default() });
    bench.at(100);
    let (mut parts, mut written, mut reasons) = (0, -1i64, vec![]);
    let mut take = |flushed: &Flushed| {
        let Some(part) = only(flushed) else { return };
        assert_eq!(part.late, parts > 0);
        reasons.push(part.reason);
        let last = last_offset(part);
        // Every span is a message here.
        assert_eq!(flushed.spans.num_rows() as i64, last - written, "part {parts}");
        let bytes = memory(&flushed.spans);
        assert!(bytes < 2 * MIB, "part {parts} has {bytes} bytes");
        (parts, written) = (parts + 1, last);
    };
    let mut sent = 0;
    while sent < SPANS {
        for _ in 0..8 {
            let rows: Vec<Span> = (sent..(sent + BATCH).min(SPANS)).map(|n| child(1, n + 2, 1)).collect();
            sent += rows.len() as u64;
            bench.spans(&rows);
        }
        take(&bench.flush());
        assert!(!bench.window.is_over_memory());
    }
    loop {
        let flushed = bench.window.drain().unwrap();
        take(&flushed);
        if !flushed.more {
            break;
        }
    }
    assert_eq!(written, SPANS as i64 - 1);
    let last = reasons.pop();
    assert!(reasons.len() > 10 && reasons.iter().all(|reason| *reason == CloseReason::MaxBytes), "{reasons:?}");
    assert!(matches!(last, Some(CloseReason::MaxBytes | CloseReason::Drained)), "{last:?}");
    assert_eq!((bench.window.open_traces(), bench.window.spans.bytes()), (0, 0));
}

/// A message is never cut: all that it has of a trace closes together, however much, and what comes in the next message
/// opens a further part.
#[test]
fn a_message_stays_whole() {
    let mut bench = Bench::new(WindowConfig { max_trace_bytes: 1, ..WindowConfig::default() });
    let rows: Vec<Span> = (0..10_000).map(|n| child(1, n + 2, 1)).collect();
    bench.at(100);
    message(&mut bench, &rows);
    message(&mut bench, &[root(1, 1)]);
    let flushed = bench.flush();
    assert_eq!((closed(&flushed), flushed.more), (vec![pair("max_bytes", "10000")], true));
    let flushed = bench.flush();
    assert_eq!((closed(&flushed), flushed.more), (vec![pair("max_bytes", "1")], false));
    assert!(flushed.closed[0].fragment);
}

/// A worker ends between two parts of a trace. Its successor reads again from the low watermark, drops what the first
/// part holds and gives the rest: no span is lost with the part that was not written, none comes twice.
#[test]
fn parts_are_told_by_offset_after_a_restart() {
    let config = || WindowConfig { max_trace_bytes: 1, ..WindowConfig::default() };
    let messages = [[child(1, 2, 1), child(1, 3, 1)], [child(1, 4, 1), child(2, 5, 1)], [root(1, 1), root(2, 1)]];
    let mut bench = Bench::new(config());
    bench.at(100);
    messages.iter().for_each(|rows| message(&mut bench, rows));
    let first = bench.flush();
    let of_first: Vec<(TraceId, i64)> = first.closed.iter().map(|part| (part.trace_id, last_offset(part))).collect();
    assert_eq!(of_first, [(crate::testing::trace_id(1), 0), (crate::testing::trace_id(2), 1)]);
    assert!(first.more);

    let progress = first.progress.iter().find(|progress| progress.source == bench.spans).unwrap();
    assert_eq!(progress.low_watermark, 1);
    let known = |part: &Closed| ResumedTrace {
        tenant: part.tenant.clone(),
        trace_id: part.trace_id,
        closed_at: part.closed_at,
        last_offset: last_offset(part),
    };
    let mut next = Bench::new(config());
    next.window.assign(&[ResumeState {
        source: bench.spans.clone(),
        feeds_traces: true,
        next: Some(progress.next_offset),
        seek: Some(progress.low_watermark),
        stream_time: progress.stream_time,
        closed: first.closed.iter().map(known).collect(),
    }]);
    next.next[0] = 1;
    messages[1..].iter().for_each(|rows| message(&mut next, rows));
    let mut rest = vec![];
    loop {
        let flushed = next.window.drain().unwrap();
        assert!(flushed.closed.iter().all(|part| part.late));
        rest.extend(cells(&flushed.spans, "trace_id").into_iter().zip(cells(&flushed.spans, "span_id")));
        if !flushed.more {
            break;
        }
    }
    rest.sort();
    let [one, two] = [1, 2].map(|trace| hex::encode(crate::testing::trace_id(trace)));
    let span = |span: u64| format!("{span:016x}");
    assert_eq!(rest, [(one.clone(), span(1)), (one, span(4)), (two, span(1))]);
}

/// A partition is given up while a trace of it waits in parts: nothing of it stays, and its room is taken again.
#[test]
fn parts_go_with_their_partition() {
    let mut bench = Bench::new(WindowConfig { max_trace_bytes: 1, ..WindowConfig::default() });
    bench.at(100);
    (1..=3).for_each(|span| message(&mut bench, &[child(1, span, 77)]));
    assert_eq!(bench.window.open_traces(), 3);
    let gone = [bench.spans.clone()];
    bench.window.revoke(&gone);
    assert_eq!((bench.window.open_traces(), bench.window.pending.len()), (0, 0));
    bench.window.assign(&[ResumeState::fresh(bench.spans.clone())]);
    bench.at(100);
    (1..=3).for_each(|trace| message(&mut bench, &[child(trace, 1, 77)]));
    assert_eq!((bench.window.open_traces(), bench.window.traces.slots.len()), (3, 3));
}

/// 300,000 traces of one span each are open and none comes to its end: one flush brings the window back below what may
/// be open, by closing the oldest for want of memory, and in between it is at most a batch above. Every span comes out
/// once.
#[test]
fn open_traces_stay_within_memory() {
    const TRACES: u64 = 300_000;
    let mut bench = Bench::new(WindowConfig { memory: 64 * MIB, ..WindowConfig::default() });
    bench.at(100);
    let (mut taken, mut by_memory, mut most) = (0, 0, 0);
    for first in (0..TRACES).step_by(BATCH as usize) {
        let rows: Vec<Span> = (first..(first + BATCH).min(TRACES)).map(|n| child(n + 1, 1, 77)).collect();
        let before = bench.window.bytes();
        bench.spans(&rows);
        let pushed = bench.window.bytes() - before;
        assert!(pushed < 4 * MIB, "a batch takes {pushed} bytes");
        most = most.max(bench.window.open_traces());
        if !bench.window.is_over_memory() {
            continue;
        }
        let flushed = bench.flush();
        assert!(!bench.window.is_over_memory(), "{} bytes after a flush", bench.window.bytes());
        assert!(flushed.closed.iter().all(|trace| trace.reason == CloseReason::Memory));
        taken += flushed.spans.num_rows() as u64;
        by_memory += flushed.counts.closed[CloseReason::Memory as usize];
    }
    assert!(by_memory > 0 && most > 10_000, "{by_memory} closed, {most} were open at once");
    loop {
        let flushed = bench.window.drain().unwrap();
        taken += flushed.spans.num_rows() as u64;
        if !flushed.more {
            break;
        }
    }
    assert_eq!((taken, bench.window.open_traces()), (TRACES, 0));
}

/// Of two partitions one is read half an hour further than the other. While there is room it may; when the window fills
/// it is told to wait, and no longer when the other has come as far. Guarantees that a backlog which is read unevenly
/// closes traces by their rules and not for want of memory.
#[test]
fn partitions_that_run_ahead_are_told_to_wait() {
    let config = WindowConfig { memory: 16 * MIB, ..WindowConfig::default() };
    let sources = [0, 1].map(|partition| SourcePartition::new("c", "otlp_spans", partition));
    let mut window = Window::new(config);
    window.assign(&sources.clone().map(ResumeState::fresh));
    let [behind, before] = &sources;
    window.advance(behind, 100 * SECOND, 0).unwrap();
    let mut second = 1_900;
    while window.ahead().next().is_none() {
        assert!(!window.is_over_memory(), "it is told before the window is full");
        second += 1;
        let offset = second - 1_900;
        let rows: Vec<Span> = (0..500u64).map(|n| Span { offset, ..root(offset as u64 * 1_000 + n, 1) }).collect();
        window.advance(before, second * SECOND, offset + 1).unwrap();
        window.push_spans(before, spans(before, &rows)).unwrap();
        assert!(window.flush().unwrap().is_empty());
    }
    assert!(second > 1_901, "there was room for a while");
    assert_eq!(window.ahead().collect::<Vec<_>>(), [before]);
    window.advance(behind, (second - 10) * SECOND, 1).unwrap();
    assert_eq!(window.ahead().count(), 0);
    window.advance(behind, (second + 2) * SECOND, 2).unwrap();
    let flushed = window.flush().unwrap();
    assert!(flushed.closed.iter().all(|trace| trace.reason == CloseReason::RootEnded) && !flushed.closed.is_empty());
}

//! Random telemetry, random deliveries, random crashes; the seed names the run.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use tracerag_schemas::Table;
use tracerag_schemas::in_flight::materialize;

use super::*;
use crate::{ResumedTrace, revise};

/// One Kafka message.
#[derive(Debug, Clone)]
enum Message {
    Spans(Vec<Span>),
    Logs(Vec<Log>),
}

/// What was sent: per partition, messages with their record time, in offset order.
struct Sent {
    sources: Vec<SourcePartition>,
    messages: Vec<Vec<(i64, Message)>>,
    spans: Vec<Span>,
    /// How often each record (trace, hash) is to be written.
    logs: BTreeMap<(u64, u64), usize>,
}

struct Shape {
    /// Longest time between two parts of a trace, in ms.
    spread: i64,
    /// Whether some parts come minutes later.
    late: bool,
}

const MILLISECOND: i64 = SECOND / 1000;

fn send(rng: &mut StdRng, shape: &Shape) -> Sent {
    let sources = vec![
        SourcePartition::new("c", "otlp_spans", 0),
        SourcePartition::new("c", "otlp_spans", 1),
        SourcePartition::new("c", "otlp_logs", 0),
    ];
    let mut arrivals: Vec<(i64, usize, Message)> = vec![];
    let (mut all_spans, mut all_logs) = (vec![], BTreeMap::new());
    for trace in 1..=rng.random_range(1..25u64) {
        let begin = 1_000 * SECOND + rng.random_range(0..60_000) * MILLISECOND;
        let missing_root = rng.random_bool(0.1);
        let spans: Vec<Span> = (1..=rng.random_range(1..12u64))
            .map(|id| Span {
                trace,
                span: id,
                parent: if id == 1 && !missing_root {
                    0
                } else {
                    rng.random_range(if id == 1 { 90..91 } else { 1..id })
                },
                service: ["checkout", "payments", "ledger"][rng.random_range(0..3)],
                // Clocks of hosts differ by seconds.
                start: begin + rng.random_range(-3_000..3_000) * MILLISECOND,
                end: begin + rng.random_range(3_000..9_000) * MILLISECOND,
                error: rng.random_bool(0.1),
                ..Span::default()
            })
            .collect();
        let mut parts: Vec<Message> = spans.iter().map(|span| Message::Spans(vec![span.clone()])).collect();
        for hash in 1..=rng.random_range(0..5u64) {
            let trace = if rng.random_bool(0.2) { 0 } else { trace };
            let hash = trace * 1000 + hash + if trace == 0 { begin as u64 } else { 0 };
            let times = rng.random_range(1..3);
            *all_logs.entry((trace, hash)).or_insert(0) = times;
            parts.push(Message::Logs(vec![Log { trace, hash, time: begin, ..Log::default() }; times]));
        }
        all_spans.extend(spans);
        parts.shuffle(rng);
        let mut at = begin;
        for part in parts {
            at += rng.random_range(0..=shape.spread) * MILLISECOND;
            let later = if shape.late && rng.random_bool(0.1) { rng.random_range(20..400) * SECOND } else { 0 };
            let partition = |rng: &mut StdRng| match part {
                Message::Spans(_) => rng.random_range(0..2),
                Message::Logs(_) => 2,
            };
            arrivals.push((at + later, partition(rng), part.clone()));
            if rng.random_bool(0.15) {
                // The sender tries again, soon or, where that is played, late.
                let retry = if shape.late { rng.random_range(0..300_000) } else { 0 };
                arrivals.push((at + later + retry * MILLISECOND, partition(rng), part.clone()));
            }
        }
    }
    arrivals.sort_by_key(|(at, ..)| *at);
    let mut messages = vec![vec![]; 3];
    for (at, partition, message) in arrivals {
        // A broker's timestamp may lie behind its neighbours'.
        let record_time = at - rng.random_range(0..500) * MILLISECOND;
        messages[partition].push((record_time, message));
    }
    Sent { sources, messages, spans: all_spans, logs: all_logs }
}

/// What a lake holds, and what a journal remembers.
#[derive(Default)]
struct Lake {
    spans: Vec<RecordBatch>,
    traces: Vec<RecordBatch>,
    logs: Vec<RecordBatch>,
    closed: Vec<Vec<ResumedTrace>>,
    next: Vec<i64>,
    seek: Vec<i64>,
    stream_time: Vec<Option<i64>>,
}

impl Lake {
    fn new() -> Self {
        Self {
            closed: vec![vec![]; 3],
            next: vec![0; 3],
            seek: vec![0; 3],
            stream_time: vec![None; 3],
            ..Self::default()
        }
    }

    fn all(batches: &[RecordBatch], table: Table) -> RecordBatch {
        concat_batches(&table.lake_schema(), batches).unwrap()
    }

    /// Writes a flush as one epoch.
    fn record(&mut self, mut flushed: Flushed, sources: &[SourcePartition]) {
        if flushed.has_fragments() {
            let (spans, logs) = (Self::all(&self.spans, Table::Spans), Self::all(&self.logs, Table::Logs));
            revise(&mut flushed, &spans, &Self::all(&self.traces, Table::Traces), &logs).unwrap();
        }
        if flushed.spans.num_rows() > 0 {
            self.spans.push(materialize(&flushed.spans, &Table::Spans.lake_schema()).unwrap());
            self.traces.push(flushed.traces);
        }
        if flushed.logs.num_rows() > 0 {
            self.logs.push(materialize(&flushed.logs, &Table::Logs.lake_schema()).unwrap());
        }
        let number = |source: &SourcePartition| sources.iter().position(|known| known == source).unwrap();
        for closed in flushed.closed {
            for (source, last_offset) in &closed.last_offsets {
                self.closed[number(source)].push(ResumedTrace {
                    tenant: closed.tenant.clone(),
                    trace_id: closed.trace_id,
                    closed_at: closed.closed_at,
                    last_offset: *last_offset,
                });
            }
        }
        for progress in flushed.progress {
            let source = number(&progress.source);
            assert!(progress.low_watermark <= progress.next_offset && progress.low_watermark >= self.seek[source]);
            self.next[source] = progress.next_offset;
            self.seek[source] = progress.low_watermark;
            self.stream_time[source] = progress.stream_time;
        }
    }

    /// A window that goes on where the journal stands.
    fn window(&self, config: &WindowConfig, sources: &[SourcePartition]) -> Window {
        let mut window = Window::new(config.clone());
        let resume = sources.iter().enumerate().map(|(number, source)| match self.stream_time[number] {
            None => ResumeState::fresh(source.clone()),
            stream_time => ResumeState {
                source: source.clone(),
                feeds_traces: true,
                next: Some(self.next[number]),
                seek: Some(self.seek[number]),
                stream_time,
                closed: self.closed[number].clone(),
            },
        });
        window.assign(&resume.collect::<Vec<_>>());
        window.remember_logs(&Self::all(&self.logs, Table::Logs)).unwrap();
        window
    }
}

fn push(window: &mut Window, source: &SourcePartition, messages: &[(i64, Message)], from: usize) {
    let time = messages.iter().map(|(time, _)| *time).max().unwrap();
    window.advance(source, time, (from + messages.len()) as i64).unwrap();
    let (mut span_rows, mut log_rows) = (vec![], vec![]);
    for (offset, (_, message)) in messages.iter().enumerate() {
        let offset = (from + offset) as i64;
        match message {
            Message::Spans(rows) => span_rows.extend(rows.iter().cloned().map(|row| Span { offset, ..row })),
            Message::Logs(rows) => log_rows.extend(rows.iter().cloned().map(|row| Log { offset, ..row })),
        }
    }
    if !span_rows.is_empty() {
        window.push_spans(source, spans(source, &span_rows)).unwrap();
    }
    if !log_rows.is_empty() {
        window.push_logs(source, logs(source, &log_rows)).unwrap();
    }
}

/// Reads everything, in batches of any size, from the partitions in any order; flushes now and then; with
/// `crashes` the worker dies now and then, and another one goes on from the journal.
fn run(rng: &mut StdRng, sent: &Sent, config: &WindowConfig, crashes: bool) -> Lake {
    let mut lake = Lake::new();
    let mut window = lake.window(config, &sent.sources);
    let mut at = [0usize; 3];
    let mut left = 200;
    while (0..3).any(|source| at[source] < sent.messages[source].len()) {
        let source = rng.random_range(0..3);
        let messages = &sent.messages[source][at[source]..];
        if !messages.is_empty() {
            let count = rng.random_range(1..=messages.len().min(8));
            push(&mut window, &sent.sources[source], &messages[..count], at[source]);
            at[source] += count;
        }
        if rng.random_bool(0.3) {
            lake.record(window.flush().unwrap(), &sent.sources);
        }
        if crashes && left > 0 && rng.random_bool(0.1) {
            left -= 1;
            // What the last flush gave may or may not have been recorded.
            if rng.random_bool(0.5) {
                window.flush().unwrap();
            }
            window = lake.window(config, &sent.sources);
            at = [0, 1, 2].map(|source| lake.seek[source] as usize);
        }
    }
    // The topics are read to their ends: the clock goes on.
    for seconds in [1, 4, 11, 30] {
        for source in &sent.sources {
            window.at_high_watermark(source, (3_000 + seconds) * SECOND).unwrap();
        }
        loop {
            let flushed = window.flush().unwrap();
            let more = flushed.more;
            lake.record(flushed, &sent.sources);
            if !more {
                break;
            }
        }
    }
    assert_eq!(window.open_traces(), 0);
    lake
}

/// Trace, span and service of every span; each has to be there once.
fn spans_of(lake: &Lake) -> Vec<(String, String, String)> {
    let all = Lake::all(&lake.spans, Table::Spans);
    let columns = ["trace_id", "span_id", "service_name"].map(|name| cells(&all, name));
    let mut rows: Vec<_> = (0..all.num_rows())
        .map(|row| (columns[0][row].clone(), columns[1][row].clone(), columns[2][row].clone()))
        .collect();
    rows.sort();
    rows
}

fn sent_spans(sent: &Sent) -> Vec<(String, String, String)> {
    let row = |span: &Span| {
        (
            hex::encode(crate::testing::trace_id(span.trace)),
            hex::encode(span.span.to_be_bytes()),
            span.service.to_owned(),
        )
    };
    let rows: BTreeSet<_> = sent.spans.iter().map(row).collect();
    rows.into_iter().collect()
}

/// How often each hash is in the lake.
fn logs_of(lake: &Lake) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    cells(&Lake::all(&lake.logs, Table::Logs), "record_hash")
        .into_iter()
        .for_each(|hash| *found.entry(hash).or_default() += 1);
    found
}

fn sent_logs(sent: &Sent) -> BTreeMap<String, usize> {
    let hash = |n: u64| hex::encode(xxhash_rust::xxh3::xxh3_128(&n.to_le_bytes()).to_le_bytes());
    sent.logs.iter().map(|((_, n), times)| (hash(*n), *times)).collect()
}

/// The newest row of each trace, by the columns that delivery must not change.
fn newest(lake: &Lake) -> BTreeMap<String, Vec<String>> {
    const COLUMNS: [&str; 11] = [
        "root_span_id",
        "services",
        "service_path",
        "start_time",
        "end_time",
        "status",
        "span_count",
        "error_span_count",
        "complete",
        "incomplete_reasons",
        "builds_in_effect",
    ];
    let all = Lake::all(&lake.traces, Table::Traces);
    let columns = COLUMNS.map(|name| cells(&all, name));
    let (ids, revisions) = (cells(&all, "trace_id"), cells(&all, "revision"));
    let mut order: Vec<usize> = (0..all.num_rows()).collect();
    order.sort_by_key(|row| revisions[*row].parse::<i32>().unwrap());
    let mut seen = BTreeSet::new();
    for row in &order {
        assert!(seen.insert((ids[*row].clone(), revisions[*row].clone())), "a revision twice");
    }
    order
        .into_iter()
        .map(|row| (ids[row].clone(), columns.iter().map(|column| column[row].clone()).collect()))
        .collect()
}

/// Parts that come within the waits, in any order and batches, from partitions of which one may be read far
/// ahead of the other, doubled by retries: every trace closes once, whole, and all rows are the same as when
/// everything comes at once.
#[test]
fn order_within_the_waits_does_not_matter() {
    let config = WindowConfig::default();
    for seed in 0..100 {
        let mut rng = StdRng::seed_from_u64(seed);
        // Two parts are less than root_grace apart, also after the brokers' jitter.
        let sent = send(&mut rng, &Shape { spread: 1_000, late: false });
        let lake = run(&mut rng, &sent, &config, false);
        assert_eq!(spans_of(&lake), sent_spans(&sent), "seed {seed}");
        assert_eq!(logs_of(&lake), sent_logs(&sent), "seed {seed}");
        let revisions = cells(&Lake::all(&lake.traces, Table::Traces), "revision");
        assert!(revisions.iter().all(|revision| revision == "1"), "seed {seed}");
        let mut at_once = Lake::new();
        let mut window = at_once.window(&config, &sent.sources);
        for (source, messages) in sent.sources.iter().zip(&sent.messages) {
            if !messages.is_empty() {
                push(&mut window, source, messages, 0);
            }
        }
        at_once.record(window.drain().unwrap(), &sent.sources);
        assert_eq!(newest(&lake), newest(&at_once), "seed {seed}");
    }
}

/// Parts that come minutes late, retries after the close, workers that die between any two steps: every span
/// and log is in the lake exactly once, and the newest revision of every trace says what one that came whole
/// would say. Where every message is a part of its own, nothing is lost or doubled either; the newest revision then
/// says that the trace was cut.
#[test]
fn nothing_is_lost_or_doubled() {
    // Every crash lets open traces wait anew, so copies may be compared much later than they came.
    let roomy = WindowConfig { dedupe_horizon: 3600 * SECOND, ..WindowConfig::default() };
    let tight = WindowConfig { memory: 120_000, ..roomy.clone() };
    let in_parts = WindowConfig { max_trace_bytes: 1, ..roomy.clone() };
    for seed in 1000..1060 {
        let mut rng = StdRng::seed_from_u64(seed);
        let sent = send(&mut rng, &Shape { spread: 4_000, late: true });
        let is_cut = seed % 3 == 1;
        let config = [&tight, &in_parts, &roomy][(seed % 3) as usize];
        let lake = run(&mut rng, &sent, config, true);
        assert_eq!(spans_of(&lake), sent_spans(&sent), "seed {seed}");
        assert_eq!(logs_of(&lake), sent_logs(&sent), "seed {seed}");
        if is_cut {
            continue;
        }
        let mut at_once = Lake::new();
        let mut window = at_once.window(&WindowConfig::default(), &sent.sources);
        for (source, messages) in sent.sources.iter().zip(&sent.messages) {
            if !messages.is_empty() {
                push(&mut window, source, messages, 0);
            }
        }
        at_once.record(window.drain().unwrap(), &sent.sources);
        assert_eq!(newest(&lake), newest(&at_once), "seed {seed}");
    }
}

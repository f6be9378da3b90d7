//! Closing: the rows of all closing traces are found in one pass, deduplicated, ordered and collected.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::PrimitiveArray;
use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use arrow::datatypes::TimestampNanosecondType;
use rustc_hash::FxHashSet;
use tracerag_schemas::ids::TraceId;
use tracerag_schemas::{SourcePartition, Table};

use super::flushed::{CloseReason, Closed, Counts, Flushed};
use super::held::{AT_ONCE, Batches, GONE};
use super::pressure::TRACE_BYTES;
use super::{Window, log_key, message, message_seed};
use crate::columns::{Ids, Text, number, times};
use crate::error::Result;
use crate::gather::{Runs, gather_batch};
use crate::join::{ClosedTrace, join};
use crate::sampling::{Candidate, Decision};

/// Columns that are filled after the rows are collected.
const FILLED_SPANS: [&str; 3] = ["revision", "build_git_sha", "build_match"];
const FILLED_LOGS: [&str; 1] = ["revision"];

/// A row of a held batch.
#[derive(Debug, Clone, Copy)]
struct Row {
    batch: u32,
    row: u32,
}

/// Rows by closing trace; the last bucket holds those that wait for nothing.
struct Buckets {
    starts: Vec<u32>,
    rows: Vec<Row>,
}

impl Buckets {
    fn of(&self, ordinal: usize) -> &[Row] {
        &self.rows[self.starts[ordinal] as usize..self.starts[ordinal + 1] as usize]
    }
}

/// A counting sort of rows by their trace's ordinal. Takes the rows away from their batches.
fn take_rows(batches: &mut Batches, ordinals: &[u32], traces: usize) -> Buckets {
    let ordinal = |owner: u32| match owner {
        AT_ONCE => traces as u32,
        owner => ordinals.get(owner as usize).copied().unwrap_or(GONE),
    };
    let mut starts = vec![0u32; traces + 2];
    for owner in batches.held.iter().flat_map(|held| &held.owner) {
        let ordinal = ordinal(*owner);
        if ordinal != GONE {
            starts[ordinal as usize + 1] += 1;
        }
    }
    for index in 1..starts.len() {
        starts[index] += starts[index - 1];
    }
    let mut next = starts.clone();
    let mut rows = vec![Row { batch: 0, row: 0 }; starts[traces + 1] as usize];
    for (batch, held) in batches.held.iter_mut().enumerate() {
        for (row, owner) in held.owner.iter_mut().enumerate() {
            let ordinal = ordinal(*owner);
            if ordinal != GONE {
                rows[next[ordinal as usize] as usize] = Row { batch: batch as u32, row: row as u32 };
                next[ordinal as usize] += 1;
                *owner = GONE;
                held.alive -= 1;
            }
        }
    }
    Buckets { starts, rows }
}

#[derive(Clone, Copy)]
struct SpanKey {
    id: u64,
    start: i64,
    origin: (u32, i64),
    at: Row,
}

#[derive(Clone, Copy)]
struct LogKey {
    hash: Option<[u8; 16]>,
    time: i64,
    origin: (u32, i64),
    at: Row,
}

/// Numbers of sources, by topic and partition: the same whatever the order of assignment.
struct Sources {
    rank: Vec<u32>,
    /// By rank.
    seeds: Vec<u64>,
}

impl Sources {
    fn new<'a>(sources: impl Iterator<Item = &'a SourcePartition>) -> Self {
        let all: Vec<&SourcePartition> = sources.collect();
        let mut order: Vec<usize> = (0..all.len()).collect();
        order.sort_by_key(|index| all[*index]);
        let mut rank = vec![0; all.len()];
        for (place, index) in order.iter().enumerate() {
            rank[*index] = place as u32;
        }
        let seed = |index: usize| message_seed(&all[index].topic, all[index].partition);
        Self { rank, seeds: order.into_iter().map(seed).collect() }
    }
}

/// The greatest offset of each source.
#[derive(Default, Clone)]
struct LastOffsets(Vec<(u32, i64)>);

impl LastOffsets {
    fn see(&mut self, source: u32, offset: i64) {
        match self.0.iter_mut().find(|(known, _)| *known == source) {
            Some((_, last)) => *last = offset.max(*last),
            None => self.0.push((source, offset)),
        }
    }
}

/// What is to be collected, with the place of each trace in it.
struct Selection {
    spans: Runs,
    logs: Runs,
    last_offsets: Vec<LastOffsets>,
    ranges: Vec<(Range<usize>, Range<usize>)>,
    sampled: Vec<Decision>,
}

impl Window {
    /// Closes pending traces, as many as one flush may hold, and gives what waits for nothing.
    pub(super) fn close(&mut self) -> Result<Flushed> {
        let closing = self.take_pending();
        let mut flushed = Flushed::empty();
        // Each, for both flags begin anew.
        let at_once = self.spans.take_at_once() | self.logs.take_at_once();
        if at_once || !closing.is_empty() {
            self.take(closing, &mut flushed)?;
        }
        let pressed = !self.pending.is_empty() || self.is_over_memory();
        // Under pressure rewriting costs less than closing more traces.
        let share = if pressed { 7 } else { 4 };
        self.spans.compact(share)?;
        self.logs.compact(share)?;
        flushed.more = !self.pending.is_empty();
        flushed.progress = self.progress();
        if let Some(now) = self.clock.least() {
            self.late.expire(now);
            self.sampled_away.expire(now);
            self.history.expire(now);
            self.changes.prune(now.saturating_sub(self.config.max_duration).saturating_sub(self.config.late_horizon));
        }
        // Memory has its bounds also where no time is known.
        let cuts = self.late.cut() + self.sampled_away.cut() + self.history.cut();
        flushed.counts = std::mem::take(&mut self.counts);
        flushed.counts.horizon_cuts += cuts;
        Ok(flushed)
    }

    /// Takes the rows of traces, and those that wait for nothing, and joins them.
    fn take(&mut self, closing: Vec<(u32, CloseReason)>, flushed: &mut Flushed) -> Result<()> {
        let mut ordinals = vec![GONE; self.traces.slots.len()];
        for (ordinal, (slot, _)) in closing.iter().enumerate() {
            ordinals[*slot as usize] = ordinal as u32;
        }
        let spans = take_rows(&mut self.spans, &ordinals, closing.len());
        let logs = take_rows(&mut self.logs, &ordinals, closing.len());
        let mut selection = self.select(&closing, &spans, &logs)?;
        if selection.spans.rows() > 0 {
            flushed.spans = collect(&self.spans, &mut selection.spans, Table::Spans, &FILLED_SPANS)?;
        }
        if selection.logs.rows() > 0 {
            flushed.logs = collect(&self.logs, &mut selection.logs, Table::Logs, &FILLED_LOGS)?;
        }
        self.forget(closing, selection, flushed)
    }

    /// The traces of this flush, sorted by tenant and trace id. Of one that closes in parts each flush takes one, the
    /// oldest: the next is compared with what is stored of those before it.
    fn take_pending(&mut self) -> Vec<(u32, CloseReason)> {
        let budget = self.config.flush_memory();
        let mut bytes = 0usize;
        let mut in_parts: FxHashSet<(u32, TraceId)> = FxHashSet::default();
        let mut closing: Vec<(u32, CloseReason)> = vec![];
        for (slot, reason) in std::mem::take(&mut self.pending) {
            let trace = &self.traces.slots[slot as usize];
            let id = (trace.tenant, trace.id);
            if bytes >= budget || in_parts.contains(&id) {
                self.pending.push((slot, reason));
                continue;
            }
            if trace.detached {
                in_parts.insert(id);
            }
            bytes += trace.bytes + TRACE_BYTES;
            closing.push((slot, reason));
        }
        closing.sort_by(|(a, _), (b, _)| {
            let (a, b) = (&self.traces.slots[*a as usize], &self.traces.slots[*b as usize]);
            let tenants = || self.tenants.name(a.tenant).cmp(self.tenants.name(b.tenant));
            let by_tenant = if a.tenant == b.tenant { std::cmp::Ordering::Equal } else { tenants() };
            by_tenant.then_with(|| a.id.cmp(&b.id))
        });
        closing
    }

    fn select(&mut self, closing: &[(u32, CloseReason)], spans: &Buckets, logs: &Buckets) -> Result<Selection> {
        let sources = Sources::new(self.clock.sources().iter().map(|source| &source.id));
        let mut selection = Selection {
            spans: Runs::with_capacity(spans.rows.len()),
            logs: Runs::with_capacity(logs.rows.len()),
            last_offsets: vec![LastOffsets::default(); closing.len() + 1],
            ranges: Vec::with_capacity(closing.len()),
            sampled: Vec::with_capacity(closing.len()),
        };
        let now = self.clock.least();
        let span_columns = SpanColumns::of(&self.spans)?;
        let log_columns = LogColumns::of(&self.logs)?;
        let (mut span_keys, mut log_keys) = (vec![], vec![]);
        for ordinal in 0..=closing.len() {
            let last_offsets = &mut selection.last_offsets[ordinal];
            let trace = closing.get(ordinal).map(|(slot, _)| &self.traces.slots[*slot as usize]);
            self.spans.keys(spans.of(ordinal), &sources, last_offsets, &mut span_keys, |row, at, origin| {
                let columns = &span_columns[at.batch as usize];
                let id = columns.ids.get(row).map_or(0, u64::from_be_bytes);
                SpanKey { id, start: number(columns.start, row).unwrap_or(0), origin, at }
            });
            self.counts.duplicate_spans += unique_spans(&mut span_keys);
            self.logs.keys(logs.of(ordinal), &sources, last_offsets, &mut log_keys, |row, at, origin| {
                let columns = &log_columns[at.batch as usize];
                let time = number(columns.time, row).or_else(|| number(columns.observed, row)).unwrap_or(0);
                LogKey { hash: columns.hashes.get(row), time, origin, at }
            });
            let decision = match (trace, &self.sampler) {
                (Some(trace), sampler) => {
                    let hash = self.tenants.hash(trace.tenant, trace.id);
                    if trace.late && self.sampled_away.contains(hash) {
                        Decision::Drop
                    } else if let Some(sampler) = sampler.as_ref().filter(|_| !span_keys.is_empty()) {
                        let tenant = self.tenants.name(trace.tenant);
                        sampler.decide(&candidate(tenant, trace.id, &span_keys, &span_columns))
                    } else {
                        Decision::Keep(None)
                    }
                }
                (None, _) => Decision::Keep(None),
            };
            selection.sampled.push(decision);
            let (first_span, first_log) = (selection.spans.rows(), selection.logs.rows());
            if decision != Decision::Drop {
                // Logs without a trace have a tenant a row.
                let tenant_seed = |key: &LogKey| {
                    let tenant = || log_columns[key.at.batch as usize].tenant.get(key.at.row as usize);
                    trace.map_or_else(
                        || xxhash_rust::xxh3::xxh3_64(tenant().unwrap_or_default().as_bytes()),
                        |trace| self.tenants.seed(trace.tenant),
                    )
                };
                // As long as no group has a time, a record is remembered as if it had come with the newest: were it taken
                // for older than it is, its copy would be stored, too.
                let at = now.or_else(|| self.clock.greatest()).unwrap_or_else(|| trace.map_or(0, |trace| trace.last));
                let history = &mut self.history;
                self.counts.duplicate_logs += unique_logs(&mut log_keys, |key, count| {
                    let Some(hash) = key.hash else { return count };
                    let message = message(sources.seeds[key.origin.0 as usize], key.origin.1);
                    history.admit(log_key(tenant_seed(key), hash), message, count, at)
                });
                span_keys.iter().for_each(|key| selection.spans.push(key.at.batch, key.at.row, 1));
                log_keys.iter().for_each(|key| selection.logs.push(key.at.batch, key.at.row, 1));
            }
            if trace.is_some() {
                selection.ranges.push((first_span..selection.spans.rows(), first_log..selection.logs.rows()));
            }
        }
        Ok(selection)
    }

    /// Joins what was collected, writes down what was closed and frees its slots.
    fn forget(&mut self, closing: Vec<(u32, CloseReason)>, selection: Selection, flushed: &mut Flushed) -> Result<()> {
        let mut traces: Vec<ClosedTrace> = Vec::with_capacity(closing.len());
        let Selection { last_offsets, ranges, sampled, .. } = selection;
        let mut newest = None;
        for (((slot, reason), offsets), ((spans, logs), decision)) in
            closing.into_iter().zip(last_offsets).zip(ranges.into_iter().zip(sampled))
        {
            let trace = &self.traces.slots[slot as usize];
            let closed_at = self.clock.time(trace.group).map_or(trace.last, |now| now.max(trace.last));
            let hash = self.tenants.hash(trace.tenant, trace.id);
            self.late.insert(hash, closed_at);
            newest = newest.max(Some(closed_at));
            if decision == Decision::Drop {
                self.sampled_away.insert(hash, closed_at);
                self.counts.sampled_away += 1;
            } else if !spans.is_empty() {
                self.counts.closed[reason as usize] += 1;
            }
            if trace.late {
                self.counts.late += (spans.len() + logs.len()) as u64;
            }
            let source = |(number, offset): (u32, i64)| (self.clock.source(number).id.clone(), offset);
            let closed = Closed {
                tenant: Arc::clone(self.tenants.name(trace.tenant)),
                trace_id: trace.id,
                closed_at,
                reason,
                fragment: trace.late && !spans.is_empty(),
                late: trace.late,
                sampled_away: decision == Decision::Drop,
                last_offsets: offsets.0.into_iter().map(source).collect(),
            };
            let sampled_by = if let Decision::Keep(rule) = decision { rule } else { None };
            traces.push(ClosedTrace { closed, spans, logs, sampled_by });
            self.traces.remove(slot, &self.tenants);
        }
        self.seals.extend(newest.map(|closed_at| closed_at.saturating_add(self.config.seal_after)));
        flushed.spans = with_revision(&flushed.spans, 1)?;
        flushed.logs = with_revision(&flushed.logs, 1)?;
        join(flushed, &mut traces, &mut self.changes)?;
        flushed.closed = traces.into_iter().map(|trace| trace.closed).collect();
        let Counts { spans, logs, .. } = &mut self.counts;
        *spans += flushed.spans.num_rows() as u64;
        *logs += flushed.logs.num_rows() as u64;
        Ok(())
    }
}

impl Batches {
    /// Sort keys of a trace's rows; their offsets are noted, also those of duplicates.
    fn keys<K>(
        &self,
        rows: &[Row],
        sources: &Sources,
        last: &mut LastOffsets,
        keys: &mut Vec<K>,
        key: impl Fn(usize, Row, (u32, i64)) -> K,
    ) {
        keys.clear();
        keys.extend(rows.iter().map(|at| {
            let held = &self.held[at.batch as usize];
            let offset = held.offset(at.row as usize);
            last.see(held.source, offset);
            key(at.row as usize, *at, (sources.rank[held.source as usize], offset))
        }));
    }
}

struct SpanColumns<'a> {
    ids: Ids<'a, 8>,
    start: &'a PrimitiveArray<TimestampNanosecondType>,
    end: &'a PrimitiveArray<TimestampNanosecondType>,
    status: Text<'a>,
}

impl<'a> SpanColumns<'a> {
    fn of(batches: &'a Batches) -> Result<Vec<Self>> {
        let of = |batch: &'a RecordBatch| {
            Ok(Self {
                ids: Ids::of(batch, "span_id")?,
                start: times(batch, "start_time")?,
                end: times(batch, "end_time")?,
                status: Text::of(batch, "status_code")?,
            })
        };
        batches.held.iter().map(|held| of(&held.batch)).collect()
    }
}

struct LogColumns<'a> {
    tenant: Text<'a>,
    hashes: Ids<'a, 16>,
    time: &'a PrimitiveArray<TimestampNanosecondType>,
    observed: &'a PrimitiveArray<TimestampNanosecondType>,
}

impl<'a> LogColumns<'a> {
    fn of(batches: &'a Batches) -> Result<Vec<Self>> {
        let of = |batch: &'a RecordBatch| {
            Ok(Self {
                tenant: Text::of(batch, "tenant_id")?,
                hashes: Ids::of(batch, "record_hash")?,
                time: times(batch, "time")?,
                observed: times(batch, "observed_time")?,
            })
        };
        batches.held.iter().map(|held| of(&held.batch)).collect()
    }
}

/// Leaves one row of each span id, that of the first origin, in order of start and id. Gives how many went.
fn unique_spans(keys: &mut Vec<SpanKey>) -> u64 {
    let before = keys.len();
    keys.sort_unstable_by_key(|key| (key.id, key.origin, key.at.row));
    keys.dedup_by(|next, kept| next.id == kept.id && next.id != 0);
    keys.sort_unstable_by_key(|key| (key.start, key.id, key.origin));
    (before - keys.len()) as u64
}

/// Leaves of equal records as many as `admit` says for each message, in order of time and origin. Gives
/// how many went.
fn unique_logs(keys: &mut Vec<LogKey>, mut admit: impl FnMut(&LogKey, u32) -> u32) -> u64 {
    let before = keys.len();
    keys.sort_unstable_by_key(|key| (key.hash, key.origin, key.at.row));
    let mut kept = 0;
    let mut from = 0;
    while from < before {
        let first = keys[from];
        let equal = keys[from..].partition_point(|key| (key.hash, key.origin) == (first.hash, first.origin));
        let admitted = admit(&first, equal as u32).min(equal as u32) as usize;
        keys.copy_within(from..from + admitted, kept);
        kept += admitted;
        from += equal;
    }
    keys.truncate(kept);
    keys.sort_unstable_by_key(|key| (key.time, key.origin, key.at.row));
    (before - kept) as u64
}

fn candidate<'a>(tenant: &'a str, trace_id: [u8; 16], keys: &[SpanKey], columns: &[SpanColumns<'_>]) -> Candidate<'a> {
    let of = |key: &SpanKey| (&columns[key.at.batch as usize], key.at.row as usize);
    let end = keys.iter().filter_map(|key| number(of(key).0.end, of(key).1)).max();
    let start = keys.first().map(|key| key.start);
    Candidate {
        tenant,
        trace_id,
        spans: keys.len(),
        error: keys.iter().any(|key| of(key).0.status.get(of(key).1) == Some("ERROR")),
        duration_ns: end.zip(start).map_or(0, |(end, start)| end.saturating_sub(start)),
    }
}

fn collect(batches: &Batches, runs: &mut Runs, table: Table, filled: &[&str]) -> Result<RecordBatch> {
    let schema = table.in_flight_schema();
    let skip: Vec<usize> = filled.iter().filter_map(|name| schema.index_of(name).ok()).collect();
    let used = runs.renumber(batches.held.len());
    let used: Vec<&RecordBatch> = used.into_iter().map(|batch| &batches.held[batch].batch).collect();
    let gathered = gather_batch(&used, runs, &skip)?;
    Ok(RecordBatch::try_new(schema, gathered.columns().to_vec())?)
}

/// The batch with one revision in all rows.
fn with_revision(batch: &RecordBatch, revision: i32) -> Result<RecordBatch> {
    let revisions: ArrayRef = Arc::new(Int32Array::from_value(revision, batch.num_rows()));
    with_column(batch, "revision", revisions)
}

/// The batch with one column replaced.
pub(crate) fn with_column(batch: &RecordBatch, name: &str, column: ArrayRef) -> Result<RecordBatch> {
    let mut columns = batch.columns().to_vec();
    if let Ok(index) = batch.schema_ref().index_of(name) {
        columns[index] = column;
    }
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}

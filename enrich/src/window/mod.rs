//! The window: takes batches and a time, gives closed traces.
//!
//! State is columnar: the batches as they came ([`held`]), with the open trace that owns each row
//! ([`state`]). A flush finds what is due ([`state::Traces::due`], [`pressure`]), collects the rows of all
//! closing traces in one pass ([`close`]) and joins them ([`crate::join`]).

pub(crate) mod close;
pub(crate) mod config;
pub(crate) mod flushed;
mod held;
mod late;
mod log_history;
mod pressure;
pub(crate) mod resume;
pub(crate) mod revise;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, TimestampNanosecondArray};
use arrow::datatypes::{Int32Type, Int64Type, SchemaRef};
use rustc_hash::{FxHashMap, FxHashSet};
use tracerag_schemas::{SourcePartition, Table};
use xxhash_rust::xxh3::xxh3_64;

use crate::columns::{Ids, Text, number, numbers, times};
use crate::error::{Error, Result};
use crate::join::Changes;
use crate::sampling::Sampler;
use crate::stream_time::Clock;
use config::WindowConfig;
use flushed::{CloseReason, Counts, Flushed, Progress};
use held::{AT_ONCE, Batches, GONE, Held};
use late::LateFilter;
use log_history::LogHistory;
use resume::{ResumeState, Suppression};
use state::{Tenants, Touch, Traces};

/// The window of one worker.
///
/// For each batch call [`advance`](Self::advance) and then push it. Between two flushes every Kafka
/// message has to be pushed whole: what is written already is known by offset after a restart.
pub struct Window {
    config: WindowConfig,
    clock: Clock,
    tenants: Tenants,
    traces: Traces,
    spans: Batches,
    logs: Batches,
    late: LateFilter,
    sampled_away: LateFilter,
    history: LogHistory,
    changes: Changes,
    sampler: Option<Box<dyn Sampler>>,
    /// Traces to close with the next flushes.
    pending: Vec<(u32, CloseReason)>,
    pushes: u64,
    counts: Counts,
    /// Last moments of the evidence of closed traces that are not known to be sealed.
    seals: BTreeSet<i64>,
}

impl Window {
    /// An empty window that keeps every trace.
    pub fn new(config: WindowConfig) -> Self {
        Self {
            clock: Clock::new(config.idle_partition, config.keyed),
            tenants: Tenants::default(),
            traces: Traces::new(&config),
            spans: Batches::default(),
            logs: Batches::default(),
            // A quarter of the memory remembers ids, an eighth hashes; the rest is for open traces.
            late: LateFilter::new(config.late_horizon, config.memory / 4),
            sampled_away: LateFilter::new(config.late_horizon, config.memory / 8),
            history: LogHistory::new(config.dedupe_horizon, config.memory / 8),
            changes: Changes::default(),
            sampler: None,
            pending: vec![],
            pushes: 0,
            counts: Counts::default(),
            seals: BTreeSet::new(),
            config,
        }
    }

    /// Lets a sampler decide which traces are kept.
    #[must_use]
    pub fn with_sampler(mut self, sampler: Box<dyn Sampler>) -> Self {
        self.sampler = Some(sampler);
        self
    }

    /// Takes partitions. Each is then read from its `seek` on; rows that are written already are dropped.
    pub fn assign(&mut self, resume: &[ResumeState]) {
        // A trace stands with one of its partitions, and is sealed when all have passed.
        let reached = resume.iter().filter_map(|state| state.stream_time).min().unwrap_or(i64::MIN);
        for state in resume {
            let suppression = Suppression::new(state, |tenant| self.tenants.number(tenant));
            let seek = state.seek.or(state.next).unwrap_or(0);
            self.clock.assign(&state.source, seek, state.stream_time, state.feeds_traces, suppression);
            let mut closed: Vec<_> = state.closed.iter().collect();
            closed.sort_by_key(|trace| trace.closed_at);
            let seals = closed.iter().map(|trace| trace.closed_at.saturating_add(self.config.seal_after));
            self.seals.extend(seals.filter(|seal| *seal >= reached));
            let oldest = state.stream_time.map_or(i64::MIN, |now| now.saturating_sub(self.config.late_horizon));
            for trace in closed.into_iter().filter(|trace| trace.closed_at >= oldest) {
                let tenant = self.tenants.number(&trace.tenant);
                self.late.insert(self.tenants.hash(tenant, trace.trace_id), trace.closed_at);
            }
        }
    }

    /// Gives partitions up: their rows are dropped, for whoever takes them reads them again.
    pub fn revoke(&mut self, sources: &[SourcePartition]) {
        let mut gone: FxHashSet<u32> = FxHashSet::default();
        for source in sources {
            let Some(number) = self.clock.number(source) else { continue };
            self.clock.revoke(number);
            for (batches, spans) in [(&mut self.spans, true), (&mut self.logs, false)] {
                for held in batches.held.iter_mut().filter(|held| held.source == number) {
                    for owner in held.owner.iter_mut().filter(|owner| **owner != GONE) {
                        if *owner != AT_ONCE {
                            let trace = &mut self.traces.slots[*owner as usize];
                            let rows = if spans { &mut trace.spans } else { &mut trace.logs };
                            *rows = rows.saturating_sub(1);
                            if trace.spans == 0 && trace.logs == 0 {
                                self.traces.remove(*owner, &self.tenants);
                                gone.insert(*owner);
                            }
                        }
                        *owner = GONE;
                    }
                    held.alive = 0;
                }
                batches.forget_dead();
            }
        }
        self.pending.retain(|(slot, _)| !gone.contains(slot));
    }

    /// A partition was read up to `next_offset`; `record_time` is the greatest record time of what was
    /// read, each the lesser of Kafka's timestamp and the worker's clock. Call it before the push.
    ///
    /// # Errors
    /// When the partition is not assigned.
    pub fn advance(&mut self, source: &SourcePartition, record_time: i64, next_offset: i64) -> Result<()> {
        let number = self.number(source)?;
        self.clock.advance(number, record_time, next_offset);
        Ok(())
    }

    /// The partition has nothing more for now: until its next record the worker's clock is its time.
    ///
    /// # Errors
    /// When the partition is not assigned.
    pub fn at_high_watermark(&mut self, source: &SourcePartition, wall_clock: i64) -> Result<()> {
        let number = self.number(source)?;
        self.clock.at_high_watermark(number, wall_clock);
        Ok(())
    }

    /// Says that back-pressure holds a partition, or does no longer: silence is then not idleness.
    ///
    /// # Errors
    /// When the partition is not assigned.
    pub fn set_paused(&mut self, source: &SourcePartition, paused: bool) -> Result<()> {
        let number = self.number(source)?;
        self.clock.set_paused(number, paused);
        Ok(())
    }

    /// The input of a replay has ended; what it brought stays.
    ///
    /// # Errors
    /// When the partition is not assigned.
    pub fn finish(&mut self, source: &SourcePartition) -> Result<()> {
        let number = self.number(source)?;
        self.clock.finish(number);
        Ok(())
    }

    /// Finds idle partitions by the worker's clock, in ns. Call it about once a second.
    pub fn tick(&mut self, wall_clock: i64) {
        self.clock.tick(wall_clock);
    }

    /// Takes spans of one partition, in flight, in offset order.
    ///
    /// # Errors
    /// When the partition is not assigned or has no time yet, or the batch has another schema.
    pub fn push_spans(&mut self, source: &SourcePartition, batch: RecordBatch) -> Result<()> {
        self.push(source, batch, Table::Spans)
    }

    /// Takes log records of one partition, in flight, in offset order. Those without a trace id leave with
    /// the next flush.
    ///
    /// # Errors
    /// When the partition is not assigned or has no time yet, or the batch has another schema.
    pub fn push_logs(&mut self, source: &SourcePartition, batch: RecordBatch) -> Result<()> {
        self.push(source, batch, Table::Logs)
    }

    fn push(&mut self, source: &SourcePartition, batch: RecordBatch, table: Table) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        check_schema(&batch, &table.in_flight_schema())?;
        let source = self.number(source)?;
        let Some(at) = self.clock.arrival(source) else {
            return Err(Error::NoTime(self.clock.source(source).id.clone()));
        };
        let batch = with_ingestion_time(batch, at)?;
        self.pushes += 1;
        let touch = Touch { source, group: self.clock.source(source).group, at, push: self.pushes };
        let memory = held::memory(&batch);
        let owner = self.owners(source, &batch, memory / batch.num_rows(), touch, table == Table::Spans)?;
        let held = Held::new(batch, memory, source, owner)?;
        if table == Table::Spans {
            self.spans.push(held)
        } else {
            self.logs.push(held)
        }
        Ok(())
    }

    /// Finds the trace of each row; an average one has `row_bytes`.
    fn owners(
        &mut self,
        source: u32,
        batch: &RecordBatch,
        row_bytes: usize,
        touch: Touch,
        spans: bool,
    ) -> Result<Vec<u32>> {
        let ids = Ids::<16>::of(batch, "trace_id")?;
        let parents = if spans { Some(Ids::<8>::of(batch, "parent_span_id")?) } else { None };
        let offsets = numbers::<Int64Type>(batch, "kafka_offset", "Int64")?;
        let row_tenants = Text::of(batch, "tenant_id")?;
        let tenants = row_tenants.map_values(|name| self.tenants.number(name.unwrap_or_default()));
        let mut owners = Vec::with_capacity(batch.num_rows());
        let mut last: Option<(u32, [u8; 16], u32)> = None;
        for row in 0..batch.num_rows() {
            let offset = number(offsets, row).unwrap_or(0);
            let suppression = &self.clock.source(source).suppression;
            let Some(id) = ids.get(row) else {
                owners.push(if spans {
                    self.counts.without_trace += 1;
                    GONE
                } else if offset < suppression.next {
                    self.counts.suppressed += 1;
                    GONE
                } else {
                    AT_ONCE
                });
                continue;
            };
            let tenant = tenants.get(row_tenants, row);
            if suppression.is_written(tenant, id, offset) {
                self.counts.suppressed += 1;
                owners.push(GONE);
                continue;
            }
            let slot = match last {
                Some((last_tenant, last_id, slot))
                    if last_tenant == tenant
                        && last_id == id
                        && self.traces.slots[slot as usize].takes((source, offset)) =>
                {
                    slot
                }
                _ => {
                    let hash = self.tenants.hash(tenant, id);
                    self.traces.slot((tenant, id, hash), offset, touch, &self.tenants, || self.late.contains(hash))
                }
            };
            last = Some((tenant, id, slot));
            owners.push(slot);
            let trace = &mut self.traces.slots[slot as usize];
            trace.last = trace.last.max(touch.at);
            trace.touched = touch.push;
            trace.origin = (source, offset);
            trace.bytes += row_bytes;
            trace.full = trace.bytes > self.config.max_trace_bytes;
            let (first, has_root) = (trace.spans == 0, trace.has_root);
            if let Some(parents) = parents {
                trace.spans += 1;
                trace.has_root |= parents.get(row).is_none();
            } else {
                trace.logs += 1;
            }
            if trace.full && !trace.closing {
                trace.closing = true;
                self.pending.push((slot, CloseReason::MaxBytes));
            } else if first || trace.has_root != has_root {
                self.traces.schedule(slot, &self.config);
            }
        }
        Ok(owners)
    }

    /// Takes changes of flags and configuration ([`Table::Flags`] in lake schema), from the lake first and
    /// then from the topics. A change that is known already is not taken twice.
    ///
    /// # Errors
    /// When the batch has another schema.
    pub fn push_flag_events(&mut self, batch: &RecordBatch) -> Result<()> {
        self.changes.push_flags(batch)
    }

    /// Takes deployments ([`Table::Builds`] in lake schema). Rows of source `resource` only say which
    /// sightings are stored.
    ///
    /// # Errors
    /// When the batch has another schema.
    pub fn push_build_events(&mut self, batch: &RecordBatch) -> Result<()> {
        self.changes.push_builds(batch)
    }

    /// Takes the hashes of log records that the lake holds from the last `dedupe_horizon`: columns
    /// tenant_id, record_hash, kafka_topic, kafka_partition, kafka_offset, ingested_at of its `logs`. What is
    /// known already is not counted twice.
    ///
    /// # Errors
    /// When a column is missing.
    pub fn remember_logs(&mut self, batch: &RecordBatch) -> Result<()> {
        let tenant = Text::of(batch, "tenant_id")?;
        let hash = Ids::<16>::of(batch, "record_hash")?;
        let topic = Text::of(batch, "kafka_topic")?;
        let partition = numbers::<Int32Type>(batch, "kafka_partition", "Int32")?;
        let offset = numbers::<Int64Type>(batch, "kafka_offset", "Int64")?;
        let at = times(batch, "ingested_at")?;
        // By record: the message that holds it, how often it is stored, and since when.
        let mut stored: FxHashMap<u64, (u32, u32, i64)> = FxHashMap::default();
        for row in 0..batch.num_rows() {
            let (Some(hash), Some(at)) = (hash.get(row), number(at, row)) else { continue };
            let tenant = self.tenants.number(tenant.get(row).unwrap_or_default());
            let seed = message_seed(topic.get(row).unwrap_or_default(), number(partition, row).unwrap_or(0));
            let message = message(seed, number(offset, row).unwrap_or(0));
            let (_, count, newest) = stored.entry(log_key(self.tenants.seed(tenant), hash)).or_insert((message, 0, at));
            *count += 1;
            *newest = at.max(*newest);
        }
        // Oldest first, as they were written.
        let mut stored: Vec<_> = stored.into_iter().collect();
        stored.sort_unstable_by_key(|(key, (.., at))| (*at, *key));
        for (key, (message, count, at)) in stored {
            self.history.remember(key, message, count, at);
        }
        Ok(())
    }

    /// Gives everything that is due now: traces that close, and rows that wait for nothing.
    ///
    /// # Errors
    /// When a batch cannot be built.
    pub fn flush(&mut self) -> Result<Flushed> {
        for group in 0..self.clock.groups() as u32 {
            if let Some(now) = self.clock.time(group) {
                self.traces.due(group, now, &self.config, &mut self.pending);
            }
        }
        self.relieve()?;
        self.close()
    }

    /// Closes every trace, as [`CloseReason::Drained`]: the end of a replay or demo. Call it until
    /// [`Flushed::more`] is false.
    ///
    /// # Errors
    /// When a batch cannot be built.
    pub fn drain(&mut self) -> Result<Flushed> {
        let open: Vec<u32> = self.traces.iter().map(|(slot, _)| slot).collect();
        for slot in open {
            self.traces.slots[slot as usize].closing = true;
            self.pending.push((slot, CloseReason::Drained));
        }
        self.close()
    }

    /// Bytes held, all state included.
    pub fn bytes(&self) -> usize {
        self.spans.bytes()
            + self.logs.bytes()
            + self.traces.bytes()
            + self.late.bytes()
            + self.sampled_away.bytes()
            + self.history.bytes()
    }

    /// Whether the next flush will close traces to free memory. Flush then, before reading on.
    pub fn is_over_memory(&self) -> bool {
        self.bytes() > self.config.open_memory()
    }

    /// Partitions that are best held back, because the window is more than half full and they have been read by more
    /// than `idle_gap` beyond the time of their group: what they bring only waits for the others.
    pub fn ahead(&self) -> impl Iterator<Item = &SourcePartition> {
        let is_filling = self.bytes() > self.config.open_memory() / 2;
        let limit = is_filling.then_some(self.config.idle_gap);
        limit.into_iter().flat_map(move |limit| self.clock.ahead(limit))
    }

    /// Traces that are open.
    pub fn open_traces(&self) -> usize {
        self.traces.open()
    }

    /// Lowest offset that an open trace still needs; the offset read next if none does; `None` if not assigned.
    pub fn low_watermark(&self, source: &SourcePartition) -> Option<i64> {
        self.clock.number(source).map(|number| self.lowest()[number as usize])
    }

    /// Lowest offset that is still needed of each source, by its number.
    fn lowest(&self) -> Vec<i64> {
        let mut lowest: Vec<i64> = self.clock.sources().iter().map(|source| source.next_offset).collect();
        self.spans.lower(&mut lowest);
        self.logs.lower(&mut lowest);
        lowest
    }

    /// Time at which rows of a partition arrive now, in ns: what `ingested_at` and the journal take.
    /// `None` before its first record, or if it is not assigned.
    pub fn stream_time(&self, source: &SourcePartition) -> Option<i64> {
        self.clock.number(source).and_then(|number| self.clock.arrival(number))
    }

    /// Whether a trace came due to be sealed since the last call: `seal_after` has passed since its close
    /// in every assigned partition. A worker without rows to write then writes an empty record, so that the
    /// head shows it.
    pub fn take_due_seals(&mut self) -> bool {
        let Some(now) = self.clock.least_of_sources() else { return false };
        let later = self.seals.split_off(&now);
        !std::mem::replace(&mut self.seals, later).is_empty()
    }

    /// The last moment of the evidence of all traces that are not known to be sealed, in ns: once every partition
    /// has passed it, all are.
    pub fn last_seal(&self) -> Option<i64> {
        self.seals.last().copied()
    }

    fn number(&self, source: &SourcePartition) -> Result<u32> {
        self.clock.number(source).ok_or_else(|| Error::NotAssigned(source.clone()))
    }

    fn progress(&self) -> Vec<Progress> {
        let sources = self.clock.sources().iter().zip(self.lowest()).enumerate();
        sources
            .filter(|(_, (source, _))| source.assigned)
            .map(|(number, (source, low_watermark))| Progress {
                source: source.id.clone(),
                next_offset: source.next_offset.max(source.suppression.next),
                low_watermark,
                stream_time: self.clock.arrival(number as u32),
            })
            .collect()
    }
}

/// A number of a source that is the same in every worker.
fn message_seed(topic: &str, partition: i32) -> u64 {
    xxh3_64(topic.as_bytes()) ^ u64::from(partition.unsigned_abs())
}

/// A number of a message.
fn message(seed: u64, offset: i64) -> u32 {
    (xxhash_rust::xxh3::xxh3_64_with_seed(&offset.to_le_bytes(), seed) >> 32) as u32
}

/// What a log record is known by in the history.
fn log_key(tenant_seed: u64, record_hash: [u8; 16]) -> u64 {
    let mut half = [0u8; 8];
    half.copy_from_slice(&record_hash[..8]);
    u64::from_le_bytes(half) ^ tenant_seed
}

fn check_schema(batch: &RecordBatch, wanted: &SchemaRef) -> Result<()> {
    let schema = batch.schema_ref();
    if Arc::ptr_eq(schema, wanted) {
        return Ok(());
    }
    for (index, field) in wanted.fields().iter().enumerate() {
        let same = schema
            .fields()
            .get(index)
            .is_some_and(|found| found.name() == field.name() && found.data_type() == field.data_type());
        if !same {
            return Err(Error::Column { name: field.name().clone(), wanted: "as in the table's in-flight schema" });
        }
    }
    Ok(())
}

/// Fills `ingested_at` where ingest has left it null. The batch then has the very schema of the table.
fn with_ingestion_time(batch: RecordBatch, at: i64) -> Result<RecordBatch> {
    let schema = batch.schema();
    let Some((index, _)) = schema.column_with_name("ingested_at") else { return Ok(batch) };
    if batch.column(index).null_count() < batch.num_rows() {
        return Ok(batch);
    }
    let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
    columns[index] = Arc::new(TimestampNanosecondArray::from_value(at, batch.num_rows()).with_timezone("UTC"));
    Ok(RecordBatch::try_new(schema, columns)?)
}

//! Failed log records without a trace that wait for their failures.
//!
//! A server logs what its application has thrown without the context of the request, and the trace that it belongs to is
//! closed seconds later: only then is it known of which failure the record tells once more. The record itself is stored at
//! once, and its failure when it has waited. What waits needs no place in the journal: it is in the lake, with no failure
//! stored of its offset, and whoever gets its partition finds it there.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::array::{Array, AsArray, BooleanArray, Int32Array, RecordBatch, StringArray};
use arrow::compute::{concat_batches, filter_record_batch, not};
use arrow::datatypes::{Int32Type, Int64Type, TimestampNanosecondType};
use arrow::error::ArrowError;
use tracerag_index::failures::{self, LOG_COLUMNS};
use tracerag_index::stored::{Only, TakenOf, each_since};
use tracerag_index::{Head, Lake, Resume, SourceProgress};
use tracerag_schemas::letters::REPLAY_CLUSTER;
use tracerag_schemas::{SourcePartition, Table, time};

use crate::error::Error;

/// Bytes of records that wait; with more of them all go on at once. So much is read of them at once, too.
const MOST_BYTES: usize = 32 << 20;
/// How much longer than they wait records are looked for in the lake, in ns: before a restart the wait may have been longer,
/// by another configuration or because epochs were written rarely, and what is not looked for is never told.
const LOOK_BACK: i64 = 900 * time::SECOND;

/// The records, in the lake's form.
#[derive(Debug, Default)]
pub(crate) struct Held {
    rows: Vec<RecordBatch>,
    /// Partitions of which more wait in the lake than may be held: all go on at once, and then the next ones are read.
    beyond: Vec<Claimed>,
}

/// A partition that was claimed.
#[derive(Debug, Clone)]
pub(super) struct Claimed {
    source: SourcePartition,
    /// Since when records that wait may have been taken, in ns.
    since: i64,
}

impl Claimed {
    /// `None` of a partition that was never read, and of what the journal has in place of one.
    pub(super) fn of(resume: &Resume, hold: i64) -> Option<Self> {
        let reached = resume.stream_time.filter(|time| *time > 0)?;
        let since = reached.saturating_sub(hold).saturating_sub(LOOK_BACK);
        (&*resume.source.cluster != REPLAY_CLUSTER).then(|| Self { source: resume.source.clone(), since })
    }
}

impl Held {
    /// Whether the wait of any of them is over.
    pub(super) fn is_due(&self, sources: &[SourceProgress], hold: i64, ends: bool) -> bool {
        let is_due = |rows| due(rows, sources, hold, ends).is_some_and(|due| due.true_count() > 0);
        self.is_cut() || self.rows.iter().any(is_due)
    }

    /// Whether more wait in the lake than may be held.
    pub(super) fn is_cut(&self) -> bool {
        !self.beyond.is_empty()
    }

    /// Takes records, and gives those whose wait is over: the time of their partition has passed them by `hold` (ns), or
    /// the input `ends`.
    pub(super) fn due(
        &mut self,
        records: RecordBatch,
        sources: &[SourceProgress],
        hold: i64,
        ends: bool,
    ) -> Result<RecordBatch, ArrowError> {
        let schema = records.schema();
        let mut all = std::mem::take(&mut self.rows);
        all.push(records);
        let all = concat_batches(&schema, &all)?;
        let Some(due) = due(&all, sources, hold, ends) else { return Ok(all) };
        let waiting = filter_record_batch(&all, &not(&due)?)?;
        if self.is_cut() || waiting.get_array_memory_size() > MOST_BYTES {
            return Ok(all);
        }
        if waiting.num_rows() > 0 {
            self.rows.push(waiting);
        }
        filter_record_batch(&all, &due)
    }

    /// Drops those of partitions that are given up: whoever gets them finds the records in the lake.
    pub(super) fn forget(&mut self, sources: &[SourcePartition]) -> Result<(), ArrowError> {
        let gone: HashSet<(&str, i32)> = sources.iter().map(|source| (&*source.topic, source.partition)).collect();
        for rows in &mut self.rows {
            if let Some((topics, partitions)) = partitions(rows) {
                let keep: BooleanArray = (0..rows.num_rows())
                    .map(|row| Some(!gone.contains(&(topics.value(row), partitions.value(row)))))
                    .collect();
                *rows = filter_record_batch(rows, &keep)?;
            }
        }
        self.rows.retain(|rows| rows.num_rows() > 0);
        self.beyond.retain(|claimed| !sources.contains(&claimed.source));
        Ok(())
    }

    /// What waits of partitions that are claimed: the failed records without a trace that were taken last, and of which no
    /// failure is stored.
    pub(super) async fn of(lake: &Lake, head: &Head, claimed: Vec<Claimed>) -> Result<Self, Error> {
        let mut rows: Vec<RecordBatch> = Vec::new();
        let mut bytes = 0;
        let oldest = claimed.iter().map(|claimed| claimed.since).min();
        if let Some(oldest) = oldest {
            let (topics, places) = (by_topic(&claimed), Places::of(&claimed));
            let wanted = (oldest, Only::WithoutTrace(&topics));
            let mut told: HashSet<Place> = HashSet::new();
            let take = |batch: RecordBatch| -> Result<bool, Error> {
                told.extend(places.in_rows(&batch).into_iter().flatten());
                Ok(true)
            };
            let columns = ["kafka_topic", "kafka_partition", "kafka_offset", "ingested_at", "trace_id"];
            each_since(lake, head, Table::Failures, wanted, &columns, take).await?;
            let take = |batch: RecordBatch| -> Result<bool, Error> {
                let is_open = |place: Option<Place>| place.is_some_and(|place| !told.contains(&place));
                let keep: BooleanArray = places.in_rows(&batch).into_iter().map(|place| Some(is_open(place))).collect();
                let failed = failures::failed(&filter_record_batch(&batch, &keep)?)
                    .map_err(|error| Error::Stopped { what: "finding failures", detail: error.to_string() })?;
                if failed.num_rows() > 0 {
                    bytes += failed.get_array_memory_size();
                    rows.push(failed);
                }
                Ok(bytes <= MOST_BYTES)
            };
            each_since(lake, head, Table::Logs, wanted, &LOG_COLUMNS, take).await?;
        }
        let beyond = if bytes > MOST_BYTES { claimed } else { Vec::new() };
        Ok(Self { rows, beyond })
    }

    /// Adds what waits of further partitions.
    pub(super) fn add(&mut self, other: Self) {
        self.rows.extend(other.rows);
        self.beyond.extend(other.beyond);
    }

    /// Reads what was beyond, once all that was held is written. All earlier epochs have to be applied.
    pub(super) async fn read_on(&mut self, lake: &Lake) -> Result<(), Error> {
        if self.is_cut() && self.rows.is_empty() {
            *self = Self::of(lake, &lake.newest_head().await?, self.beyond.clone()).await?;
        }
        Ok(())
    }
}

fn by_topic(claimed: &[Claimed]) -> Vec<TakenOf<'_>> {
    let mut topics: BTreeMap<&str, TakenOf<'_>> = BTreeMap::new();
    for Claimed { source, since } in claimed {
        let nothing = || TakenOf { topic: &source.topic, partitions: Vec::new(), since: *since };
        let topic = topics.entry(&source.topic).or_insert_with(nothing);
        topic.partitions.push(source.partition);
        topic.since = topic.since.min(*since);
    }
    topics.into_values().collect()
}

/// Which of the claimed partitions, and the offset.
type Place = (usize, i64);

/// The claimed partitions, with their numbers and since when records are wanted of them.
struct Places<'a>(HashMap<(&'a str, i32), (usize, i64)>);

impl<'a> Places<'a> {
    fn of(claimed: &'a [Claimed]) -> Self {
        let numbered = claimed.iter().enumerate();
        Self(
            numbered
                .map(|(at, Claimed { source, since })| ((&*source.topic, source.partition), (at, *since)))
                .collect(),
        )
    }

    /// Where each row came from; `None` if it is not wanted.
    fn in_rows(&self, rows: &RecordBatch) -> Vec<Option<Place>> {
        let columns = || {
            let taken = rows.column_by_name("ingested_at")?.as_primitive_opt::<TimestampNanosecondType>()?;
            let offsets = rows.column_by_name("kafka_offset")?.as_primitive_opt::<Int64Type>()?;
            Some((partitions(rows)?, taken, offsets))
        };
        let Some(((topics, of), taken, offsets)) = columns() else { return vec![None; rows.num_rows()] };
        let place = |row: usize| {
            let is_known = topics.is_valid(row) && of.is_valid(row) && offsets.is_valid(row);
            let (at, since) = self.0.get(&(topics.value(row), of.value(row))).filter(|_| is_known)?;
            (taken.value(row) >= *since).then(|| (*at, offsets.value(row)))
        };
        (0..rows.num_rows()).map(place).collect()
    }
}

/// Which records need not wait any longer; `None` if the batch does not say where they came from.
fn due(rows: &RecordBatch, sources: &[SourceProgress], hold: i64, ends: bool) -> Option<BooleanArray> {
    let (topics, of) = partitions(rows)?;
    let taken = rows.column_by_name("ingested_at")?.as_primitive_opt::<TimestampNanosecondType>()?;
    let times: HashMap<(&str, i32), i64> = sources
        .iter()
        .map(|progress| ((&*progress.source.topic, progress.source.partition), progress.stream_time))
        .collect();
    let is_due = |row: usize| {
        let reached = times.get(&(topics.value(row), of.value(row)));
        ends || reached.is_none_or(|reached| taken.value(row).saturating_add(hold) <= *reached)
    };
    Some((0..rows.num_rows()).map(|row| Some(is_due(row))).collect())
}

fn partitions(rows: &RecordBatch) -> Option<(&StringArray, &Int32Array)> {
    let topics = rows.column_by_name("kafka_topic")?.as_string_opt::<i32>()?;
    Some((topics, rows.column_by_name("kafka_partition")?.as_primitive_opt::<Int32Type>()?))
}

#[cfg(test)]
mod tests;

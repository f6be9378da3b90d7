//! Failed log records without a trace that wait for their failures.
//!
//! A server logs what its application has thrown without the context of the request, and the trace that it belongs to is
//! closed seconds later: only then is it known of which failure the record tells once more. The record itself is stored at
//! once, and its failure when it has waited. What waits needs no place in the journal: it is in the lake, with no failure
//! stored of its offset, and whoever gets its partition finds it there.

use std::collections::{HashMap, HashSet};

use arrow::array::{Array, AsArray, BooleanArray, Int32Array, RecordBatch, StringArray};
use arrow::compute::{concat_batches, filter_record_batch, not};
use arrow::datatypes::{Int32Type, Int64Type, TimestampNanosecondType};
use arrow::error::ArrowError;
use tracerag_index::failures::{self, LOG_COLUMNS};
use tracerag_index::stored::{Only, each_since};
use tracerag_index::{Head, Lake, Resume, SourceProgress};
use tracerag_schemas::{SourcePartition, Table, time};

use crate::error::Error;

/// Bytes of records that wait; with more of them all go on at once.
const MOST_BYTES: usize = 32 << 20;
/// How much longer than they wait records are looked for in the lake, in ns: the wait may have been another one before.
const LOOK_BACK: i64 = 120 * time::SECOND;

/// Topic, partition and offset.
type Place = (String, i32, i64);

/// The records, in the lake's form.
#[derive(Debug, Default)]
pub(crate) struct Held(Vec<RecordBatch>);

impl Held {
    /// Whether the wait of any of them is over.
    pub(super) fn is_due(&self, sources: &[SourceProgress], hold: i64, ends: bool) -> bool {
        self.0.iter().any(|rows| due(rows, sources, hold, ends).is_some_and(|due| due.true_count() > 0))
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
        let mut all = std::mem::take(&mut self.0);
        all.push(records);
        let all = concat_batches(&schema, &all)?;
        let Some(due) = due(&all, sources, hold, ends) else { return Ok(all) };
        let waiting = filter_record_batch(&all, &not(&due)?)?;
        if waiting.get_array_memory_size() > MOST_BYTES {
            return Ok(all);
        }
        if waiting.num_rows() > 0 {
            self.0.push(waiting);
        }
        filter_record_batch(&all, &due)
    }

    /// Drops those of partitions that are given up: whoever gets them finds the records in the lake.
    pub(super) fn forget(&mut self, sources: &[SourcePartition]) -> Result<(), ArrowError> {
        let gone: HashSet<(&str, i32)> = sources.iter().map(|source| (&*source.topic, source.partition)).collect();
        for rows in &mut self.0 {
            if let Some((topics, partitions)) = partitions(rows) {
                let keep: BooleanArray = (0..rows.num_rows())
                    .map(|row| Some(!gone.contains(&(topics.value(row), partitions.value(row)))))
                    .collect();
                *rows = filter_record_batch(rows, &keep)?;
            }
        }
        self.0.retain(|rows| rows.num_rows() > 0);
        Ok(())
    }

    /// What waits of partitions that are claimed: the failed records without a trace that were taken last, and of which no
    /// failure is stored.
    pub(super) async fn of(lake: &Lake, head: &Head, resumes: &[Resume], hold: i64) -> Result<Self, Error> {
        let oldest = resumes.iter().filter_map(|resume| resume.stream_time).filter(|time| *time > 0).min();
        let Some(oldest) = oldest else { return Ok(Self::default()) };
        let since = oldest.saturating_sub(hold).saturating_sub(LOOK_BACK);
        let own: HashSet<(&str, i32)> =
            resumes.iter().map(|resume| (&*resume.source.topic, resume.source.partition)).collect();
        let wanted = (since, Only::WithoutTrace);
        let mut records: Vec<RecordBatch> = Vec::new();
        let take = |batch: RecordBatch| -> Result<bool, Error> {
            let failed = failures::failed(&batch)
                .map_err(|error| Error::Stopped { what: "finding failures", detail: error.to_string() })?;
            let is_own = |row: usize| {
                partitions(&failed).is_some_and(|(topics, of)| own.contains(&(topics.value(row), of.value(row))))
            };
            let keep: BooleanArray = (0..failed.num_rows()).map(|row| Some(is_own(row))).collect();
            let kept = filter_record_batch(&failed, &keep)?;
            if kept.num_rows() > 0 {
                records.push(kept);
            }
            Ok(true)
        };
        each_since(lake, head, Table::Logs, wanted, &LOG_COLUMNS, take).await?;
        if records.is_empty() {
            return Ok(Self::default());
        }
        let mut told: HashSet<Place> = HashSet::new();
        let columns = ["kafka_topic", "kafka_partition", "kafka_offset", "ingested_at", "trace_id"];
        let take = |batch: RecordBatch| -> Result<bool, Error> {
            told.extend((0..batch.num_rows()).filter_map(|row| place(&batch, row)));
            Ok(true)
        };
        each_since(lake, head, Table::Failures, wanted, &columns, take).await?;
        for rows in &mut records {
            let is_open = |row: usize| place(rows, row).is_none_or(|place| !told.contains(&place));
            let keep: BooleanArray = (0..rows.num_rows()).map(|row| Some(is_open(row))).collect();
            *rows = filter_record_batch(rows, &keep)?;
        }
        records.retain(|rows| rows.num_rows() > 0);
        Ok(Self(records))
    }

    /// Adds what waits of further partitions.
    pub(super) fn add(&mut self, other: Self) {
        self.0.extend(other.0);
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

fn place(rows: &RecordBatch, row: usize) -> Option<Place> {
    let (topics, of) = partitions(rows)?;
    let offsets = rows.column_by_name("kafka_offset")?.as_primitive_opt::<Int64Type>()?;
    let is_known = topics.is_valid(row) && of.is_valid(row) && offsets.is_valid(row);
    is_known.then(|| (topics.value(row).to_owned(), of.value(row), offsets.value(row)))
}

#[cfg(test)]
mod tests;

//! What the lake has, at one head.

use std::collections::HashSet;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use tracerag_index::stored::each_batch;
use tracerag_index::{Head, Lake};
use tracerag_schemas::{Table, letters};

use super::ledger::{Entry, Ledger, State};
use super::places::Places;
use super::rows::{self, Row, Rule};
use super::sent::{Configurations, Letters};
use crate::error::Error;

/// The dead letters of the partitions that are read again, and whether each was replayed.
///
/// # Errors
/// When the table cannot be read.
pub(super) async fn dead_letters(lake: &Lake, head: &Head, places: &Places) -> Result<Letters, Error> {
    let mut found = Letters::new();
    let columns = ["reason", "kafka_topic", "kafka_partition", "kafka_offset"];
    each_batch(lake, head, Table::DeadLetters, &columns, |batch| take_letters(&batch, places, &mut found)).await?;
    Ok(found)
}

fn take_letters(batch: &RecordBatch, places: &Places, found: &mut Letters) -> Result<(), Error> {
    // They come as they were asked for, with the types of the table.
    let [reasons, topics, partitions, offsets] = batch.columns() else { return Ok(()) };
    let (reasons, topics) = (reasons.as_string::<i32>(), topics.as_string::<i32>());
    let (partitions, offsets) = (partitions.as_primitive::<Int32Type>(), offsets.as_primitive::<Int64Type>());
    for row in (0..batch.num_rows()).filter(|row| reasons.is_valid(*row) && reasons.value(*row) != letters::GAP) {
        if let Some(number) = places.number(topics.value(row), partitions.value(row)) {
            let is_replayed = found.entry((number, offsets.value(row))).or_default();
            *is_replayed |= reasons.value(row) == letters::REPLAYED;
        }
    }
    Ok(())
}

/// Reads the rows of the checked tables into a ledger.
pub(super) struct StoredRows<'a> {
    places: &'a Places,
    configurations: &'a Configurations,
    ledger: &'a mut Ledger,
    /// Rows of whole flag configurations, by partition, offset and content.
    of_configurations: HashSet<(u32, i64, u64)>,
}

impl<'a> StoredRows<'a> {
    pub(super) fn new(places: &'a Places, configurations: &'a Configurations, ledger: &'a mut Ledger) -> Self {
        Self { places, configurations, ledger, of_configurations: HashSet::new() }
    }

    /// Reads the rows of a table; `read` hears how many came.
    ///
    /// # Errors
    /// When the table cannot be read, or the ledger not be written.
    pub(super) async fn read(
        &mut self,
        lake: &Lake,
        head: &Head,
        table: Table,
        mut read: impl FnMut(u64),
    ) -> Result<(), Error> {
        let Some(number) = rows::number(table) else { return Ok(()) };
        let columns = rows::columns(table);
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        each_batch(lake, head, table, &columns, |batch| {
            read(batch.num_rows() as u64);
            rows::each(table, &batch, |row| self.take(table, number, row))
        })
        .await
    }

    fn take(&mut self, table: Table, number: u8, row: &Row<'_>) -> Result<(), Error> {
        let source = self.places.number(row.topic, row.partition);
        let checked = source.and_then(|source| Some((source, self.places.get(source)?)));
        let Some((source, _)) = checked.filter(|(_, place)| place.has(row.offset)) else {
            // A copy that was sent before or after the range may be the one that is stored.
            return match rows::rule(table) {
                Rule::Each => Ok(()),
                _ => self.ledger.push(&Entry::new(row, u32::MAX, number, State::Elsewhere)),
            };
        };
        if table == Table::Flags
            && self.configurations.contains(&(source, row.offset))
            && self.of_configurations.insert((source, row.offset, row.content))
        {
            // Which flags a configuration has changed is not known, only that each has one row.
            self.ledger.push(&Entry::new(row, source, number, State::Due))?;
        }
        self.ledger.push(&Entry::new(row, source, number, State::Stored))
    }
}

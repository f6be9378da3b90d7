//! The days of a table, and what tells whether one has changed.
//!
//! A day that is a dataset of its own has changed with its version. A table that has one dataset for all of its days gets
//! another version with every row and every compaction: there a day is what its rows are, by their origins.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampNanosecondType;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use futures::TryStreamExt as _;
use tracerag_query::{QueryError, Session};
use tracerag_schemas::time;
use xxhash_rust::xxh3::xxh3_64;

use super::Source;
use super::manifest::Partition;
use crate::error::Error;

/// A day of a table as the head has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Day {
    /// The dataset that holds it.
    dataset: String,
    version: u64,
    /// What tells its rows from others; empty where the version does.
    content: String,
}

impl Day {
    /// Whether an exported day is this one still.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub(super) async fn is(&self, session: &Session, exported: &Partition) -> Result<bool, Error> {
        if exported.version == self.version {
            return Ok(true);
        }
        if self.content.is_empty() || exported.content != self.content {
            return Ok(false);
        }
        // A lake that was made anew may have rows of the same origins that say something else. A version that was cleaned
        // up says nothing.
        let lake = session.snapshot().lake();
        let commit = lake.commit_id(&self.dataset, exported.version).await;
        Ok(commit.map_or(true, |commit| commit == exported.commit))
    }

    /// The exported day, of this version.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub(super) async fn exported(
        &self,
        session: &Session,
        files: Vec<super::manifest::File>,
    ) -> Result<Partition, Error> {
        let commit = session.snapshot().lake().commit_id(&self.dataset, self.version).await?;
        let rows = files.iter().map(|file| file.rows).sum();
        Ok(Partition { version: self.version, commit, content: self.content.clone(), rows, files })
    }
}

/// The days of a table that have rows.
///
/// # Errors
/// When the table cannot be read.
pub(super) async fn days(session: &Session, source: &Source) -> Result<BTreeMap<String, Day>, Error> {
    let mut days = BTreeMap::new();
    for (name, dataset) in session.snapshot().head().of(source.table) {
        if dataset.rows == 0 {
            continue;
        }
        let of = |content: String| Day { dataset: name.to_owned(), version: dataset.version, content };
        match name.split_once('/') {
            Some((_, day)) => {
                days.insert(day.to_owned(), of(String::new()));
            }
            None => {
                let contents = contents(session, source).await?;
                days.extend(contents.into_iter().map(|(day, rows)| (time::day_name(day), of(rows.shown()))));
            }
        }
    }
    Ok(days)
}

/// The rows of a day, whatever their order: how many there are, and the sum of the hashes of their origins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Content {
    rows: u64,
    hashes: u64,
}

impl Content {
    fn shown(self) -> String {
        format!("{} {:016x}", self.rows, self.hashes)
    }
}

/// The rows of a table by day, as days since 1970-01-01.
async fn contents(session: &Session, source: &Source) -> Result<BTreeMap<i64, Content>, Error> {
    let query = format!("select ingested_at, kafka_topic, kafka_partition, kafka_offset from {}", source.name);
    let mut contents = BTreeMap::new();
    let mut rows = session.sql(&query, None).await?;
    while let Some(batch) = rows.try_next().await.map_err(QueryError::from)? {
        add(&batch, &mut contents)?;
    }
    Ok(contents)
}

/// Adds rows whose first column is when they were taken.
fn add(batch: &RecordBatch, contents: &mut BTreeMap<i64, Content>) -> Result<(), Error> {
    let fields = batch.columns().iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let encoded = RowConverter::new(fields)?.convert_columns(batch.columns())?;
    let Some(times) = batch.column(0).as_primitive_opt::<TimestampNanosecondType>() else { return Ok(()) };
    for row in (0..batch.num_rows()).filter(|row| times.is_valid(*row)) {
        let content = contents.entry(time::day(times.value(row))).or_default();
        content.rows += 1;
        content.hashes = content.hashes.wrapping_add(xxh3_64(encoded.row(row).as_ref()));
    }
    Ok(())
}

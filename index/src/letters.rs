//! Dead letters as they lie in the lake: which wait to be replayed, and which were read.
//!
//! Nothing in a table is ever updated. That a letter was replayed is told by a row of its own
//! ([`tracerag_schemas::letters::REPLAYED`]), which the epoch adds that brings the letter's rows.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, PrimitiveArray, StringArray};
use arrow::datatypes::{ArrowPrimitiveType, Int32Type, Int64Type, TimestampNanosecondType, UInt64Type};
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::{col, lit};
use futures::TryStreamExt;
use lance::Dataset;
use lance::dataset::ProjectionRequest;
use tracerag_schemas::letters::{GAP, REPLAYED};
use tracerag_schemas::{SourcePartition, Table};

use crate::columns::{complete, present};
use crate::error::{At, Error, Result};
use crate::journal::Head;
use crate::lake::Lake;

/// Lance's column of row ids.
const ROW_ID: &str = "_rowid";
/// What tells letters apart, and what they are chosen by.
const NARROW: [&str; 6] = ["reason", "size_bytes", "timestamp", "kafka_topic", "kafka_partition", "kafka_offset"];
/// Letters that are read at once, however small they are.
const ROWS_AT_ONCE: usize = 4_096;

/// Which letters are looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LetterFilter {
    /// Whose they are.
    pub tenant: String,
    /// Only those with this reason.
    pub reason: Option<String>,
    /// Only those of this topic.
    pub topic: Option<String>,
}

/// What tells a letter of a tenant from every other one. The table does not keep the cluster, so timestamp and size
/// stand for it where two clusters have a topic of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    topic: u32,
    partition: i32,
    offset: i64,
    timestamp: Option<i64>,
    size_bytes: i64,
}

/// A letter that waits.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    key: Key,
    row: u64,
}

/// The letters that wait to be replayed, in the order in which they were written. Their bytes are read bit by bit.
#[derive(Debug)]
pub struct WaitingLetters {
    dataset: Option<Arc<Dataset>>,
    topics: Vec<String>,
    waiting: Vec<Waiting>,
    replayed: usize,
    /// How many were handed out.
    read: usize,
}

impl WaitingLetters {
    /// Looks for the letters of a filter in the newest head. Gaps are none: they have no bytes.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn find(lake: &Lake, filter: &LetterFilter) -> Result<Self> {
        let name = Table::DeadLetters.name();
        let mut found = Self { dataset: None, topics: vec![], waiting: vec![], replayed: 0, read: 0 };
        let head = lake.newest_head().await?;
        let Some(known) = head.datasets.get(name).filter(|known| known.rows > 0) else { return Ok(found) };
        let dataset = lake.dataset(name, known.version).await?;
        let mut scan = dataset.scan();
        scan.project(&NARROW).at(name, "planning a look for letters")?;
        scan.filter_expr(col("tenant_id").eq(lit(filter.tenant.as_str())));
        scan.with_row_id();
        scan.scan_in_order(true);
        let mut stream = scan.try_into_stream().await.at(name, "looking for letters")?;
        let mut numbers = HashMap::new();
        let mut replayed = HashSet::new();
        while let Some(batch) = stream.try_next().await.at(name, "looking for letters")? {
            found.take(&batch, filter, &mut numbers, &mut replayed)?;
        }
        found.replayed = replayed.len();
        // One that stands there twice is one.
        found.waiting.retain(|letter| replayed.insert(letter.key));
        found.dataset = Some(dataset);
        Ok(found)
    }

    fn take(
        &mut self,
        batch: &RecordBatch,
        filter: &LetterFilter,
        numbers: &mut HashMap<String, u32>,
        replayed: &mut HashSet<Key>,
    ) -> Result<()> {
        let (reasons, topics) = (texts(batch, "reason")?, texts(batch, "kafka_topic")?);
        let partitions = primitive::<Int32Type>(batch, "kafka_partition")?;
        let offsets = primitive::<Int64Type>(batch, "kafka_offset")?;
        let sizes = primitive::<Int64Type>(batch, "size_bytes")?;
        let timestamps = primitive::<TimestampNanosecondType>(batch, "timestamp")?;
        let rows = primitive::<UInt64Type>(batch, ROW_ID)?;
        for row in 0..batch.num_rows() {
            let (reason, topic) = (reasons.value(row), topics.value(row));
            if filter.topic.as_ref().is_some_and(|wanted| wanted != topic) {
                continue;
            }
            let topic = match numbers.get(topic) {
                Some(number) => *number,
                None => {
                    let number = u32::try_from(self.topics.len()).unwrap_or(u32::MAX);
                    self.topics.push(topic.to_owned());
                    numbers.insert(topic.to_owned(), number);
                    number
                }
            };
            let key = Key {
                topic,
                partition: partitions.value(row),
                offset: offsets.value(row),
                timestamp: timestamps.is_valid(row).then(|| timestamps.value(row)),
                size_bytes: sizes.value(row),
            };
            if reason == REPLAYED {
                replayed.insert(key);
            } else if reason != GAP && filter.reason.as_ref().is_none_or(|wanted| wanted == reason) {
                self.waiting.push(Waiting { key, row: rows.value(row) });
            }
        }
        Ok(())
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many letters of the filter's tenant and topic were replayed, whatever their reason.
    pub fn replayed(&self) -> usize {
        self.replayed
    }

    /// The topics of those that wait.
    pub fn topics(&self) -> BTreeSet<&str> {
        let numbers: BTreeSet<u32> = self.waiting.iter().map(|letter| letter.key.topic).collect();
        numbers.into_iter().filter_map(|number| self.topics.get(number as usize)).map(String::as_str).collect()
    }

    /// The next letters with all columns: one at least, and no more than `bytes` of records. `None`: all were read.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn next(&mut self, bytes: i64) -> Result<Option<RecordBatch>> {
        let name = Table::DeadLetters.name();
        let Some(dataset) = &self.dataset else { return Ok(None) };
        let rest = &self.waiting[self.read..];
        let count = fitting(rest.iter().map(|letter| letter.key.size_bytes), bytes);
        if count == 0 {
            return Ok(None);
        }
        let rows: Vec<u64> = rest[..count].iter().map(|letter| letter.row).collect();
        let schema = Table::DeadLetters.lake_schema();
        let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let projected = dataset.schema().project(&present(dataset, &columns)).at(name, "planning to read letters")?;
        let read = dataset.take_rows(&rows, ProjectionRequest::from_schema(projected)).await;
        self.read += count;
        let letters = read.at(name, "reading letters")?;
        complete(&letters, &schema).at(name, "reading letters").map(Some)
    }
}

/// How many of the next letters are read together.
fn fitting(sizes: impl Iterator<Item = i64>, most: i64) -> usize {
    let mut sum = 0i64;
    let fit = sizes.take(ROWS_AT_ONCE).enumerate().take_while(|(index, size)| {
        sum = sum.saturating_add(*size);
        *index == 0 || sum <= most
    });
    fit.count()
}

/// Offset and timestamp of a record.
pub type Record = (i64, Option<i64>);

/// Offsets `[from, to)` of a partition.
pub type Interval = (SourcePartition, i64, i64);

/// The records of some intervals that are dead letters, of all tenants.
///
/// A partition is read again from the oldest record that an open trace needs. With another configuration a record may
/// be good then that was bad before; but it is a letter, and whoever replays that takes it up.
///
/// # Errors
/// When the table cannot be read.
pub async fn buried(
    lake: &Lake,
    head: &Head,
    intervals: &[Interval],
) -> Result<HashMap<SourcePartition, HashSet<Record>>> {
    let mut found: HashMap<SourcePartition, HashSet<Record>> = HashMap::new();
    let name = Table::DeadLetters.name();
    let (from, to) = (intervals.iter().map(|(_, from, _)| *from).min(), intervals.iter().map(|(.., to)| *to).max());
    let (Some(from), Some(to), Some(known)) = (from, to, head.datasets.get(name)) else { return Ok(found) };
    if known.rows == 0 {
        return Ok(found);
    }
    let mut wanted: BTreeMap<(&str, i32), Vec<&Interval>> = BTreeMap::new();
    for interval in intervals {
        wanted.entry((&*interval.0.topic, interval.0.partition)).or_default().push(interval);
    }
    let dataset = lake.dataset(name, known.version).await?;
    let mut scan = dataset.scan();
    scan.project(&NARROW).at(name, "planning a look for letters")?;
    scan.filter_expr(col("kafka_offset").gt_eq(lit(from)).and(col("kafka_offset").lt(lit(to))));
    let mut stream = scan.try_into_stream().await.at(name, "looking for letters")?;
    while let Some(batch) = stream.try_next().await.at(name, "looking for letters")? {
        let (reasons, topics) = (texts(&batch, "reason")?, texts(&batch, "kafka_topic")?);
        let partitions = primitive::<Int32Type>(&batch, "kafka_partition")?;
        let offsets = primitive::<Int64Type>(&batch, "kafka_offset")?;
        let timestamps = primitive::<TimestampNanosecondType>(&batch, "timestamp")?;
        for row in (0..batch.num_rows()).filter(|row| reasons.value(*row) != GAP) {
            let offset = offsets.value(row);
            let timestamp = timestamps.is_valid(row).then(|| timestamps.value(row));
            let of_partition = wanted.get(&(topics.value(row), partitions.value(row))).into_iter().flatten();
            for (source, ..) in of_partition.filter(|(_, from, to)| (*from..*to).contains(&offset)) {
                found.entry(source.clone()).or_default().insert((offset, timestamp));
            }
        }
    }
    Ok(found)
}

fn wrong(name: &str) -> Error {
    let source = arrow::error::ArrowError::SchemaError(format!("there is no column {name} of its type"));
    Error::Arrow { dataset: Table::DeadLetters.name().to_owned(), step: "reading letters", source }
}

fn texts<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray> {
    batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>()).ok_or_else(|| wrong(name))
}

fn primitive<'a, T: ArrowPrimitiveType>(batch: &'a RecordBatch, name: &str) -> Result<&'a PrimitiveArray<T>> {
    batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<T>()).ok_or_else(|| wrong(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Letters are read together up to a size; one that is larger than that is read alone, and none is left out.
    #[test]
    fn letters_are_read_in_bounds() {
        let sizes = [4, 4, 4, 100, 0, 0, 11];
        let mut counts = vec![];
        let mut read = 0;
        while read < sizes.len() {
            let count = fitting(sizes[read..].iter().copied(), 10);
            counts.push(count);
            read += count;
        }
        assert_eq!(counts, [2, 1, 1, 2, 1]);
        assert_eq!(fitting(std::iter::empty(), 10), 0);
    }
}

//! Which tables are checked, what identifies a row of each, and what of it is compared.

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch, StringArray};
use arrow::datatypes::{ArrowPrimitiveType, Int32Type, Int64Type, TimestampNanosecondType};
use arrow::error::ArrowError;
use tracerag_schemas::ids::parse_hex;
use tracerag_schemas::{Table, letters};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::digest;

/// The tables that hold what was sent, and no more than that.
pub(super) const TABLES: [Table; 8] = [
    Table::Spans,
    Table::Logs,
    Table::Metrics,
    Table::Payloads,
    Table::Heaps,
    Table::Flags,
    Table::Builds,
    Table::DeadLetters,
];

/// The number of a table.
pub(super) fn number(table: Table) -> Option<u8> {
    TABLES.iter().zip(0u8..).find(|(known, _)| **known == table).map(|(_, number)| number)
}

/// How often the lake must have a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Once, however often it was sent.
    Once,
    /// As often as any one message has it.
    GreatestInAMessage,
    /// As often as it was sent.
    Each,
    /// Once at least, and not more often than it was sent.
    AtLeastOnce,
}

/// The rule of a table.
pub(super) fn rule(table: Table) -> Rule {
    match table {
        Table::Spans => Rule::Once,
        Table::Logs => Rule::GreatestInAMessage,
        // Payloads do not pass the window, which drops spans that were sent again.
        Table::Payloads => Rule::AtLeastOnce,
        _ => Rule::Each,
    }
}

/// What identifies a record beside its tenant; `None`: its origin.
fn identity(table: Table) -> Option<&'static [&'static str]> {
    match table {
        Table::Spans => Some(&["trace_id", "span_id"]),
        Table::Logs => Some(&["record_hash"]),
        Table::Payloads => Some(&["trace_id", "span_id"]),
        _ => None,
    }
}

/// Columns that are not compared: the origin, which may be that of any copy, what the pipeline adds, what depends
/// on records that were read before, and what a release makes of the record by rules of its own (templates).
const NOT_COMPARED: [&str; 10] = [
    "kafka_topic",
    "kafka_partition",
    "kafka_offset",
    "ingested_at",
    "revision",
    "build_git_sha",
    "build_match",
    "template_id",
    "template",
    "detail",
];

fn is_compared(table: Table, column: &str) -> bool {
    let is_added = match column {
        // A flag's reason is a part of the record.
        "reason" => table == Table::DeadLetters,
        // The commit of a deployment may stand in an earlier event.
        "git_sha" => table == Table::Builds,
        _ => NOT_COMPARED.contains(&column),
    };
    !is_added
}

/// The columns of a table that are read: those that are compared, and those that say whose and from where a row is.
pub(super) fn columns(table: Table) -> Vec<String> {
    let schema = table.lake_schema();
    let is_read =
        |name: &str| is_compared(table, name) || name.starts_with("kafka_") || matches!(name, "ingested_at" | "reason");
    schema.fields().iter().map(|field| field.name().clone()).filter(|name| is_read(name)).collect()
}

/// Whether a stored row comes from a record of its own, and was not made of others.
fn is_sent(table: Table, row: usize, source: Option<&StringArray>) -> bool {
    let Some(source) = source.filter(|source| source.is_valid(row)).map(|source| source.value(row)) else {
        return true;
    };
    match table {
        Table::Flags => source == "change",
        Table::Builds => source == "cdevent",
        _ => source != letters::GAP && source != letters::REPLAYED,
    }
}

/// One row.
pub(super) struct Row<'a> {
    pub key: [u8; 16],
    pub content: u64,
    pub trace_id: Option<[u8; 16]>,
    pub span_id: Option<[u8; 8]>,
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    /// `ingested_at`, in ns.
    pub time: i64,
}

/// Hands out each row of a batch of a table, in the lake's form, that comes from a record of its own.
///
/// # Errors
/// When a column is missing or has a type that tables do not have, or what `take` ends with.
pub(super) fn each<E: From<ArrowError>>(
    table: Table,
    batch: &RecordBatch,
    mut take: impl FnMut(&Row<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let tenants = column(batch, "tenant_id")?;
    let identity: Option<Vec<&ArrayRef>> = match identity(table) {
        Some(names) => Some(names.iter().map(|name| column(batch, name)).collect::<Result<_, _>>()?),
        None => None,
    };
    let schema = batch.schema_ref();
    let compared: Vec<&ArrayRef> = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .filter(|(field, _)| is_compared(table, field.name()))
        .map(|(_, column)| column)
        .collect();
    let (traces, spans) = (batch.column_by_name("trace_id"), batch.column_by_name("span_id"));
    let source = batch.column_by_name(if table == Table::DeadLetters { "reason" } else { "source" });
    let source = source.and_then(|source| source.as_string_opt::<i32>());
    let topics = column(batch, "kafka_topic")?.as_string_opt::<i32>().ok_or_else(|| wrong("kafka_topic"))?;
    let partitions = numbers::<Int32Type>(batch, "kafka_partition")?;
    let offsets = numbers::<Int64Type>(batch, "kafka_offset")?;
    let times = numbers::<TimestampNanosecondType>(batch, "ingested_at")?;
    let (mut key, mut content) = (Vec::new(), Vec::new());
    for index in (0..batch.num_rows()).filter(|row| is_sent(table, *row, source)) {
        key.clear();
        digest::append(tenants, index, &mut key)?;
        match &identity {
            Some(columns) if columns.iter().all(|column| column.is_valid(index)) => {
                columns.iter().try_for_each(|column| digest::append(column, index, &mut key))?;
            }
            // What has no id of its own is known by its origin.
            _ => {
                digest::append(topics, index, &mut key)?;
                digest::append(partitions, index, &mut key)?;
                digest::append(offsets, index, &mut key)?;
            }
        }
        content.clear();
        compared.iter().try_for_each(|column| digest::append(column, index, &mut content))?;
        take(&Row {
            key: xxh3_128(&key).to_le_bytes(),
            content: xxh3_64(&content),
            trace_id: id(traces, index),
            span_id: id(spans, index),
            topic: topics.value(index),
            partition: partitions.value(index),
            offset: offsets.value(index),
            time: times.value(index),
        })?;
    }
    Ok(())
}

fn id<const N: usize>(column: Option<&ArrayRef>, row: usize) -> Option<[u8; N]> {
    let column = column?.as_string_opt::<i32>().filter(|column| column.is_valid(row))?;
    parse_hex(column.value(row))
}

fn wrong(name: &str) -> ArrowError {
    ArrowError::SchemaError(format!("there is no column {name} of its type"))
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ArrowError> {
    batch.column_by_name(name).ok_or_else(|| wrong(name))
}

fn numbers<'a, T: ArrowPrimitiveType>(batch: &'a RecordBatch, name: &str) -> Result<&'a PrimitiveArray<T>, ArrowError> {
    column(batch, name)?.as_primitive_opt::<T>().ok_or_else(|| wrong(name))
}

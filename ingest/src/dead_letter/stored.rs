//! Dead letters as the table has them, to be shown or decoded again.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch, StringArray};
use arrow::datatypes::{Int32Type, Int64Type, TimestampNanosecondType};
use arrow::error::ArrowError;
use tracerag_schemas::SourcePartition;

/// A header of a Kafka record: its name, and its value unless that is null.
pub type StoredHeader = (String, Option<Vec<u8>>);

/// A row of `dead_letters`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLetter {
    /// The tenant that it belongs to.
    pub tenant: Arc<str>,
    /// The kind of failure, one word.
    pub reason: String,
    /// What is wrong, in words.
    pub detail: String,
    /// The partition that it came from. The table does not keep the cluster: that is empty here.
    pub origin: SourcePartition,
    /// Its offset; the first one of a gap.
    pub offset: i64,
    /// Its Kafka timestamp, in nanoseconds since the epoch.
    pub timestamp: Option<i64>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its bytes as they came.
    pub value: Option<Vec<u8>>,
    /// Bytes of the record.
    pub size_bytes: i64,
    /// Its headers, in their order.
    pub headers: Vec<StoredHeader>,
    /// The stream time with which it is stamped, in nanoseconds since the epoch.
    pub ingested_at: i64,
}

impl StoredLetter {
    /// The letters of rows that have all columns of the table, in any order of columns.
    ///
    /// # Errors
    /// When a column is missing or of another type.
    pub fn read(rows: &RecordBatch) -> Result<Vec<StoredLetter>, ArrowError> {
        let (tenants, reasons, details) = (texts(rows, "tenant_id")?, texts(rows, "reason")?, texts(rows, "detail")?);
        let topics = texts(rows, "kafka_topic")?;
        let (keys, values) = (bytes(rows, "key")?, bytes(rows, "value")?);
        let headers = column(rows, "headers")?.as_list_opt::<i32>().ok_or_else(|| wrong("headers"))?;
        let partitions =
            column(rows, "kafka_partition")?.as_primitive_opt::<Int32Type>().ok_or_else(|| wrong("kafka_partition"))?;
        let number = |name: &str| -> Result<_, ArrowError> {
            column(rows, name)?.as_primitive_opt::<Int64Type>().ok_or_else(|| wrong(name))
        };
        let (offsets, sizes) = (number("kafka_offset")?, number("size_bytes")?);
        let time = |name: &str| -> Result<_, ArrowError> {
            column(rows, name)?.as_primitive_opt::<TimestampNanosecondType>().ok_or_else(|| wrong(name))
        };
        let (timestamps, ingested) = (time("timestamp")?, time("ingested_at")?);
        (0..rows.num_rows())
            .map(|row| {
                Ok(StoredLetter {
                    tenant: Arc::from(text(tenants, row)),
                    reason: text(reasons, row).to_owned(),
                    detail: text(details, row).to_owned(),
                    origin: SourcePartition::new("", text(topics, row), partitions.value(row)),
                    offset: offsets.value(row),
                    timestamp: timestamps.is_valid(row).then(|| timestamps.value(row)),
                    key: blob(keys, row),
                    value: blob(values, row),
                    size_bytes: sizes.value(row),
                    headers: match headers.is_valid(row) {
                        true => read_headers(&headers.value(row))?,
                        false => Vec::new(),
                    },
                    ingested_at: ingested.value(row),
                })
            })
            .collect()
    }
}

fn wrong(name: &str) -> ArrowError {
    ArrowError::SchemaError(format!("stored dead letters have no column {name} of its type"))
}

fn column<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ArrowError> {
    rows.column_by_name(name).ok_or_else(|| wrong(name))
}

fn texts<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a StringArray, ArrowError> {
    column(rows, name)?.as_string_opt::<i32>().ok_or_else(|| wrong(name))
}

fn bytes<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a BinaryArray, ArrowError> {
    column(rows, name)?.as_binary_opt::<i32>().ok_or_else(|| wrong(name))
}

fn text(column: &StringArray, row: usize) -> &str {
    if column.is_valid(row) { column.value(row) } else { "" }
}

fn blob(column: &BinaryArray, row: usize) -> Option<Vec<u8>> {
    column.is_valid(row).then(|| column.value(row).to_vec())
}

fn read_headers(items: &ArrayRef) -> Result<Vec<StoredHeader>, ArrowError> {
    let items = items.as_struct_opt().ok_or_else(|| wrong("headers"))?;
    let names = items.column_by_name("name").and_then(|names| names.as_string_opt::<i32>());
    let values = items.column_by_name("value").and_then(|values| values.as_binary_opt::<i32>());
    match (names, values) {
        (Some(names), Some(values)) => {
            Ok((0..items.len()).map(|item| (text(names, item).to_owned(), blob(values, item))).collect())
        }
        _ => Err(wrong("headers")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tracerag_schemas::letters;

    use super::super::{DeadLetter, DeadLetters};
    use super::*;

    /// A letter comes back from its row as it was, null and repeated headers included; the row that says that it was
    /// replayed has its origin, timestamp and size, none of its bytes, and is never older.
    #[test]
    fn letters_come_back_from_their_rows() {
        let source = SourcePartition::new("c", "otlp_spans", 3);
        let headers = [("env", Some(&b"lab"[..])), ("env", None)];
        let mut rows = DeadLetters::new();
        rows.push(&DeadLetter {
            tenant: "acme",
            reason: "decode",
            detail: "not protobuf",
            source: &source,
            offset: 42,
            timestamp: Some(7),
            key: Some(b"k"),
            value: Some(b"\xff\x00"),
            size_bytes: 2,
            headers: &headers,
            ingested_at: 100,
        });
        let letter = StoredLetter::read(&rows.finish().unwrap()).unwrap().remove(0);
        assert_eq!((&*letter.tenant, letter.origin.to_string(), letter.offset), ("acme", "otlp_spans/3".into(), 42));
        assert_eq!((letter.key.as_deref(), letter.value.as_deref()), (Some(&b"k"[..]), Some(&b"\xff\x00"[..])));
        assert_eq!(letter.headers, [("env".to_owned(), Some(b"lab".to_vec())), ("env".to_owned(), None)]);

        for (at, stamped) in [(50, 100), (200, 200)] {
            rows.push_replayed(&letter, at);
            let mark = StoredLetter::read(&rows.finish().unwrap()).unwrap().remove(0);
            let expected = StoredLetter {
                reason: letters::REPLAYED.to_owned(),
                detail: "decode".to_owned(),
                key: None,
                value: None,
                headers: vec![],
                ingested_at: stamped,
                ..letter.clone()
            };
            assert_eq!(mark, expected);
        }
    }
}

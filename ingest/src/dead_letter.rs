//! Records that could not be taken: kept as they came, with the reason in words.

mod stored;

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Int32Builder, Int64Builder, ListBuilder, RecordBatch, StringBuilder, StructBuilder,
    TimestampNanosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Fields};
use arrow::error::ArrowError;
use rdkafka::message::{Header, OwnedHeaders};
use tracerag_schemas::{SourcePartition, Table, letters};

pub use stored::{StoredHeader, StoredLetter};

/// One bad record.
#[derive(Debug, Clone, Copy)]
pub struct DeadLetter<'a> {
    /// The tenant that the record belongs to.
    pub tenant: &'a str,
    /// The kind of failure, one word of a small set: `decode`, `tombstone`, `too_large`, `record`; `gap` for records
    /// that are gone.
    pub reason: &'a str,
    /// What is wrong, in words.
    pub detail: &'a str,
    /// Where it came from.
    pub source: &'a SourcePartition,
    /// Its offset; the first one of a gap.
    pub offset: i64,
    /// Its Kafka timestamp, in nanoseconds since the epoch.
    pub timestamp: Option<i64>,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its bytes; `None` for a bad record inside a good message, and for a gap.
    pub value: Option<&'a [u8]>,
    /// Bytes of the record, which may be known although `value` is not kept.
    pub size_bytes: i64,
    /// Its headers.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
    /// The stream time of its partition when it was taken, in nanoseconds since the epoch; of a gap, when it was found.
    pub ingested_at: i64,
}

impl DeadLetter<'_> {
    /// The headers of the letter in the dead-letter topic: what happened, then the original's.
    pub(crate) fn topic_headers(&self) -> OwnedHeaders {
        let reason = format!("{}: {}", self.reason, self.detail);
        let partition = self.source.partition.to_string();
        let offset = self.offset.to_string();
        // Kafka's own unit, so that tools can compare it with the topic's.
        let timestamp = self.timestamp.map(|ns| ns.div_euclid(1_000_000).to_string());
        let own: [(&str, Option<&[u8]>); 5] = [
            ("tracerag.reason", Some(reason.as_bytes())),
            ("tracerag.topic", Some(self.source.topic.as_bytes())),
            ("tracerag.partition", Some(partition.as_bytes())),
            ("tracerag.offset", Some(offset.as_bytes())),
            ("tracerag.timestamp", timestamp.as_ref().map(|text| text.as_bytes())),
        ];
        let all = own.iter().chain(self.headers);
        let headers = OwnedHeaders::new_with_capacity(own.len() + self.headers.len());
        all.fold(headers, |headers, (key, value)| headers.insert(Header { key, value: *value }))
    }
}

/// Rows of `dead_letters`.
pub struct DeadLetters {
    tenant: StringBuilder,
    reason: StringBuilder,
    detail: StringBuilder,
    size_bytes: Int64Builder,
    timestamp: TimestampNanosecondBuilder,
    key: BinaryBuilder,
    headers: ListBuilder<StructBuilder>,
    value: BinaryBuilder,
    topic: StringBuilder,
    partition: Int32Builder,
    offset: Int64Builder,
    ingested_at: TimestampNanosecondBuilder,
    rows: usize,
    bytes: usize,
}

impl Default for DeadLetters {
    fn default() -> Self {
        let fields =
            Fields::from(vec![Field::new("name", DataType::Utf8, true), Field::new("value", DataType::Binary, true)]);
        let header = StructBuilder::new(fields, vec![Box::new(StringBuilder::new()), Box::new(BinaryBuilder::new())]);
        Self {
            tenant: StringBuilder::new(),
            reason: StringBuilder::new(),
            detail: StringBuilder::new(),
            size_bytes: Int64Builder::new(),
            timestamp: TimestampNanosecondBuilder::new().with_timezone("UTC"),
            key: BinaryBuilder::new(),
            headers: ListBuilder::new(header),
            value: BinaryBuilder::new(),
            topic: StringBuilder::new(),
            partition: Int32Builder::new(),
            offset: Int64Builder::new(),
            ingested_at: TimestampNanosecondBuilder::new().with_timezone("UTC"),
            rows: 0,
            bytes: 0,
        }
    }
}

impl DeadLetters {
    /// No rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a row.
    pub fn push(&mut self, letter: &DeadLetter<'_>) {
        self.tenant.append_value(letter.tenant);
        self.reason.append_value(letter.reason);
        self.detail.append_value(letter.detail);
        self.size_bytes.append_value(letter.size_bytes);
        self.timestamp.append_option(letter.timestamp);
        self.key.append_option(letter.key);
        for (name, value) in letter.headers {
            let header = self.headers.values();
            if let Some(names) = header.field_builder::<StringBuilder>(0) {
                names.append_value(name);
            }
            if let Some(values) = header.field_builder::<BinaryBuilder>(1) {
                values.append_option(*value);
            }
            header.append(true);
        }
        self.headers.append(!letter.headers.is_empty());
        self.value.append_option(letter.value);
        self.topic.append_value(&letter.source.topic);
        self.partition.append_value(letter.source.partition);
        self.offset.append_value(letter.offset);
        self.ingested_at.append_value(letter.ingested_at);
        self.rows += 1;
        self.bytes += letter.value.map_or(0, <[u8]>::len) + letter.detail.len();
    }

    /// Adds the row that says that a letter was replayed; `at` is the time with which its rows are stamped.
    ///
    /// It is never older than the letter: retention drops both or the letter alone, or the letter would come back.
    pub fn push_replayed(&mut self, letter: &StoredLetter, at: i64) {
        self.push(&DeadLetter {
            tenant: &letter.tenant,
            reason: letters::REPLAYED,
            detail: &letter.reason,
            source: &letter.origin,
            offset: letter.offset,
            timestamp: letter.timestamp,
            key: None,
            value: None,
            size_bytes: letter.size_bytes,
            headers: &[],
            ingested_at: at.max(letter.ingested_at),
        });
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Bytes of the records and reasons held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The rows in the order of [`Self::push`], with the schema `Table::DeadLetters.lake_schema()`;
    /// nothing remains here.
    ///
    /// # Errors
    /// When the rows do not fit the schema, which only a defect can cause.
    pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.tenant.finish()),
            Arc::new(self.reason.finish()),
            Arc::new(self.detail.finish()),
            Arc::new(self.size_bytes.finish()),
            Arc::new(self.timestamp.finish()),
            Arc::new(self.key.finish()),
            Arc::new(self.headers.finish()),
            Arc::new(self.value.finish()),
            Arc::new(self.topic.finish()),
            Arc::new(self.partition.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.ingested_at.finish()),
        ];
        self.rows = 0;
        self.bytes = 0;
        RecordBatch::try_new(Table::DeadLetters.lake_schema(), columns)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::array::{Array, AsArray};
    use rdkafka::message::Headers;

    use super::*;

    fn letter<'a>(source: &'a SourcePartition, headers: &'a [(&'a str, Option<&'a [u8]>)]) -> DeadLetter<'a> {
        DeadLetter {
            tenant: "default",
            reason: "decode",
            detail: "not protobuf: illegal wire type 7",
            source,
            offset: 42,
            timestamp: Some(1_500_000_000_123_456_789),
            key: None,
            value: Some(b"\xff\x00"),
            size_bytes: 2,
            headers,
            ingested_at: 7,
        }
    }

    /// A letter keeps the bytes, the headers (repeated ones and null ones too) and the origin; the builder
    /// starts anew after `finish`.
    #[test]
    fn rows_keep_everything() {
        let source = SourcePartition::new("c", "otlp_spans", 3);
        let headers = [("env", Some(&b"lab"[..])), ("env", None)];
        let mut letters = DeadLetters::new();
        letters.push(&letter(&source, &headers));
        letters.push(&DeadLetter { value: None, ..letter(&source, &[]) });
        assert_eq!((letters.len(), letters.is_empty()), (2, false));
        let batch = letters.finish().unwrap();
        assert_eq!(batch.num_rows(), 2);
        let value = batch["value"].as_binary::<i32>();
        assert_eq!(value.value(0), b"\xff\x00");
        assert!(value.is_null(1) && batch["key"].is_null(0) && batch["headers"].is_null(1));
        let first = batch["headers"].as_list::<i32>().value(0);
        assert_eq!(first.len(), 2);
        assert!(first.as_struct().column(1).is_null(1));
        assert_eq!(batch["kafka_partition"].as_primitive::<arrow::datatypes::Int32Type>().value(0), 3);
        assert_eq!(letters.finish().unwrap().num_rows(), 0);
    }

    /// In the topic a letter says why and from where, before the headers that it had.
    #[test]
    fn topic_headers_say_why_and_from_where() {
        let source = SourcePartition::new("c", "otlp_spans", 3);
        let original = [("env", Some(&b"lab"[..]))];
        let headers = letter(&source, &original).topic_headers();
        let headers: Vec<(String, String)> = headers
            .iter()
            .map(|header| (header.key.to_owned(), String::from_utf8(header.value.unwrap().to_vec()).unwrap()))
            .collect();
        let expected = [
            ("tracerag.reason", "decode: not protobuf: illegal wire type 7"),
            ("tracerag.topic", "otlp_spans"),
            ("tracerag.partition", "3"),
            ("tracerag.offset", "42"),
            ("tracerag.timestamp", "1500000000123"),
            ("env", "lab"),
        ];
        let expected: Vec<(String, String)> = expected.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        assert_eq!(headers, expected);
    }
}

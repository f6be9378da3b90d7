//! One row of the journal: what it says, and how it is stored.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Int32Array, Int64Array, ListArray, StringArray, StructArray,
    TimestampNanosecondArray, UInt32Array, UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{
    DataType, Field, Fields, Int32Type, Int64Type, Schema, SchemaRef, TimestampNanosecondType, UInt32Type, UInt64Type,
};
use arrow::record_batch::RecordBatch;
use tracerag_schemas::SourcePartition;
use tracerag_schemas::tables::timestamp;
use tracerag_schemas::version::SCHEMA_VERSION;

use super::StagedDataset;
use crate::error::{At, Error, Result};
use crate::journal::log::JOURNAL;

/// What a record is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Partitions were taken; their intervals are empty.
    Claim,
    /// Rows were taken.
    Epoch,
    /// From here on the lake has the record's schema.
    Migration,
}

impl Kind {
    fn text(self) -> &'static str {
        match self {
            Kind::Claim => "claim",
            Kind::Epoch => "epoch",
            Kind::Migration => "migration",
        }
    }
}

/// One partition in a record: the interval `[from, to)` under a claim's generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interval {
    pub source: SourcePartition,
    pub generation: u64,
    pub from: Option<i64>,
    pub to: Option<i64>,
    pub low_watermark: Option<i64>,
    pub stream_time: Option<i64>,
}

/// Where the list of closed traces is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Closed {
    None,
    Inline(Vec<u8>),
    /// Name of a file in the lake's `journal` folder.
    File(String),
}

/// One record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    pub position: u64,
    pub kind: Kind,
    pub epoch: String,
    pub worker: String,
    /// The lake's schema when it was recorded, which no record before it exceeds.
    pub schema_version: u32,
    /// The newest schema that the worker is able to write.
    pub able: u32,
    pub recorded_at: i64,
    pub sources: Vec<Interval>,
    pub closed: Closed,
    pub staged: Vec<StagedDataset>,
}

/// What stands between a worker's name and the schema that it is able to write.
const ABLE: &str = " (schema ";

/// The name and the schema of [`Record::signature`].
fn read_signature(text: &str, schema_version: u32) -> (String, u32) {
    let parts = text.strip_suffix(')').and_then(|text| text.rsplit_once(ABLE));
    match parts.and_then(|(worker, able)| Some((worker, able.parse().ok()?))) {
        Some((worker, able)) => (worker.to_owned(), able),
        None => (text.to_owned(), schema_version),
    }
}

fn source_fields() -> Fields {
    Fields::from(vec![
        Field::new("cluster", DataType::Utf8, false),
        Field::new("topic", DataType::Utf8, false),
        Field::new("partition", DataType::Int32, false),
        Field::new("generation", DataType::UInt64, false),
        Field::new("from", DataType::Int64, true),
        Field::new("to", DataType::Int64, true),
        Field::new("low_watermark", DataType::Int64, true),
        Field::new("stream_time", DataType::Int64, true),
    ])
}

fn source_item() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Struct(source_fields()), true))
}

/// The columns that are left out where only the order of things matters: lists of closed traces, and staged fragments.
pub(crate) const CLOSED: &str = "closed";
pub(crate) const STAGED: &str = "staged";

/// The journal's columns.
pub(crate) fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            Field::new("position", DataType::UInt64, false),
            Field::new("kind", DataType::Utf8, false),
            Field::new("epoch", DataType::Utf8, false),
            Field::new("worker", DataType::Utf8, false),
            Field::new("schema_version", DataType::UInt32, false),
            Field::new("recorded_at", timestamp(), false),
            Field::new("sources", DataType::List(source_item()), false),
            Field::new(CLOSED, DataType::Binary, true),
            Field::new("closed_file", DataType::Utf8, true),
            Field::new(STAGED, DataType::Utf8, false),
        ]))
    });
    Arc::clone(&SCHEMA)
}

impl Record {
    /// The record as a batch of one row.
    pub(crate) fn encode(&self) -> Result<RecordBatch> {
        let staged = serde_json::to_string(&self.staged).map_err(|error| self.damaged(error.to_string()))?;
        let (inline, file) = match &self.closed {
            Closed::None => (None, None),
            Closed::Inline(bytes) => (Some(bytes.as_slice()), None),
            Closed::File(name) => (None, Some(name.as_str())),
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from(vec![self.position])),
            Arc::new(StringArray::from(vec![self.kind.text()])),
            Arc::new(StringArray::from(vec![self.epoch.as_str()])),
            Arc::new(StringArray::from(vec![self.signature()])),
            Arc::new(UInt32Array::from(vec![self.schema_version])),
            Arc::new(TimestampNanosecondArray::from(vec![self.recorded_at]).with_timezone("UTC")),
            Arc::new(self.encode_sources()),
            Arc::new(BinaryArray::from(vec![inline])),
            Arc::new(StringArray::from(vec![file])),
            Arc::new(StringArray::from(vec![staged.as_str()])),
        ];
        RecordBatch::try_new(schema(), columns).at(JOURNAL, "encoding a record")
    }

    fn encode_sources(&self) -> ListArray {
        let sources = &self.sources;
        let optional =
            |of: fn(&Interval) -> Option<i64>| -> ArrayRef { Arc::new(sources.iter().map(of).collect::<Int64Array>()) };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(sources.iter().map(|source| &*source.source.cluster))),
            Arc::new(StringArray::from_iter_values(sources.iter().map(|source| &*source.source.topic))),
            Arc::new(sources.iter().map(|source| Some(source.source.partition)).collect::<Int32Array>()),
            Arc::new(sources.iter().map(|source| Some(source.generation)).collect::<UInt64Array>()),
            optional(|source| source.from),
            optional(|source| source.to),
            optional(|source| source.low_watermark),
            optional(|source| source.stream_time),
        ];
        let items = StructArray::new(source_fields(), columns, None);
        ListArray::new(source_item(), OffsetBuffer::from_lengths([sources.len()]), Arc::new(items), None)
    }

    /// The worker's name, with the schema that it is able to write where the lake's is older. The journal of an older
    /// lake has no column for that, and to add one would be a migration.
    fn signature(&self) -> String {
        match self.able > self.schema_version {
            true => format!("{}{ABLE}{})", self.worker, self.able),
            false => self.worker.clone(),
        }
    }

    fn damaged(&self, detail: String) -> Error {
        Error::Damaged { position: self.position, detail }
    }

    /// The records of a batch of the journal.
    pub(crate) fn decode(batch: &RecordBatch) -> Result<Vec<Record>> {
        let column = |name: &str| {
            batch
                .column_by_name(name)
                .ok_or_else(|| Error::Damaged { position: 0, detail: format!("column {name} is missing") })
        };
        let positions = column("position")?.as_primitive::<UInt64Type>();
        let kinds = column("kind")?.as_string::<i32>();
        let epochs = column("epoch")?.as_string::<i32>();
        let workers = column("worker")?.as_string::<i32>();
        let versions = column("schema_version")?.as_primitive::<UInt32Type>();
        let recorded = column("recorded_at")?.as_primitive::<TimestampNanosecondType>();
        let sources = column("sources")?.as_list::<i32>();
        let files = column("closed_file")?.as_string::<i32>();
        let closed = batch.column_by_name(CLOSED).map(|column| column.as_binary::<i32>());
        let staged = batch.column_by_name(STAGED).map(|column| column.as_string::<i32>());
        (0..batch.num_rows())
            .map(|row| {
                let position = positions.value(row);
                let damaged = |detail: String| Error::Damaged { position, detail };
                let schema_version = versions.value(row);
                let (worker, able) = read_signature(workers.value(row), schema_version);
                Ok(Record {
                    position,
                    kind: match kinds.value(row) {
                        "claim" => Kind::Claim,
                        "epoch" => Kind::Epoch,
                        "migration" => Kind::Migration,
                        // A newer release may know more kinds.
                        _ if schema_version > SCHEMA_VERSION => {
                            return Err(Error::TooNew { found: schema_version, known: SCHEMA_VERSION });
                        }
                        other => return Err(damaged(format!("unknown kind of record {other}"))),
                    },
                    epoch: epochs.value(row).to_owned(),
                    worker,
                    schema_version,
                    able,
                    recorded_at: recorded.value(row),
                    sources: decode_sources(&sources.value(row)),
                    closed: match closed.filter(|closed| closed.is_valid(row)) {
                        Some(closed) => Closed::Inline(closed.value(row).to_vec()),
                        None if files.is_valid(row) => Closed::File(files.value(row).to_owned()),
                        None => Closed::None,
                    },
                    staged: match staged {
                        Some(staged) => {
                            serde_json::from_str(staged.value(row)).map_err(|error| damaged(error.to_string()))?
                        }
                        None => vec![],
                    },
                })
            })
            .collect()
    }
}

fn decode_sources(items: &ArrayRef) -> Vec<Interval> {
    let items = items.as_struct();
    let clusters = items.column(0).as_string::<i32>();
    let topics = items.column(1).as_string::<i32>();
    let partitions = items.column(2).as_primitive::<Int32Type>();
    let generations = items.column(3).as_primitive::<UInt64Type>();
    let number = |column: usize, row: usize| {
        let column = items.column(column).as_primitive::<Int64Type>();
        column.is_valid(row).then(|| column.value(row))
    };
    (0..items.len())
        .map(|row| Interval {
            source: SourcePartition::new(clusters.value(row), topics.value(row), partitions.value(row)),
            generation: generations.value(row),
            from: number(4, row),
            to: number(5, row),
            low_watermark: number(6, row),
            stream_time: number(7, row),
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A record with and without offsets, inline and filed lists, of a worker that knows a newer schema than the lake's
    /// and of one that does not, comes back as it was.
    #[test]
    fn records_survive_their_encoding() {
        let interval = |from: Option<i64>| Interval {
            source: SourcePartition::new("c", "t", 7),
            generation: 3,
            from,
            to: Some(12),
            low_watermark: Some(4),
            stream_time: None,
        };
        for (kind, closed, sources, able) in [
            (Kind::Claim, Closed::None, vec![], 1),
            (Kind::Epoch, Closed::Inline(vec![1, 2]), vec![interval(None), interval(Some(5))], 2),
            (Kind::Epoch, Closed::File("x.zst".into()), vec![interval(Some(i64::MAX))], 12),
            (Kind::Migration, Closed::None, vec![], 1),
        ] {
            let staged = StagedDataset {
                name: "spans/2026-11-23".into(),
                rows: 3,
                ingested_at: Some((1, 2)),
                times: [("start_time".to_owned(), (i64::MIN, i64::MAX))].into(),
                fragments: vec![],
            };
            let record = Record {
                position: 9,
                kind,
                epoch: "e".into(),
                worker: "w (of a host)".into(),
                schema_version: 1,
                able,
                recorded_at: 5,
                sources,
                closed,
                staged: vec![staged],
            };
            assert_eq!(Record::decode(&record.encode().unwrap()).unwrap(), vec![record]);
        }
    }
}

//! Tests of the lake as a whole, on real Lance datasets in a temporary folder; the ones that matter there in S3, too.

#![allow(clippy::unwrap_used)]

mod activity;
mod basics;
mod exactly_once;
mod failing_store;
mod faults;
mod keys;
mod kills;
mod lease;
mod retention;
mod s3;
mod snapshots;
mod staged;
mod stored;
mod support;
mod synced;
mod upkeep;
mod versions;

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, StringArray, TimestampNanosecondArray, new_null_array};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use tempfile::TempDir;
use tracerag_schemas::time::{DAY, SECOND};
use tracerag_schemas::{SourcePartition, Table};

use self::support::s3::S3;
use crate::{Epoch, Head, Lake, LakeOptions, SourceProgress, Writer, Writing};

/// Noon of 2026-11-23.
pub(super) const NOON: i64 = 1_795_435_200 * SECOND;

/// Where a test has its lakes.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Folder,
    S3(&'static S3),
}

pub(super) struct Fixture {
    /// Where the lake's files lie; of one in S3 those of the server.
    pub files: PathBuf,
    pub folder: TempDir,
    pub lake: Lake,
    options: LakeOptions,
}

impl Fixture {
    /// A lake in a folder.
    pub async fn new() -> Self {
        Self::at(Place::Folder).await
    }

    pub async fn at(place: Place) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (options, files) = match place {
            Place::Folder => (LakeOptions::new(folder.path().to_str().unwrap()), folder.path().to_owned()),
            Place::S3(server) => {
                let uri = server.lake("lake");
                let files = server.files(&uri);
                let storage_options = server.options().into_iter().collect();
                (LakeOptions { storage_options, ..LakeOptions::new(uri) }, files)
            }
        };
        let lake = Lake::open_or_create(options.clone()).await.unwrap();
        Self { files, folder, lake, options }
    }

    /// Address of the lake.
    pub fn uri(&self) -> &str {
        self.lake.uri()
    }

    /// Another handle on the same lake, as another process has it.
    pub async fn reopen(&self) -> Lake {
        Lake::open(self.options.clone()).await.unwrap()
    }

    /// A new process that has claimed the partitions.
    pub async fn worker(&self, name: &str, sources: &[SourcePartition]) -> Writer {
        let mut writer = Writer::new(self.reopen().await, name.to_owned()).await.unwrap();
        writer.claim(sources).await.unwrap();
        writer
    }

    /// The Kafka offsets stored in a table, sorted, as the newest head shows them.
    pub async fn offsets(&self, table: Table) -> Vec<i64> {
        offsets(&self.reopen().await, table).await
    }
}

pub(super) async fn offsets(lake: &Lake, table: Table) -> Vec<i64> {
    offsets_of(lake, &lake.newest_head().await.unwrap(), table).await
}

pub(super) async fn offsets_of(lake: &Lake, head: &Head, table: Table) -> Vec<i64> {
    let mut all = Vec::new();
    for (name, known) in head.of(table) {
        let dataset = lake.dataset(name, known.version).await.unwrap();
        let mut scan = dataset.scan();
        scan.project(&["kafka_offset"]).unwrap();
        let batch = scan.try_into_batch().await.unwrap();
        all.extend(batch.column(0).as_primitive::<Int64Type>().values().iter().copied());
    }
    all.sort_unstable();
    all
}

pub(super) fn source(partition: i32) -> SourcePartition {
    SourcePartition::new("cluster", "otlp_spans", partition)
}

/// One row an offset, ingested at the given time, starting as many seconds after it as the offset.
pub(super) fn rows(table: Table, offsets: impl IntoIterator<Item = i64>, ingested_at: i64) -> RecordBatch {
    let offsets: Vec<i64> = offsets.into_iter().collect();
    let n = offsets.len();
    let schema = table.lake_schema();
    let columns: Vec<ArrayRef> = schema
        .fields()
        .iter()
        .map(|field| -> ArrayRef {
            match field.name().as_str() {
                "tenant_id" => Arc::new(StringArray::from(vec!["default"; n])),
                "trace_id" => {
                    Arc::new(offsets.iter().map(|offset| Some(format!("{offset:032x}"))).collect::<StringArray>())
                }
                "message" if table == Table::Failures => Arc::new(
                    offsets.iter().map(|offset| Some(format!("decimal overflow {offset}"))).collect::<StringArray>(),
                ),
                "kafka_topic" => Arc::new(StringArray::from(vec!["otlp_spans"; n])),
                "kafka_partition" => Arc::new(Int32Array::from(vec![0; n])),
                "kafka_offset" => Arc::new(Int64Array::from(offsets.clone())),
                "ingested_at" => Arc::new(TimestampNanosecondArray::from(vec![ingested_at; n]).with_timezone("UTC")),
                "start_time" | "time" => Arc::new(
                    offsets
                        .iter()
                        .map(|offset| Some(ingested_at + offset * SECOND))
                        .collect::<TimestampNanosecondArray>()
                        .with_timezone("UTC"),
                ),
                _ => new_null_array(field.data_type(), n),
            }
        })
        .collect();
    RecordBatch::try_new(schema, columns).unwrap()
}

/// Offsets `from..to` of a partition as spans, traces and flags, all of one instant.
pub(super) fn epoch(source: SourcePartition, from: i64, to: i64, ingested_at: i64) -> Epoch {
    let tables = [Table::Spans, Table::Traces, Table::Flags];
    let rows = if from == to {
        vec![]
    } else {
        tables.iter().map(|table| (*table, rows(*table, from..to, ingested_at))).collect()
    };
    Epoch {
        rows,
        sources: vec![SourceProgress { source, to, low_watermark: to, stream_time: ingested_at }],
        closed: vec![],
    }
}

/// Writes an epoch, and tries again as a worker does: how many attempts it took.
pub(super) async fn write(writer: &mut Writer, epoch: Epoch) -> usize {
    let mut writing = Writing::new(epoch);
    for attempt in 1..20 {
        match writer.go_on(&mut writing).await {
            Ok(_) => return attempt,
            Err(error) => assert!(error.is_passing(), "attempt {attempt}: {error:?}"),
        }
    }
    panic!("it is not written after 20 attempts");
}

pub(super) fn day_before(time: i64) -> i64 {
    time - DAY
}

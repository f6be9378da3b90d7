//! The columns that every data table has: whose a row is, where it came from, when it was taken.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Builder, Int64Builder, RecordBatch, StringBuilder, TimestampNanosecondBuilder};
use arrow::error::ArrowError;
use tracerag_schemas::Table;

use super::Origin;

pub(super) fn times() -> TimestampNanosecondBuilder {
    TimestampNanosecondBuilder::new().with_timezone("UTC")
}

pub(super) struct OriginColumns {
    tenant: StringBuilder,
    topic: StringBuilder,
    partition: Int32Builder,
    offset: Int64Builder,
    ingested_at: TimestampNanosecondBuilder,
    rows: usize,
}

impl Default for OriginColumns {
    fn default() -> Self {
        Self {
            tenant: StringBuilder::new(),
            topic: StringBuilder::new(),
            partition: Int32Builder::new(),
            offset: Int64Builder::new(),
            ingested_at: times(),
            rows: 0,
        }
    }
}

impl OriginColumns {
    pub(super) fn push(&mut self, origin: &Origin<'_>) {
        self.tenant.append_value(origin.tenant);
        self.topic.append_value(&origin.source.topic);
        self.partition.append_value(origin.source.partition);
        self.offset.append_value(origin.offset);
        self.ingested_at.append_value(origin.ingested_at);
        self.rows += 1;
    }

    pub(super) fn len(&self) -> usize {
        self.rows
    }

    /// The table's rows: tenant, its own columns, origin.
    pub(super) fn finish(&mut self, table: Table, own: Vec<ArrayRef>) -> Result<RecordBatch, ArrowError> {
        self.rows = 0;
        let mut columns: Vec<ArrayRef> = vec![Arc::new(self.tenant.finish())];
        columns.extend(own);
        columns.push(Arc::new(self.topic.finish()));
        columns.push(Arc::new(self.partition.finish()));
        columns.push(Arc::new(self.offset.finish()));
        columns.push(Arc::new(self.ingested_at.finish()));
        RecordBatch::try_new(table.lake_schema(), columns)
    }
}

//! Rows of `payloads`: what is kept of a payload that came as an attribute.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;
use tracerag_schemas::Table;
use tracerag_schemas::ids::push_hex;

use super::attributes::Walker;
use super::batch::{Columns, item_of};
use super::column::{Lists, NumberColumn, TextColumn};
use super::origin::{Names, Origin, Origins};

/// Rows of `payloads`.
#[derive(Default)]
pub(super) struct PayloadRows {
    rows: usize,
    origins: Origins,
    trace_id: TextColumn,
    span_id: TextColumn,
    direction: TextColumn,
    content_type: TextColumn,
    shape: TextColumn,
    sample: TextColumn,
    redactions: Lists,
    redaction_names: TextColumn,
    size_bytes: NumberColumn<Int64Type>,
}

impl PayloadRows {
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Takes the payloads of the list that `walker` wrote last.
    pub(super) fn take(
        &mut self,
        walker: &mut Walker,
        trace_id: Option<&[u8]>,
        span_id: Option<&[u8]>,
        origin: Origin,
    ) {
        for payload in std::mem::take(&mut walker.payloads) {
            let row = self.rows;
            let summary = walker.redactor.summarize_payload(&payload.content_type, &payload.text);
            walker.redactions.merge(&summary.counts);
            self.origins.begin(row, origin);
            for (id, column) in [(trace_id, &mut self.trace_id), (span_id, &mut self.span_id)] {
                if let Some(id) = id {
                    let mut text = String::with_capacity(id.len() * 2);
                    push_hex(id, &mut text);
                    column.set(row, &text);
                }
            }
            self.direction.set(row, if payload.is_response { "response" } else { "request" });
            self.content_type.set_present(row, &summary.content_type);
            for (value, column) in [(&summary.shape, &mut self.shape), (&summary.sample, &mut self.sample)] {
                if !value.is_null() {
                    column.set(row, &value.to_string());
                }
            }
            summary.redactions.iter().for_each(|name| self.redaction_names.push(name));
            self.redactions.set(row, self.redaction_names.len());
            self.size_bytes.set(row, i64::try_from(summary.size_bytes).unwrap_or(i64::MAX));
            self.rows += 1;
        }
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        if rows >= self.rows {
            return;
        }
        self.rows = rows;
        self.origins.truncate(rows);
        for column in [
            &mut self.trace_id,
            &mut self.span_id,
            &mut self.direction,
            &mut self.content_type,
            &mut self.shape,
            &mut self.sample,
        ] {
            column.truncate(rows);
        }
        let names = self.redactions.truncate(rows);
        self.redaction_names.truncate(names);
        self.size_bytes.truncate(rows);
    }

    pub(super) fn bytes(&self) -> usize {
        self.shape.bytes() + self.sample.bytes() + self.redaction_names.bytes() + self.rows * 128
    }

    /// The rows in the schema of the lake, if there are any; the builder is empty again.
    pub(super) fn finish(&mut self, tenants: &Names, topics: &Names) -> Result<Option<RecordBatch>, ArrowError> {
        let rows = std::mem::take(&mut self.rows);
        if rows == 0 {
            return Ok(None);
        }
        let schema = Table::Payloads.lake_schema();
        let mut columns = Columns::default();
        self.origins.finish_plain(rows, tenants, topics, &mut columns);
        columns.put("trace_id", self.trace_id.finish(rows)?);
        columns.put("span_id", self.span_id.finish(rows)?);
        columns.put("direction", self.direction.finish(rows)?);
        columns.put("content_type", self.content_type.finish(rows)?);
        columns.put("shape", self.shape.finish(rows)?);
        columns.put("sample", self.sample.finish(rows)?);
        let names = self.redaction_names.len();
        let names = self.redaction_names.finish(names)?;
        columns.put("redactions", self.redactions.finish(rows, item_of(&schema, "redactions")?, names)?);
        columns.put("size_bytes", Arc::new(self.size_bytes.finish(rows)));
        columns.finish(&schema, rows).map(Some)
    }
}

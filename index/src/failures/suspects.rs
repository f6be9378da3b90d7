//! What is worth looking at: the traces in which something failed, out of batches in flight.
//!
//! Most traces are fine, and unpacking one to look into it costs many times what it costs to see that it is.

use arrow::array::{Array, AsArray, BooleanArray, FixedSizeBinaryArray, RecordBatch};
use rustc_hash::FxHashSet;
use tracerag_schemas::Table;
use tracerag_schemas::in_flight::materialize_part;

use super::columns::{LogSigns, Logs, SpanSigns, Spans};
use super::{FailureError, candidates};

/// Rows in the lake's form, with every row and column that [`super::extract`] looks at.
#[derive(Debug, Clone)]
pub struct Suspects {
    /// All spans of the traces in which something failed.
    pub spans: RecordBatch,
    /// All log records of these traces, and the failed ones without a trace.
    pub logs: RecordBatch,
}

/// Picks the traces in which something failed from `spans` and `logs`, which are in flight. One id in two tenants
/// counts as one trace here, so some that are fine may come along.
///
/// # Errors
/// When a batch does not have its table's in-flight schema.
pub fn suspects(spans: &RecordBatch, logs: &RecordBatch) -> Result<Suspects, FailureError> {
    let (span_schema, log_schema) = (Table::Spans.lake_schema(), Table::Logs.lake_schema());
    let signs = materialize_part(spans, &span_schema, &SpanSigns::COLUMNS, None)?;
    let failed_spans = candidates::spans(&SpanSigns::new(&signs)?);
    let signs = materialize_part(logs, &log_schema, &LogSigns::COLUMNS, None)?;
    let failed_logs = candidates::logs(&LogSigns::new(&signs)?);

    let (span_ids, log_ids) = (trace_ids(spans, "spans")?, trace_ids(logs, "logs")?);
    let of_spans = failed_spans.iter().filter_map(|found| id(span_ids, found.row));
    let traces: FxHashSet<&[u8]> = of_spans.chain(failed_logs.iter().filter_map(|&row| id(log_ids, row))).collect();
    let is_suspect = |ids, row| id(ids, row).is_some_and(|id| traces.contains(id));

    let wanted_spans: BooleanArray = (0..spans.num_rows()).map(|row| Some(is_suspect(span_ids, row))).collect();
    let mut failed_logs = failed_logs.into_iter().peekable();
    let wanted_logs: BooleanArray = (0..logs.num_rows())
        .map(|row| Some(failed_logs.next_if_eq(&row).is_some() || is_suspect(log_ids, row)))
        .collect();
    Ok(Suspects {
        spans: materialize_part(spans, &span_schema, &Spans::COLUMNS, Some(&wanted_spans))?,
        logs: materialize_part(logs, &log_schema, &Logs::COLUMNS, Some(&wanted_logs))?,
    })
}

fn trace_ids<'a>(batch: &'a RecordBatch, table: &'static str) -> Result<&'a FixedSizeBinaryArray, FailureError> {
    let column = "trace_id";
    let ids = batch.column_by_name(column).and_then(|ids| ids.as_fixed_size_binary_opt());
    ids.ok_or(FailureError::Column { table, column })
}

fn id(ids: &FixedSizeBinaryArray, row: usize) -> Option<&[u8]> {
    ids.is_valid(row).then(|| ids.value(row))
}

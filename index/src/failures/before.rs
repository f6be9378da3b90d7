//! What the lake holds of failures before an epoch is put together: of the traces that go on, their spans and failures;
//! and the latest failures that records without a trace may tell of once more.
//!
//! A late part of a trace is read together with it, so that what it tells again is not counted again, and paths and
//! origins are those of the whole trace. Stored rows stay as they are: they are compared with and never written again.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, ListArray, RecordBatch, StringArray, UInt64Array, new_null_array,
};
use arrow::compute::{concat, filter_record_batch, not, take};
use arrow::datatypes::{Field, Schema};
use arrow::error::ArrowError;
use rustc_hash::FxHashSet;
use tracerag_schemas::Table;

use super::columns::{LogSigns, Logs, Source, Spans, Times, offset, text};
use super::frames::{Section, StackTrace};
use super::{FailureError, candidates};

/// The columns of stored spans that are looked at; others are as if the spans had nothing there.
pub const BEFORE_SPANS: [&str; 14] = [
    "tenant_id",
    "trace_id",
    "span_id",
    "parent_span_id",
    "name",
    "kind",
    "service_name",
    "service_version",
    "start_time",
    "end_time",
    "status_code",
    "http_response_status_code",
    "rpc_status_code",
    "build_git_sha",
];

/// The columns of stored failures that are looked at.
pub const BEFORE_FAILURES: [&str; 17] = [
    "tenant_id",
    "failure_id",
    "trace_id",
    "span_id",
    "time",
    "service_name",
    "deployment_environment_name",
    "kind",
    "exception_type",
    "message",
    "message_masked",
    "fingerprint",
    "grouping_error",
    "origin_id",
    "origin_span_id",
    "interruption",
    "causes",
];

/// The columns of log records that are looked at.
pub const LOG_COLUMNS: [&str; 20] = Logs::COLUMNS;

/// What was stored before.
#[derive(Debug, Clone)]
pub struct Before {
    /// Spans of the traces that go on, with the columns [`BEFORE_SPANS`] of the lake's types at least.
    pub spans: RecordBatch,
    /// Failures with the columns [`BEFORE_FAILURES`] at least: those of the traces that go on, and those that records
    /// without a trace are compared with. A failure may be there twice.
    pub failures: RecordBatch,
}

impl Before {
    /// Nothing was.
    #[must_use]
    pub fn nothing() -> Self {
        Before {
            spans: RecordBatch::new_empty(Table::Spans.lake_schema()),
            failures: RecordBatch::new_empty(Table::Failures.lake_schema()),
        }
    }
}

/// The spans, and behind them the stored ones.
pub(super) fn joined(spans: &RecordBatch, stored: &RecordBatch) -> Result<RecordBatch, FailureError> {
    if stored.num_rows() == 0 {
        return Ok(spans.clone());
    }
    let mut fields = Vec::with_capacity(Spans::COLUMNS.len());
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(Spans::COLUMNS.len());
    for name in Spans::COLUMNS {
        let new = spans.column_by_name(name).ok_or(FailureError::Column { table: "spans", column: name })?;
        let old = match stored.column_by_name(name).filter(|_| BEFORE_SPANS.contains(&name)) {
            Some(old) => Arc::clone(old),
            None => new_null_array(new.data_type(), stored.num_rows()),
        };
        columns.push(concat(&[new.as_ref(), old.as_ref()])?);
        fields.push(Field::new(name, new.data_type().clone(), true));
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// Stored failures, each once.
pub(super) struct StoredFailures<'a> {
    pub rows: Vec<usize>,
    pub tenant_id: &'a StringArray,
    pub failure_id: &'a StringArray,
    pub trace_id: &'a StringArray,
    pub span_id: &'a StringArray,
    pub time: &'a Times,
    pub service_name: &'a StringArray,
    pub environment: &'a StringArray,
    pub kind: &'a StringArray,
    pub exception_type: &'a StringArray,
    pub message: &'a StringArray,
    pub message_masked: &'a StringArray,
    pub fingerprint: &'a StringArray,
    pub error_type: &'a StringArray,
    pub origin_id: &'a StringArray,
    pub origin_span_id: &'a StringArray,
    pub interruption: &'a StringArray,
    causes: Causes<'a>,
}

/// The column `causes`.
struct Causes<'a> {
    list: &'a ListArray,
    exception_type: &'a StringArray,
    message: &'a StringArray,
}

impl<'a> Causes<'a> {
    fn new(list: &'a ListArray) -> Option<Self> {
        let fields = list.values().as_struct_opt()?;
        Some(Causes {
            list,
            exception_type: fields.column_by_name("exception_type")?.as_string_opt()?,
            message: fields.column_by_name("message")?.as_string_opt()?,
        })
    }
}

impl<'a> StoredFailures<'a> {
    pub(super) fn new(batch: &'a RecordBatch) -> Result<Self, FailureError> {
        let source = Source { batch, table: "failures" };
        let failure_id = source.text("failure_id")?;
        let mut seen: FxHashSet<&str> = FxHashSet::default();
        let is_new = |row: &usize| text(failure_id, *row).is_some_and(|id| seen.insert(id));
        let mut rows: Vec<usize> = (0..batch.num_rows()).filter(is_new).collect();
        // The lake gives its rows in no stated order.
        rows.sort_by_key(|row| text(failure_id, *row));
        let causes = source.find("causes", |array| array.as_list_opt::<i32>())?;
        Ok(StoredFailures {
            rows,
            tenant_id: source.text("tenant_id")?,
            failure_id,
            trace_id: source.text("trace_id")?,
            span_id: source.text("span_id")?,
            time: source.primitive("time")?,
            service_name: source.text("service_name")?,
            environment: source.text("deployment_environment_name")?,
            kind: source.text("kind")?,
            exception_type: source.text("exception_type")?,
            message: source.text("message")?,
            message_masked: source.text("message_masked")?,
            fingerprint: source.text("fingerprint")?,
            error_type: source.text("grouping_error")?,
            origin_id: source.text("origin_id")?,
            origin_span_id: source.text("origin_span_id")?,
            interruption: source.text("interruption")?,
            causes: Causes::new(causes).ok_or(FailureError::Column { table: "failures", column: "causes" })?,
        })
    }

    /// A stack without frames that has the causes of a failure: its own stack is not read again.
    pub(super) fn stack(&self, row: usize) -> StackTrace {
        let Causes { list, exception_type, message } = &self.causes;
        if list.is_null(row) {
            return StackTrace::default();
        }
        let section = |at: usize| Section {
            exception_type: text(exception_type, at).map(str::to_owned),
            message: text(message, at).map(str::to_owned),
            ..Section::default()
        };
        let (offsets, own) = (list.value_offsets(), Section::default());
        let causes = (offset(offsets, row)..offset(offsets, row + 1)).map(section);
        StackTrace { sections: std::iter::once(own).chain(causes).collect(), ..StackTrace::default() }
    }
}

/// Of log records in the lake's form those that belong to a trace, and those that do not.
///
/// # Errors
/// When the batch has no column of trace ids.
pub fn split_by_trace(logs: &RecordBatch) -> Result<(RecordBatch, RecordBatch), FailureError> {
    let ids = Source { batch: logs, table: "logs" }.text("trace_id")?;
    let has_trace: BooleanArray = (0..logs.num_rows()).map(|row| Some(text(ids, row).is_some())).collect();
    Ok((filter_record_batch(logs, &has_trace)?, filter_record_batch(logs, &not(&has_trace)?)?))
}

/// Of log records in the lake's form, with the columns [`LOG_COLUMNS`], those in which something failed.
///
/// # Errors
/// When one of the columns is missing, or has another type than the lake's schema.
pub fn failed(logs: &RecordBatch) -> Result<RecordBatch, FailureError> {
    let failed = candidates::logs(&LogSigns::new(logs)?);
    let rows: UInt64Array = failed.iter().map(|row| u64::try_from(*row).ok()).collect();
    let columns = logs.columns().iter().map(|column| take(column, &rows, None));
    Ok(RecordBatch::try_new(logs.schema(), columns.collect::<Result<Vec<_>, ArrowError>>()?)?)
}

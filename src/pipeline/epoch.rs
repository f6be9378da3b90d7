//! From what the window gave to what the journal takes.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use tracerag_enrich::Flushed;
use tracerag_index::failures::{self, FailureRules};
use tracerag_index::{ClosedTrace, Epoch, SourceProgress};
use tracerag_schemas::{SourcePartition, Table, in_flight};

use crate::error::Error;

/// Which policy the rows were redacted with; stands with every trace.
#[derive(Debug, Clone)]
pub(crate) struct RedactionStamp {
    pub policy: Arc<str>,
    pub version: i32,
}

/// Puts an epoch together: telemetry in the lake's form, failures found, origins listed.
pub(crate) fn assemble(
    flushed: Flushed,
    waiting: Vec<(Table, RecordBatch)>,
    sources: Vec<SourceProgress>,
    stamp: &RedactionStamp,
) -> Result<Epoch, Error> {
    let spans = in_flight::materialize(&flushed.spans, &Table::Spans.lake_schema())?;
    let logs = in_flight::materialize(&flushed.logs, &Table::Logs.lake_schema())?;
    let found = failures::extract(&spans, &logs, &flushed.traces, &FailureRules::default())
        .map_err(|error| Error::Stopped { what: "finding failures", detail: error.to_string() })?;
    let traces = complete_traces(&flushed.traces, &found.failures, stamp)?;
    let closed = closed_traces(&flushed, &sources);
    let mut rows = waiting;
    rows.extend([
        (Table::Spans, spans),
        (Table::Logs, logs),
        (Table::Traces, traces),
        (Table::Flags, flushed.flags),
        (Table::Builds, flushed.builds),
        (Table::Failures, found.failures),
        (Table::IncidentCounts, found.counts),
    ]);
    rows.retain(|(_, batch)| batch.num_rows() > 0);
    Ok(Epoch { rows, sources, closed })
}

fn closed_traces(flushed: &Flushed, sources: &[SourceProgress]) -> Vec<ClosedTrace> {
    let index: HashMap<&SourcePartition, u32> =
        sources.iter().zip(0u32..).map(|(progress, index)| (&progress.source, index)).collect();
    flushed
        .closed
        .iter()
        .map(|closed| ClosedTrace {
            tenant: Arc::clone(&closed.tenant),
            trace_id: closed.trace_id,
            closed_at: closed.closed_at,
            last_offsets: closed
                .last_offsets
                .iter()
                .filter_map(|(source, offset)| Some((*index.get(source)?, *offset)))
                .collect(),
        })
        .collect()
}

/// Adds what the window cannot know: the number of failures, and the redaction's policy.
fn complete_traces(traces: &RecordBatch, failures: &RecordBatch, stamp: &RedactionStamp) -> Result<RecordBatch, Error> {
    let counts = failures_by_trace(failures);
    let schema = Table::Traces.lake_schema();
    let rows = traces.num_rows();
    let tenants = text_column(traces, "tenant_id")?;
    let ids = text_column(traces, "trace_id")?;
    let before = traces.column(schema.index_of("failure_count")?).as_primitive::<Int64Type>();
    let failure_counts: Int64Array = (0..rows)
        .map(|row| {
            // A later revision's row carries the count of the revisions before it.
            let earlier = if before.is_valid(row) { before.value(row) } else { 0 };
            let key = (tenants.value(row), ids.value(row));
            Some(earlier + counts.get(&key).copied().unwrap_or(0))
        })
        .collect();
    let mut columns = traces.columns().to_vec();
    columns[schema.index_of("failure_count")?] = Arc::new(failure_counts);
    let policy: ArrayRef = Arc::new(StringArray::from_iter_values(std::iter::repeat_n(stamp.policy.as_ref(), rows)));
    columns[schema.index_of("redaction_policy")?] = policy;
    columns[schema.index_of("redaction_version")?] = Arc::new(Int32Array::from_value(stamp.version, rows));
    Ok(RecordBatch::try_new(schema, columns)?)
}

fn failures_by_trace(failures: &RecordBatch) -> HashMap<(&str, &str), i64> {
    let mut counts = HashMap::new();
    if let (Ok(tenants), Ok(ids)) = (text_column(failures, "tenant_id"), text_column(failures, "trace_id")) {
        for (tenant, id) in tenants.iter().zip(ids) {
            if let (Some(tenant), Some(id)) = (tenant, id) {
                *counts.entry((tenant, id)).or_default() += 1;
            }
        }
    }
    counts
}

fn text_column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray, Error> {
    let index = batch.schema().index_of(name)?;
    batch
        .column(index)
        .as_string_opt::<i32>()
        .ok_or_else(|| Error::Arrow(arrow::error::ArrowError::SchemaError(format!("column {name} is no text"))))
}

//! From what the window gave to what the journal takes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::Int64Type;
use arrow::row::{RowConverter, SortField};
use tracerag_enrich::{Counts, Flushed};
use tracerag_index::failures::{self, Before, FailureError, FailureRules, Suspects};
use tracerag_index::templates::with_templates;
use tracerag_index::{ClosedTrace, Epoch, SourceProgress};
use tracerag_schemas::{SourcePartition, Table, staged};

use super::held::Held;
use super::late::Stored;
use crate::error::Error;

/// Which policy the rows were redacted with; stands with every trace.
#[derive(Debug, Clone)]
pub(crate) struct RedactionStamp {
    pub policy: Arc<str>,
    pub version: i32,
}

/// What an epoch is made of.
pub(crate) struct Draft {
    pub flushed: Flushed,
    /// Rows that waited for no trace.
    pub waiting: Vec<(Table, RecordBatch)>,
    pub sources: Vec<SourceProgress>,
    pub stamp: RedactionStamp,
    pub failures: Arc<FailureRules>,
    /// Failed records without a trace of the epochs before.
    pub held: Held,
    /// How long they wait for the traces that they may belong to, in ns.
    pub hold: i64,
    /// The input has ended: nothing waits any more.
    pub ends: bool,
}

impl Draft {
    /// Makes revisions of what is `stored` in part already, and looks where something failed. All earlier epochs have to be
    /// applied.
    pub(super) async fn look(mut self, stored: Option<Stored>) -> Result<Looked, Error> {
        blocking(move || {
            if let Some(stored) = &stored {
                stored.revise(&mut self.flushed)?;
            }
            // Templates and failures need nothing of each other.
            let flushed = &self.flushed;
            let (found, logs) = std::thread::scope(|scope| {
                let logs = scope.spawn(|| with_templates(&flushed.logs));
                let found = failures::suspects(&flushed.spans, &flushed.logs)
                    .and_then(|found| Ok((failures::split_by_trace(&found.logs)?, found.spans)));
                (found, logs.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            });
            let ((of_traces, alone), spans) = found.map_err(stopped)?;
            let alone = self.held.due(alone, &self.sources, self.hold, self.ends)?;
            let suspects = Suspects { spans, logs: concat_batches(&of_traces.schema(), [&of_traces, &alone])? };
            let counted = stored.as_ref().map(|stored| CountedFailures::of(stored.failures())).unwrap_or_default();
            // Of most late parts nothing failed.
            let failed = suspects.spans.num_rows() + suspects.logs.num_rows() > 0;
            let before = stored.filter(|_| failed).map_or_else(Before::nothing, Stored::before);
            Ok(Looked { logs: logs?, suspects, alone, before, counted, draft: self })
        })
        .await
    }
}

/// An epoch of which it is known where something failed.
pub(super) struct Looked {
    draft: Draft,
    /// Its log records, with their templates.
    logs: RecordBatch,
    suspects: Suspects,
    /// The failed records without a trace among them.
    alone: RecordBatch,
    before: Before,
    /// The stored failures of the traces that go on.
    counted: CountedFailures,
}

impl Looked {
    /// Failed records without a trace: what is stored may say the same.
    pub(super) fn alone(&self) -> &RecordBatch {
        &self.alone
    }

    /// The epoch. `told` are the stored failures of which records without a trace may tell once more. Gives what the window
    /// saw, too, with what was found to be stored, and the records that wait.
    pub(super) async fn finish(mut self, told: Option<RecordBatch>) -> Result<(Epoch, Counts, Held), Error> {
        blocking(move || {
            if let Some(told) = told {
                let stored = &self.before.failures;
                let columns = told.schema();
                let names: Vec<&str> = columns.fields().iter().map(|field| field.name().as_str()).collect();
                let indices = names.iter().map(|name| stored.schema().index_of(name)).collect::<Result<Vec<_>, _>>()?;
                self.before.failures = concat_batches(&columns, [&stored.project(&indices)?, &told])?;
            }
            let (counts, held) = (self.draft.flushed.counts, std::mem::take(&mut self.draft.held));
            Ok((self.assemble()?, counts, held))
        })
        .await
    }

    /// Puts it together: telemetry in the lake's form, failures found, origins listed.
    fn assemble(self) -> Result<Epoch, Error> {
        let Looked { draft, logs, suspects, before, counted, .. } = self;
        let Draft { flushed, waiting, sources, stamp, failures: rules, .. } = draft;
        let (spans, found) = std::thread::scope(|scope| {
            let spans = scope.spawn(|| staged::stage(&flushed.spans, &Table::Spans.lake_schema()));
            let found = failures::extract_after(&suspects.spans, &suspects.logs, &flushed.traces, &before, &rules);
            (spans.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), found)
        });
        let (spans, found) = (spans?, found.map_err(stopped)?);
        let logs = staged::stage(&logs, &Table::Logs.lake_schema())?;
        let traces = complete_traces(&flushed.traces, &found.failures, &counted, &stamp)?;
        let closed = closed_traces(&flushed, &sources);
        let mut rows = distinct_payloads(waiting)?;
        rows.extend(spans.into_iter().map(|batch| (Table::Spans, batch)));
        rows.extend(logs.into_iter().map(|batch| (Table::Logs, batch)));
        rows.extend([
            (Table::Traces, traces),
            (Table::Flags, flushed.flags),
            (Table::Builds, flushed.builds),
            (Table::Failures, found.failures),
            (Table::IncidentCounts, found.counts),
        ]);
        rows.retain(|(_, batch)| batch.num_rows() > 0);
        Ok(Epoch { rows, sources, closed })
    }
}

fn stopped(error: FailureError) -> Error {
    Error::Stopped { what: "finding failures", detail: error.to_string() }
}

/// Work that takes the thread for itself.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|panic| Error::Stopped { what: "putting an epoch together", detail: panic.to_string() })?
}

/// What tells a payload of a span from another one.
const PAYLOAD: [&str; 8] =
    ["tenant_id", "trace_id", "span_id", "direction", "content_type", "shape", "sample", "size_bytes"];

/// Leaves of equal payloads of a span the first. Payloads do not pass the window, which drops spans that a sender
/// sent again.
fn distinct_payloads(waiting: Vec<(Table, RecordBatch)>) -> Result<Vec<(Table, RecordBatch)>, Error> {
    let schema = Table::Payloads.lake_schema();
    let indices = PAYLOAD.iter().map(|name| schema.index_of(name)).collect::<Result<Vec<_>, _>>()?;
    let span_ids = schema.index_of("span_id")?;
    let fields = indices.iter().map(|index| SortField::new(schema.field(*index).data_type().clone()));
    let converter = RowConverter::new(fields.collect())?;
    let mut seen: HashSet<Box<[u8]>> = HashSet::new();
    let mut distinct = |batch: RecordBatch| -> Result<RecordBatch, Error> {
        let columns: Vec<ArrayRef> = indices.iter().map(|index| Arc::clone(batch.column(*index))).collect();
        let payloads = converter.convert_columns(&columns)?;
        let has_span = |row: usize| batch.column(span_ids).is_valid(row);
        let keep: BooleanArray = payloads
            .iter()
            .enumerate()
            .map(|(row, payload)| Some(!has_span(row) || seen.insert(payload.as_ref().into())))
            .collect();
        Ok(filter_record_batch(&batch, &keep)?)
    };
    waiting
        .into_iter()
        .map(|(table, batch)| match table {
            Table::Payloads => Ok((table, distinct(batch)?)),
            _ => Ok((table, batch)),
        })
        .collect()
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
fn complete_traces(
    traces: &RecordBatch,
    failures: &RecordBatch,
    counted: &CountedFailures,
    stamp: &RedactionStamp,
) -> Result<RecordBatch, Error> {
    let schema = Table::Traces.lake_schema();
    let rows = traces.num_rows();
    let mut columns = traces.columns().to_vec();
    columns[schema.index_of("failure_count")?] = Arc::new(failure_counts(traces, failures, counted)?);
    let policy: ArrayRef = Arc::new(StringArray::from_iter_values(std::iter::repeat_n(stamp.policy.as_ref(), rows)));
    columns[schema.index_of("redaction_policy")?] = policy;
    columns[schema.index_of("redaction_version")?] = Arc::new(Int32Array::from_value(stamp.version, rows));
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// For each trace the failures that are stored of it, and those found now. A row carries what its earlier revision counts,
/// which is all that is known where not all stored failures were read; what records told before the first span, or without
/// one, stands in no revision.
fn failure_counts(
    traces: &RecordBatch,
    failures: &RecordBatch,
    counted: &CountedFailures,
) -> Result<Int64Array, Error> {
    let found = CountedFailures::of(failures);
    let (tenants, ids) = (text_column(traces, "tenant_id")?, text_column(traces, "trace_id")?);
    let carried = traces.column(traces.schema().index_of("failure_count")?).as_primitive::<Int64Type>();
    let of_row = |row: usize| {
        let (tenant, id) = (tenants.value(row), ids.value(row));
        let carried = if carried.is_valid(row) { carried.value(row) } else { 0 };
        Some(carried.max(counted.of_trace(tenant, id)) + found.of_trace(tenant, id))
    };
    Ok((0..traces.num_rows()).map(of_row).collect())
}

/// How many failures each trace has, by tenant and trace id.
#[derive(Default)]
struct CountedFailures(HashMap<String, HashMap<String, i64>>);

impl CountedFailures {
    /// Counts rows of `failures`. A stored one may be there twice.
    fn of(failures: &RecordBatch) -> Self {
        let mut counts: HashMap<String, HashMap<String, i64>> = HashMap::new();
        let column = |name| text_column(failures, name);
        if let (Ok(tenants), Ok(traces), Ok(ids)) = (column("tenant_id"), column("trace_id"), column("failure_id")) {
            let mut seen = HashSet::new();
            for ((tenant, trace), id) in tenants.iter().zip(traces).zip(ids) {
                let (Some(tenant), Some(trace)) = (tenant, trace) else { continue };
                if id.is_none_or(|id| seen.insert((tenant, trace, id))) {
                    *counts.entry(tenant.to_owned()).or_default().entry(trace.to_owned()).or_default() += 1;
                }
            }
        }
        Self(counts)
    }

    fn of_trace(&self, tenant: &str, trace: &str) -> i64 {
        self.0.get(tenant).and_then(|traces| traces.get(trace)).copied().unwrap_or(0)
    }
}

fn text_column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray, Error> {
    let index = batch.schema().index_of(name)?;
    batch
        .column(index)
        .as_string_opt::<i32>()
        .ok_or_else(|| Error::Arrow(arrow::error::ArrowError::SchemaError(format!("column {name} is no text"))))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::array::new_null_array;

    use super::*;

    fn batch(table: Table, rows: usize, named: Vec<(&str, ArrayRef)>) -> RecordBatch {
        // Columns that do not matter here are null, whether the table wants them or not.
        let fields: Vec<_> =
            table.lake_schema().fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
        let schema = Arc::new(arrow::datatypes::Schema::new(fields));
        let mut columns: Vec<ArrayRef> =
            schema.fields().iter().map(|field| new_null_array(field.data_type(), rows)).collect();
        for (name, column) in named {
            columns[schema.index_of(name).unwrap()] = column;
        }
        RecordBatch::try_new(schema, columns).unwrap()
    }

    fn texts(values: &[&str]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    /// A trace's row counts the failures that are stored of it and those of this epoch, of its own tenant: those that its
    /// earlier revision counts, and those that log records told before it had a span, each once however often it was read.
    #[test]
    fn failures_are_cumulative() {
        let (tenants, ids) = (texts(&["a", "a", "b"]), texts(&["1", "2", "1"]));
        let carried: ArrayRef = Arc::new(Int64Array::from(vec![Some(3), None, None]));
        let named = vec![("tenant_id", tenants), ("trace_id", ids), ("failure_count", carried)];
        let traces = batch(Table::Traces, 3, named);
        let found = vec![("tenant_id", texts(&["a", "a", "b"])), ("trace_id", texts(&["1", "1", "1"]))];
        let failures = batch(Table::Failures, 3, found);
        let stored = vec![
            ("tenant_id", texts(&["a", "a", "a", "a", "c"])),
            ("trace_id", texts(&["1", "2", "2", "2", "1"])),
            ("failure_id", texts(&["f", "g", "g", "h", "i"])),
        ];
        let stored = CountedFailures::of(&batch(Table::Failures, 5, stored));
        let counts = failure_counts(&traces, &failures, &stored).unwrap();
        assert_eq!(counts.values().to_vec(), [5, 2, 1]);
    }

    /// A payload of a span that was sent twice is kept once, also over batches; one of another span, direction or
    /// content is another one, and so are those that belong to no span.
    #[test]
    fn payloads_of_doubled_spans_are_kept_once() {
        let payloads = |rows: &[(&str, &str, &str)]| {
            let column = |of: fn(&(&str, &str, &str)) -> Option<String>| -> ArrayRef {
                Arc::new(rows.iter().map(of).collect::<StringArray>())
            };
            let named = vec![
                ("tenant_id", column(|_| Some(String::from("a")))),
                ("trace_id", column(|_| Some(String::from("1")))),
                ("span_id", column(|row| (!row.0.is_empty()).then(|| row.0.to_owned()))),
                ("direction", column(|row| Some(row.1.to_owned()))),
                ("sample", column(|row| Some(row.2.to_owned()))),
            ];
            (Table::Payloads, batch(Table::Payloads, rows.len(), named))
        };
        let other = (Table::Heaps, batch(Table::Heaps, 2, vec![]));
        let waiting = vec![
            payloads(&[("s", "in", "{}"), ("s", "out", "{}"), ("s", "in", "{}"), ("", "in", "{}"), ("", "in", "{}")]),
            other,
            payloads(&[("s", "in", "{}"), ("t", "in", "{}"), ("s", "in", "[]")]),
        ];
        let rows: Vec<usize> = distinct_payloads(waiting).unwrap().iter().map(|(_, batch)| batch.num_rows()).collect();
        assert_eq!(rows, [4, 2, 2]);
    }
}

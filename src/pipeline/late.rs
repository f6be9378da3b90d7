//! Late parts of traces: compared with what the lake holds before they are written as a new revision.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use tracerag_enrich::Flushed;
use tracerag_index::{Lake, stored_rows};
use tracerag_schemas::Table;

use crate::error::Error;

/// What [`tracerag_enrich::revise`] reads of stored spans.
const SPAN_COLUMNS: &[&str] = &[
    "tenant_id",
    "trace_id",
    "span_id",
    "parent_span_id",
    "revision",
    "name",
    "service_name",
    "deployment_environment_name",
    "start_time",
    "end_time",
    "status_code",
    "dropped_attributes_count",
    "dropped_events_count",
    "dropped_links_count",
];

/// What [`tracerag_enrich::revise`] reads of stored log records.
const LOG_COLUMNS: &[&str] = &["tenant_id", "trace_id", "record_hash"];

/// What the lake holds of the traces of a flush's fragments.
pub(super) struct Stored {
    spans: RecordBatch,
    traces: RecordBatch,
    logs: RecordBatch,
}

impl Stored {
    /// Looks the fragments up; `None` if there are none. Most are of traces that the lake does not know: their root is
    /// missing. `late_horizon` in ns.
    pub(super) async fn of(lake: &Lake, flushed: &Flushed, late_horizon: i64) -> Result<Option<Self>, Error> {
        // By id: since when the lake may hold logs of a trace that has no row.
        let mut fragments: BTreeMap<String, Option<i64>> = BTreeMap::new();
        for closed in flushed.closed.iter().filter(|closed| closed.fragment) {
            // Its logs came before it closed the first time, and that is remembered for some more than the horizon.
            let since = closed.late.then(|| closed.closed_at.saturating_sub(late_horizon.saturating_mul(2)));
            let known = fragments.entry(hex::encode(closed.trace_id)).or_default();
            *known = [*known, since].into_iter().flatten().min();
        }
        if fragments.is_empty() {
            return Ok(None);
        }
        let head = lake.newest_head().await?;
        let every = Table::Traces.lake_schema();
        let every: Vec<&str> = every.fields().iter().map(|field| field.name().as_str()).collect();
        let ids: Vec<String> = fragments.keys().cloned().collect();
        let traces = stored_rows(lake, &head, Table::Traces, &ids, &every, i64::MIN).await?;
        // Whatever has spans has a row.
        let stored = ids_of(&traces);
        let logs_alone: Vec<String> = fragments
            .iter()
            .filter(|(id, since)| since.is_some() && !stored.contains(*id))
            .map(|(id, _)| id.clone())
            .collect();
        let since = logs_alone.iter().filter_map(|id| fragments.get(id).copied().flatten()).min().unwrap_or(i64::MAX);
        let stored: Vec<String> = stored.into_iter().collect();
        let (spans, logs, more_logs) = futures::try_join!(
            stored_rows(lake, &head, Table::Spans, &stored, SPAN_COLUMNS, i64::MIN),
            stored_rows(lake, &head, Table::Logs, &stored, LOG_COLUMNS, i64::MIN),
            stored_rows(lake, &head, Table::Logs, &logs_alone, LOG_COLUMNS, since),
        )?;
        let logs = concat_batches(&logs.schema(), [&logs, &more_logs])?;
        Ok(Some(Self { spans, traces, logs }))
    }

    /// Drops what is stored already, and numbers the revisions of what remains.
    pub(super) fn revise(&self, flushed: &mut Flushed) -> Result<(), Error> {
        Ok(tracerag_enrich::revise(flushed, &self.spans, &self.traces, &self.logs)?)
    }
}

fn ids_of(traces: &RecordBatch) -> BTreeSet<String> {
    let ids = traces.column_by_name("trace_id").and_then(|column| column.as_string_opt::<i32>());
    ids.into_iter().flatten().flatten().map(str::to_owned).collect()
}

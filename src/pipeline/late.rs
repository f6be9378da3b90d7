//! Late parts of traces: compared with what the lake holds before they are written as a new revision.

use std::collections::BTreeSet;

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

/// Drops what is stored already, and numbers the revisions of what remains.
pub(super) async fn revise(lake: &Lake, flushed: &mut Flushed) -> Result<(), Error> {
    let ids: BTreeSet<String> =
        flushed.closed.iter().filter(|closed| closed.fragment).map(|closed| hex::encode(closed.trace_id)).collect();
    let ids: Vec<String> = ids.into_iter().collect();
    let head = lake.newest_head().await?;
    let every = Table::Traces.lake_schema();
    let every: Vec<&str> = every.fields().iter().map(|field| field.name().as_str()).collect();
    let spans = stored_rows(lake, &head, Table::Spans, &ids, SPAN_COLUMNS).await?;
    let traces = stored_rows(lake, &head, Table::Traces, &ids, &every).await?;
    let logs = stored_rows(lake, &head, Table::Logs, &ids, &["tenant_id", "trace_id", "record_hash"]).await?;
    tracerag_enrich::revise(flushed, &spans, &traces, &logs)?;
    Ok(())
}

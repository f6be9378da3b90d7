//! The trace's own row: which revision is newest, up to when rows are evidence of it, and whether
//! that time has passed.

use std::collections::BTreeMap;

use arrow::record_batch::RecordBatch;
use tracerag_schemas::bundle::{Build, Flag, Redaction, Trace};
use tracerag_schemas::time::{SECOND, rfc3339};
use tracerag_schemas::{SourcePartition, Table};

use super::changes;
use crate::error::{QueryError, Result};
use crate::lookup::ById;
use crate::rows::{Columns, number, owned, text, texts, truth};
use crate::snapshot::Snapshot;

/// Time that an open trace is given before it counts as unknown: the window's longest trace.
const OPEN_FOR: i64 = 300 * SECOND;
/// Seconds after which an open trace is usually closed: the window's idle gap.
const OPEN_WAIT_SECONDS: u64 = 10;

/// The cluster of replayed files, as in [`SourcePartition::cluster`].
const FILE_CLUSTER: &str = "file";

const COLUMNS: [&str; 17] = [
    "trace_id",
    "revision",
    "root_span_id",
    "root_name",
    "services",
    "start_time",
    "end_time",
    "duration_ns",
    "status",
    "closed_at",
    "complete",
    "incomplete_reasons",
    "flags_in_effect",
    "builds_in_effect",
    "redaction_policy",
    "redaction_version",
    "ingested_at",
];

/// The newest revision of a trace; times in ns.
#[derive(Debug, Clone)]
pub(super) struct TraceRow {
    pub id: String,
    pub start: i64,
    pub end: i64,
    /// When the first that is known of the trace was taken: the least time of ingestion or close over its
    /// revisions. A sender's clock does not move it.
    pub first_taken: i64,
    /// Rows taken later are no evidence of the revision.
    pub limit: i64,
    pub sealed: bool,
    pub document: Trace,
    pub flags: Vec<Flag>,
    pub builds: Vec<Build>,
    pub redaction: Redaction,
}

impl TraceRow {
    pub(super) fn services(&self) -> &[String] {
        &self.document.services
    }
}

/// The newest revision of a trace in the lake, or why there is none.
pub(super) async fn newest(snapshot: &Snapshot, id: &str, seal_after: i64) -> Result<TraceRow> {
    let batches = snapshot.read_id(Table::Traces, &COLUMNS, ById::one("trace_id", id)).await?;
    let mut newest: Option<((i32, i64, i64), &RecordBatch, usize)> = None;
    let mut first_taken: Option<i64> = None;
    for batch in &batches {
        let columns = Columns::of("traces", batch);
        let (revisions, closed) = (columns.code("revision")?, columns.time("closed_at")?);
        let ingested = columns.time("ingested_at")?;
        for row in 0..batch.num_rows() {
            let taken = number(closed, row).into_iter().chain(number(ingested, row)).min();
            first_taken = first_taken.into_iter().chain(taken).min();
            // Beyond the late horizon a whole trace may have been written again with the same number.
            let key = (
                number(revisions, row).unwrap_or_default(),
                number(closed, row).unwrap_or_default(),
                number(ingested, row).unwrap_or_default(),
            );
            if newest.as_ref().is_none_or(|(known, ..)| key > *known) {
                newest = Some((key, batch, row));
            }
        }
    }
    match newest {
        Some((_, batch, row)) => read(snapshot, batch, row, seal_after, first_taken),
        None => Err(why_absent(snapshot, id).await?),
    }
}

/// Whether nothing that comes from now on is of a time up to `limit`, in ns.
///
/// Every partition must be past it: one that stands at the limit itself may still bring a row of that
/// time. Files are one stream: they are replayed in the order of time, and one that was read to its end stays
/// where it ended for ever, so the furthest of them tells how far the replay has come.
fn is_past(stream_times: &[(SourcePartition, i64)], limit: i64) -> bool {
    let is_file = |source: &SourcePartition| source.cluster.as_ref() == FILE_CLUSTER;
    let files = stream_times.iter().filter(|(source, _)| is_file(source)).map(|(_, time)| *time).max();
    let mut partitions = stream_times.iter().filter(|(source, _)| !is_file(source)).map(|(_, time)| *time);
    !stream_times.is_empty() && partitions.all(|time| time > limit) && files.is_none_or(|time| time > limit)
}

fn read(
    snapshot: &Snapshot,
    batch: &RecordBatch,
    row: usize,
    seal_after: i64,
    first_taken: Option<i64>,
) -> Result<TraceRow> {
    let columns = Columns::of("traces", batch);
    let start = number(columns.time("start_time")?, row);
    let end = number(columns.time("end_time")?, row);
    let closed_at =
        number(columns.time("closed_at")?, row).or(number(columns.time("ingested_at")?, row)).unwrap_or_default();
    let limit = closed_at.saturating_add(seal_after);
    let mut services = texts(columns.list("services")?, row);
    services.sort();
    services.dedup();
    let mut reasons = texts(columns.list("incomplete_reasons")?, row);
    reasons.sort();
    let id = owned(columns.text("trace_id")?, row).unwrap_or_default();
    let document = Trace {
        trace_id: id.clone(),
        revision: number(columns.code("revision")?, row).unwrap_or_default(),
        root_span_id: owned(columns.text("root_span_id")?, row),
        root_name: owned(columns.text("root_name")?, row),
        services,
        service_graph: vec![],
        started_at: start.map(rfc3339),
        duration_ns: number(columns.int("duration_ns")?, row),
        status: owned(columns.text("status")?, row),
        complete: truth(columns.boolean("complete")?, row),
        incomplete_reasons: reasons,
    };
    let start = start.unwrap_or(closed_at);
    Ok(TraceRow {
        id,
        start,
        end: end.unwrap_or(start).max(start),
        first_taken: first_taken.unwrap_or(start),
        limit,
        sealed: is_past(&snapshot.head().stream_times, limit),
        document,
        flags: changes::flags_in_effect(columns, row)?,
        builds: changes::builds_in_effect(columns, row)?,
        redaction: Redaction {
            policy: owned(columns.text("redaction_policy")?, row),
            version: number(columns.code("redaction_version")?, row),
            counts: BTreeMap::new(),
        },
    })
}

/// Why the lake has no such trace: its logs came before its spans, it expired, or nobody knows it.
async fn why_absent(snapshot: &Snapshot, id: &str) -> Result<QueryError> {
    let trace_id = id.to_owned();
    let of_trace = || ById::one("trace_id", id);
    let (stored, logs) = futures::try_join!(
        snapshot.read_id(Table::Bundles, &["bundle_id", "created_at"], of_trace()),
        snapshot.read_id(Table::Logs, &["ingested_at"], of_trace()),
    )?;
    let mut newest: Option<(i64, String)> = None;
    for batch in &stored {
        let columns = Columns::of("bundles", batch);
        let (ids, created) = (columns.text("bundle_id")?, columns.time("created_at")?);
        for row in 0..batch.num_rows() {
            let candidate = (number(created, row).unwrap_or_default(), text(ids, row).unwrap_or_default().to_owned());
            newest = newest.max(Some(candidate));
        }
    }
    if let Some((_, bundle_id)) = newest {
        return Ok(QueryError::Expired { trace_id, bundle_id });
    }
    let mut last = None;
    for batch in &logs {
        let ingested = Columns::of("logs", batch).time("ingested_at")?;
        last = last.max(arrow::compute::max(ingested));
    }
    let now = snapshot.head().stream_times.iter().map(|(_, time)| *time).max();
    Ok(match (last, now) {
        (Some(last), Some(now)) if now.saturating_sub(last) <= OPEN_FOR => {
            QueryError::TraceOpen { trace_id, wait_seconds: OPEN_WAIT_SECONDS }
        }
        _ => QueryError::TraceUnknown { trace_id },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A partition that lags keeps a trace open; a file that was read to its end does not, as long as another
    /// file has gone on; and where nothing was read, nothing is past.
    #[test]
    fn files_are_one_stream_and_partitions_are_not() {
        let partition = |number, time| (SourcePartition::new("cluster", "otlp_spans", number), time);
        let file = |digest: &str, time| (SourcePartition::new(FILE_CLUSTER, format!("file:{digest}"), 0), time);
        assert!(!is_past(&[], 10));
        assert!(is_past(&[partition(0, 11), partition(1, 12)], 10));
        assert!(!is_past(&[partition(0, 99), partition(1, 10)], 10));
        assert!(is_past(&[file("a", 3), file("b", 11)], 10));
        assert!(!is_past(&[file("a", 3), file("b", 10)], 10));
        assert!(is_past(&[file("a", 3), file("b", 11), partition(0, 11)], 10));
        assert!(!is_past(&[file("b", 11), partition(0, 10)], 10));
        assert!(!is_past(&[file("b", 10), partition(0, 11)], 10));
    }
}

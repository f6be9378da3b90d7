//! The trace's own row: which revision is newest, up to when rows are evidence of it, and whether
//! that time has passed.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::record_batch::RecordBatch;
use tracerag_schemas::bundle::{Build, Flag, Redaction, Trace};
use tracerag_schemas::time::{SECOND, rfc3339};
use tracerag_schemas::{SourcePartition, Table, letters};

use super::{changes, now};
use crate::compare::Root;
use crate::error::{QueryError, Result};
use crate::lookup::ById;
use crate::rows::{Columns, number, owned, text, texts, truth};
use crate::snapshot::{Read, Snapshot};

/// Time that an open trace is given before it counts as unknown: the window's longest trace.
const OPEN_FOR: i64 = 300 * SECOND;

/// The cluster of replayed files, as in [`SourcePartition::cluster`].
const FILE_CLUSTER: &str = "file";

const COLUMNS: [&str; 19] = [
    "trace_id",
    "revision",
    "root_span_id",
    "root_name",
    "root_service_name",
    "deployment_environment_name",
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
    pub root: Root,
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
/// where it ended for ever, so the furthest of them tells how far the replay has come. Replays of dead letters
/// belong to that stream; beside partitions alone they hold nothing up, for a replay stamps its rows with the
/// greatest time that the lake knows when it begins.
fn is_past(stream_times: &[(SourcePartition, i64)], limit: i64) -> bool {
    let is_file = |source: &SourcePartition| source.cluster.as_ref() == FILE_CLUSTER;
    let is_replayed = |source: &SourcePartition| is_file(source) || source.cluster.as_ref() == letters::REPLAY_CLUSTER;
    let replayed = stream_times.iter().filter(|(source, _)| is_replayed(source)).map(|(_, time)| *time).max();
    let mut partitions = stream_times.iter().filter(|(source, _)| !is_replayed(source)).map(|(_, time)| *time);
    let has_files = stream_times.iter().any(|(source, _)| is_file(source));
    let has_partitions = stream_times.iter().any(|(source, _)| !is_replayed(source));
    let counted = replayed.filter(|_| has_files || !has_partitions);
    !stream_times.is_empty() && partitions.all(|time| time > limit) && counted.is_none_or(|time| time > limit)
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
    let root = Root {
        service: owned(columns.text("root_service_name")?, row),
        name: document.root_name.clone(),
        environment: owned(columns.text("deployment_environment_name")?, row),
    };
    Ok(TraceRow {
        id,
        root,
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
///
/// # Errors
/// When the lake cannot be read.
pub(crate) async fn why_absent(snapshot: &Snapshot, id: &str) -> Result<QueryError> {
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
        return Ok(QueryError::Expired { trace_id, bundle_id: Some(bundle_id) });
    }
    let mut last = None;
    for batch in &logs {
        let ingested = Columns::of("logs", batch).time("ingested_at")?;
        last = last.max(arrow::compute::max(ingested));
    }
    let wait_seconds = snapshot.wait_seconds();
    let stream_time = snapshot.head().stream_times.iter().map(|(_, time)| *time).max();
    let is_recent = |now: i64, time: i64| now.saturating_sub(time) <= OPEN_FOR;
    match (last, stream_time) {
        (Some(last), Some(now)) if is_recent(now, last) => Ok(QueryError::TraceOpen { trace_id, wait_seconds }),
        // Counts outlive rows. A trace that has logs has not expired: its spans never came.
        (None, _) if is_example(snapshot, id).await? => Ok(QueryError::Expired { trace_id, bundle_id: None }),
        (_, stream_time) => {
            let is_written = stream_time.is_some_and(|time| is_recent(now(), time));
            Ok(QueryError::TraceUnknown { trace_id, wait_seconds: is_written.then_some(wait_seconds) })
        }
    }
}

/// Whether a trace is an example of an incident.
async fn is_example(snapshot: &Snapshot, id: &str) -> Result<bool> {
    let read = Read { columns: &["example_trace_ids"], filter: None, ranges: vec![] };
    for batch in snapshot.read(Table::IncidentCounts, read).await? {
        let examples = Columns::of("incident_counts", &batch).list("example_trace_ids")?;
        if examples.values().as_string_opt::<i32>().is_some_and(|ids| ids.iter().flatten().any(|known| known == id)) {
            return Ok(true);
        }
    }
    Ok(false)
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

    /// A replay of dead letters goes on from where files were read to, and seals what it brought to a lake of files; it
    /// stays where it ended and keeps no trace of a partition open.
    #[test]
    fn replays_of_letters_hold_no_partition_up() {
        let partition = |time| (SourcePartition::new("cluster", "otlp_spans", 0), time);
        let file = |time| (SourcePartition::new(FILE_CLUSTER, "file:a", 0), time);
        let letters = |time| (letters::replays(), time);
        assert!(is_past(&[letters(3), partition(11)], 10));
        assert!(!is_past(&[letters(99), partition(10)], 10));
        assert!(is_past(&[file(3), letters(11)], 10));
        assert!(!is_past(&[file(3), letters(10)], 10));
        assert!(is_past(&[file(3), letters(11), partition(11)], 10));
    }
}

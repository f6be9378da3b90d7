//! What the lake holds of what is written next: late parts of traces are compared with it before they are written as a new
//! revision, and records without a trace with the latest failures.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::TimestampNanosecondType;
use tracerag_enrich::Flushed;
use tracerag_index::failures::{BEFORE_FAILURES, Before};
use tracerag_index::stored::{Only, each_since};
use tracerag_index::{Head, Lake, stored_rows};
use tracerag_schemas::{Table, time};

use crate::error::Error;

/// What [`tracerag_enrich::revise`] and the extraction of failures ([`tracerag_index::failures::BEFORE_SPANS`]) read of
/// stored spans.
const SPAN_COLUMNS: &[&str] = &[
    "tenant_id",
    "trace_id",
    "span_id",
    "parent_span_id",
    "revision",
    "name",
    "kind",
    "service_name",
    "service_version",
    "deployment_environment_name",
    "start_time",
    "end_time",
    "status_code",
    "http_response_status_code",
    "rpc_status_code",
    "build_git_sha",
    "dropped_attributes_count",
    "dropped_events_count",
    "dropped_links_count",
];

/// What [`tracerag_enrich::revise`] reads of stored log records.
const LOG_COLUMNS: &[&str] = &["tenant_id", "trace_id", "record_hash"];

/// Traces whose failures are looked up at once.
const TRACES_AT_ONCE: usize = 100;
/// Bytes of stored failures that an epoch is compared with, of late traces and of records without one each. What is beyond
/// is as if it were not there: what is told of it again counts.
const MOST_BYTES: usize = 64 << 20;
/// How long before a record without a trace the failure may have been taken of which it tells, in ns; and how much longer
/// where the record was taken long after its own time, as those of files are.
const TAKEN_BEFORE: i64 = 60 * time::SECOND;
const TAKEN_LATE: i64 = 3_600 * time::SECOND;
/// How far their own times may lie apart: a little more than the extraction compares.
const APART: i64 = 2 * time::SECOND;
/// Stretches of time that are looked through; where there are more, the nearest are joined.
const MOST_STRETCHES: usize = 16;
/// Services whose failures are looked up for records without a trace.
const MOST_SERVICES: usize = 1_000;

/// Has all traces of a flush compared with what the lake holds of them: it came from partitions that are not claimed here,
/// or from files that were read before, so the window does not know of it.
pub(super) fn is_of_stored(flushed: &mut Flushed) {
    for closed in &mut flushed.closed {
        closed.fragment = true;
        closed.late = true;
    }
}

/// What the lake holds of the traces of a flush's fragments.
pub(super) struct Stored {
    spans: RecordBatch,
    traces: RecordBatch,
    logs: RecordBatch,
    failures: RecordBatch,
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
        let with_failures: Vec<String> = stored.iter().chain(&logs_alone).cloned().collect();
        let (spans, failures, logs, more_logs) = futures::try_join!(
            stored_rows(lake, &head, Table::Spans, &stored, SPAN_COLUMNS, i64::MIN),
            failures_of(lake, &head, &with_failures),
            stored_rows(lake, &head, Table::Logs, &stored, LOG_COLUMNS, i64::MIN),
            stored_rows(lake, &head, Table::Logs, &logs_alone, LOG_COLUMNS, since),
        )?;
        let logs = concat_batches(&logs.schema(), [&logs, &more_logs])?;
        let failures = concat_batches(&failures[0].schema(), &failures)?;
        Ok(Some(Self { spans, traces, logs, failures }))
    }

    /// Drops what is stored already, and numbers the revisions of what remains.
    pub(super) fn revise(&self, flushed: &mut Flushed) -> Result<(), Error> {
        Ok(tracerag_enrich::revise(flushed, &self.spans, &self.traces, &self.logs)?)
    }

    /// The failures of the traces.
    pub(super) fn failures(&self) -> &RecordBatch {
        &self.failures
    }

    /// What failures are compared with that are found in what remains.
    pub(super) fn before(self) -> Before {
        Before { spans: self.spans, failures: self.failures }
    }
}

/// The failures of traces, in batches. Those of a trace are no more than the trace has bytes, which the window bounds.
async fn failures_of(lake: &Lake, head: &Head, ids: &[String]) -> Result<Vec<RecordBatch>, tracerag_index::Error> {
    let (table, columns) = (Table::Failures, BEFORE_FAILURES);
    let mut found = vec![stored_rows(lake, head, table, &[], &columns, i64::MIN).await?];
    let mut bytes = 0;
    for ids in ids.chunks(TRACES_AT_ONCE) {
        if bytes > MOST_BYTES {
            tracing::warn!(bytes, "some late parts of traces are not compared with their stored failures");
            break;
        }
        let failures = stored_rows(lake, head, table, ids, &columns, i64::MIN).await?;
        bytes += failures.get_array_memory_size();
        found.push(failures);
    }
    Ok(found)
}

/// The stored failures of which failed records without a trace may tell once more; `None` without such records.
pub(super) async fn told_again(lake: &Lake, records: &RecordBatch) -> Result<Option<RecordBatch>, Error> {
    let Some(near) = Near::of(records) else { return Ok(None) };
    let head = lake.newest_head().await?;
    let only = Only::Near { stretches: &near.stretches, services: &near.services };
    let (mut found, mut bytes) = (Vec::new(), 0);
    let take = |batch: RecordBatch| -> Result<bool, Error> {
        bytes += batch.get_array_memory_size();
        found.push(batch);
        Ok(bytes < MOST_BYTES)
    };
    each_since(lake, &head, Table::Failures, (near.since, only), &BEFORE_FAILURES, take).await?;
    if bytes >= MOST_BYTES {
        tracing::warn!(bytes, "some log records without a trace are not compared with all stored failures");
    }
    match found.first() {
        Some(first) => Ok(Some(concat_batches(&first.schema(), &found)?)),
        None => Ok(None),
    }
}

/// Where the failures are that records may tell of.
struct Near {
    since: i64,
    /// First and last times, in ns.
    stretches: Vec<(i64, i64)>,
    services: Vec<String>,
}

impl Near {
    /// `None` where there is nothing to look for.
    fn of(records: &RecordBatch) -> Option<Self> {
        let times = |name| Some(records.column_by_name(name)?.as_primitive_opt::<TimestampNanosecondType>()?.iter());
        // Absent times are stored as 0 by some senders.
        let own = times("time")?.zip(times("observed_time")?);
        let own: Vec<i64> = own.filter_map(|(own, seen)| own.filter(|time| *time != 0).or(seen)).collect();
        let taken = times("ingested_at")?.flatten().min()?;
        let first = own.iter().copied().min()?;
        let services: &StringArray = records.column_by_name("service_name")?.as_string_opt()?;
        let services: BTreeSet<&str> = services.iter().flatten().collect();
        Some(Self {
            since: first.clamp(taken.saturating_sub(TAKEN_LATE), taken).saturating_sub(TAKEN_BEFORE),
            stretches: stretches(own),
            services: services.into_iter().take(MOST_SERVICES).map(str::to_owned).collect(),
        })
    }
}

/// Stretches that hold what lies near these times, in ns: a clock that is wrong by an hour adds a stretch of its own, and
/// not the hour.
fn stretches(mut times: Vec<i64>) -> Vec<(i64, i64)> {
    times.sort_unstable();
    let gaps = times.windows(2).map(|two| two[1].saturating_sub(two[0]));
    let mut gaps: Vec<i64> = gaps.filter(|gap| *gap > 2 * APART).collect();
    gaps.sort_unstable_by_key(|gap| Reverse(*gap));
    let joined = gaps.get(MOST_STRETCHES - 1).copied().unwrap_or(2 * APART);
    let near = times.chunk_by(|a, b| b.saturating_sub(*a) <= joined);
    near.filter_map(|near| Some((near.first()?.saturating_sub(APART), near.last()?.saturating_add(APART)))).collect()
}

fn ids_of(traces: &RecordBatch) -> BTreeSet<String> {
    let ids = traces.column_by_name("trace_id").and_then(|column| column.as_string_opt::<i32>());
    ids.into_iter().flatten().flatten().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use tracerag_schemas::time::SECOND;

    use super::*;

    /// Times of one moment, and of clocks that are wrong. Guarantees that what lies between them is not looked through,
    /// however many clocks are wrong, that no time is left out, and that the number of stretches is bounded.
    #[test]
    fn a_wrong_clock_adds_a_stretch_of_its_own() {
        let now = 1_000_000 * SECOND;
        let hour = 3_600 * SECOND;
        let found = stretches(vec![now + SECOND, now - hour, now]);
        assert_eq!(found, [(now - hour - APART, now - hour + APART), (now - APART, now + SECOND + APART)]);
        let times: Vec<i64> = (0..100).map(|number: i64| now + number * number * 10 * SECOND).collect();
        let found = stretches(times.clone());
        assert_eq!(found.len(), MOST_STRETCHES);
        assert!(times.iter().all(|time| found.iter().any(|(first, last)| (first..=last).contains(&time))));
        assert!(stretches(vec![]).is_empty());
    }
}

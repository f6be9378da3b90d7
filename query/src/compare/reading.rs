//! The rows of the traces that are compared.

use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::{col, lit};
use tracerag_schemas::Table;
use tracerag_schemas::time::{DAY, SECOND};

use super::Depth;
use super::sides::Sides;
use crate::canary::MEMORY;
use crate::error::Result;
use crate::lookup::ById;
use crate::snapshot::{Range, Read, Snapshot, time_literal};

/// How old a point of memory may be when a trace begins, in ns.
pub(super) const POINT_AGE: i64 = 300 * SECOND;

const OF_TRACES: [&str; 4] = ["trace_id", "revision", "flags_in_effect", "builds_in_effect"];
const OF_SPANS: [&str; 14] = [
    "trace_id",
    "span_id",
    "parent_span_id",
    "name",
    "service_name",
    "service_version",
    "service_instance_id",
    "build_git_sha",
    "start_time",
    "end_time",
    "attributes",
    "attributes_types",
    "resource_attributes",
    "resource_attributes_types",
];
const OF_PAYLOADS: [&str; 6] = ["trace_id", "span_id", "direction", "shape", "sample", "redactions"];
const OF_HEAPS: [&str; 4] = ["trace_id", "service_name", "top_types", "top_sites"];
const OF_METRICS: [&str; 5] = ["time", "name", "service_name", "service_instance_id", "value"];

/// What was read.
#[derive(Debug)]
pub(super) struct Rows {
    pub traces: Vec<RecordBatch>,
    pub spans: Vec<RecordBatch>,
    pub payloads: Vec<RecordBatch>,
    pub heaps: Vec<RecordBatch>,
    pub metrics: Vec<RecordBatch>,
}

pub(super) async fn read(snapshot: &Snapshot, sides: &Sides, depth: Depth) -> Result<Rows> {
    let ids: Vec<&str> = sides.failing.iter().chain(&sides.good).map(|member| member.trace_id.as_str()).collect();
    let by_id = || ById::any("trace_id", ids.clone());
    // A span may begin before its trace by what clocks differ by, and after it by as long as a trace takes.
    let days = vec![Range::new("start_time", sides.since.saturating_sub(DAY), sides.until.saturating_add(DAY))];
    let heaps = async {
        match depth.heaps {
            true => snapshot.read_id(Table::Heaps, &OF_HEAPS, by_id()).await,
            false => Ok(vec![]),
        }
    };
    let metrics = async {
        match depth.memory {
            true => memory(snapshot, sides).await,
            false => Ok(vec![]),
        }
    };
    let (traces, spans, payloads, heaps, metrics) = futures::try_join!(
        snapshot.read_id(Table::Traces, &OF_TRACES, by_id().within(days.clone())),
        snapshot.read_id(Table::Spans, &OF_SPANS, by_id().within(days)),
        snapshot.read_id(Table::Payloads, &OF_PAYLOADS, by_id()),
        heaps,
        metrics,
    )?;
    Ok(Rows { traces, spans, payloads, heaps, metrics })
}

/// Memory in the time in which the traces began.
async fn memory(snapshot: &Snapshot, sides: &Sides) -> Result<Vec<RecordBatch>> {
    let starts = || sides.failing.iter().chain(&sides.good).map(|member| member.start);
    let (Some(first), Some(last)) = (starts().min(), starts().max()) else { return Ok(vec![]) };
    let (from, to) = (first.saturating_sub(POINT_AGE), last);
    let names = MEMORY.iter().map(|name| lit(*name)).collect();
    let filter = col("time")
        .gt_eq(time_literal(from))
        .and(col("time").lt_eq(time_literal(to)))
        .and(col("name").in_list(names, false));
    let ranges = vec![Range::new("time", from, to)];
    snapshot.read(Table::Metrics, Read { columns: &OF_METRICS, filter: Some(filter), ranges }).await
}

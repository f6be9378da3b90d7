//! The rows of the traces that are compared, and of what was told beside them.

use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::{Expr, col, lit};
use tracerag_schemas::Table;
use tracerag_schemas::time::{DAY, SECOND};

use super::near::Near;
use super::sides::{AROUND, Sides};
use crate::bundle::HEAPS_AROUND;
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
const OF_HEAPS: [&str; 6] =
    ["trace_id", "service_name", "service_instance_id", "captured_at", "top_types", "top_sites"];
const OF_METRICS: [&str; 7] =
    ["time", "name", "service_name", "service_instance_id", "value", "monotonic", "resource_attributes"];
/// Beginnings of the names of metrics of memory, as the semantic conventions name them and as SDKs named them before: in
/// use, free, and its limits.
const MEMORY: [&str; 18] = [
    "process.memory.",
    "container.memory.",
    "k8s.container.memory.",
    "k8s.pod.memory.",
    "jvm.memory.",
    "jvm.buffer.memory.",
    "go.memory.",
    "v8js.memory.",
    "v8js.heap.",
    "nodejs.memory.",
    "dotnet.process.memory.",
    "dotnet.gc.last_collection.",
    "process.runtime.jvm.memory.",
    "process.runtime.jvm.buffer.",
    "process.runtime.go.mem.",
    "process.runtime.dotnet.gc.",
    "process.runtime.nodejs.memory.",
    "process.runtime.cpython.memory",
];

/// What names the traces.
#[derive(Debug)]
pub(super) struct Rows {
    pub traces: Vec<RecordBatch>,
    pub spans: Vec<RecordBatch>,
    pub payloads: Vec<RecordBatch>,
}

fn ids(sides: &Sides) -> Vec<&str> {
    sides.failing.iter().chain(&sides.good).map(|member| member.trace_id.as_str()).collect()
}

pub(super) async fn read(snapshot: &Snapshot, sides: &Sides) -> Result<Rows> {
    let by_id = || ById::any("trace_id", ids(sides));
    // A span may begin before its trace by what clocks differ by, and after it by as long as a trace takes.
    let days = vec![Range::new("start_time", sides.since.saturating_sub(DAY), sides.until.saturating_add(DAY))];
    let (traces, spans, payloads) = futures::try_join!(
        snapshot.read_id(Table::Traces, &OF_TRACES, by_id().within(days.clone())),
        snapshot.read_id(Table::Spans, &OF_SPANS, by_id().within(days)),
        snapshot.read_id(Table::Payloads, &OF_PAYLOADS, by_id()),
    )?;
    Ok(Rows { traces, spans, payloads })
}

/// Whether a row is of one of the services.
fn is_of(services: &[String]) -> Expr {
    col("service_name").in_list(services.iter().map(|service| lit(service.as_str())).collect(), false)
}

/// Hands out summaries that name one of the traces, and those of the services that name none and were taken while the traces
/// of a time may have run.
pub(super) async fn heaps(
    snapshot: &Snapshot,
    sides: &Sides,
    services: &[String],
    near: Near,
    mut take: impl FnMut(&RecordBatch) -> Result<()>,
) -> Result<()> {
    for batch in snapshot.read_id(Table::Heaps, &OF_HEAPS, ById::any("trace_id", ids(sides))).await? {
        take(&batch)?;
    }
    if services.is_empty() {
        return Ok(());
    }
    let (from, to) = (near.from.saturating_sub(HEAPS_AROUND), near.to.saturating_add(AROUND + HEAPS_AROUND));
    let filter = col("captured_at")
        .gt_eq(time_literal(from))
        .and(col("captured_at").lt_eq(time_literal(to)))
        .and(col("trace_id").is_null())
        .and(is_of(services));
    snapshot.each(Table::Heaps, Read { columns: &OF_HEAPS, filter: Some(filter), ranges: vec![] }, take).await
}

/// Hands out points of memory of the services, and of what has none, in the time in which the traces began.
pub(super) async fn memory(
    snapshot: &Snapshot,
    services: &[String],
    near: Near,
    take: impl FnMut(&RecordBatch) -> Result<()>,
) -> Result<()> {
    let (from, to) = (near.from.saturating_sub(POINT_AGE), near.to);
    // `/` comes after `.`, so this is what begins so.
    let begins = |with: &&'static str| {
        let end = format!("{}/", with.trim_end_matches('.'));
        col("name").gt_eq(lit(*with)).and(col("name").lt(lit(end)))
    };
    let Some(is_memory) = MEMORY.iter().map(begins).reduce(Expr::or) else { return Ok(()) };
    let of_infrastructure = col("service_name").is_null();
    let is_theirs = match services.is_empty() {
        true => of_infrastructure,
        false => is_of(services).or(of_infrastructure),
    };
    let filter =
        col("time").gt_eq(time_literal(from)).and(col("time").lt_eq(time_literal(to))).and(is_memory).and(is_theirs);
    let ranges = vec![Range::new("time", from, to)];
    snapshot.each(Table::Metrics, Read { columns: &OF_METRICS, filter: Some(filter), ranges }, take).await
}

//! Heap summaries: by ids, else of the trace's services and instances around its time.

use arrow::array::Array;
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::{col, lit};
use tracerag_schemas::Table;
use tracerag_schemas::anchor::{Anchor, Target};
use tracerag_schemas::bundle::{Heap, HeapSite, HeapType};
use tracerag_schemas::time::SECOND;

use super::failures::code;
use super::footprint::Footprint;
use super::origin::{Origin, Origins};
use super::trace::TraceRow;
use super::{OmittedBy, omit};
use crate::error::Result;
use crate::lookup::ById;
use crate::rows::{Columns, instant, items, number, owned, text, texts, truth};
use crate::snapshot::{Range, Read, Snapshot, time_literal};

/// How far from the trace a summary without ids may have been captured, in ns.
pub(crate) const AROUND: i64 = 300 * SECOND;
/// Summaries without ids in one bundle.
const MAX_BY_TIME: usize = 20;

const COLUMNS: [&str; 18] = [
    "trace_id",
    "span_id",
    "captured_at",
    "service_name",
    "service_instance_id",
    "git_sha",
    "format",
    "top_types",
    "top_sites",
    "retained_paths",
    "total_bytes",
    "snapshot_uri",
    "snapshot_sha256",
    "truncated",
    "kafka_topic",
    "kafka_partition",
    "kafka_offset",
    "ingested_at",
];

struct Draft {
    heap: Heap,
    captured_at: i64,
    /// Tells summaries apart that say the same of themselves.
    origin: Origin,
    late: bool,
}

/// Summaries that name the trace.
pub(super) async fn by_ids(snapshot: &Snapshot, trace_id: &str) -> Result<Vec<RecordBatch>> {
    snapshot.read_id(Table::Heaps, &COLUMNS, ById::one("trace_id", trace_id)).await
}

/// Summaries that name no trace, of the trace's services and around its time.
pub(super) async fn by_time(snapshot: &Snapshot, trace: &TraceRow) -> Result<Vec<RecordBatch>> {
    if trace.services().is_empty() {
        return Ok(vec![]);
    }
    let services = trace.services().iter().map(|service| lit(service.as_str())).collect();
    let (from, to) = (trace.start.saturating_sub(AROUND), trace.end.saturating_add(AROUND));
    let filter = col("captured_at")
        .gt_eq(time_literal(from))
        .and(col("captured_at").lt_eq(time_literal(to)))
        .and(col("trace_id").is_null())
        .and(col("service_name").in_list(services, false));
    let ranges = vec![Range::new("captured_at", from, to)];
    snapshot.read(Table::Heaps, Read { columns: &COLUMNS, filter: Some(filter), ranges }).await
}

/// Summaries that are evidence, and those that came too late to be.
pub(super) fn assemble(
    batches: &[RecordBatch],
    trace: &TraceRow,
    footprint: &Footprint,
    omitted: &mut OmittedBy,
) -> Result<(Vec<Heap>, Vec<Heap>)> {
    let mut drafts = Vec::new();
    for batch in batches {
        draft(batch, trace, footprint, &mut drafts)?;
    }
    let (mut late, early): (Vec<_>, Vec<_>) = drafts.into_iter().partition(|draft| draft.late);
    let (mut by_time, mut kept): (Vec<_>, Vec<_>) = early.into_iter().partition(|draft| draft.heap.joined_by == "time");
    // The captures nearest to the trace say most about it.
    let middle = trace.start + (trace.end - trace.start) / 2;
    by_time.sort_by_key(|draft| (draft.captured_at.abs_diff(middle), order(draft)));
    omit(
        omitted,
        "heaps",
        by_time.len().saturating_sub(MAX_BY_TIME),
        "the bundle holds 20 summaries without ids, the nearest in time",
    );
    by_time.truncate(MAX_BY_TIME);
    kept.extend(by_time);
    kept.sort_by_key(order);
    late.sort_by_key(order);
    let heaps = (0..)
        .zip(kept)
        .map(|(number, Draft { mut heap, .. })| {
            heap.anchor = Anchor::first(Target::Heap(number)).to_string();
            heap
        })
        .collect();
    Ok((heaps, late.into_iter().map(|draft| draft.heap).collect()))
}

fn order(draft: &Draft) -> impl Ord + use<> {
    let heap = &draft.heap;
    (
        draft.captured_at,
        heap.service.clone(),
        heap.instance.clone(),
        heap.span_id.clone(),
        heap.snapshot_sha256.clone(),
        heap.total_bytes,
        draft.origin.clone(),
    )
}

fn draft(batch: &RecordBatch, trace: &TraceRow, footprint: &Footprint, drafts: &mut Vec<Draft>) -> Result<()> {
    let columns = Columns::of("heaps", batch);
    let get = |name| columns.text(name);
    let (traces, spans, captured) = (get("trace_id")?, get("span_id")?, columns.time("captured_at")?);
    let (services, instances) = (get("service_name")?, get("service_instance_id")?);
    let (commits, formats) = (get("git_sha")?, get("format")?);
    let (uris, digests) = (get("snapshot_uri")?, get("snapshot_sha256")?);
    let (totals, truncated) = (columns.int("total_bytes")?, columns.boolean("truncated")?);
    let (ingested, origins) = (columns.time("ingested_at")?, Origins::of_columns(columns)?);
    for row in 0..batch.num_rows() {
        let captured_at = number(captured, row).unwrap_or_default();
        let joined_by = if text(traces, row).is_some() {
            "ids"
        } else if footprint.covers(text(services, row), text(instances, row), captured_at, AROUND) {
            "time"
        } else {
            continue;
        };
        let sha = owned(commits, row);
        let heap = Heap {
            anchor: String::new(),
            trace_id: owned(traces, row),
            span_id: owned(spans, row),
            captured_at: instant(captured, row),
            service: owned(services, row),
            instance: owned(instances, row),
            format: owned(formats, row),
            joined_by: joined_by.to_owned(),
            top_types: types(columns, row)?,
            top_sites: sites(columns, row, sha.as_deref())?,
            git_sha: sha,
            retained_paths: paths(columns, row)?,
            total_bytes: number(totals, row),
            snapshot_uri: owned(uris, row),
            snapshot_sha256: owned(digests, row),
            truncated: truth(truncated, row),
        };
        let late = number(ingested, row).is_some_and(|ingested| ingested > trace.limit);
        drafts.push(Draft { heap, captured_at, origin: origins.of(row), late });
    }
    Ok(())
}

fn types(columns: Columns<'_>, row: usize) -> Result<Vec<HeapType>> {
    let list = columns.list("top_types")?;
    let fields = columns.items(list, "top_types")?;
    let (names, bytes, counts) = (fields.text("type")?, fields.int("bytes")?, fields.int("count")?);
    Ok(items(list, row)
        .map(|item| HeapType { r#type: owned(names, item), bytes: number(bytes, item), count: number(counts, item) })
        .collect())
}

fn sites(columns: Columns<'_>, row: usize, sha: Option<&str>) -> Result<Vec<HeapSite>> {
    let list = columns.list("top_sites")?;
    let fields = columns.items(list, "top_sites")?;
    let (functions, files, lines) = (fields.text("function")?, fields.text("file")?, fields.int("line")?);
    let (bytes, counts) = (fields.int("bytes")?, fields.int("count")?);
    Ok(items(list, row)
        .map(|item| {
            let (file, line) = (owned(files, item), number(lines, item));
            HeapSite {
                function: owned(functions, item),
                anchor: code(file.as_deref(), line, sha),
                file,
                line,
                bytes: number(bytes, item),
                count: number(counts, item),
            }
        })
        .collect())
}

fn paths(columns: Columns<'_>, row: usize) -> Result<Vec<Vec<String>>> {
    let list = columns.list("retained_paths")?;
    let Some(paths) = list.values().as_any().downcast_ref() else { return Ok(vec![]) };
    Ok(items(list, row).map(|item| texts(paths, item)).collect())
}

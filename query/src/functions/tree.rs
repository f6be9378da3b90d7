//! `trace_tree(trace_id)`: the spans of a trace in tree order.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, BooleanArray, Int32Array, Int64Array, UInt64Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use tracerag_index::tree::{TreeSpan, places};
use tracerag_schemas::Table;

use super::arguments::Arguments;
use crate::bundle::{trace_id, why_absent};
use crate::error::Result;
use crate::lookup::ById;
use crate::rows::{Columns, number, text};
use crate::snapshot::Snapshot;

/// Columns of `spans` that the tree shows as they are.
const COLUMNS: [&str; 13] = [
    "trace_id",
    "span_id",
    "parent_span_id",
    "name",
    "kind",
    "service_name",
    "service_version",
    "service_instance_id",
    "start_time",
    "end_time",
    "duration_ns",
    "status_code",
    "status_message",
];

pub(super) fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let spans = Table::Spans.lake_schema();
        let shown = spans.fields().iter().filter(|field| COLUMNS.contains(&field.name().as_str())).cloned();
        let mut fields: Vec<_> = shown.collect();
        fields.extend([
            Arc::new(Field::new("depth", DataType::Int32, false)),
            Arc::new(Field::new("self_time_ns", DataType::Int64, false)),
            Arc::new(Field::new("on_critical_path", DataType::Boolean, false)),
        ]);
        Arc::new(Schema::new(fields))
    });
    Arc::clone(&SCHEMA)
}

pub(super) async fn call(snapshot: &Snapshot, arguments: &Arguments) -> Result<RecordBatch> {
    let id = trace_id(arguments.text(0, "trace_id")?)?;
    let of_trace = || ById::one("trace_id", &id);
    let (spans, traces) = futures::try_join!(
        snapshot.read_id(Table::Spans, &COLUMNS, of_trace()),
        snapshot.read_id(Table::Traces, &["revision", "root_span_id"], of_trace()),
    )?;
    let Some(first) = spans.first() else { return Err(why_absent(snapshot, &id).await?) };
    let rows = concat_batches(&first.schema(), &spans)?;
    let root = newest_root(&traces)?;
    let columns = Columns::of("spans", &rows);
    let (ids, parents) = (columns.text("span_id")?, columns.text("parent_span_id")?);
    let (starts, ends) = (columns.time("start_time")?, columns.time("end_time")?);
    let tree: Vec<TreeSpan<'_>> = (0..rows.num_rows())
        .map(|row| {
            let start = number(starts, row).unwrap_or_default();
            TreeSpan {
                span_id: text(ids, row).unwrap_or_default(),
                parent_span_id: text(parents, row),
                start,
                end: number(ends, row).unwrap_or(start),
            }
        })
        .collect();
    let places = places(&tree, root.as_deref());
    let order = UInt64Array::from_iter_values(places.iter().map(|place| place.span as u64));
    let ordered = take_record_batch(&rows.project(&shown(&rows)?)?, &order)?;
    let mut arrays: Vec<ArrayRef> = ordered.columns().to_vec();
    let depths = places.iter().map(|place| i32::try_from(place.depth).unwrap_or(i32::MAX));
    arrays.push(Arc::new(Int32Array::from_iter_values(depths)));
    arrays.push(Arc::new(Int64Array::from_iter_values(places.iter().map(|place| place.self_time_ns))));
    arrays.push(Arc::new(BooleanArray::from_iter(places.iter().map(|place| Some(place.on_critical_path)))));
    Ok(RecordBatch::try_new(schema(), arrays)?)
}

/// Indices of the shown columns, in the order of the answer's schema.
fn shown(rows: &RecordBatch) -> Result<Vec<usize>> {
    let schema = schema();
    let stored = schema.fields().iter().take(COLUMNS.len());
    Ok(stored.map(|field| rows.schema().index_of(field.name())).collect::<Result<_, _>>()?)
}

fn newest_root(traces: &[RecordBatch]) -> Result<Option<String>> {
    let mut newest: Option<(i32, Option<String>)> = None;
    for batch in traces {
        let columns = Columns::of("traces", batch);
        let (revisions, roots) = (columns.code("revision")?, columns.text("root_span_id")?);
        for row in 0..batch.num_rows() {
            let revision = number(revisions, row).unwrap_or_default();
            if newest.as_ref().is_none_or(|(known, _)| revision > *known) {
                newest = Some((revision, text(roots, row).map(str::to_owned)));
            }
        }
    }
    Ok(newest.and_then(|(_, root)| root))
}

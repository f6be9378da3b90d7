//! Shapes and samples of payloads, by span and direction.

use arrow::record_batch::RecordBatch;
use serde_json::Value;
use tracerag_schemas::Table;
use tracerag_schemas::anchor::{Anchors, Target};
use tracerag_schemas::bundle::Payload;

use super::trace::TraceRow;
use crate::error::Result;
use crate::lookup::ById;
use crate::rows::{Columns, number, owned, texts};
use crate::snapshot::Snapshot;

const COLUMNS: [&str; 8] =
    ["span_id", "direction", "content_type", "shape", "sample", "redactions", "size_bytes", "ingested_at"];

/// Payloads of a trace. They are read while the trace's own row is looked up, so those that came too late
/// are among them.
pub(super) async fn read(snapshot: &Snapshot, trace_id: &str) -> Result<Vec<RecordBatch>> {
    snapshot.read_id(Table::Payloads, &COLUMNS, ById::one("trace_id", trace_id)).await
}

pub(super) fn assemble(batches: &[RecordBatch], trace: &TraceRow, anchors: &mut Anchors) -> Result<Vec<Payload>> {
    let mut payloads = Vec::new();
    for batch in batches {
        let columns = Columns::of("payloads", batch);
        let text = |name| columns.text(name);
        let (spans, directions, types) = (text("span_id")?, text("direction")?, text("content_type")?);
        let (shapes, samples) = (text("shape")?, text("sample")?);
        let (redactions, sizes) = (columns.list("redactions")?, columns.int("size_bytes")?);
        let ingested = columns.time("ingested_at")?;
        for row in 0..batch.num_rows() {
            if number(ingested, row).is_none_or(|time| time > trace.limit) {
                continue;
            }
            let mut redactions = texts(redactions, row);
            redactions.sort();
            payloads.push(Payload {
                anchor: String::new(),
                span_id: owned(spans, row),
                direction: owned(directions, row),
                content_type: owned(types, row),
                shape: document(owned(shapes, row)),
                sample: document(owned(samples, row)),
                redactions,
                size_bytes: number(sizes, row),
            });
        }
    }
    payloads.sort_by_key(|payload| (order(payload), payload.redactions.clone()));
    // A sender's retry, and a span and a log record that carry one payload, tell of it twice.
    payloads.dedup_by(|again, known| order(again) == order(known));
    for payload in &mut payloads {
        let target = Target::Payload {
            span_id: payload.span_id.clone().unwrap_or_else(|| "unknown".to_owned()),
            direction: payload.direction.clone().unwrap_or_else(|| "unknown".to_owned()),
            pointer: None,
        };
        payload.anchor = anchors.next(target).to_string();
    }
    Ok(payloads)
}

fn order(payload: &Payload) -> impl Ord + use<> {
    (
        payload.span_id.clone(),
        payload.direction.clone(),
        payload.content_type.clone(),
        payload.size_bytes,
        payload.shape.to_string(),
        payload.sample.to_string(),
    )
}

/// JSON text as the document it is; what is no JSON stays text.
fn document(text: Option<String>) -> Value {
    match text {
        Some(text) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        None => Value::Null,
    }
}

//! Payloads of requests: what stands at each pointer, among the traces of which such a payload was kept.

use std::collections::{BTreeMap, BTreeSet};

use arrow::record_batch::RecordBatch;
use serde_json::Value;
use tracerag_schemas::anchor::{Anchor, Target};

use super::Traces;
use super::payload::{ABSENT, Shape, shape};
use super::spans::Spans;
use crate::compare::consequence::is_answer;
use crate::compare::variables::{Kind, Variables};
use crate::error::Result;
use crate::rows::{Columns, text, texts};

/// A payload of one trace.
struct Kept {
    trace: u32,
    span_id: String,
    direction: String,
    shape: Shape,
}

pub(super) fn observe(
    variables: &mut Variables,
    traces: &Traces<'_>,
    spans: &Spans,
    batches: &[RecordBatch],
) -> Result<()> {
    for (of, kept) in by_operation(traces, spans, batches)? {
        let pointers: BTreeSet<&String> = kept.iter().flat_map(|kept| kept.shape.keys()).collect();
        for pointer in pointers {
            let name = format!("{of} {pointer}");
            for payload in &kept {
                let anchor = |pointer: Option<&String>| {
                    Some(Anchor::first(Target::Payload {
                        span_id: payload.span_id.clone(),
                        direction: payload.direction.clone(),
                        pointer: pointer.cloned(),
                    }))
                };
                match payload.shape.get(pointer) {
                    Some(said) => {
                        for text in said {
                            variables.say(Kind::Payload, &name, payload.trace, text, || anchor(Some(pointer)));
                        }
                    }
                    None => variables.say(Kind::Payload, &name, payload.trace, ABSENT, || anchor(None)),
                }
            }
        }
    }
    Ok(())
}

/// Payloads by what they were sent to: the service, the name of the span, and the direction.
fn by_operation(traces: &Traces<'_>, spans: &Spans, batches: &[RecordBatch]) -> Result<BTreeMap<String, Vec<Kept>>> {
    let mut kept: BTreeMap<String, Vec<Kept>> = BTreeMap::new();
    for batch in batches {
        let columns = Columns::of("payloads", batch);
        let (ids, span_ids, directions) =
            (columns.text("trace_id")?, columns.text("span_id")?, columns.text("direction")?);
        let (shapes, samples, redactions) =
            (columns.text("shape")?, columns.text("sample")?, columns.list("redactions")?);
        for row in 0..batch.num_rows() {
            let Some(trace) = traces.number(text(ids, row)) else { continue };
            let (span_id, direction) =
                (text(span_ids, row).unwrap_or_default(), text(directions, row).unwrap_or_default());
            if is_answer(direction) {
                continue;
            }
            let of = match spans.named(trace, span_id) {
                Some(span) => format!("{} {} {direction}", span.service, span.name),
                None => direction.to_owned(),
            };
            let json =
                |text: Option<&str>| text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null);
            let shape = shape(&json(text(shapes, row)), &json(text(samples, row)), &texts(redactions, row));
            if !shape.is_empty() {
                let payload = Kept { trace, span_id: span_id.to_owned(), direction: direction.to_owned(), shape };
                kept.entry(of).or_default().push(payload);
            }
        }
    }
    Ok(kept)
}

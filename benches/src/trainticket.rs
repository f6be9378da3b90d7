//! Real telemetry, many times over: OTLP/JSON lines as the Collector's file exporter writes them, each copy with
//! trace ids of its own, in messages as its batch processor and Kafka exporter make them.

use std::collections::HashSet;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use crate::rich::Messages;

/// Spans that a message holds at least: the trigger of the Collector's batch processor.
const SPANS_PER_MESSAGE: usize = 8_192;

/// The spans of a file of OTLP/JSON lines (`.zst`), `copies` times.
///
/// # Errors
/// When the file cannot be read or a line is no OTLP/JSON.
pub fn messages(path: &Path, copies: u64) -> Result<Messages, Box<dyn Error>> {
    let lines = BufReader::new(zstd::Decoder::new(File::open(path)?)?).lines();
    let mut batches = Vec::new();
    let mut batch = ExportTraceServiceRequest::default();
    for line in lines {
        let line: ExportTraceServiceRequest = serde_json::from_str(&line?)?;
        batch.resource_spans.extend(line.resource_spans);
        if count(&batch) >= SPANS_PER_MESSAGE {
            batches.push(std::mem::take(&mut batch));
        }
    }
    batches.push(batch);
    let spans = batches.iter().map(count).sum::<usize>() * copies as usize;
    let ids: HashSet<(&[u8], &[u8])> =
        batches.iter().flat_map(all).map(|span| (&span.trace_id[..], &span.span_id[..])).collect();
    let distinct = ids.len() * copies as usize;
    let mut encoded = Vec::new();
    for copy in 0..copies {
        for batch in &mut batches {
            renumber(batch, copy);
            encoded.push(batch.encode_to_vec());
            renumber(batch, copy);
        }
    }
    let bytes = encoded.iter().map(Vec::len).sum();
    Ok(Messages { encoded, spans, distinct, bytes })
}

fn all(batch: &ExportTraceServiceRequest) -> impl Iterator<Item = &Span> {
    batch.resource_spans.iter().flat_map(|resource| &resource.scope_spans).flat_map(|scope| &scope.spans)
}

fn count(batch: &ExportTraceServiceRequest) -> usize {
    all(batch).count()
}

/// Mixes the copy's number into all trace ids; done twice it undoes itself.
fn renumber(batch: &mut ExportTraceServiceRequest, copy: u64) {
    let scopes = batch.resource_spans.iter_mut().flat_map(|resource| &mut resource.scope_spans);
    for span in scopes.flat_map(|scope| &mut scope.spans) {
        for (byte, mixed) in span.trace_id.iter_mut().zip(copy.to_be_bytes()) {
            *byte ^= mixed;
        }
    }
}

//! From drawn failures to rows of `failures`, by the program's own decoder and stages.

use std::sync::Arc;

use arrow::array::{AsArray as _, RecordBatch};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;
use tracerag_index::failures::{FailureRules, extract, suspects};
use tracerag_ingest::otlp::{DecoderConfig, Encoding, Message, OtlpDecoder, Signal};
use tracerag_ingest::redact::Policy;
use tracerag_schemas::Table;

use super::drawn::Failure;
use super::stacks::{exception_type, stack};
use crate::Outcome;
use crate::decoding::redactor;
use crate::rich::text;

/// Failures that are decoded and looked at together: about an epoch under load.
const BATCH: usize = 10_000;
/// Time of the first one: 2026-11-23 at noon, in ns; one a millisecond follows.
const NOON: u64 = 1_795_435_200_000_000_000;
const MILLISECOND: u64 = 1_000_000;

/// Spans in flight, each the only one of its trace, with one of the failures. Failures stand in the order of their traces'
/// ids.
pub(super) fn spans(failures: &[Failure]) -> Outcome<Vec<RecordBatch>> {
    let mut decoder = OtlpDecoder::new(DecoderConfig::new(Arc::new(redactor(Policy::Standard)?)));
    let mut batches = Vec::new();
    for (number, failures) in failures.chunks(BATCH).enumerate() {
        let requests =
            (0..).zip(failures).map(|(place, failure)| request(failure, (number * BATCH) as u64 + place)).collect();
        let value = ExportTraceServiceRequest { resource_spans: requests }.encode_to_vec();
        let message = Message {
            value: &value,
            topic: "otlp_spans",
            partition: 0,
            offset: number as i64,
            tenant: "default",
            timestamp_ns: 1,
            ingested_at: 1,
            headers: &[],
        };
        decoder.decode(Signal::Spans, Encoding::Proto, message)?;
        batches.push(decoder.finish()?.spans.ok_or("no span was decoded")?);
    }
    Ok(batches)
}

/// The rows of `failures` of spans in flight: looked for, taken apart, masked and given their fingerprints.
pub(super) fn rows(spans: &RecordBatch, rules: &FailureRules) -> Outcome<RecordBatch> {
    let logs = RecordBatch::new_empty(Table::Logs.in_flight_schema());
    let traces = RecordBatch::new_empty(Table::Traces.lake_schema());
    let suspects = suspects(spans, &logs)?;
    Ok(extract(&suspects.spans, &suspects.logs, &traces, rules)?.failures)
}

/// The fingerprint of each failure, in their order.
pub(super) fn fingerprints(failures: &[Failure]) -> Outcome<Vec<String>> {
    let mut found: Vec<(String, String)> = Vec::with_capacity(failures.len());
    for batch in spans(failures)? {
        let rows = rows(&batch, &FailureRules::default())?;
        let column = |name: &str| {
            let column = rows.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
            column.ok_or_else(|| format!("failures have no column {name}"))
        };
        let pairs = column("trace_id")?.iter().zip(column("fingerprint")?);
        found.extend(pairs.filter_map(|(trace, print)| Some((trace?.to_owned(), print?.to_owned()))));
    }
    if found.len() != failures.len() {
        return Err(format!("{} failures became {} rows", failures.len(), found.len()).into());
    }
    found.sort();
    Ok(found.into_iter().map(|(_, print)| print).collect())
}

fn request(failure: &Failure, number: u64) -> ResourceSpans {
    let at = NOON + number * MILLISECOND;
    // Numbers and ids are in messages, and are no part of what failed.
    let order = number.wrapping_mul(7_919) % 100_000;
    let message = format!("the {} {} (order {order})", failure.noun, failure.state);
    let mut attributes = vec![text("exception.type", &exception_type(failure)), text("exception.message", &message)];
    if failure.has_stack {
        attributes.push(text("exception.stacktrace", &stack(failure, &message)));
    }
    let event = Event { time_unix_nano: at + 1, name: String::from("exception"), attributes, ..Event::default() };
    let span = Span {
        trace_id: u128::from(number + 1).to_be_bytes().to_vec(),
        span_id: (number + 1).to_be_bytes().to_vec(),
        name: String::from("process"),
        kind: 2,
        start_time_unix_nano: at,
        end_time_unix_nano: at + MILLISECOND,
        events: vec![event],
        status: Some(Status { code: 2, message: String::new() }),
        ..Span::default()
    };
    ResourceSpans {
        resource: Some(Resource { attributes: vec![text("service.name", failure.service)], ..Resource::default() }),
        scope_spans: vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    }
}

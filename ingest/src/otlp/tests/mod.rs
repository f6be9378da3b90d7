//! The decoder against generated requests, real messages of a Collector, and single rules.
#![allow(clippy::unwrap_used)]

mod corpus;
pub(crate) mod generate;
mod json;
mod planted;
pub(crate) mod properties;
mod redaction;
mod rules;

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampNanosecondType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use tracerag_schemas::{Table, in_flight};

use super::{DecodeError, DecodedBatches, DecoderConfig, Encoding, Message, OtlpDecoder, Signal};
use crate::redact::{PayloadConfig, Policy, RedactionConfig, Redactor};

fn redactor(policy: Policy) -> Arc<Redactor> {
    let config = RedactionConfig { policy, key: "a key of the tests, long enough".into(), ..Default::default() };
    Arc::new(Redactor::new(&config, &PayloadConfig::default()).unwrap())
}

fn decoder(policy: Policy) -> OtlpDecoder {
    OtlpDecoder::new(DecoderConfig::new(redactor(policy)))
}

fn message(value: &[u8]) -> Message<'_> {
    Message {
        value,
        topic: "t",
        partition: 3,
        offset: 7,
        tenant: "acme",
        timestamp_ns: 99,
        ingested_at: 100,
        headers: &[],
    }
}

fn decode_with(
    policy: Policy,
    signal: Signal,
    encoding: Encoding,
    value: &[u8],
) -> Result<DecodedBatches, DecodeError> {
    let mut decoder = decoder(policy);
    decoder.decode(signal, encoding, message(value))?;
    decoder.finish()
}

fn decode(signal: Signal, value: &[u8]) -> DecodedBatches {
    decode_with(Policy::Standard, signal, Encoding::Proto, value).unwrap()
}

fn lake(table: Table, batch: &RecordBatch) -> RecordBatch {
    in_flight::materialize(batch, &table.lake_schema()).unwrap()
}

fn string(value: &str) -> Value {
    Value::StringValue(value.to_owned())
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}

/// A valid span with these attributes.
fn span(attributes: Vec<KeyValue>) -> Span {
    Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: "op".into(),
        start_time_unix_nano: 10,
        end_time_unix_nano: 25,
        attributes,
        ..Default::default()
    }
}

fn request(resource: Vec<KeyValue>, spans: Vec<Span>) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource { attributes: resource, ..Default::default() }),
            scope_spans: vec![ScopeSpans { spans, ..Default::default() }],
            schema_url: String::new(),
        }],
    }
}

/// One span, decoded, in the lake's schema.
fn one_span(resource: Vec<KeyValue>, span: Span) -> RecordBatch {
    let batches = decode(Signal::Spans, &request(resource, vec![span]).encode_to_vec());
    lake(Table::Spans, &batches.spans.unwrap())
}

/// A cell as text; null is `None`.
fn cell(batch: &RecordBatch, column: &str, row: usize) -> Option<String> {
    let mut column = Arc::clone(batch.column_by_name(column).unwrap());
    if let Some(times) = column.as_primitive_opt::<TimestampNanosecondType>() {
        // Printing a named time zone takes a feature of Arrow that nothing else needs.
        column = Arc::new(times.clone().with_timezone_opt(None::<&str>));
    }
    let formatter = ArrayFormatter::try_new(&column, &FormatOptions::default()).unwrap();
    column.is_valid(row).then(|| formatter.value(row).to_string())
}

/// The entries of a map.
fn entries(batch: &RecordBatch, column: &str, row: usize) -> Vec<(String, Option<String>)> {
    let map = batch.column_by_name(column).unwrap().as_map().value(row);
    let (keys, values) = (map.column(0).as_string::<i32>(), map.column(1).as_string::<i32>());
    (0..map.len())
        .map(|entry| (keys.value(entry).to_owned(), values.is_valid(entry).then(|| values.value(entry).to_owned())))
        .collect()
}

fn entry(batch: &RecordBatch, column: &str, key: &str) -> Option<String> {
    entries(batch, column, 0).into_iter().find(|(name, _)| name == key).and_then(|(_, value)| value)
}

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::{Array, ArrayData, AsArray, StringArray, make_array};
use arrow::datatypes::{DataType, Field, Fields, Schema};
use serde_json::{Value, json};
use tracerag_schemas::Table;

use super::*;

mod forms;
mod grouping;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// A batch of `table` in the lake's schema from JSON rows; what a row does not name is null.
fn batch(table: Table, rows: &[Value]) -> RecordBatch {
    // Arrow's JSON reader knows zones by offset only.
    let schema = table.lake_schema();
    let fields: Vec<Field> = schema.fields().iter().map(|field| with_offset(field)).collect();
    let mut decoder = arrow::json::ReaderBuilder::new(Arc::new(Schema::new(fields))).build_decoder().unwrap();
    decoder.serialize(rows).unwrap();
    let Some(read) = decoder.flush().unwrap() else {
        return RecordBatch::new_empty(schema);
    };
    let columns = read
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| make_array(retyped(column.to_data(), field.data_type())))
        .collect();
    RecordBatch::try_new(schema, columns).unwrap()
}

fn with_offset(field: &Field) -> Field {
    let fields = |fields: &Fields| fields.iter().map(|field| with_offset(field)).collect();
    let data_type = match field.data_type() {
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some(Arc::from("+00:00"))),
        DataType::List(item) => DataType::List(Arc::new(with_offset(item))),
        DataType::Struct(inner) => DataType::Struct(fields(inner)),
        other => other.clone(),
    };
    field.clone().with_data_type(data_type)
}

/// The same buffers under the type `wanted`.
fn retyped(data: ArrayData, wanted: &DataType) -> ArrayData {
    let wanted_children: Vec<DataType> = match wanted {
        DataType::List(item) | DataType::Map(item, _) => vec![item.data_type().clone()],
        DataType::Struct(fields) => fields.iter().map(|field| field.data_type().clone()).collect(),
        _ => Vec::new(),
    };
    let children =
        data.child_data().iter().cloned().zip(&wanted_children).map(|(child, wanted)| retyped(child, wanted)).collect();
    data.into_builder().data_type(wanted.clone()).child_data(children).build().unwrap()
}

/// A span of service `checkout` in [`TRACE`] with `more` on top.
fn span(id: &str, parent: Option<&str>, more: Value) -> Value {
    let mut span = json!({
        "tenant_id": "default", "trace_id": TRACE, "span_id": id, "parent_span_id": parent, "revision": 1, "name": format!("op {id}"), "kind": "INTERNAL",
        "service_name": "checkout", "start_time": "2026-11-16T12:00:00Z", "end_time": "2026-11-16T12:00:01Z", "status_code": "UNSET", "events": [],
        "attributes": {}, "kafka_topic": "otlp_spans", "kafka_partition": 3, "kafka_offset": 17, "ingested_at": "2026-11-16T12:00:05Z",
    });
    span.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    span
}

fn log(span: Option<&str>, severity: i32, body: &str, more: Value) -> Value {
    let mut log = json!({
        "tenant_id": "default", "trace_id": TRACE, "span_id": span, "revision": 1, "time": "2026-11-16T12:00:00.5Z", "severity_number": severity, "body": body,
        "service_name": "checkout", "attributes": {}, "resource_attributes": {}, "ingested_at": "2026-11-16T12:00:06Z",
    });
    log.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    log
}

fn exception(kind: &str, message: &str, stack: &str) -> Value {
    json!([{"time": "2026-11-16T12:00:00.25Z", "name": "exception", "attributes": {
        "exception.type": kind, "exception.message": message, "exception.stacktrace": stack, "exception.escaped": "False"}}])
}

fn run(spans: &[Value], logs: &[Value], traces: &[Value]) -> Extracted {
    extract(
        &batch(Table::Spans, spans),
        &batch(Table::Logs, logs),
        &batch(Table::Traces, traces),
        &FailureRules::default(),
    )
    .unwrap()
}

fn column(batch: &RecordBatch, name: &str) -> Vec<Option<String>> {
    let texts: &StringArray = batch.column_by_name(name).unwrap().as_string();
    texts.iter().map(|text| text.map(str::to_owned)).collect()
}

/// `kind span type: message` of each failure.
fn told(found: &Extracted) -> Vec<String> {
    let [kind, span, of, message] =
        ["kind", "span_id", "exception_type", "message"].map(|name| column(&found.failures, name));
    (0..kind.len())
        .map(|row| {
            let text = |column: &[Option<String>]| column[row].clone().unwrap_or_else(|| "-".to_owned());
            format!("{} {} {}: {}", text(&kind), text(&span), text(&of), text(&message))
        })
        .collect()
}

const JAVA: &str = "a.B: x\n\tat payments.Rounding.half(Rounding.java:117)\n\tat org.springframework.X.y(X.java:1)";

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, DictionaryArray, FixedSizeBinaryArray, Int32Array, StringArray, make_array,
};
use arrow::datatypes::{DataType, Field, Fields, Schema};
use serde_json::{Value, json};
use tracerag_schemas::Table;
use tracerag_schemas::in_flight::materialize;

use super::*;

mod alone;
mod forms;
mod grouping;
mod origins;
mod revisions;
mod stored;
mod waiting;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// A batch of `table` in the lake's schema from JSON rows; what a row does not name is null.
pub(crate) fn batch(table: Table, rows: &[Value]) -> RecordBatch {
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
pub(crate) fn span(id: &str, parent: Option<&str>, more: Value) -> Value {
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

pub(crate) fn exception(kind: &str, message: &str, stack: &str) -> Value {
    json!([{"time": "2026-11-16T12:00:00.25Z", "name": "exception", "attributes": {
        "exception.type": kind, "exception.message": message, "exception.stacktrace": stack, "exception.escaped": "False"}}])
}

/// The failures of these rows. That nothing is missed where only suspects are looked at, and that the stored rows hold
/// what their fingerprints are made of, is checked with each of them.
fn run(spans: &[Value], logs: &[Value], traces: &[Value]) -> Extracted {
    let (spans, logs) = (batch(Table::Spans, spans), batch(Table::Logs, logs));
    let (traces, rules) = (batch(Table::Traces, traces), FailureRules::default());
    let [in_flight_spans, in_flight_logs] = [in_flight(Table::Spans, &spans), in_flight(Table::Logs, &logs)];
    let whole = extract(
        &materialize(&in_flight_spans, &Table::Spans.lake_schema()).unwrap(),
        &materialize(&in_flight_logs, &Table::Logs.lake_schema()).unwrap(),
        &traces,
        &rules,
    )
    .unwrap();
    let suspects = suspects(&in_flight_spans, &in_flight_logs).unwrap();
    let narrowed = extract(&suspects.spans, &suspects.logs, &traces, &rules).unwrap();
    assert_eq!((whole.failures, whole.counts), (narrowed.failures, narrowed.counts));
    let found = extract(&spans, &logs, &traces, &rules).unwrap();
    assert_eq!(anew(&found.failures, &rules).unwrap(), by_rows(&found));
    found
}

/// What the rows say of their own fingerprints.
fn by_rows(found: &Extracted) -> Vec<Anew> {
    let grouped_by = column(&found.failures, "grouped_by").into_iter();
    let with_id = grouped_by.zip(column(&found.failures, "fingerprint"));
    let of = |(by, id): (Option<String>, Option<String>)| match by.unwrap().starts_with("fingerprint stated") {
        true => Anew::Stated,
        false => Anew::Is(id.unwrap()),
    };
    with_id.map(of).collect()
}

/// The rows in flight. Short ids are filled up with zeros.
fn in_flight(table: Table, batch: &RecordBatch) -> RecordBatch {
    let schema = table.in_flight_schema();
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| -> ArrayRef {
        match field.data_type() {
            DataType::Dictionary(_, values) => {
                let keys: Int32Array = (0..column.len() as i32).collect();
                let values = make_array(retyped(column.to_data(), values));
                Arc::new(DictionaryArray::try_new(keys, values).unwrap())
            }
            DataType::FixedSizeBinary(size) if column.data_type() == &DataType::Utf8 => {
                let width = *size as usize * 2;
                let ids = column.as_string::<i32>().iter();
                let ids = ids.map(|id| id.map(|id| hex::decode(format!("{id:0>width$}")).unwrap()));
                Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(ids, *size).unwrap())
            }
            wanted => make_array(retyped(column.to_data(), wanted)),
        }
    });
    let columns = columns.collect();
    RecordBatch::try_new(schema, columns).unwrap()
}

/// Of many traces only those with a failed span or log record are looked into, whole, and of the log records without a
/// trace the failed ones.
#[test]
fn only_suspects_are_unpacked() {
    let other = json!({"trace_id": "1".repeat(32)});
    let spans = [
        span("01", None, json!({})),
        span("02", Some("01"), json!({"status_code": "ERROR"})),
        span("03", None, other.clone()),
        span("04", None, json!({"trace_id": "2".repeat(32)})),
    ];
    let of_other = json!({"trace_id": "2".repeat(32)});
    let logs = [
        log(Some("02"), 9, "fine", json!({})),
        log(Some("03"), 9, "fine", other),
        log(Some("04"), 17, "failed", of_other),
        log(None, 9, "fine", json!({"trace_id": null})),
        log(None, 17, "failed", json!({"trace_id": null})),
    ];
    let in_flight = |table, rows: &[Value]| in_flight(table, &batch(table, rows));
    let found = suspects(&in_flight(Table::Spans, &spans), &in_flight(Table::Logs, &logs)).unwrap();
    let ids = column(&found.spans, "span_id").into_iter().map(|id| id.unwrap().trim_start_matches('0').to_owned());
    assert_eq!(ids.collect::<Vec<_>>(), ["1", "2", "4"]);
    assert_eq!(column(&found.logs, "body").into_iter().flatten().collect::<Vec<_>>(), ["fine", "failed", "failed"]);
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

//! Batches for tests, made of a few rows that say only what matters.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, FixedSizeBinaryArray, Int32Array, Int64Array, ListArray, RecordBatch,
    StringArray, StructArray, TimestampNanosecondArray, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Int32Type};
use tracerag_schemas::{SourcePartition, Table};

/// A span; what is empty or zero is absent.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Span {
    pub tenant: &'static str,
    pub trace: u64,
    pub span: u64,
    pub parent: u64,
    pub service: &'static str,
    pub instance: &'static str,
    pub version: &'static str,
    pub environment: &'static str,
    pub revision: &'static str,
    pub start: i64,
    pub end: i64,
    pub error: bool,
    pub dropped_events: i64,
    /// (name, attributes) of one event at the start.
    pub event: Option<(&'static str, Vec<(&'static str, &'static str)>)>,
    pub offset: i64,
}

/// A log record; what is empty or zero is absent.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Log {
    pub tenant: &'static str,
    pub trace: u64,
    pub span: u64,
    pub service: &'static str,
    pub time: i64,
    pub hash: u64,
    pub event_name: &'static str,
    pub attributes: Vec<(&'static str, &'static str)>,
    pub offset: i64,
}

pub(crate) fn trace_id(n: u64) -> [u8; 16] {
    let mut id = [0xab; 16];
    id[8..].copy_from_slice(&n.to_be_bytes());
    id
}

type Attributes = Vec<(&'static str, &'static str)>;

fn text(values: impl Iterator<Item = &'static str>) -> ArrayRef {
    Arc::new(values.map(|value| (!value.is_empty()).then_some(value)).collect::<StringArray>())
}

fn words(values: impl Iterator<Item = &'static str>) -> ArrayRef {
    Arc::new(values.map(|v| (!v.is_empty()).then_some(v)).collect::<DictionaryArray<Int32Type>>())
}

fn ids<const N: usize>(values: impl Iterator<Item = Option<[u8; N]>>) -> ArrayRef {
    Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, N as i32).unwrap())
}

fn span_ids(values: impl Iterator<Item = u64>) -> ArrayRef {
    ids(values.map(|id| (id != 0).then(|| id.to_be_bytes())))
}

fn trace_ids(values: impl Iterator<Item = u64>) -> ArrayRef {
    ids(values.map(|id| (id != 0).then(|| trace_id(id))))
}

fn stamps(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampNanosecondArray::from_iter_values(values).with_timezone("UTC"))
}

/// A list of attribute lists.
pub(crate) fn attributes(rows: &[Attributes]) -> ArrayRef {
    let DataType::List(item) = tracerag_schemas::attributes::list_type() else { panic!("no list") };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().flatten().map(|(key, _)| Some(*key)).collect::<StringArray>()),
        Arc::new(rows.iter().flatten().map(|(_, value)| Some(*value)).collect::<StringArray>()),
    ];
    let entries = StructArray::new(tracerag_schemas::attributes::entry_fields(), columns, None);
    Arc::new(ListArray::new(item, OffsetBuffer::from_lengths(rows.iter().map(Vec::len)), Arc::new(entries), None))
}

fn batch(table: Table, rows: usize, named: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let schema = table.in_flight_schema();
    let mut columns: Vec<ArrayRef> =
        schema.fields().iter().map(|field| new_null_array(field.data_type(), rows)).collect();
    for (name, column) in named {
        columns[schema.index_of(name).unwrap()] = column;
    }
    RecordBatch::try_new(schema, columns).unwrap()
}

fn origin(source: &SourcePartition, offsets: impl ExactSizeIterator<Item = i64>) -> Vec<(&'static str, ArrayRef)> {
    let rows = offsets.len();
    let topic: Vec<&str> = vec![&source.topic; rows];
    vec![
        ("kafka_topic", Arc::new(topic.into_iter().map(Some).collect::<DictionaryArray<Int32Type>>())),
        ("kafka_partition", Arc::new(Int32Array::from_value(source.partition, rows))),
        ("kafka_offset", Arc::new(Int64Array::from_iter_values(offsets))),
    ]
}

fn or_default(tenant: &'static str) -> &'static str {
    if tenant.is_empty() { "default" } else { tenant }
}

/// A batch of spans in flight.
pub(crate) fn spans(source: &SourcePartition, rows: &[Span]) -> RecordBatch {
    let schema = Table::Spans.in_flight_schema();
    let DataType::List(item) = schema.field_with_name("events").unwrap().data_type() else { panic!("no list") };
    let DataType::Struct(fields) = item.data_type() else { panic!("no struct") };
    let events: Vec<&Span> = rows.iter().filter(|row| row.event.is_some()).collect();
    let event_columns = fields
        .iter()
        .map(|field| match field.name().as_str() {
            "time" => stamps(events.iter().map(|row| row.start)),
            "name" => text(events.iter().map(|row| row.event.as_ref().unwrap().0)),
            "attributes" => {
                attributes(&events.iter().map(|row| row.event.as_ref().unwrap().1.clone()).collect::<Vec<_>>())
            }
            _ => new_null_array(field.data_type(), events.len()),
        })
        .collect();
    let lengths = OffsetBuffer::from_lengths(rows.iter().map(|row| usize::from(row.event.is_some())));
    let event_structs = StructArray::new(fields.clone(), event_columns, None);
    let resources: Vec<Attributes> = rows
        .iter()
        .map(|row| if row.revision.is_empty() { vec![] } else { vec![("vcs.ref.head.revision", row.revision)] })
        .collect();
    let keys = Int32Array::from_iter_values(0..rows.len() as i32);
    let mut named: Vec<(&str, ArrayRef)> = vec![
        ("tenant_id", words(rows.iter().map(|row| or_default(row.tenant)))),
        ("trace_id", trace_ids(rows.iter().map(|row| row.trace))),
        ("span_id", span_ids(rows.iter().map(|row| row.span))),
        ("parent_span_id", span_ids(rows.iter().map(|row| row.parent))),
        ("name", text(rows.iter().map(|row| if row.parent == 0 { "GET /" } else { "child" }))),
        ("service_name", words(rows.iter().map(|row| row.service))),
        ("service_instance_id", words(rows.iter().map(|row| row.instance))),
        ("service_version", words(rows.iter().map(|row| row.version))),
        ("deployment_environment_name", words(rows.iter().map(|row| row.environment))),
        ("start_time", stamps(rows.iter().map(|row| row.start))),
        ("end_time", stamps(rows.iter().map(|row| row.end))),
        ("status_code", words(rows.iter().map(|row| if row.error { "ERROR" } else { "UNSET" }))),
        ("dropped_events_count", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.dropped_events)))),
        ("events", Arc::new(ListArray::new(Arc::clone(item), lengths, Arc::new(event_structs), None))),
        ("resource_attributes", Arc::new(DictionaryArray::new(keys, attributes(&resources)))),
    ];
    named.extend(origin(source, rows.iter().map(|row| row.offset)));
    batch(Table::Spans, rows.len(), named)
}

/// A batch of log records in flight.
pub(crate) fn logs(source: &SourcePartition, rows: &[Log]) -> RecordBatch {
    let hash = |n: u64| xxhash_rust::xxh3::xxh3_128(&n.to_le_bytes()).to_le_bytes();
    let mut named: Vec<(&str, ArrayRef)> = vec![
        ("tenant_id", words(rows.iter().map(|row| or_default(row.tenant)))),
        ("trace_id", trace_ids(rows.iter().map(|row| row.trace))),
        ("span_id", span_ids(rows.iter().map(|row| row.span))),
        ("time", stamps(rows.iter().map(|row| row.time))),
        ("record_hash", ids(rows.iter().map(|row| (row.hash != 0).then(|| hash(row.hash))))),
        ("service_name", words(rows.iter().map(|row| row.service))),
        ("event_name", text(rows.iter().map(|row| row.event_name))),
        ("attributes", attributes(&rows.iter().map(|row| row.attributes.clone()).collect::<Vec<_>>())),
        (
            "resource_attributes",
            Arc::new(DictionaryArray::new(Int32Array::from_value(0, rows.len()), attributes(&[vec![]]))),
        ),
    ];
    named.extend(origin(source, rows.iter().map(|row| row.offset)));
    batch(Table::Logs, rows.len(), named)
}

/// A batch of `flags` changes in lake schema: (time, key, variant, service, environment).
pub(crate) fn flag_changes(rows: &[(i64, &'static str, &'static str, &'static str, &'static str)]) -> RecordBatch {
    let named: Vec<(&str, ArrayRef)> = vec![
        ("tenant_id", text(rows.iter().map(|_| "default"))),
        ("kind", text(rows.iter().map(|_| "flag"))),
        ("key", text(rows.iter().map(|row| row.1))),
        ("variant", text(rows.iter().map(|row| row.2))),
        ("service_name", text(rows.iter().map(|row| row.3))),
        ("deployment_environment_name", text(rows.iter().map(|row| row.4))),
        ("valid_from", stamps(rows.iter().map(|row| row.0))),
        ("source", text(rows.iter().map(|_| "change"))),
    ];
    crate::join::trace_rows::rows_of(Table::Flags, named, rows.len()).unwrap()
}

/// A batch of deployments in lake schema: (time, service, instance, version, commit).
pub(crate) fn deployments(rows: &[(i64, &'static str, &'static str, &'static str, &'static str)]) -> RecordBatch {
    let named: Vec<(&str, ArrayRef)> = vec![
        ("tenant_id", text(rows.iter().map(|_| "default"))),
        ("service_name", text(rows.iter().map(|row| row.1))),
        ("service_instance_id", text(rows.iter().map(|row| row.2))),
        ("version", text(rows.iter().map(|row| row.3))),
        ("git_sha", text(rows.iter().map(|row| row.4))),
        ("build_number", text(rows.iter().map(|_| "77"))),
        ("valid_from", stamps(rows.iter().map(|row| row.0))),
        ("source", text(rows.iter().map(|_| "cdevent"))),
    ];
    crate::join::trace_rows::rows_of(Table::Builds, named, rows.len()).unwrap()
}

/// The array with times that can be printed: Arrow knows no named zones here.
pub(crate) fn printable(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Timestamp(..) => {
            let times = array.as_primitive::<arrow::datatypes::TimestampNanosecondType>();
            Arc::new(times.clone().with_timezone("+00:00"))
        }
        DataType::List(item) => {
            let list = array.as_list::<i32>();
            let values = printable(list.values());
            let item = Arc::new(item.as_ref().clone().with_data_type(values.data_type().clone()));
            Arc::new(ListArray::new(item, list.offsets().clone(), values, list.nulls().cloned()))
        }
        DataType::Struct(fields) => {
            let columns: Vec<ArrayRef> = array.as_struct().columns().iter().map(printable).collect();
            let typed = fields
                .iter()
                .zip(&columns)
                .map(|(field, column)| field.as_ref().clone().with_data_type(column.data_type().clone()));
            Arc::new(StructArray::new(typed.collect(), columns, array.nulls().cloned()))
        }
        _ => Arc::clone(array),
    }
}

/// The text of a column's row, in either form.
pub(crate) fn cell(batch: &RecordBatch, column: &str, row: usize) -> Option<String> {
    let schema = batch.schema();
    let column = printable(batch.column(schema.index_of(column).unwrap()));
    cell_of(&column, row)
}

fn cell_of(column: &ArrayRef, row: usize) -> Option<String> {
    let options = arrow::util::display::FormatOptions::default().with_null("\u{0}");
    let format = arrow::util::display::ArrayFormatter::try_new(column.as_ref(), &options).unwrap();
    let text = format.value(row).to_string();
    (text != "\u{0}").then_some(text)
}

/// All rows of a column.
pub(crate) fn cells(batch: &RecordBatch, column: &str) -> Vec<String> {
    let schema = batch.schema();
    let column = printable(batch.column(schema.index_of(column).unwrap()));
    (0..batch.num_rows()).map(|row| cell_of(&column, row).unwrap_or_default()).collect()
}

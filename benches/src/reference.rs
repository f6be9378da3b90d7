//! What the decoder is measured against: prost's structs, then Arrow's builders.
//!
//! It fills the columns of `spans` (ids, names, times, status, attributes with their types, the attributes that
//! have a column of their own, resource attributes, events, links), in the way that one would write first. It
//! renames nothing and redacts nothing.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeBinaryBuilder, Int64Builder, ListBuilder, MapBuilder, RecordBatch, StringBuilder, StructBuilder,
    TimestampNanosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Fields};
use arrow::error::ArrowError;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

type Maps = MapBuilder<StringBuilder, StringBuilder>;

/// Attributes with a text column of their own.
const PROMOTED: [&str; 15] = [
    "error.type",
    "http.request.method",
    "http.route",
    "url.path",
    "rpc.system.name",
    "rpc.method",
    "rpc.status_code",
    "db.system.name",
    "db.namespace",
    "db.collection.name",
    "db.operation.name",
    "db.query.summary",
    "messaging.system",
    "messaging.destination.name",
    "server.address",
];
/// Attributes with a number column of their own.
const CODES: [&str; 2] = ["http.response.status_code", "server.port"];
/// Resource attributes with a column of their own.
const OF_RESOURCE: [&str; 5] =
    ["service.name", "service.namespace", "service.version", "service.instance.id", "deployment.environment.name"];

struct Columns {
    promoted: [StringBuilder; 15],
    codes: [Int64Builder; 2],
    of_resource: [StringBuilder; 5],
    trace_id: FixedSizeBinaryBuilder,
    span_id: FixedSizeBinaryBuilder,
    parent_span_id: FixedSizeBinaryBuilder,
    texts: [StringBuilder; 6],
    times: [TimestampNanosecondBuilder; 2],
    ints: [Int64Builder; 5],
    attributes: Maps,
    types: Maps,
    resource: Maps,
    events: ListBuilder<StructBuilder>,
    links: ListBuilder<StructBuilder>,
}

/// Decodes messages into one batch.
///
/// # Errors
/// When a message is no protobuf or an id has a wrong length.
pub fn decode(messages: &[Vec<u8>]) -> Result<RecordBatch, ArrowError> {
    let maps = || MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    let mut columns = Columns {
        trace_id: FixedSizeBinaryBuilder::new(16),
        span_id: FixedSizeBinaryBuilder::new(8),
        parent_span_id: FixedSizeBinaryBuilder::new(8),
        promoted: std::array::from_fn(|_| StringBuilder::new()),
        codes: std::array::from_fn(|_| Int64Builder::new()),
        of_resource: std::array::from_fn(|_| StringBuilder::new()),
        texts: std::array::from_fn(|_| StringBuilder::new()),
        times: std::array::from_fn(|_| TimestampNanosecondBuilder::new()),
        ints: std::array::from_fn(|_| Int64Builder::new()),
        attributes: maps(),
        types: maps(),
        resource: maps(),
        events: ListBuilder::new(event_builder()),
        links: ListBuilder::new(link_builder()),
    };
    for message in messages {
        let request = ExportTraceServiceRequest::decode(message.as_slice())
            .map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
        for resource_spans in &request.resource_spans {
            let resource = resource_spans.resource.as_ref().map_or(&[][..], |resource| &resource.attributes);
            for scope_spans in &resource_spans.scope_spans {
                let scope = scope_spans.scope.as_ref();
                for span in &scope_spans.spans {
                    let names = (scope.map(|scope| scope.name.as_str()), scope.map(|scope| scope.version.as_str()));
                    append(&mut columns, span, resource, names, &resource_spans.schema_url)?;
                }
            }
        }
    }
    finish(columns)
}

fn append(
    columns: &mut Columns,
    span: &Span,
    resource: &[KeyValue],
    scope: (Option<&str>, Option<&str>),
    schema_url: &str,
) -> Result<(), ArrowError> {
    columns.trace_id.append_value(&span.trace_id)?;
    columns.span_id.append_value(&span.span_id)?;
    match span.parent_span_id.len() {
        8 => columns.parent_span_id.append_value(&span.parent_span_id)?,
        _ => columns.parent_span_id.append_null(),
    }
    for (name, builder) in OF_RESOURCE.iter().zip(&mut columns.of_resource) {
        builder.append_option(find(resource, name).map(|attribute| text_of(attribute).0));
    }
    for (name, builder) in PROMOTED.iter().zip(&mut columns.promoted) {
        builder.append_option(find(&span.attributes, name).map(|attribute| text_of(attribute).0));
    }
    for (name, builder) in CODES.iter().zip(&mut columns.codes) {
        builder.append_option(find(&span.attributes, name).and_then(|attribute| text_of(attribute).0.parse().ok()));
    }
    let status = span.status.as_ref();
    let texts = [
        Some(span.name.as_str()),
        status.map(|status| status.message.as_str()),
        Some(span.trace_state.as_str()),
        scope.0,
        scope.1,
        Some(schema_url),
    ];
    for (builder, text) in columns.texts.iter_mut().zip(texts) {
        builder.append_option(text);
    }
    columns.times[0].append_value(span.start_time_unix_nano as i64);
    columns.times[1].append_value(span.end_time_unix_nano as i64);
    let ints = [
        i64::from(span.kind),
        i64::from(status.map_or(0, |status| status.code)),
        i64::from(span.flags),
        i64::from(span.dropped_attributes_count),
        span.end_time_unix_nano as i64 - span.start_time_unix_nano as i64,
    ];
    for (builder, int) in columns.ints.iter_mut().zip(ints) {
        builder.append_value(int);
    }
    append_attributes(&mut columns.attributes, &mut columns.types, &span.attributes)?;
    let mut unused = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    append_attributes(&mut columns.resource, &mut unused, resource)?;
    append_events(&mut columns.events, span)?;
    append_links(&mut columns.links, span)
}

fn append_attributes(values: &mut Maps, types: &mut Maps, attributes: &[KeyValue]) -> Result<(), ArrowError> {
    for attribute in attributes {
        let (text, kind) = text_of(attribute);
        values.keys().append_value(&attribute.key);
        values.values().append_value(&text);
        if let Some(kind) = kind {
            types.keys().append_value(&attribute.key);
            types.values().append_value(kind);
        }
    }
    values.append(true)?;
    types.append(true)
}

fn find<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a KeyValue> {
    attributes.iter().find(|attribute| attribute.key == name)
}

fn text_of(attribute: &KeyValue) -> (String, Option<&'static str>) {
    match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => (text.clone(), None),
        Some(Value::IntValue(int)) => (int.to_string(), Some("int")),
        Some(Value::DoubleValue(double)) => (double.to_string(), Some("double")),
        Some(Value::BoolValue(boolean)) => (boolean.to_string(), Some("bool")),
        other => (format!("{other:?}"), Some("other")),
    }
}

fn event_fields() -> Fields {
    let entry =
        Fields::from(vec![Field::new("keys", DataType::Utf8, false), Field::new("values", DataType::Utf8, true)]);
    let map = DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entry), false)), false);
    Fields::from(vec![
        Field::new("time", DataType::Int64, true),
        Field::new("name", DataType::Utf8, true),
        Field::new("attributes", map, true),
    ])
}

fn event_builder() -> StructBuilder {
    StructBuilder::new(
        event_fields(),
        vec![
            Box::new(Int64Builder::new()),
            Box::new(StringBuilder::new()),
            Box::new(MapBuilder::new(None, StringBuilder::new(), StringBuilder::new())),
        ],
    )
}

fn link_builder() -> StructBuilder {
    let fields =
        Fields::from(vec![Field::new("trace_id", DataType::Utf8, true), Field::new("span_id", DataType::Utf8, true)]);
    StructBuilder::new(fields, vec![Box::new(StringBuilder::new()), Box::new(StringBuilder::new())])
}

fn wrong_builder() -> ArrowError {
    ArrowError::SchemaError(String::from("a field builder has another type"))
}

fn append_events(events: &mut ListBuilder<StructBuilder>, span: &Span) -> Result<(), ArrowError> {
    for event in &span.events {
        let row = events.values();
        row.field_builder::<Int64Builder>(0).ok_or_else(wrong_builder)?.append_value(event.time_unix_nano as i64);
        row.field_builder::<StringBuilder>(1).ok_or_else(wrong_builder)?.append_value(&event.name);
        let map = row.field_builder::<Maps>(2).ok_or_else(wrong_builder)?;
        for attribute in &event.attributes {
            map.keys().append_value(&attribute.key);
            map.values().append_value(text_of(attribute).0);
        }
        map.append(true)?;
        row.append(true);
    }
    events.append(true);
    Ok(())
}

fn append_links(links: &mut ListBuilder<StructBuilder>, span: &Span) -> Result<(), ArrowError> {
    for link in &span.links {
        let row = links.values();
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        row.field_builder::<StringBuilder>(0).ok_or_else(wrong_builder)?.append_value(hex(&link.trace_id));
        row.field_builder::<StringBuilder>(1).ok_or_else(wrong_builder)?.append_value(hex(&link.span_id));
        row.append(true);
    }
    links.append(true);
    Ok(())
}

fn finish(mut columns: Columns) -> Result<RecordBatch, ArrowError> {
    let mut arrays: Vec<(String, ArrayRef)> = vec![
        (String::from("trace_id"), Arc::new(columns.trace_id.finish())),
        (String::from("span_id"), Arc::new(columns.span_id.finish())),
        (String::from("parent_span_id"), Arc::new(columns.parent_span_id.finish())),
        (String::from("attributes"), Arc::new(columns.attributes.finish())),
        (String::from("attributes_types"), Arc::new(columns.types.finish())),
        (String::from("resource_attributes"), Arc::new(columns.resource.finish())),
        (String::from("events"), Arc::new(columns.events.finish())),
        (String::from("links"), Arc::new(columns.links.finish())),
    ];
    let texts = columns
        .texts
        .iter_mut()
        .enumerate()
        .map(|(index, builder)| (format!("text{index}"), Arc::new(builder.finish()) as ArrayRef));
    arrays.extend(texts);
    let promoted = PROMOTED.iter().zip(&mut columns.promoted).chain(OF_RESOURCE.iter().zip(&mut columns.of_resource));
    arrays.extend(promoted.map(|(name, builder)| ((*name).to_owned(), Arc::new(builder.finish()) as ArrayRef)));
    let codes = CODES.iter().zip(&mut columns.codes);
    arrays.extend(codes.map(|(name, builder)| ((*name).to_owned(), Arc::new(builder.finish()) as ArrayRef)));
    let times = columns
        .times
        .iter_mut()
        .enumerate()
        .map(|(index, builder)| (format!("time{index}"), Arc::new(builder.finish()) as ArrayRef));
    arrays.extend(times);
    let ints = columns
        .ints
        .iter_mut()
        .enumerate()
        .map(|(index, builder)| (format!("int{index}"), Arc::new(builder.finish()) as ArrayRef));
    arrays.extend(ints);
    RecordBatch::try_from_iter(arrays)
}

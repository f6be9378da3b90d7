//! What the decoder is measured against: prost's structs, then Arrow's builders.
//!
//! It fills the columns of `spans` (origin, ids, names, times, status, attributes with their types, the attributes
//! that have a column of their own, attributes of resource and scope, events and links with theirs, dropped counts),
//! in the way that one would write first. It renames nothing and redacts nothing.

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, FixedSizeBinaryBuilder, Int64Builder, ListBuilder, MapBuilder, RecordBatch, StringBuilder,
    StructBuilder, TimestampNanosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Fields};
use arrow::error::ArrowError;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
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
    texts: [StringBuilder; 9],
    times: [TimestampNanosecondBuilder; 2],
    ints: [Int64Builder; 11],
    attributes: Maps,
    types: Maps,
    resource: Maps,
    resource_types: Maps,
    scope: Maps,
    scope_types: Maps,
    events: ListBuilder<StructBuilder>,
    links: ListBuilder<StructBuilder>,
}

/// Rows of a batch, as the decoder that is measured cuts them.
const BATCH_ROWS: usize = 8_192;

/// Decodes messages into batches and gives the number of rows.
///
/// # Errors
/// When a message is no protobuf or an id has a wrong length.
pub fn decode(messages: &[Vec<u8>]) -> Result<usize, ArrowError> {
    let (mut columns, mut in_batch, mut rows) = (columns(), 0, 0);
    for (offset, message) in messages.iter().enumerate() {
        let request = ExportTraceServiceRequest::decode(message.as_slice())
            .map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
        for of_resource in &request.resource_spans {
            for of_scope in &of_resource.scope_spans {
                let place = Place { offset: offset as i64, of_resource, of_scope };
                for span in &of_scope.spans {
                    append(&mut columns, span, &place)?;
                    in_batch += 1;
                }
            }
        }
        if in_batch >= BATCH_ROWS {
            rows += finish(&mut columns)?.num_rows();
            in_batch = 0;
        }
    }
    Ok(rows + finish(&mut columns)?.num_rows())
}

fn columns() -> Columns {
    let maps = || MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    Columns {
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
        resource_types: maps(),
        scope: maps(),
        scope_types: maps(),
        events: ListBuilder::new(event_builder()),
        links: ListBuilder::new(link_builder()),
    }
}

/// Where a span stands.
struct Place<'a> {
    offset: i64,
    of_resource: &'a ResourceSpans,
    of_scope: &'a ScopeSpans,
}

fn append(columns: &mut Columns, span: &Span, place: &Place<'_>) -> Result<(), ArrowError> {
    let resource = place.of_resource.resource.as_ref();
    let resource_attributes = resource.map_or(&[][..], |resource| &resource.attributes);
    let scope = place.of_scope.scope.as_ref();
    columns.trace_id.append_value(&span.trace_id)?;
    columns.span_id.append_value(&span.span_id)?;
    match span.parent_span_id.len() {
        8 => columns.parent_span_id.append_value(&span.parent_span_id)?,
        _ => columns.parent_span_id.append_null(),
    }
    for (name, builder) in OF_RESOURCE.iter().zip(&mut columns.of_resource) {
        builder.append_option(find(resource_attributes, name).map(|attribute| text_of(attribute).0));
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
        scope.map(|scope| scope.name.as_str()),
        scope.map(|scope| scope.version.as_str()),
        Some(place.of_resource.schema_url.as_str()),
        Some(place.of_scope.schema_url.as_str()),
        Some("default"),
        Some("otlp_spans"),
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
        i64::from(span.dropped_events_count),
        i64::from(span.dropped_links_count),
        resource.map_or(0, |resource| i64::from(resource.dropped_attributes_count)),
        scope.map_or(0, |scope| i64::from(scope.dropped_attributes_count)),
        0,
        place.offset,
    ];
    for (builder, int) in columns.ints.iter_mut().zip(ints) {
        builder.append_value(int);
    }
    append_attributes(&mut columns.attributes, &mut columns.types, &span.attributes)?;
    append_attributes(&mut columns.resource, &mut columns.resource_types, resource_attributes)?;
    append_attributes(&mut columns.scope, &mut columns.scope_types, scope.map_or(&[][..], |scope| &scope.attributes))?;
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

fn map_type() -> DataType {
    let entry =
        Fields::from(vec![Field::new("keys", DataType::Utf8, false), Field::new("values", DataType::Utf8, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entry), false)), false)
}

fn event_fields() -> Fields {
    Fields::from(vec![
        Field::new("time", DataType::Int64, true),
        Field::new("name", DataType::Utf8, true),
        Field::new("attributes", map_type(), true),
        Field::new("attributes_types", map_type(), true),
        Field::new("dropped_attributes_count", DataType::Int64, true),
    ])
}

fn map_builder() -> Box<Maps> {
    Box::new(MapBuilder::new(None, StringBuilder::new(), StringBuilder::new()))
}

fn event_builder() -> StructBuilder {
    StructBuilder::new(
        event_fields(),
        vec![
            Box::new(Int64Builder::new()),
            Box::new(StringBuilder::new()),
            map_builder(),
            map_builder(),
            Box::new(Int64Builder::new()),
        ],
    )
}

fn link_builder() -> StructBuilder {
    let fields = Fields::from(vec![
        Field::new("trace_id", DataType::Utf8, true),
        Field::new("span_id", DataType::Utf8, true),
        Field::new("trace_state", DataType::Utf8, true),
        Field::new("flags", DataType::Int64, true),
        Field::new("attributes", map_type(), true),
        Field::new("attributes_types", map_type(), true),
        Field::new("dropped_attributes_count", DataType::Int64, true),
    ]);
    let text = || Box::new(StringBuilder::new());
    let int = || Box::new(Int64Builder::new());
    StructBuilder::new(fields, vec![text(), text(), text(), int(), map_builder(), map_builder(), int()])
}

fn field<T: ArrayBuilder>(row: &mut StructBuilder, index: usize) -> Result<&mut T, ArrowError> {
    row.field_builder(index).ok_or_else(|| ArrowError::SchemaError(String::from("a field builder has another type")))
}

/// The maps of attributes and their types in fields `first` and the one behind it.
fn append_nested(row: &mut StructBuilder, first: usize, attributes: &[KeyValue]) -> Result<(), ArrowError> {
    for attribute in attributes {
        let (text, kind) = text_of(attribute);
        let values = field::<Maps>(row, first)?;
        values.keys().append_value(&attribute.key);
        values.values().append_value(text);
        if let Some(kind) = kind {
            let types = field::<Maps>(row, first + 1)?;
            types.keys().append_value(&attribute.key);
            types.values().append_value(kind);
        }
    }
    field::<Maps>(row, first)?.append(true)?;
    field::<Maps>(row, first + 1)?.append(true)
}

fn append_events(events: &mut ListBuilder<StructBuilder>, span: &Span) -> Result<(), ArrowError> {
    for event in &span.events {
        let row = events.values();
        field::<Int64Builder>(row, 0)?.append_value(event.time_unix_nano as i64);
        field::<StringBuilder>(row, 1)?.append_value(&event.name);
        append_nested(row, 2, &event.attributes)?;
        field::<Int64Builder>(row, 4)?.append_value(i64::from(event.dropped_attributes_count));
        row.append(true);
    }
    events.append(true);
    Ok(())
}

fn append_links(links: &mut ListBuilder<StructBuilder>, span: &Span) -> Result<(), ArrowError> {
    for link in &span.links {
        let row = links.values();
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        field::<StringBuilder>(row, 0)?.append_value(hex(&link.trace_id));
        field::<StringBuilder>(row, 1)?.append_value(hex(&link.span_id));
        field::<StringBuilder>(row, 2)?.append_value(&link.trace_state);
        field::<Int64Builder>(row, 3)?.append_value(i64::from(link.flags));
        append_nested(row, 4, &link.attributes)?;
        field::<Int64Builder>(row, 6)?.append_value(i64::from(link.dropped_attributes_count));
        row.append(true);
    }
    links.append(true);
    Ok(())
}

fn finish(columns: &mut Columns) -> Result<RecordBatch, ArrowError> {
    let mut arrays: Vec<(String, ArrayRef)> = vec![
        (String::from("trace_id"), Arc::new(columns.trace_id.finish())),
        (String::from("span_id"), Arc::new(columns.span_id.finish())),
        (String::from("parent_span_id"), Arc::new(columns.parent_span_id.finish())),
        (String::from("attributes"), Arc::new(columns.attributes.finish())),
        (String::from("attributes_types"), Arc::new(columns.types.finish())),
        (String::from("resource_attributes"), Arc::new(columns.resource.finish())),
        (String::from("resource_attributes_types"), Arc::new(columns.resource_types.finish())),
        (String::from("scope_attributes"), Arc::new(columns.scope.finish())),
        (String::from("scope_attributes_types"), Arc::new(columns.scope_types.finish())),
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

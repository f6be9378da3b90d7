//! The in-flight form of the telemetry tables: what travels from the decoder through the window.
//!
//! It has the lake's columns in the lake's order, with cheaper types:
//! - attribute maps are lists ([`crate::attributes`]);
//! - what a resource, a scope or a message has once is a `Dictionary<Int32, T>` ([`DICTIONARIES`]);
//! - `trace_id`, `span_id` and `parent_span_id` are `FixedSizeBinary` of 16 and 8 bytes.
//!
//! [`materialize`] turns a batch into the lake's form. What is staged keeps its dictionaries: see [`crate::staged`].

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;

use crate::attributes::to_lists;
use crate::staged::convert;

/// Columns that repeat per resource, scope or message, or have few values: dictionaries in flight.
pub const DICTIONARIES: &[&str] = &[
    "tenant_id",
    "kind",
    "status_code",
    "service_name",
    "service_namespace",
    "service_version",
    "service_instance_id",
    "deployment_environment_name",
    "resource_attributes",
    "resource_attributes_types",
    "resource_entity_refs",
    "schema_url",
    "scope_name",
    "scope_version",
    "scope_schema_url",
    "scope_attributes",
    "scope_attributes_types",
    "temporality",
    "kafka_topic",
];

/// The in-flight schema of a lake schema.
pub fn schema(lake: &Schema) -> SchemaRef {
    let fields: Vec<Field> = lake.fields().iter().map(|field| in_flight_field(field)).collect();
    Arc::new(Schema::new(fields))
}

fn in_flight_field(field: &Field) -> Field {
    let name = field.name().as_str();
    let data_type = match name {
        "trace_id" => DataType::FixedSizeBinary(16),
        "span_id" | "parent_span_id" => DataType::FixedSizeBinary(8),
        _ if DICTIONARIES.contains(&name) => {
            DataType::Dictionary(Box::new(DataType::Int32), Box::new(to_lists(field.data_type())))
        }
        _ => to_lists(field.data_type()),
    };
    field.clone().with_data_type(data_type)
}

/// Turns an in-flight batch into the lake's form: ids to hex, dictionaries unpacked, lists to maps.
///
/// # Errors
/// When a column does not have the in-flight type of its lake column.
pub fn materialize(batch: &RecordBatch, lake: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = lake
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| convert(column, field.data_type()))
        .collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(Arc::clone(lake), columns)
}

/// Some columns of an in-flight batch in the lake's form, in the order of `names`; of `rows`, or of all of them.
/// Attributes and numbers cost nothing where all rows are wanted, a dictionary is unpacked.
///
/// # Errors
/// When a name is not one of the lake's, or its column does not have the in-flight type.
pub fn materialize_part(
    batch: &RecordBatch,
    lake: &Schema,
    names: &[&str],
    rows: Option<&BooleanArray>,
) -> Result<RecordBatch, ArrowError> {
    let indices = names.iter().map(|name| lake.index_of(name)).collect::<Result<Vec<_>, _>>()?;
    let part = batch.project(&indices)?;
    let part = match rows {
        Some(rows) => filter_record_batch(&part, rows)?,
        None => part,
    };
    materialize(&part, &Arc::new(lake.project(&indices)?))
}

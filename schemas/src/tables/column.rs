//! Short names for the columns that the tables are made of. All columns are nullable unless said:
//! a later release may then add columns ([`crate::version`]), and roll back, without rewriting a row.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields};

use super::timestamp;
use crate::attributes::map_type;

pub(super) fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

pub(super) fn time(name: &str) -> Field {
    Field::new(name, timestamp(), true)
}

pub(super) fn int(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}

pub(super) fn code(name: &str) -> Field {
    Field::new(name, DataType::Int32, true)
}

pub(super) fn double(name: &str) -> Field {
    Field::new(name, DataType::Float64, true)
}

pub(super) fn boolean(name: &str) -> Field {
    Field::new(name, DataType::Boolean, true)
}

pub(super) fn bytes(name: &str) -> Field {
    Field::new(name, DataType::Binary, true)
}

pub(super) fn map(name: &str) -> Field {
    Field::new(name, map_type(), true)
}

pub(super) fn list(name: &str, item: DataType) -> Field {
    Field::new(name, DataType::List(Arc::new(Field::new("item", item, true))), true)
}

pub(super) fn texts(name: &str) -> Field {
    list(name, DataType::Utf8)
}

pub(super) fn ints(name: &str) -> Field {
    list(name, DataType::Int64)
}

pub(super) fn structs(name: &str, fields: Vec<Field>) -> Field {
    list(name, DataType::Struct(Fields::from(fields)))
}

/// `tenant_id`, the table's own columns, then the origin and the time of ingestion.
pub(super) fn data_table(own: Vec<Field>) -> Vec<Field> {
    let mut fields = vec![text("tenant_id")];
    fields.extend(own);
    fields.extend([text("kafka_topic"), code("kafka_partition"), int("kafka_offset"), time("ingested_at")]);
    fields
}

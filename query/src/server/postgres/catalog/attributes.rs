//! `pg_attribute` with the types that columns are shown in. datafusion-pg-catalog takes times with a zone, lists and
//! others for text.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int16Array, Int32Array, StringArray};
use arrow::datatypes::{DataType, FieldRef};
use arrow::record_batch::RecordBatch;
use arrow_pg::datatypes::into_pg_type;
use pgwire::api::Type;

use crate::error::Result;

/// A type as `pg_type` has it.
struct Stored {
    oid: i32,
    /// Bytes of a value; -1 where they differ.
    length: i16,
    is_list: bool,
    is_number: bool,
}

impl Stored {
    fn of(kind: &DataType) -> Self {
        let kind = into_pg_type(kind).unwrap_or(Type::TEXT);
        let length = match kind {
            Type::BOOL => 1,
            Type::INT2 => 2,
            Type::INT4 | Type::FLOAT4 | Type::DATE => 4,
            Type::INT8 | Type::FLOAT8 | Type::TIME | Type::TIMESTAMP | Type::TIMESTAMPTZ => 8,
            Type::INTERVAL => 16,
            _ => -1,
        };
        Self {
            // Those of types that come with PostgreSQL are small.
            oid: i32::try_from(kind.oid()).unwrap_or_default(),
            length,
            // As PostgreSQL names the list of a type.
            is_list: kind.name().starts_with('_'),
            is_number: kind == Type::NUMERIC,
        }
    }

    fn alignment(&self) -> &'static str {
        match self.length {
            1 => "c",
            2 => "s",
            8 | 16 => "d",
            _ => "i",
        }
    }

    fn storage(&self) -> &'static str {
        match self.length {
            -1 if self.is_number => "m",
            -1 => "x",
            _ => "p",
        }
    }
}

/// The same rows with the types of these columns, which are in the same order.
///
/// # Errors
/// When there are not as many.
pub(super) fn with_types<'a>(
    attributes: &RecordBatch,
    columns: impl Iterator<Item = &'a FieldRef>,
) -> Result<RecordBatch> {
    let types: Vec<Stored> = columns.map(|column| Stored::of(column.data_type())).collect();
    let schema = attributes.schema();
    let changed = schema.fields().iter().zip(attributes.columns()).map(|(field, known)| -> ArrayRef {
        match field.name().as_str() {
            "atttypid" => Arc::new(types.iter().map(|kind| Some(kind.oid)).collect::<Int32Array>()),
            "attlen" => Arc::new(types.iter().map(|kind| Some(kind.length)).collect::<Int16Array>()),
            "attndims" => Arc::new(types.iter().map(|kind| Some(i32::from(kind.is_list))).collect::<Int32Array>()),
            "attbyval" => {
                Arc::new(types.iter().map(|kind| Some((1..=8).contains(&kind.length))).collect::<BooleanArray>())
            }
            "attalign" => Arc::new(types.iter().map(|kind| Some(kind.alignment())).collect::<StringArray>()),
            "attstorage" => Arc::new(types.iter().map(|kind| Some(kind.storage())).collect::<StringArray>()),
            _ => Arc::clone(known),
        }
    });
    let changed = changed.collect();
    Ok(RecordBatch::try_new(schema, changed)?)
}

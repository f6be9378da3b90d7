//! Columns as other engines take them: no dictionaries, no unsigned numbers, times as exact as asked for, maps as maps or
//! as JSON text, and the names within lists and maps that Parquet's specification gives.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, StringArray, StructArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;

use super::{Maps, Times};
use crate::error::Error;

/// The columns of an exported table.
#[derive(Debug)]
pub(super) struct Columns {
    schema: SchemaRef,
    /// Whether each is written as JSON text.
    as_json: Vec<bool>,
}

impl Columns {
    pub(super) fn new(schema: &Schema, maps: Maps, times: Times) -> Self {
        let as_json: Vec<bool> =
            schema.fields().iter().map(|field| maps == Maps::Json && has_map(field.data_type())).collect();
        let field = |(field, as_json): (&FieldRef, &bool)| {
            let data_type = if *as_json { DataType::Utf8 } else { target(field.data_type(), times) };
            Field::new(field.name(), data_type, true)
        };
        let fields: Vec<Field> = schema.fields().iter().zip(&as_json).map(field).collect();
        Self { schema: Arc::new(Schema::new(fields)), as_json }
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Names and types, for the manifest.
    pub(super) fn described(&self) -> Vec<(String, String)> {
        let described = |field: &FieldRef| (field.name().clone(), field.data_type().to_string());
        self.schema.fields().iter().map(described).collect()
    }

    /// Rows with these columns.
    pub(super) fn convert(&self, batch: &RecordBatch) -> Result<RecordBatch, Error> {
        let mut columns = Vec::with_capacity(batch.num_columns());
        for ((column, field), as_json) in batch.columns().iter().zip(self.schema.fields()).zip(&self.as_json) {
            columns.push(match as_json {
                true => json_text(column)?,
                false => converted(column, field.data_type())?,
            });
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

fn has_map(data_type: &DataType) -> bool {
    match data_type {
        DataType::Map(..) => true,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            has_map(item.data_type())
        }
        DataType::Struct(fields) => fields.iter().any(|field| has_map(field.data_type())),
        DataType::Dictionary(_, values) => has_map(values),
        _ => false,
    }
}

/// The type that a column is written with.
fn target(data_type: &DataType, times: Times) -> DataType {
    let within = |name: &str, field: &Field, is_nullable: bool| {
        Arc::new(Field::new(name, target(field.data_type(), times), is_nullable))
    };
    match data_type {
        DataType::Timestamp(_, zone) => {
            let unit = if times == Times::Ns { TimeUnit::Nanosecond } else { TimeUnit::Microsecond };
            DataType::Timestamp(unit, zone.clone())
        }
        DataType::Dictionary(_, values) => target(values, times),
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::UInt8 | DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Float16 => DataType::Float32,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            DataType::List(within("element", item, true))
        }
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| within(field.name(), field, true)).collect())
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => {
                let pair: Fields = vec![within("key", &pair[0], false), within("value", &pair[1], true)].into();
                DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(pair), false)), false)
            }
            _ => data_type.clone(),
        },
        other => other.clone(),
    }
}

/// The cast of values that another type has, too. One that it does not have, such as a number beyond it, is an error and
/// not absent: the export would say that there is none.
fn cast(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(array, wanted, &CastOptions { safe: false, ..CastOptions::default() })
}

/// An array with the type that [`target`] gives for it.
fn converted(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == wanted {
        return Ok(Arc::clone(array));
    }
    match (array.data_type(), wanted) {
        (DataType::List(_), DataType::List(item)) => {
            let list = array.as_list::<i32>();
            let values = converted(list.values(), item.data_type())?;
            Ok(Arc::new(ListArray::try_new(Arc::clone(item), list.offsets().clone(), values, list.nulls().cloned())?))
        }
        // First a plain list, then what is within.
        (DataType::LargeList(item) | DataType::FixedSizeList(item, _), DataType::List(_)) => {
            converted(&cast(array, &DataType::List(Arc::clone(item)))?, wanted)
        }
        (DataType::Struct(_), DataType::Struct(fields)) => {
            Ok(Arc::new(members(array.as_struct(), fields, array.nulls().cloned())?))
        }
        (DataType::Map(..), DataType::Map(entries, ordered)) => {
            let map = array.as_map();
            let DataType::Struct(pair) = entries.data_type() else { return cast(array, wanted) };
            let pairs = members(map.entries(), pair, None)?;
            let offsets = map.offsets().clone();
            Ok(Arc::new(MapArray::try_new(Arc::clone(entries), offsets, pairs, map.nulls().cloned(), *ordered)?))
        }
        _ => cast(array, wanted),
    }
}

fn members(
    array: &StructArray,
    fields: &Fields,
    nulls: Option<arrow::buffer::NullBuffer>,
) -> Result<StructArray, ArrowError> {
    let columns = array.columns().iter().zip(fields).map(|(column, field)| converted(column, field.data_type()));
    StructArray::try_new(fields.clone(), columns.collect::<Result<_, _>>()?, nulls)
}

/// Each value as the JSON that `sql --format json` prints for it.
fn json_text(array: &ArrayRef) -> Result<ArrayRef, Error> {
    let text = |row: usize| -> Result<Option<String>, Error> {
        match array.is_null(row) {
            true => Ok(None),
            false => Ok(Some(tracerag_query::json::value(array, row)?.to_string())),
        }
    };
    let texts = (0..array.len()).map(text).collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(StringArray::from(texts)))
}

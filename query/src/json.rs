//! Rows as JSON objects, as `sql --format json` prints them.
//!
//! Every column is a key, and what is absent is `null`. 64-bit integers are numbers within 2^53 and
//! text outside; NaN and infinities are text; times are RFC 3339 with nanoseconds and `Z`; maps and
//! structs are objects, lists arrays, binary hex.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::{Map, Value};
use tracerag_schemas::bundle::{json_double, json_integer};
use tracerag_schemas::time::rfc3339;

use crate::error::Result;

/// The rows of a batch, an object each, with the columns in their order.
///
/// # Errors
/// When Arrow cannot print a value of a type that JSON has no form for.
pub fn rows(batch: &RecordBatch) -> Result<Vec<Map<String, Value>>> {
    let schema = batch.schema();
    (0..batch.num_rows())
        .map(|row| {
            schema
                .fields()
                .iter()
                .zip(batch.columns())
                .map(|(field, column)| Ok((field.name().clone(), value(column, row)?)))
                .collect()
        })
        .collect()
}

/// One value.
///
/// # Errors
/// See [`rows`].
pub fn value(array: &ArrayRef, row: usize) -> Result<Value> {
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    macro_rules! native {
        ($type:ty) => {
            array.as_primitive::<$type>().value(row)
        };
    }
    Ok(match array.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
        DataType::Int8 => native!(Int8Type).into(),
        DataType::Int16 => native!(Int16Type).into(),
        DataType::Int32 => native!(Int32Type).into(),
        DataType::Int64 => json_integer(native!(Int64Type)),
        DataType::UInt8 => native!(UInt8Type).into(),
        DataType::UInt16 => native!(UInt16Type).into(),
        DataType::UInt32 => native!(UInt32Type).into(),
        DataType::UInt64 => {
            let number = native!(UInt64Type);
            i64::try_from(number).map_or_else(|_| Value::from(number.to_string()), json_integer)
        }
        DataType::Float16 => json_double(native!(Float16Type).to_f64()),
        DataType::Float32 => json_double(f64::from(native!(Float32Type))),
        DataType::Float64 => json_double(native!(Float64Type)),
        DataType::Utf8 => array.as_string::<i32>().value(row).into(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).into(),
        DataType::Utf8View => array.as_string_view().value(row).into(),
        DataType::Binary => hex::encode(array.as_binary::<i32>().value(row)).into(),
        DataType::LargeBinary => hex::encode(array.as_binary::<i64>().value(row)).into(),
        DataType::BinaryView => hex::encode(array.as_binary_view().value(row)).into(),
        DataType::FixedSizeBinary(_) => hex::encode(array.as_fixed_size_binary().value(row)).into(),
        DataType::Timestamp(unit, _) => match nanoseconds(array, *unit, row) {
            Some(ns) => rfc3339(ns).into(),
            None => display(array, row)?,
        },
        DataType::List(_) => items(&array.as_list::<i32>().value(row))?,
        DataType::LargeList(_) => items(&array.as_list::<i64>().value(row))?,
        DataType::FixedSizeList(..) => items(&array.as_fixed_size_list().value(row))?,
        DataType::Struct(fields) => {
            let columns = array.as_struct();
            let member = |(field, column): (&std::sync::Arc<arrow::datatypes::Field>, &ArrayRef)| {
                Ok((field.name().clone(), value(column, row)?))
            };
            Value::Object(fields.iter().zip(columns.columns()).map(member).collect::<Result<_>>()?)
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (entries.column(0), entries.column(1));
            let mut object = Map::new();
            for entry in 0..entries.len() {
                let key = match value(keys, entry)? {
                    Value::String(key) => key,
                    other => other.to_string(),
                };
                object.insert(key, value(values, entry)?);
            }
            Value::Object(object)
        }
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let key = dictionary.normalized_keys()[row];
            value(dictionary.values(), key)?
        }
        _ => display(array, row)?,
    })
}

fn items(list: &ArrayRef) -> Result<Value> {
    Ok(Value::Array((0..list.len()).map(|item| value(list, item)).collect::<Result<_>>()?))
}

/// `None` when the time does not fit into 64 bits of nanoseconds (years 1677 to 2262).
fn nanoseconds(array: &ArrayRef, unit: TimeUnit, row: usize) -> Option<i64> {
    match unit {
        TimeUnit::Second => array.as_primitive::<TimestampSecondType>().value(row).checked_mul(1_000_000_000),
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().value(row).checked_mul(1_000_000),
        TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().value(row).checked_mul(1_000),
        TimeUnit::Nanosecond => Some(array.as_primitive::<TimestampNanosecondType>().value(row)),
    }
}

/// Dates, decimals, intervals: as Arrow prints them.
fn display(array: &ArrayRef, row: usize) -> Result<Value> {
    let options = FormatOptions::default();
    let text = ArrayFormatter::try_new(array, &options)?.value(row).try_to_string()?;
    Ok(Value::from(text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use arrow::array::{
        BinaryArray, Float64Array, Int64Array, ListArray, MapBuilder, StringArray, StringBuilder, StructArray,
        TimestampNanosecondArray, UInt64Array,
    };
    use arrow::datatypes::Field;
    use serde_json::json;

    use super::*;

    /// Each documented rule, on a value at its edge.
    #[test]
    fn every_type_has_its_documented_form() {
        let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        map.keys().append_value("k");
        map.values().append_null();
        map.append(true).unwrap();
        let pair: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("exact", Arc::new(Int64Array::from(vec![9_007_199_254_740_992]))),
            ("big", Arc::new(Int64Array::from(vec![9_007_199_254_740_993]))),
            ("huge", Arc::new(UInt64Array::from(vec![u64::MAX]))),
            ("nan", Arc::new(Float64Array::from(vec![f64::NAN]))),
            ("infinite", Arc::new(Float64Array::from(vec![f64::NEG_INFINITY]))),
            ("time", Arc::new(TimestampNanosecondArray::from(vec![1]).with_timezone("UTC"))),
            ("bytes", Arc::new(BinaryArray::from(vec![&[0xac, 0x1d][..]]))),
            ("absent", Arc::new(StringArray::from(vec![None::<&str>]))),
            ("empty", Arc::new(StringArray::from(vec![""]))),
            ("map", Arc::new(map.finish())),
            ("list", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(vec![Some(vec![Some(1), None])]))),
            ("struct", Arc::new(StructArray::from(vec![(Arc::new(Field::new("f", DataType::Utf8, true)), pair)]))),
        ];
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
                .unwrap();
        let expected = json!([{
            "exact": 9_007_199_254_740_992_i64, "big": "9007199254740993", "huge": "18446744073709551615",
            "nan": "NaN", "infinite": "-Infinity", "time": "1970-01-01T00:00:00.000000001Z", "bytes": "ac1d",
            "absent": null, "empty": "", "map": {"k": null}, "list": [1, null], "struct": {"f": "x"},
        }]);
        assert_eq!(Value::from(rows(&batch).unwrap().into_iter().map(Value::Object).collect::<Vec<_>>()), expected);
    }
}

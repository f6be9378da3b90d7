//! Columns in the types that PostgreSQL has: maps, structs and nested lists as JSON text (formats as
//! [`crate::json`] has them), times in microseconds, rounded down.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use crate::encode::json_texts;
use crate::error::Result;

/// The zone of every time that has one; the protocol gives it as an offset.
const UTC: &str = "+00:00";
const NS_PER_US: i64 = 1_000;

/// A schema as clients are told of it.
pub(super) fn schema(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| Field::new(field.name(), kind(field.data_type()), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Rows under a schema of [`schema`].
///
/// # Errors
/// When a value cannot be brought into its column's type.
pub(super) fn batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| shown(column, field.data_type())).collect::<Result<Vec<_>>>()?;
    // A statement may have rows without columns.
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

/// The type in which a column is shown.
pub(super) fn kind(stored: &DataType) -> DataType {
    match stored {
        DataType::Null
        | DataType::Boolean
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Float32
        | DataType::Float64
        | DataType::Decimal128(..)
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::Date32
        | DataType::Date64
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Interval(_)
        | DataType::Duration(_) => stored.clone(),
        DataType::Int8 => DataType::Int16,
        DataType::Float16 => DataType::Float32,
        DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Timestamp(_, zone) => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.as_ref().map(|_| Arc::from(UTC)))
        }
        DataType::Dictionary(_, values) => kind(values),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)
            if is_element(item.data_type()) =>
        {
            DataType::List(Arc::new(Field::new_list_field(item.data_type().clone(), true)))
        }
        _ => DataType::Utf8,
    }
}

/// Whether PostgreSQL's arrays may have these as elements, here.
fn is_element(item: &DataType) -> bool {
    matches!(
        item,
        DataType::Boolean
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Float32
            | DataType::Float64
            | DataType::Utf8
            | DataType::Utf8View
            | DataType::LargeUtf8
    )
}

fn shown(column: &ArrayRef, kind: &DataType) -> Result<ArrayRef> {
    match (column.data_type(), kind) {
        (stored, kind) if stored == kind => Ok(Arc::clone(column)),
        (DataType::Timestamp(TimeUnit::Nanosecond, _), DataType::Timestamp(TimeUnit::Microsecond, zone)) => {
            let times = column.as_primitive::<TimestampNanosecondType>();
            let times: TimestampMicrosecondArray =
                times.unary::<_, TimestampMicrosecondType>(|ns| ns.div_euclid(NS_PER_US));
            Ok(Arc::new(times.with_timezone_opt(zone.clone())))
        }
        (stored, DataType::Utf8) if stored.is_nested() => Ok(Arc::new(json_texts(column)?)),
        _ => Ok(cast(column, kind)?),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::array::{Int64Array, MapBuilder, StringArray, StringBuilder, StructArray, TimestampNanosecondArray};
    use arrow::buffer::OffsetBuffer;

    use super::*;

    fn in_types_of_postgres(column: ArrayRef) -> ArrayRef {
        let batch = RecordBatch::try_from_iter_with_nullable([("c", column, true)]).unwrap();
        let schema = schema(&batch.schema());
        Arc::clone(super::batch(&batch, &schema).unwrap().column(0))
    }

    /// Nanoseconds are rounded down, before 1970 too, and a zone becomes an offset.
    #[test]
    fn times_are_rounded_down() {
        let times = TimestampNanosecondArray::from(vec![Some(1_999), Some(-1), None]).with_timezone("UTC");
        let shown = in_types_of_postgres(Arc::new(times));
        assert_eq!(shown.data_type(), &DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())));
        let values: Vec<_> = shown.as_primitive::<TimestampMicrosecondType>().iter().collect();
        assert_eq!(values, [Some(1), Some(-1), None]);
    }

    /// Maps, structs and lists of structs are the JSON that `sql --format json` prints, absent ones are null; a list of
    /// texts stays a list.
    #[test]
    fn nested_columns_are_json() {
        let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        map.keys().append_value("http.route");
        map.values().append_value("/pay");
        map.append(true).unwrap();
        map.append(false).unwrap();
        let shown = in_types_of_postgres(Arc::new(map.finish()));
        assert_eq!(shown.as_string::<i32>().iter().collect::<Vec<_>>(), [Some(r#"{"http.route":"/pay"}"#), None]);

        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let structs = StructArray::from(vec![(Arc::new(Field::new("n", DataType::Int64, true)), numbers)]);
        let item = Arc::new(Field::new_list_field(structs.data_type().clone(), true));
        let offsets = OffsetBuffer::from_lengths([2]);
        let list = arrow::array::ListArray::new(item, offsets, Arc::new(structs), None);
        let shown = in_types_of_postgres(Arc::new(list));
        assert_eq!(shown.as_string::<i32>().value(0), r#"[{"n":1},{"n":2}]"#);

        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
        let item = Arc::new(Field::new_list_field(DataType::Utf8, true));
        let list = arrow::array::ListArray::new(item, OffsetBuffer::from_lengths([2]), texts, None);
        let shown = in_types_of_postgres(Arc::new(list));
        assert!(matches!(shown.data_type(), DataType::List(_)));
    }
}

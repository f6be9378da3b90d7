//! The types in which values cross the wire: those that every client can read.
//!
//! Arrow has several layouts for the same values. Dictionaries and views save memory inside, but some clients (the JDBC
//! driver among them) take neither, or not everywhere, so they become plain text and bytes, at any depth. That driver reads
//! the entries of maps by the names that Arrow recommends for them, too.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

/// The type of the same values on the wire.
pub(super) fn data_type(inside: &DataType) -> DataType {
    match inside {
        DataType::Dictionary(_, values) => data_type(values),
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(item) => DataType::List(field(item)),
        DataType::LargeList(item) => DataType::LargeList(field(item)),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(field(item), *length),
        DataType::Map(entries, is_sorted) => DataType::Map(entries_field(entries), *is_sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field).collect()),
        other => other.clone(),
    }
}

fn field(inside: &FieldRef) -> FieldRef {
    Arc::new(Field::clone(inside).with_data_type(data_type(inside.data_type())))
}

/// The entries of a map under the names that Arrow recommends. Java's reader looks for them, and finds nothing under others.
fn entries_field(inside: &FieldRef) -> FieldRef {
    let entries = match inside.data_type() {
        DataType::Struct(fields) => {
            let named = fields.iter().zip(["key", "value"]);
            let renamed = named.map(|(member, name)| Field::clone(&field(member)).with_name(name));
            DataType::Struct(renamed.collect())
        }
        other => data_type(other),
    };
    Arc::new(Field::clone(inside).with_data_type(entries))
}

/// The schema of the same rows on the wire.
pub(super) fn schema(inside: &Schema) -> SchemaRef {
    let fields: Vec<FieldRef> = inside.fields().iter().map(field).collect();
    Arc::new(Schema::new_with_metadata(fields, inside.metadata().clone()))
}

/// Rows in the types of a schema that was announced.
///
/// # Errors
/// When a column cannot be had in its type.
pub(super) fn batch(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = schema.fields().iter().zip(rows.columns());
    let columns = columns.map(|(field, column)| array(column, field.data_type())).collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

/// Values in another type, which they are not copied for where they have it already.
pub(super) fn array(values: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    if values.data_type() == wanted { Ok(Arc::clone(values)) } else { cast(values, wanted) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::array::{
        AsArray as _, DictionaryArray, ListArray, MapBuilder, MapFieldNames, StringBuilder, StringViewArray,
        StructArray,
    };
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::Int32Type;

    use super::*;

    /// Entries of maps are called key and value, in lists as well, and keep what they hold.
    #[test]
    fn entries_have_the_names_that_readers_look_for() {
        let mut maps = MapBuilder::new(
            Some(MapFieldNames { entry: "entries".into(), key: "keys".into(), value: "values".into() }),
            StringBuilder::new(),
            StringBuilder::new(),
        );
        maps.keys().append_value("a");
        maps.values().append_value("b");
        maps.append(true).unwrap();
        maps.append(false).unwrap();
        let maps = maps.finish();
        let item = Arc::new(Field::new("item", maps.data_type().clone(), true));
        let lists = ListArray::new(item, OffsetBuffer::from_lengths([2]), Arc::new(maps.slice(0, 2)), None);
        let inside = RecordBatch::try_from_iter([("lists", Arc::new(lists) as ArrayRef)]).unwrap();
        let sent = batch(&inside, &schema(&inside.schema())).unwrap();
        let values = sent.column(0).as_list::<i32>().value(0);
        let maps = values.as_map();
        assert_eq!(maps.entries().column_names(), ["key", "value"]);
        assert_eq!(maps.keys().as_string::<i32>().value(0), "a");
        assert_eq!(maps.values().as_string::<i32>().value(0), "b");
        assert!(maps.is_null(1));
    }

    /// Dictionaries and views become plain text, in a struct as well, and the values stay what they are.
    #[test]
    fn dictionaries_and_views_become_plain() {
        let packed: DictionaryArray<Int32Type> = ["a", "b", "a"].into_iter().collect();
        let viewed = StringViewArray::from(vec![Some("x"), None, Some("z")]);
        let inner = StructArray::try_from(vec![("packed", Arc::new(packed.clone()) as ArrayRef)]).unwrap();
        let inside = RecordBatch::try_from_iter([
            ("packed", Arc::new(packed) as ArrayRef),
            ("viewed", Arc::new(viewed) as ArrayRef),
            ("inner", Arc::new(inner) as ArrayRef),
        ])
        .unwrap();
        let announced = schema(&inside.schema());
        let sent = batch(&inside, &announced).unwrap();
        assert_eq!(sent.schema(), announced);
        assert_eq!(sent.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["a", "b", "a"]);
        assert_eq!(sent.column(1).as_string::<i32>().iter().collect::<Vec<_>>(), [Some("x"), None, Some("z")]);
        assert_eq!(sent.column(2).as_struct().column(0).data_type(), &DataType::Utf8);
    }
}

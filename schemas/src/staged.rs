//! The form in which rows are staged: the lake's columns, with texts that repeat as dictionaries.
//!
//! The lake's files keep repeated texts in a dictionary for each page. A writer that is given plain texts has to find
//! them by hashing each one, the attributes of the resource of every span included. Many are dictionaries in flight
//! already ([`crate::in_flight::DICTIONARIES`]); others become so here, where a sample says that it pays. A staged
//! column has the type of its lake column, only that any text in it, at any depth, may be a `Dictionary<Int32, Utf8>`,
//! and any whole number within a list a dictionary, too. The files do not tell the two apart, and read back as the
//! lake's type.

mod choose;

use std::collections::hash_map::Entry;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, FixedSizeBinaryArray, Int32Array, ListArray, MapArray, RecordBatch,
    StringArray, StructArray, make_array,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, FieldRef, Int32Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use rustc_hash::FxHashMap;

use self::choose::choose;
use crate::attributes::with_type;
use crate::ids::push_hex;
use crate::in_flight::materialize;

/// Rows of a staged batch at most: its texts share a page, and whoever reads one row reads that page's dictionary.
pub const STAGED_ROWS: usize = 65_536;

/// Turns an in-flight batch into its staged form, in batches of [`STAGED_ROWS`] that share one schema.
///
/// # Errors
/// When a column does not have the in-flight type of its lake column.
pub fn stage(batch: &RecordBatch, lake: &Schema) -> Result<Vec<RecordBatch>, ArrowError> {
    let schema = schema(batch, lake);
    (0..batch.num_rows())
        .step_by(STAGED_ROWS)
        .map(|start| materialize(&batch.slice(start, STAGED_ROWS.min(batch.num_rows() - start)), &schema))
        .collect()
}

/// The schema in which an in-flight batch is staged best.
fn schema(batch: &RecordBatch, lake: &Schema) -> SchemaRef {
    let batches = batch.num_rows().div_ceil(STAGED_ROWS).max(1);
    let fields: Vec<FieldRef> = lake
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| with_type(field, choose(column, field.data_type(), false, batches)))
        .collect();
    Arc::new(Schema::new(fields))
}

/// The staged form in which rows of the lake take the least room. Unlike [`stage`] it is not chosen for speed: texts are
/// looked at and hashed for it.
pub fn smallest(rows: &RecordBatch) -> SchemaRef {
    let form = |(field, column): (&FieldRef, &ArrayRef)| with_type(field, choose::smallest(column, false));
    Arc::new(Schema::new(rows.schema_ref().fields().iter().zip(rows.columns()).map(form).collect::<Vec<_>>()))
}

/// Whether rows of the lake may be written in a form that [`smallest`] gave for others. Rows with very many elements may
/// not: Lance writes them in a layout that has no dictionaries.
pub fn takes(form: &Schema, rows: &RecordBatch) -> bool {
    form.fields().iter().zip(rows.columns()).all(|(field, column)| choose::takes(field.data_type(), column))
}

/// Rows of the lake in a staged form.
///
/// # Errors
/// When it is not a form of theirs.
pub fn repack(rows: &RecordBatch, form: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    materialize(rows, form)
}

/// Whether a column of this type may be staged for a lake's column.
pub fn is_form_of(found: &DataType, lake: &DataType) -> bool {
    match (found, lake) {
        (DataType::Dictionary(key, value), lake) => {
            **key == DataType::Int32 && **value == *lake && (*lake == DataType::Utf8 || lake.is_integer())
        }
        (DataType::List(found), DataType::List(lake)) | (DataType::Map(found, false), DataType::Map(lake, false)) => {
            is_form_of(found.data_type(), lake.data_type())
        }
        (DataType::Struct(found), DataType::Struct(lake)) => {
            found.len() == lake.len()
                && found
                    .iter()
                    .zip(lake)
                    .all(|(found, lake)| found.name() == lake.name() && is_form_of(found.data_type(), lake.data_type()))
        }
        _ => found == lake,
    }
}

fn words() -> DataType {
    dictionary(DataType::Utf8)
}

fn dictionary(values: DataType) -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(values))
}

/// Gives an in-flight or staged array a lake's type, or one that it may be staged in.
///
/// # Errors
/// When it can have no such type.
pub fn convert(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    match (array.data_type(), wanted) {
        (DataType::Dictionary(..), DataType::Dictionary(..)) if array.data_type() == wanted => {
            without_idle_nulls(array)
        }
        (found, _) if found == wanted => Ok(Arc::clone(array)),
        (DataType::Dictionary(..), _) => {
            let dictionary =
                array.as_any().downcast_ref::<DictionaryArray<Int32Type>>().ok_or_else(|| mismatch(array, wanted))?;
            take(&convert(dictionary.values(), wanted)?, dictionary.keys(), None)
        }
        (DataType::Utf8, DataType::Dictionary(..)) => Ok(Arc::new(dictionary_of(array.as_string())?)),
        (found, DataType::Dictionary(..)) if found.is_integer() => cast(array, wanted),
        (DataType::FixedSizeBinary(_), DataType::Utf8) => Ok(Arc::new(hex(array.as_fixed_size_binary()))),
        (DataType::FixedSizeBinary(_), DataType::Dictionary(..)) => {
            Ok(Arc::new(dictionary_of_ids(array.as_fixed_size_binary())?))
        }
        (DataType::List(_), DataType::Map(entries, sorted)) => {
            let list = array.as_list::<i32>();
            let (offsets, values) = trimmed(list);
            let values = convert(&values, entries.data_type())?.as_struct().clone();
            let nulls = list.nulls().cloned();
            Ok(Arc::new(MapArray::try_new(Arc::clone(entries), offsets, values, nulls, *sorted)?))
        }
        (DataType::Map(..), DataType::Map(entries, sorted)) => {
            let map = array.as_map();
            let values: ArrayRef = Arc::new(map.entries().clone());
            let values = convert(&values, entries.data_type())?.as_struct().clone();
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            Ok(Arc::new(MapArray::try_new(Arc::clone(entries), offsets, values, nulls, *sorted)?))
        }
        (DataType::List(_), DataType::List(item)) => {
            let list = array.as_list::<i32>();
            let (offsets, values) = trimmed(list);
            let values = convert(&values, item.data_type())?;
            Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, list.nulls().cloned())?))
        }
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let source = array.as_struct();
            let columns = fields
                .iter()
                .zip(source.columns())
                .map(|(field, column)| convert(column, field.data_type()))
                .collect::<Result<Vec<_>, _>>()?;
            Ok(Arc::new(StructArray::try_new(fields.clone(), columns, source.nulls().cloned())?))
        }
        _ => Err(mismatch(array, wanted)),
    }
}

/// A dictionary whose values have a null buffer only if one of them is null: Lance 14 refuses values with an idle one.
fn without_idle_nulls(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let dictionary = array.as_dictionary::<Int32Type>();
    let values = dictionary.values();
    if values.nulls().is_none() || values.null_count() > 0 {
        return Ok(Arc::clone(array));
    }
    let values = make_array(values.to_data().into_builder().nulls(None).build()?);
    Ok(Arc::new(DictionaryArray::try_new(dictionary.keys().clone(), values)?))
}

fn mismatch(array: &ArrayRef, wanted: &DataType) -> ArrowError {
    ArrowError::CastError(format!("cannot give a {} the type {wanted}", array.data_type()))
}

/// A list's offsets from 0, and the values in them: of a slice, not those of the whole.
fn trimmed(list: &ListArray) -> (OffsetBuffer<i32>, ArrayRef) {
    let offsets = list.offsets();
    let (first, last) = (offsets[0], offsets[list.len()]);
    let values = list.values().slice(first as usize, (last - first) as usize);
    if first == 0 {
        return (offsets.clone(), values);
    }
    let shifted: Vec<i32> = offsets.iter().map(|offset| offset - first).collect();
    (OffsetBuffer::new(ScalarBuffer::from(shifted)), values)
}

/// Texts numbered in the order in which they come first.
fn dictionary_of(texts: &StringArray) -> Result<DictionaryArray<Int32Type>, ArrowError> {
    let mut numbers: FxHashMap<&str, i32> = FxHashMap::default();
    let mut rows: Vec<i32> = Vec::new();
    let mut keys: Vec<i32> = Vec::with_capacity(texts.len());
    for row in 0..texts.len() {
        if texts.is_null(row) {
            keys.push(0);
            continue;
        }
        let next = rows.len() as i32;
        keys.push(match numbers.entry(texts.value(row)) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                rows.push(row as i32);
                *new.insert(next)
            }
        });
    }
    let values = take(texts, &Int32Array::from(rows), None)?;
    DictionaryArray::try_new(Int32Array::new(ScalarBuffer::from(keys), texts.nulls().cloned()), values)
}

/// A value for each run of equal ids.
fn dictionary_of_ids(ids: &FixedSizeBinaryArray) -> Result<DictionaryArray<Int32Type>, ArrowError> {
    let mut rows: Vec<i32> = Vec::new();
    let mut keys: Vec<i32> = Vec::with_capacity(ids.len());
    let mut last: Option<&[u8]> = None;
    for row in 0..ids.len() {
        if ids.is_valid(row) && last != Some(ids.value(row)) {
            last = Some(ids.value(row));
            rows.push(row as i32);
        }
        keys.push((rows.len() as i32 - 1).max(0));
    }
    let values = take(ids, &Int32Array::from(rows), None)?;
    let values: ArrayRef = Arc::new(hex(values.as_fixed_size_binary()));
    DictionaryArray::try_new(Int32Array::new(ScalarBuffer::from(keys), ids.nulls().cloned()), values)
}

/// Lower-case hex of each id; null stays null.
fn hex(ids: &FixedSizeBinaryArray) -> StringArray {
    let width = ids.value_length() as usize * 2;
    let mut text = String::with_capacity(ids.len() * width);
    let mut offsets = Vec::with_capacity(ids.len() + 1);
    offsets.push(0i32);
    for row in 0..ids.len() {
        if ids.is_valid(row) {
            push_hex(ids.value(row), &mut text);
        }
        offsets.push(i32::try_from(text.len()).unwrap_or(i32::MAX));
    }
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    StringArray::new(offsets, Buffer::from(text.into_bytes()), ids.nulls().cloned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::array::{Int64Array, ListBuilder, StringBuilder, StructBuilder};
    use arrow::datatypes::Field;
    use proptest::prelude::*;

    use super::*;
    use crate::attributes::{entry_fields, map_type, to_lists};

    type Attributes = Option<Vec<(String, Option<String>)>>;

    /// A row: number, name, kind (a dictionary in flight), trace id, attributes, and the resource's.
    type Row = (i64, Option<String>, Option<u8>, Option<u8>, Attributes, u8);

    fn lake() -> Schema {
        Schema::new(vec![
            Field::new("number", DataType::Int64, false),
            Field::new("name", DataType::Utf8, true),
            Field::new("kind", DataType::Utf8, true),
            Field::new("trace_id", DataType::Utf8, true),
            Field::new("attributes", map_type(), true),
            Field::new("resource_attributes", map_type(), true),
        ])
    }

    fn lists<'a>(rows: impl Iterator<Item = &'a Attributes>) -> ArrayRef {
        let texts: Vec<Box<dyn arrow::array::ArrayBuilder>> =
            vec![Box::new(StringBuilder::new()), Box::new(StringBuilder::new())];
        let mut lists = ListBuilder::new(StructBuilder::new(entry_fields(), texts)).with_field(Field::new(
            "item",
            DataType::Struct(entry_fields()),
            false,
        ));
        for attributes in rows {
            for (key, value) in attributes.iter().flatten() {
                let entry = lists.values();
                entry.field_builder::<StringBuilder>(0).unwrap().append_value(key);
                entry.field_builder::<StringBuilder>(1).unwrap().append_option(value.as_ref());
                entry.append(true);
            }
            lists.append(attributes.is_some());
        }
        Arc::new(lists.finish())
    }

    fn in_flight(rows: &[Row]) -> RecordBatch {
        let resources: Vec<Attributes> =
            (0..3).map(|number| Some(vec![(String::from("service.name"), Some(format!("s{number}")))])).collect();
        let keys = Int32Array::from_iter_values(rows.iter().map(|row| i32::from(row.5 % 3)));
        let ids = rows.iter().map(|row| row.3.map(|id| [id; 16]));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|row| Some(row.0)).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|row| row.1.clone()).collect::<StringArray>()),
            Arc::new(
                rows.iter()
                    .map(|row| row.2.map(|kind| ["SERVER", "CLIENT"][usize::from(kind % 2)]))
                    .collect::<DictionaryArray<Int32Type>>(),
            ),
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(ids, 16).unwrap()),
            lists(rows.iter().map(|row| &row.4)),
            Arc::new(DictionaryArray::<Int32Type>::try_new(keys, lists(resources.iter())).unwrap()),
        ];
        let fields: Vec<Field> = lake()
            .fields()
            .iter()
            .zip(&columns)
            .map(|(field, column)| field.as_ref().clone().with_data_type(column.data_type().clone()))
            .collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    }

    fn row() -> impl Strategy<Value = Row> {
        let attributes = prop::collection::vec(("[a-c]", prop::option::of("[x-z]{0,2}")), 0..4);
        (
            any::<i64>(),
            prop::option::of("[a-c]"),
            any::<Option<u8>>(),
            prop::option::of(0u8..4),
            prop::option::of(attributes),
            any::<u8>(),
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever rows there are, their staged form and their smallest form say the same as their lake form: they are
        /// forms of the lake's types, and unpacked they are equal, also cut into parts.
        #[test]
        fn staged_rows_say_the_same(rows in prop::collection::vec(row(), 1..400), cut in any::<prop::sample::Index>()) {
            let batch = in_flight(&rows);
            let start = cut.index(rows.len());
            for batch in [batch.slice(start, rows.len() - start), batch] {
                let plain = materialize(&batch, &Arc::new(lake())).unwrap();
                let mut from = 0;
                for staged in stage(&batch, &lake()).unwrap() {
                    for (column, field) in staged.columns().iter().zip(lake().fields()) {
                        prop_assert!(is_form_of(column.data_type(), field.data_type()));
                        let expected = plain.column_by_name(field.name()).unwrap().slice(from, column.len());
                        prop_assert_eq!(&convert(column, field.data_type()).unwrap(), &expected);
                    }
                    from += staged.num_rows();
                }
                prop_assert_eq!(from, batch.num_rows());
                let form = smallest(&plain);
                prop_assert!(takes(&form, &plain));
                for (column, expected) in repack(&plain, &form).unwrap().columns().iter().zip(plain.columns()) {
                    prop_assert!(is_form_of(column.data_type(), expected.data_type()));
                    prop_assert_eq!(&convert(column, expected.data_type()).unwrap(), expected);
                }
            }
        }
    }

    /// Texts that repeat become dictionaries at any depth, numbered once; those that hardly do, and those that are all
    /// the same, stay plain.
    #[test]
    fn what_repeats_becomes_a_dictionary() {
        let rows: Vec<Row> = (0..1_000u32)
            .map(|row| {
                let attributes = vec![(["a", "b"][row as usize % 2].to_owned(), Some(format!("v{row}")))];
                let kind = u8::try_from(row % 2).ok();
                (
                    i64::from(row),
                    Some(String::from("same")),
                    kind,
                    u8::try_from(row / 10).ok(),
                    Some(attributes),
                    row as u8,
                )
            })
            .collect();
        let staged = stage(&in_flight(&rows), &lake()).unwrap().remove(0);
        let of = |name: &str| staged.column_by_name(name).unwrap();
        assert_eq!(of("name").data_type(), &DataType::Utf8);
        assert_eq!(of("kind").data_type(), &words());
        assert_eq!(of("trace_id").as_dictionary::<Int32Type>().values().len(), 100);
        let attributes = of("attributes").as_map();
        assert_eq!(attributes.keys().as_dictionary::<Int32Type>().values().len(), 2);
        assert_eq!(attributes.values().data_type(), &DataType::Utf8);
        let resource = of("resource_attributes").as_map();
        assert_eq!(resource.keys().as_dictionary::<Int32Type>().values().len(), 1);
        assert_eq!(resource.values().as_dictionary::<Int32Type>().values().len(), 3);
    }

    /// Values of a dictionary that could be null and are not lose their null buffer; the texts stay.
    #[test]
    fn idle_null_buffers_are_dropped() {
        let values = StringArray::new(
            OffsetBuffer::from_lengths([1, 1]),
            Buffer::from(b"ab".to_vec()),
            Some(vec![true, true].into()),
        );
        let keys = Int32Array::from(vec![Some(1), None, Some(0)]);
        let dictionary: ArrayRef = Arc::new(DictionaryArray::try_new(keys, Arc::new(values)).unwrap());
        assert!(dictionary.as_dictionary::<Int32Type>().values().nulls().is_some());
        let staged = convert(&dictionary, &words()).unwrap();
        assert!(staged.as_dictionary::<Int32Type>().values().nulls().is_none());
        assert_eq!(
            convert(&staged, &DataType::Utf8).unwrap().as_ref(),
            &StringArray::from(vec![Some("b"), None, Some("a")]) as &dyn Array
        );
    }

    /// A type that is no form of the lake's is told apart: another width, another name, a text where a map belongs.
    #[test]
    fn other_types_are_no_form() {
        assert!(is_form_of(&words(), &DataType::Utf8));
        let wide = DataType::Dictionary(Box::new(DataType::Int64), Box::new(DataType::Utf8));
        assert!(!is_form_of(&wide, &DataType::Utf8));
        assert!(!is_form_of(&DataType::Utf8, &map_type()));
        assert!(!is_form_of(&to_lists(&map_type()), &map_type()));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
        assert!(convert(&texts, &map_type()).unwrap_err().to_string().contains("cannot give a Utf8"));
    }
}

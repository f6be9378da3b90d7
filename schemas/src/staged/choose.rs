//! Which texts of a batch are staged as dictionaries.
//!
//! A dictionary has to be worth its copies: each page of a column has the whole of it. A page is a staged batch, or a
//! part of one, because Lance cuts a column of lists where an empty one lies among many values (`PAGE_LEVELS`).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, FixedSizeBinaryArray, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int32Type, Int64Type};
use rustc_hash::FxHashSet;

use super::{dictionary, trimmed, words};
use crate::attributes::with_type;

/// Texts that are looked at to judge a column, spread over all of it.
const SAMPLE: usize = 4_096;
/// Columns with fewer texts stay plain.
const FEWEST: usize = 128;
/// Elements of lists in one page. Lance 14 has a budget of 131,072 bits for the nesting of a page's elements, three of
/// which are needed for each element of a list that may be null, and empty.
const PAGE_LEVELS: usize = 43_690;
/// Elements of one row, with theirs, in a column whose texts may be dictionaries. Lance 14 writes a row beyond its budget
/// in another layout, which takes plain texts only. The nesting of an element has less than 32 bits.
const ROW_LEVELS: usize = 4_096;
/// Bytes to which a dictionary may be unpacked: plain texts of a batch have 2 GiB at most.
const PLAIN_BYTES: usize = 64 << 20;

/// The type in which a column is staged. `repeats`: each of its rows stands for several. `batches`: in how many batches
/// all its rows are staged.
pub(super) fn choose(column: &ArrayRef, lake: &DataType, repeats: bool, batches: usize) -> DataType {
    match (column.data_type(), lake) {
        (DataType::Dictionary(..), _) => {
            let column = column.as_dictionary::<Int32Type>();
            // Each batch is a slice, which has all values.
            let repeats = repeats || column.values().len() * 2 * batches <= column.len();
            match lake {
                // One value for all needs no dictionary: a page knows that by itself.
                DataType::Utf8 if repeats && column.values().len() > 1 => words(),
                DataType::Utf8 if unpacked_bytes(column) > PLAIN_BYTES => words(),
                DataType::Utf8 => DataType::Utf8,
                _ => choose(column.values(), lake, repeats, batches),
            }
        }
        (DataType::Utf8, DataType::Utf8) => {
            let texts = column.as_string::<i32>();
            let is_worth_it = if repeats { texts.null_count() < texts.len() } else { texts_repeat(texts, batches) };
            if is_worth_it { words() } else { DataType::Utf8 }
        }
        (DataType::FixedSizeBinary(_), DataType::Utf8) => {
            let ids = column.as_fixed_size_binary();
            if ids.len() >= FEWEST && runs(ids) * 2 <= ids.len() { words() } else { DataType::Utf8 }
        }
        (DataType::List(_), DataType::Map(..) | DataType::List(_)) if longest_row(column) > ROW_LEVELS => lake.clone(),
        (DataType::List(_), DataType::Map(entries, sorted)) => {
            let (_, values) = trimmed(column.as_list());
            DataType::Map(with_type(entries, choose(&values, entries.data_type(), repeats, batches)), *sorted)
        }
        (DataType::List(_), DataType::List(item)) => {
            let (_, values) = trimmed(column.as_list());
            DataType::List(with_type(item, choose(&values, item.data_type(), repeats, batches)))
        }
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let columns = column.as_struct().columns();
            let choose = |(field, column): (&FieldRef, &ArrayRef)| {
                with_type(field, choose(column, field.data_type(), repeats, batches))
            };
            DataType::Struct(fields.iter().zip(columns).map(choose).collect())
        }
        _ => lake.clone(),
    }
}

/// The type in which a column of the lake takes the least room. `is_nested`: it lies within another one.
pub(super) fn smallest(column: &ArrayRef, is_nested: bool) -> DataType {
    match column.data_type() {
        DataType::Utf8 => {
            let texts = column.as_string::<i32>();
            // A page that has one text only keeps that once, but its nulls and its nesting unpacked.
            let has_levels = is_nested || texts.null_count() > 0;
            if texts_repeat(texts, 1) || (has_levels && is_one_text(texts)) { words() } else { DataType::Utf8 }
        }
        number if is_nested && number.is_integer() && is_one_number(column) => dictionary(number.clone()),
        DataType::List(_) | DataType::Map(..) if longest_row(column) > ROW_LEVELS => column.data_type().clone(),
        DataType::List(item) => {
            let (_, values) = trimmed(column.as_list());
            DataType::List(with_type(item, smallest(&values, true)))
        }
        DataType::Map(entries, sorted) => {
            let values: ArrayRef = Arc::new(column.as_map().entries().clone());
            DataType::Map(with_type(entries, smallest(&values, true)), *sorted)
        }
        DataType::Struct(fields) => {
            let columns = column.as_struct().columns();
            let small = |(field, column): (&FieldRef, &ArrayRef)| with_type(field, smallest(column, is_nested));
            DataType::Struct(fields.iter().zip(columns).map(small).collect())
        }
        other => other.clone(),
    }
}

/// Whether a column of the lake may be written in a type that was chosen for other rows.
pub(super) fn takes(form: &DataType, column: &ArrayRef) -> bool {
    form == column.data_type() || longest_row(column) <= ROW_LEVELS
}

/// Whether all texts that are there are the same, and there is one.
fn is_one_text(texts: &StringArray) -> bool {
    let mut texts = texts.iter().flatten();
    texts.next().is_some_and(|first| texts.all(|text| text == first))
}

/// Whether all numbers that are there are the same, and there are enough to say so of the rows to come. Nearly all counts
/// of what was dropped from an event are 0, and a page of zeros takes four bytes for each row without events.
fn is_one_number(numbers: &ArrayRef) -> bool {
    let Ok(numbers) = cast(numbers, &DataType::Int64) else { return false };
    let numbers = numbers.as_primitive::<Int64Type>();
    let mut there = numbers.iter().flatten();
    let first = there.next();
    numbers.len() - numbers.null_count() >= FEWEST && there.all(|number| Some(number) == first)
}

/// Whether there are at most half as many different texts as there are, once for each page of a batch, judged by a
/// sample; not if all are the same.
fn texts_repeat(texts: &StringArray, batches: usize) -> bool {
    let step = (texts.len() / SAMPLE).max(1);
    let mut looked_at = 0;
    let mut different: FxHashSet<&str> = FxHashSet::default();
    for row in (0..texts.len()).step_by(step).filter(|row| texts.is_valid(*row)) {
        looked_at += 1;
        different.insert(texts.value(row));
    }
    let pages = (texts.len() / batches / PAGE_LEVELS).max(1);
    looked_at >= FEWEST && different.len() > 1 && different.len() * 2 * pages <= looked_at
}

/// How often an id differs from the one before.
fn runs(ids: &FixedSizeBinaryArray) -> usize {
    let same = |row: &usize| ids.is_valid(*row) == ids.is_valid(row - 1) && ids.value(*row) == ids.value(row - 1);
    ids.len() - (1..ids.len()).filter(same).count()
}

/// Bytes of a dictionary's texts, once for each row.
fn unpacked_bytes(column: &DictionaryArray<Int32Type>) -> usize {
    let Some(texts) = column.values().as_string_opt::<i32>() else { return 0 };
    let offsets = texts.value_offsets();
    let bytes = |key: i32| {
        let key = key as usize;
        (offsets[key + 1] - offsets[key]) as usize
    };
    column.keys().iter().flatten().map(bytes).sum()
}

/// The most elements that a row of a list or a map has, with those of one list or map within them; 0 of anything else.
fn longest_row(column: &ArrayRef) -> usize {
    let (offsets, values) = match (column.as_list_opt::<i32>(), column.as_map_opt()) {
        (Some(list), _) => (list.offsets(), Arc::clone(list.values())),
        (_, Some(map)) => (map.offsets(), Arc::new(map.entries().clone()) as ArrayRef),
        _ => return 0,
    };
    let children = values.as_struct_opt().map_or(std::slice::from_ref(&values), |values| values.columns());
    let offsets_of = |child: &ArrayRef| match (child.as_list_opt::<i32>(), child.as_map_opt()) {
        (Some(list), _) => Some(list.offsets().clone()),
        (_, Some(map)) => Some(map.offsets().clone()),
        _ => None,
    };
    let within: Vec<OffsetBuffer<i32>> = children.iter().filter_map(offsets_of).collect();
    let elements = |row: &[i32]| {
        let (from, to) = (row[0] as usize, row[1] as usize);
        to - from + within.iter().map(|offsets| (offsets[to] - offsets[from]) as usize).max().unwrap_or(0)
    };
    offsets.windows(2).map(elements).max().unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::array::{Int32Array, Int64Array};
    use arrow::datatypes::Field;
    use arrow::json::ReaderBuilder;
    use serde_json::{Value, json};

    use super::*;
    use crate::attributes::{list_type, map_type};

    fn lists(data_type: DataType, rows: &[Value]) -> ArrayRef {
        let mut decoder = ReaderBuilder::new_with_field(Field::new("lists", data_type, true))
            .with_batch_size(rows.len())
            .build_decoder()
            .unwrap();
        decoder.serialize(rows).unwrap();
        Arc::clone(decoder.flush().unwrap().unwrap().column(0))
    }

    /// Events, with attributes of a type.
    fn events_with(attributes: DataType) -> DataType {
        let fields = vec![Field::new("name", DataType::Utf8, true), Field::new("attributes", attributes, true)];
        DataType::List(Arc::new(Field::new("item", DataType::Struct(fields.into()), true)))
    }

    /// Texts in lists of lists are dictionaries where they repeat, unless a row is so long that Lance could not write
    /// them: then all of the column is plain, its shorter rows, too.
    #[test]
    fn very_long_rows_of_lists_are_plain() {
        let event = |n: usize| {
            let attributes =
                if n.is_multiple_of(10) { json!([]) } else { json!([{"keys": format!("k{}", n % 3), "values": "v"}]) };
            json!({"name": format!("e{}", n % 2), "attributes": attributes})
        };
        let row = |events: usize| Value::Array((0..events).map(event).collect());
        let lake = events_with(map_type());
        for (longest, is_plain) in [(1_000, false), (ROW_LEVELS, true)] {
            let events = lists(events_with(list_type()), &[row(200), Value::Null, row(longest)]);
            assert_eq!(choose(&events, &lake, false, 1) == lake, is_plain, "{longest}");
        }
    }

    /// Texts of which one in eight is new are a dictionary where one page has them all, and plain where each of
    /// many pages would have a copy of it.
    #[test]
    fn a_dictionary_is_worth_its_copies() {
        let texts = |n: usize| -> ArrayRef {
            Arc::new((0..n).map(|i| Some(format!("v{}", i % (n / 8)))).collect::<StringArray>())
        };
        assert_eq!(choose(&texts(4_000), &DataType::Utf8, false, 1), words());
        let many = texts(SAMPLE * 128);
        assert_eq!(choose(&many, &DataType::Utf8, false, 1), DataType::Utf8);
    }

    /// A dictionary with 400 values for 1,000 rows stays one in one batch; in two, each would have all values.
    #[test]
    fn values_are_counted_once_a_batch() {
        let values: StringArray = (0..400).map(|n| Some(n.to_string())).collect();
        let keys: Int32Array = (0..1_000).map(|row| Some(row % 400)).collect();
        let column: ArrayRef = Arc::new(DictionaryArray::try_new(keys, Arc::new(values)).unwrap());
        assert_eq!(choose(&column, &DataType::Utf8, false, 1), words());
        assert_eq!(choose(&column, &DataType::Utf8, false, 2), DataType::Utf8);
    }

    /// One text for all rows is plain, unless it is so long that its copies would not fit.
    #[test]
    fn one_long_text_is_not_copied() {
        for (length, expected) in [(100, DataType::Utf8), (PLAIN_BYTES / 500, words())] {
            let values = StringArray::from(vec!["x".repeat(length)]);
            let keys = Int32Array::from(vec![0; 1_000]);
            let column: ArrayRef = Arc::new(DictionaryArray::try_new(keys, Arc::new(values)).unwrap());
            assert_eq!(choose(&column, &DataType::Utf8, false, 1), expected, "{length}");
        }
    }

    /// Texts that are all the same are a dictionary of one where nulls or lists lie between them, and plain where nothing
    /// does; so are texts that repeat. Guarantees that a page of the lake keeps no level unpacked for the sake of one text.
    #[test]
    fn one_text_among_nulls_is_a_dictionary() {
        let same = |text: Option<&str>| -> ArrayRef {
            Arc::new(std::iter::once(text).chain(std::iter::repeat_n(Some("a"), 200)).collect::<StringArray>())
        };
        assert_eq!(smallest(&same(Some("a")), false), DataType::Utf8);
        assert_eq!(smallest(&same(Some("a")), true), words());
        assert_eq!(smallest(&same(None), false), words());
        let nulls: ArrayRef = Arc::new(StringArray::new_null(200));
        assert_eq!(smallest(&nulls, true), DataType::Utf8);
        let different: ArrayRef = Arc::new((0..200).map(|n| Some(n.to_string())).collect::<StringArray>());
        assert_eq!(smallest(&different, true), DataType::Utf8);
        let event = json!([{"name": "exception", "attributes": [{"keys": "a", "values": "b"}]}]);
        let events = lists(events_with(list_type()), &[event, json!(null)]);
        let events = crate::staged::convert(&events, &events_with(map_type())).unwrap();
        let DataType::List(item) = smallest(&events, false) else { panic!("no list") };
        let DataType::Struct(fields) = item.data_type() else { panic!("no struct") };
        assert_eq!(fields[0].data_type(), &words());
        assert!(takes(&smallest(&events, false), &events));
    }
    /// A number that is the same in all elements of lists is a dictionary of one; with another number, too few to judge
    /// by, or outside of lists it is plain. Guarantees that a count that is always 0 takes no room for each row.
    #[test]
    fn one_number_in_lists_is_a_dictionary() {
        let zeros = |rows: usize| -> ArrayRef { Arc::new(Int64Array::from(vec![0; rows])) };
        let counts = dictionary(DataType::Int64);
        assert_eq!(smallest(&zeros(FEWEST), true), counts);
        assert_eq!(smallest(&zeros(FEWEST), false), DataType::Int64);
        assert_eq!(smallest(&zeros(FEWEST - 1), true), DataType::Int64);
        let others: ArrayRef = Arc::new(Int64Array::from_iter((0..200).map(|n| (n % 3 > 0).then_some(n % 2))));
        assert_eq!(smallest(&others, true), DataType::Int64);
        let packed = crate::staged::convert(&others, &counts).unwrap();
        assert_eq!(&cast(&packed, &DataType::Int64).unwrap(), &others);
    }
}

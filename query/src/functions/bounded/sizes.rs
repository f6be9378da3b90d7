//! How large values are, row by row.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, OffsetSizeTrait};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;

/// Bytes of a value of a type that is not looked into.
const WIDTH: u64 = 16;

/// Bytes of each row's value, roughly. What is null has none.
pub(crate) fn bytes(array: &ArrayRef) -> Vec<u64> {
    let sizes = match array.data_type() {
        DataType::Utf8 => spans(array.as_string::<i32>().offsets()),
        DataType::LargeUtf8 => spans(array.as_string::<i64>().offsets()),
        DataType::Binary => spans(array.as_binary::<i32>().offsets()),
        DataType::LargeBinary => spans(array.as_binary::<i64>().offsets()),
        DataType::Utf8View => array.as_string_view().views().iter().map(|view| length_of(*view)).collect(),
        DataType::BinaryView => array.as_binary_view().views().iter().map(|view| length_of(*view)).collect(),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            within(list.offsets(), list.values())
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            within(list.offsets(), list.values())
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let entries: ArrayRef = Arc::new(map.entries().clone());
            within(map.offsets(), &entries)
        }
        DataType::FixedSizeList(_, length) => {
            let list = array.as_fixed_size_list();
            let length = usize::try_from(*length).unwrap_or_default().max(1);
            bytes(list.values()).chunks(length).map(|items| items.iter().sum()).collect()
        }
        DataType::Struct(_) => {
            let mut sizes = vec![0; array.len()];
            for column in array.as_struct().columns() {
                sizes.iter_mut().zip(bytes(column)).for_each(|(size, more)| *size += more);
            }
            sizes
        }
        DataType::Dictionary(..) => of_dictionary(array),
        other => vec![other.primitive_width().map_or(WIDTH, |width| width as u64); array.len()],
    };
    match array.nulls() {
        Some(nulls) => {
            sizes.into_iter().zip(nulls.iter()).map(|(size, is_set)| if is_set { size } else { 0 }).collect()
        }
        None => sizes,
    }
}

/// How many items each row's list has; one where it is no list.
pub(crate) fn items(array: &ArrayRef) -> Vec<u64> {
    match array.data_type() {
        DataType::List(_) => spans(array.as_list::<i32>().offsets()),
        DataType::LargeList(_) => spans(array.as_list::<i64>().offsets()),
        DataType::Map(..) => spans(array.as_map().offsets()),
        DataType::FixedSizeList(_, length) => vec![u64::try_from(*length).unwrap_or_default(); array.len()],
        _ => vec![1; array.len()],
    }
}

/// How many items the lists of each row have, within lists as deep as they go; a list that is empty or null counts as one,
/// and so does what is no list.
pub(super) fn innermost(array: &ArrayRef) -> Vec<u64> {
    match array.data_type() {
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            sums(list.offsets(), innermost(list.values()))
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            sums(list.offsets(), innermost(list.values()))
        }
        DataType::FixedSizeList(_, length) => {
            let list = array.as_fixed_size_list();
            let length = usize::try_from(*length).unwrap_or_default().max(1);
            innermost(list.values()).chunks(length).map(|items| items.iter().sum()).collect()
        }
        _ => vec![1; array.len()],
    }
}

fn spans<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> Vec<u64> {
    offsets.lengths().map(|length| length as u64).collect()
}

/// The length is in the lowest 32 bits of a view.
fn length_of(view: u128) -> u64 {
    (view & u128::from(u32::MAX)) as u64
}

/// The sizes of lists, which take some bytes for each item whatever it is.
fn within<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>, values: &ArrayRef) -> Vec<u64> {
    sums(offsets, bytes(values))
}

/// What the items of each list have together, each one at least.
fn sums<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>, sizes: Vec<u64>) -> Vec<u64> {
    let mut sum = 0;
    let mut sums = Vec::with_capacity(sizes.len() + 1);
    sums.push(0_u64);
    for size in sizes {
        sum += size.max(1);
        sums.push(sum);
    }
    let at = |offset: O| sums.get(offset.as_usize()).copied().unwrap_or(sum);
    offsets.windows(2).map(|pair| at(pair[1]).saturating_sub(at(pair[0]))).collect()
}

fn of_dictionary(array: &ArrayRef) -> Vec<u64> {
    let Some(dictionary) = array.as_any_dictionary_opt() else { return vec![WIDTH; array.len()] };
    let sizes = bytes(dictionary.values());
    if sizes.is_empty() {
        return vec![0; array.len()];
    }
    dictionary.normalized_keys().into_iter().map(|key| sizes.get(key).copied().unwrap_or_default()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::array::{DictionaryArray, ListArray, StringArray, StringViewArray};
    use arrow::datatypes::{Field, Int32Type};

    use super::*;

    /// Texts count their bytes in each form, also where an array is a slice of another; lists what is in them, nulls nothing.
    #[test]
    fn values_count_their_bytes() {
        let texts = vec![Some("ab"), None, Some("a text that no view holds")];
        let plain: ArrayRef = Arc::new(StringArray::from(texts.clone()));
        let views: ArrayRef = Arc::new(StringViewArray::from(texts.clone()));
        let words: ArrayRef = Arc::new(texts.into_iter().collect::<DictionaryArray<Int32Type>>());
        for array in [plain, views, words] {
            assert_eq!(bytes(&array), [2, 0, 25]);
            assert_eq!(bytes(&array.slice(1, 2)), [0, 25]);
        }
        let lists = vec![Some(vec![Some(1), Some(2)]), None, Some(vec![])];
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists));
        assert_eq!((bytes(&lists), items(&lists)), (vec![8, 0, 0], vec![2, 0, 0]));
    }

    /// Items of lists within lists count one by one, and lists without any as one, also in a slice.
    #[test]
    fn innermost_items_are_counted() {
        let lists = vec![Some(vec![Some(1), Some(2), Some(3)]), None, Some(vec![]), Some(vec![Some(4)])];
        let inner: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists));
        let field = Arc::new(Field::new_list_field(inner.data_type().clone(), true));
        let outer: ArrayRef =
            Arc::new(ListArray::new(field, OffsetBuffer::from_lengths([2, 1, 1]), Arc::clone(&inner), None));
        assert_eq!(innermost(&outer), [4, 1, 1]);
        assert_eq!(innermost(&outer.slice(1, 2)), [1, 1]);
    }
}

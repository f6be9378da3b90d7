//! Values of a row as bytes, alike for what was sent and for what is stored: equal values have equal bytes.
//!
//! A list that is absent counts as one without items, for a file keeps the difference where Arrow's kernels do not.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampNanosecondType};
use arrow::error::ArrowError;

/// Appends the value of a row.
///
/// # Errors
/// When no table of the lake has a column of this type.
pub(super) fn append(array: &dyn Array, row: usize, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    match array.data_type() {
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let items = if list.is_valid(row) { Some(list.value(row)) } else { None };
            return append_items(items.as_deref(), out);
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let entries = if map.is_valid(row) { Some(map.value(row)) } else { None };
            return append_items(entries.as_ref().map(|entries| entries as &dyn Array), out);
        }
        _ => {}
    }
    out.push(u8::from(array.is_valid(row)));
    if array.is_null(row) {
        return Ok(());
    }
    match array.data_type() {
        DataType::Utf8 => append_bytes(array.as_string::<i32>().value(row).as_bytes(), out),
        DataType::Binary => append_bytes(array.as_binary::<i32>().value(row), out),
        DataType::FixedSizeBinary(_) => append_bytes(array.as_fixed_size_binary().value(row), out),
        DataType::Boolean => out.push(u8::from(array.as_boolean().value(row))),
        DataType::Int32 => out.extend(array.as_primitive::<Int32Type>().value(row).to_le_bytes()),
        DataType::Int64 => out.extend(array.as_primitive::<Int64Type>().value(row).to_le_bytes()),
        DataType::Float64 => out.extend(array.as_primitive::<Float64Type>().value(row).to_bits().to_le_bytes()),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            out.extend(array.as_primitive::<TimestampNanosecondType>().value(row).to_le_bytes());
        }
        DataType::Struct(_) => {
            for column in array.as_struct().columns() {
                append(column, row, out)?;
            }
        }
        other => return Err(ArrowError::NotYetImplemented(format!("comparing values of type {other}"))),
    }
    Ok(())
}

fn append_items(items: Option<&dyn Array>, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    let count = items.map_or(0, |items| items.len());
    out.extend((count as u64).to_le_bytes());
    let Some(items) = items else { return Ok(()) };
    (0..count).try_for_each(|item| append(items, item, out))
}

fn append_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::array::{Int64Array, ListArray, StringArray};

    use super::*;

    fn bytes(array: &dyn Array, row: usize) -> Vec<u8> {
        let mut out = Vec::new();
        append(array, row, &mut out).unwrap();
        out
    }

    /// Other values, other types of absence and other borders between texts have other bytes; equal values have equal
    /// ones. Guarantees that two records that differ are told apart.
    #[test]
    fn values_are_told_apart() {
        let texts = StringArray::from(vec![Some("a"), None, Some(""), Some("a"), Some("ab")]);
        let all: Vec<Vec<u8>> = (0..texts.len()).map(|row| bytes(&texts, row)).collect();
        assert_eq!(all[0], all[3]);
        for (one, other) in [(0, 1), (1, 2), (0, 2), (0, 4)] {
            assert_ne!(all[one], all[other]);
        }
        let numbers = Int64Array::from(vec![1, -1]);
        assert_ne!(bytes(&numbers, 0), bytes(&numbers, 1));
    }

    /// A list that is absent is one without items; one with an absent item is not.
    #[test]
    fn an_absent_list_is_empty() {
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(vec![
            None,
            Some(vec![]),
            Some(vec![None]),
            Some(vec![Some(0)]),
        ]);
        assert_eq!(bytes(&lists, 0), bytes(&lists, 1));
        assert_ne!(bytes(&lists, 1), bytes(&lists, 2));
        assert_ne!(bytes(&lists, 2), bytes(&lists, 3));
    }
}

//! Typed views of columns that are alike in both forms: plain in the lake, dictionaries or bytes in flight.

use arrow::array::PrimitiveArray;
use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, Int32Array, RecordBatch, StringArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{ArrowPrimitiveType, DataType, Int32Type, TimestampNanosecondType};
use tracerag_schemas::ids::{parse_hex, valid};

use crate::error::{Error, Result};

fn column<'a>(batch: &'a RecordBatch, name: &str, wanted: &'static str) -> Result<&'a ArrayRef> {
    batch.column_by_name(name).ok_or_else(|| mismatch(name, wanted))
}

fn mismatch(name: &str, wanted: &'static str) -> Error {
    Error::Column { name: name.to_owned(), wanted }
}

/// Numbers and times.
pub(crate) fn numbers<'a, T: ArrowPrimitiveType>(
    batch: &'a RecordBatch,
    name: &str,
    wanted: &'static str,
) -> Result<&'a PrimitiveArray<T>> {
    column(batch, name, wanted)?.as_primitive_opt::<T>().ok_or_else(|| mismatch(name, wanted))
}

/// A time column, in ns.
pub(crate) fn times<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a PrimitiveArray<TimestampNanosecondType>> {
    numbers(batch, name, "a Timestamp(ns)")
}

/// The value of a row, `None` if null.
pub(crate) fn number<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, row: usize) -> Option<T::Native> {
    array.is_valid(row).then(|| array.value(row))
}

/// Text, plain or as a dictionary.
#[derive(Clone, Copy)]
pub(crate) enum Text<'a> {
    Plain(&'a StringArray),
    Dictionary(&'a Int32Array, &'a StringArray),
}

impl<'a> Text<'a> {
    pub(crate) fn of(batch: &'a RecordBatch, name: &str) -> Result<Self> {
        const WANTED: &str = "Utf8 or a dictionary of Utf8 with Int32 keys";
        let column = column(batch, name, WANTED)?;
        if let Some(plain) = column.as_string_opt::<i32>() {
            return Ok(Self::Plain(plain));
        }
        let dictionary = column.as_dictionary_opt::<Int32Type>().ok_or_else(|| mismatch(name, WANTED))?;
        let values = dictionary.values().as_string_opt::<i32>().ok_or_else(|| mismatch(name, WANTED))?;
        Ok(Self::Dictionary(dictionary.keys(), values))
    }

    pub(crate) fn get(self, row: usize) -> Option<&'a str> {
        match self {
            Self::Plain(array) => array.is_valid(row).then(|| array.value(row)),
            Self::Dictionary(keys, values) => {
                let key = usize::try_from(number(keys, row)?).ok()?;
                values.is_valid(key).then(|| values.value(key))
            }
        }
    }

    /// Number of the value within the dictionary, -1 for null. Plain text has none.
    pub(crate) fn key(self, row: usize) -> i32 {
        match self {
            Self::Dictionary(keys, _) => number(keys, row).unwrap_or(-1),
            Self::Plain(_) => -1,
        }
    }

    /// Computes something of each distinct value once.
    pub(crate) fn map_values<T: Copy>(self, mut of: impl FnMut(Option<&'a str>) -> T) -> Mapped<T> {
        match self {
            Self::Plain(array) => Mapped { by_key: array.iter().map(&mut of).collect(), null: of(None) },
            Self::Dictionary(_, values) => Mapped { by_key: values.iter().map(&mut of).collect(), null: of(None) },
        }
    }
}

/// What [`Text::map_values`] computed.
pub(crate) struct Mapped<T> {
    by_key: Vec<T>,
    null: T,
}

impl<T: Copy> Mapped<T> {
    pub(crate) fn get(&self, text: Text<'_>, row: usize) -> T {
        match text {
            Text::Plain(_) => self.by_key[row],
            Text::Dictionary(..) => {
                usize::try_from(text.key(row)).ok().and_then(|key| self.by_key.get(key).copied()).unwrap_or(self.null)
            }
        }
    }
}

/// Ids of `N` bytes, as bytes or as hex text.
#[derive(Clone, Copy)]
pub(crate) enum Ids<'a, const N: usize> {
    Bytes(&'a FixedSizeBinaryArray),
    Hex(&'a StringArray),
}

impl<'a, const N: usize> Ids<'a, N> {
    pub(crate) fn of(batch: &'a RecordBatch, name: &str) -> Result<Self> {
        const WANTED: &str = "FixedSizeBinary or hex text";
        let column = column(batch, name, WANTED)?;
        match column.data_type() {
            DataType::FixedSizeBinary(width) if usize::try_from(*width) == Ok(N) => {
                Ok(Self::Bytes(column.as_fixed_size_binary()))
            }
            DataType::Utf8 => Ok(Self::Hex(column.as_string())),
            _ => Err(mismatch(name, WANTED)),
        }
    }

    /// The id, `None` if null or invalid.
    pub(crate) fn get(self, row: usize) -> Option<[u8; N]> {
        match self {
            Self::Bytes(array) if array.is_valid(row) => valid(array.value(row)),
            Self::Hex(array) if array.is_valid(row) => parse_hex(array.value(row)),
            _ => None,
        }
    }
}

/// Attribute maps: lists of key and value in flight, maps in the lake, either of them in a dictionary.
#[derive(Clone, Copy)]
pub(crate) struct Entries<'a> {
    offsets: &'a [i32],
    nulls: Option<&'a NullBuffer>,
    names: &'a StringArray,
    values: &'a StringArray,
}

impl<'a> Entries<'a> {
    /// The view of a list or map array.
    pub(crate) fn of(array: &'a ArrayRef, name: &str) -> Result<Self> {
        const WANTED: &str = "a list or map of text entries";
        let (offsets, nulls, entries) = match array.data_type() {
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                (list.offsets(), list.nulls(), list.values().as_struct_opt())
            }
            DataType::Map(..) => {
                let map = array.as_map();
                (map.offsets(), map.nulls(), Some(map.entries()))
            }
            _ => return Err(mismatch(name, WANTED)),
        };
        let entries = entries.filter(|entries| entries.num_columns() == 2).ok_or_else(|| mismatch(name, WANTED))?;
        let text = |index: usize| entries.column(index).as_string_opt::<i32>().ok_or_else(|| mismatch(name, WANTED));
        Ok(Self { offsets, nulls, names: text(0)?, values: text(1)? })
    }

    /// Keys and values of a row.
    pub(crate) fn row(self, row: usize) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
        let present = self.nulls.is_none_or(|nulls| nulls.is_valid(row));
        let range = if present { self.offsets[row] as usize..self.offsets[row + 1] as usize } else { 0..0 };
        range.map(move |entry| {
            let value = self.values.is_valid(entry).then(|| self.values.value(entry));
            (self.names.value(entry), value)
        })
    }

    /// The value of a key in a row.
    pub(crate) fn find(self, row: usize, key: &str) -> Option<&'a str> {
        self.row(row).find(|(name, _)| *name == key)?.1
    }
}

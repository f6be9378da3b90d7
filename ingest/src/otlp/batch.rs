//! From columns to a record batch in the order of a table's schema.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, Int32Array, RecordBatch, RecordBatchOptions, StringArray, new_null_array,
};
use arrow::datatypes::{DataType, FieldRef, Fields, Int32Type, Schema, TimestampNanosecondType};
use arrow::error::ArrowError;
use rustc_hash::FxHashMap;

use super::column::{NumberColumn, fitted};
use super::resource::ResourceValues;

/// Columns by name.
#[derive(Default)]
pub(super) struct Columns {
    by_name: FxHashMap<&'static str, ArrayRef>,
}

impl Columns {
    pub(super) fn put(&mut self, name: &'static str, column: ArrayRef) {
        self.by_name.insert(name, column);
    }

    /// A time column with `rows` rows.
    pub(super) fn put_time(
        &mut self,
        name: &'static str,
        column: &mut NumberColumn<TimestampNanosecondType>,
        rows: usize,
    ) {
        self.put(name, times(column, rows));
    }

    pub(super) fn put_dictionary(
        &mut self,
        name: &'static str,
        keys: &Int32Array,
        values: ArrayRef,
    ) -> Result<(), ArrowError> {
        self.put(name, Arc::new(DictionaryArray::<Int32Type>::try_new(keys.clone(), values)?));
        Ok(())
    }

    /// The columns that every row has from its resource or scope; they share their keys.
    pub(super) fn put_group(
        &mut self,
        dropped_name: &'static str,
        keys: Vec<i32>,
        values: &ResourceValues,
    ) -> Result<(), ArrowError> {
        let dropped = keys.iter().map(|key| values.dropped[*key as usize]).collect::<Vec<i64>>();
        self.put(dropped_name, Arc::new(arrow::array::Int64Array::from(dropped)));
        let keys = Int32Array::from(fitted(keys));
        for (name, column) in &values.texts {
            self.put_dictionary(name, &keys, Arc::clone(column))?;
        }
        Ok(())
    }

    /// The batch; columns of the schema that nobody put are null.
    pub(super) fn finish(mut self, schema: &Arc<Schema>, rows: usize) -> Result<RecordBatch, ArrowError> {
        let columns = schema
            .fields()
            .iter()
            .map(|field| match self.by_name.remove(field.name().as_str()) {
                Some(column) => column,
                None => new_null_array(field.data_type(), rows),
            })
            .collect();
        debug_assert!(self.by_name.is_empty(), "columns that the schema lacks: {:?}", self.by_name.keys());
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
    }
}

/// A time column in UTC.
pub(super) fn times(column: &mut NumberColumn<TimestampNanosecondType>, rows: usize) -> ArrayRef {
    Arc::new(column.finish(rows).with_timezone("UTC"))
}

/// The item of a list column of the schema.
pub(super) fn item_of(schema: &Schema, column: &str) -> Result<FieldRef, ArrowError> {
    match schema.field_with_name(column)?.data_type() {
        DataType::List(item) => Ok(Arc::clone(item)),
        other => Err(ArrowError::SchemaError(format!("{column} should be a list but is {other}"))),
    }
}

/// The fields of the structs in a list column of the schema.
pub(super) fn fields_of(item: &FieldRef) -> Result<Fields, ArrowError> {
    match item.data_type() {
        DataType::Struct(fields) => Ok(fields.clone()),
        other => Err(ArrowError::SchemaError(format!("{} should be a struct but is {other}", item.name()))),
    }
}

/// The key of a row without a value, until the column is finished.
const NULL: i32 = -1;

/// An enumeration: known numbers by their name, others by their decimal text.
pub(super) struct EnumColumn {
    names: &'static [&'static str],
    others: Vec<i32>,
    keys: Vec<i32>,
}

impl EnumColumn {
    pub(super) fn new(names: &'static [&'static str]) -> Self {
        Self { names, others: Vec::new(), keys: Vec::new() }
    }

    #[inline]
    pub(super) fn push(&mut self, number: i32) {
        let key = match usize::try_from(number) {
            Ok(index) if index < self.names.len() => number,
            _ => self.other(number),
        };
        self.keys.push(key);
    }

    /// Appends a row without a value.
    pub(super) fn push_null(&mut self) {
        self.keys.push(NULL);
    }

    fn other(&mut self, number: i32) -> i32 {
        // Few numbers exist; a sender that makes them up ends in the last one kept.
        const MAX_OTHERS: usize = 256;
        let position = self.others.iter().position(|other| *other == number).unwrap_or_else(|| {
            if self.others.len() < MAX_OTHERS {
                self.others.push(number);
            }
            self.others.len() - 1
        });
        (self.names.len() + position) as i32
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        self.keys.truncate(rows);
    }

    pub(super) fn bytes(&self) -> usize {
        self.keys.len() * 4
    }

    /// The keys and the values they point to; the builder is empty again.
    pub(super) fn finish(&mut self) -> (Int32Array, ArrayRef) {
        let others = std::mem::take(&mut self.others);
        let names = self.names.iter().map(|name| (*name).to_owned());
        let values: StringArray = names.chain(others.iter().map(i32::to_string)).map(Some).collect();
        let keys = std::mem::take(&mut self.keys);
        let keys = if keys.contains(&NULL) {
            keys.into_iter().map(|key| (key != NULL).then_some(key)).collect()
        } else {
            Int32Array::from(fitted(keys))
        };
        (keys, Arc::new(values))
    }
}

//! Columns by name, of a batch or of the structs in a list.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray};
use arrow::datatypes::{DataType, Fields as ArrowFields, Float64Type, Int32Type, Int64Type, TimestampNanosecondType};
use opentelemetry_proto::tonic::common::v1::KeyValue;

use super::EncodeError;
use super::values;

/// Columns with their names.
pub(super) struct Fields<'a> {
    names: &'a ArrowFields,
    columns: &'a [ArrayRef],
}

impl<'a> Fields<'a> {
    pub(super) fn of_batch(batch: &'a RecordBatch) -> Self {
        Self { names: batch.schema_ref().fields(), columns: batch.columns() }
    }

    fn of_structs(structs: &'a StructArray) -> Self {
        Self { names: structs.fields(), columns: structs.columns() }
    }

    fn column(&self, name: &str) -> Result<&'a ArrayRef, EncodeError> {
        let position = self.names.iter().position(|field| field.name() == name);
        position.and_then(|position| self.columns.get(position)).ok_or_else(|| EncodeError::Column(name.to_owned()))
    }

    pub(super) fn text(&self, name: &str, row: usize) -> Result<Option<&'a str>, EncodeError> {
        let column = self.column(name)?.as_string_opt::<i32>().ok_or_else(|| EncodeError::Column(name.to_owned()))?;
        Ok(column.is_valid(row).then(|| column.value(row)))
    }

    /// What is absent in the lake is empty in OTLP.
    pub(super) fn string(&self, name: &str, row: usize) -> Result<String, EncodeError> {
        Ok(self.text(name, row)?.unwrap_or_default().to_owned())
    }

    pub(super) fn id(&self, name: &str, row: usize) -> Result<Vec<u8>, EncodeError> {
        let Some(text) = self.text(name, row)? else { return Ok(Vec::new()) };
        hex::decode(text).map_err(|_| values::misfit(name, text, "hex"))
    }

    pub(super) fn int64(&self, name: &str, row: usize) -> Result<Option<i64>, EncodeError> {
        let column = self.column(name)?.as_primitive_opt::<Int64Type>();
        let column = column.ok_or_else(|| EncodeError::Column(name.to_owned()))?;
        Ok(column.is_valid(row).then(|| column.value(row)))
    }

    pub(super) fn int32(&self, name: &str, row: usize) -> Result<Option<i32>, EncodeError> {
        let column = self.column(name)?.as_primitive_opt::<Int32Type>();
        let column = column.ok_or_else(|| EncodeError::Column(name.to_owned()))?;
        Ok(column.is_valid(row).then(|| column.value(row)))
    }

    pub(super) fn double(&self, name: &str, row: usize) -> Result<Option<f64>, EncodeError> {
        let column = self.column(name)?.as_primitive_opt::<Float64Type>();
        let column = column.ok_or_else(|| EncodeError::Column(name.to_owned()))?;
        Ok(column.is_valid(row).then(|| column.value(row)))
    }

    pub(super) fn boolean(&self, name: &str, row: usize) -> Result<bool, EncodeError> {
        let column = self.column(name)?.as_boolean_opt().ok_or_else(|| EncodeError::Column(name.to_owned()))?;
        Ok(column.is_valid(row) && column.value(row))
    }

    /// A number of 32 bits without a sign, which the lake holds in 64 bits.
    pub(super) fn count(&self, name: &str, row: usize) -> Result<u32, EncodeError> {
        Ok(self.int64(name, row)?.and_then(|count| u32::try_from(count).ok()).unwrap_or_default())
    }

    pub(super) fn time(&self, name: &str, row: usize) -> Result<u64, EncodeError> {
        let column = self.column(name)?.as_primitive_opt::<TimestampNanosecondType>();
        let column = column.ok_or_else(|| EncodeError::Column(name.to_owned()))?;
        Ok(if column.is_valid(row) { u64::try_from(column.value(row)).unwrap_or_default() } else { 0 })
    }

    /// The number of an enumeration; one that has no name is stored as its decimal text.
    pub(super) fn number_of(&self, name: &str, row: usize, names: &[&str]) -> Result<i32, EncodeError> {
        let Some(text) = self.text(name, row)? else { return Ok(0) };
        match names.iter().position(|known| *known == text) {
            Some(position) => Ok(position as i32),
            None => text.parse().map_err(|_| values::misfit(name, text, "enumeration")),
        }
    }

    /// The list of a row; `None` if there is none.
    pub(super) fn list(&self, name: &str, row: usize) -> Result<Option<ArrayRef>, EncodeError> {
        let column = self.column(name)?.as_list_opt::<i32>().ok_or_else(|| EncodeError::Column(name.to_owned()))?;
        Ok(column.is_valid(row).then(|| column.value(row)))
    }

    pub(super) fn int64s(&self, name: &str, row: usize) -> Result<Option<Vec<u64>>, EncodeError> {
        let Some(list) = self.list(name, row)? else { return Ok(None) };
        let numbers = list.as_primitive_opt::<Int64Type>().ok_or_else(|| EncodeError::Column(name.to_owned()))?;
        Ok(Some(numbers.values().iter().map(|number| *number as u64).collect()))
    }

    pub(super) fn doubles(&self, name: &str, row: usize) -> Result<Vec<f64>, EncodeError> {
        let Some(list) = self.list(name, row)? else { return Ok(Vec::new()) };
        let numbers = list.as_primitive_opt::<Float64Type>().ok_or_else(|| EncodeError::Column(name.to_owned()))?;
        Ok(numbers.values().to_vec())
    }

    /// What `read` makes of each struct in the list of a row.
    pub(super) fn each<T>(
        &self,
        name: &str,
        row: usize,
        read: impl Fn(&Fields<'_>, usize) -> Result<T, EncodeError>,
    ) -> Result<Vec<T>, EncodeError> {
        let Some(list) = self.list(name, row)? else { return Ok(Vec::new()) };
        let structs = list.as_struct_opt().ok_or_else(|| EncodeError::Column(name.to_owned()))?;
        let fields = Fields::of_structs(structs);
        (0..structs.len()).map(|row| read(&fields, row)).collect()
    }

    /// The original attributes of a row; `has_renames` says whether the decoder adds derived ones to the list.
    pub(super) fn attributes(&self, name: &str, row: usize, has_renames: bool) -> Result<Vec<KeyValue>, EncodeError> {
        let entries = self.entries(name, row)?;
        let types = self.entries(&format!("{name}_types"), row)?;
        values::attributes(name, &entries, &types, has_renames)
    }

    fn entries(&self, name: &str, row: usize) -> Result<Vec<(&'a str, Option<&'a str>)>, EncodeError> {
        let column = self.column(name)?;
        let wrong = || EncodeError::Column(name.to_owned());
        if !matches!(column.data_type(), DataType::Map(..)) {
            return Err(wrong());
        }
        let map = column.as_map();
        if map.is_null(row) {
            return Ok(Vec::new());
        }
        let keys = map.keys().as_string_opt::<i32>().ok_or_else(wrong)?;
        let texts = map.values().as_string_opt::<i32>().ok_or_else(wrong)?;
        let offsets = map.value_offsets();
        let range = offsets[row] as usize..offsets[row + 1] as usize;
        Ok(range.map(|entry| (keys.value(entry), texts.is_valid(entry).then(|| texts.value(entry)))).collect())
    }
}

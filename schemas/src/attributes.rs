//! Attribute maps: `Map<Utf8, Utf8>` in the lake, `List<Struct<keys, values>>` in flight.
//!
//! Both have the same buffers, so turning one into the other copies nothing. In flight they are
//! lists because Arrow's `interleave` has no kernel for maps.
//!
//! A map holds every attribute as text. Its sibling `..._types` names the type of each value that
//! is not a string; the text of such a value is its OTLP/JSON form.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields};

/// Names that `attributes_types` uses, by kind of `AnyValue`; a string has no entry.
pub mod type_name {
    /// A signed 64-bit integer; text is decimal.
    pub const INT: &str = "int";
    /// A double; text is the shortest form that reads back equal, or `NaN`, `Infinity`, `-Infinity`.
    pub const DOUBLE: &str = "double";
    /// `true` or `false`.
    pub const BOOL: &str = "bool";
    /// Bytes; text is standard base64.
    pub const BYTES: &str = "bytes";
    /// An array; text is the JSON array of OTLP/JSON `AnyValue` objects.
    pub const ARRAY: &str = "array";
    /// A key-value list; text is the JSON array of OTLP/JSON `KeyValue` objects.
    pub const KVLIST: &str = "kvlist";
    /// A value that is present but empty; its text is null.
    pub const EMPTY: &str = "empty";
    /// A string: only written for an entry that the rename map added (see `conventions`).
    pub const STRING: &str = "string";
}

/// The fields of one entry.
pub fn entry_fields() -> Fields {
    Fields::from(vec![Field::new("keys", DataType::Utf8, false), Field::new("values", DataType::Utf8, true)])
}

/// `Map<Utf8, Utf8>`, the lake's type of attributes.
pub fn map_type() -> DataType {
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entry_fields()), false)), false)
}

/// `List<Struct<keys, values>>`, the in-flight type of attributes.
pub fn list_type() -> DataType {
    DataType::List(Arc::new(Field::new("item", DataType::Struct(entry_fields()), false)))
}

/// The in-flight type of a lake type: maps, at any depth, become lists.
pub fn to_lists(lake: &DataType) -> DataType {
    match lake {
        DataType::Map(..) => list_type(),
        DataType::List(item) => DataType::List(with_type(item, to_lists(item.data_type()))),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| with_type(field, to_lists(field.data_type()))).collect())
        }
        other => other.clone(),
    }
}

pub(crate) fn with_type(field: &FieldRef, data_type: DataType) -> FieldRef {
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

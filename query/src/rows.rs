//! Typed access to columns that were read from the lake.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int32Array, Int64Array, ListArray, MapArray, PrimitiveArray,
    StringArray, StructArray, TimestampNanosecondArray,
};
use arrow::datatypes::ArrowPrimitiveType;
use arrow::record_batch::RecordBatch;
use serde_json::{Map, Value};
use tracerag_schemas::attributes::type_name;
use tracerag_schemas::bundle::{json_double, json_integer};
use tracerag_schemas::time::rfc3339;

use crate::error::{QueryError, Result};

/// The columns of a batch, or the fields of a struct.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a> {
    owner: &'a str,
    source: Source<'a>,
}

#[derive(Clone, Copy)]
enum Source<'a> {
    Batch(&'a RecordBatch),
    Struct(&'a StructArray),
}

impl<'a> Columns<'a> {
    pub(crate) fn of(owner: &'a str, batch: &'a RecordBatch) -> Self {
        Self { owner, source: Source::Batch(batch) }
    }

    /// The items of a list of structs, as columns; rows are indices into all items.
    pub(crate) fn items(self, list: &'a ListArray, name: &str) -> Result<Self> {
        let items = list.values().as_struct_opt().ok_or_else(|| self.wrong(name))?;
        Ok(Self { owner: self.owner, source: Source::Struct(items) })
    }

    fn wrong(&self, column: &str) -> QueryError {
        QueryError::Column { dataset: self.owner.to_owned(), column: column.to_owned() }
    }

    fn array(&self, name: &str) -> Result<&'a ArrayRef> {
        match self.source {
            Source::Batch(batch) => batch.column_by_name(name),
            Source::Struct(fields) => fields.column_by_name(name),
        }
        .ok_or_else(|| self.wrong(name))
    }

    fn typed<T: Array + 'static>(&self, name: &str) -> Result<&'a T> {
        self.array(name)?.as_any().downcast_ref().ok_or_else(|| self.wrong(name))
    }

    pub(crate) fn text(&self, name: &str) -> Result<&'a StringArray> {
        self.typed(name)
    }

    pub(crate) fn time(&self, name: &str) -> Result<&'a TimestampNanosecondArray> {
        self.typed(name)
    }

    pub(crate) fn int(&self, name: &str) -> Result<&'a Int64Array> {
        self.typed(name)
    }

    pub(crate) fn code(&self, name: &str) -> Result<&'a Int32Array> {
        self.typed(name)
    }

    pub(crate) fn double(&self, name: &str) -> Result<&'a Float64Array> {
        self.typed(name)
    }

    pub(crate) fn boolean(&self, name: &str) -> Result<&'a BooleanArray> {
        self.typed(name)
    }

    pub(crate) fn list(&self, name: &str) -> Result<&'a ListArray> {
        self.typed(name)
    }

    pub(crate) fn map(&self, name: &str) -> Result<&'a MapArray> {
        self.typed(name)
    }

    /// A map of attributes with the types beside it (`NAME` and `NAME_types`).
    pub(crate) fn attributes(&self, name: &str) -> Result<Attributes<'a>> {
        let (values, types) = (self.map(name)?, self.map(&format!("{name}_types"))?);
        Ok(Attributes { values, types: Some(types) })
    }

    /// A map of texts.
    pub(crate) fn texts_map(&self, name: &str) -> Result<Attributes<'a>> {
        Ok(Attributes { values: self.map(name)?, types: None })
    }
}

/// The text of a row, if it has one.
pub(crate) fn text(column: &StringArray, row: usize) -> Option<&str> {
    column.is_valid(row).then(|| column.value(row))
}

/// The text of a row, owned.
pub(crate) fn owned(column: &StringArray, row: usize) -> Option<String> {
    text(column, row).map(str::to_owned)
}

/// The number of a row, if it has one.
pub(crate) fn number<T: ArrowPrimitiveType>(column: &PrimitiveArray<T>, row: usize) -> Option<T::Native> {
    column.is_valid(row).then(|| column.value(row))
}

/// The truth of a row, if it has one.
pub(crate) fn truth(column: &BooleanArray, row: usize) -> Option<bool> {
    column.is_valid(row).then(|| column.value(row))
}

/// The time of a row as RFC 3339, if it has one.
pub(crate) fn instant(column: &TimestampNanosecondArray, row: usize) -> Option<String> {
    number(column, row).map(rfc3339)
}

/// The indices of a row's items in a list's values; none for null.
pub(crate) fn items(list: &ListArray, row: usize) -> std::ops::Range<usize> {
    if list.is_null(row) {
        return 0..0;
    }
    let offsets = list.value_offsets();
    // Offsets are never negative, by Arrow's format.
    usize::try_from(offsets[row]).unwrap_or(0)..usize::try_from(offsets[row + 1]).unwrap_or(0)
}

/// The texts of a row's list, without nulls.
pub(crate) fn texts(list: &ListArray, row: usize) -> Vec<String> {
    match list.values().as_string_opt::<i32>() {
        Some(values) => items(list, row).filter_map(|item| owned(values, item)).collect(),
        None => vec![],
    }
}

/// A map of attributes with their types.
#[derive(Clone, Copy)]
pub(crate) struct Attributes<'a> {
    values: &'a MapArray,
    types: Option<&'a MapArray>,
}

impl<'a> Attributes<'a> {
    /// A row's attributes as they are stored, and their types: what [`Attributes::json`] is made of.
    pub(crate) fn stored(&self, row: usize) -> Vec<(&'a str, Option<&'a str>)> {
        entries(self.values, row).chain(self.types.into_iter().flat_map(|types| entries(types, row))).collect()
    }

    /// A row's attributes as typed JSON values.
    pub(crate) fn json(&self, row: usize) -> Map<String, Value> {
        let mut json = Map::new();
        for (key, value) in entries(self.values, row) {
            let kind = self
                .types
                .and_then(|types| entries(types, row).find(|(typed, _)| *typed == key).and_then(|(_, kind)| kind));
            json.insert(key.to_owned(), typed(value, kind));
        }
        json
    }
}

/// Keys and values of a row of a map of texts.
pub(crate) fn entries(map: &MapArray, row: usize) -> impl Iterator<Item = (&str, Option<&str>)> {
    let range = if map.is_null(row) {
        0..0
    } else {
        let offsets = map.value_offsets();
        usize::try_from(offsets[row]).unwrap_or(0)..usize::try_from(offsets[row + 1]).unwrap_or(0)
    };
    let keys = map.keys().as_string_opt::<i32>();
    let values = map.values().as_string_opt::<i32>();
    range.filter_map(move |entry| Some((keys?.value(entry), text(values?, entry))))
}

/// A stored attribute as a JSON value of its type. Text that is not of its type stays text.
pub(crate) fn typed(text: Option<&str>, kind: Option<&str>) -> Value {
    let Some(text) = text else { return Value::Null };
    let value = match kind {
        Some(type_name::INT) => text.parse().ok().map(json_integer),
        Some(type_name::DOUBLE) => double(text),
        Some(type_name::BOOL) => text.parse().ok().map(Value::Bool),
        Some(type_name::ARRAY) => serde_json::from_str(text).ok().map(|value| plain_items(&value)),
        Some(type_name::KVLIST) => serde_json::from_str(text).ok().map(|value| plain_members(&value)),
        Some(type_name::EMPTY) => Some(Value::Null),
        _ => None,
    };
    value.unwrap_or_else(|| Value::from(text))
}

fn double(text: &str) -> Option<Value> {
    match text {
        "NaN" => Some(json_double(f64::NAN)),
        "Infinity" => Some(json_double(f64::INFINITY)),
        "-Infinity" => Some(json_double(f64::NEG_INFINITY)),
        _ => text.parse().ok().map(json_double),
    }
}

/// `AnyValue` of OTLP/JSON as the plain value it stands for.
fn plain(any: &Value) -> Value {
    let Some((kind, value)) = any.as_object().and_then(|object| object.iter().next()) else { return Value::Null };
    match (kind.as_str(), value) {
        ("intValue", Value::String(text)) => text.parse().map_or_else(|_| value.clone(), json_integer),
        ("intValue", Value::Number(number)) => number.as_i64().map_or_else(|| value.clone(), json_integer),
        ("arrayValue", array) => plain_items(array.get("values").unwrap_or(&Value::Null)),
        ("kvlistValue", list) => plain_members(list.get("values").unwrap_or(&Value::Null)),
        _ => value.clone(),
    }
}

fn plain_items(items: &Value) -> Value {
    Value::Array(items.as_array().map(|items| items.iter().map(plain).collect()).unwrap_or_default())
}

fn plain_members(members: &Value) -> Value {
    let pairs = members.as_array().map(Vec::as_slice).unwrap_or_default();
    let member = |pair: &Value| {
        let key = pair.get("key")?.as_str()?.to_owned();
        Some((key, pair.get("value").map_or(Value::Null, plain)))
    };
    Value::Object(pairs.iter().filter_map(member).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Attributes come back with the type they were sent with, nested ones too; big integers stay exact.
    #[test]
    fn attributes_are_typed() {
        assert_eq!(typed(Some("42"), Some("int")), json!(42));
        assert_eq!(typed(Some("9007199254740993"), Some("int")), json!("9007199254740993"));
        assert_eq!(typed(Some("42"), None), json!("42"));
        assert_eq!(typed(Some("NaN"), Some("double")), json!("NaN"));
        assert_eq!(typed(Some("true"), Some("bool")), json!(true));
        assert_eq!(typed(None, Some("empty")), Value::Null);
        let array = r#"[{"intValue":"1"},{"stringValue":"a"},{"kvlistValue":{"values":[{"key":"k","value":{"doubleValue":1.5}}]}}]"#;
        assert_eq!(typed(Some(array), Some("array")), json!([1, "a", {"k": 1.5}]));
        let list = r#"[{"key":"a","value":{"boolValue":true}},{"key":"b","value":{}}]"#;
        assert_eq!(typed(Some(list), Some("kvlist")), json!({"a": true, "b": null}));
    }
}

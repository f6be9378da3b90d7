//! Reading fields of JSON objects with errors in words.

use chrono::DateTime;
use serde_json::{Map, Value};

use super::ChangeError;

pub(super) type Object = Map<String, Value>;

/// The object in these bytes. A byte order mark, which some Windows producers send, is ignored.
pub(super) fn object(bytes: &[u8]) -> Result<Object, ChangeError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(ChangeError::NotAnObject),
        // serde_json's messages name a position, never the content.
        Err(error) => Err(ChangeError::NotJson { reason: error.to_string() }),
    }
}

/// A scalar as text; absent, null and empty are all nothing.
pub(super) fn text(object: &Object, field: &str) -> Result<Option<String>, ChangeError> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match scalar(value) {
            Some(text) => Ok(Some(text).filter(|text| !text.is_empty())),
            None => Err(ChangeError::FieldType { field: field.to_owned(), wanted: "a string" }),
        },
    }
}

/// The first of several names that is there.
pub(super) fn any_text(object: &Object, fields: &[&str]) -> Result<Option<String>, ChangeError> {
    for field in fields {
        if let Some(text) = text(object, field)? {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

/// Text of a string, number or boolean.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(boolean) => Some(boolean.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Text of any value but null: strings as they are, the rest as JSON.
pub(super) fn any_value(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// An RFC 3339 time in nanoseconds since the epoch; absent and null are nothing.
pub(super) fn time(object: &Object, field: &str) -> Result<Option<i64>, ChangeError> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => {
            rfc3339(text).map(Some).ok_or_else(|| ChangeError::Time { field: field.to_owned() })
        }
        Some(_) => Err(ChangeError::Time { field: field.to_owned() }),
    }
}

pub(super) fn rfc3339(text: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(text.trim()).ok()?.timestamp_nanos_opt()
}

/// An integer, also where a producer wrote it as `1.0` or `"1"`.
pub(super) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| {
            let double = number.as_f64()?;
            // Beyond 2^53 a double is not the integer that somebody meant.
            (double.fract() == 0.0 && double.abs() <= 9_007_199_254_740_992.0).then_some(double as i64)
        }),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// The object under a name; absent and null are nothing.
pub(super) fn child<'o>(object: &'o Object, field: &str) -> Result<Option<&'o Object>, ChangeError> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(child)) => Ok(Some(child)),
        Some(_) => Err(ChangeError::FieldType { field: field.to_owned(), wanted: "an object" }),
    }
}

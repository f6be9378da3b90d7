//! Texts with the names of their types, back to `AnyValue`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, EntityRef, KeyValue, KeyValueList};
use serde_json::Value as Json;

use super::EncodeError;
use crate::attributes::type_name;
use crate::conventions::{Rename, rename};

pub(super) fn misfit(column: &str, text: &str, wanted: &'static str) -> EncodeError {
    EncodeError::Value { column: column.to_owned(), text: text.to_owned(), wanted }
}

/// The attributes of a list without the derived ones: those behind an old name that may lead to them.
pub(super) fn attributes(
    column: &str,
    entries: &[(&str, Option<&str>)],
    types: &[(&str, Option<&str>)],
    has_renames: bool,
) -> Result<Vec<KeyValue>, EncodeError> {
    let mut old_names: Vec<(&str, Rename)> = Vec::new();
    let mut types: Vec<Option<&(&str, Option<&str>)>> = types.iter().map(Some).collect();
    let mut attributes = Vec::with_capacity(entries.len());
    for (key, text) in entries {
        if old_names.iter().any(|(old, rename)| rename.may_give(old, key)) {
            continue;
        }
        if let Some(rename) = rename(key).filter(|_| has_renames) {
            old_names.push((key, rename));
        }
        // The types of a key that comes more than once stand in the order of its entries.
        let kind = types.iter_mut().find(|slot| slot.is_some_and(|(other, _)| other == key));
        let kind = kind.and_then(Option::take).and_then(|(_, kind)| *kind);
        let value = any_value(column, kind, *text)?;
        attributes.push(KeyValue { key: (*key).to_owned(), value, key_strindex: 0 });
    }
    Ok(attributes)
}

/// The value of a text and its type as the maps of attributes have them; `None` if there is neither. `column` is for the
/// error.
///
/// # Errors
/// [`EncodeError::Value`] for a text that is not of its type.
pub fn any_value(column: &str, kind: Option<&str>, text: Option<&str>) -> Result<Option<AnyValue>, EncodeError> {
    let value = match (kind, text) {
        (Some(type_name::EMPTY), _) => return Ok(Some(AnyValue { value: None })),
        (_, None) => return Ok(None),
        (Some(kind), Some(text)) => typed(column, kind, text)?,
        (None, Some(text)) => Value::StringValue(text.to_owned()),
    };
    Ok(Some(AnyValue { value: Some(value) }))
}

fn typed(column: &str, kind: &str, text: &str) -> Result<Value, EncodeError> {
    let json = || serde_json::from_str::<Json>(text).map_err(|_| misfit(column, text, "JSON array"));
    match kind {
        type_name::STRING => Ok(Value::StringValue(text.to_owned())),
        type_name::INT => text.parse().map(Value::IntValue).map_err(|_| misfit(column, text, "integer")),
        type_name::DOUBLE => double(text).map(Value::DoubleValue).ok_or_else(|| misfit(column, text, "double")),
        type_name::BOOL => text.parse().map(Value::BoolValue).map_err(|_| misfit(column, text, "boolean")),
        type_name::BYTES => STANDARD.decode(text).map(Value::BytesValue).map_err(|_| misfit(column, text, "base64")),
        type_name::ARRAY => {
            array(&json()?).map(Value::ArrayValue).ok_or_else(|| misfit(column, text, "array in OTLP/JSON"))
        }
        type_name::KVLIST => {
            key_values(&json()?).map(Value::KvlistValue).ok_or_else(|| misfit(column, text, "list in OTLP/JSON"))
        }
        _ => Err(misfit(column, kind, "type of an attribute")),
    }
}

fn double(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => text.parse().ok(),
    }
}

fn array(items: &Json) -> Option<ArrayValue> {
    let values = items.as_array()?.iter().map(nested).collect::<Option<_>>()?;
    Some(ArrayValue { values })
}

fn key_values(items: &Json) -> Option<KeyValueList> {
    let pair = |item: &Json| {
        let key = item.get("key")?.as_str()?.to_owned();
        let value = match item.get("value") {
            Some(value) => Some(nested(value)?),
            None => None,
        };
        Some(KeyValue { key, value, key_strindex: 0 })
    };
    Some(KeyValueList { values: items.as_array()?.iter().map(pair).collect::<Option<_>>()? })
}

fn nested(item: &Json) -> Option<AnyValue> {
    let Some((name, value)) = item.as_object()?.iter().next() else { return Some(AnyValue { value: None }) };
    let value = match name.as_str() {
        "stringValue" => Value::StringValue(value.as_str()?.to_owned()),
        "boolValue" => Value::BoolValue(value.as_bool()?),
        "intValue" => Value::IntValue(value.as_str()?.parse().ok()?),
        "doubleValue" => Value::DoubleValue(value.as_f64().or_else(|| double(value.as_str()?))?),
        "bytesValue" => Value::BytesValue(STANDARD.decode(value.as_str()?).ok()?),
        "arrayValue" => Value::ArrayValue(array(value.get("values")?)?),
        "kvlistValue" => Value::KvlistValue(key_values(value.get("values")?)?),
        _ => return None,
    };
    Some(AnyValue { value: Some(value) })
}

/// The entities of a resource.
pub(super) fn entity_refs(json: &str) -> Result<Vec<EntityRef>, EncodeError> {
    let wrong = || misfit("resource_entity_refs", json, "JSON array of entities");
    let items: Json = serde_json::from_str(json).map_err(|_| wrong())?;
    let entity = |item: &Json| {
        let text = |name: &str| Some(item.get(name)?.as_str()?.to_owned());
        let texts = |name: &str| -> Option<Vec<String>> {
            item.get(name)?.as_array()?.iter().map(|text| Some(text.as_str()?.to_owned())).collect()
        };
        Some(EntityRef {
            schema_url: text("schemaUrl")?,
            r#type: text("type")?,
            id_keys: texts("idKeys")?,
            description_keys: texts("descriptionKeys")?,
        })
    };
    items.as_array().and_then(|items| items.iter().map(entity).collect()).ok_or_else(wrong)
}

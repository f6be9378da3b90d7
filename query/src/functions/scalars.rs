//! Scalars: `attr`, `hex`, `unhex`, `json_text` and the `json_get` family.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Float64Array, Int64Array, StringArray, StringBuilder,
};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};
use serde_json::Value;
use tracerag_schemas::ids::push_hex;

use crate::encode::json_texts;
use crate::rows::{entries, text};

/// All scalars of this crate.
pub(crate) fn all() -> Vec<ScalarUDF> {
    use Kind::{Attr, Hex, JsonGet, JsonGetBool, JsonGetFloat, JsonGetInt, JsonText, Unhex};
    [Attr, Hex, Unhex, JsonText, JsonGet("json_get"), JsonGet("json_get_str"), JsonGetInt, JsonGetFloat, JsonGetBool]
        .into_iter()
        .map(Kind::function)
        .collect()
}

/// The text of an attribute in a map of attributes, as an expression.
pub(crate) fn attribute(map: Expr, key: &str) -> Expr {
    Kind::Attr.function().call(vec![map, lit(key)])
}

/// A value as JSON text, as an expression: what cannot be compared itself can be by that.
pub(crate) fn json_text(value: Expr) -> Expr {
    Kind::JsonText.function().call(vec![value])
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    /// `attr(map, key)`: the value of a key, or null.
    Attr,
    /// `hex(binary)`: lower-case hex.
    Hex,
    /// `unhex(text)`: the bytes; null for what is no hex.
    Unhex,
    /// `json_text(value)`: any value as JSON, texts as they are.
    JsonText,
    /// `json_get(text, step ...)`: text as it is, anything else as JSON text. Steps are keys or indices.
    JsonGet(&'static str),
    JsonGetInt,
    JsonGetFloat,
    JsonGetBool,
}

impl Kind {
    fn function(self) -> ScalarUDF {
        ScalarUDF::from(Scalar { kind: self, signature: Signature::user_defined(Volatility::Immutable) })
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Scalar {
    kind: Kind,
    signature: Signature,
}

impl ScalarUDFImpl for Scalar {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Attr => "attr",
            Kind::Hex => "hex",
            Kind::Unhex => "unhex",
            Kind::JsonText => "json_text",
            Kind::JsonGet(name) => name,
            Kind::JsonGetInt => "json_get_int",
            Kind::JsonGetFloat => "json_get_float",
            Kind::JsonGetBool => "json_get_bool",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.kind {
            Kind::Attr | Kind::Hex | Kind::JsonText | Kind::JsonGet(_) => DataType::Utf8,
            Kind::Unhex => DataType::Binary,
            Kind::JsonGetInt => DataType::Int64,
            Kind::JsonGetFloat => DataType::Float64,
            Kind::JsonGetBool => DataType::Boolean,
        })
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match (self.kind, types) {
            (Kind::Attr, [map @ DataType::Map(..), _]) => Ok(vec![map.clone(), DataType::Utf8]),
            (Kind::Attr, _) => plan_err!("write attr(map, key), as in attr(attributes, 'http.route')"),
            (Kind::Hex, [_]) => Ok(vec![DataType::Binary]),
            (Kind::Hex, _) => plan_err!("write hex(binary)"),
            (Kind::Unhex, [_]) => Ok(vec![DataType::Utf8]),
            (Kind::Unhex, _) => plan_err!("write unhex(text)"),
            (Kind::JsonText, [kind]) => Ok(vec![kind.clone()]),
            (Kind::JsonText, _) => plan_err!("write json_text(value)"),
            (_, [_, steps @ ..]) => Ok(std::iter::once(DataType::Utf8)
                .chain(steps.iter().map(|step| if step.is_integer() { DataType::Int64 } else { DataType::Utf8 }))
                .collect()),
            (_, []) => plan_err!("write {}(json, key or index, ..)", self.name()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let array = match (self.kind, arrays.as_slice()) {
            (Kind::Attr, [map, key]) => attr(map, key)?,
            (Kind::Hex, [bytes]) => hex_text(bytes),
            (Kind::Unhex, [digits]) => unhex(digits),
            (Kind::JsonText, [values]) => Arc::new(json_texts(values)?),
            (kind, [json, steps @ ..]) => json_get(kind, json, steps),
            _ => return exec_err!("{} was called without arguments", self.name()),
        };
        if constant {
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
        } else {
            Ok(ColumnarValue::Array(array))
        }
    }
}

fn attr(map: &ArrayRef, key: &ArrayRef) -> Result<ArrayRef> {
    let Some(map) = map.as_map_opt() else { return exec_err!("the first argument of attr is a map") };
    let keys = key.as_string::<i32>();
    let values: StringArray = (0..map.len())
        .map(|row| {
            let key = text(keys, row)?;
            entries(map, row).find(|(known, _)| *known == key).and_then(|(_, value)| value)
        })
        .collect();
    Ok(Arc::new(values))
}

fn hex_text(bytes: &ArrayRef) -> ArrayRef {
    let bytes = bytes.as_binary::<i32>();
    let mut out = StringBuilder::with_capacity(bytes.len(), bytes.value_data().len() * 2);
    let mut digits = String::new();
    for row in bytes {
        match row {
            Some(row) => {
                digits.clear();
                push_hex(row, &mut digits);
                out.append_value(&digits);
            }
            None => out.append_null(),
        }
    }
    Arc::new(out.finish())
}

fn unhex(digits: &ArrayRef) -> ArrayRef {
    let mut out = BinaryBuilder::new();
    for row in digits.as_string::<i32>() {
        out.append_option(row.and_then(|row| hex::decode(row).ok()));
    }
    Arc::new(out.finish())
}

fn json_get(kind: Kind, json: &ArrayRef, steps: &[ArrayRef]) -> ArrayRef {
    let documents = json.as_string::<i32>();
    let found = (0..documents.len()).map(|row| {
        let document: Value = serde_json::from_str(text(documents, row)?).ok()?;
        steps.iter().try_fold(document, |value, step| descend(value, step, row))
    });
    match kind {
        Kind::JsonGetInt => Arc::new(found.map(|value| value?.as_i64()).collect::<Int64Array>()),
        Kind::JsonGetFloat => Arc::new(found.map(|value| value?.as_f64()).collect::<Float64Array>()),
        Kind::JsonGetBool => Arc::new(found.map(|value| value?.as_bool()).collect::<BooleanArray>()),
        _ => Arc::new(
            found
                .map(|value| match value? {
                    Value::Null => None,
                    Value::String(text) => Some(text),
                    other => Some(other.to_string()),
                })
                .collect::<StringArray>(),
        ),
    }
}

fn descend(value: Value, step: &ArrayRef, row: usize) -> Option<Value> {
    if step.is_null(row) {
        return None;
    }
    match (value, step.data_type()) {
        (Value::Object(mut members), DataType::Utf8) => members.remove(step.as_string::<i32>().value(row)),
        (Value::Array(mut items), DataType::Int64) => {
            let index = step.as_primitive::<arrow::datatypes::Int64Type>().value(row);
            let index = usize::try_from(index).ok().filter(|index| *index < items.len())?;
            Some(items.swap_remove(index))
        }
        _ => None,
    }
}

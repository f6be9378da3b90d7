//! `AnyValue` as the JSON that it stands for, without OTLP's names of types around every value.

use super::any_value::{AnyValue, elements, plain, push_json_text, read_pair, utf8};
use super::wire::WireError;

/// The JSON text of a value; nothing for one that is absent.
///
/// # Errors
/// When a nested value is no protobuf, or nested too deeply.
pub(super) fn plain_json(data: &[u8], value: AnyValue<'_>, invalid_utf8: &mut u64) -> Result<String, WireError> {
    let mut out = Vec::new();
    if !matches!(value, AnyValue::Absent | AnyValue::Empty) {
        push(data, value, 0, invalid_utf8, &mut out)?;
    }
    // Only texts and digits were written.
    Ok(String::from_utf8(out).unwrap_or_default())
}

fn push(
    data: &[u8],
    value: AnyValue<'_>,
    depth: usize,
    invalid_utf8: &mut u64,
    out: &mut Vec<u8>,
) -> Result<(), WireError> {
    match value {
        AnyValue::Absent | AnyValue::Empty => out.extend_from_slice(b"null"),
        AnyValue::Text(bytes) => push_json_text(&utf8(bytes, invalid_utf8), out),
        AnyValue::Bool(_) | AnyValue::Int(_) => plain(value, out),
        AnyValue::Double(number) if number.is_finite() => plain(value, out),
        AnyValue::Double(_) | AnyValue::Bytes(_) => {
            let mut text = Vec::new();
            plain(value, &mut text);
            push_json_text(&String::from_utf8_lossy(&text), out);
        }
        AnyValue::Array(slice) | AnyValue::List(slice) => {
            let is_object = matches!(value, AnyValue::List(_));
            out.push(if is_object { b'{' } else { b'[' });
            elements(data, slice, depth, out, |item, out| {
                let item = if is_object {
                    let (key, value) = read_pair(data, item)?;
                    push_json_text(&utf8(key.of(data), invalid_utf8), out);
                    out.push(b':');
                    value
                } else {
                    Some(item)
                };
                let item = item.map_or(Ok(AnyValue::Absent), |item| AnyValue::read(data, item))?;
                push(data, item, depth + 1, invalid_utf8, out)
            })?;
            out.push(if is_object { b'}' } else { b']' });
        }
    }
    Ok(())
}

//! `AnyValue` as text: plain for scalars, OTLP/JSON for what is nested; redacted on the way.

use std::borrow::Cow;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tracerag_schemas::attributes::type_name;

use super::column::TextColumn;
use super::derive::Side;
use super::keys::KeyTable;
use super::wire::{Reader, Slice, WireError, WireErrorKind};
use crate::redact::{AttributeRule, RedactionCounts, Redactor};

/// Deepest nesting that is read. A level takes up to four of JSON, and readers of JSON commonly stop at 128.
pub(super) const MAX_DEPTH: usize = 30;

/// A value, undecoded where it is nested.
#[derive(Clone, Copy, Debug)]
pub(super) enum AnyValue<'a> {
    /// No value at all.
    Absent,
    /// A value without a kind.
    Empty,
    Text(&'a [u8]),
    Bool(bool),
    Int(i64),
    Double(f64),
    Bytes(&'a [u8]),
    Array(Slice),
    List(Slice),
}

impl<'a> AnyValue<'a> {
    /// Reads an `AnyValue` message. As in all of protobuf, the last one of alternatives counts.
    #[inline]
    pub(super) fn read(data: &'a [u8], slice: Slice) -> Result<Self, WireError> {
        let mut value = AnyValue::Empty;
        let mut reader = Reader::within(data, slice);
        while let Some(field) = reader.next()? {
            match field.number {
                1 => value = AnyValue::Text(field.bytes()?.of(data)),
                2 => value = AnyValue::Bool(field.varint()? != 0),
                3 => value = AnyValue::Int(field.varint()? as i64),
                4 => value = AnyValue::Double(field.double()?),
                5 => value = AnyValue::Array(field.bytes()?),
                6 => value = AnyValue::List(field.bytes()?),
                7 => value = AnyValue::Bytes(field.bytes()?.of(data)),
                // Field 8 is an index into the tables of profiles; elsewhere it means nothing.
                _ => {}
            }
        }
        Ok(value)
    }

    /// The name of the kind; none for strings and for what is absent.
    pub(super) fn type_name(self) -> Option<&'static str> {
        match self {
            AnyValue::Absent | AnyValue::Text(_) => None,
            AnyValue::Empty => Some(type_name::EMPTY),
            AnyValue::Bool(_) => Some(type_name::BOOL),
            AnyValue::Int(_) => Some(type_name::INT),
            AnyValue::Double(_) => Some(type_name::DOUBLE),
            AnyValue::Bytes(_) => Some(type_name::BYTES),
            AnyValue::Array(_) => Some(type_name::ARRAY),
            AnyValue::List(_) => Some(type_name::KVLIST),
        }
    }
}

/// Bytes as text; what is not UTF-8 becomes U+FFFD and is counted.
#[inline]
pub(super) fn utf8<'a>(bytes: &'a [u8], invalid: &mut u64) -> Cow<'a, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => {
            *invalid += 1;
            String::from_utf8_lossy(bytes)
        }
    }
}

/// The decimal digits of a number.
#[inline]
pub(super) fn push_int(value: i64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

/// The shortest decimal form that reads back equal, or the words of OTLP/JSON.
pub(super) fn push_double(value: f64, out: &mut Vec<u8>) {
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
    } else {
        // Writing to a vector cannot fail.
        let _ = write!(out, "{value:?}");
    }
}

/// A JSON string with its quotes.
pub(super) fn push_json_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => {
                let _ = write!(out, "\\u{byte:04x}");
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// Whether a rule needs to see the text of a value that is no string.
fn sees_everything(rule: AttributeRule) -> bool {
    !matches!(rule, AttributeRule::Scan | AttributeRule::RecordId | AttributeRule::Pass)
}

/// Whether the name of a member says what is done with its value.
fn decides(rule: AttributeRule) -> bool {
    sees_everything(rule) && rule != AttributeRule::Drop
}

/// What the names around a nested value say of it.
#[derive(Clone, Copy)]
struct Named {
    rule: AttributeRule,
    /// The innermost of them.
    key: Option<u32>,
}

/// Writes values as text, with what that needs.
pub(super) struct ValueWriter<'w> {
    pub(super) data: &'w [u8],
    pub(super) tenant: &'w str,
    pub(super) side: Side,
    pub(super) redactor: &'w Redactor,
    pub(super) keys: &'w mut KeyTable,
    pub(super) redactions: &'w mut RedactionCounts,
    pub(super) invalid_utf8: &'w mut u64,
}

impl ValueWriter<'_> {
    /// Appends a value as a row of `out` and says the type of what was written: a number that had to be
    /// masked is a string. `key` is the name under which the value stands, if it has one.
    ///
    /// # Errors
    /// When a nested value is no protobuf, or nested too deeply.
    #[inline]
    pub(super) fn push(
        &mut self,
        value: AnyValue<'_>,
        rule: AttributeRule,
        key: Option<u32>,
        out: &mut TextColumn,
    ) -> Result<Option<&'static str>, WireError> {
        match value {
            AnyValue::Text(bytes) => {
                let text = utf8(bytes, self.invalid_utf8);
                out.push(&self.redactor.redact_value(self.tenant, rule, &text, self.redactions));
                Ok(None)
            }
            AnyValue::Absent | AnyValue::Empty => {
                out.push_null();
                Ok(value.type_name())
            }
            AnyValue::Array(_) | AnyValue::List(_) => {
                // What is in it is no id of a record because it is named like one.
                let rule = if rule == AttributeRule::RecordId { AttributeRule::Scan } else { rule };
                let open = out.open();
                self.json_items(value, Named { rule, key }, 0, open)?;
                out.commit();
                Ok(value.type_name())
            }
            _ => Ok(self.push_scalar(value, rule, out)),
        }
    }

    fn push_scalar(&mut self, value: AnyValue<'_>, rule: AttributeRule, out: &mut TextColumn) -> Option<&'static str> {
        let open = out.open();
        let start = open.len();
        plain(value, open);
        let kind = match self.masked(value, rule, &open[start..]) {
            Some(masked) => {
                open.truncate(start);
                open.extend_from_slice(masked.as_bytes());
                None
            }
            None => value.type_name(),
        };
        out.commit();
        kind
    }

    /// What stands in the place of a scalar that is no string, if its text must not be stored.
    fn masked(&mut self, value: AnyValue<'_>, rule: AttributeRule, text: &[u8]) -> Option<String> {
        let is_suspect = match value {
            AnyValue::Int(number) => Redactor::int_needs_scan(number),
            AnyValue::Double(number) => number >= 1e6,
            AnyValue::Bytes(bytes) => return self.masked_bytes(bytes, rule),
            _ => false,
        };
        if rule == AttributeRule::Pass || !(is_suspect || sees_everything(rule)) {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        // A double's text ends in ".0", which would hide a card number behind a fraction.
        let text = if matches!(value, AnyValue::Double(_)) { text.strip_suffix(".0").unwrap_or(text) } else { text };
        match self.redactor.redact_value(self.tenant, rule, text, self.redactions) {
            Cow::Owned(masked) => Some(masked),
            Cow::Borrowed(_) => None,
        }
    }

    /// Bytes are searched only if they are text; masked ones are stored as a string.
    fn masked_bytes(&mut self, bytes: &[u8], rule: AttributeRule) -> Option<String> {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) if sees_everything(rule) => Cow::Owned(STANDARD.encode(bytes)),
            Err(_) => return None,
        };
        match self.redactor.redact_value(self.tenant, rule, &text, self.redactions) {
            Cow::Owned(masked) => Some(masked),
            Cow::Borrowed(_) => None,
        }
    }

    /// The elements of an array or key-value list as a JSON array.
    fn json_items(
        &mut self,
        value: AnyValue<'_>,
        named: Named,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), WireError> {
        let (AnyValue::Array(slice) | AnyValue::List(slice)) = value else { return Ok(()) };
        let data = self.data;
        out.push(b'[');
        // `--password` in a list of arguments says what the next one is.
        let mut option = None;
        elements(data, slice, depth, out, |item, out| match value {
            AnyValue::List(_) => self.json_pair(item, named, depth, out),
            _ => {
                let element = AnyValue::read(data, item)?;
                let text = match element {
                    AnyValue::Text(bytes) => std::str::from_utf8(bytes).unwrap_or_default(),
                    _ => "",
                };
                let behind = option.take().filter(|_| !decides(named.rule) && !text.starts_with('-'));
                option = self.redactor.rule_behind_option(text);
                self.json(element, Named { rule: behind.unwrap_or(named.rule), ..named }, depth, out)
            }
        })?;
        out.push(b']');
        Ok(())
    }

    fn json_pair(&mut self, pair: Slice, around: Named, depth: usize, out: &mut Vec<u8>) -> Result<(), WireError> {
        let data = self.data;
        let (key, value) = read_pair(data, pair)?;
        let key = key.of(data);
        let id = self.keys.id(key, self.redactor, self.redactions);
        // The innermost name that says something decides, first together with the one around it. What a policy
        // keeps by name it keeps as a whole.
        let qualified = around.key.map(|parent| self.keys.qualified(parent, id, self.redactor));
        let says = |id: u32| Some(self.keys.get(id).rule(self.side)).filter(|rule| decides(*rule));
        let rule = qualified.and_then(says).or_else(|| says(id)).unwrap_or(around.rule);
        out.extend_from_slice(b"{\"key\":");
        push_json_text(&self.keys.get(id).name, out);
        if let Some(value) = value {
            out.extend_from_slice(b",\"value\":");
            self.json(AnyValue::read(data, value)?, Named { rule, key: Some(id) }, depth, out)?;
        }
        out.push(b'}');
        Ok(())
    }

    /// A value as an OTLP/JSON `AnyValue` object.
    fn json(&mut self, value: AnyValue<'_>, named: Named, depth: usize, out: &mut Vec<u8>) -> Result<(), WireError> {
        let rule = named.rule;
        match value {
            AnyValue::Absent | AnyValue::Empty => out.extend_from_slice(b"{}"),
            AnyValue::Text(bytes) => {
                let text = utf8(bytes, self.invalid_utf8);
                let text = self.redactor.redact_value(self.tenant, rule, &text, self.redactions);
                push_member("stringValue", &text, out);
            }
            AnyValue::Array(_) | AnyValue::List(_) => {
                let name = if matches!(value, AnyValue::Array(_)) { "arrayValue" } else { "kvlistValue" };
                out.extend_from_slice(b"{\"");
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b"\":{\"values\":");
                self.json_items(value, named, depth + 1, out)?;
                out.extend_from_slice(b"}}");
            }
            AnyValue::Bool(_) | AnyValue::Int(_) | AnyValue::Double(_) | AnyValue::Bytes(_) => {
                let mut text = Vec::new();
                plain(value, &mut text);
                match (self.masked(value, rule, &text), value) {
                    (Some(masked), _) => push_member("stringValue", &masked, out),
                    (None, AnyValue::Bool(_)) => push_raw_member("boolValue", &text, out),
                    (None, AnyValue::Int(_)) => push_member("intValue", &String::from_utf8_lossy(&text), out),
                    (None, AnyValue::Double(number)) if number.is_finite() => {
                        push_raw_member("doubleValue", &text, out)
                    }
                    (None, AnyValue::Double(_)) => push_member("doubleValue", &String::from_utf8_lossy(&text), out),
                    (None, _) => push_member("bytesValue", &String::from_utf8_lossy(&text), out),
                }
            }
        }
        Ok(())
    }
}

/// Writes the elements of an array or key-value list at this depth by `each`, with commas between them.
///
/// # Errors
/// When they are nested too deeply, or are no protobuf.
pub(super) fn elements(
    data: &[u8],
    slice: Slice,
    depth: usize,
    out: &mut Vec<u8>,
    mut each: impl FnMut(Slice, &mut Vec<u8>) -> Result<(), WireError>,
) -> Result<(), WireError> {
    if depth == MAX_DEPTH {
        return Err(WireError { at: slice.at(), kind: WireErrorKind::Depth(MAX_DEPTH) });
    }
    let mut is_first = true;
    let mut reader = Reader::within(data, slice);
    while let Some(field) = reader.next()? {
        if field.number != 1 {
            continue;
        }
        if !std::mem::take(&mut is_first) {
            out.push(b',');
        }
        each(field.bytes()?, out)?;
    }
    Ok(())
}

/// Key and value of a `KeyValue`; the value may be absent.
#[inline]
pub(super) fn read_pair(data: &[u8], pair: Slice) -> Result<(Slice, Option<Slice>), WireError> {
    let (mut key, mut value) = (Slice::default(), None);
    let mut reader = Reader::within(data, pair);
    while let Some(field) = reader.next()? {
        match field.number {
            1 => key = field.bytes()?,
            2 => value = Some(field.bytes()?),
            _ => {}
        }
    }
    Ok((key, value))
}

/// The text of a scalar that is no string.
pub(super) fn plain(value: AnyValue<'_>, out: &mut Vec<u8>) {
    match value {
        AnyValue::Bool(flag) => out.extend_from_slice(if flag { b"true" } else { b"false" }),
        AnyValue::Int(number) => push_int(number, out),
        AnyValue::Double(number) => push_double(number, out),
        AnyValue::Bytes(bytes) => out.extend_from_slice(STANDARD.encode(bytes).as_bytes()),
        _ => {}
    }
}

fn push_member(name: &str, text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    push_json_text(text, out);
    out.push(b'}');
}

fn push_raw_member(name: &str, text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    out.extend_from_slice(text);
    out.push(b'}');
}

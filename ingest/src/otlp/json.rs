//! OTLP/JSON to OTLP protobuf, in one pass and without a tree: both encodings then go through one decoder and
//! cannot differ.
//!
//! The rules are those of the OTLP specification, "JSON Protobuf Encoding"
//! (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>). Beyond them this accepts, and counts,
//! what files in the wild have: ids in base64, names of enumerations, names of fields in snake case, numbers
//! as text and the other way round.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};

use super::Signal;
use super::counts::DecodeCounts;
use super::json_schema::{FieldType, Kind, LOGS, METRICS, MessageType, TRACES};

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

/// What stands where something else is expected. Never the content: reasons are logged, stored and sent on, and
/// what was refused has not been redacted.
const A_STRING: Unexpected<'static> = Unexpected::Other("a string");
const A_NUMBER: Unexpected<'static> = Unexpected::Other("a number");
const A_BOOLEAN: Unexpected<'static> = Unexpected::Other("a boolean");

/// The protobuf form of a message.
///
/// # Errors
/// When the text is no JSON or a value cannot be read as the type of its field.
pub(super) fn to_proto(signal: Signal, text: &[u8], counts: &mut DecodeCounts) -> Result<Vec<u8>, serde_json::Error> {
    let message = match signal {
        Signal::Spans => &TRACES,
        Signal::Logs => &LOGS,
        Signal::Metrics => &METRICS,
    };
    let mut out = Vec::with_capacity(text.len() / 2);
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    MessageSeed { message, out: &mut out, counts }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(out)
}

/// Writes the fields of a JSON object.
struct MessageSeed<'s> {
    message: &'static MessageType,
    out: &'s mut Vec<u8>,
    counts: &'s mut DecodeCounts,
}

impl<'de> DeserializeSeed<'de> for MessageSeed<'_> {
    type Value = ();

    // Not `deserialize_map`: the reader would show what stands there instead of an object.
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for MessageSeed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "an object for {}", self.message.name)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Err(E::invalid_type(A_BOOLEAN, &self))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Err(E::invalid_type(A_NUMBER, &self))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Err(E::invalid_type(A_NUMBER, &self))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Err(E::invalid_type(A_NUMBER, &self))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Err(E::invalid_type(A_STRING, &self))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key_seed(KeySeed { message: self.message, counts: self.counts })? {
            match field {
                Some(field) => {
                    map.next_value_seed(ValueSeed { field, is_element: false, out: self.out, counts: self.counts })?
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Finds the field of a name; unknown ones must be ignored.
struct KeySeed<'s> {
    message: &'static MessageType,
    counts: &'s mut DecodeCounts,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = Option<&'static FieldType>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Option<&'static FieldType>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of a field")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        let find = |name: &str| self.message.fields.iter().find(|field| field.json == name);
        let field = find(name);
        if field.is_some() || !name.contains('_') {
            return Ok(field);
        }
        let field = find(&camel_case(name));
        self.counts.json_snake_case += u64::from(field.is_some());
        Ok(field)
    }
}

fn camel_case(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut is_start = false;
    for letter in name.chars() {
        if letter == '_' {
            is_start = true;
        } else if std::mem::take(&mut is_start) {
            camel.push(letter.to_ascii_uppercase());
        } else {
            camel.push(letter);
        }
    }
    camel
}

/// Writes the value of a field, tag included.
struct ValueSeed<'s> {
    field: &'static FieldType,
    is_element: bool,
    out: &'s mut Vec<u8>,
    counts: &'s mut DecodeCounts,
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.field.kind {
            Kind::Text => "a string",
            Kind::Id => "a string of hex digits",
            Kind::Bytes => "a string in base64",
            Kind::Bool => "true or false",
            Kind::Message(message) => message.name,
            Kind::Enum(_) => "the number of an enumeration",
            _ => "a number",
        };
        let list = if self.field.is_repeated && !self.is_element { "a list, each element " } else { "" };
        write!(formatter, "{list}{kind} for {}", self.field.json)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if !self.field.is_repeated || self.is_element {
            return Err(A::Error::invalid_type(Unexpected::Seq, &self));
        }
        let Self { field, out, counts, .. } = self;
        while list
            .next_element_seed(ValueSeed { field, is_element: true, out: &mut *out, counts: &mut *counts })?
            .is_some()
        {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Kind::Message(message) = self.field.kind else {
            return Err(A::Error::invalid_type(Unexpected::Map, &self));
        };
        push_tag(self.field.number, 2, self.out);
        let start = self.out.len();
        MessageSeed { message, out: &mut *self.out, counts: self.counts }.visit_map(map)?;
        insert_length(start, self.out);
        Ok(())
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<(), E> {
        match self.field.kind {
            Kind::Bool => {
                self.push_varint(u64::from(flag));
                Ok(())
            }
            _ => Err(E::invalid_type(A_BOOLEAN, &self)),
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.push_integer(i128::from(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.push_integer(i128::from(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        if matches!(self.field.kind, Kind::Double) {
            self.push_double(number);
            return Ok(());
        }
        // 2^63 as a double; beyond it a double no longer says which integer was meant.
        if number.fract() == 0.0 && number.abs() <= 9_223_372_036_854_775_808.0 {
            self.counts.json_other_types += 1;
            return self.push_integer(number as i128);
        }
        Err(E::invalid_type(A_NUMBER, &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        match self.field.kind {
            Kind::Text => self.push_bytes(text.as_bytes()),
            Kind::Id => {
                let id = read_id(text, self.counts);
                self.push_bytes(&id);
            }
            Kind::Bytes => match BASE64.decode(text).or_else(|_| BASE64_URL.decode(text)) {
                Ok(bytes) => self.push_bytes(&bytes),
                Err(_) => return Err(E::invalid_value(A_STRING, &self)),
            },
            Kind::Double => match read_double(text) {
                Some((number, is_word)) => {
                    self.counts.json_other_types += u64::from(!is_word);
                    self.push_double(number);
                }
                None => return Err(E::invalid_value(A_STRING, &self)),
            },
            Kind::Bool => match text {
                "true" | "false" => {
                    self.counts.json_other_types += 1;
                    self.push_varint(u64::from(text == "true"));
                }
                _ => return Err(E::invalid_value(A_STRING, &self)),
            },
            Kind::Enum(names) => match names.iter().position(|name| *name == text) {
                Some(number) => {
                    self.counts.json_enum_names += 1;
                    self.push_varint(number as u64);
                }
                None => return self.push_integer_text(text),
            },
            Kind::Message(_) => return Err(E::invalid_type(A_STRING, &self)),
            Kind::Int64 | Kind::Uint64 | Kind::Fixed64 | Kind::Sfixed64 => return self.push_integer_text(text),
            Kind::Uint32 | Kind::Sint32 | Kind::Fixed32 => {
                self.counts.json_other_types += 1;
                return self.push_integer_text(text);
            }
        }
        Ok(())
    }
}

impl ValueSeed<'_> {
    fn is_left_out(&self, is_default: bool) -> bool {
        is_default && !self.field.is_explicit
    }

    fn push_bytes(self, bytes: &[u8]) {
        if !self.is_left_out(bytes.is_empty()) {
            push_tag(self.field.number, 2, self.out);
            push_varint(bytes.len() as u64, self.out);
            self.out.extend_from_slice(bytes);
        }
    }

    fn push_varint(self, number: u64) {
        if !self.is_left_out(number == 0) {
            push_tag(self.field.number, 0, self.out);
            push_varint(number, self.out);
        }
    }

    fn push_fixed64(self, bits: u64) {
        if !self.is_left_out(bits == 0) {
            push_tag(self.field.number, 1, self.out);
            self.out.extend_from_slice(&bits.to_le_bytes());
        }
    }

    fn push_double(self, number: f64) {
        self.push_fixed64(number.to_bits());
    }

    fn push_integer_text<E: Error>(self, text: &str) -> Result<(), E> {
        match text.trim().parse::<i128>() {
            Ok(number) => self.push_integer(number),
            Err(_) => match text.trim().parse::<f64>() {
                Ok(number) => self.visit_f64(number),
                Err(_) => Err(E::invalid_value(A_STRING, &self)),
            },
        }
    }

    fn push_integer<E: Error>(self, number: i128) -> Result<(), E> {
        let misfit = |seed: Self| Err(E::custom(format_args!("a number out of range for {}", seed.field.json)));
        match self.field.kind {
            Kind::Double => self.push_double(number as f64),
            Kind::Int64 => match i64::try_from(number) {
                Ok(number) => self.push_varint(number as u64),
                Err(_) => return misfit(self),
            },
            Kind::Sfixed64 => match i64::try_from(number) {
                Ok(number) => self.push_fixed64(number as u64),
                Err(_) => return misfit(self),
            },
            Kind::Uint64 => match u64::try_from(number) {
                Ok(number) => self.push_varint(number),
                Err(_) => return misfit(self),
            },
            // Some exporters write a negative number for a time that they do not know.
            Kind::Fixed64 if number < 0 => self.counts.json_other_types += 1,
            Kind::Fixed64 => match u64::try_from(number) {
                Ok(number) => self.push_fixed64(number),
                Err(_) => return misfit(self),
            },
            Kind::Enum(_) => match i32::try_from(number) {
                Ok(number) => self.push_varint(i64::from(number) as u64),
                Err(_) => return misfit(self),
            },
            Kind::Sint32 => match i32::try_from(number) {
                Ok(number) => self.push_varint(u64::from(((number << 1) ^ (number >> 31)) as u32)),
                Err(_) => return misfit(self),
            },
            Kind::Uint32 => match u32::try_from(number) {
                Ok(number) => self.push_varint(u64::from(number)),
                Err(_) => return misfit(self),
            },
            Kind::Fixed32 => match u32::try_from(number) {
                Ok(0) if !self.field.is_explicit => {}
                Ok(number) => {
                    push_tag(self.field.number, 5, self.out);
                    self.out.extend_from_slice(&number.to_le_bytes());
                }
                Err(_) => return misfit(self),
            },
            Kind::Text | Kind::Id | Kind::Bytes | Kind::Bool | Kind::Message(_) => {
                return Err(E::invalid_type(A_NUMBER, &self));
            }
        }
        Ok(())
    }
}

/// Hex by the rule, else base64. What is neither becomes a byte that no id has: the record is then dropped or
/// its reference left out, and counted, by the decoder.
fn read_id<'t>(text: &'t str, counts: &mut DecodeCounts) -> Cow<'t, [u8]> {
    let hex = hex::decode(text).ok();
    if let Some(bytes) = hex.as_ref().filter(|bytes| matches!(bytes.len(), 0 | 8 | 16)) {
        return Cow::Owned(bytes.clone());
    }
    let base64 = BASE64.decode(text).or_else(|_| BASE64_URL.decode(text)).ok();
    match base64.filter(|bytes| matches!(bytes.len(), 8 | 16)) {
        Some(bytes) => {
            counts.json_base64_ids += 1;
            Cow::Owned(bytes)
        }
        None => Cow::Owned(hex.unwrap_or_else(|| vec![0])),
    }
}

/// A double and whether it is one of the three words that stand for what JSON has no number for.
fn read_double(text: &str) -> Option<(f64, bool)> {
    match text {
        "NaN" => Some((f64::NAN, true)),
        "Infinity" => Some((f64::INFINITY, true)),
        "-Infinity" => Some((f64::NEG_INFINITY, true)),
        _ => text.trim().parse().ok().map(|number| (number, false)),
    }
}

fn push_tag(number: u32, wire_type: u32, out: &mut Vec<u8>) {
    push_varint(u64::from(number << 3 | wire_type), out);
}

fn push_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Puts the length of what was written from `start` on in front of it.
fn insert_length(start: usize, out: &mut Vec<u8>) {
    let end = out.len();
    push_varint((end - start) as u64, out);
    let length = out.len() - end;
    out[start..].rotate_right(length);
}

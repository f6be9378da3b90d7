//! OTLP/JSON to OTLP protobuf, in one pass and without a tree: both encodings then go through one decoder and
//! cannot differ.
//!
//! The rules are those of the OTLP specification, "JSON Protobuf Encoding"
//! (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>). Beyond them this accepts, and counts,
//! what files in the wild have: ids in base64, names of enumerations, names of fields in snake case, numbers
//! as text and the other way round. A value that fits its field in no way is left out alone, and counted.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error, Expected, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor,
};

use super::Signal;
use super::counts::DecodeCounts;
use super::json_repair::without_lone_surrogates;
use super::json_scalars::{NO_ID, read_bytes, read_double, read_id};
use super::json_schema::{ANY_VALUE, FieldType, Kind, LOGS, METRICS, MessageType, TRACES};

/// What stands where something else is expected. Never the content: reasons are logged, stored and sent on, and
/// what was refused has not been redacted.
const A_STRING: &str = "a string";
const A_NUMBER: &str = "a number";
const A_BOOLEAN: &str = "a boolean";

/// Containers that may be open around a value. The reader itself gives a message up at 128.
const MAX_OPEN: usize = 120;

/// A message in protobuf.
pub(crate) struct Converted {
    pub(crate) proto: Vec<u8>,
    /// What is wrong with the first value that was left out because it does not fit its field.
    pub(crate) misfit: Option<String>,
}

/// What is noted on the way.
struct Notes {
    counts: DecodeCounts,
    misfit: Option<String>,
}

/// The protobuf form of a message. A value that cannot be read as the type of its field is left out and counted.
///
/// # Errors
/// When the text is no JSON, or no object.
pub(crate) fn to_proto(signal: Signal, text: &[u8], counts: &mut DecodeCounts) -> Result<Converted, serde_json::Error> {
    let message = match signal {
        Signal::Spans => &TRACES,
        Signal::Logs => &LOGS,
        Signal::Metrics => &METRICS,
    };
    let mut notes = Notes { counts: *counts, misfit: None };
    let text = without_lone_surrogates(text, &mut notes.counts.json_lone_surrogates);
    let mut out = Vec::with_capacity(text.len() / 2);
    let mut deserializer = serde_json::Deserializer::from_slice(&text);
    RequestSeed { message, out: &mut out, notes: &mut notes }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    *counts = notes.counts;
    Ok(Converted { proto: out, misfit: notes.misfit })
}

/// Writes the whole message.
struct RequestSeed<'s> {
    message: &'static MessageType,
    out: &'s mut Vec<u8>,
    notes: &'s mut Notes,
}

impl<'de> DeserializeSeed<'de> for RequestSeed<'_> {
    type Value = ();

    // Not `deserialize_map`: the reader would show what stands there instead of an object.
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RequestSeed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "an object for {}", self.message.name)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Err(E::invalid_type(Unexpected::Other(A_BOOLEAN), &self))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Err(E::invalid_type(Unexpected::Other(A_NUMBER), &self))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Err(E::invalid_type(Unexpected::Other(A_NUMBER), &self))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Err(E::invalid_type(Unexpected::Other(A_NUMBER), &self))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Err(E::invalid_type(Unexpected::Other(A_STRING), &self))
    }

    /// An object that has members, but not the one that it must have, is another message: its members would all be
    /// ignored, and nothing would say so.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { message, out, notes } = self;
        let (mut is_empty, mut is_known, mut foreign) = (true, false, None);
        while let Some((field, request)) = map.next_key_seed(RequestKeySeed { message, notes: &mut *notes })? {
            is_empty = false;
            match field {
                Some(field) => {
                    is_known = true;
                    let (out, notes) = (&mut *out, &mut *notes);
                    map.next_value_seed(ValueSeed { field, is_element: false, open: 1, out, notes })?;
                }
                None => {
                    foreign = foreign.or(request);
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if is_empty || is_known {
            return Ok(());
        }
        let expected = message.fields.first().map_or("", |field| field.json);
        Err(match foreign {
            Some(request) => A::Error::custom(format_args!("it has {request:?}, expected {expected:?}")),
            None => A::Error::custom(format_args!("it has no {expected:?}")),
        })
    }
}

/// What the messages of all signals hold.
const REQUESTS: [&str; 4] = ["resourceSpans", "resourceLogs", "resourceMetrics", "resourceProfiles"];

/// Finds the field of a name, or that it is one of [`REQUESTS`].
struct RequestKeySeed<'s> {
    message: &'static MessageType,
    notes: &'s mut Notes,
}

impl<'de> DeserializeSeed<'de> for RequestKeySeed<'_> {
    type Value = (Option<&'static FieldType>, Option<&'static str>);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for RequestKeySeed<'_> {
    type Value = (Option<&'static FieldType>, Option<&'static str>);

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of a field")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        let field = KeySeed { message: self.message, notes: self.notes }.visit_str::<E>(name)?;
        let camel = camel_case(name);
        Ok((field, REQUESTS.into_iter().find(|request| *request == camel)))
    }
}

/// Writes the fields of a JSON object, which is the `open`th container around its values.
fn write_fields<'de, A: MapAccess<'de>>(
    message: &'static MessageType,
    open: usize,
    mut map: A,
    out: &mut Vec<u8>,
    notes: &mut Notes,
) -> Result<(), A::Error> {
    while let Some(field) = map.next_key_seed(KeySeed { message, notes: &mut *notes })? {
        match field {
            Some(field) => {
                map.next_value_seed(ValueSeed { field, is_element: false, open, out: &mut *out, notes: &mut *notes })?;
            }
            None => {
                map.next_value::<IgnoredAny>()?;
            }
        }
    }
    Ok(())
}

/// Finds the field of a name; unknown ones must be ignored.
struct KeySeed<'s> {
    message: &'static MessageType,
    notes: &'s mut Notes,
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
        self.notes.counts.json_snake_case += u64::from(field.is_some());
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

/// Writes the value of a field, tag included, or leaves it out where it does not fit.
struct ValueSeed<'s> {
    field: &'static FieldType,
    is_element: bool,
    /// Objects and lists that are open around the value.
    open: usize,
    out: &'s mut Vec<u8>,
    notes: &'s mut Notes,
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.open < MAX_OPEN {
            return deserializer.deserialize_any(self);
        }
        // What is ignored may be nested as deeply as it likes.
        deserializer.deserialize_ignored_any(IgnoredAny)?;
        self.leave_out("a value nested too deeply");
        Ok(())
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
            while list.next_element::<IgnoredAny>()?.is_some() {}
            self.leave_out("a list");
            return Ok(());
        }
        let Self { field, open, out, notes, .. } = self;
        let open = open + 1;
        while list
            .next_element_seed(ValueSeed { field, is_element: true, open, out: &mut *out, notes: &mut *notes })?
            .is_some()
        {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Kind::Message(message) = self.field.kind else {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            self.leave_out("an object");
            return Ok(());
        };
        push_tag(self.field.number, 2, self.out);
        let start = self.out.len();
        write_fields(message, self.open + 1, map, self.out, self.notes)?;
        insert_length(start, self.out);
        Ok(())
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<(), E> {
        self.push_bool(flag);
        Ok(())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.push_integer(i128::from(number));
        Ok(())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.push_integer(i128::from(number));
        Ok(())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.push_float(number);
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.push_text(text);
        Ok(())
    }
}

impl ValueSeed<'_> {
    /// A value that does not fit costs its field and not the message. An id is written all the same, as one that is
    /// not valid: its record must not look as if it had none.
    fn leave_out(self, what: &str) {
        if matches!(self.field.kind, Kind::Id) {
            self.push_bytes(&NO_ID);
            return;
        }
        if self.notes.misfit.is_none() {
            let expected: &dyn Expected = &self;
            let reason = format!("invalid type: {what}, expected {expected}");
            self.notes.misfit = Some(reason);
        }
        self.notes.counts.json_misfits += 1;
    }

    /// A scalar in the place of an `AnyValue`: what it should be is clear.
    fn push_any_value(self, member: &str, push: impl FnOnce(ValueSeed<'_>)) {
        let Some(field) = ANY_VALUE.fields.iter().find(|field| field.json == member) else { return };
        self.notes.counts.json_other_types += 1;
        push_tag(self.field.number, 2, self.out);
        let start = self.out.len();
        push(ValueSeed { field, is_element: false, open: self.open, out: &mut *self.out, notes: &mut *self.notes });
        insert_length(start, self.out);
    }

    fn is_any_value(&self) -> bool {
        matches!(self.field.kind, Kind::Message(message) if message.name == ANY_VALUE.name)
    }

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

    fn push_fixed32(self, bits: u32) {
        if !self.is_left_out(bits == 0) {
            push_tag(self.field.number, 5, self.out);
            self.out.extend_from_slice(&bits.to_le_bytes());
        }
    }

    fn push_double(self, number: f64) {
        self.push_fixed64(number.to_bits());
    }

    /// The text of a value that is no string.
    fn push_shown(self, text: &str) {
        self.notes.counts.json_other_types += 1;
        self.push_bytes(text.as_bytes());
    }

    fn push_bool(self, flag: bool) {
        match self.field.kind {
            Kind::Bool => self.push_varint(u64::from(flag)),
            Kind::Text => self.push_shown(if flag { "true" } else { "false" }),
            Kind::Message(_) if self.is_any_value() => self.push_any_value("boolValue", |seed| seed.push_bool(flag)),
            _ => self.leave_out(A_BOOLEAN),
        }
    }

    fn push_float(self, number: f64) {
        match self.field.kind {
            Kind::Double => self.push_double(number),
            Kind::Text => self.push_shown(&format!("{number:?}")),
            Kind::Message(_) if self.is_any_value() => {
                self.push_any_value("doubleValue", |seed| seed.push_double(number));
            }
            // 2^63 as a double; beyond it a double no longer says which integer was meant.
            _ if number.fract() == 0.0 && number.abs() <= 9_223_372_036_854_775_808.0 => {
                self.notes.counts.json_other_types += 1;
                self.push_integer(number as i128);
            }
            _ => self.leave_out("a number that is no integer or too large"),
        }
    }

    fn push_text(self, text: &str) {
        match self.field.kind {
            Kind::Text => self.push_bytes(text.as_bytes()),
            Kind::Id => {
                let id = read_id(text, &mut self.notes.counts);
                self.push_bytes(&id);
            }
            Kind::Bytes => match read_bytes(text) {
                Some(bytes) => self.push_bytes(&bytes),
                None => self.leave_out(A_STRING),
            },
            Kind::Double => match read_double(text) {
                Some((number, is_word)) => {
                    self.notes.counts.json_other_types += u64::from(!is_word);
                    self.push_double(number);
                }
                None => self.leave_out(A_STRING),
            },
            Kind::Bool => match text {
                "true" | "false" => {
                    self.notes.counts.json_other_types += 1;
                    self.push_varint(u64::from(text == "true"));
                }
                _ => self.leave_out(A_STRING),
            },
            Kind::Enum(names) => match names.iter().position(|name| *name == text) {
                Some(number) => {
                    self.notes.counts.json_enum_names += 1;
                    self.push_varint(number as u64);
                }
                None => self.push_integer_text(text),
            },
            Kind::Message(_) if self.is_any_value() => self.push_any_value("stringValue", |seed| seed.push_text(text)),
            Kind::Message(_) => self.leave_out(A_STRING),
            Kind::Int64 | Kind::Uint64 | Kind::Fixed64 | Kind::Sfixed64 => self.push_integer_text(text),
            Kind::Uint32 | Kind::Sint32 | Kind::Fixed32 => {
                self.notes.counts.json_other_types += 1;
                self.push_integer_text(text);
            }
        }
    }

    fn push_integer_text(self, text: &str) {
        let text = text.trim();
        match (text.parse::<i128>(), text.parse::<f64>()) {
            (Ok(number), _) => self.push_integer(number),
            (Err(_), Ok(number)) => self.push_float(number),
            _ => self.leave_out(A_STRING),
        }
    }

    fn push_integer(self, number: i128) {
        const TOO_LARGE: &str = "a number out of range";
        match self.field.kind {
            Kind::Double => self.push_double(number as f64),
            Kind::Text => self.push_shown(&number.to_string()),
            Kind::Int64 => match i64::try_from(number) {
                Ok(number) => self.push_varint(number as u64),
                Err(_) => self.leave_out(TOO_LARGE),
            },
            Kind::Sfixed64 => match i64::try_from(number) {
                Ok(number) => self.push_fixed64(number as u64),
                Err(_) => self.leave_out(TOO_LARGE),
            },
            Kind::Uint64 => match u64::try_from(number) {
                Ok(number) => self.push_varint(number),
                Err(_) => self.leave_out(TOO_LARGE),
            },
            // Some exporters write a negative number for a time that they do not know.
            Kind::Fixed64 if number < 0 => self.notes.counts.json_other_types += 1,
            Kind::Fixed64 => match u64::try_from(number) {
                Ok(number) => self.push_fixed64(number),
                Err(_) => self.leave_out(TOO_LARGE),
            },
            Kind::Enum(_) => match i32::try_from(number) {
                Ok(number) => self.push_varint(i64::from(number) as u64),
                Err(_) => self.leave_out(TOO_LARGE),
            },
            Kind::Sint32 => match i32::try_from(number) {
                Ok(number) => self.push_varint(u64::from(((number << 1) ^ (number >> 31)) as u32)),
                Err(_) => self.leave_out(TOO_LARGE),
            },
            Kind::Uint32 => match u32::try_from(number) {
                Ok(number) => self.push_varint(u64::from(number)),
                Err(_) => self.leave_out(TOO_LARGE),
            },
            Kind::Fixed32 => match u32::try_from(number) {
                Ok(number) => self.push_fixed32(number),
                Err(_) => self.leave_out(TOO_LARGE),
            },
            Kind::Message(_) if self.is_any_value() => {
                self.push_any_value("intValue", |seed| seed.push_integer(number));
            }
            Kind::Id | Kind::Bytes | Kind::Bool | Kind::Message(_) => self.leave_out(A_NUMBER),
        }
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

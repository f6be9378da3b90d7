//! The canonical form of RFC 8785, written in one pass.
//!
//! serde_json walks the value, and this formatter writes all of it into one buffer. An object whose members came out of order
//! is put in order when it ends, by one copy of its bytes. The crate `serde_json_canonicalizer` has the same result by a
//! buffer for each member and a parse of each key; it is the oracle of the tests.

use std::cmp::Ordering;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::{CharEscape, Formatter};

/// Greatest magnitude up to which every integer is a double of its own, so that its digits are its one form.
const EXACT: u64 = 1 << 53;

/// The canonical form of RFC 8785: members sorted, numbers in their one form, no white space.
///
/// # Errors
/// When a map has keys that are no text.
pub fn canonical(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut written = Written::default();
    value.serialize(&mut Serializer::with_formatter(io::sink(), Canonical(&mut written)))?;
    Ok(written.bytes)
}

/// What is written so far.
#[derive(Default)]
struct Written {
    bytes: Vec<u8>,
    /// Objects that are not at their end, the outermost first.
    objects: Vec<Object>,
    /// Their members, those of an inner object behind those of the ones around it.
    members: Vec<Member>,
    /// Where members are put in order.
    sorted: Vec<u8>,
}

struct Object {
    /// Its first member.
    first: usize,
    /// The byte behind its brace.
    start: usize,
}

/// Bytes of a member: its key in quotes, a colon, its value.
#[derive(Clone, Copy)]
struct Member {
    start: usize,
    /// Behind the quotes of the key.
    key_end: usize,
    end: usize,
}

impl Written {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn integer(&mut self, value: i128) -> io::Result<()> {
        if value.unsigned_abs() <= u128::from(EXACT) {
            return write!(self.bytes, "{value}");
        }
        #[allow(clippy::cast_precision_loss)]
        self.double(value as f64);
        Ok(())
    }

    /// As JavaScript writes it, by section 3.2.2.3 of the RFC.
    fn double(&mut self, value: f64) {
        self.push(ryu_js::Buffer::new().format_finite(value).as_bytes());
    }

    fn begin_object(&mut self) {
        self.push(b"{");
        self.objects.push(Object { first: self.members.len(), start: self.bytes.len() });
    }

    fn begin_member(&mut self, is_first: bool) {
        if !is_first {
            self.push(b",");
        }
        let start = self.bytes.len();
        self.members.push(Member { start, key_end: start, end: start });
    }

    fn end_object(&mut self) {
        let Some(Object { first, start }) = self.objects.pop() else { return };
        let mut members = self.members.split_off(first);
        if !members.is_sorted_by(|a, b| by_key(&self.bytes, a, b) == Ordering::Less) {
            members.sort_by(|a, b| by_key(&self.bytes, a, b));
            members.dedup_by(|b, a| by_key(&self.bytes, a, b) == Ordering::Equal);
            self.sorted.clear();
            for (place, member) in members.iter().enumerate() {
                if place > 0 {
                    self.sorted.push(b',');
                }
                self.sorted.extend_from_slice(&self.bytes[member.start..member.end]);
            }
            self.bytes.truncate(start);
            self.bytes.extend_from_slice(&self.sorted);
        }
        self.push(b"}");
    }
}

/// The order of section 3.2.3 of the RFC: by the UTF-16 code units of the keys as they were before they were escaped.
fn by_key(bytes: &[u8], a: &Member, b: &Member) -> Ordering {
    let (a, b) = (&bytes[a.start..a.key_end], &bytes[b.start..b.key_end]);
    let is_plain = |key: &[u8]| key.iter().all(|byte| byte.is_ascii() && *byte != b'\\');
    if is_plain(a) && is_plain(b) {
        // Without the quotes: of two keys of which one begins the other, the shorter one is first.
        return a[1..a.len() - 1].cmp(&b[1..b.len() - 1]);
    }
    let units = |key: &[u8]| {
        let key: String = serde_json::from_slice(key).unwrap_or_default();
        key.encode_utf16().collect::<Vec<_>>()
    };
    units(a).cmp(&units(b))
}

/// Writes into the buffer, and nothing to the writer.
struct Canonical<'a>(&'a mut Written);

/// Methods of integers, which all are numbers of one kind.
macro_rules! integers {
    ($($method:ident: $kind:ty),*) => {
        $(fn $method<W: ?Sized + Write>(&mut self, _: &mut W, value: $kind) -> io::Result<()> {
            self.0.integer(i128::from(value))
        })*
    };
}

impl Formatter for Canonical<'_> {
    integers!(write_i8: i8, write_i16: i16, write_i32: i32, write_i64: i64, write_i128: i128,
              write_u8: u8, write_u16: u16, write_u32: u32, write_u64: u64);

    fn write_u128<W: ?Sized + Write>(&mut self, _: &mut W, value: u128) -> io::Result<()> {
        match i128::try_from(value) {
            Ok(value) => self.0.integer(value)?,
            #[allow(clippy::cast_precision_loss)]
            Err(_) => self.0.double(value as f64),
        }
        Ok(())
    }

    fn write_f32<W: ?Sized + Write>(&mut self, _: &mut W, value: f32) -> io::Result<()> {
        self.0.double(f64::from(value));
        Ok(())
    }

    fn write_f64<W: ?Sized + Write>(&mut self, _: &mut W, value: f64) -> io::Result<()> {
        self.0.double(value);
        Ok(())
    }

    fn write_number_str<W: ?Sized + Write>(&mut self, _: &mut W, value: &str) -> io::Result<()> {
        let value: f64 = value.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        self.0.double(value);
        Ok(())
    }

    fn write_null<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.0.push(b"null");
        Ok(())
    }

    fn write_bool<W: ?Sized + Write>(&mut self, _: &mut W, value: bool) -> io::Result<()> {
        self.0.push(if value { b"true" } else { b"false" });
        Ok(())
    }

    fn begin_string<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.0.push(b"\"");
        Ok(())
    }

    fn end_string<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.0.push(b"\"");
        Ok(())
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, _: &mut W, fragment: &str) -> io::Result<()> {
        self.0.push(fragment.as_bytes());
        Ok(())
    }

    /// By section 3.2.2.2 of the RFC.
    fn write_char_escape<W: ?Sized + Write>(&mut self, _: &mut W, escape: CharEscape) -> io::Result<()> {
        self.0.push(match escape {
            CharEscape::Quote => b"\\\"",
            CharEscape::ReverseSolidus => b"\\\\",
            CharEscape::Solidus => b"/",
            CharEscape::Backspace => b"\\b",
            CharEscape::FormFeed => b"\\f",
            CharEscape::LineFeed => b"\\n",
            CharEscape::CarriageReturn => b"\\r",
            CharEscape::Tab => b"\\t",
            CharEscape::AsciiControl(byte) => return write!(self.0.bytes, "\\u{byte:04x}"),
        });
        Ok(())
    }

    fn begin_array<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.0.push(b"[");
        Ok(())
    }

    fn end_array<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.0.push(b"]");
        Ok(())
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, _: &mut W, is_first: bool) -> io::Result<()> {
        if !is_first {
            self.0.push(b",");
        }
        Ok(())
    }

    fn begin_object<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.0.begin_object();
        Ok(())
    }

    fn end_object<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.0.end_object();
        Ok(())
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, _: &mut W, is_first: bool) -> io::Result<()> {
        self.0.begin_member(is_first);
        Ok(())
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        let key_end = self.0.bytes.len();
        if let Some(member) = self.0.members.last_mut() {
            member.key_end = key_end;
        }
        self.0.push(b":");
        Ok(())
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        let end = self.0.bytes.len();
        if let Some(member) = self.0.members.last_mut() {
            member.end = end;
        }
        Ok(())
    }

    fn write_raw_fragment<W: ?Sized + Write>(&mut self, _: &mut W, _: &str) -> io::Result<()> {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "raw json has no canonical form; give the value that it stands for",
        ))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    /// Texts in which all that is escaped, and what UTF-16 and UTF-8 order differently, comes up.
    fn text() -> impl Strategy<Value = String> {
        let signs = prop_oneof![
            Just('"'),
            Just('\\'),
            Just('/'),
            Just('\n'),
            Just('\u{1}'),
            Just('\u{7f}'),
            Just('é'),
            Just('\u{e000}'),
            Just('\u{ffff}'),
            Just('\u{1f600}'),
            any::<char>(),
            prop::char::range('a', 'e'),
        ];
        prop::collection::vec(signs, 0..6).prop_map(String::from_iter)
    }

    fn number() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-9_007_199_254_740_994_i64..9_007_199_254_740_994).prop_map(Value::from),
            any::<f64>().prop_map(|value| serde_json::Number::from_f64(value).map_or(Value::Null, Value::Number)),
            (-1_000_i32..1_000, -30_i32..30).prop_map(|(value, power)| json!(f64::from(value) * 10_f64.powi(power))),
        ]
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf =
            prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), number(), text().prop_map(Value::from)];
        leaf.prop_recursive(5, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((text(), inner), 0..8).prop_map(|members| Value::Object(Map::from_iter(members))),
            ]
        })
    }

    /// A map whose members come in any order, as those of a struct do.
    struct InOrder(Vec<(String, Value)>);

    impl Serialize for InOrder {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
        }
    }

    proptest! {
        /// Any value, with members in any order, has the form that another implementation gives it.
        #[test]
        fn another_implementation_agrees(members in prop::collection::vec((text(), value()), 0..12)) {
            let value = InOrder(members);
            prop_assert_eq!(canonical(&value).unwrap(), serde_json_canonicalizer::to_vec(&value).unwrap());
        }
    }

    /// The examples of sections 3.2.2 and 3.2.3 of RFC 8785.
    #[test]
    fn the_rfc_is_followed() {
        let numbers = json!({
            "numbers": [333_333_333.333_333_3_f64, 1e30, 4.5, 2e-3, 0.000_000_000_000_000_000_000_000_001],
            "string": "\u{20ac}$\u{f}\nA'\u{42}\u{22}\u{5c}\\\"/",
            "literals": [null, true, false]
        });
        let wanted = "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\
                      \"string\":\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}";
        assert_eq!(String::from_utf8(canonical(&numbers).unwrap()).unwrap(), wanted);
        let keys = json!({
            "\u{20ac}": "Euro Sign", "\r": "Carriage Return", "\u{fb33}": "Hebrew Letter Dalet With Dagesh", "1": "One",
            "\u{1f600}": "Emoji: Grinning Face", "\u{80}": "Control", "\u{f6}": "Latin Small Letter O With Diaeresis"
        });
        let wanted = "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\
                      \"\u{f6}\":\"Latin Small Letter O With Diaeresis\",\"\u{20ac}\":\"Euro Sign\",\
                      \"\u{1f600}\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}";
        assert_eq!(String::from_utf8(canonical(&keys).unwrap()).unwrap(), wanted);
    }

    /// Of members with one key the first stays, and keys that are no text are an error.
    #[test]
    fn what_is_no_object_of_json_is_known() {
        let twice = InOrder(vec![("b".into(), json!(1)), ("a".into(), json!(2)), ("b".into(), json!(3))]);
        assert_eq!(canonical(&twice).unwrap(), br#"{"a":2,"b":1}"#);
        assert!(canonical(&std::collections::HashMap::from([((1, 2), 3)])).is_err());
    }
}

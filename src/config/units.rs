//! Durations (`2s`, `10m`, `14d`) and sizes (`64MiB`, `2GiB`) as people write them.

use std::fmt;
use std::time::Duration;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

/// A duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// A number of seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Nanoseconds, at most `i64::MAX`.
    pub fn nanos(self) -> i64 {
        i64::try_from(self.0.as_nanos()).unwrap_or(i64::MAX)
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub usize);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map(Span).map_err(|_| {
            D::Error::custom(format!("`{text}` is no duration, write e.g. \"500ms\", \"2s\", \"10m\", \"14d\""))
        })
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"64MiB\", \"2GiB\" or a number of bytes")
            }
            fn visit_i64<E: Error>(self, bytes: i64) -> Result<Bytes, E> {
                usize::try_from(bytes).map(Bytes).map_err(|_| E::custom(format!("{bytes} is no size: it is negative")))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Bytes, E> {
                parse_bytes(text).map(Bytes).ok_or_else(|| {
                    E::custom(format!("`{text}` is no size, write e.g. \"64MiB\", \"2GiB\" or a number of bytes"))
                })
            }
        }
        deserializer.deserialize_any(Text)
    }
}

/// A bound in bytes; the empty text is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MaxBytes(pub Option<u64>);

impl<'de> Deserialize<'de> for MaxBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.trim().is_empty() {
            return Ok(Self(None));
        }
        let bytes = parse_bytes(&text);
        bytes.map(|bytes| Self(Some(bytes as u64))).ok_or_else(|| {
            D::Error::custom(format!("`{text}` is no size, write e.g. \"500GiB\", or \"\" for no bound"))
        })
    }
}

/// Bytes of a text such as `64MiB`, or a number of them.
pub(crate) fn parse_bytes(text: &str) -> Option<usize> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: usize = text.get(..split)?.parse().ok()?;
    let factor = match text.get(split..)?.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Sizes read with binary and decimal units; a foreign unit and an overflow are refused.
    #[test]
    fn sizes() {
        assert_eq!(parse_bytes("64MiB"), Some(64 << 20));
        assert_eq!(parse_bytes("2 GiB"), Some(2 << 30));
        assert_eq!(parse_bytes("17"), Some(17));
        assert_eq!(parse_bytes("1.5GiB"), None);
        assert_eq!(parse_bytes("99999999999999999999GiB"), None);
        assert_eq!(parse_bytes("5 parsec"), None);
    }
}

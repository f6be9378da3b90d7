//! Numbers of JSON are doubles for most readers, so integers beyond 2^53 are written as text.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// Greatest magnitude up to which every integer is a double of its own.
const EXACT: u64 = 1 << 53;

/// An integer as JSON: a number within 2^53 on both sides of zero, text outside.
pub fn json_integer(value: i64) -> Value {
    if value.unsigned_abs() <= EXACT { Value::from(value) } else { Value::from(value.to_string()) }
}

/// A double as JSON: a number, or `"NaN"`, `"Infinity"`, `"-Infinity"`.
pub fn json_double(value: f64) -> Value {
    match serde_json::Number::from_f64(value) {
        Some(number) => Value::Number(number),
        None if value.is_nan() => Value::from("NaN"),
        None if value > 0.0 => Value::from("Infinity"),
        None => Value::from("-Infinity"),
    }
}

/// Serde for `Option<i64>` by [`json_integer`].
pub(super) mod optional {
    use super::*;

    pub(in crate::bundle) fn serialize<S: Serializer>(value: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(json_integer).serialize(serializer)
    }

    pub(in crate::bundle) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Null => Ok(None),
            Value::String(text) => text.parse().map(Some).map_err(D::Error::custom),
            Value::Number(number) => number
                .as_i64()
                .or_else(|| whole(number.as_f64()?))
                .map(Some)
                .ok_or_else(|| D::Error::custom("not a whole number of 64 bits")),
            _ => Err(D::Error::custom("expected a whole number, or its text beyond 2^53")),
        }
    }

    /// Canonical JSON writes 1e21 for large numbers; only those that are exact are taken back.
    fn whole(number: f64) -> Option<i64> {
        #[allow(clippy::cast_possible_truncation)]
        (number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0).then_some(number as i64)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Holder {
        #[serde(with = "optional")]
        n: Option<i64>,
    }

    /// Integers survive a round trip through JSON whatever their size, and no double stands for two of them.
    #[test]
    fn integers_round_trip() {
        for n in [None, Some(0), Some(-1), Some(1 << 53), Some((1 << 53) + 1), Some(i64::MIN), Some(i64::MAX)] {
            let text = serde_json::to_string(&Holder { n }).unwrap();
            assert_eq!(serde_json::from_str::<Holder>(&text).unwrap(), Holder { n });
        }
        assert_eq!(json_integer((1 << 53) + 1), Value::from("9007199254740993"));
        assert_eq!(json_integer(-(1 << 53)), Value::from(-9_007_199_254_740_992_i64));
    }

    /// What JSON has no number for is its name.
    #[test]
    fn doubles_without_a_number_have_a_name() {
        assert_eq!(json_double(f64::NAN), Value::from("NaN"));
        assert_eq!(json_double(f64::NEG_INFINITY), Value::from("-Infinity"));
        assert_eq!(json_double(1.5), Value::from(1.5));
    }
}

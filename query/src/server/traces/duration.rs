//! Durations as Go writes them, which is how these tools do: `100ms`, `1.5s`, `1h30m`.

use tracerag_schemas::time::{DAY, SECOND};

/// Units with their nanoseconds; a longer one before its beginning. Days and longer are TraceQL's.
const UNITS: [(&str, i64); 10] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3_600 * SECOND),
    ("d", DAY),
    ("w", 7 * DAY),
    ("y", 365 * DAY),
];

/// The nanoseconds of a duration; `None` for what is none, or is too long.
pub(in crate::server) fn duration(text: &str) -> Option<i64> {
    let mut rest = text.trim();
    let mut total: i64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (digits, unit) = rest.split_at(end);
        let (name, nanos) = UNITS.iter().find(|(name, _)| unit.starts_with(name))?;
        let part = match digits.parse::<i64>() {
            Ok(whole) => whole.checked_mul(*nanos)?,
            Err(_) => fraction(digits, *nanos)?,
        };
        total = total.checked_add(part)?;
        rest = unit.get(name.len()..)?;
    }
    Some(total)
}

fn fraction(digits: &str, nanos: i64) -> Option<i64> {
    let value = digits.parse::<f64>().ok()? * nanos as f64;
    // Beyond it neighbouring numbers are more than one apart.
    (value.is_finite() && value < 9e18).then_some(value.round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole and broken numbers of every unit, several after each other; what is no duration or would overflow is none.
    #[test]
    fn durations_are_those_of_go() {
        for (text, expected) in [
            ("100ms", Some(100_000_000)),
            ("1.5s", Some(1_500_000_000)),
            ("1h30m", Some(5_400 * SECOND)),
            ("10us", Some(10_000)),
            ("10\u{b5}s", Some(10_000)),
            ("7ns", Some(7)),
            ("1d", Some(DAY)),
            ("", None),
            ("5", None),
            ("ms", None),
            ("1x", None),
            ("1.2.3s", None),
            ("999999999y", None),
            ("-1s", None),
        ] {
            assert_eq!(duration(text), expected, "{text}");
        }
    }
}

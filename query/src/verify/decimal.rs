//! Exact decimal numbers: a claim that is wrong in the last of twenty digits is wrong, and doubles have sixteen.

use std::cmp::Ordering;
use std::fmt;

use serde_json::Value;

/// Digits that a number may have; what has more cannot be compared.
const MAX_DIGITS: usize = 36;
/// Greatest exponent of ten on either side of zero: that of doubles, and some.
const MAX_EXPONENT: i32 = 400;

/// `digits * 10^exponent`, without trailing zeros in `digits`, so that equal numbers are equal values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decimal {
    digits: i128,
    exponent: i32,
}

impl Decimal {
    fn new(mut digits: i128, mut exponent: i32) -> Self {
        if digits == 0 {
            return Self { digits: 0, exponent: 0 };
        }
        while digits % 10 == 0 {
            digits /= 10;
            exponent += 1;
        }
        Self { digits, exponent }
    }

    pub(super) fn integer(value: i64) -> Self {
        Self::new(i128::from(value), 0)
    }

    /// `-12.50`, `3e-7`; `None` for other text and for more digits than are compared exactly.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (number, exponent) = match text.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (negative, number) = match number.strip_prefix('-') {
            Some(number) => (true, number),
            None => (false, number),
        };
        let (whole, fraction) = match number.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (number, ""),
        };
        let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let too_long =
            whole.len() + fraction.len() > MAX_DIGITS || exponent.unsigned_abs() > MAX_EXPONENT.unsigned_abs();
        if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) || too_long {
            return None;
        }
        let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
        let decimals = i32::try_from(fraction.len()).ok()?;
        Some(Self::new(if negative { -digits } else { digits }, exponent - decimals))
    }

    /// A number of the evidence: a JSON number, or the text of an integer beyond 2^53, which stands for one.
    pub(super) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => Self::parse(&number.to_string()),
            Value::String(text) => {
                let integer: i64 = text.parse().ok()?;
                (integer.unsigned_abs() > 1 << 53).then(|| Self::integer(integer))
            }
            _ => None,
        }
    }

    /// The product; `None` where it has too many digits.
    pub(super) fn times(self, other: Self) -> Option<Self> {
        Some(Self::new(self.digits.checked_mul(other.digits)?, self.exponent.checked_add(other.exponent)?))
    }

    /// Half of one unit in the last written place of `text`, as 0.05 for `4.2`: by as much may a rounded number be off.
    pub(super) fn half_of_last_place(text: &str) -> Self {
        let decimals = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        Self::new(5, -1 - i32::try_from(decimals).unwrap_or(MAX_EXPONENT))
    }

    /// The distance of two numbers; `None` where it has too many digits.
    pub(super) fn distance(self, other: Self) -> Option<Self> {
        let exponent = self.exponent.min(other.exponent);
        let difference = self.scaled_to(exponent)?.checked_sub(other.scaled_to(exponent)?)?;
        Some(Self::new(difference.checked_abs()?, exponent))
    }

    /// The digits at an exponent that is not greater than its own.
    fn scaled_to(self, exponent: i32) -> Option<i128> {
        let steps = u32::try_from(self.exponent - exponent).ok()?;
        self.digits.checked_mul(10i128.checked_pow(steps)?)
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let exponent = self.exponent.min(other.exponent);
        match (self.scaled_to(exponent), other.scaled_to(exponent)) {
            (Some(own), Some(others)) => own.cmp(&others),
            // What does not fit is greater in magnitude than the other, which has this exponent and fits.
            (None, _) => self.digits.cmp(&0),
            (_, None) => 0.cmp(&other.digits),
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.digits < 0 { "-" } else { "" };
        let digits = self.digits.unsigned_abs().to_string();
        match usize::try_from(self.exponent) {
            Ok(zeros) if zeros <= MAX_DIGITS => write!(f, "{sign}{digits}{}", "0".repeat(zeros)),
            Ok(_) => write!(f, "{sign}{digits}e{}", self.exponent),
            Err(_) if self.exponent.unsigned_abs() as usize > MAX_DIGITS => {
                write!(f, "{sign}{digits}e{}", self.exponent)
            }
            Err(_) => {
                let decimals = self.exponent.unsigned_abs() as usize;
                let padded = format!("{digits:0>width$}", width = decimals + 1);
                let (whole, fraction) = padded.split_at(padded.len() - decimals);
                write!(f, "{sign}{whole}.{fraction}")
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    /// Numbers are read and compared exactly, whatever their spelling: to the last digit, and across exponents.
    #[test]
    fn numbers_compare_exactly() {
        for (one, other) in [("1.0", "1"), ("1e3", "1000"), ("-0", "0"), ("12.50", "1.25e1"), ("0.001", "1e-3")] {
            assert_eq!(decimal(one), decimal(other), "{one} {other}");
        }
        for (less, more) in [
            ("9007199254740992", "9007199254740993"),
            ("12.345678901234567890", "12.345678901234567891"),
            ("-2", "1"),
            ("1e-300", "1"),
            ("-1e300", "1e-300"),
            ("2", "1e300"),
        ] {
            assert!(decimal(less) < decimal(more), "{less} {more}");
            assert!(decimal(more) > decimal(less), "{less} {more}");
        }
        for text in ["", "-", ".", "1.", ".5", "+1", "1e", "1e999", "0x1", "1_0", "NaN", "٣", "--1"] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    /// Numbers print as people write them.
    #[test]
    fn numbers_print() {
        for text in ["0", "-12.5", "3840000", "0.001", "9007199254740993", "1e300", "-1e-300"] {
            assert_eq!(decimal(text).to_string(), text);
        }
    }

    /// Numbers of the evidence are JSON numbers, or texts of integers beyond 2^53; other texts are none.
    #[test]
    fn evidence_has_numbers() {
        assert_eq!(Decimal::of(&json!(1.5)), Some(decimal("1.5")));
        assert_eq!(Decimal::of(&json!("9007199254740993")), Some(decimal("9007199254740993")));
        assert_eq!(Decimal::of(&json!("12")), None);
        assert_eq!(Decimal::of(&json!(true)), None);
        assert_eq!(Decimal::half_of_last_place("4.2"), decimal("0.05"));
        assert_eq!(decimal("4.25").distance(decimal("4.2")), Some(decimal("0.05")));
        assert_eq!(decimal("3").times(decimal("0.5")), Some(decimal("1.5")));
    }
}

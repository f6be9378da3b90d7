//! Numbers and units in words: `eight hundred and eighteen milliseconds`, `a minute`, `two dozen`.

use super::decimal::Decimal;
use super::parse::unit_of;
use super::predicate::Dimension;
use super::words::trimmed;

/// Numbers below a hundred.
const SMALL: [(&str, i64); 28] = [
    ("zero", 0),
    ("one", 1),
    ("two", 2),
    ("three", 3),
    ("four", 4),
    ("five", 5),
    ("six", 6),
    ("seven", 7),
    ("eight", 8),
    ("nine", 9),
    ("ten", 10),
    ("eleven", 11),
    ("twelve", 12),
    ("thirteen", 13),
    ("fourteen", 14),
    ("fifteen", 15),
    ("sixteen", 16),
    ("seventeen", 17),
    ("eighteen", 18),
    ("nineteen", 19),
    ("twenty", 20),
    ("thirty", 30),
    ("forty", 40),
    ("fifty", 50),
    ("sixty", 60),
    ("seventy", 70),
    ("eighty", 80),
    ("ninety", 90),
];
/// Words that multiply the number before them.
const SCALES: [(&str, i64); 7] = [
    ("couple", 2),
    ("dozen", 12),
    ("hundred", 100),
    ("thousand", 1_000),
    ("million", 1_000_000),
    ("billion", 1_000_000_000),
    ("trillion", 1_000_000_000_000),
];
/// Words for numbers that cannot be told, so that nothing bears them out.
const UNTOLD: [&str; 17] = [
    "couples",
    "tens",
    "dozens",
    "hundreds",
    "thousands",
    "millions",
    "billions",
    "trillions",
    "thirds",
    "quarters",
    "fifths",
    "sixths",
    "sevenths",
    "eighths",
    "ninths",
    "tenths",
    "hundredths",
];
/// What `a second` may be the second of; before other words it is a time.
const COUNTED: [&str; 27] = [
    "attempt",
    "build",
    "call",
    "commit",
    "deployment",
    "error",
    "event",
    "exception",
    "failure",
    "flag",
    "frame",
    "instance",
    "log",
    "message",
    "query",
    "record",
    "release",
    "replica",
    "request",
    "response",
    "retry",
    "service",
    "span",
    "time",
    "trace",
    "try",
    "version",
];

/// What a unit measures, and how many base units it is.
pub(super) type Unit = (Dimension, Decimal);

/// A number in words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Numeral {
    pub value: i64,
    /// Words that it has.
    pub words: usize,
    /// The unit that is joined to it, as in `two-second`.
    pub unit: Option<Unit>,
}

/// The number at the beginning of some words; each stands with its place.
pub(super) fn numeral(words: &[(usize, &str)]) -> Option<Numeral> {
    let word_at = |index: usize| words.get(index).map(|(_, raw)| trimmed(raw)).unwrap_or_default();
    let first = word_at(0).to_ascii_lowercase();
    // `one` and `a` are no numbers by themselves.
    let is_article = matches!(first.as_str(), "a" | "an" | "one");
    if is_article && is_one_of(word_at(1), word_at(2)) {
        return Some(Numeral { value: 1, words: 1, unit: None });
    }
    // `a dozen`, `a couple`.
    let skipped = usize::from(matches!(first.as_str(), "a" | "an") && scale(word_at(1)).is_some());
    let (mut sum, mut taken, mut unit) = (Sum::default(), skipped, None);
    while let Some((_, raw)) = words.get(taken) {
        let word = trimmed(raw).to_ascii_lowercase();
        let is_linked = word == "and" && sum.may_go_on() && is_small(word_at(taken + 1));
        let mut after = sum;
        match after.join(&word) {
            Some(joined) => (sum, unit) = (after, joined),
            None if is_linked => {}
            None => break,
        }
        taken += 1;
        // A comma parts one number from the next.
        if unit.is_some() || raw.ends_with(|c: char| !c.is_alphanumeric()) {
            break;
        }
    }
    let is_number = taken > 1 || unit.is_some() || (taken == 1 && first != "one");
    is_number.then(|| Numeral { value: sum.value(), words: taken, unit })
}

/// Whether `a` before these words is one of a unit.
fn is_one_of(word: &str, next: &str) -> bool {
    let is_ordinal = word.eq_ignore_ascii_case("second") && COUNTED.contains(&next.to_ascii_lowercase().as_str());
    // `a s` or `a B` is no unit, and `a min` a minimum.
    word.len() > 1 && word != "min" && !is_ordinal && unit(word).is_some()
}

/// By how much a word behind a number multiplies it: `3 million`.
pub(super) fn scale(word: &str) -> Option<i64> {
    SCALES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, scale)| *scale)
}

/// Whether a word, or the last part of one, stands for a number that cannot be told: `dozens`, `two-thirds`.
pub(super) fn is_untold(word: &str) -> bool {
    let last = word.rsplit('-').next().unwrap_or_default();
    UNTOLD.iter().any(|name| name.eq_ignore_ascii_case(last))
}

fn small(word: &str) -> Option<i64> {
    SMALL.iter().find(|(name, _)| *name == word).map(|(_, value)| *value)
}

fn is_small(word: &str) -> bool {
    word.to_ascii_lowercase().split('-').next().is_some_and(|part| small(part).is_some())
}

/// A number while its words are read. One that is too large stays the greatest there is, which nothing is.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    /// Thousands and what is above.
    total: i64,
    /// What is below, where something is.
    group: Option<i64>,
}

impl Sum {
    fn value(self) -> i64 {
        self.total.saturating_add(self.group.unwrap_or_default())
    }

    /// Takes in a word, with its parts if it has hyphens. Gives the unit that its last part may be; `None` where the word
    /// does not go on with this number.
    fn join(&mut self, word: &str) -> Option<Option<Unit>> {
        let mut parts = word.split('-').peekable();
        let mut is_first = true;
        while let Some(part) = parts.next() {
            let is_taken = match (small(part), scale(part)) {
                (Some(value), _) => self.add(value),
                (_, Some(scale)) => self.scale(scale),
                _ => false,
            };
            if !is_taken {
                let is_last = parts.peek().is_none();
                return unit(part).filter(|_| is_last && !is_first).map(Some);
            }
            is_first = false;
        }
        Some(None)
    }

    fn add(&mut self, value: i64) -> bool {
        let fits = match self.group {
            None => true,
            Some(group) if group % 100 == 0 => group > 0 && value > 0,
            Some(group) => group % 10 == 0 && group % 100 >= 20 && (1..10).contains(&value),
        };
        if fits {
            self.group = Some(self.group.unwrap_or_default().saturating_add(value));
        }
        fits
    }

    fn scale(&mut self, scale: i64) -> bool {
        if scale < 1_000 {
            let fits = self.group.is_none_or(|group| group < 100);
            if fits {
                self.group = Some(self.group.unwrap_or(1).saturating_mul(scale));
            }
            return fits;
        }
        match self.group.take() {
            Some(group) => self.total = self.total.saturating_add(group.saturating_mul(scale)),
            None => self.total = self.total.max(1).saturating_mul(scale),
        }
        true
    }

    /// Whether `and` may stand next: behind hundreds and thousands.
    fn may_go_on(self) -> bool {
        match self.group {
            Some(group) => group >= 100 && group % 100 == 0,
            None => self.total > 0,
        }
    }
}

/// The unit that a word is, in its short or its long form.
pub(super) fn unit(word: &str) -> Option<Unit> {
    const HOUR: i64 = 3600 * tracerag_schemas::time::SECOND;
    if let Some(unit) = unit_of(word) {
        return Some(unit);
    }
    let lower = word.to_ascii_lowercase();
    let short = match lower.strip_suffix('s').unwrap_or(&lower) {
        "nanosecond" => "ns",
        "microsecond" | "usec" => "us",
        "millisecond" | "msec" | "milli" => "ms",
        "second" | "sec" => "s",
        "minute" | "min" => "min",
        "hour" | "hr" => "h",
        "byte" => "B",
        "kilobyte" | "kb" => "kB",
        "megabyte" | "mb" => "MB",
        "gigabyte" | "gb" => "GB",
        "kibibyte" => "KiB",
        "mebibyte" => "MiB",
        "gibibyte" => "GiB",
        "percent" => "%",
        "day" => return Some((Dimension::Duration, Decimal::integer(24 * HOUR))),
        "week" => return Some((Dimension::Duration, Decimal::integer(7 * 24 * HOUR))),
        "month" => return Some((Dimension::Duration, Decimal::integer(30 * 24 * HOUR))),
        "year" => return Some((Dimension::Duration, Decimal::integer(365 * 24 * HOUR))),
        "terabyte" | "tb" => return Some((Dimension::Bytes, Decimal::integer(1_000_000_000_000))),
        "tebibyte" | "tib" => return Some((Dimension::Bytes, Decimal::integer(1 << 40))),
        _ => return None,
    };
    unit_of(short)
}

#[cfg(test)]
mod tests {
    use super::super::words::words_of;
    use super::*;

    /// Numbers in words have their value, however they are joined; words that only look like one are none.
    #[test]
    fn words_are_numbers() {
        for (text, value, words) in [
            ("thirteen failures", 13, 1),
            ("twenty-five times", 25, 1),
            ("twenty five times", 25, 2),
            ("eight hundred and eighteen ms", 818, 4),
            ("Two thousand three hundred", 2_300, 4),
            ("one hundred", 100, 2),
            ("hundred", 100, 1),
            ("a hundred", 100, 2),
            ("a couple of", 2, 2),
            ("two dozen", 24, 2),
            ("three million, two", 3_000_000, 2),
            ("five six", 5, 1),
            ("two and three", 2, 1),
            ("a minute", 1, 1),
            ("an hour", 1, 1),
            ("one second", 1, 1),
            ("a second later", 1, 1),
            ("a GB", 1, 1),
            ("zero", 0, 1),
            ("billion billion billion", i64::MAX, 3),
        ] {
            let numeral = numeral(&words_of(text)).map(|numeral| (numeral.value, numeral.words));
            assert_eq!(numeral, Some((value, words)), "{text}");
        }
        for text in ["one of them", "a failure", "a second failure", "two-phase commit", "one-off", "a min", "and", ""]
        {
            assert_eq!(numeral(&words_of(text)), None, "{text}");
        }
        let joined = numeral(&words_of("eighty-second call"));
        assert_eq!(joined, Some(Numeral { value: 80, words: 1, unit: unit("s") }));
        assert!(is_untold("dozens") && is_untold("two-thirds") && !is_untold("dozen"));
    }
}

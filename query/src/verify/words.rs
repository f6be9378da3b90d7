//! Words of a claim's text: numbers with their units, identifiers, and what stands in quotes.

use super::decimal::Decimal;
use super::parse::unit_of;
use super::predicate::Dimension;

/// Abbreviations with a full stop or a slash in them, which are no identifiers.
const NO_IDENTIFIERS: [&str; 8] = ["e.g", "i.e", "and/or", "vs", "etc", "w/o", "n/a", "either/or"];

/// Numbers in words. `one` is a pronoun as often as a number, and `second` a unit.
const NUMBERS: [(&str, &str); 15] = [
    ("zero", "0"),
    ("two", "2"),
    ("three", "3"),
    ("four", "4"),
    ("five", "5"),
    ("six", "6"),
    ("seven", "7"),
    ("eight", "8"),
    ("nine", "9"),
    ("ten", "10"),
    ("eleven", "11"),
    ("twelve", "12"),
    ("twenty", "20"),
    ("hundred", "100"),
    ("thousand", "1000"),
];

/// Characters beyond ASCII that are marks of writing. All others beyond it may look like one of ASCII.
const MARKS: [char; 16] = ['“', '”', '‘', '’', '–', '—', '…', '•', '·', '→', '≤', '≥', '≈', '×', '±', '€'];

/// A text without what stands in quotes or backticks, and that apart.
pub(super) struct Parts {
    /// The rest; a mark stands where something was taken out, so that nothing new meets.
    pub plain: String,
    pub quoted: Vec<String>,
    /// Where in `plain` the marks stand, in bytes.
    pub marks: Vec<usize>,
}

/// Takes what stands in `"…"`, `“…”` and backticks out of a text.
pub(super) fn parts(text: &str) -> Parts {
    let (mut plain, mut quoted, mut marks) = (String::new(), Vec::new(), Vec::new());
    let mut rest = text;
    while let Some(begin) = rest.find(['"', '“', '`']) {
        let mut chars = rest.get(begin..).unwrap_or_default().chars();
        let close = match chars.next() {
            Some('“') => '”',
            Some(quote) => quote,
            None => break,
        };
        let inner = chars.as_str();
        let Some(end) = inner.find(close) else { break };
        plain.push_str(rest.get(..begin).unwrap_or_default());
        marks.push(plain.len() + 1);
        plain.push_str(" \u{2022} ");
        quoted.push(inner.get(..end).unwrap_or_default().to_owned());
        rest = inner.get(end + close.len_utf8()..).unwrap_or_default();
    }
    plain.push_str(rest);
    Parts { plain, quoted, marks }
}

/// A word of a text that has to be found in the evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mention {
    Number {
        /// As written, with its unit.
        text: String,
        /// In the base unit of its dimension.
        value: Decimal,
        /// By as much may a value be off that was rounded to this one, in the same unit.
        tolerance: Decimal,
        dimension: Option<Dimension>,
        /// The words just before it, in lower case.
        before: String,
    },
    /// A word that no language has: with a digit, a dot, a slash, a colon or a capital in it.
    Identifier(String),
}

/// The words of a text, each with the byte that it begins at.
pub(super) fn words_of(text: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    let mut begin = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (c.is_whitespace(), begin) {
            (true, Some(from)) => {
                words.push((from, text.get(from..at).unwrap_or_default()));
                begin = None;
            }
            (false, None) => begin = Some(at),
            _ => {}
        }
    }
    words
}

/// The numbers and identifiers of a text without quotes, each with the byte that its word begins at.
pub(super) fn mentions(plain: &str) -> Vec<(usize, Mention)> {
    let words = words_of(plain);
    let mut mentions = Vec::new();
    for (index, (at, raw)) in words.iter().enumerate() {
        let word = trimmed(raw);
        if word.is_empty() {
            continue;
        }
        let next = words.get(index + 1).map(|(_, next)| trimmed(next)).unwrap_or_default();
        let begin = index.saturating_sub(3);
        let before: Vec<&str> = words.get(begin..index).unwrap_or_default().iter().map(|(_, word)| *word).collect();
        let before = before.join(" ").to_lowercase();
        // `>5s` and `≥ 5 s` say what `more than 5 s` says.
        let sign: String = raw.chars().take_while(|c| matches!(c, '<' | '>' | '≤' | '≥' | '=')).collect();
        let before = format!("{before} {sign}").trim().to_owned();
        let in_words = NUMBERS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        match number(in_words.map_or(word, |(_, digits)| *digits), next, &before) {
            Some(number) => mentions.push((*at, number)),
            None if is_identifier(word) => mentions.push((*at, Mention::Identifier(word.to_owned()))),
            None => {}
        }
    }
    mentions
}

/// A word without the punctuation round it.
pub(super) fn trimmed(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_alphanumeric() && !matches!(c, '-' | '/' | '%' | '_'))
        .trim_end_matches(['-', '/'])
}

fn number(word: &str, next: &str, before: &str) -> Option<Mention> {
    let sign = word.len() - word.trim_start_matches('-').len();
    let unsigned = word.get(sign..).unwrap_or_default();
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ',')).unwrap_or(unsigned.len());
    let (digits, suffix) = word.split_at(sign + end);
    let digits = digits.trim_end_matches(['.', ',']);
    let digits = if is_grouped(digits) { digits.replace(',', "") } else { digits.to_owned() };
    let value = Decimal::parse(&digits)?;
    let (unit, text) = match (suffix, unit_name(next)) {
        ("", Some(unit)) => (Some(unit), format!("{word} {next}")),
        ("", None) => (None, digits.clone()),
        (suffix, _) => (Some(unit_name(suffix)?), word.to_owned()),
    };
    let (dimension, factor) = match unit.and_then(unit_of) {
        Some((dimension, factor)) => (Some(dimension), factor),
        None => (None, Decimal::integer(1)),
    };
    Some(Mention::Number {
        value: value.times(factor)?,
        tolerance: Decimal::half_of_last_place(&digits).times(factor)?,
        text,
        dimension,
        before: before.to_owned(),
    })
}

/// `12,000`: groups of three after the first.
fn is_grouped(text: &str) -> bool {
    let mut groups = text.trim_start_matches('-').split(',');
    let first = groups.next().is_some_and(|first| (1..=3).contains(&first.len()));
    let mut more = groups.peekable();
    first && more.peek().is_some() && more.all(|group| group.split('.').next().is_some_and(|whole| whole.len() == 3))
}

/// The short form of a unit; `None` for a word that is none.
fn unit_name(word: &str) -> Option<&str> {
    let unit = match word {
        "nanoseconds" | "nanosecond" => "ns",
        "microseconds" | "microsecond" => "us",
        "milliseconds" | "millisecond" | "msec" => "ms",
        "seconds" | "second" | "sec" => "s",
        "minutes" | "minute" => "min",
        "hours" | "hour" => "h",
        "bytes" | "byte" => "B",
        "percent" => "%",
        word => word,
    };
    unit_of(unit).map(|_| unit)
}

fn is_identifier(word: &str) -> bool {
    if NO_IDENTIFIERS.contains(&word.to_lowercase().as_str()) {
        return false;
    }
    let has_joint = word.contains(['.', '_', '/', ':', '@', '#', '*', '<', '=', '\\']);
    let mut camel = word.chars().zip(word.chars().skip(1));
    let is_camel = camel.any(|(one, next)| one.is_lowercase() && next.is_uppercase());
    // What is not of ASCII may look like a letter of a name, so it has to stand in the evidence as it is.
    let is_foreign = word.chars().any(|c| !c.is_ascii() && !MARKS.contains(&c));
    has_joint || is_camel || is_foreign || word.chars().any(char::is_numeric)
}

/// Whether a text has characters that nobody sees, or that change how the one before them looks: controls, zero widths,
/// fillers, marks that turn the direction of writing, accents that combine, selectors of variants.
pub(super) fn has_invisible(text: &str) -> bool {
    text.chars().any(|c| {
        (c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
            || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
            || matches!(c, '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{3164}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
            || matches!(c, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}')
            || matches!(c, '\u{20d0}'..='\u{20ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{fe20}'..='\u{fe2f}')
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn identifiers(text: &str) -> Vec<String> {
        let of = |(_, mention)| match mention {
            Mention::Identifier(word) => Some(word),
            Mention::Number { .. } => None,
        };
        mentions(text).into_iter().filter_map(of).collect()
    }

    fn numbers(text: &str) -> Vec<(String, Option<Dimension>)> {
        let of = |(_, mention)| match mention {
            Mention::Number { value, dimension, .. } => Some((value.to_string(), dimension)),
            Mention::Identifier(_) => None,
        };
        mentions(text).into_iter().filter_map(of).collect()
    }

    /// Quotes of each kind and code are taken out; one that does not end is text.
    #[test]
    fn quotes_are_taken_out() {
        let parts = parts("log says \"a b\" and “c” for `d.e`, don't \"x");
        assert_eq!(parts.quoted, ["a b", "c", "d.e"]);
        assert!(parts.plain.contains("don't \"x") && !parts.plain.contains("a b"), "{}", parts.plain);
    }

    /// Numbers are read with their units, in one word or two, written out and grouped.
    #[test]
    fn numbers_have_units() {
        use Dimension::{Bytes, Duration, Share};
        for (text, value, dimension) in [
            ("took 4.28 s.", "4280000000", Some(Duration)),
            ("took 150ms,", "150000000", Some(Duration)),
            ("after 2 minutes", "120000000000", Some(Duration)),
            ("(3.5MiB)", "3670016", Some(Bytes)),
            ("12,000 objects", "12000", None),
            ("43 % of", "0.43", Some(Share)),
            ("43%", "0.43", Some(Share)),
            ("status 502.", "502", None),
            ("was -5", "-5", None),
            ("took two seconds", "2000000000", Some(Duration)),
            ("Three of them", "3", None),
        ] {
            assert_eq!(numbers(text), [(value.to_owned(), dimension)], "{text}");
        }
        assert!(numbers("1.9.0 a1b2c3d 3rd").is_empty());
    }

    /// Identifiers are words that no language has; plain words and abbreviations are none.
    #[test]
    fn identifiers_are_no_words() {
        assert_eq!(
            identifiers("Since 1.9.0 (a1b2c3d) payments.decimal_mode, /checkout and OverflowError in rounding.go:117."),
            ["1.9.0", "a1b2c3d", "payments.decimal_mode", "/checkout", "OverflowError", "rounding.go:117"]
        );
        assert_eq!(identifiers("It failed, e.g. in strict mode and/or a re-try; POST was fine."), Vec::<String>::new());
        for look_alike in ["p\u{430}yments", "\u{441}\u{43e}", "paym\u{435}nts", "\u{ff50}ay", "paymentş"] {
            assert_eq!(identifiers(look_alike), [look_alike], "a look-alike letter");
        }
        assert!(has_invisible("payments\u{301}"), "an accent of its own");
        assert!(has_invisible("pay\u{200b}ments") && !has_invisible("a\tb"));
    }
}

//! Words of a claim's text: numbers with their units, identifiers, and what stands in quotes.

use super::decimal::Decimal;
use super::numerals::{Unit, is_untold, numeral, scale, unit};
use super::predicate::{Dimension, OPERATORS};
use super::quotes::{Quoted, quoted};

/// Abbreviations with a full stop or a slash in them, which are no identifiers.
const NO_IDENTIFIERS: [&str; 8] = ["e.g", "i.e", "and/or", "vs", "etc", "w/o", "n/a", "either/or"];

/// Characters beyond ASCII that are marks of writing. All others beyond it may look like one of ASCII.
const MARKS: [char; 16] = ['“', '”', '‘', '’', '–', '—', '…', '•', '·', '→', '≤', '≥', '≈', '×', '±', '€'];

/// A text without what stands in quotes or backticks, and that apart.
#[derive(Default)]
pub(super) struct Parts {
    /// The rest; a mark stands where something was taken out, so that nothing new meets.
    pub plain: String,
    pub quoted: Vec<String>,
    /// Where in `plain` the marks stand, in bytes.
    pub marks: Vec<usize>,
    /// Whether a quote or a backtick has no end.
    pub is_open: bool,
}

/// Takes what stands in marks of quotation and backticks out of a text. `key=value` stays, in backticks or not, with blanks
/// round the sign, because it names two things.
pub(super) fn parts(text: &str) -> Parts {
    let mut parts = Parts::default();
    let (mut at, mut before) = (0, None);
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let rest = text.get(at..).unwrap_or_default();
        let found = match c {
            '`' => Some(in_code(rest)),
            _ => quoted(rest, before),
        };
        let length = match found {
            Some(Quoted::Whole { inner, length }) => {
                match setting(inner).filter(|_| c == '`') {
                    Some((key, value)) => parts.plain.push_str(&format!(" {key} = {value} ")),
                    None => parts.take_out(inner),
                }
                length
            }
            found => {
                parts.is_open |= found.is_some();
                parts.plain.push(c);
                c.len_utf8()
            }
        };
        at += length;
        before = text.get(..at).and_then(|taken| taken.chars().next_back());
    }
    parts.part_settings();
    parts
}

/// What stands in backticks at the beginning of a text.
fn in_code(rest: &str) -> Quoted<'_> {
    let inner = rest.get(1..).unwrap_or_default();
    match inner.split_once('`') {
        Some((inner, _)) => Quoted::Whole { inner, length: inner.len() + 2 },
        None => Quoted::Open,
    }
}

impl Parts {
    fn take_out(&mut self, inner: &str) {
        self.marks.push(self.plain.len() + 1);
        self.plain.push_str(" \u{2022} ");
        self.quoted.push(inner.to_owned());
    }

    /// Sets blanks round the signs of `key=value`.
    fn part_settings(&mut self) {
        let sign_of = |(at, raw): (usize, &str)| {
            let sign = at + raw.find('=')?;
            setting(trimmed(raw)).map(|_| sign)
        };
        let signs: Vec<usize> = words_of(&self.plain).into_iter().filter_map(sign_of).collect();
        let mut plain = String::with_capacity(self.plain.len() + 2 * signs.len());
        let mut from = 0;
        for sign in &signs {
            plain.push_str(self.plain.get(from..*sign).unwrap_or_default());
            plain.push_str(" = ");
            from = sign + 1;
        }
        plain.push_str(self.plain.get(from..).unwrap_or_default());
        self.plain = plain;
        for mark in &mut self.marks {
            *mark += 2 * signs.partition_point(|sign| sign < mark);
        }
    }
}

/// The two sides of `key=value`, with blanks and quotes round the value or not. Of `a!=b`, `a<=b` and the query of an
/// address there are no such sides.
fn setting(text: &str) -> Option<(&str, &str)> {
    let (key, value) = text.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let is_key = key.ends_with(char::is_alphanumeric)
        && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
    let is_value = value.starts_with(|c: char| c.is_alphanumeric() || c == '-')
        && !value.contains(|c: char| c.is_whitespace() || matches!(c, '=' | '"' | '`'));
    (is_key && is_value).then_some((key, value))
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
    let mut index = 0;
    while let Some((at, raw)) = words.get(index) {
        let rest = words.get(index..).unwrap_or_default();
        index += 1;
        let word = trimmed(raw);
        if word.is_empty() {
            continue;
        }
        let number = Number::of_words(rest).or_else(|| Number::of_digits(word, rest.get(1..).unwrap_or_default()));
        if let Some(number) = number {
            let last = index + number.words - 2;
            let written: Vec<&str> =
                words.get(index - 1..=last).unwrap_or_default().iter().map(|(_, word)| trimmed(word)).collect();
            let taken = number.words;
            if let Some(mention) = number.mention(written.join(" "), before(&words, index - 1)) {
                mentions.push((*at, mention));
                index += taken - 1;
                continue;
            }
        }
        let is_sign =
            |index: Option<usize>| index.and_then(|index| words.get(index)).is_some_and(|(_, raw)| *raw == "=");
        // A word for what predicates ask for, such as `status`, need not occur.
        let is_key = is_sign(Some(index)) && !OPERATORS.iter().any(|operator| operator.name.eq_ignore_ascii_case(word));
        if is_identifier(word) || is_untold(word) || is_key || is_sign(index.checked_sub(2)) {
            mentions.push((*at, Mention::Identifier(word.to_owned())));
        }
    }
    mentions
}

/// The three words before a word and the sign that it begins with, in lower case: `>5s` and `≥ 5 s` say what
/// `more than 5 s` says.
fn before(words: &[(usize, &str)], index: usize) -> String {
    let raw = words.get(index).map(|(_, raw)| *raw).unwrap_or_default();
    let sign: String = raw.chars().take_while(|c| matches!(c, '<' | '>' | '≤' | '≥' | '=')).collect();
    let before = words.get(index.saturating_sub(3)..index).unwrap_or_default();
    let before: Vec<&str> = before.iter().map(|(_, word)| *word).collect();
    format!("{} {sign}", before.join(" ").to_lowercase()).trim().to_owned()
}

/// A word without the punctuation round it.
pub(super) fn trimmed(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_alphanumeric() && !matches!(c, '-' | '/' | '%' | '_'))
        .trim_end_matches(['-', '/'])
}

/// A number that stands in a text.
struct Number {
    /// Without the points of thousands.
    digits: String,
    /// By which the digits are multiplied: `3 million`.
    scale: i64,
    unit: Option<Unit>,
    /// Words that it has with its unit.
    words: usize,
}

impl Number {
    /// A number in words at the beginning of some.
    fn of_words(words: &[(usize, &str)]) -> Option<Self> {
        let found = numeral(words)?;
        let word_at = |index: usize| words.get(index).map(|(_, raw)| trimmed(raw)).unwrap_or_default();
        // `a couple of seconds`.
        let of = usize::from(word_at(found.words) == "of");
        let (unit, more) = match (found.unit, unit(word_at(found.words + of))) {
            (Some(joined), _) => (Some(joined), 0),
            (None, Some(unit)) => (Some(unit), of + 1),
            (None, None) => (None, 0),
        };
        Some(Self { digits: found.value.to_string(), scale: 1, unit, words: found.words + more })
    }

    /// A number in digits; its unit is joined to it, or the next word.
    fn of_digits(word: &str, behind: &[(usize, &str)]) -> Option<Self> {
        let sign = word.len() - word.trim_start_matches('-').len();
        let unsigned = word.get(sign..).unwrap_or_default();
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ',')).unwrap_or(unsigned.len());
        let (digits, suffix) = word.split_at(sign + end);
        let digits = digits.trim_end_matches(['.', ',']);
        let digits = if is_grouped(digits) { digits.replace(',', "") } else { digits.to_owned() };
        Decimal::parse(&digits)?;
        if !suffix.is_empty() {
            let unit = unit(suffix.strip_prefix('-').unwrap_or(suffix))?;
            return Some(Self { digits, scale: 1, unit: Some(unit), words: 1 });
        }
        let word_at = |index: usize| behind.get(index).map(|(_, raw)| trimmed(raw)).unwrap_or_default();
        let scaled = scale(word_at(0));
        let next = usize::from(scaled.is_some());
        let unit = unit(word_at(next));
        let words = 1 + next + usize::from(unit.is_some());
        Some(Self { digits, scale: scaled.unwrap_or(1), unit, words })
    }

    /// What the text mentions, as it is written there; without a unit in digits. `None` if it has too many of these.
    fn mention(self, written: String, before: String) -> Option<Mention> {
        let (dimension, factor) = match self.unit {
            Some((dimension, factor)) => (Some(dimension), factor),
            None => (None, Decimal::integer(1)),
        };
        let factor = factor.times(Decimal::integer(self.scale))?;
        let value = Decimal::parse(&self.digits)?.times(factor)?;
        // Nothing is rounded to zero: that something took no time is another thing than that it took little.
        let tolerance = match value == Decimal::integer(0) {
            true => value,
            false => Decimal::half_of_last_place(&self.digits).times(factor)?,
        };
        let text = match (self.unit, self.scale) {
            (Some(_), _) => written,
            (None, 1) => self.digits,
            (None, _) => value.to_string(),
        };
        Some(Mention::Number { text, value, tolerance, dimension, before })
    }
}

/// `12,000`: groups of three after the first.
fn is_grouped(text: &str) -> bool {
    let mut groups = text.trim_start_matches('-').split(',');
    let first = groups.next().is_some_and(|first| (1..=3).contains(&first.len()));
    let mut more = groups.peekable();
    first && more.peek().is_some() && more.all(|group| group.split('.').next().is_some_and(|whole| whole.len() == 3))
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
        let found = parts("log says \"a b\" and “c” for `d.e` 'f g' «h», don't \"x");
        assert_eq!(found.quoted, ["a b", "c", "d.e", "f g", "h"]);
        assert!(found.plain.contains("don't \"x") && !found.plain.contains("a b"), "{}", found.plain);
        assert!(found.is_open && !parts("it's \"a\" in `b`").is_open);
    }

    /// What is set to something is two names, in code or not; a comparison is one.
    #[test]
    fn settings_are_two_names() {
        for (text, wanted) in [
            ("pricing.rounding=bankers held", &["pricing.rounding", "bankers"][..]),
            ("with `currency = \"XAF\"` in it", &["currency", "XAF"]),
            ("`currency=XAF`.", &["currency", "XAF"]),
            ("status=ERROR and currency = XAF", &["ERROR", "currency", "XAF"]),
            ("currency!=XAF", &["currency!=XAF"]),
            ("size<=big", &["size<=big"]),
            ("/quote?currency=XAF", &["/quote?currency=XAF"]),
        ] {
            assert_eq!(identifiers(&parts(text).plain), wanted, "{text}");
        }
        let found = parts("timeout=5s in \"b\"");
        assert_eq!(numbers(&found.plain), [("5000000000".to_owned(), Some(Dimension::Duration))]);
        assert!(found.plain.get(found.marks[0]..).unwrap().starts_with('\u{2022}'), "marks move with the text");
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
            ("took eighty seconds", "80000000000", Some(Duration)),
            ("took an eighty-second break", "80000000000", Some(Duration)),
            ("took a minute", "60000000000", Some(Duration)),
            ("took an hour.", "3600000000000", Some(Duration)),
            ("took one second", "1000000000", Some(Duration)),
            ("took two days", "172800000000000", Some(Duration)),
            ("a couple of hours", "7200000000000", Some(Duration)),
            ("eight hundred and eighteen milliseconds", "818000000", Some(Duration)),
            ("an 818-ms call", "818000000", Some(Duration)),
            ("held 2 kB", "2000", Some(Bytes)),
            ("held 3 KiB", "3072", Some(Bytes)),
            ("370 million bytes", "370000000", Some(Bytes)),
            ("3 million", "3000000", None),
            ("thirteen failures", "13", None),
            ("failed twenty-five times", "25", None),
        ] {
            assert_eq!(numbers(text), [(value.to_owned(), dimension)], "{text}");
        }
        assert!(numbers("1.9.0 a1b2c3d 3rd, one of them, a second failure").is_empty());
        assert_eq!(identifiers("dozens of failures, two-thirds of 2 kB"), ["dozens", "two-thirds"]);
    }

    /// A number may be off by what rounding takes from it, and zero by nothing.
    #[test]
    fn nothing_is_rounded_to_zero() {
        let tolerance = |text: &str| match mentions(text).remove(0).1 {
            Mention::Number { tolerance, .. } => tolerance.to_string(),
            Mention::Identifier(word) => word,
        };
        assert_eq!(tolerance("4.2 s"), "50000000");
        for text in ["0 minutes", "0 h", "0.0 s", "zero seconds"] {
            assert_eq!(tolerance(text), "0", "{text}");
        }
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

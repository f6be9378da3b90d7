//! What of a stored text may be quoted: everything but the masks that redaction has set. And how a quote is looked for.
//!
//! Before texts are compared, each run of white space becomes one space, and white space at both ends goes. Nothing else
//! is normalised: not case, not punctuation, not look-alike characters.

use tracerag_schemas::bundle::REDACTION_CLASSES;

/// Marks of payload samples in the place of values that are not kept.
const SAMPLE_MARKS: [&str; 3] = ["redacted", "array", "object"];
/// Marks of payload samples that count what is not kept: `<string:12>`, `<more:3>`.
const COUNTING_MARKS: [&str; 2] = ["string:", "more:"];
/// Characters within which a mark ends.
const MARK: usize = 32;
/// Beginning of a token that stands for an identifier.
const TOKEN: &str = "hmac:";

/// One space for each run of white space, none at the ends.
pub(super) fn normal(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a text holds a mask or a token.
pub(super) fn is_redacted(text: &str) -> bool {
    next_mask(text).is_some()
}

/// The parts of a text between its masks.
pub(super) fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((begin, end)) = next_mask(rest) {
        pieces.push(rest.get(..begin).unwrap_or_default());
        rest = rest.get(end..).unwrap_or_default();
    }
    pieces.push(rest);
    pieces.retain(|piece| !piece.trim().is_empty());
    pieces
}

/// Where the next mask begins and ends, in bytes.
fn next_mask(text: &str) -> Option<(usize, usize)> {
    let token = text.find(TOKEN).map(|begin| {
        let after = begin + TOKEN.len();
        let rest = text.get(after..).unwrap_or_default();
        let length = rest.find(|c: char| !c.is_ascii_hexdigit() && c != ':').unwrap_or(rest.len());
        (begin, after + length)
    });
    let mask = text.match_indices('<').find_map(|(begin, _)| {
        let name = text.get(begin + 1..)?;
        let (end, _) = name.char_indices().take(MARK).find(|(_, c)| *c == '>')?;
        let name = name.get(..end)?;
        let is_count = |count: &str| !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
        let is_mask = REDACTION_CLASSES.contains(&name)
            || SAMPLE_MARKS.contains(&name)
            || COUNTING_MARKS.iter().any(|mark| name.strip_prefix(mark).is_some_and(is_count));
        is_mask.then_some((begin, begin + name.len() + 2))
    });
    token.into_iter().chain(mask).min()
}

/// Whether `text` has `wanted` as whole words and whole numbers; both are normal.
pub(super) fn has_words(text: &str, wanted: &str) -> bool {
    find_words(text, wanted).is_some()
}

/// Where `text` has `wanted` as whole words and whole numbers for the first time, in bytes.
pub(super) fn find_words(text: &str, wanted: &str) -> Option<usize> {
    if wanted.is_empty() {
        return None;
    }
    let is_whole = |begin: usize| is_edge(text, begin) && is_edge(text, begin + wanted.len());
    text.match_indices(wanted).map(|(begin, _)| begin).find(|begin| is_whole(*begin))
}

/// Whether no word and no number goes on across a place: `12` is not in `12.3`, nor `5` in `-5` or `x5`.
fn is_edge(text: &str, at: usize) -> bool {
    let mut before = text.get(..at).unwrap_or_default().chars().rev();
    let mut after = text.get(at..).unwrap_or_default().chars();
    let (Some(previous), Some(next)) = (before.next(), after.next()) else { return true };
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    let is_point = |c: char| matches!(c, '.' | ',');
    let joined = (is_word(previous) && is_word(next))
        || (is_digit(Some(previous)) && is_point(next) && is_digit(after.next()))
        || (is_point(previous) && is_digit(Some(next)) && is_digit(before.clone().next()))
        || (previous == '-' && is_digit(Some(next)) && !before.next().is_some_and(is_word));
    !joined
}

/// Where `text` has `wanted` as a name of its own for the first time, in bytes: `payments` is no name in
/// `payments-worker`, `payments.v1` or `/payments/charge`, but it is one before a full stop.
pub(super) fn find_name(text: &str, wanted: &str) -> Option<usize> {
    if wanted.is_empty() {
        return None;
    }
    text.match_indices(wanted).map(|(begin, _)| begin).find(|begin| {
        let before = text.get(..*begin).unwrap_or_default().chars().rev();
        let after = text.get(begin + wanted.len()..).unwrap_or_default().chars();
        !goes_on(before) && !goes_on(after)
    })
}

/// Whether `text` has `wanted` as a name of its own; see [`find_name`].
pub(super) fn has_name(text: &str, wanted: &str) -> bool {
    find_name(text, wanted).is_some()
}

/// Whether a name goes on with the characters next to it: with a word, or with a joint and a word.
fn goes_on(mut next: impl Iterator<Item = char>) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    match next.next() {
        Some('-' | '.' | '/' | ':' | '@' | '#' | '*') => next.next().is_some_and(is_word),
        Some(c) => is_word(c),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Masks cut a text into what may be quoted; words in angle brackets that are no masks stay.
    #[test]
    fn masks_cut_texts() {
        assert_eq!(pieces("mail <email> sent"), ["mail ", " sent"]);
        assert_eq!(pieces("<email>"), Vec::<&str>::new());
        assert_eq!(pieces("user hmac:0123abcd:00ff done"), ["user ", " done"]);
        assert_eq!(pieces("<string:12>"), Vec::<&str>::new());
        assert_eq!(pieces("Vec<string> a < b"), ["Vec<string> a < b"]);
        assert_eq!(pieces("a <b <email> c"), ["a <b ", " c"]);
        assert!(is_redacted("x <card>") && !is_redacted("x <cards>") && !is_redacted("<more:x>"));
    }

    /// A quote is found as whole words and whole numbers only, wherever it stands.
    #[test]
    fn quotes_are_whole() {
        for (text, wanted) in [
            ("decimal overflow", "decimal overflow"),
            ("decimal overflow", "overflow"),
            ("amount 12.5, then 7", "12.5"),
            ("amount 12.5, then 7", "then 7"),
            ("read timeout: 5s", "timeout"),
            ("a-5", "5"),
            ("x x1 x", "x1 x"),
        ] {
            assert!(has_words(text, wanted), "{text} has {wanted}");
        }
        for (text, wanted) in [
            ("decimal overflow", "decimal overflo"),
            ("decimal overflow", "ecimal"),
            ("decimal overflow", "Decimal overflow"),
            ("amount 12.5", "12"),
            ("amount 12.5", "5"),
            ("at -5", "5"),
            ("x12", "12"),
            ("text", ""),
        ] {
            assert!(!has_words(text, wanted), "{text} has not {wanted}");
        }
        assert_eq!(normal("  a\n\tb "), "a b");
    }

    /// A name is found by itself only, not as a part of another one.
    #[test]
    fn names_are_whole() {
        for text in
            ["payments", "payments failed", "in payments.", "payments: x", "(payments)", "payments's", "- payments"]
        {
            assert!(has_name(text, "payments"), "{text}");
        }
        for text in ["payments-worker", "eu-payments", "payments.v1", "/payments.v1", "x/payments", "payments2", ""] {
            assert!(!has_name(text, "payments"), "{text}");
        }
    }
}

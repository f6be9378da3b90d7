//! Marks of quotation, of all languages: what stands between them is a quote, whatever they look like.

/// Characters within which a quote has to end.
const MAX_LENGTH: usize = 4096;

/// Marks that open a quote, each with those that close it.
const PAIRS: &[(char, &[char])] = &[
    ('"', &['"']),
    ('\'', &['\'']),
    ('“', &['”']),
    ('”', &['”']),
    ('„', &['“', '”']),
    ('‟', &['”']),
    ('‘', &['’']),
    ('’', &['’']),
    ('‚', &['‘', '’']),
    ('‛', &['’']),
    ('«', &['»']),
    ('»', &['«', '»']),
    ('‹', &['›']),
    ('›', &['‹', '›']),
    ('「', &['」']),
    ('『', &['』']),
    ('｢', &['｣']),
    ('《', &['》']),
    ('〈', &['〉']),
    ('〝', &['〞', '〟']),
    ('＂', &['＂']),
    ('＇', &['＇']),
    ('❝', &['❞']),
    ('❛', &['❜']),
    ('´', &['´']),
    ('′', &['′']),
    ('″', &['″']),
];

/// Marks that also stand within words and behind them, or behind numbers: these open a quote only where a word may begin,
/// and close one only where a word may end.
const APOSTROPHES: [char; 6] = ['\'', '’', '＇', '´', '′', '″'];

/// What a mark of quotation begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Quoted<'a> {
    /// What stands between the marks, and how many bytes it has with them.
    Whole { inner: &'a str, length: usize },
    /// Nothing, because no mark closes it.
    Open,
}

/// What is quoted at the beginning of a text, behind the character `before`; `None` where no mark opens a quote.
pub(super) fn quoted(rest: &str, before: Option<char>) -> Option<Quoted<'_>> {
    let open = rest.chars().next().filter(|c| !c.is_alphanumeric() && !c.is_whitespace())?;
    let (_, closing) = PAIRS.iter().find(|(mark, _)| *mark == open)?;
    let inner = rest.get(open.len_utf8()..)?;
    let is_apostrophe = APOSTROPHES.contains(&open);
    if is_apostrophe && (is_word(before) || is_genitive(inner)) {
        return None;
    }
    let mut before = Some(open);
    let mut chars = inner.char_indices().take(MAX_LENGTH).peekable();
    while let Some((at, c)) = chars.next() {
        let goes_on = APOSTROPHES.contains(&c) && is_word(chars.peek().map(|(_, next)| *next));
        if closing.contains(&c) && !goes_on {
            return Some(Quoted::Whole { inner: inner.get(..at)?, length: open.len_utf8() + at + c.len_utf8() });
        }
        // Another one begins, so this one has no end. To look on would take a square of time where none has.
        if c == open && !(is_apostrophe && is_word(before)) {
            break;
        }
        before = Some(c);
    }
    // Who writes `'tis` opens nothing.
    (!is_apostrophe).then_some(Quoted::Open)
}

fn is_word(c: Option<char>) -> bool {
    c.is_some_and(char::is_alphanumeric)
}

/// Whether behind an apostrophe stands an `s` by itself, as behind a name in code: `` `payments`'s log ``.
fn is_genitive(inner: &str) -> bool {
    inner.strip_prefix(['s', 'S']).is_some_and(|rest| !is_word(rest.chars().next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first quote of a text; `!` where a mark has no end.
    fn first(text: &str) -> String {
        let mut before = None;
        for (at, c) in text.char_indices() {
            match quoted(text.get(at..).unwrap_or_default(), before) {
                Some(Quoted::Whole { inner, length }) => {
                    let end = text.get(at + length..).unwrap_or_default();
                    assert!(!end.starts_with(char::is_alphanumeric) || !inner.contains('\''), "{text}");
                    return inner.to_owned();
                }
                Some(Quoted::Open) => return String::from("!"),
                None => before = Some(c),
            }
        }
        String::new()
    }

    /// A quote is one in any of the marks that languages have. Guarantees that no other mark makes a quote plain text.
    #[test]
    fn each_language_has_its_marks() {
        for quote in [
            "\"disk full\"",
            "'disk full'",
            "“disk full”",
            "”disk full”",
            "„disk full“",
            "„disk full”",
            "‘disk full’",
            "’disk full’",
            "‚disk full‘",
            "«disk full»",
            "»disk full«",
            "»disk full»",
            "‹disk full›",
            "›disk full‹",
            "「disk full」",
            "『disk full』",
            "《disk full》",
            "＂disk full＂",
            "❝disk full❞",
            "´disk full´",
            "″disk full″",
        ] {
            assert_eq!(first(&format!("it said {quote} and failed")), "disk full", "{quote}");
            assert_eq!(first(&format!("it said ({quote}).")), "disk full", "{quote}");
        }
        for (text, quote) in [("it said 'it's full'.", "it's full"), ("it said ‘it’s full’.", "it’s full")] {
            assert_eq!(first(text), quote, "{text}");
        }
    }

    /// Apostrophes, genitives and marks of inches open no quote; a mark that nothing closes, or behind which the same
    /// opens again, has no end.
    #[test]
    fn apostrophes_open_nothing() {
        for text in ["it didn't, they don't", "the pods' logs, the spans' ends", "`payments`'s log and the pods' logs"]
        {
            assert_eq!(first(text), "", "{text}");
        }
        for text in ["'tis so", "it isn’t, they aren’t", "5' or 6'"] {
            assert_eq!(first(text), "", "{text}");
        }
        for text in ["said \"full", "said “full", "said “a “b”", "said «full", "it didn‘t", "said „full"] {
            assert_eq!(first(text), "!", "{text}");
        }
    }
}

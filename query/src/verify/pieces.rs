//! The pieces of a block of Markdown: text, anchors in brackets, predicates in code, quotes, ends of sentences.
//!
//! What a program shows in another way than it is written here, such as a tag, is a mistake: the claim would be about
//! another text than its reader sees.

use super::quotes::{Quoted, quoted};

/// Words whose full stop does not end a sentence.
const ABBREVIATIONS: [&str; 6] = ["e.g", "i.e", "vs", "cf", "resp", "approx"];
/// Characters within which a bracket has to end.
const MAX_LENGTH: usize = 4096;
/// Brackets within brackets that are looked into.
const MAX_DEPTH: usize = 8;
/// Characters within which an entity ends.
const MAX_ENTITY: usize = 40;

/// A piece of a block.
#[derive(Debug, PartialEq)]
pub(super) enum Piece {
    Text(String),
    /// What stands in brackets and begins like an anchor.
    Anchor(String),
    /// A code span with a parenthesis.
    Predicate(String),
    /// With the marks round it, and without them.
    Quote(String, String),
    Mistake(String),
    /// The end of a sentence, with its sign.
    End(char),
}

pub(super) fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let (mut at, mut before) = (0, None);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let (found, length) = piece(rest, before, &plain);
        match found {
            Found::Plain(shown) => plain.push_str(shown),
            Found::Pieces(found) => {
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.extend(found);
            }
        }
        at += length;
        before = text.get(..at).and_then(|taken| taken.chars().next_back());
    }
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    pieces
}

/// What stands at the beginning of a text.
enum Found<'a> {
    /// Text as it is shown.
    Plain(&'a str),
    Pieces(Vec<Piece>),
}

/// What stands at the beginning of `rest`, behind the character `before` and the text `plain`, and how many bytes it has.
fn piece<'a>(rest: &'a str, before: Option<char>, plain: &str) -> (Found<'a>, usize) {
    let mut chars = rest.chars();
    let c = chars.next().unwrap_or_default();
    let next = chars.next();
    let one = |piece: Piece, length: usize| (Found::Pieces(vec![piece]), length);
    let mistake = |what: &str, length: usize| one(Piece::Mistake(what.to_owned()), length);
    let as_it_is = |length: usize| (Found::Plain(rest.get(..length).unwrap_or_default()), length);
    match c {
        // The sign behind it is text, whatever it else is.
        '\\' if next.is_some_and(|c| c.is_ascii_punctuation()) => (Found::Plain(rest.get(1..2).unwrap_or_default()), 2),
        '`' => {
            let (piece, length) = code(rest);
            one(piece, length)
        }
        '[' => bracket(rest).map_or_else(|| as_it_is(1), |(pieces, length)| (Found::Pieces(pieces), length)),
        '<' if next.is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?')) => {
            mistake("HTML is not read; leave it out, or write it as `code`", 1)
        }
        '&' => match entity(rest) {
            Some(length) => mistake("entities such as &amp; are not read; write the character itself", length),
            None => as_it_is(1),
        },
        '~' if next.is_some_and(|c| c == '~' || c.is_alphabetic()) => {
            let length = rest.len() - rest.trim_start_matches('~').len();
            mistake("text that is struck out is not read; leave it out", length)
        }
        '*' => {
            let behind = rest.trim_start_matches('*');
            let length = rest.len() - behind.len();
            // Marks of emphasis are no text, but between two words or two blanks there is nothing to emphasise.
            let (before, behind) = (before.unwrap_or(' '), behind.chars().next().unwrap_or(' '));
            let is_sign = (before.is_alphanumeric() && behind.is_alphanumeric())
                || (before.is_whitespace() && behind.is_whitespace());
            if is_sign { as_it_is(length) } else { (Found::Plain(""), length) }
        }
        '.' | '!' | '?' if ends_sentence(plain, rest) => one(Piece::End(c), 1),
        _ => match quoted(rest, before) {
            Some(Quoted::Whole { inner, length }) => {
                let shown = rest.get(..length).unwrap_or_default().to_owned();
                one(Piece::Quote(shown, inner.to_owned()), length)
            }
            Some(Quoted::Open) => mistake("a quote that begins here does not end", c.len_utf8()),
            None => as_it_is(c.len_utf8()),
        },
    }
}

/// A code span: a predicate if it has a parenthesis, else a name, which stays text.
fn code(rest: &str) -> (Piece, usize) {
    let inner = rest.trim_start_matches('`');
    let ticks = rest.len() - inner.len();
    let Some(end) = closing(inner, ticks) else {
        return (Piece::Mistake(String::from("a code span that begins here does not end")), ticks);
    };
    let content = inner.get(..end).unwrap_or_default().trim();
    let piece = match content.contains('(') {
        true => Piece::Predicate(content.to_owned()),
        false => Piece::Text(format!("`{content}`")),
    };
    (piece, ticks + end + ticks)
}

/// Where the next run of exactly so many backticks begins.
fn closing(text: &str, ticks: usize) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = text.get(at..)?;
        let begin = at + rest.find('`')?;
        let run = text.get(begin..)?;
        let length = run.len() - run.trim_start_matches('`').len();
        if length == ticks {
            return Some(begin);
        }
        at = begin + length;
    }
}

/// An anchor in brackets, with the address of a link after it or not. A link's text is text.
fn bracket(rest: &str) -> Option<(Vec<Piece>, usize)> {
    let (mut depth, mut deepest, mut is_escaped) = (0usize, 0, false);
    let end = rest.char_indices().take(MAX_LENGTH).find_map(|(at, c)| {
        match c {
            _ if is_escaped => {}
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        is_escaped = c == '\\' && !is_escaped;
        deepest = deepest.max(depth);
        (depth == 0 || deepest > MAX_DEPTH).then_some(at)
    })?;
    let content = rest.get(1..end)?;
    // Code goes before brackets: one that begins here and ends behind has the bracket in it.
    if depth > 0 || has_open_code(content) {
        return None;
    }
    let length = end + 1;
    // Links have none within them.
    let address = address(rest.get(length..)?).filter(|_| deepest == 1);
    let length = length + address.unwrap_or_default();
    let name = content.trim().trim_matches('`');
    let is_kind = |kind: &str| !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_alphabetic());
    if name.split_once(':').is_some_and(|(kind, _)| is_kind(kind)) {
        return Some((vec![Piece::Anchor(name.to_owned())], length));
    }
    address.map(|_| (pieces(content), length))
}

fn has_open_code(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find('`') {
        let inner = rest.get(at..).unwrap_or_default().trim_start_matches('`');
        let ticks = rest.len() - at - inner.len();
        match closing(inner, ticks) {
            Some(end) => rest = inner.get(end + ticks..).unwrap_or_default(),
            None => return true,
        }
    }
    false
}

/// The bytes of the address of a link in its parentheses. With anything else in it than an address has, such as blanks
/// or quotes, it is none: programs show it, or show a part of it.
fn address(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('(')?;
    let is_address = |c: char| c.is_ascii_graphic() && !matches!(c, '(' | ')' | '<' | '>' | '"' | '\'' | '`' | '\\');
    let end = inner.find(|c: char| !is_address(c))?;
    inner.get(end..)?.starts_with(')').then_some(end + 2)
}

/// The bytes of an entity: `&shy;`, `&#173;`, `&#xAD;`.
fn entity(text: &str) -> Option<usize> {
    let (end, _) = text.char_indices().take(MAX_ENTITY).find(|(_, c)| *c == ';')?;
    let name = text.get(1..end)?;
    let is_entity = match name.strip_prefix('#') {
        Some(number) => number.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, 'x' | 'X')),
        None => name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(|c| c.is_ascii_alphanumeric()),
    };
    is_entity.then_some(end + 1)
}

/// Whether the sign at the beginning of `rest` ends the sentence that `plain` is the last text of.
fn ends_sentence(plain: &str, rest: &str) -> bool {
    let next = rest.chars().skip(1).take(16).find(|c| !matches!(c, ')' | '*' | '_' | '.' | '!' | '?'));
    if next.is_some_and(|next| !next.is_whitespace()) {
        return false;
    }
    let last_word = plain.rsplit(char::is_whitespace).next().unwrap_or_default().trim_start_matches('(');
    !(rest.starts_with('.') && ABBREVIATIONS.contains(&last_word.to_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn text(text: &str) -> Piece {
        Piece::Text(text.to_owned())
    }

    /// What programs show in another way than it is written, and what does not end, is a mistake. Guarantees that no tag,
    /// entity or stroke changes a claim for its reader only.
    #[test]
    fn what_is_shown_otherwise_is_a_mistake() {
        for wrong in [
            "did n&shy;ot fail",
            "did n&#173;ot fail",
            "did n&#xAD;ot fail",
            "did <del>not</del> fail",
            "did <!-- not --> fail",
            "</div>",
            "<?not?>",
            "did ~~not~~ fail",
            "did ~not~ fail",
            "said \"full",
            "said “full",
            "said „full",
            "in `a",
            "in ``a` b",
            "[did n&shy;ot fail](https://x.y)",
        ] {
            let has_mistake = pieces(wrong).iter().any(|piece| matches!(piece, Piece::Mistake(_)));
            assert!(has_mistake, "{wrong}");
        }
        for right in ["`n&shy;ot` and `<b>` and `~~`", "a & b; c", "<5 s, a < b, <- c", "~5 s", "\\<b> \\&shy; \\~~"] {
            assert!(!pieces(right).iter().any(|piece| matches!(piece, Piece::Mistake(_))), "{right}");
        }
    }

    /// The address of a link is left out, and is text with anything in it that an address has not, or where code, an
    /// escape or another bracket makes that there is no link.
    #[test]
    fn only_addresses_are_left_out() {
        let anchor = || Piece::Anchor(String::from("span:a"));
        assert_eq!(pieces("[span:a](https://x.y/z?a=b#c)"), [anchor()]);
        assert_eq!(pieces("[`span:a`]()"), [anchor()]);
        assert_eq!(pieces("[it failed](https://x.y)"), [text("it failed")]);
        for shown in [
            "[span:a](it never failed)",
            "[span:a](https://x.y \"it never failed\")",
            "[span:a](x 'never failed')",
            "[span:a](<never failed>)",
            "[span:a](never-failed",
            "[[span:a](x)](never-failed)",
            "[a`](never-failed)`",
            "[a ``](never-failed) ``",
            "\\[a](never-failed)",
            "[a\\](never-failed)",
        ] {
            let has_it = |piece: &Piece| format!("{piece:?}").contains("failed");
            assert!(pieces(shown).iter().any(has_it), "{shown}");
        }
    }

    /// Marks of emphasis are no text; between two words or numbers, and behind a backslash, a star is itself.
    #[test]
    fn stars_may_be_signs() {
        for (written, shown) in [
            ("**payments** failed *hard*", "payments failed hard"),
            ("took 8*18 ms", "took 8*18 ms"),
            ("took 8 * 18 ms", "took 8 * 18 ms"),
            ("pay**ments**", "pay**ments"),
            ("\\*a\\_b\\*", "*a_b*"),
        ] {
            assert_eq!(pieces(written), [text(shown)], "{written}");
        }
    }

    /// A mark that opens a great many brackets, quotes or code spans takes no square of time: ten times the text takes about
    /// ten times as long, on fast and on slow machines, where a square would take a hundred times as long.
    #[test]
    fn long_texts_take_no_time() {
        let time = |part: &str, count: usize| {
            let text = part.repeat(count);
            let begin = Instant::now();
            pieces(&text);
            begin.elapsed()
        };
        for part in ["a.", "[", "[a", "“", " 'a", "`", "&", "[](", "\\", "~", "<a", "»", "[[]", "*"] {
            // Something else may run in between, but not each time.
            let is_square = (0..5).all(|_| time(part, 50_000) > time(part, 5_000) * 30 + Duration::from_secs(1));
            assert!(!is_square, "{part}");
        }
    }
}

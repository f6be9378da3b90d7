//! Claims in Markdown: a sentence is a claim, its anchors stand in brackets, its quotes in quotation marks, its
//! predicates in code spans.
//!
//! Only as much of Markdown is read as says where sentences begin and end. Code blocks and comments, which are not
//! prose, are left out; everything else is a claim, unless it is a heading, a question or a line that ends in a colon and
//! names nothing of the incident.

use std::collections::VecDeque;

use tracerag_schemas::claims::Quote;

use super::document::{Document, Statement};
use super::reason::Reason;

/// Words whose full stop does not end a sentence.
const ABBREVIATIONS: [&str; 6] = ["e.g", "i.e", "vs", "cf", "resp", "approx"];

/// Characters within which a bracket or a quote has to end.
const MAX_LENGTH: usize = 4096;

/// Reads the claims of a Markdown document.
pub(super) fn read(text: &str) -> Result<Document, Reason> {
    let mut document = Document { bundle_id: None, statements: vec![] };
    for block in blocks(text)? {
        if let Some(bundle_id) = bundle_line(&block.text) {
            if document.bundle_id.as_ref().is_some_and(|known| *known != bundle_id) {
                return Err(Reason::Claims(format!(
                    "line {}: a second bundle is named; claims are about one",
                    block.line
                )));
            }
            document.bundle_id = Some(bundle_id);
            continue;
        }
        sentences(&block, &mut document.statements);
    }
    Ok(document)
}

/// A paragraph, a list item, a heading or a row of a table.
struct Block {
    /// Line that it begins in, from 1 on.
    line: usize,
    text: String,
    is_heading: bool,
}

/// `bundle: sha256:…`, with or without code marks.
fn bundle_line(text: &str) -> Option<String> {
    let text: String = text.chars().filter(|c| !matches!(c, '`' | '*' | '[' | ']')).collect();
    let (word, id) = text.trim().split_once(':')?;
    let id = id.trim();
    let hex = id.strip_prefix("sha256:")?;
    let is_id = hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (word.trim().eq_ignore_ascii_case("bundle") && is_id).then(|| id.to_owned())
}

fn blocks(text: &str) -> Result<Vec<Block>, Reason> {
    let mut blocks: Vec<Block> = Vec::new();
    // The fence or comment that is open, and its line.
    let mut open: Option<(&str, usize)> = None;
    let mut goes_on = false;
    for (line, raw) in (1..).zip(text.lines()) {
        let content = raw.trim_start_matches([' ', '\t', '>']).trim_end();
        if let Some((end, _)) = open {
            match content.split_once(end) {
                Some((_, "")) if end == "-->" => open = None,
                Some(_) if end == "-->" => return Err(text_behind_comment(line)),
                Some(_) if content.trim_matches(['`', '~']).is_empty() => open = None,
                _ => {}
            }
            continue;
        }
        if let Some(fence) = ["```", "~~~"].into_iter().find(|fence| content.starts_with(fence)) {
            (open, goes_on) = (Some((fence, line)), false);
            continue;
        }
        if let Some(comment) = content.strip_prefix("<!--") {
            match comment.split_once("-->") {
                Some((_, "")) => {}
                Some(_) => return Err(text_behind_comment(line)),
                None => open = Some(("-->", line)),
            }
            goes_on = false;
            continue;
        }
        if content.is_empty() || content.chars().all(|c| matches!(c, '-' | '=' | '*' | '_' | '|' | ':' | ' ')) {
            // Below a row of a table stands a rule: that row is its heading.
            if content.contains('|')
                && let Some(block) = blocks.last_mut()
            {
                block.is_heading = true;
            }
            goes_on = false;
            continue;
        }
        let (content, begins, is_heading) = block_start(content);
        match blocks.last_mut() {
            Some(block) if goes_on && !begins => {
                block.text.push('\n');
                block.text.push_str(&content);
            }
            _ => blocks.push(Block { line, text: content, is_heading }),
        }
        goes_on = !is_heading;
    }
    match open {
        Some((_, line)) => {
            Err(Reason::Claims(format!("line {line}: the code block or comment that begins here does not end")))
        }
        None => Ok(blocks),
    }
}

fn text_behind_comment(line: usize) -> Reason {
    Reason::Claims(format!("line {line}: a comment ends before the line does; put it on lines of its own"))
}

/// A line without the marks of headings, items and tables; whether it begins a block; whether it is a heading.
fn block_start(line: &str) -> (String, bool, bool) {
    let heading = line.trim_start_matches('#');
    let depth = line.len() - heading.len();
    if (1..=6).contains(&depth) && heading.starts_with(' ') {
        return (heading.trim().trim_end_matches('#').trim().to_owned(), true, true);
    }
    if let Some(row) = line.strip_prefix('|') {
        return (cells(row), true, false);
    }
    let item =
        ["- ", "* ", "+ ", "- [ ] ", "- [x] "].into_iter().filter_map(|mark| line.strip_prefix(mark)).next_back();
    if let Some(item) = item {
        return (item.trim().to_owned(), true, false);
    }
    let digits = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let numbered = line.get(digits..).and_then(|rest| rest.strip_prefix(". ").or_else(|| rest.strip_prefix(") ")));
    match numbered {
        Some(item) if (1..=4).contains(&digits) => (item.trim().to_owned(), true, false),
        _ => (line.to_owned(), false, false),
    }
}

/// A row of a table as text: the bars between cells, but not those in code, become spaces.
fn cells(row: &str) -> String {
    let mut in_code = false;
    row.chars()
        .map(|c| {
            in_code ^= c == '`';
            if c == '|' && !in_code { ' ' } else { c }
        })
        .collect()
}

/// A piece of a block.
#[derive(Debug, PartialEq)]
enum Piece {
    Text(String),
    /// What stands in brackets and begins like an anchor.
    Anchor(String),
    /// A code span with a parenthesis.
    Predicate(String),
    Quote(String),
    Mistake(String),
    /// The end of a sentence, with its sign.
    End(char),
}

fn sentences(block: &Block, statements: &mut Vec<Statement>) {
    let mut pieces = VecDeque::from(pieces(&block.text));
    let (mut line, mut number) = (block.line, 0);
    while !pieces.is_empty() {
        let begin = line;
        let mut statement = Statement { may_be_left_out: block.is_heading, ..Statement::default() };
        for piece in one_sentence(&mut pieces) {
            line += take(&mut statement, piece);
        }
        let claim = &mut statement.claim;
        let text = claim.text.trim();
        statement.may_be_left_out |= text.ends_with([':', '?']);
        let gives = !claim.anchors.is_empty() || !claim.predicates.is_empty() || !claim.quotes.is_empty();
        if !gives && statement.mistakes.is_empty() && !text.chars().any(char::is_alphanumeric) {
            continue;
        }
        number += 1;
        claim.id = if number == 1 { format!("L{begin}") } else { format!("L{}.{number}", block.line) };
        statements.push(statement);
    }
}

/// Takes the pieces of one sentence: up to its end, and the anchors and predicates behind it. Where these are followed by
/// a word in lower case, they begin the next sentence.
fn one_sentence(pieces: &mut VecDeque<Piece>) -> Vec<Piece> {
    let mut sentence = Vec::new();
    while let Some(piece) = pieces.pop_front() {
        let ends = matches!(piece, Piece::End(_));
        sentence.push(piece);
        if ends {
            break;
        }
    }
    let end = sentence.len();
    while let Some(piece) = pieces.pop_front() {
        match piece {
            Piece::Anchor(_) | Piece::Predicate(_) => sentence.push(piece),
            Piece::Text(ref text) if text.trim().is_empty() => sentence.push(piece),
            piece => {
                let begins = matches!(&piece, Piece::Text(text) if text.trim_start().starts_with(char::is_lowercase));
                pieces.push_front(piece);
                if begins {
                    sentence.split_off(end).into_iter().rev().for_each(|piece| pieces.push_front(piece));
                }
                break;
            }
        }
    }
    sentence
}

/// Adds a piece to a statement; gives the lines that end in it.
fn take(statement: &mut Statement, piece: Piece) -> usize {
    let claim = &mut statement.claim;
    match piece {
        Piece::Text(text) => {
            claim.text.push_str(&text.replace('\n', " "));
            return text.matches('\n').count();
        }
        Piece::End(sign) => claim.text.push(sign),
        Piece::Anchor(anchor) => claim.anchors.push(anchor),
        Piece::Predicate(predicate) => claim.predicates.push(predicate.replace('\n', " ")),
        Piece::Quote(quote) => {
            claim.text.push_str(&format!("\"{quote}\""));
            claim.quotes.push(Quote { anchor: None, text: quote });
        }
        Piece::Mistake(mistake) => statement.mistakes.push(mistake),
    }
    0
}

fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let found = match c {
            '`' => code(rest),
            '"' | '“' => Some(quote(rest)),
            '[' => bracket(rest),
            '.' | '!' | '?' if ends_sentence(&plain, rest) => Some((Piece::End(c), c.len_utf8())),
            _ => None,
        };
        let length = match found {
            Some((piece, length)) => {
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(piece);
                length
            }
            None => {
                // Marks of emphasis are no text.
                if c != '*' {
                    plain.push(c);
                }
                c.len_utf8()
            }
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    pieces
}

/// A code span: a predicate if it has a parenthesis, else a name, which stays text.
fn code(rest: &str) -> Option<(Piece, usize)> {
    let ticks = rest.len() - rest.trim_start_matches('`').len();
    let mark = rest.get(..ticks)?;
    let inner = rest.get(ticks..)?;
    let Some(end) = inner.find(mark) else {
        return Some((Piece::Mistake(String::from("a code span that begins here does not end")), ticks));
    };
    let content = inner.get(..end)?;
    let piece = match content.contains('(') {
        true => Piece::Predicate(content.trim().to_owned()),
        false => Piece::Text(format!("`{}`", content.trim())),
    };
    Some((piece, ticks + end + ticks))
}

fn quote(rest: &str) -> (Piece, usize) {
    let (open, close) = if rest.starts_with('“') { ('“', '”') } else { ('"', '"') };
    let inner = rest.get(open.len_utf8()..).unwrap_or_default();
    let end = inner.char_indices().take(MAX_LENGTH).find(|(_, c)| *c == close);
    match end {
        Some((end, _)) => {
            let text = inner.get(..end).unwrap_or_default().to_owned();
            (Piece::Quote(text), open.len_utf8() + end + close.len_utf8())
        }
        None => (Piece::Mistake(String::from("a quote that begins here does not end")), open.len_utf8()),
    }
}

/// An anchor in brackets, with the address of a link after it or not. A link's text is text.
fn bracket(rest: &str) -> Option<(Piece, usize)> {
    let mut depth = 0usize;
    let end = rest.char_indices().take(MAX_LENGTH).find_map(|(at, c)| {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        (depth == 0).then_some(at)
    })?;
    let content = rest.get(1..end)?.trim().trim_matches('`');
    let mut length = end + 1;
    let address = rest.get(length..).filter(|after| after.starts_with('(')).and_then(|after| after.find(')'));
    if let Some(close) = address {
        length += close + 1;
    }
    let is_kind = |kind: &str| !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_alphabetic());
    if content.split_once(':').is_some_and(|(kind, _)| is_kind(kind)) {
        return Some((Piece::Anchor(content.to_owned()), length));
    }
    address.map(|_| (Piece::Text(content.to_owned()), length))
}

/// Whether the sign at the beginning of `rest` ends the sentence that `plain` is the last text of.
fn ends_sentence(plain: &str, rest: &str) -> bool {
    let next = rest.chars().skip(1).take(16).find(|c| !matches!(c, ')' | '*' | '_' | '.' | '!' | '?'));
    let last_word = plain.rsplit(char::is_whitespace).next().unwrap_or_default().trim_start_matches('(');
    let is_abbreviation = rest.starts_with('.') && ABBREVIATIONS.contains(&last_word.to_lowercase().as_str());
    next.is_none_or(char::is_whitespace) && !is_abbreviation
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Id, text, anchors, quotes and predicates of each statement, for a table.
    fn read_all(text: &str) -> Vec<String> {
        let document = read(text).unwrap();
        let shown = |statement: &Statement| {
            let claim = &statement.claim;
            let quotes: Vec<&str> = claim.quotes.iter().map(|quote| quote.text.as_str()).collect();
            let left = if statement.may_be_left_out { "?" } else { "" };
            format!(
                "{}{left} | {} | {} | {} | {}",
                claim.id,
                claim.text.trim(),
                claim.anchors.join(" "),
                quotes.join(" "),
                claim.predicates.join(" ")
            )
        };
        document.statements.iter().map(shown).collect()
    }

    /// Sentences are claims, with what stands in brackets, quotation marks and code; ends within quotes, code, numbers and
    /// abbreviations end nothing.
    #[test]
    fn sentences_are_claims() {
        let cases: &[(&str, &[&str])] = &[
            (
                "It failed [span:a] `status(span:a) = ERROR`.",
                &["L1 | It failed  . | span:a |  | status(span:a) = ERROR"],
            ),
            (
                "It failed. [span:a] Then B. [log:0]",
                &["L1 | It failed. | span:a |  | ", "L1.2 | Then B. | log:0 |  | "],
            ),
            ("A failed. [span:a] failed, too.", &["L1 | A failed. |  |  | ", "L1.2 | failed, too. | span:a |  | "]),
            (
                "\n- A \"x. y\" [log:0]\n- B 1.9.0, e.g. C",
                &["L2 | A \"x. y\" | log:0 | x. y | ", "L3 | B 1.9.0, e.g. C |  |  | "],
            ),
            ("Said “no” in `a.b` [heap:0](https://x.y/z).", &["L1 | Said \"no\" in `a.b` . | heap:0 | no | "]),
            (
                "# Cause\n\nWhat was it?\nSee:",
                &["L1? | Cause |  |  | ", "L3? | What was it? |  |  | ", "L3.2? | See: |  |  | "],
            ),
            (
                "| claim | where |\n|---|---|\n| A | [log:0] |",
                &["L1? | claim   where |  |  | ", "L3 | A | log:0 |  | "],
            ),
            ("```\nnot. prose\n```\n<!-- nor\nthis -->\nBut **this**.", &["L6 | But this. |  |  | "]),
            ("one\ntwo. three", &["L1 | one two. |  |  | ", "L1.2 | three |  |  | "]),
            ("[a link](https://x.y) [x]", &["L1 | a link [x] |  |  | "]),
            ("...\n\n---\n", &[]),
        ];
        for (text, wanted) in cases {
            assert_eq!(read_all(text), *wanted, "{text}");
        }
    }

    /// What does not end is told, and hides nothing: a code block, a comment, a quote, a code span; nor does text stand
    /// behind a comment.
    #[test]
    fn what_does_not_end_is_told() {
        for text in ["```\nA failed.", "<!-- A\nfailed.", "<!-- x --> A failed.", "<!--\nx --> A failed."] {
            assert!(read(text).is_err(), "{text}");
        }
        for text in ["A \"failed.", "A `status(span:a)."] {
            let document = read(text).unwrap();
            assert!(document.statements.iter().any(|statement| !statement.mistakes.is_empty()), "{text}");
        }
    }

    /// A line names the bundle that the claims are about, once.
    #[test]
    fn a_line_names_the_bundle() {
        let id = format!("sha256:{}", "0a".repeat(32));
        for line in [format!("Bundle: {id}"), format!("**bundle:** `{id}`")] {
            let document = read(&format!("{line}\n\nA failed.")).unwrap();
            assert_eq!((document.bundle_id, document.statements.len()), (Some(id.clone()), 1), "{line}");
        }
        assert!(read(&format!("bundle: {id}\n\nbundle: sha256:{}", "0b".repeat(32))).is_err());
    }
}

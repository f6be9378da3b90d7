//! Claims in Markdown: a sentence is a claim, its anchors stand in brackets, its quotes in quotation marks, its
//! predicates in code spans.
//!
//! Only as much of Markdown is read as says where sentences begin and end (`blocks`, `pieces`). Everything but code blocks
//! and comments is a claim, unless it is a heading, a question or a line that ends in a colon and names nothing of the
//! incident.

use std::collections::VecDeque;

use tracerag_schemas::claims::Quote;

use super::blocks::{Block, Kind, blocks};
use super::document::{Document, Statement};
use super::pieces::{Piece, pieces};
use super::reason::Reason;

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

/// `bundle: sha256:…`, with or without code marks.
fn bundle_line(text: &str) -> Option<String> {
    let text: String = text.chars().filter(|c| !matches!(c, '`' | '*' | '[' | ']')).collect();
    let (word, id) = text.trim().split_once(':')?;
    let id = id.trim();
    let hex = id.strip_prefix("sha256:")?;
    let is_id = hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (word.trim().eq_ignore_ascii_case("bundle") && is_id).then(|| id.to_owned())
}

fn sentences(block: &Block, statements: &mut Vec<Statement>) {
    let mut pieces = VecDeque::from(pieces(&block.text));
    let (mut line, mut number) = (block.line, 0);
    while !pieces.is_empty() {
        let begin = line;
        let mut sentence = Sentence::default();
        for piece in one_sentence(&mut pieces) {
            line += sentence.take(piece);
        }
        let mut statement = sentence.statement;
        let claim = &mut statement.claim;
        let text = claim.text.trim();
        let states_nothing = block.kind == Kind::Heading || text.ends_with([':', '?']);
        let gives = !claim.anchors.is_empty() || !claim.predicates.is_empty() || !claim.quotes.is_empty();
        if !gives && statement.mistakes.is_empty() && !text.chars().any(char::is_alphanumeric) {
            continue;
        }
        // What its reader sees is not known of a sentence with mistakes.
        statement.may_be_left_out = states_nothing && statement.mistakes.is_empty();
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

/// A sentence while its pieces are put together.
#[derive(Default)]
struct Sentence {
    statement: Statement,
    /// Whether an anchor or a predicate stood behind the text so far.
    is_cut: bool,
}

impl Sentence {
    /// Adds a piece; gives the lines that end in it.
    fn take(&mut self, piece: Piece) -> usize {
        let claim = &mut self.statement.claim;
        match piece {
            Piece::Text(text) => {
                self.text(&text.replace('\n', " "));
                return text.matches('\n').count();
            }
            Piece::End(sign) => self.text(sign.encode_utf8(&mut [0; 4])),
            Piece::Quote(shown, quote) => {
                claim.quotes.push(Quote { anchor: None, text: quote });
                self.text(&shown.replace('\n', " "));
                return shown.matches('\n').count();
            }
            Piece::Anchor(anchor) => {
                claim.anchors.push(anchor);
                self.is_cut = true;
            }
            Piece::Predicate(predicate) => {
                claim.predicates.push(predicate.replace('\n', " "));
                self.is_cut = true;
                return predicate.matches('\n').count();
            }
            Piece::Mistake(mistake) => self.statement.mistakes.push(mistake),
        }
        0
    }

    /// Adds text. Where something was taken out before it, there is one blank, and none before a stop: words do not meet
    /// that did not, and the rest reads as if nothing had stood there.
    fn text(&mut self, text: &str) {
        let own = &mut self.statement.claim.text;
        if !self.is_cut {
            own.push_str(text);
            return;
        }
        let behind = text.trim_start();
        if behind.is_empty() {
            return;
        }
        let is_stop = behind.starts_with(['.', ',', ';', ':', '!', '?', ')']);
        own.truncate(own.trim_end().len());
        if !is_stop && !own.is_empty() {
            own.push(' ');
        }
        own.push_str(behind);
        self.is_cut = false;
    }
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
            ("It failed [span:a] `status(span:a) = ERROR`.", &["L1 | It failed. | span:a |  | status(span:a) = ERROR"]),
            (
                "It failed. [span:a] Then B. [log:0]",
                &["L1 | It failed. | span:a |  | ", "L1.2 | Then B. | log:0 |  | "],
            ),
            ("A failed. [span:a] failed, too.", &["L1 | A failed. |  |  | ", "L1.2 | failed, too. | span:a |  | "]),
            (
                "\n- A \"x. y\" [log:0]\n- B 1.9.0, e.g. C",
                &["L2 | A \"x. y\" | log:0 | x. y | ", "L3 | B 1.9.0, e.g. C |  |  | "],
            ),
            ("Said “no” in `a.b` [heap:0](https://x.y/z).", &["L1 | Said “no” in `a.b`. | heap:0 | no | "]),
            (
                "# Cause\n\nWhat was it?\nSee:",
                &["L1? | Cause |  |  | ", "L3? | What was it? |  |  | ", "L3.2? | See: |  |  | "],
            ),
            (
                "| claim | where |\n|---|---|\n| A | [log:0] |",
                &["L1? | claim   where |  |  | ", "L3 | A | log:0 |  | "],
            ),
            ("```\nnot. prose\n```\n<!-- nor\nthis -->\nBut **this**.", &["L6 | But this. |  |  | "]),
            (
                "Said ‘no\nmore’ and 'not'.\n\nIt's so.",
                &["L1 | Said ‘no more’ and 'not'. |  | no\nmore not | ", "L4 | It's so. |  |  | "],
            ),
            ("A [span:a], B [log:0] [log:1] c[log:2]d", &["L1 | A, B c d | span:a log:0 log:1 log:2 |  | "]),
            ("Cause\n=====\nA failed.", &["L1? | Cause |  |  | ", "L3 | A failed. |  |  | "]),
            ("one\ntwo. three", &["L1 | one two. |  |  | ", "L1.2 | three |  |  | "]),
            ("[a link](https://x.y) [x]", &["L1 | a link [x] |  |  | "]),
            ("...\n\n---\n", &[]),
        ];
        for (text, wanted) in cases {
            assert_eq!(read_all(text), *wanted, "{text}");
        }
    }

    /// What does not end, and what its reader sees in another way, is told and never left out, in a heading neither.
    #[test]
    fn mistakes_are_told() {
        for text in ["A \"failed.", "A `status(span:a).", "# p&shy;x never failed", "See n&shy;o:", "<p>"] {
            let document = read(text).unwrap();
            let told = document
                .statements
                .iter()
                .any(|statement| !statement.mistakes.is_empty() && !statement.may_be_left_out);
            assert!(told, "{text}");
        }
        assert!(read("```\nA failed.").is_err());
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

//! Masking: what varies between two occurrences of one failure becomes a placeholder.
//!
//! `order 4711 of alice@example.org failed after 12.5 ms` becomes
//! `order <num> of <email> failed after <duration>`. The classes are tried in the order of
//! [`class_names`] at the start of every word; the first that recognises something wins. Order is
//! meaning: a date is tried before a number, or it would be three numbers.
//!
//! Where it is open whether a part varies, it stays: an extra group is a smaller evil than a wrong
//! merge. So error codes keep their numbers (`status code 502`, `[Errno 111]`, `ORA-00942`), quoted
//! names stay (`column "amount"`), and so do host names and routes without digits.
//!
//! This normalises; it protects nobody. Redaction has run long before, and its placeholders pass
//! through unchanged.

mod addresses;
#[cfg(test)]
mod cases;
mod classes;
mod signs;
mod times;
mod words;

use crate::cursor::{Cursor, is_word, word_end};
use classes::{CLASSES, Hit};

/// The version of the classes and of their order; a change of either makes it one more.
pub const MASK_VERSION: i32 = 1;

/// Bytes of a text that are looked at; what lies behind does not take part in grouping.
const MAX_INPUT: usize = 8 * 1024;
/// Bytes of a masked text.
const MAX_OUTPUT: usize = 4 * 1024;
/// Masking can open a new view of what is left (a quote loses its partner): passes until nothing
/// changes, at most this many.
const MAX_PASSES: usize = 8;
/// How far a closing quote may be away, in bytes.
const MAX_QUOTED: usize = 2048;

/// The names of the classes, in the order in which they are tried.
pub fn class_names() -> impl Iterator<Item = &'static str> {
    CLASSES.iter().map(|(name, ..)| *name)
}

/// Replaces the variable parts of `text` by placeholders and runs of white space by one blank.
///
/// Masking a masked text changes nothing. Takes time linear in the length of the text, of which the
/// first 8 KiB count; the result is cut at 4 KiB.
#[must_use]
pub fn mask(text: &str) -> String {
    let text = clip(text, MAX_INPUT);
    let mut masked = pass(text);
    // What one pass leaves as it is, the next one does as well.
    if masked == text {
        return masked;
    }
    for _ in 1..MAX_PASSES {
        let again = pass(&masked);
        if again == masked {
            break;
        }
        masked = again;
    }
    masked
}

/// The same in one pass: what only a second one would find (a quote that has lost its partner) stays.
#[must_use]
pub(crate) fn mask_once(text: &str) -> String {
    pass(clip(text, MAX_INPUT))
}

/// `text` cut to at most `max` bytes, at a character's boundary.
#[must_use]
pub(crate) fn clip(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let mut end = max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn pass(text: &str) -> String {
    let mut scan = Scan { cursor: Cursor::new(text) };
    scan.cursor.out.reserve(text.len());
    scan.run();
    let mut out = scan.cursor.out;
    let trimmed = out.trim_end_matches(' ').len();
    out.truncate(trimmed);
    let kept = clip(&out, MAX_OUTPUT).len();
    out.truncate(kept);
    out
}

/// One pass over one text.
struct Scan<'a> {
    cursor: Cursor<'a>,
}

impl Scan<'_> {
    fn run(&mut self) {
        while let Some(&byte) = self.cursor.bytes.get(self.cursor.at) {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => self.blank(),
                0x1b => self.skip_escape_sequence(),
                0..=0x1f | 0x7f => self.cursor.at += 1,
                b'<' => match placeholder_end(self.cursor.bytes, self.cursor.at) {
                    Some(end) => self.cursor.copy_to(end),
                    None => self.cursor.copy_to(self.cursor.at + 1),
                },
                b'\\' => self.cursor.copy_to(self.cursor.at + 2),
                b'"' | b'\'' | b'`' => self.quote(byte),
                _ if self.starts_something(byte) => self.word(),
                _ => self.cursor.copy_to(self.cursor.at + 1),
            }
        }
    }

    fn blank(&mut self) {
        if !self.cursor.out.is_empty() && !self.cursor.out.ends_with(' ') {
            self.cursor.out.push(' ');
        }
        self.cursor.at += 1;
    }

    /// Colours of a terminal: `ESC [ 31 m`.
    fn skip_escape_sequence(&mut self) {
        self.cursor.at += 1;
        if self.cursor.bytes.get(self.cursor.at) == Some(&b'[') {
            let rest = &self.cursor.bytes[self.cursor.at + 1..];
            let parameters = rest.iter().take(16).take_while(|byte| byte.is_ascii_digit() || **byte == b';').count();
            if rest.get(parameters).is_some_and(u8::is_ascii_alphabetic) {
                self.cursor.at += parameters + 2;
            }
        }
    }

    fn starts_something(&self, byte: u8) -> bool {
        if is_word(byte) {
            return true;
        }
        let next = self.cursor.bytes.get(self.cursor.at + 1).copied().unwrap_or(b' ');
        let after_word = self.cursor.at > 0 && is_word(self.cursor.bytes[self.cursor.at - 1]);
        match byte {
            b'+' | b'-' => next.is_ascii_digit() && !after_word && !self.cursor.out.ends_with('>'),
            b'/' | b'~' => !after_word,
            b':' => next == b':' && !after_word,
            b'?' => self.cursor.at > 0 && (after_word || self.cursor.bytes[self.cursor.at - 1] == b'/'),
            _ => false,
        }
    }

    /// Tries the classes whose signs the word has; without a hit the whole word is copied, so that no word is looked at twice.
    fn word(&mut self) {
        let (signs, end) = signs::signs(self.cursor.bytes, self.cursor.at);
        for (_, _, recognise) in CLASSES.iter().filter(|(_, of_class, _)| signs & of_class != 0) {
            let cursor = &self.cursor;
            let view = classes::View { text: cursor.text, bytes: cursor.bytes, before: &cursor.out };
            let Some(hit) = recognise(&view, cursor.at) else { continue };
            match hit {
                Hit::Mask { end, placeholder } => {
                    self.cursor.out.push_str(placeholder);
                    self.cursor.at = end;
                }
                Hit::MaskTail { from, end, placeholder } => {
                    self.cursor.copy_to(from);
                    self.cursor.out.push_str(placeholder);
                    self.cursor.at = end;
                }
                Hit::Keep { end } => self.cursor.copy_to(end),
                Hit::Write { end, text } => {
                    self.cursor.out.push_str(&text);
                    self.cursor.at = end;
                }
            }
            return;
        }
        self.cursor.copy_to(end.max(self.cursor.at + 1));
    }

    fn quote(&mut self, quote: u8) {
        if self.cursor.close_quote() {
            return;
        }
        let Some(close) = closing_quote(self.cursor.bytes, self.cursor.at, quote) else {
            return self.cursor.copy_to(self.cursor.at + 1);
        };
        let inside = &self.cursor.text[self.cursor.at + 1..close];
        let is_key = self.cursor.bytes[close + 1..]
            .iter()
            .take(3)
            .find(|byte| **byte != b' ')
            .is_some_and(|byte| *byte == b':' || *byte == b'=');
        if inside.is_empty() || (is_key && words::is_name(inside)) {
            return self.cursor.copy_to(close + 1);
        }
        match words::value_key(&self.cursor.out) {
            Some(key) if words::TELLING_KEYS.contains(&key.as_str()) => self.cursor.open_quote(close),
            None if words::is_name(inside) || words::is_technical(inside) => self.cursor.copy_to(close + 1),
            None if words::is_address(inside) => self.cursor.open_quote(close),
            _ => {
                self.cursor.out.push_str("<quoted>");
                self.cursor.at = close + 1;
            }
        }
    }
}

/// The end of a placeholder at `start`, of ours or of redaction: `<` + lower-case name + `>`,
/// perhaps with a name of what was kept behind a colon (`<url:payments>`).
pub(crate) fn placeholder_end(bytes: &[u8], start: usize) -> Option<usize> {
    let rest = bytes.get(start + 1..)?;
    if !rest.first()?.is_ascii_lowercase() {
        return None;
    }
    let name =
        rest.iter().take(24).take_while(|byte| byte.is_ascii_lowercase() || matches!(**byte, b'_' | b'-')).count();
    let mut length = name;
    if rest.get(length) == Some(&b':') {
        let kept = rest[length + 1..]
            .iter()
            .take(254)
            .take_while(|byte| byte.is_ascii_alphabetic() || matches!(**byte, b'.' | b'-' | b'_'))
            .count();
        length += 1 + kept;
    }
    (rest.get(length) == Some(&b'>')).then_some(start + 1 + length + 1)
}

/// Where the quote that opens at `open` closes. An apostrophe within a word (`can't`) is no quote.
fn closing_quote(bytes: &[u8], open: usize, quote: u8) -> Option<usize> {
    let tight = quote == b'\'';
    if tight && open > 0 && is_word(bytes[open - 1]) {
        return None;
    }
    let end = bytes.len().min(open + MAX_QUOTED);
    let mut at = open + 1;
    while at < end {
        if bytes[at] == b'\\' {
            at += 2;
            continue;
        }
        if bytes[at] == quote && !(tight && bytes.get(at + 1).is_some_and(|&next| is_word(next))) {
            return Some(at);
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests;

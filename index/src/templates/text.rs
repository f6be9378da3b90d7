//! The template of one text.
//!
//! First the classes of [`mask`](crate::failures::mask) are found: numbers, ids, dates, addresses. Then what looks like
//! a value by its place, which a failure's message would keep because two failures may differ in it, while one log
//! statement writes it for all of its messages:
//!
//! - what is quoted, unless it is the value of a key that names a message (`msg="order placed"`);
//! - the value of `key=value`, and of `key: value` within brackets where it is one word;
//! - a path or a route, and a number of digits alone, an error's code as well.
//!
//! Variables side by side become one, so that a list has the same template whatever its length.

use std::sync::LazyLock;

use tracerag_schemas::attributes::type_name;

use super::WILDCARD;
use super::members::{self, Said};
use crate::cursor::{Cursor, is_word, word_end};
use crate::failures::InAppRules;
use crate::failures::frames::StackTrace;
use crate::failures::mask::{clip, mask_once, placeholder_end};

/// Bytes of a text that are looked at.
const MAX_INPUT: usize = 4 * 1024;
/// Bytes of a text in which a stack is looked for.
const MAX_STACK: usize = 16 * 1024;
/// Bytes of a template.
const MAX_TEMPLATE: usize = 512;
/// How far a closing quote may be away, in bytes.
const MAX_QUOTED: usize = 512;
/// Brackets within brackets that are counted.
const MAX_DEPTH: usize = 64;

/// Keys whose value is a text of the program: its inside is read like the message itself.
const TELLING_KEYS: [&str; 11] =
    ["description", "detail", "err", "error", "event", "exception", "level", "message", "msg", "reason", "severity"];

/// The template of a body. `kind` is its `body_type`, where it is no text. `None`: nothing is said, or it holds a stack.
///
/// Takes time linear in the text, of which a bounded part counts; the result has at most 512 bytes.
#[must_use]
pub fn template(body: &str, kind: Option<&str>) -> Option<String> {
    let body = body.trim();
    match members::said(body, kind == Some(type_name::KVLIST)) {
        Some(Said::Message(message)) => of_text(message.trim()),
        Some(Said::Names(names)) => finished(names),
        None => of_text(body),
    }
}

fn of_text(text: &str) -> Option<String> {
    if holds_stack(text) {
        return None;
    }
    let masked = mask_once(clip(text, MAX_INPUT));
    let mut scan = Scan { cursor: Cursor::new(&masked), depth: 0 };
    scan.run();
    finished(scan.cursor.out)
}

fn holds_stack(text: &str) -> bool {
    static RULES: LazyLock<InAppRules> = LazyLock::new(InAppRules::default);
    text.contains('\n') && !StackTrace::parse(clip(text, MAX_STACK), &RULES).is_empty()
}

/// Cut behind a word: where a variable stands before, the cut is the same however long it was.
fn finished(mut template: String) -> Option<String> {
    if template.len() > MAX_TEMPLATE {
        let kept = clip(&template, MAX_TEMPLATE);
        let end = kept.rfind(' ').filter(|end| *end > 0).unwrap_or(kept.len());
        template.truncate(end);
    }
    let end = template.trim_end().len();
    template.truncate(end);
    (!template.is_empty()).then_some(template)
}

/// One pass over a masked text.
struct Scan<'a> {
    cursor: Cursor<'a>,
    /// How many brackets are open.
    depth: usize,
}

impl Scan<'_> {
    fn run(&mut self) {
        while let Some(&byte) = self.cursor.bytes.get(self.cursor.at) {
            if self.cursor.out.len() > 2 * MAX_TEMPLATE {
                return;
            }
            match byte {
                b'<' => match placeholder_end(self.cursor.bytes, self.cursor.at) {
                    Some(end) => self.variable(end),
                    None => self.cursor.copy_to(self.cursor.at + 1),
                },
                b'"' | b'\'' | b'`' => self.quote(byte),
                b'[' | b'{' | b'(' => {
                    self.depth = (self.depth + 1).min(MAX_DEPTH);
                    self.cursor.copy_to(self.cursor.at + 1);
                }
                b']' | b'}' | b')' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.cursor.copy_to(self.cursor.at + 1);
                }
                b'=' | b':' => self.value(byte),
                b'/' if !self.follows_word() => self.path(),
                _ if is_word(byte) => self.word(),
                _ => self.cursor.copy_to(self.cursor.at + 1),
            }
        }
    }

    /// Writes a wildcard in place of everything to `end`, unless nothing but signs divides it from the one before.
    fn variable(&mut self, end: usize) {
        self.cursor.at = end;
        let before = self.cursor.out.trim_end_matches(is_joiner).len();
        if self.cursor.out[..before].ends_with(WILDCARD) {
            self.cursor.out.truncate(before);
        } else {
            self.cursor.out.push_str(WILDCARD);
        }
    }

    fn follows_word(&self) -> bool {
        self.cursor.out.as_bytes().last().is_some_and(|&last| is_word(last) || last == b'>')
    }

    /// How many bytes from `start` on are those of a value that is not quoted.
    fn run_of_value(&self, start: usize) -> usize {
        let ends = |byte: &u8| byte.is_ascii_whitespace() || b",;)]}([{&|\"'`".contains(byte);
        self.cursor.bytes.get(start..).map_or(0, |rest| rest.iter().position(ends).unwrap_or(rest.len()))
    }

    /// `key=value` anywhere; `key: value` within brackets, if the value is one word.
    fn value(&mut self, sign: u8) {
        let key = key_at_end(&self.cursor.out);
        let is_telling = key.is_some_and(is_telling);
        let has_key = key.is_some();
        self.cursor.copy_to(self.cursor.at + 1);
        if !has_key || is_telling || (sign == b':' && self.depth == 0) {
            return;
        }
        let mut start = self.cursor.at;
        if sign == b':' && self.cursor.bytes.get(start) == Some(&b' ') {
            start += 1;
        }
        let length = self.run_of_value(start);
        let behind = self.cursor.bytes.get(start + length).copied();
        let is_one_word = matches!(behind, None | Some(b',' | b';' | b')' | b']' | b'}'));
        let is_sign = matches!(self.cursor.bytes.get(start), None | Some(b'=' | b'>' | b':'));
        if length == 0 || is_sign || (sign == b':' && !is_one_word) {
            return;
        }
        self.cursor.copy_to(start);
        self.variable(start + length);
    }

    fn path(&mut self) {
        let length = self.run_of_value(self.cursor.at);
        let run = &self.cursor.bytes[self.cursor.at..self.cursor.at + length];
        if run.iter().any(|byte| is_word(*byte)) {
            self.variable(self.cursor.at + length);
        } else {
            self.cursor.copy_to(self.cursor.at + length.max(1));
        }
    }

    fn word(&mut self) {
        let end = word_end(self.cursor.bytes, self.cursor.at);
        if self.cursor.bytes[self.cursor.at..end].iter().all(u8::is_ascii_digit) {
            self.variable(end);
        } else {
            self.cursor.copy_to(end);
        }
    }

    fn quote(&mut self, quote: u8) {
        if self.cursor.close_quote() {
            return;
        }
        let Some(close) = self.closing_quote(quote) else { return self.cursor.copy_to(self.cursor.at + 1) };
        let behind = self.cursor.bytes.get(close + 1);
        if behind == Some(&b'=') || (behind == Some(&b':') && self.depth > 0) {
            return self.cursor.copy_to(close + 1);
        }
        let is_value = self.cursor.out.trim_end_matches(' ').ends_with([':', '=']);
        let before = self.cursor.out.trim_end_matches([' ', ':', '=']);
        if is_value && key_at_end(before).is_some_and(is_telling) {
            return self.cursor.open_quote(close);
        }
        self.variable(close + 1);
    }

    /// Where the quote that opens here closes. An apostrophe within a word (`can't`) is no quote.
    fn closing_quote(&self, quote: u8) -> Option<usize> {
        let is_apostrophe = quote == b'\'';
        if is_apostrophe && self.follows_word() {
            return None;
        }
        let mut escaped = false;
        let within = self.cursor.bytes.iter().enumerate().skip(self.cursor.at + 1).take(MAX_QUOTED);
        for (at, &byte) in within {
            if byte == quote && !escaped {
                let goes_on = self.cursor.bytes.get(at + 1).is_some_and(|next| is_word(*next));
                if !(is_apostrophe && goes_on) {
                    return Some(at);
                }
            }
            escaped = byte == b'\\' && !escaped;
        }
        None
    }
}

/// Whether two variables with nothing else between them are one.
fn is_joiner(sign: char) -> bool {
    " ,;.:-/_+@#|&%~^*".contains(sign)
}

/// The key that ends a text: a word of letters, digits, `_`, `-` and `.` that begins with a letter, perhaps in quotes.
fn key_at_end(text: &str) -> Option<&str> {
    let text = text.trim_end_matches(['"', '\'']);
    let length = text.bytes().rev().take(64).take_while(|byte| is_word(*byte) || matches!(*byte, b'-' | b'.')).count();
    let key = text.get(text.len() - length..)?;
    key.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_').then_some(key)
}

fn is_telling(key: &str) -> bool {
    let last = key.rsplit(['.', '_', '-']).next().unwrap_or(key);
    TELLING_KEYS.iter().any(|telling| last.eq_ignore_ascii_case(telling))
}

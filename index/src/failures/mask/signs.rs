//! What can be seen of a word at a glance, and which classes it rules out.
//!
//! Most words are letters with a blank behind them: no class takes them, and none needs to be asked. A class is asked
//! only where a word has one of its signs (`CLASSES`), so a sign may be there in vain, but never be missing.

use super::times::begins_day;
use crate::cursor::is_word;

/// A set of the signs below.
pub(super) type Signs = u16;

/// A colon behind the word.
pub(super) const COLON: Signs = 1;
/// A dot behind it.
pub(super) const DOT: Signs = 1 << 1;
/// A dash behind it, or one that begins a number.
pub(super) const DASH: Signs = 1 << 2;
/// `+`, `%` or `@` behind it, or a plus that begins a number.
pub(super) const MARK: Signs = 1 << 3;
/// It begins with a digit or a sign.
pub(super) const NUMBER: Signs = 1 << 4;
/// It has a digit.
pub(super) const DIGIT: Signs = 1 << 5;
/// It begins like the name of a month or of a day of the week.
pub(super) const DAY: Signs = 1 << 6;
/// It may be hexadecimal without a digit: words of the language are shorter.
pub(super) const LONG: Signs = 1 << 7;
/// It begins as a JSON web token does.
pub(super) const TOKEN: Signs = 1 << 8;
/// `/` or `~`, with which paths begin.
pub(super) const ROOT: Signs = 1 << 9;
/// `?`
pub(super) const QUESTION: Signs = 1 << 10;

/// Letters of a word that is long.
const MANY: usize = 16;

/// The signs of the word at `at`, which may be empty: what stands behind it is then what stands there. And where it ends.
pub(super) fn signs(bytes: &[u8], at: usize) -> (Signs, usize) {
    let mut signs = 0;
    let mut end = at;
    while let Some(byte) = bytes.get(end).filter(|byte| is_word(**byte)) {
        if byte.is_ascii_digit() {
            signs |= DIGIT;
        }
        end += 1;
    }
    let word = &bytes[at..end];
    match word.first() {
        Some(first) if first.is_ascii_digit() => signs |= NUMBER,
        Some(_) if begins_day(word) => signs |= DAY,
        Some(b'e') if word.starts_with(b"eyJ") => signs |= TOKEN,
        _ => {}
    }
    if word.len() >= MANY {
        signs |= LONG;
    }
    signs |= match bytes.get(end) {
        Some(b':') => COLON,
        Some(b'.') => DOT,
        Some(b'-') if word.is_empty() => DASH | NUMBER,
        Some(b'-') => DASH,
        Some(b'+') if word.is_empty() => MARK | NUMBER,
        Some(b'+' | b'%' | b'@') => MARK,
        Some(b'/' | b'~') if word.is_empty() => ROOT,
        Some(b'?') if word.is_empty() => QUESTION,
        _ => 0,
    };
    (signs, end)
}

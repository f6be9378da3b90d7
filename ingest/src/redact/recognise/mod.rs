//! The recognisers: each finds its classes in a text and pushes spans. All are linear in the text: looks to the
//! left are bounded, looks to the right either are bounded or end where the next search begins.

pub(super) mod assignment;
pub(super) mod digits;
pub(super) mod dsn;
pub(super) mod email;
pub(super) mod ip;
pub(super) mod tokens;

use super::class::Class;

/// A part of a text that must be masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) class: Class,
    /// Where the quote stands that must be put around the mask: a bare value of a quoted JSON key.
    pub(super) quote: Option<(usize, usize)>,
}

impl Span {
    pub(super) fn new(start: usize, end: usize, class: Class) -> Self {
        Self { start, end, class, quote: None }
    }
}

/// The byte before `at`, or a space at the start.
pub(super) fn before(text: &[u8], at: usize) -> u8 {
    at.checked_sub(1).map_or(b' ', |index| text[index])
}

/// The byte at `at`, or a space behind the end.
pub(super) fn at(text: &[u8], at: usize) -> u8 {
    text.get(at).copied().unwrap_or(b' ')
}

/// The first offset from `from` on whose byte is not accepted.
pub(super) fn run_end(text: &[u8], from: usize, accept: impl Fn(u8) -> bool) -> usize {
    let end = text[from..].iter().position(|byte| !accept(*byte)).map_or(text.len(), |length| from + length);
    looked_at(end - from);
    end
}

/// The first offset of the accepted run that ends at `to`, looking back at most `limit` bytes.
pub(super) fn run_start(text: &[u8], to: usize, limit: usize, accept: impl Fn(u8) -> bool) -> usize {
    let floor = to.saturating_sub(limit);
    let start = text[floor..to].iter().rposition(|byte| !accept(*byte)).map_or(floor, |index| floor + index + 1);
    looked_at(to - start);
    start
}

/// To be told by every search whose length the text decides. Tests count these bytes: they must not grow faster than
/// the text, whatever it holds.
#[inline(always)]
fn looked_at(_bytes: usize) {
    #[cfg(test)]
    work::add(_bytes);
}

/// Base64 and base64url without padding.
pub(super) fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+' | b'/')
}

/// True if `word` stands in `text` with letters folded.
pub(super) fn contains_folded(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}

/// Bytes that were looked at on this thread.
#[cfg(test)]
pub(super) mod work {
    use std::cell::Cell;

    thread_local! {
        static BYTES: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn add(bytes: usize) {
        BYTES.set(BYTES.get() + bytes);
    }

    /// Those since the last call.
    pub(in super::super) fn take() -> usize {
        BYTES.take()
    }
}

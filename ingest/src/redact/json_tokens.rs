//! Tokens of a JSON text that is already known to be valid, with their places: what is not touched is copied as it is.
//!
//! A parsed value would lose the digits of long numbers and the order of members; evidence must keep both.

/// A token and where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// `{`, `}`, `[`, `]`, `:` or `,`.
    Mark(u8),
    /// A string with its quotes.
    String,
    /// A number.
    Number,
    /// `true`, `false` or `null`.
    Word,
}

/// Whether `text` is one JSON value, nested no deeper than serde_json's limit of 128.
pub(super) fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// Reads the tokens of valid JSON one after the other.
pub(super) struct Tokens<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, position: 0 }
    }

    /// The next token and its text.
    pub(super) fn next(&mut self) -> Option<(Token, &'a str)> {
        let bytes = self.text.as_bytes();
        let start = self.position + bytes[self.position..].iter().position(|b| !b.is_ascii_whitespace())?;
        let (token, end) = match bytes[start] {
            mark @ (b'{' | b'}' | b'[' | b']' | b':' | b',') => (Token::Mark(mark), start + 1),
            b'"' => (Token::String, string_end(bytes, start)),
            first => {
                let end = bytes[start..]
                    .iter()
                    .position(|b| b.is_ascii_whitespace() || matches!(b, b',' | b'}' | b']' | b':'));
                let kind = if first == b'-' || first.is_ascii_digit() { Token::Number } else { Token::Word };
                (kind, end.map_or(bytes.len(), |length| start + length))
            }
        };
        self.position = end;
        Some((token, &self.text[start..end]))
    }

    /// The next token without taking it.
    pub(super) fn peek(&mut self) -> Option<(Token, &'a str)> {
        let position = self.position;
        let next = self.next();
        self.position = position;
        next
    }

    /// The offset behind the last token.
    pub(super) fn position(&self) -> usize {
        self.position
    }
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += found;
        if bytes[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    bytes.len()
}

/// The text of a string token. Lone halves of surrogate pairs, which JSON allows and UTF-8 does not, leave it raw.
pub(super) fn unquote(token: &str) -> std::borrow::Cow<'_, str> {
    let inner = token.get(1..token.len().saturating_sub(1)).unwrap_or_default();
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return inner.into();
    }
    serde_json::from_str::<String>(token).map_or(inner.into(), Into::into)
}

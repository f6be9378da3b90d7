//! A place in a text that is read from its beginning to its end, and what is written of it: parts as they are, and what
//! stands for others. Masks and templates read texts so, each by its own rules.

/// A text that is read, and one that is written.
pub(crate) struct Cursor<'a> {
    pub(crate) text: &'a str,
    /// Those of the text.
    pub(crate) bytes: &'a [u8],
    /// The next byte to be read, at a character's boundary.
    pub(crate) at: usize,
    pub(crate) out: String,
    /// The closing quote of a value whose inside is read like any other text.
    closing_quote: Option<usize>,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, bytes: text.as_bytes(), at: 0, out: String::new(), closing_quote: None }
    }

    /// Copies to `end`, or to the end of the character there; not beyond the text.
    pub(crate) fn copy_to(&mut self, end: usize) {
        let mut end = end.min(self.bytes.len());
        while !self.text.is_char_boundary(end) {
            end += 1;
        }
        self.out.push_str(&self.text[self.at..end]);
        self.at = end;
    }

    /// Copies an opening quote and goes on behind it. The quote that closes at `close` is then no opening one.
    pub(crate) fn open_quote(&mut self, close: usize) {
        self.closing_quote = Some(close);
        self.copy_to(self.at + 1);
    }

    /// Copies the quote here if it closes one that was opened; false: it opens one.
    pub(crate) fn close_quote(&mut self) -> bool {
        let closes = self.closing_quote == Some(self.at);
        if closes {
            self.closing_quote = None;
            self.copy_to(self.at + 1);
        }
        closes
    }
}

/// ASCII letters, digits, underscore. Other letters divide words, so that a number is found behind the full-width colon of a
/// Chinese text as well.
pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The end of the word that begins at `start`.
pub(crate) fn word_end(bytes: &[u8], start: usize) -> usize {
    bytes[start..].iter().position(|&byte| !is_word(byte)).map_or(bytes.len(), |length| start + length)
}

//! Bytes of unknown content, for a terminal.

/// Bytes of a dump; what is longer is cut, and that is said.
const DUMPED: usize = 2_048;
/// Characters of text that are shown.
const SHOWN: usize = 16_384;
const PER_LINE: usize = 16;

/// Offset, hex digits and characters, 16 bytes a line.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (index, line) in bytes[..bytes.len().min(DUMPED)].chunks(PER_LINE).enumerate() {
        let digits: String = line.iter().map(|byte| format!("{byte:02x} ")).collect();
        let shown = |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' };
        let characters: String = line.iter().map(shown).collect();
        text.push_str(&format!("  {:08x}  {digits:<48} {characters}\n", index * PER_LINE));
    }
    if bytes.len() > DUMPED {
        text.push_str(&format!("  ... {} more bytes; --raw FILE writes all\n", bytes.len() - DUMPED));
    }
    text
}

/// The bytes as text, indented: JSON in its usual form, other text as it is. `None`: they are no text.
pub(super) fn text(bytes: &[u8]) -> Option<(&'static str, String)> {
    let text = std::str::from_utf8(bytes).ok()?;
    // What is mostly control characters is text by chance.
    let controls = text.chars().filter(|character| character.is_control() && !character.is_whitespace()).count();
    if text.is_empty() || controls * 10 > text.chars().count() {
        return None;
    }
    match serde_json::from_slice::<serde_json::Value>(bytes) {
        Ok(value) => Some(("JSON", indented(&format!("{value:#}")))),
        Err(_) => Some(("text", indented(text))),
    }
}

/// Text that does nothing to a terminal.
pub(super) fn harmless(text: &str) -> String {
    let shown = |character: char| match character {
        '\n' | '\t' => character.to_string(),
        other if other.is_control() => other.escape_default().to_string(),
        other => other.to_string(),
    };
    text.chars().map(shown).collect()
}

fn indented(text: &str) -> String {
    let cut = text.char_indices().nth(SHOWN).map(|(end, _)| end);
    let shown = harmless(&text[..cut.unwrap_or(text.len())]);
    let mut lines: String = shown.lines().map(|line| format!("  {line}\n")).collect();
    if cut.is_some() {
        lines.push_str("  ... there is more; --raw FILE writes all\n");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes are shown with their places; what is long is cut, and the rest is counted.
    #[test]
    fn dumps_show_places_and_are_cut() {
        let dump = hex(b"{\"a\": \x00\xff}and so on");
        let first = "  00000000  7b 22 61 22 3a 20 00 ff 7d 61 6e 64 20 73 6f 20  {\"a\": ..}and so ";
        assert_eq!(dump, format!("{first}\n  00000010  {:<48} on\n", "6f 6e "));
        assert!(hex(&[0; 3_000]).ends_with("  ... 952 more bytes; --raw FILE writes all\n"));
        assert_eq!(hex(b""), "");
    }

    /// JSON is laid out, other text is shown without what would move a terminal's cursor, and bytes are no text.
    #[test]
    fn text_is_told_from_bytes() {
        assert_eq!(text(b"{\"a\":1}"), Some(("JSON", "  {\n    \"a\": 1\n  }\n".to_owned())));
        assert_eq!(text(b"a b c d e f \x1b[2J"), Some(("text", "  a b c d e f \\u{1b}[2J\n".to_owned())));
        assert_eq!(text(b"\x0a\x01\x02\x03\x04"), None);
        assert_eq!(text(b"\xff"), None);
        assert_eq!(text(b""), None);
    }
}

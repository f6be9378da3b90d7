//! Halves of surrogate pairs that stand alone: JavaScript and Java write them where a text was cut, and no reader
//! that keeps texts in UTF-8 takes them.

use std::borrow::Cow;

/// The JSON text with U+FFFD in place of each lone half; borrowed where there is none.
pub(super) fn without_lone_surrogates<'t>(text: &'t [u8], count: &mut u64) -> Cow<'t, [u8]> {
    let mut repaired = Vec::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(found) = text.get(at..).and_then(|rest| memchr::memchr(b'\\', rest)) {
        at += found;
        match unit_at(text, at) {
            Some(0xd800..=0xdbff) if matches!(unit_at(text, at + 6), Some(0xdc00..=0xdfff)) => at += 12,
            Some(0xd800..=0xdfff) => {
                repaired.extend_from_slice(&text[copied..at]);
                repaired.extend_from_slice(b"\\ufffd");
                at += 6;
                copied = at;
                *count += 1;
            }
            Some(_) => at += 6,
            // Another escape, perhaps of a backslash.
            None => at += 2,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    repaired.extend_from_slice(&text[copied..]);
    Cow::Owned(repaired)
}

/// The code unit of an escape, `\u` and four hex digits, that stands at `at`.
fn unit_at(text: &[u8], at: usize) -> Option<u16> {
    let [b'\\', b'u', digits @ ..] = text.get(at..at + 6)? else { return None };
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lone halves become U+FFFD, whole pairs and escaped backslashes stay as they are.
    #[test]
    fn only_lone_halves_are_replaced() {
        let repair = |text: &'static str| {
            let mut count = 0;
            let repaired = without_lone_surrogates(text.as_bytes(), &mut count);
            (String::from_utf8_lossy(&repaired).into_owned(), count)
        };
        for text in [r#""\ud83d\ude00""#, r#""\\ud83d""#, r#""\u00e4\n""#, r#""plain""#, r#""\"#, r#""\ud8"#] {
            assert_eq!(repair(text), (text.to_owned(), 0));
        }
        assert_eq!(repair(r#""a\ud83d""#), (r#""a\ufffd""#.to_owned(), 1));
        assert_eq!(
            repair(r#""\uDE00\ud83d\n\ud83d\ud83d\ude00""#),
            (r#""\ufffd\ufffd\n\ufffd\ud83d\ude00""#.to_owned(), 3)
        );
    }
}

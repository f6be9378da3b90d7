//! The languages of tests, and how text stands in their sources.
//!
//! A literal is printable ASCII on one line, so nothing of the text can end it, hide in it or turn its direction. In a
//! comment backslashes are doubled: Java reads `\u000a` as a line end even there, unless the backslash is one of a pair.

use std::fmt::Write as _;

use clap::ValueEnum;
use tracerag_query::untrusted::line;

/// Languages of tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// unittest, which pytest runs, too
    Python,
    /// testing
    Go,
    /// node:test
    Node,
    /// JUnit 5
    Java,
}

impl Language {
    /// The name by which the tools of the language find the test.
    pub(super) fn file_name(self, id: &str) -> String {
        match self {
            Self::Python => format!("test_trace_{id}.py"),
            Self::Go => format!("trace_{id}_test.go"),
            Self::Node => format!("trace_{id}.test.mjs"),
            Self::Java => format!("Trace{id}Test.java"),
        }
    }

    /// Text as a string literal in double quotes.
    pub(super) fn literal(self, text: &str) -> String {
        let mut literal = String::with_capacity(text.len() + 2);
        literal.push('"');
        for c in text.chars() {
            // What is written to a string cannot fail.
            let _ = match c {
                '"' | '\\' => write!(literal, "\\{c}"),
                ' '..='~' => write!(literal, "{c}"),
                // Java has no \x, and reads \u of a quote or a line end before it looks for strings.
                '\0'..='\u{7f}' if self == Self::Java => write!(literal, "\\{:03o}", u32::from(c)),
                '\0'..='\u{7f}' => write!(literal, "\\x{:02x}", u32::from(c)),
                c if u32::from(c) > 0xffff && matches!(self, Self::Python | Self::Go) => {
                    write!(literal, "\\U{:08x}", u32::from(c))
                }
                c => c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(literal, "\\u{unit:04x}")),
            };
        }
        literal.push('"');
        literal
    }
}

/// Text in a comment that goes to the end of its line, behind a word or a bracket of the template.
pub(super) fn comment(text: &str) -> String {
    line(text).replace('\\', "\\\\").replace("*/", "* /")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const ALL: [Language; 4] = [Language::Python, Language::Go, Language::Node, Language::Java];

    /// Reads a literal as a compiler of the language does. `None` where it would refuse it, or see something behind it.
    fn read(language: Language, literal: &str) -> Option<String> {
        let mut units: Vec<u16> = Vec::new();
        let mut rest = literal.strip_prefix('"')?.chars();
        loop {
            let c = rest.next()?;
            if c == '"' {
                break;
            }
            if c != '\\' {
                units.push(u16::try_from(u32::from(c)).ok().filter(|_| (' '..='~').contains(&c))?);
                continue;
            }
            let kind = rest.next()?;
            let (more, radix) = match (kind, language) {
                ('"' | '\\', _) => {
                    units.push(u16::try_from(u32::from(kind)).ok()?);
                    continue;
                }
                ('0'..='7', Language::Java) => (2, 8),
                ('x', Language::Python | Language::Go | Language::Node) => (2, 16),
                ('u', _) => (4, 16),
                ('U', Language::Python | Language::Go) => (8, 16),
                _ => return None,
            };
            let first = Some(kind).filter(char::is_ascii_digit);
            let digits: String = first.into_iter().chain(rest.by_ref().take(more)).collect();
            let value = u32::from_str_radix(&digits, radix).ok()?;
            match (char::from_u32(value), language) {
                // Java puts the character there before it reads the literal, which a quote would end.
                (Some(c), Language::Java) if kind == 'u' && c.is_ascii() => return None,
                (Some(c), _) => units.extend(c.encode_utf16(&mut [0; 2]).iter()),
                (None, Language::Node | Language::Java) => units.push(u16::try_from(value).ok()?),
                (None, _) => return None,
            }
        }
        if rest.next().is_some() { None } else { String::from_utf16(&units).ok() }
    }

    /// What ends strings, lines and comments or turns the direction of writing, in each language.
    #[test]
    fn literals_are_those_of_the_language() {
        let text = "\"\\\n\u{7f}\u{e9}\u{202e}\u{1f600}";
        for (language, wanted) in [
            (Language::Python, r#""\"\\\x0a\x7f\u00e9\u202e\U0001f600""#),
            (Language::Go, r#""\"\\\x0a\x7f\u00e9\u202e\U0001f600""#),
            (Language::Node, r#""\"\\\x0a\x7f\u00e9\u202e\ud83d\ude00""#),
            (Language::Java, r#""\"\\\012\177\u00e9\u202e\ud83d\ude00""#),
        ] {
            assert_eq!(language.literal(text), wanted);
        }
        assert_eq!(comment("a */ b\r\nc \\u000a d\u{202e}\u{2028}e"), "a * / b c \\\\u000a de");
    }

    proptest! {
        /// Whatever the text, a compiler reads exactly this text, and nothing stands behind it.
        #[test]
        fn no_text_gets_out_of_a_literal(text in "(\\PC|[\"'\\\\`$#{}ux0-9]|\\*/|\n|\r|\u{0}|\u{85}|\u{2028}|\u{202e}|\u{2066}){0,60}") {
            for language in ALL {
                let literal = language.literal(&text);
                let shown = read(language, &literal);
                prop_assert_eq!(shown.as_deref(), Some(text.as_str()), "{:?} {}", language, literal);
            }
        }

        /// Whatever the text, a comment ends neither by a line end nor by its own sign, and no backslash is without its
        /// pair, so that Java finds no escape in it.
        #[test]
        fn no_text_gets_out_of_a_comment(text in "(\\PC|[\\\\*/u0a]|\n|\r|\u{c}|\u{85}|\u{2028}|\u{202e}|\u{2066}){0,60}") {
            let comment = comment(&text);
            prop_assert!(!comment.contains("*/"), "{}", comment);
            let is_bad = |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            prop_assert!(!comment.contains(is_bad), "{:?}", comment);
            let mut runs = comment.split(|c| c != '\\').map(str::len);
            prop_assert!(runs.all(|length| length % 2 == 0), "{}", comment);
        }
    }
}

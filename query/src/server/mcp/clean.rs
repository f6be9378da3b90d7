//! Telemetry as a model may read it: text without what a reader does not see.
//!
//! Log bodies and attributes come from the systems under study, and may hold anything: colours of a terminal, marks that
//! turn the direction of writing, letters without width that hide an instruction.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

/// Control sequences of terminals (ECMA-48): those that end by a letter, texts such as titles and links, and the rest.
/// One that does not end is no sequence; then only its controls go.
static SEQUENCES: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let csi = r"(?:\x1b\[|\u{9b})[0-?]*[ -/]*[@-~]";
    let texts = r"\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)";
    let rest = r"\x1b[ -/]*[0-Z\\^-~]";
    Regex::new(&format!("{csi}|{texts}|{rest}")).ok()
});

/// A text without control sequences and characters that nobody sees. Lines and tabs stay.
pub(super) fn text(text: &str) -> String {
    let plain = match &*SEQUENCES {
        Some(sequences) if text.contains(['\u{1b}', '\u{9b}']) => sequences.replace_all(text, ""),
        _ => text.into(),
    };
    plain.chars().filter(|c| !is_hidden(*c)).collect()
}

fn is_hidden(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' => true,
        '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => true,
        c => c.is_control(),
    }
}

/// The same of every text of a value, names included. Members that are null or empty are left out.
pub(super) fn value(value: Value) -> Value {
    match value {
        Value::String(string) => Value::String(text(&string)),
        Value::Array(items) => Value::Array(items.into_iter().map(self::value).collect()),
        Value::Object(members) => {
            let told = members.into_iter().filter(|(_, member)| !is_empty(member));
            Value::Object(told.map(|(name, member)| (text(&name), self::value(member))).collect())
        }
        other => other,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What a terminal would act on, and what nobody sees, goes; what is read stays as it is, and a sequence that does
    /// not end hides nothing behind it.
    #[test]
    fn hidden_characters_are_taken_out() {
        for (given, left) in [
            ("\u{1b}[1;31merror\u{1b}[0m: full", "error: full"),
            ("\u{1b}]0;title\u{7}body", "body"),
            ("\u{1b}]8;;https://example.com\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{9b}31mred", "red"),
            ("\u{1b}]0;no end, and still here", "]0;no end, and still here"),
            ("\u{1b}[31", "[31"),
            ("a\u{202e}b\u{2066}c\u{200b}d\u{feff}e\u{e0041}f", "abcdef"),
            ("bell\u{7} null\u{0} back\u{8}", "bell null back"),
            ("line\r\n\tnext", "line\n\tnext"),
            ("\u{e4}\u{4e2d}\u{1f600} <b>", "\u{e4}\u{4e2d}\u{1f600} <b>"),
        ] {
            assert_eq!(text(given), left, "{given:?}");
        }
    }

    /// Names and nested texts are cleaned, too; null and empty members go, items of lists keep their places.
    #[test]
    fn values_are_cleaned_throughout() {
        let given =
            json!({"a\u{202e}": {"b": ["\u{1b}[1mx", null, {"c": null}]}, "d": null, "e": [], "f": {}, "g": ""});
        assert_eq!(value(given), json!({"a": {"b": ["x", null, {}]}, "g": ""}));
    }
}

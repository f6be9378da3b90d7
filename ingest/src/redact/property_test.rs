//! Properties that hold for any input.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::{PayloadConfig, RedactionConfig, RedactionCounts, Redactor};

fn redactor() -> Redactor {
    let redaction = RedactionConfig {
        key: "0123456789abcdef".into(),
        ip_addresses: true,
        deny_patterns: vec!["denied|internal-[0-9]+".into()],
        ..Default::default()
    };
    Redactor::new(&redaction, &PayloadConfig::default()).unwrap()
}

/// Pieces of everything that is looked for, and of what surrounds it.
const PIECES: &[&str] = &[
    "password",
    "token",
    "=",
    ":",
    " ",
    "\"",
    "\\\"",
    "'",
    "alice@example.com",
    "4111 1111 1111 1111",
    "4111111111111111",
    "%40",
    "%20",
    "%3D",
    "\\u0040",
    "\\n",
    "\n",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc",
    "Bearer ",
    "Basic dXNlcjpwYXNz",
    "://",
    "postgres://u:p@h/db",
    "@",
    ".",
    ",",
    ";",
    "{",
    "}",
    "[",
    "]",
    "<",
    ">",
    "</",
    "<email>",
    "<password>",
    "Cookie: a=b; c=d",
    "-----BEGIN PRIVATE KEY-----",
    "-----END PRIVATE KEY-----",
    "AKIAIOSFODNN7EXAMPLE",
    "DE89370400440532013000",
    "ssn 123-45-6789",
    "phone +49 151 12345678",
    "10.1.2.3",
    "::1",
    "?sig=abc",
    "&key=1",
    "--password",
    "\u{e9}",
    "x",
    "1",
    "true",
    "null",
    "internal-7",
    "denied",
    "%25",
    "%",
    "\\",
    "authorization",
];

fn pieces() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES), 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// Redacting what is redacted changes nothing, whatever is put side by side.
    #[test]
    fn idempotent_on_pieces(text in pieces()) {
        let redactor = redactor();
        let mut counts = RedactionCounts::default();
        let once = redactor.redact_text(&text, &mut counts).into_owned();
        let twice = redactor.redact_text(&once, &mut counts);
        prop_assert_eq!(&once, &twice, "from {:?}", text);
    }

    /// Any text is taken without a panic, by every entry.
    #[test]
    fn any_text_is_taken(text in ".{0,200}") {
        let redactor = redactor();
        let mut counts = RedactionCounts::default();
        let _ = redactor.redact_text(&text, &mut counts);
        let _ = redactor.redact_json_text("t", &text, &mut counts);
        let _ = redactor.attribute_rule(&text);
        let _ = redactor.summarize_payload("application/json", &text);
        let _ = redactor.summarize_payload("application/x-www-form-urlencoded", &text);
    }

    /// JSON stays JSON with the same structure, and redacting it again changes nothing.
    #[test]
    fn json_stays_json(a in pieces(), b in pieces(), name in pieces(), number in any::<i64>()) {
        let redactor = redactor();
        let inner = serde_json::json!({ "user.id": a, name: [b, number] }).to_string();
        let text = serde_json::json!({ "payload": inner, "value": { "stringValue": b }, "n": number }).to_string();
        let mut counts = RedactionCounts::default();
        let once = redactor.redact_json_text("t", &text, &mut counts).into_owned();
        let parsed: serde_json::Value = serde_json::from_str(&once).unwrap();
        prop_assert!(parsed["payload"].is_string());
        prop_assert_eq!(&once, &redactor.redact_json_text("t", &once, &mut counts));
    }
}

/// Hostile texts of a megabyte, each made to send a recogniser back and forth, are finished.
#[test]
fn hostile_megabytes_finish() {
    let redactor = redactor();
    for piece in [
        "@",
        "a@",
        "a.@",
        "1",
        "1 ",
        "1-",
        "4111 1111 1111 1111 ",
        "ey",
        "eyJ",
        "eyJ.",
        "password=",
        "password=\"",
        "password: ",
        "password\\\"",
        "://",
        "://a:",
        "a://a:b",
        "@tcp(",
        ":thin:",
        "-----BEGIN PRIVATE KEY",
        "-----BEGIN ",
        "sk-",
        "ghp_",
        "%25",
        "\\\\",
        "\\u0040",
        "%",
        "cookie: a=b; ",
        "token",
        "authorization: digest ",
        "DE89 3704 ",
        "+1",
        "phone 1",
        "<password>",
        "::",
        "1.",
        "{\"password\":",
        "[",
        "key=",
        "ssn 123-45-",
        "'",
        "\\",
    ] {
        let text = piece.repeat((1 << 20) / piece.len());
        let mut counts = RedactionCounts::default();
        let _ = redactor.redact_text(&text, &mut counts);
        let _ = redactor.redact_json_text("t", &text, &mut counts);
    }
}

//! Properties that hold for any input.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::recognise::work;
use super::{Class, PayloadConfig, RedactionConfig, RedactionCounts, Redactor};

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
    "abc8Q~0123456789012345678901234567890",
    "glrt-0123456789abcdefghij",
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

    /// Redacting a redacted name changes nothing, and no name is masked by what the operator denies.
    #[test]
    fn names_are_idempotent(name in pieces()) {
        let redactor = redactor();
        let mut counts = RedactionCounts::default();
        let once = redactor.redact_name(&name, &mut counts).into_owned();
        prop_assert_eq!(counts.get(Class::Denied), 0);
        prop_assert_eq!(&once, &redactor.redact_name(&once, &mut counts), "from {:?}", name);
    }

    /// Any text is taken without a panic, by every entry.
    #[test]
    fn any_text_is_taken(text in ".{0,200}") {
        let redactor = redactor();
        let mut counts = RedactionCounts::default();
        let _ = redactor.redact_text(&text, &mut counts);
        let _ = redactor.redact_json_text("t", &text, &mut counts);
        let _ = redactor.redact_name(&text, &mut counts);
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

/// Texts that are made to send a recogniser back and forth.
const HOSTILE: &[&str] = &[
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
    "eyJhbGciOiJIUzI1NiJ9.",
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
    "-----BEGIN PRIVATE KEY'",
    "-----BEGIN PRIVATE KEY-----\"",
    "-----BEGIN ",
    "sk-",
    "ghp_",
    "abc8Q~",
    "8Q~a",
    "Q~",
    "glrt-",
    "GOCSPX-",
    "ya29.",
    "%25",
    "\\\\",
    "\\u0040",
    "%",
    "cookie: a=b; ",
    "cookie=\"a",
    "token",
    "token='\\",
    "authorization: digest ",
    "basic ",
    "basic+",
    "bearer+",
    "bearer: .",
    "pass:/",
    "secret={",
    "secret=(",
    "secret=${",
    "token=a,",
    "--password ",
    "DE89 3704 ",
    "+1",
    "phone 1",
    "<password>",
    "<token>a",
    "::",
    "1.",
    "{\"password\":",
    "{\"token\":{\"",
    "[",
    "key=",
    "ssn 123-45-",
    "order_id=4111111111111111 ",
    "hooks.slack.com/services/",
    "'",
    "\\",
];

/// A text of the pieces over and over, in bytes at least `length` long.
fn repeated(pieces: &[&str], length: usize) -> String {
    let piece = pieces.concat();
    piece.repeat(length.div_ceil(piece.len().max(1)))
}

/// Bytes that the recognisers look at to redact a text, by both entries.
fn work_of(redactor: &Redactor, text: &str) -> usize {
    let mut counts = RedactionCounts::default();
    work::take();
    let _ = redactor.redact_text(text, &mut counts);
    let _ = redactor.redact_json_text("t", text, &mut counts);
    work::take()
}

/// Asserts that sixteen times the text is not much more than sixteen times the work. If each repetition were read again
/// from the one before, it would be 256 times.
fn assert_linear(redactor: &Redactor, pieces: &[&str], length: usize) -> Result<(), TestCaseError> {
    let few = work_of(redactor, &repeated(pieces, length));
    let many = work_of(redactor, &repeated(pieces, 16 * length));
    // At the end of a text a bounded look is cut off, so a short text may take less for each byte.
    prop_assert!(many <= 40 * (few + length), "{pieces:?} x16: {few} bytes looked at became {many}");
    Ok(())
}

/// Texts of 256 KiB of one hostile piece each are redacted by looking at bytes in proportion to their length. Counted,
/// not timed: guarantees linear time for these forms of attack wherever it runs.
#[test]
fn work_grows_as_hostile_texts_do() {
    let redactor = redactor();
    for piece in HOSTILE {
        assert_linear(&redactor, &[piece], 16 << 10).unwrap();
    }
}

/// An object with thousands of members below a very long name is redacted with names that are cut, and so are a payload's
/// pointers: guarantees that no name is read or stored again for each of its members.
#[test]
fn long_names_are_not_repeated() {
    let members = (0..2000).map(|number| format!("\"m{number}\":\"a@b.com\"")).collect::<Vec<_>>().join(",");
    let text = format!("{{\"{}\":{{{members}}}}}", "n".repeat(1 << 20));
    let redactor = redactor();
    let redacted = redactor.redact_json_text("t", &text, &mut RedactionCounts::default());
    assert!(!redacted.contains("a@b.com") && redacted.contains("<email>"));
    let summary = redactor.summarize_payload("application/json", &text);
    let pointers: usize = summary.redactions.iter().map(String::len).sum();
    assert!(!summary.redactions.is_empty() && pointers < 1 << 20, "{pointers} bytes of pointers");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Hostile pieces and ordinary ones put together, over and over, take work in proportion to their length, too.
    #[test]
    fn work_grows_as_mixed_texts_do(
        hostile in prop::sample::select(HOSTILE),
        others in prop::collection::vec(prop::sample::select(PIECES), 0..3),
    ) {
        let pieces: Vec<&str> = std::iter::once(hostile).chain(others).collect();
        assert_linear(&redactor(), &pieces, 2 << 10)?;
    }
}

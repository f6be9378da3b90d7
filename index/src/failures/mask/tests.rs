#![allow(clippy::unwrap_used)]

use super::cases::CASES;
use super::*;
use proptest::prelude::*;

/// Every class is shown with what it takes and with what it must leave alone.
#[test]
fn classes_take_what_varies_and_leave_what_tells() {
    assert!(CASES.len() >= 200);
    let wrong: Vec<String> = CASES
        .iter()
        .filter(|(text, expected)| mask(text) != *expected)
        .map(|(text, expected)| format!("{text:?}\n  expected {expected:?}\n  got      {:?}", mask(text)))
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
}

/// A log line with time, statement and trace ids in front keeps the statement and loses the rest, so
/// that two lines of one statement become one text.
#[test]
fn a_log_prefix_is_masked() {
    let line = |time: &str, trace: &str, span: &str, order: &str| {
        mask(&format!(
            "{time} ERROR e.s.ExecuteServiceImpl#51 TraceID: {trace} SpanID: {span} [ticketExecute][Order Status Wrong][orderId: {order}]"
        ))
    };
    let first = line(
        "19:53:25.432",
        "94ff4acb1cca33957b729bff5cc490bd",
        "389339ec044f738e",
        "4d3f04e2-70b1-4297-86ec-4d76be327717",
    );
    let second = line(
        "20:01:02.106",
        "3227b61562530dcfe1ffcf086c615646",
        "3ff82e05ec63ec8c",
        "c95e44f6-9bf2-46d3-8016-78bea207fea2",
    );
    assert_eq!(first, second);
    assert_eq!(
        first,
        "<time> ERROR e.s.ExecuteServiceImpl#<num> TraceID: <hex> SpanID: <hex> [ticketExecute][Order Status Wrong][orderId: <uuid>]"
    );
}

/// Texts that differ in what they say stay apart: a wrong merge is the worse error.
#[test]
fn different_failures_stay_different() {
    let pairs = [
        ("No instances available for ts-train-service", "No instances available for ts-order-service"),
        ("dial tcp 10.0.0.5:5432: connection refused", "dial tcp 10.0.0.5:6379: connection refused"),
        ("status code 502", "status code 404"),
        ("column \"amount\" does not exist", "column \"currency\" does not exist"),
        ("Post \"http://payments/charge\": EOF", "Post \"http://stock/charge\": EOF"),
        ("ORA-00942: x", "ORA-01017: x"),
        ("unsupported digest sha256", "unsupported digest md5"),
    ];
    for (left, right) in pairs {
        assert_ne!(mask(left), mask(right), "{left} / {right}");
    }
}

/// Every text that a class takes has a sign of that class: to ask only the classes whose signs are there masks the same as
/// to ask all of them.
fn no_sign_is_missing(text: &str) -> Result<(), TestCaseError> {
    let ascii = text.bytes().enumerate().filter(|(_, byte)| byte.is_ascii());
    for (at, _) in ascii {
        let view = classes::View { text, bytes: text.as_bytes(), before: &text[..at] };
        let (signs, _) = signs::signs(view.bytes, at);
        for (name, of_class, recognise) in CLASSES {
            let is_asked = signs & of_class != 0;
            prop_assert!(is_asked || recognise(&view, at).is_none(), "{} at {} of {:?}", name, at, text);
        }
    }
    Ok(())
}

/// The cases have all their signs.
#[test]
fn no_sign_of_a_case_is_missing() {
    for (text, _) in CASES {
        no_sign_is_missing(text).unwrap();
    }
}

/// A megabyte of one endless word, of dots, of quotes or of digits ends soon: no class looks at the
/// same bytes again and again.
#[test]
fn long_texts_are_cut_and_quick() {
    for piece in ["a", "a.", "\"", "'x ", "1:", "/a", "-5", "ab12-", "<", "a@", "1,222"] {
        let masked = mask(&piece.repeat(1_000_000 / piece.len()));
        assert!(masked.len() <= MAX_OUTPUT);
    }
}

/// Pieces that the classes look for.
const PIECES: &[&str] = &[
    "'",
    "\"",
    "`",
    "\\",
    "<",
    ">",
    "=",
    ":",
    "::",
    "-",
    "+",
    ".",
    ",",
    "/",
    "?",
    "@",
    " ",
    "http://",
    "status",
    "error",
    "code ",
    "abc",
    "x2x4z",
    "D1345",
    "12",
    "7",
    "12:30",
    "2023-01-30",
    "Jan",
    "10.0.0.1",
    "ms",
    "0x1f",
    "<num>",
    "ORA-",
    "\u{e4}",
    "deadbeef01",
    "/tmp/",
    "hmac:",
    "v1.2",
    "HTTP/",
    "C:\\",
    "\u{1b}[",
    "\n",
    "order_",
    "500 Internal",
];

/// Pieces that have all that a class wants, and beginnings of them.
const WHOLE: &[&str] = &[
    "%",
    "_",
    "~/",
    "fe80:",
    "eyJhbGciOi.eyJzdWIi.",
    "abcdefabcdef",
    "db-7.example.com",
    "mon",
    "-7d9f8c6b5d-x2x4z",
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "4d3f04e2-70b1-4297-86ec-4d76be327717",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever comes in, masking ends without a panic, and masking again changes nothing.
    #[test]
    fn masking_is_idempotent(text in "\\PC{0,200}") {
        let once = mask(&text);
        prop_assert_eq!(mask(&once), once);
    }

    /// The same over texts made of the pieces that the classes look for.
    #[test]
    fn masking_pieces_is_idempotent(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40)
    ) {
        let once = mask(&pieces.concat());
        prop_assert_eq!(mask(&once), once);
    }

    /// Whatever the text, signs rule out no class that would take something.
    #[test]
    fn no_sign_of_pieces_is_missing(
        pieces in prop::collection::vec(
            prop_oneof![prop::sample::select(PIECES), prop::sample::select(WHOLE)],
            0..20,
        ),
        letters in "\\PC{0,40}",
    ) {
        no_sign_is_missing(&(pieces.concat() + &letters))?;
    }
}

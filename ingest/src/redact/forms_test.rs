//! Exact results for single forms, nested values, counts and policies. What holds for thousands of forms is shown by the
//! corpus (`super::corpus`), on the whole way from bytes to rows.
#![allow(clippy::unwrap_used)]

use super::{PayloadConfig, RedactionConfig, RedactionCounts, Redactor};

fn redactor() -> Redactor {
    let redaction = RedactionConfig { key: "0123456789abcdef".into(), ..Default::default() };
    Redactor::new(&redaction, &PayloadConfig::default()).unwrap()
}

/// Exact results for the forms that users will look at.
#[test]
fn exact_forms() {
    let redactor = redactor();
    for (input, expected) in [
        ("mail alice@example.com now", "mail <email> now"),
        ("postgres://app:s3cr3t@db.example.com:5432/shop", "postgres://app:<password>@db.example.com:5432/shop"),
        ("GET https://x.io/cb?code=1&access_token=abc123&x=1", "GET https://x.io/cb?code=1&access_token=<secret>&x=1"),
        ("/users?email=alice%40example.com&x=1", "/users?email=<email>&x=1"),
        ("/users?email=alice%2540example.com", "/users?email=<email>"),
        (r#"{"to":"alice\u0040example.com"}"#, r#"{"to":"<email>"}"#),
        (r#"{"password": 12345, "n": 1}"#, r#"{"password": "<password>", "n": 1}"#),
        (r#"{"a":"{\"password\":12345,\"b\":1}"}"#, r#"{"a":"{\"password\":\"<password>\",\"b\":1}"}"#),
        ("Authorization: Bearer abcdef", "Authorization: <credentials>"),
        (
            "headers map[Authorization:[Bearer abc123def] Accept:[*/*]]",
            "headers map[Authorization:[<credentials>] Accept:[*/*]]",
        ),
        ("Cookie: a=b; c=d\nHost: x", "Cookie: <cookie>\nHost: x"),
        ("paid with 4111 1111 1111 1111 12/26", "paid with <card> 12/26"),
        ("user=bob;Password=p@ss,word;Server=x", "user=bob;Password=<password>;Server=x"),
        ("<password>hunter2</password>", "<password><password></password>"),
        (
            "<wsse:Password Type=\"#PasswordText\">hunter2</wsse:Password>",
            "<wsse:Password Type=\"#PasswordText\"><password></wsse:Password>",
        ),
        ("<pass a=\"b\">hunter2</pa", "<pass a=\"b\"><password></pa"),
        ("set <password = hunter2> now", "set <password = <password>> now"),
        ("postgres://u:p@h/db</%40 </%40", "postgres://u:<password>@h/db</%40 </%40"),
        ("mysqldump --password hunter2 --host db", "mysqldump --password <password> --host db"),
        ("jdbc:mysql://db/shop?user=a&password=geheim1", "jdbc:mysql://db/shop?user=a&password=<password>"),
        (
            "INSERT INTO u VALUES ('alice@example.com', 'DE89 3704 0044 0532 0130 00')",
            "INSERT INTO u VALUES ('<email>', '<iban>')",
        ),
        ("https://hooks.slack.com/services/T000/B000/kQ7xW2pLm9", "https://hooks.slack.com/services/<key>"),
        (r#"{"phone": "555-123-4567"}"#, r#"{"phone": "<phone>"}"#),
        ("denied for AKIAABCDEFGHIJKLMNOP", "denied for <key>"),
        ("client abc8Q~0123456789.bcdefghij~klmnopqrst_x.", "client <key>."),
        ("GOCSPX-0123456789abcdefghij0123456_", "<key>"),
        ("version 8Q~ of a longer text, which is no secret", "version 8Q~ of a longer text, which is no secret"),
        ("--- PASS: TestRounding (0.12s)", "--- PASS: TestRounding (0.12s)"),
        ("--- PASS: TestSha256 (0.12s)", "--- PASS: TestSha256 (0.12s)"),
        ("pass=14 fail=0", "pass=14 fail=0"),
        ("user=bob pass=hunter2", "user=bob pass=<password>"),
        ("DB_PASS = hunter2", "DB_PASS = <password>"),
        ("postgres://app@db.example.com/shop", "postgres://app@db.example.com/shop"),
        ("smtp://jane@example.com@mail.example.com", "smtp://<email>"),
        ("call 00000123 took 5 ms", "call 00000123 took 5 ms"),
        ("call 0049301234567", "call <phone>"),
        ("dd.trace_id=4111111111111111", "dd.trace_id=4111111111111111"),
        ("payments 4111111111111111", "payments <card>"),
        ("id 4000000000000000006", "id 4000000000000000006"),
        ("image sk-checkout-service-blue-green-canary", "image sk-checkout-service-blue-green-canary"),
        ("--password hunter2", "--password <password>"),
        (r#"argv: ["app","--password","hunter2"]"#, r#"argv: ["app","--password","<password>"]"#),
        ("argv: ['app', '--db-password', 'hunter2']", "argv: ['app', '--db-password', '<password>']"),
        ("[\"--api-key\",\n  \"k3y\", \"--port\", \"80\"]", "[\"--api-key\",\n  \"<secret>\", \"--port\", \"80\"]"),
        (r#"["--password", "--host", "db"]"#, r#"["--password", "--host", "db"]"#),
        (r#"columns: "password", "name""#, r#"columns: "password", "name""#),
        ("Tel. 415-555-2671, fax: (415) 555 2672", "Tel. <phone>, fax: <phone>"),
        ("hotel 1234567 of intel 7654321", "hotel 1234567 of intel 7654321"),
        ("<smtp_pass>hunter2</smtp_pass>", "<smtp_pass><password></smtp_pass>"),
        ("4111 1111 1111 1111 003", "<card>"),
        ("transaction_id=4111111111111111", "transaction_id=4111111111111111"),
        (r#"{"messageId": "4111111111111111"}"#, r#"{"messageId": "4111111111111111"}"#),
        ("card_id=4111111111111111", "card_id=<card>"),
        ("id=4111111111111111", "id=<card>"),
        ("decimal overflow", "decimal overflow"),
        ("SpanID: be296763055134d1", "SpanID: be296763055134d1"),
        (
            "[USER TOKEN: eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdef USER ID: 4d2a]",
            "[USER TOKEN: <jwt> USER ID: 4d2a]",
        ),
    ] {
        assert_eq!(redactor.redact_text(input, &mut RedactionCounts::default()), expected);
    }
}

/// Nested attribute values follow the rules of their keys, in plain JSON and in OTLP's form, and nothing else moves.
#[test]
fn nested_values() {
    let redactor = redactor();
    let mut counts = RedactionCounts::default();
    let text = r#"{"user.id":"u-1", "n":12345678901234567890123, "http":{"request":{"header":{"authorization":["Bearer x"]}}},"card":4111111111111111}"#;
    let output = redactor.redact_json_text("acme", text, &mut counts);
    let parsed: serde_json::Value = serde_json::from_str(&output).unwrap();
    assert!(parsed["user.id"].as_str().unwrap().starts_with("hmac:"));
    assert_eq!(parsed["http"]["request"]["header"]["authorization"][0], "<credentials>");
    assert_eq!(parsed["card"], "<card>");
    assert!(output.contains(r#", "n":12345678901234567890123, "#), "{output}");
    let otlp = r#"{"kvlistValue":{"values":[{"key":"enduser.id","value":{"stringValue":"bob"}},{"key":"note","value":{"arrayValue":{"values":[{"stringValue":"a@b.com"},{"intValue":"7"}]}}}]}}"#;
    let output = redactor.redact_json_text("acme", otlp, &mut counts);
    let parsed: serde_json::Value = serde_json::from_str(&output).unwrap();
    let values = &parsed["kvlistValue"]["values"];
    assert!(values[0]["value"]["stringValue"].as_str().unwrap().starts_with("hmac:"));
    assert_eq!(values[1]["value"]["arrayValue"]["values"][0]["stringValue"], "<email>");
    assert_eq!(values[1]["value"]["arrayValue"]["values"][1]["intValue"], "7");
    assert_eq!(values[0]["key"], "enduser.id");
}

/// A name and the one around it are judged together, through lists and OTLP's own members; a value that looks like
/// JSON is read as such by the rule for texts, also as a string in JSON, and one that only looks so is a text.
#[test]
fn names_in_json_are_judged_with_what_they_stand_in() {
    let redactor = redactor();
    let mut counts = RedactionCounts::default();
    let mut redact =
        |text: &str| redactor.redact_value("acme", super::AttributeRule::Scan, text, &mut counts).into_owned();
    let body =
        r#" {"level":"info","user.id":"u-4711","client":{"address":"198.51.100.7"},"id":"kept","user":[{"id":4711}]}"#;
    let parsed: serde_json::Value = serde_json::from_str(&redact(body)).unwrap();
    for value in [&parsed["user.id"], &parsed["client"]["address"], &parsed["user"][0]["id"]] {
        assert!(value.as_str().unwrap().starts_with("hmac:"), "{parsed}");
    }
    assert_eq!(parsed["level"], "info");
    assert_eq!(parsed["id"], "kept");
    let otlp = r#"[{"key":"user","value":{"kvlistValue":{"values":[{"key":"id","value":{"stringValue":"u-4711"}}]}}}]"#;
    assert!(!redact(otlp).contains("4711"));
    let nested = serde_json::json!({ "payload": r#"{"user":{"id":"u-4711"}}"# }).to_string();
    assert!(!redact(&nested).contains("4711"));
    assert_eq!(redact("[info] mail to jane@example.com"), "[info] mail to <email>");
    assert_eq!(redact(r#"{"order": {"id": "o-1"}}"#), r#"{"order": {"id": "o-1"}}"#);
}

/// Counts say what was found, by class, and add up over texts; rules mask by the name's class.
#[test]
fn counts_and_rules() {
    let redactor = redactor();
    let mut counts = RedactionCounts::default();
    redactor.redact_text("a@b.com and c@d.org", &mut counts);
    let rule = redactor.attribute_rule("http.request.header.cookie");
    assert_eq!(redactor.redact_value("t", rule, "a=b", &mut counts), "<cookie>");
    assert_eq!(redactor.redact_value("t", rule, "<cookie>", &mut counts), "<cookie>");
    let mut total = RedactionCounts::default();
    total.merge(&counts);
    total.merge(&counts);
    assert_eq!(total.iter().collect::<Vec<_>>(), [("email", 4), ("cookie", 2)]);
    assert!(Redactor::int_needs_scan(4_111_111_111_111_111) && !Redactor::int_needs_scan(1_700_000_000_000));
}

/// `off` changes nothing and needs no key; the other policies refuse to start without one and say how to make it.
#[test]
fn policies() {
    let off = RedactionConfig { policy: super::Policy::Off, ..Default::default() };
    let redactor = Redactor::new(&off, &PayloadConfig::default()).unwrap();
    assert_eq!(redactor.redact_text("a@b.com", &mut RedactionCounts::default()), "a@b.com");
    assert_eq!(redactor.policy_name(), "off");
    let error = Redactor::new(&RedactionConfig::default(), &PayloadConfig::default()).unwrap_err().to_string();
    assert!(error.contains("head -c 32 /dev/urandom"), "{error}");
    let denied = RedactionConfig {
        key: "0123456789abcdef".into(),
        deny_patterns: vec!["project-[a-z]+".into()],
        ..Default::default()
    };
    let redactor = Redactor::new(&denied, &PayloadConfig::default()).unwrap();
    assert_eq!(redactor.redact_text("for project-x now", &mut RedactionCounts::default()), "for <denied> now");
    assert_eq!(redactor.attribute_rule("project-y.note"), super::AttributeRule::DenyMask);
    let broken = RedactionConfig { deny_patterns: vec!["(".into()], ..denied };
    assert!(matches!(
        Redactor::new(&broken, &PayloadConfig::default()),
        Err(super::RedactError::DenyPattern { index: 0, .. })
    ));
}

/// After a change of the key the same person has another token, and both are told by who has both keys: the tokens of
/// the previous keys are those that were stored. Another tenant's are others. A short previous key is refused.
#[test]
fn tokens_of_several_keys() {
    let old = RedactionConfig { key: "the key of last year".into(), ..Default::default() };
    let new = RedactionConfig {
        key: "the key of this year".into(),
        previous_keys: vec!["the key of last year\n".into()],
        ..Default::default()
    };
    let [old, new] = [old, new].map(|config| Redactor::new(&config, &PayloadConfig::default()).unwrap());
    let stored = |redactor: &Redactor| {
        let rule = redactor.attribute_rule("user.id");
        redactor.redact_value("acme", rule, "u-1", &mut RedactionCounts::default()).into_owned()
    };
    assert_eq!(new.tokens("acme", "u-1"), [stored(&new), stored(&old)]);
    assert_ne!(stored(&new), stored(&old));
    assert!(!new.tokens("other", "u-1").contains(&stored(&old)));
    assert_eq!(new.previous_key_ids(), [old.key_id().unwrap()]);
    let short = RedactionConfig {
        key: "the key of this year".into(),
        previous_keys: vec!["short".into()],
        ..Default::default()
    };
    let error = Redactor::new(&short, &PayloadConfig::default()).unwrap_err().to_string();
    assert!(error.contains("previous_keys[0]") && !error.contains("short"), "{error}");
}

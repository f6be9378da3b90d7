//! A seeded corpus: every class in every place where telemetry carries text, between look-alikes.
#![allow(clippy::unwrap_used)]

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{PayloadConfig, RedactionConfig, RedactionCounts, Redactor};

fn redactor() -> Redactor {
    let redaction = RedactionConfig { key: "0123456789abcdef".into(), ..Default::default() };
    Redactor::new(&redaction, &PayloadConfig::default()).unwrap()
}

const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
const ALNUM: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const HEX: &str = "0123456789abcdef";
const DIGITS: &str = "0123456789";

fn random(rng: &mut StdRng, alphabet: &str, length: usize) -> String {
    (0..length).map(|_| char::from(alphabet.as_bytes()[rng.random_range(0..alphabet.len())])).collect()
}

fn pick<'a>(rng: &mut StdRng, from: &[&'a str]) -> &'a str {
    from[rng.random_range(0..from.len())]
}

fn card_digits(rng: &mut StdRng) -> String {
    let (prefix, length) = [
        ("4", 16),
        ("51", 16),
        ("55", 16),
        ("2221", 16),
        ("37", 15),
        ("6011", 16),
        ("65", 16),
        ("3528", 16),
        ("36", 14),
        ("62", 16),
    ][rng.random_range(0..10)];
    loop {
        let number = format!("{prefix}{}", random(rng, DIGITS, length - prefix.len()));
        let digits: Vec<u8> = number.bytes().map(|b| b - b'0').collect();
        if super::recognise::digits::luhn(&digits) {
            return number;
        }
    }
}

fn grouped(number: &str, separator: &str) -> String {
    let groups: &[usize] = match number.len() {
        15 => &[4, 6, 5],
        14 => &[4, 6, 4],
        _ => &[4, 4, 4, 4],
    };
    let mut from = 0;
    let parts: Vec<&str> = groups
        .iter()
        .map(|length| {
            from += length;
            &number[from - length..from]
        })
        .collect();
    parts.join(separator)
}

fn iban(rng: &mut StdRng) -> String {
    let (country, length) = [("DE", 18), ("GB", 18), ("FR", 23), ("NL", 14), ("ES", 20)][rng.random_range(0..5)];
    let body = if country == "GB" || country == "NL" {
        format!("{}{}", random(rng, "ABCDEFGH", 4), random(rng, DIGITS, length - 4))
    } else {
        random(rng, DIGITS, length)
    };
    let remainder = format!("{body}{country}00").bytes().fold(0u32, |r, b| match b {
        b'0'..=b'9' => (r * 10 + u32::from(b - b'0')) % 97,
        _ => (r * 100 + u32::from(b - b'A') + 10) % 97,
    });
    format!("{country}{:02}{body}", 98 - remainder)
}

fn password(rng: &mut StdRng) -> String {
    let length = rng.random_range(6..16);
    random(rng, &format!("{ALNUM}!$*+-_.^~"), length).trim_start_matches(['$', '*', '-', '+', '.']).to_owned() + "x7"
}

/// A text that holds a secret, and the secret itself.
fn planted(rng: &mut StdRng, class: usize) -> (String, String) {
    let simple = |secret: String| (secret.clone(), secret);
    match class {
        0 => {
            let local =
                format!("{}{}{}", random(rng, LOWER, 5), pick(rng, &[".", "_", "+", "-", ""]), random(rng, ALNUM, 4));
            let domain = format!("{}.{}", random(rng, LOWER, 6), pick(rng, &["com", "co.uk", "io", "museum", "de"]));
            simple(format!("{local}@{domain}"))
        }
        1 => {
            let number = card_digits(rng);
            simple(match rng.random_range(0..3) {
                0 => grouped(&number, " "),
                1 => grouped(&number, "-"),
                _ => number,
            })
        }
        2 => {
            let header = URL_SAFE_NO_PAD
                .encode(pick(rng, &[r#"{"alg":"HS256","typ":"JWT"}"#, r#"{"typ":"JWT","alg":"RS256","kid":"1"}"#]));
            let claims = URL_SAFE_NO_PAD.encode(format!(r#"{{"sub":"{}"}}"#, random(rng, ALNUM, 12)));
            simple(format!("{header}.{claims}.{}", random(rng, ALNUM, 43)))
        }
        3 => {
            let secret = random(rng, ALNUM, 30);
            (
                format!(
                    "{} {secret}",
                    pick(rng, &["Bearer", "bearer", "Authorization: Bearer", "authorization: token"])
                ),
                secret,
            )
        }
        4 => {
            let secret = STANDARD.encode(format!("{}:{}", random(rng, LOWER, 6), password(rng)));
            (format!("{} {secret}", pick(rng, &["Basic", "Authorization: Basic"])), secret)
        }
        5 => simple(match rng.random_range(0..9) {
            0 => format!("AKIA{}", random(rng, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 15) + "7"),
            1 => format!("ghp_{}", random(rng, ALNUM, 35) + "1"),
            2 => format!("sk-{}", random(rng, ALNUM, 47) + "1"),
            3 => format!("xoxb-{}-{}", random(rng, DIGITS, 12), random(rng, ALNUM, 24)),
            4 => format!("AIza{}", random(rng, ALNUM, 34) + "1"),
            5 => format!("glpat-{}", random(rng, ALNUM, 19) + "1"),
            6 => format!("npm_{}", random(rng, ALNUM, 35) + "1"),
            7 => format!("github_pat_{}_{}", random(rng, ALNUM, 22), random(rng, ALNUM, 58) + "1"),
            _ => format!("sk_live_{}", random(rng, ALNUM, 23) + "1"),
        }),
        6 => {
            let body = random(rng, ALNUM, 120);
            let kind = pick(rng, &["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "]);
            (format!("-----BEGIN {kind}PRIVATE KEY-----\n{body}\n-----END {kind}PRIVATE KEY-----"), body)
        }
        7 => {
            let secret = random(rng, ALNUM, 20);
            (format!("{}: sid={secret}; Path=/; HttpOnly", pick(rng, &["Cookie", "Set-Cookie", "cookie"])), secret)
        }
        8 => {
            let secret = password(rng);
            let dsn = match rng.random_range(0..3) {
                0 => format!("postgres://app:{secret}@db.internal:5432/shop?sslmode=disable"),
                1 => format!("redis://:{secret}@cache:6379/0"),
                _ => format!("app:{secret}@tcp(db:3306)/shop"),
            };
            (dsn, secret)
        }
        9 => {
            let secret = random(rng, ALNUM, 20) + "7";
            (
                format!(
                    "https://api.example.com/v1?{}={secret}&page=2",
                    pick(rng, &["token", "key", "api_key", "sig", "access_token", "X-Amz-Signature"])
                ),
                secret,
            )
        }
        10 => {
            let secret = password(rng);
            let name = pick(
                rng,
                &["password", "passwd", "PWD", "db.password", "client_secret", "apiKey", "access_token", "smtp_pass"],
            );
            let text = match rng.random_range(0..4) {
                0 => format!("{name}={secret}"),
                1 => format!("\"{name}\": \"{secret}\""),
                2 => format!("{name}: {secret}"),
                _ => format!("'{name}': '{secret}'"),
            };
            (text, secret)
        }
        11 => {
            let number = iban(rng);
            let shown: String = if rng.random_bool(0.5) {
                number.as_bytes().chunks(4).map(|part| std::str::from_utf8(part).unwrap()).collect::<Vec<_>>().join(" ")
            } else {
                number
            };
            simple(shown)
        }
        12 => {
            let secret = format!(
                "{}-{:02}-{:04}",
                rng.random_range(100..600),
                rng.random_range(1..99),
                rng.random_range(1..9999)
            );
            (format!("{} {secret}", pick(rng, &["SSN", "ssn:", "social security number"])), secret)
        }
        _ => {
            let secret = format!(
                "+{} {} {}",
                pick(rng, &["1", "44", "49"]),
                rng.random_range(200..999),
                rng.random_range(1_000_000..9_999_999)
            );
            (format!("{} {secret}", pick(rng, &["phone:", "call", "mobile", "tel."])), secret)
        }
    }
}

/// What must stay as it is.
fn decoy(rng: &mut StdRng, kind: usize) -> String {
    match kind {
        0 => random(rng, HEX, 32),
        1 => random(rng, HEX, 16),
        2 => format!(
            "{}-{}-4{}-8{}-{}",
            random(rng, HEX, 8),
            random(rng, HEX, 4),
            random(rng, HEX, 3),
            random(rng, HEX, 3),
            random(rng, HEX, 12)
        ),
        3 => format!("{}{}", rng.random_range(1_600_000_000..1_900_000_000u64), random(rng, DIGITS, 9)),
        4 => format!("{}{}", rng.random_range(1_600_000_000..1_900_000_000u64), random(rng, DIGITS, 3)),
        5 => format!("ORD-{}", random(rng, DIGITS, 16)),
        6 => format!("order_id={}", random(rng, DIGITS, 16)),
        7 => format!(
            "v{}.{}.{}-rc.{}",
            rng.random_range(0..20),
            rng.random_range(0..20),
            rng.random_range(0..20),
            rng.random_range(0..9)
        ),
        8 => random(rng, HEX, 40),
        9 => format!("sha256:{}", random(rng, HEX, 64)),
        10 => format!(
            "2026-{:02}-{:02}T{:02}:{:02}:{:02}.{}Z",
            rng.random_range(1..12),
            rng.random_range(1..28),
            rng.random_range(0..23),
            rng.random_range(0..59),
            rng.random_range(0..59),
            random(rng, DIGITS, 9)
        ),
        11 => format!("react@{}.{}.{}", rng.random_range(0..20), rng.random_range(0..20), rng.random_range(0..20)),
        12 => format!("com.shop.Order@{}", random(rng, HEX, 8)),
        13 => format!("max_tokens={} token_count: {}", rng.random_range(1..9999), rng.random_range(1..9999)),
        14 => pick(
            rng,
            &[
                "Unexpected token } in JSON at position 12",
                "invalid password: must have at least 12 characters",
                "password reset requested",
                "Access denied for user (using password: YES)",
                "basic authentication is required",
                "Bearer token missing",
                "session cookie: not found",
                "WHERE password = ? AND token = $1",
                "token: expired",
                "secret not found in namespace",
                "git@github.com:shop/checkout.git",
                "the author passed the test",
            ],
        )
        .to_owned(),
        15 => format!(
            "http://payments-{}:8080/api/orders/{}?page={}&sort=asc",
            rng.random_range(0..9),
            rng.random_range(1..999_999),
            rng.random_range(1..50)
        ),
        16 => format!("offset {} partition {}", rng.random_range(1..u64::from(u32::MAX)), rng.random_range(0..64)),
        17 => format!("0.{}", random(rng, DIGITS, 17)),
        18 => format!("{}{}", random(rng, UPPER, 4), random(rng, DIGITS, 8)),
        19 => format!(
            "10.{}.{}.{}:{}",
            rng.random_range(0..255),
            rng.random_range(0..255),
            rng.random_range(0..255),
            rng.random_range(1024..65535)
        ),
        20 => format!("payments/rounding.go:{} +0x{}", rng.random_range(1..999), random(rng, HEX, 3)),
        _ => format!("eyeglasses {} sk-{} asia-east1", random(rng, LOWER, 6), "checkout-service-blue-green-canary"),
    }
}

const CLASSES: usize = 14;
const DECOYS: usize = 22;

/// Puts a text where telemetry carries one.
fn place(rng: &mut StdRng, kind: usize, text: &str) -> String {
    match kind {
        0 => text.to_owned(),
        1 => format!("charge failed: {text}"),
        2 => format!("[{}] WARN checkout {text}, retrying in 5s", random(rng, DIGITS, 4)),
        3 => format!(
            "Exception in thread main: {text}\n\tat payments.Rounding.round(Rounding.java:117)\n\tat payments.Main"
        ),
        4 => serde_json::json!({ "level": "warn", "msg": text, "n": 3 }).to_string(),
        5 => serde_json::json!({ "body": serde_json::json!({ "detail": text, "ok": false }).to_string() }).to_string(),
        6 => format!(
            "/lookup?q={}&page=1",
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
        ),
        _ => serde_json::json!({ "q": text }).to_string().replace('@', "\\u0040").replace('/', "\\/"),
    }
}

const PLACES: usize = 8;

/// Secrets in every class and place are gone in at least 99.5 % of cases.
#[test]
fn recall() {
    let redactor = redactor();
    let mut rng = StdRng::seed_from_u64(7);
    let (mut total, mut missed) = (0u32, Vec::new());
    for _ in 0..40 {
        for class in 0..CLASSES {
            for kind in 0..PLACES {
                let (text, secret) = planted(&mut rng, class);
                let input = place(&mut rng, kind, &text);
                let mut counts = RedactionCounts::default();
                let output = redactor.redact_text(&input, &mut counts);
                let plain = percent_encoding::percent_decode_str(&output)
                    .decode_utf8_lossy()
                    .replace("\\u0040", "@")
                    .replace("\\/", "/");
                total += 1;
                if plain.contains(&secret) || output.contains(&secret) || counts.is_empty() {
                    missed.push(format!("class {class} place {kind}: {input}\n   -> {output}"));
                }
                if matches!(kind, 4 | 5 | 7) {
                    assert!(serde_json::from_str::<serde_json::Value>(&output).is_ok(), "{input}\n -> {output}");
                }
            }
        }
    }
    let shown = missed.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(missed.len() as f64 <= f64::from(total) * 0.005, "{} of {total} missed:\n{shown}", missed.len());
}

/// Look-alikes in every place are left alone in at least 99.5 % of cases.
#[test]
fn false_alarms() {
    let redactor = redactor();
    let mut rng = StdRng::seed_from_u64(11);
    let (mut total, mut wrong) = (0u32, Vec::new());
    for _ in 0..60 {
        for kind in 0..DECOYS {
            for place_kind in 0..PLACES {
                let text = decoy(&mut rng, kind);
                let input = place(&mut rng, place_kind, &text);
                let output = redactor.redact_text(&input, &mut RedactionCounts::default());
                total += 1;
                if output != input {
                    wrong.push(format!("decoy {kind} place {place_kind}: {input}\n   -> {output}"));
                }
            }
        }
    }
    let shown = wrong.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.len() as f64 <= f64::from(total) * 0.005, "{} of {total} wrong:\n{shown}", wrong.len());
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
        ("mysqldump --password hunter2 --host db", "mysqldump --password <password> --host db"),
        ("jdbc:mysql://db/shop?user=a&password=geheim1", "jdbc:mysql://db/shop?user=a&password=<password>"),
        (
            "INSERT INTO u VALUES ('alice@example.com', 'DE89 3704 0044 0532 0130 00')",
            "INSERT INTO u VALUES ('<email>', '<iban>')",
        ),
        ("https://hooks.slack.com/services/T000/B000/kQ7xW2pLm9", "https://hooks.slack.com/services/<key>"),
        (r#"{"phone": "555-123-4567"}"#, r#"{"phone": "<phone>"}"#),
        ("denied for AKIAABCDEFGHIJKLMNOP", "denied for <key>"),
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

//! Look-alikes: what telemetry is full of, and what must stay readable.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::Rng;
use rand::rngs::StdRng;

use super::{ALNUM, DIGITS, Decoy, HEX, LOWER, UPPER, pick, random, with_luhn_digit};

pub(crate) const DECOYS: &[Decoy] = &[
    decoy("trace id", |rng| random(rng, HEX, 32)),
    decoy("span id", |rng| random(rng, HEX, 16)),
    decoy("uuid", uuid),
    decoy("sha-1", |rng| random(rng, HEX, 40)),
    decoy("digest", |rng| format!("sha256:{}", random(rng, HEX, 64))),
    decoy("commit", |rng| format!("commit {}", random(rng, HEX, 7))),
    decoy("base64", |rng| STANDARD.encode(random(rng, ALNUM, 24))),
    decoy("pod", |rng| format!("payments-{}-{}", random(rng, HEX, 10), random(rng, LOWER, 5))),
    decoy("order number", |rng| format!("ORD-{}", random(rng, DIGITS, 16))),
    decoy("order", |rng| format!("order {}", random(rng, DIGITS, 10))),
    decoy("id like a card", |rng| format!("{}={}", record(rng), like_card(rng))),
    decoy("id like a card in JSON", |rng| format!("{{\"{}\": {}}}", record(rng), like_card(rng))),
    decoy("offset", |rng| format!("offset={}", like_card(rng))),
    decoy("number that fails Luhn", |rng| {
        let length = rng.random_range(12..18);
        let digits = random(rng, "123456789", length);
        let right = with_luhn_digit(&digits);
        let wrong = (right.bytes().last().map_or(0, |byte| byte - b'0') + rng.random_range(1..10)) % 10;
        format!("{digits}{wrong}")
    }),
    decoy("milliseconds", |rng| format!("{}{}", seconds(rng), random(rng, DIGITS, 3))),
    decoy("microseconds", |rng| format!("{}{}", seconds(rng), random(rng, DIGITS, 6))),
    decoy("nanoseconds", |rng| format!("{}{}", seconds(rng), random(rng, DIGITS, 9))),
    decoy("snowflake", |rng| rng.random_range(100_000_000_000_000_000u64..1_999_999_999_999_999_999).to_string()),
    decoy("time", |rng| format!("2026-11-{:02}T12:00:{:02}.{}Z", day(rng), day(rng), random(rng, DIGITS, 9))),
    decoy("version", |rng| format!("v{}.{}.{}-rc.{}", small(rng), small(rng), small(rng), small(rng))),
    decoy("described version", |rng| format!("v1.{}.0-{}-g{}", small(rng), small(rng), random(rng, HEX, 7))),
    decoy("image", |rng| format!("registry.example.com/pay:1.{}@sha256:{}", small(rng), random(rng, HEX, 64))),
    decoy("file with a sign", |rng| format!("{}@{}x.png", random(rng, LOWER, 4), rng.random_range(2..4))),
    decoy("scoped package", |rng| {
        format!("@{}/{}@{}.{}.{}", random(rng, LOWER, 5), random(rng, LOWER, 6), small(rng), small(rng), small(rng))
    }),
    decoy("package", |rng| format!("{}@{}.{}.{}-beta.1", random(rng, LOWER, 5), small(rng), small(rng), small(rng))),
    decoy("module", |rng| {
        format!("/go/pkg/mod/github.com/{}/gin@v1.9.{}/context.go:174", random(rng, LOWER, 5), small(rng))
    }),
    decoy("decorator", |rng| format!("@app.route(\"/{}\")", random(rng, LOWER, 5))),
    decoy("decorator with arguments", |_| "@dataclass(frozen=True)".to_owned()),
    decoy("object of Java", |rng| format!("com.shop.Order@{}", random(rng, HEX, 8))),
    decoy("repository", |rng| format!("git@github.com:acme/{}.git", random(rng, LOWER, 5))),
    decoy("user and host", |rng| format!("postgres://app@db{}.example.com:5432/shop", small(rng))),
    decoy("address of a service", |rng| format!("https://api.example.com:8443/v{}/x?page=2", small(rng))),
    decoy("host and port", |rng| format!("10.{}.{}.{}:8080", small(rng), small(rng), small(rng))),
    decoy("arn", |rng| format!("arn:aws:iam::{}:role/app", random(rng, DIGITS, 12))),
    decoy("number like a phone's", |rng| format!("item 0{}", random(rng, DIGITS, 9))),
    decoy("reference like a phone's", |rng| format!("ref 555-{}-{}", random(rng, DIGITS, 3), random(rng, DIGITS, 4))),
    decoy("batch like a social security number", |rng| {
        format!("batch {}-{}-{}", random(rng, DIGITS, 3), random(rng, DIGITS, 2), random(rng, DIGITS, 4))
    }),
    decoy("article", |rng| format!("SKU-{}-{}", random(rng, UPPER, 4), random(rng, DIGITS, 8))),
    decoy("ean", |rng| format!("ean 4{}", random(rng, DIGITS, 12))),
    decoy("mac", |rng| (0..6).map(|_| random(rng, HEX, 2)).collect::<Vec<_>>().join(":")),
    decoy("decimal", |rng| format!("amount={}.{}", small(rng), random(rng, DIGITS, 18))),
    decoy("address in memory", |rng| format!("0x{}", random(rng, HEX, 12))),
    decoy("tokens counted", |rng| format!("max_tokens={} token_count: {}", small(rng), small(rng))),
    decoy("parser's token", |rng| format!("Unexpected token }} in JSON at position {}", small(rng))),
    decoy("prose of secrets", |rng| {
        pick(
            rng,
            &[
                "password must have 12 characters",
                "invalid password",
                "password reset requested",
                "token has expired",
                "missing authorization header",
                "session cookie: not found",
                "secret not found in namespace",
                "api key is missing",
                "basic auth required",
                "Bearer token missing",
                "WHERE password = ? AND token = $1",
                "refresh token flow started",
            ],
        )
        .to_owned()
    }),
    decoy("key of a cache", |rng| format!("cache key user:{}:profile", small(rng))),
    decoy("keys of a database", |rng| format!("partition_key={} sort_key: {}", random(rng, ALNUM, 8), small(rng))),
    decoy("verdict of a test", |rng| format!("--- PASS: TestRounding (0.{}s)", small(rng))),
    decoy("slug", |rng| format!("sk-checkout-{}-canary", random(rng, LOWER, 5))),
    decoy("public PEM", |_| "-----BEGIN CERTIFICATE-----".to_owned()),
];

const fn decoy(name: &'static str, make: fn(&mut StdRng) -> String) -> Decoy {
    Decoy { name, make }
}

/// The name of a record's id. Under such a name a number is the record's, also one that has an issuer's beginning and
/// passes Luhn, as one of sixty ids of sixteen digits does by chance.
pub(crate) fn record(rng: &mut StdRng) -> &'static str {
    pick(rng, &["order_id", "transaction_id", "messageId", "batch.id", "x-request-id"])
}

/// A number with the beginning, the length and the check digit of a card's.
pub(crate) fn like_card(rng: &mut StdRng) -> String {
    let prefix = pick(rng, &["4", "51", "55"]);
    with_luhn_digit(&format!("{prefix}{}", random(rng, DIGITS, 15 - prefix.len())))
}

fn uuid(rng: &mut StdRng) -> String {
    let part = |rng: &mut StdRng, length| random(rng, HEX, length);
    format!("{}-{}-4{}-8{}-{}", part(rng, 8), part(rng, 4), part(rng, 3), part(rng, 3), part(rng, 12))
}

fn seconds(rng: &mut StdRng) -> u64 {
    rng.random_range(1_600_000_000..1_900_000_000)
}

fn small(rng: &mut StdRng) -> u32 {
    rng.random_range(0..100)
}

fn day(rng: &mut StdRng) -> u32 {
    rng.random_range(1..28)
}

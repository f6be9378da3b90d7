//! Personal data: addresses, cards, accounts, numbers of persons and of their machines.

use rand::Rng;
use rand::rngs::StdRng;

use super::{ALNUM, DIGITS, Form, HEX, LOWER, UPPER, bare, form, pick, random, with_luhn_digit, within};

pub(super) const FORMS: &[Form] = &[
    form("email", "dotted", |rng| bare(format!("{}.{}@{}", random(rng, LOWER, 4), random(rng, LOWER, 6), domain(rng)))),
    form("email", "tagged", |rng| bare(format!("{}+{}@{}", random(rng, LOWER, 6), random(rng, ALNUM, 4), domain(rng)))),
    form("email", "underscored", |rng| {
        bare(format!("{}_{}@{}", random(rng, LOWER, 5), random(rng, DIGITS, 3), domain(rng)))
    }),
    form("email", "quoted letter", |rng| bare(format!("o'{}@{}", random(rng, LOWER, 6), domain(rng)))),
    form("email", "capitals", |rng| {
        bare(format!("{}@{}", random(rng, ALNUM, 8), domain(rng)).to_uppercase().replace("XN--", "xn--"))
    }),
    form("email", "umlaut", |rng| bare(format!("{}@m\u{fc}ller-{}.de", random(rng, LOWER, 6), random(rng, LOWER, 4)))),
    form("email", "named", |rng| within("From: Jane Doe <", format!("{}@{}", random(rng, LOWER, 7), domain(rng)), ">")),
    form("email", "mailto", |rng| {
        within("<a href=\"mailto:", format!("{}@{}", random(rng, LOWER, 7), domain(rng)), "?subject=x\">")
    }),
    form("card", "digits", |rng| bare(card(rng, CARDS))),
    form("card", "spaces", |rng| bare(printed(&card(rng, CARDS), " "))),
    form("card", "dashes", |rng| bare(printed(&card(rng, CARDS), "-"))),
    form("card", "19 printed", |rng| bare(printed(&card(rng, &[("4", 19), ("62", 19)]), " "))),
    form("card", "labelled", |rng| within("card_number=", card(rng, CARDS), " exp=12/29")),
    form("iban", "run", |rng| bare(iban(rng))),
    form("iban", "spaces", |rng| bare(grouped(&iban(rng), " "))),
    form("iban", "dashes", |rng| bare(grouped(&iban(rng), "-"))),
    form("iban", "small letters", |rng| within("iban: ", iban(rng).to_lowercase(), "")),
    form("ssn", "dashes", |rng| within(pick(rng, &["SSN ", "ssn: ", "social security number "]), ssn(rng), "")),
    form("ssn", "assigned", |rng| within("ssn=", ssn(rng), "")),
    form("phone", "international", |rng| {
        let number = format!("+{} {} {}", country(rng), rng.random_range(200..999), random(rng, DIGITS, 7));
        within(pick(rng, &["phone: ", "mobile ", "call ", "tel. ", "whatsapp "]), number, "")
    }),
    form("phone", "run", |rng| {
        let number = format!("+{}{}", country(rng), rng.random_range(2_000_000_000u64..9_999_999_999));
        within(pick(rng, &["msisdn=", "phone_number=", "contact "]), number, "")
    }),
    form("phone", "zeros", |rng| {
        let number = format!("00{}{}", country(rng), rng.random_range(2_000_000_000u64..9_999_999_999));
        within("mobile ", number, "")
    }),
    form("ip", "v4", |rng| bare(v4(rng))),
    form("ip", "with port", |rng| within("", v4(rng), ":8080")),
    form("ip", "behind a name", |rng| within("peer:", v4(rng), " closed")),
    form("ip", "v6", |rng| {
        let parts: Vec<String> = (0..8).map(|_| format!("{:x}", rng.random_range(0x1000..0xffff))).collect();
        bare(parts.join(":"))
    }),
    form("ip", "v6 short", |rng| within("[", format!("2001:db8::1{}", random(rng, HEX, 3)), "]:443")),
];

fn domain(rng: &mut StdRng) -> String {
    let name = random(rng, LOWER, 6);
    match rng.random_range(0..6) {
        0 => format!("{name}.com"),
        1 => format!("mail.{name}.co.uk"),
        2 => format!("{}-{name}.io", random(rng, LOWER, 3)),
        3 => format!("{name}.photography"),
        4 => format!("xn--{name}.de"),
        _ => format!("{name}{}.eu", random(rng, DIGITS, 2)),
    }
}

/// Beginnings and lengths of the numbers of each scheme.
const CARDS: &[(&str, usize)] = &[
    ("4", 16),
    ("51", 16),
    ("55", 16),
    ("2221", 16),
    ("2720", 16),
    ("34", 15),
    ("37", 15),
    ("6011", 16),
    ("644", 16),
    ("65", 16),
    ("3528", 16),
    ("3589", 16),
    ("36", 14),
    ("300", 14),
    ("62", 16),
    ("6759", 16),
];

fn card(rng: &mut StdRng, schemes: &[(&str, usize)]) -> String {
    let (prefix, length) = schemes[rng.random_range(0..schemes.len())];
    let body = random(rng, DIGITS, length - prefix.len() - 1);
    with_luhn_digit(&format!("{prefix}{body}"))
}

/// The digits in the groups in which they are printed on cards.
fn printed(number: &str, separator: &str) -> String {
    let groups: &[usize] = match number.len() {
        14 => &[4, 6, 4],
        15 => &[4, 6, 5],
        19 => &[4, 4, 4, 4, 3],
        _ => &[4, 4, 4, 4],
    };
    let mut rest = number;
    let mut parts = Vec::new();
    for length in groups {
        let (part, behind) = rest.split_at(*length);
        parts.push(part);
        rest = behind;
    }
    parts.join(separator)
}

/// Countries with the forms of their accounts: `n` digits, `a` capitals. From the IBAN registry of SWIFT.
const ACCOUNTS: &[(&str, &[(char, usize)])] = &[
    ("AT", &[('n', 16)]),
    ("BE", &[('n', 12)]),
    ("CH", &[('n', 17)]),
    ("CZ", &[('n', 20)]),
    ("DE", &[('n', 18)]),
    ("DK", &[('n', 14)]),
    ("ES", &[('n', 20)]),
    ("FI", &[('n', 14)]),
    ("FR", &[('n', 23)]),
    ("GB", &[('a', 4), ('n', 14)]),
    ("HU", &[('n', 24)]),
    ("IE", &[('a', 4), ('n', 14)]),
    ("IT", &[('a', 1), ('n', 22)]),
    ("NL", &[('a', 4), ('n', 10)]),
    ("NO", &[('n', 11)]),
    ("PL", &[('n', 24)]),
    ("PT", &[('n', 21)]),
    ("RO", &[('a', 4), ('n', 16)]),
    ("SA", &[('n', 20)]),
    ("SE", &[('n', 20)]),
    ("TR", &[('n', 22)]),
    ("UA", &[('n', 25)]),
];

fn iban(rng: &mut StdRng) -> String {
    let (country, parts) = ACCOUNTS[rng.random_range(0..ACCOUNTS.len())];
    let account: String =
        parts.iter().map(|(kind, length)| random(rng, if *kind == 'n' { DIGITS } else { UPPER }, *length)).collect();
    // ISO 7064 mod 97-10, with letters as numbers from 10 on.
    let remainder = format!("{account}{country}00").bytes().fold(0u32, |remainder, byte| match byte {
        b'0'..=b'9' => (remainder * 10 + u32::from(byte - b'0')) % 97,
        _ => (remainder * 100 + u32::from(byte - b'A') + 10) % 97,
    });
    format!("{country}{:02}{account}", 98 - remainder)
}

fn grouped(number: &str, separator: &str) -> String {
    let groups: Vec<String> = number.as_bytes().chunks(4).map(|part| String::from_utf8_lossy(part).into()).collect();
    groups.join(separator)
}

fn ssn(rng: &mut StdRng) -> String {
    format!("{}-{:02}-{:04}", rng.random_range(100..600), rng.random_range(1..99), rng.random_range(1..9999))
}

fn country(rng: &mut StdRng) -> &'static str {
    pick(rng, &["1", "33", "44", "49", "91"])
}

fn v4(rng: &mut StdRng) -> String {
    let parts: Vec<String> = (0..4).map(|_| rng.random_range(11..250).to_string()).collect();
    parts.join(".")
}

/// The corpus makes the numbers that the schemes' own documents show.
#[test]
fn check_digits_are_those_of_the_documents() {
    assert_eq!(with_luhn_digit("411111111111111"), "4111111111111111");
    assert_eq!(with_luhn_digit("37828224631000"), "378282246310005");
}

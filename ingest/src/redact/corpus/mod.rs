//! A seeded corpus: personal data and secrets in the forms in which telemetry carries them, and look-alikes.
//!
//! Every text is made from the seed, so no recogniser can have been written for it. What is promised stands on this
//! corpus and on nothing else: it is no sample of anybody's telemetry.

mod decoys;
mod people;
mod secrets;

use rand::Rng;
use rand::rngs::StdRng;

pub(crate) use decoys::{DECOYS, like_card, record};

const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const ALNUM: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const BASE64: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/";
const HEX: &str = "0123456789abcdef";
const DIGITS: &str = "0123456789";

/// A text in which something must not be left.
pub(crate) struct Planted {
    pub(crate) text: String,
    pub(crate) secret: String,
}

/// One form of a class, and how texts of it are made.
pub(crate) struct Form {
    /// The class by its name in the counts of redactions.
    pub(crate) class: &'static str,
    pub(crate) name: &'static str,
    pub(crate) make: fn(&mut StdRng) -> Planted,
}

/// One kind of look-alike, and how it is made.
pub(crate) struct Decoy {
    pub(crate) name: &'static str,
    pub(crate) make: fn(&mut StdRng) -> String,
}

/// All forms of all classes but identifiers, which are told by the names of their attributes alone.
pub(crate) fn forms() -> impl Iterator<Item = &'static Form> {
    people::FORMS.iter().chain(secrets::FORMS)
}

/// A random text over an alphabet of ASCII characters.
pub(crate) fn random(rng: &mut StdRng, alphabet: &str, length: usize) -> String {
    (0..length).map(|_| char::from(alphabet.as_bytes()[rng.random_range(0..alphabet.len())])).collect()
}

fn pick<'a>(rng: &mut StdRng, from: &[&'a str]) -> &'a str {
    from[rng.random_range(0..from.len())]
}

const fn form(class: &'static str, name: &'static str, make: fn(&mut StdRng) -> Planted) -> Form {
    Form { class, name, make }
}

/// The whole text is the secret.
fn bare(secret: String) -> Planted {
    Planted { text: secret.clone(), secret }
}

/// A secret with something around it.
fn within(before: &str, secret: String, after: &str) -> Planted {
    Planted { text: format!("{before}{secret}{after}"), secret }
}

/// A password with special characters, none of which has to be escaped where passwords stand. It ends in a letter and a
/// digit, so that it is none that could be a word.
fn password(rng: &mut StdRng) -> String {
    let length = rng.random_range(6..16);
    random(rng, &format!("{ALNUM}!*_.^~"), length).trim_start_matches(['*', '.', '!', '^', '~', '_']).to_owned() + "x7"
}

/// Digits with the check digit of ISO/IEC 7812-1 behind them: from the right, every other digit is doubled.
fn with_luhn_digit(digits: &str) -> String {
    let weighted = |(index, byte): (usize, u8)| {
        let digit = u32::from(byte - b'0');
        let twice = 2 * digit;
        if index % 2 == 1 { digit } else { twice / 10 + twice % 10 }
    };
    let sum: u32 = digits.bytes().rev().enumerate().map(weighted).sum();
    format!("{digits}{}", (10 - sum % 10) % 10)
}

//! What a name says about its value: secret, personal, or an identifier, in whatever style it is written.

use super::class::Class;

/// Letters and digits of a name, folded; longer names are cut at the front, since the last word decides.
struct Folded {
    bytes: [u8; 128],
    length: usize,
}

impl Folded {
    fn new(name: &[u8]) -> Self {
        let mut folded = Self { bytes: [0; 128], length: 0 };
        for byte in name[name.len().saturating_sub(128)..].iter().filter(|b| b.is_ascii_alphanumeric()) {
            folded.bytes[folded.length] = byte.to_ascii_lowercase();
            folded.length += 1;
        }
        folded
    }

    fn is(&self, word: &str) -> bool {
        &self.bytes[..self.length] == word.as_bytes()
    }

    fn ends_with(&self, word: &str) -> bool {
        self.bytes[..self.length].ends_with(word.as_bytes())
    }
}

/// Longest part of a name that counts beside another one, in bytes.
const MAX_PARENT: usize = 256;

/// The end of a name that others stand under, where it is a very long one: the last words decide, and all of it would
/// be read again with each of the others.
pub(crate) fn end_of_name(name: &str) -> &str {
    &name[name.ceil_char_boundary(name.len().saturating_sub(MAX_PARENT))..]
}

/// True for `order_id`, `messageId`, `event.id`: what stands under it names a record, however much a number may look
/// like that of a card. The words before `id` must not speak of something that is paid with.
pub(super) fn is_record_id(segments: &[String]) -> bool {
    const PAID_WITH: &[&str] =
        &["card", "cards", "pan", "payment", "instrument", "account", "credit", "debit", "billing", "wallet", "iban"];
    match segments.split_last() {
        Some((last, before)) if last == "id" && !before.is_empty() => {
            !before.iter().any(|word| PAID_WITH.contains(&word.as_str()))
        }
        _ => false,
    }
}

/// The class of the value behind a secret name; `is_parameter` admits the short names of query parameters.
pub(super) fn secret_class(name: &[u8], is_parameter: bool) -> Option<Class> {
    const SECRETS: &[&str] = &[
        "secret",
        "token",
        "apikey",
        "accesskey",
        "secretkey",
        "privatekey",
        "accountkey",
        "sharedaccesskey",
        "signingkey",
        "encryptionkey",
        "credential",
        "credentials",
        "jwt",
        "secretvalue",
        "authkey",
        "masterkey",
        "secretaccesskey",
    ];
    const CODES: &[&str] = &["cvv", "cvc", "cvv2", "cvc2", "otp", "cardcvv", "cardcvc"];
    const PARAMETERS: &[&str] =
        &["key", "sig", "signature", "auth", "sid", "session", "xamzsignature", "xgoogsignature"];
    let folded = Folded::new(name);
    let ends = |words: &[&str]| words.iter().any(|word| folded.ends_with(word));
    let equals = |words: &[&str]| words.iter().any(|word| folded.is(word));
    if ends(&["password", "passwd", "pwd", "passphrase", "passwort"]) || equals(&["pass"]) || has_pass_suffix(name) {
        Some(Class::Password)
    } else if ends(&["authorization"]) {
        Some(Class::Credentials)
    } else if ends(&["cookie", "jsessionid", "phpsessid", "sessid", "setcookie2"]) || equals(&["connectsid"]) {
        Some(Class::Cookie)
    } else if ends(SECRETS) || equals(CODES) || (is_parameter && equals(PARAMETERS)) {
        Some(Class::Secret)
    } else {
        None
    }
}

/// `smtp_pass`, but not `bypass`.
fn has_pass_suffix(name: &[u8]) -> bool {
    let Some((head, tail)) = name.len().checked_sub(5).map(|at| name.split_at(at)) else { return false };
    !head.is_empty() && matches!(tail[0], b'_' | b'.' | b'-') && tail[1..].eq_ignore_ascii_case(b"pass")
}

/// True for `pass` alone or behind a full stop: a password in many programs, a verdict, a phase or a pass of a renderer
/// in others. The value has to decide.
pub(super) fn is_ambiguous(name: &[u8]) -> bool {
    let tail = name.len().checked_sub(4).map(|at| name.split_at(at));
    let Some((head, tail)) = tail else { return false };
    let is_alone = head.last().is_none_or(|byte| *byte == b'.') || head.iter().all(|byte| *byte == b'-');
    tail.eq_ignore_ascii_case(b"pass") && is_alone
}

/// True if a value looks like a secret that somebody chose or made: letters with digits or special characters, and no
/// measure (`0.12s`).
pub(super) fn looks_secret(value: &[u8]) -> bool {
    let has = |accept: fn(&u8) -> bool| value.iter().any(accept);
    let is_measure = || {
        let unit = value.iter().position(|b| !b.is_ascii_digit() && !matches!(b, b'.' | b',' | b'-' | b'+'));
        unit.is_none_or(|at| at > 0 && value.len() - at <= 3)
    };
    let is_special = |b: &u8| matches!(b, b'!' | b'@' | b'#' | b'$' | b'^' | b'&' | b'*' | b'~' | b'?' | b'=');
    value.len() >= 4
        && !has(u8::is_ascii_whitespace)
        && (has(is_special) || (has(u8::is_ascii_alphabetic) && has(u8::is_ascii_digit)))
        && !is_measure()
}

/// The words of a name: split at anything but letters and digits, and before a capital behind a small letter.
pub(super) fn segments(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut is_open = false;
    let mut was_small = false;
    for c in name.chars() {
        if !c.is_alphanumeric() {
            is_open = false;
            was_small = false;
            continue;
        }
        if !is_open || (was_small && c.is_uppercase()) {
            words.push(String::new());
            is_open = true;
        }
        if let Some(word) = words.last_mut() {
            word.extend(c.to_lowercase());
        }
        was_small = c.is_lowercase() || c.is_numeric();
    }
    words
}

/// The class of a value whose name alone says that it is personal: `app.phone_number`, `customer.email`.
pub(super) fn personal_class(segments: &[String]) -> Option<Class> {
    const NAMES: &[(&[&str], Class)] = &[
        (&["email"], Class::Email),
        (&["e", "mail"], Class::Email),
        (&["mail", "address"], Class::Email),
        (&["email", "address"], Class::Email),
        (&["phone"], Class::Phone),
        (&["phone", "number"], Class::Phone),
        (&["mobile", "number"], Class::Phone),
        (&["telephone"], Class::Phone),
        (&["msisdn"], Class::Phone),
        (&["iban"], Class::Iban),
        (&["ssn"], Class::Ssn),
        (&["social", "security", "number"], Class::Ssn),
        (&["card", "number"], Class::Card),
        (&["credit", "card"], Class::Card),
        (&["pan"], Class::Card),
    ];
    NAMES.iter().find(|(words, _)| ends_with(segments, words)).map(|(_, class)| *class)
}

/// True for a field of a payload whose value belongs to a person or account, whatever it looks like.
pub(super) fn is_personal_field(name: &str) -> bool {
    const LAST: &[&str] = &[
        "email",
        "mail",
        "phone",
        "telephone",
        "mobile",
        "msisdn",
        "fax",
        "address",
        "street",
        "zip",
        "zipcode",
        "postcode",
        "postal",
        "card",
        "pan",
        "iban",
        "bic",
        "ssn",
        "password",
        "passwd",
        "pwd",
        "passphrase",
        "token",
        "secret",
        "pin",
        "cvv",
        "cvc",
        "otp",
        "birthday",
        "birthdate",
        "dob",
        "passport",
        "firstname",
        "lastname",
        "fullname",
        "surname",
        "forename",
        "username",
        "nickname",
        "login",
        "cardholder",
        "userid",
        "customerid",
        "accountid",
        "clientid",
        "patientid",
        "latitude",
        "longitude",
        "ip",
        "cookie",
        "authorization",
        "signature",
        "credential",
        "credentials",
        "apikey",
    ];
    const PERSONS: &[&str] = &[
        "first",
        "last",
        "full",
        "given",
        "family",
        "middle",
        "nick",
        "display",
        "sur",
        "user",
        "customer",
        "client",
        "contact",
        "person",
        "patient",
        "owner",
        "holder",
        "card",
        "billing",
        "shipping",
        "recipient",
        "employee",
        "member",
        "account",
        "guest",
        "passenger",
        "contacts",
        "sender",
        "receiver",
        "payer",
        "payee",
        "session",
        "device",
        "subscriber",
        "visitor",
        "driver",
        "document",
    ];
    const NUMBERS: &[&str] = &[
        "card", "account", "phone", "mobile", "iban", "passport", "security", "license", "licence", "document",
        "contact",
    ];
    if secret_class(name.as_bytes(), false).is_some() {
        return true;
    }
    let words = segments(name);
    let Some(last) = words.last().map(String::as_str) else { return false };
    let previous = words.len().checked_sub(2).map(|index| words[index].as_str());
    match (previous, last) {
        (_, last) if LAST.contains(&last) => true,
        (None, "name" | "account" | "pan") => true,
        (Some("tax" | "national"), "id") => true,
        (Some(previous), "name" | "id" | "uuid") => PERSONS.contains(&previous),
        (Some(previous), "number" | "no" | "num") => NUMBERS.contains(&previous),
        (Some("postal" | "zip"), "code") | (Some("of"), "birth") | (Some("birth"), "date") => true,
        _ => false,
    }
}

/// True if the name's last words are `words`.
pub(super) fn ends_with<S: AsRef<str>>(segments: &[String], words: &[S]) -> bool {
    segments.len() >= words.len()
        && segments[segments.len() - words.len()..].iter().zip(words).all(|(segment, word)| segment == word.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The style in which a name is written does not matter; names that only contain a keyword are no secrets.
    #[test]
    fn secret_names_in_all_styles() {
        for name in [
            "password",
            "db.password",
            "DB_PASSWD",
            "userPassword",
            "x-api-key",
            "accessToken",
            "smtp_pass",
            "AWS_SECRET_ACCESS_KEY",
        ] {
            assert!(secret_class(name.as_bytes(), false).is_some(), "{name}");
        }
        for name in [
            "max_tokens",
            "token_count",
            "bypass",
            "key",
            "sig",
            "password_reset",
            "cookie_consent",
            "author",
            "laptop",
            "passed",
        ] {
            assert!(secret_class(name.as_bytes(), false).is_none(), "{name}");
        }
        assert_eq!(secret_class(b"sig", true), Some(Class::Secret));
    }

    /// `pass` alone says little; what is no secret behind it is not taken for one.
    #[test]
    fn ambiguous_names() {
        for name in ["pass", "PASS", "render.pass", "--pass"] {
            assert!(is_ambiguous(name.as_bytes()), "{name}");
        }
        for name in ["smtp_pass", "password", "bypass", "db-pass", "ass"] {
            assert!(!is_ambiguous(name.as_bytes()), "{name}");
        }
        for value in ["hunter2", "s3cr3t", "p@ss", "Tr0ub4dor&3"] {
            assert!(looks_secret(value.as_bytes()), "{value}");
        }
        for value in ["inline", "14", "TestRounding", "0.12s", "250ms", "3/14", "", "first pass", "-1"] {
            assert!(!looks_secret(value.as_bytes()), "{value}");
        }
    }

    /// A number is a record's under a name of two words and more that ends in `id`, unless it is one of paying.
    #[test]
    fn ids_of_records() {
        for name in ["order_id", "messageId", "event.id", "x-request-id", "kafka.batch_id"] {
            assert!(is_record_id(&segments(name)), "{name}");
        }
        for name in ["id", "paid", "card_id", "payment.card.token_id", "accountId", "order_id_hash", "valid", "order"] {
            assert!(!is_record_id(&segments(name)), "{name}");
        }
    }

    /// The end of a long name is cut at a character; a short name is taken as it is.
    #[test]
    fn long_names_are_cut() {
        assert_eq!(end_of_name("user.id"), "user.id");
        let cut = end_of_name(&"\u{e9}".repeat(1000)).len();
        assert!((MAX_PARENT - 1..=MAX_PARENT).contains(&cut), "{cut}");
    }

    /// Fields that name a person are personal; fields that name a thing are not.
    #[test]
    fn personal_fields() {
        for name in [
            "email",
            "customerEmail",
            "customer_id",
            "user[name]",
            "name",
            "cardNumber",
            "dateOfBirth",
            "zip_code",
            "ssn",
            "token",
        ] {
            assert!(is_personal_field(name), "{name}");
        }
        for name in [
            "amount",
            "product_id",
            "productName",
            "order_id",
            "quantity",
            "currency",
            "sku",
            "email_verified",
            "id",
            "number",
        ] {
            assert!(!is_personal_field(name), "{name}");
        }
    }
}

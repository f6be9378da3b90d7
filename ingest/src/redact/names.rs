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

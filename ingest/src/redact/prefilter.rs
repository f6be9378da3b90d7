//! The cheap look at every text that decides which recognisers, if any, have to read it.
//!
//! Nearly every text of telemetry is clean, so the cost of redaction is the cost of this file. Three facts are
//! gathered: whether one of three trigger bytes occurs, how many digits there are, and whether a group of four
//! bytes occurs (letters folded) that every text of a keyword-bound class must contain. One key has its mark in the
//! middle, between characters of any kind; it is looked for in the few texts that are long enough for it.

use rustc_hash::FxHashMap;

use super::recognise::tokens::may_have_entra_secret;

/// A set of recogniser groups that a text has to go to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Triggers(u8);

impl Triggers {
    /// `@` occurs.
    pub(super) const AT: Triggers = Triggers(1);
    /// As many digits occur as a class made of digits has.
    pub(super) const DIGITS: Triggers = Triggers(2);
    /// A secret keyword, or part of one, occurs.
    pub(super) const KEYWORD: Triggers = Triggers(4);
    /// The prefix of a service key occurs.
    pub(super) const KEY: Triggers = Triggers(8);
    /// The start of a JSON web token occurs.
    pub(super) const JWT: Triggers = Triggers(16);
    /// The start of a PEM block occurs.
    pub(super) const PEM: Triggers = Triggers(32);
    /// `%` or `\` occurs: the text may be encoded.
    pub(super) const ENCODED: Triggers = Triggers(64);

    /// A word occurs that makes a number a phone or social security number.
    pub(super) const CONTACT: Triggers = Triggers(128);

    pub(super) fn has(self, other: Triggers) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn set(&mut self, other: Triggers) {
        self.0 |= other.0;
    }
}

/// Fewest digits of a card number (13) or an IBAN (12, in the Netherlands).
const MIN_DIGITS: usize = 12;
/// Fewest digits of a phone number, the shortest class near a keyword.
const MIN_CONTACT_DIGITS: usize = 7;

/// One group of four bytes of each keyword of the assignment, header and URL recognisers, chosen to be rare in prose.
/// Where a keyword is short, the byte behind it is part of the group.
const KEYWORD_GROUPS: &[&str] = &[
    "sswo", "sswd", "phra", "ecre", "oken", "pike", "i_ke", "i-ke", "skey", "s_ke", "s-ke", "ekey", "e_ke", "e-ke",
    "tkey", "t_ke", "t-ke", "gkey", "g_ke", "g-ke", "nkey", "n_ke", "n-ke", "eden", "oriz", "gnat", "ooki", "bear",
    "asic", "jses", "pses", "ssid", "ass=", "ass:", "ass ", "ass\"", "ass'", "ass>",
];

/// Keywords of three letters: triggered with one of [`AFTER_SHORT`] behind them.
const SHORT_KEYWORDS: &[&str] = &["pwd", "sig", "jwt", "cvv", "cvc", "otp", "sid", "key", "uth"];
const AFTER_SHORT: &[u8] = b"=:\"'\\%> 2";

const CONTACT_GROUPS: &[&str] = &["phon", "mobi", "msis", "lefo", "cell", "call", "onta", "what", "dial", "soci"];
/// Triggered with one of [`AFTER_SHORT`] or a full stop behind them.
const SHORT_CONTACT_WORDS: &[&str] = &["tel", "fax", "sms", "ssn"];

const KEY_GROUPS: &[&str] = &[
    "akia", "asia", "abia", "acca", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "b_pa", "glpa", "gloa", "gldt", "glrt",
    "glcb", "glpt", "glft", "glim", "glag", "glso", "glff", "glwt", "3489", "xoxa", "xoxb", "xoxc", "xoxd", "xoxe",
    "xoxo", "xoxp", "xoxr", "xoxs", "xapp", "aiza", "ya29", "gocs", "npm_", "pypi", "live", "_tes", "hvs.", "hvb.",
    "hvr.", "shpa", "shps", "shpc", "shpp", "dop_", "o_v1", "r_v1", "ks.s", "hook", "whse", "atat", "dapi", "ltai",
    "ckr_", "glc_", "glsa", "nrak", "t-ke",
];

/// Prefixes shorter than four bytes, triggered with any byte that may follow.
const OPEN_KEY_GROUPS: &[&str] = &["sk-", "sg.", "hf_"];
const TOKEN_BYTES: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789-_";

const FOLD: u32 = 0x2020_2020;

/// The compiled groups: a bitmap that fits the first-level cache, and the exact groups behind it.
pub(super) struct Prefilter {
    bitmap: Box<[u64; 1024]>,
    groups: FxHashMap<u32, Triggers>,
}

impl Prefilter {
    pub(super) fn new() -> Self {
        let mut filter = Self { bitmap: Box::new([0; 1024]), groups: FxHashMap::default() };
        for group in KEYWORD_GROUPS {
            filter.insert(group.as_bytes(), Triggers::KEYWORD);
        }
        for keyword in SHORT_KEYWORDS {
            for after in AFTER_SHORT {
                filter.insert(&[keyword.as_bytes(), &[*after]].concat(), Triggers::KEYWORD);
            }
        }
        for group in CONTACT_GROUPS {
            filter.insert(group.as_bytes(), Triggers::CONTACT);
        }
        for word in SHORT_CONTACT_WORDS {
            for after in AFTER_SHORT.iter().chain(b"._-#+(") {
                filter.insert(&[word.as_bytes(), &[*after]].concat(), Triggers::CONTACT);
            }
        }
        for group in KEY_GROUPS {
            filter.insert(group.as_bytes(), Triggers::KEY);
        }
        for prefix in OPEN_KEY_GROUPS {
            for after in TOKEN_BYTES {
                filter.insert(&[prefix.as_bytes(), &[*after]].concat(), Triggers::KEY);
            }
        }
        for after in TOKEN_BYTES {
            filter.insert(&[b'e', b'y', b'j', *after], Triggers::JWT);
            filter.insert(&[b'e', b'y', b'a', *after], Triggers::JWT);
        }
        filter.insert(b"begi", Triggers::PEM);
        filter
    }

    fn insert(&mut self, group: &[u8], triggers: Triggers) {
        let Ok(group) = <[u8; 4]>::try_from(group) else { return };
        let group = u32::from_le_bytes(group) | FOLD;
        let slot = slot(group);
        self.bitmap[usize::from(slot >> 6)] |= 1 << (slot & 63);
        self.groups.entry(group).or_default().set(triggers);
    }

    /// What has to read `bytes`.
    #[inline]
    pub(super) fn triggers(&self, bytes: &[u8]) -> Triggers {
        let mut triggers = Triggers::default();
        if let Some(first) = memchr::memchr3(b'@', b'%', b'\\', bytes) {
            for byte in &bytes[first..] {
                match byte {
                    b'@' => triggers.set(Triggers::AT),
                    b'%' | b'\\' => triggers.set(Triggers::ENCODED),
                    _ => {}
                }
            }
        }
        if self.may_have_group(bytes) {
            self.find_groups(bytes, &mut triggers);
        }
        if may_have_entra_secret(bytes) {
            triggers.set(Triggers::KEY);
        }
        let least = if triggers.has(Triggers::CONTACT) { MIN_CONTACT_DIGITS } else { MIN_DIGITS };
        if bytes.len() >= least && has_digits(bytes, least) {
            triggers.set(Triggers::DIGITS);
        }
        triggers
    }

    /// Whether any group hits the bitmap. Without a branch a byte, so that the processor can overlap the look-ups.
    #[inline]
    fn may_have_group(&self, bytes: &[u8]) -> bool {
        let mut hits = 0;
        for group in bytes.windows(4) {
            let slot = slot(u32::from_le_bytes([group[0], group[1], group[2], group[3]]) | FOLD);
            hits |= self.bitmap[usize::from(slot >> 6)] >> (slot & 63);
        }
        hits & 1 != 0
    }

    #[inline(never)]
    fn find_groups(&self, bytes: &[u8], triggers: &mut Triggers) {
        for group in bytes.windows(4) {
            let group = u32::from_le_bytes([group[0], group[1], group[2], group[3]]) | FOLD;
            let slot = slot(group);
            if self.bitmap[usize::from(slot >> 6)] >> (slot & 63) & 1 != 0
                && let Some(found) = self.groups.get(&group)
            {
                triggers.set(*found);
            }
        }
    }
}

#[inline]
fn slot(group: u32) -> u16 {
    (group.wrapping_mul(0x9e37_79b1) >> 16) as u16
}

/// Counted in blocks of at most 255 bytes, so that the compiler can count many bytes at once in byte lanes.
#[inline]
fn has_digits(bytes: &[u8], least: usize) -> bool {
    let mut digits = 0;
    for block in bytes.chunks(255) {
        digits += usize::from(block.iter().map(|b| u8::from(b.is_ascii_digit())).sum::<u8>());
        if digits >= least {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ordinary log lines of a few words trigger nothing, so they never reach a recogniser.
    #[test]
    fn clean_texts_trigger_nothing() {
        let filter = Prefilter::new();
        for text in
            ["order placed", "GET /api/v1/orders/:id", "connection refused: payments:8080", "", "a", "decimal overflow"]
        {
            assert!(filter.triggers(text.as_bytes()).is_empty(), "{text}");
        }
    }

    /// Each keyword triggers whatever the case of its letters.
    #[test]
    fn keywords_trigger_in_any_case() {
        let filter = Prefilter::new();
        for text in [
            "PASSWORD=x",
            "Api-Key: x",
            "ACCESS_TOKEN",
            "Set-Cookie: a=b",
            "authorization",
            "?sig=",
            "jwt=a",
            "auth=a",
            "DB_PASS = x",
        ] {
            assert!(filter.triggers(text.as_bytes()).has(Triggers::KEYWORD), "{text}");
        }
        assert!(filter.triggers(b"-----BEGIN RSA PRIVATE KEY-----").has(Triggers::PEM));
        assert!(filter.triggers(b"eyJhbGciOi").has(Triggers::JWT));
        assert!(filter.triggers(b"123456789012").has(Triggers::DIGITS));
        assert!(filter.triggers(b"phone 1234567").has(Triggers::DIGITS));
        assert!(!filter.triggers(b"place 1234567").has(Triggers::DIGITS));
    }
}

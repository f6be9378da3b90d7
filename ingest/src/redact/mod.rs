//! Redaction: what must not be stored is masked, hashed or left out before any row is built.
//!
//! Three kinds of input, three entries: free text ([`Redactor::redact_text`]), attribute values by the rule of their
//! name ([`Redactor::attribute_rule`], [`Redactor::redact_value`], [`Redactor::redact_json_text`] for nested ones),
//! and payloads, of which only a [`PayloadSummary`] is kept ([`Redactor::summarize_payload`]).
//! Masks carry the class of what they replace (`<email>`); redacting a redacted text changes nothing.

mod attributes;
mod class;
mod config;
mod decode;
mod error;
mod json_text;
mod json_tokens;
mod keyed_hash;
mod names;
mod payload_shape;
mod prefilter;
mod recognise;
mod scan;

#[cfg(test)]
pub(crate) mod corpus;
#[cfg(test)]
mod forms_test;
#[cfg(test)]
mod property_test;

use std::borrow::Cow;

use regex::bytes::{Regex, RegexBuilder};

pub use attributes::AttributeRule;
pub use class::{Class, RedactionCounts};
pub use config::{PayloadConfig, Policy, RedactionConfig};
pub use error::RedactError;
pub(crate) use names::end_of_name;
pub use payload_shape::PayloadSummary;

use attributes::AttributeRules;
use keyed_hash::KeyedHash;
use payload_shape::PayloadRules;
use scan::Scanner;

/// Version of what the policies find and how they mask it; stored with the data. Raised with every change of either.
pub const POLICY_VERSION: u32 = 1;

/// Shortest key in bytes: 128 bits, the strength of the tokens.
const MIN_KEY_BYTES: usize = 16;

/// Compiled size of one deny pattern, in bytes.
const DENY_PATTERN_BYTES: usize = 1 << 20;

/// A compiled redaction policy. `Send + Sync`; share it behind an `Arc`.
pub struct Redactor {
    policy: Policy,
    scanner: Scanner,
    attributes: AttributeRules,
    hash: KeyedHash,
    /// Those of the previous keys, in the order of the configuration.
    previous: Vec<KeyedHash>,
    payload: PayloadRules,
}

/// Bytes of an option's name.
const MAX_OPTION: usize = 64;

impl Redactor {
    /// Compiles a configuration.
    ///
    /// # Errors
    /// A key that is missing or short although the policy makes tokens, a short previous key, a deny pattern that is no
    /// regular expression, a sample field that is no JSON pointer.
    pub fn new(redaction: &RedactionConfig, payload: &PayloadConfig) -> Result<Self, RedactError> {
        let key = redaction.key.trim().as_bytes();
        if redaction.policy != Policy::Off {
            match key.len() {
                0 => return Err(RedactError::MissingKey),
                length if length < MIN_KEY_BYTES => {
                    return Err(RedactError::ShortKey { length, minimum: MIN_KEY_BYTES });
                }
                _ => {}
            }
        }
        let previous = redaction.previous_keys.iter().enumerate().map(|(index, key)| previous_key(index, key));
        let previous = previous.collect::<Result<Vec<_>, _>>()?;
        let deny = compile_deny_patterns(&redaction.deny_patterns)?;
        let scanner = Scanner::new(deny.clone(), redaction.ip_addresses)
            .map_err(|error| RedactError::Recognisers(error.to_string()))?;
        Ok(Self {
            policy: redaction.policy,
            scanner,
            attributes: AttributeRules::new(redaction, payload, deny),
            hash: KeyedHash::new(key),
            previous,
            payload: PayloadRules::new(payload)?,
        })
    }

    /// `standard`, `strict` or `off`: what is stored with the data next to [`POLICY_VERSION`].
    pub fn policy_name(&self) -> &'static str {
        self.policy.name()
    }

    /// Names the key in tokens (`hmac:<key id>:...`) without telling anything about it; `None` if none are made.
    pub fn key_id(&self) -> Option<&str> {
        (!self.is_off()).then(|| self.hash.key_id())
    }

    /// The same of the keys that tokens were made with before.
    pub fn previous_key_ids(&self) -> Vec<&str> {
        self.previous.iter().map(KeyedHash::key_id).collect()
    }

    /// The tokens that stand for an identifier in a tenant's rows: that of the current key, then those of the previous
    /// keys. None if no tokens are made, or the identifier is one already.
    pub fn tokens(&self, tenant: &str, identifier: &str) -> Vec<String> {
        let current = (!self.is_off()).then_some(&self.hash);
        current.into_iter().chain(&self.previous).filter_map(|hash| hash.token(tenant, identifier)).collect()
    }

    /// A secret for hashes over what has not been redacted, which must not be found by trying: the same for the same
    /// key and purpose.
    pub(crate) fn secret(&self, purpose: &str) -> [u8; keyed_hash::SECRET_BYTES] {
        self.hash.secret(purpose)
    }

    fn is_off(&self) -> bool {
        self.policy == Policy::Off
    }

    /// Masks personal data and secrets in free text. A clean text is borrowed and costs one cheap pass.
    #[inline]
    pub fn redact_text<'a>(&self, text: &'a str, counts: &mut RedactionCounts) -> Cow<'a, str> {
        if self.is_off() {
            return Cow::Borrowed(text);
        }
        self.scanner.redact(text, counts).map_or(Cow::Borrowed(text), Cow::Owned)
    }

    /// Masks personal data and secrets in the name of an attribute, a map entry or the like. Deny patterns are left out:
    /// where one matches a name, [`Self::attribute_rule`] has the value masked, and the name says of what.
    pub fn redact_name<'a>(&self, name: &'a str, counts: &mut RedactionCounts) -> Cow<'a, str> {
        if self.is_off() {
            return Cow::Borrowed(name);
        }
        self.scanner.redact_name(name, counts).map_or(Cow::Borrowed(name), Cow::Owned)
    }

    /// What is done with the values of the attribute `key`. Cache it per distinct name: it is slower than a scan.
    pub fn attribute_rule(&self, key: &str) -> AttributeRule {
        self.attributes.rule(key, false)
    }

    /// The same on the span of a server, whose peer is the client.
    pub fn server_attribute_rule(&self, key: &str) -> AttributeRule {
        self.attributes.rule(key, true)
    }

    /// The rule of what follows an argument of a command in a list of them, if the argument is an option that names a
    /// secret: `--db-password`.
    pub(crate) fn rule_behind_option(&self, argument: &str) -> Option<AttributeRule> {
        let name = argument.strip_prefix("--").filter(|name| name.len() <= MAX_OPTION && !name.contains(['=', ' ']))?;
        let rule = self.attributes.remembered_rule(name);
        matches!(rule, AttributeRule::Secret(_) | AttributeRule::DenyMask).then_some(rule)
    }

    /// Applies a rule to the text of a value; the result is owned exactly if it differs. Dropped attributes give an empty text and should not be stored at all.
    pub fn redact_value<'a>(
        &self,
        tenant: &str,
        rule: AttributeRule,
        text: &'a str,
        counts: &mut RedactionCounts,
    ) -> Cow<'a, str> {
        let mask = |class: Class, counts: &mut RedactionCounts| {
            if text.is_empty() || text == class.mask() {
                return Cow::Borrowed(text);
            }
            counts.add(class);
            Cow::Owned(class.mask().to_owned())
        };
        match rule {
            AttributeRule::Pass => Cow::Borrowed(text),
            AttributeRule::Suspect(class) if names::looks_secret(text.as_bytes()) => mask(class, counts),
            AttributeRule::RecordId if is_number(text) => {
                self.scanner.redact_number(text, counts).map_or(Cow::Borrowed(text), Cow::Owned)
            }
            AttributeRule::Scan | AttributeRule::Suspect(_) | AttributeRule::RecordId if is_like_json(text) => {
                self.redact_json_value(tenant, text, counts)
            }
            AttributeRule::Scan | AttributeRule::Suspect(_) | AttributeRule::RecordId => self.redact_text(text, counts),
            AttributeRule::Secret(class) => mask(class, counts),
            AttributeRule::DenyMask => mask(Class::Denied, counts),
            AttributeRule::Payload => mask(Class::Payload, counts),
            AttributeRule::Drop => {
                counts.add(Class::Dropped);
                Cow::Owned(String::new())
            }
            AttributeRule::Identifier if text.is_empty() => Cow::Borrowed(text),
            AttributeRule::Identifier => match self.hash.token(tenant, text) {
                Some(token) => {
                    counts.add(Class::Identifier);
                    Cow::Owned(token)
                }
                None => Cow::Borrowed(text),
            },
        }
    }

    /// Whether an integer value has as many digits as a payment card, so that its decimal text must be redacted too.
    #[inline]
    pub fn int_needs_scan(value: i64) -> bool {
        // Card numbers start at 30...; everything below 3 * 10^12 with 13 digits is a time in milliseconds.
        value >= 3_000_000_000_000
    }

    /// What is kept of a payload: its shape, a redacted sample, and the names of what was left out.
    /// `content_type` is the value of the header, empty where it is not known.
    pub fn summarize_payload(&self, content_type: &str, text: &str) -> PayloadSummary {
        self.payload.summarize(self, content_type, text)
    }
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor")
            .field("policy", &self.policy)
            .field("key_id", &self.hash.key_id())
            .finish_non_exhaustive()
    }
}

/// Whether a text may be a JSON object or list, by its first character.
#[inline]
fn is_like_json(text: &str) -> bool {
    matches!(text.bytes().find(|byte| !byte.is_ascii_whitespace()), Some(b'{' | b'['))
}

/// The tokens of a key that was the lake's before.
fn previous_key(index: usize, key: &str) -> Result<KeyedHash, RedactError> {
    let key = key.trim().as_bytes();
    if key.len() < MIN_KEY_BYTES {
        return Err(RedactError::ShortPreviousKey { index, length: key.len(), minimum: MIN_KEY_BYTES });
    }
    Ok(KeyedHash::new(key))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn compile_deny_patterns(patterns: &[String]) -> Result<Vec<Regex>, RedactError> {
    let compile = |(index, pattern): (usize, &String)| {
        RegexBuilder::new(pattern)
            .size_limit(DENY_PATTERN_BYTES)
            .build()
            .map_err(|error| RedactError::DenyPattern { index, reason: error.to_string().replace('\n', " ") })
    };
    patterns.iter().enumerate().map(compile).collect()
}

//! The `[redaction]` and `[payload]` sections of the configuration.

use std::fmt;

use serde::Deserialize;

/// How much is redacted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Recognised personal data and secrets are masked, identifiers become keyed tokens.
    #[default]
    Standard,
    /// As standard, and attributes that are not allowed by name are left out.
    Strict,
    /// Nothing is redacted. Payloads are still kept as their shape only.
    Off,
}

impl Policy {
    /// The name as it stands in the configuration and with the data.
    pub const fn name(self) -> &'static str {
        match self {
            Policy::Standard => "standard",
            Policy::Strict => "strict",
            Policy::Off => "off",
        }
    }
}

/// The `[redaction]` section. Its `Debug` form never shows a key.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedactionConfig {
    /// How much is redacted.
    pub policy: Policy,
    /// Names of attributes whose values become `hmac:` tokens, in their current OpenTelemetry spelling;
    /// the older names of the same attributes and names that end in them are covered too.
    pub identifiers: Vec<String>,
    /// The secret from which every tenant's key is derived; at least 16 bytes.
    pub key: String,
    /// Keys that tokens were made with before. A worker may put `key` in the place of any of them in a lake.
    pub previous_keys: Vec<String>,
    /// Names of the attributes that the strict policy keeps; a name may end in `*`.
    pub allow_attributes: Vec<String>,
    /// Regular expressions. What they match in a text is masked; a value whose key they match is masked whole.
    pub deny_patterns: Vec<String>,
    /// Whether IP addresses in texts are masked. Off by default: most of them are addresses of machines.
    pub ip_addresses: bool,
}

impl Default for RedactionConfig {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            identifiers: ["user.id", "enduser.id", "user.email", "session.id", "client.address"]
                .map(String::from)
                .to_vec(),
            key: String::new(),
            previous_keys: Vec::new(),
            allow_attributes: Vec::new(),
            deny_patterns: Vec::new(),
            ip_addresses: false,
        }
    }
}

impl fmt::Debug for RedactionConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedactionConfig")
            .field("policy", &self.policy)
            .field("identifiers", &self.identifiers)
            .field("key", &if self.key.is_empty() { "unset" } else { "set" })
            .field("previous_keys", &self.previous_keys.len())
            .field("allow_attributes", &self.allow_attributes)
            .field("deny_patterns", &self.deny_patterns)
            .field("ip_addresses", &self.ip_addresses)
            .finish()
    }
}

/// The `[payload]` section.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PayloadConfig {
    /// Attributes of spans and logs that carry a payload.
    pub attributes: Vec<String>,
    /// Content types that are parsed; of others only type and size are kept.
    pub content_types: Vec<String>,
    /// JSON pointers of fields whose strings may stand in a sample.
    pub sample_fields: Vec<String>,
}

impl Default for PayloadConfig {
    fn default() -> Self {
        Self {
            attributes: ["http.request.body.content", "http.response.body.content"].map(String::from).to_vec(),
            content_types: ["application/json", "application/x-www-form-urlencoded"].map(String::from).to_vec(),
            sample_fields: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The defaults are those of the documented configuration, and an unknown key is refused.
    #[test]
    fn defaults_and_unknown_keys() {
        let config: RedactionConfig = serde_json::from_str("{}").unwrap();
        assert_eq!(config, RedactionConfig::default());
        assert_eq!(config.policy, Policy::Standard);
        assert!(!config.ip_addresses);
        assert!(serde_json::from_str::<RedactionConfig>(r#"{"polcy":"off"}"#).is_err());
        assert!(serde_json::from_str::<RedactionConfig>(r#"{"policy":"none"}"#).is_err());
        assert!(serde_json::from_str::<PayloadConfig>(r#"{"attribute":[]}"#).is_err());
    }

    /// The key is a secret: printing the configuration says only whether it is set.
    #[test]
    fn debug_hides_the_key() {
        let previous_keys = vec!["a battery of horses".into()];
        let config = RedactionConfig { key: "correct horse battery".into(), previous_keys, ..Default::default() };
        let shown = format!("{config:?}");
        assert!(!shown.contains("horse"), "{shown}");
        assert!(shown.contains("\"set\""), "{shown}");
    }
}

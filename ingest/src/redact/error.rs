//! What can be wrong with a redaction configuration.

/// A redaction configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RedactError {
    /// No key, although the policy needs one.
    #[error(
        "redaction.key is empty; make one with `head -c 32 /dev/urandom | base64 > hmac.key` and set \
         key = \"${{file:/path/to/hmac.key}}\", or set redaction.policy = \"off\""
    )]
    MissingKey,
    /// A key that is too short to resist guessing.
    #[error("redaction.key has {length} bytes; give at least {minimum}, e.g. from `head -c 32 /dev/urandom | base64`")]
    ShortKey {
        /// Bytes given.
        length: usize,
        /// Bytes needed.
        minimum: usize,
    },
    /// A previous key that is too short to have been one.
    #[error(
        "redaction.previous_keys[{index}] has {length} bytes, and a key has at least {minimum}; correct or remove it"
    )]
    ShortPreviousKey {
        /// Position in the list.
        index: usize,
        /// Bytes given.
        length: usize,
        /// Bytes needed.
        minimum: usize,
    },
    /// A deny pattern that is no regular expression.
    #[error("redaction.deny_patterns[{index}] is not a regular expression ({reason}); correct or remove it")]
    DenyPattern {
        /// Position in the list.
        index: usize,
        /// What the parser says.
        reason: String,
    },
    /// A sample field that is no JSON pointer.
    #[error("payload.sample_fields[{index}] is not a JSON pointer; write it as \"/field\" or \"/outer/inner\"")]
    SampleField {
        /// Position in the list.
        index: usize,
    },
    /// The built-in tables could not be compiled.
    #[error("the built-in recognisers could not be built ({0}); report this as a defect")]
    Recognisers(String),
}

//! Why a message could not be decoded.

use arrow::error::ArrowError;

use super::wire::WireError;
use super::{Encoding, Signal};

/// What a message may be that is none of those expected.
const OTHER: &str = "another signal or encoding";

/// A message that cannot be decoded. It has left no rows.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are no protobuf, or no protobuf of that message.
    #[error("not an {} in otlp_proto: {error}; does the topic hold {hint}?", signal.request())]
    Proto {
        /// What was expected.
        signal: Signal,
        /// What is wrong.
        error: WireError,
        /// What else it may be.
        hint: &'static str,
    },
    /// The text is no JSON, or no OTLP/JSON of that message.
    #[error("not an {} in otlp_json: {reason}; does the topic hold {hint}?", signal.request())]
    Json {
        /// What was expected.
        signal: Signal,
        /// What is wrong and where.
        reason: String,
        /// What else it may be.
        hint: &'static str,
    },
    /// The bytes can be read, but say nothing as that message.
    #[error("not an {}: {reason}; does the topic hold another signal or encoding?", signal.request())]
    Foreign {
        /// What was expected.
        signal: Signal,
        /// What is missing.
        reason: &'static str,
    },
    /// The message, what its points repeat of it, or what its rows take is larger than any that is taken.
    #[error("the message takes {bytes} bytes; at most {limit} are taken: lower the sender's batch size")]
    TooLarge {
        /// Its size, or what its points or rows had reached.
        bytes: usize,
        /// The greatest size.
        limit: usize,
    },
    /// The message has more records than any that is taken.
    #[error("the message has more than {limit} records: lower the sender's batch size")]
    TooManyRecords {
        /// The greatest number.
        limit: usize,
    },
    /// The rows could not be made a batch, which is a defect of the decoder.
    #[error("decoded rows do not fit their schema ({0}); report this as a defect")]
    Batch(#[from] ArrowError),
}

impl DecodeError {
    /// The class in one word, for counters and the reason of a dead letter.
    pub fn reason(&self) -> &'static str {
        match self {
            DecodeError::Proto { .. } | DecodeError::Json { .. } | DecodeError::Foreign { .. } => "decode",
            DecodeError::TooLarge { .. } | DecodeError::TooManyRecords { .. } => "too_large",
            DecodeError::Batch(_) => "defect",
        }
    }

    pub(super) fn proto(signal: Signal, encoding: Encoding, data: &[u8], error: WireError) -> Self {
        if encoding == Encoding::Json {
            // The place is one in the protobuf that was made of the text.
            return Self::misfit(signal, error.kind.to_string());
        }
        let is_text =
            data.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|byte| matches!(byte, b'{' | b'['));
        let hint = if is_text && encoding != Encoding::Auto { "otlp_json" } else { OTHER };
        DecodeError::Proto { signal, error, hint }
    }

    pub(super) fn json(signal: Signal, error: &serde_json::Error) -> Self {
        let hint = if error.is_data() { OTHER } else { "otlp_proto" };
        DecodeError::Json { signal, reason: error.to_string(), hint }
    }

    /// JSON that is good but does not fit the message.
    pub(super) fn misfit(signal: Signal, reason: String) -> Self {
        DecodeError::Json { signal, reason, hint: OTHER }
    }
}

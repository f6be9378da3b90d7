//! Failures in which somebody stopped waiting: time-outs and cancellations.
//!
//! Types, codes and the words of runtimes and drivers tell them. Who gave up is seldom who was slow (`slow`).

use super::causes::Cause;
use super::drafts::Draft;
use super::fingerprint::short_type;
use super::mask::clip;

/// Bytes of a message that are looked at.
const MAX_TEXT: usize = 2048;

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interruption {
    /// A time ran out.
    Timeout,
    /// Somebody else called it off.
    Cancellation,
}

impl Interruption {
    pub(super) fn name(self) -> &'static str {
        match self {
            Interruption::Timeout => "timeout",
            Interruption::Cancellation => "cancellation",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        [Interruption::Timeout, Interruption::Cancellation].into_iter().find(|kind| kind.name() == name)
    }
}

/// Parts of the names of types, in lower case.
const TIMEOUT_TYPES: &[&str] = &["timeout", "timedout", "deadlineexceeded"];
/// Whole names of types, in lower case: an `OrderCancelled` is the business of a shop.
const CANCELLATION_TYPES: &[&str] = &[
    "aborterror",
    "canceled",
    "cancelled",
    "cancelederror",
    "cancellederror",
    "cancellationexception",
    "cancellationerror",
    "operationcanceledexception",
    "taskcanceledexception",
    "jobcancellationexception",
];
/// Values of `error.type` and codes of answers, in lower case.
const TIMEOUT_CODES: &[&str] = &["timeout", "deadline_exceeded", "408", "504", "etimedout", "esockettimedout"];
const CANCELLATION_CODES: &[&str] = &["cancelled", "canceled", "499"];
/// What each of [`TIMEOUT_WORDS`] and [`CANCELLATION_WORDS`] has one of: most messages have none, and need no other look.
const STEMS: &[&str] = &["time", "deadline", "cancel", "abort"];
/// Words of messages, in lower case. `invalid timeout` is none.
const TIMEOUT_WORDS: &[&str] = &[
    "timed out",
    "timedout",
    "time-out",
    "time limit exceeded",
    "deadline exceeded",
    "deadline_exceeded",
    "deadlineexceeded",
    "timeout expired",
    "timeout exceeded",
    "timeout period elapsed",
    "timeout of ",
    "timeout after",
    "timeout waiting",
    "timeout while",
    "timeout when",
    "due to timeout",
    "httpclient.timeout",
    "i/o timeout",
    "statement timeout",
    "lock wait timeout",
    "connect timeout",
    "connection timeout",
    "gateway timeout",
    "pool timeout",
    "read timeout",
    "request timeout",
    "socket timeout",
    "write timeout",
];
const CANCELLATION_WORDS: &[&str] = &[
    "context canceled",
    "context cancelled",
    "code = canceled",
    "operation was cancel",
    "operation was aborted",
    "task was cancel",
    "request was cancel",
    "request was aborted",
    "call was cancel",
    "user aborted a request",
    "canceling statement due to user request",
];

/// Whether somebody stopped waiting, and how. A cancellation because of a time-out is a time-out.
pub(super) fn of(draft: &Draft<'_>, causes: &[Cause<'_>]) -> Option<Interruption> {
    let types =
        draft.exception_type.as_deref().into_iter().chain(causes.iter().filter_map(|cause| cause.exception_type));
    let mut types: Vec<String> = types.map(|name| short_type(name).to_ascii_lowercase()).collect();
    let code = draft.error_type.as_deref().map(|code| short_type(code).to_ascii_lowercase()).unwrap_or_default();
    // `error.type` may be the name of a type as well.
    types.push(code.clone());
    let message = clip(&draft.message, MAX_TEXT).to_ascii_lowercase();
    let has_type = |names: &[&str]| types.iter().any(|found| names.iter().any(|name| found.contains(name)));
    let contains_one = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let may_tell = contains_one(STEMS);
    let has_words = |words: &[&str]| may_tell && contains_one(words);
    if has_type(TIMEOUT_TYPES) || TIMEOUT_CODES.contains(&code.as_str()) || has_words(TIMEOUT_WORDS) {
        return Some(Interruption::Timeout);
    }
    let is_called_off = types.iter().any(|name| CANCELLATION_TYPES.contains(&name.as_str()))
        || CANCELLATION_CODES.contains(&code.as_str())
        || has_words(CANCELLATION_WORDS);
    is_called_off.then_some(Interruption::Cancellation)
}

/// Whether a time-out is that of a deadline which the caller handed down, as gRPC and Go do: the time may have been spent
/// before this call.
pub(super) fn is_deadline(draft: &Draft<'_>) -> bool {
    let says = |text: &str| {
        let text = clip(text, MAX_TEXT).to_ascii_lowercase();
        text.contains("deadline exceeded") || text.contains("deadline_exceeded") || text.contains("deadlineexceeded")
    };
    says(&draft.message)
        || draft.error_type.as_deref().is_some_and(says)
        || draft.exception_type.as_deref().is_some_and(says)
}

#[cfg(test)]
mod tests {
    use super::{CANCELLATION_WORDS, STEMS, TIMEOUT_WORDS};

    /// A message is looked through only if it has a stem, so that each of the words needs to have one.
    #[test]
    fn every_word_has_a_stem() {
        for word in TIMEOUT_WORDS.iter().chain(CANCELLATION_WORDS) {
            assert!(STEMS.iter().any(|stem| word.contains(stem)), "{word}");
        }
    }
}

//! The identity of a failure: what stays the same each time it happens.
//!
//! In this order, the first that applies:
//! 1. a fingerprint that the program states in an attribute;
//! 2. exception type and in-app frames (function and file, never lines), with the masked message where
//!    the type or the place says little;
//! 3. exception type and masked message, with the span path where the message is short;
//! 4. span path, error type and masked message; a log message of several words stands for itself.
//!
//! A second hash takes all frames in place of those of the application ([`Fingerprint::all_frames`]): a release that
//! moves code into a library, or rules about what belongs to the application, change the first and not the second.
//!
//! The service is always part of it, so failures of two services never share a fingerprint. The span
//! path here begins at the service's own first span: who called, and whether the caller's spans have
//! arrived, does not matter. In doubt two groups are better than one wrong one.

use std::borrow::Cow;
use std::rc::Rc;

use sha2::{Digest, Sha256};

use super::frames::{FrameKeys, Language, StackTrace};
use super::mask::clip;

/// The version of the rules below together with those of masking and frames. Who counts it up leaves `STATED_VERSION`
/// alone: incidents go on under their new numbers by [`crate::successors`].
pub const FINGERPRINT_VERSION: i32 = 1;

/// The version in the hash of a stated fingerprint, for ever: what a program states does not depend on the rules here.
const STATED_VERSION: i32 = 1;

const MAX_TEXT: usize = 1000;
const MAX_TITLE: usize = 200;

/// Types of errors that programs raise with any text: such a type never groups without its message.
/// Go's are wrappers that the errors of a whole program share.
const GENERIC_TYPES: &[&str] = &[
    "*errors.errorString",
    "*errors.joinError",
    "*fmt.wrapError",
    "*fmt.wrapErrors",
    "*errors.withStack",
    "*errors.withMessage",
    "*errors.fundamental",
    "*status.Error",
    "*url.Error",
    "panic",
    "Error",
    "Exception",
    "BaseException",
    "RuntimeError",
    "StandardError",
    "ValueError",
    "TypeError",
    "AssertionError",
    "ArgumentError",
    "ErrorException",
    "LogicException",
    "RuntimeException",
    "InvalidArgumentException",
    "InvalidOperationException",
    "ArgumentException",
    "ApplicationException",
    "IllegalStateException",
    "IllegalArgumentException",
    "Throwable",
    "AggregateException",
    "HTTPException",
];

/// The numbers that the rules go by, and their version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grouping {
    /// Part of every fingerprint that no program states.
    pub version: i32,
    /// Frames and causes that take part.
    pub max_keys: usize,
    /// A message of fewer words than this says too little to stand without a place.
    pub telling_words: usize,
}

impl Default for Grouping {
    fn default() -> Self {
        Self { version: FINGERPRINT_VERSION, max_keys: 32, telling_words: 4 }
    }
}

/// What is known of one failure.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The failing service.
    pub service: &'a str,
    /// The name and value of an attribute that states a fingerprint.
    pub stated: Option<(&'a str, &'a str)>,
    /// The type of the exception, if it is one.
    pub exception_type: Option<&'a str>,
    /// The message after masking, empty if there is none.
    pub masked: &'a str,
    /// The stack trace, parsed.
    pub stack: &'a StackTrace,
    /// The masked names of the service's spans down to the failing one.
    pub local_path: &'a str,
    /// `error.type`, else a status code.
    pub error_type: Option<&'a str>,
    /// Whether this is a log record without an exception.
    pub is_log: bool,
}

/// A fingerprint and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// 32 hexadecimal digits.
    pub id: String,
    /// The same over all frames of the stack, also of libraries; `id` where there is no stack, or one is stated.
    pub all_frames: String,
    /// What grouped, in words.
    pub grouped_by: String,
}

/// How [`Fingerprint::grouped_by`] begins where a program states the fingerprint.
pub(super) const STATED: &str = "fingerprint stated in ";

/// The fingerprint of a failure; `frame_keys` serves many of them.
#[must_use]
pub fn fingerprint(evidence: &Evidence<'_>, rules: &Grouping, frame_keys: &mut FrameKeys) -> Fingerprint {
    let keys = match (evidence.stated, evidence.exception_type) {
        (None, Some(_)) => stack_keys(evidence.stack, rules.max_keys, frame_keys),
        _ => Keys::default(),
    };
    let (id, grouped_by) = grouped(evidence, &keys.in_app, rules);
    let all_frames = over_all_frames(evidence, &keys.all, rules).unwrap_or_else(|| id.clone());
    Fingerprint { id, all_frames, grouped_by }
}

/// The fingerprint, and what it was made of.
fn grouped(evidence: &Evidence<'_>, keys: &[Rc<str>], rules: &Grouping) -> (String, String) {
    let Evidence { service, masked, local_path, .. } = *evidence;
    if let Some((name, value)) = evidence.stated {
        return (digest(STATED_VERSION, service, "stated", &[value]), format!("{STATED}{name}"));
    }
    let digest = |service: &str, rule: &str, parts: &[&str]| digest(rules.version, service, rule, parts);
    if let Some(exception_type) = evidence.exception_type {
        let count = keys.iter().filter(|key| key.contains('@')).count();
        if count > 0 {
            let mut parts: Vec<&str> = vec![exception_type];
            parts.extend(keys.iter().map(Rc::as_ref));
            let frames = if count == 1 { "1 in-app frame".to_owned() } else { format!("{count} in-app frames") };
            if !needs_message(exception_type, evidence.stack) {
                return (digest(service, "frames", &parts), format!("exception type and {frames}"));
            }
            parts.push(masked);
            let grouped_by = format!("exception type, {frames} and masked message");
            return (digest(service, "frames and message", &parts), grouped_by);
        }
        if telling_words(masked) >= rules.telling_words {
            let id = digest(service, "message", &[exception_type, masked]);
            return (id, "exception type and masked message".to_owned());
        }
        let id = digest(service, "message and path", &[exception_type, masked, local_path]);
        let grouped_by = match (masked.is_empty(), local_path.is_empty()) {
            (true, true) => "exception type",
            (true, false) => "exception type and span path",
            (false, true) => "exception type and masked message",
            (false, false) => "exception type, masked message and span path",
        };
        return (id, grouped_by.to_owned());
    }
    if evidence.is_log && (local_path.is_empty() || telling_words(masked) >= rules.telling_words) {
        return (digest(service, "log", &[masked]), "masked log message".to_owned());
    }
    let error_type = evidence.error_type.unwrap_or_default();
    let mut named = vec!["span path"];
    named.extend((!error_type.is_empty()).then_some("error type"));
    named.extend((!masked.is_empty()).then_some("masked message"));
    let grouped_by = match named.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => named.concat(),
    };
    (digest(service, "path", &[local_path, error_type, masked]), grouped_by)
}

/// The hash over exception type and all frames, with the message where type and place say little.
fn over_all_frames(evidence: &Evidence<'_>, keys: &[Rc<str>], rules: &Grouping) -> Option<String> {
    let exception_type = evidence.exception_type.filter(|_| evidence.stated.is_none())?;
    if !keys.iter().any(|key| key.contains('@')) {
        return None;
    }
    let mut parts: Vec<&str> = vec![exception_type];
    parts.extend(keys.iter().map(Rc::as_ref));
    if needs_message(exception_type, evidence.stack) {
        parts.push(evidence.masked);
    }
    Some(digest(rules.version, evidence.service, "all frames", &parts))
}

/// Types that say little, and all of Go: its stack is that of the call that recorded the error, not of
/// the place where it arose.
fn needs_message(exception_type: &str, stack: &StackTrace) -> bool {
    stack.language == Some(Language::Go)
        || GENERIC_TYPES.contains(&short_type(exception_type))
        || GENERIC_TYPES.contains(&exception_type)
}

/// The last part of a qualified type: `httpx.ConnectError` and `ConnectError` are one.
#[must_use]
pub fn short_type(exception_type: &str) -> &str {
    exception_type.rsplit(['.', ':', '\\', '/', '$']).next().unwrap_or(exception_type)
}

/// What of a stack takes part: the types of the causes, and the keys of the frames. A recursion counts once.
#[derive(Default)]
struct Keys {
    /// With the frames of the application.
    in_app: Vec<Rc<str>>,
    /// With all frames.
    all: Vec<Rc<str>>,
}

/// The keys of a stack, so many of each at most. The key of a frame is made once for both.
fn stack_keys(stack: &StackTrace, max_keys: usize, frame_keys: &mut FrameKeys) -> Keys {
    let mut keys = Keys::default();
    let Some(language) = stack.language else { return keys };
    for (index, section) in stack.sections.iter().enumerate() {
        // A cause that a Rust error lists has neither type nor frames; what it says is in the message.
        if index > 0 && (section.exception_type.is_some() || !section.frames.is_empty()) {
            let cause: Rc<str> = format!("cause {}", section.exception_type.as_deref().unwrap_or_default()).into();
            for list in [&mut keys.in_app, &mut keys.all].into_iter().filter(|list| list.len() < max_keys) {
                list.push(Rc::clone(&cause));
            }
        }
        for frame in &section.frames {
            let in_app = frame.in_app && keys.in_app.len() < max_keys;
            let all = keys.all.len() < max_keys;
            if !in_app && !all {
                continue;
            }
            let key = frame_keys.of(frame, language);
            for (takes_part, list) in [(in_app, &mut keys.in_app), (all, &mut keys.all)] {
                if takes_part && list.last() != Some(&key) {
                    list.push(Rc::clone(&key));
                }
            }
        }
    }
    keys
}

/// Words of two letters and more outside placeholders.
fn telling_words(masked: &str) -> usize {
    masked
        .split(|letter: char| !(letter.is_alphanumeric() || matches!(letter, '<' | '>' | '_')))
        .filter(|word| !word.starts_with('<') && word.chars().filter(|letter| letter.is_alphabetic()).count() >= 2)
        .count()
}

/// The first 16 bytes of a SHA-256 over the version and the parts, each with its length before it.
fn digest(version: i32, service: &str, rule: &str, parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(version.to_le_bytes());
    for part in [service, rule].iter().chain(parts) {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    short_hex(&hasher.finalize().into())
}

/// The first 16 bytes of a SHA-256 in hexadecimal digits.
pub(super) fn short_hex(hash: &[u8; 32]) -> String {
    let (first, _) = hash.split_first_chunk().unwrap_or((&[0; 16], &[]));
    format!("{:032x}", u128::from_be_bytes(*first))
}

/// What is embedded of a failure: its headline and the innermost in-app function.
#[must_use]
pub fn text_for_embedding(headline: String, stack: &StackTrace) -> String {
    let mut text = headline;
    if let Some(function) = stack.frames().filter(|frame| frame.in_app).find_map(|frame| frame.function.as_deref()) {
        text.push_str(" at ");
        text.push_str(function);
    }
    text.truncate(clip(&text, MAX_TEXT).len());
    text
}

/// How an incident is headed in lists.
#[must_use]
pub fn title(headline: &str) -> String {
    clip(headline, MAX_TITLE).to_owned()
}

/// Type and masked message of a failure; `place` stands for the message where there is none.
#[must_use]
pub fn headline(exception_type: Option<&str>, masked: &str, place: &str) -> String {
    let message = without_log_prefix(masked);
    match (exception_type, message.as_ref()) {
        (Some(exception_type), "") => [exception_type, " in ", place].concat(),
        (Some(exception_type), message) => [exception_type, ": ", message].concat(),
        (None, "") => place.to_owned(),
        (None, message) => message.to_owned(),
    }
}

/// A masked log line without time, level and trace ids: they say nothing about the failure.
fn without_log_prefix(masked: &str) -> Cow<'_, str> {
    const LEVELS: &[&str] = &["ERROR", "FATAL", "CRITICAL", "SEVERE", "[ERROR]", "[FATAL]", "error", "level=error"];
    let mut rest = masked;
    loop {
        let word = rest.split(' ').next().unwrap_or_default();
        let plain = word.trim_matches(['[', ']', ',', ':']);
        if word.is_empty() || !(plain == "<date>" || plain == "<time>" || LEVELS.contains(&plain)) {
            break;
        }
        rest = rest[word.len()..].trim_start();
    }
    // All that is taken out below has one of them.
    if !rest.contains("<hex>") && !rest.contains("<uuid>") {
        return Cow::Borrowed(rest.trim());
    }
    let mut text = rest.to_owned();
    for name in ["TraceID: ", "SpanID: ", "trace_id=", "span_id=", "trace_id: ", "span_id: ", "traceId=", "spanId="] {
        for value in ["<hex> ", "<uuid> ", "<hex>"] {
            text = text.replace(&format!("{name}{value}"), "");
        }
    }
    Cow::Owned(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::super::frames::{Frame, InAppRules, Section};
    use super::super::mask::mask;
    use super::*;

    fn of(service: &str, exception_type: Option<&str>, message: &str, stack: &str, path: &str) -> Fingerprint {
        let (masked, stack) = (mask(message), StackTrace::parse(stack, &InAppRules::default()));
        let evidence = Evidence {
            service,
            stated: None,
            exception_type,
            masked: &masked,
            stack: &stack,
            local_path: path,
            error_type: Some("500"),
            is_log: false,
        };
        fingerprint(&evidence, &Grouping::default(), &mut FrameKeys::default())
    }

    const STACK: &str = "PaymentFailed: x\n    at charge (/app/src/pay.js:12:5)\n    at run (/app/src/index.js:3:1)\n    at f (/app/node_modules/x/y.js:1:1)";

    /// A stated fingerprint wins over everything and says which attribute stated it.
    #[test]
    fn a_stated_fingerprint_wins() {
        let stack = StackTrace::parse(STACK, &InAppRules::default());
        let evidence = |message, stated| Evidence {
            service: "pay",
            stated,
            exception_type: Some("PaymentFailed"),
            masked: message,
            stack: &stack,
            local_path: "",
            error_type: None,
            is_log: false,
        };
        let rules = Grouping::default();
        let by = |evidence: &Evidence<'_>, rules: &Grouping| fingerprint(evidence, rules, &mut FrameKeys::default());
        let of = |message, value| by(&evidence(message, Some(("error.fingerprint", value))), &rules);
        let first = of("a", "db-down");
        assert_eq!(first, of("b", "db-down"));
        assert_ne!(first, of("a", "db-up"));
        assert_eq!(first.grouped_by, "fingerprint stated in error.fingerprint");
        // What a program states is the same in every version, and nothing else is.
        let next = Grouping { version: FINGERPRINT_VERSION + 1, ..rules };
        let stated = evidence("a", Some(("error.fingerprint", "db-down")));
        assert_eq!(first, by(&stated, &next));
        assert_ne!(by(&evidence("a", None), &rules).id, by(&evidence("a", None), &next).id);
    }

    /// Other lines, other ids in the message, another library version: the same failure.
    #[test]
    fn frames_group_over_lines_and_messages() {
        let first = of("pay", Some("PaymentFailed"), "order 7", STACK, "");
        let other = STACK.replace(":12:5", ":19:9").replace("node_modules/x/y", "node_modules/x/z");
        assert_eq!(first.id, of("pay", Some("PaymentFailed"), "order 8", &other, "").id);
        assert_eq!(first.grouped_by, "exception type and 2 in-app frames");
        assert_eq!(first.id.len(), 32);
    }

    /// What belongs to the application changes the first hash and not the second, which tells other libraries apart;
    /// without a stack both are one.
    #[test]
    fn the_second_hash_takes_all_frames() {
        let first = of("pay", Some("PaymentFailed"), "x", STACK, "");
        let moved = STACK.replace("/app/src/index.js", "/app/node_modules/pay/src/index.js");
        let moved = of("pay", Some("PaymentFailed"), "x", &moved, "");
        assert_ne!(first.id, moved.id);
        assert_eq!(first.all_frames, moved.all_frames);
        let other = of("pay", Some("PaymentFailed"), "x", &STACK.replace("at f (", "at g ("), "");
        assert_eq!(first.id, other.id);
        assert_ne!(first.all_frames, other.all_frames);
        let bare = of("pay", Some("PaymentFailed"), "cannot read the price list", "", "");
        assert_eq!(bare.id, bare.all_frames);
    }

    /// A type that programs raise with any text groups with its message only, frames or not.
    #[test]
    fn generic_types_need_their_message() {
        let first = of("pay", Some("Error"), "no price for 7", STACK, "");
        assert_eq!(first, of("pay", Some("Error"), "no price for 8", STACK, ""));
        assert_ne!(first.id, of("pay", Some("Error"), "no currency for 8", STACK, "").id);
        assert_eq!(first.grouped_by, "exception type, 2 in-app frames and masked message");
        for exception_type in ["*errors.errorString", "*fmt.wrapError"] {
            assert_ne!(
                of("pay", Some(exception_type), "cannot open the price list", "", "").id,
                of("pay", Some(exception_type), "cannot open the order list", "", "").id
            );
        }
    }

    /// Go's stack is that of the call that recorded the error: two errors recorded there stay two.
    #[test]
    fn go_frames_never_group_without_the_message() {
        let stack = "main.handle(0x1)\n\t/src/main.go:9 +0x1";
        let first = of("pay", Some("*net.OpError"), "dial tcp 10.0.0.1:5432: refused", stack, "");
        assert_eq!(first, of("pay", Some("*net.OpError"), "dial tcp 10.0.0.2:5432: refused", stack, ""));
        assert_ne!(first.id, of("pay", Some("*net.OpError"), "dial tcp 10.0.0.2:6379: refused", stack, "").id);
    }

    /// Without frames a telling message groups wherever it happens, a short one only at its place.
    #[test]
    fn short_messages_stay_at_their_place() {
        let telling = "cannot read the price list of shop 7";
        assert_eq!(of("pay", Some("A"), telling, "", "x"), of("pay", Some("A"), &telling.replace('7', "8"), "", "y"));
        assert_ne!(of("pay", Some("A"), "EOF", "", "x").id, of("pay", Some("A"), "EOF", "", "y").id);
    }

    /// Other services, types, messages, paths and causes are other failures.
    #[test]
    fn what_differs_stays_apart() {
        let base = of("pay", Some("A"), "cannot read the price list", "", "p");
        assert_ne!(base.id, of("cart", Some("A"), "cannot read the price list", "", "p").id);
        assert_ne!(base.id, of("pay", Some("B"), "cannot read the price list", "", "p").id);
        assert_ne!(base.id, of("pay", Some("A"), "cannot write the price list", "", "p").id);
        assert_ne!(of("pay", None, "", "", "p").id, of("pay", None, "", "", "q").id);
        let java = |cause: &str| {
            format!("a.A: x\n\tat org.shop.A.b(A.java:1)\nCaused by: {cause}: y\n\tat org.shop.C.d(C.java:1)")
        };
        assert_ne!(of("pay", Some("a.A"), "x", &java("a.B"), "").id, of("pay", Some("a.A"), "x", &java("a.C"), "").id);
        // Parts do not run into each other.
        assert_ne!(digest(1, "a", "b", &["cd", "e"]), digest(1, "a", "b", &["c", "de"]));
    }

    /// A span without exception groups by its path and status, and says so.
    #[test]
    fn spans_group_by_their_path() {
        let found = of("pay", None, "", "", "POST /charge > SELECT");
        assert_eq!(found.grouped_by, "span path and error type");
        assert_eq!(of("pay", None, "no row 7", "", "p").grouped_by, "span path, error type and masked message");
    }

    /// What is embedded has type, message and place, and nothing of a log line's prefix.
    #[test]
    fn embedded_text_is_free_of_prefixes() {
        let masked = mask(
            "19:53:25.432 ERROR e.s.ExecuteServiceImpl#51 TraceID: 94ff4acb1cca33957b729bff5cc490bd SpanID: 389339ec044f738e [ticketExecute][Order Status Wrong]",
        );
        let none = StackTrace::default();
        assert_eq!(
            text_for_embedding(headline(None, &masked, "x"), &none),
            "e.s.ExecuteServiceImpl#<num> [ticketExecute][Order Status Wrong]"
        );
        let stack = StackTrace::parse(STACK, &InAppRules::default());
        assert_eq!(text_for_embedding(headline(Some("E"), "order <num>", "x"), &stack), "E: order <num> at charge");
        assert_eq!(title(&headline(Some("E"), "", "POST /charge")), "E in POST /charge");
        assert_eq!(title(&headline(None, "", "POST /charge")), "POST /charge");
    }

    fn stack() -> impl Strategy<Value = StackTrace> {
        let frame = |(name, in_app)| Frame { function: Some(name), file: None, line: None, column: None, in_app };
        let frames = prop::collection::vec(("[ab]", any::<bool>()).prop_map(frame), 0..5);
        let section = |(exception_type, frames)| Section { exception_type, message: None, frames };
        let sections = prop::collection::vec((prop::option::of("[CD]"), frames).prop_map(section), 0..4);
        sections.prop_map(|sections| StackTrace { language: Some(Language::Python), sections, truncated: false })
    }

    /// The keys of the frames that take part, by a walk of their own.
    fn keys_alone(stack: &StackTrace, max_keys: usize, takes_part: fn(&Frame) -> bool) -> Vec<Rc<str>> {
        let mut keys: Vec<Rc<str>> = Vec::new();
        for (index, section) in stack.sections.iter().enumerate() {
            if index > 0 && (section.exception_type.is_some() || !section.frames.is_empty()) {
                keys.push(format!("cause {}", section.exception_type.as_deref().unwrap_or_default()).into());
            }
            for frame in section.frames.iter().filter(|frame| takes_part(frame)) {
                let key = FrameKeys::default().of(frame, Language::Python);
                if keys.last() != Some(&key) {
                    keys.push(key);
                }
            }
        }
        keys.truncate(max_keys);
        keys
    }

    proptest! {
        /// One walk for both lists of keys gives what a walk for each gives, cut at the same place.
        #[test]
        fn both_lists_of_keys_are_made_at_once(stack in stack(), max_keys in 1..8_usize) {
            let keys = stack_keys(&stack, max_keys, &mut FrameKeys::default());
            prop_assert_eq!(keys.in_app, keys_alone(&stack, max_keys, |frame| frame.in_app));
            prop_assert_eq!(keys.all, keys_alone(&stack, max_keys, |_| true));
        }
    }
}

//! What failures that say the same have in common. A fault fails many requests in one epoch, with the same message and
//! the same stack each time, so it is worked out once.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::rc::Rc;

use rustc_hash::{FxBuildHasher, FxHashMap};

use super::before::StoredFailures;
use super::causes;
use super::columns::text;
use super::drafts::{Draft, Kind};
use super::fingerprint::{Evidence, Fingerprint, Grouping, fingerprint, headline, text_for_embedding, title};
use super::frames::FrameKeys;
use super::interruption::{self, Interruption};
use super::mask::{clip, mask};
use super::topology::MaskedNames;

/// What follows from what a failure says.
pub(super) struct Identity {
    pub masked: String,
    pub fingerprint: Fingerprint,
    /// The masked names of the service's spans down to the failing one; empty without a span.
    pub local_path: String,
    /// Whether somebody stopped waiting.
    pub interruption: Option<Interruption>,
    /// The head of its incident.
    pub title: String,
    /// What is embedded.
    pub text: String,
}

impl Identity {
    fn of(draft: &Draft<'_>, local_path: &str, rules: &Grouping, frame_keys: &mut FrameKeys) -> Self {
        let masked = mask(&draft.message);
        let exception_type = draft.exception_type.as_deref();
        let evidence = Evidence {
            service: draft.service,
            stated: draft.stated,
            exception_type,
            masked: &masked,
            stack: &draft.stack,
            local_path,
            error_type: draft.error_type.as_deref(),
            is_log: draft.kind == Kind::Log,
        };
        let fingerprint = fingerprint(&evidence, rules, frame_keys);
        let headline = headline(exception_type, &masked, &place(draft, local_path));
        Identity {
            title: title(&headline),
            text: text_for_embedding(headline, &draft.stack),
            interruption: interruption::of(draft, &causes::of(draft)),
            local_path: local_path.to_owned(),
            masked,
            fingerprint,
        }
    }
}

impl Identity {
    /// What a stored row says that others are compared with. Nothing is worked out again: it stays what it was.
    pub(super) fn stored(stored: &StoredFailures<'_>, row: usize) -> Self {
        let owned = |found: Option<&str>| found.unwrap_or_default().to_owned();
        Identity {
            masked: owned(text(stored.message_masked, row)),
            fingerprint: Fingerprint {
                id: owned(text(stored.fingerprint, row)),
                all_frames: String::new(),
                grouped_by: String::new(),
            },
            local_path: String::new(),
            interruption: text(stored.interruption, row).and_then(Interruption::named),
            title: String::new(),
            text: String::new(),
        }
    }
}

/// All that [`Identity::of`] looks at; the parsed stack follows from the text of the stack trace.
#[derive(PartialEq, Eq, Hash)]
struct Said<'a> {
    kind: Kind,
    service: &'a str,
    stated: Option<(&'a str, &'a str)>,
    exception_type: Option<Cow<'a, str>>,
    message: Cow<'a, str>,
    stacktrace: Option<&'a str>,
    local_path: String,
    error_type: Option<Cow<'a, str>>,
}

/// The identities of one epoch's failures.
pub(super) struct Identities<'a> {
    rules: &'a Grouping,
    known: FxHashMap<Said<'a>, Rc<Identity>>,
    /// Those that paths are made of.
    pub names: MaskedNames<'a>,
    frame_keys: FrameKeys,
}

impl<'a> Identities<'a> {
    /// By these rules, of so many failures.
    pub(super) fn by(rules: &'a Grouping, failures: usize) -> Self {
        let known = FxHashMap::with_capacity_and_hasher(failures, FxBuildHasher);
        Self { rules, known, names: MaskedNames::default(), frame_keys: FrameKeys::default() }
    }

    /// The identity of a draft whose service's spans lead down to it by `local_path`.
    pub(super) fn of(&mut self, draft: &Draft<'a>, local_path: String) -> Rc<Identity> {
        let said = Said {
            kind: draft.kind,
            service: draft.service,
            stated: draft.stated,
            exception_type: draft.exception_type.clone(),
            message: draft.message.clone(),
            stacktrace: draft.stacktrace,
            local_path,
            error_type: draft.error_type.clone(),
        };
        match self.known.entry(said) {
            Entry::Occupied(known) => Rc::clone(known.get()),
            Entry::Vacant(new) => {
                let identity = Identity::of(draft, &new.key().local_path, self.rules, &mut self.frame_keys);
                Rc::clone(new.insert(Rc::new(identity)))
            }
        }
    }
}

/// Where it failed, in words, for failures without a message.
fn place(draft: &Draft<'_>, local_path: &str) -> String {
    let last = local_path.rsplit(" > ").next().filter(|name| !name.is_empty()).unwrap_or(draft.service);
    match (draft.kind, draft.error_type.as_deref()) {
        (Kind::SpanStatus, Some(error)) => clip(&format!("{error} in {last}"), 200).to_owned(),
        (Kind::SpanStatus, None) => clip(&format!("error in {last}"), 200).to_owned(),
        _ => clip(last, 200).to_owned(),
    }
}

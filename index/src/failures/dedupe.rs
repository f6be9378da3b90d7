//! One row for each distinct error of a trace.
//!
//! SDKs record one exception again on every span that it passes, as a log record beside the span
//! event, and as the status of all spans above it. What is told several times is kept once, at the
//! deepest span, with the best that any of the tellings has to offer. What is stored already is kept as it is, and what
//! tells of it again goes.

use std::borrow::Cow;
use std::cmp::Reverse;

use rustc_hash::{FxHashMap, FxHashSet};

use super::drafts::{Draft, Row};
use super::fingerprint::short_type;
use super::topology::Tree;

/// Exceptions of one service and type that another telling is compared with; for a log record those of its span, and
/// those of its service. One that it repeats word for word is found among any number.
const MAX_COMPARED: usize = 64;
/// Pieces of a log record's message that are looked up as the message of an exception.
const MAX_PIECES: usize = 32;
/// A message of fewer bytes is found in too many texts to recognise it there.
const MIN_REPEATED: usize = 8;

/// The distinct errors among the drafts of one trace: exceptions, then spans, then log records.
/// `is_ok(span)` says that a span states success, so what failed below it was handled there.
pub(super) fn distinct<'a>(drafts: Vec<Draft<'a>>, tree: &Tree<'a>, is_ok: impl Fn(usize) -> bool) -> Vec<Draft<'a>> {
    // Most failing traces fail in one place.
    if drafts.len() <= 1 {
        return drafts;
    }
    let mut by_kind: [Vec<Draft<'a>>; 3] = Default::default();
    for draft in drafts {
        by_kind[draft.kind as usize].push(draft);
    }
    let [mut exceptions, mut statuses, mut logs] = by_kind;
    for list in [&mut exceptions, &mut statuses, &mut logs] {
        sort(list, tree);
    }

    // A status is explained by anything at or below its span.
    let mut explained = vec![false; tree.rows.len()];
    let explain = |explained: &mut Vec<bool>, span: Option<usize>| {
        for at in span.into_iter().flat_map(|span| tree.upwards(span)) {
            if explained[at] || (is_ok(at) && Some(at) != span) {
                break;
            }
            explained[at] = true;
        }
    };
    for draft in exceptions.iter().chain(&logs) {
        explain(&mut explained, draft.span);
    }

    let mut kept = merge_exceptions(exceptions, tree);
    let exceptions = kept.len();
    for draft in statuses {
        if !draft.is_stored() && draft.span.is_some_and(|span| explained[span]) {
            continue;
        }
        explain(&mut explained, draft.span);
        kept.push(draft);
    }
    if logs.is_empty() {
        return kept;
    }
    let told = Told::by(&kept[..exceptions]);
    logs.retain(|log| log.is_stored() || !told.near(log).any(|exception| repeats(log, &kept[exception], tree)));
    kept.append(&mut logs);
    kept
}

/// Where the exceptions of a trace are that a log record may repeat: those with its words, of its span, of its service.
struct Told<'a> {
    by_words: FxHashMap<(&'a str, String), Vec<usize>>,
    by_span: FxHashMap<(&'a str, &'a str), Vec<usize>>,
    by_service: FxHashMap<&'a str, Vec<usize>>,
}

impl<'a> Told<'a> {
    fn by(exceptions: &[Draft<'a>]) -> Self {
        let mut told =
            Told { by_words: FxHashMap::default(), by_span: FxHashMap::default(), by_service: FxHashMap::default() };
        for (index, exception) in exceptions.iter().enumerate() {
            let service = exception.service;
            told.by_words.entry((service, exception.message.to_string())).or_default().push(index);
            if let Some(span_id) = exception.span_id {
                told.by_span.entry((service, span_id)).or_default().push(index);
            }
            told.by_service.entry(service).or_default().push(index);
        }
        told
    }

    /// The exceptions that a log record is compared with.
    fn near<'t>(&'t self, log: &'t Draft<'a>) -> impl Iterator<Item = usize> + 't {
        let service = log.service;
        let worded = pieces(&log.message).filter_map(move |piece| self.by_words.get(&(service, piece.to_owned())));
        let of_span = log.span_id.and_then(|span_id| self.by_span.get(&(service, span_id)));
        let found = worded.chain(of_span).chain(self.by_service.get(service));
        found.flat_map(|indices| indices.iter().take(MAX_COMPARED).copied())
    }
}

/// What of a message may be an exception's message: all of it, what stands behind a colon, and a line.
fn pieces(message: &str) -> impl Iterator<Item = &str> {
    let behind_colons = message.match_indices(": ").map(|(at, colon)| &message[at + colon.len()..]);
    std::iter::once(message).chain(behind_colons.take(MAX_PIECES)).chain(message.lines().take(MAX_PIECES))
}

/// What is stored, then the deepest first; what is equal in that, by time and id, so that the order of arrival does not
/// matter.
fn sort(drafts: &mut [Draft<'_>], tree: &Tree<'_>) {
    drafts.sort_by(|left, right| {
        let key = |draft: &Draft<'_>| {
            let depth = Reverse(draft.span.map(|span| tree.depth(span)));
            (!draft.is_stored(), depth, matches!(draft.row, Row::Log(_)), draft.time)
        };
        key(left)
            .cmp(&key(right))
            .then_with(|| left.span_id.cmp(&right.span_id))
            .then_with(|| left.exception_type.cmp(&right.exception_type))
            .then_with(|| left.message.cmp(&right.message))
    });
}

fn merge_exceptions<'a>(exceptions: Vec<Draft<'a>>, tree: &Tree<'a>) -> Vec<Draft<'a>> {
    let mut kept: Vec<Draft<'a>> = Vec::new();
    let mut by_message: FxHashMap<(&'a str, String, String), usize> = FxHashMap::default();
    let mut by_type: FxHashMap<(&'a str, String), Vec<usize>> = FxHashMap::default();
    for draft in exceptions {
        let name = short_type(draft.exception_type.as_deref().unwrap_or_default()).to_owned();
        let exact = (draft.service, name.clone(), draft.message.to_string());
        let of_type = by_type.entry((draft.service, name)).or_default();
        let word_for_word = || by_message.get(&exact).copied().filter(|&index| types_agree(&kept[index], &draft));
        let in_other_words = || {
            of_type.iter().take(MAX_COMPARED).copied().find(|&index| same_in_other_words(&kept[index], &draft, tree))
        };
        let same = if draft.is_stored() { None } else { word_for_word().or_else(in_other_words) };
        match same {
            Some(index) => merge(&mut kept[index], draft),
            None => {
                of_type.push(kept.len());
                by_message.entry(exact).or_insert(kept.len());
                kept.push(draft);
            }
        }
    }
    kept
}

/// Equal, or one of them without its package.
fn types_agree(left: &Draft<'_>, right: &Draft<'_>) -> bool {
    match (left.exception_type.as_deref(), right.exception_type.as_deref()) {
        (Some(left), Some(right)) => {
            left == right
                || (short_type(left) == short_type(right) && (short_type(left) == left || short_type(right) == right))
        }
        _ => true,
    }
}

/// A log record and a span event of one exception differ in words: Python's log handler writes the
/// first argument (`111`), the span event the whole (`[Errno 111] Connection refused`).
fn same_in_other_words(left: &Draft<'_>, right: &Draft<'_>, tree: &Tree<'_>) -> bool {
    // Of a stored one it is not known which it was.
    let is_stored = left.is_stored() || right.is_stored();
    let one_is_log = is_stored || matches!(left.row, Row::Log(_)) != matches!(right.row, Row::Log(_));
    let contains = left.message.contains(right.message.as_ref()) || right.message.contains(left.message.as_ref());
    one_is_log && contains && types_agree(left, right) && related(left, right, tree)
}

fn related(left: &Draft<'_>, right: &Draft<'_>, tree: &Tree<'_>) -> bool {
    match (left.span, right.span) {
        (Some(left), Some(right)) => tree.related(left, right),
        _ => left.span_id == right.span_id,
    }
}

/// Takes from `other` what `kept` lacks.
fn merge<'a>(kept: &mut Draft<'a>, other: Draft<'a>) {
    if kept.is_stored() {
        return;
    }
    let length = |name: &Option<Cow<'_, str>>| name.as_ref().map_or(0, |name| name.len());
    if length(&other.exception_type) > length(&kept.exception_type) {
        kept.exception_type = other.exception_type;
    }
    if other.message.len() > kept.message.len() {
        kept.message = other.message;
    }
    let better = (kept.stacktrace.is_none() && other.stacktrace.is_some())
        || (kept.stack.in_app_count() == 0 && other.stack.in_app_count() > 0);
    if better {
        kept.stacktrace = other.stacktrace;
        kept.stack = other.stack;
    }
    kept.stated = kept.stated.or(other.stated);
    kept.error_type = kept.error_type.take().or(other.error_type);
    if kept.span_id.is_none() {
        kept.span_id = other.span_id;
        kept.span = other.span;
    }
}

/// Whether a log record only says again what an exception said.
fn repeats(log: &Draft<'_>, exception: &Draft<'_>, tree: &Tree<'_>) -> bool {
    log.service == exception.service
        && exception.message.len() >= MIN_REPEATED
        && log.message.contains(exception.message.as_ref())
        && related(log, exception, tree)
}

/// Leaves of failures of one trace that ended up with one fingerprint, type and message the first.
pub(super) struct Seen<'a>(FxHashSet<(String, Option<Cow<'a, str>>, Cow<'a, str>)>);

impl<'a> Seen<'a> {
    pub(super) fn new() -> Self {
        Seen(FxHashSet::default())
    }

    /// Whether this is the first with its fingerprint, type and message. Stored ones are to be shown before.
    pub(super) fn first(&mut self, fingerprint: &str, draft: &Draft<'a>) -> bool {
        self.0.insert((fingerprint.to_owned(), draft.exception_type.clone(), draft.message.clone()))
    }
}

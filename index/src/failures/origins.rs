//! Which failure of a trace is the origin, and which are its echoes.
//!
//! An error that travels up through services fails every span on its way. Each failure gets the one that it came from,
//! if there is one, and the origin is where that leads. What is looked at, in words:
//!
//! - **Parents.** A failure above another one came from it if all spans between them failed, too. A span that states
//!   success has handled what was below, and so has a call that went well when it was made again.
//! - **Times.** It came from it only if the call had ended by then, and not long before. Times are those of the upper
//!   span and of its own call, because clocks of two hosts differ; only of two that say the same does the earlier count.
//! - **Messages.** Where one failure says what the other said, or names it as its cause, spans between them may look
//!   fine. So it is where spans are connected by a link, and for log records without a span.
//! - **Waiting.** A cancellation comes from above: from who gave up. Of two time-outs the lower one came first,
//!   unless a span between them went on for longer than its caller.
//!
//! In doubt both stay origins: two of them cost less than a wrong one.
//!
//! What is stored as an origin stays one, for its row is not written again: of failures that have one origin, one that is
//! stored is named by all that come later, and only the span that owns them is the one that is known by now.

use rustc_hash::{FxHashMap, FxHashSet};

use super::causes::{self, Cause};
use super::columns::{Spans, text, value};
use super::drafts::{Draft, Kind};
use super::extract::Failure;
use super::fingerprint::short_type;
use super::interruption::{self, Interruption};
use super::slow::{Waits, duration};
use super::topology::{MAX_STEPS, Tree};
use super::{candidates, codes};

/// Failures of one span that others are compared with.
const MAX_AT_SPAN: usize = 64;
/// Pairs that are compared in one trace; what is left stays an origin.
const MAX_PAIRS: usize = 1 << 16;
/// Links that are followed from one span.
const MAX_LINKS: usize = 64;
/// A message of fewer bytes is found in too many texts to recognise it there.
const MIN_SAID: usize = 8;
/// The same for failures that nothing else connects.
const MIN_SAID_ALONE: usize = 24;
/// How exact times within one process are taken to be, in ns: Node.js begins spans at whole milliseconds, and a record
/// may be written a moment before the exception that it tells of.
const EXACT: i64 = 50_000_000;
/// How soon after a call has failed its caller fails of it, if nothing else connects them, in ns.
const SOON: i64 = 1_000_000_000;

/// Whose a failure is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Owner<'a> {
    /// The position of the origin; none if it is one.
    pub origin: Option<usize>,
    /// The span that owns the failure: that of the origin, or the slow one where somebody gave up waiting.
    pub span_id: Option<&'a str>,
    /// The span whose patience ended.
    pub gave_up: Option<&'a str>,
}

/// The owners of the failures of one trace, in the same order.
pub(super) fn owners<'a>(
    failures: &[Failure<'a>],
    trace_id: &str,
    tree: &Tree<'a>,
    spans: &Spans<'a>,
) -> Vec<Owner<'a>> {
    let roots = if failures.len() > 1 { Search::new(failures, tree, spans).run(trace_id) } else { vec![0] };
    let named = named(failures, &roots);
    let mut waits = None;
    let mut of_root: FxHashMap<usize, Owner<'a>> = FxHashMap::default();
    roots
        .iter()
        .enumerate()
        .take(failures.len())
        .map(|(index, &root)| {
            let owner = *of_root.entry(root).or_insert_with(|| {
                let failure = &failures[root];
                let Some(span) = failure.draft.span.filter(|_| failure.identity.interruption.is_some()) else {
                    return Owner { span_id: failure.draft.span_id, ..Owner::default() };
                };
                let entry = || uppermost_failing(tree, spans, span);
                let entry = interruption::is_deadline(&failure.draft).then(entry);
                let wait = waits.get_or_insert_with(|| Waits::new(tree, spans)).of(span, entry);
                let id = |span: usize| text(spans.span_id, tree.rows[span]);
                Owner { origin: None, span_id: id(wait.slow), gave_up: id(wait.gave_up) }
            });
            let named = named.get(&root).copied().unwrap_or(root);
            Owner { origin: (named != index).then_some(named), ..owner }
        })
        .collect()
}

/// By root the stored failure that is named in its stead: the root if it is stored, else the first stored origin, else
/// the first stored echo. No root without stored failures is there.
fn named(failures: &[Failure<'_>], roots: &[usize]) -> FxHashMap<usize, usize> {
    let order = |root: usize, index: usize| (index != root, failures[index].origin_id.is_some(), index);
    let mut named: FxHashMap<usize, usize> = FxHashMap::default();
    for (index, &root) in roots.iter().enumerate().take(failures.len()) {
        if failures[index].is_stored() {
            let known = named.entry(root).or_insert(index);
            if order(root, index) < order(root, *known) {
                *known = index;
            }
        }
    }
    named
}

/// The uppermost of the spans of one service that lead down to `span` and failed with it.
fn uppermost_failing(tree: &Tree<'_>, spans: &Spans<'_>, span: usize) -> usize {
    let service = text(spans.service_name, tree.rows[span]);
    let failing = tree
        .upwards(span)
        .take(MAX_STEPS)
        .take_while(|at| text(spans.service_name, tree.rows[*at]) == service && passes_on(spans, tree.rows[*at]));
    failing.last().unwrap_or(span)
}

/// Whether a span shows an error: its own, or one that passed it.
fn passes_on(spans: &Spans<'_>, row: usize) -> bool {
    match text(spans.signs.status_code, row) {
        Some("ERROR") => true,
        Some("OK") => false,
        _ => {
            let events = &spans.signs.events;
            codes::refused(&spans.signs, row)
                || events.of(row).any(|event| candidates::is_exception(text(events.name, event)))
        }
    }
}

/// How sure it is that one failure came from another; the surest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    says_it: bool,
    /// When the call ended: the last of several attempts is what made the caller fail.
    ended: Option<i64>,
    depth: usize,
}

/// Which of two failures came from the other.
enum Came {
    /// The upper one from the lower one.
    FromBelow(Rank),
    /// The lower one from the upper one.
    FromAbove(Rank),
}

/// The way from a failing span up to another one.
#[derive(Clone, Copy)]
struct Way {
    /// The span below the one that is reached, on the way.
    call: Option<usize>,
    /// All spans so far failed.
    is_unbroken: bool,
    /// A span went on for longer than its caller.
    outlives: bool,
    one_service: bool,
}

struct Search<'f, 'a> {
    failures: &'f [Failure<'a>],
    tree: &'f Tree<'a>,
    spans: &'f Spans<'a>,
    causes: Vec<Vec<Cause<'f>>>,
    /// Failures by span.
    at: FxHashMap<usize, Vec<usize>>,
    /// Parent, service and name of calls that went well, with the last of their beginnings.
    went_well: FxHashMap<(usize, Option<&'a str>, Option<&'a str>), i64>,
    /// What each failure came from.
    from: Vec<Option<(Rank, usize)>>,
    pairs: usize,
}

impl<'f, 'a> Search<'f, 'a> {
    fn new(failures: &'f [Failure<'a>], tree: &'f Tree<'a>, spans: &'f Spans<'a>) -> Self {
        let mut at: FxHashMap<usize, Vec<usize>> = FxHashMap::default();
        for (index, failure) in failures.iter().enumerate() {
            if let Some(span) = failure.draft.span {
                at.entry(span).or_default().push(index);
            }
        }
        let mut search = Search {
            failures,
            tree,
            spans,
            causes: failures.iter().map(|failure| causes::of(&failure.draft)).collect(),
            at,
            went_well: FxHashMap::default(),
            from: vec![None; failures.len()],
            pairs: 0,
        };
        search.find_good_calls();
        search.keep_stored();
        search
    }

    /// What is stored as an echo stays the echo of the same failure.
    fn keep_stored(&mut self) {
        let surest = Rank { says_it: true, ended: Some(i64::MAX), depth: usize::MAX };
        let failures = self.failures;
        let stored = || failures.iter().enumerate().filter(|(_, failure)| failure.is_stored());
        let by_id: FxHashMap<&str, usize> = stored().map(|(index, failure)| (failure.id.as_str(), index)).collect();
        for (index, failure) in stored() {
            let origin = failure.origin_id.as_deref().and_then(|id| by_id.get(id).copied());
            self.from[index] = origin.map(|origin| (surest, origin));
        }
    }

    fn find_good_calls(&mut self) {
        let failing: FxHashSet<usize> = self.at.keys().copied().collect();
        for span in 0..self.tree.rows.len() {
            let row = self.tree.rows[span];
            let (Some(parent), Some(start)) = (self.tree.parent(span), value(self.spans.start_time, row)) else {
                continue;
            };
            if !failing.contains(&span) && !passes_on(self.spans, row) {
                let key = (parent, text(self.spans.service_name, row), text(self.spans.name, row));
                let known = self.went_well.entry(key).or_insert(start);
                *known = start.max(*known);
            }
        }
    }

    /// The origin of each failure, its own position if it is one.
    fn run(mut self, trace_id: &str) -> Vec<usize> {
        for index in 0..self.failures.len() {
            match self.failures[index].draft.span {
                Some(span) => {
                    self.climb(index, span, trace_id);
                }
                None => self.compare_alone(index),
            }
        }
        let from: Vec<Option<usize>> = self.from.iter().map(|from| from.map(|(_, index)| index)).collect();
        roots(&from)
    }

    /// Compares a failure with those of its span and of all above it, and of the spans that these link to.
    fn climb(&mut self, lower: usize, start: usize, trace_id: &str) {
        let (tree, spans) = (self.tree, self.spans);
        let mut way = Way { call: None, is_unbroken: true, outlives: false, one_service: true };
        for at in tree.upwards(start).take(MAX_STEPS) {
            let row = tree.rows[at];
            if let Some(call) = way.call {
                if text(spans.signs.status_code, row) == Some("OK") {
                    break;
                }
                let call = tree.rows[call];
                way.outlives |= duration(spans, call) > duration(spans, row);
                way.one_service &= text(spans.service_name, call) == text(spans.service_name, row);
            }
            self.meet(lower, at, way);
            for id in spans.links.within(row, trace_id).take(MAX_LINKS) {
                let Some(linked) = tree.index(id).filter(|linked| *linked != at) else { continue };
                for upper in self.failures_at(linked) {
                    self.compare_linked(lower, upper);
                }
            }
            way.is_unbroken &= passes_on(spans, row);
            way.call = Some(at);
        }
    }

    fn failures_at(&self, span: usize) -> Vec<usize> {
        self.at.get(&span).map(|found| found.iter().copied().take(MAX_AT_SPAN).collect()).unwrap_or_default()
    }

    /// Compares a failure with those of a span on its way.
    fn meet(&mut self, lower: usize, at: usize, way: Way) {
        for upper in self.failures_at(at) {
            if upper == lower || self.is_exhausted() {
                continue;
            }
            let Some(call) = way.call else {
                for (source, echo) in [(lower, upper), (upper, lower)] {
                    if let Some(rank) = self.beside(source, echo) {
                        self.offer(echo, source, rank);
                    }
                }
                continue;
            };
            match self.along(lower, upper, at, call, way) {
                Some(Came::FromBelow(rank)) => self.offer(upper, lower, rank),
                Some(Came::FromAbove(rank)) => self.offer(lower, upper, rank),
                None => {}
            }
        }
    }

    fn is_exhausted(&mut self) -> bool {
        self.pairs += 1;
        self.pairs > MAX_PAIRS
    }

    fn offer(&mut self, echo: usize, source: usize, rank: Rank) {
        let known = &mut self.from[echo];
        if known.is_none_or(|(best, _)| rank > best) {
            *known = Some((rank, source));
        }
    }

    fn rank(&self, source: usize, ended: Option<i64>, says_it: bool) -> Rank {
        let depth = self.failures[source].draft.span.map_or(0, |span| self.tree.depth(span));
        Rank { says_it, ended, depth }
    }

    /// Two failures of one span: a record tells of an exception that came before it, and of two alike the later one says
    /// again what the first one said.
    fn beside(&self, source: usize, echo: usize) -> Option<Rank> {
        let (first, second) = (&self.failures[source].draft, &self.failures[echo].draft);
        let follows = match (first.time, second.time) {
            (Some(first), Some(second)) => second.saturating_add(EXACT) >= first,
            _ => false,
        };
        let says_it = self.says(echo, source);
        let is_echo = match (first.kind, second.kind) {
            (Kind::Exception, Kind::Log) => follows,
            (Kind::Log, Kind::Exception) => false,
            _ => says_it && (first.time, source) < (second.time, echo),
        };
        is_echo.then(|| self.rank(source, first.time, says_it))
    }

    /// Two failures, of which the upper one's span stands above that of the lower one; `call` is the span below it on
    /// the way.
    fn along(&self, lower: usize, upper: usize, at: usize, call: usize, way: Way) -> Option<Came> {
        let (low, high) = (&self.failures[lower].draft, &self.failures[upper].draft);
        let call_row = self.tree.rows[call];
        let ended = value(self.spans.end_time, call_row);
        let says_it = self.says(upper, lower);
        let above = |rank: Rank| Some(Came::FromAbove(rank));
        match (self.failures[lower].identity.interruption, self.failures[upper].identity.interruption) {
            (Some(Interruption::Cancellation), Some(_)) => return above(self.rank(upper, high.time, true)),
            (Some(_), Some(_)) if way.outlives => return above(self.rank(upper, high.time, true)),
            (None, Some(_)) if way.outlives && !says_it => return None,
            _ => {}
        }
        let same_clock = text(self.spans.service_name, call_row) == text(self.spans.service_name, self.tree.rows[at]);
        let since = match (ended, high.time) {
            (Some(ended), Some(time)) if same_clock => Some(time.saturating_sub(ended)),
            _ => None,
        };
        let is_timely = since.is_none_or(|since| (-EXACT..=SOON).contains(&since));
        if !says_it && (!way.is_unbroken || !is_timely || self.was_repeated(at, call, ended)) {
            return None;
        }
        // Within one service an exception tells more than the status of a call that failed with it.
        let is_bare = low.kind == Kind::SpanStatus && (low.message.is_empty() || says_it || self.says(lower, upper));
        if is_bare && high.kind == Kind::Exception && way.one_service {
            return above(self.rank(upper, high.time, says_it));
        }
        Some(Came::FromBelow(self.rank(lower, ended, says_it)))
    }

    /// Whether the same call was made again later and went well.
    fn was_repeated(&self, parent: usize, call: usize, ended: Option<i64>) -> bool {
        let row = self.tree.rows[call];
        let key = (parent, text(self.spans.service_name, row), text(self.spans.name, row));
        self.went_well.get(&key).is_some_and(|start| Some(*start) >= ended)
    }

    /// A link connects in both directions, so here only words count.
    fn compare_linked(&mut self, one: usize, other: usize) {
        for (source, echo) in [(one, other), (other, one)] {
            if !self.is_exhausted() && self.repeats(echo, source) {
                let rank = self.rank(source, self.failures[source].draft.time, true);
                self.offer(echo, source, rank);
            }
        }
    }

    /// Whether one failure says what another one said. Where both say the same, the earlier one came first.
    fn repeats(&self, echo: usize, source: usize) -> bool {
        let time = |index: usize| (self.failures[index].draft.time, index);
        self.says(echo, source) && (!self.says(source, echo) || time(source) < time(echo))
    }

    /// A record without a span says again what some failure of its trace has said before.
    fn compare_alone(&mut self, echo: usize) {
        let failures = self.failures;
        for (source, failure) in failures.iter().enumerate().take(MAX_AT_SPAN) {
            let said = &failure.draft;
            let is_told = said.span.is_some() && said.message.len() >= MIN_SAID_ALONE;
            if is_told && !self.is_exhausted() && self.repeats(echo, source) {
                let rank = self.rank(source, said.time, true);
                self.offer(echo, source, rank);
            }
        }
    }

    /// Whether one failure says what another one said, or names it as its cause.
    fn says(&self, who: usize, what: usize) -> bool {
        let (who_says, said) = (&self.failures[who].draft, &self.failures[what].draft);
        let message = said.message.as_ref();
        let is_told = message.len() >= MIN_SAID && who_says.message.contains(message);
        is_told || self.causes[who].iter().any(|cause| names(cause, said))
    }
}

/// Whether a cause is this failure. Traces have the first line of its message, and some a type without its package.
fn names(cause: &Cause<'_>, failure: &Draft<'_>) -> bool {
    let first_line = failure.message.lines().next().unwrap_or_default();
    match (cause.exception_type, failure.exception_type.as_deref()) {
        (Some(cause_type), Some(of)) if short_type(cause_type) == short_type(of) => {
            cause.message.is_none_or(|message| first_line.contains(message) || message.contains(first_line))
        }
        _ => first_line.len() >= MIN_SAID && cause.message.is_some_and(|message| message.contains(first_line)),
    }
}

/// Where each way ends. A ring is cut where it was entered.
fn roots(from: &[Option<usize>]) -> Vec<usize> {
    const NONE: usize = usize::MAX;
    let mut root = vec![NONE; from.len()];
    let mut seen_from = vec![NONE; from.len()];
    let mut way = Vec::new();
    for first in 0..from.len() {
        let mut at = first;
        let end = loop {
            if root[at] != NONE {
                break root[at];
            }
            if seen_from[at] == first {
                break at;
            }
            seen_from[at] = first;
            way.push(at);
            match from[at] {
                Some(next) => at = next,
                None => break at,
            }
        };
        for step in way.drain(..) {
            root[step] = end;
        }
    }
    root
}

#[cfg(test)]
mod tests {
    use super::roots;

    /// Echoes of echoes lead to one origin; a ring ends somewhere.
    #[test]
    fn ways_end() {
        assert_eq!(roots(&[None, Some(0), Some(1), None]), [0, 0, 0, 3]);
        assert_eq!(roots(&[Some(1), Some(0), Some(1)]), [0, 0, 0]);
        assert_eq!(roots(&[Some(0)]), [0]);
    }
}

//! Where the failure began: the deepest failure of which everything above failed, too.

use std::cmp::Reverse;
use std::collections::HashMap;

use tracerag_schemas::bundle::{Evidence, Failure, Span};

/// The failure that the others came of.
#[derive(Debug)]
pub(crate) struct Origin<'a> {
    pub failure: &'a Failure,
    /// Its span first, then those above it, as far as they are known.
    pub path: Vec<&'a Span>,
}

/// A failure below a span that went well was handled there, so such a one is taken only where there is no other. Times do
/// not decide, for clocks of hosts differ. `None` if no failure belongs to a span.
pub(crate) fn of(evidence: &Evidence) -> Option<Origin<'_>> {
    let by_id: HashMap<&str, &Span> = evidence.spans.iter().map(|span| (span.span_id.as_str(), span)).collect();
    let placed = evidence.failures.iter().filter_map(|failure| {
        let path = path(&by_id, failure.span_id.as_deref()?);
        (!path.is_empty()).then_some(Origin { failure, path })
    });
    placed.min_by_key(|origin| {
        let is_unhandled = origin.path.iter().all(|span| span.status.as_deref() == Some("ERROR"));
        (Reverse(is_unhandled), Reverse(origin.path.len()))
    })
}

fn path<'a>(by_id: &HashMap<&str, &'a Span>, span_id: &str) -> Vec<&'a Span> {
    let mut path: Vec<&Span> = Vec::new();
    let mut next = by_id.get(span_id).copied();
    // Parents that go round in a circle end where every span was passed once.
    while let Some(span) = next.filter(|_| path.len() < by_id.len()) {
        path.push(span);
        next = span.parent_span_id.as_deref().and_then(|parent| by_id.get(parent)).copied();
    }
    path
}

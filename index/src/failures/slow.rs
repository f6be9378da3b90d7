//! Who was slow where somebody gave up waiting.
//!
//! The span that gave up says only that its time ran out. The time was spent by the span with the largest self time on
//! the critical path below it, which may lie services away and may not have failed at all.

use std::cmp::Reverse;

use rustc_hash::FxHashMap;

use super::columns::{Spans, text, value};
use super::topology::Tree;
use crate::tree::{TreeSpan, places};

/// Subtrees of one trace that are looked through; further ones blame the span that gave up.
const MAX_LOOKS: usize = 64;

/// Who gave up and who was slow, as positions in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wait {
    pub gave_up: usize,
    pub slow: usize,
}

/// Looks for slow spans of one trace.
pub(super) struct Waits<'f, 'a> {
    tree: &'f Tree<'a>,
    spans: &'f Spans<'a>,
    children: Vec<Vec<usize>>,
    known: FxHashMap<usize, usize>,
}

impl<'f, 'a> Waits<'f, 'a> {
    pub(super) fn new(tree: &'f Tree<'a>, spans: &'f Spans<'a>) -> Self {
        let mut children = vec![Vec::new(); tree.rows.len()];
        for span in 0..tree.rows.len() {
            if let Some(parent) = tree.parent(span) {
                children[parent].push(span);
            }
        }
        Waits { tree, spans, children, known: FxHashMap::default() }
    }

    /// Who gave up and who was slow, where the wait of `span` ended. `entry` is the uppermost failing span of its
    /// service, if the deadline may be that one's: it is where `span` had less than half of that time for itself.
    pub(super) fn of(&mut self, span: usize, entry: Option<usize>) -> Wait {
        let had = |at: usize| duration(self.spans, self.tree.rows[at]);
        let gave_up = entry.filter(|entry| had(span) < had(*entry) / 2).unwrap_or(span);
        if let Some(slow) = self.known.get(&gave_up) {
            return Wait { gave_up, slow: *slow };
        }
        let slow = if self.known.len() < MAX_LOOKS { self.slowest_below(gave_up) } else { gave_up };
        self.known.insert(gave_up, slow);
        Wait { gave_up, slow }
    }

    fn slowest_below(&self, top: usize) -> usize {
        let (indices, spans) = self.below(top);
        let on_path = places(&spans, Some(self.id(top))).into_iter().filter(|place| place.on_critical_path);
        let slowest = on_path.max_by_key(|place| (place.self_time_ns, Reverse(place.span)));
        slowest.and_then(|place| indices.get(place.span).copied()).unwrap_or(top)
    }

    /// A span and all below it, with clocks of other hosts set so that no call begins before its caller or after its
    /// caller's end: clocks differ by seconds, calls do not.
    fn below(&self, top: usize) -> (Vec<usize>, Vec<TreeSpan<'a>>) {
        let (mut indices, mut found) = (Vec::new(), Vec::new());
        let mut open = vec![(top, None, 0_i64)];
        while let Some((at, parent, shift)) = open.pop() {
            let row = self.tree.rows[at];
            let start = value(self.spans.start_time, row).unwrap_or_default().saturating_add(shift);
            let end = start.saturating_add(duration(self.spans, row));
            for &child in &self.children[at] {
                let child_row = self.tree.rows[child];
                let begins = value(self.spans.start_time, child_row).unwrap_or_default().saturating_add(shift);
                let is_other_host = text(self.spans.service_name, child_row) != text(self.spans.service_name, row);
                let correction = if is_other_host && !(start..=end).contains(&begins) {
                    let slack = (end - start - duration(self.spans, child_row)).max(0) / 2;
                    start.saturating_add(slack).saturating_sub(begins)
                } else {
                    0
                };
                open.push((child, Some(self.id(at)), shift.saturating_add(correction)));
            }
            indices.push(at);
            found.push(TreeSpan { span_id: self.id(at), parent_span_id: parent, start, end });
        }
        (indices, found)
    }

    fn id(&self, span: usize) -> &'a str {
        text(self.spans.span_id, self.tree.rows[span]).unwrap_or_default()
    }
}

/// How long a span took, in ns.
pub(super) fn duration(spans: &Spans<'_>, row: usize) -> i64 {
    match (value(spans.start_time, row), value(spans.end_time, row)) {
        (Some(start), Some(end)) => end.saturating_sub(start).max(0),
        _ => 0,
    }
}

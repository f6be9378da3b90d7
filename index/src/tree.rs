//! The tree of a trace's spans: order, depth, self time and critical path.

use std::collections::{HashMap, HashSet};

/// A span as far as the tree goes; times in ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeSpan<'a> {
    /// The span's id.
    pub span_id: &'a str,
    /// That of its parent, if it has one.
    pub parent_span_id: Option<&'a str>,
    /// When it began.
    pub start: i64,
    /// When it ended.
    pub end: i64,
}

/// Where a span stands in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Index into the spans given.
    pub span: usize,
    /// Steps from the top.
    pub depth: usize,
    /// Time in which none of its children ran, in ns.
    pub self_time_ns: i64,
    /// Whether the trace would have ended sooner had the span been quicker.
    pub on_critical_path: bool,
}

/// The ids of spans that failed, and of those above them. A span is told by its id, its parent's, and whether it failed.
pub fn failing_path<'a>(spans: impl Iterator<Item = (&'a str, Option<&'a str>, bool)>) -> HashSet<&'a str> {
    let mut parents = HashMap::new();
    let mut failed = Vec::new();
    for (id, parent, has_failed) in spans {
        parents.insert(id, parent);
        if has_failed {
            failed.push(id);
        }
    }
    let mut path = HashSet::new();
    for id in failed {
        let mut above = Some(id);
        while let Some(id) = above {
            if !parents.contains_key(id) || !path.insert(id) {
                break;
            }
            above = parents.get(id).copied().flatten();
        }
    }
    path
}

/// Places in tree order: parents before children, siblings by start, then id.
///
/// A span whose parent is not among the spans stands at the top, and so does one span of a cycle of
/// parents. The critical path starts at `root`, or, where there is none, at all top spans as if one
/// span covered them.
#[must_use]
pub fn places(spans: &[TreeSpan<'_>], root: Option<&str>) -> Vec<Place> {
    let tree = Tree::new(spans);
    let order = tree.order();
    let mut critical = vec![false; spans.len()];
    match root.and_then(|root| tree.by_id.get(root)) {
        Some(root) => tree.mark_critical(vec![(*root, i64::MAX)], &mut critical),
        None => {
            let mut found = Vec::new();
            tree.last_to_end(&tree.tops, i64::MIN, i64::MAX, &mut found);
            tree.mark_critical(found, &mut critical);
        }
    }
    order
        .into_iter()
        .map(|(span, depth)| Place {
            span,
            depth,
            self_time_ns: tree.self_time(span),
            on_critical_path: critical[span],
        })
        .collect()
}

struct Tree<'a> {
    spans: &'a [TreeSpan<'a>],
    by_id: HashMap<&'a str, usize>,
    tops: Vec<usize>,
    children: Vec<Vec<usize>>,
}

impl<'a> Tree<'a> {
    fn new(spans: &'a [TreeSpan<'a>]) -> Self {
        let mut sorted: Vec<usize> = (0..spans.len()).collect();
        sorted.sort_by(|a, b| {
            let (a, b) = (&spans[*a], &spans[*b]);
            (a.start, a.span_id, a.end).cmp(&(b.start, b.span_id, b.end))
        });
        let mut by_id = HashMap::with_capacity(spans.len());
        for index in &sorted {
            by_id.entry(spans[*index].span_id).or_insert(*index);
        }
        let mut tops = Vec::new();
        let mut children = vec![Vec::new(); spans.len()];
        for index in sorted {
            match spans[index].parent_span_id.and_then(|parent| by_id.get(parent)) {
                Some(parent) if *parent != index => children[*parent].push(index),
                _ => tops.push(index),
            }
        }
        let mut tree = Self { spans, by_id, tops, children };
        tree.cut_cycles();
        tree
    }

    /// Spans that no top reaches are on or below a cycle: the first of each becomes a top.
    fn cut_cycles(&mut self) {
        let mut reached = vec![false; self.spans.len()];
        for (span, _) in self.order() {
            reached[span] = true;
        }
        let mut rest: Vec<usize> = (0..self.spans.len()).filter(|span| !reached[*span]).collect();
        rest.sort_by_key(|span| (self.spans[*span].start, self.spans[*span].span_id));
        for span in rest {
            if reached[span] {
                continue;
            }
            for siblings in &mut self.children {
                siblings.retain(|child| *child != span);
            }
            self.tops.push(span);
            let mut open = vec![span];
            while let Some(span) = open.pop() {
                if !std::mem::replace(&mut reached[span], true) {
                    open.extend(&self.children[span]);
                }
            }
        }
    }

    /// Depth first; a stack instead of recursion, because depth comes from outside.
    fn order(&self) -> Vec<(usize, usize)> {
        let mut order = Vec::with_capacity(self.spans.len());
        let mut open: Vec<(usize, usize)> = self.tops.iter().rev().map(|top| (*top, 0)).collect();
        while let Some((span, depth)) = open.pop() {
            order.push((span, depth));
            open.extend(self.children[span].iter().rev().map(|child| (*child, depth + 1)));
        }
        order
    }

    fn self_time(&self, span: usize) -> i64 {
        let TreeSpan { start, end, .. } = self.spans[span];
        let mut covered = 0;
        let mut until = start;
        // Children are sorted by start, so one pass unites their intervals.
        for child in &self.children[span] {
            let from = self.spans[*child].start.max(until);
            let to = self.spans[*child].end.min(end);
            if to > from {
                covered += to - from;
                until = to;
            }
        }
        (end - start).max(0) - covered
    }

    /// Walks back from the end: of the children that ended by then, the last to end is what was
    /// waited for; before its start, the next one. (span, end as far as it was waited for)
    fn last_to_end(&self, children: &[usize], from: i64, until: i64, found: &mut Vec<(usize, i64)>) {
        let mut by_end: Vec<usize> = children.to_vec();
        by_end.sort_by_key(|child| (self.spans[*child].end, self.spans[*child].start));
        let mut cursor = until;
        for child in by_end.into_iter().rev() {
            let TreeSpan { start, end, .. } = self.spans[child];
            // A child that outlives what is waited for counts as far as it goes.
            let end = end.min(until);
            if end <= cursor && end >= from && start < cursor {
                found.push((child, end));
                cursor = start;
            }
        }
    }

    fn mark_critical(&self, mut open: Vec<(usize, i64)>, critical: &mut [bool]) {
        while let Some((span, until)) = open.pop() {
            critical[span] = true;
            let TreeSpan { start, end, .. } = self.spans[span];
            self.last_to_end(&self.children[span], start, end.min(until), &mut open);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span<'a>(span_id: &'a str, parent: &'a str, start: i64, end: i64) -> TreeSpan<'a> {
        TreeSpan { span_id, parent_span_id: (!parent.is_empty()).then_some(parent), start, end }
    }

    fn summary(spans: &[TreeSpan<'_>], root: Option<&str>) -> Vec<(String, usize, i64, bool)> {
        places(spans, root)
            .into_iter()
            .map(|place| {
                (spans[place.span].span_id.to_owned(), place.depth, place.self_time_ns, place.on_critical_path)
            })
            .collect()
    }

    /// Siblings stand by start; self time leaves out overlapping children once; of two parallel
    /// children only the one that ended last was waited for.
    #[test]
    fn order_self_time_and_critical_path() {
        let spans = [
            span("c", "root", 30, 60),
            span("root", "", 0, 100),
            span("a", "root", 0, 20),
            span("b", "root", 30, 90),
            span("d", "b", 40, 50),
        ];
        let expected =
            [("root", 0, 20, true), ("a", 1, 20, true), ("b", 1, 50, true), ("d", 2, 10, true), ("c", 1, 30, false)];
        let expected: Vec<_> = expected.map(|(id, depth, own, on)| (id.to_owned(), depth, own, on)).into();
        assert_eq!(summary(&spans, Some("root")), expected);
    }

    /// A missing parent makes a top; a cycle is cut once and nothing is lost or shown twice.
    #[test]
    fn orphans_and_cycles_keep_every_span() {
        let spans = [
            span("x", "y", 5, 6),
            span("y", "x", 1, 9),
            span("o", "gone", 2, 3),
            span("s", "s", 4, 4),
            span("z", "x", 5, 6),
        ];
        let order = summary(&spans, None);
        let ids: Vec<(&str, usize)> = order.iter().map(|(id, depth, ..)| (id.as_str(), *depth)).collect();
        assert_eq!(ids, [("o", 0), ("s", 0), ("y", 0), ("x", 1), ("z", 2)]);
    }

    /// The order depends on the spans, not on the order in which they were read.
    #[test]
    fn order_does_not_depend_on_reading() {
        let mut spans = vec![span("r", "", 0, 9), span("b", "r", 1, 2), span("a", "r", 1, 2), span("c", "a", 1, 2)];
        let first = summary(&spans, Some("r"));
        spans.reverse();
        assert_eq!(summary(&spans, Some("r")), first);
    }
}

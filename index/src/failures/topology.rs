//! The span trees of the traces in which something failed.

use rustc_hash::FxHashMap;

use super::columns::{Spans, text};
use super::mask::{clip, mask};

/// Names of a span path; in a longer one the middle is left out.
const MAX_NAMES: usize = 32;
/// Names kept at the beginning of a longer path.
const HEAD_NAMES: usize = 4;
const MAX_NAME: usize = 200;
/// Steps up a tree before two spans count as unrelated.
pub(super) const MAX_STEPS: usize = 512;

/// Tenant and trace id.
pub(super) type TraceKey<'a> = (&'a str, &'a str);

/// One failing trace: its spans and how they hang together.
#[derive(Default)]
pub(super) struct Tree<'a> {
    /// Rows of the spans, in the batch.
    pub rows: Vec<usize>,
    by_id: FxHashMap<&'a str, usize>,
    parents: Vec<Option<usize>>,
    /// Steps to the uppermost span that is here.
    depths: Vec<usize>,
}

/// The trees of `wanted` traces, in the same order.
pub(super) fn trees<'a>(spans: &Spans<'a>, wanted: &FxHashMap<TraceKey<'a>, usize>) -> Vec<Tree<'a>> {
    let mut trees: Vec<Tree<'a>> = (0..wanted.len()).map(|_| Tree::default()).collect();
    // Rows of one trace lie together: the map is asked once a run.
    let mut last: Option<(TraceKey<'a>, Option<usize>)> = None;
    for row in 0..spans.rows {
        let Some(trace_id) = text(spans.trace_id, row) else {
            continue;
        };
        let key = (text(spans.tenant_id, row).unwrap_or_default(), trace_id);
        let index = match last {
            Some((known, index)) if known == key => index,
            _ => wanted.get(&key).copied(),
        };
        last = Some((key, index));
        if let Some(index) = index {
            trees[index].rows.push(row);
        }
    }
    for tree in &mut trees {
        tree.connect(spans);
    }
    trees
}

impl<'a> Tree<'a> {
    fn connect(&mut self, spans: &Spans<'a>) {
        for (index, &row) in self.rows.iter().enumerate() {
            if let Some(id) = text(spans.span_id, row) {
                self.by_id.entry(id).or_insert(index);
            }
        }
        self.parents = self
            .rows
            .iter()
            .enumerate()
            .map(|(index, &row)| {
                text(spans.parent_span_id, row)
                    .and_then(|id| self.by_id.get(id).copied())
                    .filter(|parent| *parent != index)
            })
            .collect();
        const UNKNOWN: usize = usize::MAX;
        self.depths = vec![UNKNOWN; self.rows.len()];
        let mut seen_from = vec![UNKNOWN; self.rows.len()];
        let mut way = Vec::new();
        for index in 0..self.rows.len() {
            let mut at = index;
            let base = loop {
                if self.depths[at] != UNKNOWN {
                    break self.depths[at] + 1;
                }
                seen_from[at] = index;
                way.push(at);
                match self.parents[at] {
                    // A ring of parents is cut where it was entered.
                    Some(parent) if seen_from[parent] == index => {
                        self.parents[at] = None;
                        break 0;
                    }
                    Some(parent) => at = parent,
                    None => break 0,
                }
            };
            for (steps, at) in way.drain(..).rev().enumerate() {
                self.depths[at] = base + steps;
            }
        }
    }

    /// The position of a span in the tree.
    pub(super) fn index(&self, span_id: &str) -> Option<usize> {
        self.by_id.get(span_id).copied()
    }

    pub(super) fn depth(&self, index: usize) -> usize {
        self.depths.get(index).copied().unwrap_or_default()
    }

    pub(super) fn parent(&self, index: usize) -> Option<usize> {
        self.parents.get(index).copied().flatten()
    }

    /// `index` and everything above it.
    pub(super) fn upwards(&self, index: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(index), |at| self.parent(*at)).take(self.rows.len())
    }

    /// Whether one is the other or stands above it.
    pub(super) fn related(&self, one: usize, other: usize) -> bool {
        let (deep, high) = if self.depth(one) >= self.depth(other) { (one, other) } else { (other, one) };
        self.upwards(deep).take(MAX_STEPS).any(|at| at == high)
    }

    /// The names from the root to the span, the service before a name where it changes.
    pub(super) fn path(&self, spans: &Spans<'_>, index: usize) -> String {
        let mut way: Vec<usize> = self.upwards(index).take(MAX_STEPS).map(|at| self.rows[at]).collect();
        way.reverse();
        let left_out = way.len().saturating_sub(MAX_NAMES);
        let mut path = String::new();
        let mut service = "";
        for (step, &row) in way.iter().enumerate() {
            if (HEAD_NAMES..HEAD_NAMES + left_out).contains(&step) {
                if step == HEAD_NAMES {
                    path.push_str(" > ...");
                }
                continue;
            }
            if !path.is_empty() {
                path.push_str(" > ");
            }
            let of = text(spans.service_name, row).unwrap_or_default();
            if of != service {
                path.push_str(clip(of, MAX_NAME));
                path.push_str(": ");
                service = of;
            }
            path.push_str(clip(text(spans.name, row).unwrap_or("?"), MAX_NAME));
        }
        path
    }

    /// The masked names of the spans of the span's own service, from where the service was entered.
    pub(super) fn local_path(&self, spans: &Spans<'a>, index: usize, names: &mut MaskedNames<'a>) -> String {
        let service = text(spans.service_name, self.rows[index]);
        let way: Vec<&'a str> = self
            .upwards(index)
            .take_while(|at| text(spans.service_name, self.rows[*at]) == service)
            .take(MAX_NAMES)
            .map(|at| text(spans.name, self.rows[at]).unwrap_or("?"))
            .collect();
        let mut path = String::new();
        for (step, name) in way.into_iter().rev().enumerate() {
            if step > 0 {
                path.push_str(" > ");
            }
            path.push_str(names.of(name));
        }
        path
    }
}

/// Masked names of spans. A program has few of them, so each is masked once an epoch.
#[derive(Default)]
pub(super) struct MaskedNames<'a>(FxHashMap<&'a str, String>);

impl<'a> MaskedNames<'a> {
    fn of(&mut self, name: &'a str) -> &str {
        self.0.entry(name).or_insert_with(|| mask(clip(name, MAX_NAME)))
    }
}

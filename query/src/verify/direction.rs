//! Whether a text puts two things in the order in which its predicates have them.

use tracerag_schemas::anchor::Anchor;

use super::facts::{Entry, Facts};
use super::parse::kind;
use super::predicate::{Function, Predicate};
use super::reason::Reason;
use super::relation::{Kind, Place, Relation};
use super::sense::Held;
use super::visible::find_words;

/// Words of an end: a predicate over spans says which began first, not which ended first.
const ENDED: &[&str] = &[
    "fail",
    "fails",
    "failed",
    "failing",
    "failure",
    "error",
    "errors",
    "ended",
    "ends",
    "finished",
    "finishes",
    "completed",
    "returned",
    "returns",
    "answered",
    "answers",
    "responded",
    "responds",
    "crashed",
    "threw",
    "raised",
    "thrown",
    "timed out",
];
/// Words before a name that only says more of another: `the failure in payments`.
const OF: &[&str] = &["of", "in", "by", "for", "on", "at", "with", "within", "inside", "to"];

/// A text that names the two sides of an order, or of a path, the other way round than its predicates.
pub(super) fn turned_round(facts: &Facts<'_>, text: &str, relations: &[Relation], held: &[Held<'_>]) -> Option<Reason> {
    let orders: Vec<Order<'_>> = held.iter().filter_map(|(predicate, _)| Order::of(facts, text, predicate)).collect();
    relations.iter().enumerate().find_map(|(index, relation)| {
        let begin = index.checked_sub(1).and_then(|before| relations.get(before)).map_or(0, |before| before.end);
        let end = relations.get(index + 1).map_or(text.len(), |next| next.at);
        let about: Vec<(&Order<'_>, Said)> = orders
            .iter()
            .filter(|order| order.speaks_for(relation, text))
            .map(|order| (order, order.said(text, relation, begin, end)))
            .collect();
        let agrees = |(order, said): &(&Order<'_>, Said)| {
            *said == Said::Same && order.predicate.is_denial() == relation.is_denied
        };
        // One that has only one of the two sides does not outweigh one that has both.
        let has_both = |(order, _): &&(&Order<'_>, Said)| order.names_both();
        if about.iter().filter(has_both).any(agrees) {
            return None;
        }
        let is_against = about.iter().filter(has_both).any(|(_, said)| *said != Said::Unclear);
        if !is_against && about.iter().any(agrees) {
            return None;
        }
        let wrong = about.iter().find_map(|(order, said)| {
            let predicate = &order.predicate.text;
            let is_denied = order.predicate.is_denial() != relation.is_denied;
            match said {
                Said::Turned if !is_denied => Some(format!("the other way round than {predicate}")),
                Said::Same if is_denied => Some(format!("and {predicate} the contrary")),
                _ => None,
            }
        })?;
        Some(Reason::Contradiction(format!("the text says {:?} {wrong}", relation.word)))
    })
}

/// What a text says next to a predicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Same,
    Turned,
    /// It does not name the sides, or each on both sides.
    Unclear,
}

/// A predicate with an order, and where a text names its sides.
struct Order<'a> {
    predicate: &'a Predicate,
    /// First byte of a name, the one behind it, and whether it is of the first side; in the order of the text.
    named: Vec<(usize, usize, bool)>,
}

impl<'a> Order<'a> {
    fn of(facts: &Facts<'_>, text: &str, predicate: &'a Predicate) -> Option<Self> {
        let mut anchors = predicate.anchors();
        let (first, second) = match predicate.operator.function {
            Function::Before | Function::Ancestor => (names(facts, anchors.next()?), names(facts, anchors.next()?)),
            Function::DeployedBefore => {
                let service = predicate.texts().next().unwrap_or_default();
                let mut first = vec![service.to_ascii_lowercase()];
                first.extend(words_of_kind("build").iter().map(|word| (*word).to_owned()));
                let versions = facts.builds_of(service).filter_map(|build| build.version.as_deref());
                first.extend(versions.map(str::to_ascii_lowercase));
                (first, names(facts, anchors.next()?))
            }
            _ => return None,
        };
        Some(Self { predicate, named: named(text, &first, &second) })
    }

    /// Whether both sides are named in the text.
    fn names_both(&self) -> bool {
        [true, false].iter().all(|side| self.named.iter().any(|(_, _, named)| named == side))
    }

    /// Whether the predicate says in which direction a word is true.
    fn speaks_for(&self, relation: &Relation, text: &str) -> bool {
        match (self.predicate.operator.function, relation.kind) {
            (Function::Ancestor, Kind::Cause) => false,
            (Function::Ancestor, Kind::Order) => !ENDED.iter().any(|word| find_words(text, word).is_some()),
            (Function::Ancestor, Kind::Path | Kind::Trigger) => true,
            (_, kind) => kind != Kind::Path,
        }
    }

    /// What a text says by a word, whose part of the text goes from `begin` to `end`.
    fn said(&self, text: &str, relation: &Relation, begin: usize, end: usize) -> Said {
        let sides = |from: usize, to: usize| self.sides(text, from, to);
        let mut left = sides(begin, relation.at);
        if left.is_empty() {
            left = sides(0, relation.at);
        }
        let mut right = sides(relation.end, end);
        if right.is_empty() {
            right = sides(relation.end, text.len());
        }
        let (left, right) = match (left.is_empty(), right.is_empty()) {
            // `Following the failure, the flag changed`: behind the word stands its own side, then the other.
            (true, _) if relation.place == Place::Between => {
                let right = self.all(relation.end, end);
                let own = right.first().copied();
                (right.into_iter().find(|side| Some(*side) != own), own)
            }
            // `The failure came, and the flag changed later`: before the word stands its own side, after the other.
            (_, true) if relation.place == Place::WithSecond => {
                let own = left.last().copied();
                (left.into_iter().rev().find(|side| Some(*side) != own), own)
            }
            _ => (left.first().copied(), right.first().copied()),
        };
        match (left, right, relation.forward) {
            (None, None, _) => Said::Unclear,
            (Some(false), _, true) | (_, Some(true), true) | (Some(true), _, false) | (_, Some(false), false) => {
                Said::Turned
            }
            _ => Said::Same,
        }
    }

    /// All sides named in a part of a text.
    fn all(&self, from: usize, to: usize) -> Vec<bool> {
        let within = self.named.iter().filter(|(begin, end, _)| *begin >= from && *end <= to);
        within.map(|(_, _, side)| *side).collect()
    }

    /// The sides named in a part of a text, without names that only say more of another.
    fn sides(&self, text: &str, from: usize, to: usize) -> Vec<bool> {
        let within: Vec<&(usize, usize, bool)> =
            self.named.iter().filter(|(begin, end, _)| *begin >= from && *end <= to).collect();
        let says_more = |begin: usize| {
            let before = text.get(from..begin).unwrap_or_default();
            before
                .split_whitespace()
                .rev()
                .find(|word| !matches!(*word, "the" | "service"))
                .is_some_and(|word| OF.contains(&word))
        };
        let own: Vec<bool> =
            within.iter().filter(|(begin, _, _)| !says_more(*begin)).map(|(_, _, side)| *side).collect();
        if own.is_empty() { within.into_iter().map(|(_, _, side)| *side).collect() } else { own }
    }
}

/// Where a text names the first and the second. Longer names go first, because a flag's key may begin with the name of a
/// service; what both have tells nothing.
fn named(text: &str, first: &[String], second: &[String]) -> Vec<(usize, usize, bool)> {
    let own = first.iter().filter(|name| !second.contains(name)).map(|name| (name, Some(true)));
    let others = second.iter().filter(|name| !first.contains(name)).map(|name| (name, Some(false)));
    let both = first.iter().filter(|name| second.contains(name)).map(|name| (name, None));
    let mut names: Vec<(&String, Option<bool>)> = own.chain(others).chain(both).collect();
    names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    let (mut rest, mut found) = (text.to_owned(), Vec::new());
    for (name, side) in names {
        while let Some(at) = find_words(&rest, name) {
            rest.replace_range(at..at + name.len(), &" ".repeat(name.len()));
            found.extend(side.map(|is_first| (at, at + name.len(), is_first)));
        }
    }
    found.sort_unstable();
    found
}

/// Words by which a text may speak of what an anchor stands for, in lower case.
fn names(facts: &Facts<'_>, anchor: &Anchor) -> Vec<String> {
    let mut names: Vec<String> = words_of_kind(kind(anchor)).iter().map(|word| (*word).to_owned()).collect();
    for entry in facts.resolve(anchor).unwrap_or_default() {
        if matches!(entry, Entry::Span(..)) && entry.is_failing() {
            names.extend(words_of_kind("failure").iter().map(|word| (*word).to_owned()));
        }
        let texts = match entry {
            Entry::Span(span, _) => vec![span.name.as_deref(), span.service.as_deref(), Some(span.span_id.as_str())],
            Entry::Log(log) => vec![log.service.as_deref()],
            Entry::Failure(failure) => vec![failure.service.as_deref(), failure.exception_type.as_deref()],
            Entry::Metric(metric) => vec![metric.name.as_deref(), metric.service.as_deref()],
            Entry::Heap(heap) => vec![heap.service.as_deref()],
            Entry::Build(build) => vec![build.service.as_deref(), build.version.as_deref()],
            Entry::Flag(flag) => vec![flag.key.as_deref(), flag.variant.as_deref()],
            _ => vec![],
        };
        names.extend(texts.into_iter().flatten().map(str::to_ascii_lowercase));
    }
    names.retain(|name| !name.trim().is_empty());
    names.sort_unstable();
    names.dedup();
    names
}

/// Words for what an anchor of a kind stands for.
fn words_of_kind(kind: &'static str) -> &'static [&'static str] {
    match kind {
        "build" => &["build", "deployment", "deployed", "release", "released", "rollout", "rolled out", "shipped"],
        "flag" => &["flag", "toggle"],
        "config" => &["config", "configuration", "setting"],
        "failure" => &["failure", "failed", "failing", "fails", "error", "exception", "crash", "crashed"],
        "log" => &["log", "logged", "record"],
        "metric" => &["metric"],
        "heap" => &["heap"],
        "payload" => &["payload"],
        _ => &["span"],
    }
}

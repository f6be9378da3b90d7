//! Words of a text that put two things in an order, a path or a cause, and which of the two they put first.

use super::denial::is_denying;
use super::predicate::Dimension;
use super::subjects::Subjects;
use super::visible::find_words;
use super::words::{Mention, mentions, trimmed, words_of};

/// What a word relates things by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One began before the other.
    Order,
    /// One is why the other happened. A failure comes from below as often as from above.
    Cause,
    /// A cause, and of spans a call.
    Trigger,
    /// One called the other, or lies above it.
    Path,
}

/// Where a word stands to the two things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Between them, or before both: `A before B`, `before B A`.
    Between,
    /// With the second, before or behind it: `A, then B`, `A, and B later`.
    WithSecond,
}

use Kind::{Cause, Order, Path, Trigger};
use Place::{Between, WithSecond};

/// Words, whether the thing that they put first (the earlier, the upper, the cause) stands first in the text, and where
/// they stand.
const WORDS: &[(Kind, bool, Place, &[&str])] = &[
    (
        Order,
        true,
        Between,
        &[
            "before",
            "precedes",
            "preceded",
            "preceding",
            "prior to",
            "ahead of",
            "earlier than",
            "sooner than",
            "followed by",
            "until",
            "till",
        ],
    ),
    (Order, true, WithSecond, &["then", "later", "afterwards", "afterward", "subsequently", "thereafter"]),
    (
        Order,
        false,
        Between,
        &[
            "after",
            "follows",
            "followed",
            "following",
            "later than",
            "preceded by",
            "subsequent to",
            "once",
            "as soon as",
            "in the wake of",
        ],
    ),
    (Order, false, WithSecond, &["earlier", "previously", "beforehand"]),
    (
        Cause,
        true,
        Between,
        &[
            "caused",
            "causes",
            "causing",
            "cause of",
            "led to",
            "leads to",
            "leading to",
            "results in",
            "resulted in",
            "resulting in",
            "brought about",
            "brings about",
            "gave rise to",
            "gives rise to",
            "responsible for",
            "reason for",
            "reason why",
            "provoked",
            "provokes",
            "induced",
        ],
    ),
    (Cause, true, WithSecond, &["as a result", "as a consequence", "therefore", "hence", "consequently", "thus"]),
    (
        Cause,
        false,
        Between,
        &[
            "because",
            "due to",
            "caused by",
            "as a result of",
            "as a consequence of",
            "stems from",
            "stemmed from",
            "stemming from",
            "owing to",
            "thanks to",
            "since",
            "resulted from",
            "results from",
            "resulting from",
            "on account of",
            "attributable to",
            "attributed to",
            "brought about by",
            "provoked by",
            "induced by",
            "traced to",
            "traced back to",
            "traces back to",
            "blamed on",
            "comes down to",
            "boils down to",
        ],
    ),
    (Trigger, true, Between, &["triggered", "triggers", "triggering"]),
    (Trigger, false, Between, &["triggered by"]),
    (
        Path,
        true,
        Between,
        &[
            "called",
            "calls",
            "calling",
            "invoked",
            "invokes",
            "invoking",
            "parent of",
            "parent span of",
            "ancestor of",
            "ancestor span of",
            "caller of",
            "parent to",
            "child is",
            "descendant is",
            "above",
        ],
    ),
    (
        Path,
        false,
        Between,
        &[
            "called by",
            "invoked by",
            "child of",
            "child span of",
            "descendant of",
            "descendant span of",
            "callee of",
            "parent is",
            "parent span is",
            "ancestor is",
            "caller is",
            "below",
            "beneath",
            "underneath",
            "nested in",
            "nested under",
        ],
    ),
];
/// Verbs that are nouns, too, unless an auxiliary stands before them.
const INFINITIVES: &[(Kind, bool, &str)] = &[
    (Path, true, "call"),
    (Path, true, "invoke"),
    (Trigger, true, "trigger"),
    (Cause, true, "cause"),
    (Order, true, "precede"),
    (Order, false, "follow"),
];
const AUXILIARIES: &[&str] = &["did", "does", "do", "would", "will", "could", "can", "may", "might", "must", "should"];
/// Words between one that denies and what it denies.
const FILLERS: &[&str] = &["the", "a", "an", "be", "been", "have", "directly", "itself", "even", "any", "actually"];

/// A word that relates, in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Relation {
    pub at: usize,
    pub end: usize,
    pub word: &'static str,
    pub kind: Kind,
    /// Whether what it puts first stands first in the text.
    pub forward: bool,
    pub place: Place,
    pub is_denied: bool,
}

/// The words that relate, in the order of the text; of two that begin at one place, the longer.
pub(super) fn relations(text: &str, subjects: &Subjects<'_>) -> Vec<Relation> {
    // A word within a name relates nothing.
    let text = &subjects.masked(text);
    let words = words_of(text);
    let numbers = mentions(text);
    let mut found = Vec::new();
    let infinitives = INFINITIVES.iter().map(|(kind, forward, word)| (*kind, *forward, Between, *word, true));
    let listed = WORDS.iter().flat_map(|(kind, forward, place, words)| {
        words.iter().map(move |word| (*kind, *forward, *place, *word, false))
    });
    for (kind, forward, place, word, is_infinitive) in listed.chain(infinitives) {
        let mut from = 0;
        while let Some(at) = text.get(from..).and_then(|rest| find_words(rest, word)).map(|at| from + at) {
            let end = at + word.len();
            from = end;
            let before: Vec<&str> =
                words.iter().take_while(|(begin, _)| *begin < at).map(|(_, word)| trimmed(word)).collect();
            let last = before.last().copied().unwrap_or_default();
            let is_denied =
                before.iter().rev().find(|word| !FILLERS.contains(word)).is_some_and(|word| is_denying(word));
            let next = words.iter().find(|(begin, _)| *begin >= end);
            if (is_infinitive && !AUXILIARIES.contains(&last) && !is_denied)
                || is_none(word, last, next.copied(), &numbers)
            {
                continue;
            }
            found.push(Relation { at, end, word, kind, forward, place, is_denied });
        }
    }
    found.sort_unstable_by_key(|relation| (relation.at, std::cmp::Reverse(relation.end)));
    let mut end = 0;
    found.retain(|relation| {
        let is_apart = relation.at >= end;
        end = end.max(relation.end);
        is_apart
    });
    found
}

/// Whether a word relates nothing where it stands: `failed after 2 s`, `since 12:00`, `below 2 s`, `an earlier one`,
/// `the following`, `failed once.`
fn is_none(word: &str, last: &str, next: Option<(usize, &str)>, numbers: &[(usize, Mention)]) -> bool {
    let number = next.and_then(|(at, _)| numbers.iter().find(|(place, _)| *place == at)).map(|(_, mention)| mention);
    match word {
        "after" => matches!(number, Some(Mention::Number { dimension: Some(Dimension::Duration), .. })),
        "since" => next.is_some_and(|(_, next)| next.starts_with(|c: char| c.is_ascii_digit())),
        "above" | "below" | "beneath" => number.is_some() || next.is_none(),
        "following" | "preceding" | "earlier" | "later" => matches!(last, "the" | "a" | "an" | "this" | "its"),
        "once" => next.is_none() || last == "at",
        _ => false,
    }
}

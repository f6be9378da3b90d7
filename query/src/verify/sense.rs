//! What a text says in words that its predicates have to bear out: causes and orders, that something failed or went
//! well, that something is not so. By lists of words; who writes plainly is understood.

use tracerag_schemas::anchor::Anchor;

use super::facts::{Entry, Facts};
use super::parse::kind;
use super::predicate::{Function, Predicate};
use super::reason::Reason;
use super::visible::{find_words, has_words};

/// Words for a path or an order.
const ORDER: &[&str] = &[
    "before",
    "after",
    "preceded",
    "precedes",
    "preceding",
    "prior to",
    "earlier",
    "later",
    "followed",
    "follows",
    "because",
    "caused",
    "causes",
    "causing",
    "due to",
    "led to",
    "leads to",
    "triggered",
    "triggers",
    "as a result",
    "results in",
    "resulted in",
    "ancestor",
    "descendant",
    "parent",
    "child",
    "root cause",
    "therefore",
    "hence",
    "consequently",
    "thus",
];
const CRITICAL: &[&str] = &["critical path"];
const OVERLAP: &[&str] = &["overlaps", "overlapped", "at the same time", "concurrently", "simultaneously", "meanwhile"];

const FAILED: &[&str] = &[
    "fail",
    "fails",
    "failed",
    "failing",
    "failure",
    "failures",
    "error",
    "errors",
    "errored",
    "crash",
    "crashes",
    "crashed",
    "exception",
    "exceptions",
    "raised",
    "threw",
    "thrown",
    "panicked",
    "broke",
    "broken",
    "outage",
];
const WENT_WELL: &[&str] =
    &["succeeded", "succeeds", "succeed", "success", "successful", "successfully", "healthy", "worked", "passed"];

/// Words that deny; a predicate has to deny, too.
const NOT: &[&str] = &[
    "not",
    "no",
    "never",
    "none",
    "nothing",
    "nobody",
    "neither",
    "nor",
    "without",
    "cannot",
    "isn't",
    "wasn't",
    "aren't",
    "weren't",
    "doesn't",
    "didn't",
    "don't",
    "hasn't",
    "hadn't",
    "haven't",
    "can't",
    "couldn't",
    "won't",
    "wouldn't",
    "isn’t",
    "wasn’t",
    "aren’t",
    "weren’t",
    "doesn’t",
    "didn’t",
    "don’t",
    "hasn’t",
    "hadn’t",
    "can’t",
    "couldn’t",
    "won’t",
];
/// Words that tell of a difference, which a predicate may deny.
const DIFFERENT: &[&str] = &[
    "unlike",
    "other than",
    "different",
    "differs",
    "differed",
    "instead of",
    "rather than",
    "absent",
    "missing",
    "lacks",
    "lacked",
    "except",
    "outside",
];

/// Words after which the first thing named is the earlier or upper one, and after which it is the other.
const FORWARD: &[&str] = &["before", "precedes", "preceded", "prior to", "led to", "leads to", "followed by"];
const BACKWARD: &[&str] = &["after", "follows", "because", "due to", "caused by", "triggered by"];

/// What a claim's text says against its own predicates and anchors, or without one that bears it out.
/// `plain` is the text without quotes, normal; `holding` are the predicates that hold, `entries` what is pointed to.
pub(super) fn reasons(facts: &Facts<'_>, plain: &str, holding: &[&Predicate], entries: &[Entry<'_>]) -> Vec<Reason> {
    let text = plain.to_lowercase();
    let mut reasons = Vec::new();
    reasons.extend(without_order(&text, holding));
    reasons.extend(denial(&text, holding));
    reasons.extend(outcome(&text, entries));
    reasons.extend(holding.iter().filter_map(|predicate| turned_round(facts, &text, predicate)));
    reasons
}

fn first_of(text: &str, words: &'static [&'static str]) -> Option<&'static str> {
    words.iter().find(|word| has_words(text, word)).copied()
}

/// A path, an order or a cause that no predicate speaks for.
fn without_order(text: &str, holding: &[&Predicate]) -> Option<Reason> {
    use Function::{Ancestor, Before, Critical, DeployedBefore, Overlaps};
    let needs = |words: &'static [&'static str], functions: &[Function], example: &str| {
        let word = first_of(text, words)?;
        let speaks = holding.iter().any(|predicate| functions.contains(&predicate.operator.function));
        (!speaks).then(|| {
            Reason::Causality(format!("the text says {word:?}; give a predicate that holds, such as {example}"))
        })
    };
    needs(ORDER, &[Ancestor, Before, DeployedBefore, Overlaps], "before(ANCHOR, ANCHOR) or ancestor(span:A, span:B)")
        .or_else(|| needs(CRITICAL, &[Critical], "critical(span:ID)"))
        .or_else(|| needs(OVERLAP, &[Overlaps, Ancestor], "overlaps(span:A, span:B)"))
}

/// A text that denies where no predicate does, and the other way round.
fn denial(text: &str, holding: &[&Predicate]) -> Option<Reason> {
    let denied = holding.iter().find(|predicate| predicate.is_denial());
    match (first_of(text, NOT), denied) {
        (Some(word), None) => Some(Reason::Contradiction(format!(
            "the text says {word:?}, but no predicate denies anything; give one with != or = false"
        ))),
        (None, Some(denied)) if !text.trim().is_empty() && first_of(text, DIFFERENT).is_none() => {
            Some(Reason::Contradiction(format!("{} denies something, but the text does not", denied.text)))
        }
        _ => None,
    }
}

/// A text that speaks of a failure where nothing failed, or of success where something did.
fn outcome(text: &str, entries: &[Entry<'_>]) -> Option<Reason> {
    let failed = entries.iter().any(Entry::is_failing);
    let is_letter = |c: char| c.is_alphanumeric() || matches!(c, '\'' | '’' | '-' | '_' | '.');
    let words: Vec<&str> =
        text.split_whitespace().map(|word| word.trim_matches(|c| !is_letter(c) || c == '.')).collect();
    words.iter().enumerate().find_map(|(index, word)| {
        let before = words.get(index.saturating_sub(3)..index).unwrap_or_default();
        let is_denied = before.iter().any(|word| NOT.contains(word));
        let says_failed = match (FAILED.contains(word), WENT_WELL.contains(word)) {
            (true, _) => !is_denied,
            (_, true) => is_denied,
            _ => return None,
        };
        (says_failed != failed).then(|| {
            let found = if failed { "failed" } else { "did not fail; add the anchor of what did" };
            Reason::Contradiction(format!("the text says {word:?}, but what the claim points to {found}"))
        })
    })
}

/// A text that names the two sides of an order the other way round than its predicate.
fn turned_round(facts: &Facts<'_>, text: &str, predicate: &Predicate) -> Option<Reason> {
    if !matches!(predicate.operator.function, Function::Before | Function::DeployedBefore) || predicate.is_denial() {
        return None;
    }
    let (word, at, forward) = [(FORWARD, true), (BACKWARD, false)]
        .into_iter()
        .find_map(|(words, forward)| words.iter().find_map(|word| Some((*word, find_words(text, word)?, forward))))?;
    let mut anchors = predicate.anchors();
    let (first, second) = match predicate.operator.function {
        Function::DeployedBefore => {
            let service = predicate.texts().next().unwrap_or_default().to_lowercase();
            (vec![service, "deployment".to_owned(), "build".to_owned()], names(facts, anchors.next()?))
        }
        _ => (names(facts, anchors.next()?), names(facts, anchors.next()?)),
    };
    let (left, right) = (named(text.get(..at)?, &first, &second), named(text.get(at + word.len()..)?, &first, &second));
    let is_turned = match forward {
        true => left == (false, true) && right == (true, false),
        false => left == (true, false) && right == (false, true),
    };
    is_turned
        .then(|| Reason::Contradiction(format!("the text says {word:?} the other way round than {}", predicate.text)))
}

/// Whether a part of a text names the first and the second. Longer names go first, because a flag's key may begin with
/// the name of a service.
fn named(part: &str, first: &[String], second: &[String]) -> (bool, bool) {
    let own = first.iter().filter(|name| !second.contains(name)).map(|name| (name, true));
    let others = second.iter().filter(|name| !first.contains(name)).map(|name| (name, false));
    let mut names: Vec<(&String, bool)> = own.chain(others).collect();
    names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    let (mut part, mut found) = (part.to_owned(), (false, false));
    for (name, is_first) in names {
        while let Some(at) = find_words(&part, name) {
            part.replace_range(at..at + name.len(), &" ".repeat(name.len()));
            if is_first { found.0 = true } else { found.1 = true }
        }
    }
    found
}

/// Words by which a text may speak of what an anchor stands for, in lower case.
fn names(facts: &Facts<'_>, anchor: &Anchor) -> Vec<String> {
    let mut names = vec![kind(anchor).to_owned()];
    for entry in facts.resolve(anchor).unwrap_or_default() {
        let texts = match entry {
            Entry::Span(span, _) => vec![span.name.as_deref(), span.service.as_deref(), Some(span.span_id.as_str())],
            Entry::Log(log) => vec![log.service.as_deref()],
            Entry::Failure(failure) => vec![failure.service.as_deref(), failure.exception_type.as_deref()],
            Entry::Metric(metric) => vec![metric.name.as_deref(), metric.service.as_deref()],
            Entry::Heap(heap) => vec![heap.service.as_deref()],
            Entry::Build(build) => vec![build.service.as_deref(), build.version.as_deref(), Some("deployment")],
            Entry::Flag(flag) => vec![flag.key.as_deref(), flag.variant.as_deref()],
            _ => vec![],
        };
        names.extend(texts.into_iter().flatten().map(str::to_lowercase));
    }
    names
}

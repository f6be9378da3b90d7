//! What a text says in words that its predicates have to bear out: causes and orders, that something failed or went
//! well, that something is not so. By lists of words; who writes plainly is understood.

use tracerag_schemas::anchor::Anchor;

use super::compared::beyond_proof;
use super::decimal::Decimal;
use super::facts::{Entries, Entry, Facts};
use super::names::Vocabulary;
use super::parse::kind;
use super::predicate::{Function, Literal, Predicate};
use super::reason::Reason;
use super::subjects::Subjects;
use super::visible::{find_words, has_words};
use super::words::{trimmed, words_of};

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
    "aborted",
    "refused",
    "rejected",
    "timeout",
    "timeouts",
    "unavailable",
    "unhealthy",
    "faulty",
];
const WENT_WELL: &[&str] = &[
    "succeeded",
    "succeeds",
    "succeed",
    "success",
    "successful",
    "successfully",
    "healthy",
    "worked",
    "works",
    "working",
    "passed",
    "ok",
    "okay",
    "fine",
    "normal",
    "normally",
];
/// Words behind one that denies, within which a value is what is denied.
const DENIED: usize = 3;

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
/// Words of a call; the caller is above.
const CALLS: &[&str] = &["called", "calls", "invoked", "invokes"];
/// Words of a cause that do not say which side it is on.
const CAUSES: &[&str] = &["caused", "causes", "triggered", "triggers", "results in", "resulted in", "as a result"];

/// A predicate that holds, and the entries that it is about.
pub(super) type Held<'a> = (Predicate, Entries<'a>);

/// What a claim's text says against its own predicates and anchors, or without one that bears it out.
/// `plain` is the text without quotes, normal; `held` are the predicates that hold, `entries` what is pointed to.
pub(super) fn reasons<'a>(
    facts: &Facts<'a>,
    vocabulary: &Vocabulary,
    plain: &str,
    held: &[Held<'a>],
    entries: &[Entry<'a>],
) -> Vec<Reason> {
    let text = plain.to_ascii_lowercase();
    let about: Vec<String> = entries.iter().flat_map(|entry| entry.about(facts)).collect();
    let subjects = Subjects::of(&text, about.iter().map(String::as_str));
    let holding: Vec<&Predicate> = held.iter().map(|(predicate, _)| predicate).collect();
    let mut reasons = Vec::new();
    reasons.extend(beyond_proof(plain, &holding));
    reasons.extend(without_order(&text, &holding));
    reasons.extend(of_others(facts, &text, &subjects, held));
    reasons.extend(unrelated(facts, &text, &subjects, held));
    reasons.extend(denial(&text, &holding));
    reasons.extend(denial_of_others(facts, vocabulary, &text, &subjects, held));
    reasons.extend(outcome(facts, &text, &subjects, entries));
    reasons.extend(holding.iter().filter_map(|predicate| turned_round(facts, &text, predicate)));
    reasons
}

/// Whether entries have all of some names among theirs.
fn have_all(facts: &Facts<'_>, entries: &Entries<'_>, names: &[&str]) -> bool {
    let about: Vec<String> = entries.iter().flat_map(|entry| entry.about(facts)).collect();
    names.iter().all(|name| about.iter().any(|known| known == name))
}

/// A text that says `critical path` of something else than its predicates do.
fn of_others(facts: &Facts<'_>, text: &str, subjects: &Subjects<'_>, held: &[Held<'_>]) -> Option<Reason> {
    let (word, functions) =
        [(CRITICAL, &[Function::Critical][..]), (OVERLAP, &[Function::Overlaps, Function::Ancestor][..])]
            .into_iter()
            .find_map(|(words, functions)| Some((first_of(text, words)?, functions)))?;
    let at = find_words(text, word)?;
    let names = subjects.at(text, at, at + word.len());
    let mut speaking = held.iter().filter(|(predicate, _)| functions.contains(&predicate.operator.function)).peekable();
    speaking.peek()?;
    (!speaking.any(|(_, entries)| have_all(facts, entries, &names))).then(|| {
        Reason::Causality(format!(
            "the text says {word:?} of {}, and the predicate is not about that",
            names.join(", ")
        ))
    })
}

/// A text that puts two things in an order or a path that its predicates do not relate.
fn unrelated(facts: &Facts<'_>, text: &str, subjects: &Subjects<'_>, held: &[Held<'_>]) -> Option<Reason> {
    use Function::{Ancestor, Before, DeployedBefore, Overlaps};
    let (word, at) = [FORWARD, BACKWARD, CAUSES].into_iter().flatten().find_map(|word| {
        let at = find_words(text, word)?;
        Some((*word, at))
    })?;
    let (left, right) = subjects.around(at);
    let mut orders = held
        .iter()
        .filter(|(predicate, _)| matches!(predicate.operator.function, Ancestor | Before | DeployedBefore | Overlaps))
        .peekable();
    if left.is_empty() || right.is_empty() || orders.peek().is_none() {
        return None;
    }
    let relates = orders.any(|(_, entries)| {
        let about: Vec<String> = entries.iter().flat_map(|entry| entry.about(facts)).collect();
        let has_one = |names: &[&str]| names.iter().any(|name| about.iter().any(|known| known == name));
        has_one(&left) && has_one(&right)
    });
    (!relates)
        .then(|| Reason::Causality(format!("the text says {word:?} of two things that none of its predicates relates")))
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

/// A text that denies of one thing what its predicates deny of another, or another value than they do.
fn denial_of_others(
    facts: &Facts<'_>,
    vocabulary: &Vocabulary,
    text: &str,
    subjects: &Subjects<'_>,
    held: &[Held<'_>],
) -> Option<Reason> {
    let denying: Vec<&Held<'_>> = held.iter().filter(|(predicate, _)| predicate.is_denial()).collect();
    let word = first_of(text, NOT)?;
    let at = find_words(text, word)?;
    if denying.is_empty() {
        return None;
    }
    let names = subjects.at(text, at, at + word.len());
    if !denying.iter().any(|(_, entries)| have_all(facts, entries, &names)) {
        let names = names.join(", ");
        return Some(Reason::Contradiction(format!("the text denies something of {names}, but no predicate does")));
    }
    let mut behind = words_of(text.get(at + word.len()..)?).into_iter().take(DENIED).map(|(_, word)| trimmed(word));
    let is_value = |word: &&str| {
        vocabulary.values.contains(*word) || Decimal::parse(word).is_some() || matches!(*word, "error" | "unset")
    };
    let value = behind.find(is_value)?;
    let is_denied = denying.iter().any(|(predicate, _)| match &predicate.comparison {
        Some((_, Literal::Text(text) | Literal::Word(text))) => {
            text.eq_ignore_ascii_case(value) || matches!(text.as_str(), "true" | "false")
        }
        Some((_, Literal::Number { value: number, .. })) => Decimal::parse(value) == Some(*number),
        None => false,
    });
    (!is_denied).then(|| Reason::Contradiction(format!("the text denies {value:?}, but no predicate does")))
}

/// A text that speaks of a failure where nothing failed, or of success where something did.
fn outcome(facts: &Facts<'_>, text: &str, subjects: &Subjects<'_>, entries: &[Entry<'_>]) -> Option<Reason> {
    let failed = entries.iter().any(Entry::is_failing);
    let is_letter = |c: char| c.is_alphanumeric() || matches!(c, '\'' | '’' | '-' | '_' | '.');
    let words: Vec<(usize, &str)> =
        words_of(text).into_iter().map(|(at, word)| (at, word.trim_matches(|c| !is_letter(c) || c == '.'))).collect();
    words.iter().enumerate().find_map(|(index, (at, word))| {
        let before = words.get(index.saturating_sub(3)..index).unwrap_or_default();
        let is_denied = before.iter().any(|(_, word)| NOT.contains(word));
        let says_failed = match (FAILED.contains(word), WENT_WELL.contains(word)) {
            (true, _) => !is_denied,
            (_, true) => is_denied,
            _ => return None,
        };
        if says_failed != failed {
            let found = if failed { "failed" } else { "did not fail; add the anchor of what did" };
            return Some(Reason::Contradiction(format!(
                "the text says {word:?}, but what the claim points to {found}"
            )));
        }
        // Where something failed, it has to be that of which it is said.
        let of_it = |name: &&str| {
            let mut failing = entries.iter().filter(|entry| entry.is_failing()).map(|entry| entry.about(facts));
            failing.any(|about| about.is_empty() || about.iter().any(|known| known == name))
        };
        let other = subjects.at(text, *at, at + word.len()).into_iter().find(|name| !of_it(name));
        other.filter(|_| says_failed).map(|name| {
            Reason::Contradiction(format!("the text says {word:?} of {name}, but nothing of it that is pointed to did"))
        })
    })
}

/// A text that names the two sides of an order, or of a call, the other way round than its predicate.
fn turned_round(facts: &Facts<'_>, text: &str, predicate: &Predicate) -> Option<Reason> {
    let function = predicate.operator.function;
    let words: &[(&[&str], bool)] = match function {
        Function::Before | Function::DeployedBefore => &[(FORWARD, true), (BACKWARD, false)],
        Function::Ancestor => &[(CALLS, true)],
        _ => return None,
    };
    if predicate.is_denial() {
        return None;
    }
    let (word, at, forward) = words
        .iter()
        .find_map(|(words, forward)| words.iter().find_map(|word| Some((*word, find_words(text, word)?, *forward))))?;
    let mut anchors = predicate.anchors();
    let (first, second) = match function {
        Function::DeployedBefore => {
            let service = predicate.texts().next().unwrap_or_default().to_lowercase();
            (vec![service, "deployment".to_owned(), "build".to_owned()], names(facts, anchors.next()?))
        }
        _ => (names(facts, anchors.next()?), names(facts, anchors.next()?)),
    };
    let (left, right) = (named(text.get(..at)?, &first, &second), named(text.get(at + word.len()..)?, &first, &second));
    let (is_first, is_second) = ((true, false), (false, true));
    let is_turned = match forward {
        true => left == is_second || right == is_first,
        false => left == is_first || right == is_second,
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

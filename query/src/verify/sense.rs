//! What a text says in words that its predicates have to bear out: paths, orders and causes, that something failed or
//! went well, that something is not so. By lists of words; who writes plainly is understood.

use super::compared::beyond_proof;
use super::denial::{denial, denial_of_others, is_denied};
use super::direction::turned_round;
use super::facts::{Entries, Entry, Facts};
use super::names::Vocabulary;
use super::outcome::outcome;
use super::predicate::{Function, Predicate};
use super::reason::Reason;
use super::relation::{Kind, Relation, relations};
use super::subjects::Subjects;
use super::visible::{find_words, has_words};
use super::words::{trimmed, words_of};

/// Words for a path that name no two sides by themselves.
const PATH: &[&str] = &["ancestor", "ancestors", "descendant", "descendants", "parent", "parents", "child", "children"];
/// The same for a cause.
const CAUSE: &[&str] = &["root cause", "culprit", "to blame"];
/// Verbs that say of what stands right behind them that it was broken by what stands before.
const BROKE: &[&str] = &[
    "broke",
    "breaks",
    "crashed",
    "crashes",
    "killed",
    "kills",
    "affected",
    "affects",
    "impacted",
    "impacts",
    "took down",
    "brought down",
];
/// Verbs of one that makes another do something, and words behind it for what that does.
const MADE: &[&str] = &["made", "makes", "let", "forced", "forces"];
const FAIL: &[&str] = &["fail", "crash", "break", "throw", "error", "abort", "slow", "hang"];
/// Words between the two.
const MADE_TO: usize = 5;
const CRITICAL: &[&str] = &["critical path"];
const OVERLAP: &[&str] = &["overlaps", "overlapped", "at the same time", "concurrently", "simultaneously", "meanwhile"];

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
    let relations = relations(&text, &subjects);
    let holding: Vec<&Predicate> = held.iter().map(|(predicate, _)| predicate).collect();
    let mut reasons = Vec::new();
    reasons.extend(beyond_proof(plain, &holding));
    reasons.extend(without_order(&text, &subjects, &relations, &holding));
    reasons.extend(of_others(facts, &text, &subjects, held));
    reasons.extend(unrelated(facts, &subjects, &relations, held));
    reasons.extend(denial(&text, &holding));
    reasons.extend(denial_of_others(facts, vocabulary, &text, &subjects, held));
    reasons.extend(outcome(facts, &text, &subjects, entries));
    reasons.extend(turned_round(facts, &text, &relations, held));
    reasons
}

/// Whether entries have all of some names among theirs.
pub(super) fn have_all(facts: &Facts<'_>, entries: &Entries<'_>, names: &[&str]) -> bool {
    let about: Vec<String> = entries.iter().flat_map(|entry| entry.about(facts)).collect();
    names.iter().all(|name| about.iter().any(|known| known == name))
}

pub(super) fn first_of(text: &str, words: &'static [&'static str]) -> Option<&'static str> {
    words.iter().find(|word| has_words(text, word)).copied()
}

/// A text that says `critical path` of something else than its predicates do, or denies it where they do not.
fn of_others(facts: &Facts<'_>, text: &str, subjects: &Subjects<'_>, held: &[Held<'_>]) -> Option<Reason> {
    let (word, functions) =
        [(CRITICAL, &[Function::Critical][..]), (OVERLAP, &[Function::Overlaps, Function::Ancestor][..])]
            .into_iter()
            .find_map(|(words, functions)| Some((first_of(text, words)?, functions)))?;
    let at = find_words(text, word)?;
    let names = subjects.at(text, at, at + word.len());
    let mut speaking = held.iter().filter(|(predicate, _)| functions.contains(&predicate.operator.function)).peekable();
    speaking.peek()?;
    let about: Vec<&Held<'_>> = speaking.filter(|(_, entries)| have_all(facts, entries, &names)).collect();
    if about.is_empty() {
        let names = names.join(", ");
        return Some(Reason::Causality(format!(
            "the text says {word:?} of {names}, and the predicate is not about that"
        )));
    }
    let is_denied = is_denied(text, at);
    (!about.iter().any(|(predicate, _)| predicate.is_denial() == is_denied)).then(|| {
        let (text, predicates) = if is_denied { ("denies", "do not") } else { ("says", "deny it") };
        Reason::Contradiction(format!("the text {text} {word:?}, and its predicates {predicates}"))
    })
}

/// A text that puts two things in an order or a path that its predicates do not relate.
fn unrelated(facts: &Facts<'_>, subjects: &Subjects<'_>, relations: &[Relation], held: &[Held<'_>]) -> Option<Reason> {
    use Function::{Ancestor, Before, DeployedBefore, Overlaps};
    let is_order =
        |predicate: &Predicate| matches!(predicate.operator.function, Ancestor | Before | DeployedBefore | Overlaps);
    let orders: Vec<(Function, Vec<String>)> = held
        .iter()
        .filter(|(predicate, _)| is_order(predicate))
        .map(|(predicate, entries)| {
            (predicate.operator.function, entries.iter().flat_map(|entry| entry.about(facts)).collect())
        })
        .collect();
    relations.iter().find_map(|relation| {
        let speaks = |function: Function| relation.kind != Kind::Path || function == Ancestor;
        let mut orders = orders.iter().filter(|(function, _)| speaks(*function)).peekable();
        let (left, right) = subjects.around(relation.at);
        if left.is_empty() || right.is_empty() || orders.peek().is_none() {
            return None;
        }
        let relates = orders.any(|(_, about)| {
            let has_one = |names: &[&str]| names.iter().any(|name| about.iter().any(|known| known == name));
            has_one(&left) && has_one(&right)
        });
        (!relates).then(|| {
            let word = relation.word;
            Reason::Causality(format!("the text says {word:?} of two things that none of its predicates relates"))
        })
    })
}

/// A path, an order or a cause that no predicate speaks for.
fn without_order(
    text: &str,
    subjects: &Subjects<'_>,
    relations: &[Relation],
    holding: &[&Predicate],
) -> Option<Reason> {
    use Function::{Ancestor, Before, Critical, DeployedBefore, Overlaps};
    let needs = |word: Option<&str>, functions: &[Function], example: &str| {
        let word = word?;
        let speaks = holding.iter().any(|predicate| functions.contains(&predicate.operator.function));
        (!speaks).then(|| {
            Reason::Causality(format!("the text says {word:?}; give a predicate that holds, such as {example}"))
        })
    };
    let of_kind = |kinds: &[Kind]| {
        // `failed once` is a number as often as an order.
        let mut words = relations.iter().filter(|relation| kinds.contains(&relation.kind) && relation.word != "once");
        words.next().map(|relation| relation.word)
    };
    let path = || {
        let called = relations.iter().find(|relation| {
            let (left, right) = subjects.around(relation.at);
            relation.kind == Kind::Path && !left.is_empty() && !right.is_empty()
        });
        called.map(|relation| relation.word).or_else(|| first_of(text, PATH))
    };
    let cause =
        || of_kind(&[Kind::Cause, Kind::Trigger]).or_else(|| first_of(text, CAUSE)).or_else(|| broken(text, subjects));
    let orders = [Ancestor, Before, DeployedBefore];
    let causes = [Ancestor, Before, DeployedBefore, Overlaps];
    let example = "before(ANCHOR, ANCHOR) or ancestor(span:A, span:B)";
    needs(of_kind(&[Kind::Order]), &orders, example)
        .or_else(|| needs(cause(), &causes, example))
        .or_else(|| needs(path(), &[Ancestor], "ancestor(span:A, span:B)"))
        .or_else(|| needs(first_of(text, CRITICAL), &[Critical], "critical(span:ID)"))
        .or_else(|| needs(first_of(text, OVERLAP), &[Overlaps, Ancestor], "overlaps(span:A, span:B)"))
}

/// A verb by which one thing broke another: `the flag broke payments`, `the flag made payments fail`.
fn broken(text: &str, subjects: &Subjects<'_>) -> Option<&'static str> {
    let words = words_of(text);
    let is_named = |index: usize| {
        let mut behind = words.get(index..).unwrap_or_default().iter();
        let next = behind.find(|(_, word)| !matches!(*word, "the" | "service" | "span" | "call"));
        next.is_some_and(|(at, _)| subjects.has_at(*at))
    };
    words.iter().enumerate().find_map(|(index, (at, word))| {
        let word = trimmed(word);
        if subjects.is_first(*at) {
            return None;
        }
        let breaks = |verb: &&&str| {
            let length = verb.split(' ').count();
            let behind = text.get(*at..).unwrap_or_default();
            behind.starts_with(**verb) && find_words(behind, verb) == Some(0) && is_named(index + length)
        };
        let makes = |verb: &&&str| {
            let mut behind = words.get(index + 1..).unwrap_or_default().iter().take(MADE_TO);
            word == **verb && behind.any(|(_, word)| FAIL.contains(&trimmed(word)))
        };
        BROKE.iter().find(breaks).or_else(|| MADE.iter().find(makes)).copied()
    })
}

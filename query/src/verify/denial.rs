//! Denials: a text that denies has predicates that deny, of the same thing and the same value, and the other way round.

use super::decimal::Decimal;
use super::facts::Facts;
use super::names::Vocabulary;
use super::predicate::{Comparison, JSON_TYPES, Literal, Predicate};
use super::reason::Reason;
use super::sense::{Held, first_of, have_all};
use super::subjects::{Subjects, begins_clause};
use super::visible::find_words;
use super::words::{trimmed, words_of};

/// Words behind one that denies, within which a value is what is denied.
const DENIED: usize = 6;

/// Words that deny; a predicate has to deny, too.
const NOT: &[&str] = &[
    "not",
    "no",
    "never",
    "none",
    "nothing",
    "nobody",
    "nowhere",
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
    "shouldn't",
    "isn’t",
    "wasn’t",
    "aren’t",
    "weren’t",
    "doesn’t",
    "didn’t",
    "don’t",
    "hasn’t",
    "hadn’t",
    "haven’t",
    "can’t",
    "couldn’t",
    "won’t",
    "wouldn’t",
    "shouldn’t",
    "hardly",
    "barely",
    "scarcely",
    "untrue",
    "false that",
    "false to say",
    "falsely",
    "contrary to",
    "far from",
    "anything but",
    "avoided",
    "avoids",
    "prevented",
    "prevents",
    "ruled out",
    "disproved",
    "disproves",
    "refuted",
    "refutes",
    "wrong to say",
    "free of",
    "free from",
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
    "off the",
    "apart from",
    "beside",
];
/// Words at which what a denial denies ends.
const ENDS: &[&str] = &["with", "in", "under", "at", "for", "during", "on", "by", "from"];

/// Whether a word, in lower case, denies.
pub(super) fn is_denying(word: &str) -> bool {
    NOT.contains(&word)
}

/// Whether what stands at a byte of a text is denied by a word shortly before it, in the same clause.
pub(super) fn is_denied(text: &str, at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    let words = words_of(before);
    let close = words.iter().rev().take(DENIED).take_while(|(_, word)| !word.ends_with([';', ':']));
    let begin = close.last().map_or(at, |(begin, _)| *begin);
    let close = before.get(begin..).unwrap_or_default();
    first_of(close, NOT).is_some() || first_of(close, DIFFERENT).is_some()
}

/// A text that denies where no predicate does, and the other way round.
pub(super) fn denial(text: &str, holding: &[&Predicate]) -> Option<Reason> {
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
pub(super) fn denial_of_others(
    facts: &Facts<'_>,
    vocabulary: &Vocabulary,
    text: &str,
    subjects: &Subjects<'_>,
    held: &[Held<'_>],
) -> Option<Reason> {
    let denying: Vec<&Held<'_>> = held.iter().filter(|(predicate, _)| predicate.is_denial()).collect();
    if denying.is_empty() {
        return None;
    }
    NOT.iter().find_map(|word| {
        let at = find_words(text, word)?;
        let names = subjects.at(text, at, at + word.len());
        if !denying.iter().any(|(_, entries)| have_all(facts, entries, &names)) {
            let names = names.join(", ");
            return Some(Reason::Contradiction(format!("the text denies something of {names}, but no predicate does")));
        }
        let value = denied_value(vocabulary, text.get(at + word.len()..)?, held)?;
        let says = |(predicate, _): &&&Held<'_>| is_value_of(predicate, &value);
        (!denying.iter().any(|held| says(&held)))
            .then(|| Reason::Contradiction(format!("the text denies {value:?}, but no predicate does")))
    })
}

/// The first value behind a word that denies, in its clause.
fn denied_value(vocabulary: &Vocabulary, behind: &str, held: &[Held<'_>]) -> Option<String> {
    let words = words_of(behind).into_iter().take(DENIED).map(|(_, word)| word);
    let mut is_over = false;
    let clause = words.take_while(|word| {
        let goes_on = !is_over && !begins_clause(trimmed(word)) && !ENDS.contains(&trimmed(word));
        is_over = word.ends_with([',', ';', ':']);
        goes_on
    });
    let is_said = |word: &str| held.iter().any(|(predicate, _)| is_literal(predicate, word));
    let is_value = |word: &&str| {
        vocabulary.values.contains(*word)
            || Decimal::parse(word).is_some()
            || matches!(*word, "error" | "unset")
            || is_said(word)
    };
    clause.map(trimmed).find(is_value).map(str::to_owned)
}

/// Whether a word is what a predicate compares with.
fn is_literal(predicate: &Predicate, word: &str) -> bool {
    match &predicate.comparison {
        Some((_, Literal::Text(text))) => text.eq_ignore_ascii_case(word),
        Some((Comparison::Equal | Comparison::NotEqual, Literal::Word(text))) => {
            JSON_TYPES.contains(&text.as_str()) && text.eq_ignore_ascii_case(word)
        }
        _ => false,
    }
}

/// Whether a denying predicate denies a value, or something that has none.
fn is_value_of(predicate: &Predicate, value: &str) -> bool {
    match &predicate.comparison {
        Some((_, Literal::Text(text) | Literal::Word(text))) => {
            text.eq_ignore_ascii_case(value) || matches!(text.as_str(), "true" | "false")
        }
        Some((_, Literal::Number { value: number, .. })) => Decimal::parse(value) == Some(*number),
        None => false,
    }
}

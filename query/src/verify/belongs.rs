//! What a text says of something has to stand in what the claim points to of that, not of its neighbour: a duration,
//! a version or a quote under the name of another service is false, though each of them is in the evidence.

use super::names::{Vocabulary, bound};
use super::reason::Reason;
use super::subjects::Subjects;
use super::support::{Source, Support};
use super::visible::find_name;
use super::words::{Mention, Parts, mentions, trimmed, words_of};

/// Words within which a value behind a key is that of the key: `payments.decimal_mode was switched to strict`.
const BEHIND: usize = 4;
/// Words that are no values behind those that follow below.
const NO_VALUES: &[&str] = &["a", "an", "the", "in", "at", "by", "for", "with", "not", "as", "of"];
/// Words behind which stands a value.
const IS: &[&str] = &["is", "was", "are", "were", "to", "turned", "switched", "be", "being", "been", "stayed", "="];

/// What a text says of the wrong thing.
pub(super) fn misplaced(vocabulary: &Vocabulary, parts: &Parts, support: &Support) -> Vec<Reason> {
    let lower = parts.plain.to_ascii_lowercase();
    let subjects = Subjects::of(&lower, support.names());
    let place = Place { lower: &lower, subjects: &subjects, support };
    let mut reasons = Vec::new();
    let masked = subjects.masked(&parts.plain);
    for (at, mention) in mentions(&masked) {
        reasons.extend(match &mention {
            Mention::Identifier(word) => place.check(at, word, |source| source.has(word) || source.has_commit(word)),
            Mention::Number { text, value, tolerance, dimension, before } => match bound(before) {
                Some(_) => place.check(at, text, |source| source.bounds.iter().any(|(_, bound)| bound == value)),
                None => place
                    .check(at, text, |source| source.has_number(*value, *tolerance, *dimension) || source.has(text)),
            },
        });
    }
    let masked = subjects.masked(&lower);
    for value in &vocabulary.values {
        if let Some(at) = find_name(&masked, value) {
            reasons.extend(place.check(at, value, |source| source.has_name(value)));
        }
    }
    for (at, quoted) in parts.marks.iter().zip(&parts.quoted) {
        reasons.extend(place.check(*at, quoted, |source| source.has(quoted)));
    }
    reasons.extend(under_wrong_keys(vocabulary, &parts.plain, &lower, support));
    reasons
}

/// The text and what it speaks of where.
struct Place<'a> {
    lower: &'a str,
    subjects: &'a Subjects<'a>,
    support: &'a Support,
}

impl Place<'_> {
    /// What is wrong with a value at a byte: it occurs, but not in anything of what it is said of.
    fn check(&self, at: usize, value: &str, holds: impl Fn(&Source) -> bool) -> Option<Reason> {
        let names = self.subjects.at(self.lower, at, at + value.len());
        if names.is_empty() {
            return None;
        }
        let in_time = |_: &&Source| !self.support.deadline.is_over();
        let mut holding = self.support.sources.iter().take_while(in_time).filter(|source| holds(source)).peekable();
        holding.peek()?;
        (!holding.any(|source| source.is_about(&names))).then(|| {
            Reason::Names(format!(
                "the text says {value:?} of {}, but it occurs only in what the claim points to of others",
                names.join(", ")
            ))
        })
    }
}

/// Values that stand right behind the key of another one.
fn under_wrong_keys(vocabulary: &Vocabulary, plain: &str, lower: &str, support: &Support) -> Vec<Reason> {
    let keys = Subjects::of(lower, support.keyed.iter().map(|(key, _)| key.as_str()));
    let mut reasons = Vec::new();
    for (end, key) in keys.ends() {
        let Some(value) = value_behind(vocabulary, plain.get(end..).unwrap_or_default()) else { continue };
        let mut own = support.keyed.iter().filter(|(known, _)| known == key).map(|(_, value)| value);
        if !own.any(|known| is_same(known, &value)) {
            reasons.push(Reason::Contradiction(format!("the text says {value:?} of {key}, which has another value")));
        }
    }
    reasons
}

/// The first value among the words behind a key, in lower case.
fn value_behind(vocabulary: &Vocabulary, rest: &str) -> Option<String> {
    let found = mentions(rest);
    let mut before = String::new();
    for (at, raw) in words_of(rest).into_iter().take(BEHIND) {
        let word = trimmed(raw).to_ascii_lowercase();
        match found.iter().find(|(place, _)| *place == at) {
            Some((_, Mention::Number { dimension: None, text, before, .. })) if bound(before).is_none() => {
                return Some(text.to_ascii_lowercase());
            }
            Some((_, Mention::Number { .. })) => return None,
            Some((_, Mention::Identifier(word))) => return Some(word.to_ascii_lowercase()),
            None if vocabulary.values.contains(&word) => return Some(word),
            None if raw.ends_with([',', ';', ':']) || NO_VALUES.contains(&word.as_str()) => return None,
            // `K was strict`, but not `K was switched to`.
            None if IS.contains(&before.as_str()) && !word.is_empty() && !is_verb(&word) => return Some(word),
            None if raw.ends_with('.') => return None,
            None => before = word,
        }
    }
    None
}

/// Whether a word says what became of a value, such as `switched`, rather than which it is.
fn is_verb(word: &str) -> bool {
    let is_value = matches!(word, "enabled" | "disabled");
    (word.ends_with("ed") || word.ends_with("ing") || matches!(word, "set" | "to" | "be" | "been")) && !is_value
}

fn is_same(known: &str, value: &str) -> bool {
    let of_switch = |word: &str| match word {
        "on" | "true" | "enabled" => Some(true),
        "off" | "false" | "disabled" => Some(false),
        _ => None,
    };
    let is_switch = of_switch(value).is_some();
    find_name(known, value).is_some() || (is_switch && of_switch(known) == of_switch(value))
}

//! What a text says of something has to stand in what the claim points to of that, not of its neighbour: a duration,
//! a version or a quote under the name of another service is false, though each of them is in the evidence.

use std::collections::HashSet;

use super::denial::is_denied;
use super::names::{Vocabulary, bound, capitals};
use super::predicate::{Dimension, JSON_TYPES};
use super::reason::Reason;
use super::subjects::Subjects;
use super::support::{Source, Support};
use super::visible::{find_name, normal};
use super::words::{Mention, Parts, mentions, trimmed, words_of};

/// Words within which a value behind a key is that of the key: `payments.decimal_mode was switched to strict`.
const BEHIND: usize = 4;
/// Words that are no values behind those that follow below.
const NO_VALUES: &[&str] = &["a", "an", "the", "in", "at", "by", "for", "with", "not", "as", "of"];
/// Other words for JSON types.
const TYPES: &[(&str, &str)] = &[
    ("strings", "string"),
    ("text", "string"),
    ("numbers", "number"),
    ("numeric", "number"),
    ("integer", "number"),
    ("int", "number"),
    ("float", "number"),
    ("double", "number"),
    ("bool", "boolean"),
    ("list", "array"),
];
/// What stands in a text where a quote was taken out.
const MARK: char = '\u{2022}';
/// Words behind which stands a value.
const IS: &[&str] = &["is", "was", "are", "were", "to", "turned", "switched", "be", "being", "been", "stayed", "="];

/// What a text says of the wrong thing.
pub(super) fn misplaced(vocabulary: &Vocabulary, parts: &Parts, support: &Support) -> Vec<Reason> {
    let lower = parts.plain.to_ascii_lowercase();
    let subjects = Subjects::of(&lower, support.names());
    let of_parts = Subjects::of(&lower, support.parts());
    let place = Place { lower: &lower, subjects: &subjects, parts: &of_parts, support };
    let mut reasons = Vec::new();
    let masked = of_parts.masked(&subjects.masked(&parts.plain));
    for (at, mention) in mentions(&masked) {
        reasons.extend(match &mention {
            Mention::Identifier(word) => place.check(at, word, |source| source.has(word) || source.has_commit(word)),
            Mention::Number { text, value, tolerance, dimension, before } => {
                let is_bound = bound(before).is_some();
                let holds = |source: &Source| match is_bound {
                    true => source.bounds.iter().any(|(_, bound)| bound == value),
                    false => source.has_number(*value, *tolerance, *dimension) || source.has(text),
                };
                place.check_number(at, text, *dimension, holds)
            }
        });
    }
    for (at, word) in capitals(&masked) {
        reasons.extend(place.check(at, word, |source| source.has(word)));
    }
    reasons.extend(other_types(&place));
    let masked = subjects.masked(&lower);
    for value in &vocabulary.values {
        if let Some(at) = find_name(&masked, value) {
            reasons.extend(place.check(at, value, |source| source.has_name(value)));
        }
    }
    for (at, quoted) in parts.marks.iter().zip(&parts.quoted) {
        reasons.extend(place.check(*at, quoted, |source| source.has(quoted)));
    }
    reasons.extend(under_wrong_keys(vocabulary, &parts.plain, &lower, &support.keyed, false));
    reasons.extend(under_wrong_keys(vocabulary, &parts.plain, &lower, &support.fields, true));
    reasons
}

/// A text whose names in code stand in it like others, so that they are what something is said of.
pub(super) fn with_names(parts: &Parts, support: &Support) -> Parts {
    let names: HashSet<&str> = support.names().chain(support.parts()).collect();
    let mut named = Parts::default();
    let mut from = 0;
    for (at, quoted) in parts.marks.iter().zip(&parts.quoted) {
        named.plain.push_str(parts.plain.get(from..*at).unwrap_or_default());
        from = *at;
        if names.contains(normal(quoted).to_ascii_lowercase().as_str()) {
            named.plain.push_str(&normal(quoted));
            from += MARK.len_utf8();
        } else {
            named.marks.push(named.plain.len());
            named.quoted.push(quoted.clone());
        }
    }
    named.plain.push_str(parts.plain.get(from..).unwrap_or_default());
    named
}

/// The text and what it speaks of where.
struct Place<'a> {
    lower: &'a str,
    subjects: &'a Subjects<'a>,
    /// Names of parts of heaps and payloads.
    parts: &'a Subjects<'a>,
    support: &'a Support,
}

impl Place<'_> {
    /// What is wrong with a value at a byte: it occurs, but not in anything of what it is said of.
    fn check(&self, at: usize, value: &str, holds: impl Fn(&Source) -> bool) -> Option<Reason> {
        let names = self.subjects.of_value(self.lower, at, at + value.len());
        self.check_of(&names, at, value, holds)
    }

    /// The same for a number: one with a unit may stand before what it is said of, as in `2 s passed within payments`.
    fn check_number(
        &self,
        at: usize,
        value: &str,
        dimension: Option<Dimension>,
        holds: impl Fn(&Source) -> bool,
    ) -> Option<Reason> {
        let end = at + value.len();
        let mut names = self.subjects.of_value(self.lower, at, end);
        if names.is_empty() && dimension.is_some() {
            names.extend(self.subjects.next(end));
        }
        self.check_of(&names, at, value, holds)
    }

    fn check_of(&self, names: &[&str], at: usize, value: &str, holds: impl Fn(&Source) -> bool) -> Option<Reason> {
        let in_time = |_: &&Source| !self.support.deadline.is_over();
        let mut holding = self.support.sources.iter().take_while(in_time).filter(|source| holds(source)).peekable();
        holding.peek()?;
        let part = self.parts.nearest(self.lower, at, at + value.len());
        let is_denied = is_denied(self.lower, at);
        let speaks = |source: &Source| {
            // What another incident had is said of that one, by name.
            let is_about = match source.is_foreign {
                true => !names.is_empty() && names.iter().all(|name| source.is_about(&[*name])),
                false => names.is_empty() || source.is_about(names),
            };
            let is_part = match (part, &source.part) {
                (Some(part), Some(own)) => part == own,
                (Some(_), None) => !source.has_parts,
                (None, _) => true,
            };
            is_about && is_part && (!source.denies || is_denied)
        };
        (!holding.any(speaks)).then(|| {
            let mut names = names.to_vec();
            names.extend(part.filter(|part| !names.contains(part)));
            let of = if names.is_empty() { String::from("it") } else { names.join(", ") };
            Reason::Names(format!(
                "the text says {value:?} of {of}, but it occurs only in what the claim points to of others"
            ))
        })
    }
}

/// Words for a JSON type in a text where predicates say what the types are: no other, and of the same field.
fn other_types(place: &Place<'_>) -> Vec<Reason> {
    if !place.support.sources.iter().any(|source| source.type_word.is_some()) {
        return vec![];
    }
    let words = words_of(place.lower);
    let mut reasons = Vec::new();
    for (index, (at, raw)) in words.iter().enumerate() {
        let word = trimmed(raw);
        let known = TYPES.iter().find(|(name, _)| *name == word).map_or(word, |(_, known)| *known);
        // `the number of seats`.
        let counts = words.get(index + 1).is_some_and(|(_, next)| *next == "of");
        if !JSON_TYPES.contains(&known) || counts {
            continue;
        }
        let is_said = |source: &Source| source.type_word.as_deref() == Some(known);
        if place.support.sources.iter().any(is_said) {
            reasons.extend(place.check(*at, word, is_said));
        } else {
            reasons.push(Reason::Contradiction(format!("the text says {word:?}, and its predicates say another type")));
        }
    }
    reasons
}

/// Values that stand right behind the key of another one, or right before it. Of a field of a payload only what cannot be
/// a word of the language is one: `the currency is unknown` says nothing of the value.
fn under_wrong_keys(
    vocabulary: &Vocabulary,
    plain: &str,
    lower: &str,
    keyed: &[(String, String)],
    is_field: bool,
) -> Vec<Reason> {
    let keys = Subjects::of(lower, keyed.iter().map(|(key, _)| key.as_str()));
    let mut reasons = Vec::new();
    for (end, key) in keys.ends() {
        let behind = value_behind(vocabulary, plain.get(end..).unwrap_or_default(), is_field);
        let before = lower.get(..end.saturating_sub(key.len())).and_then(switch_before).filter(|_| !is_field);
        for value in behind.into_iter().chain(before.map(str::to_owned)) {
            let mut own = keyed.iter().filter(|(known, _)| known == key).map(|(_, value)| value);
            if !own.any(|known| is_same(known, &value)) {
                reasons
                    .push(Reason::Contradiction(format!("the text says {value:?} of {key}, which has another value")));
            }
        }
    }
    reasons
}

/// What a text says of a switch right before its name: `the disabled flag new_checkout`.
fn switch_before(before: &str) -> Option<&str> {
    let mut close = before.split_whitespace().rev().take(2).map(trimmed);
    close.find(|word| switch(word).is_some() && !matches!(*word, "on" | "off" | "true" | "false"))
}

/// The first value among the words behind a key, in lower case.
fn value_behind(vocabulary: &Vocabulary, rest: &str, is_field: bool) -> Option<String> {
    let found = mentions(rest);
    let mut before = String::new();
    for (at, raw) in words_of(rest).into_iter().take(BEHIND) {
        let written = trimmed(raw);
        let word = written.to_ascii_lowercase();
        let is_last = rest.get(at + raw.len()..).is_some_and(|rest| rest.trim().is_empty());
        let is_end = is_last || raw.ends_with([',', ';', ':', '.', ')']);
        match found.iter().find(|(place, _)| *place == at) {
            Some((_, Mention::Number { dimension: None, text, before, .. })) if bound(before).is_none() => {
                return Some(text.to_ascii_lowercase());
            }
            Some((_, Mention::Number { .. })) => return None,
            Some((_, Mention::Identifier(word))) => return Some(word.to_ascii_lowercase()),
            None if vocabulary.values.contains(&word) => return Some(word),
            None if capitals(written).next().is_some() => return Some(word),
            // `K reads off`, but not `K on payments`.
            None if !is_field && switch(&word).is_some() && (word != "on" || is_end) => return Some(word),
            None if NO_VALUES.contains(&word.as_str()) => return None,
            // `K was strict`, but not `K was switched to`.
            None if !is_field && IS.contains(&before.as_str()) && !word.is_empty() && !is_verb(&word) => {
                return Some(word);
            }
            None if raw.ends_with([',', ';', ':', '.']) => return None,
            None => before = word,
        }
    }
    None
}

/// Whether a word says what became of a value, such as `switched`, rather than which it is.
fn is_verb(word: &str) -> bool {
    let is_value = switch(word).is_some();
    (word.ends_with("ed") || word.ends_with("ing") || matches!(word, "set" | "to" | "be" | "been")) && !is_value
}

fn is_same(known: &str, value: &str) -> bool {
    let is_switch = switch(value).is_some();
    // A flag with a variant of another name is enabled.
    let is_enabled = matches!(value, "enabled" | "active" | "activated") && switch(known).is_none();
    find_name(known, value).is_some() || is_enabled || (is_switch && switch(known) == switch(value))
}

/// Which way a switch is, by a word.
fn switch(word: &str) -> Option<bool> {
    match word {
        "on" | "true" | "enabled" | "active" | "activated" => Some(true),
        "off" | "false" | "disabled" | "inactive" | "deactivated" => Some(false),
        _ => None,
    }
}

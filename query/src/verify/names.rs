//! What a text names has to occur in what its anchors, quotes and predicates name: no model, so by words.

use std::collections::BTreeSet;

use tracerag_schemas::bundle::Bundle;
use tracerag_schemas::values::{SPAN_KINDS, STATUS_CODES};

use super::decimal::Decimal;
use super::facts::{Entry, Named};
use super::parse::unit_of;
use super::predicate::{Comparison, Dimension, Literal, Predicate, SEVERITIES};
use super::reason::Reason;
use super::visible::{has_words, normal};
use super::words::{Mention, Parts, mentions};

/// Names that are also words of the language, so that a text may have them by chance.
const COMMON: &[&str] =
    &["on", "off", "in", "to", "the", "a", "an", "it", "is", "at", "and", "or", "of", "by", "true", "false"];

/// Hex digits from which on a word may be the beginning of a commit.
const COMMIT: usize = 7;

/// What stands before a word that is the name of a mode, a variant or a service.
const NAMED_BY: &[&str] = &["mode", "variant", "service"];
/// Words before these that are no names.
const NO_NAMES: &[&str] = &[
    "a",
    "an",
    "the",
    "this",
    "that",
    "its",
    "their",
    "each",
    "every",
    "any",
    "same",
    "other",
    "another",
    "one",
    "failing",
    "failed",
    "failure",
    "affected",
    "calling",
    "called",
    "upstream",
    "downstream",
    "new",
    "old",
    "current",
    "previous",
    "default",
    "wrong",
    "right",
    "of",
    "and",
    "in",
    "by",
    "which",
    "backend",
    "frontend",
    "client",
    "server",
    "first",
    "second",
    "last",
    "flag",
    "no",
];
/// Verbs after which `to X` says what a flag or a value became.
const BECAME: &[&str] = &["set", "switched", "changed", "flipped", "turned", "moved", "equal"];

/// Words before a number that say it is a lower bound, and an upper bound.
const MORE: &[&str] = &[
    "more than",
    "over",
    "above",
    "at least",
    "exceeds",
    "exceeded",
    "longer than",
    "greater than",
    "larger than",
    "slower than",
    "beyond",
    ">",
    ">=",
    "≥",
];
const LESS: &[&str] = &[
    "less than",
    "under",
    "below",
    "at most",
    "within",
    "fewer than",
    "shorter than",
    "smaller than",
    "faster than",
    "up to",
    "<",
    "<=",
    "≤",
];

/// Words that say nothing of what a text is about: of the language, and names of members that every bundle has.
const EMPTY: &[&str] = &[
    "about", "after", "also", "and", "are", "because", "been", "before", "body", "but", "caused", "did", "does",
    "during", "error", "errors", "event", "events", "fail", "failed", "fails", "failure", "for", "from", "had", "has",
    "have", "into", "its", "kind", "match", "name", "not", "off", "one", "out", "over", "service", "services", "since",
    "span", "spans", "status", "than", "that", "the", "their", "then", "there", "these", "they", "this", "those",
    "time", "trace", "type", "under", "value", "variant", "version", "was", "were", "when", "where", "which", "while",
    "who", "why", "with", "you",
];

/// What a claim points to, as far as words can be found in it.
#[derive(Default)]
pub(super) struct Support {
    /// Texts, normal and in lower case.
    texts: Vec<String>,
    numbers: Vec<(Option<Dimension>, Decimal)>,
    /// Numbers of predicates that compare.
    bounds: Vec<(Comparison, Decimal)>,
}

impl Support {
    /// Takes in all that an entry names.
    pub(super) fn entry(&mut self, entry: &Entry<'_>) {
        let unit = match entry {
            Entry::Metric(metric) => metric.unit.as_deref(),
            _ => None,
        };
        for named in entry.named() {
            self.number(&named, unit);
            self.text(&named.value);
            if let Some(key) = &named.key {
                self.text(key);
            }
        }
    }

    fn number(&mut self, named: &Named, unit: Option<&str>) {
        let Some(number) = Decimal::parse(&named.value) else { return };
        let key = named.key.as_deref().unwrap_or_default();
        let (dimension, factor) = match (key, unit) {
            ("points" | "value" | "sum" | "min" | "max", Some("By")) => (Some(Dimension::Bytes), None),
            ("points" | "value" | "sum" | "min" | "max", Some(unit)) => {
                unit_of(unit).map_or((None, None), |(dimension, factor)| (Some(dimension), Some(factor)))
            }
            (key, _) if key.ends_with("_ns") => (Some(Dimension::Duration), None),
            ("bytes", _) => (Some(Dimension::Bytes), None),
            (key, _) if key.ends_with("_bytes") => (Some(Dimension::Bytes), None),
            _ => (None, None),
        };
        let scaled = factor.map_or(Some(number), |factor| number.times(factor));
        self.numbers.extend(scaled.map(|number| (dimension, number)));
        // `4000000000` of a duration may be named without a unit, too.
        self.numbers.push((None, number));
    }

    /// Takes in a text, such as a quote that stands where it should.
    pub(super) fn text(&mut self, text: &str) {
        if !text.is_empty() {
            self.texts.push(normal(text).to_lowercase());
        }
    }

    /// Takes in what a predicate that holds says.
    pub(super) fn predicate(&mut self, predicate: &Predicate) {
        predicate.texts().for_each(|text| self.text(text));
        match &predicate.comparison {
            Some((_, Literal::Text(text) | Literal::Word(text))) => self.text(text),
            Some((Comparison::Equal | Comparison::NotEqual, Literal::Number { value, unit })) => {
                self.numbers.push((*unit, *value));
                if unit.is_none() {
                    let answer = predicate.operator.answer;
                    self.numbers.extend(super::predicate::dimension(answer).map(|dimension| (Some(dimension), *value)));
                }
            }
            Some((comparison, Literal::Number { value, .. })) => self.bounds.push((*comparison, *value)),
            None => {}
        }
    }

    fn has(&self, name: &str) -> bool {
        let name = normal(name).to_lowercase();
        self.texts.iter().any(|text| has_words(text, &name))
    }

    /// Whether a word begins a commit that the support names.
    fn has_commit(&self, word: &str) -> bool {
        let is_hex = word.len() >= COMMIT && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let word = word.to_lowercase();
        let is_it = |part: &str| part.len() >= word.len() && part.starts_with(&word);
        is_hex && self.texts.iter().any(|text| text.split(|c: char| !c.is_ascii_alphanumeric()).any(is_it))
    }

    fn has_number(&self, value: Decimal, tolerance: Decimal, dimension: Option<Dimension>) -> bool {
        self.numbers.iter().any(|(known, number)| match dimension {
            None => known.is_none() && *number == value,
            Some(_) => *known == dimension && number.distance(value).is_some_and(|distance| distance <= tolerance),
        })
    }
}

/// The names of a bundle: whoever says one of them speaks of the incident.
pub(super) struct Vocabulary {
    names: BTreeSet<String>,
}

impl Vocabulary {
    pub(super) fn of(bundle: &Bundle) -> Self {
        let evidence = &bundle.evidence;
        let mut names = BTreeSet::new();
        let mut take = |name: Option<&str>| {
            let name = normal(name.unwrap_or_default()).to_lowercase();
            if name.chars().count() > 1 && !COMMON.contains(&name.as_str()) {
                names.insert(name);
            }
        };
        evidence.trace.services.iter().for_each(|service| take(Some(service.as_str())));
        for resource in &evidence.resources {
            [&resource.service, &resource.instance, &resource.version]
                .into_iter()
                .for_each(|name| take(name.as_deref()));
        }
        for log in &evidence.logs {
            take(log.service.as_deref());
        }
        for failure in &evidence.failures {
            take(failure.exception_type.as_deref());
        }
        for build in &evidence.builds {
            [&build.service, &build.version].into_iter().for_each(|name| take(name.as_deref()));
        }
        for flag in &evidence.flags {
            let own = [&flag.key, &flag.variant].into_iter().map(Option::as_deref);
            own.chain(flag.candidates.iter().map(|candidate| Some(candidate.as_str()))).for_each(&mut take);
        }
        Self { names }
    }

    /// Whether a text names something of the bundle, or has a number or an identifier.
    pub(super) fn is_named_in(&self, parts: &Parts) -> bool {
        let text = normal(&parts.plain).to_lowercase();
        !parts.quoted.is_empty()
            || self.names.iter().any(|name| has_words(&text, name))
            || !mentions(&parts.plain).is_empty()
    }

    /// What a text names that is not in its support. `checked` are texts that are checked as quotes.
    pub(super) fn missing(&self, parts: &Parts, support: &Support, checked: &[String]) -> Vec<Reason> {
        let text = normal(&parts.plain).to_lowercase();
        let mut missing: BTreeSet<String> = BTreeSet::new();
        missing.extend(self.names.iter().filter(|name| has_words(&text, name) && !support.has(name)).cloned());
        missing.extend(parts.quoted.iter().filter(|quoted| !checked.contains(quoted) && !support.has(quoted)).cloned());
        // Names of statuses, severities and kinds are words of the language in lower case.
        let shouted = [&STATUS_CODES[..], SEVERITIES, &SPAN_KINDS[..]].concat();
        let is_missing = |word: &&&str| has_words(&parts.plain, word) && !support.has(word);
        missing.extend(shouted.iter().filter(is_missing).map(|word| (**word).to_owned()));
        missing.extend(named_by(&text).into_iter().filter(|name| !support.has(name)));
        let mut reasons = Vec::new();
        for mention in mentions(&parts.plain) {
            match mention {
                Mention::Identifier(word) => {
                    if !support.has(&word) && !support.has_commit(&word) {
                        missing.insert(word);
                    }
                }
                Mention::Number { text, value, tolerance, dimension, before } => match bound(&before) {
                    Some(wanted) => reasons.extend(missing_bound(support, &text, value, wanted)),
                    None if support.has_number(value, tolerance, dimension) || support.has(&text) => {}
                    None => {
                        missing.insert(text);
                    }
                },
            }
        }
        reasons.extend(missing.into_iter().map(|name| {
            Reason::Names(format!("the text names {name:?}, which occurs in nothing that the claim points to"))
        }));
        reasons
    }
}

/// A text that has not one word in common with what it points to may say anything.
pub(super) fn names_nothing(parts: &Parts, support: &Support) -> Option<Reason> {
    let text = parts.plain.to_lowercase();
    let mut words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.chars().count() > 2).peekable();
    words.peek()?;
    let names_something = !parts.quoted.is_empty()
        || !mentions(&parts.plain).is_empty()
        || words.any(|word| !EMPTY.contains(&word) && support.has(word));
    (!names_something).then(|| {
        Reason::Names(String::from(
            "the text has no word in common with what the claim points to; name what it is about",
        ))
    })
}

/// What a text calls the name of a mode, a variant or a service, or says that something was set to. In lower case.
fn named_by(text: &str) -> Vec<String> {
    let is_letter = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let words: Vec<&str> = text.split_whitespace().map(|word| word.trim_matches(|c| !is_letter(c))).collect();
    let mut named = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|before| words.get(before)).copied().unwrap_or_default();
        let after = words.get(index + 1).copied().unwrap_or_default();
        let name = match *word {
            "to" if BECAME.contains(&before) => after,
            word if NAMED_BY.contains(&word) => before,
            _ => continue,
        };
        if !name.is_empty() && !NO_NAMES.contains(&name) {
            named.push(name.to_owned());
        }
    }
    named
}

/// Whether the words before a number make it a lower (`Greater`) or an upper (`Less`) bound.
fn bound(before: &str) -> Option<Comparison> {
    let ends = |phrases: &[&str]| {
        phrases.iter().any(|phrase| {
            before.strip_suffix(phrase).is_some_and(|rest| rest.is_empty() || rest.ends_with(char::is_whitespace))
        })
    };
    match (ends(MORE), ends(LESS)) {
        (true, _) => Some(Comparison::Greater),
        (_, true) => Some(Comparison::Less),
        _ => None,
    }
}

/// A bound in words needs a predicate with the same bound, in the same direction.
fn missing_bound(support: &Support, text: &str, value: Decimal, wanted: Comparison) -> Option<Reason> {
    let is_lower = |comparison| matches!(comparison, Comparison::Greater | Comparison::GreaterOrEqual);
    let mut same = support.bounds.iter().filter(|(_, bound)| *bound == value).peekable();
    if same.peek().is_none() {
        return Some(Reason::Names(format!(
            "the text gives {text:?} as a bound; give a predicate with the same bound"
        )));
    }
    let agrees = same.any(|(comparison, _)| is_lower(*comparison) == is_lower(wanted));
    (!agrees).then(|| {
        Reason::Contradiction(format!("the text and its predicate take {text} as bounds of opposite directions"))
    })
}

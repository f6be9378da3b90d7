//! What a text names has to occur in what its anchors, quotes and predicates name: no model, so by words.

use std::collections::BTreeSet;

use tracerag_schemas::bundle::Bundle;
use tracerag_schemas::values::{SPAN_KINDS, STATUS_CODES};

use super::decimal::Decimal;
use super::denial::is_denying;
use super::parse::unit_of;
use super::predicate::{Comparison, SEVERITIES};
use super::reason::Reason;
use super::support::Support;
use super::visible::{has_name, has_words, normal};
use super::words::{Mention, Parts, mentions, trimmed, words_of};

/// Names that are also words of the language, so that a text may have them by chance.
const COMMON: &[&str] =
    &["on", "off", "in", "to", "the", "a", "an", "it", "is", "at", "and", "or", "of", "by", "true", "false"];

/// Verbs of which something has to be the subject that the claim points to.
const DID: &[&str] = &[
    "failed",
    "fails",
    "succeeded",
    "succeeds",
    "crashed",
    "took",
    "takes",
    "ran",
    "runs",
    "held",
    "holds",
    "logged",
    "logs",
    "threw",
    "throws",
    "raised",
    "raises",
    "answered",
    "answers",
    "returned",
    "returns",
    "called",
    "calls",
    "has",
    "had",
    "set",
    "sets",
    "met",
    "broke",
    "is",
    "was",
];
/// What may stand between such a verb and its subject.
const BETWEEN: &[&str] = &["did", "has", "had", "have", "was", "is", "also", "then", "not", "never", "often", "again"];
/// Subjects that name nothing by themselves.
const SUBJECTS: &[&str] = &[
    "it",
    "they",
    "which",
    "that",
    "this",
    "these",
    "those",
    "who",
    "he",
    "she",
    "there",
    "and",
    "but",
    "then",
    "when",
    "call",
    "calls",
    "request",
    "requests",
    "response",
    "span",
    "spans",
    "trace",
    "traces",
    "service",
    "services",
    "operation",
    "transaction",
    "attempt",
    "process",
    "instance",
    "code",
    "line",
    "build",
    "builds",
    "version",
    "flag",
    "heap",
    "log",
    "logs",
    "record",
    "failure",
    "failures",
    "error",
    "errors",
    "both",
    "mode",
    "one",
    "deployment",
    "deployments",
    "release",
    "fingerprint",
    "incident",
    "field",
    "what",
    "lake",
    "bundle",
    "evidence",
    "cause",
    "part",
    "site",
    "reason",
    "parent",
    "child",
    "ancestor",
    "descendant",
    "caller",
];

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
/// Words after which one that names a mode, a variant or a service has its name behind it: `with variant strict`.
const NAMED_BEHIND: &[&str] = &[
    "with", "on", "in", "from", "at", "for", "to", "under", "by", "via", "through", "as", "into", "is", "was", "had",
    "has", "have", "having", "ran", "runs", "using", "used", "uses",
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

/// Abbreviations of the trade, which name nothing of a bundle.
const TRADE: &[&str] = &[
    "ANY", "API", "APM", "CI", "CPU", "CSV", "DB", "DNS", "DTO", "GC", "GRPC", "HTML", "HTTP", "HTTPS", "ID", "IDS",
    "IO", "IP", "JSON", "JVM", "LRU", "OOM", "ORM", "OS", "PR", "RAM", "REST", "RPC", "SDK", "SHA", "SLA", "SLO",
    "SQL", "TCP", "TLS", "TTL", "UI", "URI", "URL", "UTC", "UTF", "UUID", "VM", "XML", "YAML",
];

/// The names of a bundle, in lower case: whoever says one of them speaks of the incident.
pub(super) struct Vocabulary {
    names: BTreeSet<String>,
    /// Those of services.
    services: BTreeSet<String>,
    /// Those that are values: versions and variants.
    pub values: BTreeSet<String>,
}

impl Vocabulary {
    pub(super) fn of(bundle: &Bundle) -> Self {
        let evidence = &bundle.evidence;
        let (mut names, mut services, mut values) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let name_of = |name: Option<&str>| {
            let name = normal(name.unwrap_or_default()).to_lowercase();
            (name.chars().count() > 1 && !COMMON.contains(&name.as_str())).then_some(name)
        };
        let mut take = |name: Option<&str>| names.extend(name_of(name));
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
        services.extend(evidence.trace.services.iter().filter_map(|service| name_of(Some(service.as_str()))));
        services.extend(evidence.resources.iter().filter_map(|resource| name_of(resource.service.as_deref())));
        values.extend(evidence.resources.iter().filter_map(|resource| name_of(resource.version.as_deref())));
        values.extend(evidence.builds.iter().filter_map(|build| name_of(build.version.as_deref())));
        for flag in &evidence.flags {
            values.extend([&flag.variant, &flag.value].into_iter().filter_map(|value| name_of(value.as_deref())));
        }
        Self { names, services, values }
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
        // A service has to be that of something; that it stands in an attribute, as the peer of a call, says nothing of it.
        let is_there = |name: &String| match self.services.contains(name) {
            true => support.names().any(|known| known == name),
            false => support.has_name(name),
        };
        missing.extend(self.names.iter().filter(|&name| has_name(&text, name) && !is_there(name)).cloned());
        missing.extend(self.compounds(&text).filter(|word| !support.has_name(word)).map(str::to_owned));
        missing.extend(subjects(&text).into_iter().filter(|word| !support.has_here(word)).map(str::to_owned));
        missing.extend(parts.quoted.iter().filter(|quoted| !checked.contains(quoted) && !support.has(quoted)).cloned());
        // Names of statuses, severities and kinds are words of the language in lower case. Where a predicate says which
        // it is, no other word of the same kind will do.
        for class in [&STATUS_CODES[..], SEVERITIES, &SPAN_KINDS[..]] {
            let said = |word: &str| support.sources.iter().any(|source| source.word.as_deref() == Some(word));
            let is_said = class.iter().any(|word| said(word));
            let is_there = |word: &str| if is_said { said(word) } else { support.has_here(word) };
            let is_missing = |word: &&&str| {
                has_words(&parts.plain, word) && !is_there(word) && !is_limit(&parts.plain, word, support)
            };
            missing.extend(class.iter().filter(is_missing).map(|word| (*word).to_owned()));
        }
        missing.extend(capitals(&parts.plain).filter(|(_, word)| !support.has(word)).map(|(_, word)| word.to_owned()));
        missing.extend(named_by(&text).into_iter().filter(|name| !support.has_here(name)));
        let mut reasons = Vec::new();
        let is_counted = support.counts();
        for (_, mention) in mentions(&parts.plain) {
            match mention {
                Mention::Identifier(word) => {
                    if !support.has(&word) && !support.has_commit(&word) {
                        missing.insert(word);
                    }
                }
                Mention::Number { text, value, tolerance, dimension, before } => match bound(&before) {
                    Some(wanted) => reasons.extend(missing_bound(support, &text, value, wanted)),
                    None if is_counted && dimension.is_none() && !text.contains('.') => {
                        if !support.is_counted(value, &before) {
                            missing.insert(text);
                        }
                    }
                    // The 1 of an instance's name is no number that the claim points to.
                    None if support.has_number(value, tolerance, dimension) || support.has_name(&text) => {}
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

    /// Words with a hyphen, of which a part is a name: `payments-worker` is another service than `payments`.
    fn compounds<'a>(&self, text: &'a str) -> impl Iterator<Item = &'a str> {
        let words = text.split_whitespace().map(trimmed).filter(|word| word.contains('-'));
        words.filter(|word| word.split('-').any(|part| self.names.contains(part)))
    }
}

/// Whether a word is a limit in a text, as in `at least WARN` and `WARN or worse`, and one in a predicate.
fn is_limit(plain: &str, word: &str, support: &Support) -> bool {
    let says = |before: &str, behind: &str| has_words(plain, &format!("{before}{word}{behind}"));
    let is_said = ["at least ", "at most ", "up to ", "below ", "above "].iter().any(|before| says(before, ""))
        || [" or above", " or higher", " or worse", " or below", " or lower"].iter().any(|behind| says("", behind));
    is_said && support.sources.iter().any(|source| source.limit.as_deref() == Some(word))
}

/// Words in capitals, or with one within, that are the name of something rather than a word of the language, of the trade or of a class that is
/// looked for by itself.
pub(super) fn capitals(plain: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_name = |word: &str| {
        let lower = word.to_ascii_lowercase();
        let is_word = is_common(&lower)
            || is_denying(&lower)
            || DID.contains(&lower.as_str())
            || BETWEEN.contains(&lower.as_str());
        let classes = [&STATUS_CODES[..], SEVERITIES, &SPAN_KINDS[..]];
        word.len() > 1
            && word.bytes().all(|byte| byte.is_ascii_alphabetic())
            && word.bytes().skip(1).any(|byte| byte.is_ascii_uppercase())
            && !is_word
            && !TRADE.contains(&word.trim_end_matches('s'))
            && unit_of(word).is_none()
            && !classes.iter().any(|class| class.contains(&word))
    };
    words_of(plain).into_iter().map(|(at, word)| (at, trimmed(word))).filter(move |(_, word)| is_name(word))
}

/// Whether a word says too little to be the name of something.
pub(super) fn is_common(word: &str) -> bool {
    COMMON.contains(&word) || EMPTY.contains(&word)
}

/// The words that stand as subjects before what something did. In lower case.
fn subjects(text: &str) -> Vec<&str> {
    let words: Vec<&str> = text.split_whitespace().map(trimmed).collect();
    let mut subjects = Vec::new();
    for (index, _) in words.iter().enumerate().filter(|(_, word)| DID.contains(word)) {
        let before = words.get(..index).unwrap_or_default().iter().rev();
        let subject = before.copied().find(|word| !BETWEEN.contains(word) && !word.ends_with("ly"));
        // Numbers and identifiers are looked for anyway.
        let is_word = |word: &&str| !word.is_empty() && !word.chars().any(char::is_numeric);
        subjects.extend(subject.filter(|word| is_word(word) && !SUBJECTS.contains(word)));
    }
    subjects
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
    let words: Vec<&str> =
        text.split_whitespace().map(|word| word.trim_matches(|c| !is_letter(c)).trim_matches('.')).collect();
    let mut named = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|before| words.get(before)).copied().unwrap_or_default();
        let after = words.get(index + 1).copied().unwrap_or_default();
        let name = match *word {
            "to" if BECAME.contains(&before) => after,
            word if NAMED_BY.contains(&word) && NAMED_BEHIND.contains(&before) => after,
            word if NAMED_BY.contains(&word) => before,
            _ => continue,
        };
        if !name.is_empty() && !NO_NAMES.contains(&name) && !NAMED_BEHIND.contains(&name) {
            named.push(name.to_owned());
        }
    }
    named
}

/// Whether the words before a number make it a lower (`Greater`) or an upper (`Less`) bound.
pub(super) fn bound(before: &str) -> Option<Comparison> {
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
    let bounds = support.sources.iter().flat_map(|source| &source.bounds);
    let mut same = bounds.filter(|(_, bound)| *bound == value).peekable();
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

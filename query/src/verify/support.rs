//! What a claim's anchors, quotes and predicates bear out: texts, numbers and bounds, and whose they are.

use super::deadline::Deadline;
use super::decimal::Decimal;
use super::facts::{Entries, Entry, Facts, Named, part_at, part_name};
use super::parse::unit_of;
use super::predicate::{Comparison, Dimension, Function, Literal, Predicate, dimension};
use super::visible::{has_name, has_words, normal};

/// Hex digits from which on a word may be the beginning of a commit.
const COMMIT: usize = 7;

/// Everything that a claim points to.
#[derive(Default)]
pub(super) struct Support {
    pub sources: Vec<Source>,
    /// Values of attributes, flags and configuration, each with its key; both in lower case.
    pub keyed: Vec<(String, String)>,
    /// Values of fields of payloads, likewise.
    pub fields: Vec<(String, String)>,
    /// When to give up looking.
    pub deadline: Deadline,
}

/// What one entry, quote or predicate bears out.
#[derive(Default)]
pub(super) struct Source {
    /// Names of what it is about, in lower case.
    pub about: Vec<String>,
    /// The part of the entry that it is about, a type or function of a heap or a field of a payload, in lower case.
    pub part: Option<String>,
    /// Whether it is about an entry that has such parts, and about none of them.
    pub has_parts: bool,
    /// Whether it is about everything.
    is_general: bool,
    /// Whether it is about another incident.
    pub is_foreign: bool,
    /// Normal and in lower case.
    texts: Vec<String>,
    numbers: Vec<(Option<Dimension>, Decimal)>,
    /// Numbers of predicates that compare.
    pub bounds: Vec<(Comparison, Decimal)>,
    /// Whether a predicate says it.
    is_predicate: bool,
    /// Whether a predicate says how many there are.
    counts: bool,
    /// Of how many: `2 of 3`.
    of: Option<Decimal>,
    /// A word that a predicate says something is equal to, such as a status.
    pub word: Option<String>,
    /// A word that a predicate says something is at least, or at most.
    pub limit: Option<String>,
    /// A JSON type that a predicate says something has, or has not.
    pub type_word: Option<String>,
    /// Whether a predicate denies what it has.
    pub denies: bool,
}

impl Support {
    /// Takes in all that an entry names, but for what the claim's own predicates say is equal to something: there the
    /// predicate speaks, and not another value of the same kind beside it.
    pub(super) fn entry(&mut self, facts: &Facts<'_>, entry: &Entry<'_>, asked: &[&str]) {
        let unit = entry.unit();
        let mut source = Source { part: entry.field(), ..Source::about(facts, &vec![*entry]) };
        for named in entry.named() {
            let key = named.key.as_deref().unwrap_or_default();
            if asked.contains(&key) {
                continue;
            }
            source.named(&named, unit);
            if key.contains(['.', '_']) {
                self.keyed.push((key.to_ascii_lowercase(), normal(&named.value).to_ascii_lowercase()));
            }
        }
        if let Entry::Flag(flag) = entry {
            let key = flag.key.clone().unwrap_or_default().to_ascii_lowercase();
            let values = [&flag.variant, &flag.value].into_iter().flatten();
            self.keyed.extend(values.map(|value| (key.clone(), normal(value).to_ascii_lowercase())));
        }
        for (name, values) in entry.parts() {
            if self.deadline.is_over() {
                return;
            }
            source.has_parts = true;
            let mut part = Source { part: name.clone(), ..Source::about(facts, &vec![*entry]) };
            for named in values.iter().filter(|named| !named.key.as_deref().is_some_and(|key| asked.contains(&key))) {
                part.named(named, None);
                if let (Entry::Payload(_), Some(name)) = (entry, &name) {
                    self.fields.push((name.clone(), normal(&named.value).to_ascii_lowercase()));
                }
            }
            self.sources.push(part);
        }
        if let (Entry::Field(..), Some(name)) = (entry, &source.part) {
            self.fields.extend(source.texts.iter().map(|text| (name.clone(), text.clone())));
        }
        self.sources.push(source);
    }

    /// Takes in a text that is about everything.
    pub(super) fn text(&mut self, text: &str) {
        let mut source = Source { is_general: true, ..Source::default() };
        source.text(text);
        self.sources.push(source);
    }

    /// Takes in a quote, with the entries in which it stands.
    pub(super) fn quote(&mut self, facts: &Facts<'_>, quote: &str, entries: &Entries<'_>) {
        let mut source = Source::about(facts, entries);
        source.text(quote);
        self.sources.push(source);
    }

    /// Takes in what a predicate that holds says, with the entries that it is about.
    pub(super) fn predicate(&mut self, facts: &Facts<'_>, predicate: &Predicate, entries: &Entries<'_>) {
        let counting = [Function::Failures, Function::LakeFailures, Function::SameError, Function::PayloadLength];
        let mut source = Source { is_predicate: true, ..Source::about(facts, entries) };
        source.counts = counting.contains(&predicate.operator.function);
        predicate.texts().for_each(|text| source.text(text));
        let name = predicate.texts().next().unwrap_or_default();
        source.part = match predicate.operator.function {
            Function::HeapBytes | Function::HeapShare => part_name(name),
            Function::Payload | Function::PayloadType | Function::PayloadLength => part_at(name),
            _ => None,
        };
        source.denies = predicate.is_denial();
        if let Some(traces) = predicate.traces() {
            traces.iter().for_each(|trace_id| source.text(trace_id));
            source.of = Some(Decimal::integer(i64::try_from(traces.len()).unwrap_or(i64::MAX)));
        }
        match &predicate.comparison {
            Some((comparison, Literal::Word(word))) if comparison.is_order() => source.limit = Some(word.clone()),
            Some((comparison, Literal::Word(word))) => {
                source.text(word);
                source.word = (*comparison == Comparison::Equal).then(|| word.clone());
                source.type_word = (predicate.operator.function == Function::PayloadType).then(|| word.clone());
            }
            Some((_, Literal::Text(text))) => source.text(text),
            Some((Comparison::Equal | Comparison::NotEqual, Literal::Number { value, unit })) => {
                source.number(*unit, *value);
                if unit.is_none()
                    && let Some(dimension) = dimension(predicate.operator.answer)
                {
                    source.number(Some(dimension), *value);
                }
                // A metric's points are in its own unit.
                for unit in entries.iter().filter_map(Entry::unit) {
                    source.number_of(*value, Some(unit));
                }
            }
            Some((comparison, Literal::Number { value, .. })) => source.bounds.push((*comparison, *value)),
            None => {}
        }
        self.sources.push(source);
    }

    /// Names of everything that the claim points to.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().flat_map(|source| source.about.iter().map(String::as_str))
    }

    /// Names of parts of what it points to.
    pub(super) fn parts(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().filter_map(|source| source.part.as_deref())
    }

    /// Whether something has a text.
    pub(super) fn has(&self, text: &str) -> bool {
        self.sources.iter().any(|source| self.deadline.is_over() || source.has(text))
    }

    /// Whether something of the incident itself has a text, or is about it.
    pub(super) fn has_here(&self, text: &str) -> bool {
        let is_it = |source: &Source| source.has(text) || source.about.iter().any(|name| has_words(name, text));
        self.sources.iter().any(|source| self.deadline.is_over() || (!source.is_foreign && is_it(source)))
    }

    /// Whether something of the incident itself has a name.
    pub(super) fn has_name(&self, name: &str) -> bool {
        let has = |source: &Source| !source.is_foreign && source.has_name(name);
        self.sources.iter().any(|source| self.deadline.is_over() || has(source))
    }

    pub(super) fn has_commit(&self, word: &str) -> bool {
        self.sources.iter().any(|source| source.has_commit(word))
    }

    /// Whether a predicate of the claim counts something: then whole numbers are counts, and predicates say them.
    pub(super) fn counts(&self) -> bool {
        self.sources.iter().any(|source| source.counts)
    }

    /// Whether a predicate says a number, or behind `of`, where there is one over several, of how many.
    pub(super) fn is_counted(&self, value: Decimal, before: &str) -> bool {
        let mut said = self.sources.iter().filter(|source| source.is_predicate);
        match self.sources.iter().any(|source| source.of.is_some()) && before.rsplit(' ').next() == Some("of") {
            true => said.any(|source| source.of == Some(value)),
            false => said.any(|source| source.numbers.iter().any(|(_, number)| *number == value)),
        }
    }

    pub(super) fn has_number(&self, value: Decimal, tolerance: Decimal, dimension: Option<Dimension>) -> bool {
        self.sources.iter().any(|source| source.has_number(value, tolerance, dimension))
    }
}

impl Source {
    fn about(facts: &Facts<'_>, entries: &Entries<'_>) -> Self {
        let about: Vec<String> = entries.iter().flat_map(|entry| entry.about(facts)).collect();
        let is_general = entries.is_empty() || entries.iter().any(Entry::is_general);
        let is_foreign = !entries.is_empty() && entries.iter().all(|entry| entry.is_foreign(facts));
        Self { about, is_general, is_foreign, ..Self::default() }
    }

    /// Whether it says something of one of these names.
    pub(super) fn is_about(&self, names: &[&str]) -> bool {
        self.is_general || self.about.iter().any(|name| names.contains(&name.as_str()))
    }

    fn named(&mut self, named: &Named, unit: Option<&str>) {
        self.text(&named.value);
        if let Some(key) = &named.key {
            self.text(key);
        }
        let Some(number) = Decimal::parse(&named.value) else { return };
        let key = named.key.as_deref().unwrap_or_default();
        match (key, unit) {
            ("points" | "value" | "sum" | "min" | "max", Some(unit)) => self.number_of(number, Some(unit)),
            (key, _) if key.ends_with("_ns") => self.number(Some(Dimension::Duration), number),
            (key, _) if key == "bytes" || key.ends_with("_bytes") => self.number(Some(Dimension::Bytes), number),
            _ => {}
        }
        // `4000000000` of a duration may be named without a unit, too.
        self.number(None, number);
    }

    /// Takes in a number in the unit of a metric.
    fn number_of(&mut self, number: Decimal, unit: Option<&str>) {
        let unit = unit.map(|unit| if unit == "By" { "B" } else { unit });
        if let Some((dimension, factor)) = unit.and_then(unit_of)
            && let Some(scaled) = number.times(factor)
        {
            self.number(Some(dimension), scaled);
        }
    }

    fn number(&mut self, dimension: Option<Dimension>, value: Decimal) {
        self.numbers.push((dimension, value));
    }

    fn text(&mut self, text: &str) {
        if !text.is_empty() {
            self.texts.push(normal(text).to_lowercase());
        }
    }

    pub(super) fn has(&self, text: &str) -> bool {
        let text = normal(text).to_lowercase();
        self.texts.iter().any(|own| has_words(own, &text))
    }

    /// Whether it has a name that is no part of a longer one.
    pub(super) fn has_name(&self, name: &str) -> bool {
        let name = normal(name).to_lowercase();
        self.texts.iter().any(|own| has_name(own, &name))
    }

    /// Whether a word begins a commit that it names.
    pub(super) fn has_commit(&self, word: &str) -> bool {
        let is_hex = word.len() >= COMMIT && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let word = word.to_lowercase();
        let is_it = |part: &str| part.len() >= word.len() && part.starts_with(&word);
        is_hex && self.texts.iter().any(|text| text.split(|c: char| !c.is_ascii_alphanumeric()).any(is_it))
    }

    /// Whether it has a number; one with a unit may be off by the tolerance.
    pub(super) fn has_number(&self, value: Decimal, tolerance: Decimal, dimension: Option<Dimension>) -> bool {
        self.numbers.iter().any(|(known, number)| match dimension {
            None => known.is_none() && *number == value,
            Some(_) => *known == dimension && number.distance(value).is_some_and(|distance| distance <= tolerance),
        })
    }
}

//! What a claim's anchors, quotes and predicates bear out: texts, numbers and bounds, and whose they are.

use super::deadline::Deadline;
use super::decimal::Decimal;
use super::facts::{Entries, Entry, Facts, Named};
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
    /// When to give up looking.
    pub deadline: Deadline,
}

/// What one entry, quote or predicate bears out.
#[derive(Default)]
pub(super) struct Source {
    /// Names of what it is about, in lower case.
    pub about: Vec<String>,
    /// Whether it is about everything.
    is_general: bool,
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
}

impl Support {
    /// Takes in all that an entry names, but for what the claim's own predicates say is equal to something: there the
    /// predicate speaks, and not another value of the same kind beside it.
    pub(super) fn entry(&mut self, facts: &Facts<'_>, entry: &Entry<'_>, asked: &[&str]) {
        let unit = match entry {
            Entry::Metric(metric) => metric.unit.as_deref(),
            _ => None,
        };
        let about = entry.about(facts);
        let mut source = Source { is_general: entry.is_general() || about.is_empty(), about, ..Source::default() };
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
        match entry {
            Entry::Flag(flag) => {
                let key = flag.key.clone().unwrap_or_default().to_ascii_lowercase();
                let values = [&flag.variant, &flag.value].into_iter().flatten();
                self.keyed.extend(values.map(|value| (key.clone(), normal(value).to_ascii_lowercase())));
            }
            Entry::Heap(heap) if !asked.contains(&"bytes") => {
                let types = heap.top_types.iter().map(|held| (&held.r#type, held.bytes, held.count));
                let sites = heap.top_sites.iter().map(|site| (&site.function, site.bytes, site.count));
                self.sources
                    .extend(types.chain(sites).filter_map(|(name, bytes, count)| part(name.as_deref()?, bytes, count)));
            }
            _ => {}
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
        for text in predicate.texts() {
            source.text(text);
            if matches!(predicate.operator.function, Function::HeapBytes | Function::HeapShare) {
                source.about.push(normal(text).to_ascii_lowercase());
            }
        }
        if let Some(traces) = predicate.traces() {
            traces.iter().for_each(|trace_id| source.text(trace_id));
            source.of = Some(Decimal::integer(i64::try_from(traces.len()).unwrap_or(i64::MAX)));
        }
        match &predicate.comparison {
            Some((comparison, Literal::Word(word))) => {
                source.text(word);
                source.word = (*comparison == Comparison::Equal).then(|| word.clone());
            }
            Some((_, Literal::Text(text))) => source.text(text),
            Some((Comparison::Equal | Comparison::NotEqual, Literal::Number { value, unit })) => {
                source.number(*unit, *value);
                if unit.is_none()
                    && let Some(dimension) = dimension(predicate.operator.answer)
                {
                    source.number(Some(dimension), *value);
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

    pub(super) fn has(&self, text: &str) -> bool {
        self.sources.iter().any(|source| self.deadline.is_over() || source.has(text))
    }

    pub(super) fn has_name(&self, name: &str) -> bool {
        self.sources.iter().any(|source| self.deadline.is_over() || source.has_name(name))
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

/// What a type holds or a function has allocated.
fn part(name: &str, bytes: Option<i64>, count: Option<i64>) -> Option<Source> {
    let name = normal(name).to_ascii_lowercase();
    if name.len() < 2 {
        return None;
    }
    let mut part = Source { about: vec![name.clone()], texts: vec![name], ..Source::default() };
    for (dimension, number) in [(Some(Dimension::Bytes), bytes), (None, bytes), (None, count)] {
        if let Some(number) = number {
            part.number(dimension, Decimal::integer(number));
        }
    }
    Some(part)
}

impl Source {
    fn about(facts: &Facts<'_>, entries: &Entries<'_>) -> Self {
        let about: Vec<String> = entries.iter().flat_map(|entry| entry.about(facts)).collect();
        let is_general = about.is_empty() || entries.iter().any(Entry::is_general);
        Self { about, is_general, ..Self::default() }
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
        if let Some(scaled) = scaled {
            self.number(dimension, scaled);
        }
        // `4000000000` of a duration may be named without a unit, too.
        self.number(None, number);
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

//! Evaluates predicates on a bundle. What cannot be told does not hold.

use std::cmp::Ordering;

use serde_json::Value;
use tracerag_schemas::anchor::Anchor;
use tracerag_schemas::bundle::{Build, Flag, Payload};

use super::beyond;
use super::decimal::Decimal;
use super::facts::{Entries, Entry, Facts, field, is_taken_out};
use super::order;
use super::predicate::{Answer, Argument, Comparison, Function, Literal, Predicate};
use super::reason::Reason;
use super::visible::{has_words, is_redacted, normal, pieces};

/// Whether a predicate holds, for every entry that its anchors or names match.
pub(super) fn evaluate(facts: &Facts<'_>, predicate: &Predicate) -> Result<(), Reason> {
    let literals = predicate.comparison.iter().filter_map(|(_, literal)| match literal {
        Literal::Text(text) => Some(text.as_str()),
        Literal::Word(_) | Literal::Number { .. } => None,
    });
    if predicate.texts().chain(literals).any(is_redacted) {
        return Err(Reason::Redacted(format!("{} names what redaction has masked", predicate.text)));
    }
    let call = Call { facts, predicate };
    match predicate.operator.answer {
        Answer::Truth => call.truth(),
        _ => call.value(),
    }
}

/// One predicate on one bundle.
struct Call<'a> {
    facts: &'a Facts<'a>,
    predicate: &'a Predicate,
}

/// An answer that a predicate is compared with.
enum Found {
    Value(Value),
    Number(Decimal),
    /// A part of a whole, compared without dividing.
    Share {
        part: Decimal,
        whole: Decimal,
    },
}

impl Found {
    /// Whether redaction has masked the value, or a part of it.
    fn is_masked(&self) -> bool {
        match self {
            Self::Value(Value::String(text)) => is_redacted(text),
            Self::Value(value) => is_redacted(&value.to_string()),
            Self::Number(_) | Self::Share { .. } => false,
        }
    }
}

impl<'a> Call<'a> {
    fn anchor(&self, index: usize) -> Result<&'a Anchor, Reason> {
        match self.predicate.arguments.get(index) {
            Some(Argument::Anchor(anchor)) => Ok(anchor),
            _ => Err(self.fails("an anchor is missing")),
        }
    }

    fn text(&self, index: usize) -> Result<&'a str, Reason> {
        match self.predicate.arguments.get(index) {
            Some(Argument::Text(text)) => Ok(text),
            _ => Err(self.fails("a text is missing")),
        }
    }

    fn entries(&self, index: usize) -> Result<Entries<'a>, Reason> {
        self.facts.resolve(self.anchor(index)?).map_err(Reason::Existence)
    }

    fn fails(&self, why: impl std::fmt::Display) -> Reason {
        Reason::Predicate(format!("{} does not hold: {why}", self.predicate.text))
    }

    /// That there is time to go on.
    fn in_time(&self) -> Result<(), Reason> {
        if self.facts.deadline.is_over() { Err(self.fails("there was no time to look")) } else { Ok(()) }
    }

    fn breaks_order(&self, why: impl std::fmt::Display) -> Reason {
        Reason::Causality(format!("{} does not hold: {why}", self.predicate.text))
    }

    /// Predicates that are true or false. A denial holds only where it is known that it is not so.
    fn truth(&self) -> Result<(), Reason> {
        let wanted = !self.predicate.is_denial();
        match self.predicate.operator.function {
            Function::Ancestor => self.each_pair(wanted, |a, b| self.is_ancestor(a, b)),
            Function::Before => self.each_pair(wanted, |a, b| order::is_before(self.facts, a, b)),
            Function::Overlaps => self.each_pair(wanted, |a, b| order::overlap(self.facts, a, b)),
            Function::DeployedBefore => self.deployed_before(wanted),
            Function::Contains => {
                let text = normal(self.text(1)?);
                self.each(wanted, |entry| contains(entry, &text))
            }
            Function::Event => {
                let name = self.text(1)?;
                self.each(wanted, |entry| {
                    let Entry::Span(span, _) = entry else { return Err(String::from("it is no span")) };
                    Ok(span.events.iter().any(|event| event.name.as_deref() == Some(name)))
                })
            }
            Function::Critical => self.each(wanted, |entry| match entry {
                Entry::Span(span, _) => Ok(span.on_critical_path),
                _ => Err(String::from("it is no span")),
            }),
            Function::Frame => {
                self.entries(1)?;
                let line = self.anchor(1)?.to_string();
                self.each(wanted, |entry| match entry {
                    Entry::Failure(failure) => {
                        Ok(failure.frames.iter().any(|frame| frame.anchor.as_deref() == Some(line.as_str())))
                    }
                    _ => Err(String::from("it is no failure")),
                })
            }
            _ => Err(self.fails("it has no truth value")),
        }
    }

    fn each(&self, wanted: bool, check: impl Fn(&Entry<'a>) -> Result<bool, String>) -> Result<(), Reason> {
        for entry in self.entries(0)? {
            self.in_time()?;
            match check(&entry) {
                Ok(is_so) if is_so == wanted => {}
                Ok(_) => return Err(self.fails(if wanted { "it is not so" } else { "it is so" })),
                Err(why) => return Err(self.fails(why)),
            }
        }
        Ok(())
    }

    fn each_pair(
        &self,
        wanted: bool,
        check: impl Fn(&Entry<'a>, &Entry<'a>) -> Result<bool, String>,
    ) -> Result<(), Reason> {
        let seconds = self.entries(1)?;
        for first in self.entries(0)? {
            for second in &seconds {
                self.in_time()?;
                match check(&first, second) {
                    Ok(is_so) if is_so == wanted => {}
                    Ok(_) => return Err(self.breaks_order(if wanted { "it is not so" } else { "it is so" })),
                    Err(why) => return Err(self.breaks_order(why)),
                }
            }
        }
        Ok(())
    }

    fn is_ancestor(&self, above: &Entry<'a>, below: &Entry<'a>) -> Result<bool, String> {
        let (Entry::Span(upper, _), Entry::Span(lower, _)) = (above, below) else {
            return Err(String::from("these are no spans"));
        };
        if !self.facts.is_above(&upper.span_id, &lower.span_id) {
            return Ok(false);
        }
        match order::times_allow(self.facts, above, below)? {
            true => Ok(true),
            false => Err(String::from("the times contradict the parents by more than the skew of clocks explains")),
        }
    }

    fn deployed_before(&self, wanted: bool) -> Result<(), Reason> {
        let entries = self.entries(1)?;
        for build in self.builds(self.text(0)?)? {
            for entry in &entries {
                self.in_time()?;
                match order::is_before(self.facts, &build, entry) {
                    Ok(is_so) if is_so == wanted => {}
                    Ok(_) => return Err(self.breaks_order(if wanted { "it is not so" } else { "it is so" })),
                    Err(why) => return Err(self.breaks_order(why)),
                }
            }
        }
        Ok(())
    }

    /// Predicates that compare a value.
    fn value(&self) -> Result<(), Reason> {
        let Some((comparison, literal)) = &self.predicate.comparison else {
            return Err(self.fails("it is compared with nothing"));
        };
        for found in self.found()? {
            if found.is_masked() {
                return Err(Reason::Redacted(format!("{} asks for what redaction has masked", self.predicate.text)));
            }
            match compare(self.predicate.operator.answer, &found, *comparison, literal) {
                Ok(true) => {}
                Ok(false) => return Err(self.fails(format!("it is {}", shown(&found)))),
                Err(why) => return Err(self.fails(why)),
            }
        }
        Ok(())
    }

    fn found(&self) -> Result<Vec<Found>, Reason> {
        match self.predicate.operator.function {
            Function::Version => self.of_builds("version", |build| build.version.as_deref()),
            Function::GitSha => self.of_builds("commit", |build| build.git_sha.as_deref()),
            Function::Flag => self.flags("flag", |flag| flag.variant.as_deref().or(flag.value.as_deref())),
            Function::Config => self.flags("config", |flag| flag.value.as_deref().or(flag.variant.as_deref())),
            Function::Failures => {
                let fingerprint = self.text(0)?;
                let failures = &self.facts.bundle.evidence.failures;
                let count =
                    failures.iter().filter(|failure| failure.fingerprint.as_deref() == Some(fingerprint)).count();
                Ok(vec![Found::Number(Decimal::integer(i64::try_from(count).unwrap_or(i64::MAX)))])
            }
            Function::SameError | Function::Differs | Function::LakeFailures => {
                let found = beyond::answer(self.facts, self.predicate)?;
                Ok(vec![match found {
                    beyond::Answered::Count(count) => Found::Number(Decimal::integer(count)),
                    beyond::Answered::Text(text) => Found::Value(Value::from(text)),
                }])
            }
            _ => self.entries(0)?.iter().map(|entry| self.value_of(entry)).collect(),
        }
    }

    fn of_builds(&self, what: &str, value: fn(&Build) -> Option<&str>) -> Result<Vec<Found>, Reason> {
        let mut found = Vec::new();
        for entry in self.builds(self.text(0)?)? {
            let Entry::Build(build) = entry else { continue };
            match known(value(build)) {
                Some(known) => found.push(known),
                None => return Err(self.fails(format!("the {what} of {} is not known", build.anchor))),
            }
        }
        Ok(found)
    }

    /// Builds of a service, of which there are some, and none is only a candidate.
    fn builds(&self, service: &str) -> Result<Entries<'a>, Reason> {
        let builds: Entries<'a> = self.facts.builds_of(service).map(Entry::Build).collect();
        if builds.is_empty() {
            return Err(Reason::Existence(format!("the bundle has no build of {service}")));
        }
        for entry in &builds {
            if let Entry::Build(build) = entry
                && build.r#match.as_deref() == Some("ambiguous")
            {
                return Err(self.fails(format!("{} is one of several candidates", build.anchor)));
            }
        }
        Ok(builds)
    }

    fn flags(&self, kind: &str, value: fn(&Flag) -> Option<&str>) -> Result<Vec<Found>, Reason> {
        let key = self.text(0)?;
        let mut found = Vec::new();
        for flag in self.facts.flags_of(kind, key) {
            if flag.r#match.as_deref() == Some("ambiguous") {
                return Err(self.fails(format!("{} is one of several candidates", flag.anchor)));
            }
            match known(value(flag)) {
                Some(known) => found.push(known),
                None => return Err(self.fails(format!("the value of {} is not known", flag.anchor))),
            }
        }
        if found.is_empty() {
            return Err(Reason::Existence(format!("the bundle has no {kind} {key}")));
        }
        Ok(found)
    }

    fn value_of(&self, entry: &Entry<'a>) -> Result<Found, Reason> {
        let unknown = || self.fails("the value is not known");
        match (self.predicate.operator.function, entry) {
            (Function::Status, Entry::Span(span, _)) => known(span.status.as_deref()).ok_or_else(unknown),
            (Function::Duration, Entry::Span(span, _)) => {
                span.duration_ns.map(|ns| Found::Number(Decimal::integer(ns))).ok_or_else(unknown)
            }
            (Function::Severity, Entry::Log(log)) => known(log.severity.as_deref()).ok_or_else(unknown),
            (Function::ExceptionType, Entry::Failure(failure)) => {
                known(failure.exception_type.as_deref()).ok_or_else(unknown)
            }
            (Function::Fingerprint, Entry::Failure(failure)) => {
                known(failure.fingerprint.as_deref()).ok_or_else(unknown)
            }
            (Function::Attribute, entry) => {
                let attributes = match entry {
                    Entry::Span(span, _) => &span.attributes,
                    Entry::Log(log) => &log.attributes,
                    Entry::Metric(metric) => &metric.attributes,
                    _ => return Err(self.fails("it has no attributes")),
                };
                let value = attributes.get(self.text(1)?).ok_or_else(|| self.fails("there is no such attribute"))?;
                Ok(Found::Value(value.clone()))
            }
            (Function::Payload | Function::PayloadType | Function::PayloadLength, Entry::Payload(payload)) => {
                self.payload(payload)
            }
            (Function::HeapShare | Function::HeapBytes, Entry::Heap(_)) => self.heap(entry),
            (Function::MetricMax, Entry::Metric(metric)) => {
                let values: Option<Vec<Decimal>> = metric.points.iter().map(|(_, value)| greatest(value)).collect();
                let max = values.and_then(|values| values.into_iter().max());
                max.map(Found::Number).ok_or_else(|| self.fails("not every point of the metric has a greatest value"))
            }
            _ => Err(self.fails("it is not defined for such an entry")),
        }
    }

    fn payload(&self, payload: &Payload) -> Result<Found, Reason> {
        let pointer = self.text(1)?;
        if is_taken_out(payload, pointer) {
            return Err(Reason::Redacted(format!("{} asks for what redaction has taken out", self.predicate.text)));
        }
        let nothing = || Reason::Existence(format!("{} has nothing at {pointer:?}", payload.anchor));
        let shape = payload.shape.pointer(pointer);
        match self.predicate.operator.function {
            Function::PayloadType => {
                let shape = shape.ok_or_else(nothing)?;
                let name = match shape {
                    Value::String(name) => name.as_str(),
                    Value::Array(_) => "array",
                    Value::Object(_) => "object",
                    _ => return Err(self.fails("its type is not known")),
                };
                Ok(Found::Value(Value::from(name)))
            }
            Function::PayloadLength => {
                let length = field(payload, pointer).ok_or_else(nothing).map(length)?;
                let length = length.and_then(|length| i64::try_from(length).ok());
                length
                    .map(|length| Found::Number(Decimal::integer(length)))
                    .ok_or_else(|| self.fails("it has no length"))
            }
            _ => {
                let value = payload.sample.pointer(pointer).ok_or_else(nothing)?;
                // A number with more digits than JSON's readers keep stands as its text.
                match (value, shape) {
                    (Value::String(text), Some(Value::String(shape))) if shape == "number" => {
                        Decimal::parse(text).map(Found::Number).ok_or_else(|| self.fails("it is no number"))
                    }
                    _ => Ok(Found::Value(value.clone())),
                }
            }
        }
    }

    fn heap(&self, entry: &Entry<'a>) -> Result<Found, Reason> {
        let (Entry::Heap(heap), name) = (entry, self.text(1)?) else { return Err(self.fails("it is no heap summary")) };
        let of_type = heap.top_types.iter().find(|held| held.r#type.as_deref() == Some(name)).map(|held| held.bytes);
        let bytes = match of_type {
            Some(bytes) => bytes,
            None => {
                let mut sites = heap.top_sites.iter().filter(|site| site.function.as_deref() == Some(name)).peekable();
                sites
                    .peek()
                    .ok_or_else(|| Reason::Existence(format!("{} has no type or function {name:?}", heap.anchor)))?;
                sites.try_fold(0i64, |sum, site| sum.checked_add(site.bytes?))
            }
        };
        let part = Decimal::integer(bytes.ok_or_else(|| self.fails("its bytes are not known"))?);
        match self.predicate.operator.function {
            Function::HeapBytes => Ok(Found::Number(part)),
            _ => match heap.total_bytes {
                Some(total) if total > 0 => Ok(Found::Share { part, whole: Decimal::integer(total) }),
                _ => Err(self.fails("the bytes of the whole heap are not known")),
            },
        }
    }
}

fn known(text: Option<&str>) -> Option<Found> {
    text.map(|text| Found::Value(Value::from(text)))
}

/// Whether a log record or a failure has a text; it is unknown where a mask may hide it.
fn contains(entry: &Entry<'_>, wanted: &str) -> Result<bool, String> {
    let text = match entry {
        Entry::Log(log) => match &log.body {
            Value::String(body) => body.clone(),
            body => body.to_string(),
        },
        Entry::Failure(failure) => failure.message.clone().ok_or_else(|| String::from("it has no message"))?,
        _ => return Err(String::from("it has no text")),
    };
    if wanted.is_empty() {
        return Err(String::from("every text contains nothing"));
    }
    if pieces(&text).into_iter().any(|piece| has_words(&normal(piece), wanted)) {
        return Ok(true);
    }
    match is_redacted(&text) || normal(&text).contains(wanted) {
        true => Err(String::from("a part of a word or of a masked text is like it, so it cannot be told")),
        false => Ok(false),
    }
}

/// Characters of a text, elements of an array, members of an object, also where the sample has only their number.
fn length(value: &Value) -> Option<usize> {
    let counted = |text: &str, mark: &str| text.strip_prefix(mark)?.strip_suffix('>')?.parse::<usize>().ok();
    match value {
        Value::String(text) => match counted(text, "<string:") {
            Some(length) => Some(length),
            None => (!is_redacted(text)).then(|| text.chars().count()),
        },
        Value::Array(items) => {
            let more = items.last().and_then(Value::as_str).and_then(|text| counted(text, "<more:"));
            Some(more.map_or(items.len(), |more| items.len() - 1 + more))
        }
        Value::Object(members) => Some(members.len()),
        _ => None,
    }
}

/// A point's value, or the greatest that a histogram's point has seen.
fn greatest(value: &Value) -> Option<Decimal> {
    match value {
        Value::Object(members) => Decimal::of(members.get("max")?),
        value => Decimal::of(value),
    }
}

fn compare(answer: Answer, found: &Found, comparison: Comparison, literal: &Literal) -> Result<bool, String> {
    const TOO_LONG: &str = "the numbers have too many digits to be compared";
    let other_type = || format!("it is {}, which cannot be compared with that", shown(found));
    match (found, literal) {
        (Found::Number(number), Literal::Number { value, .. }) => Ok(comparison.holds(number.cmp(value))),
        (Found::Share { part, whole }, Literal::Number { value, .. }) => {
            let limit = value.times(*whole).ok_or(TOO_LONG)?;
            Ok(comparison.holds(part.cmp(&limit)))
        }
        (Found::Value(Value::String(text)), Literal::Word(word)) => match answer {
            Answer::Ordered(words) => {
                let place = |word: &str| words.iter().position(|known| *known == word);
                let order = place(text).ok_or_else(other_type)?.cmp(&place(word).ok_or_else(other_type)?);
                Ok(comparison.holds(order))
            }
            Answer::Word(words) if words.contains(&text.as_str()) => {
                Ok(comparison.holds(text.as_str().cmp(word.as_str())))
            }
            _ => Err(other_type()),
        },
        (Found::Value(Value::String(text)), Literal::Text(wanted)) => match answer {
            Answer::Commit => {
                let order = if text.starts_with(wanted.as_str()) { Ordering::Equal } else { text.as_str().cmp(wanted) };
                Ok(comparison.holds(order))
            }
            _ => Ok(comparison.holds(text.as_str().cmp(wanted.as_str()))),
        },
        (Found::Value(Value::Bool(truth)), Literal::Word(word)) if word != "null" => {
            Ok(comparison.holds(truth.to_string().cmp(word)))
        }
        (Found::Value(Value::Null), Literal::Word(word)) if word == "null" => Ok(comparison.holds(Ordering::Equal)),
        (Found::Value(value), Literal::Number { value: wanted, .. }) => {
            let number = Decimal::of(value).ok_or_else(other_type)?;
            Ok(comparison.holds(number.cmp(wanted)))
        }
        _ => Err(other_type()),
    }
}

fn shown(found: &Found) -> String {
    match found {
        Found::Value(value) => value.to_string(),
        Found::Number(number) => number.to_string(),
        Found::Share { part, whole } => format!("{part} of {whole}"),
    }
}

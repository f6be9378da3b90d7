//! Reads a predicate. Every error has its place, and says what would be right.

use tracerag_schemas::anchor::{Anchor, Target};

use super::decimal::Decimal;
use super::predicate::{Answer, Argument, Comparison, Dimension, Literal, OPERATORS, Operator, Parameter, Predicate};

/// Bytes of a predicate; longer ones are refused.
const MAX_BYTES: usize = 4096;
/// Traces of a predicate.
const MAX_TRACES: usize = 50;

/// Why a text is no predicate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why} (at character {at})")]
pub(super) struct ParseError {
    /// Character, from 1 on.
    at: usize,
    why: String,
}

/// Reads a predicate and checks that its types fit.
pub(super) fn predicate(text: &str) -> Result<Predicate, ParseError> {
    let mut reader = Reader { text, at: 0 };
    if text.len() > MAX_BYTES {
        return Err(reader.error(format!("a predicate has {MAX_BYTES} bytes at most")));
    }
    let operator = reader.operator()?;
    let arguments = reader.arguments(operator)?;
    let comparison = reader.comparison(operator)?;
    reader.space();
    if !reader.rest().is_empty() {
        return Err(reader.error("the predicate ends before this; write one predicate at a time"));
    }
    Ok(Predicate { text: text.trim().to_owned(), operator, arguments, comparison })
}

struct Reader<'a> {
    text: &'a str,
    /// Byte, always at the beginning of a character.
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn error(&self, why: impl Into<String>) -> ParseError {
        let before = self.text.get(..self.at).unwrap_or(self.text);
        ParseError { at: before.chars().count() + 1, why: why.into() }
    }

    fn space(&mut self) {
        self.take(char::is_whitespace);
    }

    /// What follows, as long as its characters fit.
    fn take(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let taken = rest.find(|c| !fits(c)).map_or(rest, |end| rest.get(..end).unwrap_or(rest));
        self.at += taken.len();
        taken
    }

    fn takes(&mut self, wanted: &str) -> bool {
        let found = self.rest().starts_with(wanted);
        if found {
            self.at += wanted.len();
        }
        found
    }

    fn operator(&mut self) -> Result<&'static Operator, ParseError> {
        self.space();
        let begin = self.at;
        let name = self.take(|c| c.is_ascii_lowercase() || c == '_');
        let found = OPERATORS.iter().find(|operator| operator.name == name);
        let Some(operator) = found else {
            self.at = begin;
            let known: Vec<&str> = OPERATORS.iter().map(|operator| operator.name).collect();
            return Err(self.error(format!("a predicate begins with one of {}", known.join(", "))));
        };
        self.space();
        if !self.takes("(") {
            return Err(self.error(format!("after {name} stands ( and what it is about")));
        }
        Ok(operator)
    }

    fn arguments(&mut self, operator: &Operator) -> Result<Vec<Argument>, ParseError> {
        let mut arguments = Vec::with_capacity(operator.parameters.len());
        for (index, parameter) in operator.parameters.iter().enumerate() {
            if index > 0 {
                self.space();
                if !self.takes(",") {
                    return Err(self.error(format!(
                        "{} takes {} values, with a comma between them",
                        operator.name,
                        operator.parameters.len()
                    )));
                }
            }
            self.space();
            arguments.push(match parameter {
                Parameter::Anchor(kinds) => Argument::Anchor(self.anchor(kinds)?),
                Parameter::Text => Argument::Text(self.string()?),
                Parameter::Traces => Argument::Traces(self.traces()?),
            });
        }
        self.space();
        if !self.takes(")") {
            return Err(self.error(format!("after the {} of {} stands )", values(operator), operator.name)));
        }
        Ok(arguments)
    }

    fn anchor(&mut self, kinds: &[&str]) -> Result<Anchor, ParseError> {
        let begin = self.at;
        let quoted;
        let text = if self.rest().starts_with('"') {
            quoted = self.string()?;
            quoted.as_str()
        } else {
            self.take(|c| !c.is_whitespace() && !matches!(c, ',' | '(' | ')' | '"'))
        };
        let parsed: Result<Anchor, _> = text.parse();
        let is_wanted = |anchor: &Anchor| kinds.contains(&kind(anchor));
        let why = match parsed {
            Ok(anchor) if is_wanted(&anchor) => match anchor.target {
                Target::Payload { pointer: Some(_), .. } => {
                    String::from("the pointer is a value of its own: payload(payload:ID#request, \"/amount\")")
                }
                _ => return Ok(anchor),
            },
            Ok(_) => format!("here stands an anchor of kind {}", kinds.join(", ")),
            Err(error) => error.to_string(),
        };
        self.at = begin;
        Err(self.error(why))
    }

    /// Ids of traces, with commas between them.
    fn traces(&mut self) -> Result<Vec<String>, ParseError> {
        let mut traces: Vec<String> = Vec::new();
        loop {
            let begin = self.at;
            let id = self.string()?;
            let is_id = id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            if !is_id || traces.contains(&id) || traces.len() >= MAX_TRACES {
                self.at = begin;
                return Err(self.error(format!(
                    "here stand ids of traces, 32 lower-case hex digits each, each once, {MAX_TRACES} at most"
                )));
            }
            traces.push(id);
            self.space();
            if !self.takes(",") {
                return Ok(traces);
            }
            self.space();
        }
    }

    /// A JSON string.
    fn string(&mut self) -> Result<String, ParseError> {
        let rest = self.rest();
        if !rest.starts_with('"') {
            return Err(self.error("here stands a text in \"quotes\""));
        }
        let mut escaped = false;
        let end = rest.char_indices().skip(1).find_map(|(at, c)| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends.then_some(at + 1)
        });
        let Some(text) = end.and_then(|end| rest.get(..end)) else {
            return Err(self.error("the quote that begins here does not end"));
        };
        match serde_json::from_str(text) {
            Ok(string) => {
                self.at += text.len();
                Ok(string)
            }
            Err(_) => Err(self.error("the text in quotes is no JSON string; write \\\" and \\\\ for \" and \\")),
        }
    }

    fn comparison(&mut self, operator: &Operator) -> Result<Option<(Comparison, Literal)>, ParseError> {
        self.space();
        let begin = self.at;
        let found = [
            ("=", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ]
        .into_iter()
        .find(|(sign, _)| self.takes(sign));
        let Some((sign, comparison)) = found else {
            return match operator.answer {
                Answer::Truth => Ok(None),
                _ => Err(self.error(format!("{} is compared with something: =, !=, <, <=, >, >=", operator.name))),
            };
        };
        self.space();
        let place = self.at;
        let literal = self.literal()?;
        if let Err(why) = fits(operator, comparison, &literal) {
            self.at = if comparison.is_order() && !has_order(operator.answer, &literal) { begin } else { place };
            return Err(self.error(format!("{} {sign}: {why}", operator.name)));
        }
        Ok(Some((comparison, literal)))
    }

    fn literal(&mut self) -> Result<Literal, ParseError> {
        match self.rest().chars().next() {
            Some('"') => Ok(Literal::Text(self.string()?)),
            Some(c) if c.is_ascii_digit() || c == '-' => self.number(),
            Some(c) if c.is_ascii_alphabetic() => {
                Ok(Literal::Word(self.take(|c| c.is_ascii_alphabetic() || c == '_').to_owned()))
            }
            _ => Err(self.error("here stands a text in \"quotes\", a number or a word such as ERROR")),
        }
    }

    fn number(&mut self) -> Result<Literal, ParseError> {
        let begin = self.at;
        self.takes("-");
        self.take(|c| c.is_ascii_digit() || c == '.');
        // An exponent, unless the letter begins a unit.
        let exponent = self.rest().strip_prefix(['e', 'E']).map(|rest| rest.trim_start_matches(['+', '-']));
        if exponent.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
            self.at += 1;
            self.take(|c| matches!(c, '+' | '-'));
            self.take(|c| c.is_ascii_digit());
        }
        let text = self.text.get(begin..self.at).unwrap_or_default();
        let number = Decimal::parse(text);
        let place = self.at;
        let unit = self.take(|c| c.is_alphabetic() || c == '%');
        let scaled = match (number, unit) {
            (Some(value), "") => Some((value, None)),
            (Some(value), unit) => {
                let Some((dimension, factor)) = unit_of(unit) else {
                    self.at = place;
                    return Err(self.error(format!("the unit {unit:?} is unknown; write one of {UNITS}")));
                };
                value.times(factor).map(|value| (value, Some(dimension)))
            }
            (None, _) => None,
        };
        match scaled {
            Some((value, unit)) => Ok(Literal::Number { value, unit }),
            None => {
                self.at = begin;
                Err(self.error(format!("{text:?} is no number, or has too many digits")))
            }
        }
    }
}

fn values(operator: &Operator) -> &'static str {
    if operator.parameters.len() == 1 { "value" } else { "values" }
}

const UNITS: &str = "ns, us, ms, s, min, h, B, kB, MB, GB, KiB, MiB, GiB, %";

/// What a unit measures, and how many base units it is.
pub(super) fn unit_of(unit: &str) -> Option<(Dimension, Decimal)> {
    const SECOND: i64 = tracerag_schemas::time::SECOND;
    let (dimension, factor) = match unit {
        "ns" => (Dimension::Duration, 1),
        "us" | "µs" | "μs" => (Dimension::Duration, 1_000),
        "ms" => (Dimension::Duration, 1_000_000),
        "s" => (Dimension::Duration, SECOND),
        "min" => (Dimension::Duration, 60 * SECOND),
        "h" => (Dimension::Duration, 3600 * SECOND),
        "B" => (Dimension::Bytes, 1),
        "kB" | "KB" => (Dimension::Bytes, 1_000),
        "MB" => (Dimension::Bytes, 1_000_000),
        "GB" => (Dimension::Bytes, 1_000_000_000),
        "KiB" => (Dimension::Bytes, 1 << 10),
        "MiB" => (Dimension::Bytes, 1 << 20),
        "GiB" => (Dimension::Bytes, 1 << 30),
        "%" => return Some((Dimension::Share, Decimal::parse("0.01")?)),
        _ => return None,
    };
    Some((dimension, Decimal::integer(factor)))
}

/// The word before the colon of an anchor.
pub(super) fn kind(anchor: &Anchor) -> &'static str {
    match anchor.target {
        Target::Span(_) => "span",
        Target::Log(_) => "log",
        Target::Failure(_) => "failure",
        Target::Metric(_) => "metric",
        Target::Payload { .. } => "payload",
        Target::Heap(_) => "heap",
        Target::Build { .. } => "build",
        Target::Flag { .. } => "flag",
        Target::Config { .. } => "config",
        Target::Link(_) => "link",
        Target::Incident(_) => "incident",
        Target::Code { .. } => "code",
    }
}

fn has_order(answer: Answer, literal: &Literal) -> bool {
    match answer {
        Answer::Number(_) | Answer::Ordered(_) => true,
        Answer::Scalar => matches!(literal, Literal::Number { .. }),
        Answer::Truth | Answer::Text | Answer::Commit | Answer::Word(_) => false,
    }
}

/// Whether an answer can be compared in this way with a literal; the error says with what it can.
fn fits(operator: &Operator, comparison: Comparison, literal: &Literal) -> Result<(), String> {
    if comparison.is_order() && !has_order(operator.answer, literal) {
        return Err(String::from("there is no order here; write = or !="));
    }
    let fits = match (operator.answer, literal) {
        (Answer::Truth, Literal::Word(word)) => matches!(word.as_str(), "true" | "false"),
        (Answer::Text, Literal::Text(_)) => true,
        (Answer::Commit, Literal::Text(text)) => {
            (7..=64).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        }
        (Answer::Word(words) | Answer::Ordered(words), Literal::Word(word)) => words.contains(&word.as_str()),
        (Answer::Scalar, Literal::Text(_) | Literal::Number { unit: None, .. }) => true,
        (Answer::Scalar, Literal::Word(word)) => matches!(word.as_str(), "true" | "false" | "null"),
        (Answer::Number(Dimension::Duration), Literal::Number { unit, .. }) => *unit == Some(Dimension::Duration),
        (Answer::Number(dimension), Literal::Number { unit, .. }) => unit.is_none_or(|unit| unit == dimension),
        _ => false,
    };
    if fits { Ok(()) } else { Err(format!("here stands {}", wanted(operator.answer))) }
}

fn wanted(answer: Answer) -> String {
    match answer {
        Answer::Truth => String::from("true or false"),
        Answer::Text => String::from("a text in \"quotes\""),
        Answer::Commit => String::from("a commit in \"quotes\", 7 or more lower-case hex digits of it"),
        Answer::Word(words) | Answer::Ordered(words) => format!("one of {}", words.join(", ")),
        Answer::Scalar => String::from("a text in \"quotes\", a number without a unit, true, false or null"),
        Answer::Number(Dimension::Plain) => String::from("a number without a unit"),
        Answer::Number(Dimension::Share) => String::from("a number such as 0.3 or 30%"),
        Answer::Number(Dimension::Duration) => String::from("a number with a unit of time, such as 2s or 150ms"),
        Answer::Number(Dimension::Bytes) => String::from("a number of bytes, such as 3840000 or 3.5MiB"),
    }
}

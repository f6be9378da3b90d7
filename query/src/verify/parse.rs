//! Reads a predicate. Every error has its place, and says what would be right.

use std::borrow::Cow;

use tracerag_schemas::anchor::{Anchor, Target};
use winnow::Parser;
use winnow::combinator::{alt, opt, peek, preceded, separated};
use winnow::stream::Stream;
use winnow::token::{any, one_of, take_while};

use super::decimal::Decimal;
use super::predicate::{Answer, Argument, Comparison, Dimension, Literal, OPERATORS, Operator, Parameter, Predicate};
use crate::grammar::{Input, Mistake, Read, blank, in_quotes, mark, one_of_marks, start};

/// Bytes of a predicate; longer ones are refused.
const MAX_BYTES: usize = 4096;
/// Traces of a predicate.
const MAX_TRACES: usize = 50;

const COMPARISONS: [(&str, Comparison); 6] = [
    ("=", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

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
    whole(&mut start(text, ()))
        .map_err(|mistake| ParseError { at: mistake.character(text), why: mistake.why().to_owned() })
}

fn whole(input: &mut Input<'_>) -> Read<Predicate> {
    let text = input.peek_finish();
    if text.len() > MAX_BYTES {
        return Err(Mistake::here(input, format!("a predicate has {MAX_BYTES} bytes at most")));
    }
    let operator = operator(input)?;
    let arguments = arguments(input, operator)?;
    let comparison = comparison(input, operator)?;
    blank(input)?;
    match input.peek_token() {
        None => Ok(Predicate { text: text.trim().to_owned(), operator, arguments, comparison }),
        Some(_) => Err(Mistake::here(input, "the predicate ends before this; write one predicate at a time")),
    }
}

fn operator(input: &mut Input<'_>) -> Read<&'static Operator> {
    blank(input)?;
    take_while(0.., |c: char| c.is_ascii_lowercase() || c == '_').try_map(operator_of).parse_next(input)
}

fn operator_of(name: &str) -> Result<&'static Operator, String> {
    OPERATORS.iter().find(|operator| operator.name == name).ok_or_else(|| {
        let known: Vec<&str> = OPERATORS.iter().map(|operator| operator.name).collect();
        format!("a predicate begins with one of {}", known.join(", "))
    })
}

fn arguments(input: &mut Input<'_>, operator: &Operator) -> Read<Vec<Argument>> {
    let Operator { name, parameters, .. } = operator;
    let count = parameters.len();
    let mut comma = mark(",").context(format!("{name} takes {count} values, with a comma between them"));
    mark("(").context(format!("after {name} stands ( and what it is about")).parse_next(input)?;
    let mut arguments = Vec::with_capacity(count);
    for (index, parameter) in parameters.iter().enumerate() {
        if index > 0 {
            comma.parse_next(input)?;
        }
        blank(input)?;
        arguments.push(match parameter {
            Parameter::Anchor(kinds) => Argument::Anchor(anchor(input, kinds)?),
            Parameter::Text => Argument::Text(string(input)?),
            Parameter::Traces => Argument::Traces(traces(input)?),
        });
    }
    let values = if count == 1 { "value" } else { "values" };
    mark(")").context(format!("after the {values} of {name} stands )")).parse_next(input)?;
    Ok(arguments)
}

/// An anchor of one of some kinds, with or without quotes.
fn anchor(input: &mut Input<'_>, kinds: &[&str]) -> Read<Anchor> {
    alt((json, bare_anchor)).try_map(|text: String| anchor_of(&text, kinds)).parse_next(input)
}

fn bare_anchor(input: &mut Input<'_>) -> Read<String> {
    take_while(0.., |c: char| !c.is_whitespace() && !matches!(c, ',' | '(' | ')' | '"'))
        .map(|text: &str| text.to_owned())
        .parse_next(input)
}

fn anchor_of(text: &str, kinds: &[&str]) -> Result<Anchor, String> {
    let anchor = text.parse::<Anchor>().map_err(|error| error.to_string())?;
    if !kinds.contains(&kind(&anchor)) {
        return Err(format!("here stands an anchor of kind {}", kinds.join(", ")));
    }
    match anchor.target {
        Target::Payload { pointer: Some(_), .. } => {
            Err(String::from("the pointer is a value of its own: payload(payload:ID#request, \"/amount\")"))
        }
        _ => Ok(anchor),
    }
}

/// Ids of traces, with commas between them.
fn traces(input: &mut Input<'_>) -> Read<Vec<String>> {
    let mut traces: Vec<String> = Vec::new();
    let id = string.try_map(|id: String| {
        let is_id = id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !is_id || traces.contains(&id) || traces.len() >= MAX_TRACES {
            return Err(format!(
                "here stand ids of traces, 32 lower-case hex digits each, each once, {MAX_TRACES} at most"
            ));
        }
        traces.push(id);
        Ok(())
    });
    let () = separated(1.., id, (mark(","), blank)).parse_next(input)?;
    Ok(traces)
}

fn string(input: &mut Input<'_>) -> Read<String> {
    json.context("here stands a text in \"quotes\"").parse_next(input)
}

/// A JSON string, if a quote stands here.
fn json(input: &mut Input<'_>) -> Read<String> {
    // Only its end is looked for, so the parts are not kept.
    in_quotes::<(), _, _>(('\\', any).take(), "the quote that begins here does not end")
        .take()
        .try_map(|text: &str| {
            serde_json::from_str(text)
                .map_err(|_| "the text in quotes is no JSON string; write \\\" and \\\\ for \" and \\")
        })
        .parse_next(input)
}

fn comparison(input: &mut Input<'_>, operator: &Operator) -> Read<Option<(Comparison, Literal)>> {
    blank(input)?;
    let at_sign = input.checkpoint();
    let Some((sign, comparison)) = opt(one_of_marks(COMPARISONS)).parse_next(input)? else {
        return match operator.answer {
            Answer::Truth => Ok(None),
            _ => {
                let why = format!("{} is compared with something: =, !=, <, <=, >, >=", operator.name);
                Err(Mistake::here(input, why))
            }
        };
    };
    blank(input)?;
    let at_literal = input.checkpoint();
    let literal = literal(input)?;
    if let Err(why) = fits(operator, comparison, &literal) {
        let is_of_sign = comparison.is_order() && !has_order(operator.answer, &literal);
        input.reset(if is_of_sign { &at_sign } else { &at_literal });
        return Err(Mistake::here(input, format!("{} {sign}: {why}", operator.name)));
    }
    Ok(Some((comparison, literal)))
}

fn literal(input: &mut Input<'_>) -> Read<Literal> {
    alt((json.map(Literal::Text), number, word))
        .context("here stands a text in \"quotes\", a number or a word such as ERROR")
        .parse_next(input)
}

fn word(input: &mut Input<'_>) -> Read<Literal> {
    (one_of(|c: char| c.is_ascii_alphabetic()), take_while(0.., |c: char| c.is_ascii_alphabetic() || c == '_'))
        .take()
        .map(|word: &str| Literal::Word(word.to_owned()))
        .parse_next(input)
}

/// A number with its unit, if a digit or `-` stands here.
fn number(input: &mut Input<'_>) -> Read<Literal> {
    let begin = peek(one_of(|c: char| c.is_ascii_digit() || c == '-'));
    preceded(begin, (decimal, unit))
        .try_map(|((text, value), unit): ((&str, Decimal), Option<(Dimension, Decimal)>)| {
            let (value, unit) = match unit {
                None => (Some(value), None),
                Some((dimension, factor)) => (value.times(factor), Some(dimension)),
            };
            value.map(|value| Literal::Number { value, unit }).ok_or_else(|| no_number(text))
        })
        .parse_next(input)
}

fn no_number(text: &str) -> Cow<'static, str> {
    Cow::Owned(format!("{text:?} is no number, or has too many digits"))
}

/// The number, and its text.
fn decimal<'a>(input: &mut Input<'a>) -> Read<(&'a str, Decimal)> {
    let digits = |c: char| c.is_ascii_digit();
    // What has no digit after it is no exponent: the letter begins a unit.
    let exponent = (one_of(['e', 'E']), take_while(0.., ['+', '-']), take_while(1.., digits));
    (opt('-'), take_while(0.., |c: char| c.is_ascii_digit() || c == '.'), opt(exponent))
        .take()
        .try_map(|text: &'a str| Decimal::parse(text).map(|value| (text, value)).ok_or_else(|| no_number(text)))
        .parse_next(input)
}

/// What follows a number without a blank; none without a unit.
fn unit(input: &mut Input<'_>) -> Read<Option<(Dimension, Decimal)>> {
    take_while(0.., |c: char| c.is_alphabetic() || c == '%')
        .try_map(|unit: &str| match (unit, unit_of(unit)) {
            ("", _) => Ok(None),
            (_, Some(known)) => Ok(Some(known)),
            (_, None) => Err(format!("the unit {unit:?} is unknown; write one of {UNITS}")),
        })
        .parse_next(input)
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

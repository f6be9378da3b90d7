//! The reader of predicates, on predicates that are written from their values, and on long texts.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::Index;
use tracerag_schemas::anchor::Anchor;

use super::*;
use crate::verify::decimal::Decimal;
use crate::verify::predicate::{Answer, Argument, Comparison, Dimension, Literal, OPERATORS, Operator, Parameter};

/// An anchor of each kind that a parameter takes, with names that have to stand in quotes where there may be some.
const ANCHORS: &[&str] = &[
    "span:00f067aa0ba902b7",
    "log:2",
    "failure:0~2",
    "metric:7",
    "payload:b7ad6b7169203331#request",
    "heap:1",
    "build:pay ments@1.9.0, (beta)",
    "flag:a \"quoted\" key",
    "config:pool(size)@*",
    "code:src/a b.go:117@a1b2c3d4e5f6a7b8",
];
/// Each sign with its meaning.
const SIGNS: [(&str, Comparison); 6] = [
    ("=", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<", Comparison::Less),
    ("<=", Comparison::LessOrEqual),
    (">", Comparison::Greater),
    (">=", Comparison::GreaterOrEqual),
];

/// What values are made of.
#[derive(Debug, Clone)]
struct Choices {
    text: String,
    number: i64,
    decimals: u32,
    index: Index,
    blank: String,
}

fn choices() -> impl Strategy<Value = Choices> {
    ("[\\PC\n\t]{0,12}", any::<i64>(), 0..9u32, any::<Index>(), "[ \t\n\u{a0}]{0,2}")
        .prop_map(|(text, number, decimals, index, blank)| Choices { text, number, decimals, index, blank })
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// An argument as it is written, and its value.
fn argument(parameter: &Parameter, choices: &Choices) -> (String, Argument) {
    match parameter {
        Parameter::Anchor(kinds) => {
            let fits = |text: &&&str| kinds.iter().any(|kind| text.starts_with(&format!("{kind}:")));
            let fitting: Vec<&&str> = ANCHORS.iter().filter(fits).collect();
            let text = *choices.index.get(&fitting);
            let anchor: Anchor = text.parse().unwrap();
            let must_be_quoted = text.contains([' ', ',', '(', ')', '"']);
            let written = if must_be_quoted || choices.number < 0 { quoted(text) } else { (*text).to_owned() };
            (written, Argument::Anchor(anchor))
        }
        Parameter::Text => (quoted(&choices.text), Argument::Text(choices.text.clone())),
        Parameter::Traces => {
            let traces: Vec<String> = (0..=choices.index.index(50)).map(|number| format!("{number:032x}")).collect();
            let Choices { blank, .. } = choices;
            let written: Vec<String> = traces.iter().map(|trace| quoted(trace)).collect();
            (written.join(&format!("{blank},{blank}")), Argument::Traces(traces))
        }
    }
}

/// A literal that an answer may be compared with, as it is written, and its value.
fn literal(answer: Answer, choices: &Choices) -> (String, Literal) {
    let word = |words: &[&str]| {
        let word = *choices.index.get(words);
        (word.to_owned(), Literal::Word(word.to_owned()))
    };
    let text = |text: &str| (quoted(text), Literal::Text(text.to_owned()));
    let number = |dimension, units: &[(&str, i64)]| {
        let (unit, factor) = *choices.index.get(units);
        let written = format!("{}e-{}", choices.number, choices.decimals);
        let value = Decimal::parse(&written).unwrap().times(Decimal::integer(factor)).unwrap();
        (format!("{written}{unit}"), Literal::Number { value, unit: dimension })
    };
    match answer {
        Answer::Truth => word(&["true", "false"]),
        Answer::Text => text(&choices.text),
        Answer::Commit => text(&format!("{:016x}", choices.number)),
        Answer::Word(words) | Answer::Ordered(words) => word(words),
        Answer::Scalar if choices.number % 3 == 0 => word(&["true", "false", "null"]),
        Answer::Scalar if choices.number % 3 == 1 => text(&choices.text),
        Answer::Scalar | Answer::Number(Dimension::Plain | Dimension::Share) => number(None, &[("", 1)]),
        Answer::Number(Dimension::Duration) => {
            number(Some(Dimension::Duration), &[("ns", 1), ("us", 1_000), ("µs", 1_000), ("min", 60_000_000_000)])
        }
        Answer::Number(Dimension::Bytes) => number(Some(Dimension::Bytes), &[("B", 1), ("kB", 1_000), ("KiB", 1_024)]),
    }
}

fn has_order(answer: Answer, literal: &Literal) -> bool {
    match answer {
        Answer::Number(_) | Answer::Ordered(_) => true,
        Answer::Scalar => matches!(literal, Literal::Number { .. }),
        Answer::Truth | Answer::Text | Answer::Commit | Answer::Word(_) => false,
    }
}

proptest! {
    /// A predicate of any function is written from values, with blanks anywhere between its parts; read, it has these
    /// values, and so it has when its own text is read again. Guarantees that no value is lost or changed on the way.
    #[test]
    fn what_is_written_is_read(number in 0..OPERATORS.len(), values in prop::collection::vec(choices(), 4)) {
        let operator: &Operator = &OPERATORS[number];
        let [last, of_arguments @ ..] = values.as_slice() else { unreachable!() };
        let (written, arguments): (Vec<String>, Vec<Argument>) =
            operator.parameters.iter().zip(of_arguments).map(|(parameter, value)| argument(parameter, value)).unzip();
        let (written_literal, literal) = literal(operator.answer, last);
        let signs = if has_order(operator.answer, &literal) { &SIGNS[..] } else { &SIGNS[..2] };
        let (sign, comparison) = *last.index.get(signs);
        let Choices { blank, .. } = last;
        let compared = operator.answer != Answer::Truth || last.number > 0;
        let end = if compared { format!("{sign}{blank}{written_literal}{blank}") } else { String::new() };
        let between = format!("{blank},{blank}");
        let text = format!(
            "{blank}{}{blank}({blank}{}{blank}){blank}{end}",
            operator.name,
            written.join(&between)
        );
        let read = parse::predicate(&text).map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
        let again = parse::predicate(&read.text).map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
        for read in [read, again] {
            prop_assert_eq!(read.operator.name, operator.name);
            prop_assert_eq!(&read.arguments, &arguments);
            prop_assert_eq!(&read.comparison, &compared.then(|| (comparison, literal.clone())));
        }
    }
}

/// Texts as long as may be, of what could be read in more than one way, are each read a hundred times. Guarantees that no
/// way of reading is tried again for each way of reading what follows: one such text would take longer than all may.
#[test]
fn long_texts_take_no_time() {
    let begin = Instant::now();
    for (head, part, tail) in [
        ("flag(\"", "\\\\", "\") = \"on\""),
        ("flag(\"", "\\", ""),
        ("flag(\"a\") = ", "\"", ""),
        ("failures(\"a\") = ", "9", ""),
        ("failures(\"a\") = 1", "e", ""),
        ("failures(\"a\") = 1e", "-", "1"),
        ("failures(\"a\")", " ", "= 1"),
        ("status(", "(", ""),
        ("status(span:", "a", ") = OK"),
        ("", "status", ""),
    ] {
        let count = (4096 - head.len() - tail.len()) / part.len();
        let text = format!("{head}{}{tail}", part.repeat(count));
        for _ in 0..100 {
            let _ = parse::predicate(&text);
        }
    }
    assert!(begin.elapsed() < Duration::from_secs(300), "{:?}", begin.elapsed());
}

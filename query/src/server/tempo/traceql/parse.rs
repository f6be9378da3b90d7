//! Reads TraceQL. Every error has its place, and says what would be right.

use winnow::Parser;
use winnow::combinator::{alt, delimited, eof, opt, preceded, separated, terminated};
use winnow::stream::Stream;
use winnow::token::{any, take_till, take_while};

use super::ast::{Attribute, Condition, Field, Intrinsic, Operator, Query, Scope, Value};
use crate::error::QueryError;
use crate::grammar::{Input, Mistake, Read, blank, in_quotes, mark, one_of_marks, start};
use crate::server::traces::duration;

/// Bytes of a query; longer ones are refused.
const MAX_BYTES: usize = 8_192;
/// How deep parentheses and negations may nest.
const MAX_DEPTH: usize = 32;
/// Comparisons of a query, of which `{}` counts for one. Planning takes longer with each.
const MAX_COMPARISONS: usize = 100;

/// Operators, a longer one before its beginning.
const OPERATORS: [(&str, Operator); 8] = [
    ("=~", Operator::Matches),
    ("!~", Operator::NotMatches),
    ("!=", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("=", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::Greater),
];
const STATUSES: [&str; 3] = ["ok", "error", "unset"];
const KINDS: [&str; 6] = ["unspecified", "internal", "server", "client", "producer", "consumer"];

/// A query, and how far it has used up its bounds.
type Text<'a> = Input<'a, Used>;

#[derive(Debug, Default)]
struct Used {
    depth: usize,
    comparisons: usize,
}

/// Reads a query. An empty one is `{}`, as for Tempo.
///
/// # Errors
/// [`QueryError::Sql`] with what is wrong, and where.
pub(in crate::server::tempo) fn parse(text: &str) -> Result<Query, QueryError> {
    query(&mut start(text, Used::default())).map_err(|mistake| refused(text, &mistake))
}

/// Reads a field alone, as the paths of tags have it: `resource.service.name`, `.http.route`, `status`.
///
/// # Errors
/// As [`parse`].
pub(in crate::server::tempo) fn field(text: &str) -> Result<Field, QueryError> {
    lone_field(&mut start(text, Used::default())).map_err(|mistake| refused(text, &mistake))
}

fn refused(text: &str, mistake: &Mistake) -> QueryError {
    QueryError::Sql(format!("{} (at character {} of the TraceQL query)", mistake.why(), mistake.character(text)))
}

/// A side of a comparison.
enum Operand {
    Field(Field),
    Value(Value),
    Nil,
}

fn lone_field(input: &mut Text<'_>) -> Read<Field> {
    let Operand::Field(found) = operand(input)? else {
        return Err(Mistake::here(input, "this is no field; write .http.route or status"));
    };
    match input.peek_token() {
        None => Ok(found),
        Some(_) => Err(Mistake::here(input, "the field ends before this")),
    }
}

fn query(input: &mut Text<'_>) -> Read<Query> {
    if input.eof_offset() > MAX_BYTES {
        return Err(Mistake::here(input, format!("a query has {MAX_BYTES} bytes at most")));
    }
    let nothing = (blank, eof).value(Query::Spans(Condition::Always(true)));
    alt((nothing, terminated(any_spans, end))).parse_next(input)
}

fn end(input: &mut Text<'_>) -> Read<()> {
    blank(input)?;
    let why = match input.peek_token() {
        None => return Ok(()),
        Some('|') => {
            "pipelines (| count(), | rate() ..) are not answered here; search for spans, and aggregate them in SQL"
        }
        Some('>' | '<' | '~' | '!' | '&') => {
            "how spans stand to each other is not searched for; combine {..} with && and ||, or ask in SQL"
        }
        Some(_) => "the query ends before this; combine {..} with && and ||",
    };
    Err(Mistake::here(input, why))
}

fn any_spans(input: &mut Text<'_>) -> Read<Query> {
    separated(1.., all_spans, mark("||")).map(|parts: Vec<Query>| one_or(parts, Query::Any)).parse_next(input)
}

fn all_spans(input: &mut Text<'_>) -> Read<Query> {
    separated(1.., spans, mark("&&")).map(|parts: Vec<Query>| one_or(parts, Query::All)).parse_next(input)
}

fn spans(input: &mut Text<'_>) -> Read<Query> {
    let every = (mark("{"), mark("}"), counted).value(Query::Spans(Condition::Always(true)));
    let some = delimited(mark("{"), any_condition, closing("}")).map(Query::Spans);
    alt((delimited(mark("("), deeper(any_spans), closing(")")), every, some))
        .context("spans are searched for by { .. }, as in { status = error }")
        .parse_next(input)
}

fn any_condition(input: &mut Text<'_>) -> Read<Condition> {
    separated(1.., all_conditions, mark("||"))
        .map(|parts: Vec<Condition>| one_or(parts, Condition::Any))
        .parse_next(input)
}

fn all_conditions(input: &mut Text<'_>) -> Read<Condition> {
    separated(1.., condition, mark("&&")).map(|parts: Vec<Condition>| one_or(parts, Condition::All)).parse_next(input)
}

fn condition(input: &mut Text<'_>) -> Read<Condition> {
    let negated = preceded(mark("!"), deeper(condition)).map(|inner: Condition| Condition::Not(Box::new(inner)));
    alt((delimited(mark("("), deeper(any_condition), closing(")")), negated, comparison)).parse_next(input)
}

fn closing<'a>(bracket: &'static str) -> impl Parser<Text<'a>, &'a str, Mistake> {
    mark(bracket).context(format!("here stands {bracket}, or && or || and another condition"))
}

/// Reads what is one step deeper.
fn deeper<'a, T>(mut read: impl Parser<Text<'a>, T, Mistake>) -> impl Parser<Text<'a>, T, Mistake> {
    move |input: &mut Text<'a>| {
        if input.state.depth == MAX_DEPTH {
            return Err(Mistake::here(input, format!("parentheses nest {MAX_DEPTH} deep at most")));
        }
        input.state.depth += 1;
        let found = read.parse_next(input);
        input.state.depth -= 1;
        found
    }
}

/// That there may be one comparison more.
fn counted(input: &mut Text<'_>) -> Read<()> {
    input.state.comparisons += 1;
    match input.state.comparisons > MAX_COMPARISONS {
        true => Err(Mistake::here(input, format!("a query has {MAX_COMPARISONS} comparisons at most"))),
        false => Ok(()),
    }
}

fn comparison(input: &mut Text<'_>) -> Read<Condition> {
    blank(input)?;
    counted(input)?;
    let begin = input.checkpoint();
    let left = operand(input)?;
    blank(input)?;
    let Some((_, operator)) = opt(one_of_marks(OPERATORS)).parse_next(input)? else {
        return alone(input, left);
    };
    let right = operand(input)?;
    compared(left, operator, right).ok_or_else(|| {
        input.reset(&begin);
        Mistake::here(input, "a comparison has a field on one side and a value on the other")
    })
}

/// An operand that nothing is compared with.
fn alone(input: &Text<'_>, operand: Operand) -> Read<Condition> {
    let is_alone = input.peek_token().is_none_or(|next| matches!(next, '}' | ')' | '&' | '|'));
    match operand {
        Operand::Value(Value::Bool(truth)) if is_alone => Ok(Condition::Always(truth)),
        Operand::Field(field) if is_alone => Ok(Condition::Compare(field, Operator::Equal, Value::Bool(true))),
        _ => Err(Mistake::here(
            input,
            "here stands one of = != < <= > >= =~ !~; sums and products are not answered here",
        )),
    }
}

/// A comparison that has a field on one side, and a value or nil on the other.
fn compared(left: Operand, operator: Operator, right: Operand) -> Option<Condition> {
    match (left, operator, right) {
        (Operand::Field(field), _, Operand::Value(value)) => Some(Condition::Compare(field, operator, value)),
        (Operand::Value(value), _, Operand::Field(field)) => Some(Condition::Compare(field, operator.swapped(), value)),
        (Operand::Field(field), Operator::NotEqual, Operand::Nil)
        | (Operand::Nil, Operator::NotEqual, Operand::Field(field)) => Some(Condition::Exists(field)),
        (Operand::Field(field), Operator::Equal, Operand::Nil)
        | (Operand::Nil, Operator::Equal, Operand::Field(field)) => {
            Some(Condition::Not(Box::new(Condition::Exists(field))))
        }
        _ => None,
    }
}

fn operand(input: &mut Text<'_>) -> Read<Operand> {
    let text = alt((quoted, raw)).map(|text: String| Operand::Value(Value::Text(text)));
    preceded(blank, alt((text, word.try_map(|word: String| named(&word)))))
        .context("here stands a field (.http.route, status, duration) or a value (\"text\", 5, 100ms)")
        .parse_next(input)
}

/// A name or a number; parts of a name may be in quotes: `span."key with spaces"`.
fn word(input: &mut Text<'_>) -> Read<String> {
    let mut word = of_word.verify(|part: &str| !part.is_empty()).parse_next(input)?.to_owned();
    while word.ends_with('.')
        && let Some(part) = opt(quoted).parse_next(input)?
    {
        word.push_str(&part);
        word.push_str(of_word(input)?);
    }
    Ok(word)
}

fn of_word<'a>(input: &mut Text<'a>) -> Read<&'a str> {
    take_while(0.., is_of_word).parse_next(input)
}

/// A text in quotes with the escapes of Go.
fn quoted(input: &mut Text<'_>) -> Read<String> {
    in_quotes(escape, "this text has no end; close it with \"").parse_next(input)
}

fn escape<'a>(input: &mut Text<'a>) -> Read<&'a str> {
    preceded('\\', opt(any))
        .try_map(|escaped: Option<char>| match escaped {
            Some('n') => Ok("\n"),
            Some('t') => Ok("\t"),
            Some('r') => Ok("\r"),
            Some('"') => Ok("\""),
            Some('\\') => Ok("\\"),
            _ => Err("after \\ stands one of \" \\ n t r; for a backslash write \\\\"),
        })
        .parse_next(input)
}

/// A text in backticks, as it is.
fn raw(input: &mut Text<'_>) -> Read<String> {
    ('`', take_till(0.., '`'), opt('`'))
        .try_map(|(_, text, end): (char, &str, Option<char>)| {
            end.map(|_| text.to_owned()).ok_or("this text has no end; close it with `")
        })
        .parse_next(input)
}

/// The only part, or all of them.
fn one_or<T>(mut parts: Vec<T>, several: impl FnOnce(Vec<T>) -> T) -> T {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            parts.extend(last);
            several(parts)
        }
    }
}

fn is_of_word(c: char) -> bool {
    !c.is_whitespace()
        && !matches!(c, '{' | '}' | '(' | ')' | '=' | '~' | '!' | '<' | '>' | '&' | '|' | '^' | ',' | '"' | '`')
}

/// What a word names.
fn named(word: &str) -> Result<Operand, String> {
    let attribute = |scope, key: &str| match key.is_empty() {
        true => Err(String::from("after the dot stands the name of an attribute")),
        false => Ok(Operand::Field(Field::Attribute(Attribute { scope, key: key.to_owned() }))),
    };
    for (prefix, scope) in [
        (".", Scope::Any),
        ("span.", Scope::Span),
        ("resource.", Scope::Resource),
        ("instrumentation.", Scope::Instrumentation),
    ] {
        // A number may begin with a dot, and so may no name.
        let Some(key) = word.strip_prefix(prefix) else { continue };
        if word.parse::<f64>().is_err() {
            return attribute(scope, key);
        }
    }
    if let Some(intrinsic) = Intrinsic::by_name(word) {
        return Ok(Operand::Field(Field::Intrinsic(intrinsic)));
    }
    if let Some(status) = STATUSES.iter().find(|status| **status == word) {
        return Ok(Operand::Value(Value::Status(status)));
    }
    if let Some(kind) = KINDS.iter().find(|kind| **kind == word) {
        return Ok(Operand::Value(Value::Kind(kind)));
    }
    match word {
        "true" => return Ok(Operand::Value(Value::Bool(true))),
        "false" => return Ok(Operand::Value(Value::Bool(false))),
        "nil" => return Ok(Operand::Nil),
        _ => {}
    }
    let is_number = word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '.'));
    let number = || {
        let int = word.parse().ok().map(Value::Int);
        int.or_else(|| word.parse().ok().map(Value::Float)).or_else(|| duration(word).map(Value::Duration))
    };
    if let Some(number) = is_number.then(number).flatten() {
        return Ok(Operand::Value(number));
    }
    if ["event", "link", "parent"].iter().any(|scope| word.starts_with(scope)) {
        return Err(format!("{word} is of events, links or parents, which are not searched; ask in SQL"));
    }
    Err(format!(
        "{word} is no field and no value; attributes begin with a dot, span. or resource., and texts stand in quotes"
    ))
}

//! Reads TraceQL. Every error has its place, and says what would be right.

use super::ast::{Attribute, Condition, Field, Intrinsic, Operator, Query, Scope, Value};
use crate::error::QueryError;
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

/// Reads a query. An empty one is `{}`, as for Tempo.
///
/// # Errors
/// [`QueryError::Sql`] with what is wrong, and where.
pub(in crate::server::tempo) fn parse(text: &str) -> Result<Query, QueryError> {
    let mut reader = Reader { text, at: 0, depth: 0, comparisons: 0 };
    if text.len() > MAX_BYTES {
        return Err(reader.error(format!("a query has {MAX_BYTES} bytes at most")));
    }
    reader.space();
    if reader.rest().is_empty() {
        return Ok(Query::Spans(Condition::Always(true)));
    }
    let query = reader.any_spans()?;
    reader.space();
    match reader.rest().chars().next() {
        None => Ok(query),
        Some('|') => Err(reader.error(
            "pipelines (| count(), | rate() ..) are not answered here; search for spans, and aggregate them in SQL",
        )),
        Some('>' | '<' | '~' | '!' | '&') => Err(reader
            .error("how spans stand to each other is not searched for; combine {..} with && and ||, or ask in SQL")),
        Some(_) => Err(reader.error("the query ends before this; combine {..} with && and ||")),
    }
}

/// Reads a field alone, as the paths of tags have it: `resource.service.name`, `.http.route`, `status`.
///
/// # Errors
/// As [`parse`].
pub(in crate::server::tempo) fn field(text: &str) -> Result<Field, QueryError> {
    let mut reader = Reader { text, at: 0, depth: 0, comparisons: 0 };
    let found = match reader.operand()? {
        Operand::Field(field) => field,
        Operand::Value(_) | Operand::Nil => return Err(reader.error("this is no field; write .http.route or status")),
    };
    match reader.rest().is_empty() {
        true => Ok(found),
        false => Err(reader.error("the field ends before this")),
    }
}

/// A side of a comparison.
enum Operand {
    Field(Field),
    Value(Value),
    Nil,
}

struct Reader<'a> {
    text: &'a str,
    /// Byte, always at the beginning of a character.
    at: usize,
    depth: usize,
    comparisons: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn error(&self, why: impl std::fmt::Display) -> QueryError {
        let before = self.text.get(..self.at).unwrap_or(self.text);
        QueryError::Sql(format!("{why} (at character {} of the TraceQL query)", before.chars().count() + 1))
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
        self.space();
        let found = self.rest().starts_with(wanted);
        if found {
            self.at += wanted.len();
        }
        found
    }

    /// Reads what is one step deeper.
    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, QueryError>) -> Result<T, QueryError> {
        if self.depth == MAX_DEPTH {
            return Err(self.error(format!("parentheses nest {MAX_DEPTH} deep at most")));
        }
        self.depth += 1;
        let found = read(self);
        self.depth -= 1;
        found
    }

    /// What stands between separators, one or more times.
    fn separated<T>(
        &mut self,
        separator: &str,
        read: impl Fn(&mut Self) -> Result<T, QueryError>,
    ) -> Result<Vec<T>, QueryError> {
        let mut parts = vec![read(self)?];
        while self.takes(separator) {
            parts.push(read(self)?);
        }
        Ok(parts)
    }

    fn any_spans(&mut self) -> Result<Query, QueryError> {
        Ok(one_or(self.separated("||", Self::all_spans)?, Query::Any))
    }

    fn all_spans(&mut self) -> Result<Query, QueryError> {
        Ok(one_or(self.separated("&&", Self::spans)?, Query::All))
    }

    fn spans(&mut self) -> Result<Query, QueryError> {
        if self.takes("(") {
            let inner = self.deeper(Self::any_spans)?;
            return self.closed(")", inner);
        }
        if !self.takes("{") {
            return Err(self.error("spans are searched for by { .. }, as in { status = error }"));
        }
        if self.takes("}") {
            self.counted()?;
            return Ok(Query::Spans(Condition::Always(true)));
        }
        let condition = self.any()?;
        self.closed("}", Query::Spans(condition))
    }

    fn closed<T>(&mut self, bracket: &str, inner: T) -> Result<T, QueryError> {
        match self.takes(bracket) {
            true => Ok(inner),
            false => Err(self.error(format!("here stands {bracket}, or && or || and another condition"))),
        }
    }

    fn any(&mut self) -> Result<Condition, QueryError> {
        Ok(one_or(self.separated("||", Self::all)?, Condition::Any))
    }

    fn all(&mut self) -> Result<Condition, QueryError> {
        Ok(one_or(self.separated("&&", Self::condition)?, Condition::All))
    }

    fn condition(&mut self) -> Result<Condition, QueryError> {
        if self.takes("(") {
            let inner = self.deeper(Self::any)?;
            return self.closed(")", inner);
        }
        if self.takes("!") {
            return Ok(Condition::Not(Box::new(self.deeper(Self::condition)?)));
        }
        self.comparison()
    }

    /// That there may be one comparison more.
    fn counted(&mut self) -> Result<(), QueryError> {
        self.comparisons += 1;
        match self.comparisons > MAX_COMPARISONS {
            true => Err(self.error(format!("a query has {MAX_COMPARISONS} comparisons at most"))),
            false => Ok(()),
        }
    }

    fn comparison(&mut self) -> Result<Condition, QueryError> {
        self.counted()?;
        let begin = self.at;
        let left = self.operand()?;
        self.space();
        let rest = self.rest();
        let Some((sign, operator)) = OPERATORS.iter().find(|(sign, _)| rest.starts_with(sign)) else {
            let is_alone = rest.is_empty() || rest.starts_with(['}', ')', '&', '|']);
            return match left {
                Operand::Value(Value::Bool(truth)) if is_alone => Ok(Condition::Always(truth)),
                Operand::Field(field) if is_alone => Ok(Condition::Compare(field, Operator::Equal, Value::Bool(true))),
                _ => {
                    Err(self.error("here stands one of = != < <= > >= =~ !~; sums and products are not answered here"))
                }
            };
        };
        self.at += sign.len();
        let right = self.operand()?;
        match (left, operator, right) {
            (Operand::Field(field), _, Operand::Value(value)) => Ok(Condition::Compare(field, *operator, value)),
            (Operand::Value(value), _, Operand::Field(field)) => {
                Ok(Condition::Compare(field, operator.swapped(), value))
            }
            (Operand::Field(field), Operator::NotEqual, Operand::Nil)
            | (Operand::Nil, Operator::NotEqual, Operand::Field(field)) => Ok(Condition::Exists(field)),
            (Operand::Field(field), Operator::Equal, Operand::Nil)
            | (Operand::Nil, Operator::Equal, Operand::Field(field)) => {
                Ok(Condition::Not(Box::new(Condition::Exists(field))))
            }
            _ => {
                self.at = begin;
                Err(self.error("a comparison has a field on one side and a value on the other"))
            }
        }
    }

    fn operand(&mut self) -> Result<Operand, QueryError> {
        self.space();
        let begin = self.at;
        match self.rest().chars().next() {
            Some('"') => return Ok(Operand::Value(Value::Text(self.quoted()?))),
            Some('`') => return Ok(Operand::Value(Value::Text(self.raw()?))),
            _ => {}
        }
        let word = self.word()?;
        if word.is_empty() {
            return Err(
                self.error("here stands a field (.http.route, status, duration) or a value (\"text\", 5, 100ms)")
            );
        }
        named(&word).map_err(|why| {
            self.at = begin;
            self.error(why)
        })
    }

    /// A name or a number; parts of a name may be in quotes: `span."key with spaces"`.
    fn word(&mut self) -> Result<String, QueryError> {
        let mut word = self.take(is_of_word).to_owned();
        while word.ends_with('.') && self.rest().starts_with('"') {
            let part = self.quoted()?;
            word.push_str(&part);
            word.push_str(self.take(is_of_word));
        }
        Ok(word)
    }

    /// A text in quotes with the escapes of Go.
    fn quoted(&mut self) -> Result<String, QueryError> {
        let begin = self.at;
        let mut chars = self.rest().char_indices().skip(1);
        let mut text = String::new();
        while let Some((place, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += place + 1;
                    return Ok(text);
                }
                '\\' => {
                    let escaped = match chars.next() {
                        Some((_, 'n')) => '\n',
                        Some((_, 't')) => '\t',
                        Some((_, 'r')) => '\r',
                        Some((_, c @ ('"' | '\\'))) => c,
                        _ => {
                            self.at = begin + place;
                            return Err(self.error("after \\ stands one of \" \\ n t r; for a backslash write \\\\"));
                        }
                    };
                    text.push(escaped);
                }
                c => text.push(c),
            }
        }
        Err(self.error("this text has no end; close it with \""))
    }

    /// A text in backticks, as it is.
    fn raw(&mut self) -> Result<String, QueryError> {
        let inner = self.rest().get(1..).unwrap_or_default();
        let Some(end) = inner.find('`') else { return Err(self.error("this text has no end; close it with `")) };
        self.at += end + 2;
        Ok(inner.get(..end).unwrap_or_default().to_owned())
    }
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

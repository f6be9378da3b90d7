//! Literals of arrays in the syntax of PostgreSQL, `'{a,"b, c"}'`, written out as arrays: DataFusion takes them for texts.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Array, DataType, Expr, Statement, Value, VisitMut, VisitorMut};

use crate::error::{QueryError, Result};

/// Writes out literals where they are compared with (`x = ANY('{a,b}')`) and where a type says what they are
/// (`'{a,b}'::text[]`).
///
/// # Errors
/// [`QueryError::Sql`] for a literal that is none, and for one that DataFusion would read otherwise than PostgreSQL.
pub(super) fn written_out(statement: &mut Statement) -> Result<()> {
    match VisitMut::visit(statement, &mut Literals) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Literals;

impl VisitorMut for Literals {
    type Break = QueryError;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<QueryError> {
        let literal = match expr {
            Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } => right,
            Expr::Cast { expr, data_type: DataType::Array(_), .. } => expr,
            _ => return ControlFlow::Continue(()),
        };
        let Expr::Value(value) = literal.as_ref() else { return ControlFlow::Continue(()) };
        let (Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text)) = &value.value else {
            return ControlFlow::Continue(());
        };
        match elements(text) {
            Ok(elements) => {
                let elem = elements
                    .into_iter()
                    .map(|element| Expr::Value(Value::SingleQuotedString(element).with_empty_span()));
                **literal = Expr::Array(Array { elem: elem.collect(), named: true });
                ControlFlow::Continue(())
            }
            Err(why) => ControlFlow::Break(QueryError::Sql(format!(
                "{text:?} is no array that can be compared with: {why}; write it as '{{a,b}}' or as ARRAY['a', 'b']"
            ))),
        }
    }
}

/// The elements of a literal, by section 8.15.6 of PostgreSQL's documentation ("Array Input and Output Syntax").
fn elements(text: &str) -> Result<Vec<String>, &'static str> {
    let inner = text.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).ok_or("it has no braces")?;
    let mut elements = Vec::new();
    if inner.trim().is_empty() {
        return Ok(elements);
    }
    let mut rest = inner.chars().peekable();
    loop {
        while rest.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        let mut element = String::new();
        if rest.next_if_eq(&'"').is_some() {
            loop {
                match rest.next().ok_or("a quote is not closed")? {
                    '"' => break,
                    '\\' => element.push(rest.next().ok_or("nothing follows a backslash")?),
                    c => element.push(c),
                }
            }
            while rest.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        } else {
            // Blanks at the end do not count, unless a backslash says so.
            let mut kept = 0;
            while let Some(c) = rest.next_if(|c| *c != ',') {
                match c {
                    '{' | '}' => return Err("arrays of arrays are not read"),
                    '"' => return Err("a quote stands within an element"),
                    '\\' => {
                        element.push(rest.next().ok_or("nothing follows a backslash")?);
                        kept = element.len();
                    }
                    c => {
                        element.push(c);
                        kept = if c.is_ascii_whitespace() { kept } else { element.len() };
                    }
                }
            }
            element.truncate(kept);
            if element.is_empty() {
                return Err("an element is empty");
            }
            // What is compared with it is neither equal nor different, which no list of DataFusion says.
            if element.eq_ignore_ascii_case("null") {
                return Err("it has an element without a value");
            }
        }
        elements.push(element);
        match rest.next() {
            None => return Ok(elements),
            Some(',') => {}
            Some(_) => return Err("something follows a quoted element"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    /// Elements with and without quotes, with commas, quotes and blanks in them, are what PostgreSQL reads; what it would
    /// not read, and what would be answered otherwise, is refused.
    #[test]
    fn literals_are_read_as_postgres_does() {
        for (text, wanted) in [
            ("{}", vec![]),
            ("{a,b}", vec!["a", "b"]),
            (" { a b , c } ", vec!["a b", "c"]),
            (r#"{"a,b","say \"hi\"","\\",""}"#, vec!["a,b", "say \"hi\"", "\\", ""]),
            (r#"{"null", "{x}" }"#, vec!["null", "{x}"]),
            (r"{a\,b,c\ }", vec!["a,b", "c "]),
        ] {
            assert_eq!(elements(text).unwrap(), wanted, "{text}");
        }
        for wrong in ["a,b", "{a", "{a,}", "{,}", "{a,NULL}", "{{a},{b}}", r#"{"a}"#, r#"{"a"b}"#, r#"{a"b"}"#, r"{a\"]
        {
            assert!(elements(wrong).is_err(), "{wrong}");
        }
    }

    /// Literals are written out where they are arrays, and nowhere else; a malformed one is an error.
    #[test]
    fn literals_are_written_out() {
        let rewritten = |text: &str| {
            let mut statement = Parser::parse_sql(&PostgreSqlDialect {}, text).unwrap().pop().unwrap();
            written_out(&mut statement).map(|()| statement.to_string())
        };
        let text = r#"SELECT a = ANY('{"x, y",z}'), '{a,b}' FROM t WHERE b <> ALL('{c}')"#;
        let wanted = "SELECT a = ANY(ARRAY['x, y', 'z']), '{a,b}' FROM t WHERE b <> ALL(ARRAY['c'])";
        assert_eq!(rewritten(text).unwrap(), wanted);
        assert!(rewritten("SELECT '{a,b}'::TEXT[]").unwrap().contains("ARRAY['a', 'b']"));
        assert!(rewritten("SELECT a = ANY('{a,NULL}')").is_err());
    }
}

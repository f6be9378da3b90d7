//! Statements that are refused before they are planned: a deep one would overflow the stack, one that multiplies
//! itself would take the memory, and neither notices the clock.
//!
//! The parser bounds what nests in parentheses. What it reads in a loop becomes as deep without any: `1 + 1 + ...`,
//! `a or b or ...`, `x union y union ...`. Common table expressions are written out where they are named, so a few
//! lines of them can stand for billions of scans.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::ptr;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Ident, ObjectName, Query, Visit, Visitor};
use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::error::{QueryError, Result};

/// Bytes of a statement.
const BYTES: usize = 1 << 20;
/// Operators and keywords of a statement: each may make it one step deeper.
const OPERATORS: usize = 2_000;
/// Values of its lists, and of its parameters: each is written out in every step of planning, which looks at no clock.
pub(crate) const VALUES: usize = 100_000;
/// Tables that a statement reads, once its common table expressions are written out.
const RELATIONS: u64 = 256;

/// That a text is neither too long nor too deep to be parsed.
///
/// # Errors
/// [`QueryError::TooLarge`].
pub(crate) fn check_text(text: &str) -> Result<()> {
    check_text_in(&GenericDialect {}, text)
}

/// The same for a text in the dialect in which it will be parsed: what is a text in one may be code in another.
///
/// # Errors
/// As [`check_text`].
pub(crate) fn check_text_in(dialect: &dyn Dialect, text: &str) -> Result<()> {
    if text.len() > BYTES {
        return Err(too_large(format!(
            "has {} bytes, and {BYTES} are the most; put long lists of values into a subquery or several statements",
            text.len()
        )));
    }
    // What is no SQL is told better by the parser.
    let Ok(tokens) = Tokenizer::new(dialect, text).tokenize() else { return Ok(()) };
    let values = tokens.iter().filter(|token| **token == Token::Comma).count();
    if values > VALUES {
        return Err(too_large(format!(
            "lists {values} values, and {VALUES} are the most; ask for ranges of them, or in several statements"
        )));
    }
    let operators = tokens.iter().filter(|token| deepens(token)).count();
    if operators > OPERATORS {
        return Err(too_large(format!(
            "has {operators} operators and keywords, and {OPERATORS} are the most; write x in (1, 2, 3) for x = 1 or x = 2 or x = 3"
        )));
    }
    Ok(())
}

/// Whether a token may make the statement deeper. Lists of values, of any length, do not.
fn deepens(token: &Token) -> bool {
    match token {
        Token::Word(word) => word.keyword != Keyword::NoKeyword,
        Token::EOF
        | Token::Whitespace(_)
        | Token::Comma
        | Token::Period
        | Token::SemiColon
        | Token::LParen
        | Token::RParen
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::DoubleQuotedString(_)
        | Token::Placeholder(_) => false,
        _ => true,
    }
}

/// That a statement does not read more tables than can be planned.
///
/// # Errors
/// [`QueryError::TooLarge`].
pub(crate) fn check_relations(statement: &Statement) -> Result<()> {
    let mut relations = Relations::default();
    let checked = match statement {
        Statement::Explain(explain) => return check_relations(&explain.statement),
        Statement::Statement(sql) => sql.visit(&mut relations),
        _ => ControlFlow::Continue(()),
    };
    match checked {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(too_large(format!(
            "reads more than {RELATIONS} tables, counted each time that a common table expression is used; use fewer, or aggregate in between"
        ))),
    }
}

fn too_large(why: String) -> QueryError {
    QueryError::TooLarge { why }
}

/// Counts tables, a common table expression as many times as it is named.
#[derive(Default)]
struct Relations {
    /// The queries that define common table expressions, by where they lie.
    definitions: HashMap<*const Query, String>,
    /// How many tables each of them stands for.
    weights: HashMap<String, u64>,
    /// Tables of the queries that are being visited, the innermost last.
    open: Vec<u64>,
}

impl Relations {
    fn add(&mut self, weight: u64) {
        if let Some(open) = self.open.last_mut() {
            *open = open.saturating_add(weight);
        }
    }
}

impl Visitor for Relations {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for definition in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.definitions.insert(ptr::from_ref(definition.query.as_ref()), name(&definition.alias.name));
        }
        self.open.push(0);
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let weight = match relation.0.as_slice() {
            [part] => part.as_ident().and_then(|ident| self.weights.get(&name(ident))).copied(),
            _ => None,
        };
        self.add(weight.unwrap_or(1));
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let weight = self.open.pop().unwrap_or_default();
        if weight > RELATIONS {
            return ControlFlow::Break(());
        }
        match self.definitions.get(&ptr::from_ref(query)) {
            Some(name) => {
                self.weights.insert(name.clone(), weight.max(1));
            }
            None => self.add(weight),
        }
        ControlFlow::Continue(())
    }
}

fn name(ident: &Ident) -> String {
    ident.value.to_lowercase()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::sql::parser::DFParser;

    use super::*;

    fn check(text: &str) -> Result<()> {
        check_text(text)?;
        check_relations(&DFParser::parse_sql(text)?[0])
    }

    fn is_too_large(text: &str) -> bool {
        matches!(check(text), Err(QueryError::TooLarge { .. }))
    }

    /// What analysts and their tools write passes: long lists of values, wide selections, some joins and expressions.
    #[test]
    fn ordinary_statements_pass() {
        let list = (0..50_000).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
        check(&format!("select * from spans where duration_ns in ({list})")).unwrap();
        let columns = (0..300).map(|n| format!("attributes['key.{n}'] as c{n}")).collect::<Vec<_>>().join(", ");
        check(&format!("select {columns} from spans")).unwrap();
        check(
            "explain with slow as (select * from spans where duration_ns > 1), both as (select * from slow union all \
             select * from slow) select a.name from both a join both b on a.span_id = b.parent_span_id",
        )
        .unwrap();
    }

    /// Chains that the parser reads in a loop are refused before it, whichever operator they are of, and so are texts
    /// and lists that are too long.
    #[test]
    fn deep_statements_are_refused() {
        for part in [" + 1", " or true", "::int", " is null", " union all select 1", "[1]"] {
            let text = format!("select 1{}", part.repeat(200_000 / part.len()));
            assert!(is_too_large(&text), "{part}");
        }
        assert!(is_too_large(&format!("select '{}'", "x".repeat(BYTES))));
        assert!(is_too_large(&format!("select 1 where 1 in (1{})", ",1".repeat(VALUES + 1))));
    }

    /// Expressions that double with each line, written as a list or nested, and a long list of tables.
    #[test]
    fn statements_that_multiply_are_refused() {
        let doubling = (1..30).map(|n| format!("c{n} as (select * from C{m} a, c{m} b)", m = n - 1));
        let list = doubling.collect::<Vec<_>>().join(", ");
        assert!(is_too_large(&format!("with c0 as (select * from spans), {list} select count(*) from c29")));
        let nested = (1..30).fold(String::from("select 1 x"), |inner, n| {
            format!("with c{n} as ({inner}) select * from c{n} a, c{n} b")
        });
        let parsed = check(&nested);
        // The parser may refuse the depth first.
        assert!(parsed.is_err(), "{nested}");
        assert!(is_too_large(&format!("select 1 from spans{}", ", spans".repeat(300))));
    }
}

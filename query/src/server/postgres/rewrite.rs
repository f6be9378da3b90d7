//! What PostgreSQL has and DataFusion has not, brought into its words.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::{mem, slice};

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    ObjectName, Query, Select, SelectItem, SetExpr, Statement, TableAlias, TableFactor, Value, ValueWithSpan, Visit,
    VisitMut, Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::catalog::PG_CATALOG;
use super::catalog::cursors::PG_CURSORS;

/// Brings a pattern with another escape character into one with the backslash, as a function of PostgreSQL does.
pub(super) const LIKE_ESCAPE: &str = "like_escape";
/// What gathers the rows of a query, `array(select …)`.
const ARRAY: &str = "array";
/// The subscripts of a list.
pub(super) const GENERATE_SUBSCRIPTS: &str = "generate_subscripts";

/// The same statement in DataFusion's words; its answer is the same.
///
/// - `LIKE pattern ESCAPE '/'` has the backslash as the escape character.
/// - `generate_subscripts(list, 1)` has a row for each element, as `unnest` has.
/// - `array(select …)` gathers the rows of its query.
/// - `pg_cursors` is found without its schema, as the tables that datafusion-pg-catalog knows are.
pub(super) fn in_words_of_datafusion(mut statement: Statement) -> Statement {
    let _ = VisitMut::visit(&mut statement, &mut Words);
    statement
}

struct Words;

impl VisitorMut for Words {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, args: None, .. } = factor
            && name.0.len() == 1
            && is_named(name, PG_CURSORS)
        {
            *name = ObjectName::from(vec![Ident::new(PG_CATALOG), Ident::new(PG_CURSORS)]);
        }
        ControlFlow::Continue(())
    }

    /// After what it is made of: what takes its place is not looked at again.
    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
                if let Some(character) = escape_char.take_if(|character| !is_backslash(character)) {
                    let given = mem::replace(&mut **pattern, null());
                    **pattern = call(LIKE_ESCAPE, vec![text(given), Expr::Value(character)]);
                }
            }
            Expr::Function(function) if is_named(&function.name, GENERATE_SUBSCRIPTS) => {
                let subscripts = mem::replace(expr, null());
                *expr = call("unnest", vec![subscripts]);
            }
            Expr::Function(function) => {
                if let Some(rows) = rows_of_array(function).and_then(gathered) {
                    *expr = rows;
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// The query of `array(select …)`.
fn rows_of_array(function: &Function) -> Option<&Query> {
    match &function.args {
        FunctionArguments::Subquery(query) if is_named(&function.name, ARRAY) => Some(query),
        _ => None,
    }
}

/// The rows of a query as one list, which is empty where there are none.
fn gathered(query: &Query) -> Option<Expr> {
    written(&format!("coalesce((SELECT array_agg(element) FROM ({query}) AS rows (element)), make_array())"))
}

/// What is easier written than made. Nothing where what stands in it is read otherwise than it was written: then the
/// statement stays as it is, and DataFusion says what it lacks.
fn written(text: &str) -> Option<Expr> {
    Parser::new(&PostgreSqlDialect {}).try_with_sql(text).and_then(|mut parser| parser.parse_expr()).ok()
}

fn is_backslash(character: &ValueWithSpan) -> bool {
    matches!(&character.value, Value::SingleQuotedString(character) if character == "\\")
}

fn is_named(name: &ObjectName, wanted: &str) -> bool {
    let last = name.0.last().and_then(|part| part.as_ident());
    last.is_some_and(|last| last.value.eq_ignore_ascii_case(wanted))
}

fn null() -> Expr {
    Expr::Value(Value::Null.with_empty_span())
}

/// With its type, which a parameter of a function would not have.
fn text(expr: Expr) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type: DataType::Text, array: false, format: None }
}

fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    let args = arguments.into_iter().map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: vec![] }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

/// The same statement about the catalog with nothing in place of subqueries in its columns that refer to the rows around
/// them, and no elements in place of their lists. Tools look there for defaults, sequences, collations and privileges of
/// columns, of which there are none here. Where rows are chosen by such a subquery, its greatest value is that of its one
/// row, which DataFusion cannot know to be one.
pub(super) fn without_details(mut statement: Statement) -> Statement {
    let _ = VisitMut::visit(&mut statement, &mut Columns);
    statement
}

struct Columns;

impl VisitorMut for Columns {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for column in &mut select.projection {
            let _ = VisitMut::visit(column, &mut Details);
        }
        if let Some(chosen) = &mut select.selection {
            let _ = VisitMut::visit(chosen, &mut OneRow);
        }
        ControlFlow::Continue(())
    }
}

struct Details;

impl VisitorMut for Details {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Subquery(query) if refers_outside(query) => *expr = null(),
            Expr::Function(function) if rows_of_array(function).is_some_and(refers_outside) => {
                if let Some(nothing) = written("CAST(ARRAY[] AS TEXT[])") {
                    *expr = nothing;
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

struct OneRow;

impl VisitorMut for OneRow {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Subquery(query) = expr
            && refers_outside(query)
            && let SetExpr::Select(select) = query.body.as_mut()
            && let [SelectItem::UnnamedExpr(value)] = select.projection.as_mut_slice()
            && !matches!(value, Expr::Function(_))
        {
            *value = call("max", vec![mem::replace(value, null())]);
        }
        ControlFlow::Continue(())
    }
}

/// Whether a query names a column of a table that it does not read.
fn refers_outside(query: &Query) -> bool {
    let mut read = Read::default();
    let _ = Visit::visit(query, &mut read);
    Visit::visit(query, &mut Outside(&read)).is_break()
}

/// The names by which a query may call the tables that it reads, in lower case.
#[derive(Default)]
struct Read(HashSet<String>);

impl Read {
    fn add(&mut self, name: &[Ident]) {
        self.0.insert(qualifier(name));
    }
}

fn qualifier(name: &[Ident]) -> String {
    let words: Vec<String> = name.iter().map(|word| word.value.to_lowercase()).collect();
    words.join(".")
}

impl Visitor for Read {
    type Break = ();

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<()> {
        let alias = match table {
            TableFactor::Table { name, alias, .. } => {
                let words: Vec<Ident> = name.0.iter().filter_map(|part| part.as_ident()).cloned().collect();
                // With or without its schema.
                self.add(&words);
                if let Some(last) = words.last() {
                    self.add(slice::from_ref(last));
                }
                alias
            }
            TableFactor::Derived { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::UNNEST { alias, .. } => alias,
            _ => return ControlFlow::Continue(()),
        };
        if let Some(TableAlias { name, .. }) = alias {
            self.add(slice::from_ref(name));
        }
        ControlFlow::Continue(())
    }
}

struct Outside<'a>(&'a Read);

impl Visitor for Outside<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::CompoundIdentifier(words)
                if words.split_last().is_some_and(|(_, table)| !self.0.0.contains(&qualifier(table))) =>
            {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn rewritten(rule: fn(Statement) -> Statement, text: &str) -> String {
        let statement = Parser::parse_sql(&PostgreSqlDialect {}, text).unwrap().pop().unwrap();
        rule(statement).to_string()
    }

    /// Another escape character than the backslash is taken out of the way, of a parameter, too; the backslash stays.
    #[test]
    fn an_escape_character_becomes_the_backslash() {
        assert_eq!(
            rewritten(in_words_of_datafusion, "SELECT a NOT LIKE $1 || '%' ESCAPE '/', a ILIKE 'b' ESCAPE '!'"),
            "SELECT a NOT LIKE like_escape(CAST($1 || '%' AS TEXT), '/'), a ILIKE like_escape(CAST('b' AS TEXT), '!')"
        );
        for kept in ["SELECT a LIKE 'b' ESCAPE '\\'", "SELECT a LIKE 'b'"] {
            assert_eq!(rewritten(in_words_of_datafusion, kept), kept);
        }
    }

    /// A function that gives rows is unnested once.
    #[test]
    fn subscripts_are_rows() {
        assert_eq!(
            rewritten(in_words_of_datafusion, "SELECT unnest(a), pg_catalog.generate_subscripts(a, 1) AS i FROM t"),
            "SELECT unnest(a), unnest(pg_catalog.generate_subscripts(a, 1)) AS i FROM t"
        );
    }

    /// The rows of a query are a list.
    #[test]
    fn rows_are_gathered() {
        assert_eq!(
            rewritten(in_words_of_datafusion, "SELECT ARRAY(SELECT a FROM b WHERE c = $1)"),
            "SELECT coalesce((SELECT array_agg(element) FROM (SELECT a FROM b WHERE c = $1) AS rows (element)), make_array())"
        );
    }

    /// The table of cursors is found without its schema; a function or another table of that name is left alone.
    #[test]
    fn cursors_are_found_without_their_schema() {
        for (given, wanted) in [
            ("SELECT 1 FROM pg_cursors AS c", "SELECT 1 FROM pg_catalog.pg_cursors AS c"),
            ("SELECT 1 FROM pg_catalog.pg_cursors", "SELECT 1 FROM pg_catalog.pg_cursors"),
            ("SELECT 1 FROM pg_cursors(1)", "SELECT 1 FROM pg_cursors(1)"),
        ] {
            assert_eq!(rewritten(in_words_of_datafusion, given), wanted);
        }
    }

    /// Subqueries that refer to the row around them are given up wherever they are in a column; what refers to their own
    /// tables stays, with the schema, without it, and by another name.
    #[test]
    fn details_of_rows_are_given_up() {
        assert_eq!(
            rewritten(
                without_details,
                "SELECT CASE WHEN a.b THEN (SELECT d.c FROM pg_catalog.pg_attrdef AS d WHERE d.x = a.x) ELSE 'e' END FROM a"
            ),
            "SELECT CASE WHEN a.b THEN NULL ELSE 'e' END FROM a"
        );
        assert_eq!(
            rewritten(without_details, "SELECT a.b || ARRAY(SELECT c.d FROM c WHERE c.a = a.a) FROM a"),
            "SELECT a.b || CAST(ARRAY[] AS TEXT[]) FROM a"
        );
        assert_eq!(
            rewritten(without_details, "SELECT 1 FROM a WHERE (SELECT c.b = 'c' FROM c WHERE c.a = a.a)"),
            "SELECT 1 FROM a WHERE (SELECT max(c.b = 'c') FROM c WHERE c.a = a.a)"
        );
        for kept in [
            "SELECT a.b = (SELECT pg_catalog.pg_class.oid FROM pg_catalog.pg_class WHERE pg_class.relname = 'x') FROM a",
            "SELECT (SELECT c.oid FROM pg_class AS c CROSS JOIN (SELECT 1 AS n) AS s WHERE s.n = c.oid) FROM a",
            "SELECT a.b FROM a WHERE a.b = (SELECT max(c.b) FROM c WHERE c.a = a.a)",
        ] {
            assert_eq!(rewritten(without_details, kept), kept);
        }
    }
}

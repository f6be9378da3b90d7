//! A text of a client becomes statements. PostgreSQL's dialect is read here; statements about the catalog are
//! rewritten by datafusion-pg-catalog until DataFusion understands them.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::LazyLock;

use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::ast::{Expr, ObjectName, Query, Statement, TableFactor, Visit, Visitor};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use datafusion_pg_catalog::sql::rules::{
    CurrentUserVariableToSessionUserFunctionCall, FixVersionColumnName, PrependUnqualifiedPgTableName,
    RewriteArrayAnyAllOperation, SqlStatementRewriteRule, StripCallableQualifier, StripCollate,
};
use regex::Regex;

use super::{arrays, collation, rewrite};
use crate::bounds;
use crate::error::Result;

/// What `SHOW TABLES` asks for.
const TABLES: &str =
    "select table_name, table_type from information_schema.tables where table_schema = 'public' order by table_name";

/// The statements of a text.
///
/// # Errors
/// [`crate::QueryError::TooLarge`], or what is wrong.
pub(super) fn parse(text: &str, catalog: &PostgresCompatibilityParser) -> Result<Vec<Statement>> {
    bounds::check_text_in(&PostgreSqlDialect {}, text)?;
    // The rules for the catalog give up parts of a statement, such as subqueries that refer to its rows. Tools can do
    // without; an analyst's answer would be wrong, so what reads telemetry is not touched but for spellings.
    match Parser::parse_sql(&PostgreSqlDialect {}, text) {
        Ok(statements) => {
            statements.iter().try_for_each(collation::check)?;
            if !statements.iter().any(is_about_catalog) {
                return statements.into_iter().map(spelled).collect();
            }
            let rewritten = catalog.parse(&by_name(text)).map_err(wrong)?;
            if rewritten.len() != statements.len() {
                return Ok(rewritten.into_iter().map(of_catalog).collect());
            }
            let pairs = statements.into_iter().zip(rewritten);
            let chosen = pairs.map(|(given, rewritten)| match is_about_catalog(&given) {
                true => Ok(of_catalog(rewritten)),
                false => spelled(given),
            });
            chosen.collect()
        }
        // Some statements that tools send are known by heart, and are no SQL to the parser.
        Err(error) => {
            let known = catalog.parse(text).map_err(|_| wrong(error))?;
            Ok(known.into_iter().map(of_catalog).collect())
        }
    }
}

/// The number of the last parameter that a text names; 0: none. A statement about the catalog may lose the part with it,
/// and its values come all the same.
pub(super) fn last_parameter(text: &str) -> usize {
    // What is no SQL is told by the parser.
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize().unwrap_or_default();
    let numbers = tokens.iter().filter_map(|token| match token {
        Token::Placeholder(name) => name.strip_prefix('$')?.parse::<usize>().ok(),
        _ => None,
    });
    numbers.max().unwrap_or(0)
}

fn of_catalog(statement: Statement) -> Statement {
    rewrite::in_words_of_datafusion(rewrite::without_details(statement))
}

/// A function of a type that is compared: `typinput='pg_catalog.array_in'::regproc`, as the PostgreSQL JDBC driver asks.
static FUNCTION_OF_TYPE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)\b(typ[a-z]+\s*=\s*)'(?:pg_catalog\.)?([a-z0-9_]+)'::regproc\b").ok());

/// The text with functions of types compared by their names, which is what the catalog has of them.
fn by_name(text: &str) -> Cow<'_, str> {
    match &*FUNCTION_OF_TYPE {
        Some(function) => function.replace_all(text, "$1'$2'"),
        None => Cow::Borrowed(text),
    }
}

fn wrong(error: ParserError) -> crate::QueryError {
    DataFusionError::SQL(Box::new(error), None).into()
}

/// Whether a statement reads the catalog, and no telemetry beside it.
fn is_about_catalog(statement: &Statement) -> bool {
    let mut read = Read::default();
    let _ = Visit::visit(statement, &mut read);
    read.catalog && read.others.is_subset(&read.defined)
}

/// What a statement reads.
#[derive(Default)]
struct Read {
    /// Whether the catalog is: `'spans'::regclass` and `cast('spans' as regclass)` do without naming it.
    catalog: bool,
    /// Other tables, in lower case.
    others: HashSet<String>,
    /// Those that the statement defines itself.
    defined: HashSet<String>,
}

impl Visitor for Read {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let defined = query.with.iter().flat_map(|with| &with.cte_tables);
        self.defined.extend(defined.map(|table| table.alias.name.value.to_lowercase()));
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
        self.catalog |= is_of_catalog(name);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<()> {
        // With arguments it is a function.
        if let TableFactor::Table { name, args: None, .. } = table
            && !is_of_catalog(name)
        {
            self.others.insert(name.to_string().replace('"', "").to_lowercase());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Cast { data_type, .. } = expr {
            let kind = data_type.to_string().to_lowercase();
            self.catalog |= kind.strip_prefix("pg_catalog.").unwrap_or(&kind).starts_with("reg");
        }
        ControlFlow::Continue(())
    }
}

fn is_of_catalog(name: &ObjectName) -> bool {
    name.0.iter().filter_map(|part| part.as_ident()).any(|part| {
        let part = part.value.to_ascii_lowercase();
        part.starts_with("pg_") || part == "information_schema"
    })
}

/// The same statement where PostgreSQL spells it otherwise than DataFusion: `pg_catalog.lower(x)`, `current_user`,
/// `x = any(list)`, `pg_class` without its schema.
fn spelled(mut statement: Statement) -> Result<Statement> {
    if matches!(statement, Statement::ShowTables { .. })
        && let Ok(mut tables) = Parser::parse_sql(&PostgreSqlDialect {}, TABLES)
        && let Some(tables) = tables.pop()
    {
        return Ok(tables);
    }
    arrays::written_out(&mut statement)?;
    let rules: [&dyn SqlStatementRewriteRule; 6] = [
        &RewriteArrayAnyAllOperation,
        &PrependUnqualifiedPgTableName,
        &StripCallableQualifier,
        &CurrentUserVariableToSessionUserFunctionCall,
        &StripCollate,
        &FixVersionColumnName,
    ];
    let statement = rules.iter().fold(statement, |statement, rule| rule.rewrite(statement));
    Ok(rewrite::in_words_of_datafusion(statement))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<String> {
        let statements = parse(text, &PostgresCompatibilityParser::new()).unwrap();
        statements.iter().map(ToString::to_string).collect()
    }

    /// A subquery that refers to a row of the statement stays in an analyst's statement. Guarantees that what is given
    /// up for tools never changes an answer about telemetry.
    #[test]
    fn only_statements_about_the_catalog_lose_parts() {
        let count = "(SELECT count(*) FROM logs AS l WHERE l.trace_id = t.trace_id)";
        for ours in [
            format!("SELECT t.trace_id, {count} FROM traces AS t"),
            // Words that only look like types of the catalog.
            format!("SELECT t.trace_id, {count} AS region, '::regclass' FROM traces AS t"),
            // Telemetry and the catalog in one statement, and in one that calls a part of it by a name of its own.
            format!("SELECT {count} FROM traces AS t WHERE t.name IN (SELECT relname FROM pg_catalog.pg_class)"),
            format!("WITH c AS (SELECT relname FROM pg_catalog.pg_class) SELECT {count} FROM traces AS t, c"),
        ] {
            assert_eq!(parsed(&ours), [ours.as_str()]);
            let both = parsed(&format!("SELECT 1 FROM pg_class; {ours}"));
            assert_eq!(both.get(1), Some(&ours), "{both:?}");
        }
        assert_eq!(parsed("SELECT 1 FROM traces, pg_class"), ["SELECT 1 FROM traces, pg_catalog.pg_class"]);
        let theirs = "SELECT (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = c.oid) FROM pg_class c";
        assert!(parsed(theirs)[0].contains("NULL"), "{:?}", parsed(theirs));
        for theirs in ["SELECT CAST('spans' AS regclass)", "WITH c AS (SELECT 1 FROM pg_class) SELECT * FROM c"] {
            let statements = Parser::parse_sql(&PostgreSqlDialect {}, theirs).unwrap();
            assert!(statements.iter().all(is_about_catalog), "{theirs}");
        }
    }

    /// A parameter counts also where its part of the statement is given up, and where a text only looks like one it does
    /// not. Guarantees that the values that a client sends are as many as the statement says it wants.
    #[test]
    fn parameters_are_counted_as_they_were_written() {
        let text = "SELECT (SELECT a.x = $2 FROM pg_attrdef a WHERE a.y = c.oid) FROM pg_class c WHERE c.relname = $1";
        assert!(parsed(text)[0].contains("NULL") && !parsed(text)[0].contains("$2"), "{:?}", parsed(text));
        assert_eq!((last_parameter(text), last_parameter("select '$3', 1"), last_parameter("")), (2, 0, 0));
    }

    /// Several statements, spellings of PostgreSQL, nothing, and what is no SQL.
    #[test]
    fn statements_of_postgres() {
        assert_eq!(parsed("begin; select pg_catalog.lower('A')"), ["BEGIN", "SELECT lower('A')"]);
        assert!(parsed("show tables")[0].contains("information_schema.tables"));
        assert!(parsed(" ;").is_empty());
        assert!(parse("selec 1", &PostgresCompatibilityParser::new()).is_err());
    }

    /// An order by the rules of a language is refused, for it cannot be had; that of bytes is what there is. Elements of an
    /// array may hold commas.
    #[test]
    fn what_would_be_answered_otherwise_is_refused() {
        let parse = |text: &str| parse(text, &PostgresCompatibilityParser::new());
        for order in ["\"de_DE\"", "pg_catalog.\"en-x-icu\""] {
            let refused = parse(&format!("select name from spans order by name collate {order}")).unwrap_err();
            assert!(refused.to_string().contains("is not supported"), "{refused}");
        }
        assert_eq!(parsed("select a collate \"C\" from spans"), ["SELECT a FROM spans"]);
        let any = parsed("select * from spans where name = any('{\"a,b\",c}')");
        assert_eq!(any, ["SELECT * FROM spans WHERE array_contains(ARRAY['a,b', 'c'], name)"]);
        assert!(parse("select * from spans where name <> all('{a,null}')").is_err());
    }

    /// A chain of operators is too deep also behind a text that ends elsewhere in other dialects.
    #[test]
    fn deep_statements_are_refused() {
        let text = format!("select E'\\'', 1{}", " + 1".repeat(100_000));
        let refused = parse(&text, &PostgresCompatibilityParser::new()).unwrap_err();
        assert_eq!(refused.code(), Some("too-large"));
    }
}

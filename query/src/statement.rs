//! Which statements are asked, and which would change something.

use std::ops::ControlFlow;

use datafusion::common::format::ExplainFormat;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SQLOptions;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{ObjectNamePart, Statement as Sql, visit_relations};

use crate::error::{QueryError, Result};

/// Refuses every statement that is not a question. Done on the text's parse, before names are looked
/// up, so that the answer is the same whether or not the thing to be changed exists.
pub(crate) fn refuse_changes(statement: &Statement) -> Result<()> {
    match statement {
        Statement::Explain(explain) => refuse_changes(&explain.statement),
        Statement::Statement(sql) => refuse_sql(sql),
        Statement::CreateExternalTable(_) => Err(refused("CREATE EXTERNAL TABLE")),
        Statement::CopyTo(_) => Err(refused("COPY")),
        Statement::Reset(_) => Err(refused("RESET")),
    }
}

/// Refuses a file or an address in the place of a table, which other engines read.
fn refuse_files(sql: &Sql) -> Result<()> {
    let file = visit_relations(sql, |name| {
        let is_text = |part: &ObjectNamePart| part.as_ident().is_some_and(|ident| ident.quote_style == Some('\''));
        match name.0.iter().any(is_text) {
            true => ControlFlow::Break(name.to_string()),
            false => ControlFlow::Continue(()),
        }
    });
    match file {
        ControlFlow::Break(name) => {
            Err(QueryError::ReadOnly { statement: format!("reading {name}, which is no table,") })
        }
        ControlFlow::Continue(()) => Ok(()),
    }
}

fn refuse_sql(sql: &Sql) -> Result<()> {
    refuse_files(sql)?;
    match sql {
        Sql::Explain { statement, .. } => refuse_sql(statement),
        Sql::Query(_)
        | Sql::ExplainTable { .. }
        | Sql::ShowTables { .. }
        | Sql::ShowColumns { .. }
        | Sql::ShowFunctions { .. }
        | Sql::ShowVariable { .. }
        | Sql::ShowVariables { .. }
        | Sql::ShowSchemas { .. }
        | Sql::ShowDatabases { .. }
        | Sql::ShowCatalogs { .. }
        | Sql::ShowViews { .. }
        | Sql::ShowCreate { .. } => Ok(()),
        other => Err(refused(&other.to_string())),
    }
}

/// Refuses plans that change something, wherever in the plan; what [`refuse_changes`] let through
/// and the planner turned into a change has no other gate.
pub(crate) fn verify(plan: &LogicalPlan) -> Result<()> {
    let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    options.verify_plan(plan).map_err(|error| refused(&error.strip_backtrace()))
}

/// Refuses what tells how a statement is run, for whoever must not learn of other tenants' files and rows.
pub(crate) fn refuse_plans(plan: &LogicalPlan) -> Result<()> {
    let is_physical = match plan {
        LogicalPlan::Analyze(_) => true,
        LogicalPlan::Explain(explain) => explain.explain_format == ExplainFormat::Tree,
        _ => false,
    };
    match is_physical {
        true => Err(QueryError::Sql(String::from(
            "this form of explain tells of files and rows of all tenants, which no server does; write explain without \
             analyze and format, or ask where the lake is, with tracerag sql",
        ))),
        false => Ok(()),
    }
}

/// Names the statement by its first words; the rest may be long, and may hold data.
fn refused(statement: &str) -> QueryError {
    let words: Vec<&str> = statement.split_whitespace().take(2).collect();
    QueryError::ReadOnly { statement: words.join(" ") }
}

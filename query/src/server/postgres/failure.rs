//! Errors as the protocol has them: with a SQLSTATE, by which drivers know what to do.

use pgwire::error::{ErrorInfo, PgWireError};

use super::super::problem::Problem;
use crate::access::Refusal;

/// An error of a statement; the connection goes on.
pub(super) fn error(problem: &Problem) -> PgWireError {
    info("ERROR", sqlstate(problem), problem.detail())
}

/// An error after which the connection is closed.
pub(super) fn fatal(refusal: Refusal) -> PgWireError {
    let problem = Problem::from(refusal);
    info("FATAL", sqlstate(&problem), problem.detail())
}

/// An error of a statement that the protocol itself has.
pub(super) fn of(sqlstate: &str, message: impl Into<String>) -> PgWireError {
    info("ERROR", sqlstate, message)
}

/// An error of the connection; it is closed.
pub(super) fn fatal_of(sqlstate: &str, message: impl Into<String>) -> PgWireError {
    info("FATAL", sqlstate, message)
}

fn info(severity: &str, sqlstate: &str, message: impl Into<String>) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new(severity.to_owned(), sqlstate.to_owned(), message.into())))
}

/// See appendix A of PostgreSQL's documentation.
fn sqlstate(problem: &Problem) -> &'static str {
    match problem.code() {
        "read-only" => "25006",
        "wrong-query" => wrong_query(problem.detail()),
        "wrong-parameters" | "wrong-argument" | "not-a-trace-id" => "22023",
        "query-failed" => "22000",
        "too-large" => "54001",
        "row-limit" | "byte-limit" => "54000",
        "memory-limit" => "53200",
        "time-limit" => "57014",
        "stopped" => "57P01",
        "trace-open" => "55000",
        "trace-unknown" | "not-sampled" | "expired" | "erased" | "bundle-unknown" | "incident-unknown" => "P0002",
        "token-missing" => "28000",
        "token-unknown" => "28P01",
        "scope-missing" => "42501",
        "busy" => "53400",
        "tokens-unreadable" | "audit-behind" => "57P03",
        _ => "XX000",
    }
}

/// DataFusion tells what is wrong in words only.
fn wrong_query(detail: &str) -> &'static str {
    let has = |part: &str| detail.contains(part);
    if has("ParserError") || has("TokenizerError") {
        "42601"
    } else if has("table '") && has("not found") {
        "42P01"
    } else if has("No field named") {
        "42703"
    } else if has("Invalid function") {
        "42883"
    } else if has("not implemented") {
        "0A000"
    } else {
        "42000"
    }
}

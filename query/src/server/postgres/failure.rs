//! Errors as the protocol has them: with a SQLSTATE, by which drivers know what to do.

use pgwire::error::{ErrorInfo, PgWireError};

use super::super::problem::Problem;
use crate::access::Refusal;

/// An error of a statement; the connection goes on.
pub(super) fn error(problem: &Problem) -> PgWireError {
    told("ERROR", problem)
}

/// An error after which the connection is closed.
pub(super) fn fatal(refusal: Refusal) -> PgWireError {
    told("FATAL", &Problem::from(refusal))
}

/// An error of a statement that the protocol itself has.
pub(super) fn of(sqlstate: &str, message: impl Into<String>) -> PgWireError {
    info("ERROR", sqlstate, message)
}

/// An error of the connection; it is closed.
pub(super) fn fatal_of(sqlstate: &str, message: impl Into<String>) -> PgWireError {
    info("FATAL", sqlstate, message)
}

fn told(severity: &str, problem: &Problem) -> PgWireError {
    let mut info = ErrorInfo::new(severity.to_owned(), sqlstate(problem).to_owned(), problem.detail().to_owned());
    info.hint = problem.retry_after().map(|seconds| format!("Ask again in {seconds} s."));
    if matches!(problem.code(), "row-limit" | "byte-limit") {
        // A cursor is no way around it: it is one answer, too.
        info.hint = Some(String::from(
            "Ask for one range of start_time after the other. Rows that came before are no whole answer.",
        ));
    }
    PgWireError::UserError(Box::new(info))
}

fn info(severity: &str, sqlstate: &str, message: impl Into<String>) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new(severity.to_owned(), sqlstate.to_owned(), message.into())))
}

/// See appendix A of PostgreSQL's documentation.
fn sqlstate(problem: &Problem) -> &'static str {
    match problem.code() {
        "read-only" => "25006",
        "wrong-query" => by_words(problem.detail(), WRONG).unwrap_or("42000"),
        "wrong-parameters" | "wrong-argument" | "not-a-trace-id" | "wrong-request" => "22023",
        "query-failed" => by_words(problem.detail(), FAILED).unwrap_or("22000"),
        "too-large" => "54001",
        "row-limit" | "byte-limit" => "54000",
        "memory-limit" => "53200",
        "time-limit" => "57014",
        "stopped" | "peer-failed" => "57P01",
        "trace-open" => "55000",
        "trace-unknown" | "not-sampled" | "expired" | "erased" | "bundle-unknown" | "incident-unknown" => "P0002",
        "token-missing" => "28000",
        "token-unknown" => "28P01",
        "scope-missing" => "42501",
        "busy" => "53400",
        "tokens-unreadable" | "issuer-unreachable" | "audit-behind" => "57P03",
        _ => "XX000",
    }
}

/// DataFusion tells what is wrong in words only. The first of these that are in them tell the code.
type Words = &'static [(&'static str, &'static str)];

/// What is wrong with a statement.
const WRONG: Words = &[
    ("ParserError", "42601"),
    ("TokenizerError", "42601"),
    ("regex parse error", "2201B"),
    ("No field named", "42703"),
    ("Invalid qualifier", "42P01"),
    ("Ambiguous reference", "42702"),
    ("table function '", "42883"),
    ("Invalid function", "42883"),
    ("No function matches", "42883"),
    ("table '", "42P01"),
    ("Unsupported SQL type", "42704"),
    ("not implemented", "0A000"),
    ("must be in GROUP BY", "42803"),
    ("unique expression names", "42701"),
    ("Order by column out of bounds", "42P10"),
    ("LIMIT must be >= 0", "2201W"),
    ("OFFSET must be >=0", "2201X"),
    ("coerce", "42804"),
    ("common argument type", "42804"),
    ("Unsupported", "0A000"),
    ("not supported", "0A000"),
];

/// What is wrong with the values that it met.
const FAILED: Words = &[
    ("Divide by zero", "22012"),
    ("verflow", "22003"),
    ("out of range", "22003"),
    ("more than one row", "21000"),
    ("escape character", "22025"),
    ("Regular expression did not compile", "2201B"),
    ("Can't cast value", "22003"),
    ("Error parsing timestamp", "22007"),
    ("Cast error", "22P02"),
    ("Parser error", "22P02"),
    ("Cannot cast", "22P02"),
    ("Unsupported", "0A000"),
    ("not implemented", "0A000"),
];

fn by_words(detail: &str, words: Words) -> Option<&'static str> {
    words.iter().find(|(word, _)| detail.contains(word)).map(|(_, code)| *code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::QueryError;

    fn told_of(problem: impl Into<Problem>) -> ErrorInfo {
        ErrorInfo::from(error(&problem.into()))
    }

    /// Clients know by the code what to do: a tenant that has too many queries asks again after a time, a token that does
    /// not hold is a wrong password, and what a client did wrong is never an error of the server.
    #[test]
    fn errors_have_codes() {
        let busy = told_of(Refusal::Busy { retry_after: 2 });
        assert_eq!((busy.code.as_str(), busy.hint.as_deref()), ("53400", Some("Ask again in 2 s.")));
        assert!(busy.message.contains("ask again in 2 s"), "{}", busy.message);
        assert_eq!(told_of(Refusal::UnknownToken).code, "28P01");
        assert_eq!(told_of(Refusal::NoKeys).code, "57P03");
        for (detail, code) in [
            ("SQL error: ParserError(\"Expected: ...\")", "42601"),
            ("Schema error: No field named x. Valid fields are ...", "42703"),
            ("Error during planning: table 'tracerag.public.x' not found", "42P01"),
            ("Error during planning: table function 'x' not found", "42883"),
            ("This feature is not implemented: ...", "0A000"),
            ("something else", "42000"),
        ] {
            assert_eq!(told_of(QueryError::Sql(detail.to_owned())).code, code, "{detail}");
        }
        for (limit, word) in [
            (QueryError::RowLimit { rows: 1_000 }, "1000 rows"),
            (QueryError::ByteLimit { bytes: 1 << 20 }, "1048576 bytes"),
        ] {
            let told = told_of(limit);
            assert_eq!(told.code, "54000");
            assert!(told.message.contains(word) && told.hint.is_some_and(|hint| hint.contains("one range")));
        }
        assert_eq!(told_of(QueryError::Parameters(String::from("$1 has no value"))).code, "22023");
    }
}

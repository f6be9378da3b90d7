//! What went wrong, as a result that a model can act on.

use rmcp::model::{CallToolResult, ContentBlock};

use crate::server::problem::Problem;

/// What went wrong in a word that programs know, how, and the next call.
pub(super) fn text(problem: &Problem) -> String {
    let (code, detail) = (problem.code(), problem.detail());
    let detail = detail.strip_prefix(code).map_or(detail, |rest| rest.trim_start_matches([':', ' ']));
    let next = next_call(code).map(|next| format!(". Next: {next}")).unwrap_or_default();
    format!("{code}: {detail}{next}")
}

/// A result of a tool that failed.
pub(super) fn result(problem: &Problem) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(crate::untrusted::clean(&text(problem)))])
}

/// What to call instead; the details of most errors say it already, in terms of SQL or of the command line.
fn next_call(code: &str) -> Option<&'static str> {
    Some(match code {
        "trace-unknown" | "not-sampled" | "not-a-trace-id" => "find a trace_id with search_traces",
        "expired" => "get_evidence_bundle with the bundle_id named here, if one is, else find_similar_incidents",
        "bundle-unknown" => "get_evidence_bundle with a trace_id; its answer has the bundle_id",
        "incident-unknown" => "find_similar_incidents; its answer has the fingerprint",
        "wrong-query" | "wrong-parameters" => "describe_schema for tables and columns, then run_sql again",
        "row-limit" | "byte-limit" | "time-limit" | "memory-limit" | "too-large" => {
            "the same with a narrower time, fewer columns or an aggregate"
        }
        "cursor-expired" => "the same without cursor",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::QueryError;

    /// An error names its code once, and the tool that helps.
    #[test]
    fn a_refusal_says_what_to_call() {
        let problem = Problem::from(QueryError::TraceUnknown { trace_id: String::from("00"), wait_seconds: None });
        let told = text(&problem);
        assert!(told.starts_with("trace-unknown: the lake has no trace 00"), "{told}");
        assert!(told.ends_with("Next: find a trace_id with search_traces"), "{told}");
        assert_eq!(result(&problem).is_error, Some(true));
        let problem = Problem::wrong_request(String::from("give either text or trace_id"));
        assert_eq!(text(&problem), "wrong-request: give either text or trace_id");
    }
}

//! What went wrong: of a tool as a result that a model can act on, of anything else as an error of the protocol.

use axum::http::StatusCode;
use rmcp::ErrorData;
use rmcp::model::{CallToolResult, ContentBlock, ErrorCode};
use serde_json::json;

use crate::server::problem::Problem;

/// Not now, but later. The codes from -32000 to -32099 are a server's own.
const NOT_NOW: ErrorCode = ErrorCode(-32000);
/// Not for this caller.
const NOT_ALLOWED: ErrorCode = ErrorCode(-32001);

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

/// An error of the protocol, for what is no tool. Its data has the word that programs know, and when to ask again.
pub(super) fn protocol(problem: &Problem) -> ErrorData {
    let code = match problem.status() {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => ErrorCode::INVALID_PARAMS,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => NOT_ALLOWED,
        StatusCode::NOT_FOUND | StatusCode::GONE => ErrorCode::RESOURCE_NOT_FOUND,
        StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => NOT_NOW,
        _ => ErrorCode::INTERNAL_ERROR,
    };
    let data = json!({"code": problem.code(), "wait_seconds": problem.retry_after()});
    ErrorData::new(code, text(problem), Some(data))
}

/// The client has given up the request, so that nobody reads this.
pub(super) fn cancelled() -> ErrorData {
    ErrorData::new(NOT_NOW, "cancelled", None)
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
    use crate::access::Refusal;
    use crate::error::QueryError;

    /// Each kind of error has its code: a token that is unknown is no resource that is, a busy server is no wrong request,
    /// and what failed inside is neither. The word and the time to wait stand beside it.
    #[test]
    fn errors_of_the_protocol_have_their_codes() {
        let told = |problem: Problem| protocol(&problem);
        for (problem, code) in [
            (Problem::from(Refusal::UnknownToken), NOT_ALLOWED),
            (Problem::from(Refusal::NoToken), NOT_ALLOWED),
            (Problem::from(Refusal::Scope { scope: "read" }), NOT_ALLOWED),
            (Problem::from(Refusal::Busy { retry_after: 2 }), NOT_NOW),
            (Problem::from(Refusal::NoAudit), NOT_NOW),
            (Problem::from(QueryError::Stopped), NOT_NOW),
            (Problem::from(QueryError::BundleUnknown { bundle_id: String::from("b") }), ErrorCode::RESOURCE_NOT_FOUND),
            (Problem::from(QueryError::Erased { trace_id: String::from("t") }), ErrorCode::RESOURCE_NOT_FOUND),
            (Problem::wrong_request(String::from("no")), ErrorCode::INVALID_PARAMS),
            (Problem::from(QueryError::RowLimit { rows: 1 }), ErrorCode::INVALID_PARAMS),
            (Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", "no"), ErrorCode::INTERNAL_ERROR),
        ] {
            let name = problem.code();
            let error = told(problem);
            assert_eq!((error.code, &error.data.unwrap_or_default()["code"]), (code, &json!(name)));
        }
        let busy = told(Problem::from(Refusal::Busy { retry_after: 2 }));
        assert_eq!(busy.data.unwrap_or_default()["wait_seconds"], json!(2));
    }

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

//! Errors as gRPC has them: a code for programs, and a message that says what to do next.

use axum::http::StatusCode;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::server::problem::Problem;

/// Characters of a message: it travels in a header, and clients take headers of 8 KiB in all.
const MOST_CHARACTERS: usize = 2_000;
/// Names the error as HTTP and `audit` do.
const CODE: &str = "tracerag-code";
/// Seconds after which to ask again.
const RETRY_AFTER: &str = "retry-after";
/// The code of a query that its client has cancelled.
pub(super) const CANCELLED: &str = "cancelled";

impl From<Problem> for Status {
    fn from(problem: Problem) -> Self {
        let mut metadata = MetadataMap::new();
        metadata.insert(CODE, MetadataValue::from_static(problem.code()));
        if let Some(seconds) = problem.retry_after() {
            metadata.insert(RETRY_AFTER, MetadataValue::from(seconds));
        }
        let message: String = problem.detail().chars().take(MOST_CHARACTERS).collect();
        Self::with_metadata(code(&problem), message, metadata)
    }
}

fn code(problem: &Problem) -> Code {
    match (problem.code(), problem.status()) {
        (CANCELLED, _) => Code::Cancelled,
        ("time-limit", _) => Code::DeadlineExceeded,
        (_, StatusCode::BAD_REQUEST) => Code::InvalidArgument,
        (_, StatusCode::UNAUTHORIZED) => Code::Unauthenticated,
        (_, StatusCode::FORBIDDEN) => Code::PermissionDenied,
        (_, StatusCode::NOT_FOUND) => Code::NotFound,
        (_, StatusCode::CONFLICT | StatusCode::GONE) => Code::FailedPrecondition,
        (_, StatusCode::UNPROCESSABLE_ENTITY | StatusCode::TOO_MANY_REQUESTS) => Code::ResourceExhausted,
        (_, StatusCode::NOT_IMPLEMENTED) => Code::Unimplemented,
        (_, StatusCode::SERVICE_UNAVAILABLE) => Code::Unavailable,
        _ => Code::Internal,
    }
}

/// A query that its client has cancelled.
pub(super) fn cancelled() -> Problem {
    Problem::new(StatusCode::CONFLICT, CANCELLED, "the query was cancelled; run it again if you need its rows")
}

/// Rows that were there, and that the client has not taken for too long.
pub(super) fn not_taken() -> Problem {
    let detail = "the rows were not taken for too long; run the query again and read on, or ask for fewer";
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "time-limit", detail)
}

/// Something that the protocol has and this server does not.
pub(super) fn not_offered(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::NOT_IMPLEMENTED, "not-offered", detail)
}

/// A ticket or a prepared statement that is not kept, or is another caller's.
pub(super) fn not_kept(code: &'static str, detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, code, detail)
}

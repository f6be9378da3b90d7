//! Errors as RFC 9457 has them: what it is, in a word that programs know, and what to do next.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::access::Refusal;
use crate::error::QueryError;

/// An error as it is sent.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    /// Seconds after which to ask again.
    retry_after: Option<u64>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), retry_after: None }
    }

    /// The same, worth asking again after so many seconds.
    pub(super) fn asked_again_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// The short name, as `audit` has it.
    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// What is wrong, and what to do next.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// Seconds after which to ask again.
    pub(super) fn retry_after(&self) -> Option<u64> {
        self.retry_after
    }

    /// How a client that lacks a token, or a scope of it, is told so (RFC 6750, section 3), and by `metadata`, an address,
    /// where it learns who gives one (RFC 9728).
    pub(super) fn challenge(&self, metadata: Option<&str>) -> Option<String> {
        if self.status != StatusCode::UNAUTHORIZED {
            return None;
        }
        let mut challenge = String::from("Bearer realm=\"tracerag\"");
        if let Some(metadata) = metadata {
            challenge.push_str(&format!(", resource_metadata=\"{metadata}\""));
        }
        // Who showed nothing has made no mistake yet.
        if self.code == Refusal::UnknownToken.code() {
            challenge.push_str(", error=\"invalid_token\"");
        }
        Some(challenge)
    }

    pub(super) fn wrong_request(detail: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "wrong-request", detail)
    }

    pub(super) fn body_too_large(most: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            format!("a request has {most} bytes at most; ask in several"),
        )
    }

    pub(super) fn forbidden(code: &'static str, detail: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "path-unknown", "nothing is here; /openapi.json lists what there is")
    }

    pub(super) fn wrong_method() -> Self {
        let detail = "this path takes another method; /openapi.json lists what there is";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-unknown", detail)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal {
            Refusal::NoToken | Refusal::UnknownToken => StatusCode::UNAUTHORIZED,
            Refusal::Scope { .. } => StatusCode::FORBIDDEN,
            Refusal::Busy { .. } => StatusCode::TOO_MANY_REQUESTS,
            Refusal::NoTokens | Refusal::NoKeys | Refusal::NoAudit => StatusCode::SERVICE_UNAVAILABLE,
        };
        let retry_after = match refusal {
            Refusal::Busy { retry_after } => Some(retry_after),
            _ => None,
        };
        Self { retry_after, ..Self::new(status, refusal.code(), refusal.to_string()) }
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        let status = match &error {
            QueryError::TraceOpen { .. } => StatusCode::CONFLICT,
            QueryError::TraceUnknown { .. }
            | QueryError::NotSampled { .. }
            | QueryError::BundleUnknown { .. }
            | QueryError::IncidentUnknown { .. } => StatusCode::NOT_FOUND,
            QueryError::Expired { .. } | QueryError::Erased { .. } | QueryError::CursorExpired => StatusCode::GONE,
            QueryError::ReadOnly { .. } => StatusCode::FORBIDDEN,
            QueryError::TooLarge { .. }
            | QueryError::TimeLimit { .. }
            | QueryError::ClaimsTimeLimit { .. }
            | QueryError::MemoryLimit { .. }
            | QueryError::RowLimit { .. }
            | QueryError::ByteLimit { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            QueryError::Stopped | QueryError::PeerFailed => StatusCode::SERVICE_UNAVAILABLE,
            error if is_the_clients(error) => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            // What failed inside may name files and others' data; it goes to the log only.
            let number = hex::encode(rand::random::<[u8; 8]>());
            tracing::error!(%error, number, "a request failed");
            let detail =
                format!("the server failed; ask again, or ask whoever runs it to look for {number} in its log");
            return Self::new(status, "failed", detail);
        }
        let retry_after = match &error {
            QueryError::TraceOpen { wait_seconds, .. } => Some(*wait_seconds),
            QueryError::TraceUnknown { wait_seconds, .. } => *wait_seconds,
            QueryError::Stopped | QueryError::PeerFailed => Some(1),
            _ => None,
        };
        Self { retry_after, ..Self::new(status, error.code().unwrap_or("query-failed"), error.to_string()) }
    }
}

/// Errors that a client can do something about; see [`Problem`].
fn is_the_clients(error: &QueryError) -> bool {
    use datafusion::error::DataFusionError;
    match error {
        QueryError::Engine(error) => {
            matches!(error.find_root(), DataFusionError::Execution(_) | DataFusionError::ArrowError(..))
        }
        error => error.code().is_some(),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let challenge = self.challenge(None);
        let mut members = Map::new();
        members.insert("type".to_owned(), json!(format!("urn:tracerag:problem:{}", self.code)));
        members.insert("title".to_owned(), json!(self.code.replace('-', " ")));
        members.insert("status".to_owned(), json!(self.status.as_u16()));
        members.insert("code".to_owned(), json!(self.code));
        members.insert("detail".to_owned(), json!(self.detail));
        if let Some(seconds) = self.retry_after {
            members.insert("wait_seconds".to_owned(), json!(seconds));
        }
        let text = format!("{}\n", Value::Object(members));
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/problem+json")], text).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(Ok(how)) = challenge.as_deref().map(HeaderValue::from_str) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, how);
        }
        response
    }
}

//! Errors as Tempo has them: a status, and a text.

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::server::problem::Problem;

/// A problem that is told in one line.
#[derive(Debug)]
pub(super) struct Failure(Problem);

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let text = self.0.detail().to_owned();
        // Status and headers are those of every interface.
        let mut response = self.0.into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        *response.body_mut() = Body::from(text);
        response
    }
}

//! What Jaeger's answers are wrapped in, good and bad ones alike.

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::encode::Encoding;
use crate::server::problem::Problem;

/// Data of an answer, with how much of it there is.
pub(super) fn data(data: Value) -> Value {
    let total = data.as_array().map_or(0, Vec::len);
    json!({"data": data, "total": total, "limit": 0, "offset": 0, "errors": null})
}

/// A problem, as Jaeger tells it.
#[derive(Debug)]
pub(super) struct Failure(Problem);

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let error = json!({"code": self.0.status().as_u16(), "msg": self.0.detail()});
        let body = json!({"data": null, "total": 0, "limit": 0, "offset": 0, "errors": [error]});
        // Status and headers are those of every interface.
        let mut response = self.0.into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(Encoding::Json.media_type()));
        *response.body_mut() = Body::from(body.to_string());
        response
    }
}

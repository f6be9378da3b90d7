//! The HTTP interface: JSON in and out, rows as JSON, CSV or an Arrow stream, errors as RFC 9457 has them.

mod accept;
mod answer;
mod bundles;
mod canary;
mod changes;
mod compare;
mod fixes;
mod groupings;
mod incident;
mod incidents;
mod origins;
mod parameters;
mod similar;
mod sql;
mod status;
mod traces;
mod verify;

#[cfg(test)]
pub(super) mod tests;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{Extensions, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::MOST_BYTES;
use super::app::App;
use super::bearer::bearer;
use super::connections::remote_address;
use super::problem::Problem;
use crate::access::{Caller, Remote, Visit};
use crate::encode::Encoding;
pub(super) use accept::preferred;
pub(super) use compare::Ask as CompareAsk;
pub(super) use origins::Origins;
pub(super) use parameters::{Id, Query, bound};
pub(super) use similar::Ask as SimilarAsk;

/// What `audit` calls this interface.
const INTERFACE: &str = "http";
/// The description of this interface, for programs.
const OPENAPI: &str = include_str!("openapi.json");

/// Every request that is answered, as method and path; `openapi.json` describes the same.
const ROUTES: [(&str, &str); 20] = [
    ("post", "/v1/sql"),
    ("post", "/v1/similar"),
    ("post", "/v1/compare"),
    ("get", "/v1/bundles/{id}"),
    ("post", "/v1/bundles/{id}/pin"),
    ("delete", "/v1/bundles/{id}/pin"),
    ("get", "/v1/traces/{id}"),
    ("get", "/v1/incidents"),
    ("get", "/v1/incidents/{fingerprint}"),
    ("get", "/v1/trends"),
    ("get", "/v1/status"),
    ("post", "/v1/fixes"),
    ("get", "/v1/fixes"),
    ("post", "/v1/groupings"),
    ("post", "/v1/verify"),
    ("get", "/v1/canary"),
    ("post", "/v1/canary"),
    ("post", "/v1/changes"),
    ("get", "/openapi.json"),
    ("get", "/healthz"),
];

/// What answers a request of [`ROUTES`].
fn handler(method: &str, path: &str) -> Option<MethodRouter<App>> {
    Some(match (method, path) {
        ("post", "/v1/sql") => post(sql::sql),
        ("post", "/v1/similar") => post(similar::similar),
        ("post", "/v1/compare") => post(compare::compare),
        ("get", "/v1/bundles/{id}") => get(bundles::bundle),
        ("post", "/v1/bundles/{id}/pin") => post(bundles::pin),
        ("delete", "/v1/bundles/{id}/pin") => delete(bundles::unpin),
        ("get", "/v1/traces/{id}") => get(traces::trace),
        ("get", "/v1/incidents") => get(incidents::incidents),
        ("get", "/v1/incidents/{fingerprint}") => get(incident::incident),
        ("get", "/v1/trends") => get(incident::trends),
        ("get", "/v1/status") => get(status::status),
        ("post", "/v1/fixes") => post(fixes::fixes),
        ("get", "/v1/fixes") => get(fixes::list),
        ("post", "/v1/groupings") => post(groupings::groupings),
        ("post", "/v1/verify") => post(verify::verify),
        ("get", "/v1/canary") => get(canary::canary),
        ("post", "/v1/canary") => post(canary::webhook),
        ("post", "/v1/changes") => post(changes::changes),
        ("get", "/openapi.json") => get(openapi),
        ("get", "/healthz") => get(|| std::future::ready("ok\n")),
        _ => return None,
    })
}

/// The whole interface, with what others answer behind the same checks.
pub(super) fn router(app: App, others: Router<App>) -> Router {
    let routes = ROUTES.iter().filter_map(|(method, path)| Some((*path, handler(method, path)?)));
    routes
        .fold(Router::new(), |router, (path, handler)| router.route(path, handler))
        .merge(others)
        .merge(super::jaeger::routes())
        .merge(super::tempo::routes())
        .fallback(|| std::future::ready(Problem::not_found()))
        .method_not_allowed_fallback(|| std::future::ready(Problem::wrong_method()))
        .layer(DefaultBodyLimit::max(MOST_BYTES))
        .layer(axum::middleware::from_fn_with_state(app.clone(), origins::check))
        .with_state(app)
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

/// A whole answer as JSON; the visit has ended well.
fn json(mut visit: Visit, status: StatusCode, rows: usize, body: &Value) -> Response {
    let text = format!("{body}\n");
    visit.gave(rows, text.len());
    visit.end("ok");
    (status, [(header::CONTENT_TYPE, Encoding::Json.media_type())], Body::from(text)).into_response()
}

/// A request's body, if all of it came.
fn whole(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Problem> {
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::body_too_large(MOST_BYTES),
        _ => Problem::wrong_request("the body did not arrive whole; send it again".to_owned()),
    })
}

/// A request's body as a JSON object.
fn body<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, Problem> {
    let bytes = whole(body)?;
    let wrong =
        |why: &str| Problem::wrong_request(format!("the body is not the JSON that /openapi.json describes: {why}"));
    // Left to itself, serde takes a list for the members in their order, too.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(wrong("it is no object"));
    }
    serde_json::from_slice(&bytes).map_err(|error| wrong(&error.to_string()))
}

/// Who asks, by the bearer token of the request.
impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        app.gate().let_in(bearer(&parts.headers), remote(&parts.extensions)).await.map_err(Problem::from)
    }
}

/// Where a request with these extensions comes from.
fn remote(extensions: &Extensions) -> Remote {
    Remote { interface: INTERFACE, address: remote_address(extensions) }
}

//! The HTTP interface: JSON in and out, rows as JSON, CSV or an Arrow stream, errors as RFC 9457 has them.

mod accept;
mod answer;
mod bundles;
mod canary;
mod cursor;
mod fixes;
mod incidents;
mod origins;
mod parameters;
mod problem;
mod similar;
mod sql;
mod status;
mod traces;
mod verify;

#[cfg(test)]
pub(super) mod tests;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::watch;

use super::engine::Engine;
use super::sessions::Sessions;
use crate::access::{Caller, Gate, Scope, Visit};
use crate::encode::Encoding;
use crate::error::{QueryError, Result as QueryResult};
use crate::session::Session;
pub(super) use bundles::handed_out;
pub(super) use cursor::Cursor;
pub(super) use fixes::record_masked;
pub(super) use origins::Origins;
pub(super) use parameters::bound;
pub(super) use problem::Problem;
pub(super) use similar::Ask as SimilarAsk;

/// Bytes of a request's body; in protocols of messages, of one.
pub(super) const MOST_BYTES: usize = 2 << 20;
/// What `audit` calls this interface.
const INTERFACE: &str = "http";
/// The description of this interface, for programs.
const OPENAPI: &str = include_str!("openapi.json");

/// Every request that is answered, as method and path; `openapi.json` describes the same.
const ROUTES: [(&str, &str); 15] = [
    ("post", "/v1/sql"),
    ("post", "/v1/similar"),
    ("get", "/v1/bundles/{id}"),
    ("post", "/v1/bundles/{id}/pin"),
    ("delete", "/v1/bundles/{id}/pin"),
    ("get", "/v1/traces/{id}"),
    ("get", "/v1/incidents"),
    ("get", "/v1/status"),
    ("post", "/v1/fixes"),
    ("get", "/v1/fixes"),
    ("post", "/v1/verify"),
    ("get", "/v1/canary"),
    ("post", "/v1/canary"),
    ("get", "/openapi.json"),
    ("get", "/healthz"),
];

/// What answers a request of [`ROUTES`].
fn handler(method: &str, path: &str) -> Option<MethodRouter<App>> {
    Some(match (method, path) {
        ("post", "/v1/sql") => post(sql::sql),
        ("post", "/v1/similar") => post(similar::similar),
        ("get", "/v1/bundles/{id}") => get(bundles::bundle),
        ("post", "/v1/bundles/{id}/pin") => post(bundles::pin),
        ("delete", "/v1/bundles/{id}/pin") => delete(bundles::unpin),
        ("get", "/v1/traces/{id}") => get(traces::trace),
        ("get", "/v1/incidents") => get(incidents::incidents),
        ("get", "/v1/status") => get(status::status),
        ("post", "/v1/fixes") => post(fixes::fixes),
        ("get", "/v1/fixes") => get(fixes::list),
        ("post", "/v1/verify") => post(verify::verify),
        ("get", "/v1/canary") => get(canary::canary),
        ("post", "/v1/canary") => post(canary::webhook),
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
        .fallback(|| std::future::ready(Problem::not_found()))
        .method_not_allowed_fallback(|| std::future::ready(Problem::wrong_method()))
        .layer(DefaultBodyLimit::max(MOST_BYTES))
        .layer(axum::middleware::from_fn_with_state(app.clone(), origins::check))
        .with_state(app)
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

/// What every handler has; clones share it.
#[derive(Clone, Debug)]
pub(super) struct App {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    gate: Gate,
    sessions: Sessions,
    engine: Engine,
    origins: Origins,
    stopping: watch::Receiver<bool>,
    is_cut: watch::Receiver<bool>,
}

impl App {
    /// `stopping` is true from when no more requests are taken, `is_cut` when answers that are under way are broken off.
    pub(super) fn new(
        gate: Gate,
        sessions: Sessions,
        engine: Engine,
        origins: Origins,
        stopping: watch::Receiver<bool>,
        is_cut: watch::Receiver<bool>,
    ) -> Self {
        Self { inner: Arc::new(Inner { gate, sessions, engine, origins, stopping, is_cut }) }
    }

    pub(super) fn gate(&self) -> &Gate {
        &self.inner.gate
    }

    pub(super) fn sessions(&self) -> &Sessions {
        &self.inner.sessions
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// True from when answers that are under way are broken off.
    pub(super) fn is_cut(&self) -> watch::Receiver<bool> {
        self.inner.is_cut.clone()
    }

    fn is_stopping(&self) -> bool {
        *self.inner.stopping.borrow()
    }

    /// Does what a caller asks for, as one visit: requires the scope, waits for a turn, opens a session on the newest
    /// head, and runs the work on the threads for queries.
    pub(super) fn ask<T, W>(
        &self,
        caller: &Caller,
        scope: Scope,
        visit: &mut Visit,
        work: impl FnOnce(Session) -> W + Send + 'static,
    ) -> impl Future<Output = Result<T, Problem>>
    where
        T: Send + 'static,
        W: Future<Output = QueryResult<T>> + Send + 'static,
    {
        self.ask_at(None, caller, scope, visit, work)
    }

    /// The same on the head of a position, where one is given.
    pub(super) async fn ask_at<T, W>(
        &self,
        position: Option<u64>,
        caller: &Caller,
        scope: Scope,
        visit: &mut Visit,
        work: impl FnOnce(Session) -> W + Send + 'static,
    ) -> Result<T, Problem>
    where
        T: Send + 'static,
        W: Future<Output = QueryResult<T>> + Send + 'static,
    {
        let asked = async {
            caller.require(scope)?;
            let turn = self.gate().turn(caller).await?;
            let session = match position {
                Some(position) => self.sessions().open_at(caller, position).await?,
                None => self.sessions().open(caller).await?,
            };
            let limit = self.gate().limits().time;
            let work = async move {
                let done = tokio::time::timeout(limit, work(session)).await;
                drop(turn);
                done.unwrap_or_else(|_| Err(QueryError::TimeLimit { seconds: limit.as_secs() }))
            };
            self.inner.engine.run(work).await.map_err(Problem::from)
        };
        noted(visit, asked.await)
    }
}

/// Writes down why a visit failed, if it did.
pub(super) fn noted<T>(visit: &mut Visit, result: Result<T, Problem>) -> Result<T, Problem> {
    if let Err(problem) = &result {
        visit.end(problem.code());
    }
    result
}

/// A whole answer as JSON; the visit has ended well.
fn json(mut visit: Visit, status: StatusCode, rows: usize, body: &Value) -> Response {
    let text = format!("{body}\n");
    visit.gave(rows, text.len());
    visit.end("ok");
    (status, [(header::CONTENT_TYPE, Encoding::Json.media_type())], Body::from(text)).into_response()
}

/// A request's body as a JSON object.
fn body<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, Problem> {
    let bytes = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::body_too_large(MOST_BYTES),
        _ => Problem::wrong_request("the body did not arrive whole; send it again".to_owned()),
    })?;
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
        app.gate().caller(bearer(&parts.headers)).map_err(Problem::from)
    }
}

/// The bearer token of a request.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, secret) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
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

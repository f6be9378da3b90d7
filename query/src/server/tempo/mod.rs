//! Tempo's query API, for Grafana's data source of that name: traces by id, searches in TraceQL, tags and their values.
//!
//! The address of the data source is this server's with `/tempo`; the same answers without it, but for `/api/traces/{id}`,
//! which is Jaeger's there. Paths, parameters and answers are those of Tempo's API documentation and of
//! `pkg/tempopb/tempo.proto` in grafana/tempo.

mod failure;
mod proto_json;
mod search;
mod tag_values;
mod tags;
mod trace;
mod traceql;

#[cfg(test)]
mod tests;

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tracerag_schemas::time::{DAY, SECOND};

use super::app::App;
use super::http::Query;
use super::problem::Problem;
use super::traces::Interval;
use crate::session::Session;

/// Where the data source looks for it.
const PREFIX: &str = "/tempo";
/// What `audit` calls this interface.
const INTERFACE: &str = "tempo";
/// What is looked at where a request names no time, in ns.
const LOOKBACK: i64 = DAY;
/// The version of Tempo whose answers these are: the data source asks for it to learn what it may use.
const LIKE_VERSION: &str = "2.9.0";

/// The paths, for the router of everything.
pub(super) fn routes() -> Router<App> {
    let paths = || {
        Router::new()
            .route("/api/echo", get(|| std::future::ready("echo")))
            .route("/api/status/buildinfo", get(build_info))
            .route("/api/v2/traces/{id}", get(trace::second))
            .route("/api/search", get(search::search))
            .route("/api/search/tags", get(tags::first))
            .route("/api/v2/search/tags", get(tags::second))
            .route("/api/search/tag/{tag}/values", get(tag_values::first))
            .route("/api/v2/search/tag/{tag}/values", get(tag_values::second))
    };
    // Jaeger has this path, too, and it alone has it without the prefix.
    let prefixed = paths().route("/api/traces/{id}", get(trace::first));
    paths().merge(Router::new().nest(PREFIX, prefixed))
}

async fn build_info() -> Response {
    let told = json!({
        "version": LIKE_VERSION, "revision": concat!("tracerag-", env!("CARGO_PKG_VERSION")), "branch": "", "buildUser": "",
        "buildDate": "", "goVersion": "",
    });
    ([(header::CONTENT_TYPE, "application/json")], told.to_string()).into_response()
}

/// What a request says of times, in seconds.
#[derive(Debug, Clone, Copy)]
struct Times {
    start: Option<i64>,
    end: Option<i64>,
}

impl Times {
    fn of(query: &mut Query) -> Result<Self, Problem> {
        let mut seconds = |name| {
            let seconds = query.number(name)?.filter(|seconds| *seconds > 0);
            Ok::<_, Problem>(seconds.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX)))
        };
        Ok(Self { start: seconds("start")?, end: seconds("end")? })
    }

    /// The last second is part of it.
    fn interval(self, session: &Session) -> Interval {
        let from = self.start.map(|start| start.saturating_mul(SECOND));
        let to = self.end.map(|end| end.saturating_add(1).saturating_mul(SECOND).saturating_sub(1));
        Interval::of(from, to, session, LOOKBACK)
    }
}

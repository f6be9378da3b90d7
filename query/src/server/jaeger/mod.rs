//! Jaeger's query API, for its UI and for Grafana's data source of that name: services, operations, searches, traces and
//! which service calls which.
//!
//! The address is this server's with `/jaeger`; the same answers without it, because some releases of Grafana leave the
//! path out of the address when they search (grafana/grafana#108651). Answers are those of `model/json` and of
//! `api_v3/query_service.proto` in jaegertracing/jaeger-idl; errors are told as Jaeger does, in `errors`.

mod ask;
mod dependencies;
mod envelope;
mod model;
mod names;
mod search;
mod third;
mod trace;

#[cfg(test)]
mod tests;

use axum::Router;
use axum::routing::get;
use tracerag_schemas::time::DAY;

use super::app::App;

/// Where tools look for it.
const PREFIX: &str = "/jaeger";
/// What `audit` calls this interface.
const INTERFACE: &str = "jaeger";
/// How long ago services and operations are looked for that a request gives no time for, in ns: Jaeger's own default
/// (`--es.max-span-age`).
const LOOKBACK: i64 = 3 * DAY;

/// The paths, for the router of everything.
pub(super) fn routes() -> Router<App> {
    let paths = || {
        Router::new()
            .route("/api/services", get(names::services))
            .route("/api/services/{id}/operations", get(names::operations_of))
            .route("/api/operations", get(names::operations))
            .route("/api/traces", get(search::search))
            .route("/api/traces/{id}", get(trace::trace))
            .route("/api/dependencies", get(dependencies::dependencies))
            .route("/api/v3/services", get(third::services))
            .route("/api/v3/operations", get(third::operations))
            .route("/api/v3/traces/{id}", get(third::trace))
            .route("/api/v3/trace-summaries", get(third::summaries))
    };
    paths().merge(Router::new().nest(PREFIX, paths()))
}

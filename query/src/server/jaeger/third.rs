//! The third version of the API, by which newer releases of Jaeger's UI list and search.

use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde_json::{Value, json};

use super::INTERFACE;
use super::ask::{Ask, Words};
use super::envelope::Failure;
use super::names::{self, Operation, told_operations, told_services};
use crate::access::{Caller, Scope};
use crate::encode::Encoding;
use crate::error::Result as QueryResult;
use crate::server::app::{App, noted};
use crate::server::http::{Id, Query};
use crate::server::problem::Problem;
use crate::server::traces::{Hit, Summary, find, json_answer, summaries as summaries_of, whole};
use crate::session::Session;

const WORDS: Words = Words {
    service: "query.serviceName",
    operation: "query.operationName",
    tags: "query.attributes",
    least: "query.durationMin",
    most: "query.durationMax",
    limit: "query.searchDepth",
};

/// `GET /api/v3/services`.
pub(super) async fn services(State(app): State<App>, caller: Result<Caller, Problem>) -> Result<Response, Failure> {
    Ok(told_services(&app, &caller?, |names| json!({"services": names})).await?)
}

/// `GET /api/v3/operations`.
pub(super) async fn operations(
    State(app): State<App>,
    caller: Result<Caller, Problem>,
    uri: Uri,
) -> Result<Response, Failure> {
    let (caller, mut query) = (caller?, Query::of(&uri));
    let service = names::service(&mut query)?;
    let kind = query.text("spanKind").or_else(|| query.text("span_kind"));
    let told = |operations: Vec<Operation>| {
        let each = |operation: Operation| json!({"name": operation.name, "spanKind": operation.kind});
        json!({"operations": operations.into_iter().map(each).collect::<Vec<_>>()})
    };
    Ok(told_operations(&app, &caller, service, kind, told).await?)
}

/// `GET /api/v3/traces/{id}`: one trace in OTLP/JSON.
pub(super) async fn trace(
    State(app): State<App>,
    caller: Result<Caller, Problem>,
    id: Result<Id, Problem>,
) -> Result<Response, Failure> {
    let (caller, Id(id)) = (caller?, id?);
    let visit = app.gate().visit(&caller, INTERFACE, "trace", &id);
    let told = |_: &str, spans: Vec<_>| {
        let spans = serde_json::to_value(&spans)?;
        Ok(json!({"result": {"resourceSpans": spans}}).to_string().into_bytes())
    };
    Ok(whole(&app, &caller, visit, id, Encoding::Json.media_type(), told).await?)
}

/// `GET /api/v3/trace-summaries`: what is told of traces by what one of their spans is like.
pub(super) async fn summaries(
    State(app): State<App>,
    caller: Result<Caller, Problem>,
    uri: Uri,
) -> Result<Response, Failure> {
    let caller = caller?;
    let mut visit = app.gate().visit(&caller, INTERFACE, "search", uri.query().unwrap_or_default());
    let mut query = Query::of(&uri);
    let ask = noted(&mut visit, Ask::of(&mut query, &WORDS))?;
    let from = noted(&mut visit, time(&mut query, "query.startTimeMin"))?;
    let to = noted(&mut visit, time(&mut query, "query.startTimeMax"))?;
    let work = move |session: Session| async move { told(&session, ask, from, to).await };
    let told = app.ask(&caller, Scope::Read, &mut visit, work).await?;
    let count = told.len();
    Ok(json_answer(&app, visit, count, &json!({"summaries": told}))?)
}

fn time(query: &mut Query, name: &str) -> Result<Option<i64>, Problem> {
    let Some(text) = query.text(name) else { return Ok(None) };
    let wrong = |_| Problem::wrong_request(format!("{name} is a time as in RFC 3339, not {text:?}"));
    string_to_timestamp_nanos(&text).map(Some).map_err(wrong)
}

async fn told(session: &Session, ask: Ask, from: Option<i64>, to: Option<i64>) -> QueryResult<Vec<Value>> {
    let hits = find(session, &ask.search(from, to, session)).await?;
    let ids: Vec<String> = hits.iter().map(|hit| hit.trace_id.clone()).collect();
    let known = summaries_of(session, &ids).await?;
    Ok(hits.iter().filter_map(|hit| Some(summary(hit, known.get(&hit.trace_id)?))).collect())
}

fn summary(hit: &Hit, told: &Summary) -> Value {
    let service = |(name, (spans, errors)): (&String, &(u32, u32))| json!({"name": name, "spanCount": spans, "errorSpanCount": errors});
    json!({
        "traceId": hit.trace_id,
        "rootServiceName": told.root_service,
        "rootOperationName": told.root_name,
        "minStartTimeUnixNano": told.start.to_string(),
        "maxEndTimeUnixNano": told.end.to_string(),
        "spanCount": told.spans,
        "errorSpanCount": told.errors,
        "orphanSpanCount": told.orphans,
        "services": told.services.iter().map(service).collect::<Vec<_>>(),
    })
}

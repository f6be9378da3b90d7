//! `GET /api/services`, `/api/services/{service}/operations` and `/api/operations`.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use datafusion::logical_expr::{col, lit};
use futures::TryStreamExt;
use serde_json::{Value, json};

use super::envelope::{Failure, data};
use super::{INTERFACE, LOOKBACK};
use crate::access::{Caller, Scope};
use crate::error::Result as QueryResult;
use crate::rows::{Columns, text};
use crate::server::app::App;
use crate::server::http::{Id, Query};
use crate::server::problem::Problem;
use crate::server::traces::{Interval, json_answer};
use crate::session::Session;

/// Names of an answer at most.
const MOST: usize = 10_000;

/// An operation, and the kind of its spans.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Operation {
    pub name: String,
    /// As Jaeger writes it: `server`.
    pub kind: String,
}

/// The services.
pub(super) async fn services(State(app): State<App>, caller: Result<Caller, Problem>) -> Result<Response, Failure> {
    Ok(told_services(&app, &caller?, |names| data(json!(names))).await?)
}

/// The names of a service's operations.
pub(super) async fn operations_of(
    State(app): State<App>,
    caller: Result<Caller, Problem>,
    service: Result<Id, Problem>,
) -> Result<Response, Failure> {
    let (caller, Id(service)) = (caller?, service?);
    let told = |operations: Vec<Operation>| {
        let mut names: Vec<String> = operations.into_iter().map(|operation| operation.name).collect();
        names.dedup();
        data(json!(names))
    };
    Ok(told_operations(&app, &caller, service, None, told).await?)
}

/// The operations of a service with their kinds, or those of one kind.
pub(super) async fn operations(
    State(app): State<App>,
    caller: Result<Caller, Problem>,
    uri: Uri,
) -> Result<Response, Failure> {
    let (caller, mut query) = (caller?, Query::of(&uri));
    let (service, kind) = (service(&mut query)?, query.text("spanKind"));
    let told = |operations: Vec<Operation>| {
        let each = |operation: Operation| json!({"name": operation.name, "spanKind": operation.kind});
        data(Value::Array(operations.into_iter().map(each).collect()))
    };
    Ok(told_operations(&app, &caller, service, kind, told).await?)
}

/// The parameter that says of which service.
pub(super) fn service(query: &mut Query) -> Result<String, Problem> {
    let given = query.text("service").filter(|service| !service.is_empty());
    given
        .ok_or_else(|| Problem::wrong_request("service is needed; /api/services lists those that there are".to_owned()))
}

/// The services, told in some form.
pub(super) async fn told_services(
    app: &App,
    caller: &Caller,
    told: impl FnOnce(Vec<String>) -> Value,
) -> Result<Response, Problem> {
    let mut visit = app.gate().visit(caller, INTERFACE, "services", "");
    let work = move |session: Session| async move {
        let found = distinct(&session, ["service_name", "service_name"], None).await?;
        Ok(found.into_iter().map(|[service, _]| service).collect::<Vec<_>>())
    };
    let names = app.ask(caller, Scope::Read, &mut visit, work).await?;
    let count = names.len();
    json_answer(app, visit, count, &told(names))
}

/// The operations of a service, told in some form.
pub(super) async fn told_operations(
    app: &App,
    caller: &Caller,
    service: String,
    kind: Option<String>,
    told: impl FnOnce(Vec<Operation>) -> Value,
) -> Result<Response, Problem> {
    let mut visit = app.gate().visit(caller, INTERFACE, "operations", &service);
    let work = move |session: Session| async move {
        let found = distinct(&session, ["name", "kind"], Some(service)).await?;
        let operation = |[name, kind]: [String; 2]| Operation { name, kind: kind.to_ascii_lowercase() };
        let mut operations: Vec<Operation> = found.into_iter().map(operation).collect();
        if let Some(kind) = kind.filter(|kind| !kind.is_empty()) {
            operations.retain(|operation| operation.kind == kind);
        }
        Ok(operations)
    };
    let operations = app.ask(caller, Scope::Read, &mut visit, work).await?;
    let count = operations.len();
    json_answer(app, visit, count, &told(operations))
}

/// Pairs of values that spans have, each once and in order.
async fn distinct(session: &Session, columns: [&str; 2], service: Option<String>) -> QueryResult<Vec<[String; 2]>> {
    let [first, second] = columns;
    let mut filter = Interval::of(None, None, session, LOOKBACK).filter().and(col(first).is_not_null());
    if let Some(service) = service {
        filter = filter.and(col("service_name").eq(lit(service)));
    }
    let frame = session
        .context()
        .table("spans")
        .await?
        .filter(filter)?
        .select(vec![col(first).alias("first"), col(second).alias("second")])?
        .distinct()?
        .sort(vec![col("first").sort(true, true), col("second").sort(true, true)])?
        .limit(0, Some(MOST))?;
    let mut batches = session.execute(frame.into_unoptimized_plan(), None).await?;
    let mut found = Vec::new();
    while let Some(batch) = batches.try_next().await? {
        let columns = Columns::of("spans", &batch);
        let (firsts, seconds) = (columns.text("first")?, columns.text("second")?);
        let pair = |row| [firsts, seconds].map(|column| text(column, row).unwrap_or_default().to_owned());
        found.extend((0..batch.num_rows()).map(pair));
    }
    Ok(found)
}

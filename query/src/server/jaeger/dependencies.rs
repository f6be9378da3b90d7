//! `GET /api/dependencies`: which service calls which, and how often.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use datafusion::common::{ParamValues, ScalarValue};
use serde_json::{Value, json};
use tracerag_schemas::time::DAY;

use super::INTERFACE;
use super::envelope::{Failure, data};
use crate::access::{Caller, Scope};
use crate::error::Result as QueryResult;
use crate::rows::{Columns, number, text};
use crate::server::app::{App, noted};
use crate::server::http::Query;
use crate::server::problem::Problem;
use crate::server::traces::{Interval, json_answer};
use crate::session::Session;

/// Nanoseconds of a millisecond, in which this request has times.
const MILLI: i64 = 1_000_000;
/// How far back is looked where the request does not say, in ns.
const LOOKBACK: i64 = DAY;

/// A call is a span whose parent is of another service. A parent starts before its child, though clocks may differ by
/// some hours; by that much its days are narrowed.
const CALLS: &str = "select p.service_name as parent, c.service_name as child, count(*) as calls from spans c \
    join spans p on c.trace_id = p.trace_id and c.parent_span_id = p.span_id \
    where c.start_time between $1 and $2 and p.start_time between $3 and $4 and p.service_name <> c.service_name \
    group by 1, 2 order by 1, 2";

/// Calls of one service to another.
#[derive(Debug)]
struct Calls {
    parent: String,
    child: String,
    count: i64,
}

/// Which service calls which.
pub(super) async fn dependencies(
    State(app): State<App>,
    caller: Result<Caller, Problem>,
    uri: Uri,
) -> Result<Response, Failure> {
    let caller = caller?;
    let mut visit = app.gate().visit(&caller, INTERFACE, "dependencies", uri.query().unwrap_or_default());
    let mut query = Query::of(&uri);
    let mut millis = |name| {
        let millis = noted(&mut visit, query.number(name))?;
        Ok::<_, Problem>(millis.map(|millis| i64::try_from(millis).unwrap_or(i64::MAX).saturating_mul(MILLI)))
    };
    let (end, lookback) = (millis("endTs")?, millis("lookback")?);
    let work = move |session: Session| async move { calls(&session, end, lookback).await };
    let calls = app.ask(&caller, Scope::Read, &mut visit, work).await?;
    let count = calls.len();
    let each = |calls: Calls| json!({"parent": calls.parent, "child": calls.child, "callCount": calls.count});
    Ok(json_answer(&app, visit, count, &data(Value::Array(calls.into_iter().map(each).collect())))?)
}

async fn calls(session: &Session, end: Option<i64>, lookback: Option<i64>) -> QueryResult<Vec<Calls>> {
    let lookback = lookback.unwrap_or(LOOKBACK);
    let from = end.map(|end| end.saturating_sub(lookback));
    let Interval { from, to } = Interval::of(from, end, session, lookback);
    let time = |ns: i64| ScalarValue::TimestampNanosecond(Some(ns), Some("UTC".into()));
    let bounds = [from, to, from.saturating_sub(DAY), to.saturating_add(DAY)].map(time);
    let mut found = Vec::new();
    for batch in session.collect(CALLS, Some(ParamValues::from(bounds.to_vec()))).await? {
        let columns = Columns::of("spans", &batch);
        let (parents, children) = (columns.text("parent")?, columns.text("child")?);
        let counts = columns.int("calls")?;
        let calls = |row| {
            let (parent, child) = (text(parents, row)?.to_owned(), text(children, row)?.to_owned());
            Some(Calls { parent, child, count: number(counts, row)? })
        };
        found.extend((0..batch.num_rows()).filter_map(calls));
    }
    Ok(found)
}

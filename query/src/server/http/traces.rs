//! `GET /v1/traces/{id}`.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use datafusion::common::{ParamValues, ScalarValue};
use futures::try_join;
use serde_json::{Map, Value, json};

use super::INTERFACE;
use super::parameters::{Id, Query};
use crate::access::{Caller, Scope};
use crate::error::Result as QueryResult;
use crate::json::rows;
use crate::server::app::App;
use crate::server::problem::Problem;
use crate::session::Session;

/// Spans of an answer.
const MOST_SPANS: usize = 5_000;

/// The newest revision of a trace, and its spans in tree order.
pub(super) async fn trace(State(app): State<App>, caller: Caller, Id(id): Id, uri: Uri) -> Result<Response, Problem> {
    Query::of(&uri).end()?;
    let mut visit = app.gate().visit(&caller, INTERFACE, "trace", &id);
    let work = move |session: Session| async move { read(&session, &id).await };
    let Told { trace, spans, omitted, slow } = app.ask(&caller, Scope::Read, &mut visit, work).await?;
    let count = spans.len();
    let answer = json!({"trace": trace, "spans": spans, "omitted_spans": omitted, "slow_span_ids": slow});
    Ok(super::json(visit, StatusCode::OK, count, &answer))
}

/// What is told of a trace.
struct Told {
    /// Its row; null for one of which only spans are left.
    trace: Value,
    /// Its first spans.
    spans: Vec<Map<String, Value>>,
    /// How many more there are.
    omitted: usize,
    /// Ids of spans that were too slow for who waited for them, and gave up.
    slow: Vec<Value>,
}

async fn read(session: &Session, id: &str) -> QueryResult<Told> {
    let of_trace = || Some(ParamValues::from(vec![ScalarValue::from(id.trim().to_ascii_lowercase().as_str())]));
    let slow = "select distinct origin_span_id from failures \
                where trace_id = $1 and origin_span_id <> gave_up_span_id order by origin_span_id";
    // Why there is no such trace is what the tree says.
    let (tree, own, slow) = try_join!(
        session.collect("select * from trace_tree($1)", of_trace()),
        session.collect("select * from traces where trace_id = $1", of_trace()),
        session.collect(slow, of_trace()),
    )?;
    let mut spans = Vec::new();
    let mut count = 0;
    for batch in tree {
        count += batch.num_rows();
        let room = MOST_SPANS - spans.len();
        spans.extend(rows(&batch.slice(0, batch.num_rows().min(room)))?);
    }
    let mut trace = Value::Null;
    for batch in own {
        if let Some(row) = rows(&batch)?.into_iter().next() {
            trace = Value::Object(row);
        }
    }
    let omitted = count - spans.len();
    let mut ids = Vec::new();
    for batch in slow {
        ids.extend(rows(&batch)?.into_iter().filter_map(|mut row| row.remove("origin_span_id")));
    }
    Ok(Told { trace, spans, omitted, slow: ids })
}

//! `get_trace`.

use datafusion::common::{ParamValues, ScalarValue};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tracerag_index::tree::failing_path;

use super::{Call, cut, parsed};
use crate::access::Scope;
use crate::error::Result as QueryResult;
use crate::json::rows;
use crate::server::mcp::answer::{Answer, Found};
use crate::server::problem::Problem;
use crate::session::Session;

/// Columns of the trace that say how it went.
const TRACE: &str = "select trace_id, revision, root_service_name, root_name, services, start_time, duration_ns, status, \
                     span_count, error_span_count, log_count, failure_count, complete, incomplete_reasons, \
                     deployment_environment_name from traces where trace_id = $1";
/// What failed in it.
const FAILURES: &str = "select kind, time, service_name, span_id, exception_type, message, frames, stacktrace, span_path, \
                        fingerprint from failures where trace_id = $1 order by time, failure_id";
/// One span, whole.
const SPAN: &str = "select span_id, parent_span_id, name, kind, service_name, service_version, service_instance_id, \
                    start_time, duration_ns, status_code, status_message, error_type, attributes, resource_attributes, \
                    events, links from spans where trace_id = $1 and span_id = $2";
/// What each span of the tree need not say again.
const KNOWN: [&str; 3] = ["trace_id", "end_time", "service_instance_id"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    trace_id: String,
    span_id: Option<String>,
}

/// How a trace went: what failed, the way to it, what it waited for, and the rest; or one span with all that it says.
pub(super) async fn get(call: &mut Call<'_>, arguments: Map<String, Value>) -> Result<Answer, Problem> {
    let Arguments { trace_id, span_id } = parsed(arguments)?;
    let id = trace_id.trim().to_ascii_lowercase();
    let place = call.room.place("")?;
    let work = move |session: Session| async move {
        let mut head = Map::from_iter([("trace_id".to_owned(), json!(id))]);
        let mut entries = match &span_id {
            Some(span_id) => span(&session, &id, span_id.trim()).await?,
            None => whole(&session, &id, &mut head).await?,
        };
        entries.drain(..place.offset().min(entries.len()));
        Ok(Found { head, entries, has_more: false, last_because: None, position: session.snapshot().head().position })
    };
    let mut found = call.ask(Scope::Read, place.cursor, work).await?;
    if place.cursor.is_some() {
        found.head.shift_remove("trace");
    }
    cut(found, place).await
}

type Entries = Vec<(&'static str, Value)>;

async fn read(session: &Session, query: &str, values: &[&str]) -> QueryResult<Vec<Map<String, Value>>> {
    let values = values.iter().map(|value| ScalarValue::from(*value)).collect::<Vec<_>>();
    let mut found = Vec::new();
    for batch in session.collect(query, Some(ParamValues::from(values))).await? {
        found.extend(rows(&batch)?);
    }
    Ok(found)
}

async fn whole(session: &Session, id: &str, head: &mut Map<String, Value>) -> QueryResult<Entries> {
    // Why there is no such trace is what the tree says.
    let spans = read(session, "select * from trace_tree($1)", &[id]).await?;
    if let Some(trace) = read(session, TRACE, &[id]).await?.into_iter().next() {
        head.insert("trace".to_owned(), Value::Object(trace));
    }
    let failures = read(session, FAILURES, &[id]).await?;
    let text = |span: &'_ Map<String, Value>, name: &str| span.get(name).and_then(Value::as_str).map(str::to_owned);
    let told: Vec<_> = spans
        .iter()
        .map(|span| {
            let is_error = text(span, "status_code").as_deref() == Some("ERROR");
            (text(span, "span_id").unwrap_or_default(), text(span, "parent_span_id"), is_error)
        })
        .collect();
    let failing = failing_path(told.iter().map(|(id, parent, failed)| (id.as_str(), parent.as_deref(), *failed)));
    let (mut path, mut critical, mut others) = (Entries::new(), Entries::new(), Entries::new());
    for (mut span, (span_id, ..)) in spans.into_iter().zip(&told) {
        span.retain(|name, _| !KNOWN.contains(&name.as_str()));
        let is_critical = span.get("on_critical_path").and_then(Value::as_bool).unwrap_or_default();
        match (failing.contains(span_id.as_str()), is_critical) {
            (true, _) => path.push(("failing_path", Value::Object(span))),
            (_, true) => critical.push(("critical_path", Value::Object(span))),
            _ => others.push(("other_spans", Value::Object(span))),
        }
    }
    let mut entries: Entries = failures.into_iter().map(|failure| ("failures", Value::Object(failure))).collect();
    entries.extend(path);
    entries.extend(critical);
    entries.extend(others);
    Ok(entries)
}

async fn span(session: &Session, id: &str, span_id: &str) -> QueryResult<Entries> {
    let spans = read(session, SPAN, &[id, &span_id.to_ascii_lowercase()]).await?;
    if spans.is_empty() {
        // Why there is no such trace; if there is one, it has no such span, and the list of spans is empty.
        read(session, "select span_id from trace_tree($1) limit 1", &[id]).await?;
    }
    Ok(spans.into_iter().map(|span| ("spans", Value::Object(span))).collect())
}

//! `GET /api/search`: traces by TraceQL (`q`), or by tags.

use std::collections::{BTreeMap, HashMap};

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use datafusion::logical_expr::{Expr, col, lit};
use futures::TryStreamExt;
use serde_json::{Map, Value, json};
use tracerag_schemas::otlp::any_value;

use super::failure::Failure;
use super::traceql::{Attribute, Compiled, Field, Intrinsic, Query as TraceQl, compile, parse, text_of, type_of};
use super::{INTERFACE, Times, tags};
use crate::access::{Caller, Scope};
use crate::error::Result as QueryResult;
use crate::rows::{Columns, number, text};
use crate::server::app::{App, noted};
use crate::server::http::Query;
use crate::server::problem::Problem;
use crate::server::traces::{Hit, Search, Summary, duration, find, json_answer, spans, summaries};
use crate::session::Session;

/// Traces of an answer where the request names no number, as in Tempo.
const DEFAULT_LIMIT: usize = 20;
/// Traces of an answer at most.
const MOST: usize = 1_000;
/// Spans of a trace where the request names no number, as in Tempo.
const DEFAULT_SPANS: usize = 3;
/// Spans of a trace at most.
const MOST_SPANS: usize = 100;

/// Spans of a trace by their start and their id.
type Matched = BTreeMap<(i64, String), Value>;

/// What is asked for.
struct Ask {
    times: Times,
    limit: usize,
    spans: usize,
    /// What the spans are shown with.
    fields: Vec<Field>,
    compiled: Compiled,
}

impl Ask {
    fn of(query: &mut Query) -> Result<Self, Problem> {
        let times = Times::of(query)?;
        let limit = query.number("limit")?.unwrap_or(DEFAULT_LIMIT).clamp(1, MOST);
        let spans = query.number("spss")?.unwrap_or(DEFAULT_SPANS).min(MOST_SPANS);
        let traceql = match query.text("q") {
            Some(text) => parse(&text)?,
            None => tags::search(&query.text("tags").unwrap_or_default())?,
        };
        let mut compiled = compile(&traceql)?;
        for (name, is_least) in [("minDuration", true), ("maxDuration", false)] {
            let Some(text) = query.text(name).filter(|text| !text.is_empty()) else { continue };
            let wrong = || Problem::wrong_request(format!("{name} is a duration as 100ms or 1.5s, not {text:?}"));
            compiled.lasting(duration(&text).ok_or_else(wrong)?, is_least);
        }
        let fields = shown(&traceql);
        Ok(Self { times, limit, spans, fields, compiled })
    }
}

/// The fields that a query compares, without those that every span is shown with.
fn shown(query: &TraceQl) -> Vec<Field> {
    let always = [Intrinsic::Name, Intrinsic::Duration, Intrinsic::SpanId, Intrinsic::NestedSetParent];
    let is_shown = |field: &&&Field| !always.iter().any(|always| **field == &Field::Intrinsic(*always));
    query.fields().iter().filter(is_shown).map(|field| (*field).clone()).collect()
}

/// Traces with the spans that were looked for, the newest first.
pub(super) async fn search(
    State(app): State<App>,
    caller: Result<Caller, Problem>,
    uri: Uri,
) -> Result<Response, Failure> {
    let caller = caller?;
    let mut visit = app.gate().visit(&caller, INTERFACE, "search", uri.query().unwrap_or_default());
    let ask = noted(&mut visit, Ask::of(&mut Query::of(&uri)))?;
    let work = move |session: Session| async move { traces(&session, ask).await };
    let traces = app.ask(&caller, Scope::Read, &mut visit, work).await?;
    let count = traces.len();
    let body = json!({"traces": traces, "metrics": {"inspectedTraces": count, "completedJobs": 1, "totalJobs": 1}});
    Ok(json_answer(&app, visit, count, &body)?)
}

async fn traces(session: &Session, ask: Ask) -> QueryResult<Vec<Value>> {
    let Compiled { conditions, trace, of_traces } = ask.compiled;
    let search = Search { conditions, trace, of_traces, interval: ask.times.interval(session), limit: ask.limit };
    let hits = find(session, &search).await?;
    let ids: Vec<String> = hits.iter().map(|hit| hit.trace_id.clone()).collect();
    let told = summaries(session, &ids).await?;
    let mut matched = matched(session, &search, &ids, &ask.fields, ask.spans).await?;
    let trace = |hit: &Hit| {
        let spans = matched.remove(&hit.trace_id).unwrap_or_default();
        Some(written(hit, told.get(&hit.trace_id)?, spans))
    };
    Ok(hits.iter().filter_map(trace).collect())
}

fn written(hit: &Hit, told: &Summary, spans: Matched) -> Value {
    let set = json!({"spans": spans.into_values().collect::<Vec<_>>(), "matched": hit.matched});
    let services = told.services.iter().map(|(service, (spans, errors))| {
        let mut counts = Map::from_iter([("spanCount".to_owned(), json!(spans))]);
        if *errors > 0 {
            counts.insert("errorCount".to_owned(), json!(errors));
        }
        (service.clone(), Value::Object(counts))
    });
    json!({
        "traceID": hit.trace_id,
        "rootServiceName": told.root_service,
        "rootTraceName": told.root_name,
        "startTimeUnixNano": told.start.to_string(),
        "durationMs": told.end.saturating_sub(told.start) / 1_000_000,
        "spanSet": set,
        "spanSets": [set],
        "serviceStats": services.collect::<Map<_, _>>(),
    })
}

/// The first of the spans that were looked for, by trace and in the order of their starts.
async fn matched(
    session: &Session,
    search: &Search,
    ids: &[String],
    fields: &[Field],
    most: usize,
) -> QueryResult<HashMap<String, Matched>> {
    let mut found: HashMap<String, Matched> = HashMap::new();
    if ids.is_empty() || most == 0 {
        return Ok(found);
    }
    let mut columns: Vec<Expr> = ["trace_id", "span_id", "name", "start_time", "duration_ns"].map(col).to_vec();
    for (number, field) in fields.iter().enumerate() {
        columns.push(text_of(field).alias(format!("value_{number}")));
        if let Field::Attribute(attribute) = field {
            columns.push(type_of(attribute).alias(format!("type_{number}")));
        }
    }
    let of_traces = col("trace_id").in_list(ids.iter().map(lit).collect(), false);
    let frame = spans(session, search.of_traces).await?.filter(search.filter().and(of_traces))?.select(columns)?;
    let mut batches = session.execute(frame.into_unoptimized_plan(), None).await?;
    while let Some(batch) = batches.try_next().await? {
        let columns = Columns::of("spans", &batch);
        let (traces, spans) = (columns.text("trace_id")?, columns.text("span_id")?);
        let (names, starts) = (columns.text("name")?, columns.time("start_time")?);
        let durations = columns.int("duration_ns")?;
        for row in 0..batch.num_rows() {
            let start = number(starts, row).unwrap_or_default();
            let id = text(spans, row).unwrap_or_default();
            let of_trace = found.entry(text(traces, row).unwrap_or_default().to_owned()).or_default();
            let key = (start, id.to_owned());
            if of_trace.len() >= most && of_trace.last_key_value().is_some_and(|(last, _)| *last <= key) {
                continue;
            }
            let span = json!({
                "spanID": id,
                "name": text(names, row),
                "startTimeUnixNano": start.to_string(),
                "durationNanos": number(durations, row).unwrap_or_default().to_string(),
                "attributes": attributes(columns, row, fields)?,
            });
            of_trace.insert(key, span);
            if of_trace.len() > most {
                of_trace.pop_last();
            }
        }
    }
    Ok(found)
}

/// The compared fields of a span, as OTLP/JSON has attributes.
fn attributes(columns: Columns<'_>, row: usize, fields: &[Field]) -> QueryResult<Vec<Value>> {
    let mut found = Vec::new();
    for (position, field) in fields.iter().enumerate() {
        let name = format!("value_{position}");
        let (key, value) = match field {
            Field::Attribute(Attribute { key, .. }) => {
                let kind = text(columns.text(&format!("type_{position}"))?, row);
                let value = any_value(key, kind, text(columns.text(&name)?, row))?;
                (key.as_str(), value.map(|value| json!(value)))
            }
            Field::Intrinsic(Intrinsic::TraceDuration) => {
                let value = number(columns.int(&name)?, row);
                (Intrinsic::TraceDuration.name(), value.map(|value| json!({"intValue": value.to_string()})))
            }
            Field::Intrinsic(intrinsic) => {
                let value = text(columns.text(&name)?, row);
                let is_word = matches!(intrinsic, Intrinsic::Status | Intrinsic::Kind);
                let told = value.map(|value| if is_word { value.to_ascii_lowercase() } else { value.to_owned() });
                (intrinsic.name(), told.map(|told| json!({"stringValue": told})))
            }
        };
        found.extend(value.map(|value| json!({"key": key, "value": value})));
    }
    Ok(found)
}

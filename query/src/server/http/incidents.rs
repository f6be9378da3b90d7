//! `GET /v1/incidents`.

use std::collections::HashMap;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use datafusion::common::{ParamValues, ScalarValue};
use futures::FutureExt;
use serde_json::{Map, Value, json};

use super::INTERFACE;
use super::parameters::{Query, time};
use crate::access::{Caller, Scope, Visit};
use crate::json::rows;
use crate::page::page;
use crate::server::app::{App, noted};
use crate::server::cursor::Cursor;
use crate::server::problem::Problem;
use crate::server::terms::Terms;
use crate::session::Session;

/// Incidents in an answer where the request names no number.
const DEFAULT_LIMIT: usize = 50;
/// Incidents in an answer at most.
const MOST: usize = 1_000;

/// What is told of an incident.
pub(super) const COLUMNS: &str = "fingerprint, title, service_name, exception_type, first_seen, last_seen, \
     failure_count, trace_count, versions, example_trace_ids, fix_id, fixed_at, regressed_at, regressed_version";

/// Their order.
const ORDER: &str = "order by last_seen desc, fingerprint";

/// Incidents, the one that was seen last first.
pub(super) async fn incidents(State(app): State<App>, caller: Caller, uri: Uri) -> Result<Response, Problem> {
    let mut visit = app.gate().visit(&caller, INTERFACE, "incidents", uri.query().unwrap_or_default());
    let read = read(&app, &caller, &mut visit, &uri).await;
    let (incidents, next) = noted(&mut visit, read)?;
    let answer = json!({"incidents": incidents, "next_cursor": next.map(|cursor| cursor.to_string())});
    Ok(super::json(visit, StatusCode::OK, incidents.len(), &answer))
}

type Incident = Map<String, Value>;

async fn read(
    app: &App,
    caller: &Caller,
    visit: &mut Visit,
    uri: &Uri,
) -> Result<(Vec<Incident>, Option<Cursor>), Problem> {
    let mut asked = Query::of(uri);
    let limit = asked.number("limit")?.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::wrong_request(format!("limit is from 1 to {MOST}")));
    }
    let with_appeared = asked.truth("appeared_with")?.unwrap_or_default();
    let cursor = asked.text("cursor");
    let mut terms = Terms::default();
    let mut question = String::new();
    for (name, condition) in
        [("service", "service_name = ?"), ("error_type", "exception_type = ?"), ("since", "last_seen >= ?")]
    {
        if let Some(value) = asked.text(name) {
            question.push_str(&format!("{name}={value}\n"));
            let value = match name {
                "since" => ScalarValue::TimestampNanosecond(Some(time("incidents", name, &value)?), Some("UTC".into())),
                _ => ScalarValue::from(value),
            };
            terms.add(condition, Some(value));
        }
    }
    asked.end()?;
    let chosen = terms.clause();
    // Which they are is found first: to gather versions and examples of all incidents takes many times as long.
    let query = format!("select fingerprint, last_seen from incidents {chosen} {ORDER}");
    let question = Cursor::question(&[&question]);
    let cursor = cursor.map(|cursor| Cursor::of(&cursor, question)).transpose()?;
    let parameters = terms.parameters();
    let offset = cursor.map_or(0, |cursor| cursor.offset);
    let work = move |session: Session| async move {
        let page = page(&session, &query, parameters, offset, limit).await?;
        let mut found = Vec::new();
        for batch in &page.batches {
            found.extend(rows(batch)?);
        }
        let mut incidents = told(&session, &found, COLUMNS).await?;
        if with_appeared {
            add_appeared(&session, &mut incidents).await?;
        }
        Ok((incidents, page.has_more, session.snapshot().head().position))
    };
    let (incidents, has_more, position) =
        app.ask_at(cursor.map(|cursor| cursor.position), caller, Scope::Read, visit, work).await?;
    let next = has_more.then(|| Cursor::new(position, offset + incidents.len(), question));
    Ok((incidents, next))
}

/// The fingerprint of an incident.
fn named(incident: &Incident) -> Option<String> {
    incident.get("fingerprint").and_then(Value::as_str).map(str::to_owned)
}

/// Placeholders for so many values: `$1, $2`.
pub(super) fn places(count: usize) -> String {
    let places: Vec<String> = (1..=count).map(|place| format!("${place}")).collect();
    places.join(", ")
}

/// Columns of some incidents, which are found by their fingerprints.
async fn told(session: &Session, incidents: &[Incident], columns: &str) -> crate::error::Result<Vec<Incident>> {
    let fingerprints: Vec<ScalarValue> = incidents.iter().filter_map(named).map(ScalarValue::from).collect();
    if fingerprints.is_empty() {
        return Ok(vec![]);
    }
    let places = places(fingerprints.len());
    let query = format!("select {columns} from incidents where fingerprint in ({places}) {ORDER}");
    let mut told = Vec::new();
    for batch in session.collect(&query, Some(ParamValues::from(fingerprints))).boxed().await? {
        told.extend(rows(&batch)?);
    }
    Ok(told)
}

/// Adds what each incident appeared with. That takes a look at a trace of each, so it is asked of those of the page only.
pub(super) async fn add_appeared(session: &Session, incidents: &mut [Incident]) -> crate::error::Result<()> {
    let mut appeared: HashMap<String, Value> = HashMap::new();
    for mut row in told(session, incidents, "fingerprint, appeared_with").await? {
        if let (Some(fingerprint), Some(changes)) = (named(&row), row.remove("appeared_with")) {
            appeared.insert(fingerprint, changes);
        }
    }
    for incident in incidents {
        let changes = named(incident).and_then(|fingerprint| appeared.remove(&fingerprint));
        incident.insert(String::from("appeared_with"), changes.unwrap_or_default());
    }
    Ok(())
}

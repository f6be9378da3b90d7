//! `GET /v1/incidents/{fingerprint}` and `GET /v1/trends`: one incident with the traces that it failed, and how often
//! each incident was seen over time.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use datafusion::common::{ParamValues, ScalarValue};
use futures::FutureExt;
use serde_json::{Map, Value, json};

use super::INTERFACE;
use super::incidents::{COLUMNS, add_appeared, places};
use super::parameters::{Id, Query, time};
use crate::access::{Caller, Scope};
use crate::error::{QueryError, Result as QueryResult};
use crate::fixes;
use crate::grouping;
use crate::json::rows;
use crate::server::app::{App, noted};
use crate::server::problem::Problem;
use crate::session::Session;

/// Traces of an answer.
const MOST_TRACES: usize = 50;
/// Fixes of an answer; `GET /v1/fixes` has all.
const MOST_FIXES: usize = 1_000;
/// Intervals of a trend where the request names no number.
const DEFAULT_BINS: usize = 32;
/// Intervals of a trend at most.
const MOST_BINS: usize = 240;
/// Incidents of an answer at most.
const MOST_TRENDS: usize = 1_000;

/// An incident, its newest failing traces, and what was done about it.
pub(super) async fn incident(
    State(app): State<App>,
    caller: Caller,
    Id(fingerprint): Id,
    uri: Uri,
) -> Result<Response, Problem> {
    let mut asked = Query::of(&uri);
    let with_appeared = asked.truth("appeared_with")?.unwrap_or_default();
    asked.end()?;
    let mut visit = app.gate().visit(&caller, INTERFACE, "incident", &fingerprint);
    let work = move |session: Session| async move {
        let (mut incident, traces, fixes) = read(&session, &fingerprint).boxed().await?;
        if with_appeared {
            add_appeared(&session, std::slice::from_mut(&mut incident)).boxed().await?;
        }
        Ok((incident, traces, fixes))
    };
    let (incident, traces, fixes) = app.ask(&caller, Scope::Read, &mut visit, work).await?;
    let count = traces.len();
    let answer = json!({"incident": incident, "traces": traces, "fixes": fixes});
    Ok(super::json(visit, StatusCode::OK, count, &answer))
}

type Row = Map<String, Value>;

async fn read(session: &Session, fingerprint: &str) -> QueryResult<(Row, Vec<Row>, Vec<Row>)> {
    // A link may name the incident as it was called before it was merged or mapped.
    let members = grouping::members(session, fingerprint).await?;
    let fingerprint = members.first().map_or(fingerprint, String::as_str);
    let asked = || Some(ParamValues::from(vec![ScalarValue::from(fingerprint)]));
    let one = format!("select {COLUMNS} from incidents where fingerprint = $1");
    let Some(incident) = all(session, &one, asked()).await?.into_iter().next() else {
        return Err(QueryError::IncidentUnknown { fingerprint: fingerprint.to_owned() });
    };
    // Named one by one, the index finds their failures; a join would read those of all incidents.
    let places = places(members.len());
    let named = members.iter().map(|member| ScalarValue::from(member.as_str())).collect::<Vec<_>>();
    // The newest first, so that only as many traces are looked up as are shown.
    let failing = format!(
        "with failing as (select f.trace_id, max(f.time) as time, count(*) as failures, \
                       first_value(f.message order by f.time) as message, \
                       first_value(f.service_version order by f.time) as service_version \
                     from failures f where f.fingerprint in ({places}) and f.trace_id is not null \
                     group by f.trace_id order by time desc, trace_id limit {MOST_TRACES}) \
         select f.trace_id, f.time, f.failures, f.message, f.service_version, t.deployment_environment_name, t.root_name, \
           t.root_service_name, t.duration_ns, t.span_count \
         from failing f left join traces t on f.trace_id = t.trace_id order by f.time desc, f.trace_id"
    );
    let traces = all(session, &failing, Some(ParamValues::from(named))).await?;
    let fixes = fixes::list(session, Some(fingerprint), None, MOST_FIXES).await?.fixes;
    Ok((incident, traces, fixes))
}

/// How often each incident was seen in each of so many equal intervals, those first that were seen last, and whether there
/// are more of them: of an incident that is not told of then nothing is known.
pub(super) async fn trends(State(app): State<App>, caller: Caller, uri: Uri) -> Result<Response, Problem> {
    let mut visit = app.gate().visit(&caller, INTERFACE, "trends", uri.query().unwrap_or_default());
    let intervals = noted(&mut visit, Intervals::asked(&uri))?;
    let work = move |session: Session| async move { counted(&session, intervals).boxed().await };
    let (trends, has_more) = app.ask(&caller, Scope::Read, &mut visit, work).await?;
    let answer = json!({"bin_seconds": intervals.width as f64 / 1e9, "trends": trends, "has_more": has_more});
    Ok(super::json(visit, StatusCode::OK, trends.len(), &answer))
}

/// Equal parts of a time, in ns.
#[derive(Clone, Copy)]
struct Intervals {
    since: i64,
    until: i64,
    width: i64,
    bins: usize,
}

impl Intervals {
    fn asked(uri: &Uri) -> Result<Self, Problem> {
        let mut asked = Query::of(uri);
        let bins = asked.number("bins")?.unwrap_or(DEFAULT_BINS);
        if !(1..=MOST_BINS).contains(&bins) {
            return Err(Problem::wrong_request(format!("bins is from 1 to {MOST_BINS}")));
        }
        let mut nanos = |name| match asked.text(name) {
            Some(text) => time("trends", name, &text),
            None => Err(Problem::wrong_request(format!("{name} is missing; it is a time as in RFC 3339"))),
        };
        let (since, until) = (nanos("since")?, nanos("until")?);
        asked.end()?;
        let span = until.checked_sub(since).filter(|span| *span >= 0).ok_or_else(|| QueryError::Argument {
            function: "trends",
            why: "until is a time after since, and less than 292 years after it".to_owned(),
        })?;
        Ok(Self { since, until, width: span / bins as i64 + 1, bins })
    }
}

async fn counted(session: &Session, intervals: Intervals) -> QueryResult<(Vec<Value>, bool)> {
    let Intervals { since, until, width, bins } = intervals;
    let at = |nanos| ScalarValue::TimestampNanosecond(Some(nanos), Some("UTC".into()));
    // Those that are shown are chosen here: of very many each would be held with all its intervals.
    let query = format!(
        "select fingerprint, bin, failures from ( \
           select fingerprint, bin, failures, dense_rank() over (order by newest desc, fingerprint) as place from ( \
             select fingerprint, bin, failures, max(bin) over (partition by fingerprint) as newest from ( \
               select fingerprint, bin, count(*) as failures from ( \
                 select coalesce(r.target, f.fingerprint) as fingerprint, \
                   (cast(f.time as bigint) - $3) / $4 as bin \
                 from failures f left join fingerprint_targets r on f.fingerprint = r.fingerprint \
                 where f.time >= $1 and f.time <= $2 and f.fingerprint is not null) \
               group by fingerprint, bin))) \
         where place <= {MOST_TRENDS} + 1"
    );
    let values = vec![at(since), at(until), ScalarValue::from(since), ScalarValue::from(width)];
    let mut counts: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for row in all(session, &query, Some(ParamValues::from(values))).await? {
        let number = |name: &str| row.get(name).and_then(Value::as_u64);
        let fingerprint = row.get("fingerprint").and_then(Value::as_str);
        let (Some(fingerprint), Some(bin), Some(failures)) = (fingerprint, number("bin"), number("failures")) else {
            continue;
        };
        let trend = counts.entry(fingerprint.to_owned()).or_insert_with(|| vec![0; bins]);
        if let Some(count) = usize::try_from(bin).ok().and_then(|bin| trend.get_mut(bin)) {
            *count += failures;
        }
    }
    let mut trends: Vec<(String, Vec<u64>)> = counts.into_iter().collect();
    // As the places are: stable, from the order of fingerprints.
    trends.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.iter().rposition(|count| *count > 0)));
    let has_more = trends.len() > MOST_TRENDS;
    trends.truncate(MOST_TRENDS);
    let told = trends.into_iter().map(|(fingerprint, counts)| json!({"fingerprint": fingerprint, "counts": counts}));
    Ok((told.collect(), has_more))
}

async fn all(session: &Session, query: &str, parameters: Option<ParamValues>) -> QueryResult<Vec<Row>> {
    let mut found = Vec::new();
    for batch in session.collect(query, parameters).boxed().await? {
        found.extend(rows(&batch)?);
    }
    Ok(found)
}

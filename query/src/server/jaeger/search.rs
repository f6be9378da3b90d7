//! `GET /api/traces`: whole traces by what one of their spans is like, or by their ids.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde_json::Value;

use super::ask::{Ask, Words};
use super::envelope::{Failure, data};
use super::{INTERFACE, model};
use crate::access::{Caller, Scope};
use crate::encode::Encoding;
use crate::server::app::{App, noted};
use crate::server::http::Query;
use crate::server::problem::Problem;
use crate::server::traces::{answer, count, find, read, read_newest, trace_id, written};
use crate::session::Session;

/// Nanoseconds of a microsecond.
const MICRO: i64 = 1_000;
/// Traces that are named by their ids at most.
const MOST_IDS: usize = 100;

const WORDS: Words = Words {
    service: "service",
    operation: "operation",
    tags: "tags",
    least: "minDuration",
    most: "maxDuration",
    limit: "limit",
};

/// Which traces.
enum Wanted {
    These(Vec<String>),
    Like(Ask, Option<i64>, Option<i64>),
}

impl Wanted {
    fn of(uri: &Uri) -> Result<Self, Problem> {
        let mut query = Query::of(uri);
        let ids: Vec<String> = std::iter::from_fn(|| query.text("traceID")).collect();
        if ids.len() > MOST_IDS {
            return Err(Problem::wrong_request(format!("{MOST_IDS} values of traceID are the most")));
        }
        if !ids.is_empty() {
            return Ok(Self::These(ids.iter().map(|id| trace_id(id)).collect::<Result<_, _>>()?));
        }
        let ask = Ask::of(&mut query, &WORDS)?;
        let mut micros = |name| {
            let micros = query.number(name)?.filter(|micros| *micros > 0);
            Ok::<_, Problem>(micros.map(|micros| i64::try_from(micros).unwrap_or(i64::MAX).saturating_mul(MICRO)))
        };
        Ok(Self::Like(ask, micros("start")?, micros("end")?))
    }
}

/// Whole traces, the newest first.
pub(super) async fn search(
    State(app): State<App>,
    caller: Result<Caller, Problem>,
    uri: Uri,
) -> Result<Response, Failure> {
    let caller = caller?;
    let mut visit = app.gate().visit(&caller, INTERFACE, "search", uri.query().unwrap_or_default());
    let wanted = noted(&mut visit, Wanted::of(&uri))?;
    let work = move |session: Session| async move {
        let traces = match wanted {
            Wanted::These(ids) => read(&session, &ids).await?,
            Wanted::Like(ask, from, to) => {
                let hits = find(&session, &ask.search(from, to, &session)).await?;
                read_newest(&session, hits.into_iter().map(|hit| hit.trace_id).collect()).await?
            }
        };
        let spans: usize = traces.iter().map(|(_, spans)| count(spans)).sum();
        let told = written(move || {
            let told = traces.iter().map(|(id, spans)| model::trace(id, spans)).collect();
            Ok(data(Value::Array(told)).to_string().into_bytes())
        });
        Ok((spans, told.await?))
    };
    let (spans, told) = app.ask(&caller, Scope::Read, &mut visit, work).await?;
    Ok(answer(&app, visit, Encoding::Json.media_type(), spans, told)?)
}

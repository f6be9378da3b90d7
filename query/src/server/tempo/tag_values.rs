//! `GET /api/search/tag/{tag}/values` and `GET /api/v2/search/tag/{tag}/values`: values that spans have.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::utils::disjunction;
use datafusion::logical_expr::{col, lit};
use futures::TryStreamExt;
use percent_encoding::percent_decode_str;
use serde_json::{Value as Json, json};
use tracerag_schemas::attributes::type_name;

use super::failure::Failure;
use super::traceql::{self, Attribute, Compiled, Field, Intrinsic, Scope as Whose, compile, parse, text_of, type_of};
use super::{INTERFACE, Times};
use crate::access::{Caller, Scope};
use crate::error::Result as QueryResult;
use crate::rows::{Columns, text};
use crate::server::app::{App, noted};
use crate::server::http::{Id, Query};
use crate::server::problem::Problem;
use crate::server::traces::{json_answer, spans};
use crate::session::Session;

/// Values at most, and where the request names no number.
const MOST: usize = 5_000;

/// The type of what is written without quotes, and may be one of few words.
const KEYWORD: &str = "keyword";
const STATUSES: [&str; 3] = ["error", "ok", "unset"];
const KINDS: [&str; 6] = ["client", "consumer", "internal", "producer", "server", "unspecified"];

/// What is asked for.
struct Ask {
    field: Field,
    times: Times,
    limit: usize,
    /// Which spans are looked at.
    of: Option<Compiled>,
}

impl Ask {
    fn of(tag: &str, query: &mut Query) -> Result<Self, Problem> {
        // A tag may come encoded twice.
        let tag = percent_decode_str(tag).decode_utf8_lossy();
        let times = Times::of(query)?;
        let limit = query.number("limit")?.filter(|limit| *limit > 0).unwrap_or(MOST).min(MOST);
        // Who writes a query is helped with values before it is whole. Until then all are shown, as Tempo does.
        let of = query.text("q").and_then(|text| parse(&text).ok()).and_then(|query| compile(&query).ok());
        Ok(Self { field: field(&tag), times, limit, of })
    }
}

/// A field as TraceQL writes it; a name alone is that of an attribute.
fn field(tag: &str) -> Field {
    let attribute = || Field::Attribute(Attribute { scope: Whose::Any, key: tag.to_owned() });
    traceql::field(tag).unwrap_or_else(|_| attribute())
}

/// Values as texts.
pub(super) async fn first(
    State(app): State<App>,
    caller: Result<Caller, Problem>,
    tag: Result<Id, Problem>,
    uri: Uri,
) -> Result<Response, Failure> {
    let told = |values: Vec<Known>| -> Vec<Json> { values.into_iter().map(|(_, value)| json!(value)).collect() };
    Ok(values(&app, &caller?, tag?, &uri, told).await?)
}

/// Values with their types.
pub(super) async fn second(
    State(app): State<App>,
    caller: Result<Caller, Problem>,
    tag: Result<Id, Problem>,
    uri: Uri,
) -> Result<Response, Failure> {
    let told = |values: Vec<Known>| -> Vec<Json> {
        values.into_iter().map(|(kind, value)| json!({"type": kind, "value": value})).collect()
    };
    Ok(values(&app, &caller?, tag?, &uri, told).await?)
}

/// A value and its type.
type Known = (&'static str, String);

async fn values(
    app: &App,
    caller: &Caller,
    Id(tag): Id,
    uri: &Uri,
    told: fn(Vec<Known>) -> Vec<Json>,
) -> Result<Response, Problem> {
    let mut visit = app.gate().visit(caller, INTERFACE, "tag_values", &tag);
    let ask = noted(&mut visit, Ask::of(&tag, &mut Query::of(uri)))?;
    let work = move |session: Session| async move { known(&session, ask).await };
    let values = app.ask(caller, Scope::Read, &mut visit, work).await?;
    let count = values.len();
    json_answer(app, visit, count, &json!({"tagValues": told(values), "metrics": {}}))
}

async fn known(session: &Session, ask: Ask) -> QueryResult<Vec<Known>> {
    let words = |words: &[&str]| Ok(words.iter().map(|word| (KEYWORD, (*word).to_owned())).collect());
    match ask.field {
        Field::Intrinsic(Intrinsic::Status) => words(&STATUSES),
        Field::Intrinsic(Intrinsic::Kind) => words(&KINDS),
        // Numbers and ids are written, not chosen.
        Field::Intrinsic(
            Intrinsic::Duration
            | Intrinsic::TraceDuration
            | Intrinsic::TraceId
            | Intrinsic::SpanId
            | Intrinsic::ParentId
            | Intrinsic::NestedSetParent,
        ) => Ok(vec![]),
        _ => stored(session, ask).await,
    }
}

async fn stored(session: &Session, ask: Ask) -> QueryResult<Vec<Known>> {
    let kind = match &ask.field {
        Field::Attribute(attribute) => type_of(attribute),
        Field::Intrinsic(_) => lit(ScalarValue::Utf8(None)),
    };
    let own = matches!(ask.field, Field::Intrinsic(intrinsic) if intrinsic.is_of_trace());
    let (conditions, of_traces) = ask.of.map_or((vec![], false), |of| (of.conditions, of.of_traces));
    let filter = ask.times.interval(session).filter().and(disjunction(conditions).unwrap_or_else(|| lit(true)));
    let frame = spans(session, own || of_traces)
        .await?
        .filter(filter)?
        .select(vec![text_of(&ask.field).alias("value"), kind.alias("type")])?
        .filter(col("value").is_not_null())?
        .distinct()?
        .sort(vec![col("value").sort(true, true), col("type").sort(true, true)])?
        .limit(0, Some(ask.limit))?;
    let mut batches = session.execute(frame.into_unoptimized_plan(), None).await?;
    let mut found = Vec::new();
    while let Some(batch) = batches.try_next().await? {
        let columns = Columns::of("spans", &batch);
        let (values, kinds) = (columns.text("value")?, columns.text("type")?);
        let known = |row| Some((kind_of(text(kinds, row)), text(values, row)?.to_owned()));
        found.extend((0..batch.num_rows()).filter_map(known));
    }
    Ok(found)
}

/// Tempo's name of a type.
fn kind_of(stored: Option<&str>) -> &'static str {
    match stored {
        Some(type_name::INT) => "int",
        Some(type_name::DOUBLE) => "float",
        Some(type_name::BOOL) => "bool",
        _ => "string",
    }
}

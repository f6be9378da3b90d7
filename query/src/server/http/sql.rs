//! `POST /v1/sql`.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;

use super::accept::preferred;
use super::answer::Answer;
use super::parameters::{bound, whole_number};
use super::{INTERFACE, body};
use crate::access::{Caller, Scope, Visit};
use crate::encode::{Encoder, Encoding};
use crate::page::page;
use crate::server::app::{App, noted};
use crate::server::cursor::Cursor;
use crate::server::meter::Meter;
use crate::server::problem::Problem;
use crate::session::{Parameters, Session};

/// Names the next page.
static NEXT_CURSOR: HeaderName = HeaderName::from_static("tracerag-next-cursor");
/// The position of the lake that was read.
static POSITION: HeaderName = HeaderName::from_static("tracerag-position");
/// Rows of a page at most.
const MOST_ROWS: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    query: String,
    #[serde(default)]
    params: Value,
    format: Option<String>,
    #[serde(default, deserialize_with = "whole_number")]
    page_size: Option<usize>,
    cursor: Option<String>,
}

/// The rows of one statement, streamed, or a page of them.
pub(super) async fn sql(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    request: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let ask: Ask = body(request)?;
    let encoding = encoding(ask.format.as_deref(), &headers)?;
    let mut visit = app.gate().visit(&caller, INTERFACE, "sql", &ask.query);
    let parameters = noted(&mut visit, bound(&ask.params))?;
    if ask.page_size.is_none() && ask.cursor.is_none() {
        return whole(&app, &caller, visit, ask.query, parameters, encoding).await;
    }
    let answered = paged(&app, &caller, &mut visit, ask, parameters, encoding).await;
    noted(&mut visit, answered)
}

fn encoding(format: Option<&str>, headers: &HeaderMap) -> Result<Encoding, Problem> {
    if let Some(format) = format {
        return Encoding::by_name(format)
            .ok_or_else(|| Problem::wrong_request(format!("{format:?} is no format; there are json, csv, arrow")));
    }
    let offered = [Encoding::Json, Encoding::Csv, Encoding::Arrow].map(|encoding| (encoding, encoding.media_type()));
    Ok(preferred(headers, &offered).unwrap_or(Encoding::Json))
}

/// All rows. What goes wrong before the first of them is a problem like any other.
async fn whole(
    app: &App,
    caller: &Caller,
    mut visit: Visit,
    query: String,
    parameters: Option<Parameters>,
    encoding: Encoding,
) -> Result<Response, Problem> {
    let begun = async {
        caller.require(Scope::Sql)?;
        let turn = app.gate().turn(caller).await?;
        let session = app.sessions().open(caller).await?.holding(Arc::clone(&turn));
        let position = session.snapshot().head().position;
        let turn = app.gate().timed(turn);
        let batches = app.engine().run(async move { session.sql(&query, parameters).await }).await?;
        let encoder = Encoder::new(encoding, &batches.schema())?;
        Ok((turn, position, batches, encoder))
    };
    let (turn, position, batches, encoder) = noted(&mut visit, begun.await)?;
    let mut answer = Answer::new(batches, encoder, app.gate().limits(), app.is_cut(), visit, turn);
    let first = answer.next().await;
    let first = noted(answer.visit(), first.map_err(Problem::from))?;
    Ok(response(encoding, position, None, answer.into_body(first)))
}

/// Some rows, behind a cursor if there is one.
async fn paged(
    app: &App,
    caller: &Caller,
    visit: &mut Visit,
    ask: Ask,
    parameters: Option<Parameters>,
    encoding: Encoding,
) -> Result<Response, Problem> {
    let size = ask.page_size.unwrap_or(MOST_ROWS);
    if !(1..=MOST_ROWS).contains(&size) {
        return Err(Problem::wrong_request(format!("page_size is from 1 to {MOST_ROWS}")));
    }
    let question = Cursor::question(&[&ask.query, &ask.params.to_string()]);
    let cursor = ask.cursor.as_deref().map(|cursor| Cursor::of(cursor, question)).transpose()?;
    let offset = cursor.map_or(0, |cursor| cursor.offset);
    let query = ask.query;
    let work = move |session: Session| async move {
        let page = page(&session, &query, parameters, offset, size).await?;
        Ok((page, session.snapshot().head().position))
    };
    let position = cursor.map(|cursor| cursor.position);
    let (page, position) = app.ask_at(position, caller, Scope::Sql, visit, work).await?;
    let mut encoder = Encoder::new(encoding, &page.schema)?;
    let mut bytes = Vec::new();
    let mut rows = 0;
    for batch in &page.batches {
        rows += batch.num_rows();
        bytes.extend(encoder.batch(batch)?);
    }
    bytes.extend(encoder.end()?);
    Meter::new(app.gate().limits()).bytes(bytes.len())?;
    visit.gave(rows, bytes.len());
    visit.end("ok");
    let next = page.has_more.then(|| Cursor::new(position, offset + rows, question));
    Ok(response(encoding, position, next, Body::from(bytes)))
}

fn response(encoding: Encoding, position: u64, next: Option<Cursor>, body: Body) -> Response {
    let mut response = ([(header::CONTENT_TYPE, encoding.media_type())], body).into_response();
    response.headers_mut().insert(POSITION.clone(), HeaderValue::from(position));
    // A cursor is hex digits and hyphens, which every header takes.
    if let Some(Ok(next)) = next.map(|next| HeaderValue::from_str(&next.to_string())) {
        response.headers_mut().insert(NEXT_CURSOR.clone(), next);
    }
    response
}

//! `POST /v1/fixes` and `GET /v1/fixes`.

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use futures::FutureExt;
use serde_json::json;

use super::parameters::Query;
use super::{INTERFACE, body};
use crate::access::{Caller, Scope};
use crate::fixes::{self, NewFix};
use crate::server::app::App;
use crate::server::cursor::Cursor;
use crate::server::fixes::record_masked;
use crate::server::problem::Problem;
use crate::session::Session;

/// Fixes in an answer at most, and where the request names no number.
const MOST: usize = 1_000;

/// Records what was done about an incident.
pub(super) async fn fixes(
    State(app): State<App>,
    caller: Caller,
    request: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let fix: NewFix = body(request)?;
    let mut visit = app.gate().visit(&caller, INTERFACE, "fix", &fix.fingerprint);
    let fix_id = record_masked(&app, &caller, &mut visit, fix).await?;
    Ok(super::json(visit, StatusCode::CREATED, 1, &json!({"fix_id": fix_id})))
}

/// What was done before, newest first, with whether the incident came back; all, or of one fingerprint.
pub(super) async fn list(State(app): State<App>, caller: Caller, uri: Uri) -> Result<Response, Problem> {
    let mut query = Query::of(&uri);
    let fingerprint = query.text("fingerprint");
    let limit = query.number("limit")?.unwrap_or(MOST);
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::wrong_request(format!("limit is from 1 to {MOST}")));
    }
    let cursor = query.text("cursor");
    query.end()?;
    let of = fingerprint.as_deref().unwrap_or_default();
    let question = Cursor::question(&["fixes", of]);
    let cursor = cursor.map(|cursor| Cursor::of(&cursor, question)).transpose()?;
    let mut visit = app.gate().visit(&caller, INTERFACE, "fixes", of);
    let offset = cursor.map_or(0, |cursor| cursor.offset);
    let work = move |session: Session| async move {
        let listed = fixes::list(&session, fingerprint.as_deref(), offset, limit).boxed().await?;
        Ok((listed, session.snapshot().head().position))
    };
    let at = cursor.map(|cursor| cursor.position);
    let (listed, position) = app.ask_at(at, &caller, Scope::Read, &mut visit, work).await?;
    let count = listed.fixes.len();
    let next = listed.has_more.then(|| Cursor::new(position, offset + count, question).to_string());
    Ok(super::json(visit, StatusCode::OK, count, &json!({"fixes": listed.fixes, "next_cursor": next})))
}

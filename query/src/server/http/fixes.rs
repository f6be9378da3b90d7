//! `POST /v1/fixes` and `GET /v1/fixes`.

use std::fmt;

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
use crate::fixes::{self, NewFix, Place};
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
    let behind = cursor.map(|cursor| Cursor::own(Behind::of(&cursor), question)).transpose()?;
    let mut visit = app.gate().visit(&caller, INTERFACE, "fixes", of);
    let (at, place) = behind.map_or((None, None), |behind| (Some(behind.position), Some(behind.place)));
    let work = move |session: Session| async move {
        let listed = fixes::list(&session, fingerprint.as_deref(), place.as_ref(), limit).boxed().await?;
        Ok((listed, session.snapshot().head().position))
    };
    let (listed, position) = app.ask_at(at, &caller, Scope::Read, &mut visit, work).await?;
    let count = listed.fixes.len();
    let next = listed.next.map(|place| Behind { position, place, question }.to_string());
    Ok(super::json(visit, StatusCode::OK, count, &json!({"fixes": listed.fixes, "next_cursor": next})))
}

/// Where the next page of the list begins. Fixes are read as they are now, whatever the position is: behind a number of
/// rows there would be others once one more is recorded.
#[derive(Debug, PartialEq, Eq)]
struct Behind {
    /// Position of the lake, by which is judged what came back.
    position: u64,
    place: Place,
    /// See [`Cursor::question`].
    question: u64,
}

impl Behind {
    /// What a text says, with its question; `None` if it is no cursor.
    fn of(text: &str) -> Option<(Self, u64)> {
        let mut parts = text.split('-');
        let mut part = || parts.next();
        let (position, fixed_at, fix_id, question) = (part()?, part()?, part()?, part()?);
        if part().is_some() {
            return None;
        }
        let number = |text: &str| u64::from_str_radix(text, 16).ok();
        let fix_id = String::from_utf8(hex::decode(fix_id).ok()?).ok()?;
        let place = Place { fixed_at: number(fixed_at)?.cast_signed(), fix_id };
        let question = number(question)?;
        Some((Self { position: number(position)?, place, question }, question))
    }
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { position, place: Place { fixed_at, fix_id }, question } = self;
        write!(f, "{position:x}-{:x}-{}-{question:016x}", fixed_at.cast_unsigned(), hex::encode(fix_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cursor comes back as it was given out, also of a fix before 1970; anything else is none.
    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        for fixed_at in [i64::MIN, -1, 0, 1_795_435_200_000_000_000] {
            let place = Place { fixed_at, fix_id: "00ff".into() };
            let text = Behind { position: 42, place: place.clone(), question: 7 }.to_string();
            assert_eq!(Behind::of(&text), Some((Behind { position: 42, place, question: 7 }, 7)), "{text}");
        }
        for text in ["", "1-2-3", "1-2-61-3-4", "1-2-6-3", "1-2-ff-3", "x-2-61-3", "1-2-61-fffffffffffffffff"] {
            assert_eq!(Behind::of(text), None, "{text}");
        }
    }
}

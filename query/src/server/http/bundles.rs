//! `GET /v1/bundles/{trace id or bundle id}`, and pinning.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use serde_json::json;

use super::INTERFACE;
use super::accept::preferred;
use super::parameters::{Id, Query};
use crate::access::{Caller, Scope};
use crate::bundle::{self, markdown, view};
use crate::encode::Encoding;
use crate::server::app::{App, noted};
use crate::server::bundles::handed_out;
use crate::server::problem::Problem;
use crate::session::Session;

/// Tokens of a Markdown view where the request names no number.
const MARKDOWN_TOKENS: usize = 8_000;
/// How long a request may wait for a trace to close.
const MOST_WAIT: Duration = Duration::from_secs(30);

/// The media type of Markdown.
const MARKDOWN: &str = "text/markdown; charset=utf-8";

/// How a bundle is given.
#[derive(Clone, Copy)]
enum Form {
    Json,
    Markdown,
}

impl Form {
    fn of(format: Option<&str>, headers: &HeaderMap) -> Result<Self, Problem> {
        match format {
            Some("json") => Ok(Self::Json),
            Some("markdown") => Ok(Self::Markdown),
            Some(other) => Err(Problem::wrong_request(format!("{other:?} is no format; there are json and markdown"))),
            None => {
                let offered = [(Self::Json, Encoding::Json.media_type()), (Self::Markdown, MARKDOWN)];
                Ok(preferred(headers, &offered).unwrap_or(Self::Json))
            }
        }
    }
}

/// The bundle of a trace, stored, or one that was handed out before.
pub(super) async fn bundle(
    State(app): State<App>,
    caller: Caller,
    Id(id): Id,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut query = Query::of(&uri);
    let format = query.text("format");
    let max_tokens = query.number("max_tokens")?;
    let wait =
        query.number("wait")?.map_or(Duration::ZERO, |seconds| MOST_WAIT.min(Duration::from_secs(seconds as u64)));
    query.end()?;
    let form = Form::of(format.as_deref(), &headers)?;
    let mut visit = app.gate().visit(&caller, INTERFACE, "bundle", &id);
    let mut bundle = handed_out(&app, &caller, &mut visit, &id, wait).await?;
    if !caller.may(Scope::Heap) {
        bundle = view::without_heaps(bundle);
    }
    visit.of_bundle(&bundle.bundle_id);
    match form {
        Form::Json => {
            let document = noted(&mut visit, view::json(&bundle, max_tokens).map_err(Problem::from))?;
            Ok(super::json(visit, StatusCode::OK, 1, &document))
        }
        Form::Markdown => {
            let text = markdown::view(&bundle, max_tokens.unwrap_or(MARKDOWN_TOKENS));
            visit.gave(1, text.len());
            visit.end("ok");
            Ok(([(header::CONTENT_TYPE, MARKDOWN)], Body::from(text)).into_response())
        }
    }
}

/// Keeps a bundle beyond its retention.
pub(super) async fn pin(State(app): State<App>, caller: Caller, Id(id): Id) -> Result<Response, Problem> {
    set_pinned(&app, &caller, id, true).await
}

/// Lets a bundle go with its retention.
pub(super) async fn unpin(State(app): State<App>, caller: Caller, Id(id): Id) -> Result<Response, Problem> {
    set_pinned(&app, &caller, id, false).await
}

async fn set_pinned(app: &App, caller: &Caller, id: String, pinned: bool) -> Result<Response, Problem> {
    let mut visit = app.gate().visit(caller, INTERFACE, if pinned { "pin" } else { "unpin" }, &id);
    visit.of_bundle(&id);
    let given = id.clone();
    let work = move |session: Session| async move { bundle::pin(&session, &given, pinned).boxed().await };
    app.ask(caller, Scope::Write, &mut visit, work).await?;
    Ok(super::json(visit, StatusCode::OK, 0, &json!({"bundle_id": id, "pinned": pinned})))
}

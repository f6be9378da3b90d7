//! `POST /v1/verify`.

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::Response;
use futures::FutureExt;
use serde::Deserialize;
use serde_json::Value;

use super::{INTERFACE, body};
use crate::access::{Caller, Scope};
use crate::bundle;
use crate::error::QueryError;
use crate::server::app::{App, noted};
use crate::server::problem::Problem;
use crate::session::Session;
use crate::verify::{Document, Report, Subject, verify_with};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    bundle_id: Option<String>,
    /// A bundle as it was handed out.
    bundle: Option<Value>,
    /// An object as `schemas/claims.schema.json` has it, or Markdown.
    claims: Value,
}

/// What the claims are about.
enum About {
    Id(String),
    File(String),
}

/// Whether claims about a bundle hold: the report of `tracerag verify --format json`.
pub(super) async fn verify(
    State(app): State<App>,
    caller: Caller,
    request: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let ask: Ask = body(request)?;
    let about = match (ask.bundle_id, ask.bundle) {
        (Some(id), None) => About::Id(id),
        (None, Some(Value::Object(bundle))) => About::File(Value::Object(bundle).to_string()),
        _ => return Err(Problem::wrong_request("give either bundle_id or bundle, as it was handed out".to_owned())),
    };
    let claims = match ask.claims {
        Value::String(markdown) => markdown,
        Value::Object(claims) => Value::Object(claims).to_string(),
        _ => return Err(Problem::wrong_request("claims are an object, or Markdown as a text".to_owned())),
    };
    let named = match &about {
        About::Id(id) => id.as_str(),
        About::File(_) => "",
    };
    let mut visit = app.gate().visit(&caller, INTERFACE, "verify", named);
    visit.of_bundle(named);
    let work = move |session: Session| async move { report(&session, about, &claims).boxed().await };
    let report = app.ask(&caller, Scope::Read, &mut visit, work).await?;
    // Whether a bundle that was sent has the id that it names takes time to find out, so that is known only now.
    if let Some(bundle_id) = &report.bundle_id {
        visit.of_bundle(bundle_id);
    }
    let document = serde_json::to_value(&report).map_err(|error| Problem::from(QueryError::from(error)));
    let document = noted(&mut visit, document)?;
    Ok(super::json(visit, StatusCode::OK, report.claims.len(), &document))
}

/// A bundle that was sent counts only if the lake has it. Claims that cannot be read are rejected like false ones.
async fn report(session: &Session, about: About, claims: &str) -> crate::Result<Report> {
    let subject = match about {
        About::Id(id) => Subject::known(bundle::by_id(session, &id).await?),
        About::File(text) => {
            let subject = Subject::of_file(&text, &[]);
            match subject.id_to_look_up().map(str::to_owned) {
                None => subject,
                Some(id) => match bundle::by_id(session, &id).await {
                    Ok(stored) => subject.stored_as(stored),
                    Err(QueryError::BundleUnknown { .. }) => subject,
                    Err(error) => return Err(error),
                },
            }
        }
    };
    Ok(match Document::read(claims) {
        Ok(document) => verify_with(session, subject, &document).await?,
        Err(reason) => Report::refused(subject.bundle_id().map(str::to_owned), reason),
    })
}

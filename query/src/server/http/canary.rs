//! `GET /v1/canary`, for whoever reads the verdict from the answer (Argo Rollouts' web metric), and `POST /v1/canary`,
//! for whoever reads it from the status (Flagger's webhooks).

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{Extensions, HeaderMap, StatusCode, Uri};
use axum::response::Response;
use futures::FutureExt;
use serde::Deserialize;
use serde_json::json;

use super::parameters::Query;
use super::{INTERFACE, body, remote};
use crate::access::{Caller, Scope, Visit};
use crate::canary::{PARAMETERS, Report, Request, Verdict, compare};
use crate::error::QueryError;
use crate::server::app::{App, noted};
use crate::server::bearer::bearer;
use crate::server::problem::Problem;
use crate::session::Session;

/// Verdicts that go well in a webhook, unless it says which.
const ACCEPTED: &str = "pass";

/// Whether a version is worse than another one. The answer is a report with status 200, whatever the verdict.
pub(super) async fn canary(State(app): State<App>, caller: Caller, uri: Uri) -> Result<Response, Problem> {
    let mut query = Query::of(&uri);
    let given: BTreeMap<&str, String> = PARAMETERS.iter().filter_map(|name| Some((*name, query.text(name)?))).collect();
    query.end()?;
    let mut visit = visit(&app, &caller, &given);
    let report = ask(&app, &caller, &mut visit, given).await?;
    Ok(super::json(visit, StatusCode::OK, 1, &json!(report)))
}

/// What Flagger sends: the canary, and what its manifest has under `metadata`.
#[derive(Debug, Deserialize)]
pub(super) struct Webhook {
    /// The parameters of a canary; `accept`: the verdicts that are answered with 200, separated by commas; and `token`,
    /// for Flagger sends no header.
    metadata: BTreeMap<String, String>,
}

/// The same, asked by a webhook: 200 with the report for a verdict that is accepted, 409 with the reasons for another
/// one.
pub(super) async fn webhook(
    State(app): State<App>,
    headers: HeaderMap,
    extensions: Extensions,
    request: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let remote = remote(&extensions);
    // Who shows a token in the header is let in or not before the body is looked at.
    let shown = match bearer(&headers) {
        Some(secret) => Some(app.gate().let_in(Some(secret), remote).await?),
        None => None,
    };
    let read = body::<Webhook>(request);
    let secret = read.as_ref().ok().and_then(|webhook| webhook.metadata.get("token"));
    let caller = match shown {
        Some(caller) => caller,
        None => app.gate().let_in(secret.map(String::as_str), remote).await?,
    };
    let mut metadata = read?.metadata;
    metadata.remove("token");
    let accepted = accepted(metadata.remove("accept").as_deref().unwrap_or(ACCEPTED))?;
    let given: BTreeMap<&str, String> =
        PARAMETERS.iter().filter_map(|name| Some((*name, metadata.remove(*name)?))).collect();
    if let Some(name) = metadata.keys().next() {
        return Err(Problem::from(QueryError::Argument {
            function: "canary",
            why: format!("metadata has no member {name:?}; /openapi.json lists what there is"),
        }));
    }
    let mut visit = visit(&app, &caller, &given);
    let report = ask(&app, &caller, &mut visit, given).await?;
    if accepted.contains(&report.verdict) {
        return Ok(super::json(visit, StatusCode::OK, 1, &json!(report)));
    }
    let code = match report.verdict {
        Verdict::Pass => "canary-pass",
        Verdict::Fail => "canary-fail",
        Verdict::Inconclusive => "canary-inconclusive",
    };
    let refused = Problem::new(StatusCode::CONFLICT, code, report.reasons.join("; "));
    noted(&mut visit, Err(refused))
}

/// The verdicts that a text lists.
fn accepted(text: &str) -> Result<Vec<Verdict>, Problem> {
    let verdict = |name: &str| {
        let all = [Verdict::Pass, Verdict::Fail, Verdict::Inconclusive];
        all.into_iter().find(|verdict| verdict.name() == name.trim()).ok_or_else(|| {
            Problem::from(QueryError::Argument {
                function: "canary",
                why: format!("accept lists pass, fail and inconclusive, separated by commas, not {text:?}"),
            })
        })
    };
    text.split(',').map(verdict).collect()
}

fn visit(app: &App, caller: &Caller, given: &BTreeMap<&str, String>) -> Visit {
    let arguments: Vec<String> = given.iter().map(|(name, value)| format!("{name}={value}")).collect();
    app.gate().visit(caller, INTERFACE, "canary", &arguments.join(" "))
}

async fn ask(
    app: &App,
    caller: &Caller,
    visit: &mut Visit,
    mut given: BTreeMap<&str, String>,
) -> Result<Report, Problem> {
    let request = noted(visit, Request::read(|name| given.remove(name)).map_err(Problem::from))?;
    let work = move |session: Session| async move { compare(&session, &request).boxed().await };
    let report = app.ask(caller, Scope::Read, visit, work).await?;
    if let Some(bundle_id) = &report.bundle_id {
        visit.of_bundle(bundle_id);
    }
    Ok(report)
}

//! `POST /v1/changes`: changes of flags and configuration, and deployments, from pipelines and from webhooks.

use axum::body::Bytes;
use axum::extract::{FromRequest as _, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::parameters::Query;
use super::{INTERFACE, remote, whole};
use crate::access::{Caller, Scope};
use crate::server::app::{App, noted};
use crate::server::bearer::bearer;
use crate::server::changes::{ChangeIntake, ChangeRefusal, Delivery, Taken};
use crate::server::problem::Problem;

/// Seconds after which a delivery that is being written is worth sending again.
const AGAIN_AFTER: u64 = 5;

/// Writes changes into their topics: 202 once Kafka has them, 200 where there is nothing to write. A webhook of the
/// configuration is known by its signature, everybody else by a token.
pub(super) async fn changes(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let mut query = Query::of(request.uri());
    let from = query.text("from");
    query.end()?;
    let headers = request.headers().clone();
    let remote = remote(request.extensions());
    let intake = app.changes();
    let webhook = intake.zip(from.as_deref()).and_then(|(intake, name)| Some((name, intake.webhook(name)?)));
    // Who shows a token is let in or not before the body is read.
    let caller = match &webhook {
        Some((name, tenant)) => app.gate().webhook(tenant, name)?,
        None => app.gate().let_in(bearer(&headers), remote).await?,
    };
    let is_webhook = webhook.is_some();
    let body = whole(Bytes::from_request(request, &app).await)?;
    let delivery = Delivery { from, headers, body };
    if let (true, Some(intake), Some(name)) = (is_webhook, intake, delivery.from.as_deref()) {
        intake.verify(name, &delivery).inspect_err(|_| app.gate().refuse(remote, "signature-wrong"))?;
    }
    let mut visit = app.gate().visit(&caller, INTERFACE, "changes", delivery.from.as_deref().unwrap_or_default());
    let taken = noted(&mut visit, take(intake, &caller, &delivery).await)?;
    let status = if taken.records > 0 { StatusCode::ACCEPTED } else { StatusCode::OK };
    let answer = json!({"records": taken.records, "repeated": taken.repeated, "passed_over": taken.passed_over});
    Ok(super::json(visit, status, taken.records, &answer))
}

async fn take(intake: Option<&dyn ChangeIntake>, caller: &Caller, delivery: &Delivery) -> Result<Taken, Problem> {
    caller.require(Scope::Write)?;
    let Some(intake) = intake else {
        return Err(Problem::from(ChangeRefusal::Unavailable(
            "this server takes no changes; start it with `tracerag serve`, which writes them to kafka.bootstrap_servers"
                .to_owned(),
        )));
    };
    Ok(intake.take(&caller.tenant, delivery).await?)
}

impl From<ChangeRefusal> for Problem {
    fn from(refusal: ChangeRefusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            ChangeRefusal::Forged(_) => Self::new(StatusCode::UNAUTHORIZED, "signature-wrong", detail),
            ChangeRefusal::Malformed(_) => Self::wrong_request(detail),
            ChangeRefusal::Unknown(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "change-unknown", detail),
            ChangeRefusal::UnderWay => {
                Self::new(StatusCode::CONFLICT, "delivery-under-way", detail).asked_again_after(AGAIN_AFTER)
            }
            ChangeRefusal::TooLarge(_) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail),
            ChangeRefusal::Unavailable(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "kafka-unavailable", detail).asked_again_after(AGAIN_AFTER)
            }
        }
    }
}

//! `GET /v1/status`.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde_json::{Value, json};

use super::INTERFACE;
use super::parameters::Query;
use crate::access::{Caller, Scope};
use crate::server::app::App;
use crate::server::problem::Problem;
use crate::session::Session;
use crate::status;

/// Where the lake stands, for the caller's tenant. Partitions are of topics that may be named after other tenants, so
/// they are for administrators.
pub(super) async fn status(State(app): State<App>, caller: Caller, uri: Uri) -> Result<Response, Problem> {
    Query::of(&uri).end()?;
    let mut visit = app.gate().visit(&caller, INTERFACE, "status", "");
    let is_admin = caller.may(Scope::Admin);
    let work = move |session: Session| async move {
        let mut told = status::of_tenant(&session).await?;
        told.insert("tables".to_owned(), Value::Object(status::rows_of_tenant(&session).await?));
        let partitions = match is_admin {
            true => status::of_installation(session.snapshot().head()).remove("partitions"),
            false => None,
        };
        told.insert("partitions".to_owned(), partitions.unwrap_or_default());
        told.insert("tenant".to_owned(), json!(session.snapshot().tenant()));
        Ok(told)
    };
    let told = app.ask(&caller, Scope::Read, &mut visit, work).await?;
    Ok(super::json(visit, StatusCode::OK, 1, &Value::Object(told)))
}

//! Bundles for callers: the one of a trace, once it is closed, or one that was handed out before.

use std::time::Duration;

use futures::FutureExt;
use tokio::time::Instant;
use tracerag_schemas::bundle::Bundle;

use super::app::App;
use super::problem::Problem;
use crate::access::{Caller, Scope, Visit};
use crate::bundle;
use crate::error::QueryError;
use crate::session::Session;

/// How often it is looked whether a trace has closed.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Looks again, on newer heads, while the trace is open and there is time.
pub(super) async fn handed_out(
    app: &App,
    caller: &Caller,
    visit: &mut Visit,
    id: &str,
    wait: Duration,
) -> Result<Bundle, Problem> {
    let until = Instant::now() + wait;
    loop {
        let given = id.to_owned();
        let may_come = Instant::now() + LOOK_EVERY < until && !app.is_stopping();
        let work = move |session: Session| async move {
            match bundle::hand_out(&session, &given).boxed().await {
                Err(QueryError::TraceOpen { .. } | QueryError::TraceUnknown { wait_seconds: Some(_), .. })
                    if may_come =>
                {
                    Ok(None)
                }
                handed_out => handed_out.map(Some),
            }
        };
        if let Some(bundle) = app.ask(caller, Scope::Read, visit, work).await? {
            return Ok(bundle);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

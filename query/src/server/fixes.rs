//! Fixes that callers record.

use super::app::{App, noted};
use super::problem::Problem;
use crate::access::{Caller, Scope, Visit};
use crate::fixes::{NewFix, record};
use crate::session::Session;

/// Records a fix and gives its id. What a client wrote is masked like telemetry: it may quote some.
pub(super) async fn record_masked(
    app: &App,
    caller: &Caller,
    visit: &mut Visit,
    fix: NewFix,
) -> Result<String, Problem> {
    // To mask takes time, which who may not write gets none of.
    noted(visit, caller.require(Scope::Write).map_err(Problem::from))?;
    noted(visit, fix.check().map_err(Problem::from))?;
    let fix = fix.masked(|text| app.gate().masked(text));
    let author = caller.principal.clone();
    let work = move |session: Session| async move { record(&session, &author, fix).await };
    app.ask(caller, Scope::Write, visit, work).await
}

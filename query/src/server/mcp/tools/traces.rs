//! `search_traces`.

use futures::FutureExt;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Call, parsed};
use crate::access::Scope;
use crate::grouping;
use crate::server::mcp::answer::Answer;
use crate::server::problem::Problem;
use crate::server::terms::Terms;
use crate::session::Session;

/// Nanoseconds of a millisecond.
const MILLISECOND: i64 = 1_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    service: Option<String>,
    status: Option<String>,
    name: Option<String>,
    error_type: Option<String>,
    fingerprint: Option<String>,
    environment: Option<String>,
    min_duration_ms: Option<i64>,
    since: Option<String>,
    until: Option<String>,
}

/// Traces, those that began last first.
pub(super) async fn search(call: &mut Call<'_>, arguments: Map<String, Value>) -> Result<Answer, Problem> {
    let asked: Arguments = parsed(arguments)?;
    let place = call.room.place("")?;
    // It may be named as it was called before it was merged or mapped. Named one by one, the index finds their failures; a
    // join would read those of all incidents.
    let members = match asked.fingerprint {
        Some(fingerprint) => {
            let work = move |session: Session| async move { grouping::members(&session, &fingerprint).boxed().await };
            call.ask(Scope::Read, place.cursor, work).await?
        }
        None => vec![],
    };
    let mut terms = Terms::default();
    terms.add("array_has(services, ?)", asked.service);
    terms.add("status = ?", asked.status.map(|status| status.to_ascii_uppercase()));
    terms.add("root_name = ?", asked.name);
    terms.add("trace_id in (select trace_id from failures where exception_type = ?)", asked.error_type);
    terms.add_any("trace_id in (select trace_id from failures where fingerprint in (?))", members);
    terms.add("deployment_environment_name = ?", asked.environment);
    terms.add("duration_ns >= ?", asked.min_duration_ms.map(|ms| ms.saturating_mul(MILLISECOND)));
    terms.add("start_time >= ?", asked.since);
    terms.add("start_time < ?", asked.until);
    let query = format!(
        "select trace_id, start_time, status, root_service_name, root_name, duration_ns, services, span_count, \
         error_span_count, failure_count, deployment_environment_name from traces {} order by start_time desc, trace_id",
        terms.clause()
    );
    call.rows("traces", query, terms.parameters(), place).await
}

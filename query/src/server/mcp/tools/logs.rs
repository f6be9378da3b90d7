//! `get_logs`.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Call, parsed};
use crate::server::mcp::answer::Answer;
use crate::server::problem::Problem;
use crate::server::terms::Terms;

/// Severities, with the least number of each.
const SEVERITIES: [(&str, i32); 6] =
    [("TRACE", 1), ("DEBUG", 5), ("INFO", 9), ("WARN", 13), ("ERROR", 17), ("FATAL", 21)];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    trace_id: Option<String>,
    span_id: Option<String>,
    service: Option<String>,
    min_severity: Option<String>,
    text: Option<String>,
    since: Option<String>,
    until: Option<String>,
}

/// Log records: of a trace those of errors first, then by time; else the newest first.
pub(super) async fn get(call: &mut Call<'_>, arguments: Map<String, Value>) -> Result<Answer, Problem> {
    let asked: Arguments = parsed(arguments)?;
    let place = call.room.place("")?;
    let order = match asked.trace_id.is_some() {
        true => "is_error desc, time",
        false => "time desc",
    };
    let mut terms = Terms::default();
    terms.add("trace_id = ?", asked.trace_id.map(|id| id.trim().to_ascii_lowercase()));
    terms.add("span_id = ?", asked.span_id.map(|id| id.trim().to_ascii_lowercase()));
    terms.add("service_name = ?", asked.service);
    terms.add("severity_number >= ?", asked.min_severity.as_deref().map(number_of).transpose()?);
    terms.add("contains(lower(body), ?)", asked.text.map(|text| text.to_lowercase()));
    terms.add("time >= ?", asked.since);
    terms.add("time < ?", asked.until);
    // A column of its own, because DataFusion 54 cannot keep an order by an expression over columns that it prunes.
    let query = format!(
        "select time, severity_text, service_name, service_instance_id, body, event_name, trace_id, span_id, attributes \
         from (select *, coalesce(severity_number, 0) >= 17 as is_error from logs {}) order by {order}",
        terms.clause()
    );
    call.rows("logs", query, terms.parameters(), place).await
}

fn number_of(severity: &str) -> Result<i32, Problem> {
    let known = SEVERITIES.iter().find(|(name, _)| name.eq_ignore_ascii_case(severity));
    known.map(|(_, number)| *number).ok_or_else(|| {
        let names = SEVERITIES.map(|(name, _)| name).join(", ");
        Problem::wrong_request(format!("{severity:?} is no severity; there are {names}"))
    })
}

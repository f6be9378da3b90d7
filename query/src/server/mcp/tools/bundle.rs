//! `get_evidence_bundle`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tracerag_schemas::bundle::{Bundle, Log, Span};

use super::{Call, cut, parsed};
use crate::access::Scope;
use crate::bundle::{reading, view};
use crate::error::QueryError;
use crate::server::bundles::handed_out;
use crate::server::mcp::answer::{Answer, Found};
use crate::server::problem::Problem;

/// Sections, what explains the failure first.
const SECTIONS: [&str; 14] = [
    "failures",
    "failing_path",
    "flags",
    "builds",
    "logs",
    "heaps",
    "payloads",
    "similar",
    "baseline",
    "metrics",
    "linked",
    "other_spans",
    "resources",
    "late",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    trace_id: Option<String>,
    bundle_id: Option<String>,
    sections: Option<Vec<String>>,
}

/// The evidence of a trace, or a bundle that was handed out before.
pub(super) async fn get(call: &mut Call<'_>, arguments: Map<String, Value>) -> Result<Answer, Problem> {
    let Arguments { trace_id, bundle_id, sections } = parsed(arguments)?;
    let id = match (trace_id, bundle_id) {
        (Some(id), None) | (None, Some(id)) => id,
        _ => return Err(Problem::wrong_request(String::from("give either trace_id or bundle_id"))),
    };
    if let Some(unknown) = sections.iter().flatten().find(|name| !SECTIONS.contains(&name.as_str())) {
        return Err(Problem::wrong_request(format!(
            "there is no section {unknown:?}; there are {}",
            SECTIONS.join(", ")
        )));
    }
    let mut bundle = handed_out(call.app, call.caller, call.visit, &id, Duration::ZERO).await?;
    if !call.caller.may(Scope::Heap) {
        bundle = view::without_heaps(bundle);
    }
    call.visit.of_bundle(&bundle.bundle_id);
    // The pages of a trace that goes on are of one bundle.
    let place = call.room.place(&bundle.bundle_id)?;
    let chosen = |name: &str| sections.as_ref().is_none_or(|sections| sections.iter().any(|chosen| chosen == name));
    let mut entries = entries(&bundle).map_err(|error| Problem::from(QueryError::from(error)))?;
    entries.retain(|(section, _)| chosen(section));
    entries.drain(..place.offset().min(entries.len()));
    let mut head = head(&bundle);
    if place.cursor.is_some() {
        head.retain(|name, _| name.ends_with("_id"));
    }
    let position = bundle.context.position;
    cut(Found { head, entries, has_more: false, last_because: None, position }, place).await
}

fn head(bundle: &Bundle) -> Map<String, Value> {
    let evidence = &bundle.evidence;
    let trace = &evidence.trace;
    let mut head = Map::new();
    let mut tell = |name: &str, value: Value| {
        head.insert(name.to_owned(), value);
    };
    tell("bundle_id", json!(bundle.bundle_id));
    tell("trace_id", json!(trace.trace_id));
    tell("sealed", json!(evidence.sealed));
    tell("trace", json!(trace));
    tell("not_in_bundle", json!(evidence.omitted));
    tell("redaction", json!(evidence.redaction));
    head
}

type Entries = Vec<(&'static str, Value)>;

/// Every entry, in the order of [`SECTIONS`].
fn entries(bundle: &Bundle) -> serde_json::Result<Entries> {
    let evidence = &bundle.evidence;
    let failing = reading::failing(&evidence.spans);
    let is_failing = |span: &&Span| failing.contains(span.span_id.as_str());
    let (path, others): (Vec<_>, Vec<_>) = evidence.spans.iter().partition(is_failing);
    let (critical, beside): (Vec<_>, Vec<_>) = others.into_iter().partition(|span| span.on_critical_path);
    let (errors, other_logs): (Vec<_>, Vec<_>) = evidence.logs.iter().partition(|log| is_error(log));
    let mut entries = Entries::new();
    add(&mut entries, "failures", &evidence.failures)?;
    add(&mut entries, "failing_path", path)?;
    add(&mut entries, "flags", &evidence.flags)?;
    add(&mut entries, "builds", &evidence.builds)?;
    add(&mut entries, "logs", errors.into_iter().chain(other_logs))?;
    add(&mut entries, "heaps", &evidence.heaps)?;
    add(&mut entries, "payloads", &evidence.payloads)?;
    add(&mut entries, "similar", &bundle.context.similar)?;
    add(&mut entries, "baseline", &bundle.context.baseline)?;
    add(&mut entries, "metrics", &evidence.metrics)?;
    add(&mut entries, "linked", &evidence.linked)?;
    add(&mut entries, "other_spans", critical.into_iter().chain(beside))?;
    add(&mut entries, "resources", &evidence.resources)?;
    add(&mut entries, "late", &bundle.context.late)?;
    Ok(entries)
}

fn add<T: Serialize>(
    entries: &mut Entries,
    section: &'static str,
    values: impl IntoIterator<Item = T>,
) -> serde_json::Result<()> {
    for value in values {
        entries.push((section, serde_json::to_value(value)?));
    }
    Ok(())
}

fn is_error(log: &Log) -> bool {
    matches!(log.severity.as_deref(), Some("ERROR" | "FATAL"))
}

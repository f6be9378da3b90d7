//! What stands beside the evidence: heaps and links that came after the seal, similar incidents, and what differs from
//! good traces.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracerag_schemas::anchor::{Anchor, Target};
use tracerag_schemas::bundle::{Heap, Linked, Similar};

use super::Bundler;
use crate::compare::{Compared, Report};
use crate::error::Result;
use crate::search::{FailureText, KnownFix, SharedMerges, SimilarIncident};

/// Similar incidents in one bundle.
const SIMILAR: usize = 5;

/// Incidents like the failures of a trace. A bundle is worth having without them, so a search that fails
/// is only logged.
pub(super) async fn similar_to(
    bundler: &Bundler,
    merges: &SharedMerges,
    trace_id: &str,
    failures: Vec<FailureText>,
) -> Vec<Similar> {
    if failures.is_empty() {
        return vec![];
    }
    match bundler.similar_to(merges, trace_id, failures, SIMILAR).await {
        Ok(found) => found.into_iter().map(similar).collect(),
        Err(error) => {
            tracing::warn!(trace_id, %error, "the bundle has no similar incidents");
            vec![]
        }
    }
}

fn similar(incident: SimilarIncident) -> Similar {
    Similar {
        anchor: Anchor::first(Target::Incident(incident.fingerprint.clone())).to_string(),
        fingerprint: incident.fingerprint,
        title: Some(incident.title),
        distance: incident.distance,
        reason: Some(incident.reason),
        fixes: incident.fixes.iter().map(KnownFix::json).collect(),
    }
}

/// What differs between traces that fail as this one does and good ones, if that is known within a time; `None` of a
/// trace that did not fail. As with similar incidents, a comparison that fails is only logged.
pub(super) async fn baseline(trace_id: &str, task: JoinHandle<Result<Compared>>, within: Duration) -> Option<Value> {
    match timeout(within, task).await {
        Ok(Ok(Ok(Compared::Report(report)))) => Some(told(&report, trace_id)),
        Ok(Ok(Ok(Compared::Nothing))) => None,
        Ok(Ok(Err(error))) => {
            tracing::warn!(trace_id, %error, "the bundle has no comparison with good traces");
            None
        }
        // It takes longer, another one has the turn, or the runtime is being shut down.
        Ok(Ok(Ok(Compared::Busy)) | Err(_)) | Err(_) => Some(not_in_time()),
    }
}

/// A report as a bundle has it. Anchors stand in the bundle of the report's example, and in no other.
fn told(report: &Report, trace_id: &str) -> Value {
    if report.differences.is_empty() {
        return json!({"said": report.said});
    }
    let mut told = report.json();
    if report.example_trace_id.as_deref() != Some(trace_id) {
        let differences = told.get_mut("differences").and_then(Value::as_array_mut);
        for difference in differences.into_iter().flatten() {
            difference["anchors"] = json!([]);
        }
    }
    told
}

/// What stands for a comparison that would have kept the bundle waiting.
fn not_in_time() -> Value {
    json!({"said": "not compared with good traces in the time that a bundle has; ask compare_to_baseline"})
}

/// Late evidence as JSON: each entry says what it is under `section`.
pub(super) fn late(heaps: Vec<Heap>, links: Vec<Linked>) -> Result<Vec<Value>> {
    let mut late = Vec::with_capacity(heaps.len() + links.len());
    for heap in heaps {
        late.push(json!({"section": "heaps", "entry": without_anchor(serde_json::to_value(heap)?)}));
    }
    for link in links {
        late.push(json!({"section": "linked", "entry": without_anchor(serde_json::to_value(link)?)}));
    }
    Ok(late)
}

/// Anchors address evidence, which these entries are not.
fn without_anchor(mut entry: Value) -> Value {
    if let Some(members) = entry.as_object_mut() {
        members.shift_remove("anchor");
    }
    entry
}

//! What stands beside the evidence: heaps and links that came after the seal, similar incidents, and what differs from
//! good traces.

use futures::FutureExt;
use serde_json::{Value, json};
use tracerag_schemas::anchor::{Anchor, Target};
use tracerag_schemas::bundle::{Heap, Linked, Similar};

use super::Bundler;
use crate::compare::{self, Depth, Request, Subject};
use crate::error::{QueryError, Result};
use crate::search::{FailureText, KnownFix, SimilarIncident};
use crate::snapshot::Snapshot;

/// Similar incidents in one bundle.
const SIMILAR: usize = 5;

/// Incidents like the failures of a trace. A bundle is worth having without them, so a search that fails
/// is only logged.
pub(super) async fn similar_to(bundler: &Bundler, trace_id: &str, failures: Vec<FailureText>) -> Vec<Similar> {
    if failures.is_empty() {
        return vec![];
    }
    match bundler.similar_to(trace_id, failures, SIMILAR).await {
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

/// What differs between traces that fail as this one does and good ones; `None` of a trace that did not fail. As with
/// similar incidents, a comparison that fails is only logged.
pub(super) async fn baseline(snapshot: &Snapshot, trace_id: &str) -> Option<Value> {
    let request = Request::new(Subject::Trace(trace_id.to_owned()));
    match compare::compare(snapshot, &request, Depth::brief()).boxed().await {
        Ok(report) if report.differences.is_empty() => Some(json!({"said": report.said})),
        Ok(report) => Some(report.json()),
        Err(QueryError::Argument { .. }) => None,
        Err(error) => {
            tracing::warn!(trace_id, %error, "the bundle has no comparison with good traces");
            None
        }
    }
}

/// What stands for a comparison that would have kept the bundle waiting.
pub(super) fn not_in_time() -> Value {
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

//! What stands beside the evidence: heaps and links that came after the seal, similar incidents.

use serde_json::{Value, json};
use tracerag_schemas::anchor::{Anchor, Target};
use tracerag_schemas::bundle::{Heap, Linked, Similar};

use super::Bundler;
use crate::error::Result;
use crate::search::{FailureText, KnownFix, SimilarIncident};

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

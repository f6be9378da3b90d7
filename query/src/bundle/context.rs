//! What stands beside the evidence: heaps and links that came after the seal, similar incidents.

use serde_json::{Value, json};
use tracerag_schemas::anchor::{Anchor, Target};
use tracerag_schemas::bundle::{Bundle, Heap, Linked, Similar};
use tracerag_schemas::time::rfc3339;

use super::Bundler;
use crate::error::Result;
use crate::search::{KnownFix, SimilarIncident, SimilarRequest};

/// Similar incidents in one bundle.
const SIMILAR: usize = 5;

/// Looks for similar incidents of a failing trace. A bundle is worth having without them, so a search
/// that fails is only logged.
pub(super) async fn add_similar(bundler: &Bundler, bundle: &mut Bundle) {
    if bundle.evidence.failures.is_empty() {
        return;
    }
    let trace_id = &bundle.evidence.trace.trace_id;
    match bundler.similar(&SimilarRequest::about(trace_id, SIMILAR)).await {
        Ok(found) => bundle.context.similar = found.into_iter().map(similar).collect(),
        Err(error) => tracing::warn!(trace_id, %error, "the bundle has no similar incidents"),
    }
}

fn similar(incident: SimilarIncident) -> Similar {
    let fix = |fix: KnownFix| {
        json!({"fix_id": fix.fix_id, "fixed_at": fix.fixed_at.map(rfc3339), "summary": fix.summary,
               "patch_url": fix.patch_url, "outcome": fix.outcome})
    };
    Similar {
        anchor: Anchor::first(Target::Incident(incident.fingerprint.clone())).to_string(),
        fingerprint: incident.fingerprint,
        title: Some(incident.title),
        distance: incident.distance,
        reason: Some(incident.reason),
        fixes: incident.fixes.into_iter().map(fix).collect(),
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

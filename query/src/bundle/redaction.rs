//! What redaction did to a trace, counted from the masks in its own evidence: nothing has to be carried
//! along, and whoever holds the document can count again.

use std::collections::BTreeMap;

use tracerag_schemas::bundle::{Evidence, REDACTION_CLASSES};

/// Beginning of a token that stands for an identifier.
const TOKEN: &str = "hmac:";

/// Masks by class; classes that do not occur have no entry.
///
/// # Errors
/// When the evidence cannot be written as JSON.
pub(super) fn counts(evidence: &Evidence) -> serde_json::Result<BTreeMap<String, i64>> {
    let text = serde_json::to_string(evidence)?;
    let mut counts = BTreeMap::new();
    for (start, _) in text.match_indices('<') {
        let Some((name, _)) = text[start + 1..].split_once('>') else { break };
        if let Some(class) = REDACTION_CLASSES.iter().find(|class| **class == name) {
            *counts.entry((*class).to_owned()).or_default() += 1;
        }
    }
    let tokens = i64::try_from(text.matches(TOKEN).count()).unwrap_or(i64::MAX);
    if tokens > 0 {
        *counts.entry("identifier".to_owned()).or_default() += tokens;
    }
    Ok(counts)
}

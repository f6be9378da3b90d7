//! What views of a bundle for readers have in common: what failed and where in the tree, records that repeat, and how
//! values are written.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use tracerag_index::tree;
use tracerag_schemas::bundle::{Log, Span};

/// Failing spans and all spans above them.
pub(crate) fn failing(spans: &[Span]) -> HashSet<&str> {
    tree::failing_path(
        spans.iter().map(|span| {
            (span.span_id.as_str(), span.parent_span_id.as_deref(), span.status.as_deref() == Some("ERROR"))
        }),
    )
}

/// Spans stand parents first, so one pass gives every depth.
pub(crate) fn depths(spans: &[Span]) -> HashMap<&str, usize> {
    let mut depths: HashMap<&str, usize> = HashMap::with_capacity(spans.len());
    for span in spans {
        let depth = span.parent_span_id.as_deref().and_then(|parent| depths.get(parent)).map_or(0, |depth| depth + 1);
        depths.insert(span.span_id.as_str(), depth);
    }
    depths
}

/// Records that say the same thing stand once, the first of them with their number; the most severe first, else in the
/// order of the bundle.
pub(crate) fn clusters(logs: &[Log]) -> Vec<(&Log, usize)> {
    let mut clusters: Vec<(&Log, usize)> = Vec::new();
    let mut known: HashMap<(&Option<String>, &Option<String>, String), usize> = HashMap::new();
    for log in logs {
        let key = (&log.service, &log.severity, without_digits(&body(log)));
        match known.get(&key) {
            Some(cluster) => clusters[*cluster].1 += 1,
            None => {
                known.insert(key, clusters.len());
                clusters.push((log, 1));
            }
        }
    }
    let rank = |log: &Log| match log.severity.as_deref() {
        Some("FATAL") => 0,
        Some("ERROR") => 1,
        Some("WARN") => 2,
        _ => 3,
    };
    clusters.sort_by_key(|(log, _)| rank(log));
    clusters
}

/// The text of a record.
pub(crate) fn body(log: &Log) -> String {
    match &log.body {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Runs of digits as one sign: what differs in numbers alone is the same.
pub(crate) fn without_digits(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    for c in text.chars() {
        if !c.is_ascii_digit() {
            masked.push(c);
        } else if !masked.ends_with('#') {
            masked.push('#');
        }
    }
    masked
}

/// A text, or the sign for none.
pub(crate) fn opt(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or("-")
}

/// A number, or the sign for none.
pub(crate) fn count(number: Option<i64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

/// Seconds or milliseconds with two digits behind the point.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn duration(ns: Option<i64>) -> String {
    match ns {
        None => "-".to_owned(),
        Some(ns) if ns >= 1_000_000_000 => format!("{:.2} s", ns as f64 / 1e9),
        Some(ns) => format!("{:.2} ms", ns as f64 / 1e6),
    }
}

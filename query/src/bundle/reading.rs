//! What views of a bundle for readers have in common: what failed and where in the tree, records that repeat, and how
//! values are written.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use tracerag_index::templates::{merged, template};
use tracerag_index::tree;
use tracerag_schemas::attributes::type_name;
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

/// Records of one log statement stand once, the first of them with their number; the most severe first, else in the
/// order of the bundle. The statement is told by the message's template, or by the message itself where it has none.
pub(crate) fn clusters(logs: &[Log]) -> Vec<(&Log, usize)> {
    let statements = statements(logs);
    let mut clusters: Vec<(&Log, usize)> = Vec::new();
    let mut known: HashMap<(&Option<String>, &Option<String>, &str), usize> = HashMap::new();
    for (log, statement) in logs.iter().zip(&statements) {
        let key = (&log.service, &log.severity, statement.as_str());
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

/// The template of each record, merged with those of its service.
fn statements(logs: &[Log]) -> Vec<String> {
    let mut templates: Vec<String> = logs
        .iter()
        .map(|log| {
            let kind = log.body.is_array().then_some(type_name::KVLIST);
            let body = body(log);
            template(&body, kind).unwrap_or_else(|| without_digits(&body))
        })
        .collect();
    let mut of_service: HashMap<&Option<String>, Vec<usize>> = HashMap::new();
    for (index, log) in logs.iter().enumerate() {
        of_service.entry(&log.service).or_default().push(index);
    }
    for indices in of_service.values() {
        let given: Vec<&str> = indices.iter().map(|index| templates[*index].as_str()).collect();
        let merged = merged(&given);
        for (index, template) in indices.iter().zip(merged) {
            templates[*index] = template;
        }
    }
    templates
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn log(severity: &str, body: &str) -> Log {
        Log {
            anchor: String::new(),
            time: None,
            severity: Some(severity.to_owned()),
            body: Value::from(body),
            event_name: None,
            service: Some("shop".to_owned()),
            instance: None,
            span_id: None,
            joined_by: "ids".to_owned(),
            attributes: serde_json::Map::new(),
        }
    }

    /// Records of one statement are one cluster whatever their ids, durations and names, records of another severity are
    /// another one, and the severest come first.
    #[test]
    fn records_of_a_statement_are_one_cluster() {
        let mut logs = vec![log("INFO", "cart 7f3b0c9e-1f7a-4b57-9e70-2f60a9c1d001 took 12 ms")];
        logs.push(log("ERROR", "cart 1 took 3 s"));
        logs.push(log("INFO", "cart 9 took 1.5 s"));
        let names = ["alice", "bob", "carol", "dave", "erin"];
        logs.extend(names.iter().map(|name| log("INFO", &format!("login of {name} refused"))));
        let found: Vec<(String, usize)> = clusters(&logs).into_iter().map(|(log, count)| (body(log), count)).collect();
        let expected = [
            ("cart 1 took 3 s", 1),
            ("cart 7f3b0c9e-1f7a-4b57-9e70-2f60a9c1d001 took 12 ms", 2),
            ("login of alice refused", 5),
        ];
        assert_eq!(found, expected.map(|(text, count)| (text.to_owned(), count)));
    }
}

//! The truth that the load generator of `examples/checkout` writes: what each order had to end with, and why. The services
//! and the Collector, which send the telemetry, know nothing of it. A lake is asked the example's own queries.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use super::personal::Personal;
use super::program::Tracerag;
use super::telemetry;

/// The truth of one story.
pub struct Truth {
    lines: Vec<Value>,
}

impl Truth {
    /// Reads a file that the load generator wrote.
    pub fn read(file: &Path) -> Truth {
        let text = telemetry::read(file);
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("the truth is JSON"));
        Truth { lines: lines.collect() }
    }

    /// That of the recording.
    pub fn of_the_recording() -> Truth {
        Truth::read(&telemetry::checkout("recording/truth/truth.jsonl.zst"))
    }

    /// What was noted of one kind: `request`, `job`, `heap`.
    pub fn of(&self, kind: &str) -> Vec<Value> {
        let noted: Vec<Value> = self.lines.iter().filter(|line| line["kind"] == kind).cloned().collect();
        assert!(!noted.is_empty(), "the truth has no {kind}");
        noted
    }

    /// Whether every number of the truth is what the queries of the example give, and they give nothing else: requests
    /// by outcome, faults by kind, flags and builds in effect, jobs over the links of their spans, heaps, payloads with
    /// their fields, and no span or log record twice.
    ///
    /// # Panics
    /// With the first rows that differ.
    pub fn assert_told_by(&self, tracerag: &Tracerag) {
        let requests = self.of("request");
        let with = |key: &'static str| requests.iter().filter(move |row| row[key] != Value::Null && row[key] != false);

        let keys = ["trace_id", "status"];
        assert_same("requests", picked(&requests, &keys), picked(&asked(tracerag, "requests"), &keys));
        let keys = ["trace_id", "fault"];
        assert_same("faults", picked(with("fault"), &keys), picked(&asked(tracerag, "faults"), &keys));
        let keys = ["job_trace_id", "job_span_id", "order_trace_id", "order_span_id", "outcome"];
        assert_same("jobs", picked(&self.of("job"), &keys), picked(&asked(tracerag, "jobs"), &keys));
        let with_instance = |instance| ["trace_id", "span_id", instance, "total_bytes", "file", "line"];
        let heaps = picked(&self.of("heap"), &with_instance("service.instance.id"));
        assert_same("heaps", heaps, picked(&asked(tracerag, "heaps"), &with_instance("service_instance_id")));

        let of_each = |key: &'static str| {
            requests.iter().flat_map(move |row| row[key].as_object().unwrap().iter().map(move |entry| (row, entry)))
        };
        let flags = of_each("flags").map(|(row, (key, variant))| json!([row["trace_id"], key, variant])).collect();
        assert_same("flags", flags, picked(&asked(tracerag, "flags"), &["trace_id", "key", "variant"]));
        let builds = of_each("builds")
            .map(|(row, (service, version))| json!([row["trace_id"], service, version, row["instances"][service]]))
            .collect();
        // The truth knows which payments answered; the other services are the same all along.
        let found = asked(tracerag, "builds");
        let found = found.iter().filter(|row| row["service"] == "payments");
        assert_same("builds", builds, picked(found, &["trace_id", "service", "version", "instance"]));

        let payloads = with("payload").map(|row| json!([row["trace_id"], row["amount"], row["fields"]])).collect();
        let found = asked(tracerag, "payloads");
        let found = found.iter().map(|row| json!([row["trace_id"], row["amount"], fields(row)])).collect();
        assert_same("payloads", payloads, found);

        assert_same("doubled", vec![], asked(tracerag, "doubled"));
    }

    /// What the orders carried and must be nowhere.
    pub fn personal(&self) -> Personal {
        let requests = self.of("request");
        let texts: BTreeSet<&str> = requests
            .iter()
            .flat_map(|row| row["personal"].as_array().unwrap())
            .map(|text| text.as_str().unwrap())
            .collect();
        assert!(texts.len() > 100, "the orders carried personal data");
        Personal::of(texts)
    }
}

/// The rows of a query of the example.
fn asked(tracerag: &Tracerag, query: &str) -> Vec<Value> {
    let file = telemetry::checkout("queries").join(format!("{query}.sql"));
    let rows = tracerag.done(&["sql", "--format", "json", "-f", file.to_str().unwrap()]);
    serde_json::from_str(&rows).expect("rows are JSON")
}

/// These members of each object.
fn picked<'a>(rows: impl IntoIterator<Item = &'a Value>, keys: &[&str]) -> Vec<Value> {
    rows.into_iter().map(|row| keys.iter().map(|key| row[*key].clone()).collect()).collect()
}

/// The fields that a payload had: those of which something was kept, and those that were removed.
fn fields(payload: &Value) -> BTreeSet<String> {
    let sample: Value = serde_json::from_str(payload["sample"].as_str().unwrap()).expect("a sample is JSON");
    let removed = payload["redactions"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
    sample.as_object().unwrap().keys().cloned().chain(removed).collect()
}

/// Compares how often each row occurs; rows are in no order.
fn assert_same(what: &str, wanted: Vec<Value>, found: Vec<Value>) {
    let mut difference: BTreeMap<String, i64> = BTreeMap::new();
    for row in &wanted {
        *difference.entry(row.to_string()).or_default() += 1;
    }
    for row in &found {
        *difference.entry(row.to_string()).or_default() -= 1;
    }
    difference.retain(|_, times| *times != 0);
    let first: Vec<_> = difference.iter().take(5).collect();
    assert!(
        difference.is_empty(),
        "{what}: {} in the truth, {} in the lake, {} rows differ (above 0: missing in the lake): {first:#?}",
        wanted.len(),
        found.len(),
        difference.len()
    );
}

//! The recording of `examples/checkout` against its truth: what each order had to end with, and why. The load generator
//! wrote the truth; the services and the Collector, which sent the telemetry, know nothing of it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use aho_corasick::AhoCorasick;
use serde_json::{Value, json};

use crate::support::program::Tracerag;
use crate::support::telemetry;

/// The redaction key of all lakes here.
const KEY: &str = "0123456789abcdef0123456789abcdef";

/// What the load generator noted of one kind: `request`, `job`, `heap`.
pub fn truth(kind: &str) -> Vec<Value> {
    let text = telemetry::read(&telemetry::checkout("recording/truth/truth.jsonl.zst"));
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let noted: Vec<Value> = lines.filter(|line| line["kind"] == kind).collect();
    assert!(!noted.is_empty(), "the truth has no {kind}");
    noted
}

/// How many records of a signal the recording has, each counted once: what was sent again is the same line again.
pub fn recorded(signal: &str, resources: &str, scopes: &str, records: &str) -> i64 {
    let text = telemetry::read(&telemetry::checkout("recording").join(format!("{signal}.jsonl.zst")));
    let once: HashSet<&str> = text.lines().collect();
    let inside = |value: &Value, list: &str| value[list].as_array().unwrap().clone();
    let of_line = |line: &str| {
        let request: Value = serde_json::from_str(line).unwrap();
        let of_all = inside(&request, resources).into_iter().flat_map(|resource| inside(&resource, scopes));
        of_all.map(|scope| inside(&scope, records).len()).sum::<usize>()
    };
    i64::try_from(once.into_iter().map(of_line).sum::<usize>()).unwrap()
}

/// A lake of the recording, with further variables in the program's environment.
fn replayed(variables: &[(&str, &str)]) -> Tracerag {
    let tracerag = Tracerag::new();
    let files = telemetry::recording();
    let files = files.iter().map(|file| file.to_str().unwrap());
    let variables: Vec<(String, String)> = [("TRACERAG_REDACTION__KEY", KEY)]
        .iter()
        .chain(variables)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let ran = tracerag.run_with(&variables, &std::iter::once("replay").chain(files).collect::<Vec<_>>());
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    tracerag
}

/// The rows of a query of the example.
fn asked(tracerag: &Tracerag, query: &str) -> Vec<Value> {
    let file = telemetry::checkout("queries").join(format!("{query}.sql"));
    let rows = tracerag.done(&["sql", "--format", "json", "-f", file.to_str().unwrap()]);
    serde_json::from_str(&rows).unwrap()
}

/// These members of each object.
fn picked<'a>(rows: impl IntoIterator<Item = &'a Value>, keys: &[&str]) -> Vec<Value> {
    rows.into_iter().map(|row| keys.iter().map(|key| row[*key].clone()).collect()).collect()
}

/// Compares as often as each row occurs; rows are in no order.
fn assert_same(what: &str, wanted: Vec<Value>, found: Vec<Value>) {
    let mut difference: BTreeMap<String, i64> = BTreeMap::new();
    for row in &wanted {
        *difference.entry(row.to_string()).or_default() += 1;
    }
    for row in &found {
        *difference.entry(row.to_string()).or_default() -= 1;
    }
    difference.retain(|_, times| *times != 0);
    let (wanted, found) = (wanted.len(), found.len());
    let first: Vec<_> = difference.iter().take(5).collect();
    assert!(
        difference.is_empty(),
        "{what}: {wanted} in the truth, {found} in the lake, {} rows differ (above 0: missing in the lake): {first:#?}",
        difference.len()
    );
}

/// Every number of the truth is what the queries of the example give, and they give nothing else: requests by outcome,
/// faults by kind, flags and builds in effect, jobs over the links of their spans, heaps, payloads with their fields.
/// Some requests of spans and logs are in the recording twice; nothing of them is twice in the lake.
#[test]
fn the_lake_holds_the_truth() {
    let tracerag = replayed(&[]);
    let requests = truth("request");
    let with = |key: &'static str| requests.iter().filter(move |row| row[key] != Value::Null && row[key] != false);

    let keys = ["trace_id", "status"];
    assert_same("requests", picked(&requests, &keys), picked(&asked(&tracerag, "requests"), &keys));
    let keys = ["trace_id", "fault"];
    assert_same("faults", picked(with("fault"), &keys), picked(&asked(&tracerag, "faults"), &keys));
    let keys = ["job_trace_id", "job_span_id", "order_trace_id", "order_span_id", "outcome"];
    assert_same("jobs", picked(&truth("job"), &keys), picked(&asked(&tracerag, "jobs"), &keys));
    let with_instance = |instance| ["trace_id", "span_id", instance, "total_bytes", "file", "line"];
    let heaps = picked(&truth("heap"), &with_instance("service.instance.id"));
    assert_same("heaps", heaps, picked(&asked(&tracerag, "heaps"), &with_instance("service_instance_id")));

    let of_each = |key: &'static str| {
        requests.iter().flat_map(move |row| row[key].as_object().unwrap().iter().map(move |entry| (row, entry)))
    };
    let flags = of_each("flags").map(|(row, (key, variant))| json!([row["trace_id"], key, variant])).collect();
    assert_same("flags", flags, picked(&asked(&tracerag, "flags"), &["trace_id", "key", "variant"]));
    let builds = of_each("builds")
        .map(|(row, (service, version))| json!([row["trace_id"], service, version, row["instances"][service]]))
        .collect();
    // The truth knows which payments answered; the other services are the same all along.
    let found = asked(&tracerag, "builds");
    let found = found.iter().filter(|row| row["service"] == "payments");
    assert_same("builds", builds, picked(found, &["trace_id", "service", "version", "instance"]));

    let payloads = with("payload").map(|row| json!([row["trace_id"], row["amount"], row["fields"]])).collect();
    let found = asked(&tracerag, "payloads");
    let found = found.iter().map(|row| json!([row["trace_id"], row["amount"], fields(row)])).collect();
    assert_same("payloads", payloads, found);

    assert_same("doubled", vec![], asked(&tracerag, "doubled"));
    for signal in ["traces", "logs"] {
        let text = telemetry::read(&telemetry::checkout("recording").join(format!("{signal}.jsonl.zst")));
        let once: HashSet<&str> = text.lines().collect();
        assert!(once.len() < text.lines().count(), "nothing of {signal} was sent twice");
    }
}

/// The fields that a payload had: those of which something was kept, and those that were removed.
fn fields(payload: &Value) -> BTreeSet<String> {
    let sample: Value = serde_json::from_str(payload["sample"].as_str().unwrap()).unwrap();
    let removed = payload["redactions"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
    sample.as_object().unwrap().keys().cloned().chain(removed).collect()
}

/// Names, addresses, cards, tokens and customer ids that the orders carried are in no file of the lake, in no column of
/// any table and in no bundle of a failing trace, neither as they were nor percent-encoded.
#[test]
fn personal_data_of_the_orders_is_nowhere() {
    let tracerag = replayed(&[]);
    let personal: BTreeSet<String> = truth("request")
        .iter()
        .flat_map(|row| row["personal"].as_array().unwrap().clone())
        .map(|text| text.as_str().unwrap().to_owned())
        .collect();
    assert!(personal.len() > 100, "the orders carried personal data");
    let forms: Vec<String> = personal.iter().flat_map(|text| [text.clone(), percent_encoded(text)]).collect();
    let search = AhoCorasick::new(&forms).unwrap();
    let look = |place: &str, content: &[u8]| {
        let found = search.find_iter(content).next().map(|found| &forms[found.pattern().as_usize()]);
        assert_eq!(found, None, "personal data in {place}");
    };
    for (bundle_id, evidence) in bundles(&tracerag).into_values() {
        look(&bundle_id, evidence.to_string().as_bytes());
    }
    for table in tracerag.sql("select table_name from information_schema.tables where table_schema = 'public'") {
        let table = table["table_name"].as_str().unwrap();
        look(table, tracerag.done(&["sql", "--format", "json", &format!("select * from {table}")]).as_bytes());
    }
    let mut files = 0;
    in_all_files(&tracerag.path("lake"), &mut |file: &Path| {
        files += 1;
        look(&file.display().to_string(), &std::fs::read(file).unwrap());
    });
    assert!(files > 0, "the lake has files");
}

fn percent_encoded(text: &str) -> String {
    let encoded = |byte: u8| match byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(encoded).collect()
}

fn in_all_files(folder: &Path, look: &mut dyn FnMut(&Path)) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => in_all_files(&path, look),
            false => look(&path),
        }
    }
}

/// By trace, id and evidence of every failing one. Members keep the order in which they were written, and numbers their
/// digits, so equal values were equal bytes.
fn bundles(tracerag: &Tracerag) -> BTreeMap<String, (String, Value)> {
    let failing = tracerag.sql("select distinct trace_id from failures where trace_id is not null");
    let ids: Vec<&str> = failing.iter().map(|row| row["trace_id"].as_str().unwrap()).collect();
    let of_each = ids.iter().map(|id| format!("select bundle_id, bundle from evidence_bundle('{id}')"));
    let rows = tracerag.sql(&of_each.collect::<Vec<_>>().join("\nunion all\n"));
    let found: BTreeMap<String, (String, Value)> = rows
        .iter()
        .map(|row| {
            let mut bundle: Value = serde_json::from_str(row["bundle"].as_str().unwrap()).unwrap();
            let trace_id = bundle["evidence"]["trace"]["trace_id"].as_str().unwrap().to_owned();
            (trace_id, (row["bundle_id"].as_str().unwrap().to_owned(), bundle["evidence"].take()))
        })
        .collect();
    assert_eq!(found.len(), ids.len(), "a bundle for each failing trace");
    found
}

/// The recording is replayed twice with the same key, the second time in more epochs: every failing trace has the
/// same evidence, byte for byte, under the same id, which is that of its content. The ids of another machine are in the
/// snapshot, so that no machine, no place of the lake and no time of the run gets into evidence.
#[test]
fn the_same_recording_gives_the_same_bundles() {
    let once = bundles(&replayed(&[]));
    let again = bundles(&replayed(&[("TRACERAG_LAKE__FLUSH_INTERVAL", "20ms")]));
    for (trace_id, (bundle_id, evidence)) in &once {
        assert_eq!(evidence["sealed"], true, "{trace_id}");
        assert_eq!(*bundle_id, tracerag_schemas::bundle::content_id(evidence).unwrap(), "{trace_id}");
        let (other_id, other) = &again[trace_id];
        assert_eq!((bundle_id, evidence.to_string()), (other_id, other.to_string()), "{trace_id}");
    }
    assert_eq!(once.len(), again.len());
    let failing: BTreeSet<&str> = once.keys().map(String::as_str).collect();
    let orders = truth("request");
    let orders = orders.iter().filter(|row| row["status"].as_i64() >= Some(500));
    assert!(orders.map(|row| row["trace_id"].as_str().unwrap()).all(|id| failing.contains(id)), "an order is missing");
    let ids: BTreeMap<&str, &str> = once.iter().map(|(trace, (bundle, _))| (trace.as_str(), bundle.as_str())).collect();
    insta::assert_json_snapshot!("bundles", ids);
}

//! The recording of `examples/checkout`, which `tracerag demo` carries, against its truth.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;

use serde_json::Value;

use crate::support::made::copy_of;
use crate::support::program::Tracerag;
use crate::support::telemetry;
use crate::support::truth::Truth;

/// The redaction key of all lakes here.
const KEY: &str = "0123456789abcdef0123456789abcdef";

/// How many records of a signal the recording has, each counted once: what was sent again is the same line again.
///
/// # Panics
/// If nothing was sent again.
pub fn recorded(signal: &str, resources: &str, scopes: &str, records: &str) -> i64 {
    let text = telemetry::read(&telemetry::checkout("recording").join(format!("{signal}.jsonl.zst")));
    let once: HashSet<&str> = text.lines().collect();
    assert!(once.len() < text.lines().count(), "nothing of {signal} was sent twice");
    let inside = |value: &Value, list: &str| value[list].as_array().unwrap().clone();
    let of_line = |line: &str| {
        let request: Value = serde_json::from_str(line).unwrap();
        let of_all = inside(&request, resources).into_iter().flat_map(|resource| inside(&resource, scopes));
        of_all.map(|scope| inside(&scope, records).len()).sum::<usize>()
    };
    i64::try_from(once.into_iter().map(of_line).sum::<usize>()).unwrap()
}

/// A lake of the recording, with further variables in the program's environment.
pub fn replayed(variables: &[(&str, &str)]) -> Tracerag {
    copy_of(&format!("recording {variables:?}"), || replayed_files(&telemetry::recording(), variables))
}

/// A lake of files that are made of the recording.
pub fn replayed_files(files: &[PathBuf], variables: &[(&str, &str)]) -> Tracerag {
    let tracerag = Tracerag::new();
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

/// By trace, id and evidence of every failing one. Members keep the order in which they were written, and numbers their
/// digits, so equal values were equal bytes.
fn bundles(tracerag: &Tracerag) -> BTreeMap<String, (String, Value)> {
    let failing = tracerag.sql("select distinct trace_id from failures where trace_id is not null");
    let of_each: Vec<String> = failing
        .iter()
        .map(|row| row["trace_id"].as_str().unwrap())
        .map(|id| format!("select bundle_id, bundle from evidence_bundle('{id}')"))
        .collect();
    // As many at once as a slow machine makes within a query's time.
    let rows = of_each.chunks(20).flat_map(|some| tracerag.sql(&some.join("\nunion all\n")));
    let found: BTreeMap<String, (String, Value)> = rows
        .map(|row| {
            let mut bundle: Value = serde_json::from_str(row["bundle"].as_str().unwrap()).unwrap();
            let trace_id = bundle["evidence"]["trace"]["trace_id"].as_str().unwrap().to_owned();
            (trace_id, (row["bundle_id"].as_str().unwrap().to_owned(), bundle["evidence"].take()))
        })
        .collect();
    assert_eq!(found.len(), failing.len(), "a bundle for each failing trace");
    found
}

/// Every number of the truth is in the lake, and nothing else is. Some requests of spans and logs are in the recording
/// twice; nothing of them is twice in the lake.
#[test]
fn the_recording_gives_its_truth() {
    let tracerag = replayed(&[]);
    Truth::of_the_recording().assert_told_by(&tracerag);
    let spans = recorded("traces", "resourceSpans", "scopeSpans", "spans");
    assert_eq!(tracerag.number("select count(*) from spans"), spans);
    assert_eq!(
        tracerag.number("select count(*) from logs"),
        recorded("logs", "resourceLogs", "scopeLogs", "logRecords")
    );
}

/// Names, addresses, cards, tokens and customer ids that the orders carried are in no file of the lake, in no column of
/// any table and in no bundle of a failing trace, neither as they were nor percent-encoded.
#[test]
fn personal_data_of_the_orders_is_nowhere() {
    let tracerag = replayed(&[]);
    let personal = Truth::of_the_recording().personal();
    for (bundle_id, evidence) in bundles(&tracerag).into_values() {
        personal.assert_not_in(&bundle_id, evidence.to_string().as_bytes());
    }
    personal.assert_not_in_lake(&tracerag);
}

/// The recording is replayed twice with the same key, the second time in more epochs: every failing trace has the same
/// evidence, byte for byte, under the same id, which is that of its content. The ids of another machine are in the
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
    let failed: BTreeSet<String> = Truth::of_the_recording()
        .of("request")
        .iter()
        .filter(|row| row["status"].as_i64() >= Some(500))
        .map(|row| row["trace_id"].as_str().unwrap().to_owned())
        .collect();
    assert!(failed.iter().all(|id| once.contains_key(id)), "an order that failed has no bundle");
    let ids: BTreeMap<&str, &str> = once.iter().map(|(trace, (bundle, _))| (trace.as_str(), bundle.as_str())).collect();
    insta::assert_json_snapshot!("bundles", ids);
}

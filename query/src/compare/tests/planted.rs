//! A lake of a shop in which one cause was planted.

use serde_json::{Value, json};
use tracerag_schemas::Table;
use tracerag_schemas::time::{SECOND, rfc3339};

use crate::Session;
use crate::compare::{Kind, Report, Request};
use crate::tests::lake::{NOON, TestLake, at, row, span};

/// Traces of the lake; every fourth fails.
pub(super) const TRACES: usize = 80;
/// The incident.
pub(super) const FINGERPRINT: &str = "ac658efd3f744cce6759132eb22e96ed";

const ROOT: &str = "00f067aa0ba902b7";
const CHARGE: &str = "b7ad6b7169203331";

pub(super) fn trace_id(number: usize) -> String {
    format!("3c{number:030x}")
}

pub(super) fn fails(number: usize) -> bool {
    number.is_multiple_of(4)
}

/// A time in ms after a trace began, which was so many seconds after noon.
fn after(base: i64, ms: i64) -> String {
    rfc3339(NOON + base * SECOND + ms * 1_000_000)
}

/// The tables of the lake. What is planted is what all failing traces have, and a few good ones; all else falls to both
/// alike. Failing traces also have what follows from a failure: statuses, an attribute of the failed span, a span that
/// begins afterwards, an answer, and payloads more often than good ones.
pub(super) fn tables(planted: &[Kind]) -> Vec<(Table, Vec<Value>)> {
    tables_every(10, planted)
}

/// The same with a trace every so many seconds.
pub(super) fn tables_every(seconds: i64, planted: &[Kind]) -> Vec<(Table, Vec<Value>)> {
    let mut spans = Vec::new();
    let mut traces = Vec::new();
    let mut failures = Vec::new();
    let mut payloads = Vec::new();
    let mut heaps = Vec::new();
    let mut metrics = Vec::new();
    for number in 0..TRACES {
        let (id, fails, turn) = (trace_id(number), fails(number), number / 4);
        let has = |kind: Kind| planted.contains(&kind) && (fails || number % 6 == 1);
        let pick = |kind: Kind, planted: &'static str, other: &'static str| if has(kind) { planted } else { other };
        let status = if fails { "ERROR" } else { "UNSET" };
        let instance = match has(Kind::Instance) {
            true => String::from("payments-bad"),
            // One a trace, so that each has memory of its own.
            false if planted.contains(&Kind::Memory) => format!("payments-{number}"),
            false => format!("payments-{}", turn % 3),
        };
        let base = i64::try_from(number).unwrap() * seconds;
        let of_trace = |span_id: &str, own: Value| {
            let mut one = span("acme", &id, base, own);
            one["span_id"] = span_id.into();
            one
        };
        let mut of_root =
            json!({"app.region": pick(Kind::Attribute, "eu", ["us", "asia"][turn % 2]), "http.request.method": "POST"});
        if fails {
            of_root["http.response.status_code"] = "502".into();
            of_root["error.type"] = "502".into();
            of_root["app.rolled_back"] = "true".into();
        } else {
            of_root["http.response.status_code"] = "200".into();
        }
        spans.push(of_trace(
            ROOT,
            json!({"name": "POST /checkout", "service_name": "checkout", "service_version": "2.3.0", "status_code": status,
                "start_time": after(base, 0), "end_time": after(base, 4_000), "attributes": of_root}),
        ));
        let took = if has(Kind::SelfTime) { 2_000 } else { 20 + i64::try_from(turn % 10).unwrap() };
        spans.push(of_trace(
            CHARGE,
            json!({"parent_span_id": ROOT, "name": "charge", "service_name": "payments", "service_instance_id": instance,
                "service_version": pick(Kind::Versions, "1.9.0", "1.8.2"), "status_code": status,
                "start_time": after(base, 100), "end_time": after(base, 100 + took)}),
        ));
        if has(Kind::SpanPath) {
            spans.push(of_trace(
                "c7ad6b7169203331",
                json!({"parent_span_id": CHARGE, "name": "second look", "service_name": "fraud",
                    "start_time": after(base, 101), "end_time": after(base, 102)}),
            ));
        }
        if fails {
            spans.push(of_trace(
                "d7ad6b7169203331",
                json!({"parent_span_id": ROOT, "name": "refund", "service_name": "payments", "status_code": "UNSET",
                    "start_time": after(base, 3_500), "end_time": after(base, 3_600)}),
            ));
            failures.push(row(
                "acme",
                1,
                base,
                json!({"failure_id": format!("{id}f"), "trace_id": id, "span_id": CHARGE, "revision": 1,
                    "time": after(base, 3_000), "service_name": "payments", "kind": "exception",
                    "exception_type": "OverflowError", "message": "decimal overflow", "fingerprint": FINGERPRINT,
                    "fingerprint_version": 1, "frames": [], "flags": {}}),
            ));
        }
        let layout = ["wide", "narrow"][turn % 2];
        let flags = json!([
            {"kind": "flag", "key": "checkout.layout", "variant": layout, "match": "as_of"},
            {"kind": "flag", "key": "payments.mode", "variant": pick(Kind::Flag, "strict", "lenient"),
             "service": "payments", "match": "evaluated", "span_id": CHARGE},
            {"kind": "config", "key": "pool.size", "value": pick(Kind::Config, "2", "20"), "service": "payments",
             "match": "as_of"},
        ]);
        let builds =
            json!([{"service": "payments", "version": pick(Kind::Build, "1.9.0", "1.8.2"), "match": "stated"}]);
        traces.push(row(
            "acme",
            1,
            base,
            json!({"trace_id": id, "revision": 1, "root_span_id": ROOT, "root_name": "POST /checkout",
                "root_service_name": "checkout", "services": ["checkout", "payments"], "start_time": after(base, 0),
                "end_time": after(base, 4_000), "duration_ns": 4 * SECOND, "status": status, "span_count": 2,
                "failure_count": i64::from(fails), "closed_at": after(base, 6_000), "complete": true,
                "close_reason": "root_ended", "incomplete_reasons": [], "flags_in_effect": flags,
                "builds_in_effect": builds, "redaction_policy": "standard", "redaction_version": 1}),
        ));
        if fails || turn.is_multiple_of(2) {
            let amount = pick(Kind::Payload, "12.345678901234567890", "12.50");
            for (direction, shape, sample) in [
                ("request", json!({"amount": "string"}), json!({"amount": amount})),
                ("response", json!({"error": if fails { "string" } else { "null" }}), Value::Null),
            ] {
                payloads.push(row(
                    "acme",
                    1,
                    base,
                    json!({"trace_id": id, "span_id": ROOT, "direction": direction, "content_type": "application/json",
                        "shape": shape.to_string(), "sample": sample.to_string(), "redactions": [], "size_bytes": 30}),
                ));
            }
        }
        heaps.push(row(
            "acme",
            4,
            base,
            json!({"trace_id": id, "span_id": CHARGE, "captured_at": after(base, 3_000), "service_name": "payments",
                "format": "pprof",
                "top_types": [{"type": pick(Kind::HeapType, "decimal.Big", "string"), "bytes": 9, "count": 1}],
                "top_sites": [{"function": "Round", "file": pick(Kind::HeapSite, "rounding.go", "main.go"), "line": 117,
                               "bytes": 9, "count": 1}],
                "retained_paths": [], "total_bytes": 10, "truncated": false}),
        ));
        let used = if has(Kind::Memory) { 2e9 } else { 1e8 + f64::from(u32::try_from(turn).unwrap()) };
        metrics.push(row(
            "acme",
            3,
            base,
            json!({"time": at(base - 1), "name": "process.memory.usage", "kind": "GAUGE", "unit": "By",
                "service_name": "payments", "service_instance_id": instance, "attributes": {}, "attributes_types": {},
                "exemplars": [], "value": used}),
        ));
    }
    let count = row(
        "acme",
        1,
        5,
        json!({"fingerprint": FINGERPRINT, "fingerprint_version": 1, "title": "decimal overflow", "first_seen": at(0),
            "last_seen": at(i64::try_from(TRACES).unwrap() * seconds), "failure_count": 20, "trace_count": 20, "versions": [],
            "example_trace_ids": [trace_id(0)]}),
    );
    vec![
        (Table::Spans, spans),
        (Table::Traces, traces),
        (Table::Failures, failures),
        (Table::Payloads, payloads),
        (Table::Heaps, heaps),
        (Table::Metrics, metrics),
        (Table::IncidentCounts, vec![count]),
    ]
}

pub(super) async fn lake(planted: &[Kind]) -> TestLake {
    let lake = TestLake::empty().await;
    lake.write(&tables(planted), NOON + 10_000 * SECOND).await;
    lake
}

pub(super) async fn compared(session: &Session, reference: &str) -> Report {
    session.compare(&Request::about(reference)).await.unwrap()
}

/// Whichever kind of cause is planted, it is what is named first, by the failing trace and by the incident, with its
/// counts; and nothing that follows from the failure is named at all.
#[tokio::test]
async fn a_planted_cause_is_named_first() {
    for (kind, name, value) in [
        (Kind::Flag, "payments.mode", "strict"),
        (Kind::Config, "pool.size", "2"),
        (Kind::Build, "payments", "1.9.0"),
        (Kind::Payload, "checkout POST /checkout request /amount", "string of 16 to 31 characters"),
        (Kind::Versions, "checkout -> payments", "2.3.0 -> 1.9.0"),
        (Kind::Attribute, "checkout app.region", "eu"),
        (Kind::Instance, "payments", "payments-bad"),
        (Kind::SpanPath, "fraud: second look", "checkout: POST /checkout > payments: charge > fraud: second look"),
        (Kind::HeapType, "payments", "decimal.Big"),
        (Kind::HeapSite, "payments", "rounding.go:117 Round"),
        (Kind::Memory, "payments process.memory.usage", ""),
        (Kind::SelfTime, "payments charge", ""),
    ] {
        let lake = lake(&[kind]).await;
        let session = lake.session("acme").await;
        for reference in [trace_id(4), FINGERPRINT.to_owned()] {
            let report = compared(&session, &reference).await;
            let first = report.differences.first().unwrap_or_else(|| panic!("{kind:?}: {report:?}"));
            assert_eq!((first.kind, first.name.as_str()), (kind, name), "{report:?}");
            assert!(value.is_empty() || first.value == value, "{report:?}");
            assert_eq!((first.rank, first.failing_with, first.failing), (1, 20, 20), "{report:?}");
            assert!(first.good_with < first.good / 2 && first.q_value < 1e-3, "{report:?}");
            let named = format!("{:?}", report.differences);
            for consequence in ["status", "error", "rolled_back", "refund", "response"] {
                assert!(!named.contains(consequence), "{kind:?}: {consequence} in {named}");
            }
        }
    }
}

/// Where nothing is planted, nothing is named, and the answer says how much was tested.
#[tokio::test]
async fn without_a_cause_nothing_is_named() {
    let lake = lake(&[]).await;
    let report = compared(&lake.session("acme").await, FINGERPRINT).await;
    assert_eq!(report.differences, vec![]);
    assert!(report.tested > 5 && report.said.contains("nothing of"), "{report:?}");
    let left_out = report.notes.iter().find(|note| note.contains("may follow from the failure"));
    assert!(left_out.is_some_and(|note| note.contains("checkout http.response.status_code")), "{report:?}");
}

/// A flag, a build and an attribute that came together have one rank, in which the flag leads and the attribute comes
/// last; each says that the traces do not tell it from the first, and has its anchor in the bundle of the example.
#[tokio::test]
async fn what_goes_along_is_one_group() {
    let lake = lake(&[Kind::Attribute, Kind::Build, Kind::Flag]).await;
    let session = lake.session("acme").await;
    let report = compared(&session, &trace_id(8)).await;
    let group: Vec<Kind> = report.differences.iter().filter(|one| one.rank == 1).map(|one| one.kind).collect();
    assert_eq!(group, [Kind::Flag, Kind::Build, Kind::Attribute], "{report:?}");
    assert!(report.differences[1].reason.contains("goes along with flag payments.mode = strict"), "{report:?}");
    assert_eq!(report.example_trace_id.as_deref(), Some(trace_id(8).as_str()));
    let bundle = crate::bundle::assemble(&session, &trace_id(8)).await.unwrap();
    let evidence = serde_json::to_string(&bundle.evidence).unwrap();
    for difference in &report.differences {
        let anchor = difference.anchors.first().unwrap();
        assert!(evidence.contains(&format!("\"anchor\":\"{anchor}\"")), "{anchor}: {report:?}");
    }
}

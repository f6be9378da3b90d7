//! Bundles: content, order, seal, storage.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};
use tracerag_index::{MaintainOptions, Retention, maintain};
use tracerag_schemas::Table;
use tracerag_schemas::bundle::{Bundle, content_id};
use tracerag_schemas::time::{DAY, SECOND};

use super::lake::{FAILING, FOREIGN, GOOD, NOON, TestLake, ask, at, example};
use crate::{QueryError, Session, SessionOptions, bundle};

/// The failing checkout's bundle holds everything that explains it, in the stated order.
#[tokio::test]
async fn the_bundle_carries_the_evidence() {
    let lake = TestLake::example(false, 10_000).await;
    let session = lake.session("acme").await;
    let bundle = bundle::assemble(&session, FAILING).await.unwrap();
    insta::assert_json_snapshot!("failing_checkout", bundle);
    let page = bundle::markdown::view(&bundle, 4_000);
    insta::assert_snapshot!("failing_checkout_markdown", page);
}

/// The id is the hash of the canonical evidence, also after a round trip through text, and does not
/// change with what stands under `context`.
#[tokio::test]
async fn the_id_is_the_evidences_hash() {
    let lake = TestLake::example(false, 10_000).await;
    let session = lake.session("acme").await;
    let mut bundle = bundle::assemble(&session, FAILING).await.unwrap();
    assert!(bundle.is_intact());
    let text: Value = serde_json::from_str(&serde_json::to_string(&bundle).unwrap()).unwrap();
    assert_eq!(content_id(&text["evidence"]).unwrap(), bundle.bundle_id);
    bundle.context.position += 1;
    assert!(bundle.is_intact());
    bundle.evidence.spans[0].name = Some("changed".to_owned());
    assert!(!bundle.is_intact());
}

/// The same rows written in the opposite order, and a lake that holds more since, give the same bytes.
#[tokio::test]
async fn sealed_bytes_depend_on_the_evidence_alone() {
    let one = TestLake::example(false, 10_000).await;
    let other = TestLake::example(true, 10_000).await;
    let first = bundle::assemble(&one.session("acme").await, FAILING).await.unwrap();
    let second = bundle::assemble(&other.session("acme").await, FAILING).await.unwrap();
    assert_eq!(first.bundle_id, second.bundle_id);
    // A log record of the trace that comes after the seal is no evidence of this revision.
    let late = json!({"tenant_id": "acme", "time": at(3), "trace_id": FAILING, "service_name": "payments", "body": "too late",
        "ingested_at": at(9_000), "attributes": {}, "attributes_types": {}, "resource_attributes": {}});
    one.write(&[(Table::Logs, vec![late])], NOON + 20_000 * SECOND).await;
    let third = bundle::assemble(&one.session("acme").await, FAILING).await.unwrap();
    assert_eq!(third.bundle_id, first.bundle_id);
    assert!(third.context.position > first.context.position);
}

/// A revision is sealed once the stream time of every partition has passed its time, not before.
#[tokio::test]
async fn the_seal_waits_for_stream_time() {
    let limit = 6 + 600;
    for (stream_time, sealed) in [(100, false), (limit, false), (limit + 1, true)] {
        let lake = TestLake::example(false, stream_time).await;
        let bundle = bundle::assemble(&lake.session("acme").await, FAILING).await.unwrap();
        assert_eq!(bundle.evidence.sealed, sealed, "at {stream_time}");
    }
}

/// A bundle that was handed out stays under its id, says what it replaces, and can be pinned.
#[tokio::test]
async fn stored_bundles_stay() {
    let lake = TestLake::example(false, 100).await;
    let session = lake.session("acme").await;
    let open = bundle::store(&session, bundle::assemble(&session, FAILING).await.unwrap()).await.unwrap();
    assert_eq!(open.context.supersedes, None);
    lake.write(&[], NOON + 10_000 * SECOND).await;
    let session = lake.session("acme").await;
    let sealed = bundle::store(&session, bundle::assemble(&session, FAILING).await.unwrap()).await.unwrap();
    assert_ne!(sealed.bundle_id, open.bundle_id);
    assert_eq!(sealed.context.supersedes.as_ref(), Some(&open.bundle_id));
    bundle::store(&session, sealed.clone()).await.unwrap();
    assert_eq!(bundle::by_id(&session, &open.bundle_id).await.unwrap(), open);
    bundle::pin(&session, &open.bundle_id, true).await.unwrap();
    let stored = ask(&session, "select bundle_id, sealed, pinned from bundles order by sealed").await;
    assert_eq!(
        stored,
        json!([{"bundle_id": open.bundle_id, "sealed": false, "pinned": true},
               {"bundle_id": sealed.bundle_id, "sealed": true, "pinned": false}])
    );
    // A later bundle replaces the newest that was made, not the one that was pinned last.
    let mut evidence = sealed.evidence.clone();
    evidence.trace.revision += 1;
    let later = Bundle::new(evidence, sealed.context.clone()).unwrap();
    let later = bundle::store(&session, later).await.unwrap();
    assert_eq!(later.context.supersedes.as_ref(), Some(&sealed.bundle_id));
    let error = bundle::by_id(&session, "sha256:00").await.unwrap_err();
    assert!(matches!(error, QueryError::BundleUnknown { .. }), "{error}");
}

/// Upkeep as at a time, with a retention of fourteen days.
async fn keep_at(lake: &TestLake, now: i64) {
    let retention = Retention { default: Some(Duration::from_secs(14 * 86_400)), ..Retention::default() };
    let report = maintain(&lake.lake, &MaintainOptions { now, retention, ..MaintainOptions::default() }).await.unwrap();
    assert_eq!(report.failed, vec![]);
}

/// A bundle goes when it was handed out longer ago than bundles are kept, a pinned one does not, and outlives its trace;
/// when it is unpinned its time begins anew. Guarantees that evidence that somebody keeps is there for ever, whole.
#[tokio::test]
async fn pinned_bundles_outlive_retention() {
    let lake = TestLake::example(false, 10_000).await;
    let session = lake.session("acme").await;
    let mut stored = Vec::new();
    for trace_id in [FAILING, GOOD] {
        stored.push(bundle::store(&session, bundle::assemble(&session, trace_id).await.unwrap()).await.unwrap());
    }
    let (pinned, other) = (&stored[0], &stored[1]);
    // Bundles have the time of this machine, and the rows that of the example.
    let now = MaintainOptions::default().now;
    let (in_time, later) = (now + 13 * DAY, now.max(NOON) + 16 * DAY);
    bundle::pin(&session, &pinned.bundle_id, true).await.unwrap();
    let all = "select bundle_id, pinned from bundles order by pinned";
    let both =
        json!([{"bundle_id": other.bundle_id, "pinned": false}, {"bundle_id": pinned.bundle_id, "pinned": true}]);
    keep_at(&lake, in_time).await;
    assert_eq!(ask(&session, all).await, both);

    keep_at(&lake, later).await;
    let session = lake.session("acme").await;
    assert_eq!(ask(&session, "select trace_id from trace_revisions").await, json!([]));
    assert_eq!(ask(&session, all).await, json!([{"bundle_id": pinned.bundle_id, "pinned": true}]));
    assert_eq!(bundle::by_id(&session, &pinned.bundle_id).await.unwrap(), *pinned);
    let gone = bundle::by_id(&session, &other.bundle_id).await.unwrap_err();
    assert!(matches!(gone, QueryError::BundleUnknown { .. }), "{gone}");

    bundle::pin(&session, &pinned.bundle_id, false).await.unwrap();
    keep_at(&lake, in_time).await;
    assert_eq!(ask(&session, all).await, json!([{"bundle_id": pinned.bundle_id, "pinned": false}]));
    keep_at(&lake, later).await;
    assert_eq!(ask(&session, all).await, json!([]));
    assert_eq!(ask(&session, "select bundle_id from bundle_events").await, json!([]), "nothing pins it again");
}

/// There is never an empty bundle: an open trace, an unknown one and an expired one each say so.
#[tokio::test]
async fn absent_traces_say_why() {
    let lake = TestLake::example(false, 510).await;
    let session = lake.session("acme").await;
    let open = bundle::assemble(&session, "4ef7651916cd43dd8448eb211c80319c").await.unwrap_err();
    assert!(matches!(open, QueryError::TraceOpen { wait_seconds: 1.., .. }), "{open}");
    let unknown = bundle::assemble(&session, "ffffffffffffffffffffffffffffffff").await.unwrap_err();
    assert_eq!(unknown.code(), Some("trace-unknown"));
    assert!(matches!(unknown, QueryError::TraceUnknown { .. }), "{unknown}");
    // A bundle that outlives its rows: stored here, asked for in a lake whose rows are gone.
    let stored = bundle::store(&session, bundle::assemble(&session, GOOD).await.unwrap()).await.unwrap();
    let empty = TestLake::empty().await;
    let row = ask(&session, "select * from bundles").await;
    let row = super::lake::batch(Table::Bundles, row.as_array().unwrap());
    empty.lake.append_side(Table::Bundles, row).await.unwrap();
    let expired = bundle::assemble(&empty.session("acme").await, GOOD).await.unwrap_err();
    assert!(
        matches!(&expired, QueryError::Expired { bundle_id, .. } if bundle_id.as_ref() == Some(&stored.bundle_id)),
        "{expired}"
    );
}

/// Why a trace is absent is said alike by every question about it: one whose first records have come is open,
/// for as long as the window waits, and one that an incident still names has expired.
#[tokio::test]
async fn every_question_says_why_a_trace_is_absent() {
    let lake = TestLake::empty().await;
    let named: Vec<_> =
        example().into_iter().filter(|(table, _)| matches!(table, Table::IncidentCounts | Table::Logs)).collect();
    lake.write(&named, NOON + 510 * SECOND).await;
    let mut options = SessionOptions::new("acme");
    options.idle_gap = Some(Duration::from_secs(25));
    let session = Session::open(&lake.lake, options).await.unwrap();
    for (trace_id, code) in
        [("4ef7651916cd43dd8448eb211c80319c", "trace-open"), (GOOD, "expired"), (FOREIGN, "trace-unknown")]
    {
        for query in [
            format!("select * from trace_tree('{trace_id}')"),
            format!("select * from evidence_bundle('{trace_id}')"),
            format!("select * from similar_incidents('{trace_id}', 3)"),
        ] {
            let error = session.collect(&query, None).await.unwrap_err();
            assert_eq!(error.code(), Some(code), "{query}: {error}");
            if code == "trace-open" {
                assert!(error.to_string().contains("ask again in 25 s"), "{error}");
            }
            if code == "expired" {
                assert!(error.to_string().contains("array_has(example_trace_ids"), "{error}");
            }
        }
    }
}

/// Of a lake that is being written it is said that a trace of the last minutes may be open still; of one that
/// was written long ago it is not.
#[tokio::test]
async fn an_unknown_trace_may_be_open_while_the_lake_is_written() {
    let unknown = "ffffffffffffffffffffffffffffffff";
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = i64::try_from(clock.as_nanos()).unwrap();
    for (stream_time, may_be_open) in [(now, true), (now - 3_600 * SECOND, false)] {
        let lake = TestLake::empty().await;
        lake.write(&[], stream_time).await;
        let error = bundle::assemble(&lake.session("acme").await, unknown).await.unwrap_err();
        assert_eq!(error.to_string().contains("may still be open: ask again in 10 s"), may_be_open, "{error}");
    }
}

/// A sender whose clock is days ahead loses nothing: its rows lie with the day on which they were taken.
#[tokio::test]
async fn a_clock_that_is_ahead_loses_nothing() {
    let lake = TestLake::empty().await;
    let ahead = 3 * 86_400;
    let mut tables = example();
    for (table, rows) in &mut tables {
        for row in rows.iter_mut().filter(|row| row["trace_id"] == json!(FAILING)) {
            match table {
                Table::Spans | Table::Traces => {
                    row["start_time"] = json!(at(ahead));
                    row["end_time"] = json!(at(ahead + 4));
                }
                Table::Logs | Table::Failures => row["time"] = json!(at(ahead + 3)),
                _ => {}
            }
        }
    }
    lake.write(&tables, NOON + 10_000 * SECOND).await;
    let bundle = bundle::assemble(&lake.session("acme").await, FAILING).await.unwrap();
    let evidence = &bundle.evidence;
    assert_eq!((evidence.spans.len(), evidence.logs.len(), evidence.failures.len()), (2, 2, 1));
}

/// A payload that was told of twice appears once, under the anchor without a number; another one of the same
/// span and direction stays.
#[tokio::test]
async fn equal_payloads_appear_once() {
    let lake = TestLake::empty().await;
    let mut tables = example();
    for (_, rows) in tables.iter_mut().filter(|(table, _)| *table == Table::Payloads) {
        let mut again = rows[0].clone();
        again["kafka_offset"] = json!(77);
        let mut other = rows[0].clone();
        other["sample"] = json!("{\"amount\":\"1\"}");
        rows.extend([again, other]);
    }
    lake.write(&tables, NOON + 10_000 * SECOND).await;
    let bundle = bundle::assemble(&lake.session("acme").await, FAILING).await.unwrap();
    let anchors: Vec<_> = bundle.evidence.payloads.iter().map(|payload| payload.anchor.as_str()).collect();
    assert_eq!(anchors, ["payload:b7ad6b7169203331#request", "payload:b7ad6b7169203331#request~2"]);
}

fn point(service: &str, instance: &str, name: &str, own: Value) -> Value {
    let mut point = json!({"tenant_id": "acme", "time": at(1), "name": name, "kind": "GAUGE", "service_name": service,
        "service_instance_id": instance, "value": 1.0, "attributes": {}, "attributes_types": {}, "exemplars": [],
        "ingested_at": at(2)});
    for (key, value) in own.as_object().unwrap() {
        point[key] = value.clone();
    }
    point
}

fn naming_the_trace() -> Value {
    json!({"exemplars": [{"time": at(1), "value": 2.0, "trace_id": FAILING, "span_id": "b7ad6b7169203331",
        "attributes": {}, "attributes_types": {}}]})
}

/// A metric with an exemplar of the trace is evidence, although a gateway reports it, or an instance that the
/// trace did not run on; without one, both are not.
#[tokio::test]
async fn exemplars_keep_metrics_of_elsewhere() {
    let lake = TestLake::empty().await;
    let mut tables = example();
    let points = vec![
        point("gateway", "gw-1", "edge.latency", naming_the_trace()),
        point("gateway", "gw-1", "edge.memory", json!({})),
        point("payments", "payments-a-9", "orders.value", naming_the_trace()),
        point("payments", "payments-a-9", "orders.memory", json!({})),
        point("gateway", "gw-1", "edge.theirs", {
            let mut theirs = naming_the_trace();
            theirs["tenant_id"] = json!("other");
            theirs
        }),
    ];
    tables.push((Table::Metrics, points));
    lake.write(&tables, NOON + 10_000 * SECOND).await;
    let bundle = bundle::assemble(&lake.session("acme").await, FAILING).await.unwrap();
    let found: Vec<_> = bundle
        .evidence
        .metrics
        .iter()
        .map(|metric| (metric.name.as_deref().unwrap(), metric.instance.as_deref().unwrap()))
        .collect();
    let expected = [
        ("edge.latency", "gw-1"),
        ("orders.value", "payments-a-9"),
        ("orders.value", "payments-b-1"),
        ("process.memory.usage", "payments-b-1"),
    ];
    assert_eq!(found, expected);
}

/// Of too many series those with an exemplar stay first, then those of services in which something failed,
/// whatever they are called; the list is in the order of names all the same.
#[tokio::test]
async fn series_of_failing_services_stay() {
    let lake = TestLake::empty().await;
    let mut tables = example();
    tables.retain(|(table, _)| *table != Table::Metrics);
    for (_, rows) in tables.iter_mut().filter(|(table, _)| *table == Table::Spans) {
        for row in rows.iter_mut().filter(|row| row["name"] == "charge") {
            row["status_code"] = json!("UNSET");
        }
    }
    let mut points = vec![point("payments", "payments-b-1", "zz.value", naming_the_trace())];
    points.extend((0..45).map(|n| point("payments", "payments-b-1", &format!("a{n:02}.memory"), json!({}))));
    points.extend((0..10).map(|n| point("checkout", "checkout-a-1", &format!("m{n:02}.memory"), json!({}))));
    tables.push((Table::Metrics, points));
    lake.write(&tables, NOON + 10_000 * SECOND).await;
    let bundle = bundle::assemble(&lake.session("acme").await, FAILING).await.unwrap();
    let names: Vec<_> = bundle.evidence.metrics.iter().filter_map(|metric| metric.name.as_deref()).collect();
    assert_eq!(bundle.evidence.omitted["metrics"].omitted, 16);
    assert_eq!(names.len(), 40);
    assert!(names.is_sorted(), "{names:?}");
    assert_eq!((names[28], names[29], names[38], names[39]), ("a28.memory", "m00.memory", "m09.memory", "zz.value"));
}

/// Of more spans than a bundle holds those that fail, what leads to them and the critical path stay, whatever
/// their place; the calls between services are counted over all, and what has no room is counted.
#[tokio::test]
async fn failing_spans_have_room_in_a_large_trace() {
    let lake = TestLake::empty().await;
    let mut tables = example();
    let root = "00f067aa0ba902b7";
    let spans = |n: i64| {
        // The last in the order of the tree fails; a span of its own leads to it.
        let (parent, status) = match n {
            10_004 => (format!("{:016x}", 10_003), "ERROR"),
            _ => (root.to_owned(), "UNSET"),
        };
        json!({"tenant_id": "acme", "trace_id": FAILING, "span_id": format!("{n:016x}"), "parent_span_id": parent,
            "name": format!("item {n}"), "service_name": "bulk", "start_time": at(2), "end_time": at(2),
            "duration_ns": 0, "status_code": status, "revision": 2, "ingested_at": at(5), "attributes": {},
            "attributes_types": {}, "resource_attributes": {}, "resource_attributes_types": {}, "events": [], "links": []})
    };
    tables.push((Table::Spans, (5..10_005).map(spans).collect()));
    lake.write(&tables, NOON + 10_000 * SECOND).await;
    let evidence = bundle::assemble(&lake.session("acme").await, FAILING).await.unwrap().evidence;
    assert_eq!((evidence.spans.len(), evidence.omitted["spans"].omitted), (10_000, 2));
    let names: HashSet<_> = evidence.spans.iter().filter_map(|span| span.name.as_deref()).collect();
    assert!(["POST /checkout", "charge", "item 10003", "item 10004", "item 5"].iter().all(|name| names.contains(name)));
    assert!(!names.contains("item 10002") && !names.contains("item 10001"));
    let calls = evidence.trace.service_graph.iter().find(|edge| edge.to == "bulk").unwrap();
    assert_eq!((calls.from.as_str(), calls.calls), ("checkout", 9_999));
}

/// Of more log records than a bundle holds the most severe are read, then the earliest; all others are counted.
#[tokio::test]
async fn the_most_severe_records_have_room() {
    let lake = TestLake::empty().await;
    let mut tables = example();
    let logs = |n: i64| {
        json!({"tenant_id": "acme", "time": at(2), "trace_id": FAILING, "service_name": "payments",
            "body": format!("line {n}"), "severity_number": 5, "kafka_topic": "otlp_logs", "kafka_partition": 0,
            "kafka_offset": n, "ingested_at": at(3), "attributes": {}, "attributes_types": {}, "resource_attributes": {}})
    };
    tables.push((Table::Logs, (0..5_010).rev().map(logs).collect()));
    lake.write(&tables, NOON + 10_000 * SECOND).await;
    let bundle = bundle::assemble(&lake.session("acme").await, FAILING).await.unwrap();
    let bodies: HashSet<_> = bundle.evidence.logs.iter().filter_map(|log| log.body.as_str()).collect();
    assert_eq!(bundle.evidence.omitted["logs"].omitted, 12);
    assert!(bodies.contains("decimal overflow") && bodies.contains("line 0") && bodies.contains("line 4997"));
    assert!(!bodies.contains("line 4998") && !bodies.contains("line 5009"), "the latest have no room");
}

/// What has no room is counted, never cut silently: points, records without ids, and lines of the page.
#[tokio::test]
async fn what_is_left_out_is_counted() {
    let lake = TestLake::empty().await;
    let mut tables = example();
    let points = |i: i64| {
        json!({"tenant_id": "acme", "time": at(i - 40), "name": "jvm.memory.used", "kind": "GAUGE",
        "service_name": "payments", "service_instance_id": "payments-b-1", "value": 1.0, "attributes": {},
        "attributes_types": {}, "exemplars": [], "ingested_at": at(0)})
    };
    let logs = |i: i64| {
        json!({"tenant_id": "acme", "time": at(2), "service_name": "payments", "body": format!("line {i}"),
        "severity_number": 9, "ingested_at": at(3), "attributes": {}, "attributes_types": {}, "resource_attributes": {}})
    };
    tables.push((Table::Metrics, (0..80).map(points).collect()));
    tables.push((Table::Logs, (0..210).map(logs).collect()));
    lake.write(&tables, NOON + 10_000 * SECOND).await;
    let bundle = bundle::assemble(&lake.session("acme").await, FAILING).await.unwrap();
    assert_eq!(bundle.evidence.omitted["metrics.points"].omitted, 20);
    assert_eq!(bundle.evidence.omitted["logs.time"].omitted, 11);
    // The warning is kept before all that say less.
    assert!(bundle.evidence.logs.iter().any(|log| log.body == json!("pool exhausted")));
    let page = bundle::markdown::view(&bundle, 400);
    assert!(page.contains("failure:0") && page.contains("## Left out"), "{page}");
    assert!(page.contains("(199 like this)") || page.contains("more in the JSON form"), "{page}");
}

/// What a snapshot answers to SQL, to a search and for a bundle is the same, byte for byte, after more was written and
/// after retention and clean-up have taken its rows from the newest head. A bundle that was
/// handed out from it is verified on it, whenever it was handed out; once the name is dropped, nothing reads it.
#[tokio::test]
async fn a_snapshot_answers_the_same_for_ever() {
    let lake = TestLake::example(false, 10_000).await;
    lake.lake.create_snapshot("frozen").await.unwrap();
    let on = async || {
        let pinned = lake.lake.snapshot("frozen").await.unwrap();
        Session::on(&lake.lake, pinned, SessionOptions::new("acme")).unwrap()
    };
    let answers = async || {
        let session = on().await;
        let rows = ask(&session, "select trace_id, span_id, name from spans order by trace_id, span_id").await;
        let stored = ask(&session, "select count(*) as n from bundles").await;
        let bundle = bundle::store(&session, bundle::assemble(&session, FAILING).await.unwrap()).await.unwrap();
        let request = crate::SimilarRequest { trace_id: Some(FAILING.to_owned()), k: 5, ..Default::default() };
        let similar: Vec<Value> = session.similar(&request).await.unwrap().iter().map(|found| found.json()).collect();
        (rows.to_string(), stored.to_string(), serde_json::to_string(&bundle).unwrap(), json!(similar).to_string())
    };
    let before = answers().await;
    lake.write(&[], NOON + 20_000 * SECOND).await;
    keep_at(&lake, MaintainOptions::default().now.max(NOON) + 16 * DAY).await;
    let newest = lake.session("acme").await;
    assert_eq!(ask(&newest, "select trace_id from trace_revisions").await, json!([]));
    assert_eq!(answers().await, before);
    let bundle: Bundle = serde_json::from_str(&before.2).unwrap();
    assert_eq!(bundle::by_id(&on().await, &bundle.bundle_id).await.unwrap(), bundle);
    lake.lake.drop_snapshot("frozen").await.unwrap();
    assert!(lake.lake.snapshot("frozen").await.is_err());
}

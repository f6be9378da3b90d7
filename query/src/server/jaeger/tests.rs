//! The interface on the example lake, asked as Jaeger's UI and Grafana's data source ask.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use tracerag_schemas::Table;
use tracerag_schemas::time::SECOND;

use crate::access::{Limits, Scope};
use crate::server::http::tests::Interface;
use crate::tests::lake::{FAILING, FOREIGN, GOOD, NOON as NOON_NS, ask, span};

/// Noon of the example, in us.
const NOON: i64 = 1_795_435_200_000_000;

/// A trace is told as Jaeger's own backend tells it: spans with references, tags and logs in microseconds, and the
/// processes that they are of; the same with and without the path's beginning.
#[tokio::test]
async fn a_trace_in_jaegers_json() {
    let interface = Interface::with(Limits::default()).await;
    let token = interface.token("acme", &[Scope::Read]).await;
    let answer = interface.get(&format!("/jaeger/api/traces/{FAILING}"), &token).await.json();
    assert_eq!(interface.get(&format!("/api/traces/{FAILING}"), &token).await.json(), answer);
    assert_eq!((&answer["total"], &answer["errors"]), (&json!(1), &Value::Null));
    let trace = &answer["data"][0];
    assert_eq!(
        trace["processes"],
        json!({"p1": {"serviceName": "checkout", "tags": []}, "p2": {"serviceName": "payments", "tags": []}})
    );
    assert_eq!(
        trace["spans"],
        json!([
            {
                "traceID": FAILING, "spanID": "00f067aa0ba902b7", "flags": 0, "operationName": "POST /checkout",
                "references": [], "startTime": NOON, "duration": 4_000_000,
                "tags": [
                    {"key": "http.route", "type": "string", "value": "/checkout"},
                    {"key": "http.response.status_code", "type": "int64", "value": 502},
                    {"key": "span.kind", "type": "string", "value": "server"},
                    {"key": "otel.status_code", "type": "string", "value": "ERROR"},
                    {"key": "error", "type": "bool", "value": true},
                ],
                "logs": [], "processID": "p1", "warnings": null,
            },
            {
                "traceID": FAILING, "spanID": "b7ad6b7169203331", "flags": 0, "operationName": "charge",
                "references": [
                    {"refType": "CHILD_OF", "traceID": FAILING, "spanID": "00f067aa0ba902b7"},
                    {"refType": "FOLLOWS_FROM", "traceID": GOOD, "spanID": "1111111111111111"},
                ],
                "startTime": NOON + 1_000_000, "duration": 2_000_000,
                "tags": [
                    {"key": "span.kind", "type": "string", "value": "server"},
                    {"key": "otel.status_code", "type": "string", "value": "ERROR"},
                    {"key": "otel.status_description", "type": "string", "value": "decimal overflow"},
                    {"key": "error", "type": "bool", "value": true},
                ],
                "logs": [{"timestamp": NOON + 3_000_000, "fields": [
                    {"key": "event", "type": "string", "value": "exception"},
                    {"key": "exception.type", "type": "string", "value": "OverflowError"},
                ]}],
                "processID": "p2", "warnings": null,
            },
        ])
    );
    let many: Vec<String> = (0..33).map(|number| format!("%22t{number}%22:%22x%22")).collect();
    for (path, status) in [
        (format!("/jaeger/api/traces/{FOREIGN}"), 404),
        ("/jaeger/api/traces/xyz".to_owned(), 400),
        ("/jaeger/api/traces?service=checkout&tags=x".to_owned(), 400),
        (format!("/jaeger/api/traces?service=checkout&tags=%7B{}%7D", many.join(",")), 400),
        ("/jaeger/api/traces?service=checkout&tag=error".to_owned(), 400),
        (format!("/jaeger/api/traces?service=checkout{}", "&tag=error:true".repeat(33)), 400),
        ("/jaeger/api/traces?service=checkout&minDuration=soon".to_owned(), 400),
        ("/jaeger/api/operations".to_owned(), 400),
    ] {
        let answer = interface.get(&path, &token).await;
        assert_eq!((answer.status, &answer.json()["errors"][0]["code"]), (status, &json!(status)), "{path}");
    }
    let answer = interface.get("/jaeger/api/services", "").await;
    assert_eq!((answer.status, answer.header("content-type")), (401, Some("application/json")));
}

/// Searches by service, operation, tags, times and durations, and by ids, in the words of both versions; nothing of
/// another tenant is found.
#[tokio::test]
async fn traces_are_searched() {
    let interface = Interface::with(Limits::default()).await;
    let token = interface.token("acme", &[Scope::Read]).await;
    let (start, end) = (NOON - 100_000_000_000, NOON + 100_000_000_000);
    let failing: &[&str] = &[FAILING];
    for (query, expected) in [
        ("service=checkout", &[FAILING, GOOD][..]),
        ("service=checkout&limit=1", failing),
        ("service=payments&operation=charge", failing),
        ("service=checkout&operation=charge", &[]),
        ("service=checkout&tags=%7B%22error%22%3A%22true%22%7D", failing),
        ("service=checkout&tags=%7B%22http.response.status_code%22%3A502%7D", failing),
        ("service=checkout&tag=error:true&tag=http.response.status_code:502", failing),
        ("service=checkout&tag=error:true&tag=http.response.status_code:503", &[]),
        ("service=checkout&tags=%7B%22span.kind%22%3A%22client%22%7D", &[]),
        ("service=payments&minDuration=1.5s&maxDuration=2s", failing),
        ("service=payments&minDuration=2001ms", &[]),
    ] {
        let answer = interface.get(&format!("/jaeger/api/traces?{query}&start={start}&end={end}"), &token).await;
        let answer = answer.json();
        let found: Vec<&str> =
            answer["data"].as_array().unwrap().iter().map(|trace| trace["traceID"].as_str().unwrap()).collect();
        assert_eq!(found, expected, "{query}");
    }
    let path = format!("/jaeger/api/traces?traceID={FAILING}&traceID={GOOD}&traceID={FOREIGN}");
    assert_eq!(interface.get(&path, &token).await.json()["total"], 2);
    let path = "/jaeger/api/v3/trace-summaries?query.serviceName=payments&query.searchDepth=5\
        &query.startTimeMin=2026-11-23T00:00:00.000Z&query.startTimeMax=2026-11-24T00:00:00.000Z";
    assert_eq!(
        interface.get(path, &token).await.json(),
        json!({"summaries": [{
            "traceId": FAILING, "rootServiceName": "checkout", "rootOperationName": "POST /checkout",
            "minStartTimeUnixNano": "1795435200000000000", "maxEndTimeUnixNano": "1795435204000000000", "spanCount": 2,
            "errorSpanCount": 2, "orphanSpanCount": 0,
            "services": [
                {"name": "checkout", "spanCount": 1, "errorSpanCount": 1},
                {"name": "payments", "spanCount": 1, "errorSpanCount": 1},
            ],
        }]})
    );
}

/// Three traces have more spans together than an answer holds. A search gives the newest whole; who names them all by their
/// ids is told that they are too many. Guarantees that a busy hour does not keep a search from being answered.
#[tokio::test]
async fn a_search_leaves_out_the_oldest_traces() {
    let interface = Interface::with(Limits::default()).await;
    let token = interface.token("acme", &[Scope::Read]).await;
    let ids = ["a0", "a1", "a2"].map(|begin| format!("{begin}{}", "0".repeat(30)));
    let mut spans = Vec::new();
    for (id, base) in ids.iter().zip([100, 110, 120]) {
        for number in 0..17_000 {
            let own = json!({"span_id": format!("{number:016x}"), "name": "busy", "service_name": "busy"});
            spans.push(span("acme", id, base, own));
        }
    }
    interface.lake.write(&[(Table::Spans, spans)], NOON_NS + 20_000 * SECOND).await;
    let times = format!("start={}&end={}", NOON, NOON + 200_000_000);
    let answer = interface.get(&format!("/jaeger/api/traces?service=busy&{times}"), &token).await;
    assert_eq!(answer.status, 200, "{}", answer.text.get(..200).unwrap_or(&answer.text));
    let answer = answer.json();
    let found: Vec<&str> =
        answer["data"].as_array().unwrap().iter().map(|trace| trace["traceID"].as_str().unwrap()).collect();
    assert_eq!(found, [ids[2].as_str()]);
    assert_eq!(answer["data"][0]["spans"].as_array().unwrap().len(), 17_000);
    let named: Vec<String> = ids.iter().map(|id| format!("traceID={id}")).collect();
    assert_eq!(interface.get(&format!("/jaeger/api/traces?{}", named.join("&")), &token).await.status, 422);
}

/// Services and operations are those of the tenant's last days; a call is counted once. Every answer is a row of `audit`.
#[tokio::test]
async fn services_and_their_calls() {
    let interface = Interface::with(Limits::default()).await;
    let token = interface.token("acme", &[Scope::Read]).await;
    let get = async |path: &str| interface.get(&format!("/jaeger/api/{path}"), &token).await.json();
    assert_eq!(get("services").await["data"], json!(["checkout", "payments", "worker"]));
    assert_eq!(get("v3/services").await, json!({"services": ["checkout", "payments", "worker"]}));
    assert_eq!(get("services/payments/operations").await["data"], json!(["charge"]));
    let operation = json!({"name": "charge", "spanKind": "server"});
    assert_eq!(get("operations?service=payments&spanKind=server").await["data"], json!([operation]));
    assert_eq!(get("operations?service=payments&spanKind=client").await["data"], json!([]));
    assert_eq!(get("v3/operations?service=payments").await, json!({"operations": [operation]}));
    let end = NOON / 1_000 + 60_000;
    assert_eq!(
        get(&format!("dependencies?endTs={end}&lookback=3600000")).await["data"],
        json!([{"parent": "checkout", "child": "payments", "callCount": 1}])
    );
    interface.app.gate().close().await;
    let session = interface.lake.session("acme").await;
    let rows =
        ask(&session, "select operation, count(*) as n from audit where interface = 'jaeger' group by 1 order by 1");
    assert_eq!(
        rows.await,
        json!([{"operation": "dependencies", "n": 1}, {"operation": "operations", "n": 4}, {"operation": "services", "n": 2}])
    );
}

//! The example that everybody in this field knows: users see 502s at checkout, because payments, in its new
//! build and with a flag switched to strict, refuses an amount with many digits.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::support::made::copy_of;
use crate::support::personal::Personal;
use crate::support::program::Tracerag;

pub const TRACE: &str = "7c1e0b0fd36c44a1b36f0c5a3d1e9f42";
const ROOT: &str = "ac1d92b0ac1d92b0";
const CLIENT: &str = "b2b2b2b2b2b2b2b2";
const SERVER: &str = "c3c3c3c3c3c3c3c3";
/// Commit of the build that failed.
const SHA: &str = "a1b2c3da1b2c3da1b2c3da1b2c3da1b2c3da1b2c";
/// 2026-11-16T12:00:05Z.
const START: u64 = 1_794_830_405_000_000_000;
const PERSONAL: &[&str] =
    &["jane.doe@example.org", "4111111111111111", "cust-771903", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0"];

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

fn int(key: &str, value: i64) -> Value {
    json!({"key": key, "value": {"intValue": value.to_string()}})
}

fn resource(service: &str, version: &str, instance: &str) -> Value {
    json!({"attributes": [
        text("service.name", service), text("service.namespace", "shop"), text("service.version", version),
        text("service.instance.id", instance), text("deployment.environment.name", "production"),
    ]})
}

fn spans() -> Value {
    let at = |offset: u64| (START + offset * 1_000_000).to_string();
    json!({"resourceSpans": [
        {"resource": resource("checkout", "2.3.0", "checkout-1"), "scopeSpans": [{"scope": {"name": "fastapi", "version": "0.65"}, "spans": [
            {"traceId": TRACE, "spanId": ROOT, "name": "POST /checkout", "kind": 2, "startTimeUnixNano": at(0), "endTimeUnixNano": at(900),
             "flags": 257, "status": {"code": 2}, "attributes": [
                text("http.method", "POST"), text("http.route", "/checkout"), int("http.status_code", 502),
                text("user.email", "jane.doe@example.org"),
                text("http.request.body.content", "{\"amount\": \"12.345678901234567890\", \"currency\": \"EUR\", \"customer_id\": \"cust-771903\", \"email\": \"jane.doe@example.org\", \"card\": \"4111111111111111\"}"),
                text("http.request.header.content-type", "application/json"),
             ]},
            {"traceId": TRACE, "spanId": CLIENT, "parentSpanId": ROOT, "name": "/payments.v1.Payments/Charge", "kind": 3,
             "startTimeUnixNano": at(100), "endTimeUnixNano": at(800), "status": {"code": 2, "message": "13 INTERNAL: decimal overflow"},
             "attributes": [text("rpc.system", "grpc"), text("rpc.service", "payments.v1.Payments"), text("rpc.method", "Charge"), int("rpc.grpc.status_code", 13),
                            text("authorization", "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0.c2lnbmF0dXJl")]},
        ]}]},
        {"resource": resource("payments", "1.9.0", "payments-b-1"), "scopeSpans": [{"scope": {"name": "otelgrpc"}, "spans": [
            {"traceId": TRACE, "spanId": SERVER, "parentSpanId": CLIENT, "name": "payments.v1.Payments/Charge", "kind": 2,
             "startTimeUnixNano": at(150), "endTimeUnixNano": at(750), "status": {"code": 2, "message": "decimal overflow"},
             "attributes": [text("rpc.system", "grpc"), text("rpc.method", "payments.v1.Payments/Charge")],
             "events": [
                {"timeUnixNano": at(200), "name": "feature_flag.evaluation", "attributes": [
                    text("feature_flag.key", "payments.decimal_mode"), text("feature_flag.result.variant", "strict"),
                    text("feature_flag.result.reason", "targeting_match"), text("feature_flag.provider.name", "flagd")]},
                {"timeUnixNano": at(700), "name": "exception", "attributes": [
                    text("exception.type", "*errors.errorString"),
                    text("exception.message", "decimal overflow: amount of jane.doe@example.org has 18 fractional digits"),
                    text("exception.stacktrace", "goroutine 41 [running]:\nshop/payments/rounding.Round(0xc000010000)\n\t/app/payments/rounding.go:117 +0x1d\nshop/payments.Charge(...)\n\t/app/payments/charge.go:58 +0x9f\nmain.main()\n\t/app/main.go:12 +0x20\n")]},
             ]},
        ]}]},
    ]})
}

fn logs() -> Value {
    let at = |offset: u64| (START + offset * 1_000_000).to_string();
    json!({"resourceLogs": [{"resource": resource("payments", "1.9.0", "payments-b-1"), "scopeLogs": [{"scope": {"name": "slog"}, "logRecords": [
        {"timeUnixNano": at(690), "observedTimeUnixNano": at(691), "severityNumber": 17, "severityText": "ERROR",
         "body": {"stringValue": "decimal overflow for order 88123, mail jane.doe@example.org"}, "traceId": TRACE, "spanId": SERVER, "attributes": [int("order.digits", 18)]},
        {"timeUnixNano": at(160), "severityNumber": 9, "severityText": "INFO", "body": {"stringValue": "charging"}, "traceId": TRACE, "spanId": SERVER},
    ]}]}]})
}

fn metrics() -> Value {
    let at = |offset: u64| (START + offset * 1_000_000).to_string();
    json!({"resourceMetrics": [{"resource": resource("payments", "1.9.0", "payments-b-1"), "scopeMetrics": [{"scope": {"name": "runtime"}, "metrics": [
        {"name": "process.memory.usage", "unit": "By", "gauge": {"dataPoints": [{"timeUnixNano": at(0), "asInt": "734003200"}, {"timeUnixNano": at(10_000), "asInt": "943718400"}]}},
    ]}]}]})
}

fn deployment(kind: &str, version: &str, sha: &str, at: &str, locks: &Value) -> Value {
    let mut event = json!({"context": {"specversion": "0.5.0", "id": format!("d-{version}"), "source": "/ci", "type": format!("dev.cdevents.service.{kind}.0.3.0"), "timestamp": at},
           "subject": {"id": "payments", "source": "/ci", "content": {"environment": {"id": "production"}, "artifactId": format!("pkg:oci/payments@sha256%3A{}?tag={version}", "ab".repeat(32))}},
           "customData": {"vcs.ref.head.revision": sha, "service.version": version, "build_number": "512"}, "customDataContentType": "application/json"});
    if !locks.is_null() {
        event["customData"]["lockfile_digests"] = locks.clone();
    }
    event
}

fn lines(values: &[Value]) -> String {
    values.iter().fold(String::new(), |mut text, value| {
        let _ = writeln!(text, "{value}");
        text
    })
}

/// The example as it happened.
pub fn replayed() -> Tracerag {
    copy_of("worked example", replayed_anew)
}

/// The same in a lake that no other test has a copy of.
pub fn replayed_anew() -> Tracerag {
    replayed_with(SHA, &Value::Null)
}

/// The same with another commit of the build that failed, and with the digests of its lock files, by their names.
pub fn replayed_with(sha: &str, locks: &Value) -> Tracerag {
    let tracerag = Tracerag::new();
    let files = files_of(sha, locks).map(|(name, text)| tracerag.write(name, text));
    tracerag.replay(&files.iter().map(std::path::PathBuf::as_path).collect::<Vec<_>>());
    tracerag
}

/// The files of the example, by name and with what is in them.
pub fn files() -> [(&'static str, String); 6] {
    files_of(SHA, &Value::Null)
}

fn files_of(sha: &str, locks: &Value) -> [(&'static str, String); 6] {
    let flags = [
        json!({"time": "2026-11-16T11:00:00Z", "feature_flag.key": "payments.decimal_mode", "feature_flag.result.variant": "lenient", "deployment.environment.name": "production", "service.name": "payments"}),
        json!({"time": "2026-11-16T12:00:01.234Z", "feature_flag.key": "payments.decimal_mode", "feature_flag.result.variant": "strict", "feature_flag.result.value": "strict", "deployment.environment.name": "production", "service.name": "payments"}),
        json!({"time": "2026-11-16T11:30:00Z", "config.key": "payments.pool.size", "config.value": "20", "service.name": "payments"}),
    ];
    let deployments = [
        deployment(
            "deployed",
            "1.8.2",
            "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f",
            "2026-11-10T08:00:00Z",
            &Value::Null,
        ),
        deployment("upgraded", "1.9.0", sha, "2026-11-16T11:55:00Z", locks),
    ];
    let heap = json!({"format": "pprof", "captured_at": "2026-11-16T12:00:05.750Z", "trace_id": TRACE, "span_id": SERVER, "service.name": "payments",
        "service.instance.id": "payments-b-1", "top_types": [{"type": "decimal.Big", "bytes": 3_840_000, "count": 12_000}],
        "top_sites": [{"function": "shop/payments/rounding.Round", "file": "payments/rounding.go", "line": 117, "bytes": 3_840_000, "count": 12_000}],
        "retained_paths": [["root", "ledger", "decimal.Big"]], "total_bytes": 9_000_000, "snapshot_uri": "s3://heaps/1", "snapshot_sha256": "00", "truncated": false});
    [
        ("traces.jsonl", lines(&[spans()])),
        ("logs.jsonl", lines(&[logs()])),
        ("metrics.jsonl", lines(&[metrics()])),
        ("flags.jsonl", lines(&flags)),
        ("deployments.jsonl", lines(&deployments)),
        ("heaps.jsonl", lines(&[heap])),
    ]
}

fn entry<'a>(evidence: &'a Value, section: &str, field: &str, value: &str) -> &'a Value {
    let entries = evidence[section].as_array().unwrap_or_else(|| panic!("no section {section}"));
    entries
        .iter()
        .find(|entry| entry[field] == value)
        .unwrap_or_else(|| panic!("no {section} with {field} = {value}: {:#}", evidence[section]))
}

/// The bundle of the failing trace carries everything that explains it, each with its anchor: the failure with the line
/// it came from, the flag as the service evaluated it, the build as the resource states it, log, heap, payload shape
/// and the memory's course. Its id is the hash of its evidence, asking again gives the same bytes, and it can be
/// had by its id.
#[test]
fn the_bundle_carries_the_evidence() {
    let tracerag = replayed();
    let bundle = tracerag.bundle(TRACE);
    let evidence = &bundle["evidence"];
    assert_eq!(evidence["sealed"], true);
    assert_eq!(evidence["trace"]["root_name"], "POST /checkout");
    assert_eq!(evidence["trace"]["complete"], true);
    let failure = entry(evidence, "failures", "kind", "exception");
    assert!(failure["message"].as_str().unwrap().starts_with("decimal overflow"), "{failure:#}");
    let frame = &failure["frames"][0];
    assert_eq!((frame["line"].as_i64(), frame["in_app"].as_bool()), (Some(117), Some(true)), "{failure:#}");
    let flag = entry(evidence, "flags", "key", "payments.decimal_mode");
    assert_eq!((flag["variant"].as_str(), flag["match"].as_str()), (Some("strict"), Some("evaluated")));
    assert_eq!(entry(evidence, "flags", "key", "payments.pool.size")["kind"], "config");
    let build = entry(evidence, "builds", "service", "payments");
    assert_eq!((build["version"].as_str(), build["match"].as_str()), (Some("1.9.0"), Some("stated")), "{build:#}");
    assert!(build["git_sha"].as_str().unwrap().starts_with("a1b2c3d"), "{build:#}");
    assert!(entry(evidence, "logs", "severity", "ERROR")["body"].as_str().unwrap().starts_with("decimal overflow"));
    assert_eq!(evidence["heaps"][0]["top_sites"][0]["file"], "payments/rounding.go");
    let payload = entry(evidence, "payloads", "direction", "request");
    assert_eq!(payload["sample"]["amount"], "12.345678901234567890");
    assert!(payload["redactions"].as_array().unwrap().iter().any(|field| field == "customer_id"), "{payload:#}");
    assert_eq!(evidence["metrics"][0]["name"], "process.memory.usage");

    let id = bundle["bundle_id"].as_str().unwrap();
    assert_eq!(id, tracerag_schemas::bundle::content_id(evidence).unwrap());
    assert_eq!(tracerag.bundle(TRACE)["bundle_id"], id);
    assert_eq!(tracerag.bundle(id)["evidence"], *evidence);
    assert_eq!(tracerag.number("select count(*) from bundles"), 1, "handing out twice stores once");
}

/// A bundle that was handed out is found by its id and can be marked as one to keep, and the mark taken away; an id
/// that nobody handed out is an error with nothing on stdout.
#[test]
fn a_bundle_is_pinned_by_its_id() {
    let tracerag = replayed();
    let bundle = tracerag.bundle(TRACE);
    let id = bundle["bundle_id"].as_str().unwrap();
    let pinned = || tracerag.number(&format!("select count(*) from bundles where pinned and bundle_id = '{id}'"));
    assert_eq!(pinned(), 0);
    assert_eq!(tracerag.done(&["bundle", "pin", id]), "");
    assert_eq!(pinned(), 1);
    assert_eq!(tracerag.bundle(id)["evidence"], bundle["evidence"]);
    assert_eq!(tracerag.done(&["bundle", "unpin", id]), "");
    assert_eq!(pinned(), 0);
    let unknown = format!("sha256:{}", "0".repeat(64));
    for arguments in [&["bundle", "pin", unknown.as_str()][..], &["bundle", unknown.as_str()]] {
        let ran = tracerag.run(arguments);
        assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{arguments:?}");
        assert!(ran.stderr.contains("bundle-unknown"), "{}", ran.stderr);
    }
}

/// What is personal is in no row of any table, in no file of the lake and in no answer, in whatever form it may be
/// written; the anonymous token stands in its place.
#[test]
fn personal_data_is_nowhere() {
    let tracerag = replayed();
    let answers = [
        tracerag.done(&["bundle", TRACE]),
        tracerag.done(&["bundle", "--format", "markdown", TRACE]),
        tracerag.done(&["prompt", TRACE]),
        tracerag.done(&["similar", "decimal overflow"]),
    ];
    let personal = Personal::of(PERSONAL.iter().copied());
    for answer in &answers {
        personal.assert_not_in("an answer", answer.as_bytes());
    }
    personal.assert_not_in_lake(&tracerag);
    let tokens = tracerag.sql("select attributes['user.email'] token from spans where parent_span_id is null");
    assert!(tokens[0]["token"].as_str().unwrap().starts_with("hmac:"), "{tokens:?}");
}

/// Old and new attribute names are both found, and the columns that everybody filters by are filled from either.
#[test]
fn renamed_attributes_keep_their_original() {
    let tracerag = replayed();
    let rows = tracerag.sql(
        "select http_request_method, http_response_status_code, attributes['http.method'] old, attributes['http.request.method'] new \
         from spans where attributes['http.route'] = '/checkout'",
    );
    assert_eq!(rows.len(), 1);
    assert_eq!(
        rows[0],
        json!({"http_request_method": "POST", "http_response_status_code": 502, "old": "POST", "new": "POST"})
    );
}

/// The same files again change nothing: they are known by their content.
#[test]
fn the_same_files_again_are_a_no_op() {
    let tracerag = replayed();
    let before = tracerag.sql("select (select count(*) from spans) s, (select count(*) from logs) l, (select count(*) from metrics) m, (select count(*) from flag_events) f, (select count(*) from heaps) h, (select count(*) from failures) x");
    let files = ["traces.jsonl", "logs.jsonl", "metrics.jsonl", "flags.jsonl", "deployments.jsonl", "heaps.jsonl"]
        .map(|name| tracerag.path(name));
    tracerag.replay(&files.iter().map(std::path::PathBuf::as_path).collect::<Vec<_>>());
    let after = tracerag.sql("select (select count(*) from spans) s, (select count(*) from logs) l, (select count(*) from metrics) m, (select count(*) from flag_events) f, (select count(*) from heaps) h, (select count(*) from failures) x");
    assert_eq!(before, after);
}

/// A person's words find the incident; the answer is a table with a distance and a reason.
#[test]
fn similar_finds_the_incident() {
    let tracerag = replayed();
    let answer = tracerag.done(&["similar", "decimal overflow"]);
    assert!(answer.contains("decimal overflow"), "{answer}");
    let of_trace = tracerag.done(&["similar", "--trace", TRACE]);
    assert!(of_trace.contains("same fingerprint"), "{of_trace}");
}

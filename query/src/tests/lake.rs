//! The lake of the tests: two tenants, two days, one failing trace with everything that explains it.

use std::sync::Arc;

use arrow::json::ReaderBuilder;
use arrow::record_batch::RecordBatch;
use serde_json::{Value, json};
use tempfile::TempDir;
use tracerag_index::{Epoch, Lake, LakeOptions, SourceProgress, Writer};
use tracerag_schemas::time::{SECOND, rfc3339};
use tracerag_schemas::{SourcePartition, Table};

use crate::{Session, SessionOptions, json as rows_json};

/// 2026-11-23T12:00:00Z, in ns.
pub(crate) const NOON: i64 = 1_795_435_200 * SECOND;
/// The failing trace of tenant `acme`.
pub(crate) const FAILING: &str = "0af7651916cd43dd8448eb211c80319c";
/// A good trace of the day before.
pub(crate) const GOOD: &str = "1bf7651916cd43dd8448eb211c80319c";
/// A trace of tenant `other`.
pub(crate) const FOREIGN: &str = "2cf7651916cd43dd8448eb211c80319c";

pub(crate) struct TestLake {
    _folder: TempDir,
    pub lake: Lake,
}

/// A time near noon, as the lake's JSON form takes it.
pub(crate) fn at(seconds: i64) -> String {
    rfc3339(NOON + seconds * SECOND)
}

/// Rows from JSON objects; what they leave out is null.
pub(crate) fn batch(table: Table, rows: &[Value]) -> RecordBatch {
    let schema = table.lake_schema();
    let mut decoder = ReaderBuilder::new(Arc::clone(&schema)).build_decoder().unwrap();
    decoder.serialize(rows).unwrap();
    decoder.flush().unwrap().unwrap_or_else(|| RecordBatch::new_empty(schema))
}

impl TestLake {
    pub(crate) async fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::open_or_create(LakeOptions::new(folder.path().to_str().unwrap())).await.unwrap();
        Self { _folder: folder, lake }
    }

    /// The whole example, in the order given by `reversed`, up to a stream time in seconds after noon.
    pub(crate) async fn example(reversed: bool, stream_time: i64) -> Self {
        let this = Self::empty().await;
        let mut tables = example();
        if reversed {
            tables.reverse();
            for (_, rows) in &mut tables {
                rows.reverse();
            }
        }
        this.write(&tables, NOON + stream_time * SECOND).await;
        this
    }

    pub(crate) async fn write(&self, tables: &[(Table, Vec<Value>)], stream_time: i64) {
        let source = SourcePartition::new("cluster", "otlp_spans", 0);
        let mut writer = Writer::new(self.lake.clone(), "test".to_owned()).await.unwrap();
        let resume = writer.claim(std::slice::from_ref(&source)).await.unwrap();
        let to = resume[0].next.unwrap_or(0) + 10;
        let rows = tables.iter().map(|(table, rows)| (*table, batch(*table, rows))).collect();
        let sources = vec![SourceProgress { source, to, low_watermark: to, stream_time }];
        writer.write(Epoch { rows, sources, closed: vec![] }).await.unwrap();
    }

    pub(crate) async fn session(&self, tenant: &str) -> Session {
        Session::open(&self.lake, SessionOptions::new(tenant)).await.unwrap()
    }
}

/// The answer of a query, as JSON.
pub(crate) async fn ask(session: &Session, query: &str) -> Value {
    rows(session.collect(query, None).await.unwrap())
}

pub(crate) fn rows(batches: Vec<RecordBatch>) -> Value {
    let rows = batches.iter().flat_map(|batch| rows_json::rows(batch).unwrap());
    Value::Array(rows.map(Value::Object).collect())
}

fn with(mut row: Value, more: Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        row[key] = value.clone();
    }
    row
}

pub(crate) fn row(tenant: &str, offset: i64, ingested: i64, more: Value) -> Value {
    with(
        json!({"tenant_id": tenant, "kafka_topic": "otlp_spans", "kafka_partition": 0, "kafka_offset": offset,
               "ingested_at": at(ingested)}),
        more,
    )
}

pub(crate) fn span(tenant: &str, trace_id: &str, base: i64, own: Value) -> Value {
    let common = json!({
        "trace_id": trace_id, "revision": 1, "kind": "SERVER", "status_code": "UNSET",
        "deployment_environment_name": "production", "start_time": at(base), "end_time": at(base + 4),
        "duration_ns": 4 * SECOND, "attributes": {}, "attributes_types": {}, "resource_attributes": {},
        "resource_attributes_types": {}, "events": [], "links": [],
    });
    row(tenant, 1, base + 5, with(common, own))
}

pub(crate) fn trace(tenant: &str, trace_id: &str, revision: i32, base: i64, own: Value) -> Value {
    let common = json!({
        "trace_id": trace_id, "revision": revision, "root_span_id": "00f067aa0ba902b7", "root_name": "POST /checkout",
        "root_service_name": "checkout", "services": ["checkout"], "start_time": at(base), "end_time": at(base + 4),
        "duration_ns": 4 * SECOND, "status": "UNSET", "span_count": 1, "closed_at": at(base + 6), "complete": true,
        "close_reason": "root_ended", "incomplete_reasons": [], "flags_in_effect": [], "builds_in_effect": [],
        "redaction_policy": "standard", "redaction_version": 1,
    });
    row(tenant, 1, base + 5, with(common, own))
}

/// The failing checkout of tenant `acme`, a good one a day earlier, and a trace of another tenant.
pub(crate) fn example() -> Vec<(Table, Vec<Value>)> {
    let day = 86_400;
    let root = "00f067aa0ba902b7";
    let charge = "b7ad6b7169203331";
    let flags = json!([
        {"kind": "flag", "key": "payments.decimal_mode", "variant": "strict", "value": "strict", "service": "payments",
         "since": at(-60), "match": "evaluated", "span_id": charge},
        {"kind": "config", "key": "payments.pool.size", "value": "20", "service": "payments", "since": at(-3600),
         "match": "as_of"},
    ]);
    let builds = json!([
        {"service": "payments", "environment": "production", "version": "1.9.0", "git_sha": "a1b2c3d4e5f6a7b8",
         "deployed_at": at(-600), "match": "stated", "lockfile_digests": {"go.sum": "sha256:1"}, "schema_migrations": ["0042"]},
        {"service": "checkout", "environment": "production", "version": "2.3.0", "match": "as_of"},
    ]);
    let spans = vec![
        span(
            "acme",
            FAILING,
            0,
            json!({
                "span_id": root, "name": "POST /checkout", "service_name": "checkout", "service_instance_id": "checkout-a-1",
                "service_version": "2.3.0", "status_code": "ERROR", "http_route": "/checkout",
                "http_response_status_code": 502, "attributes": {"http.route": "/checkout", "http.response.status_code": "502"},
                "attributes_types": {"http.response.status_code": "int"},
                "resource_attributes": {"service.name": "checkout"},
            }),
        ),
        span(
            "acme",
            FAILING,
            0,
            json!({
                "span_id": charge, "parent_span_id": root, "name": "charge", "service_name": "payments",
                "service_instance_id": "payments-b-1", "service_version": "1.9.0", "start_time": at(1), "end_time": at(3),
                "duration_ns": 2 * SECOND, "status_code": "ERROR", "status_message": "decimal overflow",
                "build_git_sha": "a1b2c3d4e5f6a7b8", "build_match": "stated",
                "resource_attributes": {"service.name": "payments"},
                "events": [{"time": at(3), "name": "exception", "attributes": {"exception.type": "OverflowError"},
                            "attributes_types": {}, "dropped_attributes_count": 0}],
                "links": [{"trace_id": GOOD, "span_id": "1111111111111111", "attributes": {}, "attributes_types": {}}],
            }),
        ),
        span(
            "acme",
            GOOD,
            -day,
            json!({
                "span_id": root, "name": "POST /checkout", "service_name": "checkout", "attributes": {"http.route": "/checkout"},
                "links": [],
            }),
        ),
        // Sent after the failing trace, and pointing back at it.
        span(
            "acme",
            "3df7651916cd43dd8448eb211c80319c",
            30,
            json!({
                "span_id": "2222222222222222", "name": "retry", "service_name": "worker", "kind": "CONSUMER",
                "links": [{"trace_id": FAILING, "span_id": charge, "attributes": {}, "attributes_types": {}}],
            }),
        ),
        span(
            "other",
            FOREIGN,
            0,
            json!({"span_id": root, "name": "secret", "service_name": "checkout",
            "links": [{"trace_id": FAILING, "span_id": charge, "attributes": {}, "attributes_types": {}}]}),
        ),
    ];
    let traces = vec![
        trace("acme", FAILING, 1, 0, json!({"span_count": 1, "status": "UNSET"})),
        trace(
            "acme",
            FAILING,
            2,
            0,
            json!({
                "services": ["payments", "checkout"], "status": "ERROR", "span_count": 2, "flags_in_effect": flags,
                "builds_in_effect": builds,
            }),
        ),
        trace("acme", GOOD, 1, -day, json!({})),
        trace("other", FOREIGN, 1, 0, json!({"root_name": "secret"})),
    ];
    let log = |tenant: &str, seconds: i64, own: Value| {
        let common = json!({"time": at(seconds), "severity_number": 17, "severity_text": "Error", "attributes": {},
            "attributes_types": {}, "resource_attributes": {}});
        row(tenant, 2, seconds + 1, with(common, own))
    };
    let logs = vec![
        log(
            "acme",
            3,
            json!({"trace_id": FAILING, "span_id": charge, "service_name": "payments", "body": "decimal overflow",
            "record_hash": "00000000000000000000000000000001", "attributes": {"amount": "12.5"},
            "attributes_types": {"amount": "double"}}),
        ),
        log(
            "acme",
            2,
            json!({"trace_id": FAILING, "service_name": "checkout", "body": "[{\"intValue\":\"1\"}]", "body_type": "array",
            "severity_number": 9, "record_hash": "00000000000000000000000000000002"}),
        ),
        log(
            "acme",
            2,
            json!({"service_name": "payments", "service_instance_id": "payments-b-1", "body": "pool exhausted",
            "severity_number": 13, "record_hash": "00000000000000000000000000000003"}),
        ),
        log(
            "acme",
            2,
            json!({"service_name": "payments", "service_instance_id": "payments-a-9", "body": "elsewhere",
            "record_hash": "00000000000000000000000000000004"}),
        ),
        log(
            "acme",
            500,
            json!({"trace_id": "4ef7651916cd43dd8448eb211c80319c", "service_name": "payments", "body": "early",
            "record_hash": "00000000000000000000000000000005"}),
        ),
        log(
            "other",
            3,
            json!({"trace_id": FAILING, "span_id": charge, "service_name": "payments", "body": "secret",
            "record_hash": "00000000000000000000000000000006"}),
        ),
    ];
    let failures = vec![row(
        "acme",
        1,
        5,
        json!({
            "failure_id": "f1", "trace_id": FAILING, "span_id": charge, "revision": 2, "time": at(3), "service_name": "payments",
            "kind": "exception", "exception_type": "OverflowError", "message": "decimal overflow", "fingerprint": "abcd",
            "fingerprint_version": 1, "grouped_by": "exception type and in-app frames", "build_git_sha": "a1b2c3d4e5f6a7b8",
            "frames": [{"function": "Round", "file": "payments/rounding.go", "line": 117, "in_app": true}], "flags": {},
        }),
    )];
    let point = |name: &str, instance: &str, seconds: i64, own: Value| {
        let common = json!({"time": at(seconds), "name": name, "kind": "GAUGE", "unit": "By", "service_name": "payments",
            "service_instance_id": instance, "attributes": {}, "attributes_types": {}, "exemplars": []});
        row("acme", 3, seconds + 1, with(common, own))
    };
    let metrics = vec![
        point("process.memory.usage", "payments-b-1", -30, json!({"value": 1.5})),
        point(
            "process.memory.usage",
            "payments-b-1",
            0,
            json!({"value": 9_007_199_254_740_994.0, "value_int": 9_007_199_254_740_993_i64}),
        ),
        point("process.memory.usage", "payments-a-9", 0, json!({"value": 3.0})),
        point("process.memory.usage", "payments-b-1", 90, json!({"value": 4.0})),
        point("orders.placed", "payments-b-1", 1, json!({"value": 1.0})),
        point(
            "orders.value",
            "payments-b-1",
            1,
            json!({"value": 2.0, "exemplars": [
            {"time": at(1), "value": 2.0, "trace_id": FAILING, "span_id": charge, "attributes": {}, "attributes_types": {}}]}),
        ),
    ];
    let payloads = vec![row(
        "acme",
        1,
        5,
        json!({
            "trace_id": FAILING, "span_id": charge, "direction": "request", "content_type": "application/json",
            "shape": "{\"amount\":\"string\"}", "sample": "{\"amount\":\"12.345678901234567890\"}", "redactions": ["customer_id"],
            "size_bytes": 120,
        }),
    )];
    let heap = |ingested: i64, own: Value| {
        let common = json!({"captured_at": at(4), "service_name": "payments", "format": "pprof", "git_sha": "a1b2c3d4e5f6a7b8",
            "top_types": [{"type": "decimal.Big", "bytes": 3_840_000, "count": 12_000}],
            "top_sites": [{"function": "Round", "file": "payments/rounding.go", "line": 117, "bytes": 10, "count": 1}],
            "retained_paths": [["root", "cache"]], "total_bytes": 5_000_000, "truncated": false});
        row("acme", 4, ingested, with(common, own))
    };
    let heaps = vec![
        heap(20, json!({"trace_id": FAILING, "span_id": charge})),
        heap(21, json!({"service_instance_id": "payments-b-1", "captured_at": at(100)})),
        heap(4_000, json!({"trace_id": FAILING, "span_id": charge, "captured_at": at(9)})),
    ];
    let flag = |seconds: i64, variant: Option<&str>, own: Value| {
        let common = json!({"kind": "flag", "key": "payments.decimal_mode", "variant": variant, "service_name": "payments",
            "valid_from": at(seconds), "source": "change"});
        row("acme", seconds + 90_000, seconds, with(common, own))
    };
    let flags = vec![
        flag(-3600, Some("lenient"), json!({})),
        flag(-60, Some("strict"), json!({})),
        flag(1, Some("strict"), json!({"source": "evaluation", "trace_id": FAILING, "span_id": charge})),
        flag(600, None, json!({})),
    ];
    let build = |seconds: i64, version: &str| {
        row(
            "acme",
            seconds + 90_000,
            seconds,
            json!({"service_name": "payments", "deployment_environment_name": "production",
            "version": version, "valid_from": at(seconds), "source": "cdevent", "lockfile_digests": {}, "schema_migrations": []}),
        )
    };
    let builds = vec![build(-7200, "1.8.2"), build(-600, "1.9.0")];
    let count = |seconds: i64, fingerprint: &str, failures: i64, own: Value| {
        let common = json!({"fingerprint": fingerprint, "fingerprint_version": 1, "title": "OverflowError: decimal overflow",
            "service_name": "payments", "exception_type": "OverflowError", "text": "OverflowError decimal overflow",
            "first_seen": at(seconds), "last_seen": at(seconds), "failure_count": failures, "trace_count": 1,
            "versions": ["1.9.0"], "example_trace_ids": [FAILING]});
        row("acme", 1, seconds, with(common, own))
    };
    let counts = vec![
        count(3, "abcd", 2, json!({})),
        count(
            9,
            "abcd",
            3,
            json!({"title": "a later title", "echo_count": 4, "versions": ["1.8.2", "1.9.0"], "example_trace_ids": [GOOD]}),
        ),
    ];
    let dead =
        vec![row("acme", 9, 1, json!({"reason": "not otlp", "detail": "d", "size_bytes": 3, "timestamp": at(0)}))];
    vec![
        (Table::Spans, spans),
        (Table::Traces, traces),
        (Table::Logs, logs),
        (Table::Failures, failures),
        (Table::Metrics, metrics),
        (Table::Payloads, payloads),
        (Table::Heaps, heaps),
        (Table::Flags, flags),
        (Table::Builds, builds),
        (Table::IncidentCounts, counts),
        (Table::DeadLetters, dead),
    ]
}

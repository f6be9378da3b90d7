//! Table functions and scalars.

use datafusion::common::{ParamValues, ScalarValue};
use serde_json::json;
use tracerag_index::templates;
use tracerag_schemas::Table;
use tracerag_schemas::time::SECOND;

use super::lake::{FAILING, NOON, TestLake, ask, at, rows};
use crate::{QueryError, bundle};

/// A trace comes back in tree order, with depth, self time and critical path.
#[tokio::test]
async fn trees_are_in_order() {
    let lake = TestLake::example(false, 100).await;
    let session = lake.session("acme").await;
    let query = format!("select name, depth, self_time_ns, on_critical_path from trace_tree('{FAILING}')");
    assert_eq!(
        ask(&session, &query).await,
        json!([
            {"name": "POST /checkout", "depth": 0, "self_time_ns": 2_000_000_000, "on_critical_path": true},
            {"name": "charge", "depth": 1, "self_time_ns": 2_000_000_000, "on_critical_path": true},
        ])
    );
    let query = format!("select t.name from trace_tree(lower(upper('{FAILING}'))) as t where t.depth = 1");
    assert_eq!(ask(&session, &query).await, json!([{"name": "charge"}]));
}

/// Records are counted by template, of the tenant alone; those without one are a row of their own. Options narrow them.
#[tokio::test]
async fn log_templates_are_counted() {
    let lake = TestLake::empty().await;
    let log = |tenant: &str, hash: u32, seconds: i64, body: &str, service: &str| {
        let template = templates::template(body, None);
        json!({"tenant_id": tenant, "time": at(seconds), "body": body, "service_name": service, "severity_number": 9,
               "record_hash": format!("{hash:032x}"), "template": template,
               "template_id": template.as_deref().map(templates::template_id),
               "attributes": {}, "attributes_types": {}, "resource_attributes": {}, "kafka_topic": "logs",
               "kafka_partition": 0, "kafka_offset": hash, "ingested_at": at(seconds)})
    };
    let rows = vec![
        log("acme", 1, 0, "cart 1 took 5 ms", "shop"),
        log("acme", 2, 9, "cart 22 took 1 s", "shop"),
        log("acme", 3, 5, "started", "stock"),
        log("acme", 4, 6, "", "stock"),
        log("other", 5, 7, "cart 1 took 5 ms", "shop"),
    ];
    lake.write(&[(Table::Logs, rows)], NOON + 100 * SECOND).await;
    let session = lake.session("acme").await;
    let query = "select template, service_name, record_count, last_seen from log_templates()";
    assert_eq!(
        ask(&session, query).await,
        json!([
            {"template": "cart <*> took <*>", "service_name": "shop", "record_count": 2, "last_seen": at(9)},
            {"template": "started", "service_name": "stock", "record_count": 1, "last_seen": at(5)},
            {"template": null, "service_name": null, "record_count": 1, "last_seen": at(6)},
        ])
    );
    let query = "select l.body from logs l join log_templates('{\"service\": \"shop\"}') t \
                 on array_has(t.template_ids, l.template_id) order by l.time";
    assert_eq!(ask(&session, query).await, json!([{"body": "cart 1 took 5 ms"}, {"body": "cart 22 took 1 s"}]));
    let error = session.collect("select * from log_templates('{\"servce\": \"x\"}')", None).await.unwrap_err();
    assert!(error.to_string().contains("service, trace_id, since, until"), "{error}");
}

/// Bound parameters reach the arguments of table functions, by position and by name, and beside
/// others of the same query.
#[tokio::test]
async fn parameters_are_bound_in_arguments() {
    let lake = TestLake::example(false, 100).await;
    let session = lake.session("acme").await;
    let id = ScalarValue::from(FAILING);
    let by_position = ParamValues::from(vec![id.clone(), ScalarValue::from(1_i64)]);
    let answer = session.collect("select name from trace_tree($1) where depth = $2", Some(by_position)).await.unwrap();
    assert_eq!(rows(answer), json!([{"name": "charge"}]));
    let by_name = ParamValues::from(vec![("trace", id)]);
    let answer = session.collect("select sealed from evidence_bundle($trace)", Some(by_name)).await.unwrap();
    assert_eq!(rows(answer), json!([{"sealed": false}]));
    let error = session.collect("select 1 from evidence_bundle($1)", None).await.unwrap_err();
    assert!(matches!(error, QueryError::Parameters(_)), "{error}");
    let too_many = ParamValues::from(vec![ScalarValue::from(1_i64)]);
    let error = session.collect("select 1", Some(too_many)).await.unwrap_err();
    assert!(matches!(error, QueryError::Parameters(_)), "{error}");
}

/// Wrong arguments are refused with the usage, and a text that is no trace id with what one is.
#[tokio::test]
async fn wrong_arguments_say_what_is_right() {
    let lake = TestLake::empty().await;
    let session = lake.session("acme").await;
    for query in [
        "select * from evidence_bundle()",
        "select * from evidence_bundle('a', 'b')",
        "select * from evidence_bundle(null)",
        "select * from evidence_bundle(5)",
        "select * from trace_tree(name)",
        "select * from similar_incidents('x', 0)",
        "select * from similar_incidents('x', 'many')",
    ] {
        let error = session.collect(query, None).await.unwrap_err();
        assert!(matches!(error, QueryError::Argument { .. }), "{query}: {error}");
    }
    let error = session.collect("select * from evidence_bundle('sha256:00ab')", None).await.unwrap_err();
    assert!(
        error.to_string().contains("select bundle from bundles where bundle_id = 'sha256:00ab'"),
        "the error says how a stored bundle is read: {error}"
    );
    let error = session.collect("select * from evidence_bundle('nonsense')", None).await.unwrap_err();
    assert!(matches!(error, QueryError::NotATraceId { .. }), "{error}");
}

/// What SQL's function gives is the bundle that the library assembles, similar incidents included.
#[tokio::test]
async fn the_function_gives_the_bundle() {
    let lake = TestLake::example(false, 10_000).await;
    let session = lake.session("acme").await;
    let answer = ask(&session, &format!("select * from evidence_bundle('{}')", FAILING.to_uppercase())).await;
    let assembled = bundle::assemble(&session, FAILING).await.unwrap();
    assert_eq!(answer[0]["bundle_id"], json!(assembled.bundle_id));
    assert_eq!((&answer[0]["revision"], &answer[0]["sealed"]), (&json!(2), &json!(true)));
    let document: serde_json::Value = serde_json::from_str(answer[0]["bundle"].as_str().unwrap()).unwrap();
    assert_eq!(document["context"]["similar"][0]["fingerprint"], "abcd");
    assert_eq!(document, json!(assembled));
    let query = format!(
        "select json_get(bundle, 'evidence', 'spans', 1, 'name') as name,
                         json_get_int(bundle, 'evidence', 'trace', 'revision') as revision
                         from evidence_bundle('{FAILING}')"
    );
    assert_eq!(ask(&session, &query).await, json!([{"name": "charge", "revision": 2}]));
}

/// The scalars, on values, nulls and what they cannot read.
#[tokio::test]
async fn scalars_compute() {
    let lake = TestLake::empty().await;
    let session = lake.session("acme").await;
    let query = "select hex(unhex('AC1D')) as h, unhex('zz') as bad, hex(null) as nothing,
                 json_get('{\"a\": [1, {\"b\": \"x\"}]}', 'a', 1, 'b') as text, json_get('{\"a\": [1]}', 'a') as list,
                 json_get('no json', 'a') as broken, json_get_float('{\"a\": 1.5}', 'a') as f,
                 json_get_bool('{\"a\": true}', 'a') as b, json_get_int('[7]', 0) as i, json_get_int('[7]', 9) as beyond";
    assert_eq!(
        ask(&session, query).await,
        json!([{"h": "ac1d", "bad": null, "nothing": null, "text": "x", "list": "[1]", "broken": null, "f": 1.5, "b": true,
                "i": 7, "beyond": null}])
    );
}

/// Bound parameters work in scalars and aggregates as they do in table functions: as keys and steps, as
/// values, as intervals and percentiles.
#[tokio::test]
async fn parameters_are_bound_in_scalars_and_aggregates() {
    let lake = TestLake::example(false, 100).await;
    let session = lake.session("acme").await;
    let text = |text: &str| ScalarValue::from(text);
    let hour = ScalarValue::new_interval_mdn(0, 0, 3_600 * SECOND);
    let document = text("{\"a\": [1, {\"b\": 2.5}]}");
    let questions = [
        (
            "select name from spans where attr(attributes, $1) = $2 and trace_id = $3",
            vec![text("http.route"), text("/checkout"), text(FAILING)],
            json!([{"name": "POST /checkout"}]),
        ),
        (
            "select hex($1) as h, hex(unhex($2)) as again",
            vec![ScalarValue::Binary(Some(vec![0xac, 0x1d])), text("AC1D")],
            json!([{"h": "ac1d", "again": "ac1d"}]),
        ),
        (
            "select json_get($1, $2, $3, 'b') as text, json_get_float($1, $2, $3, 'b') as number,
                    json_get_int($1, $2, 0) as whole",
            vec![document, text("a"), ScalarValue::from(1_i64)],
            json!([{"text": "2.5", "number": 2.5, "whole": 1}]),
        ),
        (
            "select date_bin($1, start_time) as hour, count(*) as n from spans group by 1 order by 1",
            vec![hour],
            json!([{"hour": at(-86_400), "n": 1}, {"hour": at(0), "n": 3}]),
        ),
        (
            "select cast(approx_percentile_cont($1) within group (order by duration_ns) as bigint) as longest
             from spans where trace_id = $2",
            vec![ScalarValue::from(1.0_f64), text(FAILING)],
            json!([{"longest": 4 * SECOND}]),
        ),
    ];
    for (query, values, expected) in questions {
        let answer = session.collect(query, Some(ParamValues::from(values))).await;
        assert_eq!(rows(answer.unwrap_or_else(|error| panic!("{query}: {error}"))), expected, "{query}");
    }
}

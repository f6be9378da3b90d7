//! The wall between tenants.

use serde_json::json;

use super::lake::{FAILING, FOREIGN, TestLake, ask};
use crate::{QueryError, bundle};

/// No way of asking shows another tenant's rows: tables, views, subqueries, set operations, joins,
/// aggregates, contradicting filters.
#[tokio::test]
async fn rows_of_others_are_never_seen() {
    let lake = TestLake::example(false, 100).await;
    let session = lake.session("acme").await;
    for query in [
        "select 1 as x from spans where tenant_id = 'other'",
        "select 1 as x from spans where tenant_id <> 'acme'",
        "select 1 as x from spans where tenant_id = 'acme' or tenant_id = 'other' and name = 'secret'
           group by name having name = 'secret'",
        "select 1 as x from traces where root_name = 'secret'",
        "select 1 as x from trace_revisions where tenant_id = 'other'",
        "select 1 as x from logs where body = 'secret'",
        "select joined_by as x from logs where tenant_id = 'other'",
        "with s as (select * from spans) select 1 as x from s where name = 'secret'",
        "select 1 as x from (select * from spans union all select * from spans) where name = 'secret'",
        "select 1 as x from spans a join spans b on a.span_id = b.span_id where b.name = 'secret'",
        "select 1 as x from traces t where exists (select 1 from spans s where s.name = 'secret')",
        "select 1 as x where 'secret' in (select name from spans)",
    ] {
        assert_eq!(ask(&session, query).await, json!([]), "{query}");
    }
    assert_eq!(ask(&session, "select count(distinct tenant_id) as n from spans").await, json!([{"n": 1}]));
    let other = lake.session("other").await;
    assert_eq!(ask(&other, "select name from spans").await, json!([{"name": "secret"}]));
    // A tenant's name is a value, never a part of a query.
    let odd = lake.session("x' or '1' = '1").await;
    assert_eq!(ask(&odd, "select count(*) as n from spans").await, json!([{"n": 0}]));
}

/// Table functions answer for another tenant's trace as for one that does not exist.
#[tokio::test]
async fn functions_do_not_know_others_traces() {
    let lake = TestLake::example(false, 10_000).await;
    let session = lake.session("acme").await;
    for function in ["evidence_bundle", "trace_tree"] {
        let query = format!("select * from {function}('{FOREIGN}')");
        let error = session.collect(&query, None).await.unwrap_err();
        assert!(matches!(error, QueryError::TraceUnknown { .. }), "{function}: {error}");
    }
    let bundle = bundle::assemble(&session, FAILING).await.unwrap();
    let text = serde_json::to_string(&bundle).unwrap();
    assert!(!text.contains("secret") && !text.contains(FOREIGN), "{text}");
    // A stored bundle is its tenant's alone.
    bundle::store(&session, bundle.clone()).await.unwrap();
    let other = lake.session("other").await;
    let error = bundle::by_id(&other, &bundle.bundle_id).await.unwrap_err();
    assert!(matches!(error, QueryError::BundleUnknown { .. }), "{error}");
    assert_eq!(ask(&other, "select count(*) as n from bundles").await, json!([{"n": 0}]));
}

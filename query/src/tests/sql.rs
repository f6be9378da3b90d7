//! SQL over stored tables and views.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use datafusion::physical_plan::displayable;
use serde_json::{Value, json};
use tracerag_schemas::Table;
use tracerag_schemas::time::SECOND;

use super::lake::{FAILING, GOOD, NOON, TestLake, ask, at, batch, example, row, rows, span, trace};
use crate::{QueryError, Session, SessionOptions, fixes, grouping, page};

/// A query's plan as a text.
async fn planned(session: &Session, query: &str) -> String {
    let plan = session.plan(query).await.unwrap();
    let physical = session.context().state().create_physical_plan(&plan).await.unwrap();
    displayable(physical.as_ref()).indent(true).to_string()
}

/// Lance's reads in a query's plan whose address has a part.
async fn reads(session: &Session, query: &str, part: &str) -> Vec<String> {
    let plan = planned(session, query).await;
    let reads = plan.split("LanceRead: uri=").skip(1);
    reads.filter(|read| read.split(',').next().is_some_and(|uri| uri.contains(part))).map(str::to_owned).collect()
}

/// Rows of a table that a query's plan takes by their addresses, where it reads the table in no other way.
async fn taken(session: &Session, query: &str, table: &str) -> Option<usize> {
    let plan = planned(session, query).await;
    if plan.contains(&format!("/{table}/")) || plan.contains(&format!("/{table}.lance")) {
        return None;
    }
    let of_table = format!("TakenExec: table={table}, ");
    let rows = plan
        .split(of_table.as_str())
        .skip(1)
        .map(|found| found.split_once("rows=").unwrap().1.split(',').next().unwrap().parse::<usize>());
    rows.sum::<Result<_, _>>().ok()
}

/// Days of `spans` that a query's plan would open.
async fn opened(session: &Session, query: &str) -> usize {
    let reads = reads(session, query, "").await;
    // A dataset may be read twice: the filter's columns first, the others for the rows that are left.
    reads.iter().filter_map(|read| read.split(',').next()).collect::<HashSet<_>>().len()
}

/// Rows of all days are one table: counted, filtered and projected as such, maps included.
#[tokio::test]
async fn a_table_unites_its_days() {
    let lake = TestLake::example(false, 100).await;
    let session = lake.session("acme").await;
    assert_eq!(ask(&session, "select count(*) as n from spans").await, json!([{"n": 4}]));
    let query = "select trace_id, http_response_status_code as code from spans
                 where attributes['http.route'] = '/checkout' order by start_time";
    assert_eq!(
        ask(&session, query).await,
        json!([{"trace_id": GOOD, "code": null}, {"trace_id": FAILING, "code": 502}])
    );
    let query = "select count(*) as n from spans where attr(attributes, 'http.route') is not null and kind = 'SERVER'";
    assert_eq!(ask(&session, query).await, json!([{"n": 2}]));
    let query = "select name from spans where name in ('charge', 'x') or duration_ns < 0 limit 1";
    assert_eq!(ask(&session, query).await, json!([{"name": "charge"}]));
}

/// A bound on a time column keeps days unopened, however it is written; the answer stays right.
#[tokio::test]
async fn time_bounds_prune_days() {
    let lake = TestLake::example(false, 100).await;
    let session = lake.session("acme").await;
    assert_eq!(opened(&session, "select name from spans").await, 2);
    for bound in [
        "start_time >= '2026-11-23T00:00:00Z'",
        "start_time >= timestamp '2026-11-23T00:00:00'",
        "start_time > timestamp '2026-11-24 00:00:00' - interval '1 day'",
        "ingested_at >= '2026-11-23'",
        "start_time between '2026-11-23T00:00:00Z' and '2026-11-24T00:00:00Z'",
    ] {
        let query = format!("select name from spans where {bound}");
        assert_eq!(opened(&session, &query).await, 1, "{bound}");
        let query = format!("select count(*) as n from spans where {bound}");
        assert_eq!(ask(&session, &query).await, json!([{"n": 3}]), "{bound}");
    }
    let traces = |bound: &str| format!("select trace_id from traces where {bound}");
    assert_eq!(opened(&session, &traces("start_time >= '2026-11-24T00:00:00Z'")).await, 0);
    assert_eq!(opened(&session, &traces("start_time < '2026-11-23T00:00:00Z'")).await, 1);
    assert_eq!(opened(&session, &traces("start_time >= '2026-11-23T00:00:00Z'")).await, 2, "and the day before");
}

/// Rows that a query names by an id are taken from where the index says, in all days. Guarantees that no day is scanned for
/// them, and that the answer is that of a scan, also with filters beside the id, with ids that are nowhere, and for another
/// tenant, who has a record of the same trace id.
#[tokio::test]
async fn rows_are_taken_by_their_ids() {
    let lake = TestLake::example(false, 100).await;
    let (session, other) = (lake.session("acme").await, lake.session("other").await);
    for table in ["spans", "traces", "trace_revisions", "logs", "failures", "payloads"] {
        let stored = if table == "trace_revisions" { "traces" } else { table };
        for (by_id, by_scan) in [
            (format!("trace_id = '{FAILING}'"), format!("trace_id || '' = '{FAILING}'")),
            (format!("trace_id in ('{FAILING}', '{GOOD}', 'x')"), format!("trace_id || '' in ('{FAILING}', '{GOOD}')")),
            (
                format!("trace_id = '{FAILING}' and tenant_id <> 'acme'"),
                format!("trace_id || '' = '{FAILING}' and tenant_id <> 'acme'"),
            ),
            (String::from("trace_id = 'x'"), String::from("false")),
        ] {
            let query = |filter: &str| format!("select count(*) as n, min(trace_id) as t from {table} where {filter}");
            for session in [&session, &other] {
                let found = ask(session, &query(&by_id)).await;
                assert_eq!(found, ask(session, &query(&by_scan)).await, "{table}: {by_id}");
                assert!(taken(session, &query(&by_id), stored).await.is_some(), "{table}: {by_id}");
            }
        }
    }
    let wide = format!("select * from spans where trace_id = '{FAILING}' order by span_id");
    let scanned = format!("select * from spans where trace_id || '' = '{FAILING}' order by span_id");
    assert_eq!(ask(&session, &wide).await, ask(&session, &scanned).await);
    let foreign = format!("select count(*) as n from spans where trace_id = '{FAILING}'");
    assert_eq!(ask(&other, &foreign).await, json!([{"n": 0}]));
}

/// `traces` shows the newest revision of each trace, `trace_revisions` all.
#[tokio::test]
async fn traces_are_the_newest_revisions() {
    let lake = TestLake::example(false, 100).await;
    let session = lake.session("acme").await;
    let newest = ask(&session, "select trace_id, revision, status from traces order by start_time").await;
    assert_eq!(
        newest,
        json!([{"trace_id": GOOD, "revision": 1, "status": "UNSET"}, {"trace_id": FAILING, "revision": 2, "status": "ERROR"}])
    );
    // A filter that only an older revision meets finds nothing.
    assert_eq!(
        ask(&session, "select trace_id from traces where span_count = 1 and start_time > '2026-11-23'").await,
        json!([])
    );
    assert_eq!(ask(&session, "select count(*) as n from trace_revisions").await, json!([{"n": 3}]));
}

/// Where all rows of a day are one tenant's, its filter is left out of that day's scan, and the day is not opened for others;
/// as soon as a row of another tenant is there, the filter stands again. Guarantees that each tenant sees its own rows alone
/// all the time, and that what is known of one version of a day is not said of the next.
#[tokio::test]
async fn the_wall_is_left_out_where_all_rows_are_the_tenants() {
    let lake = TestLake::empty().await;
    let spans = |tenant: &str, trace_id: &str| {
        vec![(Table::Spans, vec![span(tenant, trace_id, 0, json!({"span_id": "b7ad6b7169203331", "name": tenant}))])]
    };
    let names = "select name from spans";
    let count = "select count(*) as n from spans";
    let has_wall = |plan: String| plan.contains("tenant_id");
    lake.write(&spans("acme", GOOD), NOON + 100 * SECOND).await;
    let (acme, other) = (lake.session("acme").await, lake.session("other").await);
    assert_eq!(ask(&acme, names).await, json!([{"name": "acme"}]));
    assert_eq!(ask(&acme, count).await, json!([{"n": 1}]));
    assert!(!has_wall(planned(&acme, names).await) && opened(&acme, names).await == 1);
    assert_eq!((ask(&other, names).await, ask(&other, count).await), (json!([]), json!([{"n": 0}])));
    assert_eq!(opened(&other, names).await, 0);
    // Nothing is read to find out where a query is for a time, and what is known holds.
    let within = "select name from spans where start_time >= '2026-11-01'";
    assert!(!has_wall(planned(&acme, within).await));

    lake.write(&spans("other", FAILING), NOON + 200 * SECOND).await;
    let (acme, other) = (lake.session("acme").await, lake.session("other").await);
    assert!(has_wall(planned(&acme, within).await));
    for (session, tenant) in [(&acme, "acme"), (&other, "other")] {
        assert!(has_wall(planned(session, names).await));
        assert_eq!(ask(session, names).await, json!([{"name": tenant}]));
        assert_eq!(ask(session, count).await, json!([{"n": 1}]));
    }
}

/// A lake without later revisions has nothing to hold rows against, and its first later revision is seen at once.
#[tokio::test]
async fn traces_without_later_revisions_are_read_as_they_are() {
    let lake = TestLake::empty().await;
    let query = "select revision from traces order by revision";
    let revision = |number: i32| vec![(Table::Traces, vec![trace("acme", GOOD, number, 0, json!({}))])];
    lake.write(&revision(1), NOON + 100 * SECOND).await;
    let session = lake.session("acme").await;
    assert_eq!(ask(&session, query).await, json!([{"revision": 1}]));
    assert!(!planned(&session, query).await.contains("Join"));
    lake.write(&revision(2), NOON + 200 * SECOND).await;
    let session = lake.session("acme").await;
    assert!(planned(&session, query).await.contains("Join"));
    assert_eq!(ask(&session, query).await, json!([{"revision": 2}]));
}

/// A flag holds until the next change of its key, an evaluation only at its moment; a deletion ends
/// what was before it and is no flag itself. Builds likewise.
#[tokio::test]
async fn validity_ends_with_the_next_change() {
    let lake = TestLake::example(false, 100).await;
    let session = lake.session("acme").await;
    let flags = ask(&session, "select variant, source, valid_from, valid_to from flags order by valid_from").await;
    assert_eq!(
        flags,
        json!([
            {"variant": "lenient", "source": "change", "valid_from": at(-3600), "valid_to": at(-60)},
            {"variant": "strict", "source": "change", "valid_from": at(-60), "valid_to": at(600)},
            {"variant": "strict", "source": "evaluation", "valid_from": at(1), "valid_to": at(1)},
        ])
    );
    assert_eq!(ask(&session, "select count(*) as n from flag_events").await, json!([{"n": 4}]));
    let builds = ask(&session, "select version, valid_to from builds order by valid_from").await;
    assert_eq!(builds, json!([{"version": "1.8.2", "valid_to": at(-600)}, {"version": "1.9.0", "valid_to": null}]));
}

/// An incident's counts are summed, those of rows from before there was one as nothing; its title is that of its first
/// failure.
#[tokio::test]
async fn incidents_sum_their_counts() {
    let lake = TestLake::example(false, 100).await;
    let session = lake.session("acme").await;
    let query = "select fingerprint, title, failure_count, echo_count, trace_count, first_seen, last_seen, versions,
                   example_trace_ids
                 from incidents";
    assert_eq!(
        ask(&session, query).await,
        json!([{"fingerprint": "abcd", "title": "OverflowError: decimal overflow",
                "failure_count": 5, "echo_count": 4, "trace_count": 2,
                "first_seen": at(3), "last_seen": at(9), "versions": ["1.8.2", "1.9.0"],
                "example_trace_ids": [FAILING, GOOD]}])
    );
}

/// `joined_by` says what is in the lake of a record's trace, and is only looked up where it is asked for.
#[tokio::test]
async fn joined_by_is_looked_up_when_asked() {
    let lake = TestLake::example(false, 100).await;
    let session = lake.session("acme").await;
    let query = "select body, joined_by from logs order by body";
    assert_eq!(
        ask(&session, query).await,
        json!([
            {"body": "[{\"intValue\":\"1\"}]", "joined_by": "trace"}, {"body": "decimal overflow", "joined_by": "ids"},
            {"body": "early", "joined_by": null}, {"body": "elsewhere", "joined_by": null},
            {"body": "pool exhausted", "joined_by": null},
        ])
    );
    assert_eq!(ask(&session, "select count(*) as n from logs where joined_by = 'ids'").await, json!([{"n": 1}]));
    assert_eq!(opened(&session, "select body from logs").await, 1);
    assert!(opened(&session, "select body, joined_by from logs").await > 1);
    let Value::Array(all) = ask(&session, "select * from logs").await else { panic!("no rows") };
    assert_eq!(all.len(), 5);
}

/// A record of a job that goes on after its span has ended, twenty hours before and on another day. Guarantees that it is
/// joined with that span whether or not the query is for a time, whichever bounds it has.
#[tokio::test]
async fn joined_by_is_the_same_within_a_time() {
    let lake = TestLake::empty().await;
    let id = "b7ad6b7169203331";
    let ended = span("acme", FAILING, -20 * 3_600, json!({"span_id": id, "name": "job", "service_name": "jobs"}));
    let record = json!({"time": at(0), "trace_id": FAILING, "span_id": id, "service_name": "jobs", "body": "job is done",
        "severity_number": 9, "record_hash": "00000000000000000000000000000001", "attributes": {},
        "attributes_types": {}, "resource_attributes": {}});
    lake.write(&[(Table::Spans, vec![ended]), (Table::Logs, vec![row("acme", 2, 1, record)])], NOON + 100 * SECOND)
        .await;
    let session = lake.session("acme").await;
    let (before, after) = (at(-60), at(60));
    for within in ["true".to_owned(), format!("time >= '{before}'"), format!("time between '{before}' and '{after}'")] {
        let joined = ask(&session, &format!("select body, joined_by from logs where {within}")).await;
        assert_eq!(joined, json!([{"body": "job is done", "joined_by": "ids"}]), "{within}");
    }
}

/// Spans are looked up only of the traces that the answer may name: those of a filter on trace ids, those of
/// the first rows where a limit asks for few, none where records without a trace are asked for.
#[tokio::test]
async fn joined_by_looks_up_no_more_than_needed() {
    let lake = TestLake::example(false, 100).await;
    let session = lake.session("acme").await;
    let of_trace = format!("select body, joined_by from logs where trace_id = '{FAILING}' order by body");
    assert_eq!(
        ask(&session, &of_trace).await,
        json!([{"body": "[{\"intValue\":\"1\"}]", "joined_by": "trace"}, {"body": "decimal overflow", "joined_by": "ids"}])
    );
    assert!(taken(&session, &of_trace, "spans").await.is_some_and(|rows| rows > 0));
    let first = "select trace_id, joined_by from logs where severity_number = 9 limit 10";
    assert_eq!(ask(&session, first).await, json!([{"trace_id": FAILING, "joined_by": "trace"}]));
    assert!(taken(&session, first, "spans").await.is_some_and(|rows| rows > 0));
    let without = "select body, joined_by from logs where trace_id is null and severity_number = 13";
    assert_eq!(ask(&session, without).await, json!([{"body": "pool exhausted", "joined_by": null}]));
    assert!(reads(&session, without, "/spans/").await.is_empty());
    let Value::Array(few) = ask(&session, "select * from logs limit 2").await else { panic!("no rows") };
    assert_eq!(few.len(), 2);
}

/// A record may have a body of many MiB. Its join with what is known of traces writes it out once, so it is there whenever
/// the memory holds it.
#[tokio::test]
async fn long_bodies_come_with_joined_by() {
    for (mebibytes, memory_limit) in [(3_usize, 64 << 20), (60, 512 << 20)] {
        let lake = TestLake::empty().await;
        let mut tables = example();
        let log = json!({"tenant_id": "acme", "time": at(2), "trace_id": FAILING, "service_name": "payments",
            "body": "x".repeat(mebibytes << 20), "severity_number": 11, "kafka_topic": "otlp_logs", "kafka_partition": 0,
            "kafka_offset": 7, "ingested_at": at(3), "attributes": {}, "attributes_types": {}, "resource_attributes": {}});
        tables.push((Table::Logs, vec![log]));
        lake.write(&tables, NOON + 100 * SECOND).await;
        let options = SessionOptions { memory_limit, ..SessionOptions::new("acme") };
        let session = Session::open(&lake.lake, options).await.unwrap();
        for (query, rows) in [
            ("select * from logs limit 10", 6),
            ("select * from logs", 6),
            ("select * from logs where severity_number = 11", 1),
        ] {
            let batches = session.collect(query, None).await.unwrap();
            assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), rows, "{query}");
            let is_whole = batches.iter().any(|batch| {
                let bodies = cast(batch.column_by_name("body").unwrap(), &DataType::LargeUtf8).unwrap();
                bodies.as_string::<i64>().iter().flatten().any(|body| body.len() == mebibytes << 20)
            });
            assert!(is_whole, "{query}");
        }
        let query = "select length(body) as n, joined_by from logs where severity_number = 11";
        assert_eq!(ask(&session, query).await, json!([{"n": mebibytes << 20, "joined_by": "trace"}]));
    }
}

/// Whatever would change something or reach out of the lake is refused, and the answer says so.
#[tokio::test]
async fn changes_are_refused() {
    let lake = TestLake::example(false, 100).await;
    let session = lake.session("acme").await;
    for statement in [
        "insert into spans values (1)",
        "insert into nowhere select * from spans",
        "delete from spans",
        "update spans set name = 'x'",
        "drop table spans",
        "create table t as select 1",
        "create view v as select 1",
        "create external table t stored as csv location '/etc/passwd'",
        "copy spans to '/tmp/x.csv'",
        "copy (select 1) to '/tmp/x.json' stored as json",
        "explain analyze insert into spans values (1)",
        "explain copy spans to '/tmp/x.csv'",
        "set datafusion.execution.batch_size = 1",
        "reset datafusion.execution.batch_size",
        "truncate table spans",
        "prepare p as select 1",
        "create function f() returns int return 1",
        "begin",
    ] {
        let refusal = session.sql(statement, None).await.err().unwrap_or_else(|| panic!("{statement} ran"));
        assert!(matches!(refusal, QueryError::ReadOnly { .. }), "{statement}: {refusal}");
        assert!(refusal.to_string().starts_with("the lake is read only: "), "{refusal}");
    }
    for statement in ["select * from '/etc/passwd'", "select 1 where 1 in (select a from 's3://bucket/x.parquet')"] {
        let refusal = session.sql(statement, None).await.err().unwrap_or_else(|| panic!("{statement} ran"));
        assert!(matches!(refusal, QueryError::ReadOnly { .. }), "{statement}: {refusal}");
        assert!(refusal.to_string().contains("which is no table"), "{refusal}");
    }
    for statement in ["select * from read_csv('/etc/passwd')", "select * into t from spans"] {
        assert!(session.sql(statement, None).await.is_err(), "{statement} ran");
    }
    for statement in ["show tables", "describe spans", "explain select 1", "explain analyze select count(*) from spans"]
    {
        assert!(session.collect(statement, None).await.is_ok(), "{statement} was refused");
    }
}

/// Names of the contract are columns without quotes, and unredacted bytes are none.
#[tokio::test]
async fn the_schema_is_the_contracts() {
    let lake = TestLake::empty().await;
    let session = lake.session("acme").await;
    for query in [
        "select time, name, kind, value, value_int, count, sum, min, max, bounds, buckets, scale, flags from metrics",
        "select kind, key, variant, value, valid_from, valid_to, source, reason, version from flags",
        "select time, body, severity_text, joined_by from logs",
        "select reason, detail, size_bytes, timestamp from dead_letters",
        "select time, principal, interface, operation, arguments, rows, bytes, outcome from audit",
        "select bundle_id, position, pinned, bundle from bundles",
        "select fix_id, fingerprint, summary, outcome from fixes",
        "select fingerprint, title, text, versions from incidents",
        "select fix_id, fixed_at, regressed_at, regressed_version, appeared_with from new_incidents",
        "select fingerprint, neighbour_fingerprint, distance, score from incident_neighbours",
        "select trace_id, services, flags_in_effect, closed_at from traces",
    ] {
        assert_eq!(ask(&session, query).await, json!([]), "{query}");
    }
    let refusal = session.collect("select value from dead_letters", None).await.unwrap_err();
    assert!(matches!(refusal, QueryError::Sql(_)), "{refusal}");
    let zone =
        ask(&session, "select arrow_typeof(now()) as t, extract(hour from timestamp '2026-11-23T12:00:00Z') as h")
            .await;
    assert_eq!(zone[0]["h"], json!(12));
    let tables = ask(&session, "select table_name from information_schema.tables where table_schema = 'public'").await;
    assert!(tables.as_array().unwrap().iter().any(|row| row["table_name"] == "incidents"), "{tables}");
}

/// Every table and view says whose its rows are, where they came from and when they were taken, in one form;
/// what has no origin says null, and can be filtered by it.
#[tokio::test]
async fn every_table_has_its_origin() {
    let lake = TestLake::example(false, 100).await;
    let session = lake.session("acme").await;
    let fix = json!({"tenant_id": "acme", "fingerprint": "abcd", "fixed_at": at(5), "summary": "round half even"});
    lake.lake.append_side(Table::Fixes, batch(Table::Fixes, &[fix])).await.unwrap();
    let origin = "tenant_id, kafka_topic, kafka_partition, kafka_offset, ingested_at";
    let types =
        [DataType::Utf8, DataType::Utf8, DataType::Int32, DataType::Int64, tracerag_schemas::tables::timestamp()];
    let tables = ask(&session, "select table_name from information_schema.tables where table_schema = 'public'").await;
    // What the views over side tables are made of is stored as it is written.
    let is_stored_form =
        |name: &&str| ["bundle_events", "fix_events", "grouping_rule_events", "audit_events"].contains(name);
    let names = tables.as_array().unwrap().iter().map(|table| table["table_name"].as_str().unwrap());
    for table in names.filter(|name| !is_stored_form(name)) {
        let query = format!("select {origin} from {table}");
        let plan = session.plan(&query).await.unwrap_or_else(|error| panic!("{query}: {error}"));
        let found: Vec<DataType> = plan.schema().fields().iter().map(|field| field.data_type().clone()).collect();
        assert_eq!(found, types, "{query}");
        assert!(session.collect(&query, None).await.is_ok(), "{query}");
    }
    for (query, taken) in [
        ("select kafka_topic, ingested_at from incidents where kafka_topic is null", at(9)),
        ("select kafka_topic, ingested_at from fixes where kafka_topic is null", at(5)),
    ] {
        assert_eq!(ask(&session, query).await, json!([{"kafka_topic": null, "ingested_at": taken}]), "{query}");
    }
    assert_eq!(ask(&session, "select title from incident_vectors where kafka_offset is null").await, json!([]));
}

/// An incident that was fixed between its two failures, and fixes that were none. Guarantees that it came back with the
/// first failure after the newest fix that holds, in that failure's version, and what had changed in the hour before it
/// was first seen: a build and a flag, nearest first, and nothing of longer ago.
#[tokio::test]
async fn incidents_tell_what_they_came_with_and_that_they_came_back() {
    let lake = TestLake::example(false, 100).await;
    let fix = |fix_id: &str, seconds: i64, outcome: &str| json!({"tenant_id": "acme", "fix_id": fix_id, "fingerprint": "abcd", "fixed_at": at(seconds), "outcome": outcome});
    let fixes =
        [fix("older", 1, "fixed"), fix("holds", 5, "fixed"), fix("half", 6, "mitigated"), fix("none", 7, "wrong")];
    lake.lake.append_side(Table::Fixes, batch(Table::Fixes, &fixes)).await.unwrap();
    let session = lake.session("acme").await;
    let asked = "select fix_id, fixed_at, regressed_at, regressed_version from incidents where fingerprint = 'abcd'";
    assert_eq!(
        ask(&session, asked).await,
        json!([{"fix_id": "holds", "fixed_at": at(5), "regressed_at": at(9), "regressed_version": "1.8.2"}])
    );
    let appeared = ask(&session, "select appeared_with, title from incidents").await;
    let changes = appeared[0]["appeared_with"].as_array().unwrap();
    let changes: Vec<_> =
        changes.iter().map(|change| (&change["kind"], &change["value"], &change["changed_at"])).collect();
    assert_eq!(
        changes,
        [(&json!("flag"), &json!("strict"), &json!(at(-60))), (&json!("build"), &json!("1.9.0"), &json!(at(-600)))]
    );
    assert_eq!(
        ask(&session, "select count(*) n from incidents where appeared_with is not null").await,
        json!([{"n": 1}])
    );
}

/// A fix is in 1.9.0 or in a later version; failures of 1.8.2 and 1.9.0 are counted together after it. Guarantees that the
/// columns go by the version that the fix names and not by the time alone, that they can be filtered by, and that the list
/// of fixes says the same.
#[tokio::test]
async fn incidents_come_back_in_versions_that_have_the_fix() {
    for (version, back) in [(None, Some("1.8.2")), (Some("1.9.0"), Some("1.9.0")), (Some("1.9.1"), None)] {
        let lake = TestLake::example(false, 100).await;
        let fix = json!({"tenant_id": "acme", "fix_id": "f", "fingerprint": "abcd", "fixed_at": at(5), "outcome": "fixed",
            "fixed_version": version});
        lake.lake.append_side(Table::Fixes, batch(Table::Fixes, &[fix])).await.unwrap();
        let session = lake.session("acme").await;
        let asked = "select fix_id, regressed_version v from incidents where fingerprint = 'abcd'";
        assert_eq!(ask(&session, asked).await, json!([{"fix_id": "f", "v": back}]), "{version:?}");
        let returned = ask(&session, "select count(*) n from incidents where regressed_at is not null").await;
        assert_eq!(returned, json!([{"n": i64::from(back.is_some())}]), "{version:?}");
        let listed = fixes::list(&session, None, None, 10).await.unwrap();
        assert_eq!(listed.fixes[0]["came_back"], json!(back.is_some()), "{version:?}");
    }
}

/// Three incidents are merged one after the other and one is split off again. Guarantees that chains count for their end,
/// that nothing is counted twice or lost, and that loops, repeats and what is not there are refused.
#[tokio::test]
async fn people_merge_and_split() {
    let lake = TestLake::example(false, 100).await;
    let count = |fingerprint: &str| {
        json!({"tenant_id": "acme", "fingerprint": fingerprint, "title": fingerprint, "failure_count": 1, "trace_count": 1,
               "first_seen": at(20), "last_seen": at(20), "kafka_topic": "otlp_spans", "kafka_partition": 0,
               "kafka_offset": 1, "ingested_at": at(101)})
    };
    lake.write(&[(Table::IncidentCounts, vec![count("b"), count("c")])], NOON + 101 * SECOND).await;
    let session = lake.session("acme").await;
    let incidents = "select fingerprint f, failure_count n from incidents order by 1";
    grouping::merge(&session, "me", "c", "b", "alike").await.unwrap();
    let target = grouping::merge(&session, "me", "b", "abcd", "alike").await.unwrap();
    assert_eq!((target.as_str(), ask(&session, incidents).await), ("abcd", json!([{"f": "abcd", "n": 7}])));
    for (one, other) in [("abcd", "c"), ("c", "abcd"), ("b", "b"), ("nowhere", "abcd")] {
        assert!(grouping::merge(&session, "me", one, other, "").await.is_err(), "{one} into {other}");
    }
    assert_eq!(grouping::split(&session, "me", "c", "no").await.unwrap(), "abcd");
    assert_eq!(ask(&session, incidents).await, json!([{"f": "abcd", "n": 6}, {"f": "c", "n": 1}]));
    assert!(grouping::split(&session, "me", "c", "no").await.is_err());
}

/// An incident is asked for by its fingerprint, with another one merged into it. Guarantees that what is merged is
/// counted, as among all incidents, and that no counts are read but those of the two; and the same for those that were
/// seen since a time.
#[tokio::test]
async fn a_named_incident_is_read_alone() {
    let lake = TestLake::example(false, 100).await;
    let count = json!({"tenant_id": "acme", "fingerprint": "b", "title": "b", "failure_count": 1, "trace_count": 1,
                       "first_seen": at(20), "last_seen": at(20), "kafka_topic": "otlp_spans", "kafka_partition": 0,
                       "kafka_offset": 1, "ingested_at": at(101)});
    lake.write(&[(Table::IncidentCounts, vec![count])], NOON + 101 * SECOND).await;
    let session = lake.session("acme").await;
    grouping::merge(&session, "me", "b", "abcd", "alike").await.unwrap();
    let all = "select fingerprint f, failure_count n, model m from incidents";
    assert_eq!(ask(&session, all).await, json!([{"f": "abcd", "n": 6, "m": null}]));
    let since = format!("last_seen >= '{}'", at(20));
    for one in [
        "fingerprint = 'abcd'",
        "fingerprint in ('abcd', 'nowhere')",
        "fingerprint = 'abcd' and model is null",
        since.as_str(),
    ] {
        let one = format!("select fingerprint f, failure_count n from incidents where {one}");
        assert_eq!(ask(&session, &one).await, json!([{"f": "abcd", "n": 6}]), "{one}");
        assert!(taken(&session, &one, "incident_counts").await.is_some_and(|rows| rows > 0), "{one}");
    }
    assert_eq!(ask(&session, "select title from incidents where fingerprint = 'b'").await, json!([]));
    let none = format!("select title from incidents where first_seen > '{}'", at(20));
    assert_eq!(ask(&session, &none).await, json!([]));
    let counts = reads(&session, all, "incident_counts").await;
    assert!(!counts.iter().any(|read| read.contains("abcd")), "{counts:?}");
}

/// A query that takes too long ends with an error that says what to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_queries_are_stopped() {
    let lake = TestLake::empty().await;
    let mut options = SessionOptions::new("acme");
    options.time_limit = std::time::Duration::from_millis(200);
    let session = Session::open(&lake.lake, options).await.unwrap();
    let query =
        "select count(*) from generate_series(1, 300) a, generate_series(1, 1000000000) b where a.value + b.value = 7";
    let error = session.collect(query, None).await.unwrap_err();
    assert!(matches!(error, QueryError::TimeLimit { .. }), "{error}");
}

/// An order leaves thousands of rows equal but for a list, of which the answer consists. Guarantees that pages of one head
/// meet without gap and overlap all the same.
#[tokio::test]
async fn pages_meet_where_rows_differ_in_a_list_alone() {
    let lake = TestLake::example(false, 100).await;
    let session = lake.session("acme").await;
    let query =
        "select l from (select make_array(value) as l, value % 2 as k from generate_series(1, 2000)) order by k";
    let mut read = HashSet::new();
    for skip in (0..2_000).step_by(300) {
        let page = page(&session, query, None, skip, 300).await.unwrap();
        assert_eq!(page.has_more, skip + 300 < 2_000);
        let rows = rows(page.batches);
        read.extend(rows.as_array().unwrap().iter().map(Value::to_string));
    }
    assert_eq!(read.len(), 2_000);
}

/// DataFusion panics in a function, while a statement runs and while it is planned. Guarantees that the statement ends with
/// an error that says so, and nothing else does.
#[tokio::test]
async fn a_panic_is_an_error_of_its_statement() {
    let lake = TestLake::example(false, 100).await;
    let session = lake.session("acme").await;
    let breaks = Arc::new(|_: &[ColumnarValue]| panic!("a function of a test"));
    let breaks = create_udf("breaks", vec![DataType::Int64], DataType::Int64, Volatility::Immutable, breaks);
    session.context().register_udf(breaks);
    for query in
        ["select first_value() over () as f from (select name from spans limit 2) as q", "select breaks(1) as f"]
    {
        let error = session.collect(query, None).await.unwrap_err().to_string();
        assert!(error.contains("write the statement differently"), "{error}");
    }
    assert_eq!(ask(&session, "select 1 as n").await, json!([{"n": 1}]));
}

/// What would be computed as something else is refused: a pattern of `SIMILAR TO`, and a format in PostgreSQL's letters.
#[tokio::test]
async fn other_meanings_are_refused() {
    let lake = TestLake::example(false, 100).await;
    let session = lake.session("acme").await;
    for (query, part) in [
        ("select 'abc' similar to 'a%' as b", "regular expression"),
        ("select to_char(start_time, 'YYYY-MM-DD') as day from spans", "%Y-%m-%d"),
    ] {
        let error = session.collect(query, None).await.unwrap_err().to_string();
        assert!(error.contains(part), "{query}: {error}");
    }
    let day = "select distinct to_char(start_time, '%Y') = cast(date_part('year', start_time) as varchar) as is_year,
                      json_text(make_array(1)) as l from spans";
    assert_eq!(ask(&session, day).await, json!([{"is_year": true, "l": "[1]"}]));
}

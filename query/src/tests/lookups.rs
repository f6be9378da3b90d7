//! Rows by their ids.

use std::time::Duration;

use lance::index::DatasetIndexExt;
use tracerag_index::{MaintainOptions, maintain};
use tracerag_schemas::Table;
use tracerag_schemas::time::{DAY, SECOND};

use super::lake::{FAILING, GOOD, NOON, TestLake, batch, example};
use crate::lookup::ById;
use crate::rows::{Columns, owned};
use crate::snapshot::Range;
use crate::{Session, indexed};

/// Values of a text column of the rows that a look-up finds, sorted.
async fn texts(session: &Session, table: Table, column: &str, by: ById<'_>) -> Vec<String> {
    let batches = session.snapshot().read_id(table, &[column], by).await.unwrap();
    let mut found = Vec::new();
    for batch in &batches {
        assert_eq!(batch.num_columns(), 1, "only what was asked for is read");
        let values = Columns::of("rows", batch).text(column).unwrap();
        found.extend((0..batch.num_rows()).filter_map(|row| owned(values, row)));
    }
    found.sort();
    found
}

/// The example without indices, and with all that upkeep makes.
async fn both_ways() -> [TestLake; 2] {
    let lakes = [TestLake::example(false, 100).await, TestLake::example(false, 100).await];
    let options = MaintainOptions {
        now: NOON + 200 * SECOND,
        index_delay: Duration::ZERO,
        small_table_rows: 1,
        ..MaintainOptions::default()
    };
    let report = maintain(&lakes[1].lake, &options).await.unwrap();
    assert_eq!(report.failed, vec![]);
    for (lake, is_indexed) in lakes.iter().zip([false, true]) {
        let dataset = lake.session("acme").await.snapshot().open(Table::Spans, &[]).await.unwrap().remove(0);
        let indices = dataset.load_indices_by_name("trace_id_idx").await.unwrap();
        assert_eq!(!indices.is_empty(), is_indexed);
        let rows =
            indexed::rows(lake.lake.unindexed(), &dataset, "trace_id", &[FAILING, GOOD, "absent"]).await.unwrap();
        assert!(rows.is_some_and(|rows| !rows.is_empty()), "no scan is needed");
    }
    lakes
}

/// An id that two tenants have finds each its own rows, though the id alone is asked of the index.
#[tokio::test]
async fn a_look_up_stays_behind_the_wall() {
    for lake in both_ways().await {
        stays_behind_the_wall(&lake).await;
    }
}

async fn stays_behind_the_wall(lake: &TestLake) {
    let of_trace = || ById::one("trace_id", FAILING);
    let own = texts(&lake.session("acme").await, Table::Logs, "body", of_trace()).await;
    assert_eq!(own, ["[{\"intValue\":\"1\"}]", "decimal overflow"]);
    let theirs = texts(&lake.session("other").await, Table::Logs, "body", of_trace()).await;
    assert_eq!(theirs, ["secret"]);
    assert!(texts(&lake.session("nobody").await, Table::Logs, "body", of_trace()).await.is_empty());
}

/// Rows that were taken after the given time are left out, and days outside a range are not read.
#[tokio::test]
async fn a_look_up_keeps_to_its_time() {
    for lake in both_ways().await {
        keeps_to_its_time(&lake).await;
    }
}

async fn keeps_to_its_time(lake: &TestLake) {
    let session = lake.session("acme").await;
    let in_time = ById::one("trace_id", FAILING).until(NOON + 3 * SECOND);
    assert_eq!(texts(&session, Table::Logs, "body", in_time).await, ["[{\"intValue\":\"1\"}]"]);
    let both = || ById::any("trace_id", vec![FAILING, GOOD]);
    let all = texts(&session, Table::Spans, "name", both()).await;
    assert_eq!(all, ["POST /checkout", "POST /checkout", "charge"]);
    let day = vec![Range::new("ingested_at", NOON - DAY / 2, NOON + DAY / 2)];
    assert_eq!(texts(&session, Table::Spans, "name", both().within(day)).await, ["POST /checkout", "charge"]);
    assert!(texts(&session, Table::Spans, "name", ById::any("trace_id", vec![])).await.is_empty());
}

/// Rows that came after the index was made are found as those that it knows, and stay behind the wall as they do.
#[tokio::test]
async fn a_look_up_finds_what_is_younger_than_the_index() {
    let [_, lake] = both_ways().await;
    lake.write(&example(), NOON + 300 * SECOND).await;
    for (tenant, expected) in [("acme", vec!["[{\"intValue\":\"1\"}]"; 2]), ("other", vec![])] {
        let session = lake.session(tenant).await;
        let found = texts(&session, Table::Logs, "body", ById::one("trace_id", FAILING)).await;
        assert_eq!(found.iter().filter(|body| body.starts_with('[')).collect::<Vec<_>>(), expected, "{found:?}");
        assert_eq!(found.len(), if tenant == "acme" { 4 } else { 2 }, "{found:?}");
    }
}

/// A side table without rows is not planned for, and is found as soon as it has one.
#[tokio::test]
async fn an_empty_side_table_is_not_scanned() {
    let lake = TestLake::empty().await;
    let session = lake.session("acme").await;
    assert!(session.snapshot().open(Table::Fixes, &[]).await.unwrap().is_empty());
    let fix =
        batch(Table::Fixes, &[serde_json::json!({"tenant_id": "acme", "fingerprint": "abcd", "summary": "round"})]);
    lake.lake.append_side(Table::Fixes, fix).await.unwrap();
    assert_eq!(texts(&session, Table::Fixes, "summary", ById::one("fingerprint", "abcd")).await, ["round"]);
}

//! What a snapshot holds, and for how long.

use std::collections::BTreeMap;

use tracerag_schemas::Table;

use super::retention::{ROWS, TABLES, TWO_DAYS, bytes, tidy, with_days};
use super::upkeep::eager;
use super::{Fixture, NOON, offsets_of, rows, source};
use crate::error::Error;
use crate::{Epoch, MaintainOptions, Pinned, Retention, SourceProgress, maintain};

/// Everything that a snapshot shows, by table.
async fn shown(fixture: &Fixture, name: &str) -> BTreeMap<&'static str, Vec<i64>> {
    let lake = fixture.reopen().await;
    let pinned = lake.snapshot(name).await.unwrap();
    let mut shown = BTreeMap::new();
    for table in TABLES {
        shown.insert(table.name(), offsets_of(&lake, &pinned.head, table).await);
    }
    shown
}

async fn retain(fixture: &Fixture, max_bytes: Option<u64>) -> crate::MaintainReport {
    let named = [Table::Flags, Table::DeadLetters, Table::IncidentCounts].map(|table| (table, TWO_DAYS));
    let retention = Retention { default: Some(TWO_DAYS), tables: named.into(), max_bytes, ..Retention::default() };
    // Heads that readers may still have are not what holds anything here.
    let options = MaintainOptions { now: NOON, retention, ..eager() };
    let report = maintain(&fixture.reopen().await, &options).await.unwrap();
    assert_eq!(report.failed, vec![]);
    report
}

/// A snapshot shows the same rows of every table after more epochs, compaction, retention by days and rows, and clean-up,
/// while the newest head has lost them. Once it is dropped, the disk has no more than that of a lake that never had them.
#[tokio::test]
async fn a_snapshot_outlives_retention_and_gives_its_bytes_back() {
    let never = bytes(with_days(&[0]).await.folder.path());
    let fixture = with_days(&[5, 4, 3]).await;
    fixture.reopen().await.create_snapshot("frozen").await.unwrap();
    let before = shown(&fixture, "frozen").await;
    assert!(before.values().all(|offsets| offsets.len() == 3 * ROWS as usize), "{before:?}");

    let mut writer = fixture.worker("later", &[source(0)]).await;
    let to = 11 * ROWS;
    let rows = TABLES.map(|table| (table, rows(table, 10 * ROWS..to, NOON))).to_vec();
    let sources = vec![SourceProgress { source: source(0), to, low_watermark: to, stream_time: NOON }];
    writer.write(Epoch { rows, sources, closed: vec![] }).await.unwrap();
    drop(writer);
    let report = retain(&fixture, None).await;
    assert_eq!(report.dropped.len(), 9);
    tidy(&fixture).await;
    assert_eq!(shown(&fixture, "frozen").await, before);
    let expected: Vec<i64> = (10 * ROWS..11 * ROWS).collect();
    for table in TABLES {
        assert_eq!(fixture.offsets(table).await, expected, "{}", table.name());
    }
    let held = bytes(fixture.folder.path());

    fixture.reopen().await.drop_snapshot("frozen").await.unwrap();
    tidy(&fixture).await;
    let after = bytes(fixture.folder.path());
    assert!(after * 10 <= never * 13 && after < held, "{after} bytes after, {held} with it, {never} without the days");
    assert!(matches!(fixture.reopen().await.snapshot("frozen").await, Err(Error::NoSnapshot { .. })));
}

/// Where the lake's bytes are bounded, those that only a snapshot holds count and are told. A day of which it holds
/// everything stays in the head: dropping it would free nothing.
#[tokio::test]
async fn bytes_of_snapshots_count() {
    let fixture = with_days(&[5, 0]).await;
    fixture.reopen().await.create_snapshot("frozen").await.unwrap();
    let unbounded = Retention { default: None, max_bytes: Some(1), ..Retention::default() };
    let options = MaintainOptions { now: NOON, retention: unbounded, ..eager() };
    let report = maintain(&fixture.reopen().await, &options).await.unwrap();
    assert_eq!((report.failed, report.dropped), (vec![], vec![]));
    // By days it leaves the head, and its bytes are the snapshot's alone.
    retain(&fixture, None).await;
    let report = retain(&fixture, Some(u64::MAX)).await;
    assert!(report.snapshot_bytes > 0, "{report:?}");
}

/// Side tables are held as they were, too: what came later is not in the version that the snapshot
/// names, and that version stays.
#[tokio::test]
async fn side_tables_are_held() {
    let fixture = Fixture::new().await;
    let lake = fixture.reopen().await;
    lake.append_side(Table::Audit, rows_of_audit(3)).await.unwrap();
    let pinned = lake.create_snapshot("frozen").await.unwrap();
    lake.append_side(Table::Audit, rows_of_audit(2)).await.unwrap();
    tidy(&fixture).await;
    let lake = fixture.reopen().await;
    let held = lake.dataset("audit", pinned.beside["audit"]).await.unwrap();
    assert_eq!(held.count_rows(None).await.unwrap(), 3);
    assert_eq!(lake.newest("audit").await.unwrap().count_rows(None).await.unwrap(), 5);
}

/// A bundle is erased while a snapshot from before it holds the table, and nothing has been cleaned up in between.
/// Guarantees that the snapshot's version stays readable, and is no reason to refuse.
#[tokio::test]
async fn erasure_leaves_older_snapshots_readable() {
    let fixture = Fixture::new().await;
    let lake = fixture.reopen().await;
    lake.append_side(Table::Bundles, rows(Table::Bundles, 0..3, NOON)).await.unwrap();
    let pinned = lake.create_snapshot("frozen").await.unwrap();
    lake.append_side(Table::Bundles, rows(Table::Bundles, 3..5, NOON)).await.unwrap();
    lake.erase_bundle("default", "sha256:00").await.unwrap();
    let held = fixture.reopen().await.dataset("bundles", pinned.beside["bundles"]).await.unwrap();
    assert_eq!(held.count_rows(None).await.unwrap(), 3);
}

fn rows_of_audit(rows: i64) -> arrow::record_batch::RecordBatch {
    super::rows(Table::Audit, 0..rows, NOON)
}

/// A name is taken once, until it is dropped; what is no name is refused, and so is one that nobody has taken.
#[tokio::test]
async fn names_are_taken_once() {
    let fixture = Fixture::new().await;
    let lake = fixture.reopen().await;
    let first: Pinned = lake.create_snapshot("a").await.unwrap();
    assert_eq!(lake.snapshots().await.unwrap(), [first]);
    assert!(matches!(lake.create_snapshot("a").await, Err(Error::SnapshotIsThere { .. })));
    lake.drop_snapshot("a").await.unwrap();
    assert!(matches!(lake.drop_snapshot("a").await, Err(Error::NoSnapshot { .. })));
    lake.create_snapshot("a").await.unwrap();
    for name in ["", "../a", "-a", ".a", "a b", "ä", &"a".repeat(65)] {
        assert!(matches!(lake.create_snapshot(name).await, Err(Error::SnapshotName { .. })), "{name}");
    }
    assert_eq!(fixture.reopen().await.snapshots().await.unwrap().len(), 1);
}

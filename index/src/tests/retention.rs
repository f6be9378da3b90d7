//! What retention gives back to the disk.

use std::path::Path;
use std::time::Duration;

use tracerag_schemas::Table;
use tracerag_schemas::time::DAY;

use super::upkeep::eager;
use super::{Fixture, NOON, rows, source};
use crate::{Epoch, MaintainOptions, Retention, SourceProgress, maintain};

/// Tables by day with all kinds of index, and those that lose single rows.
pub(super) const TABLES: [Table; 6] =
    [Table::Spans, Table::Traces, Table::Failures, Table::Flags, Table::DeadLetters, Table::IncidentCounts];
/// Rows of each table and day.
pub(super) const ROWS: i64 = 2_000;
pub(super) const TWO_DAYS: Duration = Duration::from_secs(2 * 86_400);

pub(super) fn bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let sizes = entries.map(|entry| match entry.metadata().unwrap() {
        metadata if metadata.is_dir() => bytes(&entry.path()),
        metadata => metadata.len(),
    });
    sizes.sum()
}

/// Rounds of upkeep that leave nothing that is not needed.
pub(super) async fn tidy(fixture: &Fixture) {
    for _ in 0..2 {
        let options = MaintainOptions { journal_keep: Duration::ZERO, ..eager() };
        let report = maintain(&fixture.reopen().await, &options).await.unwrap();
        assert_eq!(report.failed, vec![]);
    }
}

/// A lake with rows of the days that are so long before noon, the newest last.
pub(super) async fn with_days(days: &[i64]) -> Fixture {
    let fixture = Fixture::new().await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    for day in days {
        let (from, to) = ((10 - day) * ROWS, (11 - day) * ROWS);
        let rows = TABLES.map(|table| (table, rows(table, from..to, NOON - day * DAY))).to_vec();
        let sources = vec![SourceProgress { source: source(0), to, low_watermark: to, stream_time: NOON }];
        writer.write(Epoch { rows, sources, closed: vec![] }).await.unwrap();
    }
    tidy(&fixture).await;
    fixture
}

/// A lake that had three more days, with their indices, versions and records, takes as much of the disk as one that
/// never had them, once retention has dropped them, by time or by bytes. The small tables lose what is named, and keep the
/// rest.
#[tokio::test]
async fn dropped_days_give_their_bytes_back() {
    let never = bytes(with_days(&[0]).await.folder.path());
    let named = [Table::Flags, Table::DeadLetters, Table::IncidentCounts].map(|table| (table, TWO_DAYS));
    let by_time = Retention { default: Some(TWO_DAYS), tables: named.into(), max_bytes: None };
    // A bound that a lake of one day meets.
    let by_bytes = Retention { default: None, max_bytes: Some(1), ..by_time.clone() };
    for retention in [by_time, by_bytes] {
        let fixture = with_days(&[5, 4, 3, 0]).await;
        let before = bytes(fixture.folder.path());
        assert!(before * 2 > never * 3, "{before} bytes with the days, {never} without");
        // The head that still names the days may be read for a while.
        let long = Duration::from_secs(100 * 365 * 86_400);
        let options = MaintainOptions { now: NOON, longest_query: long, retention, ..eager() };
        let report = maintain(&fixture.reopen().await, &options).await.unwrap();
        assert_eq!((report.failed, report.dropped.len(), report.expired_rows), (vec![], 9, 9 * ROWS as u64));
        tidy(&fixture).await;
        let after = bytes(fixture.folder.path());
        assert!(after * 10 <= never * 13, "{after} bytes after, {never} without the days, {before} before");
        for table in TABLES {
            let expected: Vec<i64> = (10 * ROWS..11 * ROWS).collect();
            assert_eq!(fixture.offsets(table).await, expected, "{}", table.name());
        }
    }
}

/// Without a key of their own what was in effect long ago, and how often an incident was seen, stay for ever; dead
/// letters, payloads and heaps do not stay longer than is said of them.
#[test]
fn small_tables_keep_what_is_not_named() {
    let day = |days: u64| Duration::from_secs(days * 86_400);
    let retention =
        Retention { default: Some(day(14)), tables: [(Table::DeadLetters, day(7))].into(), max_bytes: Some(1) };
    let kept = |table: Table| retention.of(table);
    for table in [Table::Flags, Table::Builds, Table::IncidentCounts, Table::Fixes, Table::GroupingRules, Table::Audit]
    {
        assert_eq!(kept(table), None, "{}", table.name());
    }
    for table in [Table::Spans, Table::Payloads, Table::Heaps, Table::Bundles] {
        assert_eq!(kept(table), Some(day(14)), "{}", table.name());
    }
    assert_eq!(kept(Table::DeadLetters), Some(day(7)));
}

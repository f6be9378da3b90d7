//! What retention gives back to the disk.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, StringArray};
use arrow::record_batch::RecordBatch;
use lance::dataset::optimize::CompactionOptions;
use tracerag_schemas::Table;
use tracerag_schemas::time::DAY;

use super::upkeep::eager;
use super::{Fixture, NOON, rows, source};
use crate::maintain::{ExpiredFlags, merge_fragments};
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
    let single = with_days(&[0]).await;
    let never = bytes(single.folder.path());
    let bounded = MaintainOptions { retention: bound(u64::MAX), now: NOON, ..eager() };
    let report = maintain(&single.reopen().await, &bounded).await.unwrap();
    let of = |by_day: bool| -> u64 {
        report.table_bytes.iter().filter(|(table, _)| table.by_day() == by_day).map(|(_, bytes)| bytes).sum()
    };
    let named = [Table::Flags, Table::DeadLetters, Table::IncidentCounts].map(|table| (table, TWO_DAYS));
    let by_time = Retention { default: Some(TWO_DAYS), tables: named.into(), ..Retention::default() };
    // A bound that the tables without days leave room below, and even one day does not meet.
    let by_bytes = Retention { default: None, max_bytes: Some(of(false) + of(true) / 2), ..by_time.clone() };
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

fn bound(max_bytes: u64) -> Retention {
    Retention { max_bytes: Some(max_bytes), ..Retention::default() }
}

/// A lake has more bytes than it may have, and most of them lie in a table that is not kept by day. Guarantees that no
/// day goes where that would not help, and that the report says what has the bytes.
#[tokio::test]
async fn days_do_not_go_for_what_they_do_not_hold() {
    let fixture = with_days(&[3, 0]).await;
    let options = |max_bytes| MaintainOptions { retention: bound(max_bytes), now: NOON, ..eager() };
    let report = maintain(&fixture.reopen().await, &options(u64::MAX)).await.unwrap();
    let counts = report.table_bytes[&Table::IncidentCounts];
    assert!(counts > 0, "{report:?}");
    let report = maintain(&fixture.reopen().await, &options(counts)).await.unwrap();
    assert_eq!((report.failed, report.dropped), (vec![], Vec::<String>::new()));
    let days: u64 = Table::ALL.iter().filter(|table| table.by_day()).filter_map(|t| report.table_bytes.get(t)).sum();
    let others = report.table_bytes.values().sum::<u64>() - days;
    let report = maintain(&fixture.reopen().await, &options(others + days / 4)).await.unwrap();
    assert_eq!((report.failed, report.dropped.len()), (vec![], 3), "here the older day can make room");
}

/// Rows of `flags` that begin with these offsets, of `payments`, as (key, variant, source), taken so many days before
/// noon.
fn flags(first: i64, days_ago: i64, settings: &[(&str, &str, &str)]) -> RecordBatch {
    let batch = rows(Table::Flags, first..first + settings.len() as i64, NOON - days_ago * DAY);
    let schema = batch.schema();
    let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
    let mut set = |name: &str, column: ArrayRef| columns[schema.index_of(name).unwrap()] = column;
    let text = |value: fn(&(&str, &str, &str)) -> String| -> ArrayRef {
        Arc::new(settings.iter().map(|setting| Some(value(setting))).collect::<StringArray>())
    };
    set("kind", text(|_| String::from("flag")));
    set("key", text(|(key, ..)| (*key).to_owned()));
    set("variant", text(|(_, variant, _)| (*variant).to_owned()));
    set("source", text(|(.., source)| (*source).to_owned()));
    set("service_name", text(|_| String::from("payments")));
    set("valid_from", Arc::clone(batch.column_by_name("ingested_at").unwrap()));
    RecordBatch::try_new(schema, columns).unwrap()
}

/// A flag was set long ago, and services have evaluated it ever since. Guarantees that evaluations go with the spans that
/// brought them, but for the newest of each variant, that what was set stays, and of what is dropped because `flags` has
/// a retention of its own the newest that was set before; a further round finds nothing more.
#[tokio::test]
async fn evaluations_go_and_what_was_set_stays() {
    let fixture = Fixture::new().await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    let evaluated = |variant: &'static str| ("mode", variant, "evaluation");
    let set = |variant: &'static str| ("mode", variant, "change");
    let written = [
        (0, 9, vec![set("lenient"), evaluated("lenient"), evaluated("lenient")]),
        (3, 8, vec![set("strict"), evaluated("strict"), evaluated("lenient")]),
        (6, 7, vec![evaluated("strict")]),
        (7, 0, vec![evaluated("strict"), set("lenient")]),
    ];
    for (first, days_ago, settings) in &written {
        let to = first + settings.len() as i64;
        let rows = vec![(Table::Flags, flags(*first, *days_ago, settings))];
        let sources = vec![SourceProgress { source: source(0), to, low_watermark: to, stream_time: NOON }];
        writer.write(Epoch { rows, sources, closed: vec![] }).await.unwrap();
    }
    let spans = Retention { tables: [(Table::Spans, TWO_DAYS)].into(), ..Retention::default() };
    let named = Retention { tables: [(Table::Flags, TWO_DAYS)].into(), ..spans.clone() };
    for (retention, gone, left) in [(&spans, 3, vec![0, 3, 5, 6, 7, 8]), (&named, 1, vec![3, 5, 6, 7, 8])] {
        for expected in [gone, 0] {
            let options = MaintainOptions { now: NOON, retention: retention.clone(), ..eager() };
            let report = maintain(&fixture.reopen().await, &options).await.unwrap();
            assert_eq!((report.failed, report.expired_rows), (vec![], expected));
            assert_eq!(fixture.offsets(Table::Flags).await, left);
        }
    }
}

/// Another process merges the fragments of `flags` after it was found what is past its retention: the numbers of rows are
/// others then. Guarantees that nothing is deleted by the old ones, and that the next round deletes what is to go.
#[tokio::test]
async fn a_merge_meanwhile_deletes_no_setting() {
    let fixture = Fixture::new().await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    for offset in 0..4 {
        // The settings that stay and those that go stand in turns, in a fragment each.
        let key = if offset % 2 == 0 { "mode" } else { "limit" };
        let rows = vec![(Table::Flags, flags(offset, 9 - offset, &[(key, "on", "change")]))];
        let to = offset + 1;
        let sources = vec![SourceProgress { source: source(0), to, low_watermark: to, stream_time: NOON }];
        writer.write(Epoch { rows, sources, closed: vec![] }).await.unwrap();
    }
    let retention = Retention { tables: [(Table::Flags, TWO_DAYS)].into(), ..Retention::default() };
    let options = MaintainOptions { now: NOON, retention, ..eager() };
    let lake = fixture.reopen().await;
    let expired = ExpiredFlags::find(&lake, &options).await.unwrap().unwrap();
    let mut merged = (*fixture.reopen().await.newest("flags").await.unwrap()).clone();
    merge_fragments(&mut merged, &CompactionOptions::default()).await.unwrap();
    assert_eq!(merged.count_fragments(), 1);
    assert!(expired.delete(&lake).await.is_err());
    assert_eq!(lake.newest("flags").await.unwrap().count_rows(None).await.unwrap(), 4);

    let report = maintain(&fixture.reopen().await, &options).await.unwrap();
    assert_eq!((report.failed, report.expired_rows), (vec![], 2));
    assert_eq!(fixture.offsets(Table::Flags).await, [2, 3]);
}

/// Without a key of their own what was in effect long ago, and how often an incident was seen, stay for ever; dead
/// letters, payloads and heaps do not stay longer than is said of them.
#[test]
fn small_tables_keep_what_is_not_named() {
    let day = |days: u64| Duration::from_secs(days * 86_400);
    let retention = Retention { default: Some(day(14)), tables: [(Table::DeadLetters, day(7))].into(), ..bound(1) };
    let kept = |table: Table| retention.of(table);
    for table in [Table::Flags, Table::Builds, Table::IncidentCounts, Table::Fixes, Table::GroupingRules, Table::Audit]
    {
        assert_eq!(kept(table), None, "{}", table.name());
    }
    for table in [Table::Spans, Table::Payloads, Table::Heaps, Table::Bundles] {
        assert_eq!(kept(table), Some(day(14)), "{}", table.name());
    }
    assert_eq!(kept(Table::DeadLetters), Some(day(7)));
    assert_eq!(retention.of_evaluations(), Some(day(14)), "they go with their spans");
}

//! Crashes between any two steps, racing writers, zombies, and what the journal refuses.

use std::collections::BTreeSet;

use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use tracerag_schemas::Table;

use super::{Fixture, NOON, Place, epoch, source};
use crate::journal::log::Log;
use crate::journal::record::{Closed, Interval, Kind, Record};
use crate::journal::{closed, fence};
use crate::{ClosedTrace, Epoch, Error, Writer};

/// The tables that a test epoch writes.
const TABLES: [Table; 3] = [Table::Spans, Table::Traces, Table::Flags];

/// A worker dies after each of the steps. The next one reads on from where the journal says, and
/// every offset is in every table once.
#[tokio::test]
async fn a_crash_between_any_two_steps_loses_and_doubles_nothing() {
    crashes_between_steps(Place::Folder).await;
}

pub(super) async fn crashes_between_steps(place: Place) {
    for crash in ["staged", "recorded", "one table", "two tables", "all tables"] {
        let fixture = Fixture::at(place).await;
        let mut writer = fixture.worker("first", &[source(0)]).await;
        writer.write(epoch(source(0), 0, 10, NOON)).await.unwrap();
        let staged = writer.stage(epoch(source(0), 10, 20, NOON)).await.unwrap();
        if crash != "staged" {
            writer.record(&staged).await.unwrap();
        }
        let day = "/2026-11-23";
        let applied: &[&str] = match crash {
            "one table" => &["spans"],
            "two tables" => &["spans", "flags"],
            "all tables" => &["spans", "flags", "traces"],
            _ => &[],
        };
        let names: Vec<String> = applied
            .iter()
            .map(|name| if *name == "flags" { (*name).to_owned() } else { format!("{name}{day}") })
            .collect();
        crate::journal::apply::apply_only(&fixture.reopen().await, &names).await.unwrap();
        drop(writer);
        assert_eq!(fixture.offsets(Table::Spans).await.len(), 10, "{crash}: nothing is visible before its head");

        let mut next = Writer::new(fixture.reopen().await, "second".into()).await.unwrap();
        let resumed = next.claim(&[source(0)]).await.unwrap();
        let from = resumed[0].next.unwrap();
        assert_eq!(from, if crash == "staged" { 10 } else { 20 }, "{crash}");
        next.write(epoch(source(0), from, 25, NOON)).await.unwrap();
        for table in TABLES {
            assert_eq!(fixture.offsets(table).await, (0..25).collect::<Vec<i64>>(), "{crash}: {}", table.name());
        }
    }
}

/// Several workers write their own partitions at the same time, some over midnight: the journal is one
/// order without gaps, and every row is there once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_writers_make_one_order() {
    racing_writers(Place::Folder).await;
}

pub(super) async fn racing_writers(place: Place) {
    let fixture = Fixture::at(place).await;
    let mut tasks = Vec::new();
    for partition in 0..3 {
        let lake = fixture.reopen().await;
        tasks.push(tokio::spawn(async move {
            let mut writer = Writer::new(lake, format!("worker {partition}")).await.unwrap();
            writer.claim(&[source(partition)]).await.unwrap();
            let base = i64::from(partition) * 100;
            let mut positions = Vec::new();
            for step in 0..4 {
                let from = base + step * 5;
                let written = writer.write(epoch(source(partition), from, from + 5, NOON)).await.unwrap();
                positions.push(written.position);
            }
            positions
        }));
    }
    let mut positions = BTreeSet::new();
    for task in tasks {
        let own = task.await.unwrap();
        assert!(own.is_sorted());
        positions.extend(own);
    }
    assert_eq!(positions.len(), 12, "no two epochs share a position");
    let journal = fixture.lake.newest("journal").await.unwrap();
    let mut scan = journal.scan();
    scan.project(&["position"]).unwrap();
    let batch = scan.try_into_batch().await.unwrap();
    let stored = batch.column(0).as_primitive::<UInt64Type>().values().to_vec();
    assert_eq!(stored, (1..=15).collect::<Vec<u64>>(), "three claims and twelve epochs, in their order");
    let expected: Vec<i64> = (0..3).flat_map(|partition| partition * 100..partition * 100 + 20).collect();
    for table in TABLES {
        assert_eq!(fixture.offsets(table).await, expected, "{}", table.name());
    }
    assert_eq!(fixture.lake.newest_head().await.unwrap().position, 15);
}

/// A worker whose partition was claimed by another cannot record, and learns to whom it lost.
#[tokio::test]
async fn a_zombie_is_refused() {
    zombie(Place::Folder).await;
}

pub(super) async fn zombie(place: Place) {
    let fixture = Fixture::at(place).await;
    let mut zombie = fixture.worker("zombie", &[source(0)]).await;
    zombie.write(epoch(source(0), 0, 5, NOON)).await.unwrap();
    let staged = zombie.stage(epoch(source(0), 5, 9, NOON)).await.unwrap();
    let mut heir = fixture.worker("heir", &[source(0)]).await;
    let error = zombie.record(&staged).await.unwrap_err();
    assert!(matches!(error, Error::Fenced { own: 1, newest: 2, .. }), "{error}");
    heir.write(epoch(source(0), 5, 9, NOON)).await.unwrap();
    assert!(matches!(zombie.record(&staged).await.unwrap_err(), Error::Fenced { .. }));
    assert_eq!(fixture.offsets(Table::Spans).await, (0..9).collect::<Vec<i64>>());
}

/// A record that slipped past the fence (older generation, or not in sequence) counts for nothing, is
/// named in the head, and does not stop the rightful owner.
#[tokio::test]
async fn a_void_record_adds_nothing() {
    for (generation, from) in [(1, Some(5)), (2, Some(3)), (2, None)] {
        let fixture = Fixture::new().await;
        let mut zombie = fixture.worker("zombie", &[source(0)]).await;
        zombie.write(epoch(source(0), 0, 5, NOON)).await.unwrap();
        let staged = zombie.stage(epoch(source(0), 5, 9, NOON)).await.unwrap();
        let mut heir = fixture.worker("heir", &[source(0)]).await;
        let mut log = Log::new(fixture.reopen().await);
        let forged = log
            .append(&staged.epoch, |_| {
                Ok(Record {
                    position: 0,
                    kind: Kind::Epoch,
                    epoch: staged.epoch.clone(),
                    worker: "zombie".into(),
                    schema_version: 0,
                    able: 0,
                    recorded_at: NOON,
                    sources: vec![Interval {
                        source: source(0),
                        generation,
                        from,
                        to: Some(9),
                        low_watermark: Some(9),
                        stream_time: Some(NOON),
                    }],
                    closed: Closed::Inline(closed::encode(&[trace(1, 8)]).unwrap()),
                    staged: staged.datasets.clone(),
                })
            })
            .await
            .unwrap();
        let rightful = Epoch { closed: vec![trace(2, 7)], ..epoch(source(0), 5, 8, NOON) };
        let written = heir.write(rightful).await.unwrap();
        assert_eq!(written.position, forged.position + 1);
        let head = fixture.lake.newest_head().await.unwrap();
        assert_eq!(head.void, [forged.position]);
        assert_eq!(head.source(&source(0)).unwrap().next, Some(8));
        assert_eq!(fixture.offsets(Table::Spans).await, (0..8).collect::<Vec<i64>>());
        let mut next = Writer::new(fixture.reopen().await, "next".into()).await.unwrap();
        let resumed = next.claim(&[source(0)]).await.unwrap();
        let closed: Vec<u8> = resumed[0].closed.iter().map(|trace| trace.trace_id[0]).collect();
        assert_eq!((resumed[0].next, closed), (Some(8), vec![2]), "the zombie's traces are not written");
    }
}

fn trace(id: u8, last_offset: i64) -> ClosedTrace {
    ClosedTrace { tenant: "t".into(), trace_id: [id; 16], closed_at: NOON, last_offsets: vec![(0, last_offset)] }
}

/// Recording the same staged epoch again (after a lost answer) changes nothing; an epoch that goes
/// back behind the journal is refused.
#[tokio::test]
async fn recording_again_is_recording_once() {
    let fixture = Fixture::new().await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    let staged = writer.stage(epoch(source(0), 0, 5, NOON)).await.unwrap();
    let position = writer.record(&staged).await.unwrap();
    assert_eq!(writer.record(&staged).await.unwrap(), position);
    writer.apply().await.unwrap();
    assert_eq!(writer.record(&staged).await.unwrap(), position);
    writer.apply().await.unwrap();
    assert_eq!(fixture.offsets(Table::Spans).await, (0..5).collect::<Vec<i64>>());
    let back = writer.stage(epoch(source(0), 0, 4, NOON)).await.unwrap();
    assert!(matches!(writer.record(&back).await.unwrap_err(), Error::OutOfSequence { expected: Some(5), to: 4, .. }));
}

/// Many appliers bring the same records into the tables at the same time: each row goes in once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appliers_may_race() {
    racing_appliers(Place::Folder).await;
}

pub(super) async fn racing_appliers(place: Place) {
    let fixture = Fixture::at(place).await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    for step in 0..4 {
        let staged = writer.stage(epoch(source(0), step * 5, step * 5 + 5, NOON)).await.unwrap();
        writer.record(&staged).await.unwrap();
    }
    let mut tasks = Vec::new();
    for n in 0..4 {
        let lake = fixture.reopen().await;
        tasks.push(tokio::spawn(async move {
            Writer::new(lake, format!("applier {n}")).await.unwrap().apply().await.unwrap().position
        }));
    }
    for task in tasks {
        assert_eq!(task.await.unwrap(), 5);
    }
    for table in TABLES {
        assert_eq!(fixture.offsets(table).await, (0..20).collect::<Vec<i64>>(), "{}", table.name());
    }
}

/// A recorded file that is gone stops the applier with the file's name; nothing of the epoch shows.
#[tokio::test]
async fn a_missing_file_is_a_hard_error() {
    let fixture = Fixture::new().await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    let staged = writer.stage(epoch(source(0), 0, 5, NOON)).await.unwrap();
    let position = writer.record(&staged).await.unwrap();
    let spans = staged.datasets.iter().find(|staged| staged.name.starts_with("spans/")).unwrap();
    let file = spans.fragments[0].files[0].path.clone();
    std::fs::remove_file(fixture.folder.path().join(format!("{}.lance/data/{file}", spans.name))).unwrap();
    let mut next = Writer::new(fixture.reopen().await, "next".into()).await.unwrap();
    match next.claim(&[source(0)]).await.unwrap_err() {
        Error::MissingFile { position: at, dataset, file: named } => {
            assert_eq!((at, dataset.as_str()), (position, spans.name.as_str()));
            assert!(named.ends_with(&file));
        }
        other => panic!("{other}"),
    }
    assert_eq!(fixture.offsets(Table::Traces).await, Vec::<i64>::new());
    assert_eq!(fixture.lake.newest_head().await.unwrap().position, 1, "only the claim before it");
}

/// Keys of positions and partitions are spread: none of the first thousands meet.
#[test]
fn fence_keys_differ() {
    let positions = (0..5_000).map(fence::position_key);
    let partitions = (0..5_000).map(|partition| fence::partition_key(&source(partition)));
    let keys: BTreeSet<u64> = positions.chain(partitions).chain([fence::head_key()]).collect();
    assert_eq!(keys.len(), 10_001);
}

//! Releases of two schemas on one lake.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type};
use tempfile::TempDir;
use tracerag_schemas::time::{DAY, SECOND};
use tracerag_schemas::version::FIRST_SCHEMA_VERSION;
use tracerag_schemas::{Schemas, Table};

use super::upkeep::eager;
use super::{Fixture, NOON, epoch, offsets, source};
use crate::failures::{FailureRules, Grouping};
use crate::journal::heads::HEADS;
use crate::journal::log::Log;
use crate::journal::now;
use crate::journal::record::{Kind, Record};
use crate::journal::writer::blank;
use crate::migrate::migrate_at;
use crate::stored::{changes, each_batch};
use crate::{Epoch, Error, Lake, LakeOptions, Migration, Successors, Writer, columns, maintain, migrate};

/// The column that the second release adds.
const TONE: &str = "tone";
/// The day of [`NOON`].
const DAY_OF_SPANS: &str = "spans/2026-11-23";
/// The next one.
const NEXT_DAY_OF_SPANS: &str = "spans/2026-11-24";

/// This release.
fn first() -> Schemas {
    Schemas::default()
}

/// The one after it, which adds a column to a table that is kept by day and to a small one.
fn second() -> Schemas {
    let tone = Field::new(TONE, DataType::Utf8, true);
    first().with_next(&[(Table::Spans, tone.clone()), (Table::Flags, tone)])
}

fn options(uri: &str, release: &Schemas) -> LakeOptions {
    LakeOptions { schemas: Arc::new(release.clone()), ..LakeOptions::new(uri) }
}

/// The lake as a process of a release has it.
async fn open(uri: &str, release: &Schemas) -> Lake {
    Lake::open(options(uri, release)).await.unwrap()
}

/// A worker of a release that has claimed a partition.
async fn worker(uri: &str, release: &Schemas, name: &str, partition: i32) -> Writer {
    let mut writer = Writer::new(open(uri, release).await, name.to_owned()).await.unwrap();
    writer.claim(&[source(partition)]).await.unwrap();
    writer
}

/// Offsets `from..to` of a partition as spans, traces and flags. The second release gives each its tone.
fn sent(release: &Schemas, partition: i32, from: i64, to: i64, time: i64) -> Epoch {
    let mut sent = epoch(source(partition), from, to, time);
    for (table, batch) in &mut sent.rows {
        let schema = release.newest(*table);
        let rows = columns::complete(batch, &schema).unwrap();
        let column = |(index, field): (usize, &Arc<Field>)| -> ArrayRef {
            match field.name() == TONE {
                true => Arc::new((from..to).map(|offset| Some(tone(offset))).collect::<StringArray>()),
                false => Arc::clone(rows.column(index)),
            }
        };
        let columns = schema.fields().iter().enumerate().map(column).collect();
        *batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    }
    sent
}

fn tone(offset: i64) -> String {
    format!("tone {offset}")
}

/// Offset and tone of the rows of a table, sorted, as the second release reads them.
async fn tones(lake: &Lake, table: Table) -> Vec<(i64, Option<String>)> {
    let head = lake.newest_head().await.unwrap();
    let mut found = Vec::new();
    let take = |batch: RecordBatch| -> crate::Result<()> {
        let offsets = batch.column(0).as_primitive::<Int64Type>().values().iter().copied();
        let tones = batch.column(1).as_string::<i32>().iter().map(|tone| tone.map(str::to_owned));
        found.extend(offsets.zip(tones));
        Ok(())
    };
    each_batch(lake, &head, table, &["kafka_offset", TONE], take).await.unwrap();
    found.sort();
    found
}

/// Each offset once, with its tone where it has one.
fn expected(offsets: &[i64], has_tone: impl Fn(i64) -> bool) -> Vec<(i64, Option<String>)> {
    offsets.iter().map(|offset| (*offset, has_tone(*offset).then(|| tone(*offset)))).collect()
}

/// Workers are replaced one by one by those of the next release, rolled back, and replaced again, while all write; then
/// the lake is migrated. Every offset is there once, as either release reads it, after upkeep, too. What the new column
/// holds is kept from the migration on, also in a day that an older worker made in that moment. A migration while an
/// older worker is at work is refused with its name; afterwards the older release is refused.
#[tokio::test]
async fn workers_are_upgraded_rolled_back_and_upgraded_again() {
    let fixture = Fixture::new().await;
    let (uri, first, second) = (fixture.uri(), first(), second());
    let mut a = worker(uri, &first, "a-1", 0).await;
    let mut b = worker(uri, &first, "b-1", 1).await;
    a.write(sent(&first, 0, 0, 10, NOON)).await.unwrap();
    b.write(sent(&first, 1, 1_000, 1_010, NOON)).await.unwrap();

    let mut a = worker(uri, &second, "a-2", 0).await;
    a.write(sent(&second, 0, 10, 20, NOON)).await.unwrap();
    b.write(sent(&first, 1, 1_010, 1_020, NOON)).await.unwrap();
    let newer = open(uri, &second).await;
    let refused = migrate(&newer, "m").await.unwrap_err();
    assert!(matches!(&refused, Error::OlderWorker { worker, .. } if worker == "b-1"), "{refused}");

    let mut a = worker(uri, &first, "a-3", 0).await;
    a.write(sent(&first, 0, 20, 30, NOON)).await.unwrap();
    let so_far: Vec<i64> = (0..30).chain(1_000..1_020).collect();
    for table in [Table::Spans, Table::Traces, Table::Flags] {
        assert_eq!(offsets(&open(uri, &first).await, table).await, so_far, "{}", table.name());
        assert_eq!(offsets(&newer, table).await, so_far, "{}", table.name());
    }
    assert_eq!(tones(&newer, Table::Spans).await, expected(&so_far, |_| false));

    let mut a = worker(uri, &second, "a-4", 0).await;
    let mut b = worker(uri, &second, "b-4", 1).await;
    a.write(sent(&second, 0, 30, 40, NOON)).await.unwrap();
    b.write(sent(&second, 1, 1_020, 1_030, NOON)).await.unwrap();
    let plan = Migration::plan(&newer).await.unwrap();
    assert_eq!((plan.from, plan.to, &plan.older), (first.version(), second.version(), &vec![]));
    assert_eq!(plan.columns.keys().collect::<Vec<_>>(), ["flags", DAY_OF_SPANS]);
    assert_eq!(migrate(&newer, "m").await.unwrap(), plan);
    assert!(Migration::plan(&newer).await.unwrap().is_done());

    fixture.lake.ensure(NEXT_DAY_OF_SPANS, Table::Spans.lake_schema()).await.unwrap();
    a.write(sent(&second, 0, 40, 50, NOON)).await.unwrap();
    b.write(sent(&second, 1, 1_030, 1_040, NOON + DAY)).await.unwrap();
    let all: Vec<i64> = (0..50).chain(1_000..1_040).collect();
    let has_tone = |offset: i64| (40..50).contains(&offset) || offset >= 1_030;
    for is_kept in [false, true] {
        if is_kept {
            let report = maintain(&newer, &eager()).await.unwrap();
            assert_eq!(report.failed, vec![]);
            assert!(report.compacted.iter().any(|(name, ..)| name == DAY_OF_SPANS), "{report:?}");
        }
        for table in [Table::Spans, Table::Flags] {
            assert_eq!(tones(&newer, table).await, expected(&all, has_tone), "{} {is_kept}", table.name());
        }
        assert_eq!(offsets(&newer, Table::Traces).await, all);
    }
    let refused = Lake::open(options(uri, &first)).await.unwrap_err();
    assert!(matches!(refused, Error::TooNew { .. }), "{refused}");
}

/// A migration that dies when the datasets have their columns and the version is not recorded yet leaves a lake that
/// both releases read and write; done again, it ends.
#[tokio::test]
async fn a_migration_that_was_cut_off_stops_nobody() {
    let fixture = Fixture::new().await;
    let (uri, first, second) = (fixture.uri(), first(), second());
    let mut older = worker(uri, &first, "older", 0).await;
    older.write(sent(&first, 0, 0, 10, NOON)).await.unwrap();
    let newer = open(uri, &second).await;
    for (name, table) in [(DAY_OF_SPANS, Table::Spans), ("flags", Table::Flags)] {
        columns::add(&newer, name, &second.newest(table)).await.unwrap();
    }
    older.write(sent(&first, 0, 10, 20, NOON)).await.unwrap();
    let mut older = worker(uri, &first, "older-again", 0).await;
    older.write(sent(&first, 0, 20, 30, NOON)).await.unwrap();
    let mut heir = worker(uri, &second, "heir", 0).await;
    heir.write(sent(&second, 0, 30, 40, NOON)).await.unwrap();

    let reader = open(uri, &first).await;
    let head = reader.newest_head().await.unwrap();
    let flags = changes(&reader, &head, Table::Flags).await.unwrap();
    assert_eq!((flags.num_rows(), flags.schema()), (40, first.newest(Table::Flags)));
    let all: Vec<i64> = (0..40).collect();
    assert_eq!(offsets(&reader, Table::Spans).await, all);

    assert_eq!(migrate(&newer, "m").await.unwrap().to, second.version());
    for table in [Table::Spans, Table::Flags] {
        assert_eq!(tones(&newer, table).await, expected(&all, |offset| offset >= 30), "{}", table.name());
    }
}

/// A worker of the older release that slept through a migration adds nothing, neither after the head says so nor when
/// the migration died before that: it is told that the lake is newer, and its partition is taken up where it stands.
#[tokio::test]
async fn a_sleeper_meets_the_migration_before_it_writes() {
    for is_cut_off in [false, true] {
        let fixture = Fixture::new().await;
        let (uri, first, second) = (fixture.uri(), first(), second());
        let mut sleeper = worker(uri, &first, "sleeper", 0).await;
        sleeper.write(sent(&first, 0, 0, 10, NOON)).await.unwrap();
        let staged = sleeper.stage(sent(&first, 0, 10, 20, NOON)).await.unwrap();
        let newer = open(uri, &second).await;
        if is_cut_off {
            let to = second.version();
            let draft = Record { schema_version: to, ..blank(Kind::Migration, "m", "m", vec![]) };
            Log::new(newer.clone()).append("m", |_| Ok(draft.clone())).await.unwrap();
        } else {
            // Much later, when nobody is taken to be at work.
            migrate_at(&newer, "m", now() + 3_600 * SECOND).await.unwrap();
        }
        for refused in [sleeper.record(&staged).await.map(drop), sleeper.apply().await.map(drop)] {
            assert!(matches!(refused, Err(Error::TooNew { .. })), "{refused:?}");
        }
        let mut heir = worker(uri, &second, "heir", 0).await;
        heir.write(sent(&second, 0, 10, 20, NOON)).await.unwrap();
        let all: Vec<i64> = (0..20).collect();
        assert_eq!(tones(&newer, Table::Spans).await, expected(&all, |offset| offset >= 10));
        assert_eq!(newer.newest_head().await.unwrap().schema_version, second.version());
    }
}

/// A plan writes nothing at all.
#[tokio::test]
async fn a_plan_writes_nothing() {
    let fixture = Fixture::new().await;
    worker(fixture.uri(), &first(), "w", 0).await.write(sent(&first(), 0, 0, 10, NOON)).await.unwrap();
    let versions = || async {
        let lake = fixture.reopen().await;
        let mut versions = Vec::new();
        for name in [HEADS, "journal", "flags", DAY_OF_SPANS] {
            versions.push(lake.newest(name).await.unwrap().version_id());
        }
        versions
    };
    let before = versions().await;
    let plan = Migration::plan(&open(fixture.uri(), &second()).await).await.unwrap();
    assert!(!plan.is_done() && plan.older.len() == 1, "{plan:?}");
    assert_eq!(versions().await, before);
}

/// A new lake has the schema of the release that made it. A release refuses, before it writes anything, a lake that is
/// newer than its own schema or older than the one before, and says which release is the right one.
#[tokio::test]
async fn a_release_knows_two_schemas() {
    let folder = tempfile::tempdir().unwrap();
    let uri = folder.path().to_str().unwrap();
    let (first, second) = (first(), second());
    let lake = Lake::open_or_create(options(uri, &second)).await.unwrap();
    assert_eq!(lake.newest_head().await.unwrap().schema_version, second.version());
    worker(uri, &second, "w", 0).await.write(sent(&second, 0, 0, 5, NOON)).await.unwrap();
    assert_eq!(tones(&lake, Table::Spans).await, expected(&[0, 1, 2, 3, 4], |_| true));
    let third = second.clone().with_next(&[]);
    assert_eq!(Lake::open(options(uri, &third)).await.unwrap().newest_head().await.unwrap().position, 2);
    let fourth = third.with_next(&[]);
    for (release, message) in [(&first, "use the release that migrated the lake"), (&fourth, "migrate the lake with")] {
        for refused in [Lake::open(options(uri, release)).await, Lake::open_or_create(options(uri, release)).await] {
            let refused = refused.map(drop).unwrap_err().to_string();
            assert!(refused.contains(&format!("schema version {}", second.version())), "{refused}");
            assert!(refused.contains(message), "{refused}");
        }
    }
}

/// How many rows the fixture has, by table.
const FIXTURE: [(Table, usize); 9] = [
    (Table::Spans, 1_536),
    (Table::Logs, 1_536),
    (Table::Traces, 25),
    (Table::Metrics, 59),
    (Table::Failures, 6),
    (Table::IncidentCounts, 3),
    (Table::Flags, 6),
    (Table::Builds, 20),
    (Table::Heaps, 1),
];

/// Counts the rows of the fixture's tables.
async fn counts(lake: &Lake) -> Vec<(Table, usize)> {
    let head = lake.newest_head().await.unwrap();
    let mut counts = Vec::new();
    for (table, _) in FIXTURE {
        let names = table.lake_schema();
        let names: Vec<&str> = names.fields().iter().map(|field| field.name().as_str()).collect();
        let mut rows = 0;
        let take = |batch: RecordBatch| -> crate::Result<()> {
            rows += batch.num_rows();
            Ok(())
        };
        each_batch(lake, &head, table, &names, take).await.unwrap();
        counts.push((table, rows));
    }
    counts
}

/// A folder with a `lake` that a program of the first schema wrote (`scripts/make-lake-fixture.sh`).
fn lake_of_the_first_schema() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/lake-schema-1.tar.gz");
    let unpacked = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(folder.path()).status().unwrap();
    assert!(unpacked.success());
    folder
}

/// A lake that a program of the first schema wrote (`scripts/make-lake-fixture.sh`) is read whole with all columns,
/// written to, migrated to this release's schema and to the next one, and loses nothing by that.
#[tokio::test]
async fn a_lake_of_the_first_schema_is_taken_over() {
    let folder = lake_of_the_first_schema();
    let uri = folder.path().join("lake");
    let uri = uri.to_str().unwrap();
    let (first, second) = (first(), second());
    let lake = open(uri, &first).await;
    assert_eq!(lake.newest_head().await.unwrap().schema_version, FIRST_SCHEMA_VERSION);
    assert_eq!(counts(&lake).await, FIXTURE);

    Lake::open_or_create(options(uri, &first)).await.unwrap();
    let hour_later = now() + 3_600 * SECOND;
    migrate_at(&lake, "m", hour_later).await.unwrap();
    let mut writer = worker(uri, &first, "w-1", 0).await;
    writer.write(sent(&first, 0, 0, 10, NOON)).await.unwrap();
    let newer = open(uri, &second).await;
    assert_eq!(migrate_at(&newer, "m", hour_later).await.unwrap().to, second.version());
    let mut writer = worker(uri, &second, "w-2", 0).await;
    writer.write(sent(&second, 0, 10, 20, NOON)).await.unwrap();

    let written = [Table::Spans, Table::Traces, Table::Flags];
    let grown = FIXTURE.map(|(table, rows)| (table, if written.contains(&table) { rows + 20 } else { rows }));
    let newer = open(uri, &second).await;
    assert_eq!(counts(&newer).await, grown);
    let tones: Vec<String> = tones(&newer, Table::Spans).await.into_iter().filter_map(|(_, tone)| tone).collect();
    assert_eq!(tones, (10..20).map(tone).collect::<Vec<_>>());
    assert!(matches!(Lake::open(options(uri, &first)).await.unwrap_err(), Error::TooNew { .. }));
}

/// A release with other rules of fingerprints meets a lake whose schema has no place for what becomes of incidents.
/// Guarantees that it waits and says so, for whoever tells of new incidents has to wait as well; and that it maps them
/// once the lake is migrated.
#[tokio::test]
async fn incidents_are_mapped_once_the_lake_is_migrated() {
    let folder = lake_of_the_first_schema();
    let uri = folder.path().join("lake");
    let uri = uri.to_str().unwrap();
    let lake = open(uri, &first()).await;
    Lake::open_or_create(options(uri, &first())).await.unwrap();
    let grouping = Grouping { version: 2, ..Grouping::default() };
    let rules = FailureRules { grouping, ..FailureRules::default() };
    let mut successors = Successors::new(lake.clone(), rules);
    assert!(!successors.step().await.unwrap());
    assert!(successors.waits());
    let count = async || lake.newest("grouping_rules").await.unwrap().count_rows(None).await.unwrap();
    assert_eq!(count().await, 0);

    migrate_at(&lake, "m", now() + 3_600 * SECOND).await.unwrap();
    while successors.step().await.unwrap() {}
    assert!(!successors.waits());
    assert!(count().await > 0);
}

//! Compaction, indices, clean-up with its barrier, and retention.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use lance::index::DatasetIndexExt;
use lance_index::scalar::FullTextSearchQuery;
use tracerag_schemas::Table;
use tracerag_schemas::time::{DAY, SECOND};

use super::{Fixture, NOON, Place, epoch, offsets, rows, source, write};
use crate::journal::fence::{self, Fenced};
use crate::{ClosedTrace, Epoch, MaintainOptions, Retention, SourceProgress, maintain};

/// Upkeep that puts up with nothing.
pub(super) fn eager() -> MaintainOptions {
    MaintainOptions {
        // Beyond whatever a slow machine takes for the steps in between.
        now: crate::journal::now() + 60 * SECOND,
        small_fragments: 1,
        stale_versions: 0,
        longest_query: Duration::ZERO,
        index_delay: Duration::ZERO,
        small_table_rows: 1,
        ..MaintainOptions::default()
    }
}

/// Compaction publishes a head of the same position with fewer fragments and the same rows, and a
/// second round finds nothing to merge.
#[tokio::test]
async fn compaction_is_seen_as_nothing_but_fewer_fragments() {
    let fixture = Fixture::new().await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    for step in 0..4 {
        writer.write(epoch(source(0), step * 5, step * 5 + 5, NOON)).await.unwrap();
    }
    let before = fixture.lake.newest_head().await.unwrap();
    let patient = MaintainOptions { longest_query: Duration::from_secs(600), ..eager() };
    let report = maintain(&fixture.reopen().await, &patient).await.unwrap();
    assert_eq!(report.failed, vec![]);
    assert!(report.published);
    assert!(report.compacted.contains(&("spans/2026-11-23".to_owned(), 4, 1)), "{report:?}");
    assert!(report.indexed.contains(&("spans/2026-11-23".to_owned(), "trace_id".to_owned())));
    let after = fixture.lake.newest_head().await.unwrap();
    assert_eq!((after.position, after.sources.clone()), (before.position, before.sources.clone()));
    assert!(after.sequence > before.sequence);
    for table in [Table::Spans, Table::Traces, Table::Flags] {
        assert_eq!(fixture.offsets(table).await, (0..20).collect::<Vec<i64>>());
    }
    let old = &before.datasets["spans/2026-11-23"];
    let held = fixture.lake.dataset("spans/2026-11-23", old.version).await.unwrap();
    assert_eq!(held.count_rows(None).await.unwrap(), 20, "a reader of the head before is not disturbed");
    writer.write(epoch(source(0), 20, 25, NOON)).await.unwrap();
    assert_eq!(fixture.offsets(Table::Spans).await, (0..25).collect::<Vec<i64>>());
    let again = maintain(&fixture.reopen().await, &MaintainOptions { small_fragments: 8, ..patient }).await.unwrap();
    assert_eq!((again.failed, again.compacted), (vec![], vec![]));
}

/// The indices answer: a trace id by its tree, a time range by its zones, a word of a message by full
/// text, also for rows that came after the index was built.
#[tokio::test]
async fn indices_are_built_extended_and_used() {
    let fixture = Fixture::new().await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    let name = "failures/2026-11-23";
    for step in 0..2 {
        let (from, to) = (step * 50, step * 50 + 50);
        let progress = SourceProgress { source: source(0), to, low_watermark: to, stream_time: NOON };
        let rows = vec![(Table::Failures, rows(Table::Failures, from..to, NOON))];
        writer.write(Epoch { rows, sources: vec![progress], closed: vec![] }).await.unwrap();
        let report = maintain(&fixture.reopen().await, &eager()).await.unwrap();
        assert_eq!(report.failed, vec![]);
        for column in ["trace_id", "fingerprint", "time", "message"] {
            assert!(report.indexed.contains(&(name.to_owned(), column.to_owned())), "{step} {column}: {report:?}");
        }
    }
    let lake = fixture.reopen().await;
    let head = lake.newest_head().await.unwrap();
    let dataset = lake.dataset(name, head.datasets[name].version).await.unwrap();
    assert_eq!(dataset.load_indices().await.unwrap().iter().map(|index| &index.name).collect::<HashSet<_>>().len(), 4);
    for offset in [7, 77] {
        let mut scan = dataset.scan();
        scan.filter(&format!("trace_id = '{offset:032x}'")).unwrap();
        let plan = scan.explain_plan(false).await.unwrap();
        assert!(plan.contains("ScalarIndexQuery"), "{plan}");
        assert_eq!(scan.try_into_batch().await.unwrap().num_rows(), 1);
        let mut scan = dataset.scan();
        scan.full_text_search(FullTextSearchQuery::new(offset.to_string())).unwrap();
        assert_eq!(scan.try_into_batch().await.unwrap().num_rows(), 1, "the token {offset}");
    }
}

/// A writer that slept through another's commit of the same keys, a compaction and a clean-up adds
/// nothing when it wakes up: the barrier stands in its way. Fresh writers pass.
#[tokio::test]
async fn a_sleeper_meets_the_barrier() {
    sleeper(Place::Folder).await;
}

pub(super) async fn sleeper(place: Place) {
    let fixture = Fixture::at(place).await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    writer.write(epoch(source(0), 0, 5, NOON)).await.unwrap();
    let name = "spans/2026-11-23";
    // The sleeper has loaded the table and is about to commit the next epoch.
    let sleeping = fixture.reopen().await.newest(name).await.unwrap();
    let staged = writer.stage(epoch(source(0), 5, 10, NOON)).await.unwrap();
    let position = writer.record(&staged).await.unwrap();
    writer.apply().await.unwrap();
    writer.write(epoch(source(0), 10, 12, NOON)).await.unwrap();
    let report = maintain(&fixture.reopen().await, &eager()).await.unwrap();
    assert_eq!(report.failed, vec![]);
    assert!(report.cleaned_versions > 0);
    let known: Vec<u64> = fixture
        .reopen()
        .await
        .newest(name)
        .await
        .unwrap()
        .version_refs()
        .await
        .unwrap()
        .iter()
        .map(|v| v.version)
        .collect();
    assert!(
        known.iter().all(|version| *version > sleeping.version_id() + 1),
        "the commits it missed are gone: {known:?}"
    );

    let spans = staged.datasets.iter().find(|staged| staged.name == name).unwrap();
    let keys = HashSet::from([fence::position_key(position)]);
    let woken = fence::append(&fixture.lake, &sleeping, spans.fragments.clone(), keys, HashMap::new()).await.unwrap();
    assert!(matches!(woken, Fenced::Lost));
    assert_eq!(fixture.offsets(Table::Spans).await, (0..12).collect::<Vec<i64>>());

    writer.write(epoch(source(0), 12, 15, NOON)).await.unwrap();
    assert_eq!(fixture.offsets(Table::Spans).await, (0..15).collect::<Vec<i64>>());
    let next = fixture.worker("next", &[source(0)]).await.claim(&[source(0)]).await.unwrap();
    assert_eq!(next[0].next, Some(15));
}

/// Without the head (whose position bounds the search) a table still knows its position after its
/// stamped versions were cleaned away.
#[tokio::test]
async fn the_position_outlives_the_version_that_was_stamped() {
    let fixture = Fixture::new().await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    writer.write(epoch(source(0), 0, 5, NOON)).await.unwrap();
    let last = writer.write(epoch(source(0), 5, 9, NOON)).await.unwrap().position;
    for _ in 0..2 {
        let report = maintain(&fixture.reopen().await, &eager()).await.unwrap();
        assert_eq!(report.failed, vec![]);
    }
    for name in ["spans/2026-11-23", "traces/2026-11-23", "flags"] {
        let dataset = fixture.reopen().await.newest(name).await.unwrap();
        let position = crate::journal::position::position_of(name, &dataset, None).await.unwrap();
        assert_eq!(position, last, "{name}");
    }
}

/// Journal and heads are compacted and cleaned like tables, and both go on being written and read.
#[tokio::test]
async fn journal_and_heads_are_kept_short() {
    short_journal(Place::Folder).await;
}

pub(super) async fn short_journal(place: Place) {
    let fixture = Fixture::at(place).await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    for step in 0..4 {
        writer.write(epoch(source(0), step, step + 1, NOON)).await.unwrap();
    }
    let options = MaintainOptions { journal_keep: Duration::ZERO, ..eager() };
    let report = maintain(&fixture.reopen().await, &options).await.unwrap();
    assert_eq!(report.failed, vec![]);
    let lake = fixture.reopen().await;
    assert_eq!(lake.newest("heads").await.unwrap().count_rows(None).await.unwrap(), 1, "only the newest is needed");
    assert_eq!(lake.newest("journal").await.unwrap().count_rows(None).await.unwrap(), 1, "the last record stays");
    for step in 4..6 {
        writer.write(epoch(source(0), step, step + 1, NOON)).await.unwrap();
    }
    let mut next = crate::Writer::new(fixture.reopen().await, "next".into()).await.unwrap();
    let resumed = next.claim(&[source(0)]).await.unwrap();
    assert_eq!((resumed[0].next, resumed[0].generation), (Some(6), 2));
    assert_eq!(fixture.offsets(Table::Spans).await, (0..6).collect::<Vec<i64>>());
}

/// Records go by whole fragments, and none goes that somebody may ask about: of a trace that is open since offset 5 all
/// from there on stay, however old. Guarantees that a worker that takes the partition over reads them back.
#[tokio::test]
async fn records_that_a_successor_needs_stay() {
    let fixture = Fixture::new().await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    writer.write(epoch(source(0), 0, 5, NOON)).await.unwrap();
    let closed =
        ClosedTrace { tenant: "default".into(), trace_id: [7; 16], closed_at: NOON, last_offsets: vec![(0, 6)] };
    for (to, closed) in [(8, vec![closed]), (9, vec![])] {
        let sources = vec![SourceProgress { source: source(0), to, low_watermark: 5, stream_time: NOON }];
        writer.write(Epoch { rows: vec![], sources, closed }).await.unwrap();
    }
    // Made for each round: its time lies beyond what comes before, however long that takes.
    let options = || MaintainOptions { journal_keep: Duration::ZERO, ..eager() };
    for _ in 0..2 {
        let report = maintain(&fixture.reopen().await, &options()).await.unwrap();
        assert_eq!(report.failed, vec![]);
    }
    assert_eq!(fixture.reopen().await.newest("journal").await.unwrap().count_rows(None).await.unwrap(), 2);
    let resumed = fixture.worker("next", &[source(0)]).await.claim(&[source(0)]).await.unwrap();
    assert_eq!((resumed[0].next, resumed[0].seek), (Some(9), Some(5)));
    assert_eq!(resumed[0].closed.iter().map(|trace| trace.last_offset).collect::<Vec<_>>(), [6]);

    // The records of the open trace lie in one fragment with those of the epoch that closes it, and go with it.
    writer = fixture.worker("last", &[source(0)]).await;
    writer.write(epoch(source(0), 9, 12, NOON)).await.unwrap();
    let kept = MaintainOptions { journal_keep: Duration::from_secs(3_600), ..eager() };
    maintain(&fixture.reopen().await, &kept).await.unwrap();
    assert_eq!(fixture.reopen().await.newest("journal").await.unwrap().count_fragments(), 1);
    writer.write(epoch(source(0), 12, 13, NOON)).await.unwrap();
    maintain(&fixture.reopen().await, &options()).await.unwrap();
    assert_eq!(fixture.reopen().await.newest("journal").await.unwrap().count_rows(None).await.unwrap(), 1);
}

/// Retention: a day leaves the head first and its folder later, rows of it that still come are left
/// out, other tables keep theirs, and small tables lose single rows.
#[tokio::test]
async fn retention_drops_whole_days() {
    dropped_days(Place::Folder).await;
}

pub(super) async fn dropped_days(place: Place) {
    let fixture = Fixture::at(place).await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    let old = NOON - 3 * DAY;
    writer.write(epoch(source(0), 0, 5, old)).await.unwrap();
    writer.write(epoch(source(0), 5, 9, NOON)).await.unwrap();
    let held = fixture.lake.newest_head().await.unwrap();
    let retention = Retention {
        default: Some(Duration::from_secs(2 * 86_400)),
        tables: [(Table::Traces, Duration::from_secs(30 * 86_400)), (Table::Flags, Duration::from_secs(2 * 86_400))]
            .into(),
        ..Retention::default()
    };
    let patient = MaintainOptions {
        now: NOON,
        longest_query: Duration::from_secs(100 * 365 * 86_400),
        retention: retention.clone(),
        ..eager()
    };
    let report = maintain(&fixture.reopen().await, &patient).await.unwrap();
    assert_eq!((report.failed, report.dropped), (vec![], vec!["spans/2026-11-20".to_owned()]));
    assert_eq!((report.expired_rows, report.deleted), (5, vec![]));
    assert_eq!(fixture.offsets(Table::Spans).await, (5..9).collect::<Vec<i64>>());
    assert_eq!(fixture.offsets(Table::Flags).await, (5..9).collect::<Vec<i64>>());
    assert_eq!(fixture.offsets(Table::Traces).await, (0..9).collect::<Vec<i64>>());
    let reader = fixture.reopen().await;
    let version = held.datasets["spans/2026-11-20"].version;
    assert_eq!(reader.dataset("spans/2026-11-20", version).await.unwrap().count_rows(None).await.unwrap(), 5);

    let late = writer.write(epoch(source(0), 9, 12, old)).await.unwrap();
    assert_eq!((late.expired, late.rows[&Table::Traces]), (3, 3));
    let report = maintain(&fixture.reopen().await, &MaintainOptions { retention, ..eager() }).await.unwrap();
    assert!(report.deleted.contains(&"spans/2026-11-20".to_owned()), "{report:?}");
    let day = fixture.files.join("spans/2026-11-20.lance");
    // Between the objects of a store there are no folders that could be left.
    assert_eq!((files_below(&day), day.exists() && matches!(place, Place::Folder)), (0, false));
    writer.write(epoch(source(0), 12, 14, NOON)).await.unwrap();
    assert!(offsets(&fixture.reopen().await, Table::Traces).await.contains(&13));
}

/// What compaction merges is within every index when the round is over, the zones of times included, which Lance
/// cannot carry over: one round is all that a replay makes.
#[tokio::test]
async fn merged_fragments_are_indexed_at_once() {
    let fixture = Fixture::new().await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    for step in 0..4 {
        writer.write(epoch(source(0), step * 5, step * 5 + 5, NOON)).await.unwrap();
    }
    let patient = MaintainOptions { index_delay: Duration::from_secs(3_600), ..eager() };
    let report = maintain(&fixture.reopen().await, &patient).await.unwrap();
    assert_eq!(report.failed, vec![]);
    let name = "spans/2026-11-23";
    assert!(report.compacted.contains(&(name.to_owned(), 4, 1)), "{report:?}");
    let lake = fixture.reopen().await;
    let head = lake.newest_head().await.unwrap();
    let dataset = lake.dataset(name, head.datasets[name].version).await.unwrap();
    for index in ["trace_id_idx", "start_time_idx"] {
        let deltas = dataset.load_indices_by_name(index).await.unwrap();
        let covers = |id: u64| deltas.iter().any(|d| d.fragment_bitmap.as_ref().unwrap().contains(id as u32));
        assert!(dataset.fragments().iter().all(|fragment| covers(fragment.id)), "{index}");
    }
}

/// A lake that has more bytes than it may have loses its oldest days, in all their tables at once, until it fits;
/// the newest day stays even if it alone is too much.
#[tokio::test]
async fn a_lake_stays_below_its_bound_in_bytes() {
    let fixture = Fixture::new().await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    for day in 0..3 {
        writer.write(epoch(source(0), day * 5, day * 5 + 5, NOON + day * DAY)).await.unwrap();
    }
    let bounded = |max_bytes| MaintainOptions {
        retention: Retention { max_bytes: Some(max_bytes), ..Retention::default() },
        ..eager()
    };
    let report = maintain(&fixture.reopen().await, &bounded(1 << 30)).await.unwrap();
    assert_eq!(report.dropped, Vec::<String>::new());
    let flags = report.table_bytes[&Table::Flags];
    let days = report.table_bytes.values().sum::<u64>() - flags;
    let report = maintain(&fixture.reopen().await, &bounded(flags + days / 9)).await.unwrap();
    assert_eq!(
        report.dropped,
        ["spans/2026-11-23", "traces/2026-11-23", "spans/2026-11-24", "traces/2026-11-24"].map(str::to_owned)
    );
    assert_eq!(fixture.offsets(Table::Spans).await, (10..15).collect::<Vec<i64>>());
    assert_eq!(fixture.offsets(Table::Flags).await, (0..15).collect::<Vec<i64>>());
}

/// Upkeep runs again and again beside two busy writers, which try again as workers do when it has removed what they were
/// about to read: no row is lost or doubled, every head on the way is whole, and what it merges stays merged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upkeep_runs_beside_writing() {
    upkeep_beside_writers(Place::Folder).await;
}

pub(super) async fn upkeep_beside_writers(place: Place) {
    let fixture = Fixture::at(place).await;
    let mut writers = Vec::new();
    for partition in 0..2 {
        let mut writer = fixture.worker(&format!("worker {partition}"), &[source(partition)]).await;
        writers.push(tokio::spawn(async move {
            for step in 0..8 {
                let from = i64::from(partition) * 100 + step * 3;
                write(&mut writer, epoch(source(partition), from, from + 3, NOON)).await;
            }
        }));
    }
    // A reader needs a moment between reading a head and opening its versions.
    let longest_query = Duration::from_millis(if matches!(place, Place::Folder) { 500 } else { 2_000 });
    let lake = fixture.reopen().await;
    let mut rounds = 0;
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) || rounds < 2 {
        let options = MaintainOptions { now: crate::journal::now(), longest_query, ..eager() };
        maintain(&lake, &options).await.unwrap();
        rounds += 1;
        let spans = offsets(&lake, Table::Spans).await;
        assert!(spans.windows(2).all(|pair| pair[0] < pair[1]), "doubled: {spans:?}");
        assert!(offsets(&lake, Table::Traces).await.len() >= spans.len());
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let expected: Vec<i64> = (0..24).chain(100..124).collect();
    for table in [Table::Spans, Table::Traces, Table::Flags] {
        assert_eq!(fixture.offsets(table).await, expected, "{}", table.name());
    }
}

/// How many files there are below a folder, which need not exist.
pub(super) fn files_below(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries.map(|entry| entry.unwrap().path()).map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
}

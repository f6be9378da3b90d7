//! A store that refuses writes or loses answers, at each step of an epoch; and the files that this leaves behind.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tracerag_schemas::Table;

use super::failing_store::{Fault, Faults};
use super::staged::named;
use super::upkeep::eager;
use super::{Fixture, NOON, epoch, source, write};
use crate::journal::log::{JOURNAL, Log};
use crate::journal::record::{Interval, Kind, Record};
use crate::journal::writer::blank;
use crate::{ClosedTrace, Epoch, Lake, LakeOptions, MaintainOptions, Writer, Writing, maintain};

/// More than an epoch makes.
const MOST_WRITES: usize = 200;

/// A claimed writer on a lake whose store fails as `faults` says.
async fn failing(fixture: &Fixture, faults: &Faults) -> Writer {
    let options = LakeOptions::new(fixture.folder.path().to_str().unwrap());
    let lake = Lake::open_or_create_on(options, faults.registry()).await.unwrap();
    let mut writer = Writer::new(lake, "failing".into()).await.unwrap();
    writer.claim(&[source(0)]).await.unwrap();
    writer
}

/// Each write that an epoch makes fails in turn, once or three times in a row, without an effect or with its answer
/// lost. The same epoch is tried again until it is there, and one follows. Guarantees that a worker that waits for the
/// lake writes every row once, whichever step has failed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_write_of_an_epoch_may_fail() {
    for (times, fault) in [(1, Fault::Refused), (3, Fault::Refused), (1, Fault::AnswerLost), (3, Fault::AnswerLost)] {
        let fixture = Fixture::new().await;
        let faults = Faults::default();
        let mut writer = failing(&fixture, &faults).await;
        let mut sent = 0;
        let mut retried = 0;
        for spared in 0..MOST_WRITES {
            faults.plan(spared, times, fault);
            let attempts = write(&mut writer, epoch(source(0), sent, sent + 2, NOON)).await;
            sent += 2;
            retried += usize::from(attempts > 1);
            if !faults.end() {
                break;
            }
            assert!(spared + 1 < MOST_WRITES, "the faults were never past the epoch");
        }
        assert!(retried > 0, "no write of an epoch has failed");
        write(&mut writer, epoch(source(0), sent, sent + 2, NOON)).await;
        for table in [Table::Spans, Table::Traces, Table::Flags] {
            let expected: Vec<i64> = (0..sent + 2).collect();
            assert_eq!(fixture.offsets(table).await, expected, "{} {times} {fault:?}", table.name());
        }
    }
}

/// The same with a claim: it is made again with a greater generation, whatever became of the one before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_write_of_a_claim_may_fail() {
    for fault in [Fault::Refused, Fault::AnswerLost] {
        let fixture = Fixture::new().await;
        let faults = Faults::default();
        let mut writer = failing(&fixture, &faults).await;
        let mut sent = 0;
        for spared in 0..MOST_WRITES {
            faults.plan(spared, 1, fault);
            let claimed = writer.claim(&[source(0)]).await;
            let has_failed = faults.end();
            if let Err(error) = claimed {
                assert!(error.is_passing(), "{error:?}");
                writer.claim(&[source(0)]).await.unwrap();
            }
            writer.write(epoch(source(0), sent, sent + 1, NOON)).await.unwrap();
            sent += 1;
            if !has_failed {
                break;
            }
            assert!(spared + 1 < MOST_WRITES, "the faults were never past the claim");
        }
        assert_eq!(fixture.offsets(Table::Spans).await, (0..sent).collect::<Vec<i64>>(), "{fault:?}");
    }
}

/// An epoch is recorded and cannot be applied, until another worker has written one behind it and applied both.
/// Guarantees that what is recorded is told apart from what all tables hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_recorded_and_not_applied_is_known() {
    let fixture = Fixture::new().await;
    let faults = Faults::default();
    let mut writer = failing(&fixture, &faults).await;
    let mut other = fixture.worker("other", &[source(1)]).await;
    let mut sent = 0;
    for spared in 0..MOST_WRITES {
        faults.plan(spared, 1, Fault::Refused);
        let mut writing = Writing::new(epoch(source(0), sent, sent + 2, NOON));
        let first = writer.go_on(&mut writing).await;
        faults.end();
        sent += 2;
        let Err(error) = first else { continue };
        assert!(error.is_passing(), "{error:?}");
        let recorded = writing.recorded();
        let behind = match recorded {
            Some(_) => Some(other.write(epoch(source(1), 0, 1, NOON)).await.unwrap()),
            None => None,
        };
        let written = writer.go_on(&mut writing).await.unwrap();
        if let Some(behind) = behind {
            assert_eq!((Some(written.position), written.applied), (recorded, behind.position));
            assert!(behind.position > written.position);
            return;
        }
        assert_eq!(written.applied, written.position);
    }
    panic!("applying has never failed");
}

/// The answer to a record is lost, and before the worker asks again, another one has applied the epoch and published
/// its head. The epoch moves no offset, so its intervals would fit a second time. Guarantees that the worker finds it
/// by its id and adds nothing.
#[tokio::test]
async fn an_epoch_that_others_have_applied_is_found() {
    let fixture = Fixture::new().await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    writer.write(epoch(source(0), 0, 5, NOON)).await.unwrap();
    let mut closing = epoch(source(0), 5, 8, NOON);
    closing.sources[0].to = 5;
    closing.sources[0].low_watermark = 5;
    let staged = writer.stage(closing).await.unwrap();

    // What the worker's log does: it appends, and is told that nobody knows what became of it.
    let mut log = Log::new(fixture.reopen().await);
    let (_, head) = fixture.lake.head().await.unwrap();
    let state = head.source(&source(0)).unwrap().clone();
    let mut drafted = 0;
    for _ in 0..2 {
        let record = log
            .append(&staged.epoch, |_| {
                drafted += 1;
                let interval = Interval {
                    source: source(0),
                    generation: state.generation,
                    from: Some(5),
                    to: Some(5),
                    low_watermark: Some(5),
                    stream_time: Some(NOON),
                };
                Ok(Record { staged: staged.datasets.clone(), ..blank(Kind::Epoch, &staged.epoch, "w", vec![interval]) })
            })
            .await
            .unwrap();
        assert_eq!(record.position, head.position + 1);
        Writer::new(fixture.reopen().await, "other".into()).await.unwrap().apply().await.unwrap();
    }
    assert_eq!(drafted, 1, "the epoch was recorded a second time");
    assert_eq!(fixture.offsets(Table::Spans).await, (0..8).collect::<Vec<i64>>());
}

/// A volume is not mounted for a while, and what a worker staged meanwhile went elsewhere: its files are missing when
/// it is back. Guarantees that the epoch is staged again, and that no record names a file that is not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_gone_are_staged_again() {
    let fixture = Fixture::new().await;
    let faults = Faults::default();
    let mut writer = failing(&fixture, &faults).await;
    writer.write(epoch(source(0), 0, 5, NOON)).await.unwrap();
    let before = files(fixture.folder.path());
    let mut writing = Writing::new(epoch(source(0), 5, 8, NOON));
    // Three tables are staged, and then nothing is recorded.
    faults.plan(3, 1, Fault::Refused);
    let error = writer.go_on(&mut writing).await.unwrap_err();
    assert!(error.is_passing() && error.to_string().contains(JOURNAL), "{error}");
    assert!(faults.end());
    let staged: Vec<String> = files(fixture.folder.path()).difference(&before).cloned().collect();
    assert_eq!(staged.len(), 3, "{staged:?}");
    for file in staged {
        std::fs::remove_file(fixture.folder.path().join(file)).unwrap();
    }
    writer.go_on(&mut writing).await.unwrap();
    assert_eq!(fixture.offsets(Table::Spans).await, (0..8).collect::<Vec<i64>>());
}

/// One table of an epoch cannot be staged: the files of the others are deleted at once. Guarantees that attempts on a
/// full disk do not fill it further.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_staging_leaves_no_file() {
    let fixture = Fixture::new().await;
    let faults = Faults::default();
    let mut writer = failing(&fixture, &faults).await;
    writer.write(epoch(source(0), 0, 5, NOON)).await.unwrap();
    let before = files(fixture.folder.path());
    for spared in 0..3 {
        faults.plan(spared, 1, Fault::Refused);
        let error = writer.stage(epoch(source(0), 5, 8, NOON)).await.unwrap_err();
        assert!(error.is_passing(), "{error}");
        assert!(faults.end());
        assert_eq!(files(fixture.folder.path()), before, "{spared} tables were staged");
    }
}

/// Rows of one table come in two forms, which are two files, and the second cannot be written: the first is deleted at
/// once, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_file_takes_the_ones_before_it_along() {
    let fixture = Fixture::new().await;
    let faults = Faults::default();
    let mut writer = failing(&fixture, &faults).await;
    writer.write(epoch(source(0), 0, 5, NOON)).await.unwrap();
    let before = files(fixture.folder.path());
    let rows = vec![(Table::Spans, named(5..200, true)), (Table::Spans, named(200..300, false))];
    faults.plan(1, 1, Fault::Refused);
    writer.stage(Epoch { rows, ..epoch(source(0), 5, 300, NOON) }).await.unwrap_err();
    assert!(faults.end());
    assert_eq!(files(fixture.folder.path()), before);
}

/// Rows that were staged and never recorded, the list of closed traces of such an epoch, and a temporary file are
/// removed when they are old, also in a day that nobody writes any more and in one that no head has; everything else
/// stays, and the folder of a day that was never created is no failure. Guarantees that no fault fills a disk for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nothing_names_is_removed_in_the_end() {
    let fixture = Fixture::new().await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    let trace = |n: u32| ClosedTrace {
        tenant: Arc::from("default"),
        trace_id: xxhash_rust::xxh3::xxh3_128(&n.to_le_bytes()).to_le_bytes(),
        closed_at: NOON,
        last_offsets: vec![(0, 1)],
    };
    // Enough for a file of its own.
    let with_list = |from, to, at| Epoch { closed: (0..8_000).map(trace).collect(), ..epoch(source(0), from, to, at) };
    writer.write(with_list(0, 5, NOON)).await.unwrap();
    let recorded = writer.stage(epoch(source(0), 5, 8, NOON)).await.unwrap();
    writer.record(&recorded).await.unwrap();

    let before = files(fixture.folder.path());
    let abandoned = writer.stage(with_list(8, 9, NOON)).await.unwrap();
    Log::new(fixture.reopen().await).store_closed(&abandoned.epoch, &abandoned.closed).await.unwrap();
    writer.stage(epoch(source(0), 8, 9, NOON + tracerag_schemas::time::DAY)).await.unwrap();
    std::fs::write(fixture.folder.path().join("spans/2026-11-23.lance/data/.tmp1"), b"killed").unwrap();
    std::fs::create_dir_all(fixture.folder.path().join("spans/2026-11-25.lance/_transactions")).unwrap();
    let strays: HashSet<String> = files(fixture.folder.path()).difference(&before).cloned().collect();
    assert!(strays.len() >= 8, "two epochs of three tables, a list and a temporary file: {strays:?}");

    let patient = MaintainOptions { stale_versions: 1_000, small_fragments: 1_000, ..eager() };
    let young = MaintainOptions { stray_after: Duration::from_secs(3_600), ..patient.clone() };
    let report = maintain(&fixture.reopen().await, &young).await.unwrap();
    assert_eq!((report.failed, report.strays), (vec![], 0));
    let old = MaintainOptions { stray_after: Duration::ZERO, ..patient };
    let report = maintain(&fixture.reopen().await, &old).await.unwrap();
    assert_eq!(report.failed, vec![]);
    let left = files(fixture.folder.path());
    assert!(strays.is_disjoint(&left), "{:?}", strays.intersection(&left).collect::<Vec<_>>());

    // What is recorded is applied all the same, and its list of closed traces can be read.
    let resumed = writer.claim(&[source(0)]).await.unwrap();
    assert_eq!(resumed[0].closed.len(), 8_000);
    assert_eq!(fixture.offsets(Table::Spans).await, (0..8).collect::<Vec<i64>>());
}

fn is_of_tables(path: &str) -> bool {
    path.contains("/data/") && !path.starts_with("journal.") && !path.starts_with("heads.")
}

/// The files with rows and the lists of closed traces, by their path in the lake.
fn files(lake: &Path) -> HashSet<String> {
    let mut found = HashSet::new();
    let mut folders = vec![lake.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let inside = path.strip_prefix(lake).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if is_of_tables(&inside) || inside.starts_with("journal/") {
                found.insert(inside);
            }
        }
    }
    found
}

//! The lake in a real S3 server: the scenarios on which exactly-once and upkeep rest, and what only a store has.

use std::collections::HashMap;
use std::time::Duration;

use tracerag_schemas::Table;

use super::support::s3::S3;
use super::upkeep::{eager, files_below};
use super::{Fixture, NOON, Place, epoch, exactly_once, source, upkeep};
use crate::{Lake, LakeOptions, MaintainOptions, Writing, maintain};

/// Epochs whose requests are counted.
const EPOCHS: usize = 5;

/// `None`, after a line that says so, if there is no server.
fn place() -> Option<Place> {
    S3::shared().map(Place::S3)
}

/// A worker dies after each of the steps of an epoch; the next one loses and doubles nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_any_two_steps_loses_and_doubles_nothing() {
    let Some(place) = place() else { return };
    exactly_once::crashes_between_steps(place).await;
}

/// Writers race for the journal and appliers for the tables, and a worker that was fenced is refused: of two puts of
/// one version one lands, and the other one is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn races_have_one_winner() {
    let Some(place) = place() else { return };
    exactly_once::racing_writers(place).await;
    exactly_once::racing_appliers(place).await;
    exactly_once::zombie(place).await;
}

/// Compaction, clean-up with its barrier, and a writer that slept through both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upkeep_disturbs_no_writer() {
    let Some(place) = place() else { return };
    upkeep::sleeper(place).await;
    upkeep::short_journal(place).await;
    upkeep::upkeep_beside_writers(place).await;
}

/// A day that retention drops leaves the head first and its objects later, all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_drops_whole_days() {
    let Some(place) = place() else { return };
    upkeep::dropped_days(place).await;
}

/// What was staged and never recorded is removed when it is old, and everything else stays. Guarantees that killed
/// workers do not fill a bucket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nothing_names_is_removed() {
    let Some(place) = place() else { return };
    let fixture = Fixture::at(place).await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    writer.write(epoch(source(0), 0, 5, NOON)).await.unwrap();
    let before = files_below(&fixture.files.join("spans"));
    writer.stage(epoch(source(0), 5, 9, NOON)).await.unwrap();
    assert_eq!(files_below(&fixture.files.join("spans")), before + 1);
    let young = MaintainOptions { stale_versions: 1_000, small_fragments: 1_000, ..eager() };
    let report = maintain(&fixture.reopen().await, &young).await.unwrap();
    assert_eq!((report.failed, report.strays), (vec![], 0));
    let report = maintain(&fixture.reopen().await, &MaintainOptions { stray_after: Duration::ZERO, ..young }).await;
    let report = report.unwrap();
    assert_eq!((report.failed, report.strays), (vec![], 3), "a file of each table");
    writer.write(epoch(source(0), 5, 9, NOON)).await.unwrap();
    assert_eq!(fixture.offsets(Table::Spans).await, (0..9).collect::<Vec<i64>>());
}

/// The server is gone for a while before an epoch: each attempt fails as one that is worth another, and the same epoch is
/// written when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_goes_away_is_passing() {
    let Some(mut server) = S3::start() else { return };
    let storage_options: HashMap<String, String> = server.options().into_iter().collect();
    let options = LakeOptions { storage_options, ..LakeOptions::new(server.lake("away")) };
    let lake = Lake::open_or_create(options).await.unwrap();
    let mut writer = crate::Writer::new(lake.clone(), "w".into()).await.unwrap();
    writer.claim(&[source(0)]).await.unwrap();
    writer.write(epoch(source(0), 0, 5, NOON)).await.unwrap();
    server.stop();
    let mut writing = Writing::new(epoch(source(0), 5, 9, NOON));
    for _ in 0..2 {
        let error = writer.go_on(&mut writing).await.unwrap_err();
        assert!(error.is_passing(), "{error:?}");
    }
    server.restart();
    writer.go_on(&mut writing).await.unwrap();
    assert_eq!(super::offsets(&lake, Table::Spans).await, (0..9).collect::<Vec<i64>>());
}

/// What an epoch asks of the store when nobody else works on the lake: for each dataset it touches, journal and heads
/// among them, the file, the look whether somebody was quicker, and the manifest; beside these, one look each whether the
/// journal and the heads are what was left. Guarantees that no request comes in unnoticed: there each costs time and
/// money.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_makes_few_requests() {
    let Some(server) = S3::shared() else { return };
    let fixture = Fixture::at(Place::S3(server)).await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    // The first makes the datasets of the day.
    writer.write(epoch(source(0), 0, 5, NOON)).await.unwrap();
    let before: usize = server.requests(fixture.uri()).values().sum();
    for step in 1..=EPOCHS as i64 {
        writer.write(epoch(source(0), step * 5, step * 5 + 5, NOON)).await.unwrap();
    }
    let requests = server.requests(fixture.uri());
    let made = requests.values().sum::<usize>() - before;
    let touched = 3 + ["journal", "heads"].len();
    assert!(
        made <= EPOCHS * (3 * touched + 2),
        "{made} requests for {EPOCHS} epochs on {touched} datasets: {requests:?}"
    );
}

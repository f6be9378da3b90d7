//! Replays of dead letters, on a lake in a temporary folder.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use tracerag_index::{LetterFilter, WaitingLetters};
use tracerag_ingest::source::files::{FILE_CLUSTER, FileRecord};
use tracerag_query::{Session, SessionOptions, json};
use tracerag_schemas::time::SECOND;

use super::super::tests::{Bench, HOUR, child_span, record, root_span, take};
use super::*;

/// A record that is read in the wrong encoding, so that it becomes a letter.
fn misread(source: &SourcePartition, offset: i64, value: &str) -> FileRecord {
    FileRecord { encoding: Encoding::Proto, ..record(source, Signal::Spans, offset, HOUR, value) }
}

/// A worker takes records of spans and closes everything.
async fn worked(bench: &Bench, source: &SourcePartition, records: &[FileRecord]) {
    let mut worker = bench.pipeline().await;
    worker.assign(std::slice::from_ref(source), |_| true).await.unwrap();
    records.iter().for_each(|record| take(&mut worker, record));
    worker.drain().await.unwrap();
}

async fn claimed(bench: &Bench) -> Pipeline {
    let mut replay = bench.pipeline().await;
    replay.claim_letters().await.unwrap();
    replay
}

/// Takes up all letters that wait, as OTLP/JSON; gives what became of each.
async fn take_all(replay: &mut Pipeline) -> Vec<bool> {
    let filter = LetterFilter { tenant: "default".to_owned(), ..LetterFilter::default() };
    let mut waiting = WaitingLetters::find(replay.lake(), &filter).await.unwrap();
    let mut taken = Vec::new();
    while let Some(rows) = waiting.next(100).await.unwrap() {
        let stored = StoredLetter::read(&rows).unwrap();
        let (signal, encoding) = (Signal::Spans, Encoding::Json);
        let letters: Vec<Replayable<'_>> =
            stored.iter().map(|letter| Replayable { letter, signal, encoding, named: &[] }).collect();
        taken.extend(replay.take_letters(&letters, true).unwrap().iter().map(Result::is_ok));
    }
    taken
}

/// The rows of a query, the values of each in their order.
async fn rows(bench: &Bench, query: &str) -> Vec<Vec<Value>> {
    let lake = Lake::open(bench.config.lake.options()).await.unwrap();
    let session = Session::open(&lake, SessionOptions::new("default")).await.unwrap();
    let batches = session.collect(query, None).await.unwrap();
    let rows = batches.iter().flat_map(|batch| json::rows(batch).unwrap());
    rows.map(|row| row.into_iter().map(|(_, value)| value).collect()).collect()
}

const SPANS: &str = "select kafka_topic, kafka_offset, revision from spans order by kafka_offset";
const LETTERS: &str = "select reason, detail, kafka_offset from dead_letters order by reason, kafka_offset";

fn span(offset: i64) -> Vec<Value> {
    vec![Value::from("otlp_spans"), Value::from(offset), Value::from(1)]
}

/// A replay is killed after it took the letters up, after it staged their rows, and after it recorded them. The next
/// one takes up what is left: each good letter has its rows once, with its own origin, and one row that says so; the
/// bad one stays, once. A replay after that writes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_any_two_steps_loses_and_doubles_nothing() {
    for step in ["taken", "staged", "recorded"] {
        let bench = Bench::new();
        let source = SourcePartition::new("c", "otlp_spans", 0);
        let values = [root_span(1, HOUR), String::from("{"), root_span(2, HOUR)];
        let records: Vec<_> = (0..).zip(&values).map(|(offset, value)| misread(&source, offset, value)).collect();
        worked(&bench, &source, &records).await;
        assert_eq!((rows(&bench, SPANS).await.len(), rows(&bench, LETTERS).await.len()), (0, 3), "{step}");

        let mut dying = claimed(&bench).await;
        assert_eq!(take_all(&mut dying).await, [true, false, true], "{step}");
        if step != "taken" {
            let (epoch, _) = dying.letters_epoch().await.unwrap();
            let mut writer = dying.writer.take().unwrap();
            let staged = writer.stage(epoch).await.unwrap();
            if step == "recorded" {
                writer.record(&staged).await.unwrap();
            }
        }
        drop(dying);

        let mut next = claimed(&bench).await;
        let left: &[bool] = if step == "recorded" { &[false] } else { &[true, false, true] };
        assert_eq!(take_all(&mut next).await, left, "{step}");
        next.write_letters().await.unwrap();
        next.seal_letters().await.unwrap();
        let marks = rows(&bench, "select detail, kafka_offset from dead_letters where reason = 'replayed' order by 2");
        assert_eq!(marks.await, [[Value::from("decode"), 0.into()], [Value::from("decode"), 2.into()]], "{step}");
        assert_eq!(rows(&bench, SPANS).await, [span(0), span(2)], "{step}");

        let letters = rows(&bench, LETTERS).await;
        let mut last = claimed(&bench).await;
        assert_eq!(take_all(&mut last).await, [false], "{step}");
        last.write_letters().await.unwrap();
        assert_eq!(last.tally().epochs, 0, "{step}");
        assert_eq!((rows(&bench, SPANS).await, rows(&bench, LETTERS).await), (vec![span(0), span(2)], letters));
    }
}

/// Two replays run at the same time: the later one shuts the earlier one out, which fails without having written
/// anything.
#[tokio::test(flavor = "multi_thread")]
async fn one_replay_runs_at_a_time() {
    let bench = Bench::new();
    let source = SourcePartition::new("c", "otlp_spans", 0);
    worked(&bench, &source, &[misread(&source, 0, &root_span(1, HOUR))]).await;
    let mut first = claimed(&bench).await;
    assert_eq!(take_all(&mut first).await, [true]);
    let mut second = claimed(&bench).await;
    let error = first.write_letters().await.unwrap_err();
    assert!(matches!(error, Error::Index(tracerag_index::Error::Fenced { .. })), "{error}");
    assert_eq!(rows(&bench, SPANS).await.len(), 0);
    assert_eq!(take_all(&mut second).await, [true]);
    second.write_letters().await.unwrap();
    assert_eq!(rows(&bench, SPANS).await, [span(0)]);
}

/// A part of a trace was written when another part became a letter, the one with the root. The replay makes a revision
/// of the trace, and no second trace.
#[tokio::test(flavor = "multi_thread")]
async fn a_letter_of_a_known_trace_makes_a_revision() {
    let bench = Bench::new();
    let source = SourcePartition::new("c", "otlp_spans", 0);
    let child = record(&source, Signal::Spans, 0, HOUR, &child_span(1, 2, HOUR));
    worked(&bench, &source, &[child, misread(&source, 1, &root_span(1, HOUR))]).await;
    let mut replay = claimed(&bench).await;
    assert_eq!(take_all(&mut replay).await, [true]);
    replay.write_letters().await.unwrap();
    let traces = rows(&bench, "select revision, span_count, complete from traces").await;
    assert_eq!(traces, [[Value::from(2), 2.into(), true.into()]]);
    let revisions = rows(&bench, "select kafka_offset, revision from spans order by 1").await;
    assert_eq!(revisions, [[Value::from(0), 1.into()], [Value::from(1), 2.into()]]);
}

/// A worker reads an open trace's records again after its configuration was corrected, and among them one that has
/// become a letter. It leaves the letter to the replay, so that its span is written once.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_leaves_letters_to_the_replay() {
    let bench = Bench::new();
    let source = SourcePartition::new("c", "otlp_spans", 0);
    let open = record(&source, Signal::Spans, 0, HOUR, &child_span(1, 2, HOUR));
    let mut first = bench.pipeline().await;
    first.assign(std::slice::from_ref(&source), |_| true).await.unwrap();
    take(&mut first, &open);
    take(&mut first, &misread(&source, 1, &root_span(2, HOUR)));
    first.at_end(&source, HOUR + 3 * SECOND).unwrap();
    first.flush().await.unwrap();
    first.settle().await.unwrap();
    assert_eq!(first.tally().rows(Table::DeadLetters), 1);

    let mut corrected = bench.pipeline().await;
    let starts = corrected.assign(std::slice::from_ref(&source), |_| true).await.unwrap();
    assert_eq!(starts, [(source.clone(), Some(0))]);
    take(&mut corrected, &open);
    take(&mut corrected, &record(&source, Signal::Spans, 1, HOUR, &root_span(2, HOUR)));
    corrected.drain().await.unwrap();
    assert_eq!(rows(&bench, SPANS).await, [span(0)]);

    let mut replay = claimed(&bench).await;
    assert_eq!(take_all(&mut replay).await, [true]);
    replay.write_letters().await.unwrap();
    assert_eq!(rows(&bench, SPANS).await, [span(0), span(1)]);
}

/// In a lake of files nothing but a replay moves time, so the replay of letters seals what it wrote, also if the one
/// that wrote it was killed before; beside a partition of Kafka it leaves time alone.
#[tokio::test(flavor = "multi_thread")]
async fn replays_are_sealed_where_nothing_else_moves_time() {
    for (cluster, seals) in [(FILE_CLUSTER, true), ("c", false)] {
        let bench = Bench::new();
        let source = SourcePartition::new(cluster, "otlp_spans", 0);
        worked(&bench, &source, &[misread(&source, 0, &root_span(1, HOUR))]).await;
        let mut killed = claimed(&bench).await;
        assert_eq!(take_all(&mut killed).await, [true]);
        killed.write_letters().await.unwrap();
        drop(killed);

        let mut again = claimed(&bench).await;
        assert_eq!(take_all(&mut again).await, Vec::<bool>::new());
        again.seal_letters().await.unwrap();
        let lake = Lake::open(bench.config.lake.options()).await.unwrap();
        let head = lake.newest_head().await.unwrap();
        let (_, time) = head.stream_times.iter().find(|(source, _)| *source == replays()).unwrap();
        let sealed = *time > HOUR + bench.config.window.seal_after.nanos();
        assert_eq!(sealed, seals, "{cluster}");
    }
}

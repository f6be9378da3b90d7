//! A lake that many epochs are written to stays as quick and as small as one of few.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tracerag_index::{Epoch, Lake, LakeOptions, MaintainOptions, SourceProgress, Writer, maintain};
use tracerag_schemas::{SourcePartition, Table};

use super::lake::NOON;
use super::times::{asked, rows};

/// Epochs, and after how many there is a round of upkeep.
const EPOCHS: i64 = 300;
const KEPT_EVERY: i64 = 20;
/// Rows that an epoch brings to each table.
const ROWS: i64 = 3;
/// Small fragments and old versions that upkeep puts up with.
const PATIENCE: usize = 4;

/// What must not grow with the number of epochs.
#[derive(Debug, Default)]
struct Size {
    files: u64,
    /// Of the dataset that has most of them.
    versions: u64,
    fragments: u64,
    records: u64,
    heads: u64,
    /// Bytes that are read to look a trace up, and to count.
    look_up: u64,
    count: u64,
}

fn files(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| if entry.file_type().unwrap().is_dir() { files(&entry.path()) } else { 1 }).sum()
}

async fn measured(folder: &TempDir) -> Size {
    let lake = Lake::open(LakeOptions::new(folder.path().to_str().unwrap())).await.unwrap();
    let mut size = Size { files: files(folder.path()), ..Size::default() };
    let head = lake.newest_head().await.unwrap();
    for name in head.datasets.keys().map(String::as_str).chain(["journal", "heads"]) {
        let dataset = lake.newest(name).await.unwrap();
        size.versions = size.versions.max(dataset.version_refs().await.unwrap().len() as u64);
        size.fragments = size.fragments.max(dataset.count_fragments() as u64);
        let rows = dataset.count_rows(None).await.unwrap() as u64;
        match name {
            "journal" => size.records = rows,
            "heads" => size.heads = rows,
            _ => {}
        }
    }
    let of_trace = format!("select span_id, name from spans where trace_id = '{:032x}'", 7);
    let (look_up, found) = asked(folder, &of_trace, None).await;
    assert_eq!(found, 1);
    size.look_up = look_up;
    size.count = asked(folder, "select count(*) as n from spans", None).await.0;
    size
}

/// Three hundred epochs are written, with upkeep after every twenty. Versions, fragments, records, heads and files are
/// few, as few after the last epoch as after a hundred, and neither a look-up nor a count reads more. Guarantees that
/// a lake does not become slower or larger by what was committed, only by what it holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lake_stays_flat() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Lake::open_or_create(LakeOptions::new(folder.path().to_str().unwrap())).await.unwrap();
    let source = SourcePartition::new("cluster", "otlp_spans", 0);
    let mut writer = Writer::new(lake.clone(), "test".to_owned()).await.unwrap();
    writer.claim(std::slice::from_ref(&source)).await.unwrap();
    let mut early = None;
    for epoch in 1..=EPOCHS {
        let (from, to) = ((epoch - 1) * ROWS, epoch * ROWS);
        let tables = [(Table::Spans, "name"), (Table::Traces, "root_name"), (Table::Logs, "body")];
        let rows = tables.map(|(table, text)| (table, rows(table, text, NOON, from..to))).to_vec();
        let sources = vec![SourceProgress { source: source.clone(), to, low_watermark: to, stream_time: NOON }];
        writer.write(Epoch { rows, sources, closed: vec![] }).await.unwrap();
        if epoch % KEPT_EVERY == 0 {
            let options = MaintainOptions {
                small_fragments: PATIENCE,
                stale_versions: PATIENCE,
                longest_query: Duration::ZERO,
                journal_keep: Duration::ZERO,
                index_delay: Duration::ZERO,
                ..MaintainOptions::default()
            };
            let report = maintain(&lake, &options).await.unwrap();
            assert_eq!(report.failed, vec![], "epoch {epoch}");
        }
        if epoch == EPOCHS / 3 {
            early = Some(measured(&folder).await);
        }
    }
    let (early, late) = (early.unwrap(), measured(&folder).await);
    // Upkeep makes some commits of its own after those that it cleans.
    let few = 5 * PATIENCE as u64;
    for size in [&early, &late] {
        let counts = [size.versions, size.fragments, size.records, size.heads];
        assert!(counts.iter().all(|count| *count <= few), "{size:?}");
    }
    // The data has grown to three times as much, and over another day.
    assert!(late.files <= early.files * 3 / 2, "{early:?}\n{late:?}");
    assert!(late.look_up <= early.look_up * 2 && late.count <= early.count * 2, "{early:?}\n{late:?}");
}

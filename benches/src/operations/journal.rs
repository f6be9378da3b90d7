//! The cost of the journal: the same epochs written in three ways, each into a lake of its own.
//!
//! | way | files | commits |
//! | --- | --- | --- |
//! | journal | as a worker writes them | record, apply, head |
//! | plain commits | the same | an append for each table, nothing beside it |
//! | plain inserts | as Lance's insert writes them | the same |
//!
//! The second differs from the first by the journal alone, but for a look at the newest head that staging takes in both;
//! the third is what one would write without tracerag.

#![allow(clippy::print_stdout)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use lance::Dataset;
use lance::dataset::transaction::{Operation, TransactionBuilder};
use lance::dataset::{CommitBuilder, InsertBuilder, WriteMode};
use tracerag_index::{ClosedTrace, Epoch, Lake, LakeOptions, SourceProgress, Writer};
use tracerag_schemas::{SourcePartition, Table, ids};

use crate::{Outcome, machine};

/// Rounds of each way in turn, so that all see the same machine; the best counts.
const ROUNDS: usize = 3;
/// Spans of an epoch, where none are asked for: 10,000 a second with the default flush interval, and a backlog.
pub(super) const SPANS_PER_EPOCH: [usize; 2] = [20_000, 100_000];
/// Stream time of the first epoch: 2026-11-23 at noon, in ns; each takes two seconds.
const NOON: i64 = 1_795_435_200_000_000_000;
const FLUSH: i64 = 2_000_000_000;
const NAMES: [&str; 3] = ["journal: stage, record, apply, head", "same files, plain commits", "plain inserts of Lance"];

/// The rows of an epoch, by table and dataset.
pub(super) type Rows = Vec<(Table, String, RecordBatch)>;

/// Takes the rows of a lake apart into epochs, writes them in each way, and prints the CPU time of each.
///
/// # Errors
/// When the lake cannot be read, has no spans, or a copy cannot be written.
pub async fn run(lake: &str, sizes: &[usize]) -> Outcome<()> {
    println!("{}", machine::describe());
    let rows = read(lake).await?;
    let spans = spans_of(&rows);
    let sizes = if sizes.is_empty() { &SPANS_PER_EPOCH[..] } else { sizes };
    for size in sizes {
        let epochs = cut(&rows, spans.div_ceil((*size).max(1)));
        let commits: usize = epochs.iter().map(Vec::len).sum();
        println!("{spans} spans in {} epochs, {commits} appends", epochs.len());
        let mut best = [Duration::MAX; 3];
        for _ in 0..ROUNDS {
            let times = [journal(&epochs).await?, plain_commits(&epochs).await?, plain_inserts(&epochs).await?];
            for (best, time) in best.iter_mut().zip(times) {
                *best = time.min(*best);
            }
        }
        println!("{:<40} {:>8} {:>14} {:>10}", "", "CPU-s", "ms an epoch", "journal");
        for (name, time) in NAMES.iter().zip(best) {
            println!(
                "{name:<40} {:>8.2} {:>14.1} {:>+8.1} %",
                time.as_secs_f64(),
                time.as_secs_f64() * 1e3 / epochs.len() as f64,
                (best[0].as_secs_f64() / time.as_secs_f64() - 1.0) * 100.0
            );
        }
    }
    Ok(())
}

/// Everything that the journal brought into a lake.
pub(super) async fn read(uri: &str) -> Outcome<Rows> {
    let lake = Lake::open(LakeOptions::new(uri)).await?;
    let head = lake.newest_head().await?;
    let mut rows = Vec::new();
    for table in Table::ALL {
        for (name, known) in head.of(*table) {
            let batch = lake.dataset(name, known.version).await?.scan().try_into_batch().await?;
            rows.push((*table, name.to_owned(), batch));
        }
    }
    if spans_of(&rows) == 0 {
        return Err(format!("{uri} has no spans; give a lake that `backlog` has kept").into());
    }
    Ok(rows)
}

/// Spans among rows.
pub(super) fn spans_of(rows: &Rows) -> usize {
    rows.iter().filter(|(table, ..)| *table == Table::Spans).map(|row| row.2.num_rows()).sum()
}

/// The rows in that many epochs, each with its share of every dataset.
pub(super) fn cut(rows: &Rows, epochs: usize) -> Vec<Rows> {
    let of_epoch = |number: usize| -> Rows {
        let part = |(table, name, batch): &(Table, String, RecordBatch)| {
            let at = |edge: usize| batch.num_rows() * edge / epochs;
            let count = at(number + 1) - at(number);
            (count > 0).then(|| (*table, name.clone(), batch.slice(at(number), count)))
        };
        rows.iter().filter_map(part).collect()
    };
    (0..epochs).map(of_epoch).collect()
}

async fn journal(epochs: &[Rows]) -> Outcome<Duration> {
    let folder = tempfile::tempdir()?;
    let lake = Lake::open_or_create(LakeOptions::new(folder.path().display().to_string())).await?;
    let mut writer = Writer::new(lake, String::from("bench")).await?;
    let source = SourcePartition::new("bench", "otlp_spans", 0);
    writer.claim(std::slice::from_ref(&source)).await?;
    let before = machine::cpu_time();
    for (number, rows) in epochs.iter().enumerate() {
        writer.write(epoch(&source, number, rows)).await?;
    }
    Ok(machine::cpu_time() - before)
}

/// An epoch as a worker hands it over: with the traces that are closed in it.
pub(super) fn epoch(source: &SourcePartition, number: usize, rows: &Rows) -> Epoch {
    let to = number as i64 + 1;
    let stream_time = NOON + number as i64 * FLUSH;
    let traces = rows.iter().filter(|(table, ..)| *table == Table::Traces);
    let closed = traces.flat_map(|(_, _, batch)| trace_ids(batch)).map(|trace_id| ClosedTrace {
        tenant: Arc::from("default"),
        trace_id,
        closed_at: stream_time,
        last_offsets: vec![(0, to - 1)],
    });
    Epoch {
        closed: closed.collect(),
        rows: rows.iter().map(|(table, _, batch)| (*table, batch.clone())).collect(),
        sources: vec![SourceProgress { source: source.clone(), to, low_watermark: to, stream_time }],
    }
}

fn trace_ids(batch: &RecordBatch) -> Vec<[u8; 16]> {
    let column = batch.column_by_name("trace_id").and_then(|column| column.as_string_opt::<i32>());
    column.map_or_else(Vec::new, |texts| texts.iter().flatten().filter_map(ids::parse_hex).collect())
}

/// The files that a worker writes, committed to each table by themselves.
async fn plain_commits(epochs: &[Rows]) -> Outcome<Duration> {
    let folder = tempfile::tempdir()?;
    let lake = Lake::open_or_create(LakeOptions::new(folder.path().display().to_string())).await?;
    let mut newest: HashMap<String, Arc<Dataset>> = HashMap::new();
    let before = machine::cpu_time();
    for rows in epochs {
        let rows = rows.iter().map(|(table, _, batch)| (*table, batch.clone())).collect();
        for staged in lake.stage(Epoch { rows, sources: vec![], closed: vec![] }).await?.datasets {
            let dataset = match newest.remove(&staged.name) {
                Some(dataset) => dataset,
                None => lake.newest(&staged.name).await?,
            };
            let append = Operation::Append { fragments: staged.fragments };
            let transaction = TransactionBuilder::new(dataset.version_id(), append).build();
            let committed = CommitBuilder::new(dataset).with_skip_auto_cleanup(true).execute(transaction).await?;
            newest.insert(staged.name, Arc::new(committed));
        }
    }
    Ok(machine::cpu_time() - before)
}

/// What Lance's own insert makes of the same rows.
async fn plain_inserts(epochs: &[Rows]) -> Outcome<Duration> {
    let folder = tempfile::tempdir()?;
    let lake = Lake::open_or_create(LakeOptions::new(folder.path().display().to_string())).await?;
    let params = lake.write_params(WriteMode::Append);
    let mut newest: HashMap<&str, Arc<Dataset>> = HashMap::new();
    let before = machine::cpu_time();
    for (table, name, batch) in epochs.iter().flatten() {
        let dataset = match newest.remove(name.as_str()) {
            Some(dataset) => dataset,
            None => lake.ensure(name, table.lake_schema()).await?,
        };
        let written = InsertBuilder::new(dataset).with_params(&params).execute(vec![batch.clone()]).await?;
        newest.insert(name, Arc::new(written));
    }
    Ok(machine::cpu_time() - before)
}

//! `tracerag replay`: the same stages without a broker, from files.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tracerag_index::incidents::Indexer;
use tracerag_index::{MaintainOptions, maintain};
use tracerag_ingest::source::files::Replay;
use tracerag_schemas::{SourcePartition, Table};

use crate::cli::Context;
use crate::error::Error;
use crate::output::{self, thousands};
use crate::pipeline::{Input, Pipeline, Tally};

/// Options of `replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// OTLP/JSON lines or length-delimited OTLP protobuf as the Collector's file exporter writes them, flags,
    /// deployments, heap records; .zst and .gz are read as they are
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
}

/// Takes the files, closes and seals everything, and says what came of it.
pub(crate) async fn run(mut context: Context, args: ReplayArgs) -> Result<(), Error> {
    super::demo_key(&mut context.config)?;
    context.config.require(&["lake", "embedding", "window", "payload", "tenant"])?;
    let config = &context.config;
    let mut replay = Replay::open(&args.files).map_err(tracerag_ingest::IngestError::from)?;
    let mut pipeline = Pipeline::open(config, "replay").await?;
    let sources: Vec<SourcePartition> = replay.files().iter().map(|file| file.source.clone()).collect();
    // Files may mix the signals of OTLP.
    let feeding: BTreeSet<SourcePartition> =
        replay.files().iter().filter(|file| file.signal.is_otlp()).map(|file| file.source.clone()).collect();
    for (source, next) in pipeline.assign(&sources, |source| feeding.contains(source)).await? {
        replay.skip_before(&source, next.unwrap_or(0)).map_err(tracerag_ingest::IngestError::from)?;
    }
    let bar = progress_bar(replay.total_bytes());
    while let Some(record) = replay.next() {
        let record = record.map_err(tracerag_ingest::IngestError::from)?;
        bar.set_position(replay.read_bytes());
        for ended in replay.take_ended() {
            pipeline.finish(&ended)?;
        }
        pipeline.take(&record.source, record.record_time, std::iter::once(Input::from_file(&record)))?;
        // What is full waits for the epoch in flight; otherwise files would be read faster than the lake is written.
        if pipeline.is_due() || pipeline.is_full() {
            pipeline.flush().await?;
        }
    }
    pipeline.drain().await?;
    bar.finish_and_clear();
    summary(pipeline.tally());
    after(&pipeline, &context).await
}

fn progress_bar(bytes: u64) -> ProgressBar {
    if !output::is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(bytes);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes}  {eta} left") {
        bar.set_style(style);
    }
    bar
}

/// Embeds what is new and tidies up, while the user waits: nothing runs after a replay.
pub(super) async fn after(pipeline: &Pipeline, context: &Context) -> Result<(), Error> {
    // Replayed rows keep their old times, so retention has no say here.
    maintain(pipeline.lake(), &MaintainOptions::default()).await?;
    // After the merge of their rows, so that no later search has to look at these again.
    let mut indexer = Indexer::new(pipeline.lake().clone(), context.config.embedding.model());
    indexer.catch_up().await?;
    if let Some(reason) = indexer.waiting_for() {
        output::note(&format!("texts are not embedded yet: {reason}"));
    }
    Ok(())
}

/// What was taken and what was written.
pub(crate) fn summary(tally: &Tally) {
    let written = |table: Table| thousands(tally.rows(table));
    output::note(&format!(
        "taken: {} records, {} spans, {} log records, {} metric points",
        thousands(tally.records),
        thousands(tally.spans),
        thousands(tally.logs),
        thousands(tally.points)
    ));
    output::note(&format!(
        "written: {} spans in {} traces, {} log records, {} metric points, {} failures, {} dead letters (position {})",
        written(Table::Spans),
        written(Table::Traces),
        written(Table::Logs),
        written(Table::Metrics),
        written(Table::Failures),
        written(Table::DeadLetters),
        tally.position
    ));
    if tally.duplicate_spans + tally.duplicate_logs > 0 {
        output::note(&format!(
            "sent twice and dropped: {} spans, {} log records",
            thousands(tally.duplicate_spans),
            thousands(tally.duplicate_logs)
        ));
    }
    for (kind, number) in &tally.kinds {
        output::note(&format!("  {kind}: {}", thousands(*number)));
    }
}

//! Reads what was sent again and compares it with the lake, record by record.
//!
//! It shares no step with the pipeline between the decoder and the stored table: no window, no journal, no dedupe. What
//! the lake promises of copies is stated anew ([`rows::Rule`], [`judge`]) and not computed as the pipeline computes it.
//!
//! 0. [`hold`]: the lake's newest head is held, so that its files stay for as long as the rest takes;
//! 1. [`places`]: which offsets are read, and how far the lake says that it has taken them;
//! 2. [`sent`]: messages are decoded, and each record becomes an entry of the [`ledger`]: digests of its identity and
//!    of its content, and where it came from;
//! 3. [`stored`]: so does each row of the lake, at one head;
//! 4. [`judge`]: entries of equal identity are compared, bucket by bucket.

mod digest;
mod hold;
mod judge;
mod ledger;
mod places;
mod report;
mod rows;
mod sent;
mod stored;

use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};
use tracerag_index::{Head, Lake};
use tracerag_ingest::source::files::Replay;
use tracerag_ingest::source::{Cluster, Signal};

pub(crate) use report::Report;

use crate::config::Config;
use crate::error::Error;
use crate::output;
use hold::Hold;
use judge::{Horizons, Verdict};
use ledger::Ledger;
use places::Places;
use rows::TABLES;
use sent::{Configurations, Letters, Reader, Sent};
use stored::StoredRows;

/// The part of `memory_limit` that digests take before they go to temporary files.
const LEDGER_PART: usize = 4;

/// A range of time by Kafka's timestamps, in ns: from `since` on and before `until`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Range {
    pub since: Option<i64>,
    pub until: Option<i64>,
}

/// What is read again.
pub(crate) enum Inputs {
    Topics(Range),
    Files(Vec<PathBuf>),
}

/// The same, opened.
enum Opened {
    Topics(Box<Cluster>),
    Files(Box<Replay>),
}

/// Reads, compares, and says what was found.
///
/// # Errors
/// When inputs, lake or temporary files cannot be read. That the two differ is a finding.
pub(crate) async fn check(config: &Config, lake: &Lake, inputs: Inputs) -> Result<Report, Error> {
    let hold = Hold::newest(lake, crate::worker::now()).await?;
    let report = compare(config, lake, &hold.head, inputs).await;
    hold.release(lake).await;
    report
}

async fn compare(config: &Config, lake: &Lake, head: &Head, inputs: Inputs) -> Result<Report, Error> {
    let (opened, places) = {
        let (config, head) = (config.clone(), head.clone());
        blocking("opening what is read again", move || open(&config, &head, inputs)).await?
    };
    let letters = stored::dead_letters(lake, head, &places).await?;
    let (mut ledger, places, configurations, messages) = {
        let config = config.clone();
        blocking("reading what was sent", move || read(&config, opened, places, letters)).await?
    };
    read_lake(lake, head, &places, &configurations, &mut ledger).await?;
    let horizons = horizons(config);
    let verdict = blocking("comparing", move || {
        let mut verdict = Verdict::new(horizons);
        for bucket in 0..ledger::BUCKETS {
            verdict.judge(ledger.take(bucket)?);
        }
        Ok(verdict)
    })
    .await?;
    Ok(Report { position: head.position, messages, places, verdict })
}

async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|panic| Error::Stopped { what, detail: panic.to_string() })?
}

/// A copy may come up to `max_duration` sooner than the horizon after the first one was written and still be taken for
/// a new record: the first one is remembered from when it came, and time is looked at when traces close.
fn horizons(config: &Config) -> Horizons {
    let window = &config.window;
    let after = |horizon: i64| horizon.saturating_sub(window.max_duration.nanos());
    Horizons { spans: after(window.late_horizon.nanos()), logs: after(window.dedupe_horizon.nanos()) }
}

fn open(config: &Config, head: &Head, inputs: Inputs) -> Result<(Opened, Places), Error> {
    match inputs {
        Inputs::Topics(range) => {
            let cluster = Cluster::connect(&config.kafka, &config.topics, Cluster::PATIENCE)?;
            let places = Places::of_topics(&cluster, config, head, range)?;
            Ok((Opened::Topics(Box::new(cluster)), places))
        }
        Inputs::Files(paths) => {
            let replay = Replay::open(&paths)?;
            let places = Places::of_files(head, replay.files().iter().map(|file| file.source.clone()));
            Ok((Opened::Files(Box::new(replay)), places))
        }
    }
}

type Read = (Ledger, Places, Configurations, u64);

fn read(config: &Config, opened: Opened, places: Places, letters: Letters) -> Result<Read, Error> {
    let mut ledger = Ledger::new(config.memory_limit.0.0 / LEDGER_PART);
    let mut reader = Reader::new(config, &places, letters, &mut ledger)?;
    match opened {
        Opened::Topics(cluster) => read_topics(&cluster, &places, &mut reader)?,
        Opened::Files(replay) => read_files(*replay, &places, &mut reader)?,
    }
    let messages = reader.messages();
    let configurations = reader.end()?;
    Ok((ledger, places, configurations, messages))
}

fn read_topics(cluster: &Cluster, places: &Places, reader: &mut Reader<'_>) -> Result<(), Error> {
    let total: i64 = places.intervals().map(|(_, interval)| interval.to - interval.from).sum();
    let bar = progress_bar("topics", total.unsigned_abs(), "{pos}/{len} offsets");
    // Changes first, as a worker reads them: a deployment may stand in another partition than its commit.
    let is_change = |signal: Signal| matches!(signal, Signal::Flags | Signal::Deployments);
    let (changes, others): (Vec<_>, Vec<_>) =
        places.intervals().partition(|(_, interval)| is_change(interval.kind.signal));
    for (number, interval) in changes.iter().chain(&others) {
        let mut next = interval.from;
        cluster.read_again(interval, |batch| -> Result<(), Error> {
            for record in batch.iter() {
                reader.take(*number, &Sent::from_kafka(record, batch.signal(), batch.encoding()))?;
            }
            bar.inc(batch.next_offset().saturating_sub(next).unsigned_abs());
            next = batch.next_offset();
            Ok(())
        })?;
    }
    bar.finish_and_clear();
    Ok(())
}

fn read_files(mut replay: Replay, places: &Places, reader: &mut Reader<'_>) -> Result<(), Error> {
    let bar = progress_bar("files", replay.total_bytes(), "{bytes}/{total_bytes}");
    while let Some(record) = replay.next() {
        let record = record?;
        bar.set_position(replay.read_bytes());
        if let Some(number) = places.number(&record.source.topic, record.source.partition) {
            reader.take(number, &Sent::from_file(&record))?;
        }
    }
    bar.finish_and_clear();
    Ok(())
}

async fn read_lake(
    lake: &Lake,
    head: &Head,
    places: &Places,
    configurations: &Configurations,
    ledger: &mut Ledger,
) -> Result<(), Error> {
    let total = TABLES.iter().flat_map(|table| head.of(*table)).map(|(_, dataset)| dataset.rows).sum();
    let bar = progress_bar("lake", total, "{pos}/{len} rows");
    let mut rows = StoredRows::new(places, configurations, ledger);
    for table in TABLES {
        rows.read(lake, head, table, |count| bar.inc(count)).await?;
    }
    bar.finish_and_clear();
    Ok(())
}

fn progress_bar(what: &'static str, total: u64, amount: &str) -> ProgressBar {
    if !output::is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total);
    if let Ok(style) = ProgressStyle::with_template(&format!("{what:6} {{bar:40}} {amount}  {{eta}} left")) {
        bar.set_style(style);
    }
    bar
}

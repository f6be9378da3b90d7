//! `tracerag rekey`: spans and logs to topics that are keyed by trace id, until a signal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::ProgressBar;
use tokio::task::JoinHandle;
use tracerag_ingest::IngestError;
use tracerag_ingest::rekey::{Rekey, Tally, prepare};
use tracerag_ingest::source::Lag;
use tracerag_ingest::tenant::Tenants;

use super::run::{LOG_EVERY, SHOW_EVERY, attend, progress_line};
use crate::cli::Context;
use crate::config::Config;
use crate::error::Error;
use crate::output;
use crate::telemetry::{PartitionGauge, Readiness};

/// Options of `rekey`: all that there is to say stands under [rekey].
#[derive(Debug, Args)]
pub(crate) struct RekeyArgs {}

/// How long a stop waits for what was sent.
const FLUSH_WITHIN: Duration = Duration::from_secs(20);
/// How often the lag is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// Runs until SIGINT or SIGTERM.
pub(crate) async fn run(context: Context, _: RekeyArgs) -> Result<(), Error> {
    let config = context.config;
    config.require(&["kafka", "topics", "rekey", "tenant", "metrics"])?;
    let (readiness, stop) = attend(&config).await?;
    make_topics(&config).await?;
    let progress = Progress::start(progress_line());
    joined(tokio::task::spawn_blocking(move || work(&config, &stop, Some(&readiness), progress)).await)
}

/// The re-keying beside a worker in one process.
pub(super) struct Beside {
    task: JoinHandle<Result<(), Error>>,
    stop: Arc<AtomicBool>,
}

impl Beside {
    /// Begins to re-key, and makes of the configuration that of a worker that reads what is written. Whichever of the
    /// two ends first sets `stop` for both.
    ///
    /// # Errors
    /// When memory does not suffice for both, or a topic that is written cannot be made.
    pub(super) async fn start(config: &mut Config, stop: Arc<AtomicBool>) -> Result<Self, Error> {
        config.check_rekeying()?;
        make_topics(config).await?;
        let own = config.clone();
        config.topics = config.rekey.behind(&config.topics);
        let ending = StopsBoth(Arc::clone(&stop));
        let task = tokio::task::spawn_blocking(move || {
            // The terminal's one line is the worker's.
            work(&own, &ending.0, None, Progress::start(None))
        });
        Ok(Self { task, stop })
    }

    /// Stops it if it still runs.
    ///
    /// # Errors
    /// Why it ended before, if it did.
    pub(super) async fn stop(self) -> Result<(), Error> {
        self.stop.store(true, Ordering::Relaxed);
        joined(self.task.await)
    }
}

/// Stops the worker with the re-keying, also when that panics: the lag would grow where nobody looks.
struct StopsBoth(Arc<AtomicBool>);

impl Drop for StopsBoth {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn joined(ended: Result<Result<(), Error>, tokio::task::JoinError>) -> Result<(), Error> {
    ended.map_err(|error| Error::Stopped { what: "the re-keying", detail: error.to_string() })?
}

async fn make_topics(config: &Config) -> Result<(), Error> {
    let partitions = prepare(&config.rekey, &config.kafka, &config.topics).await.map_err(IngestError::from)?;
    tracing::info!(partitions, topics = ?config.rekey.outputs(&config.topics), "writing re-keyed messages");
    Ok(())
}

/// Re-keys until it is told to stop.
fn work(
    config: &Config,
    stop: &AtomicBool,
    readiness: Option<&Readiness>,
    mut progress: Progress,
) -> Result<(), Error> {
    let tenants = Tenants::new(&config.tenant).map_err(IngestError::from)?;
    let mut rekey = Rekey::connect(&config.rekey, &config.kafka, &config.topics, tenants, config.fetch_bytes())
        .map_err(IngestError::from)?;
    let mut has_partitions = false;
    while !stop.load(Ordering::Relaxed) {
        rekey.step().map_err(IngestError::from)?;
        if let Some(readiness) = readiness {
            if rekey.has_partitions() != has_partitions {
                has_partitions = !has_partitions;
                readiness.set_assigned(has_partitions);
            }
            if rekey.keeps_up() {
                readiness.landed();
            }
        }
        progress.show(&rekey);
    }
    let finished = rekey.finish(FLUSH_WITHIN).map_err(IngestError::from);
    progress.finish();
    tracing::info!(records = rekey.tally().records, "stopped re-keying; the next start goes on behind it");
    finished?;
    Ok(())
}

/// Throughput and lag: one line refreshed on a terminal, structured logs otherwise.
struct Progress {
    line: Option<ProgressBar>,
    measured_at: Option<Instant>,
    lag: i64,
    lags: PartitionGauge,
    shown_at: Instant,
    before: Tally,
}

impl Progress {
    fn start(line: Option<ProgressBar>) -> Self {
        let lags = PartitionGauge::new("tracerag_rekey_lag_records");
        Self { line, measured_at: None, lag: 0, lags, shown_at: Instant::now(), before: Tally::default() }
    }

    fn show(&mut self, rekey: &Rekey) {
        if self.measured_at.is_none_or(|at| at.elapsed() >= MEASURE_EVERY) {
            self.measured_at = Some(Instant::now());
            self.lag = self.measure(rekey);
        }
        let elapsed = self.shown_at.elapsed();
        if elapsed < if self.line.is_some() { SHOW_EVERY } else { LOG_EVERY } {
            return;
        }
        let tally = rekey.tally();
        let per_second = |now: u64, before: u64| ((now - before) as f64 / elapsed.as_secs_f64()) as u64;
        let records = per_second(tally.records, self.before.records);
        let messages = per_second(tally.messages, self.before.messages);
        let lag = self.lag;
        match &self.line {
            Some(line) => line.set_message(format!(
                "{} records/s in  {} messages/s out  {} unchanged  lag {}",
                output::thousands(records),
                output::thousands(messages),
                output::thousands(tally.unchanged),
                output::thousands(lag)
            )),
            None => tracing::info!(
                records_per_second = records,
                messages_per_second = messages,
                unchanged = tally.unchanged,
                lag,
                "re-keying"
            ),
        }
        self.shown_at = Instant::now();
        self.before = tally;
    }

    /// Sets the gauge; gives the records that are not read yet.
    fn measure(&mut self, rekey: &Rekey) -> i64 {
        let lags = rekey.lag();
        let total = lags.iter().map(Lag::records).sum();
        self.lags.show(lags.into_iter().map(|lag| (lag.source.clone(), lag.records() as f64)));
        total
    }

    fn finish(&self) {
        if let Some(line) = &self.line {
            line.finish_and_clear();
        }
    }
}

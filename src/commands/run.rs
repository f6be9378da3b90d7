//! `tracerag run`: a pipeline worker on Kafka until a signal.

mod new_lake;
mod plan;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::runtime::Handle;
use tracerag_ingest::source::{Cluster, KafkaSource, Lag};

use super::rekey;
use super::status::StatusFormat;
use crate::cli::Context;
use crate::config::Config;
use crate::error::Error;
use crate::events::IncidentEvents;
use crate::output;
use crate::patience::{Backoff, Patience, Step};
use crate::pipeline::Pipeline;
use crate::telemetry::{self, PartitionGauge, Readiness};
use crate::upkeep::Upkeep;
use crate::worker::{Worker, now};

/// Options of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Print what would be read and what would go wrong, and write nothing
    #[arg(long)]
    pub plan: bool,
    /// Re-key spans and logs by trace id in this process, as `tracerag rekey` does, and read what comes of it
    #[arg(long, conflicts_with = "plan")]
    rekey: bool,
    /// Make a lake where there is none, although the group has read these topics before
    #[arg(long)]
    new_lake: bool,
    /// How the plan is printed [default: table]
    #[arg(long, value_enum, requires = "plan")]
    format: Option<StatusFormat>,
}

/// How often the gauges are set.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// How often progress is shown: refreshed on a terminal, logged otherwise.
pub(super) const SHOW_EVERY: Duration = Duration::from_secs(1);
pub(super) const LOG_EVERY: Duration = Duration::from_secs(10);

/// How soon a signal is noticed between two attempts to connect.
const STOP_WITHIN: Duration = Duration::from_millis(100);

/// Runs until SIGINT or SIGTERM. A stop closes nothing: whoever comes next rebuilds what is open.
pub(crate) async fn run(context: Context, args: RunArgs) -> Result<(), Error> {
    if args.plan {
        return plan::print(context, args.new_lake, args.format.unwrap_or(StatusFormat::Table)).await;
    }
    let mut config = context.config;
    config.require(&[])?;
    // Before any broker is waited for.
    Pipeline::check(&config)?;
    IncidentEvents::check(&config)?;
    let (readiness, stop) = attend(&config).await?;
    let rekeying = match args.rekey {
        true => Some(rekey::Beside::start(&mut config, Arc::clone(&stop)).await?),
        false => None,
    };
    let worked = work(config, args.new_lake, readiness, Arc::clone(&stop)).await;
    match rekeying {
        // What ended first says why; the other one only stopped with it.
        Some(rekeying) => worked.and(rekeying.stop().await),
        None => worked,
    }
}

/// The worker, until it is told to stop.
async fn work(config: Config, makes_lake: bool, readiness: Arc<Readiness>, stop: Arc<AtomicBool>) -> Result<(), Error> {
    // A lake that cannot be used is told of at once.
    let asks_first = new_lake::is_absent(&config).await? && !makes_lake;
    let runtime = Handle::current();
    let worked = tokio::task::spawn_blocking(move || {
        let patience = Patience::new(Arc::clone(&readiness));
        let connect = || {
            if asks_first {
                let cluster = Cluster::connect(&config.kafka, &config.topics, Cluster::PATIENCE)?;
                new_lake::permit(&config, &cluster, &runtime)?;
            }
            Worker::connect(&config)
        };
        let Some(source) = until_connected(connect, &patience, &stop)? else { return Ok(()) };
        let id = worker_id();
        let pipeline = runtime.block_on(Pipeline::open(&config, &id))?;
        let upkeep = {
            let _entered = runtime.enter();
            let events = IncidentEvents::open(pipeline.lake(), &config)?;
            Upkeep::start(pipeline.lake().clone(), &config, &id, events)
        };
        let worked = Worker::on(source, &config, pipeline, readiness).and_then(|mut worker| {
            worker.outlast_faults(patience);
            drive(&mut worker, &runtime, &stop)
        });
        runtime.block_on(upkeep.stop());
        worked
    });
    worked.await.map_err(|error| Error::Stopped { what: "the worker", detail: error.to_string() })?
}

/// Steps until it is told to stop.
fn drive(worker: &mut Worker, runtime: &Handle, stop: &AtomicBool) -> Result<(), Error> {
    let mut progress = Progress::start();
    while !stop.load(Ordering::Relaxed) {
        worker.step(runtime)?;
        progress.show(worker);
    }
    worker.stop(runtime)?;
    progress.finish();
    tracing::info!(
        position = worker.pipeline().tally().position,
        "stopped; open traces are rebuilt by the next worker"
    );
    Ok(())
}

/// Connects to Kafka, however long no broker answers; `None`: it was told to stop first.
fn until_connected(
    connect: impl Fn() -> Result<KafkaSource, Error>,
    patience: &Patience,
    stop: &AtomicBool,
) -> Result<Option<KafkaSource>, Error> {
    let mut backoff = Backoff::default();
    while !stop.load(Ordering::Relaxed) {
        if let Some(source) = patience.outlasts(Step::Begin, connect())? {
            return Ok(Some(source));
        }
        let again = Instant::now() + backoff.wait();
        while Instant::now() < again && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(STOP_WITHIN);
        }
    }
    Ok(None)
}

/// The name of this process in the journal: host and process id.
pub(super) fn worker_id() -> String {
    format!("{}-{}", hostname(), std::process::id())
}

fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| String::from("worker"), |name| name.trim().to_owned())
}

/// Begins what lives as long as the process: it answers for its state, and a signal sets the flag that ends it.
///
/// # Errors
/// When the address for metrics is taken, or signals cannot be listened for.
pub(super) async fn attend(config: &Config) -> Result<(Arc<Readiness>, Arc<AtomicBool>), Error> {
    let recorder = telemetry::install_metrics()?;
    let readiness = Arc::new(Readiness::default());
    let address =
        telemetry::serve(&config.metrics.listen, recorder, Arc::clone(&readiness), config.lake.flush_interval.0)
            .await?;
    if let Some(address) = address {
        tracing::info!(%address, "answering /metrics, /healthz and /readyz");
    }
    let stop = Arc::new(AtomicBool::new(false));
    stop_on_signal(Arc::clone(&stop))?;
    Ok((readiness, stop))
}

pub(super) fn stop_on_signal(stop: Arc<AtomicBool>) -> Result<(), Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::io("listen for SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::io("listen for SIGINT"))?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.store(true, Ordering::Relaxed);
    });
    Ok(())
}

/// Throughput, lag and open traces: one line refreshed on a terminal, structured logs otherwise.
struct Progress {
    line: Option<ProgressBar>,
    measured_at: Option<Instant>,
    lag: i64,
    delays: PartitionGauge,
    lags: PartitionGauge,
    shown_at: Instant,
    records: u64,
    rows: u64,
}

impl Progress {
    fn start() -> Self {
        Self {
            line: progress_line(),
            measured_at: None,
            lag: 0,
            delays: PartitionGauge::new("tracerag_delay_seconds"),
            lags: PartitionGauge::new("tracerag_lag_records"),
            shown_at: Instant::now(),
            records: 0,
            rows: 0,
        }
    }

    fn show(&mut self, worker: &Worker) {
        if self.measured_at.is_none_or(|at| at.elapsed() >= MEASURE_EVERY) {
            self.measured_at = Some(Instant::now());
            self.lag = self.measure(worker);
        }
        let elapsed = self.shown_at.elapsed();
        if elapsed < if self.line.is_some() { SHOW_EVERY } else { LOG_EVERY } {
            return;
        }
        let tally = worker.pipeline().tally();
        let rows = tally.spans + tally.logs + tally.points;
        let per_second = |now: u64, before: u64| ((now - before) as f64 / elapsed.as_secs_f64()) as u64;
        let (records, row_rate) = (per_second(tally.records, self.records), per_second(rows, self.rows));
        let (open, bytes) = worker.pipeline().held();
        let lag = self.lag;
        match &self.line {
            Some(line) => line.set_message(format!(
                "{} messages/s  {} rows/s  lag {}  open traces {}  window {} MiB  position {}",
                output::thousands(records),
                output::thousands(row_rate),
                output::thousands(lag),
                output::thousands(open as i128),
                bytes >> 20,
                tally.position
            )),
            None => tracing::info!(
                records_per_second = records,
                rows_per_second = row_rate,
                lag,
                open_traces = open,
                window_bytes = bytes,
                position = tally.position,
                "progress"
            ),
        }
        self.shown_at = Instant::now();
        self.records = tally.records;
        self.rows = rows;
    }

    /// Sets the gauges; gives the records that are not read yet.
    fn measure(&mut self, worker: &Worker) -> i64 {
        let (open, bytes) = worker.pipeline().held();
        metrics::gauge!("tracerag_open_traces").set(open as f64);
        metrics::gauge!("tracerag_window_bytes").set(bytes as f64);
        let clock = now();
        let seconds = |time: i64| (clock - time).max(0) as f64 / 1e9;
        self.delays.show(worker.pipeline().stream_times().map(|(source, time)| (source.clone(), seconds(time))));
        let lags = worker.lag();
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

/// The line of progress, on a terminal only.
pub(super) fn progress_line() -> Option<ProgressBar> {
    output::is_terminal().then(|| {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        bar
    })
}

//! Feeds a pipeline from Kafka: assignment, back-pressure, epochs, lag.

mod claims;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::runtime::Handle;
use tracerag_index::fail_point::FailPoint;
use tracerag_ingest::source::{DeadLetterTopic, Event, KafkaSource, Lag, MessageBatch, SourceLimits};
use tracerag_schemas::SourcePartition;

use crate::beside::ChangesBeside;
use crate::config::Config;
use crate::error::Error;
use crate::keying::KeyingCheck;
use crate::patience::{Patience, Step};
use crate::pipeline::{Input, Pipeline};
use crate::source::Source;
use crate::telemetry::Readiness;
use claims::Unclaimed;

/// How long one poll waits at most: the pace of ticks and flushes when nothing comes.
const POLL: Duration = Duration::from_millis(50);

/// Batches of changes that are taken in one turn: however long their topics are, the group has to be served.
const CHANGES_AT_ONCE: usize = 4;

/// How long after the last look changes are looked for that only the lake tells of, at least and at most. Where a
/// look takes long, because the lake has very many, it is this many times as long: the worker has other work to do.
const CHANGES_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
const CHANGES_PACE: u32 = 10;

/// So often in a row, without an epoch that lands in between, a worker finds that others have its partitions before it
/// ends: something else than a pause or a rebalance is wrong, such as a second group on the same lake.
const MOST_FENCES: u32 = 10;

/// One member of the consumer group with its pipeline. Driven by one thread.
pub(crate) struct Worker<S = KafkaSource> {
    source: S,
    pipeline: Pipeline,
    readiness: Arc<Readiness>,
    /// Changes (flags, deployments) whoever writes them.
    beside: ChangesBeside,
    /// Partitions of changes that are assigned: this worker writes them.
    changes: Vec<SourcePartition>,
    /// Other workers write changes, too; when the lake is asked for theirs.
    changes_elsewhere: Option<Instant>,
    /// All other partitions that are assigned.
    telemetry: Vec<SourcePartition>,
    /// Back-pressure holds all of them.
    held_back: bool,
    /// Those that are held back now, for whatever reason.
    held: BTreeSet<SourcePartition>,
    keying: KeyingCheck,
    /// No partition was assigned yet.
    is_new: bool,
    committed_at: Instant,
    /// How often in a row others had the worker's partitions, and how many epochs had landed by then.
    fences: (u32, u64),
    /// Partitions that were assigned and are not begun yet: the lake or the brokers could not be used.
    unclaimed: Unclaimed,
    /// Present where faults are waited for.
    patience: Option<Patience>,
    /// No TLS connection to the brokers comes about.
    is_shut_out: bool,
}

impl Worker {
    /// Connects to Kafka, and joins the group.
    ///
    /// # Errors
    /// When no broker answers or the configuration is refused.
    pub(crate) fn connect(config: &Config) -> Result<KafkaSource, Error> {
        let limits = SourceLimits { queue_bytes: config.fetch_bytes() as u64 };
        Ok(KafkaSource::connect(&config.kafka, &config.topics, limits)?)
    }

    /// A worker on a lake.
    ///
    /// # Errors
    /// When a client or a thread cannot be made.
    pub(crate) fn on(
        source: KafkaSource,
        config: &Config,
        mut pipeline: Pipeline,
        readiness: Arc<Readiness>,
    ) -> Result<Self, Error> {
        pipeline.send_dead_letters_to(DeadLetterTopic::open(&config.kafka)?);
        let keying = KeyingCheck::start(source.probe())?;
        let beside = ChangesBeside::of(source.probe());
        Ok(Self::new(source, pipeline, readiness, keying, beside))
    }
}

impl<S: Source> Worker<S> {
    /// A worker that has no partitions yet.
    pub(crate) fn new(
        source: S,
        pipeline: Pipeline,
        readiness: Arc<Readiness>,
        keying: KeyingCheck,
        beside: ChangesBeside,
    ) -> Self {
        Self {
            source,
            pipeline,
            readiness,
            beside,
            changes: Vec::new(),
            changes_elsewhere: None,
            telemetry: Vec::new(),
            held_back: false,
            held: BTreeSet::new(),
            keying,
            is_new: true,
            committed_at: Instant::now(),
            fences: (0, 0),
            unclaimed: Unclaimed::default(),
            patience: None,
            is_shut_out: false,
        }
    }

    /// From now on a lake that cannot be used is no error if it may be again: the worker keeps its place in the group,
    /// takes what there is room for, and tries again. Where the group wants partitions back meanwhile, it drops what it
    /// holds and joins again, so that nobody waits for the lake. Brokers that are away are waited for as well, where
    /// partitions are begun.
    pub(crate) fn outlast_faults(&mut self, patience: Patience) {
        self.pipeline.wait_for_lake(patience.clone());
        self.patience = Some(patience);
    }

    /// Handles what comes within one poll, and writes an epoch when one is due. Where others have taken the worker's
    /// partitions meanwhile, it drops what it holds and joins the group again.
    ///
    /// # Errors
    /// When Kafka or the lake cannot be used any more. What was committed stays.
    pub(crate) fn step(&mut self, runtime: &Handle) -> Result<(), Error> {
        runtime.block_on(self.turn())
    }

    /// See [`Worker::step`]. The wait for Kafka blocks the thread.
    pub(crate) async fn turn(&mut self) -> Result<(), Error> {
        match self.handle_next().await {
            Err(error) if error.is_lost_claim() => {
                self.count_fence(error)?;
                self.start_over().await
            }
            // What the window remembers as written may not be; or a partition has to be begun anew and no broker says
            // where.
            Err(error) if self.patience.is_some() && (error.is_passing() || error.is_broker_away()) => {
                tracing::warn!(%error, "dropping what is open, and joining the group again");
                self.start_over().await
            }
            done => done,
        }
    }

    async fn handle_next(&mut self) -> Result<(), Error> {
        let event = self.source.poll(POLL).map_err(tracerag_ingest::IngestError::from)?;
        match event {
            Event::Assigned(sources) => {
                self.unclaimed.sources.extend(sources);
                self.unclaimed.at = None;
            }
            Event::Revoked(sources) => self.revoke(&sources).await?,
            Event::Lost(sources) => {
                fenced("group");
                tracing::warn!(
                    partitions = sources.len(),
                    "the group gave partitions to others, because this worker was silent for longer than its session \
                     (session.timeout.ms, max.poll.interval.ms); what is open of them is dropped"
                );
                self.revoke(&sources).await?;
            }
            Event::Messages(batch) => self.take(&batch)?,
            Event::Waiting(topics) if topics.is_empty() => tracing::info!("all topics exist"),
            Event::Waiting(topics) => tracing::warn!(?topics, "waiting for topics that do not exist yet"),
            // The clock of a partition is looked at below, poll after poll.
            Event::AtEnd(_) | Event::Idle => {}
        }
        self.tell_shut_out();
        self.claim_or_wait().await?;
        self.look_on()?;
        if self.keying.learns() {
            self.keying.permits()?;
            self.hold_telemetry()?;
        }
        self.keep_time()?;
        if self.changes_elsewhere.is_some_and(|due| due <= Instant::now()) {
            let begun = Instant::now();
            let followed = self.pipeline.follow_changes().await;
            self.outlasts(Step::Changes, followed)?;
            let (least, most) = CHANGES_EVERY;
            let pause = begun.elapsed().saturating_mul(CHANGES_PACE).clamp(least, most);
            self.changes_elsewhere = Some(Instant::now() + pause);
        }
        if self.pipeline.is_due() {
            self.pipeline.settle().await?;
            self.readiness.landed_with(self.pipeline.interval());
            // Before the next epoch is begun: what is in it has not landed.
            self.commit_offsets()?;
            self.pipeline.flush().await?;
        }
        self.balance()
    }

    /// Whoever does not come back to the brokers is not ready. The source ends when that lasts.
    fn tell_shut_out(&mut self) {
        let Some(patience) = &self.patience else { return };
        match self.source.failed_handshake() {
            Some(error) if !self.is_shut_out => patience.failed(Step::Read, &error.into()),
            None if self.is_shut_out => patience.works(Step::Read),
            Some(_) | None => return,
        }
        self.is_shut_out = !self.is_shut_out;
    }

    /// A step may fail and be done later; `None`: it was not done.
    ///
    /// # Errors
    /// If waiting would not help, or nobody waits.
    fn outlasts<T>(&self, step: Step, done: Result<T, Error>) -> Result<Option<T>, Error> {
        match &self.patience {
            Some(patience) => patience.outlasts(step, done),
            None => done.map(Some),
        }
    }

    /// The lake has refused an epoch, or a claim: others have partitions that this worker took for its own.
    ///
    /// # Errors
    /// The error, if that happens over and over.
    fn count_fence(&mut self, error: Error) -> Result<(), Error> {
        let landed = self.pipeline.tally().epochs;
        let in_a_row = if self.fences.1 == landed { self.fences.0 + 1 } else { 1 };
        self.fences = (in_a_row, landed);
        if in_a_row > MOST_FENCES {
            return Err(error);
        }
        fenced("lake");
        tracing::warn!(%error, "dropping what is open, and joining the group again");
        Ok(())
    }

    /// Nothing that the worker holds is written, so nothing is lost or doubled: whoever has the partitions reads them
    /// again.
    async fn start_over(&mut self) -> Result<(), Error> {
        self.pipeline.start_over().await;
        self.patience.iter().for_each(Patience::give_up);
        self.is_shut_out = false;
        self.unclaimed.sources.clear();
        self.telemetry.clear();
        self.changes.clear();
        self.beside.end();
        self.held_back = false;
        self.held.clear();
        self.readiness.set_assigned(false);
        Ok(self.source.rejoin().map_err(tracerag_ingest::IngestError::from)?)
    }

    fn has(&self, source: &SourcePartition) -> bool {
        self.telemetry.contains(source) || self.changes.contains(source)
    }

    fn has_partitions(&self) -> bool {
        !self.telemetry.is_empty() || !self.changes.is_empty()
    }

    async fn revoke(&mut self, sources: &[SourcePartition]) -> Result<(), Error> {
        self.pipeline.revoke(sources).await?;
        if self.changes.iter().any(|source| sources.contains(source)) {
            self.changes_elsewhere = Some(Instant::now());
        }
        self.unclaimed.sources.retain(|source| !sources.contains(source));
        if self.unclaimed.sources.is_empty() {
            // Nothing is left that could show that the lake can be claimed from again.
            self.unclaimed = Unclaimed::default();
            for step in [Step::Claim, Step::Begin] {
                self.patience.iter().for_each(|patience| patience.forget(step));
            }
        }
        self.telemetry.retain(|source| !sources.contains(source));
        self.changes.retain(|source| !sources.contains(source));
        if !self.has_partitions() {
            self.readiness.set_assigned(false);
        }
        self.hold_telemetry()
    }

    /// Telemetry waits until all changes were read, and until it is known whether it may be shared where it is; and
    /// partitions that have run ahead wait for the others before the window is full.
    fn hold_telemetry(&mut self) -> Result<(), Error> {
        let holds_all = self.held_back || self.beside.is_behind() || self.keying.is_open();
        let hold: BTreeSet<SourcePartition> = match holds_all {
            true => self.telemetry.iter().cloned().collect(),
            false => self.pipeline.ahead().cloned().collect(),
        };
        metrics::gauge!("tracerag_paused_partitions").set(hold.len() as f64);
        if hold == self.held {
            return Ok(());
        }
        let paused: Vec<SourcePartition> = hold.difference(&self.held).cloned().collect();
        let resumed: Vec<SourcePartition> = self.held.difference(&hold).cloned().collect();
        self.held = hold;
        self.source.pause(&paused);
        self.source.resume(&resumed);
        // Silence of a partition that is held back is not idleness.
        self.pipeline.set_paused(&paused, true)?;
        self.pipeline.set_paused(&resumed, false)
    }

    fn take(&mut self, batch: &MessageBatch) -> Result<(), Error> {
        let (signal, encoding) = (batch.signal(), batch.encoding());
        let records = batch.iter().map(|record| Input::from_kafka(record, signal, encoding));
        self.pipeline.take(batch.source(), batch.read_at(), records)
    }

    /// Takes what came of changes beside the group.
    fn look_on(&mut self) -> Result<(), Error> {
        for _ in 0..CHANGES_AT_ONCE {
            let Some(batch) = self.beside.next_batch() else { break };
            let (signal, encoding) = (batch.signal(), batch.encoding());
            let records = batch.iter().map(|record| Input::from_kafka(record, signal, encoding));
            self.pipeline.look_on(batch.source(), batch.read_at(), records)?;
        }
        Ok(())
    }

    /// Partitions that stand at their end have as their time that at which they were last seen to be there, poll
    /// after poll: what came into the queue since, of a partition that is held back or not, may be older than the
    /// clock.
    fn keep_time(&mut self) -> Result<(), Error> {
        self.pipeline.tick(self.source.now());
        for (source, at_end) in self.source.reading() {
            if let Some(seen) = at_end {
                self.pipeline.at_end(source, seen)?;
            }
        }
        Ok(())
    }

    /// Back-pressure: what is held has a bound, and Kafka keeps the rest.
    fn balance(&mut self) -> Result<(), Error> {
        self.held_back = self.pipeline.is_full();
        self.hold_telemetry()
    }

    /// Group offsets are for lag tools only.
    fn commit_offsets(&mut self) -> Result<(), Error> {
        if self.committed_at.elapsed() >= Duration::from_secs(5) {
            self.committed_at = Instant::now();
            self.source.commit(&self.pipeline.recorded()).map_err(tracerag_ingest::IngestError::from)?;
            FailPoint::Committed.pass();
        }
        Ok(())
    }

    /// Waits for the epoch in flight, unless the lake cannot be used. That the epoch is not written then, or that others
    /// have the partitions by now, is no failure: whoever has them reads again what is in it.
    ///
    /// # Errors
    /// When the lake cannot be used any more.
    pub(crate) fn stop(&mut self, runtime: &Handle) -> Result<(), Error> {
        match runtime.block_on(self.pipeline.settle_or_give_up()) {
            Err(error) if error.is_lost_claim() => {
                fenced("lake");
                tracing::warn!(%error, "the last epoch is left to others");
                Ok(())
            }
            Err(error) if self.patience.is_some() && error.is_passing() => {
                tracing::warn!(%error, "the last epoch is left to the next worker");
                Ok(())
            }
            done => done,
        }
    }

    /// Records between what was read and the end, by partition.
    pub(crate) fn lag(&self) -> Vec<Lag> {
        self.source.lag()
    }

    /// The pipeline, to look at.
    pub(crate) fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// The pipeline, to end it.
    pub(crate) fn pipeline_mut(&mut self) -> &mut Pipeline {
        &mut self.pipeline
    }
}

/// Counts that others had this worker's partitions before it knew, and who said so.
fn fenced(by: &'static str) {
    metrics::counter!("tracerag_fenced_total", "by" => by).increment(1);
}

/// The worker's clock in ns.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
#[path = "worker_test.rs"]
mod tests;

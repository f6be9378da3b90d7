//! The stages wired into one worker: decode, window, failures, epoch.
//!
//! A [`Pipeline`] is fed with records of source partitions and gives its rows to the lake epoch by
//! epoch. It does not know whether the records come from Kafka or from files; `run`, `replay` and
//! `demo` differ only in what feeds it and in what moves time.
//!
//! One epoch is in flight at a time: while it is written, decoding goes on. The next one is put together
//! only when it has landed, because a late fragment of a trace is compared with what is stored of it.

mod changes;
mod epoch;
mod flight;
mod held;
mod intake;
mod late;
mod letters;
mod onlooker;
mod pace;
mod progress;
#[cfg(test)]
mod simulation;
mod tally;
#[cfg(test)]
pub(crate) mod tests;
mod waiting;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use tracerag_enrich::{Window, WindowConfig};
use tracerag_index::failures::FailureRules;
use tracerag_index::{Head, Lake, Resume, SourceProgress, Writer};
use tracerag_ingest::redact::{POLICY_VERSION, Redactor};
use tracerag_ingest::source::Gap;
use tracerag_ingest::source::files::FILE_CLUSTER;
use tracerag_ingest::tenant::Tenants;
use tracerag_schemas::letters::REPLAY_CLUSTER;
use tracerag_schemas::{SourcePartition, Table};

pub(crate) use intake::Input;
pub(crate) use letters::Replayable;
pub(crate) use pace::longest as longest_interval;
pub(crate) use tally::Tally;

use crate::config::Config;
use crate::error::Error;
use crate::patience::Patience;
use epoch::{Draft, RedactionStamp};
use flight::Flight;
use held::{Claimed, Held};
use intake::Intake;
use onlooker::Onlooker;
use pace::Pace;
use progress::Progress;
use waiting::Waiting;

/// One worker's stages; see the module.
pub(crate) struct Pipeline {
    lake: Lake,
    intake: Intake,
    window: Window,
    window_config: WindowConfig,
    waiting: Waiting,
    progress: HashMap<SourcePartition, Progress>,
    /// Present while no epoch is in flight.
    writer: Option<Writer>,
    in_flight: Option<Flight>,
    /// Present where faults of the lake are waited for, and no error.
    patience: Option<Patience>,
    stamp: RedactionStamp,
    failure_rules: Arc<FailureRules>,
    pace: Pace,
    /// Failed records without a trace whose traces may still come; with the epoch while one is in flight.
    held: Held,
    /// How long after its last part a trace closes at the latest, in ns.
    closes_within: i64,
    flush_bytes: usize,
    flushed_at: Instant,
    /// Bytes given to the window since the last epoch was begun.
    pushed_bytes: usize,
    /// The last flush was bounded in bytes: more is due.
    more: bool,
    dedupe_horizon: i64,
    late_horizon: i64,
    /// Flags and builds that the window knows from the lake.
    changes_seen: changes::Seen,
    /// Decodes changes that other workers write.
    onlooker: Onlooker,
    /// Dead letters that were taken up and are not written yet.
    replayed: letters::Replayed,
    /// Files are read into a lake that holds parts of traces, of which the window does not know.
    adds_to_stored: bool,
    tally: Tally,
}

impl Pipeline {
    /// Opens the lake, or makes it. What it knows is loaded when partitions are assigned.
    ///
    /// # Errors
    /// When the lake cannot be opened or the redaction's configuration is refused.
    pub(crate) async fn open(config: &Config, worker: &str) -> Result<Self, Error> {
        Self::on(Lake::open_or_create(config.lake.options()), config, worker).await
    }

    /// That a pipeline can be made with a configuration.
    ///
    /// # Errors
    /// When the redaction's configuration or a tenant's name is refused.
    pub(crate) fn check(config: &Config) -> Result<(), Error> {
        Redactor::new(&config.redaction, &config.payload).map_err(tracerag_ingest::IngestError::from)?;
        Tenants::new(&config.tenant).map_err(|error| Error::Usage(error.to_string()))?;
        Ok(())
    }

    /// On a lake that is opened when the configuration is known to be good.
    async fn on(
        lake: impl Future<Output = Result<Lake, tracerag_index::Error>>,
        config: &Config,
        worker: &str,
    ) -> Result<Self, Error> {
        let redactor = Redactor::new(&config.redaction, &config.payload).map_err(tracerag_ingest::IngestError::from)?;
        let stamp = RedactionStamp {
            policy: Arc::from(redactor.policy_name()),
            version: i32::try_from(POLICY_VERSION).unwrap_or(i32::MAX),
        };
        let tenants = Tenants::new(&config.tenant).map_err(|error| Error::Usage(error.to_string()))?;
        let lake = lake.await?;
        // Traces that are not sealed yet are asked about as well as those of which something late may come.
        let horizon = config.window.late_horizon.0.max(config.window.seal_after.0);
        let mut writer = Writer::new(lake.clone(), worker.to_owned()).await?.with_late_horizon(horizon);
        if let Some(key) = redactor.key_id() {
            writer = writer.with_redaction_key(key, &redactor.previous_key_ids());
        }
        let window_config = window_config(config);
        let redactor = Arc::new(redactor);
        Ok(Self {
            onlooker: Onlooker::new(Arc::clone(&redactor), tenants.clone()),
            intake: Intake::new(config.decoder(Arc::clone(&redactor)), redactor, tenants),
            window: Window::new(window_config.clone()),
            window_config,
            waiting: Waiting::default(),
            progress: HashMap::new(),
            writer: Some(writer),
            in_flight: None,
            patience: None,
            stamp,
            failure_rules: Arc::new(config.failures.rules()),
            pace: Pace::new(config.lake.flush_interval.0),
            held: Held::default(),
            closes_within: config.window.root_grace.nanos().max(config.window.idle_gap.nanos()),
            flush_bytes: config.lake.flush_bytes.0,
            flushed_at: Instant::now(),
            pushed_bytes: 0,
            more: false,
            dedupe_horizon: config.window.dedupe_horizon.nanos(),
            late_horizon: config.window.late_horizon.nanos(),
            changes_seen: changes::Seen::default(),
            replayed: letters::Replayed::default(),
            adds_to_stored: false,
            tally: Tally::default(),
            lake,
        })
    }

    /// Claims partitions in the lake, loads what it knows of them, and says where each goes on; `None`: it was never
    /// read. `feeds_traces` tells of which spans or logs come: only these move the time of the traces.
    ///
    /// # Errors
    /// When the claim cannot be recorded, or the lake not be read. Nothing has changed then but the generation of the
    /// claim, so it may be called again.
    pub(crate) async fn assign(
        &mut self,
        sources: &[SourcePartition],
        feeds_traces: impl Fn(&SourcePartition) -> bool,
    ) -> Result<Vec<(SourcePartition, Option<i64>)>, Error> {
        self.settle_or_give_up().await?;
        let writer = self.writer.as_mut().ok_or_else(Self::no_writer)?;
        let resumes = writer.claim(sources).await?;
        // Only now: the claim has applied what a worker that died had recorded. And before anything is changed here.
        let head = self.lake.newest_head().await?;
        let mut buried = letters::read_again(&self.lake, &head, &resumes).await?;
        let changes = changes::Changes::of(&self.lake, &head).await?;
        // Only what feeds traces may have brought log records.
        let feeding = resumes.iter().filter(|resume| feeds_traces(&resume.source));
        let claimed = feeding.filter_map(|resume| Claimed::of(resume, self.hold())).collect();
        let held = Held::of(&self.lake, &head, claimed).await?;
        let floor = progress::floor(&head);
        let is_stored = |table| head.of(table).any(|(_, dataset)| dataset.rows > 0);
        self.adds_to_stored |=
            sources.iter().any(is_replayed) && [Table::Traces, Table::Logs].into_iter().any(is_stored);
        let known = |resume: &Resume| Progress::resume(resume, if is_replayed(&resume.source) { floor } else { 0 });
        let feeding = resumes.iter().filter(|resume| feeds_traces(&resume.source));
        let oldest = feeding.map(|resume| known(resume).stream_time).filter(|time| *time > 0).min();
        let logs = match oldest {
            Some(oldest) => Some(latest_logs(&self.lake, &head, oldest.saturating_sub(self.dedupe_horizon)).await?),
            None => None,
        };
        let mut starts = Vec::with_capacity(resumes.len());
        let mut states = Vec::with_capacity(resumes.len());
        for resume in resumes {
            let mut progress = known(&resume);
            progress.buried = buried.remove(&resume.source).unwrap_or_default();
            let feeds_traces = feeds_traces(&resume.source);
            self.progress.insert(resume.source.clone(), progress);
            starts.push((resume.source.clone(), resume.seek.or(resume.next)));
            states.push(progress::resume_state(resume, feeds_traces));
        }
        self.window.assign(&states);
        for state in states {
            // What is sealed is told by the time that was reached, what comes next by the floor.
            if let Some(progress) = self.progress.get(&state.source)
                && progress.stream_time > state.stream_time.unwrap_or(0)
            {
                self.window.advance(&state.source, progress.stream_time, progress.next)?;
            }
        }
        self.take_changes(&changes)?;
        self.onlooker.begin(&head, changes.flags())?;
        if let Some(logs) = logs {
            self.window.remember_logs(&logs)?;
        }
        self.held.add(held);
        Ok(starts)
    }

    /// Gives partitions up: what is open of them is dropped, whoever gets them rebuilds it.
    ///
    /// # Errors
    /// When the lake cannot be used: all that is held is to be forgotten then ([`Self::start_over`]).
    pub(crate) async fn revoke(&mut self, sources: &[SourcePartition]) -> Result<(), Error> {
        self.settle_or_give_up().await?;
        self.window.revoke(sources);
        self.held.forget(sources)?;
        for source in sources {
            self.progress.remove(source);
            self.intake.forget(source);
        }
        // Their next owner reads again what was not written.
        let drops_flags = self.waiting.forget(sources);
        if drops_flags {
            self.load_changes().await?;
        }
        if let Some(writer) = self.writer.as_mut() {
            writer.release(sources).await;
        }
        Ok(())
    }

    /// Forgets all that is not in the lake, as a new process would: an epoch has failed, and what the window remembers
    /// as written is not. Every partition has to be assigned again.
    pub(crate) async fn start_over(&mut self) {
        if let Some(writer) = self.writer.as_mut() {
            let sources: Vec<SourcePartition> = self.progress.keys().cloned().collect();
            writer.release(&sources).await;
        }
        self.window = Window::new(self.window_config.clone());
        self.waiting = Waiting::default();
        self.held = Held::default();
        self.progress.clear();
        self.intake.forget_all();
        self.onlooker.reset();
        self.changes_seen = changes::Seen::default();
        self.pushed_bytes = 0;
        self.more = false;
    }

    /// Says where a partition that was never read begins, if not at 0.
    pub(crate) fn begin_at(&mut self, source: &SourcePartition, offset: i64) {
        if let Some(progress) = self.progress.get_mut(source) {
            progress.begin_at(offset);
        }
    }

    /// Offsets of a partition are gone of which nothing was taken since it was assigned: it begins behind them, and
    /// the next epoch brings a dead letter. It records the new beginning, too, so the gap is told of once. `clock` is
    /// the worker's, in ns.
    ///
    /// # Errors
    /// When the topic of dead letters cannot be written.
    pub(crate) fn skip(&mut self, gap: &Gap, clock: i64) -> Result<(), Error> {
        let Some(progress) = self.progress.get_mut(&gap.source) else { return Ok(()) };
        progress.begin_at(gap.to);
        let letter = self.intake.bury_gap(gap, clock, &mut self.tally)?;
        self.waiting.push(&gap.source, Table::DeadLetters, letter);
        Ok(())
    }

    /// The offset up to which the lake says that a partition was read; 0 if it never was.
    pub(crate) fn read_to(&self, source: &SourcePartition) -> i64 {
        self.progress.get(source).map_or(0, |progress| progress.written_to)
    }

    /// Takes records of one partition, in offset order. `clock` is the time when they were read, in ns.
    ///
    /// # Errors
    /// Never for what a record holds: that goes to the dead letters.
    pub(crate) fn take<'a>(
        &mut self,
        source: &SourcePartition,
        clock: i64,
        records: impl Iterator<Item = Input<'a>>,
    ) -> Result<(), Error> {
        let Some(progress) = self.progress.get_mut(source) else { return Ok(()) };
        let before = (self.tally.records, self.tally.bytes);
        for record in records {
            self.intake.take(source, &record, clock, progress, &mut self.tally)?;
            if self.intake.is_full(source) {
                self.pushed_bytes +=
                    emit(&mut self.intake, &mut self.window, &mut self.waiting, source, progress, &mut self.tally)?;
            }
        }
        self.pushed_bytes +=
            emit(&mut self.intake, &mut self.window, &mut self.waiting, source, progress, &mut self.tally)?;
        let (records, bytes) = (self.tally.records - before.0, self.tally.bytes - before.1);
        count(source, "tracerag_records_total", records);
        count(source, "tracerag_bytes_total", bytes);
        Ok(())
    }

    /// The partition stands at its end: the worker's clock moves its time from here.
    pub(crate) fn at_end(&mut self, source: &SourcePartition, clock: i64) -> Result<(), Error> {
        if let Some(progress) = self.progress.get_mut(source) {
            progress.advance(clock, clock);
            self.window.at_high_watermark(source, clock)?;
        }
        Ok(())
    }

    /// Nothing more comes of the partition, a file that has ended: it holds up no trace of the others.
    pub(crate) fn finish(&mut self, source: &SourcePartition) -> Result<(), Error> {
        if self.progress.contains_key(source) {
            self.window.finish(source)?;
        }
        Ok(())
    }

    /// Back-pressure holds partitions, or does no longer.
    pub(crate) fn set_paused(&mut self, sources: &[SourcePartition], paused: bool) -> Result<(), Error> {
        for source in sources.iter().filter(|source| self.progress.contains_key(*source)) {
            self.window.set_paused(source, paused)?;
        }
        Ok(())
    }

    /// Moves the window's clock, which tells idle partitions.
    pub(crate) fn tick(&mut self, clock: i64) {
        self.window.tick(clock);
    }

    /// Whether an epoch should be written now.
    pub(crate) fn is_due(&self) -> bool {
        if self.in_flight.as_ref().is_some_and(|flight| !flight.is_finished()) {
            return false;
        }
        self.more
            || self.flushed_at.elapsed() >= self.pace.interval()
            || self.waiting.bytes >= self.flush_bytes
            || self.pushed_bytes >= self.flush_bytes
            || self.window.is_over_memory()
    }

    /// The time between two epochs, which grows where the lake is slow.
    pub(crate) fn interval(&self) -> Duration {
        self.pace.interval()
    }

    /// Partitions that have run ahead of the others while the window fills: what they bring cannot close before the
    /// others have come as far.
    pub(crate) fn ahead(&self) -> impl Iterator<Item = &SourcePartition> {
        self.window.ahead()
    }

    /// Whether more input must wait: what is held has reached its bound while an epoch is written. Without one in
    /// flight a flush is due.
    pub(crate) fn is_full(&self) -> bool {
        self.window.is_over_memory() || self.waiting.bytes >= self.flush_bytes
    }

    /// Starts to write an epoch of everything that is due. Without anything to write nothing happens,
    /// except when a trace comes due to be sealed.
    ///
    /// # Errors
    /// When the epoch before failed: the partitions have to be claimed again.
    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        self.settle().await?;
        let flushed = self.window.flush()?;
        self.write(flushed, false).await
    }

    /// Starts to write what was flushed. Where the input `ends` with it, no record waits any more.
    async fn write(&mut self, mut flushed: tracerag_enrich::Flushed, ends: bool) -> Result<(), Error> {
        if self.adds_to_stored {
            late::is_of_stored(&mut flushed);
        }
        self.flushed_at = Instant::now();
        self.pushed_bytes = 0;
        self.more = flushed.more;
        let sources = self.source_progress(&flushed);
        let is_seal_due = self.window.take_due_seals();
        let is_dirty = self.progress.values().any(Progress::is_dirty) || self.held.is_due(&sources, self.hold(), ends);
        if flushed.is_empty() && self.waiting.rows.is_empty() && !is_dirty && !is_seal_due {
            self.tally.flushed(&flushed.counts);
            return Ok(());
        }
        for source in &sources {
            if let Some(progress) = self.progress.get_mut(&source.source) {
                progress.recorded = (source.to, source.stream_time);
            }
        }
        let Some(writer) = self.writer.take() else { return Err(Self::no_writer()) };
        let draft = Draft {
            flushed,
            waiting: self.waiting.take(),
            sources,
            stamp: self.stamp.clone(),
            failures: Arc::clone(&self.failure_rules),
            held: std::mem::take(&mut self.held),
            hold: self.hold(),
            ends,
        };
        self.in_flight = Some(Flight::start(writer, draft, self.late_horizon, self.patience.clone()));
        Ok(())
    }

    /// How long a failed record without a trace waits for its trace, in ns: until that has ended, is closed, with its root
    /// or without, and written.
    fn hold(&self) -> i64 {
        let interval = i64::try_from(self.interval().as_nanos()).unwrap_or(i64::MAX);
        self.closes_within.saturating_add(interval.saturating_mul(2))
    }

    fn source_progress(&self, flushed: &tracerag_enrich::Flushed) -> Vec<SourceProgress> {
        let low: HashMap<&SourcePartition, i64> =
            flushed.progress.iter().map(|progress| (&progress.source, progress.low_watermark)).collect();
        let mut sources: Vec<SourceProgress> = self
            .progress
            .iter()
            .map(|(source, progress)| {
                let (to, low_watermark) = progress.interval(low.get(source).copied());
                SourceProgress { source: source.clone(), to, low_watermark, stream_time: progress.stream_time }
            })
            .collect();
        sources.sort_by(|a, b| a.source.cmp(&b.source));
        sources
    }

    /// The input has ended: closes every trace, writes it, and seals everything.
    pub(crate) async fn drain(&mut self) -> Result<(), Error> {
        loop {
            self.settle().await?;
            let flushed = self.window.drain()?;
            let more = flushed.more;
            self.write(flushed, !more).await?;
            if !more {
                break;
            }
        }
        self.settle().await?;
        while self.held.is_cut() {
            self.write(tracerag_enrich::Flushed::empty(), true).await?;
            self.settle().await?;
        }
        self.seal().await
    }

    /// Moves the time of all partitions past the seal of every trace, and records it.
    async fn seal(&mut self) -> Result<(), Error> {
        let Some(last) = self.window.last_seal() else { return Ok(()) };
        for (source, progress) in &mut self.progress {
            progress.advance(last.saturating_add(1), i64::MAX);
            self.window.advance(source, progress.stream_time, progress.next)?;
        }
        self.write(tracerag_enrich::Flushed::empty(), true).await?;
        self.settle().await
    }

    /// The stream time of each partition that has one, in ns.
    pub(crate) fn stream_times(&self) -> impl Iterator<Item = (&SourcePartition, i64)> {
        let times = self.progress.iter().map(|(source, progress)| (source, progress.stream_time));
        times.filter(|(_, time)| *time > 0)
    }

    /// What was taken and written so far.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Open traces and the bytes that the window holds.
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.window.open_traces(), self.window.bytes())
    }

    /// Dead letters go to this topic as well.
    pub(crate) fn send_dead_letters_to(&mut self, topic: Option<tracerag_ingest::source::DeadLetterTopic>) {
        self.intake.send_letters_to(topic);
    }

    /// Where each partition stands, as of the last recorded epoch: for lag tools.
    pub(crate) fn recorded(&self) -> Vec<(SourcePartition, i64)> {
        self.progress
            .iter()
            .filter(|(_, progress)| progress.recorded.0 >= 0)
            .map(|(source, progress)| (source.clone(), progress.recorded.0))
            .collect()
    }

    /// The lake that is written.
    pub(crate) fn lake(&self) -> &Lake {
        &self.lake
    }

    fn no_writer() -> Error {
        Error::Stopped { what: "the writer", detail: String::from("an earlier epoch did not give it back") }
    }
}

/// The log records that were written since a stream time, in ns: one of them that is sent again is the same record. For
/// partitions that are read already they are known.
async fn latest_logs(lake: &Lake, head: &Head, since: i64) -> Result<RecordBatch, Error> {
    let columns = ["tenant_id", "record_hash", "kafka_topic", "kafka_partition", "kafka_offset", "ingested_at"];
    Ok(tracerag_index::stored::rows_since(lake, head, Table::Logs, since, &columns).await?)
}

/// Whether a partition has no clock of its own: a file, or the dead letters.
fn is_replayed(source: &SourcePartition) -> bool {
    matches!(&*source.cluster, FILE_CLUSTER | REPLAY_CLUSTER)
}

/// Counts something of a partition, for Prometheus.
fn count(source: &SourcePartition, name: &'static str, number: u64) {
    if number > 0 {
        metrics::counter!(name, "topic" => source.topic.to_string(), "partition" => source.partition.to_string())
            .increment(number);
    }
}

/// Hands what the decoders have to the window, or to the rows that wait for no trace. Gives the bytes that
/// the window got.
fn emit(
    intake: &mut Intake,
    window: &mut Window,
    waiting: &mut Waiting,
    source: &SourcePartition,
    progress: &Progress,
    tally: &mut Tally,
) -> Result<usize, Error> {
    let taken = intake.finish(source, progress, tally)?;
    window.advance(source, progress.stream_time, progress.next)?;
    let before = window.bytes();
    if let Some(spans) = taken.spans {
        window.push_spans(source, spans)?;
    }
    if let Some(logs) = taken.logs {
        window.push_logs(source, logs)?;
    }
    let bytes = window.bytes().saturating_sub(before);
    for (table, batch) in taken.rows {
        match table {
            Table::Flags => window.push_flag_events(&batch)?,
            Table::Builds => window.push_build_events(&batch)?,
            _ => {}
        }
        waiting.push(source, table, batch);
    }
    Ok(bytes)
}

fn window_config(config: &Config) -> WindowConfig {
    let window = &config.window;
    WindowConfig {
        root_grace: window.root_grace.nanos(),
        idle_gap: window.idle_gap.nanos(),
        max_duration: window.max_duration.nanos(),
        late_horizon: window.late_horizon.nanos(),
        dedupe_horizon: window.dedupe_horizon.nanos(),
        seal_after: window.seal_after.nanos(),
        memory: window.memory.0,
        max_trace_bytes: config.trace_bytes(),
        idle_partition: window.idle_partition.nanos(),
        ..WindowConfig::default()
    }
}

//! Reading Kafka: one member of a consumer group, driven by one thread.
//!
//! Kafka is only read. The group tells which partitions are this worker's, and others follow these
//! ([`super::Following`]): [`Event::Assigned`]. The worker claims them in the lake, learns from there where to begin,
//! and calls [`KafkaSource::start`]. Group offsets are written for lag tools and never read, but by the re-keying, which
//! has no lake.
//!
//! Every partition has a queue of its own. So the end of a partition is known exactly (the client
//! reports it without the topic's name when all share one queue), a partition can be held back without
//! throwing away what was fetched, and fetched memory is bounded per partition.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::CommitMode;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use tracerag_schemas::SourcePartition;

use super::clients::{Clients, Reader, Settings};
use super::context::{GroupEvent, Wakeup};
use super::reading::{DrainEnd, Reading};
use super::start::{Gap, Start};
use super::watch::Watch;
use super::{
    Cluster, Event, KafkaConfig, Lag, MessageBatch, OutOfRange, ResolvedTopics, SourceError, TopicKind, TopicsConfig,
    access,
};

/// The client's own events (rebalances, token refreshes) are looked at this often at least.
const SERVE_EVERY: Duration = Duration::from_millis(100);

/// Bounds of a source.
#[derive(Debug, Clone, Copy)]
pub struct SourceLimits {
    /// Bytes that may be fetched ahead, over all partitions of the topics that are read.
    pub queue_bytes: u64,
}

impl Default for SourceLimits {
    /// 128 MiB.
    fn default() -> Self {
        Self { queue_bytes: 128 << 20 }
    }
}

/// A member of a consumer group.
///
/// Not `Sync` by design: one thread polls, and hands batches to others.
pub struct KafkaSource {
    // The order matters: queues before the clients that they belong to.
    readings: Vec<Reading>,
    pub(super) watch: Watch,
    pub(super) clients: Clients,
    settings: Settings,
    probe: Cluster,
    wakeup: Arc<Wakeup>,
    topics: ResolvedTopics,
    /// What the group has given to this member.
    of_group: BTreeSet<SourcePartition>,
    /// What follows it.
    followers: BTreeSet<SourcePartition>,
    /// What was assigned and `start` has not begun yet.
    pending: BTreeSet<SourcePartition>,
    events: VecDeque<Event>,
    turn: usize,
    served: Instant,
}

impl KafkaSource {
    /// Connects, looks at the topics and joins the group. The first event may be [`Event::Waiting`].
    ///
    /// # Errors
    /// When settings are wrong, no broker answers, none lets the client in, or a topic that is named is hidden from it.
    pub fn connect(config: &KafkaConfig, topics: &TopicsConfig, limits: SourceLimits) -> Result<Self, SourceError> {
        let (probe, metadata) = Cluster::open(config, topics, Cluster::PATIENCE)?;
        let topics = probe.rules.resolve_in(&metadata);
        // What the client may not see looks as if it were not there, and would be waited for without an end.
        if let Some((_, hidden)) = probe.hidden(&topics.missing).into_iter().next() {
            return Err(hidden);
        }
        let partitions: usize = metadata
            .topics()
            .iter()
            .filter(|topic| topics.present.contains_key(topic.name()))
            .map(|topic| topic.partitions().len())
            .sum();

        let wakeup = Arc::new(Wakeup::default());
        let settings = Settings::new(config, limits.queue_bytes, partitions)?;
        let clients = Clients::create(&settings, &wakeup)?;

        let watch = Watch::start(Arc::clone(&probe.client), probe.rules.clone(), topics.clone(), Arc::clone(&wakeup))?;
        let mut source = Self {
            readings: Vec::new(),
            watch,
            clients,
            settings,
            probe,
            wakeup,
            topics: ResolvedTopics::default(),
            of_group: BTreeSet::new(),
            followers: BTreeSet::new(),
            pending: BTreeSet::new(),
            events: VecDeque::new(),
            turn: 0,
            served: Instant::now(),
        };
        source.set_topics(topics)?;
        Ok(source)
    }

    /// The id of the cluster; the first part of every [`SourcePartition`] from here.
    pub fn cluster(&self) -> &Arc<str> {
        self.probe.id()
    }

    /// The cluster, to ask it what reading does not tell.
    pub fn probe(&self) -> &Cluster {
        &self.probe
    }

    /// The topics that are read and those that are waited for.
    pub fn topics(&self) -> &ResolvedTopics {
        &self.topics
    }

    /// What a topic carries.
    pub fn kind(&self, topic: &str) -> Option<TopicKind> {
        self.probe.kind(topic)
    }

    /// Leaves the group and joins it again, as a new process would: nothing is assigned any more, and nothing is read
    /// until the next [`Event::Assigned`].
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn rejoin(&mut self) -> Result<(), SourceError> {
        self.readings.clear();
        self.events.clear();
        self.pending.clear();
        self.of_group.clear();
        self.followers.clear();
        self.tell_watch();
        // The clients that were there leave the group here.
        self.clients = Clients::create(&self.settings, &self.wakeup)?;
        let topics = std::mem::take(&mut self.topics);
        self.set_topics(topics)
    }

    /// The last complaint of the client about something that it retries by itself, such as a broker that is down.
    pub fn last_error(&self) -> Option<String> {
        self.clients.last_error()
    }

    /// Waits for the next event, at most so long. Call it again within five minutes, or the group takes this
    /// member for dead (`max.poll.interval.ms`).
    ///
    /// # Errors
    /// When reading cannot go on: a topic has lost its newest records, the broker refuses the client, neither has taken
    /// the other's certificate for minutes, or the client has failed for good. What librdkafka retries by itself is no error; see [`Self::last_error`].
    pub fn poll(&mut self, max_wait: Duration) -> Result<Event, SourceError> {
        let deadline = Instant::now() + max_wait;
        // All events were handed out, so nothing is written any more of what the group wants back.
        if self.events.is_empty() {
            self.clients.let_go()?;
        }
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            if self.served.elapsed() >= SERVE_EVERY {
                self.serve()?;
            }
            if self.events.is_empty()
                && let Some(batch) = self.next_batch()?
            {
                return Ok(Event::Messages(batch));
            }
            if self.events.is_empty() {
                self.serve()?;
            }
            if !self.events.is_empty() {
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Event::Idle);
            }
            self.wakeup.wait(left.min(SERVE_EVERY));
        }
    }

    /// Whether something has happened already that [`Self::poll`] has not told yet. What was assigned may be revoked by
    /// it, or more be assigned: [`Self::start`] wants to be called when all is told.
    pub fn has_news(&self) -> bool {
        !self.events.is_empty()
    }

    /// Serves the group while what it has assigned cannot be begun yet. The assignment is taken without reading anything
    /// of it, so that the group can share its partitions out anew meanwhile; [`Self::start`] begins them later. What is
    /// told goes to [`Self::poll`], see [`Self::has_news`].
    ///
    /// # Errors
    /// As [`Self::poll`].
    pub fn attend(&mut self) -> Result<(), SourceError> {
        self.clients.accept()?;
        self.serve_clients()
    }

    /// Begins to read what was assigned, each partition at an offset of its own. Gives what is gone of it, which
    /// is passed over if `kafka.out_of_range` says so.
    ///
    /// # Errors
    /// When this is not exactly what was assigned last, or an offset is not in its topic. Nothing is read then.
    pub fn start(&mut self, from: &[Start]) -> Result<Vec<Gap>, SourceError> {
        let wanted: BTreeSet<SourcePartition> = from.iter().map(|start| start.source.clone()).collect();
        if wanted != self.pending || wanted.len() != from.len() {
            let show =
                |set: &BTreeSet<SourcePartition>| set.iter().map(|s| s.to_string()).collect::<Vec<_>>().join(", ");
            let detail = format!("assigned: [{}], to start: [{}]", show(&self.pending), show(&wanted));
            return Err(SourceError::Assignment { detail });
        }
        let gaps = from.iter().map(|start| self.gap(start)).collect::<Result<Vec<_>, _>>()?;
        let mut begun = Vec::with_capacity(from.len());
        let mut readings = Vec::with_capacity(from.len());
        for (Start { source, at, .. }, gap) in from.iter().zip(&gaps) {
            let at = gap.as_ref().map_or(*at, |gap| gap.to);
            begun.push((self.reader(source), source, at));
            readings.push(self.open(source, at)?);
        }
        self.clients.assign(&begun)?;
        self.pending.clear();
        self.readings.append(&mut readings);
        self.tell_watch();
        self.wakeup.wake();
        Ok(gaps.into_iter().flatten().collect())
    }

    /// Which client reads a partition.
    fn reader(&self, source: &SourcePartition) -> Reader {
        if self.followers.contains(source) { Reader::Beside } else { Reader::Member }
    }

    fn open(&self, source: &SourcePartition, offset: i64) -> Result<Reading, SourceError> {
        let kind = self
            .probe
            .kind(&source.topic)
            .ok_or_else(|| SourceError::Assignment { detail: format!("{source} is not a topic that is read") })?;
        let mut queue = self
            .clients
            .queue(self.reader(source), source)
            .ok_or_else(|| SourceError::Assignment { detail: format!("{source} has no queue") })?;
        queue.set_nonempty_callback(self.wakeup.callback());
        let named_headers = Arc::from(self.probe.config.headers.as_slice());
        Ok(Reading::new(source.clone(), kind, named_headers, queue, offset))
    }

    /// What is gone of a partition that is begun, if it may be passed over.
    fn gap(&self, start: &Start) -> Result<Option<Gap>, SourceError> {
        let (low, high) = self.watermarks(&start.source)?;
        match (start.gap(low, high)?, self.probe.config.out_of_range) {
            (Some(gap), OutOfRange::Fail) => Err(SourceError::Gap { gap }),
            (gap, _) => Ok(gap),
        }
    }

    /// Holds partitions back: nothing of them is handed out until [`Self::resume`]. What was fetched of them
    /// stays in memory, within the bound of their queues.
    pub fn pause(&mut self, sources: &[SourcePartition]) {
        self.set_paused(sources, true);
    }

    /// Ends [`Self::pause`].
    pub fn resume(&mut self, sources: &[SourcePartition]) {
        self.set_paused(sources, false);
        self.wakeup.wake();
    }

    fn set_paused(&mut self, sources: &[SourcePartition], is_paused: bool) {
        for reading in self.readings.iter_mut().filter(|reading| sources.contains(&reading.source)) {
            reading.is_paused = is_paused;
        }
    }

    /// Writes the group's offsets, without waiting for the answer. Only lag tools read those of a worker.
    ///
    /// # Errors
    /// When the client cannot send them.
    pub fn commit(&self, offsets: &[(SourcePartition, i64)]) -> Result<(), SourceError> {
        self.commit_in(CommitMode::Async, offsets)
    }

    pub(super) fn commit_in(&self, mode: CommitMode, offsets: &[(SourcePartition, i64)]) -> Result<(), SourceError> {
        if offsets.is_empty() {
            return Ok(());
        }
        self.clients.commit(mode, offsets)
    }

    /// How far each partition that is read is behind, as of the last second or two.
    pub fn lag(&self) -> Vec<Lag> {
        let lag = |reading: &Reading| {
            let (low, high) = self.watch.watermarks(&reading.source)?;
            Some(Lag { source: reading.source.clone(), next: reading.next, low, high: high.max(reading.next) })
        };
        self.readings.iter().filter_map(lag).collect()
    }

    /// Partitions that are read, and, where all records that came so far were handed out, when that was last seen, in
    /// nanoseconds since the epoch by the worker's clock. Of a partition that is held back nothing new is seen.
    pub fn reading(&self) -> impl Iterator<Item = (&SourcePartition, Option<i64>)> {
        self.readings.iter().map(|reading| (&reading.source, reading.at_end))
    }

    fn set_topics(&mut self, topics: ResolvedTopics) -> Result<(), SourceError> {
        if topics.missing != self.topics.missing {
            self.events.push_back(Event::Waiting(topics.missing.clone()));
        }
        if topics.present.keys().ne(self.topics.present.keys()) {
            let names: Vec<&String> = topics.present.keys().collect();
            let leads = topics.following.leader();
            tracing::info!(topics = ?names, missing = ?topics.missing, leads, "reading topics");
        }
        if topics.of_group().ne(self.topics.of_group()) {
            self.clients.subscribe(&topics.of_group().collect::<Vec<_>>())?;
        }
        self.topics = topics;
        Ok(())
    }

    fn serve(&mut self) -> Result<(), SourceError> {
        self.served = Instant::now();
        self.serve_clients()?;
        self.check_handshakes()?;
        if let Some(topics) = self.watch.take_topics() {
            self.check_hidden(&topics)?;
            self.set_topics(topics)?;
        }
        // What was assigned has to be begun before anything else is.
        if self.pending.is_empty() && self.events.is_empty() {
            self.regroup(Vec::new(), Vec::new(), Event::Revoked)?;
        }
        Ok(())
    }

    fn serve_clients(&mut self) -> Result<(), SourceError> {
        let config = &self.probe.config;
        self.clients.serve(|context, error| access::judge(context, config, None, error))?;
        for event in self.clients.take_events() {
            match event {
                GroupEvent::Assigned(partitions) => {
                    // What follows depends on how many partitions there are, which may have changed just now.
                    match self.probe.metadata() {
                        Ok(metadata) => self.set_topics(self.probe.rules.resolve_in(&metadata))?,
                        Err(error) => tracing::warn!(%error, "going on with the numbers of partitions known so far"),
                    }
                    let sources = self.sources(partitions);
                    self.of_group.extend(sources.iter().cloned());
                    self.regroup(sources, Vec::new(), Event::Revoked)?;
                }
                GroupEvent::Revoked { partitions, is_lost } => {
                    let sources = self.sources(partitions);
                    self.of_group.retain(|source| !sources.contains(source));
                    self.regroup(Vec::new(), sources, if is_lost { Event::Lost } else { Event::Revoked })?;
                }
                GroupEvent::Failed(error) => self.judge(Reader::Member, None, &error)?,
            }
        }
        Ok(())
    }

    /// Brings what follows in line with what the group has given, and tells what has come and gone with both.
    fn regroup(
        &mut self,
        mut assigned: Vec<SourcePartition>,
        mut revoked: Vec<SourcePartition>,
        gone: impl FnOnce(Vec<SourcePartition>) -> Event,
    ) -> Result<(), SourceError> {
        let wanted = self.wanted_followers();
        let left: Vec<SourcePartition> = self.followers.difference(&wanted).cloned().collect();
        assigned.extend(wanted.difference(&self.followers).cloned());
        let read = self.readings.iter().map(|reading| &reading.source);
        let given_up: Vec<SourcePartition> = read.filter(|source| left.contains(source)).cloned().collect();
        self.clients.give_up(Reader::Beside, &given_up)?;
        self.followers = wanted;
        revoked.extend(left);
        if !revoked.is_empty() {
            self.readings.retain(|reading| !revoked.contains(&reading.source));
            self.pending.retain(|source| !revoked.contains(source));
            self.tell_watch();
            self.events.push_back(gone(revoked));
        }
        if !assigned.is_empty() {
            self.pending.extend(assigned.iter().cloned());
            self.events.push_back(Event::Assigned(assigned));
        }
        Ok(())
    }

    /// What goes with the partitions that the group has given.
    fn wanted_followers(&self) -> BTreeSet<SourcePartition> {
        let following = &self.topics.following;
        let leading: BTreeSet<i32> = self
            .of_group
            .iter()
            .filter(|source| following.leader() == Some(&*source.topic))
            .map(|source| source.partition)
            .collect();
        following
            .of(&leading)
            .map(|(topic, partition)| SourcePartition::new(Arc::clone(self.cluster()), Arc::clone(topic), partition))
            // A topic may have led until now: the group takes its partitions back first.
            .filter(|source| !self.of_group.contains(source))
            .collect()
    }

    fn sources(&self, partitions: Vec<(String, i32)>) -> Vec<SourcePartition> {
        let source =
            |(topic, partition)| SourcePartition::new(Arc::clone(self.cluster()), Arc::<str>::from(topic), partition);
        partitions.into_iter().map(source).collect()
    }

    fn tell_watch(&self) {
        self.watch.set_partitions(self.readings.iter().map(|reading| reading.source.clone()).collect());
    }

    /// The next batch of the partitions in turn.
    fn next_batch(&mut self) -> Result<Option<MessageBatch>, SourceError> {
        for _ in 0..self.readings.len() {
            self.turn = (self.turn + 1) % self.readings.len();
            let reading = &mut self.readings[self.turn];
            if reading.is_paused {
                continue;
            }
            let (batch, end) = reading.drain();
            match end {
                DrainEnd::Empty | DrainEnd::Full => {}
                DrainEnd::AtEnd => self.events.push_back(Event::AtEnd(self.readings[self.turn].source.clone())),
                // Records before an error are not given up: the caller may read on after a passing one.
                DrainEnd::Failed(error) if is_out_of_range(&error) => {
                    self.begin_anew(self.readings[self.turn].source.clone())?;
                }
                DrainEnd::Failed(error) => {
                    let source = &self.readings[self.turn].source;
                    self.judge(self.reader(source), Some(source), &error)?;
                }
            }
            if batch.is_some() || !self.events.is_empty() {
                return Ok(batch);
            }
        }
        Ok(None)
    }

    fn judge(&self, reader: Reader, source: Option<&SourcePartition>, error: &KafkaError) -> Result<(), SourceError> {
        access::judge(self.clients.context(reader), &self.probe.config, source, error)
    }

    /// Gives a partition up of which Kafka has deleted what is read next, and takes it again: librdkafka does not seek
    /// in one that is out of range. The lake says where the worker begins, and [`Self::start`] what is gone.
    fn begin_anew(&mut self, source: SourcePartition) -> Result<(), SourceError> {
        let (low, high) = self.watermarks(&source)?;
        let next = self.readings.iter().find(|reading| reading.source == source).map_or(-1, |reading| reading.next);
        if next >= low {
            return Err(SourceError::OutOfRange { source_partition: source, offset: next, low, high });
        }
        tracing::warn!(%source, next, low, "kafka has deleted what is read next; the partition is begun anew");
        let reader = self.reader(&source);
        let sources: Vec<SourcePartition> = match reader == Reader::Member && self.clients.takes_whole() {
            true => {
                let read = self.readings.iter().map(|reading| reading.source.clone());
                read.filter(|source| !self.followers.contains(source)).collect()
            }
            false => vec![source],
        };
        self.clients.give_up(reader, &sources)?;
        self.readings.retain(|reading| !sources.contains(&reading.source));
        self.tell_watch();
        self.pending.extend(sources.iter().cloned());
        self.events.push_back(Event::Revoked(sources.clone()));
        self.events.push_back(Event::Assigned(sources));
        Ok(())
    }
}

/// Whether the broker does not have the offset that was asked for.
pub(super) fn is_out_of_range(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::NoOffset)
    )
}

#[cfg(test)]
#[path = "kafka_test.rs"]
mod tests;

//! Reading Kafka: one member of a consumer group, driven by one thread.
//!
//! Kafka is only read. The group tells which partitions are this worker's ([`Event::Assigned`]); the
//! worker claims them in the lake, learns from there where to begin, and calls [`KafkaSource::start`].
//! Group offsets are written for lag tools and never read.
//!
//! Every partition has a queue of its own. So the end of a partition is known exactly (the client
//! reports it without the topic's name when all share one queue), a partition can be held back without
//! throwing away what was fetched, and fetched memory is bounded per partition.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, RebalanceProtocol};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;
use tracerag_schemas::SourcePartition;

use super::context::{GroupEvent, SourceContext, Wakeup, answer_nothing};
use super::reading::{DrainEnd, Reading};
use super::start::{Gap, Start};
use super::watch::Watch;
use super::{
    Cluster, KafkaConfig, MessageBatch, OutOfRange, ResolvedTopics, SourceError, TopicKind, TopicsConfig, access,
    settings,
};

/// The client's own events (rebalances, token refreshes) are looked at this often at least.
const SERVE_EVERY: Duration = Duration::from_millis(100);

/// Events of the client that are handled each time.
const EVENTS_AT_ONCE: usize = 32;

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

/// What [`KafkaSource::poll`] brings.
#[derive(Debug)]
pub enum Event {
    /// The group gave these partitions to this member. Nothing is read of them until [`KafkaSource::start`].
    Assigned(Vec<SourcePartition>),
    /// The group took these partitions away. No further record of them comes. Where Kafka deletes what is read next,
    /// this comes, too, and [`Event::Assigned`] after it: the partition is begun anew.
    Revoked(Vec<SourcePartition>),
    /// Records of one partition; never empty.
    Messages(MessageBatch),
    /// All records of the partition were handed out. Comes again after each later record.
    AtEnd(SourcePartition),
    /// These topics are named, but do not exist. Comes whenever the list changes; empty when none is missing any more.
    Waiting(Vec<String>),
    /// Nothing happened in the time given.
    Idle,
}

/// How far the reader is behind in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    /// The partition.
    pub source: SourcePartition,
    /// The offset that is handed out next.
    pub next: i64,
    /// The oldest offset in the topic.
    pub low: i64,
    /// The offset behind the newest record.
    pub high: i64,
}

impl Lag {
    /// Offsets between the reader and the end; aborted and compacted ones count too.
    pub fn records(&self) -> i64 {
        (self.high - self.next.max(self.low)).max(0)
    }
}

/// A member of a consumer group.
///
/// Not `Sync` by design: one thread polls, and hands batches to others.
pub struct KafkaSource {
    // The order matters: queues before the consumer that they belong to.
    readings: Vec<Reading>,
    watch: Watch,
    consumer: Arc<BaseConsumer<SourceContext>>,
    probe: Cluster,
    wakeup: Arc<Wakeup>,
    topics: ResolvedTopics,
    /// What the group assigned and `start` has not answered yet.
    pending: BTreeSet<SourcePartition>,
    must_answer: bool,
    events: VecDeque<Event>,
    turn: usize,
    served: Instant,
}

impl KafkaSource {
    /// Connects, looks at the topics and joins the group. The first event may be [`Event::Waiting`].
    ///
    /// # Errors
    /// When settings are wrong, no broker answers, or none lets the client in.
    pub fn connect(config: &KafkaConfig, topics: &TopicsConfig, limits: SourceLimits) -> Result<Self, SourceError> {
        let (probe, metadata) = Cluster::open(config, topics, Cluster::PATIENCE)?;
        let topics = probe.rules.resolve(metadata.topics().iter().map(rdkafka::metadata::MetadataTopic::name));
        let partitions: usize = metadata
            .topics()
            .iter()
            .filter(|topic| topics.present.contains_key(topic.name()))
            .map(|topic| topic.partitions().len())
            .sum();

        let wakeup = Arc::new(Wakeup::default());
        let mut consumer: BaseConsumer<SourceContext> = settings::consumer(config, limits.queue_bytes, partitions)?
            .create_with_context(SourceContext::default())
            .map_err(|reason| SourceError::Client { reason })?;
        consumer.set_nonempty_callback(wakeup.callback());

        let watch = Watch::start(Arc::clone(&probe.client), probe.rules.clone(), topics.clone(), Arc::clone(&wakeup))?;
        let mut source = Self {
            readings: Vec::new(),
            watch,
            consumer: Arc::new(consumer),
            probe,
            wakeup,
            topics: ResolvedTopics::default(),
            pending: BTreeSet::new(),
            must_answer: false,
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

    /// The last complaint of the client about something that it retries by itself, such as a broker that is down.
    pub fn last_error(&self) -> Option<String> {
        self.consumer.context().last_error()
    }

    /// Waits for the next event, at most so long. Call it again within five minutes, or the group takes this
    /// member for dead (`max.poll.interval.ms`).
    ///
    /// # Errors
    /// When reading cannot go on: a topic has lost its newest records, the broker refuses the client, or the client has
    /// failed for good. What librdkafka retries by itself is no error; see [`Self::last_error`].
    pub fn poll(&mut self, max_wait: Duration) -> Result<Event, SourceError> {
        let deadline = Instant::now() + max_wait;
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

    /// Begins to read what the group assigned, each partition at an offset of its own. Gives what is gone of it, which
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
        let mut assignment = TopicPartitionList::with_capacity(from.len());
        let mut readings = Vec::with_capacity(from.len());
        for (Start { source, at, .. }, gap) in from.iter().zip(&gaps) {
            let at = gap.as_ref().map_or(*at, |gap| gap.to);
            assignment
                .add_partition_offset(&source.topic, source.partition, Offset::Offset(at))
                .map_err(|reason| SourceError::Kafka { action: format!("assigning {source}"), reason })?;
            readings.push(self.open(source, at)?);
        }
        let is_cooperative = matches!(self.consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let result = if is_cooperative {
            self.consumer.incremental_assign(&assignment)
        } else {
            self.consumer.assign(&assignment)
        };
        result.map_err(|reason| SourceError::Kafka { action: "assigning partitions".to_owned(), reason })?;
        self.pending.clear();
        self.must_answer = false;
        self.readings.append(&mut readings);
        self.tell_watch();
        self.wakeup.wake();
        Ok(gaps.into_iter().flatten().collect())
    }

    /// Splits the partition's queue off *before* the partition is assigned, so that none of its records goes
    /// to the common queue.
    fn open(&self, source: &SourcePartition, offset: i64) -> Result<Reading, SourceError> {
        let kind = self
            .probe
            .kind(&source.topic)
            .ok_or_else(|| SourceError::Assignment { detail: format!("{source} is not a topic that is read") })?;
        let mut queue = self
            .consumer
            .split_partition_queue(&source.topic, source.partition)
            .ok_or_else(|| SourceError::Assignment { detail: format!("{source} has no queue") })?;
        queue.set_nonempty_callback(self.wakeup.callback());
        Ok(Reading {
            source: source.clone(),
            kind,
            named_headers: Arc::from(self.probe.config.headers.as_slice()),
            queue,
            next: offset,
            at_end: None,
            is_paused: false,
            usual_bytes: 0,
        })
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

    /// Writes the group's offsets, without waiting for the answer. Only lag tools read them.
    ///
    /// # Errors
    /// When the client cannot send them.
    pub fn commit(&self, offsets: &[(SourcePartition, i64)]) -> Result<(), SourceError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let failed = |reason| SourceError::Kafka { action: "committing the group's offsets".to_owned(), reason };
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for (source, offset) in offsets {
            list.add_partition_offset(&source.topic, source.partition, Offset::Offset(*offset)).map_err(failed)?;
        }
        self.consumer.commit(&list, CommitMode::Async).map_err(failed)
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
            let names: Vec<&str> = topics.present.keys().map(String::as_str).collect();
            tracing::info!(topics = ?names, missing = ?topics.missing, "reading topics");
            self.consumer
                .subscribe(&names)
                .map_err(|reason| SourceError::Kafka { action: "subscribing to topics".to_owned(), reason })?;
        }
        self.topics = topics;
        Ok(())
    }

    fn serve(&mut self) -> Result<(), SourceError> {
        self.served = Instant::now();
        self.serve_client()?;
        self.watch.take_topics().map_or(Ok(()), |topics| self.set_topics(topics))
    }

    /// Lets the client do what it wants the polling thread to do: rebalances and errors.
    fn serve_client(&mut self) -> Result<(), SourceError> {
        // A poll without waiting handles one event and does not say whether there are more.
        for _ in 0..EVENTS_AT_ONCE {
            match self.consumer.poll(Duration::ZERO) {
                None => {}
                // Every partition has a queue of its own, so this one belongs to none that is still assigned.
                Some(Ok(message)) => {
                    tracing::debug!(
                        topic = message.topic(),
                        partition = message.partition(),
                        "a record of no partition"
                    );
                }
                Some(Err(error)) => self.judge(None, &error)?,
            }
        }
        for event in self.consumer.context().take_events() {
            match event {
                GroupEvent::Assigned(partitions) => {
                    let sources = self.sources(partitions);
                    self.pending.extend(sources.iter().cloned());
                    self.must_answer = true;
                    self.events.push_back(Event::Assigned(sources));
                }
                GroupEvent::Revoked(partitions) => {
                    let sources = self.sources(partitions);
                    self.readings.retain(|reading| !sources.contains(&reading.source));
                    self.pending.retain(|source| !sources.contains(source));
                    self.tell_watch();
                    self.events.push_back(Event::Revoked(sources));
                }
                GroupEvent::Failed(error) => self.judge(None, &error)?,
            }
        }
        Ok(())
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
                DrainEnd::Failed(error) => self.judge(Some(&self.readings[self.turn].source), &error)?,
            }
            if batch.is_some() || !self.events.is_empty() {
                return Ok(batch);
            }
        }
        Ok(None)
    }

    fn judge(&self, source: Option<&SourcePartition>, error: &KafkaError) -> Result<(), SourceError> {
        access::judge(self.consumer.context(), &self.probe.config.bootstrap_servers, source, error)
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
        let is_cooperative = matches!(self.consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        // What an eager group has assigned changes as a whole or not at all.
        let sources: Vec<SourcePartition> = match is_cooperative {
            true => vec![source],
            false => self.readings.iter().map(|reading| reading.source.clone()).collect(),
        };
        let mut list = TopicPartitionList::with_capacity(sources.len());
        for source in &sources {
            list.add_partition(&source.topic, source.partition);
        }
        let result = if is_cooperative { self.consumer.incremental_unassign(&list) } else { self.consumer.unassign() };
        result.map_err(|reason| SourceError::Kafka { action: "giving partitions up".to_owned(), reason })?;
        self.readings.retain(|reading| !sources.contains(&reading.source));
        self.tell_watch();
        self.pending.extend(sources.iter().cloned());
        self.events.push_back(Event::Revoked(sources.clone()));
        self.events.push_back(Event::Assigned(sources));
        Ok(())
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.readings.clear();
        // The client leaves the group on drop, and would wait for ever for an assignment that nobody answers.
        self.consumer.context().close();
        if std::mem::take(&mut self.must_answer) {
            let is_cooperative = matches!(self.consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
            if let Err(error) = answer_nothing(&self.consumer, is_cooperative) {
                tracing::debug!(%error, "the last assignment was not answered");
            }
        }
    }
}

/// Whether the broker does not have the offset that was asked for.
fn is_out_of_range(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::NoOffset)
    )
}

#[cfg(test)]
#[path = "kafka_test.rs"]
mod tests;

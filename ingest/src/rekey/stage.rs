//! The stage: reads, takes apart, sends, commits. Driven by one thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracerag_schemas::SourcePartition;

use super::flights::Flights;
use super::outbox::Outbox;
use super::underway::{Route, Underway};
use super::{RekeyConfig, RekeyError};
use crate::source::{Event, KafkaConfig, KafkaSource, Lag, Signal, SourceError, SourceLimits, Start, TopicsConfig};
use crate::tenant::Tenants;

/// How long each signal waits for records, or for room in the queue.
const POLL: Duration = Duration::from_millis(10);
/// How often offsets are committed.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// How old the last commit may be where there is something to commit.
const KEEPS_UP_WITHIN: Duration = Duration::from_secs(5);

/// What was done since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records taken.
    pub records: u64,
    /// Messages made of them.
    pub messages: u64,
    /// Of these, records that were passed on as they came.
    pub unchanged: u64,
}

/// Re-keys spans and logs; see the [module](super).
pub struct Rekey {
    inputs: Vec<Input>,
    outbox: Outbox,
    tenants: Tenants,
    tally: Tally,
}

/// One signal.
struct Input {
    source: KafkaSource,
    signal: Signal,
    output: String,
    group: String,
    underway: Option<Underway>,
    flights: Flights,
    /// Nothing is read while a batch waits for room in the queue.
    is_held: bool,
    /// When the last commit was tried.
    tried_at: Instant,
    /// When everything was committed that there was, or at least some of it.
    committed_at: Instant,
}

impl Rekey {
    /// Connects, and joins the group once for each signal. The topics that are written must be there: see
    /// [`super::prepare`]. `queue_bytes` bounds what is fetched ahead, and once more what waits to be sent.
    ///
    /// # Errors
    /// When settings are wrong, no broker answers, none lets the client in, or no topic is configured.
    pub fn connect(
        config: &RekeyConfig,
        kafka: &KafkaConfig,
        topics: &TopicsConfig,
        tenants: Tenants,
        queue_bytes: usize,
    ) -> Result<Self, RekeyError> {
        let outputs = config.outputs(topics);
        if outputs.is_empty() {
            return Err(RekeyError::Nothing);
        }
        let limits = SourceLimits { queue_bytes: (queue_bytes / outputs.len()) as u64 };
        let input = |(signal, output): (Signal, String)| -> Result<Input, RekeyError> {
            let own = config.consumer(kafka, signal);
            Ok(Input {
                source: KafkaSource::connect(&own, &config.before(topics, signal), limits)?,
                signal,
                output,
                group: own.group_id,
                underway: None,
                flights: Flights::new(),
                is_held: false,
                tried_at: Instant::now(),
                committed_at: Instant::now(),
            })
        };
        let inputs = outputs.into_iter().map(input).collect::<Result<_, RekeyError>>()?;
        Ok(Self { inputs, outbox: Outbox::open(kafka, queue_bytes)?, tenants, tally: Tally::default() })
    }

    /// Handles what comes within some milliseconds. Call it again within five minutes, or the group takes this member
    /// for dead.
    ///
    /// # Errors
    /// When reading or writing cannot go on. What was committed stays; what was not is written again by the next start.
    pub fn step(&mut self) -> Result<(), RekeyError> {
        for input in &mut self.inputs {
            input.read(&self.tenants)?;
            input.send(&self.outbox, &mut self.tally)?;
            self.outbox.check()?;
            if input.tried_at.elapsed() >= COMMIT_EVERY {
                input.commit(&self.outbox)?;
            }
        }
        Ok(())
    }

    /// Waits until the broker has what was sent, at most so long, and commits. What the batches under way have not sent
    /// yet is the next start's.
    ///
    /// # Errors
    /// When the broker refused something.
    pub fn finish(&mut self, within: Duration) -> Result<(), RekeyError> {
        for input in &mut self.inputs {
            input.underway = None;
            input.flights.end();
        }
        if let Err(error) = self.outbox.flush(within) {
            tracing::warn!(%error, "not all re-keyed messages have arrived; the next start writes them again");
        }
        self.inputs.iter_mut().try_for_each(|input| input.commit(&self.outbox))
    }

    /// Whether the group has given this process partitions.
    pub fn has_partitions(&self) -> bool {
        self.inputs.iter().any(|input| input.source.reading().next().is_some())
    }

    /// Whether everything that was read is written and committed.
    pub fn is_idle(&self) -> bool {
        self.inputs.iter().all(|input| input.underway.is_none() && input.flights.is_empty())
    }

    /// Whether what is read reaches Kafka and is committed within seconds.
    pub fn keeps_up(&self) -> bool {
        self.inputs.iter().all(|input| input.committed_at.elapsed() < KEEPS_UP_WITHIN)
    }

    /// How far each partition that is read is behind, as of the last second or two.
    pub fn lag(&self) -> Vec<Lag> {
        self.inputs.iter().flat_map(|input| input.source.lag()).collect()
    }

    /// What was done since the start.
    pub fn tally(&self) -> Tally {
        self.tally
    }
}

impl Input {
    fn read(&mut self, tenants: &Tenants) -> Result<(), RekeyError> {
        let event = self.source.poll(POLL);
        match event.map_err(|error| told(error, &self.group))? {
            Event::Assigned(sources) => self.assign(&sources, tenants)?,
            Event::Revoked(sources) | Event::Lost(sources) => self.revoke(&sources),
            Event::Messages(batch) => {
                let route = self.route(&batch.source().topic, tenants)?;
                self.underway = Some(Underway::new(batch, route));
            }
            Event::Waiting(topics) if topics.is_empty() => {
                tracing::info!(signal = %self.signal, "all topics to re-key exist");
            }
            Event::Waiting(topics) => {
                tracing::warn!(signal = %self.signal, ?topics, "waiting for topics to re-key that do not exist yet");
            }
            Event::AtEnd(_) | Event::Idle => {}
        }
        Ok(())
    }

    /// Goes on where the group has committed, else by `kafka.initial_offset`.
    fn assign(&mut self, sources: &[SourcePartition], tenants: &Tenants) -> Result<(), RekeyError> {
        for source in sources {
            self.route(&source.topic, tenants)?;
        }
        let committed = self.source.committed(sources)?;
        let fresh: Vec<SourcePartition> =
            committed.iter().filter(|(_, offset)| offset.is_none()).map(|(source, _)| source.clone()).collect();
        let initial: BTreeMap<SourcePartition, i64> = self.source.initial_offsets(&fresh)?.into_iter().collect();
        let start = |(source, offset): (SourcePartition, Option<i64>)| {
            let at = offset.or_else(|| initial.get(&source).copied()).unwrap_or_default();
            Start::new(source, at)
        };
        let starts: Vec<Start> = committed.into_iter().map(start).collect();
        let gaps = self.source.start(&starts).map_err(|error| told(error, &self.group))?;
        for Start { source, at, .. } in &starts {
            let partition = source.partition;
            tracing::info!(topic = %source.topic, partition, from = at, to = %self.output, "will re-key");
        }
        for gap in gaps {
            tracing::warn!(source = %gap.source, "{gap}");
            let labels = [("topic", gap.source.topic.to_string()), ("partition", gap.source.partition.to_string())];
            metrics::counter!("tracerag_rekey_gap_offsets_total", &labels).increment(gap.offsets().max(0) as u64);
        }
        // Committed at once: "latest" is another offset at the next start.
        for (source, at) in initial {
            self.flights.reached(&source, at);
        }
        if self.is_held {
            self.hold(true);
        }
        Ok(())
    }

    fn revoke(&mut self, sources: &[SourcePartition]) {
        self.flights.forget(sources);
        if self.underway.as_ref().is_some_and(|underway| sources.contains(underway.batch().source())) {
            self.underway = None;
        }
    }

    /// Where records of a topic go.
    fn route(&self, topic: &str, tenants: &Tenants) -> Result<Route, RekeyError> {
        let tenant = match (tenants.named_for(topic), tenants.header()) {
            (None, _) => None,
            (Some(tenant), Some(header)) => Some((header.to_owned(), Arc::from(tenant))),
            (Some(tenant), None) => {
                return Err(RekeyError::Tenant { topic: topic.to_owned(), tenant: tenant.to_owned() });
            }
        };
        let signal = match self.signal {
            Signal::Logs => crate::otlp::Signal::Logs,
            _ => crate::otlp::Signal::Spans,
        };
        Ok(Route { signal, output: self.output.clone(), tenant })
    }

    /// Sends what the queue takes of the batch under way. While it does not take all, nothing is read: Kafka keeps the
    /// rest.
    fn send(&mut self, outbox: &Outbox, tally: &mut Tally) -> Result<(), RekeyError> {
        if let Some(underway) = &mut self.underway {
            let before = *tally;
            let is_done = underway.advance(outbox, &mut self.flights, tally)?;
            let labels = [("topic", underway.batch().source().topic.to_string())];
            metrics::counter!("tracerag_rekey_records_total", &labels).increment(tally.records - before.records);
            metrics::counter!("tracerag_rekey_messages_total", &labels).increment(tally.messages - before.messages);
            metrics::counter!("tracerag_rekey_unchanged_total", &labels).increment(tally.unchanged - before.unchanged);
            if is_done {
                self.underway = None;
            }
        }
        let is_full = self.underway.is_some();
        if is_full != self.is_held {
            self.hold(is_full);
        }
        self.flights.end_if_due();
        Ok(())
    }

    fn hold(&mut self, is_held: bool) {
        let sources: Vec<SourcePartition> = self.source.reading().map(|(source, _)| source.clone()).collect();
        match is_held {
            true => self.source.pause(&sources),
            false => self.source.resume(&sources),
        }
        self.is_held = is_held;
    }

    /// Commits what has landed, and waits for the answer: an offset that stays uncommitted on a quiet topic would bring
    /// its record back long after the window has forgotten it. What the group does not take now is tried again.
    fn commit(&mut self, outbox: &Outbox) -> Result<(), RekeyError> {
        self.tried_at = Instant::now();
        let landed = self.flights.landed();
        outbox.check()?;
        if landed.is_empty() {
            if self.flights.is_empty() && self.underway.is_none() {
                self.committed_at = self.tried_at;
            }
            return Ok(());
        }
        match self.source.commit_now(&landed) {
            Ok(()) => {
                self.flights.committed();
                self.committed_at = self.tried_at;
            }
            Err(error) => tracing::warn!(%error, "re-keyed offsets are not committed yet"),
        }
        Ok(())
    }
}

/// What an error of a source means here, where no lake knows what was taken.
fn told(error: SourceError, group: &str) -> RekeyError {
    match error {
        SourceError::Gap { gap } => RekeyError::Gap { gap },
        SourceError::OutOfRange { source_partition, offset, high, .. } => {
            RekeyError::Anew { partition: source_partition.to_string(), offset, high, group: group.to_owned() }
        }
        other => other.into(),
    }
}

#[cfg(test)]
#[path = "stage_test.rs"]
mod tests;

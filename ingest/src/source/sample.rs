//! A look at the newest messages of the OTLP topics: how they are written, and whether their keys keep traces together.
//!
//! Nothing is assumed of a topic, and nothing is left behind: partitions are read by hand, without joining the group,
//! and no offset is committed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::metadata::MetadataTopic;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;

use super::access::{Wanted, refused};
use super::context::SourceContext;
use super::keying::{Beside, Keying, Sampled, Verdict, apart, judge, remedy};
use super::{Cluster, Encoding, Signal, SourceError, TopicKind, settings};
use crate::otlp::{self, glance};

/// What is looked at of each partition: the newest messages, up to so many and so many bytes.
const MESSAGES: usize = 50;
const BYTES: usize = 4 << 20;

const POLL: Duration = Duration::from_millis(100);

/// How many messages are written how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EncodingsSeen {
    /// In protobuf.
    pub proto: usize,
    /// In OTLP/JSON.
    pub json: usize,
    /// In neither, or of another signal.
    pub other: usize,
}

impl EncodingsSeen {
    /// Whether something was seen that a worker cannot read with this encoding.
    pub fn contradict(&self, configured: Encoding) -> bool {
        let unexpected = match configured {
            Encoding::Proto => self.json,
            Encoding::Json => self.proto,
            Encoding::Auto => 0,
        };
        unexpected + self.other > 0
    }

    /// In words, as the configuration names them; empty if nothing was seen.
    pub fn names(&self) -> Vec<&'static str> {
        let all = [(self.proto, Encoding::Proto.name()), (self.json, Encoding::Json.name()), (self.other, "other")];
        all.into_iter().filter(|(count, _)| *count > 0).map(|(_, name)| name).collect()
    }
}

/// What a sample shows of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicFinding {
    /// The topic.
    pub topic: String,
    /// What it carries, and in which encoding by the configuration.
    pub kind: TopicKind,
    /// How many partitions it has.
    pub partitions: usize,
    /// Messages that were looked at.
    pub messages: usize,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// How they are written.
    pub encodings: EncodingsSeen,
    /// Whether traces keep to one partition; `None` for metrics, which belong to none.
    pub verdict: Option<Verdict>,
    /// Why the topic could not be read, or not to the end of the sample.
    pub failure: Option<String>,
    /// Whether the broker forbids to read it.
    pub is_refused: bool,
}

impl TopicFinding {
    /// Whether traces of this topic are torn apart if several workers read it.
    pub fn is_scattered(&self) -> bool {
        self.partitions > 1 && self.verdict.as_ref().is_some_and(|verdict| verdict.keying == Keying::NotKeyed)
    }

    /// What to set in the Collector to have it keyed.
    pub fn remedy(&self) -> &'static str {
        remedy(self.kind.signal)
    }
}

/// What a sample shows of all OTLP topics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Topic by topic.
    pub topics: Vec<TopicFinding>,
    /// Why traces and their logs do not lie under the same partition numbers, if they do not.
    pub apart: Option<String>,
    /// Whether the broker forbids to use the group.
    pub is_group_refused: bool,
}

impl Findings {
    /// Of a topic.
    pub fn of(&self, topic: &str) -> Option<&TopicFinding> {
        self.topics.iter().find(|finding| finding.topic == topic)
    }

    /// The first topic whose traces are torn apart by several workers.
    pub fn scattered(&self) -> Option<&TopicFinding> {
        self.topics.iter().find(|finding| finding.is_scattered())
    }
}

impl Cluster {
    /// Looks at the newest messages of each partition of the OTLP topics, within a time for all of them.
    ///
    /// # Errors
    /// When the topics cannot be asked for. A topic that cannot be read is a finding.
    pub fn sample(&self, within: Duration) -> Result<Findings, SourceError> {
        let deadline = Instant::now() + within;
        let metadata = self.metadata()?;
        let mut topics = self.topics_in(&metadata);
        topics.retain(|(_, kind)| kind.signal.is_otlp());
        topics.sort_by(|a, b| (a.1.signal, a.0.name()).cmp(&(b.1.signal, b.0.name())));
        let consumer: BaseConsumer<SourceContext> = settings::sampler(&self.config)?
            .create_with_context(SourceContext::new(&self.config))
            .map_err(|reason| SourceError::Client { reason })?;
        let samples: Vec<Sample> =
            topics.into_iter().map(|(topic, kind)| Sample::take(&consumer, topic, kind, deadline)).collect();
        if let Err(error) = consumer.unassign() {
            tracing::debug!(%error, "the partitions of the sample were not given back");
        }
        Ok(findings(samples))
    }
}

fn findings(samples: Vec<Sample>) -> Findings {
    let is_group_refused = samples.iter().any(|sample| sample.is_group_refused);
    let (topics, messages): (Vec<TopicFinding>, Vec<Vec<Sampled>>) = samples.into_iter().map(Sample::finding).unzip();
    let beside: Vec<Beside<'_>> = topics
        .iter()
        .zip(&messages)
        .filter_map(|(topic, messages)| {
            let verdict = topic.verdict.as_ref()?;
            let is_keyed = verdict.keying == Keying::Keyed && topic.partitions > 1;
            Some(Beside { topic: &topic.topic, partitions: topic.partitions, is_keyed, messages })
        })
        .collect();
    let apart = apart(&beside);
    Findings { topics, apart, is_group_refused }
}

/// The sample of one topic.
struct Sample {
    topic: String,
    kind: TopicKind,
    partitions: usize,
    taken: usize,
    bytes: u64,
    encodings: EncodingsSeen,
    /// Those that hold parts of traces.
    messages: Vec<Sampled>,
    failure: Option<String>,
    is_refused: bool,
    is_group_refused: bool,
}

impl Sample {
    fn take(consumer: &BaseConsumer<SourceContext>, topic: &MetadataTopic, kind: TopicKind, deadline: Instant) -> Self {
        let partitions: Vec<i32> = topic.partitions().iter().map(|partition| partition.id()).collect();
        let mut sample = Self {
            topic: topic.name().to_owned(),
            kind,
            partitions: partitions.len(),
            taken: 0,
            bytes: 0,
            encodings: EncodingsSeen::default(),
            messages: Vec::new(),
            failure: None,
            is_refused: false,
            is_group_refused: false,
        };
        if let Err(error) = sample.read(consumer, &partitions, deadline) {
            sample.is_refused = error.rdkafka_error_code() == Some(RDKafkaErrorCode::TopicAuthorizationFailed);
            sample.failure = Some(error.to_string());
        }
        sample
    }

    /// One topic at a time: the end of a partition is told by its number only.
    fn read(
        &mut self,
        consumer: &BaseConsumer<SourceContext>,
        partitions: &[i32],
        deadline: Instant,
    ) -> Result<(), KafkaError> {
        let mut assignment = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            assignment.add_partition_offset(&self.topic, *partition, Offset::OffsetTail(MESSAGES as i64))?;
        }
        consumer.assign(&assignment)?;
        let mut open: BTreeSet<i32> = partitions.iter().copied().collect();
        let mut taken = vec![(0usize, 0usize); partitions.len()];
        while !open.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.failure =
                    Some(format!("{} of {} partitions were not looked at in time", open.len(), partitions.len()));
                break;
            }
            match consumer.poll(left.min(POLL)) {
                None => {}
                Some(Ok(message)) if message.topic() == self.topic && open.contains(&message.partition()) => {
                    let size = self.look(&message);
                    let count = partitions.iter().position(|partition| *partition == message.partition());
                    let Some(of) = count.and_then(|index| taken.get_mut(index)) else { continue };
                    *of = (of.0 + 1, of.1 + size);
                    if of.0 >= MESSAGES || of.1 >= BYTES {
                        open.remove(&message.partition());
                        self.stop(consumer, message.partition());
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    open.remove(&partition);
                }
                Some(Err(error)) => match error.rdkafka_error_code() {
                    // Reading by hand needs no group, but a worker does.
                    Some(RDKafkaErrorCode::GroupAuthorizationFailed) => self.is_group_refused = true,
                    _ if refused("reading", Wanted::default(), &error).is_some() => return Err(error),
                    _ => tracing::debug!(%error, topic = %self.topic, "a sample; the client tries again"),
                },
            }
        }
        Ok(())
    }

    /// Enough was read of a partition.
    fn stop(&self, consumer: &BaseConsumer<SourceContext>, partition: i32) {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(&self.topic, partition);
        if let Err(error) = consumer.pause(&list) {
            tracing::debug!(%error, topic = %self.topic, partition, "a partition of the sample goes on");
        }
    }

    /// Takes a message down; gives its size. A tombstone shows nothing.
    fn look(&mut self, message: &BorrowedMessage<'_>) -> usize {
        let value = message.payload().unwrap_or_default();
        let size = value.len() + message.key_len();
        self.taken += 1;
        self.bytes += size as u64;
        let Some(signal) = self.kind.signal.otlp().filter(|_| !value.is_empty()) else { return size };
        let seen = glance(signal, value);
        match seen.encoding {
            Some(otlp::Encoding::Proto) => self.encodings.proto += 1,
            Some(otlp::Encoding::Json) => self.encodings.json += 1,
            Some(otlp::Encoding::Auto) | None => self.encodings.other += 1,
        }
        if !seen.traces.is_empty() {
            self.messages.push(Sampled {
                partition: message.partition(),
                offset: message.offset(),
                key: message.key().map(<[u8]>::to_vec),
                traces: seen.traces.into_iter().collect(),
            });
        }
        size
    }

    fn finding(self) -> (TopicFinding, Vec<Sampled>) {
        let is_of_traces = matches!(self.kind.signal, Signal::Spans | Signal::Logs);
        let verdict = is_of_traces.then(|| judge(self.partitions, &self.messages));
        let finding = TopicFinding {
            topic: self.topic,
            kind: self.kind,
            partitions: self.partitions,
            messages: self.taken,
            bytes: self.bytes,
            encodings: self.encodings,
            verdict,
            failure: self.failure,
            is_refused: self.is_refused,
        };
        (finding, self.messages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a worker could not read contradicts the configuration; what was not seen contradicts nothing, and with
    /// `auto` only what is neither does.
    #[test]
    fn encodings_are_compared_with_the_configured_one() {
        let seen = |proto, json, other| EncodingsSeen { proto, json, other };
        assert!(!seen(0, 0, 0).contradict(Encoding::Proto) && !seen(5, 0, 0).contradict(Encoding::Proto));
        assert!(seen(5, 1, 0).contradict(Encoding::Proto) && seen(5, 1, 0).contradict(Encoding::Json));
        assert!(!seen(5, 1, 0).contradict(Encoding::Auto) && seen(5, 1, 1).contradict(Encoding::Auto));
        assert_eq!(seen(0, 2, 1).names(), ["otlp_json", "other"]);
    }
}

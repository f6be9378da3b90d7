//! Why re-keying stops.

use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use crate::source::{Gap, SourceError};

/// What ends the re-keying. What was committed stays, and the next start goes on behind it.
#[derive(Debug, thiserror::Error)]
pub enum RekeyError {
    /// The topics cannot be read.
    #[error(transparent)]
    Source(Box<SourceError>),
    /// No topic of spans or logs is configured.
    #[error("there is nothing to re-key: name topics under topics.spans or topics.logs")]
    Nothing,
    /// The topics that are written have different numbers of partitions.
    #[error(
        "topic {first:?} has {first_partitions} partitions and {second:?} has {second_partitions}, so a trace and its \
         logs would lie under different numbers: give both the same number, or name others under [rekey]"
    )]
    Apart {
        /// The one.
        first: String,
        /// How many it has.
        first_partitions: usize,
        /// The other.
        second: String,
        /// How many it has.
        second_partitions: usize,
    },
    /// A topic that is written does not exist and could not be made.
    #[error(
        "topic {topic:?} does not exist and cannot be created ({reason}): permit it, or create the topic with \
         {partitions} partitions and max.message.bytes as high as that of the topics that are re-keyed"
    )]
    NotCreated {
        /// The topic.
        topic: String,
        /// What the broker says.
        reason: String,
        /// How many partitions it should have.
        partitions: usize,
    },
    /// A tenant that is known by its topic, which is another one afterwards.
    #[error(
        "topic {topic:?} belongs to tenant {tenant:?} by tenant.topics, which its re-keyed records could not tell any \
         more: set tenant.header to the name of a header, which is then written into them"
    )]
    Tenant {
        /// The topic.
        topic: String,
        /// Its tenant.
        tenant: String,
    },
    /// Kafka has deleted records before they were re-keyed.
    #[error(
        "{}: {gap}; set kafka.out_of_range = \"continue\" to go on at offset {}, and tell kafka to keep records longer \
         (retention.ms)",
        .gap.source, .gap.to
    )]
    Gap {
        /// Which.
        gap: Gap,
    },
    /// The group's offset is behind the end of the partition.
    #[error(
        "{partition} ends at {high}, but offsets to {offset} were re-keyed already: the topic was made anew, or has \
         lost records; reset the offsets of group {group:?} for it to go on"
    )]
    Anew {
        /// Topic and partition.
        partition: String,
        /// The committed offset.
        offset: i64,
        /// The offset behind the newest record.
        high: i64,
        /// The consumer group.
        group: String,
    },
    /// A message that the broker does not take.
    #[error("a message of {origin} was not written to topic {topic:?}: {reason}; {remedy}")]
    NotWritten {
        /// The topic that it was to be written to.
        topic: String,
        /// Topic, partition and offset that it came from.
        origin: String,
        /// What the client says.
        reason: String,
        /// What to do about it.
        remedy: &'static str,
    },
}

impl RekeyError {
    pub(super) fn not_written(topic: &str, origin: &str, reason: &KafkaError) -> Self {
        let (topic, origin) = (topic.to_owned(), origin.to_owned());
        Self::NotWritten { topic, origin, reason: reason.to_string(), remedy: remedy(reason) }
    }
}

impl From<SourceError> for RekeyError {
    fn from(error: SourceError) -> Self {
        Self::Source(Box::new(error))
    }
}

fn remedy(reason: &KafkaError) -> &'static str {
    match reason.rdkafka_error_code() {
        Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize) => {
            "raise the topic's max.message.bytes to that of the topic it came from, and start again"
        }
        Some(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed) => {
            "permit writing to the topic (and idempotent writes), and start again"
        }
        Some(RDKafkaErrorCode::InvalidTimestamp) => {
            "let the topic take the timestamps of the one it came from (message.timestamp.*), and start again"
        }
        _ => "start again: it goes on behind what was written",
    }
}

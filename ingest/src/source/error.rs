//! What can go wrong between the broker or a file and the first decoded byte.

use std::path::PathBuf;

use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use tracerag_schemas::SourcePartition;

use super::Signal;
use super::start::Gap;

/// A source that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A `^regex` or an `exclude` that is no regular expression.
    #[error("topic pattern {pattern:?} is not a regular expression: {reason}; correct it under [topics]")]
    TopicPattern {
        /// The pattern.
        pattern: String,
        /// What the parser says.
        reason: String,
    },
    /// A topic that is named for two signals.
    #[error("topic {topic:?} is named for {first} and for {second}; name it once under [topics]")]
    TopicTwice {
        /// The topic.
        topic: String,
        /// The first signal.
        first: Signal,
        /// The other one.
        second: Signal,
    },
    /// The topic of dead letters among those that are read.
    #[error(
        "topic {topic:?} is kafka.dead_letter_topic and cannot be read as {signal} too: every letter would come back; \
         remove it from topics.{signal}.topics"
    )]
    ReadsDeadLetters {
        /// The topic.
        topic: String,
        /// The signal that it is named for.
        signal: Signal,
    },
    /// A topic that re-keying writes among those that are re-keyed.
    #[error(
        "topic {topic:?} is written by re-keying ([rekey]) and cannot be read as {signal} to be re-keyed: remove it \
         from topics.{signal}.topics, or name another topic under [rekey]"
    )]
    ReadsRekeyed {
        /// The topic.
        topic: String,
        /// The signal that it is named for.
        signal: Signal,
    },
    /// An `exclude` beside names only.
    #[error("topics.{signal}.exclude has no effect without a ^regex in topics.{signal}.topics; remove it")]
    UselessExclude {
        /// The signal.
        signal: Signal,
    },
    /// Every list of topics is empty.
    #[error("no topic is named; name at least one under [topics]")]
    NoTopics,
    /// An option that would break exactly-once.
    #[error("kafka.options.\"{name}\" cannot be set, because {why}; remove it")]
    FixedOption {
        /// The setting of librdkafka.
        name: String,
        /// Why it is not the user's to set.
        why: &'static str,
    },
    /// AWS's IAM is to let the client in, and something does not fit that.
    #[error("kafka.aws_msk_iam_region is {region:?}, {detail}")]
    MskIam {
        /// The region.
        region: String,
        /// What does not fit, and what to do.
        detail: String,
    },
    /// The client could not be made.
    #[error("the kafka client refuses its settings: {reason}; correct [kafka]")]
    Client {
        /// What librdkafka says.
        reason: KafkaError,
    },
    /// No broker answered.
    #[error(
        "no kafka broker answers at {servers} ({reason}); check kafka.bootstrap_servers, security.protocol under \
         [kafka.options], and that the broker is up"
    )]
    Unreachable {
        /// The addresses.
        servers: String,
        /// What librdkafka says.
        reason: String,
    },
    /// No broker lets the client in, or the client has nothing to show.
    #[error(
        "cannot log in to kafka at {servers} ({reason}); check mechanism, user and password, keytab or token endpoint: \
         sasl.* under [kafka.options]"
    )]
    Login {
        /// The addresses.
        servers: String,
        /// What librdkafka says.
        reason: String,
    },
    /// Client and broker come to no TLS connection, because one refuses the other's certificate.
    #[error(
        "no tls connection to kafka at {servers} ({reason}); check that ssl.ca.location holds the ca of the brokers, and \
         that ssl.certificate.location and ssl.key.location are a pair that has not expired, signed by a ca that the \
         brokers trust: ssl.* under [kafka.options]"
    )]
    Handshake {
        /// The addresses.
        servers: String,
        /// What librdkafka says.
        reason: String,
    },
    /// The broker refuses what the client wants to do.
    #[error("kafka refuses {action} ({reason}); {remedy}")]
    Refused {
        /// What was to be done.
        action: String,
        /// What the broker says.
        reason: Box<KafkaError>,
        /// The permission that is missing, or what else to look at.
        remedy: String,
    },
    /// Several workers read a topic in which the parts of a trace lie in several partitions.
    #[error(
        "topic {topic:?} is not keyed by trace id ({why}), and other members of group {group:?} read it too, so traces \
         would be cut in pieces; start one worker only, or key the topic: start each worker as `tracerag run --rekey`, or \
         set {remedy}"
    )]
    Scattered {
        /// The topic.
        topic: String,
        /// The evidence.
        why: String,
        /// The consumer group.
        group: String,
        /// What to set in the Collector.
        remedy: &'static str,
    },
    /// Several workers read topics in which a trace and its logs lie under different partition numbers.
    #[error(
        "{why}; other members of group {group:?} read these topics too, so traces would be parted from their logs; \
         start one worker only, or have `tracerag rekey` write topics that fit each other"
    )]
    Apart {
        /// The evidence.
        why: String,
        /// The consumer group.
        group: String,
    },
    /// Records that are wanted were deleted from the topic.
    #[error(
        "{}: {gap}; restore the topic or go on in a new lake, or set kafka.out_of_range = \"continue\" to go on at \
         offset {} and write the gap into dead_letters; and tell kafka to keep records longer (retention.ms)",
        .gap.source, .gap.to
    )]
    Gap {
        /// Which.
        gap: Gap,
    },
    /// The topic ends before what was taken of it, or says of an offset that it holds that it does not.
    #[error(
        "offset {offset} of {source_partition} is out of range, the topic holds {low}..{high}: it was made anew, or \
         has lost records; the lake knows what was taken and will not take it twice: restore the topic, or go on in a \
         new lake"
    )]
    OutOfRange {
        /// The partition.
        source_partition: SourcePartition,
        /// The offset wanted.
        offset: i64,
        /// The oldest offset there is.
        low: i64,
        /// The offset behind the newest one.
        high: i64,
    },
    /// Kafka deleted records while they were read again.
    #[error("kafka deleted records of {source_partition} while they were read again; run the command again")]
    Overtaken {
        /// The partition.
        source_partition: SourcePartition,
    },
    /// `start` was called for partitions that the group did not assign, or not for all of them.
    #[error("the assignment to start does not fit the group's ({detail}); start exactly what was assigned")]
    Assignment {
        /// What does not fit.
        detail: String,
    },
    /// An operation of the client failed.
    #[error("kafka: {action} failed: {reason}")]
    Kafka {
        /// What was to be done.
        action: String,
        /// What librdkafka says.
        reason: KafkaError,
    },
    /// Dead letters that did not reach their topic.
    #[error("{count} dead letters did not reach topic {topic:?}: {reason}; create it, or allow writing to it")]
    DeadLetters {
        /// The topic.
        topic: String,
        /// How many.
        count: u64,
        /// The last reason.
        reason: String,
    },
    /// The thread that watches topics could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// A file that cannot be read.
    #[error("cannot read {path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: std::io::Error,
    },
    /// A file of a kind that is not known.
    #[error(
        "{path} is none of: OTLP/JSON lines, length-delimited OTLP protobuf, flags, CDEvents, heap records; \
         give files as the Collector's file exporter writes them, or as the documentation of the topics says"
    )]
    UnknownKind {
        /// The file.
        path: PathBuf,
    },
    /// A record of a file that is larger than any message may be.
    #[error("{path}: record {offset} is larger than {limit} bytes; split it")]
    RecordTooLarge {
        /// The file.
        path: PathBuf,
        /// The record's number, from 0.
        offset: i64,
        /// Bytes permitted.
        limit: usize,
    },
    /// A file that ends within a record.
    #[error("{path}: the file ends within record {offset}; copy it again")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The record's number, from 0.
        offset: i64,
    },
}

impl SourceError {
    /// Whether brokers that are away, or that have no leader at present, are the reason: asked again later, they may
    /// answer. What a broker refuses stays refused.
    pub fn is_passing(&self) -> bool {
        use RDKafkaErrorCode as Code;
        match self {
            SourceError::Unreachable { .. } => true,
            SourceError::Kafka { reason, .. } => matches!(
                reason.rdkafka_error_code(),
                Some(
                    Code::BrokerTransportFailure
                        | Code::AllBrokersDown
                        // A broker that the client gave up while the question was under way.
                        | Code::BrokerDestroy
                        | Code::DestroyBroker
                        | Code::Outdated
                        | Code::Retry
                        | Code::Resolve
                        | Code::OperationTimedOut
                        | Code::TimedOutQueue
                        | Code::WaitingForCoordinator
                        | Code::RequestTimedOut
                        | Code::NetworkException
                        | Code::BrokerNotAvailable
                        | Code::ReplicaNotAvailable
                        | Code::LeaderNotAvailable
                        // What the client says of a partition that a broker's answer left out; a broker says otherwise.
                        | Code::UnknownPartition
                        | Code::NotLeaderForPartition
                        | Code::FencedLeaderEpoch
                        | Code::UnknownLeaderEpoch
                        // A new leader that does not know yet how far its followers are, and a disk that failed.
                        | Code::OffsetNotAvailable
                        | Code::KafkaStorageError
                        | Code::CoordinatorLoadInProgress
                        | Code::CoordinatorNotAvailable
                        | Code::NotCoordinator
                )
            ),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A broker that does not answer or leaves the cluster, and a partition between two leaders, are waited for; what a
    /// broker refuses, and what it does not know, is not.
    #[test]
    fn brokers_that_are_away_may_come_back() {
        let kafka = |code| SourceError::Kafka { action: "asking".to_owned(), reason: KafkaError::MetadataFetch(code) };
        for code in [
            RDKafkaErrorCode::BrokerTransportFailure,
            RDKafkaErrorCode::DestroyBroker,
            RDKafkaErrorCode::NotLeaderForPartition,
            RDKafkaErrorCode::UnknownPartition,
            RDKafkaErrorCode::OffsetNotAvailable,
        ] {
            assert!(kafka(code).is_passing(), "{code}");
        }
        for code in [RDKafkaErrorCode::UnknownTopicOrPartition, RDKafkaErrorCode::TopicAuthorizationFailed] {
            assert!(!kafka(code).is_passing(), "{code}");
        }
        let (servers, reason) = (String::from("k:9092"), String::from("refused"));
        assert!(SourceError::Unreachable { servers: servers.clone(), reason: reason.clone() }.is_passing());
        assert!(!SourceError::Login { servers, reason }.is_passing());
    }
}

//! What a source brings, and how far it is behind.

use tracerag_schemas::SourcePartition;

use super::MessageBatch;

/// What [`super::KafkaSource::poll`] brings.
#[derive(Debug)]
pub enum Event {
    /// These partitions are this worker's: the group gave them to it, or they follow such ones. Nothing is read of them
    /// until [`super::KafkaSource::start`].
    Assigned(Vec<SourcePartition>),
    /// These partitions go to others. No further record of them comes. The group waits with giving them away until the
    /// next call of [`super::KafkaSource::poll`], so what is being written of them may land before. Where Kafka deletes
    /// what is read next, this comes, too, and [`Event::Assigned`] after it: the partition is begun anew.
    Revoked(Vec<SourcePartition>),
    /// The group has given these partitions to others already, because this worker was silent for longer than its
    /// session: others may be reading them.
    Lost(Vec<SourcePartition>),
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

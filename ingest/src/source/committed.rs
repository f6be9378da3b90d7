//! The group's offsets, for who has no lake to know where it stands.

use rdkafka::consumer::CommitMode;
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tracerag_schemas::SourcePartition;

use super::access::refused;
use super::{Cluster, KafkaSource, SourceError};

impl KafkaSource {
    /// The offset that the group has committed of each partition; `None` where it never has.
    ///
    /// # Errors
    /// When the broker does not answer in time or refuses. An offset that is not known is no offset: the partition
    /// would be begun anew.
    pub fn committed(&self, sources: &[SourcePartition]) -> Result<Vec<(SourcePartition, Option<i64>)>, SourceError> {
        let action = || format!("reading the offsets of group {}", self.probe().group());
        let failed = |reason: KafkaError| {
            refused(&action(), &reason).unwrap_or_else(|| SourceError::Kafka { action: action(), reason })
        };
        if sources.is_empty() {
            return Ok(Vec::new());
        }
        let mut list = TopicPartitionList::with_capacity(sources.len());
        for source in sources {
            list.add_partition(&source.topic, source.partition);
        }
        let found = self.clients.committed(list, Cluster::PATIENCE).map_err(failed)?;
        let committed = |source: &SourcePartition| {
            let answer = found.find_partition(&source.topic, source.partition);
            if let Some(Err(reason)) = answer.as_ref().map(|answer| answer.error()) {
                return Err(failed(reason));
            }
            match answer.map(|answer| answer.offset()) {
                Some(Offset::Offset(offset)) => Ok((source.clone(), Some(offset))),
                _ => Ok((source.clone(), None)),
            }
        };
        sources.iter().map(committed).collect()
    }

    /// Writes the group's offsets and waits until they are written.
    ///
    /// # Errors
    /// When the broker does not take them, as while the group shares its partitions out anew.
    pub fn commit_now(&self, offsets: &[(SourcePartition, i64)]) -> Result<(), SourceError> {
        self.commit_in(CommitMode::Sync, offsets)
    }
}

//! The group's offsets: for who has no lake to know where it stands, and to tell that there was one.

use std::sync::Arc;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tracerag_schemas::SourcePartition;

use super::access::{Wanted, refused};
use super::context::SourceContext;
use super::{Cluster, KafkaSource, SourceError, access, settings};

impl KafkaSource {
    /// The offset that the group has committed of each partition; `None` where it never has.
    ///
    /// # Errors
    /// When the broker does not answer in time or refuses. An offset that is not known is no offset: the partition
    /// would be begun anew.
    pub fn committed(&self, sources: &[SourcePartition]) -> Result<Vec<(SourcePartition, Option<i64>)>, SourceError> {
        committed(self.probe().group(), sources, |list| self.clients.committed(list, Cluster::PATIENCE))
    }

    /// Writes the group's offsets and waits until they are written.
    ///
    /// # Errors
    /// When the broker does not take them, as while the group shares its partitions out anew.
    pub fn commit_now(&self, offsets: &[(SourcePartition, i64)]) -> Result<(), SourceError> {
        self.commit_in(CommitMode::Sync, offsets)
    }
}

impl Cluster {
    /// The first partition of the topics that are read of which the configured group has committed an offset, with that
    /// offset: it has read them before. The group is not joined.
    ///
    /// # Errors
    /// When the broker does not answer in time or refuses.
    pub fn first_committed(&self) -> Result<Option<(SourcePartition, i64)>, SourceError> {
        let metadata = self.metadata()?;
        let mut sources = Vec::new();
        for (topic, _) in self.topics_in(&metadata) {
            let name: Arc<str> = Arc::from(topic.name());
            let source = |number| SourcePartition::new(Arc::clone(self.id()), Arc::clone(&name), number);
            sources.extend(topic.partitions().iter().map(|partition| source(partition.id())));
        }
        sources.sort();
        // The client that asks about the cluster has no group.
        let client: BaseConsumer<SourceContext> = settings::sampler(&self.config)?
            .create_with_context(SourceContext::new(&self.config))
            .map_err(|reason| SourceError::Client { reason })?;
        access::serve(&client);
        let found = committed(self.group(), &sources, |list| client.committed_offsets(list, self.within))?;
        Ok(found.into_iter().find_map(|(source, offset)| Some((source, offset?))))
    }
}

/// The offsets that a client says a group has committed.
fn committed(
    group: &str,
    sources: &[SourcePartition],
    ask: impl FnOnce(TopicPartitionList) -> KafkaResult<TopicPartitionList>,
) -> Result<Vec<(SourcePartition, Option<i64>)>, SourceError> {
    let action = || format!("reading the offsets of group {group}");
    let failed = |reason: KafkaError| {
        refused(&action(), Wanted::group(group), &reason)
            .unwrap_or_else(|| SourceError::Kafka { action: action(), reason })
    };
    if sources.is_empty() {
        return Ok(Vec::new());
    }
    let mut list = TopicPartitionList::with_capacity(sources.len());
    for source in sources {
        list.add_partition(&source.topic, source.partition);
    }
    let found = ask(list).map_err(failed)?;
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

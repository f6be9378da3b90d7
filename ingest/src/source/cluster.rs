//! A Kafka cluster that is asked: it is neither written to nor, but for samples, read, and no group is joined.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::metadata::Metadata;

use super::context::SourceContext;
use super::{KafkaConfig, SourceError, TopicKind, TopicRules, TopicsConfig, access, settings};

/// A client for questions about a cluster. Clones share the client.
#[derive(Clone)]
pub struct Cluster {
    pub(super) client: Arc<BaseConsumer<SourceContext>>,
    pub(super) config: KafkaConfig,
    pub(super) rules: TopicRules,
    /// How long each answer may take.
    pub(super) within: Duration,
    id: Arc<str>,
}

/// A member of the configured group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The name of its client, `client.id`.
    pub client: String,
    /// Where it connects from.
    pub host: String,
    /// How many partitions it has; `None` while the group shares them out.
    pub partitions: Option<usize>,
}

impl Cluster {
    /// How long a worker waits for each answer.
    pub const PATIENCE: Duration = Duration::from_secs(15);

    /// Connects, and finds out which topics there are; each answer may take so long.
    ///
    /// # Errors
    /// When settings are wrong, no broker answers, or none lets the client in.
    pub fn connect(config: &KafkaConfig, topics: &TopicsConfig, within: Duration) -> Result<Self, SourceError> {
        Self::open(config, topics, within).map(|(cluster, _)| cluster)
    }

    pub(super) fn open(
        config: &KafkaConfig,
        topics: &TopicsConfig,
        within: Duration,
    ) -> Result<(Self, Metadata), SourceError> {
        let rules = TopicRules::new(topics, &config.dead_letter_topic)?;
        let client: BaseConsumer<SourceContext> = settings::probe(config)?
            .create_with_context(SourceContext::new(config))
            .map_err(|reason| SourceError::Client { reason })?;
        let metadata = access::metadata(&client, config, within)?;
        let id = match client.client().fetch_cluster_id(within) {
            Some(id) => id,
            None => {
                // A broker that went away just now has an id all the same, and must not be taken for another cluster.
                access::metadata(&client, config, within)?;
                client.client().fetch_cluster_id(within).unwrap_or_else(|| config.bootstrap_servers.clone())
            }
        };
        Ok((Self { client: Arc::new(client), config: config.clone(), rules, within, id: Arc::from(id) }, metadata))
    }

    /// The client, for one question: what it waits for a polling thread to do, it has done. A token that has ended is
    /// replaced by this only.
    pub(super) fn client(&self) -> &BaseConsumer<SourceContext> {
        access::serve(&self.client);
        &self.client
    }

    /// The id of the cluster; the first part of every [`tracerag_schemas::SourcePartition`] of it.
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// The addresses of its brokers, as they are configured.
    pub(super) fn servers(&self) -> &str {
        &self.config.bootstrap_servers
    }

    /// The configured consumer group.
    pub fn group(&self) -> &str {
        &self.config.group_id
    }

    /// What a topic carries; `None` if it is not read.
    pub fn kind(&self, topic: &str) -> Option<TopicKind> {
        self.rules.kind(topic)
    }

    /// How many partitions a topic has, whether it is read or not; `None` if there is no such topic.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub fn partitions(&self, topic: &str) -> Result<Option<usize>, SourceError> {
        let metadata = self.metadata()?;
        Ok(metadata.topics().iter().find(|found| found.name() == topic).map(|found| found.partitions().len()))
    }

    /// The members of the configured group; none if there is no such group.
    ///
    /// # Errors
    /// When the broker does not answer or refuses.
    pub fn members(&self) -> Result<Vec<Member>, SourceError> {
        let group = self.config.group_id.as_str();
        let list = self.client().fetch_group_list(Some(group), self.within).map_err(|reason| SourceError::Kafka {
            action: format!("asking for the members of group {group}"),
            reason,
        })?;
        let members = list.groups().iter().filter(|found| found.name() == group).flat_map(|found| found.members());
        Ok(members
            .map(|member| Member {
                client: member.client_id().to_owned(),
                host: member.client_host().trim_start_matches('/').to_owned(),
                partitions: member.assignment().and_then(assigned),
            })
            .collect())
    }
}

/// How many partitions an assignment of the consumer protocol has: a version, then topics with their partitions.
fn assigned(bytes: &[u8]) -> Option<usize> {
    fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = bytes.split_at_checked(count)?;
        *bytes = rest;
        Some(taken)
    }
    fn number(bytes: &mut &[u8]) -> Option<usize> {
        usize::try_from(i32::from_be_bytes(take(bytes, 4)?.try_into().ok()?)).ok()
    }
    let mut rest = bytes;
    take(&mut rest, 2)?;
    let mut partitions = 0usize;
    for _ in 0..number(&mut rest)? {
        let name = usize::try_from(i16::from_be_bytes(take(&mut rest, 2)?.try_into().ok()?)).ok()?;
        take(&mut rest, name)?;
        let count = number(&mut rest)?;
        take(&mut rest, count.checked_mul(4)?)?;
        partitions += count;
    }
    Some(partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An assignment of three partitions of two topics has three; one that is cut off, or says that it has more than
    /// there are bytes, is not known.
    #[test]
    fn partitions_of_an_assignment_are_counted() {
        let mut bytes = vec![0, 1, 0, 0, 0, 2];
        for (topic, partitions) in [("spans", vec![0i32, 7]), ("logs", vec![1])] {
            bytes.extend((topic.len() as i16).to_be_bytes());
            bytes.extend(topic.as_bytes());
            bytes.extend((partitions.len() as i32).to_be_bytes());
            bytes.extend(partitions.iter().flat_map(|partition| partition.to_be_bytes()));
        }
        let whole = bytes.len();
        bytes.extend([255; 4]);
        assert_eq!(assigned(&bytes), Some(3));
        assert_eq!(assigned(&bytes[..whole - 1]), None);
        assert_eq!(assigned(&[0, 1, 0, 0, 0, 0]), Some(0));
        assert_eq!(assigned(&[0, 1, 127, 255, 255, 255]), None);
        assert_eq!(assigned(&[]), None);
    }
}

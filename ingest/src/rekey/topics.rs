//! The topics that are written: they must exist, with equal numbers of partitions.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::types::RDKafkaErrorCode;

use super::{RekeyConfig, RekeyError};
use crate::source::{Cluster, KafkaConfig, SourceError, TopicsConfig, settings};

/// How long a new topic may take to be known everywhere.
const VISIBLE_WITHIN: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Sees to it that the topics exist, and gives their number of partitions. What is there already stays as it is. Blocks
/// its thread while it looks at the cluster.
///
/// # Errors
/// When the topics have different numbers of partitions, or one is missing and cannot be made.
pub async fn prepare(config: &RekeyConfig, kafka: &KafkaConfig, topics: &TopicsConfig) -> Result<usize, RekeyError> {
    let outputs = config.outputs(topics);
    let (signal, _) = outputs.first().ok_or(RekeyError::Nothing)?;
    let cluster = Cluster::connect(kafka, &config.before(topics, *signal), Cluster::PATIENCE)?;
    let mut found = Vec::with_capacity(outputs.len());
    for (_, topic) in outputs {
        let partitions = cluster.partitions(&topic)?;
        found.push((topic, partitions));
    }
    let partitions = common(&found)?.unwrap_or(usize::from(config.partitions.get()));
    for (topic, _) in found.iter().filter(|(_, there)| there.is_none()) {
        create(kafka, topic, partitions).await?;
        wait_for(&cluster, topic, partitions)?;
    }
    Ok(partitions)
}

/// The number of partitions of the topics that exist.
fn common(topics: &[(String, Option<usize>)]) -> Result<Option<usize>, RekeyError> {
    let mut there = topics.iter().filter_map(|(topic, partitions)| Some((topic, (*partitions)?)));
    let Some((first, first_partitions)) = there.next() else { return Ok(None) };
    match there.find(|(_, partitions)| *partitions != first_partitions) {
        Some((second, second_partitions)) => {
            Err(RekeyError::Apart { first: first.clone(), first_partitions, second: second.clone(), second_partitions })
        }
        None => Ok(Some(first_partitions)),
    }
}

async fn create(kafka: &KafkaConfig, topic: &str, partitions: usize) -> Result<(), RekeyError> {
    let failed = |reason: String| RekeyError::NotCreated { topic: topic.to_owned(), reason, partitions };
    // The client that makes topics has no thread that would ask for its token.
    if !kafka.aws_msk_iam_region.is_empty() {
        return Err(failed("a login by aws's iam makes no topics".to_owned()));
    }
    let admin: AdminClient<DefaultClientContext> =
        settings::admin(kafka)?.create().map_err(|reason| SourceError::Client { reason })?;
    // -1: as many replicas as the broker gives a topic unless told otherwise.
    let number = i32::try_from(partitions).unwrap_or(i32::MAX);
    // A part is never larger than the message that it was taken from, but has a key and a header more; the topic takes
    // whatever the producer takes. And time is that of the original.
    let max_bytes = settings::MAX_WRITTEN_BYTES.to_string();
    let new = NewTopic::new(topic, number, TopicReplication::Fixed(-1))
        .set("max.message.bytes", &max_bytes)
        .set("message.timestamp.type", "CreateTime");
    let options = AdminOptions::new().operation_timeout(Some(VISIBLE_WITHIN));
    let results = admin.create_topics([&new], &options).await.map_err(|reason| failed(reason.to_string()))?;
    for (_, code) in results.into_iter().filter_map(Result::err) {
        // Another process was quicker.
        if code != RDKafkaErrorCode::TopicAlreadyExists {
            return Err(failed(code.to_string()));
        }
    }
    tracing::info!(topic, partitions, "created the topic for re-keyed messages");
    Ok(())
}

fn wait_for(cluster: &Cluster, topic: &str, partitions: usize) -> Result<(), RekeyError> {
    let deadline = Instant::now() + VISIBLE_WITHIN;
    while cluster.partitions(topic)? != Some(partitions) {
        if Instant::now() >= deadline {
            let reason = format!("it was created, but is not seen with {partitions} partitions");
            return Err(RekeyError::NotCreated { topic: topic.to_owned(), reason, partitions });
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A topic that is missing gets as many partitions as the one that is there; two that differ are refused with their
    /// numbers, for traces and their logs would lie apart.
    #[test]
    fn numbers_of_partitions_are_equal() {
        let topics = |spans, logs| common(&[("spans".to_owned(), spans), ("logs".to_owned(), logs)]);
        assert_eq!(topics(None, None).unwrap(), None);
        assert_eq!(topics(Some(3), None).unwrap(), Some(3));
        assert_eq!(topics(None, Some(5)).unwrap(), Some(5));
        assert_eq!(topics(Some(4), Some(4)).unwrap(), Some(4));
        let error = topics(Some(3), Some(5)).unwrap_err().to_string();
        for part in ["\"spans\" has 3", "\"logs\" has 5", "[rekey]"] {
            assert!(error.contains(part), "no {part} in {error}");
        }
    }
}

//! What the Kafka cluster says: how far its partitions have grown, and which topics it does not have yet.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::metadata::MetadataTopic;
use tracerag_index::Head;
use tracerag_ingest::source::TopicRules;
use tracerag_schemas::SourcePartition;

use crate::config::Config;

/// How long a broker may take for each answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The answers of the cluster.
pub(super) struct Broker {
    /// Offset behind the newest record of each partition of the head, in its order; `None` where it is not known.
    pub ends: Vec<Option<i64>>,
    /// Configured topics that do not exist yet; or in words why that is not known.
    pub waiting_for: Result<Vec<String>, String>,
}

/// Asks the configured cluster. A cluster that cannot be asked is an answer, too.
pub(super) async fn ask(config: &Config, head: &Head) -> Broker {
    let sources: Vec<SourcePartition> = head.sources.iter().map(|state| state.source.clone()).collect();
    let unknown = |reason: String| Broker { ends: vec![None; head.sources.len()], waiting_for: Err(reason) };
    if let Err(error) = config.require(&["kafka", "topics"]) {
        return unknown(error.to_string());
    }
    let config = config.clone();
    match tokio::task::spawn_blocking(move || answers(&config, &sources)).await {
        Ok(Ok(broker)) => broker,
        Ok(Err(reason)) => unknown(reason),
        Err(error) => unknown(error.to_string()),
    }
}

fn answers(config: &Config, sources: &[SourcePartition]) -> Result<Broker, String> {
    let rules = TopicRules::new(&config.topics, &config.kafka.dead_letter_topic).map_err(|error| error.to_string())?;
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &config.kafka.bootstrap_servers);
    for (key, value) in &config.kafka.options {
        client.set(key, value);
    }
    let consumer: BaseConsumer = client.create().map_err(|error| error.to_string())?;
    let metadata = consumer
        .fetch_metadata(None, ANSWER_WITHIN)
        .map_err(|error| format!("no broker answers at {} ({error})", config.kafka.bootstrap_servers))?;
    let missing = rules.resolve(metadata.topics().iter().map(MetadataTopic::name)).missing;
    let cluster = consumer.client().fetch_cluster_id(ANSWER_WITHIN);
    // A lake may have taken files and other clusters' topics of the same name, too.
    let cluster = cluster.unwrap_or_else(|| config.kafka.bootstrap_servers.clone());
    let end = |source: &SourcePartition| match *source.cluster == *cluster {
        true => consumer.fetch_watermarks(&source.topic, source.partition, ANSWER_WITHIN).ok().map(|(_, high)| high),
        false => None,
    };
    Ok(Broker { ends: sources.iter().map(end).collect(), waiting_for: Ok(missing) })
}

//! What the Kafka cluster says: how far its partitions have grown, and which topics it does not have yet.

use std::time::Duration;

use tracerag_index::Head;
use tracerag_ingest::source::{Cluster, SourceError};
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
        Ok(Err(error)) => unknown(error.to_string()),
        Err(error) => unknown(error.to_string()),
    }
}

fn answers(config: &Config, sources: &[SourcePartition]) -> Result<Broker, SourceError> {
    let cluster = Cluster::connect(&config.kafka, &config.topics, ANSWER_WITHIN)?;
    // A lake may have taken files and other clusters' topics of the same name, too.
    let end = |source: &SourcePartition| match source.cluster == *cluster.id() {
        true => cluster.watermarks(source).ok().map(|(_, high)| high),
        false => None,
    };
    Ok(Broker { ends: sources.iter().map(end).collect(), waiting_for: Ok(cluster.missing()?) })
}

//! A topic that tracerag writes events to, one by one: at least once.

use std::time::Duration;

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::context::SourceContext;
use super::{KafkaConfig, SourceError, settings};

/// How long a full queue of the producer is waited for.
const QUEUE_WITHIN: Duration = Duration::from_secs(5);
/// How long one event may take to be in the topic before it is given back, in ms.
const WITHIN_MS: &str = "30000";

/// Writes events to a topic, with an idempotent producer.
pub struct EventTopic {
    topic: String,
    producer: FutureProducer<SourceContext>,
}

impl EventTopic {
    /// The producer for a topic.
    ///
    /// # Errors
    /// When the client refuses its settings.
    pub fn open(config: &KafkaConfig, topic: &str) -> Result<Self, SourceError> {
        let producer = settings::producer(config)?
            .set("message.timeout.ms", WITHIN_MS)
            .create_with_context(SourceContext::new(config))
            .map_err(|reason| SourceError::Client { reason })?;
        Ok(Self { topic: topic.to_owned(), producer })
    }

    /// Writes one event, and waits until the brokers have it. `content_type` says what the value is.
    ///
    /// # Errors
    /// When it is not in the topic after half a minute, or will never be. It may be there all the same.
    pub async fn send(&self, key: &str, content_type: &str, value: &str) -> Result<(), SourceError> {
        let header = Header { key: "content-type", value: Some(content_type) };
        let headers = OwnedHeaders::new_with_capacity(1).insert(header);
        let record = FutureRecord::to(&self.topic).key(key).payload(value).headers(headers);
        match self.producer.send(record, QUEUE_WITHIN).await {
            Ok(_) => Ok(()),
            Err((reason, _)) => {
                Err(SourceError::Kafka { action: format!("writing an event to topic {:?}", self.topic), reason })
            }
        }
    }
}

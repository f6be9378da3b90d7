//! A real broker: topics, and messages into them.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::types::RDKafkaErrorCode;

use crate::Outcome;

/// How long the broker may take for what is still on its way.
const FLUSH: Duration = Duration::from_secs(60);

/// Makes a topic with that many partitions and one replica.
///
/// # Errors
/// When the broker does not answer or has such a topic.
pub fn create_topic(broker: &str, topic: &str, partitions: i32) -> Outcome<()> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", broker).create()?;
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for result in runtime.block_on(admin.create_topics([&new], &AdminOptions::new()))? {
        result.map_err(|(topic, code)| format!("topic {topic} cannot be created: {code}"))?;
    }
    Ok(())
}

/// Sends messages to one topic.
pub struct Producer {
    inner: BaseProducer,
    topic: String,
}

impl Producer {
    /// A producer; it connects when the first message is sent.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn new(broker: &str, topic: &str) -> Outcome<Self> {
        let inner = ClientConfig::new()
            .set("bootstrap.servers", broker)
            .set("message.max.bytes", "10000000")
            .set("queue.buffering.max.kbytes", "262144")
            .create()?;
        Ok(Self { inner, topic: topic.to_owned() })
    }

    /// Sends a message, and waits while the queue is full. Without a timestamp, in ms since 1970, it gets the clock's.
    ///
    /// # Errors
    /// When the message is refused.
    pub fn send(&self, key: Option<&str>, payload: &[u8], timestamp_ms: Option<i64>) -> Outcome<()> {
        let mut record: BaseRecord<'_, str, [u8]> = BaseRecord::to(&self.topic);
        record.key = key;
        record.payload = Some(payload);
        record.timestamp = timestamp_ms;
        while let Err((error, back)) = self.inner.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            self.inner.poll(Duration::from_millis(20));
            record = back;
        }
        self.inner.poll(Duration::ZERO);
        Ok(())
    }

    /// Waits until the broker has everything.
    ///
    /// # Errors
    /// When that takes longer than a minute.
    pub fn flush(&self) -> Outcome<()> {
        Ok(self.inner.flush(FLUSH)?)
    }
}

//! The topic of dead letters: at least once, beside the table.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;

use super::{KafkaConfig, SourceError, settings};
use crate::dead_letter::DeadLetter;

/// How long a full queue of the producer is waited for.
const QUEUE_WITHIN: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Deliveries {
    failed: AtomicU64,
    last_reason: Mutex<String>,
}

impl Deliveries {
    fn fail(&self, reason: &KafkaError) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        *self.last_reason.lock().unwrap_or_else(PoisonError::into_inner) = reason.to_string();
    }
}

struct Context(Arc<Deliveries>);

impl ClientContext for Context {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(target: "librdkafka", error = %error, "dead letters: {reason}");
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): Self::DeliveryOpaque) {
        if let Err((reason, _)) = result {
            self.0.fail(reason);
        }
    }
}

/// Writes dead letters to a topic, with an idempotent producer.
pub struct DeadLetterTopic {
    topic: String,
    deliveries: Arc<Deliveries>,
    producer: ThreadedProducer<Context>,
}

impl DeadLetterTopic {
    /// The producer for `kafka.dead_letter_topic`; `None` if that is empty.
    ///
    /// # Errors
    /// When the client refuses its settings.
    pub fn open(config: &KafkaConfig) -> Result<Option<Self>, SourceError> {
        if config.dead_letter_topic.is_empty() {
            return Ok(None);
        }
        let deliveries = Arc::new(Deliveries::default());
        let producer = settings::producer(config)?
            .create_with_context(Context(Arc::clone(&deliveries)))
            .map_err(|reason| SourceError::Client { reason })?;
        Ok(Some(Self { topic: config.dead_letter_topic.clone(), deliveries, producer }))
    }

    /// Hands a letter to the producer; waits while its queue is full.
    ///
    /// # Errors
    /// When the producer does not take it.
    pub fn send(&self, letter: &DeadLetter<'_>) -> Result<(), SourceError> {
        let headers = letter.topic_headers();
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&self.topic).headers(headers);
        record.key = letter.key;
        record.payload = letter.value;
        let mut waited = Duration::ZERO;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) if waited < QUEUE_WITHIN => {
                    let pause = Duration::from_millis(50);
                    std::thread::sleep(pause);
                    waited += pause;
                    record = back;
                }
                Err((reason, _)) => {
                    return Err(SourceError::DeadLetters {
                        topic: self.topic.clone(),
                        count: 1,
                        reason: reason.to_string(),
                    });
                }
            }
        }
    }

    /// Waits until everything sent is in the topic. Call it before the epoch is recorded: after that nobody
    /// reads the bad records again.
    ///
    /// # Errors
    /// When something sent since the last call did not arrive, or not in time.
    pub fn flush(&self, within: Duration) -> Result<(), SourceError> {
        let flushed = self.producer.flush(within);
        let failed = self.deliveries.failed.swap(0, Ordering::Relaxed);
        let (count, reason) = match flushed {
            Ok(()) if failed == 0 => return Ok(()),
            Ok(()) => (failed, self.deliveries.last_reason.lock().unwrap_or_else(PoisonError::into_inner).clone()),
            Err(reason) => (failed + self.producer.in_flight_count().max(0) as u64, reason.to_string()),
        };
        Err(SourceError::DeadLetters { topic: self.topic.clone(), count, reason })
    }
}

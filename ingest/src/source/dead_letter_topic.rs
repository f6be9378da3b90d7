//! The topic of dead letters: at least once, beside the table.
//!
//! A letter that the topic will never take (too large for it, no permission, no such topic) is counted and left to
//! the table: to stop for it would stop its partition for ever.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;

use super::msk::Msk;
use super::{KafkaConfig, SourceError, settings};
use crate::dead_letter::DeadLetter;

/// How long a full queue of the producer is waited for.
const QUEUE_WITHIN: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Deliveries {
    /// May arrive if they are sent again.
    failed: AtomicU64,
    /// Thrown away because the producer has failed for good.
    abandoned: AtomicU64,
    last_reason: Mutex<String>,
}

impl Deliveries {
    /// Takes down that a letter did not arrive.
    fn fail(&self, topic: &str, reason: &KafkaError) {
        let code = reason.rdkafka_error_code();
        if let Some(why) = code.and_then(refusal) {
            unsent(topic, 1, why, reason);
            return;
        }
        let count = if code.is_some_and(is_abandoned) { &self.abandoned } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
        *self.last_reason.lock().unwrap_or_else(PoisonError::into_inner) = reason.to_string();
    }
}

/// Why a letter will never be taken, in one word; `None` if another try may help.
fn refusal(code: RDKafkaErrorCode) -> Option<&'static str> {
    match code {
        RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize => Some("too_large"),
        RDKafkaErrorCode::TopicAuthorizationFailed
        | RDKafkaErrorCode::ClusterAuthorizationFailed
        | RDKafkaErrorCode::TransactionalIdAuthorizationFailed => Some("unauthorized"),
        RDKafkaErrorCode::UnknownTopic
        | RDKafkaErrorCode::UnknownTopicOrPartition
        | RDKafkaErrorCode::UnknownPartition
        | RDKafkaErrorCode::InvalidTopic => Some("unknown_topic"),
        RDKafkaErrorCode::PolicyViolation | RDKafkaErrorCode::InvalidRecord | RDKafkaErrorCode::InvalidTimestamp => {
            Some("refused")
        }
        _ => None,
    }
}

/// After a fatal error of an idempotent producer its messages end so, whatever that error was.
fn is_abandoned(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::Fatal | RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight)
}

fn unsent(topic: &str, count: u64, why: &'static str, reason: &dyn std::fmt::Display) {
    metrics::counter!("tracerag_dead_letters_unsent_total", "reason" => why).increment(count);
    tracing::warn!(
        topic,
        count,
        "the topic of dead letters refuses letters ({reason}), which stand in the table only: raise its \
         max.message.bytes, allow writing to it, or create it"
    );
}

struct Context {
    topic: String,
    deliveries: Arc<Deliveries>,
    msk: Msk,
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.msk.token()
    }

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
            self.deliveries.fail(&self.topic, reason);
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
            .create_with_context(Context {
                topic: config.dead_letter_topic.clone(),
                deliveries: Arc::clone(&deliveries),
                msk: Msk::new(config),
            })
            .map_err(|reason| SourceError::Client { reason })?;
        Ok(Some(Self { topic: config.dead_letter_topic.clone(), deliveries, producer }))
    }

    /// Hands a letter to the producer; waits while its queue is full. A letter that the topic will never take is
    /// counted and left out.
    ///
    /// # Errors
    /// When the producer does not take it now.
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
                    let code = reason.rdkafka_error_code();
                    let why = code
                        .and_then(refusal)
                        .or_else(|| self.fatal_refusal().filter(|_| code.is_some_and(is_abandoned)));
                    let Some(why) = why else {
                        return Err(SourceError::DeadLetters {
                            topic: self.topic.clone(),
                            count: 1,
                            reason: reason.to_string(),
                        });
                    };
                    unsent(&self.topic, 1, why, &reason);
                    return Ok(());
                }
            }
        }
    }

    /// Waits until everything sent is in the topic or was refused. Call it before the epoch is recorded: after
    /// that nobody reads the bad records again.
    ///
    /// # Errors
    /// When something sent since the last call did not arrive but may yet, or did not in time.
    pub fn flush(&self, within: Duration) -> Result<(), SourceError> {
        let flushed = self.producer.flush(within);
        let mut failed = self.deliveries.failed.swap(0, Ordering::Relaxed);
        let abandoned = self.deliveries.abandoned.swap(0, Ordering::Relaxed);
        let last_reason = || self.deliveries.last_reason.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match self.fatal_refusal() {
            Some(why) if abandoned > 0 => unsent(&self.topic, abandoned, why, &last_reason()),
            _ => failed += abandoned,
        }
        let (count, reason) = match flushed {
            Ok(()) if failed == 0 => return Ok(()),
            Ok(()) => (failed, last_reason()),
            Err(reason) => (failed + self.producer.in_flight_count().max(0) as u64, reason.to_string()),
        };
        Err(SourceError::DeadLetters { topic: self.topic.clone(), count, reason })
    }

    /// Why the producer has failed for good, if that is a refusal: another producer would fail alike.
    fn fatal_refusal(&self) -> Option<&'static str> {
        self.producer.client().fatal_error().and_then(|(code, _)| refusal(code))
    }
}

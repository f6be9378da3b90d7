//! The producer of re-keyed messages, and what became of those that were sent.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;

use super::flights::Flight;
use super::{ORIGIN_HEADER, RekeyError};
use crate::source::msk::Msk;
use crate::source::{KafkaConfig, SourceError, settings};

/// One message to send.
pub(super) struct Outgoing<'a> {
    /// Where it comes from, for people.
    pub(super) origin: &'a str,
    pub(super) topic: &'a str,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    /// In milliseconds since the epoch; `None`: the client's clock.
    pub(super) timestamp: Option<i64>,
    pub(super) headers: OwnedHeaders,
}

/// The first message that was refused.
type Refusal = Arc<Mutex<Option<RekeyError>>>;

struct Context {
    refusal: Refusal,
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
        tracing::warn!(target: "librdkafka", error = %error, "re-keyed messages: {reason}");
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Arc<Flight>;

    fn delivery(&self, result: &DeliveryResult<'_>, flight: Self::DeliveryOpaque) {
        if let Err((reason, message)) = result {
            let origin = message.headers().and_then(|headers| {
                let origin = headers.iter().find(|header| header.key == ORIGIN_HEADER)?.value?;
                Some(String::from_utf8_lossy(origin).into_owned())
            });
            let mut first = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
            let origin = origin.unwrap_or_default();
            first.get_or_insert_with(|| RekeyError::not_written(message.topic(), &origin, reason));
        }
        // After the refusal is known: whoever sees that the flight has landed sees it, too.
        drop(flight);
    }
}

/// Sends messages, as many at once as its queue takes.
pub(super) struct Outbox {
    producer: ThreadedProducer<Context>,
    refusal: Refusal,
}

impl Outbox {
    /// `queue_bytes` bounds the values of messages that wait to be sent or answered.
    ///
    /// # Errors
    /// When the client refuses its settings.
    pub(super) fn open(kafka: &KafkaConfig, queue_bytes: usize) -> Result<Self, RekeyError> {
        let refusal = Refusal::default();
        let producer = settings::rekeying(kafka, queue_bytes)?
            .create_with_context(Context { refusal: Arc::clone(&refusal), msk: Msk::new(kafka) })
            .map_err(|reason| SourceError::Client { reason })?;
        Ok(Self { producer, refusal })
    }

    /// Takes a message, or does not while the queue is full: `false`.
    ///
    /// # Errors
    /// When the message will never be taken.
    pub(super) fn send(&self, message: Outgoing<'_>, flight: &Arc<Flight>) -> Result<bool, RekeyError> {
        let mut record: BaseRecord<'_, [u8], [u8], Arc<Flight>> =
            BaseRecord::with_opaque_to(message.topic, Arc::clone(flight)).headers(message.headers);
        record.key = message.key;
        record.payload = message.value;
        record.timestamp = message.timestamp;
        match self.producer.send(record) {
            Ok(()) => Ok(true),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Ok(false),
            Err((reason, _)) => Err(RekeyError::not_written(message.topic, message.origin, &reason)),
        }
    }

    /// That the broker has refused nothing so far.
    ///
    /// # Errors
    /// The first refusal.
    pub(super) fn check(&self) -> Result<(), RekeyError> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }

    /// Waits until everything that was sent has an answer, at most so long.
    pub(super) fn flush(&self, within: Duration) -> Result<(), KafkaError> {
        self.producer.flush(within)
    }
}

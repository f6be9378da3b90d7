//! The producer of changes: what others report of flags, of configuration and of deployments goes into the topics that
//! the workers read.

use std::fmt;

use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::future_producer::{DeliveryFuture, FutureProducer, FutureRecord};
use rdkafka::types::RDKafkaErrorCode;

use super::context::SourceContext;
use super::{KafkaConfig, Signal, SourceError, TopicsConfig, settings};
use crate::tenant::{TenantConfig, Tenants};

/// Why a change is not in its topic.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// No topic of a signal would give its records to a tenant.
    #[error(
        "no topic of topics.{signal}.topics gives its records to tenant {tenant:?}: name one by its full name, and give \
         it to the tenant under tenant.topics, or set tenant.header"
    )]
    NoTopic {
        /// The signal.
        signal: Signal,
        /// The tenant.
        tenant: String,
    },
    /// Kafka has not taken it.
    #[error(
        "kafka at {servers} has not taken a record of topic {topic:?} ({reason}); see whether kafka.bootstrap_servers is \
         right, the topic is there, and this client may write to it"
    )]
    NotWritten {
        /// The brokers.
        servers: String,
        /// The topic.
        topic: String,
        /// What librdkafka says.
        reason: Box<KafkaError>,
    },
    /// It is larger than this client or the topic permits: sent again it is, too.
    #[error(
        "a record of {bytes} bytes is larger than topic {topic:?} or this client takes; report less at once, or raise \
         message.max.bytes in kafka.options and max.message.bytes of the topic"
    )]
    TooLarge {
        /// The topic.
        topic: String,
        /// Bytes of the change, without its headers.
        bytes: usize,
    },
    /// The producer has ended.
    #[error("the producer of changes has ended before topic {topic:?} had its record; send it again")]
    Ended {
        /// The topic.
        topic: String,
    },
}

/// A record for one of the topics of changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Whose topic it goes to: that of flags (and configuration), or of deployments.
    pub signal: Signal,
    /// What keeps changes of one thing in one partition: the key of a flag, the name of a service.
    pub key: Option<String>,
    /// The JSON.
    pub value: Vec<u8>,
    /// Headers of the record besides that of the tenant: attributes of a CloudEvent.
    pub headers: Vec<(String, String)>,
}

/// Where a change is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// Writes changes, idempotently, and waits until all replicas that are in sync have them.
pub struct ChangePublisher {
    producer: FutureProducer<SourceContext>,
    servers: String,
    topics: TopicsConfig,
    tenants: Tenants,
}

impl fmt::Debug for ChangePublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangePublisher").field("servers", &self.servers).finish_non_exhaustive()
    }
}

impl ChangePublisher {
    /// A producer for a cluster. It connects when it first has something to write.
    ///
    /// # Errors
    /// When the client refuses its settings, or a tenant of the configuration is not usable.
    pub fn open(kafka: &KafkaConfig, topics: &TopicsConfig, tenant: &TenantConfig) -> Result<Self, crate::IngestError> {
        let tenants = Tenants::new(tenant)?;
        let producer = settings::publisher(kafka)?
            .create_with_context(SourceContext::new(kafka))
            .map_err(|reason| SourceError::Client { reason })?;
        Ok(Self { producer, servers: kafka.bootstrap_servers.clone(), topics: topics.clone(), tenants })
    }

    /// Writes changes of a tenant, and gives where each is once all are acknowledged. Of several that are written
    /// together some may be there after an error; to write all again then changes nothing that is in effect.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn publish(&self, tenant: &str, changes: &[Change]) -> Result<Vec<Written>, PublishError> {
        // A tenant without a topic is found before anything is written.
        let topics = changes.iter().map(|change| self.topic(change.signal, tenant));
        let topics = topics.collect::<Result<Vec<_>, _>>()?;
        let mut deliveries = Vec::with_capacity(changes.len());
        for (change, topic) in changes.iter().zip(topics) {
            let bytes = change.value.len();
            let delivery = self.send(change, &topic, tenant);
            let delivery = delivery.map_err(|reason| self.not_written(&topic, bytes, reason))?;
            deliveries.push((topic, bytes, delivery));
        }
        let mut written = Vec::with_capacity(deliveries.len());
        for (topic, bytes, delivery) in deliveries {
            match delivery.await {
                Ok(Ok(delivered)) => {
                    written.push(Written { topic, partition: delivered.partition, offset: delivered.offset });
                }
                Ok(Err((reason, _))) => return Err(self.not_written(&topic, bytes, reason)),
                Err(_) => return Err(PublishError::Ended { topic }),
            }
        }
        Ok(written)
    }

    fn send(&self, change: &Change, topic: &str, tenant: &str) -> Result<DeliveryFuture, KafkaError> {
        let mut headers = OwnedHeaders::new();
        let tenants = self.tenants.header();
        // Whose a record is says this program alone.
        let is_tenant = |key: &str| tenants.is_some_and(|name| name.eq_ignore_ascii_case(key));
        for (key, value) in change.headers.iter().filter(|(key, _)| !is_tenant(key)) {
            headers = headers.insert(Header { key, value: Some(value.as_bytes()) });
        }
        if let Some(key) = tenants {
            headers = headers.insert(Header { key, value: Some(tenant.as_bytes()) });
        }
        let mut record: FutureRecord<'_, [u8], [u8]> =
            FutureRecord::to(topic).payload(change.value.as_slice()).headers(headers);
        record.key = change.key.as_deref().map(str::as_bytes);
        self.producer.send_result(record).map_err(|(reason, _)| reason)
    }

    fn not_written(&self, topic: &str, bytes: usize, reason: KafkaError) -> PublishError {
        let topic = topic.to_owned();
        match reason.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => PublishError::TooLarge { topic, bytes },
            _ => PublishError::NotWritten { servers: self.servers.clone(), topic, reason: Box::new(reason) },
        }
    }

    /// The topic whose records are the tenant's: one that is given to it, else one that is given to nobody, if a header
    /// can name the tenant or it is the default.
    fn topic(&self, signal: Signal, tenant: &str) -> Result<String, PublishError> {
        let names: Vec<String> = self.topics.names(signal).into_iter().filter(|name| !name.starts_with('^')).collect();
        let own = names.iter().find(|name| self.tenants.named_for(name) == Some(tenant));
        let is_shared = |name: &&String| {
            self.tenants.named_for(name).is_none()
                && (self.tenants.header().is_some() || *self.tenants.of(name, std::iter::empty()) == *tenant)
        };
        let topic = own.or_else(|| names.iter().find(is_shared));
        topic.cloned().ok_or_else(|| PublishError::NoTopic { signal, tenant: tenant.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn publisher(topics: &str, tenant: &str) -> ChangePublisher {
        let topics: TopicsConfig = serde_json::from_str(topics).unwrap();
        let tenant: TenantConfig = serde_json::from_str(tenant).unwrap();
        ChangePublisher::open(&KafkaConfig::default(), &topics, &tenant).unwrap()
    }

    /// A record that is larger than the client takes is refused at once, whether a broker is there or not. Guarantees that
    /// nobody is told to send again what can never be written.
    #[test]
    fn a_record_can_be_too_large() {
        let publisher = publisher("{}", "{}");
        let value = vec![b' '; 2 << 20];
        let change = Change { signal: Signal::Flags, key: None, value, headers: vec![] };
        let refused = publisher.send(&change, "flags", "default").err().unwrap();
        let error = publisher.not_written("flags", change.value.len(), refused);
        assert!(matches!(error, PublishError::TooLarge { .. }), "{error}");
    }

    /// A topic of the tenant's own comes first, then one that is nobody's. Without a header that could name the tenant a
    /// shared topic takes records of the default tenant only, and a pattern is no topic. Guarantees that a change never
    /// becomes another tenant's.
    #[test]
    fn each_tenant_has_its_topic() {
        let topics = r#"{"flags": {"topics": ["^flags-.*", "shared", "of-acme"]}}"#;
        let plain = publisher(topics, r#"{"topics": {"of-acme": "acme"}}"#);
        assert_eq!(plain.topic(Signal::Flags, "acme").unwrap(), "of-acme");
        assert_eq!(plain.topic(Signal::Flags, "default").unwrap(), "shared");
        let error = plain.topic(Signal::Flags, "other").unwrap_err().to_string();
        assert!(error.contains("tenant.header") && error.contains("topics.flags.topics"), "{error}");
        assert_eq!(plain.topic(Signal::Deployments, "default").unwrap(), "deployments");
        let named = publisher(topics, r#"{"header": "tenant", "topics": {"of-acme": "acme"}}"#);
        assert_eq!(named.topic(Signal::Flags, "other").unwrap(), "shared");
        let patterns = publisher(r#"{"flags": {"topics": ["^flags-.*"]}}"#, "{}");
        assert!(patterns.topic(Signal::Flags, "default").is_err());
    }
}

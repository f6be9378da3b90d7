//! What a server does with changes that are reported to it: signatures, deliveries that come twice, Kafka.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::HeaderMap;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;
use tracerag_ingest::redact::Redactor;
use tracerag_ingest::source::{ChangePublisher, KafkaConfig, PublishError, TopicsConfig};
use tracerag_ingest::tenant::TenantConfig;
use tracerag_query::server::{ChangeIntake, ChangeRefusal, Delivery, Taken};

use super::deliveries::{Begun, Deliveries};
use super::{Misread, Reported, header, of_platform, own, signature};
use crate::config::{Config, Platform, WebhookSection};

/// Bytes of the id of a delivery.
const MOST_ID_BYTES: usize = 256;

/// Writes changes into the topics of a configuration.
pub(crate) struct Intake {
    webhooks: BTreeMap<String, WebhookSection>,
    redactor: Arc<Redactor>,
    kafka: KafkaConfig,
    topics: TopicsConfig,
    tenant: TenantConfig,
    /// What of the configuration Kafka needs and could not be resolved.
    unresolved: Option<String>,
    /// Made for the first change: most servers never see one.
    publisher: OnceCell<ChangePublisher>,
    deliveries: Deliveries,
}

impl std::fmt::Debug for Intake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Intake").field("webhooks", &self.webhooks).field("kafka", &self.kafka).finish_non_exhaustive()
    }
}

impl Intake {
    /// The intake of a configuration. Kafka is looked for when the first change comes.
    pub(crate) fn new(config: &Config, redactor: Arc<Redactor>) -> Self {
        Self {
            webhooks: config.serve.webhooks.clone(),
            redactor,
            kafka: config.kafka.clone(),
            topics: config.topics.clone(),
            tenant: config.tenant.clone(),
            unresolved: config.require(&["kafka", "topics"]).err().map(|error| error.to_string()),
            publisher: OnceCell::new(),
            deliveries: Deliveries::default(),
        }
    }

    /// What a body says, by the format that is named or that it shows itself, and the platform that it is of.
    fn read(&self, delivery: &Delivery) -> Result<(Reported, Option<Platform>), ChangeRefusal> {
        let from = delivery.from.as_deref();
        let entry = from.and_then(|name| self.webhooks.get_key_value(name));
        let platform = match (entry, from) {
            (Some((name, webhook)), _) => webhook.platform(name),
            (None, Some(name)) => Some(Platform::by_name(name).ok_or_else(|| self.no_such(name))?),
            (None, None) => None,
        };
        let unnamed = WebhookSection::default();
        let webhook = entry.map_or(&unnamed, |(_, webhook)| webhook);
        let reported = match platform {
            Some(platform) => {
                let reported = of_platform(platform, webhook, &delivery.headers, &delivery.body)?;
                if let Reported::Changes(changes) = &reported {
                    changes.iter().try_for_each(|change| own::accepted(change, &self.redactor))?;
                }
                reported
            }
            None => own::read(&delivery.headers, &delivery.body, &self.redactor)?,
        };
        Ok((reported, platform))
    }

    fn no_such(&self, name: &str) -> ChangeRefusal {
        let known = Platform::ALL.map(Platform::name).join(", ");
        ChangeRefusal::Unknown(format!(
            "{name:?} is no webhook of serve.webhooks and no format; without from the body tells what it is, and there \
             are {known}"
        ))
    }

    async fn write(&self, tenant: &str, delivery: &Delivery) -> Result<Taken, ChangeRefusal> {
        let (reported, platform) = self.read(delivery)?;
        let id = id(platform, &delivery.headers, &delivery.body)?;
        let changes = match reported {
            Reported::Changes(changes) => changes,
            Reported::Nothing(why) => return Ok(Taken { records: 0, repeated: false, passed_over: Some(why) }),
        };
        let under_way = match id.map(|id| self.deliveries.begin(format!("{tenant}\0{id}"))) {
            None => None,
            Some(Begun::New(under_way)) => Some(under_way),
            Some(Begun::UnderWay) => return Err(ChangeRefusal::UnderWay),
            Some(Begun::Done) => return Ok(Taken { records: 0, repeated: true, passed_over: None }),
        };
        if let Some(unresolved) = &self.unresolved {
            return Err(unavailable(unresolved));
        }
        let open = || std::future::ready(ChangePublisher::open(&self.kafka, &self.topics, &self.tenant));
        let publisher = self.publisher.get_or_try_init(open).await.map_err(|error| unavailable(&error))?;
        let written = publisher.publish(tenant, &changes).await.map_err(not_written)?;
        if let Some(under_way) = under_way {
            under_way.done();
        }
        for record in &written {
            tracing::info!(
                topic = record.topic,
                partition = record.partition,
                offset = record.offset,
                "change written"
            );
        }
        Ok(Taken { records: written.len(), repeated: false, passed_over: None })
    }
}

impl ChangeIntake for Intake {
    fn webhook(&self, name: &str) -> Option<Arc<str>> {
        let webhook = self.webhooks.get(name)?;
        let tenant = if webhook.tenant.is_empty() { &self.tenant.default } else { &webhook.tenant };
        Some(Arc::from(tenant.as_str()))
    }

    fn verify(&self, name: &str, delivery: &Delivery) -> Result<(), ChangeRefusal> {
        let refused = |expected: &str| {
            Err(ChangeRefusal::Forged(format!(
                "this is not signed by the webhook {name:?}, which sends {expected}; compare its secret with that of \
                 serve.webhooks.{name}"
            )))
        };
        let webhook = self.webhooks.get(name);
        let Some((webhook, platform)) = webhook.and_then(|webhook| Some((webhook, webhook.platform(name)?))) else {
            return refused("nothing that is known here");
        };
        match signature::holds(platform, webhook, &delivery.headers, &delivery.body) {
            true => Ok(()),
            false => refused(&signature::expected(platform, webhook)),
        }
    }

    fn take<'a>(&'a self, tenant: &'a str, delivery: &'a Delivery) -> BoxFuture<'a, Result<Taken, ChangeRefusal>> {
        self.write(tenant, delivery).boxed()
    }
}

/// Why nothing can be written, for the log: it may name brokers and topics, which are nobody else's business.
fn unavailable(error: &dyn std::fmt::Display) -> ChangeRefusal {
    let number = hex::encode(rand::random::<[u8; 8]>());
    tracing::warn!(%error, number, "changes could not be written");
    ChangeRefusal::Unavailable(format!(
        "the changes cannot be written now; send them again, and if that does not help ask whoever runs the server to look \
         for {number} in its log"
    ))
}

fn not_written(error: PublishError) -> ChangeRefusal {
    match error {
        PublishError::TooLarge { bytes, .. } => ChangeRefusal::TooLarge(format!(
            "a change of {bytes} bytes is larger than what can be written; report less of it at once"
        )),
        error => unavailable(&error),
    }
}

impl From<Misread> for ChangeRefusal {
    fn from(misread: Misread) -> Self {
        match misread {
            Misread::NotJson(_) => Self::Malformed(misread.to_string()),
            Misread::Unknown(_) => Self::Unknown(misread.to_string()),
        }
    }
}

/// What tells a delivery from every other one. It is what a header names, of the same body: two pipelines may count alike,
/// and no signature is over a header; else the id that the platform gives, or that of a CDEvent. Plain changes have none: a
/// flag may go back to what it was.
fn id(platform: Option<Platform>, headers: &HeaderMap, body: &[u8]) -> Result<Option<String>, ChangeRefusal> {
    let digest = || hex::encode(Sha256::digest(body));
    if let Some(key) = headers.get("idempotency-key") {
        let is_key = |key: &&str| (1..=MOST_ID_BYTES).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
        return match key.to_str().ok().filter(is_key) {
            Some(key) => Ok(Some(format!("key\0{key}\0{}", digest()))),
            None => Err(ChangeRefusal::Malformed(format!(
                "the Idempotency-Key has 1 to {MOST_ID_BYTES} bytes of ASCII, without spaces"
            ))),
        };
    }
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let member = |pointer: &str| value.pointer(pointer).map(Value::to_string);
    let id = match platform {
        Some(Platform::GitHub) => header(headers, "x-github-delivery").map(|id| format!("{id}\0{}", digest())),
        Some(Platform::LaunchDarkly) => member("/_id"),
        Some(Platform::Unleash) => member("/id"),
        // Its notifications have no id, but times within.
        Some(Platform::ArgoCd) => Some(digest()),
        // Of a bare CDEvent, or of the CloudEvent around it.
        None => ["/context", ""]
            .iter()
            .find_map(|at| Some(format!("{}\0{}", member(&format!("{at}/source"))?, member(&format!("{at}/id"))?))),
    };
    let platform = platform.map_or("event", Platform::name);
    Ok(id.filter(|id| id.len() <= MOST_ID_BYTES).map(|id| format!("{platform}\0{id}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use axum::http::HeaderValue;

    use super::*;

    /// The number of a delivery comes in a header, which GitHub does not sign: under the number of another delivery a body
    /// is one of its own, and the same body again is the same. Guarantees that nobody keeps a change from being written by
    /// sending another one under its number.
    #[test]
    fn a_delivery_of_github_is_its_body_too() {
        let mut headers = HeaderMap::new();
        headers.insert("x-github-delivery", HeaderValue::from_static("72d3162e-cc78-11e3-81ab-4c9367dc0958"));
        let id = |body: &str| id(Some(Platform::GitHub), &headers, body.as_bytes()).unwrap().unwrap();
        assert_eq!(id("{\"a\": 1}"), id("{\"a\": 1}"));
        assert_ne!(id("{\"a\": 1}"), id("{\"a\": 2}"));
    }

    /// A key is what the description of the interface says; anything else is refused, not passed over.
    #[test]
    fn keys_are_what_the_description_says() {
        let id = |key: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("idempotency-key", HeaderValue::from_bytes(key.as_bytes()).unwrap());
            id(None, &headers, b"{}")
        };
        for key in ["1", "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", &"x".repeat(MOST_ID_BYTES)] {
            assert!(id(key).unwrap().is_some(), "{key}");
        }
        for key in ["", "a b", "\u{e9}", &"x".repeat(MOST_ID_BYTES + 1)] {
            assert!(matches!(id(key), Err(ChangeRefusal::Malformed(_))), "{key}");
        }
    }
}

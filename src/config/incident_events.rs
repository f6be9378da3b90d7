//! `[incident_events]`: who is told what of incidents.

use serde::Deserialize;
use tracerag_ingest::source::{Signal, TopicsConfig};
use url::Url;

use super::{ConfigError, Span};

/// What is told of an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// It was seen for the first time.
    New,
    /// It was seen again after a fix.
    Regressed,
    /// It is seen far more often than before.
    Spiking,
    /// It was not seen for long.
    Quiet,
}

impl EventKind {
    /// Its name in the configuration and in events.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Regressed => "regressed",
            Self::Spiking => "spiking",
            Self::Quiet => "quiet",
        }
    }
}

/// `[incident_events]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IncidentEventsSection {
    /// The topic that events are written to; empty: none.
    pub topic: String,
    /// Addresses that events are sent to.
    pub webhooks: Vec<Webhook>,
    /// Events of a tenant in a minute; what is beyond them comes in one event that names them all.
    pub per_minute: u32,
    /// What counts as spiking.
    pub spike: SpikeRule,
    /// How long an incident is not seen until it is quiet.
    pub quiet_after: Span,
}

impl Default for IncidentEventsSection {
    fn default() -> Self {
        Self {
            topic: String::new(),
            webhooks: vec![],
            per_minute: 30,
            spike: SpikeRule::default(),
            quiet_after: Span::seconds(86_400),
        }
    }
}

/// A receiver of events. Its `Debug` form shows no more of the address than its host: the path may hold a secret.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where events are posted.
    pub url: String,
    /// The environment variable with the secret that signs them.
    pub secret_env: String,
    /// Which kinds; empty: all.
    #[serde(default)]
    pub kinds: Vec<EventKind>,
    /// Of which tenants; empty: all.
    #[serde(default)]
    pub tenants: Vec<String>,
}

impl Webhook {
    /// The host that events go to, which may be shown.
    pub(crate) fn host(&self) -> String {
        let url = Url::parse(&self.url).ok();
        url.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_else(|| String::from("?"))
    }
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook")
            .field("host", &self.host())
            .field("secret_env", &self.secret_env)
            .field("kinds", &self.kinds)
            .field("tenants", &self.tenants)
            .finish()
    }
}

/// When an incident is spiking.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpikeRule {
    /// The time in which failures are counted.
    pub window: Span,
    /// The time before it that they are compared with.
    pub history: Span,
    /// Failures in the window at least.
    pub least: u64,
    /// Chance of so many failures, if nothing had changed, below which they are a spike.
    pub chance: f64,
}

impl Default for SpikeRule {
    fn default() -> Self {
        Self { window: Span::seconds(300), history: Span::seconds(86_400), least: 20, chance: 1e-6 }
    }
}

impl IncidentEventsSection {
    /// Whether anybody is told.
    pub(crate) fn is_on(&self) -> bool {
        !self.topic.is_empty() || !self.webhooks.is_empty()
    }

    /// That the values make sense together.
    ///
    /// # Errors
    /// The first that does not.
    pub(super) fn check(&self, topics: &TopicsConfig) -> Result<(), ConfigError> {
        let refuse = |message: String| Err(ConfigError::Together(message));
        if !self.topic.is_empty()
            && let Some(signal) = Signal::ALL.into_iter().find(|signal| topics.names(*signal).contains(&self.topic))
        {
            return refuse(format!(
                "{:?} is incident_events.topic and is read as {signal}, too: every event would come back; name another",
                self.topic
            ));
        }
        for (number, webhook) in self.webhooks.iter().enumerate() {
            let is_address = Url::parse(&webhook.url)
                .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some());
            // The address is not shown: it may hold a secret.
            if !is_address {
                return refuse(format!(
                    "the url of number {} of incident_events.webhooks is no address of HTTP; write e.g. \
                     https://example.com/hook",
                    number + 1
                ));
            }
            if webhook.secret_env.is_empty() {
                return refuse(format!(
                    "number {} of incident_events.webhooks has an empty secret_env; name the environment variable with its \
                     secret",
                    number + 1
                ));
            }
            if self.webhooks.iter().take(number).any(|other| other.url == webhook.url) {
                return refuse(format!(
                    "number {} of incident_events.webhooks has the url of another; give each receiver one entry",
                    number + 1
                ));
            }
        }
        if self.per_minute == 0 {
            return refuse(String::from("incident_events.per_minute is 0, so nothing would ever be told; raise it"));
        }
        let spike = &self.spike;
        if spike.window.nanos() < Span::seconds(60).nanos() || spike.history.nanos() / 6 < spike.window.nanos() {
            return refuse(String::from(
                "incident_events.spike: window is a minute at least, and history six windows; change one of them",
            ));
        }
        if spike.least < 10 {
            return refuse(String::from("incident_events.spike.least is below 10, too few to tell anything; raise it"));
        }
        if !(spike.chance > 0.0 && spike.chance <= 0.01) {
            return refuse(String::from("incident_events.spike.chance is above 0 and 0.01 at most; change it"));
        }
        if self.quiet_after.nanos() < spike.history.nanos() {
            return refuse(String::from(
                "incident_events.quiet_after is shorter than incident_events.spike.history; raise it or lower that",
            ));
        }
        Ok(())
    }
}

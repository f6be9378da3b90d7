//! `[serve.webhooks.NAME]`: platforms that report changes and cannot show a token of this server.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use tracerag_ingest::tenant::is_usable;

use super::ConfigError;

/// Whose format a webhook has, and whose way to prove where it is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// LaunchDarkly: entries of its audit log.
    LaunchDarkly,
    /// Unleash: its events.
    Unleash,
    /// GitHub: statuses of deployments.
    GitHub,
    /// Argo CD's notifications: an application.
    ArgoCd,
}

impl Platform {
    /// Every platform.
    pub const ALL: [Self; 4] = [Self::LaunchDarkly, Self::Unleash, Self::GitHub, Self::ArgoCd];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::LaunchDarkly => "launchdarkly",
            Self::Unleash => "unleash",
            Self::GitHub => "github",
            Self::ArgoCd => "argocd",
        }
    }

    /// The platform of a name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|platform| platform.name() == name)
    }
}

/// One webhook. Its `Debug` form never shows the secret.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookSection {
    /// The platform; absent: that of the webhook's name.
    pub platform: Option<Platform>,
    /// What the platform signs with, or shows.
    pub secret: String,
    /// The header in which Unleash or Argo CD shows the secret; empty: `Authorization`.
    pub header: String,
    /// Whose changes these are; empty: `tenant.default`.
    pub tenant: String,
    /// The environment of what names none.
    pub environment: String,
    /// Services by what the platform calls them: a repository (`shop/payments`), an application, a project.
    pub services: BTreeMap<String, String>,
    /// Whether the revision that Argo CD syncs is the commit that the service is built from.
    pub revision_is_commit: bool,
}

impl fmt::Debug for WebhookSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookSection")
            .field("platform", &self.platform)
            .field("secret", &if self.secret.is_empty() { "unset" } else { "set" })
            .field("header", &self.header)
            .field("tenant", &self.tenant)
            .field("environment", &self.environment)
            .field("services", &self.services)
            .finish_non_exhaustive()
    }
}

impl WebhookSection {
    /// Its platform, by the key or by the webhook's name.
    pub fn platform(&self, name: &str) -> Option<Platform> {
        self.platform.or_else(|| Platform::by_name(name))
    }

    /// What is in the service's name in evidence, by the platform's.
    pub fn service<'a>(&'a self, name: &'a str) -> &'a str {
        self.services.get(name).map_or(name, String::as_str)
    }

    /// That it can be verified, and is of a tenant that there can be.
    pub(super) fn check(&self, name: &str) -> Result<(), ConfigError> {
        let refuse = |message: String| Err(ConfigError::Together(message));
        if self.platform(name).is_none() {
            let known = Platform::ALL.map(Platform::name).join(", ");
            return refuse(format!("serve.webhooks.{name}.platform is missing; there are {known}"));
        }
        if self.secret.is_empty() {
            return refuse(format!(
                "serve.webhooks.{name}.secret is empty, so anybody could report changes; make one with \
                 `openssl rand -hex 32` and give it to the platform, too"
            ));
        }
        if !self.tenant.is_empty() && !is_usable(&self.tenant) {
            return refuse(format!(
                "serve.webhooks.{name}.tenant is no name of a tenant: it has 128 bytes at most, more than spaces, and no \
                 control characters; change it, or leave it out for tenant.default"
            ));
        }
        Ok(())
    }
}

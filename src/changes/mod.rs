//! What others report of flags, configuration and deployments, as records of the topics that the workers read.
//!
//! - **In:** a body with its headers: changes, flagd configurations and CDEvents as the topics have them ([`own`]), or
//!   the webhook of a platform; or the options of `tracerag publish`.
//! - **Out:** records ([`Change`]), each of which a worker's decoder has taken; or what is wrong ([`Misread`]).
//!
//! Reading is a function of its input. [`intake`] adds to it what a server needs: signatures, deliveries that come
//! twice, and Kafka.

mod argocd;
mod deliveries;
pub(crate) mod event;
mod github;
pub(crate) mod intake;
mod launchdarkly;
pub(crate) mod lockfiles;
pub(crate) mod own;
mod signature;
mod unleash;

use axum::http::HeaderMap;
use serde_json::{Map, Value};
use tracerag_ingest::source::Change;

use crate::config::{Platform, WebhookSection};

/// What a body says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reported {
    /// Changes; never none.
    Changes(Vec<Change>),
    /// Nothing about flags or builds, and why.
    Nothing(String),
}

/// Why a body was not read. The texts name members and what must stand there, never what does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misread {
    /// No JSON.
    #[error("the body is not JSON ({0}); send one JSON object, or a list of them")]
    NotJson(String),
    /// Not in the form that it should have.
    #[error("{0}")]
    Unknown(String),
}

impl Misread {
    /// A member of a platform's body that is missing or of another type.
    fn member(platform: Platform, member: &str) -> Self {
        let platform = platform.name();
        Self::Unknown(format!("the body is not what {platform} sends: {member} is missing or no such value"))
    }
}

/// Reads what a platform sends.
fn of_platform(
    platform: Platform,
    webhook: &WebhookSection,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Reported, Misread> {
    let value: Value = serde_json::from_slice(body).map_err(|error| Misread::NotJson(error.to_string()))?;
    let Value::Object(object) = value else {
        return Err(Misread::Unknown(format!("the body is not what {} sends: no object", platform.name())));
    };
    match platform {
        Platform::LaunchDarkly => launchdarkly::read(&object, webhook),
        Platform::Unleash => unleash::read(&object, webhook),
        Platform::GitHub => github::read(headers, &object, webhook),
        Platform::ArgoCd => argocd::read(&object, webhook),
    }
}

/// A header's text.
fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// A text below a path of members that is not empty.
fn text<'o>(object: &'o Map<String, Value>, path: &[&str]) -> Option<&'o str> {
    below(object, path)?.as_str().filter(|text| !text.is_empty())
}

/// A value below a path of members.
fn below<'o>(object: &'o Map<String, Value>, path: &[&str]) -> Option<&'o Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(object.get(*first)?, |value, member| value.get(*member))
}

/// An owned text, if it is not empty.
fn non_empty(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;

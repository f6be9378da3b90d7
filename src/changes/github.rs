//! GitHub's webhook of deployments: a deployment runs once one of its statuses says that it succeeded.

use axum::http::HeaderMap;
use serde_json::{Map, Value};

use super::event::Deployment;
use super::{Misread, Reported, header, non_empty, text};
use crate::config::{Platform, WebhookSection};

/// What a tag begins with in a full ref.
const TAG: &str = "refs/tags/";

/// Reads an event; its kind stands in a header.
pub(super) fn read(
    headers: &HeaderMap,
    event: &Map<String, Value>,
    webhook: &WebhookSection,
) -> Result<Reported, Misread> {
    let missing = |member| Misread::member(Platform::GitHub, member);
    let kind = header(headers, "x-github-event").ok_or_else(|| missing("the header X-GitHub-Event"))?;
    if kind != "deployment_status" {
        return Ok(Reported::Nothing(format!("the event {kind} does not say that a deployment has ended")));
    }
    let state = text(event, &["deployment_status", "state"]).ok_or_else(|| missing("deployment_status.state"))?;
    if state != "success" {
        return Ok(Reported::Nothing(format!("the deployment is in state {state}; it counts from success on")));
    }
    let repository = text(event, &["repository", "full_name"]).ok_or_else(|| missing("repository.full_name"))?;
    let name = text(event, &["repository", "name"]).unwrap_or(repository);
    let commit = text(event, &["deployment", "sha"]).ok_or_else(|| missing("deployment.sha"))?;
    // Who makes a deployment may say more than GitHub knows.
    let said = |member: &str| text(event, &["deployment", "payload", member]).map(str::to_owned);
    let mapped = webhook.services.get(repository).cloned();
    let time = text(event, &["deployment_status", "updated_at"])
        .or_else(|| text(event, &["deployment_status", "created_at"]))
        .ok_or_else(|| missing("deployment_status.updated_at"))?;
    let environment = text(event, &["deployment", "environment"]);
    let tag = text(event, &["deployment", "ref"]).and_then(tag);
    let id = event.get("deployment_status").and_then(|status| status.get("id")).map(Value::to_string);
    let deployment = Deployment {
        id: id.ok_or_else(|| missing("deployment_status.id"))?,
        source: text(event, &["repository", "html_url"]).unwrap_or(repository).to_owned(),
        time: time.to_owned(),
        service: said("service.name").or(mapped).unwrap_or_else(|| name.to_owned()),
        environment: environment.map(str::to_owned).or_else(|| non_empty(&webhook.environment)),
        artifact: said("artifact"),
        version: said("service.version").or_else(|| tag.map(str::to_owned)),
        commit: Some(commit.to_owned()),
        repository: text(event, &["repository", "html_url"]).map(str::to_owned),
        build_number: said("build_number"),
        ..Deployment::default()
    };
    Ok(Reported::Changes(vec![deployment.change()]))
}

/// The tag that a ref names. GitHub gives a ref as whoever made the deployment did, mostly without what tells a tag from a
/// branch: such a name is a tag if it reads as a version.
fn tag(name: &str) -> Option<&str> {
    name.strip_prefix(TAG).or_else(|| Some(name).filter(|name| is_version(name)))
}

/// `1.9.0`, `v1.9.0`, `1.9.0-rc.1`; not `1.9`, which may well be a branch.
fn is_version(name: &str) -> bool {
    let numbers = name.strip_prefix('v').unwrap_or(name).split(['-', '+']).next().unwrap_or_default();
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    numbers.split('.').count() == 3 && numbers.split('.').all(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Refs as deployments have them: whole, and short. Guarantees that a tag is found either way, and that a branch is
    /// none.
    #[test]
    fn a_tag_is_told_from_a_branch() {
        for (name, expected) in [
            ("refs/tags/1.9.0", Some("1.9.0")),
            ("refs/tags/nightly", Some("nightly")),
            ("1.9.0", Some("1.9.0")),
            ("v1.9.0-rc.1", Some("v1.9.0-rc.1")),
        ] {
            assert_eq!(tag(name), expected, "{name}");
        }
        for name in ["refs/heads/1.9.0", "master", "1.9", "1.9.x", "v1", "release/1.9.0", "f95f852bd8fca8fcc58a9a2d"] {
            assert_eq!(tag(name), None, "{name}");
        }
    }
}

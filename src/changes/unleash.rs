//! Unleash's webhook: one of its events, as its addon sends them without a template of one's own.

use serde_json::{Map, Value};

use super::event::FlagChange;
use super::{Misread, Reported, non_empty, text};
use crate::config::{Platform, WebhookSection};

/// Reads an event.
pub(super) fn read(event: &Map<String, Value>, webhook: &WebhookSection) -> Result<Reported, Misread> {
    let missing = |member| Misread::member(Platform::Unleash, member);
    let kind = text(event, &["type"]).ok_or_else(|| missing("type"))?;
    let state = match kind {
        "feature-environment-enabled" => Some(("enabled", "true")),
        "feature-environment-disabled" => Some(("disabled", "false")),
        "feature-archived" | "feature-deleted" => None,
        _ => {
            return Ok(Reported::Nothing(format!(
                "{kind} neither turns a flag on or off nor takes it away, so no variant holds for everybody"
            )));
        }
    };
    let key = text(event, &["featureName"]).ok_or_else(|| missing("featureName"))?;
    let project = text(event, &["project"]);
    let change = FlagChange {
        time: text(event, &["createdAt"]).ok_or_else(|| missing("createdAt"))?.to_owned(),
        key: key.to_owned(),
        variant: state.map(|(variant, _)| variant.to_owned()),
        value: state.map(|(_, value)| value.to_owned()),
        service: project.and_then(|project| webhook.services.get(project)).cloned(),
        environment: text(event, &["environment"]).map(str::to_owned).or_else(|| non_empty(&webhook.environment)),
        provider: Some("unleash".to_owned()),
        set_id: project.map(str::to_owned),
        ..FlagChange::default()
    };
    Ok(Reported::Changes(vec![change.change()]))
}

//! Unleash's webhook: one of its events, as its addon sends them without a template of one's own.
//!
//! A flag is on or off in an environment. To whom it is given there, by strategies and variants, is configuration beside
//! it: an event about one of them says neither whether the flag is on nor what other strategies there are.

use serde_json::{Map, Value};

use super::event::{ConfigChange, FlagChange, object};
use super::{Misread, Reported, below, non_empty, text};
use crate::config::{Platform, WebhookSection};

fn missing(member: &str) -> Misread {
    Misread::member(Platform::Unleash, member)
}

/// Reads an event.
pub(super) fn read(event: &Map<String, Value>, webhook: &WebhookSection) -> Result<Reported, Misread> {
    let kind = text(event, &["type"]).ok_or_else(|| missing("type"))?;
    let state = match kind {
        "feature-environment-enabled" => Some(("enabled", "true")),
        // What comes back from the archive is off in all environments.
        "feature-environment-disabled" | "feature-revived" => Some(("disabled", "false")),
        "feature-archived" | "feature-deleted" => None,
        "feature-strategy-add" | "feature-strategy-update" => {
            let strategy = event.get("data").ok_or_else(|| missing("data"))?;
            return given(event, webhook, &part(strategy, "data.id")?, Some(shape(strategy)));
        }
        "feature-strategy-remove" => {
            let strategy = event.get("preData").ok_or_else(|| missing("preData"))?;
            return given(event, webhook, &part(strategy, "preData.id")?, None);
        }
        "feature-variants-updated" | "feature-environment-variants-updated" => {
            let variants = below(event, &["data", "variants"]).ok_or_else(|| missing("data.variants"))?;
            return given(event, webhook, "variants", weights(variants));
        }
        _ => {
            return Ok(Reported::Nothing(format!(
                "{kind} neither turns a flag on or off nor takes it away, and says nothing of its strategies and variants"
            )));
        }
    };
    let key = text(event, &["featureName"]).ok_or_else(|| missing("featureName"))?;
    let change = FlagChange {
        time: text(event, &["createdAt"]).ok_or_else(|| missing("createdAt"))?.to_owned(),
        key: key.to_owned(),
        variant: state.map(|(variant, _)| variant.to_owned()),
        value: state.map(|(_, value)| value.to_owned()),
        service: service(event, webhook),
        environment: environment(event, webhook),
        provider: Some("unleash".to_owned()),
        set_id: text(event, &["project"]).map(str::to_owned),
        ..FlagChange::default()
    };
    Ok(Reported::Changes(vec![change.change()]))
}

/// A part of how a flag is given out: a key of configuration below that of the flag. Without a value it is gone.
fn given(
    event: &Map<String, Value>,
    webhook: &WebhookSection,
    part: &str,
    value: Option<Value>,
) -> Result<Reported, Misread> {
    let key = text(event, &["featureName"]).ok_or_else(|| missing("featureName"))?;
    let change = ConfigChange {
        time: text(event, &["createdAt"]).ok_or_else(|| missing("createdAt"))?.to_owned(),
        key: format!("{key}.{part}"),
        value: value.map(|value| value.to_string()),
        service: service(event, webhook),
        environment: environment(event, webhook),
        ..ConfigChange::default()
    };
    Ok(Reported::Changes(vec![change.change()]))
}

fn service(event: &Map<String, Value>, webhook: &WebhookSection) -> Option<String> {
    text(event, &["project"]).and_then(|project| webhook.services.get(project)).cloned()
}

fn environment(event: &Map<String, Value>, webhook: &WebhookSection) -> Option<String> {
    text(event, &["environment"]).map(str::to_owned).or_else(|| non_empty(&webhook.environment))
}

/// The key of a strategy: a flag may have several of one name.
fn part(strategy: &Value, member: &str) -> Result<String, Misread> {
    let id = strategy.get("id").and_then(Value::as_str).ok_or_else(|| missing(member))?;
    Ok(format!("strategies.{id}"))
}

/// What a strategy is, without what its constraints and parameters compare with: these may be people.
fn shape(strategy: &Value) -> Value {
    let of = |member: &str| strategy.get(member).cloned();
    let many = |member: &str| {
        let many = strategy.get(member).and_then(Value::as_array).map_or(0, Vec::len);
        (many > 0).then(|| Value::from(many))
    };
    Value::Object(object([
        ("name", of("name")),
        ("rollout", strategy.pointer("/parameters/rollout").cloned()),
        ("disabled", of("disabled").filter(|disabled| disabled.as_bool() == Some(true))),
        ("constraints", many("constraints")),
        ("segments", many("segments")),
        ("variants", strategy.get("variants").and_then(weights)),
    ]))
}

/// Weights, of 1,000, by variant; none where there is no variant.
fn weights(variants: &Value) -> Option<Value> {
    let weight = |variant: &Value| Some((variant.get("name")?.as_str()?.to_owned(), variant.get("weight")?.clone()));
    let weights: Map<String, Value> = variants.as_array()?.iter().filter_map(weight).collect();
    (!weights.is_empty()).then_some(Value::Object(weights))
}

//! LaunchDarkly's webhook: an entry of its audit log, with the flag as it is now.
//!
//! Each environment that an entry names has a record of what its flag serves to everybody who meets no rule: the
//! variation of the fallthrough while it is on, that for "off" otherwise.

use serde_json::{Map, Value};
use tracerag_schemas::time::rfc3339;

use super::event::FlagChange;
use super::own::MOST_CHANGES;
use super::{Misread, Reported, below, non_empty, text};
use crate::config::{Platform, WebhookSection};

const NAME: &str = "launchdarkly";
/// Bytes of all records of an entry: each environment repeats what its variation has.
const MOST_BYTES: usize = 8 << 20;
/// The action that takes a flag away from all environments.
const DELETED: &str = "deleteFlag";

/// A flag in an environment, as `proj/PROJECT:env/ENVIRONMENT:flag/KEY;TAGS`.
struct Resource<'r> {
    project: &'r str,
    /// `*` stands for all.
    environment: &'r str,
    key: &'r str,
}

impl<'r> Resource<'r> {
    fn parse(resource: &'r str) -> Option<Self> {
        let (project, rest) = resource.strip_prefix("proj/")?.split_once(":env/")?;
        let (environment, key) = rest.split_once(":flag/")?;
        let tagless = |name: &'r str| name.split(';').next().unwrap_or(name);
        Some(Self { project: tagless(project), environment: tagless(environment), key: tagless(key) })
    }
}

/// Reads an entry.
pub(super) fn read(entry: &Map<String, Value>, webhook: &WebhookSection) -> Result<Reported, Misread> {
    let missing = |member| Misread::member(Platform::LaunchDarkly, member);
    let kind = text(entry, &["kind"]).ok_or_else(|| missing("kind"))?;
    if kind != "flag" {
        return Ok(Reported::Nothing(format!("an entry about a {kind} says nothing about a flag")));
    }
    let time = below(entry, &["date"]).and_then(Value::as_i64).and_then(|ms| ms.checked_mul(1_000_000));
    let time = time.map(rfc3339).ok_or_else(|| missing("date"))?;
    let accesses = below(entry, &["accesses"]).and_then(Value::as_array).ok_or_else(|| missing("accesses"))?;
    let flag = below(entry, &["currentVersion"]).and_then(Value::as_object);
    let action = |access: &Value| access.get("action").and_then(Value::as_str) == Some(DELETED);
    // An archived flag is served to nobody: the application's own default holds, as for one that is deleted.
    let is_archived = flag.and_then(|flag| flag.get("archived")).and_then(Value::as_bool).unwrap_or_default();
    let is_gone = is_archived || accesses.iter().any(action);
    let mut resources: Vec<&str> =
        accesses.iter().filter_map(|access| access.get("resource").and_then(Value::as_str)).collect();
    resources.sort_unstable();
    resources.dedup();
    let mut changes = Vec::new();
    let mut bytes = 0;
    for resource in resources.into_iter().filter_map(Resource::parse) {
        let change = FlagChange {
            time: time.clone(),
            key: resource.key.to_owned(),
            service: webhook.services.get(resource.project).cloned(),
            provider: Some(NAME.to_owned()),
            set_id: non_empty(resource.project),
            ..FlagChange::default()
        };
        if is_gone {
            changes.push(FlagChange { environment: named(resource.environment, webhook), ..change }.change());
            continue;
        }
        let Some(environments) = flag.and_then(|flag| below(flag, &["environments"])).and_then(Value::as_object) else {
            continue;
        };
        let is_meant = |name: &str| resource.environment == "*" || resource.environment == name;
        for (name, served) in environments.iter().filter(|(name, _)| is_meant(name)) {
            let served = Served::of(flag, served);
            let change = FlagChange {
                environment: named(name, webhook),
                variant: served.variant,
                value: served.value,
                reason: Some(served.reason.to_owned()),
                version: served.version,
                ..change.clone()
            };
            let change = change.change();
            bytes += change.value.len();
            if changes.len() == MOST_CHANGES || bytes > MOST_BYTES {
                return Err(Misread::Unknown(format!(
                    "the entry gives more than {MOST_CHANGES} records, or {MOST_BYTES} bytes of them; report its flags one by one"
                )));
            }
            changes.push(change);
        }
    }
    match changes.is_empty() {
        true => Ok(Reported::Nothing("the entry names no environment whose flag it shows".to_owned())),
        false => Ok(Reported::Changes(changes)),
    }
}

/// The environment; `*` is that of the configuration, or all.
fn named(environment: &str, webhook: &WebhookSection) -> Option<String> {
    if environment == "*" { non_empty(&webhook.environment) } else { non_empty(environment) }
}

/// What an environment serves to everybody who meets no rule.
#[derive(Debug, Default)]
struct Served {
    variant: Option<String>,
    value: Option<String>,
    reason: &'static str,
    version: Option<String>,
}

impl Served {
    fn of(flag: Option<&Map<String, Value>>, environment: &Value) -> Self {
        let is_on = environment.get("on").and_then(Value::as_bool).unwrap_or_default();
        let has_rules = ["rules", "targets", "contextTargets", "prerequisites"]
            .iter()
            .any(|member| environment.get(*member).and_then(Value::as_array).is_some_and(|rules| !rules.is_empty()));
        let reason = match (is_on, has_rules) {
            (false, _) => "disabled",
            (true, true) => "default",
            (true, false) => "static",
        };
        let version = environment.get("version").and_then(Value::as_i64).map(|version| version.to_string());
        let served = Self { reason, version, ..Self::default() };
        let fallthrough = environment.get("fallthrough");
        let index = match is_on {
            true => fallthrough.and_then(|fallthrough| fallthrough.get("variation")),
            false => environment.get("offVariation"),
        };
        if let Some(variation) = index.and_then(Value::as_u64).and_then(|index| variation(flag, index)) {
            let (variant, value) = variation;
            return Self { variant: Some(variant), value, ..served };
        }
        // A share of requests each: there is no one variant, and the weights (of 100,000) say what there is.
        let weights = fallthrough.filter(|_| is_on).and_then(|fallthrough| fallthrough.get("rollout"));
        let weights = weights.and_then(|rollout| rollout.get("variations")).and_then(Value::as_array);
        let share = |weight: &Value| {
            let (name, _) = variation(flag, weight.get("variation")?.as_u64()?)?;
            Some((name, weight.get("weight")?.clone()))
        };
        let shares: Option<Map<String, Value>> = weights.map(|weights| weights.iter().filter_map(share).collect());
        match shares {
            Some(shares) => Self { value: Some(Value::Object(shares).to_string()), reason: "split", ..served },
            // The application's own default holds.
            None => served,
        }
    }
}

/// Name and value of a variation; one without a name is called by its value.
fn variation(flag: Option<&Map<String, Value>>, index: u64) -> Option<(String, Option<String>)> {
    let variation = below(flag?, &["variations"])?.as_array()?.get(usize::try_from(index).ok()?)?;
    let value = variation.get("value").map(|value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    let name = variation.get("name").and_then(Value::as_str).filter(|name| !name.is_empty()).map(str::to_owned);
    Some((name.or_else(|| value.clone())?, value))
}

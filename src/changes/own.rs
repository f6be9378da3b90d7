//! The formats of the topics themselves: changes, flagd configurations, CDEvents, and lists of them.

use std::sync::Arc;

use axum::http::HeaderMap;
use serde_json::{Map, Value};
use tracerag_ingest::changes::{DeploymentDecoder, FlagDecoder, Origin};
use tracerag_ingest::redact::Redactor;
use tracerag_ingest::source::{Change, Signal};
use tracerag_schemas::SourcePartition;

use super::{Misread, Reported, header, text};

/// How attributes of a binary CloudEvent begin in HTTP, and in Kafka.
const CLOUD_EVENT: (&str, &str) = ("ce-", "ce_");
/// Changes that one body may report.
pub(super) const MOST_CHANGES: usize = 1_000;

/// Reads a body that says itself what it is.
pub(crate) fn read(headers: &HeaderMap, body: &[u8], redactor: &Arc<Redactor>) -> Result<Reported, Misread> {
    let attributes = cloud_event(headers);
    let value: Value = serde_json::from_slice(body).map_err(|error| Misread::NotJson(error.to_string()))?;
    let changes = match value {
        // The bytes go on as they came: numbers and the order of members stay.
        Value::Object(object) => vec![change(&object, body, attributes)?],
        Value::Array(items) if items.len() > MOST_CHANGES => {
            return Err(Misread::Unknown(format!("the list has more than {MOST_CHANGES} changes; send several lists")));
        }
        Value::Array(items) => {
            let each = items.iter().map(|item| match item {
                Value::Object(object) => change(object, item.to_string().as_bytes(), vec![]),
                _ => Err(unknown()),
            });
            each.collect::<Result<Vec<_>, _>>()?
        }
        _ => return Err(Misread::NotJson("neither an object nor a list".to_owned())),
    };
    if changes.is_empty() {
        return Ok(Reported::Nothing("the list is empty".to_owned()));
    }
    for change in &changes {
        accepted(change, redactor)?;
    }
    Ok(Reported::Changes(changes))
}

/// That a worker would take a record: what it would put into the dead letters is refused while somebody listens.
pub(crate) fn accepted(change: &Change, redactor: &Arc<Redactor>) -> Result<(), Misread> {
    let source = SourcePartition::new("", "", 0);
    let origin = Origin { tenant: "", source: &source, offset: 0, timestamp: None, ingested_at: 0 };
    let decoded = match change.signal {
        Signal::Deployments => {
            let headers = change.headers.iter().map(|(name, value)| (name.as_str(), Some(value.as_bytes())));
            DeploymentDecoder::new(Arc::clone(redactor)).decode(&change.value, headers, &origin).map(drop)
        }
        _ => FlagDecoder::new(Arc::clone(redactor)).decode(&change.value, &origin).map(drop),
    };
    decoded.map_err(|error| Misread::Unknown(error.to_string()))
}

fn change(object: &Map<String, Value>, body: &[u8], attributes: Vec<(String, String)>) -> Result<Change, Misread> {
    let is_change = ["feature_flag.key", "config.key", "flags", "flag_configuration", "flagConfiguration"];
    let is_event = !attributes.is_empty()
        || object.contains_key("specversion")
        || text(object, &["context", "type"]).is_some_and(|kind| kind.starts_with("dev.cdevents."));
    let (signal, key) = if is_event {
        let data = object.get("data").and_then(Value::as_object).unwrap_or(object);
        (Signal::Deployments, text(data, &["subject", "id"]))
    } else if is_change.iter().any(|member| object.contains_key(*member)) {
        let key = text(object, &["feature_flag.key"]).or_else(|| text(object, &["config.key"]));
        (Signal::Flags, key.or_else(|| text(object, &["metadata", "flagSetId"])))
    } else {
        return Err(unknown());
    };
    Ok(Change { signal, key: key.map(str::to_owned), value: body.to_vec(), headers: attributes })
}

/// The attributes of a binary CloudEvent, as Kafka's binding names them.
fn cloud_event(headers: &HeaderMap) -> Vec<(String, String)> {
    let (here, there) = CLOUD_EVENT;
    let attribute =
        |name: &str| Some((format!("{there}{}", name.strip_prefix(here)?), header(headers, name)?.to_owned()));
    headers.keys().filter_map(|name| attribute(name.as_str())).collect()
}

fn unknown() -> Misread {
    Misread::Unknown(
        "this is none of what is known here: a change (\"feature_flag.key\" or \"config.key\"), a flagd configuration \
         (\"flags\"), a CDEvent (\"context\".\"type\" begins with dev.cdevents.), bare or in a CloudEvent, or a list of \
         these; for the webhook of a platform add ?from=launchdarkly, unleash, github or argocd"
            .to_owned(),
    )
}

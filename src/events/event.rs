//! Events as CloudEvents 1.0.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tracerag_query::{Activity, Echo};
use tracerag_schemas::time::rfc3339;

use super::decide::Occurrence;

/// The media type of an event in the structured mode of JSON.
pub(crate) const CONTENT_TYPE: &str = "application/cloudevents+json; charset=UTF-8";

/// The kind of an event that stands for several.
pub(crate) const GROUPED: &str = "grouped";

/// An event that is to be sent, or waits to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Event {
    /// A function of tenant, fingerprint, kind and occurrence: what comes twice has the same.
    pub id: String,
    pub kind: String,
    pub tenant: String,
    /// The fingerprint; the tenant, of an event that stands for several.
    pub subject: String,
    /// When it happened, in ns since the epoch.
    pub at: i64,
    pub data: Value,
}

impl Event {
    /// What happened to an incident, with what echoes it. `address` is that of a server, if there is one.
    pub(crate) fn of(tenant: &str, seen: &Activity, echoes: &[Echo], occurrence: &Occurrence, address: &str) -> Self {
        let kind = occurrence.kind.name();
        let mut data = json!({
            "kind": kind, "tenant": tenant, "fingerprint": seen.fingerprint, "title": seen.title,
            "service_name": seen.service_name, "exception_type": seen.exception_type, "versions": seen.versions,
            "first_seen": rfc3339(seen.first_seen), "last_seen": rfc3339(seen.last_seen),
            "failure_count": seen.failure_count, "example_trace_id": seen.example_trace_id,
            "link": link(address, "/incidents/", Some(&seen.fingerprint)),
            "bundle_link": link(address, "/v1/bundles/", seen.example_trace_id.as_deref()),
        });
        if !echoes.is_empty() {
            let named = |echo: &Echo| json!({"fingerprint": echo.fingerprint, "service_name": echo.service_name});
            data["echoes"] = echoes.iter().map(named).collect();
        }
        if let Some((count, usual)) = occurrence.spike {
            data["window_failures"] = json!(count);
            data["usual_failures"] = json!(usual);
        }
        if let (Some(fix), Some((at, version))) = (&seen.fix, &seen.regressed) {
            data["fix_id"] = json!(fix.fix_id);
            data["fixed_at"] = json!(rfc3339(fix.fixed_at));
            data["fixed_version"] = json!(fix.version);
            data["regressed_at"] = json!(rfc3339(*at));
            data["regressed_version"] = json!(version);
        }
        Self {
            id: id([tenant, &seen.fingerprint, kind, &occurrence.which]),
            kind: kind.to_owned(),
            tenant: tenant.to_owned(),
            subject: seen.fingerprint.clone(),
            at: occurrence.at,
            data,
        }
    }

    /// One event for several of a tenant that were too many; it names the first hundred.
    pub(crate) fn grouped(tenant: &str, held: &[Held], more: u64, at: i64) -> Self {
        const NAMED: usize = 100;
        let mut kinds = serde_json::Map::new();
        for event in held {
            let count = kinds.get(&event.kind).and_then(Value::as_u64).unwrap_or_default();
            kinds.insert(event.kind.clone(), json!(count + 1));
        }
        let count = held.len() as u64 + more;
        let ids: Vec<&str> = held.iter().map(|event| event.id.as_str()).collect();
        let named: Vec<&Held> = held.iter().take(NAMED).collect();
        Self {
            id: id([tenant, GROUPED, &ids.join(","), &more.to_string()]),
            kind: GROUPED.to_owned(),
            tenant: tenant.to_owned(),
            subject: tenant.to_owned(),
            at,
            data: json!({"kind": GROUPED, "tenant": tenant, "count": count, "kinds": kinds, "events": named}),
        }
    }

    /// The event as text, in the structured mode of JSON.
    pub(crate) fn text(&self) -> String {
        json!({
            "specversion": "1.0", "id": self.id, "source": "/tracerag/incidents",
            "type": format!("dev.tracerag.incident.{}", self.kind), "subject": self.subject, "time": rfc3339(self.at),
            "tenant": self.tenant, "datacontenttype": "application/json", "data": self.data,
        })
        .to_string()
    }
}

/// An event that is told of only together with others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    pub id: String,
    pub kind: String,
    pub fingerprint: String,
    pub title: Option<String>,
    pub service_name: Option<String>,
    pub example_trace_id: Option<String>,
}

impl From<&Event> for Held {
    fn from(event: &Event) -> Self {
        let text = |name: &str| event.data.get(name).and_then(Value::as_str).map(str::to_owned);
        Self {
            id: event.id.clone(),
            kind: event.kind.clone(),
            fingerprint: event.subject.clone(),
            title: text("title"),
            service_name: text("service_name"),
            example_trace_id: text("example_trace_id"),
        }
    }
}

/// What has an id on a server: the page of an incident, which asks a person for a token, or the bundle of a trace, for
/// programs. Both ids are hex digits.
fn link(address: &str, path: &str, id: Option<&str>) -> Option<String> {
    let address = address.trim_end_matches('/');
    id.filter(|_| !address.is_empty()).map(|id| format!("{address}{path}{id}"))
}

/// 32 hex digits. Parts are told apart by their lengths.
fn id<const N: usize>(parts: [&str; N]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hex::encode(hasher.finalize()).chars().take(32).collect()
}

//! The evidence bundle: its types, its canonical form and its id.
//!
//! A bundle's id is `sha256:` and the hex of the SHA-256 of the canonical form (RFC 8785) of what
//! stands under `evidence`. `context` changes over time and is not part of it.
//!
//! ```
//! use tracerag_schemas::bundle::content_id;
//! let id = content_id(&serde_json::json!({"b": 1.0, "a": "x"}))?;
//! assert_eq!(id, content_id(&serde_json::json!({"a": "x", "b": 1}))?);
//! assert!(id.starts_with("sha256:"));
//! # Ok::<(), serde_json::Error>(())
//! ```

mod canonical;
mod number;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

pub use canonical::canonical;
pub use number::{json_double, json_integer};

/// Names of the sections that are lists, in the order of the document.
pub const SECTIONS: [&str; 10] =
    ["resources", "spans", "logs", "failures", "metrics", "payloads", "heaps", "builds", "flags", "linked"];

/// Classes of masks that redaction sets, as in `<email>`; an `identifier` is also a token `hmac:...`.
pub const REDACTION_CLASSES: [&str; 18] = [
    "email",
    "card",
    "jwt",
    "credentials",
    "key",
    "private_key",
    "cookie",
    "password",
    "secret",
    "iban",
    "ssn",
    "phone",
    "ip",
    "denied",
    "identifier",
    "dropped",
    "field",
    "payload",
];

/// `sha256:` and the hex of the canonical form's SHA-256.
///
/// # Errors
/// See [`canonical`].
pub fn content_id(value: &impl Serialize) -> serde_json::Result<String> {
    Ok(format!("sha256:{}", hex::encode(Sha256::digest(canonical(value)?))))
}

/// A bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bundle {
    /// [`content_id`] of `evidence`.
    pub bundle_id: String,
    /// What the id covers.
    pub evidence: Evidence,
    /// What changes over time.
    pub context: Context,
    /// Who vouches for the id, where the installation signs what it hands out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

/// An installation's signature of a bundle's id, and through it of the evidence; `context` is not covered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// `ed25519`.
    pub algorithm: String,
    /// The public key in hex.
    pub public_key: String,
    /// The signature in hex.
    pub value: String,
}

impl Bundle {
    /// A bundle of evidence, with its id.
    ///
    /// # Errors
    /// See [`canonical`].
    pub fn new(evidence: Evidence, context: Context) -> serde_json::Result<Self> {
        Ok(Self { bundle_id: content_id(&evidence)?, evidence, context, signature: None })
    }

    /// Whether the id is that of the evidence.
    pub fn is_intact(&self) -> bool {
        content_id(&self.evidence).is_ok_and(|id| id == self.bundle_id)
    }
}

/// The evidence of one revision of a trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// [`crate::version::BUNDLE_SCHEMA`].
    pub schema: String,
    /// Tenant.
    pub tenant: String,
    /// Whether nothing that comes from now on is evidence of this revision.
    pub sealed: bool,
    /// The trace.
    pub trace: Trace,
    /// Distinct resources, by service, instance, version, environment.
    pub resources: Vec<Resource>,
    /// Spans in tree order: parents before children, siblings by start, then id.
    pub spans: Vec<Span>,
    /// Log records by time, then origin.
    pub logs: Vec<Log>,
    /// Failures by time, then fingerprint.
    pub failures: Vec<Failure>,
    /// Series by name, service, instance, attributes.
    pub metrics: Vec<Metric>,
    /// Payloads by span, direction.
    pub payloads: Vec<Payload>,
    /// Heap summaries by time, then service.
    pub heaps: Vec<Heap>,
    /// Builds in effect by service, instance, version.
    pub builds: Vec<Build>,
    /// Flags and configuration in effect by kind, key, service.
    pub flags: Vec<Flag>,
    /// Links to and from other traces, by direction, trace, span.
    pub linked: Vec<Linked>,
    /// What redaction did.
    pub redaction: Redaction,
    /// What was left out, by section.
    #[serde(default)]
    pub omitted: BTreeMap<String, Omitted>,
}

/// What was left out of a section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Omitted {
    /// How many entries.
    pub omitted: u64,
    /// By which rule.
    pub why: String,
}

/// The trace as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Trace {
    pub trace_id: String,
    pub revision: i32,
    pub root_span_id: Option<String>,
    pub root_name: Option<String>,
    pub services: Vec<String>,
    pub service_graph: Vec<Edge>,
    /// RFC 3339 with nanoseconds.
    pub started_at: Option<String>,
    #[serde(with = "number::optional")]
    pub duration_ns: Option<i64>,
    pub status: Option<String>,
    pub complete: Option<bool>,
    pub incomplete_reasons: Vec<String>,
}

/// Calls from one service to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Edge {
    pub from: String,
    pub to: String,
    pub calls: u64,
    /// Calls whose called span has status ERROR.
    pub errors: u64,
}

/// A resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Resource {
    pub service: Option<String>,
    pub namespace: Option<String>,
    pub instance: Option<String>,
    pub version: Option<String>,
    pub environment: Option<String>,
    pub attributes: Map<String, Value>,
}

/// A span.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Span {
    pub anchor: String,
    pub span_id: String,
    pub parent_span_id: Option<String>,
    pub name: Option<String>,
    pub kind: Option<String>,
    pub service: Option<String>,
    /// Index into `resources`.
    pub resource: usize,
    /// Anchor of the build that ran it, where one is known.
    pub build: Option<String>,
    pub started_at: Option<String>,
    #[serde(with = "number::optional")]
    pub duration_ns: Option<i64>,
    pub status: Option<String>,
    pub status_message: Option<String>,
    pub attributes: Map<String, Value>,
    pub events: Vec<Event>,
    pub links: Vec<Link>,
    pub on_critical_path: bool,
}

/// An event of a span.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Event {
    pub time: Option<String>,
    pub name: Option<String>,
    pub attributes: Map<String, Value>,
}

/// A link of a span.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Link {
    pub trace_id: Option<String>,
    pub span_id: Option<String>,
    pub attributes: Map<String, Value>,
}

/// A log record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Log {
    pub anchor: String,
    pub time: Option<String>,
    /// Name of the severity number's range, else the sender's text.
    pub severity: Option<String>,
    /// Text, or the OTLP/JSON form of what is no text.
    pub body: Value,
    pub event_name: Option<String>,
    pub service: Option<String>,
    pub instance: Option<String>,
    pub span_id: Option<String>,
    /// `ids` (a span of the trace), `trace`, or `time` (service, instance and time).
    pub joined_by: String,
    pub attributes: Map<String, Value>,
}

/// A failure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Failure {
    pub anchor: String,
    pub fingerprint: Option<String>,
    pub kind: Option<String>,
    pub time: Option<String>,
    pub exception_type: Option<String>,
    pub message: Option<String>,
    pub service: Option<String>,
    pub span_id: Option<String>,
    pub frames: Vec<Frame>,
    pub grouped_by: Option<String>,
}

/// A frame of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Frame {
    pub function: Option<String>,
    pub file: Option<String>,
    pub line: Option<i64>,
    pub in_app: Option<bool>,
    /// `code:FILE:LINE@SHA`, where file, line and commit are known.
    pub anchor: Option<String>,
}

/// A series of a metric around the trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Metric {
    pub anchor: String,
    pub name: Option<String>,
    pub unit: Option<String>,
    pub kind: Option<String>,
    pub service: Option<String>,
    pub instance: Option<String>,
    pub attributes: Map<String, Value>,
    /// Time and value; a histogram's or summary's value is an object of count, sum, min, max.
    pub points: Vec<(String, Value)>,
    /// Exemplars that name a span of the trace.
    pub exemplars: Vec<Exemplar>,
}

/// An exemplar of a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Exemplar {
    pub time: Option<String>,
    pub value: Value,
    pub span_id: Option<String>,
}

/// Shape and sample of a payload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Payload {
    pub anchor: String,
    pub span_id: Option<String>,
    pub direction: Option<String>,
    pub content_type: Option<String>,
    pub shape: Value,
    pub sample: Value,
    pub redactions: Vec<String>,
    #[serde(with = "number::optional")]
    pub size_bytes: Option<i64>,
}

/// A heap summary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Heap {
    pub anchor: String,
    pub trace_id: Option<String>,
    pub span_id: Option<String>,
    pub captured_at: Option<String>,
    pub service: Option<String>,
    pub instance: Option<String>,
    pub git_sha: Option<String>,
    pub format: Option<String>,
    /// `ids` or `time`.
    pub joined_by: String,
    pub top_types: Vec<HeapType>,
    pub top_sites: Vec<HeapSite>,
    pub retained_paths: Vec<Vec<String>>,
    #[serde(with = "number::optional")]
    pub total_bytes: Option<i64>,
    pub snapshot_uri: Option<String>,
    pub snapshot_sha256: Option<String>,
    pub truncated: Option<bool>,
}

/// What a type holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct HeapType {
    pub r#type: Option<String>,
    #[serde(with = "number::optional")]
    pub bytes: Option<i64>,
    #[serde(with = "number::optional")]
    pub count: Option<i64>,
}

/// What was allocated at a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct HeapSite {
    pub function: Option<String>,
    pub file: Option<String>,
    pub line: Option<i64>,
    #[serde(with = "number::optional")]
    pub bytes: Option<i64>,
    #[serde(with = "number::optional")]
    pub count: Option<i64>,
    /// `code:FILE:LINE@SHA`, where file, line and commit are known.
    pub anchor: Option<String>,
}

/// A build in effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Build {
    pub anchor: String,
    pub service: Option<String>,
    pub instance: Option<String>,
    pub environment: Option<String>,
    pub version: Option<String>,
    pub git_sha: Option<String>,
    pub build_number: Option<String>,
    pub artifact: Option<String>,
    pub lockfile_digests: Map<String, Value>,
    pub schema_migrations: Vec<String>,
    pub deployed_at: Option<String>,
    pub r#match: Option<String>,
    pub candidates: Vec<String>,
}

/// A flag or a configuration key in effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Flag {
    pub anchor: String,
    /// `flag` or `config`.
    pub kind: Option<String>,
    pub key: Option<String>,
    pub variant: Option<String>,
    pub value: Option<String>,
    pub service: Option<String>,
    pub instance: Option<String>,
    pub environment: Option<String>,
    pub since: Option<String>,
    pub r#match: Option<String>,
    pub span_id: Option<String>,
    pub candidates: Vec<String>,
}

/// A link to or from another trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Linked {
    pub anchor: String,
    /// The other trace.
    pub trace_id: Option<String>,
    /// The span in the other trace.
    pub span_id: Option<String>,
    /// The span that holds the link (`out`) or that is linked to (`in`), both in this trace.
    pub from_span_id: Option<String>,
    /// `out` or `in`.
    pub direction: String,
}

/// What redaction did to the trace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Redaction {
    pub policy: Option<String>,
    pub version: Option<i32>,
    /// Masks set, by class.
    pub counts: BTreeMap<String, i64>,
}

/// What stands beside the evidence and changes over time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Context {
    /// Position of the lake that the bundle was assembled from.
    pub position: u64,
    /// Similar incidents, nearest first.
    #[serde(default)]
    pub similar: Vec<Similar>,
    /// What differs between traces that fail as this one does and comparable good ones, as `compare_to_baseline` says
    /// it. `None` of a trace that did not fail, and where nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Value>,
    /// Heap summaries and inbound links that came after the seal.
    #[serde(default)]
    pub late: Vec<Value>,
    /// The bundle of the same trace that this one replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<String>,
}

/// A similar incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Similar {
    pub anchor: String,
    pub fingerprint: String,
    pub title: Option<String>,
    pub distance: Option<f64>,
    pub reason: Option<String>,
    pub fixes: Vec<Value>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The examples of RFC 8785 (sections 3.2.3 and 3.2.2.3) come out byte for byte.
    #[test]
    fn canonical_form_is_rfc_8785() {
        let value: Value = serde_json::from_str(
            r#"{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
                "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}"#,
        )
        .unwrap();
        let expected = "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\
                        \"string\":\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}";
        assert_eq!(String::from_utf8(canonical(&value).unwrap()).unwrap(), expected);
    }

    /// The id depends on the content alone: not on the order of members, nor on how a number was written.
    #[test]
    fn ids_do_not_depend_on_spelling() {
        let one: Value = serde_json::from_str(r#"{"a": 1, "b": [1e2, "x"]}"#).unwrap();
        let other: Value = serde_json::from_str(r#"{ "b": [100, "x"], "a": 1.0 }"#).unwrap();
        assert_eq!(content_id(&one).unwrap(), content_id(&other).unwrap());
        let changed: Value = serde_json::from_str(r#"{"a": 1, "b": [100, "y"]}"#).unwrap();
        assert_ne!(content_id(&one).unwrap(), content_id(&changed).unwrap());
    }
}

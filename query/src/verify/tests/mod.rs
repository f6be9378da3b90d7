//! Tests on the bundle of the failing checkout, as the assembly makes it, with a few entries more.

#![allow(clippy::unwrap_used)]

mod attestation;
mod claims;
mod deadline;
mod documents;
mod meaning;
mod mutations;
mod parser;
mod predicates;

use serde_json::{Value, json};
use tracerag_schemas::bundle::{Bundle, Span};

use super::beyond::Beyond;
use super::facts::Facts;
use super::{Document, Reason, Report, Subject, evaluate, parse, verify};

/// Ids that stand for `$NAME` in the tables.
const NAMES: [(&str, &str); 6] = [
    ("$root", "00f067aa0ba902b7"),
    ("$pay", "b7ad6b7169203331"),
    ("$stock", "cccccccccccccccc"),
    ("$bad", "0af7651916cd43dd8448eb211c80319c"),
    ("$good", "1bf7651916cd43dd8448eb211c80319c"),
    ("$line", "code:payments/rounding.go:117@a1b2c3d4e5f6a7b8"),
];

/// A text of a table with its names replaced.
fn text(text: &str) -> String {
    NAMES.iter().fold(text.to_owned(), |text, (name, id)| text.replace(name, id))
}

/// The bundle of the failing checkout, and besides: a span `$stock` of checkout that went well and ended apart from the
/// critical path, with a redacted attribute; a log record with a mask and one that is an hour late; a flag that two
/// services see differently; a flag and a build of which only candidates are known.
fn bundle() -> Bundle {
    let snapshot = include_str!("../../tests/snapshots/tracerag_query__tests__bundles__failing_checkout.snap");
    let (_, document) = snapshot.split_once("\n---\n").unwrap();
    let mut bundle: Bundle = serde_json::from_str(document).unwrap();
    assert!(bundle.is_intact());
    let evidence = &mut bundle.evidence;
    evidence.spans.push(stock());
    evidence.logs.push(log(3, "12:00:03.500", "mail <email> sent for order 88123", "ids"));
    evidence.logs.push(log(4, "13:00:00.000", "all quiet", "time"));
    for (service, variant) in [("checkout", "on"), ("payments", "off")] {
        evidence.flags.push(flag("checkout.cache", service, variant, "evaluated"));
    }
    evidence.flags.push(flag("beta.ui", "checkout", "bold", "ambiguous"));
    let mut build = evidence.builds[1].clone();
    (build.anchor, build.service) = ("build:cart@3.0.0".to_owned(), Some("cart".to_owned()));
    (build.version, build.r#match) = (Some("3.0.0".to_owned()), Some("ambiguous".to_owned()));
    evidence.builds.push(build);
    // The example's two heaps are alike.
    evidence.heaps[1].top_types[0].bytes = Some(1_000);
    Bundle::new(bundle.evidence, bundle.context).unwrap()
}

/// What a lake knows beyond the bundle: the failing trace, a good one with the flag the other way, an unknown one; and how
/// many failures of the fingerprint it has.
fn beyond() -> Beyond {
    let bad = bundle().evidence;
    let mut good = bad.clone();
    good.failures.clear();
    for flag in good.flags.iter_mut().filter(|flag| flag.key.as_deref() == Some("payments.decimal_mode")) {
        flag.variant = Some("lenient".to_owned());
    }
    let mut beyond = Beyond::default();
    beyond.traces.insert(text("$bad"), Ok(bad));
    beyond.traces.insert(text("$good"), Ok(good));
    beyond.traces.insert("f".repeat(32), Err("there is no such trace".to_owned()));
    beyond.counts.insert("abcd".to_owned(), Ok(12));
    beyond
}

fn stock() -> Span {
    let token = format!("hmac:0123abcd:{}", "0f".repeat(16));
    serde_json::from_value(json!({
        "anchor": "span:cccccccccccccccc", "span_id": "cccccccccccccccc", "parent_span_id": "00f067aa0ba902b7",
        "name": "GET /stock", "kind": "CLIENT", "service": "checkout", "resource": 0, "build": "build:checkout@2.3.0",
        "started_at": "2026-11-23T12:00:00.950000000Z", "duration_ns": 200_000_000, "status": "UNSET",
        "status_message": null, "attributes": {"user.email": token, "retry.count": 3, "cache.hit": true},
        "events": [], "links": [], "on_critical_path": false,
    }))
    .unwrap()
}

fn log(number: u32, time: &str, body: &str, joined_by: &str) -> tracerag_schemas::bundle::Log {
    let span_id = (joined_by == "ids").then_some("b7ad6b7169203331");
    serde_json::from_value(json!({
        "anchor": format!("log:{number}"), "time": format!("2026-11-23T{time}000000Z"), "severity": "INFO", "body": body,
        "event_name": null, "service": "payments", "instance": "payments-b-1", "span_id": span_id,
        "joined_by": joined_by, "attributes": {},
    }))
    .unwrap()
}

fn flag(key: &str, service: &str, variant: &str, matched: &str) -> tracerag_schemas::bundle::Flag {
    serde_json::from_value(json!({
        "anchor": format!("flag:{key}@{service}"), "kind": "flag", "key": key, "variant": variant, "value": null,
        "service": service, "instance": null, "environment": null, "since": "2026-11-23T11:00:00.000000000Z",
        "match": matched, "span_id": null, "candidates": [],
    }))
    .unwrap()
}

/// Why a predicate does not hold; empty where it does.
fn why_not(facts: &Facts<'_>, predicate: &str) -> String {
    let evaluated = match parse::predicate(predicate) {
        Ok(predicate) => evaluate::evaluate(facts, &predicate),
        Err(error) => Err(Reason::Predicate(error.to_string())),
    };
    evaluated.err().map(|reason| reason.to_string()).unwrap_or_default()
}

/// The name of the check that a reason begins with.
fn check(reason: &str) -> &str {
    reason.split(':').next().unwrap_or_default()
}

/// What comes of claims in Markdown about the bundle, as the lake has stored it.
fn judged(markdown: &str) -> Report {
    verify(&Subject::known(bundle()), "acme", &Document::read(&text(markdown)).unwrap())
}

/// One claim in JSON.
fn document(bundle_id: &str, claim: Value) -> Document {
    let document = json!({"schema": "tracerag.claims/1", "bundle_id": bundle_id, "claims": [claim]});
    Document::read(&document.to_string()).unwrap()
}

//! How long it takes to verify 50 claims about a bundle of 1,000 spans, with the hash of the bundle and the reading of the
//! claims, and to compose a prompt of 8,000 tokens about it. At p50 the one may take 20 ms and the other 200 ms.
//!
//! `cargo run --release -p tracerag-benches --bin verification -- [ROUNDS]`; it needs neither lake nor files.

#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tracerag_benches::{Outcome, machine};
use tracerag_query::prompt::{Code, compose};
use tracerag_query::verify::{Document, Subject, verify};
use tracerag_schemas::bundle::{Bundle, Context, Evidence};
use tracerag_schemas::time::{SECOND, rfc3339};
use tracerag_schemas::version::BUNDLE_SCHEMA;

const SPANS: usize = 1_000;
const CLAIMS: usize = 50;
const SERVICES: usize = 20;
/// Tokens of the prompt.
const ROOM: usize = 8_000;
/// Rounds before those that count.
const WARM_UP: usize = 10;
/// 2026-11-23T12:00:00Z, in ns.
const NOON: i64 = 1_795_435_200 * SECOND;

fn main() -> Outcome<()> {
    let rounds: usize = std::env::args().nth(1).map_or(Ok(200), |text| text.parse())?;
    println!("{}", machine::describe());
    let bundle = Bundle::new(evidence()?, Context::default())?;
    let claims = claims(&bundle.bundle_id).to_string();
    let verifying = measured(rounds, || verified(&bundle, &claims))?;
    println!("{CLAIMS} claims, {SPANS} spans, {rounds} rounds: {}; limit: p50 20 ms", shown(&verifying));
    let composing = measured(rounds, || composed(&bundle))?;
    println!("prompt of {ROOM} tokens, {SPANS} spans, {rounds} rounds: {}; limit: p50 200 ms", shown(&composing));
    Ok(())
}

/// The times of some rounds, the shortest first.
fn measured(rounds: usize, round: impl Fn() -> Outcome<Duration>) -> Outcome<Vec<Duration>> {
    for _ in 0..WARM_UP {
        round()?;
    }
    let mut times = (0..rounds).map(|_| round()).collect::<Outcome<Vec<_>>>()?;
    times.sort_unstable();
    Ok(times)
}

fn shown(times: &[Duration]) -> String {
    let at = |percent: usize| times.get(times.len() * percent / 100).map_or(0.0, |took| took.as_secs_f64() * 1_000.0);
    format!("p50 {:.2} ms, p99 {:.2} ms", at(50), at(99))
}

/// Reads and verifies the claims once.
fn verified(bundle: &Bundle, claims: &str) -> Outcome<Duration> {
    let known = bundle.clone();
    let begun = Instant::now();
    let document = Document::read(claims).map_err(|reason| reason.to_string())?;
    let report = verify(&Subject::known(known), "default", &document);
    let took = begun.elapsed();
    if !report.all_hold {
        return Err(format!("{} of {CLAIMS} claims are rejected: {:?}", report.rejected(), report.claims).into());
    }
    Ok(took)
}

/// Composes the prompt once.
fn composed(bundle: &Bundle) -> Outcome<Duration> {
    let begun = Instant::now();
    let prompt = compose(bundle, &Code::default(), ROOM)?;
    let took = begun.elapsed();
    // A bundle so small that the prompt has room for more would be measured for nothing.
    if prompt.tokens < ROOM * 9 / 10 {
        return Err(format!("the prompt has {} tokens only", prompt.tokens).into());
    }
    Ok(took)
}

fn id(number: usize) -> String {
    format!("{:016x}", number + 1)
}

fn service(number: usize) -> String {
    format!("service{}", number % SERVICES)
}

/// A trace of spans in a chain of calls, each with eight attributes, every tenth with a log record.
fn evidence() -> Result<Evidence, serde_json::Error> {
    let resources: Vec<Value> = (0..SERVICES)
        .map(|number| {
            json!({"service": service(number), "namespace": "shop", "instance": format!("{}-a", service(number)),
                   "version": "1.9.0", "environment": "production", "attributes": {"host.name": "node1"}})
        })
        .collect();
    let at = |number: usize| rfc3339(NOON + i64::try_from(number).unwrap_or_default() * 1_000_000);
    let spans: Vec<Value> = (0..SPANS)
        .map(|number| {
            let attributes: serde_json::Map<String, Value> =
                (0..8).map(|key| (format!("app.key{key}"), json!(format!("value {key} of span {number}")))).collect();
            json!({"anchor": format!("span:{}", id(number)), "span_id": id(number),
                   "parent_span_id": number.checked_sub(1).map(id), "name": format!("GET /{}", service(number)),
                   "kind": "SERVER", "service": service(number), "resource": number % SERVICES, "build": null,
                   "started_at": at(number), "duration_ns": 5 * SECOND, "status": "ERROR", "status_message": null,
                   "attributes": attributes, "events": [], "links": [], "on_critical_path": true})
        })
        .collect();
    let logs: Vec<Value> = (0..SPANS / 10)
        .map(|number| {
            json!({"anchor": format!("log:{number}"), "time": at(number), "severity": "ERROR", "event_name": null,
                   "body": format!("decimal overflow for order {number}"), "service": service(number), "instance": null,
                   "span_id": id(number), "joined_by": "ids", "attributes": {}})
        })
        .collect();
    serde_json::from_value(json!({
        "schema": BUNDLE_SCHEMA, "tenant": "default", "sealed": true,
        "trace": {"trace_id": "0af7651916cd43dd8448eb211c80319c", "revision": 1, "root_span_id": id(0),
                  "root_name": "GET /service0", "services": (0..SERVICES).map(service).collect::<Vec<_>>(),
                  "service_graph": [], "started_at": at(0), "duration_ns": 5 * SECOND, "status": "ERROR",
                  "complete": true, "incomplete_reasons": []},
        "resources": resources, "spans": spans, "logs": logs, "failures": [], "metrics": [], "payloads": [], "heaps": [],
        "builds": [], "flags": [], "linked": [], "redaction": {"policy": "standard", "version": 1, "counts": {}},
    }))
}

/// Claims with predicates and quotes, all true.
fn claims(bundle_id: &str) -> Value {
    let claims: Vec<Value> = (0..CLAIMS)
        .map(|number| {
            let (span, name) = (id(number), service(number));
            json!({"id": format!("c{number}"), "text": format!("{name} failed and took 5 s"),
                   "anchors": [format!("span:{span}"), format!("log:{number}")],
                   "quotes": [{"anchor": format!("log:{number}"), "text": "decimal overflow"}],
                   "predicates": [format!("status(span:{span}) = ERROR"), format!("duration(span:{span}) = 5s")]})
        })
        .collect();
    json!({"schema": "tracerag.claims/1", "bundle_id": bundle_id, "claims": claims})
}

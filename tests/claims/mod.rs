//! Claims about real bundles: true ones of every predicate and every kind of anchor are accepted, and changed a little,
//! none is. What makes and changes them reads the JSON of bundles only, and shares nothing with the verifier.

mod changes;
mod seeded;
mod truths;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};
use tracerag_index::{Lake, LakeOptions};
use tracerag_query::verify::{Document, Subject, verify, verify_with};
use tracerag_query::{Session, SessionOptions, bundle};
use tracerag_schemas::bundle::{Bundle, content_id};

use crate::support::program::Tracerag;
use crate::support::telemetry;
use crate::worked_example;
use seeded::Seeded;
use truths::{Claim, Known};

/// Bundles that claims are made about, of the recording and the worked example.
const BUNDLES: usize = 220;
/// Changed claims of each bundle.
const CHANGED: usize = 60;
/// Every function of the language, and every kind of anchor.
const FUNCTIONS: [&str; 28] = [
    "ancestor",
    "attribute",
    "before",
    "config",
    "contains",
    "critical",
    "deployed_before",
    "differs",
    "duration",
    "event",
    "exception_type",
    "failures",
    "fingerprint",
    "flag",
    "frame",
    "git_sha",
    "heap_bytes",
    "heap_share",
    "lake_failures",
    "metric_max",
    "overlaps",
    "payload",
    "payload_length",
    "payload_type",
    "same_error",
    "severity",
    "status",
    "version",
];
const ANCHORS: [&str; 12] =
    ["span", "log", "failure", "metric", "payload", "heap", "build", "flag", "config", "link", "code", "incident"];

/// A lake, and the bundles of its traces.
struct Source {
    _tracerag: Tracerag,
    session: Session,
    bundles: Vec<Bundle>,
}

async fn source(tracerag: Tracerag) -> Source {
    let lake = Lake::open_to_ask(LakeOptions::new(tracerag.lake())).await.unwrap();
    let session = Session::open(&lake, SessionOptions::new("default")).await.unwrap();
    let mut bundles = Vec::new();
    for trace_id in traces(&session).await {
        bundles.push(bundle::assemble(&session, &trace_id).await.unwrap());
    }
    Source { _tracerag: tracerag, session, bundles }
}

async fn traces(session: &Session) -> Vec<String> {
    let mut traces = Vec::new();
    for batch in session.collect("select trace_id from traces order by trace_id", None).await.unwrap() {
        for row in tracerag_query::json::rows(&batch).unwrap() {
            traces.push(row["trace_id"].as_str().unwrap().to_owned());
        }
    }
    traces
}

fn recording() -> Tracerag {
    let tracerag = Tracerag::new();
    let files = telemetry::recording();
    let files: Vec<&Path> = files.iter().map(std::path::PathBuf::as_path).collect();
    tracerag.replay(&files);
    tracerag
}

fn document(bundle_id: &str, claims: &[Value]) -> Document {
    let document = json!({"schema": "tracerag.claims/1", "bundle_id": bundle_id, "claims": claims});
    Document::read(&document.to_string()).unwrap()
}

/// For each claim why it is rejected; empty where it is accepted.
async fn judged(session: &Session, bundle: &Bundle, claims: &[Value]) -> Vec<Vec<String>> {
    let document = document(&bundle.bundle_id, claims);
    let report = verify_with(session, Subject::known(bundle.clone()), &document).await.unwrap();
    assert!(report.reasons.is_empty(), "{:?}", report.reasons);
    report.claims.into_iter().map(|claim| claim.reasons.iter().map(ToString::to_string).collect()).collect()
}

/// From each of at least 200 bundles of the recording and the worked example, true claims of every predicate and kind of
/// anchor are accepted, but for one in 200 at most; changed into false or unsupported ones, more than 10,000, none is.
/// Guarantees that the verifier can be used, and that nothing wrong gets past it. Seeds are fixed; what goes wrong is
/// printed.
#[test]
fn true_claims_are_accepted_and_changed_ones_are_not() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut made, mut refused, mut changed, mut passed) = (0, vec![], 0, vec![]);
        let (mut functions, mut anchors, mut ways) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
        let mut tried = 0;
        for tracerag in [worked_example::replayed(), recording()] {
            let source = source(tracerag).await;
            let known = Known::of(source.bundles.iter().map(|bundle| serde_json::to_value(bundle).unwrap()).collect());
            // Traces with failures first: they have the most to say.
            let mut order: Vec<usize> = (0..source.bundles.len()).collect();
            order.sort_by_key(|index| source.bundles[*index].evidence.failures.is_empty());
            for index in order.into_iter().take(BUNDLES) {
                let bundle = &source.bundles[index];
                let claims: Vec<Claim> = truths::all(&known, index);
                let values: Vec<Value> = claims.iter().map(|claim| claim.value.clone()).collect();
                for (claim, why) in claims.iter().zip(judged(&source.session, bundle, &values).await) {
                    made += 1;
                    functions.insert(claim.kind);
                    anchors.extend(claim.anchor_kinds());
                    if !why.is_empty() {
                        refused.push(format!("{} {}: {why:?}", bundle.bundle_id, claim.value));
                    }
                }
                let mut seeded = Seeded::new(index as u64 + 1);
                let false_ones = changes::all(&mut seeded, &known, index, &claims, CHANGED);
                let values: Vec<Value> = false_ones.iter().map(|(_, value)| value.clone()).collect();
                for ((way, value), why) in false_ones.iter().zip(judged(&source.session, bundle, &values).await) {
                    changed += 1;
                    *ways.entry(*way).or_insert(0) += 1;
                    if why.is_empty() {
                        passed.push(format!("{way}: {} {value}", bundle.bundle_id));
                    }
                }
                tried += 1;
            }
        }
        crate::support::note(&format!(
            "{tried} bundles, {made} true claims, {} refused, {changed} changed: {ways:?}",
            refused.len()
        ));
        assert!(passed.is_empty(), "{} accepted:\n{}", passed.len(), passed[..passed.len().min(40)].join("\n"));
        assert!(
            refused.len() * 200 <= made,
            "{} of {made}:\n{}",
            refused.len(),
            refused[..refused.len().min(40)].join("\n")
        );
        assert!(tried >= 200 && changed >= 10_000, "{tried} bundles, {changed} changed claims");
        for function in FUNCTIONS {
            assert!(functions.contains(function), "no claim with {function}");
        }
        for anchor in ANCHORS {
            assert!(anchors.contains(anchor), "no claim with an anchor of kind {anchor}");
        }
    });
}

/// What is changed round the claims rejects all of them: another tenant, another bundle's id, a hash with one digit
/// changed, and a forged bundle whose hash is consistent.
#[test]
fn other_bundles_and_tenants_are_refused() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let source = source(worked_example::replayed()).await;
        let bundle = &source.bundles[0];
        let value = serde_json::to_value(bundle).unwrap();
        let known = Known::of(vec![value.clone()]);
        let claims: Vec<Value> = truths::all(&known, 0).into_iter().map(|claim| claim.value).collect();
        let good = document(&bundle.bundle_id, &claims);
        let accepted = |subject: &Subject, tenant: &str, document: &Document| {
            let report = verify(subject, tenant, document);
            assert!(!report.all_hold);
            report.claims.iter().filter(|claim| claim.accepted).count()
        };
        assert_eq!(accepted(&Subject::known(bundle.clone()), "other", &good), 0, "another tenant");
        for at in 7..bundle.bundle_id.len() {
            let digit = if bundle.bundle_id.as_bytes()[at] == b'0' { "1" } else { "0" };
            let mut id = bundle.bundle_id.clone();
            id.replace_range(at..=at, digit);
            let subject = Subject::known(bundle.clone());
            assert_eq!(accepted(&subject, "default", &document(&id, &claims)), 0, "{id}");
            let mut renamed = value.clone();
            renamed["bundle_id"] = json!(id);
            assert_eq!(accepted(&Subject::of_file(&renamed.to_string(), &[]), "default", &document(&id, &claims)), 0);
        }
        let mut forged = value;
        forged["evidence"]["trace"]["status"] = json!("OK");
        forged["bundle_id"] = json!(content_id(&forged["evidence"]).unwrap());
        let id = forged["bundle_id"].as_str().unwrap();
        assert_eq!(
            accepted(&Subject::of_file(&forged.to_string(), &[]), "default", &document(id, &claims)),
            0,
            "forged"
        );
    });
}

//! What is read of a lake: which spans are whose, and what is counted.

use serde_json::{Value, json};
use tracerag_schemas::Table;

use super::super::report::{Report, Verdict};
use super::super::{Request, compare};
use crate::error::QueryError;
use crate::tests::lake::{NOON, TestLake, at, row, span};
use crate::{Session, bundle};

/// The commit that was deployed as 2.0.
const COMMIT: &str = "b1b2c3d4e5f60718293a4b5c6d7e8f9001122334";
/// Traces of each side.
const TRACES: usize = 150;

fn trace_id(version: &str, number: usize) -> String {
    format!("{}{number:030x}", if version == "1.0" { "1a" } else { "2b" })
}

/// A request of another service, the entry into payments and a call of it that fails with it.
fn spans(version: &str, number: usize, fails: bool) -> Vec<Value> {
    let trace_id = trace_id(version, number);
    let base = i64::try_from(number).unwrap();
    let status = if fails { "ERROR" } else { "UNSET" };
    // 2.0 does not state its version.
    let stated = if version == "1.0" { json!("1.0") } else { Value::Null };
    let of_payments = |span_id: &str, parent: &str, kind: &str, name: &str| {
        let own = json!({"span_id": span_id, "parent_span_id": parent, "kind": kind, "name": name, "status_code": status,
            "service_name": "payments", "service_version": stated, "build_git_sha": (version != "1.0").then_some(COMMIT),
            "duration_ns": 1_000_000 * (base + 1)});
        span("acme", &trace_id, base, own)
    };
    vec![
        span(
            "acme",
            &trace_id,
            base,
            json!({"span_id": "00f067aa0ba902b7", "name": "POST /checkout", "service_name": "checkout", "status_code": status}),
        ),
        of_payments("b7ad6b7169203331", "00f067aa0ba902b7", "SERVER", "charge"),
        of_payments("c7ad6b7169203331", "b7ad6b7169203331", "CLIENT", "POST"),
    ]
}

/// Two versions of payments, of which 2.0 fails twenty times in a new way; all with a flag's evaluation, memory of one
/// instance each, and a trace of another tenant's that would change every count.
async fn lake() -> TestLake {
    let lake = TestLake::empty().await;
    let mut rows = [vec![], vec![], vec![], vec![]];
    let [all_spans, failures, flags, traces] = &mut rows;
    for version in ["1.0", "2.0"] {
        for number in 0..TRACES {
            let fails = version == "2.0" && number < 20;
            all_spans.extend(spans(version, number, fails));
            let id = trace_id(version, number);
            let base = i64::try_from(number).unwrap();
            let variant = if version == "1.0" { "off" } else { "on" };
            flags.push(row(
                "acme",
                1,
                base,
                json!({"kind": "flag", "key": "fast", "variant": variant, "service_name": "payments",
                    "valid_from": at(base), "source": "evaluation", "trace_id": id, "span_id": "b7ad6b7169203331"}),
            ));
            if fails {
                for (service, name, fingerprint, origin) in [
                    ("payments", "charge", "new1", None),
                    ("checkout", "POST /checkout", "echo", Some("f")),
                    ("checkout", "GET /elsewhere", "beside", None),
                ] {
                    failures.push(row(
                        "acme",
                        1,
                        base,
                        json!({"failure_id": format!("{id}{fingerprint}"), "trace_id": id, "revision": 1, "time": at(base),
                            "service_name": service, "span_name": name, "fingerprint": fingerprint, "origin_id": origin,
                            "kind": "exception", "frames": [], "flags": {}, "span_id": "b7ad6b7169203331"}),
                    ));
                }
            }
            if number == 0 {
                traces.push(row(
                    "acme",
                    1,
                    5,
                    json!({"trace_id": id, "revision": 1, "root_span_id": "00f067aa0ba902b7", "root_name": "POST /checkout",
                        "services": ["checkout", "payments"], "start_time": at(0), "end_time": at(4), "closed_at": at(6),
                        "duration_ns": 4_000_000_000_i64, "status": if fails { "ERROR" } else { "UNSET" }, "span_count": 3,
                        "complete": true, "close_reason": "root_ended", "incomplete_reasons": [], "flags_in_effect": [],
                        "builds_in_effect": [], "redaction_policy": "standard", "redaction_version": 1}),
                ));
            }
        }
    }
    let mut foreign = spans("1.0", 7, true);
    foreign.iter_mut().for_each(|span| span["tenant_id"] = "other".into());
    all_spans.extend(foreign);
    let build = row(
        "acme",
        9,
        0,
        json!({"service_name": "payments", "version": "2.0", "git_sha": COMMIT, "valid_from": at(-600), "source": "cdevent",
            "lockfile_digests": {}, "schema_migrations": []}),
    );
    let point = |version: &str, seconds: i64, kind: &str, value: f64| {
        row(
            "acme",
            3,
            seconds,
            json!({"time": at(seconds), "name": "go.memory.used", "kind": "GAUGE", "unit": "By", "service_name": "payments",
                "service_instance_id": version, "attributes": {"go.memory.type": kind}, "attributes_types": {},
                "resource_attributes": {"service.version": version}, "value": value, "exemplars": []}),
        )
    };
    let points = vec![
        point("1.0", 1, "stack", 1.0),
        point("1.0", 1, "other", 9.0),
        point("1.0", 2, "stack", 2.0),
        point("1.0", 2, "other", 18.0),
        point("2.0", 1, "stack", 12.0),
    ];
    let [all_spans, failures, flags, traces] = rows;
    let tables = [
        (Table::Spans, all_spans),
        (Table::Failures, failures),
        (Table::Flags, flags),
        (Table::Traces, traces),
        (Table::Builds, vec![build]),
        (Table::Metrics, points),
    ];
    lake.write(&tables, NOON + 10_000 * tracerag_schemas::time::SECOND).await;
    lake
}

async fn compared(session: &Session, more: &[(&str, &str)]) -> Result<Report, QueryError> {
    let (since, until) = (at(-60), at(3_600));
    let mut given = vec![("service", "payments"), ("since", since.as_str()), ("until", until.as_str())];
    given.extend(more);
    let value = |name: &str| given.iter().find(|(given, _)| *given == name).map(|(_, value)| (*value).to_owned());
    compare(session, &Request::read(value)?).await
}

const VERSIONS: [(&str, &str); 2] = [("baseline", "1.0"), ("candidate", "2.0")];

/// Entries are counted once, each for its version: as stated, or by the commit that was deployed as it. The new failure
/// is found; its echo, what lies elsewhere and another tenant's spans are not counted. Memory is the sum over its
/// parts.
#[tokio::test]
async fn versions_are_told_apart() {
    let lake = lake().await;
    let session = lake.session("acme").await;
    let report = compared(&session, &VERSIONS).await.unwrap();
    let baseline = report.errors.baseline.clone().unwrap();
    assert_eq!((baseline.spans, baseline.errors), (150, 0));
    assert_eq!((report.errors.candidate.spans, report.errors.candidate.errors), (150, 20));
    assert_eq!(report.verdict, Verdict::Fail, "{:?}", report.reasons);
    let failures: Vec<_> =
        report.failures.iter().map(|one| (one.fingerprint.as_str(), one.candidate, one.new)).collect();
    assert_eq!(failures, [("new1", 20, true)]);
    assert!(report.failures[0].worse && report.errors.worse);
    let names: Vec<&str> = report.latency.iter().map(|one| one.span_name.as_str()).collect();
    assert_eq!((names, report.latency[0].candidate.sampled), (vec!["charge"], 150));
    assert!((report.latency[0].candidate.p50_ns - 75e6).abs() < 1.0, "{:?}", report.latency);
    let memory = &report.memory[0];
    assert_eq!((memory.baseline.mean, memory.baseline.max, memory.candidate.mean), (15.0, 20.0, 12.0));
    assert_eq!(memory.test, None);

    let by_commit = compared(&session, &[("baseline", "1.0"), ("candidate", "b1b2c3d")]).await.unwrap();
    assert_eq!(by_commit.errors, report.errors);
    let nowhere = compared(&session, &[VERSIONS[0], VERSIONS[1], ("environment", "staging")]).await.unwrap();
    assert_eq!((nowhere.verdict, nowhere.errors.candidate.spans), (Verdict::Inconclusive, 0));
    let other = lake.session("other").await;
    assert_eq!(compared(&other, &VERSIONS).await.unwrap().errors.baseline.unwrap().spans, 1);
}

/// A flag's variants are told apart by the evaluations of the traces; memory is of no variant.
#[tokio::test]
async fn variants_are_told_apart() {
    let lake = lake().await;
    let session = lake.session("acme").await;
    let variants = [("by", "flag:fast"), ("baseline", "off"), ("candidate", "on")];
    let report = compared(&session, &variants).await.unwrap();
    assert_eq!((report.by.as_str(), report.verdict), ("flag:fast", Verdict::Fail));
    let versions = compared(&session, &VERSIONS).await.unwrap();
    assert_eq!(report.errors.candidate, versions.errors.candidate);
    assert_eq!((report.failures[0].candidate, report.memory.len()), (20, 0));
    let unknown =
        compared(&session, &[("by", "flag:fast"), ("baseline", "off"), ("candidate", "maybe")]).await.unwrap();
    assert_eq!(unknown.verdict, Verdict::Inconclusive);
}

/// With a bundle, failures are looked for on its failing path, in every service of it, and what it is about is named. A
/// service that is not on the path, and a bundle that there is not, are refused.
#[tokio::test]
async fn a_bundle_says_where_to_look() {
    let lake = lake().await;
    let session = lake.session("acme").await;
    let assembled = bundle::assemble(&session, &trace_id("2.0", 0)).await.unwrap();
    let bundle_id = bundle::store(&session, assembled).await.unwrap().bundle_id;
    let session = lake.session("acme").await;
    let with_bundle = [VERSIONS[0], VERSIONS[1], ("bundle", bundle_id.as_str())];
    let report = compared(&session, &with_bundle).await.unwrap();
    let failures: Vec<_> =
        report.failures.iter().map(|one| (one.fingerprint.as_str(), one.of_bundle, one.worse)).collect();
    assert_eq!((failures, report.bundle_id.as_deref()), (vec![("new1", true, true)], Some(bundle_id.as_str())));

    // The version that does not fail, against the one that does: nothing of the bundle is left.
    let back = [("baseline", "2.0"), ("candidate", "1.0"), ("bundle", bundle_id.as_str())];
    assert_eq!(compared(&session, &back).await.unwrap().failures[0].candidate, 0);
    let mut elsewhere = vec![("service", "inventory")];
    elsewhere.extend(with_bundle);
    let value = |name: &str| elsewhere.iter().find(|(given, _)| *given == name).map(|(_, value)| (*value).to_owned());
    let refused = compare(&session, &Request::read(value).unwrap()).await.unwrap_err();
    assert!(
        refused.to_string().contains("does not pass through inventory, but through checkout, payments"),
        "{refused}"
    );
    let unknown = format!("sha256:{}", "0".repeat(64));
    let refused = compared(&session, &[VERSIONS[0], VERSIONS[1], ("bundle", &unknown)]).await.unwrap_err();
    assert!(matches!(refused, QueryError::BundleUnknown { .. }), "{refused}");
}

/// An objective stands for the baseline: spans that failed count, and with a bound of durations the slow ones, too.
#[tokio::test]
async fn an_objective_stands_for_the_baseline() {
    let lake = lake().await;
    let session = lake.session("acme").await;
    let objective = [("target", "0.99"), ("window", "30d"), ("budget", "0.001")];
    let of = |version| [("candidate", version), objective[0], objective[1], objective[2]];
    let failing = compared(&session, &of("2.0")).await.unwrap();
    assert_eq!((failing.verdict, failing.errors.candidate.errors), (Verdict::Fail, 20), "{:?}", failing.reasons);
    let good = compared(&session, &of("1.0")).await.unwrap();
    assert_eq!((good.verdict, good.errors.candidate.errors), (Verdict::Pass, 0), "{:?}", good.reasons);
    let [candidate, target, window, budget] = of("1.0");
    let slow = compared(&session, &[candidate, target, window, budget, ("slower_than", "100ms")]).await.unwrap();
    assert_eq!((slow.verdict, slow.errors.candidate.errors), (Verdict::Fail, 50), "{:?}", slow.reasons);
}

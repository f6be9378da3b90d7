//! How a comparison is asked for, and what is answered where there is none.

use std::time::Duration;

use datafusion::common::{ParamValues, ScalarValue};
use serde_json::{Value, json};
use tracerag_schemas::Table;
use tracerag_schemas::bundle::Bundle;
use tracerag_schemas::time::SECOND;

use super::planted::{FINGERPRINT, TRACES, compared, fails, lake, tables, trace_id};
use crate::compare::{Kind, Request, Subject};
use crate::error::QueryError;
use crate::tests::lake::{NOON, TestLake, at, batch, rows};
use crate::{Session, SessionOptions, bundle};

/// With too few failing or good traces nothing is said but that, and how many there are; a trace that did not fail, one
/// that there is not, another tenant's and an incident that there is not are refused.
#[tokio::test]
async fn too_little_is_told_in_words() {
    let lake = lake(&[Kind::Flag]).await;
    let session = lake.session("acme").await;
    let short = |from: usize, to: usize| {
        json!({"since": at(i64::try_from(from * 10).unwrap()), "until": at(i64::try_from(to * 10).unwrap())})
            .to_string()
    };
    // Four failing and eleven good traces; then some of both, but fewer than ten good ones.
    for (until, failing, good) in [(14, 4, 11), (10, 3, 8)] {
        let request = Request::about(&trace_id(0)).narrowed(&short(0, until)).unwrap();
        let report = session.compare(&request).await.unwrap();
        assert_eq!((report.failing.traces, report.good.traces, report.tested), (failing, good, 0), "{report:?}");
        assert!(report.said.contains("nothing is said") && report.differences.is_empty(), "{report:?}");
        assert!(report.rule.contains("checkout POST /checkout") && report.rule.contains(FINGERPRINT), "{report:?}");
    }
    let elsewhere = Request::about(FINGERPRINT).narrowed(r#"{"environment": "staging"}"#).unwrap();
    let report = session.compare(&elsewhere).await.unwrap();
    assert_eq!((report.failing.traces, report.example_trace_id.as_deref()), (0, None), "{report:?}");
    assert!(report.notes.iter().any(|note| note.contains("another root or environment")), "{report:?}");

    let refused = |subject: Subject| {
        let session = &session;
        async move { session.compare(&Request::new(subject)).await.unwrap_err() }
    };
    let good = (0..TRACES).find(|number| !fails(*number)).unwrap();
    assert!(matches!(refused(Subject::Trace(trace_id(good))).await, QueryError::Argument { .. }));
    assert!(matches!(refused(Subject::Trace("f".repeat(32))).await, QueryError::TraceUnknown { .. }));
    assert!(matches!(refused(Subject::Trace(String::from("nonsense"))).await, QueryError::NotATraceId { .. }));
    assert!(matches!(refused(Subject::Either("f".repeat(32))).await, QueryError::TraceUnknown { .. }));
    let unknown = Subject::Fingerprint("f".repeat(32));
    assert!(matches!(refused(unknown).await, QueryError::IncidentUnknown { .. }));
    let other = lake.session("other").await;
    let theirs = [
        (Subject::Trace(trace_id(0)), "trace-unknown"),
        (Subject::Fingerprint(FINGERPRINT.to_owned()), "incident-unknown"),
    ];
    for (subject, code) in theirs {
        assert_eq!(other.compare(&Request::new(subject)).await.unwrap_err().code(), Some(code));
    }
    for options in ["{\"colour\": \"red\"}", "{\"since\": \"soon\"}", "[]"] {
        assert!(matches!(Request::about(FINGERPRINT).narrowed(options), Err(QueryError::Argument { .. })), "{options}");
    }
}

async fn asked(session: &Session, query: &str, values: &[&str]) -> Value {
    let values = values.iter().map(|value| ScalarValue::from(*value)).collect::<Vec<_>>();
    rows(session.collect(query, Some(ParamValues::from(values))).await.unwrap())
}

/// In SQL the first row says what was compared, and the differences follow with their ranks; the reference and the
/// options are bound. An incident that people have merged into another counts for it.
#[tokio::test]
async fn sql_asks_the_same() {
    let lake = lake(&[Kind::Flag]).await;
    let session = lake.session("acme").await;
    let query = "select rank, kind, name, value, failing_with, failing, good_with, good, anchors, example_trace_id
                 from compare_to_baseline($1, $2) where rank < 2 and kind <> 'note'";
    let options = json!({"since": at(-1), "environment": null}).to_string();
    let answer = asked(&session, query, &[&trace_id(4), &options]).await;
    let compared_row = json!({"rank": 0, "kind": "compared", "name": null, "value": null, "failing_with": null,
        "failing": 20, "good_with": null, "good": 60, "anchors": [], "example_trace_id": trace_id(4)});
    let flag = json!({"rank": 1, "kind": "flag", "name": "payments.mode", "value": "strict", "failing_with": 20,
        "failing": 20, "good_with": 14, "good": 60, "anchors": ["flag:payments.mode@payments"],
        "example_trace_id": trace_id(4)});
    assert_eq!(answer, json!([compared_row, flag]));
    let wrong = session.collect("select * from compare_to_baseline()", None).await;
    assert!(wrong.err().unwrap().to_string().contains("compare_to_baseline(trace_id_or_fingerprint"));

    let merged = "0".repeat(32);
    let rule = json!({"tenant_id": "acme", "rule_id": "r1", "action": "merge", "fingerprint": merged,
        "target": FINGERPRINT, "created_at": at(0)});
    let rule = batch(Table::GroupingRules, &[rule]);
    lake.lake.append_side(Table::GroupingRules, rule).await.unwrap();
    let session = lake.session("acme").await;
    let of_merged = compared(&session, &merged).await;
    assert_eq!((of_merged.fingerprint.as_str(), of_merged.failing.traces), (FINGERPRINT, 20), "{of_merged:?}");
}

/// A failing and a good trace got late spans, and with these a second row, in which the good one fails in another way.
/// Guarantees that each trace counts once, by its newest row, on the side or on none.
#[tokio::test]
async fn a_trace_counts_by_its_newest_row() {
    let good = (0..TRACES).find(|number| !fails(*number)).unwrap();
    let mut tables = tables(&[Kind::Flag]);
    for (_, rows) in tables.iter_mut().filter(|(table, _)| *table == Table::Traces) {
        let revised = |number: usize| {
            let mut row = rows[number].clone();
            (row["revision"], row["status"], row["failure_count"]) = (2.into(), "ERROR".into(), 1.into());
            row
        };
        let more = [revised(0), revised(good)];
        rows.extend(more);
    }
    let lake = TestLake::empty().await;
    lake.write(&tables, NOON + 10_000 * SECOND).await;
    let report = lake.session("acme").await.compare(&Request::about(FINGERPRINT)).await.unwrap();
    assert_eq!((report.failing.traces, report.good.traces), (20, 59), "{report:?}");
}

/// Two sets of traces that are named are compared as failing and good ones are, and the rule says so. Traces that there
/// are not, or that are another tenant's, are left out, and too few are told in words.
#[tokio::test]
async fn sets_that_are_named_are_compared() {
    let lake = lake(&[Kind::Flag]).await;
    let ids: Vec<String> = (0..TRACES).map(trace_id).collect();
    let side = |failing: bool| -> Vec<&str> {
        (0..TRACES).filter(|number| fails(*number) == failing).map(|number| ids[number].as_str()).collect()
    };
    let unknown = "f".repeat(32);
    let these: Vec<&str> = side(true).into_iter().chain([unknown.as_str()]).collect();
    let session = lake.session("acme").await;
    let report = session.compare_sets(&these, &side(false)).await.unwrap();
    assert_eq!((report.failing.traces, report.good.traces), (20, 60), "{report:?}");
    assert!(report.rule.contains("20 named traces against 60"), "{report:?}");
    let flag = report.differences.iter().find(|one| one.kind == Kind::Flag);
    assert_eq!(
        flag.map(|one| (one.name.as_str(), one.value.as_str())),
        Some(("payments.mode", "strict")),
        "{report:?}"
    );

    let other = lake.session("other").await;
    let report = other.compare_sets(&these, &side(false)).await.unwrap();
    assert_eq!((report.failing.traces, report.good.traces, report.tested), (0, 0, 0), "{report:?}");
    assert!(report.said.contains("nothing is said"), "{report:?}");
}

/// A bundle that is handed out has under `context` what differs, if the session waits for it; its id is that of the
/// evidence alone. That of a good trace has none.
#[tokio::test]
async fn a_bundle_has_it_beside_its_evidence() {
    let lake = lake(&[Kind::Flag]).await;
    let within = |compares_within| {
        let options = SessionOptions { compares_within, ..SessionOptions::new("acme") };
        async { Session::open(&lake.lake, options).await.unwrap() }
    };
    let waiting = within(Some(Duration::from_secs(600))).await;
    let whole = bundle::assemble(&waiting, &trace_id(0)).await.unwrap();
    let baseline = whole.context.baseline.as_ref().unwrap();
    assert_eq!(baseline["differences"][0]["name"], "payments.mode", "{baseline}");
    assert_eq!(baseline["good"], json!({"traces": 60, "compared": 60}));
    assert!(whole.is_intact());
    let without = bundle::assemble(&within(None).await, &trace_id(0)).await.unwrap();
    assert_eq!((without.context.baseline, without.bundle_id), (None, whole.bundle_id));
    assert_eq!(bundle::assemble(&waiting, &trace_id(1)).await.unwrap().context.baseline, None);
}

/// Two traces fail alike within an hour, and the bundles of both are asked for; then that of the first by its id.
/// Guarantees that one comparison serves both, that its anchors stand in the bundle of its example and in no other, and
/// that it is told beside what was stored without it.
#[tokio::test]
async fn traces_that_fail_alike_share_a_comparison() {
    let lake = lake(&[Kind::Flag]).await;
    let options = SessionOptions { compares_within: Some(Duration::from_secs(600)), ..SessionOptions::new("acme") };
    let session = Session::open(&lake.lake, options).await.unwrap();
    let first = bundle::hand_out(&session, &trace_id(0)).await.unwrap();
    let second = bundle::hand_out(&session, &trace_id(4)).await.unwrap();
    let told = |bundle: &Bundle| {
        let baseline = bundle.context.baseline.as_ref().unwrap();
        (baseline["example_trace_id"].clone(), baseline["differences"][0]["anchors"].clone())
    };
    assert_eq!(told(&first), (json!(trace_id(0)), json!(["flag:payments.mode@payments"])));
    assert_eq!(told(&second), (json!(trace_id(0)), json!([])));
    assert_eq!(bundle::by_id(&session, &first.bundle_id).await.unwrap().context.baseline, None);
    assert_eq!(told(&bundle::hand_out(&session, &first.bundle_id).await.unwrap()), told(&first));
}

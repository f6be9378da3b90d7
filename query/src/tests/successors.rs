//! An incident that goes on under another number when a release has other rules of fingerprints.

use serde_json::{Value, json};
use tracerag_index::Successors;
use tracerag_index::failures::{FailureRules, Grouping};
use tracerag_schemas::Table;
use tracerag_schemas::time::SECOND;

use super::lake::{FAILING, NOON, TestLake, ask, at, row};
use crate::{activity, fixes, grouping};

/// The rules of the next release: two words are enough to stand without a place.
fn next_rules() -> FailureRules {
    let grouping = Grouping { version: 2, telling_words: 2, ..Grouping::default() };
    FailureRules { grouping, ..FailureRules::default() }
}

fn count(fingerprint: &str, version: i32, seconds: i64) -> Value {
    let own = json!({"fingerprint": fingerprint, "fingerprint_version": version, "title": fingerprint,
        "failure_count": 1, "trace_count": 1, "first_seen": at(seconds), "last_seen": at(seconds)});
    row("acme", 1, 101, own)
}

/// An incident with a fix, into which a person has merged another one, is mapped by a release with other rules, and then
/// fails under its new number. Guarantees that it stays one incident: first seen when it was, with its failures, the fix,
/// that it came back after it, and the merge; that it is found by its old and its new number, as by a trace that failed
/// before; that the list says what was mapped; and that a person who takes the mapping back is right.
#[tokio::test]
async fn an_incident_goes_on_under_its_new_number() {
    let lake = TestLake::example(false, 100).await;
    lake.write(&[(Table::IncidentCounts, vec![count("b", 1, 20)])], NOON + 101 * SECOND).await;
    let session = lake.session("acme").await;
    grouping::merge(&session, "me", "b", "abcd", "alike").await.unwrap();
    let fix = |fingerprint: &str, seconds: i64| -> fixes::NewFix {
        let fix = json!({"fingerprint": fingerprint, "summary": "round half even", "fixed_at": at(seconds)});
        serde_json::from_value(fix).unwrap()
    };
    let fix_id = fixes::record(&session, "me", fix("abcd", 5)).await.unwrap();

    let mut successors = Successors::new(lake.lake.clone(), next_rules());
    while successors.step().await.unwrap() {}
    let session = lake.session("acme").await;
    let mapped = ask(&session, "select target from grouping_rules where action = 'map' and fingerprint = 'abcd'").await;
    let next = mapped[0]["target"].as_str().unwrap().to_owned();
    let alone = "select fingerprint f, title t, failure_count n from incidents";
    assert_eq!(ask(&session, alone).await, json!([{"f": next, "t": "OverflowError: decimal overflow", "n": 6}]));
    lake.write(&[(Table::IncidentCounts, vec![count(&next, 2, 40)])], NOON + 102 * SECOND).await;

    let session = lake.session("acme").await;
    let incidents =
        "select fingerprint f, failure_count n, first_seen s, last_seen l, fix_id x, regressed_at r from incidents";
    assert_eq!(
        ask(&session, incidents).await,
        json!([{"f": next, "n": 7, "s": at(3), "l": at(40), "x": fix_id, "r": at(9)}])
    );
    for number in ["abcd", "b", next.as_str()] {
        let found = fixes::list(&session, Some(number), None, 10).await.unwrap().fixes;
        assert_eq!(found.len(), 1, "{number}");
        assert_eq!((&found[0]["fix_id"], &found[0]["came_back"]), (&json!(fix_id), &json!(true)), "{number}");
        assert_eq!((&found[0]["fingerprint"], &found[0]["incident"]), (&json!("abcd"), &json!(next)), "{number}");
    }
    let similar = format!("select fingerprint f, failure_count n from similar_incidents('{FAILING}', 1)");
    assert_eq!(ask(&session, &similar).await, json!([{"f": next, "n": 7}]));
    let seen = activity(session.snapshot(), &[next.as_str()], |_| None, NOON).await.unwrap();
    let [seen] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!((seen.first_seen, seen.failure_count, seen.members.len()), (NOON + 3 * SECOND, 7, 3));
    let listed = ask(&session, &grouping::listing(Some("abcd"))).await;
    let listed = listed.as_array().unwrap().iter();
    let listed: Vec<_> = listed.map(|rule| (&rule["action"], &rule["from_version"], &rule["to_version"])).collect();
    assert_eq!(listed, [(&json!("map"), &json!(1), &json!(2)), (&json!("merge"), &json!(null), &json!(null))]);

    // A fix under the old number counts, and what was mapped may be split.
    fixes::record(&session, "me", fix("abcd", 50)).await.unwrap();
    assert_eq!(ask(&session, "select regressed_at r from incidents").await, json!([{"r": null}]));
    assert_eq!(grouping::split(&session, "me", "abcd", "another cause").await.unwrap(), next);
    let all = "select fingerprint f, failure_count n from incidents order by n desc";
    assert_eq!(ask(&session, all).await, json!([{"f": "abcd", "n": 6}, {"f": next, "n": 1}]));
}

//! Incidents of a lake whose rules of fingerprints change.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, AsArray};
use serde_json::{Value, json};
use tracerag_schemas::{SourcePartition, Table};

use super::*;
use crate::failures::tests::{batch, exception, span};
use crate::failures::{Extracted, Grouping, extract};
use crate::tests::{Fixture, NOON, source};
use crate::{Epoch, SourceProgress, Writer};

/// Where one failure goes: tenant and old fingerprint, and what was written of it.
type Rules = BTreeMap<(String, String), Vec<(String, Option<String>)>>;

/// Rules that differ: the innermost frame alone, and no message that stands without its place.
fn next_rules() -> FailureRules {
    let grouping = Grouping { version: 2, max_keys: 1, telling_words: 100 };
    FailureRules { grouping, ..FailureRules::default() }
}

/// A span with an exception, alone in its trace.
fn failing(number: usize, tenant: &str, name: &str, exception: Value) -> Value {
    let more = json!({"tenant_id": tenant, "trace_id": format!("{number:032x}"), "name": name, "events": exception});
    span("01", None, more)
}

fn at(caller: &str) -> Value {
    let stack = format!("shop.Declined: x\n\tat shop.Pay.charge(Pay.java:7)\n\tat shop.Run.{caller}(Run.java:9)");
    exception("shop.Declined", "declined", &stack)
}

fn bare() -> Value {
    exception("shop.Unread", "cannot read the price list", "")
}

/// Two incidents of one frame, one that is at two places, one that a program states, and one of another tenant.
fn examples() -> Vec<Value> {
    let stated = json!([{"time": "2026-11-16T12:00:00.25Z", "name": "exception", "attributes": {
        "exception.type": "shop.Down", "error.fingerprint": "db-down"}}]);
    vec![
        failing(1, "default", "pay", at("one")),
        failing(2, "default", "pay", at("other")),
        failing(3, "default", "read", bare()),
        failing(4, "default", "write", bare()),
        failing(5, "default", "pay", stated),
        failing(6, "other", "pay", at("one")),
    ]
}

fn found(spans: &[Value], rules: &FailureRules) -> Extracted {
    extract(&batch(Table::Spans, spans), &batch(Table::Logs, &[]), &batch(Table::Traces, &[]), rules).unwrap()
}

/// The fingerprints of spans that have one failure each, in their order.
fn fingerprints(spans: &[Value], rules: &FailureRules) -> Vec<String> {
    let of = |span: &Value| {
        let found = found(std::slice::from_ref(span), rules).failures;
        assert_eq!(found.num_rows(), 1);
        text(&found, "fingerprint").unwrap().value(0).to_owned()
    };
    spans.iter().map(of).collect()
}

async fn write(writer: &mut Writer, source: SourcePartition, offset: i64, spans: &[Value], rules: &FailureRules) {
    let found = found(spans, rules);
    let rows = vec![(Table::Failures, found.failures), (Table::IncidentCounts, found.counts)];
    let progress = SourceProgress { source, to: offset, low_watermark: offset, stream_time: NOON };
    writer.write(Epoch { rows, sources: vec![progress], closed: vec![] }).await.unwrap();
}

async fn written(lake: &Lake) -> Rules {
    let rows = lake.newest("grouping_rules").await.unwrap().scan().try_into_batch().await.unwrap();
    let column = |name: &str| rows.column_by_name(name).unwrap().as_string::<i32>();
    let mut rules = Rules::new();
    for row in 0..rows.num_rows() {
        let key = (column("tenant_id").value(row).to_owned(), column("fingerprint").value(row).to_owned());
        let target = column("target");
        let target = target.is_valid(row).then(|| target.value(row).to_owned());
        rules.entry(key).or_default().push((column("action").value(row).to_owned(), target));
    }
    rules
}

/// A step of a process that ends behind it.
async fn step(fixture: &Fixture, rules: FailureRules) -> bool {
    let mut successors = Successors { at_once: 1, ..Successors::new(fixture.reopen().await, rules) };
    successors.step().await.unwrap()
}

/// A lake with incidents of the first version meets a release with other rules. One incident is taken at a time, by a
/// process that ends behind each; then what it knows of its way is lost, and it goes the way again. Guarantees that two
/// incidents that the new rules take for one go on as that one, each in its own tenant; that one whose failures go to two
/// fingerprints stays on its own and says so; that a stated fingerprint stays; that nothing is written twice; and that an
/// older release changes nothing.
#[tokio::test]
async fn incidents_go_on_under_their_new_numbers() {
    let fixture = Fixture::new().await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    let spans = examples();
    write(&mut writer, source(0), 1, &spans, &FailureRules::default()).await;
    let old = fingerprints(&spans, &FailureRules::default());
    let new = fingerprints(&spans, &next_rules());
    assert_eq!((old[2] == old[3], new[2] == new[3], new[0] == new[1], old[0] == old[1]), (true, false, true, false));
    assert_eq!(old[4], new[4]);

    assert!(!step(&fixture, FailureRules::default()).await, "there is nothing older than the first version");
    assert_eq!(written(&fixture.lake).await, Rules::new());
    let mut steps = 0;
    while step(&fixture, next_rules()).await {
        steps += 1;
    }
    assert!(steps >= 4, "five incidents were taken in {steps} steps and the last");
    let key = |tenant: &str, fingerprint: &str| (tenant.to_owned(), fingerprint.to_owned());
    let goes = |to: &str| vec![("map".to_owned(), Some(to.to_owned()))];
    let expected: Rules = BTreeMap::from([
        (key("default", &old[0]), goes(&new[0])),
        (key("default", &old[1]), goes(&new[0])),
        (key("default", &old[2]), vec![("split".to_owned(), None)]),
        (key("other", &old[5]), goes(&new[5])),
    ]);
    assert_eq!(written(&fixture.lake).await, expected);

    std::fs::remove_dir_all(fixture.files.join(FOLDER)).unwrap();
    while step(&fixture, next_rules()).await {}
    assert!(!step(&fixture, FailureRules::default()).await);
    assert_eq!(written(&fixture.lake).await, expected);
}

/// Two workers believe that they have the lease. Guarantees that one of them goes on where the other is, and that each
/// incident is mapped.
#[tokio::test]
async fn two_at_once_do_no_harm() {
    let fixture = Fixture::new().await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    let spans = examples();
    write(&mut writer, source(0), 1, &spans, &FailureRules::default()).await;
    let successors = async || Successors { at_once: 1, ..Successors::new(fixture.reopen().await, next_rules()) };
    let (mut one, mut other) = (successors().await, successors().await);
    while one.step().await.unwrap() | other.step().await.unwrap() {}
    let targets: BTreeSet<Option<String>> =
        written(&fixture.lake).await.into_values().flatten().map(|(_, target)| target).collect();
    let new = fingerprints(&spans, &next_rules());
    assert_eq!(targets, BTreeSet::from([None, Some(new[0].clone()), Some(new[5].clone())]));
    assert_eq!(written(&fixture.lake).await.len(), 4);
}

/// After all is mapped, a worker of the older release counts an incident that was not there, and one of the new release
/// counts its own. Guarantees that the first is mapped by the next step, and that nothing is said of the second.
#[tokio::test]
async fn what_an_older_worker_writes_later_is_mapped() {
    let fixture = Fixture::new().await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    write(&mut writer, source(0), 1, &[failing(1, "default", "pay", at("one"))], &FailureRules::default()).await;
    let mut successors = Successors::new(fixture.reopen().await, next_rules());
    while successors.step().await.unwrap() {}
    assert_eq!(written(&fixture.lake).await.len(), 1);

    let later = [failing(2, "default", "pay", at("other"))];
    write(&mut writer, source(0), 2, &later, &FailureRules::default()).await;
    write(&mut writer, source(0), 3, &later, &next_rules()).await;
    while successors.step().await.unwrap() {}
    let rules = written(&fixture.lake).await;
    let old = fingerprints(&later, &FailureRules::default());
    let new = fingerprints(&later, &next_rules());
    assert_eq!(rules.len(), 2);
    assert_eq!(rules[&("default".to_owned(), old[0].clone())], [("map".to_owned(), Some(new[0].clone()))]);
}

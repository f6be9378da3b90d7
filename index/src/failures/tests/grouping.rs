//! What groups, what stays apart, and what must not matter.

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type, TimestampNanosecondType};
use serde_json::{Value, json};
use tracerag_schemas::Table;

use super::*;

/// Another type, another message, another service: another failure, in one trace and between traces.
#[test]
fn different_exceptions_stay_apart() {
    let failing = |id: &str, service: &str, kind: &str, message: &str| {
        span(id, Some("01"), json!({"service_name": service, "events": exception(kind, message, "")}))
    };
    let spans = [
        span("01", None, json!({})),
        failing("02", "cart", "a.Broken", "cannot read the price list"),
        failing("03", "cart", "a.Broken", "cannot read the order list"),
        failing("04", "cart", "b.Broken", "cannot read the price list"),
        failing("05", "stock", "a.Broken", "cannot read the price list"),
    ];
    let found = run(&spans, &[], &[]);
    assert_eq!(found.failures.num_rows(), 4);
    assert_eq!(found.counts.num_rows(), 4);
    // Span events that contain each other are two; so is a log record on a span beside.
    let nested = [
        span("01", None, json!({})),
        failing("02", "cart", "a.Broken", "no price"),
        span("03", Some("02"), json!({"service_name": "cart", "events": exception("a.Broken", "no price for it", "")})),
        failing("04", "cart", "a.Lost", "no route to stock"),
        failing("05", "cart", "a.Other", "x"),
    ];
    let beside =
        json!({"service_name": "cart", "attributes": {"exception.type": "Lost", "exception.message": "route"}});
    let found = run(&nested, &[log(Some("05"), 17, "lost", beside)], &[]);
    assert_eq!(found.failures.num_rows(), 5, "{:?}", told(&found));
    // The same trace id under another tenant is another trace.
    let mut foreign = failing("02", "cart", "a.Broken", "cannot read the price list");
    foreign["tenant_id"] = json!("other");
    let both = run(&[failing("02", "cart", "a.Broken", "cannot read the price list"), foreign], &[], &[]);
    assert_eq!(column(&both.counts, "tenant_id"), [Some("default".to_owned()), Some("other".to_owned())]);
}

/// The same failure in many traces, with other ids, is one incident: counts, first and last time,
/// versions, at most three examples, and a text without variable parts.
#[test]
fn counts_sum_by_fingerprint() {
    let logs: Vec<Value> = (0..5)
        .map(|trace| {
            log(
                Some("02"),
                17,
                &format!("19:53:2{trace}.432 ERROR e.s.ExecuteServiceImpl#51 TraceID: {trace}4ff4acb1cca33957b729bff5cc490bd SpanID: {trace}89339ec044f738e [Order Status Wrong][orderId: {trace}d3f04e2-70b1-4297-86ec-4d76be327717]"),
                json!({"trace_id": format!("{trace}af7651916cd43dd8448eb211c80319c"), "time": format!("2026-11-16T12:00:0{trace}Z"), "service_version": format!("1.{}", trace % 2)}),
            )
        })
        .collect();
    let found = run(&[], &logs, &[]);
    assert_eq!(found.failures.num_rows(), 5);
    assert_eq!(found.counts.num_rows(), 1);
    let number = |name: &str| found.counts.column_by_name(name).unwrap().as_primitive::<Int64Type>().value(0);
    assert_eq!((number("failure_count"), number("trace_count")), (5, 5));
    let time = |name: &str| {
        tracerag_schemas::time::rfc3339(
            found.counts.column_by_name(name).unwrap().as_primitive::<TimestampNanosecondType>().value(0),
        )
    };
    assert_eq!(
        (time("first_seen"), time("last_seen")),
        ("2026-11-16T12:00:00.000000000Z".to_owned(), "2026-11-16T12:00:04.000000000Z".to_owned())
    );
    let list = |name: &str| {
        found
            .counts
            .column_by_name(name)
            .unwrap()
            .as_list::<i32>()
            .value(0)
            .as_string::<i32>()
            .iter()
            .flatten()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(list("versions"), ["1.0", "1.1"]);
    assert_eq!(list("example_trace_ids").len(), 3);
    assert_eq!(
        column(&found.counts, "text")[0].as_deref(),
        Some("e.s.ExecuteServiceImpl#<num> [Order Status Wrong][orderId: <uuid>]")
    );
}

/// What is embedded beside the text stands in the counts: where the incident's first failure happened, with the
/// application's functions, and the names of the spans on its path, all without ids. A log record of no trace and no stack
/// has neither.
#[test]
fn counts_say_where_it_failed() {
    let stack = "a.Broken: x\n    at charge (/app/src/pay.js:12:5)\n    at f (/app/node_modules/x/y.js:1:1)";
    let spans = [
        span("01", None, json!({"name": "POST /checkout/4711"})),
        span(
            "02",
            Some("01"),
            json!({"name": "Charge", "service_name": "payments", "events": exception("a.Broken", "cannot read", stack)}),
        ),
    ];
    let found = run(&spans, &[], &[]);
    let context = "payments\ncheckout: POST /checkout/<num> > payments: Charge\ncharge";
    assert_eq!(column(&found.counts, "context"), [Some(context.to_owned())]);
    assert_eq!(column(&found.counts, "shape"), [Some("POST /checkout/<num> > Charge".to_owned())]);
    let alone = run(&[], &[log(None, 17, "cannot read the price list", json!({"trace_id": null}))], &[]);
    assert_eq!((column(&alone.counts, "context"), column(&alone.counts, "shape")), (vec![None], vec![None]));
}

/// One incident in two environments has a row of counts for each, so that a filter on one does not count the
/// other; what has no environment stands for itself.
#[test]
fn counts_are_kept_by_environment() {
    let failing = |trace: u8, environment: Value| {
        let more = json!({"trace_id": format!("{trace}af7651916cd43dd8448eb211c80319c"),
            "deployment_environment_name": environment, "events": exception("A", "EOF", "")});
        span("01", None, more)
    };
    let spans = [
        failing(1, json!("production")),
        failing(2, json!("staging")),
        failing(3, json!("production")),
        failing(4, Value::Null),
    ];
    let found = run(&spans, &[], &[]);
    let failures = found.counts.column_by_name("failure_count").unwrap().as_primitive::<Int64Type>();
    let environments = column(&found.counts, "deployment_environment_name");
    let mut counted: Vec<_> = environments.into_iter().zip(failures.values().iter().copied()).collect();
    counted.sort();
    assert_eq!(counted, [(None, 1), (Some("production".to_owned()), 2), (Some("staging".to_owned()), 1)]);
    let fingerprints = column(&found.counts, "fingerprint");
    assert!(fingerprints.iter().all(|id| *id == fingerprints[0]));
}

/// A stated fingerprint groups what else differs, and the row says which attribute stated it.
#[test]
fn a_stated_fingerprint_groups() {
    let failing = |id: &str, message: &str| {
        span(id, None, json!({"attributes": {"error.fingerprint": "db-down"}, "events": exception("A", message, "")}))
    };
    let found = run(&[failing("01", "one thing"), failing("02", "another")], &[], &[]);
    assert_eq!(found.failures.num_rows(), 2);
    assert_eq!(found.counts.num_rows(), 1);
    assert_eq!(column(&found.failures, "grouped_by")[0].as_deref(), Some("fingerprint stated in error.fingerprint"));
}

/// Two errors that one span logs at one time under one fingerprint are two failures with an id each.
#[test]
fn every_failure_has_an_id_of_its_own() {
    let logs = ["cannot reserve item 7", "cannot reserve item 8"].map(|body| log(Some("01"), 17, body, json!({})));
    let found = run(&[span("01", None, json!({}))], &logs, &[]);
    let (ids, fingerprints) = (column(&found.failures, "failure_id"), column(&found.failures, "fingerprint"));
    assert_eq!(ids.len(), 2, "{:?}", told(&found));
    assert_eq!(fingerprints[0], fingerprints[1]);
    assert_ne!(ids[0], ids[1]);
}

/// The order in which spans and records arrived does not matter, nor whether callers' spans are there.
#[test]
fn the_order_of_arrival_does_not_matter() {
    let mut spans = vec![
        span("01", None, json!({"status_code": "ERROR", "service_name": "web"})),
        span("02", Some("01"), json!({"status_code": "ERROR", "events": exception("A", "EOF", "")})),
        span("03", Some("02"), json!({"status_code": "ERROR", "events": exception("A", "EOF", "")})),
        span("04", Some("02"), json!({"status_code": "ERROR", "events": exception("A", "EOF", "")})),
        span("05", Some("04"), json!({"status_code": "ERROR", "status_message": "x"})),
    ];
    let mut logs = vec![
        log(Some("02"), 17, "one", json!({})),
        log(Some("03"), 17, "two", json!({})),
        log(Some("01"), 21, "three", json!({})),
    ];
    let first = run(&spans, &logs, &[]);
    spans.reverse();
    logs.reverse();
    let second = run(&spans, &logs, &[]);
    assert_eq!(column(&first.failures, "failure_id"), column(&second.failures, "failure_id"));
    let without_root = run(&spans[..4], &logs[1..], &[]);
    let fingerprints = column(&first.failures, "fingerprint");
    assert!(column(&without_root.failures, "fingerprint").iter().all(|id| fingerprints.contains(id)));
}

/// Spans that name each other as parents, themselves, or one that is missing, end as failures like others.
#[test]
fn broken_trees_end() {
    let failing = |id: &str, parent: &str| {
        span(id, Some(parent), json!({"status_code": "ERROR", "status_message": format!("m{id}")}))
    };
    let found = run(
        &[failing("01", "02"), failing("02", "03"), failing("03", "01"), failing("04", "04"), failing("05", "99")],
        &[],
        &[],
    );
    let spans = column(&found.failures, "span_id");
    assert!(spans.contains(&Some("04".to_owned())) && spans.contains(&Some("05".to_owned())));
    assert_eq!(spans.len(), 3, "{spans:?}");
}

/// Five thousand nested spans that all fail with one exception are one failure, quickly.
#[test]
fn deep_traces_stay_cheap() {
    let events = exception("A", "too deep", "");
    let spans: Vec<Value> = (0..5000)
        .map(|at| {
            let parent = (at > 0).then(|| format!("{:016x}", at - 1));
            span(&format!("{at:016x}"), parent.as_deref(), json!({"status_code": "ERROR", "events": events.clone()}))
        })
        .collect();
    let found = run(&spans, &[], &[]);
    assert_eq!(column(&found.failures, "span_id"), [Some(format!("{:016x}", 4999))]);
    assert!(column(&found.failures, "span_path")[0].as_deref().unwrap().contains(" > ... > "));
}

/// Nothing in, nothing out; a batch of another schema is refused with the column's name.
#[test]
fn empty_and_wrong_batches() {
    let found = run(&[], &[], &[]);
    assert_eq!((found.failures.num_rows(), found.counts.num_rows()), (0, 0));
    let [spans, logs, traces] =
        [Table::Spans, Table::Logs, Table::Traces].map(|table| RecordBatch::new_empty(table.lake_schema()));
    let in_flight = RecordBatch::new_empty(Table::Spans.in_flight_schema());
    let error = extract(&in_flight, &logs, &traces, &FailureRules::default()).unwrap_err();
    assert!(error.to_string().contains("spans has no column"), "{error}");
    assert!(extract(&spans, &traces, &traces, &FailureRules::default()).is_err());
}

/// A slice of a larger batch, whose offsets do not begin at 0, gives the failures of its own rows only.
#[test]
fn slices_are_read_by_their_own_offsets() {
    let spans = [
        span("01", None, json!({"attributes": {"a": "b"}, "events": exception("A", "first", "")})),
        span("02", None, json!({"attributes": {"a": "b"}, "events": exception("B", "second", "")})),
    ];
    let whole = batch(Table::Spans, &spans);
    let [logs, traces] = [Table::Logs, Table::Traces].map(|table| RecordBatch::new_empty(table.lake_schema()));
    let found = extract(&whole.slice(1, 1), &logs, &traces, &FailureRules::default()).unwrap();
    assert_eq!(told(&found), ["exception 02 B: second"]);
    let revision = found.failures.column_by_name("revision").unwrap().as_primitive::<Int32Type>();
    assert_eq!(revision.value(0), 1);
    assert!(Arc::ptr_eq(&found.failures.schema(), &Table::Failures.lake_schema()));
}

//! Records without a trace that tell of a trace's failure once more.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use serde_json::{Value, json};

use super::origins::{at, threw, timed};
use super::*;

/// A span of an instance that failed.
fn failing(id: &str, ms: u32) -> Value {
    let mut span = timed(id, None, "web", (0, 3000), threw(ms, "shop.KeyError", "'currency'"));
    span["service_instance_id"] = json!("web-1");
    span
}

/// The record of a server that logged it, with what it says otherwise.
fn logged(ms: u32, more: Value) -> Value {
    let attributes = json!({"exception.type": "KeyError", "exception.message": "'currency'"});
    let mut record = json!({"trace_id": null, "time": at(ms), "service_name": "web", "service_instance_id": "web-1", "attributes": attributes});
    record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    log(None, 17, "Exception in application", record)
}

/// Rows that are origins, and rows that are echoes.
fn rows(found: &Extracted) -> (usize, usize) {
    let origins = column(&found.failures, "origin_id");
    let echoes = origins.iter().flatten().count();
    (origins.len() - echoes, echoes)
}

/// A server logs what its application has thrown, without the context of the request. Guarantees that the record is an
/// echo of the failure in the trace, owned by the same span, and that the incidents count one failure in one trace.
#[test]
fn a_record_without_a_trace_is_an_echo() {
    let found = run(&[failing("01", 500)], &[logged(503, json!({}))], &[]);
    let ids = column(&found.failures, "failure_id");
    assert_eq!(column(&found.failures, "origin_id"), [None, ids[0].clone()]);
    assert_eq!(column(&found.failures, "origin_span_id"), vec![Some("01".to_owned()); 2]);
    let sum = |name: &str| -> i64 {
        found.counts.column_by_name(name).unwrap().as_primitive::<Int64Type>().iter().flatten().sum()
    };
    assert_eq!((sum("failure_count"), sum("echo_count"), sum("trace_count")), (1, 1, 1));
}

/// Records that differ in one thing from what a failure says. Guarantees that each of them stays a failure of its own.
#[test]
fn what_differs_stands_for_itself() {
    for (ms, more) in [
        (1_600, json!({})),
        (503, json!({"service_instance_id": "web-2"})),
        (503, json!({"service_name": "worker"})),
        (503, json!({"tenant_id": "other"})),
        (503, json!({"attributes": {"exception.type": "ValueError", "exception.message": "'currency'"}})),
        (503, json!({"attributes": {"exception.type": "KeyError", "exception.message": "'amount_due'"}})),
        (503, json!({"attributes": {}})),
    ] {
        assert_eq!(rows(&run(&[failing("01", 500)], &[logged(ms, more.clone())], &[])), (2, 0), "{ms} {more}");
    }
    // A record that does not name its instance may be of any.
    assert_eq!(rows(&run(&[failing("01", 500)], &[logged(503, json!({"service_instance_id": null}))], &[])), (1, 1));
}

/// More records than failures: only some of the requests are traced. Guarantees that a failure has one record, the nearest,
/// and that the others count.
#[test]
fn a_failure_has_one_record() {
    let mut other = failing("02", 2_000);
    other["trace_id"] = json!("2".repeat(32));
    let logs = [logged(503, json!({})), logged(600, json!({})), logged(2_005, json!({}))];
    let found = run(&[failing("01", 500), other], &logs, &[]);
    assert_eq!(rows(&found), (3, 2));
    let origins = column(&found.failures, "origin_id");
    let echoes: Vec<bool> = (2..5).map(|row| origins[row].is_some()).collect();
    assert_eq!(echoes, [true, false, true]);
}

/// More records than are compared with all failures word by word, and none of them tells of one. Guarantees that a record
/// after them whose type and masked message are those of a failure is an echo all the same, and that one whose words alone
/// tell of it counts.
#[test]
fn many_records_end_the_comparison_of_words() {
    let said = |number: usize| format!("shelf {} holds none of what was ordered", "x".repeat(number + 1));
    let of_trace = |number: usize, mut span: Value| {
        span["trace_id"] = json!(format!("{number:032x}"));
        span
    };
    let failure =
        |number: usize| of_trace(number + 2, timed("01", None, "web", (0, 3000), threw(500, "Empty", &said(number))));
    let record = |ms: u32, message: String| {
        log(None, 17, &message, json!({"trace_id": null, "time": at(ms), "service_name": "web"}))
    };
    let mut spans: Vec<Value> = (0..300).map(failure).collect();
    spans.push(of_trace(1, failing("01", 500)));
    let other = |number: usize| format!("printer {} is out of paper, {}", "y".repeat(number + 1), "z".repeat(400));
    let mut logs: Vec<Value> = (0..300).map(|number| record(500, other(number))).collect();
    logs.extend([logged(510, json!({})), record(520, format!("while it was packed: {}", said(299)))]);
    assert_eq!(rows(&run(&spans, &logs, &[])), (602, 1));
    let told = &logs[300..];
    assert_eq!(rows(&run(&spans, told, &[])), (301, 2));
}

/// A record of which the failure is stored already, and another one. Guarantees that the first is its echo, and that the
/// second finds it taken once that echo is stored, too.
#[test]
fn stored_failures_have_records_too() {
    let earlier = run(&[failing("01", 500)], &[], &[]);
    let nothing = |table| batch(table, &[]);
    let after = |stored: &RecordBatch, record: Value| {
        let before = Before { spans: nothing(Table::Spans), failures: stored.clone() };
        let logs = batch(Table::Logs, &[record]);
        let (spans, traces) = (nothing(Table::Spans), nothing(Table::Traces));
        extract_after(&spans, &logs, &traces, &before, &FailureRules::default()).unwrap()
    };
    let first = after(&earlier.failures, logged(503, json!({})));
    assert_eq!(column(&first.failures, "origin_id"), column(&earlier.failures, "failure_id"));
    let schema = earlier.failures.schema();
    let both = arrow::compute::concat_batches(&schema, [&earlier.failures, &first.failures]).unwrap();
    assert_eq!(rows(&after(&both, logged(504, json!({})))), (1, 0));
}

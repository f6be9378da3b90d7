//! The forms in which failures are told, and what of them is one failure.

use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, TimestampNanosecondType};
use serde_json::{Value, json};
use tracerag_schemas::Table;

use super::*;

/// An exception event fills every column of its row: the event's time, the span's place, the frames,
/// the reason of the grouping, the origin of the span, and what was in effect in the trace.
#[test]
fn an_exception_event_is_a_failure() {
    let spans = [
        span("01", None, json!({"name": "POST /checkout", "kind": "SERVER", "service_name": "web"})),
        span(
            "02",
            Some("01"),
            json!({"name": "charge", "service_name": "payments", "service_version": "1.9.0", "build_git_sha": "a1b2c3d", "status_code": "ERROR",
                "deployment_environment_name": "production", "events": exception("java.lang.ArithmeticException", "decimal overflow 12.5", JAVA)}),
        ),
    ];
    let traces = [json!({"tenant_id": "default", "trace_id": TRACE, "revision": 1, "flags_in_effect": [
        {"kind": "flag", "key": "payments.decimal_mode", "variant": "loose"},
        {"kind": "flag", "key": "payments.decimal_mode", "variant": "strict", "service": "payments"},
        {"kind": "flag", "key": "web.theme", "variant": "dark", "service": "web"},
        {"kind": "config", "key": "payments.pool.size", "value": "20"}], "builds_in_effect": []})];
    let found = run(&spans, &[], &traces);
    assert_eq!(told(&found), ["exception 02 java.lang.ArithmeticException: decimal overflow 12.5"]);
    let one = |name: &str| column(&found.failures, name)[0].clone().unwrap();
    assert_eq!(one("service_name"), "payments");
    assert_eq!(one("service_version"), "1.9.0");
    assert_eq!(one("build_git_sha"), "a1b2c3d");
    assert_eq!(one("deployment_environment_name"), "production");
    assert_eq!(one("message_masked"), "decimal overflow <num>");
    assert_eq!(one("span_name"), "charge");
    assert_eq!(one("span_path"), "web: POST /checkout > payments: charge");
    assert_eq!(one("grouped_by"), "exception type and 1 in-app frame");
    assert_eq!(one("kafka_topic"), "otlp_spans");
    assert_eq!(one("failure_id").len(), 32);
    let time = found.failures.column_by_name("time").unwrap().as_primitive::<TimestampNanosecondType>().value(0);
    assert_eq!(tracerag_schemas::time::rfc3339(time), "2026-11-16T12:00:00.250000000Z");
    let frames = found.failures.column_by_name("frames").unwrap().as_list::<i32>().value(0);
    assert_eq!(frames.as_struct().column_by_name("line").unwrap().as_primitive::<Int64Type>().values(), &[117, 1]);
    let flags = found.failures.column_by_name("flags").unwrap().as_map().value(0);
    let entry =
        |column: usize| flags.column(column).as_string::<i32>().iter().flatten().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!((entry(0), entry(1)), (vec!["payments.decimal_mode".to_owned()], vec!["strict".to_owned()]));
    assert_eq!(found.failures.schema(), Table::Failures.lake_schema());
    assert_eq!(found.counts.schema(), Table::IncidentCounts.lake_schema());
}

/// One exception recorded again on every span that it passes is one failure, at the deepest span, and the
/// errors of the spans above are explained by it.
#[test]
fn an_exception_that_passes_spans_counts_once() {
    let error = |stack| json!({"status_code": "ERROR", "events": exception("httpx.ConnectError", "[Errno 111] Connection refused", stack)});
    let spans = [
        span("01", None, json!({"status_code": "ERROR", "kind": "SERVER", "http_response_status_code": 500})),
        span(
            "02",
            Some("01"),
            error(
                "Traceback (most recent call last):\n  File \"/app/main.py\", line 3, in checkout\nhttpx.ConnectError: x",
            ),
        ),
        span("03", Some("02"), error("")),
        span("04", Some("03"), error("")),
    ];
    let found = run(&spans, &[], &[]);
    assert_eq!(told(&found), ["exception 04 httpx.ConnectError: [Errno 111] Connection refused"]);
    // The stack is that of the span that has one.
    assert!(column(&found.failures, "stacktrace")[0].as_deref().unwrap().contains("checkout"));
}

/// `logs/dup` and Python's log handler tell of the exception once more, under its short name and in
/// fewer words; it stays one failure under its long name.
#[test]
fn both_forms_are_one_failure() {
    let events = exception("httpx.ConnectError", "[Errno 111] Connection refused", "");
    let spans =
        [span("01", None, json!({})), span("02", Some("01"), json!({"status_code": "ERROR", "events": events}))];
    let logs = [
        log(
            Some("02"),
            17,
            "payment failed",
            json!({"attributes": {"exception.type": "ConnectError", "exception.message": "111"}}),
        ),
        log(
            Some("01"),
            17,
            "",
            json!({"event_name": "http.client.request.exception", "attributes": {
            "exception.type": "httpx.ConnectError", "exception.message": "[Errno 111] Connection refused"}}),
        ),
    ];
    assert_eq!(told(&run(&spans, &logs, &[])), ["exception 02 httpx.ConnectError: [Errno 111] Connection refused"]);
    // The record alone is a failure too, whatever its severity.
    let alone = [log(
        Some("02"),
        13,
        "careful",
        json!({"attributes": {"exception.type": "ConnectError", "exception.message": "111"}}),
    )];
    assert_eq!(told(&run(&[span("02", None, json!({}))], &alone, &[])), ["exception 02 ConnectError: 111"]);
}

/// A span with status ERROR fails where nothing at or below it explains it: the deepest of a chain, not
/// its callers; a server's 5xx counts without a status; a span that says OK has handled what is below.
#[test]
fn a_status_counts_where_it_begins() {
    let error = |more: Value| {
        let mut span = json!({"status_code": "ERROR"});
        span.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        span
    };
    let chain = [
        span("01", None, error(json!({"kind": "SERVER", "http_response_status_code": 502}))),
        span("02", Some("01"), error(json!({"kind": "CLIENT", "error_type": "502", "status_message": "bad gateway"}))),
        span("03", Some("02"), json!({"kind": "SERVER", "service_name": "payments", "http_response_status_code": 503})),
    ];
    let found = run(&chain, &[], &[]);
    assert_eq!(told(&found), ["span_status 03 -: -"]);
    assert_eq!(column(&found.failures, "grouped_by"), [Some("span path and error type".to_owned())]);
    assert_eq!(column(&found.counts, "title"), [Some("503 in op <num>".to_owned())]);
    assert_eq!(told(&run(&chain[..2], &[], &[])), ["span_status 02 -: bad gateway"]);

    let handled = [
        span("01", None, error(json!({"status_message": "payment declined"}))),
        span("02", Some("01"), json!({"status_code": "OK"})),
        span("03", Some("02"), error(json!({"status_message": "cache is down"}))),
    ];
    assert_eq!(
        told(&run(&handled, &[], &[])),
        ["span_status 03 -: cache is down", "span_status 01 -: payment declined"]
    );
    // A client's 4xx and a server's 4xx without status are no failures by themselves.
    assert_eq!(
        told(&run(&[span("01", None, json!({"kind": "SERVER", "http_response_status_code": 404}))], &[], &[])),
        Vec::<String>::new()
    );
}

/// ERROR records without an exception are failures of their own, unless they repeat an exception's
/// message; they explain the status of their span; equal ones of a trace count once.
#[test]
fn error_logs_are_failures() {
    let spans = [
        span("01", None, json!({"status_code": "ERROR"})),
        span("02", Some("01"), json!({"events": exception("ConnectError", "no route to payments", "")})),
        span("03", Some("01"), json!({"status_code": "ERROR", "status_message": "stock is empty"})),
    ];
    let logs = [
        log(Some("01"), 17, "checkout failed: no route to payments", json!({})),
        log(Some("03"), 17, "cannot reserve item 7 of the order", json!({})),
        log(Some("03"), 17, "cannot reserve item 7 of the order", json!({"time": "2026-11-16T12:00:00.7Z"})),
        log(Some("03"), 13, "only a warning", json!({})),
        log(Some("03"), 9, "{}", json!({"event_name": "feature_flag.evaluation"})),
    ];
    assert_eq!(
        told(&run(&spans, &logs, &[])),
        ["exception 02 ConnectError: no route to payments", "log 03 -: cannot reserve item 7 of the order"]
    );
}

/// A trace with more exceptions than a record is compared with, all of them told again by records of other services'
/// spans. Guarantees that how many others there are changes nothing: neither those of other services nor those of its own
/// make a record count again.
#[test]
fn many_exceptions_hide_none_that_a_record_repeats() {
    let mut spans = vec![span("01", None, json!({}))];
    let mut logs = Vec::new();
    for number in 0..200 {
        let (id, service) = (format!("{:02x}", number + 2), format!("shop-{}", number % 2));
        let message = format!("no route to store {number}");
        let failed = json!({"service_name": service, "events": exception("ConnectError", &message, "")});
        spans.push(span(&id, Some("01"), failed));
        let told = format!("cannot look up the price: {message}");
        logs.push(log(Some(&id), 17, &told, json!({"service_name": service})));
        logs.push(log(Some("01"), 17, &told, json!({"service_name": service})));
    }
    let found = run(&spans, &logs, &[]);
    assert_eq!(column(&found.failures, "kind"), vec![Some("exception".to_owned()); 200]);
}

/// Records whose sender states a severity as text alone. Guarantees that the text counts where there is no number, or
/// OTLP's 0 for none, and that a number that is there says more than the text.
#[test]
fn a_severity_text_counts_where_no_number_is_given() {
    for (number, said, fails) in [
        (Value::Null, "ERROR", true),
        (Value::Null, "fatal", true),
        (Value::Null, "Critical", true),
        (json!(0), "SEVERE", true),
        (Value::Null, "warning", false),
        (Value::Null, "", false),
        (json!(9), "ERROR", false),
    ] {
        let told = json!({"severity_number": number, "severity_text": said});
        let found = run(&[span("01", None, json!({}))], &[log(Some("01"), 0, "stock is empty", told)], &[]);
        assert_eq!(found.failures.num_rows(), usize::from(fails), "{number} {said}");
    }
}

/// A record that has an exception's words on a span beside it tells of a failure there; several lines
/// that are no stack are not kept as one.
#[test]
fn a_record_beside_an_exception_stands_for_itself() {
    let spans = [
        span("01", None, json!({})),
        span("02", Some("01"), json!({"events": exception("ConnectError", "no route to payments", "")})),
        span("03", Some("01"), json!({"kind": "SERVER", "status_code": "OK", "http_response_status_code": 503})),
    ];
    let attributes = json!({"attributes": {"exception.type": "Broken", "exception.message": "no stock"}});
    let logs = [
        log(Some("03"), 17, "gave up: no route to payments", json!({})),
        log(Some("01"), 17, "first line\nsecond line", attributes),
    ];
    let found = run(&spans, &logs, &[]);
    assert_eq!(
        told(&found),
        [
            "exception 02 ConnectError: no route to payments",
            "exception 01 Broken: no stock",
            "log 03 -: gave up: no route to payments",
        ]
    );
    assert_eq!(column(&found.failures, "stacktrace"), [None, None, None]);
    // A span that states success has not failed, whatever it answered.
    assert_eq!(run(&spans[2..], &[], &[]).failures.num_rows(), 0);
}

/// A record outside any trace counts, a stack in its body makes it an exception, and an error that
/// stands in an attribute belongs to what it says.
#[test]
fn logs_without_a_trace_count() {
    let outside =
        |body: &str, attributes: Value| log(None, 17, body, json!({"trace_id": null, "attributes": attributes}));
    let stack = "Exception in application\nTraceback (most recent call last):\n  File \"/app/main.py\", line 3, in run\n    f()\nshop.Broken: no stock";
    let logs = [
        outside(stack, json!({})),
        outside("request failed", json!({"error": "decimal overflow"})),
        outside("{}", json!({"event_name": "job.failed"})),
        outside(
            "threw [nested exception is java.lang.IllegalStateException: No instances available for ts-order-service] with root cause",
            json!({}),
        ),
    ];
    let found = run(&[], &logs, &[]);
    let told = told(&found);
    assert_eq!(told[0], "exception - shop.Broken: no stock");
    assert_eq!(told[1], "log - -: request failed: decimal overflow");
    assert_eq!(column(&found.failures, "exception_type")[3].as_deref(), Some("java.lang.IllegalStateException"));
    assert_eq!(column(&found.failures, "trace_id"), vec![None; 4]);
    let traces = found.counts.column_by_name("trace_count").unwrap().as_primitive::<Int64Type>();
    assert!(traces.iter().all(|count| count == Some(0)));
}

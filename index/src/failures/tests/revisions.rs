//! Parts of a trace that come when others are stored.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use serde_json::{Value, json};

use super::origins::{threw, timed};
use super::*;

/// The failures of a part of a trace whose earlier part is stored, with its failures.
fn after(earlier: &[Value], stored: &Extracted, spans: &[Value], logs: &[Value]) -> Extracted {
    let before = Before { spans: batch(Table::Spans, earlier), failures: stored.failures.clone() };
    let (spans, logs) = (batch(Table::Spans, spans), batch(Table::Logs, logs));
    extract_after(&spans, &logs, &batch(Table::Traces, &[]), &before, &FailureRules::default()).unwrap()
}

/// How many failures and echoes the incidents count.
fn counted(found: &Extracted) -> (i64, i64) {
    let sum = |name: &str| -> i64 {
        found.counts.column_by_name(name).unwrap().as_primitive::<Int64Type>().iter().flatten().sum()
    };
    (sum("failure_count"), sum("echo_count"))
}

/// A caller that fails of a call, and the call.
fn caller_and_call() -> [Value; 2] {
    [
        timed("01", None, "web", (0, 1000), threw(990, "web.CheckoutFailed", "no answer")),
        timed("02", Some("01"), "stock", (100, 980), threw(970, "stock.Busy", "try again")),
    ]
}

/// A caller and the call that it failed of come apart, in either order. Guarantees that they are one failure, which stays
/// the one that was stored, and that the later row names the span that owns both.
#[test]
fn parts_of_one_failure_count_once() {
    let [caller, call] = caller_and_call();
    assert_eq!(counted(&run(&[caller.clone(), call.clone()], &[], &[])), (1, 1));
    for (first, second) in [(&caller, &call), (&call, &caller)] {
        let first = std::slice::from_ref(first);
        let stored = run(first, &[], &[]);
        let found = after(first, &stored, std::slice::from_ref(second), &[]);
        assert_eq!((counted(&stored), counted(&found)), ((1, 0), (0, 1)));
        assert_eq!(column(&found.failures, "origin_id"), column(&stored.failures, "failure_id"));
        assert_eq!(column(&found.failures, "origin_span_id"), [Some("02".to_owned())]);
    }
}

/// A third part comes behind an echo. Guarantees that it names the same origin as the echo does, and not the echo.
#[test]
fn echoes_of_echoes_name_the_origin() {
    let [caller, call] = caller_and_call();
    let top = timed("00", None, "edge", (0, 1100), threw(1050, "edge.BadGateway", "upstream failed"));
    let mut caller_below = caller;
    caller_below["parent_span_id"] = json!("00");
    let earlier = [call, caller_below];
    let stored = run(&earlier, &[], &[]);
    let found = after(&earlier, &stored, &[top], &[]);
    let origins: Vec<Option<String>> = column(&stored.failures, "origin_id").into_iter().flatten().map(Some).collect();
    assert_eq!((counted(&found), column(&found.failures, "origin_id")), ((0, 1), origins));
}

/// What is stored is told again: by the span above that the exception passed, by the status above it, by a record of the
/// span, and by a record in fewer words. Guarantees that none of them is a failure of its own.
#[test]
fn what_is_told_again_is_none() {
    let thrown = threw(500, "httpx.ConnectError", "[Errno 111] Connection refused");
    let below = [timed("02", Some("01"), "web", (100, 600), thrown.clone())];
    let stored = run(&below, &[], &[]);
    let more =
        json!({"service_name": "web", "attributes": {"exception.type": "ConnectError", "exception.message": "111"}});
    let logs = [
        log(Some("02"), 17, "no price: [Errno 111] Connection refused", json!({"service_name": "web"})),
        log(Some("02"), 17, "payment failed", more),
    ];
    for spans in [
        [timed("01", None, "web", (0, 1000), thrown)],
        [timed("01", None, "web", (0, 1000), json!({"status_code": "ERROR"}))],
    ] {
        let found = after(&below, &stored, &spans, &logs);
        assert_eq!(told(&found), Vec::<String>::new());
        assert_eq!(found.counts.num_rows(), 0);
    }
    // Without what is stored each of them counts.
    assert_eq!(run(&[], &logs, &[]).failures.num_rows(), 2);
}

/// A later part fails with another message of the same group. Guarantees that it is another failure, and that the trace is
/// not counted again, but in another environment, whose incidents count their own traces.
#[test]
fn a_trace_in_parts_counts_once() {
    let first = [timed("01", None, "web", (0, 1000), threw(500, "shop.NoStock", "no stock of item 7"))];
    let second = [timed("02", None, "web", (2000, 3000), threw(2500, "shop.NoStock", "no stock of item 8"))];
    let stored = run(&first, &[], &[]);
    let found = after(&first, &stored, &second, &[]);
    assert_eq!(column(&found.failures, "fingerprint"), column(&stored.failures, "fingerprint"));
    let traces = |found: &Extracted| {
        found.counts.column_by_name("trace_count").unwrap().as_primitive::<Int64Type>().values().to_vec()
    };
    assert_eq!((counted(&found), traces(&stored), traces(&found)), ((1, 0), vec![1], vec![0]));
    let [mut elsewhere] = second;
    elsewhere["deployment_environment_name"] = json!("staging");
    assert_eq!(traces(&after(&first, &stored, &[elsewhere], &[])), [1]);
}

/// A failing span comes when the spans above it are stored. Guarantees that it has the path, the fingerprint and the
/// grouping that it would have had beside them.
#[test]
fn paths_are_those_of_the_whole_trace() {
    let above = [
        timed("01", None, "web", (0, 1000), json!({"name": "POST /checkout"})),
        timed("02", Some("01"), "web", (10, 900), json!({"name": "reserve"})),
    ];
    let failing = json!({"name": "lock", "status_code": "ERROR", "error_type": "busy"});
    let below = timed("03", Some("02"), "web", (20, 800), failing);
    let whole = run(&[above.as_slice(), std::slice::from_ref(&below)].concat(), &[], &[]);
    let found = after(&above, &run(&above, &[], &[]), &[below], &[]);
    for name in ["fingerprint", "grouping_path", "span_path", "failure_id"] {
        assert_eq!(column(&found.failures, name), column(&whole.failures, name), "{name}");
    }
    assert_eq!(column(&found.failures, "grouping_path"), [Some("POST /checkout > reserve > lock".to_owned())]);
}

/// A caller has given up and is stored; its slow call ends later and fails for it. Guarantees that the later row names the
/// slow span, which was not there when the first one was written.
#[test]
fn a_later_row_names_the_slow_span() {
    let caller = [timed("01", None, "web", (0, 2000), threw(2000, "*errors.errorString", "context deadline exceeded"))];
    let stored = run(&caller, &[], &[]);
    assert_eq!(column(&stored.failures, "origin_span_id"), [Some("01".to_owned())]);
    let late = [
        timed("02", Some("01"), "orders", (10, 5000), threw(4990, "orders.Failed", "context canceled")),
        timed("03", Some("02"), "stock", (100, 4900), json!({"kind": "SERVER"})),
    ];
    let found = after(&caller, &stored, &late, &[]);
    assert_eq!(column(&found.failures, "origin_id"), column(&stored.failures, "failure_id"));
    assert_eq!(column(&found.failures, "origin_span_id"), [Some("03".to_owned())]);
}

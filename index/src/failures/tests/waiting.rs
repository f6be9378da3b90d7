//! Codes without a status, and who gave up where somebody waited.

use arrow::array::AsArray;
use serde_json::{Value, json};

use super::origins::{at, owned, threw, timed};
use super::*;

/// Answers that are failures on their side count without a status: HTTP 5xx on both, gRPC's codes as the conventions
/// have it.
#[test]
fn codes_count_without_a_status() {
    for (kind, answer, fails) in [
        ("SERVER", json!({"rpc_status_code": "INTERNAL"}), true),
        ("SERVER", json!({"rpc_status_code": "NOT_FOUND"}), false),
        ("CLIENT", json!({"rpc_status_code": "NOT_FOUND"}), true),
        ("CLIENT", json!({"rpc_status_code": "OK"}), false),
        ("INTERNAL", json!({"rpc_status_code": "INTERNAL"}), false),
        ("CLIENT", json!({"http_response_status_code": 503}), true),
        ("CLIENT", json!({"http_response_status_code": 404}), false),
        ("SERVER", json!({"http_response_status_code": 503, "status_code": "OK"}), false),
    ] {
        let mut span = span("01", None, answer.clone());
        span["kind"] = json!(kind);
        let found = run(&[span], &[], &[]);
        assert_eq!(found.failures.num_rows(), usize::from(fails), "{kind} {answer}");
    }
}

/// Types, codes and words of time-outs and cancellations, and what only looks like one.
#[test]
fn interruptions_are_told_apart() {
    for (exception_type, message, expected) in [
        ("java.net.SocketTimeoutException", "Read timed out", Some("timeout")),
        ("*errors.errorString", "context deadline exceeded", Some("timeout")),
        ("httpx.ReadTimeout", "", Some("timeout")),
        ("Error", "connect ETIMEDOUT 10.0.0.7:5432", Some("timeout")),
        ("asyncio.exceptions.CancelledError", "", Some("cancellation")),
        ("*errors.errorString", "charge: context canceled", Some("cancellation")),
        ("AbortError", "The operation was aborted", Some("cancellation")),
        (
            "System.Threading.Tasks.TaskCanceledException",
            "The request was canceled due to the configured HttpClient.Timeout of 100 seconds elapsing.",
            Some("timeout"),
        ),
        ("shop.OrderCancelled", "order 7 was cancelled by the buyer", None),
        ("ValueError", "invalid timeout 'abc'", None),
    ] {
        let spans = [timed("01", None, "web", (0, 1000), threw(990, exception_type, message))];
        let found = run(&spans, &[], &[]);
        assert_eq!(column(&found.failures, "interruption")[0].as_deref(), expected, "{exception_type}: {message}");
    }
}

/// Who gave up and who owns the failure of the first row.
fn wait(spans: &[Value]) -> (Option<String>, Option<String>) {
    let found = run(spans, &[], &[]).failures;
    let of = |name: &str| column(&found, name)[0].clone();
    (of("gave_up_span_id"), of("origin_span_id"))
}

fn ids(gave_up: &str, slow: &str) -> (Option<String>, Option<String>) {
    (Some(gave_up.to_owned()), Some(slow.to_owned()))
}

/// A caller gives up while two services below work on; the slow one has not failed, runs longer than the caller waited,
/// and its clock may be wrong.
#[test]
fn the_slow_span_owns_a_time_out() {
    for skew in [0, 20_000] {
        let spans = [
            timed("01", None, "web", (0, 2010), json!({"kind": "SERVER", "status_code": "ERROR"})),
            timed("02", Some("01"), "web", (10, 2000), threw(2000, "*errors.errorString", "context deadline exceeded")),
            timed("03", Some("02"), "orders", (20, 5000), json!({"kind": "SERVER"})),
            timed("04", Some("03"), "orders", (30, 4990), json!({"kind": "CLIENT"})),
            timed("05", Some("04"), "stock", (100 + skew, 4900 + skew), json!({"kind": "SERVER"})),
            timed("06", Some("05"), "stock", (200 + skew, 500 + skew), json!({})),
        ];
        assert_eq!(wait(&spans), ids("02", "05"), "{skew}");
    }
    // A call that nothing is known of below is the slow one itself.
    let alone = [timed("02", None, "web", (0, 3000), threw(3000, "httpx.ReadTimeout", "timed out"))];
    assert_eq!(wait(&alone), ids("02", "02"));
}

/// Where a deadline is handed down, the call in which it ran out may have had little of it: then the whole request gave
/// up, and the slow one is found before. A call with a time of its own gave up alone.
#[test]
fn a_shared_deadline_is_that_of_the_request() {
    let spans = |message: &str| {
        [
            timed(
                "01",
                None,
                "web",
                (0, 2000),
                json!({"kind": "SERVER", "status_code": "ERROR", "rpc_status_code": "DEADLINE_EXCEEDED"}),
            ),
            timed("02", Some("01"), "web", (100, 1800), json!({"kind": "CLIENT"})),
            timed("03", Some("02"), "search", (110, 1790), json!({"kind": "SERVER"})),
            timed("04", Some("01"), "web", (1810, 1990), threw(1990, "*errors.errorString", message)),
        ]
    };
    assert_eq!(wait(&spans("context deadline exceeded")), ids("01", "03"));
    assert_eq!(wait(&spans("dial tcp: i/o timeout")), ids("04", "04"));
}

/// A cancellation comes from above, from whoever gave up; so does a later time-out below one whose caller did not wait
/// for it. A time-out that ended within its caller's came first.
#[test]
fn waiting_ends_from_above() {
    let spans = |low: (u32, &str), end: u32| {
        [
            timed("01", None, "web", (0, 1000), threw(1000, "web.ReadTimeout", "timed out after a second")),
            timed("02", Some("01"), "orders", (10, end), threw(low.0, "orders.Failed", low.1)),
        ]
    };
    assert_eq!(owned(&spans((1100, "context canceled"), 1100), &[]), ["01", "02 <- 01"]);
    assert_eq!(owned(&spans((5000, "the pool: i/o timeout"), 5000), &[]), ["01", "02 <- 01"]);
    assert_eq!(owned(&spans((900, "the pool: i/o timeout"), 900), &[]), ["01 <- 02", "02"]);
    assert_eq!(owned(&spans((5000, "broken pipe"), 5000), &[]), ["01", "02"]);
}

/// Causes are a list, of printed traces and of Go's wrapped errors; a failure without any has none.
#[test]
fn causes_are_listed() {
    let java = "a.A: x\n\tat org.shop.A.b(A.java:1)\nCaused by: a.C: y\n\tat org.shop.C.d(C.java:1)\nCaused by: a.D: z\n\tat org.shop.D.e(D.java:1)";
    let events = |kind: &str, message: &str, stack: &str| {
        let mut events = exception(kind, message, stack);
        events[0]["time"] = json!(at(500));
        events
    };
    for (kind, message, stack, expected) in [
        ("a.A", "x", java, vec![(Some("a.C"), "y"), (Some("a.D"), "z")]),
        ("*fmt.wrapError", "charge: connect: refused", "", vec![(None, "connect: refused"), (None, "refused")]),
        ("a.A", "x: y", "", vec![]),
    ] {
        let spans = [span("01", None, json!({"status_code": "ERROR", "events": events(kind, message, stack)}))];
        let found = run(&spans, &[], &[]).failures;
        let causes = found.column_by_name("causes").unwrap().as_list::<i32>();
        assert_eq!(causes.is_null(0), expected.is_empty());
        let list = causes.value(0);
        let texts = |name: &str| {
            let texts = list.as_struct().column_by_name(name).unwrap().as_string::<i32>();
            texts.iter().map(|text| text.map(str::to_owned)).collect::<Vec<_>>()
        };
        let found: Vec<_> = texts("exception_type").into_iter().zip(texts("message")).collect();
        let expected: Vec<_> =
            expected.into_iter().map(|(kind, message)| (kind.map(str::to_owned), Some(message.to_owned()))).collect();
        assert_eq!(found, expected);
    }
}

/// What is said of a stack stands in the row: columns beside the frames, minified, truncated; nothing where there is no
/// stack.
#[test]
fn states_of_stacks_stand_in_the_row() {
    let of = |stack: &str| {
        let spans = [span("01", None, json!({"events": exception("TypeError", "x", stack)}))];
        let found = run(&spans, &[], &[]).failures;
        let truth = |name: &str| {
            let truths = found.column_by_name(name).unwrap().as_boolean();
            truths.is_valid(0).then(|| truths.value(0))
        };
        let has_columns = found.column_by_name("frame_columns").unwrap().is_valid(0);
        (has_columns, truth("stacktrace_minified"), truth("stacktrace_truncated"))
    };
    assert_eq!(of("TypeError: x\n    at f (/app/a.js:12:5)"), (true, Some(false), Some(false)));
    assert_eq!(of("TypeError: x\n    at f (/app/a.min.js:1:905)\n    at g (/app/a"), (true, Some(true), Some(true)));
    assert_eq!(of("a.B: x\n\tat org.shop.C.d(C.java:1)"), (false, Some(false), Some(false)));
    assert_eq!(of(""), (false, None, None));
}

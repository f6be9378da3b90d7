//! One failure, one owner: which is the origin, and what is an echo of it.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use serde_json::{Value, json};

use super::*;

/// A time of the trace, in ms after noon.
pub(super) fn at(ms: u32) -> String {
    format!("2026-11-16T12:00:{:02}.{:03}Z", ms / 1000, ms % 1000)
}

/// A span of a service between two times.
pub(super) fn timed(id: &str, parent: Option<&str>, service: &str, (from, to): (u32, u32), more: Value) -> Value {
    let mut span = span(id, parent, json!({"service_name": service, "start_time": at(from), "end_time": at(to)}));
    span.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    span
}

/// What a span has that failed with an exception at a time.
pub(super) fn threw(ms: u32, kind: &str, message: &str) -> Value {
    threw_from(ms, kind, message, "")
}

fn threw_from(ms: u32, kind: &str, message: &str, stack: &str) -> Value {
    let mut events = exception(kind, message, stack);
    events[0]["time"] = json!(at(ms));
    json!({"status_code": "ERROR", "events": events})
}

/// `span <- span of the origin` of each failure, `span` alone of an origin. Rows in the other order give the same.
pub(super) fn owned(spans: &[Value], logs: &[Value]) -> Vec<String> {
    let backwards: Vec<Value> = spans.iter().rev().cloned().collect();
    let of = |spans: &[Value]| {
        let found = run(spans, logs, &[]).failures;
        let [ids, origins, places, kinds] =
            ["failure_id", "origin_id", "span_id", "kind"].map(|name| column(&found, name));
        let place = |row: usize| {
            let place = places[row].clone().unwrap_or_else(|| "-".to_owned());
            if kinds[row].as_deref() == Some("log") { format!("{place} log") } else { place }
        };
        let mut told: Vec<String> = (0..ids.len())
            .map(|row| match ids.iter().position(|id| origins[row].is_some() && *id == origins[row]) {
                Some(origin) => format!("{} <- {}", place(row), place(origin)),
                None => place(row),
            })
            .collect();
        told.sort();
        told
    };
    let told = of(spans);
    assert_eq!(told, of(&backwards));
    told
}

/// An error that travels up through services has its origin in the lowest, whatever each service makes of it, and clocks
/// that differ by seconds change nothing. Incidents count it once and the echoes beside it.
#[test]
fn an_error_that_travels_has_one_origin() {
    let trace = |skew: u32| {
        [
            timed("01", None, "web", (0, 1000), threw(990, "web.CheckoutFailed", "no answer")),
            timed("02", Some("01"), "web", (100, 900), threw(900, "web.HttpServerError", "Response 503")),
            timed(
                "03",
                Some("02"),
                "orders",
                (150 + skew, 850 + skew),
                json!({"kind": "SERVER", "status_code": "ERROR"}),
            ),
            timed(
                "04",
                Some("03"),
                "orders",
                (200 + skew, 800 + skew),
                threw(800 + skew, "orders.NoStock", "cannot reserve"),
            ),
            timed("05", Some("04"), "stock", (300, 700), threw(690, "stock.Overflow", "decimal overflow")),
        ]
    };
    for skew in [0, 5_000] {
        assert_eq!(owned(&trace(skew), &[]), ["01 <- 05", "02 <- 05", "04 <- 05", "05"]);
    }
    let counts = run(&trace(0), &[], &[]).counts;
    let numbers = |name: &str| counts.column_by_name(name).unwrap().as_primitive::<Int64Type>().values().to_vec();
    let titles = column(&counts, "title");
    let origin = titles.iter().position(|title| title.as_deref() == Some("stock.Overflow: decimal overflow")).unwrap();
    assert_eq!((numbers("failure_count")[origin], numbers("echo_count")[origin]), (1, 0));
    assert_eq!((numbers("failure_count").iter().sum::<i64>(), numbers("echo_count").iter().sum::<i64>()), (1, 3));
    let spans = column(&run(&trace(0), &[], &[]).failures, "origin_span_id");
    assert!(spans.iter().all(|span| span.as_deref() == Some("05")), "{spans:?}");
}

/// What was handled is no origin of what fails later: a call that went well when it was made again, a span that says
/// OK, a call whose failure lies long back, and one that had not ended by then.
#[test]
fn what_was_handled_is_apart() {
    let cache = json!({"name": "GET cache"});
    let failing = |from: u32, to: u32| {
        let mut span = timed("02", Some("01"), "web", (from, to), threw(to, "web.CacheAway", "refused"));
        span.as_object_mut().unwrap().extend(cache.as_object().unwrap().clone());
        span
    };
    let broken = |ms: u32| timed("01", None, "web", (0, 9_000), threw(ms, "web.Broken", "no such key"));
    assert_eq!(owned(&[broken(300), failing(100, 200)], &[]), ["01 <- 02", "02"]);
    let again = timed("03", Some("01"), "web", (210, 250), cache.clone());
    assert_eq!(owned(&[broken(300), failing(100, 200), again], &[]), ["01", "02"]);
    assert_eq!(owned(&[broken(8_000), failing(100, 200)], &[]), ["01", "02"]);
    assert_eq!(owned(&[broken(300), failing(100, 2_000)], &[]), ["01", "02"]);
    let fine = timed("04", Some("01"), "web", (50, 250), json!({"status_code": "OK"}));
    let mut below = failing(100, 200);
    below["parent_span_id"] = json!("04");
    assert_eq!(owned(&[broken(300), fine, below], &[]), ["01", "02"]);
}

/// Of several attempts that all failed the last one is what the caller failed of; the others stay as they are.
#[test]
fn the_last_attempt_counts() {
    let spans = [
        timed("01", None, "web", (0, 1000), threw(720, "web.GaveUp", "three attempts")),
        timed("02", Some("01"), "stock", (100, 200), threw(190, "stock.Busy", "try again")),
        timed("03", Some("01"), "stock", (600, 700), threw(690, "stock.Down", "shutting down")),
    ];
    assert_eq!(owned(&spans, &[]), ["01 <- 03", "02", "03"]);
}

/// Where spans between look fine, words connect: the message is repeated, or the trace names the cause. Without words
/// both are origins.
#[test]
fn words_connect_over_spans_that_look_fine() {
    let spans = |above: Value| {
        [
            timed("01", None, "web", (0, 1000), above),
            timed("02", Some("01"), "web", (10, 990), json!({})),
            timed("03", Some("02"), "prices", (20, 980), threw(970, "prices.NoPrice", "no price for this item")),
        ]
    };
    assert_eq!(
        owned(&spans(threw(995, "web.Failed", "order failed: no price for this item")), &[]),
        ["01 <- 03", "03"]
    );
    assert_eq!(owned(&spans(threw(995, "web.Failed", "order failed")), &[]), ["01", "03"]);
    let caused = "web.Failed: order failed\n\tat web.A.b(A.java:1)\nCaused by: prices.NoPrice: no price for this item\n\tat web.C.d(C.java:2)";
    assert_eq!(owned(&spans(threw_from(995, "web.Failed", "order failed", caused)), &[]), ["01 <- 03", "03"]);
}

/// A record tells of the exception that its span, or one below, failed with before; a record from long before, or
/// of a span beside, stands for itself. One without a span is recognised by its words.
#[test]
fn records_are_echoes_of_exceptions() {
    let spans = [
        timed("01", None, "web", (0, 1000), json!({"status_code": "ERROR"})),
        timed("02", Some("01"), "web", (100, 900), threw(800, "web.Broken", "decimal overflow in the cart")),
        timed("03", Some("01"), "web", (100, 900), json!({})),
    ];
    let said =
        |span: Option<&str>, ms: u32, body: &str| log(span, 17, body, json!({"service_name": "web", "time": at(ms)}));
    let logs = [said(Some("02"), 790, "charging went wrong"), said(Some("01"), 950, "the checkout went wrong")];
    assert_eq!(owned(&spans, &logs), ["01 log <- 02", "02", "02 log <- 02"]);
    let logs = [said(Some("02"), 300, "the cart looks odd"), said(Some("03"), 850, "stock is low in the store")];
    assert_eq!(owned(&spans, &logs), ["02", "02 log", "03 log"]);
    let mut elsewhere = said(None, 960, "worker: decimal overflow in the cart");
    elsewhere["service_name"] = json!("gateway");
    assert_eq!(owned(&spans, &[elsewhere]), ["- log <- 02", "02"]);
}

/// Within one service the exception owns the bare status of the call that failed with it; the status of another service
/// stays the origin.
#[test]
fn an_exception_owns_a_bare_status() {
    let spans = |service: &str| {
        [
            timed("01", None, "web", (0, 1000), threw(910, "web.HttpServerError", "Response 503")),
            timed(
                "02",
                Some("01"),
                service,
                (100, 900),
                json!({"kind": "CLIENT", "status_code": "ERROR", "error_type": "503"}),
            ),
        ]
    };
    assert_eq!(owned(&spans("web"), &[]), ["01", "02 <- 01"]);
    assert_eq!(owned(&spans("payments"), &[]), ["01 <- 02", "02"]);
}

/// A batch job fails for a request that it links to: the words say so. A link without them says nothing.
#[test]
fn links_connect_what_says_the_same() {
    let spans = |message: &str| {
        let mut job =
            timed("05", Some("04"), "batch", (100, 800), threw(790, "batch.Broken", "the disk of the store is full"));
        job["links"] = json!([{"trace_id": TRACE, "span_id": "02", "attributes": {}}]);
        [
            timed("01", None, "web", (0, 1000), json!({})),
            timed("02", Some("01"), "web", (50, 900), threw(900, "web.Failed", message)),
            timed("04", Some("01"), "batch", (90, 850), json!({})),
            job,
        ]
    };
    assert_eq!(owned(&spans("batch failed: the disk of the store is full"), &[]), ["02 <- 05", "05"]);
    assert_eq!(owned(&spans("batch failed"), &[]), ["02", "05"]);
}

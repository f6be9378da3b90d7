//! Parts of one trace in two files: what the second one tells again.

use serde_json::{Value, json};

use crate::support::program::Tracerag;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
/// When the request began, in ns.
const BEGAN: u64 = 1_764_500_000_000_000_000;

fn attributes(named: &[(&str, &str)]) -> Value {
    named.iter().map(|(key, value)| json!({"key": key, "value": {"stringValue": value}})).collect()
}

fn resource() -> Value {
    json!({"attributes": attributes(&[("service.name", "shop"), ("service.instance.id", "shop-1")])})
}

fn exception() -> Value {
    attributes(&[("exception.type", "shop.NoStock"), ("exception.message", "no stock of the red chair")])
}

/// A span that the exception passed, in ms after the request began.
fn span(id: &str, parent: Option<&str>, from: u64, to: u64, thrown: u64) -> Value {
    let time = |ms: u64| (BEGAN + ms * 1_000_000).to_string();
    let mut span = json!({
        "traceId": TRACE, "spanId": id, "name": format!("step {id}"), "status": {"code": 2},
        "startTimeUnixNano": time(from), "endTimeUnixNano": time(to),
        "events": [{"name": "exception", "timeUnixNano": time(thrown), "attributes": exception()}],
    });
    if let Some(parent) = parent {
        span["parentSpanId"] = json!(parent);
    }
    span
}

/// A record of severity ERROR.
fn record(ids: Value, ms: u64, body: &str, attributes: Value) -> Value {
    let time = (BEGAN + ms * 1_000_000).to_string();
    let mut record =
        json!({"timeUnixNano": time, "severityText": "ERROR", "body": {"stringValue": body}, "attributes": attributes});
    record.as_object_mut().unwrap().extend(ids.as_object().unwrap().clone());
    record
}

fn lines(spans: &[Value], records: &[Value]) -> String {
    let spans = json!({"resourceSpans": [{"resource": resource(), "scopeSpans": [{"spans": spans}]}]});
    let records = json!({"resourceLogs": [{"resource": resource(), "scopeLogs": [{"logRecords": records}]}]});
    format!("{spans}\n{records}\n")
}

/// A trace comes in two parts, one in a file each. The second has the exception on the span below, a record of it, and the
/// record of the server, which names no trace; none of them states a severity as a number. Guarantees that the trace has
/// two revisions and the one failure of the first, that the incident counts it once, and that the server's record is an
/// echo.
#[test]
fn a_failure_in_two_revisions_counts_once() {
    let tracerag = Tracerag::new();
    let config = tracerag.write("tracerag.toml", "[embedding]\nmodel = \"hashed-ngrams\"\n");
    let (root, inner) = ("00000000000000a1", "00000000000000a2");
    let first = lines(&[span(root, None, 0, 100, 55)], &[]);
    let of_span = json!({"traceId": TRACE, "spanId": inner});
    let records = [
        record(of_span, 60, "the order failed: no stock of the red chair", json!([])),
        record(json!({}), 70, "Exception in application", exception()),
    ];
    let second = lines(&[span(inner, Some(root), 10, 90, 50)], &records);
    for (name, content) in [("first.jsonl", first), ("second.jsonl", second)] {
        let file = tracerag.write(name, content);
        tracerag.done(&["--config", config.to_str().unwrap(), "replay", file.to_str().unwrap()]);
    }
    assert_eq!(tracerag.number("select max(revision) from trace_revisions"), 2);
    let failures =
        "select span_id, trace_id is null as is_alone, origin_id is null as is_origin from failures order by 2";
    assert_eq!(
        tracerag.sql(failures),
        [
            json!({"span_id": root, "is_alone": false, "is_origin": true}),
            json!({"span_id": null, "is_alone": true, "is_origin": false}),
        ]
    );
    let counts =
        tracerag.sql("select failure_count, echo_count, trace_count from incidents order by failure_count desc");
    let sum = |name: &str| counts.iter().map(|row| row[name].as_i64().unwrap()).sum::<i64>();
    assert_eq!((sum("failure_count"), sum("echo_count"), sum("trace_count")), (1, 1, 1));
    assert_eq!(tracerag.number("select failure_count from traces"), 1);
}

/// A recording comes in files that are replayed one after the other: the second has the root of the first one's trace and
/// all that the first has once more, as a file that was still written does. Guarantees that the trace is one, in two
/// revisions of which the newest is whole, and that no span and no record is there twice.
#[test]
fn files_of_one_recording_may_be_replayed_apart() {
    let tracerag = Tracerag::new();
    let config = tracerag.write("tracerag.toml", "[embedding]\nmodel = \"hashed-ngrams\"\n");
    let (root, inner) = ("00000000000000a1", "00000000000000a2");
    let early = span(inner, Some(root), 10, 90, 50);
    let told = record(json!({"traceId": TRACE, "spanId": inner}), 60, "no stock of the red chair", json!([]));
    let first = lines(std::slice::from_ref(&early), std::slice::from_ref(&told));
    let second = lines(&[early, span(root, None, 0, 100, 55)], &[told]);
    for (name, content) in [("first.jsonl", first), ("second.jsonl", second)] {
        let file = tracerag.write(name, content);
        tracerag.done(&["--config", config.to_str().unwrap(), "replay", file.to_str().unwrap()]);
    }
    assert_eq!(
        tracerag.sql("select revision, span_count, log_count, complete from traces"),
        [json!({"revision": 2, "span_count": 2, "log_count": 1, "complete": true})]
    );
    assert_eq!((tracerag.number("select count(*) from spans"), tracerag.number("select count(*) from logs")), (2, 1));
}

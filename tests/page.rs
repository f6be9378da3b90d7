//! The page, as people see it: in a browser.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::clients::Clients;
use crate::support::note;
use crate::support::program::Tracerag;
use crate::support::served::{ALL, Served};
use crate::worked_example;

/// A trace of this many spans is in the lake, too.
const SPANS: u64 = 5_000;
const LARGE: &str = "5000abababababababababababababab";
/// A trace with log records that belong to none of its spans, in which somebody gives up waiting for a slow service.
const APART: &str = "a9a47abababababababababababababa";

/// Chromium opens every view on the demo's lake by keyboard and by mouse, and a trace of 5,000 spans that it scrolls and
/// filters: see `tests/clients/page.py`. Guarantees that everything can be reached either way, that each anchor of a
/// bundle has an address, that evidence stands at its span, that no other host is asked and no address shows the token,
/// that telemetry never becomes markup, that few rows are in the document however long a trace, that a telephone is wide
/// enough, and that axe-core finds nothing that keeps people out, there and where something is asked for or went wrong. It
/// also guarantees that records without a span stand at their trace, that a fix stays known when its incident is merged, and
/// that the usual step through the long trace takes 100 ms at most. The machine may have other work, so it does in the best
/// of ten tries, and where an empty page takes longer at that moment than on an idle machine, so many times as long. With
/// `TRACERAG_TEST_WRITE_DOCS` set, the pictures in `docs/screenshots` are made anew.
#[test]
fn people_find_their_way() {
    let Some(clients) = Clients::find() else { return };
    if !has_chromium() {
        assert!(std::env::var_os("CI").is_none(), "no Chromium: install the package chromium");
        return note("Chromium is not installed: the page is not opened in a browser");
    }
    let tracerag = Tracerag::new();
    tracerag.done(&["demo"]);
    let large = tracerag.write("large.jsonl", large_trace());
    let apart = tracerag.write("apart.jsonl", apart());
    tracerag.replay(&[&large, &apart]);
    let served = Served::start(tracerag, "");
    let token = served.token("default", ALL);
    record_a_fix(&served.client(&token));
    merge_after_a_fix(&served.client(&token));
    let url = format!("http://127.0.0.1:{}", served.port);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/screenshots");
    let mut arguments = vec![url.as_str(), token.as_str(), LARGE, APART];
    if std::env::var_os("TRACERAG_TEST_WRITE_DOCS").is_some() {
        arguments.push(folder.to_str().unwrap());
    }
    let ran = clients.python("page.py", &arguments);
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
    ran.stdout.lines().for_each(note);
}

/// Whether there is a browser, under one of the names by which `page.py` looks for it.
fn has_chromium() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .any(|folder| ["chromium", "chromium-browser", "google-chrome"].iter().any(|name| folder.join(name).exists()))
}

/// Without a token the page itself is there, for it has to ask for one, with the policy that holds it to this server; its
/// files are not sent again to who has them; and nothing of the lake is told. Guarantees that the page needs no door of
/// its own into the server.
#[test]
fn the_page_tells_nothing_without_a_token() {
    let served = Served::start(worked_example::replayed(), "");
    served.token("default", ALL);
    let client = Client::of(served.port, None);
    for path in ["/", "/sql", "/incidents/abcd", "/traces/abcd", "/bundles/sha256:abcd", "/page/main.js"] {
        let answer = client.get(path);
        assert_eq!(answer.status, 200, "{path}");
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'self'"), "{path}: {policy}");
        let tag = answer.headers["etag"].to_str().unwrap();
        let again = client.send(Method::GET, path, &[("if-none-match", tag)], None).unwrap();
        assert_eq!((again.status, again.text.as_str()), (304, ""), "{path}");
    }
    assert_eq!(client.get("/page/none.js").code(), "path-unknown");
    assert_eq!(client.get("/v1/incidents").status, 401);
}

/// One incident of the demo has a known fix.
fn record_a_fix(client: &Client) {
    let listed = client.get("/v1/incidents?limit=1000").good();
    let incidents = listed["incidents"].as_array().unwrap();
    let title = |incident: &Value| incident["title"].as_str().unwrap_or_default().contains("OverflowError");
    let incident = incidents.iter().find(|incident| title(incident)).unwrap();
    let fix = json!({"fingerprint": incident["fingerprint"], "outcome": "fixed", "test_name": "rounding_keeps_scale",
        "summary": "Round to the scale of the ledger before the sum"});
    client.post("/v1/fixes", &fix).good();
}

/// An incident of the slow service's caller gets a fix, and is then merged into another one, which has none of its own.
fn merge_after_a_fix(client: &Client) {
    let listed = client.get("/v1/incidents?limit=1000&service=billing").good();
    let of = |kind: &str| {
        let incidents = listed["incidents"].as_array().unwrap();
        let incident = incidents.iter().find(|incident| incident["exception_type"] == kind).unwrap();
        incident["fingerprint"].clone()
    };
    let (merged, into) = (of("BillingLocked"), of("BillingClosed"));
    // So that it holds whatever the machine's clock says.
    let fix =
        json!({"fingerprint": merged, "summary": "Open the books before the sum", "fixed_at": "2100-01-01T00:00:00Z"});
    client.post("/v1/fixes", &fix).good();
    client.post("/v1/groupings", &json!({"action": "merge", "fingerprint": merged, "into": into})).good();
}

/// Two failures of a service, and a trace in which it gives up waiting for another one that goes on. One log record of this
/// trace names no span, and one, of the same instance, nothing but its time.
fn apart() -> String {
    const BEGIN: u64 = 1_795_913_600_000_000_000;
    const MS: u64 = 1_000_000;
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let at = |ms: u64| (BEGIN + ms * MS).to_string();
    let resource = |service: &str| {
        json!({"attributes": [text("service.name", service), text("service.version", "1.0.0"),
            text("service.instance.id", &format!("{service}-1"))]})
    };
    let span = |trace: &str, id: u64, parent: u64, kind: u8, times: (u64, u64), threw: Option<(&str, &str)>| {
        let mut span = json!({"traceId": trace, "spanId": format!("{id:016x}"), "name": format!("step {id}"), "kind": kind,
            "startTimeUnixNano": at(times.0), "endTimeUnixNano": at(times.1)});
        if parent > 0 {
            span["parentSpanId"] = json!(format!("{parent:016x}"));
        }
        if let Some((kind, message)) = threw {
            span["status"] = json!({"code": 2});
            span["events"] = json!([{"timeUnixNano": at(times.1), "name": "exception",
                "attributes": [text("exception.type", kind), text("exception.message", message)]}]);
        }
        span
    };
    let spans = |service: &str, spans: Vec<Value>| {
        json!({"resourceSpans": [{"resource": resource(service), "scopeSpans": [{"spans": spans}]}]}).to_string()
    };
    let locked =
        span("10cced00000000000000000000000001", 11, 0, 2, (0, 5), Some(("BillingLocked", "the books are locked")));
    let closed =
        span("c105ed00000000000000000000000001", 12, 0, 2, (0, 5), Some(("BillingClosed", "the year is over")));
    let late = Some(("*errors.errorString", "context deadline exceeded"));
    let record = |trace: Option<&str>, body: &str| {
        let mut record = json!({"timeUnixNano": at(500), "severityNumber": 9, "body": {"stringValue": body}});
        if let Some(trace) = trace {
            record["traceId"] = json!(trace);
        }
        record
    };
    let records = [record(Some(APART), "the trace has this record"), record(None, "the instance has this record")];
    let logs = json!({"resourceLogs": [{"resource": resource("billing"), "scopeLogs": [{"logRecords": records}]}]});
    [
        spans(
            "billing",
            vec![locked, closed, span(APART, 1, 0, 2, (0, 2_010), None), span(APART, 2, 1, 3, (10, 2_000), late)],
        ),
        spans("archive", vec![span(APART, 3, 2, 2, (20, 5_000), None)]),
        logs.to_string(),
    ]
    .join("\n")
}

/// A trace as the Collector's file exporter writes it, a line for each service: a tree in which every span has up to
/// seven below it, of which one fails with a text that looks like markup.
fn large_trace() -> String {
    const BEGIN: u64 = 1_795_913_700_000_000_000;
    const MS: u64 = 1_000_000;
    const FAILING: u64 = 4_321;
    let services = ["gateway", "catalog", "pricing", "inventory", "ledger", "mailer"];
    let id = |number: u64| format!("{:016x}", number + 1);
    let message = "ledger is closed: <img src=/nowhere onerror=alert(1)>";
    let span = |number: u64| {
        let start = BEGIN + number * 2 * MS;
        let length = if number <= 700 { 10_100 - number * 2 } else { 3 + number * 7_919 % 97 };
        let does = if number.is_multiple_of(2) { "read" } else { "write" };
        let mut span = json!({
            "traceId": LARGE, "spanId": id(number), "kind": 1, "name": format!("step {number} {does}"),
            "startTimeUnixNano": start.to_string(), "endTimeUnixNano": (start + length * MS).to_string(),
        });
        if number > 0 {
            span["parentSpanId"] = json!(id((number - 1) / 7));
        }
        if number == FAILING {
            span["status"] = json!({"code": 2, "message": message});
            let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
            span["events"] = json!([{"timeUnixNano": (start + MS).to_string(), "name": "exception",
                "attributes": [text("exception.type", "LedgerClosed"), text("exception.message", message)]}]);
        }
        span
    };
    let line = |(place, service): (usize, &&str)| {
        let spans: Vec<Value> = (place as u64..SPANS).step_by(services.len()).map(span).collect();
        let resource = json!({"attributes": [{"key": "service.name", "value": {"stringValue": service}}]});
        json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}).to_string()
    };
    services.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
}

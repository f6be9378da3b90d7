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

/// Chromium opens every view on the demo's lake by keyboard and by mouse, and a trace of 5,000 spans that it scrolls and
/// filters: see `tests/clients/page.py`. Guarantees that everything can be reached either way, that each anchor of a
/// bundle has an address, that evidence stands at its span, that no other host is asked and no address shows the token,
/// that telemetry never becomes markup, that few rows are in the document however long a trace, that a telephone is wide
/// enough, and that axe-core finds nothing that keeps people out. How long the steps took is printed, and not judged: the
/// machine may have other work. With `TRACERAG_TEST_WRITE_DOCS` set, the pictures in `docs/screenshots` are made anew.
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
    tracerag.replay(&[&large]);
    let served = Served::start(tracerag, "");
    let token = served.token("default", ALL);
    record_a_fix(&served.client(&token));
    let url = format!("http://127.0.0.1:{}", served.port);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/screenshots");
    let mut arguments = vec![url.as_str(), token.as_str(), LARGE];
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

//! The interface on the example lake, asked as Grafana's data source asks.

#![allow(clippy::unwrap_used)]

use axum::http::Request;
use serde_json::{Value, json};
use url::form_urlencoded::byte_serialize;

use crate::access::{Limits, Scope};
use crate::server::http::tests::Interface;
use crate::tests::lake::{FAILING, FOREIGN, GOOD};

/// A range that holds every trace of the example.
const RANGE: &str = "start=1&end=4000000000";

fn encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}

async fn search(interface: &Interface, token: &str, query: &str) -> Value {
    let answer = interface.get(&format!("/tempo/api/search?{RANGE}&q={}", encoded(query)), token).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text);
    answer.json()
}

/// Each query finds the traces whose spans meet it: by attributes of each type and scope, by what every span has, by the
/// trace, in combinations and negated. Nothing of another tenant is found by any.
#[tokio::test]
async fn traceql_finds_traces() {
    const RETRY: &str = "3df7651916cd43dd8448eb211c80319c";
    let interface = Interface::with(Limits::default()).await;
    let token = interface.token("acme", &[Scope::Read]).await;
    let failing: &[&str] = &[FAILING];
    let checkouts: &[&str] = &[FAILING, GOOD];
    let all: &[&str] = &[RETRY, FAILING, GOOD];
    for (query, expected) in [
        ("{}", all),
        ("{ true }", all),
        ("{ false }", &[]),
        ("{resource.service.name=\"payments\"}", failing),
        ("{resource.service.name=~\"pay.*|nothing\"}", failing),
        ("{resource.service.name=~\"pay\"}", &[]),
        ("{.service.name=\"checkout\"}", failing),
        ("{resource.service.name=\"checkout\"}", checkouts),
        ("{span.http.response.status_code>=500}", failing),
        ("{span.http.response.status_code=502.0}", failing),
        ("{span.http.response.status_code<500}", &[]),
        ("{span.http.response.status_code=\"502\"}", &[]),
        ("{span.http.route=\"/checkout\" && status=error}", failing),
        ("{span.http.route=\"/checkout\" && status!=error}", &[GOOD]),
        ("{span.http.route != nil}", checkouts),
        ("{span.http.route = nil && kind = consumer}", &[RETRY]),
        ("{!(span.http.route = \"/checkout\")}", &[RETRY, FAILING]),
        ("{name=\"charge\" || name=\"retry\"}", &[RETRY, FAILING]),
        ("{name=\"POST /checkout\"} && {name=\"charge\"}", failing),
        ("{name=\"retry\"} && {name=\"charge\"}", &[]),
        ("{name=\"retry\"} || {name=\"charge\"}", &[RETRY, FAILING]),
        ("{duration>3s && nestedSetParent<0}", all),
        ("{duration<3s}", failing),
        ("{statusMessage=~\".*overflow\"}", failing),
        ("{rootName=\"POST /checkout\" && name=\"charge\"}", failing),
        ("{traceDuration>1s}", checkouts),
        ("{name=\"secret\"}", &[]),
    ] {
        let answer = search(&interface, &token, query).await;
        let found: Vec<&str> =
            answer["traces"].as_array().unwrap().iter().map(|trace| trace["traceID"].as_str().unwrap()).collect();
        assert_eq!(found, expected, "{query}");
    }
    for (query, part) in
        [("{} | rate()", "pipelines"), ("{ duration = 1", "here stands }"), ("{ .a =~ \"(\" }", "regular")]
    {
        let answer = interface.get(&format!("/tempo/api/search?q={}", encoded(query)), &token).await;
        assert_eq!((answer.status, answer.header("content-type")), (400, Some("text/plain; charset=utf-8")));
        assert!(answer.text.contains(part), "{}", answer.text);
    }
}

/// A found trace is told with its root, its services, and the spans that were looked for with the fields that were
/// compared, as many as the request wants.
#[tokio::test]
async fn found_traces_are_told() {
    let interface = Interface::with(Limits::default()).await;
    let token = interface.token("acme", &[Scope::Read]).await;
    let answer = search(&interface, &token, "{span.http.response.status_code>=500 && status=error}").await;
    let span = json!({
        "spanID": "00f067aa0ba902b7", "name": "POST /checkout", "startTimeUnixNano": "1795435200000000000",
        "durationNanos": "4000000000",
        "attributes": [
            {"key": "http.response.status_code", "value": {"intValue": "502"}},
            {"key": "status", "value": {"stringValue": "error"}},
        ],
    });
    let set = json!({"spans": [span], "matched": 1});
    assert_eq!(
        answer["traces"],
        json!([{
            "traceID": FAILING, "rootServiceName": "checkout", "rootTraceName": "POST /checkout",
            "startTimeUnixNano": "1795435200000000000", "durationMs": 4000, "spanSet": set, "spanSets": [set],
            "serviceStats": {"checkout": {"spanCount": 1, "errorCount": 1}, "payments": {"spanCount": 1, "errorCount": 1}},
        }])
    );
    let path = format!("/tempo/api/search?{RANGE}&spss=1&limit=1&q={}", encoded("{status=error}"));
    let one = interface.get(&path, &token).await.json();
    let set = &one["traces"][0]["spanSets"][0];
    assert_eq!((set["matched"].as_u64(), set["spans"].as_array().unwrap().len()), (Some(2), 1), "{one:#}");
    for (tags, count) in [
        ("service.name=PAY", 1),
        ("http.response.status_code=502 error=true", 1),
        ("name=\"POST /checkout\"", 2),
        ("http.route=nowhere", 0),
    ] {
        let path = format!("/tempo/api/search?{RANGE}&tags={}", encoded(tags));
        let found = interface.get(&path, &token).await.json();
        assert_eq!(found["traces"].as_array().unwrap().len(), count, "{tags}: {found:#}");
    }
    let path = format!("/tempo/api/search?{RANGE}&tags={}", encoded(&"a=b ".repeat(33)));
    assert_eq!(interface.get(&path, &token).await.status, 400);
    let path = format!("/tempo/api/search?{RANGE}&minDuration=5s");
    assert_eq!(interface.get(&path, &token).await.json()["traces"], json!([]));
}

/// One trace comes as JSON in both versions; ids may lack their leading zeros. What is not there, or another tenant's, is
/// not found, and who may not read is told so, in text.
#[tokio::test]
async fn traces_by_id() {
    let interface = Interface::with(Limits::default()).await;
    let token = interface.token("acme", &[Scope::Read]).await;
    let second = interface.get(&format!("/tempo/api/v2/traces/{FAILING}?{RANGE}"), &token).await.json();
    let spans = &second["trace"]["resourceSpans"];
    assert_eq!(spans[0]["scopeSpans"][0]["spans"][0]["traceId"], "CvdlGRbNQ92ESOshHIAxnA==", "{second:#}");
    assert_eq!(spans[1]["scopeSpans"][0]["spans"][0]["status"]["code"], "STATUS_CODE_ERROR", "{second:#}");
    assert_eq!(spans[1]["scopeSpans"][0]["spans"][0]["kind"], "SPAN_KIND_SERVER", "{second:#}");
    let first = interface.get(&format!("/tempo/api/traces/{}", &FAILING[1..]), &token).await.json();
    assert_eq!(&first["batches"], spans);
    let request = Request::builder().uri(format!("/tempo/api/v2/traces/{FAILING}"));
    let binary = interface.answer(request, &token, "application/protobuf", axum::body::Body::empty()).await;
    assert_eq!((binary.status, binary.header("content-type")), (200, Some("application/protobuf")));
    for (path, status) in [
        (format!("/tempo/api/v2/traces/{FOREIGN}"), 404),
        ("/tempo/api/traces/1".to_owned(), 404),
        ("/tempo/api/traces/0".to_owned(), 400),
        ("/tempo/api/traces/xyz".to_owned(), 400),
        (format!("/tempo/api/traces/{FAILING}?start=soon"), 400),
        ("/tempo/api/metrics/query_range".to_owned(), 404),
    ] {
        assert_eq!(interface.get(&path, &token).await.status, status, "{path}");
    }
    let sql = interface.token("acme", &[Scope::Sql]).await;
    for (token, status) in [(sql.as_str(), 403), ("", 401)] {
        let answer = interface.get("/tempo/api/search", token).await;
        assert_eq!((answer.status, answer.header("content-type")), (status, Some("text/plain; charset=utf-8")));
    }
}

/// The paths answer the same without `/tempo`, but for the one that is Jaeger's there. Guarantees that a client finds
/// either interface at `/api`, and gets no answer of the other one.
#[tokio::test]
async fn the_prefix_may_be_left_out() {
    let interface = Interface::with(Limits::default()).await;
    let token = interface.token("acme", &[Scope::Read]).await;
    for path in [
        format!("/api/v2/traces/{FAILING}"),
        format!("/api/search?{RANGE}&q={}", encoded("{status=error}")),
        format!("/api/search/tags?{RANGE}"),
        format!("/api/v2/search/tags?{RANGE}"),
        format!("/api/search/tag/http.route/values?{RANGE}"),
        format!("/api/v2/search/tag/resource.service.name/values?{RANGE}"),
        "/api/echo".to_owned(),
        "/api/status/buildinfo".to_owned(),
    ] {
        let prefixed = interface.get(&format!("/tempo{path}"), &token).await;
        let answer = interface.get(&path, &token).await;
        assert_eq!((prefixed.status, answer.status), (200, 200), "{path}: {}", answer.text);
        assert_eq!(answer.text, prefixed.text, "{path}");
    }
    let of_jaeger = interface.get(&format!("/api/traces/{FAILING}"), &token).await.json();
    assert_eq!(of_jaeger["data"][0]["traceID"], FAILING);
}

/// Names by scope and in one list, and their values with types, narrowed by a query where it is whole.
#[tokio::test]
async fn tags_and_their_values() {
    let interface = Interface::with(Limits::default()).await;
    let token = interface.token("acme", &[Scope::Read]).await;
    let get = async |path: &str| interface.get(&format!("/tempo/api/{path}"), &token).await.json();
    let scopes = get(&format!("v2/search/tags?{RANGE}")).await;
    assert_eq!(scopes["scopes"][0], json!({"name": "resource", "tags": ["service.name"]}));
    assert_eq!(scopes["scopes"][1]["tags"], json!(["http.response.status_code", "http.route"]));
    assert_eq!(scopes["scopes"][2]["name"], "intrinsic");
    let span = get(&format!("search/tags?scope=span&{RANGE}")).await;
    assert_eq!(span["tagNames"], json!(["http.response.status_code", "http.route"]));
    let services = get(&format!("v2/search/tag/resource.service.name/values?{RANGE}")).await;
    let service = |name: &str| json!({"type": "string", "value": name});
    assert_eq!(services["tagValues"], json!([service("checkout"), service("payments"), service("worker")]));
    let narrowed = encoded("{status=error && name=\"charge\"}");
    let services = get(&format!("v2/search/tag/resource.service.name/values?{RANGE}&q={narrowed}")).await;
    assert_eq!(services["tagValues"], json!([service("payments")]));
    let codes = get(&format!("v2/search/tag/span.http.response.status_code/values?{RANGE}&q=%7B.a%3D")).await;
    assert_eq!(codes["tagValues"], json!([{"type": "int", "value": "502"}]));
    assert_eq!(get("v2/search/tag/status/values").await["tagValues"][0], json!({"type": "keyword", "value": "error"}));
    let plain = get(&format!("search/tag/http.route/values?{RANGE}")).await;
    assert_eq!(plain["tagValues"], json!(["/checkout"]));
    assert_eq!(interface.get("/tempo/api/echo", "").await.text, "echo");
    assert!(interface.get("/tempo/api/status/buildinfo", "").await.json()["version"].is_string());
}

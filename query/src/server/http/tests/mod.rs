//! The interface on the example lake, asked as clients ask it.

#![allow(clippy::unwrap_used)]

mod canary;
mod compare;
mod incidents;
mod limits;
mod malformed;
mod walls;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, Method, Request};
use serde_json::json;
use tokio::sync::watch;
use tower::ServiceExt as _;

use super::*;
use crate::access::{Gate, GateOptions, Limits, MintedToken, Scope, TokenFile};
use crate::server::engine::Engine;
use crate::server::mcp::{self, ProtectedResource};
use crate::server::page;
use crate::server::sessions::Sessions;
use crate::session::SessionOptions;
use crate::tests::lake::{FAILING, FOREIGN, TestLake, ask as ask_lake};

const ALL: [Scope; 6] = Scope::ALL;

/// The interface to a lake, and tokens for it.
pub(in crate::server) struct Interface {
    pub(in crate::server) lake: TestLake,
    pub(in crate::server) app: App,
    router: Router,
    _stop: watch::Sender<bool>,
    pub(in crate::server) cut: watch::Sender<bool>,
    folder: tempfile::TempDir,
}

/// What came back.
pub(in crate::server) struct Answer {
    pub(in crate::server) status: u16,
    headers: HeaderMap,
    pub(in crate::server) text: String,
}

impl Answer {
    pub(in crate::server) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(in crate::server) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl Interface {
    pub(in crate::server) async fn with(limits: Limits) -> Self {
        Self::to(TestLake::example(false, 10_000).await, limits)
    }

    fn to(lake: TestLake, limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let gate = GateOptions {
            tokens_file: Some(folder.path().join("tokens.json")),
            issuer: None,
            tenant: "acme".to_owned(),
            limits: limits.clone(),
            mask: Arc::new(|text| text.replace("jane@example.org", "<email>")),
        };
        let template =
            SessionOptions { memory_limit: limits.memory, time_limit: limits.time, ..SessionOptions::new("nobody") };
        let (stop, stopping) = watch::channel(false);
        let (cut, is_cut) = watch::channel(false);
        let app = App::new(
            Gate::open(lake.lake.clone(), gate),
            Sessions::new(lake.lake.clone(), template),
            Engine::start().unwrap(),
            Origins::new(vec![], false),
            stopping,
            is_cut,
        );
        let oauth = ProtectedResource {
            issuer: String::from("https://login.example.com"),
            public_url: String::from("https://tracerag.example.com/"),
        };
        let others = page::routes().merge(mcp::routes(app.clone(), Some(oauth)));
        let router = router(app.clone(), others);
        Self { lake, router, app, _stop: stop, cut, folder }
    }

    /// A token that is let in: what was read of the file before holds for a moment.
    pub(in crate::server) async fn token(&self, tenant: &str, scopes: &[Scope]) -> String {
        let minted = MintedToken::new(tenant, scopes.iter().copied().collect(), "test", None);
        TokenFile::at(self.folder.path().join("tokens.json")).change(|tokens| tokens.push(minted.token)).unwrap();
        let until = tokio::time::Instant::now() + Duration::from_secs(30);
        while self.app.gate().caller(Some(&minted.secret)).is_err() {
            assert!(tokio::time::Instant::now() < until, "a new token is not let in");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        minted.secret
    }

    async fn send(&self, method: Method, path: &str, token: &str, accept: &str, body: Body) -> Answer {
        let request = Request::builder().method(method).uri(path);
        self.answer(request, token, accept, body).await
    }

    /// The answer to a request that may have headers already.
    pub(in crate::server) async fn answer(
        &self,
        request: axum::http::request::Builder,
        token: &str,
        accept: &str,
        body: Body,
    ) -> Answer {
        let mut request = request.header("host", "tracerag.example.com");
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if !accept.is_empty() {
            request = request.header("accept", accept);
        }
        let response = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await;
        let text = bytes.map_or_else(|_| String::from("broken off"), |bytes| String::from_utf8_lossy(&bytes).into());
        Answer { status: parts.status.as_u16(), headers: parts.headers, text }
    }

    pub(in crate::server) async fn get(&self, path: &str, token: &str) -> Answer {
        self.send(Method::GET, path, token, "", Body::empty()).await
    }

    async fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, token, "", Body::from(body.to_string())).await
    }

    async fn sql(&self, token: &str, query: &str) -> Answer {
        self.post("/v1/sql", token, &json!({"query": query})).await
    }
}

/// The document names every request that is answered and no other, each name in it leads somewhere, and what cannot
/// be answered is a problem.
#[tokio::test]
async fn the_description_is_true() {
    let interface = Interface::with(Limits::default()).await;
    let answer = interface.get("/openapi.json", "").await;
    let described = answer.json();
    let routes: BTreeSet<(String, String)> =
        ROUTES.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned())).collect();
    let paths = described["paths"].as_object().unwrap();
    let named = paths
        .iter()
        .flat_map(|(path, methods)| methods.as_object().unwrap().keys().map(|method| (method.clone(), path.clone())));
    assert_eq!(named.collect::<BTreeSet<_>>(), routes);
    assert!(ROUTES.iter().all(|(method, path)| handler(method, path).is_some()));
    for reference in answer.text.split("\"$ref\": \"#").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(described.pointer(reference).is_some(), "{reference}");
    }
    let token = interface.token("acme", &ALL).await;
    for (method, path, status) in
        [(Method::GET, "/v1/nothing", 404), (Method::GET, "/v1/sql", 405), (Method::DELETE, "/v1/status", 405)]
    {
        let answer = interface.send(method, path, &token, "", Body::empty()).await;
        assert_eq!((answer.status, answer.header("content-type")), (status, Some("application/problem+json")));
        assert!(answer.json()["detail"].as_str().unwrap().contains("/openapi.json"), "{}", answer.text);
    }
}

/// Rows come as JSON, CSV and Arrow, by `format` and by `Accept`, with parameters by place and by name; each answer
/// says of which position it is.
#[tokio::test]
async fn sql_in_every_form() {
    let interface = Interface::with(Limits::default()).await;
    let token = interface.token("acme", &[Scope::Sql]).await;
    let query = "select name, duration_ns from spans where trace_id = $1 order by start_time";
    let answer = interface.post("/v1/sql", &token, &json!({"query": query, "params": [FAILING]})).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json()[1], json!({"name": "charge", "duration_ns": 2_000_000_000_i64}));
    assert!(answer.header("tracerag-position").unwrap().parse::<u64>().unwrap() > 0);
    let named = json!({"query": "select count(*) as n from spans where name = $name and duration_ns > $least",
                       "params": {"name": "charge", "least": 1}, "format": "csv"});
    let answer = interface.post("/v1/sql", &token, &named).await;
    assert_eq!((answer.text.as_str(), answer.header("content-type")), ("n\n1\n", Some("text/csv; charset=utf-8")));
    let body = || Body::from(json!({"query": "select 1 as n"}).to_string());
    let answer = interface.send(Method::POST, "/v1/sql", &token, "text/csv", body()).await;
    assert_eq!(answer.text, "n\n1\n");
    let accept = "application/vnd.apache.arrow.stream";
    let answer = interface.send(Method::POST, "/v1/sql", &token, accept, body()).await;
    assert_eq!(answer.header("content-type"), Some(accept));

    for (body, code) in [
        (json!({"query": "select 1", "format": "xml"}), "wrong-request"),
        (json!({"query": "select 1", "limit": 1}), "wrong-request"),
        (json!({"query": "select name from spans where name = $1", "params": [[1]]}), "wrong-request"),
        (json!({"query": "select name from spans where name = $1"}), "wrong-parameters"),
        (json!({"query": "select no_such from spans"}), "wrong-query"),
        (json!({"query": "select cast('x' as int) from spans"}), "query-failed"),
        (json!({"query": "drop table spans"}), "read-only"),
    ] {
        let answer = interface.post("/v1/sql", &token, &body).await;
        assert_eq!(answer.json()["code"], code, "{body}: {}", answer.text);
        assert_eq!(answer.json()["status"], answer.status, "{}", answer.text);
        assert!((400..500).contains(&answer.status), "{}", answer.text);
    }
}

/// Pages of one row each, until no cursor comes: together they are all rows once, though the lake is written between
/// them and the order leaves ties. A cursor of another query, and a query without an order, are refused.
#[tokio::test]
async fn pages_meet() {
    let interface = Interface::with(Limits::default()).await;
    let token = interface.token("acme", &[Scope::Sql, Scope::Read]).await;
    let query = "select kind, name, trace_id from spans order by kind";
    let mut names = vec![];
    let mut cursor = Value::Null;
    loop {
        let page = json!({"query": query, "page_size": 1, "cursor": cursor});
        let answer = interface.post("/v1/sql", &token, &page).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        names.extend(answer.json().as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()));
        let Some(next) = answer.header("tracerag-next-cursor") else { break };
        cursor = json!(next);
        if names.len() == 1 {
            interface.lake.write(&crate::tests::lake::example(), crate::tests::lake::NOON).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
    names.sort();
    assert_eq!(names, ["POST /checkout", "POST /checkout", "charge", "retry"]);
    let other = json!({"query": "select 1 order by 1", "page_size": 1, "cursor": cursor});
    assert_eq!(interface.post("/v1/sql", &token, &other).await.json()["code"], "wrong-request");
    let (_, rest) = cursor.as_str().unwrap().split_once('-').unwrap();
    let gone = json!({"query": query, "page_size": 1, "cursor": format!("fff-{rest}")});
    let answer = interface.post("/v1/sql", &token, &gone).await;
    assert_eq!((answer.status, &answer.json()["code"]), (410, &json!("cursor-expired")));
    let unordered = json!({"query": "select name from spans", "page_size": 1});
    let answer = interface.post("/v1/sql", &token, &unordered).await;
    assert!(answer.json()["detail"].as_str().unwrap().contains("order by"), "{}", answer.text);
}

/// A bundle by its trace, as JSON and as Markdown, within a room, and again by its id; pinned and unpinned. Without
/// the scope `heap` it is a view, and SQL shows no heaps and no stored bundles either.
#[tokio::test]
async fn bundles_are_handed_out() {
    let interface = Interface::with(Limits::default()).await;
    let token = interface.token("acme", &ALL).await;
    let answer = interface.get(&format!("/v1/bundles/{FAILING}"), &token).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let bundle = answer.json();
    let id = bundle["bundle_id"].as_str().unwrap().to_owned();
    assert_eq!(tracerag_schemas::bundle::content_id(&bundle["evidence"]).unwrap(), id);
    assert_eq!(interface.get(&format!("/v1/bundles/{id}"), &token).await.json()["evidence"], bundle["evidence"]);
    let path = format!("/v1/bundles/{FAILING}");
    let markdown = interface.send(Method::GET, &path, &token, "text/markdown", Body::empty()).await;
    assert!(markdown.text.contains("decimal overflow") && !markdown.text.starts_with('{'), "{}", markdown.text);
    let markdown = interface.get(&format!("{path}?format=markdown&max_tokens=100"), &token).await;
    assert!(markdown.text.contains("## Left out"), "{}", markdown.text);
    let small = interface.get(&format!("{path}?max_tokens=500"), &token).await.json();
    assert!(small["view"]["left_out"].is_object(), "{small:#}");
    for (query, part) in [("max_tokens=x", "max_tokens"), ("sections=logs", "sections"), ("format=xml", "xml")] {
        let answer = interface.get(&format!("{path}?{query}"), &token).await;
        assert_eq!(answer.status, 400);
        assert!(answer.json()["detail"].as_str().unwrap().contains(part), "{}", answer.text);
    }

    for (method, pinned) in [(Method::POST, true), (Method::DELETE, false)] {
        let answer = interface.send(method, &format!("/v1/bundles/{id}/pin"), &token, "", Body::empty()).await;
        assert_eq!(answer.json(), json!({"bundle_id": id, "pinned": pinned}));
        let rows = interface.sql(&token, "select pinned from bundles").await.json();
        assert_eq!(rows, json!([{"pinned": pinned}]));
    }

    let without = interface.token("acme", &[Scope::Read, Scope::Sql]).await;
    let view = interface.get(&path, &without).await;
    assert_eq!(view.json()["bundle_id"], json!(id));
    assert_eq!(view.json()["view"]["withheld"], json!(["heaps"]));
    assert!(!view.text.contains("decimal.Big"), "{}", view.text);
    for table in ["heaps", "bundles", "bundle_events"] {
        let answer = interface.sql(&without, &format!("select * from {table}")).await;
        assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("wrong-query")), "{table}");
    }
    let answer = interface.sql(&without, &format!("select bundle from evidence_bundle('{FAILING}')")).await;
    assert!(answer.text.contains("decimal overflow") && !answer.text.contains("decimal.Big"), "{}", answer.text);
}

/// What there is no bundle of is told apart: an unknown trace from a wrong id, and each with what to do next.
#[tokio::test]
async fn absent_traces_are_told_apart() {
    let interface = Interface::with(Limits::default()).await;
    let token = interface.token("acme", &ALL).await;
    let unknown = "ffffffffffffffffffffffffffffffff";
    for (path, status, code) in [
        (format!("/v1/bundles/{unknown}"), 404, "trace-unknown"),
        (format!("/v1/traces/{unknown}"), 404, "trace-unknown"),
        (format!("/v1/bundles/sha256:{}", "0".repeat(64)), 404, "bundle-unknown"),
        ("/v1/bundles/xyz".to_owned(), 400, "not-a-trace-id"),
        ("/v1/traces/xyz".to_owned(), 400, "not-a-trace-id"),
    ] {
        let answer = interface.get(&path, &token).await;
        assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(code)), "{path}: {}", answer.text);
        assert_eq!(answer.json()["type"], format!("urn:tracerag:problem:{code}"));
    }
    // Logs came of this trace, and no span yet.
    let answer = interface.get("/v1/bundles/4ef7651916cd43dd8448eb211c80319c", &token).await;
    assert!([404, 409].contains(&answer.status), "{}", answer.text);
}

/// A trace with its spans in tree order; incidents, in pages, one of them with its failing traces, and their trends;
/// similar ones, with the fix that was recorded through the
/// interface, whose text is masked; the status, with partitions for administrators only.
#[tokio::test]
async fn everything_else_is_answered() {
    let interface = Interface::with(Limits::default()).await;
    let token = interface.token("acme", &[Scope::Read, Scope::Similar, Scope::Write]).await;
    let trace = interface.get(&format!("/v1/traces/{FAILING}"), &token).await.json();
    assert_eq!((&trace["trace"]["revision"], &trace["omitted_spans"]), (&json!(2), &json!(0)), "{trace:#}");
    assert_eq!(trace["slow_span_ids"], json!([]));
    assert_eq!((&trace["spans"][1]["name"], &trace["spans"][1]["depth"]), (&json!("charge"), &json!(1)));

    let incidents = interface.get("/v1/incidents?service=payments&limit=1", &token).await.json();
    assert_eq!(incidents["incidents"][0]["fingerprint"], "abcd", "{incidents:#}");
    assert_eq!(incidents["next_cursor"], Value::Null);
    let none = interface.get("/v1/incidents?since=2030-01-01T00:00:00Z", &token).await.json();
    assert_eq!(none["incidents"], json!([]));
    assert_eq!(interface.get("/v1/incidents?since=soon", &token).await.status, 400);

    let told = interface.get("/v1/incidents/abcd", &token).await.json();
    assert_eq!(told["incident"], incidents["incidents"][0], "{told:#}");
    let traces = told["traces"].as_array().unwrap();
    assert_eq!(
        (traces.len(), &traces[0]["trace_id"], &traces[0]["failures"]),
        (1, &json!(FAILING), &json!(1)),
        "{told:#}"
    );
    assert_eq!((&traces[0]["root_name"], &told["fixes"]), (&json!("POST /checkout"), &json!([])), "{told:#}");
    assert_eq!(interface.get("/v1/incidents/none", &token).await.json()["code"], "incident-unknown");
    // The lake has one of its failures, at its first second; what counts say of others is no part of it.
    let seen = |name: &str| told["incident"][name].as_str().unwrap().to_owned();
    let path = format!("/v1/trends?since={}&until={}&bins=3", seen("first_seen"), seen("last_seen"));
    let trends = interface.get(&path, &token).await.json();
    assert_eq!(trends["trends"], json!([{"fingerprint": "abcd", "counts": [1, 0, 0]}]), "{trends:#}");
    assert_eq!(trends["has_more"], false, "what is not told of has no failure in this time");
    let later = interface.get("/v1/trends?since=2030-01-01T00:00:00Z&until=2030-01-02T00:00:00Z", &token).await.json();
    assert_eq!(later["trends"], json!([]));

    let fix = json!({"fingerprint": "abcd", "summary": "round first, says jane@example.org", "outcome": "mitigated",
        "fixed_at": "2100-01-01T00:00:00Z"});
    let recorded = interface.post("/v1/fixes", &token, &fix).await;
    assert_eq!(recorded.status, 201, "{}", recorded.text);
    let similar = interface.post("/v1/similar", &token, &json!({"text": "decimal overflow", "k": 3})).await.json();
    let known = &similar["incidents"][0]["fixes"][0];
    assert_eq!(known["summary"], "round first, says <email>", "{similar:#}");
    assert_eq!(known["fix_id"], recorded.json()["fix_id"]);
    for (body, status) in [
        (json!({"fingerprint": "none", "summary": "x"}), 404),
        (json!({"fingerprint": "abcd", "summary": " "}), 400),
        (json!({"fingerprint": "abcd", "summary": "x", "bundle_id": "sha256:0"}), 404),
        (json!({"fingerprint": "abcd", "summary": "x", "outcome": "perhaps"}), 400),
    ] {
        let answer = interface.post("/v1/fixes", &token, &body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text);
    }
    for body in [json!({}), json!({"text": "x", "trace_id": FAILING}), json!({"text": "x", "colour": "red"})] {
        assert_eq!(interface.post("/v1/similar", &token, &body).await.status, 400, "{body}");
    }

    let listed = interface.get("/v1/fixes?fingerprint=abcd", &token).await.json();
    assert_eq!(listed["fixes"][0]["fix_id"], recorded.json()["fix_id"], "{listed:#}");
    assert_eq!((listed["fixes"].as_array().unwrap().len(), &listed["fixes"][0]["came_back"]), (1, &json!(false)));
    assert_eq!(interface.get("/v1/fixes?fingerprint=none", &token).await.json()["fixes"], json!([]));
    let early = json!({"fingerprint": "abcd", "summary": "waited", "fixed_at": "2020-01-01T00:00:00Z"});
    assert_eq!(interface.post("/v1/fixes", &token, &early).await.status, 201);
    let similar = interface.post("/v1/similar", &token, &json!({"text": "decimal overflow", "k": 3})).await.json();
    let came_back: Vec<&Value> =
        similar["incidents"][0]["fixes"].as_array().unwrap().iter().map(|fix| &fix["came_back"]).collect();
    assert_eq!(came_back, [&json!(false), &json!(true)], "newest first, and seen again after the older one");
    let wrong = json!({"fingerprint": "abcd", "summary": "x", "fixed_at": "soon"});
    assert_eq!(interface.post("/v1/fixes", &token, &wrong).await.json()["code"], "wrong-argument");

    let status = interface.get("/v1/status", &token).await.json();
    assert_eq!((&status["tables"]["spans"], &status["partitions"]), (&json!(4), &Value::Null), "{status:#}");
    let admin = interface.token("acme", &ALL).await;
    let status = interface.get("/v1/status", &admin).await.json();
    assert_eq!(status["partitions"][0]["topic"], "otlp_spans", "{status:#}");
}

/// Claims are verified by the bundle's id and by the bundle itself, as an object and as Markdown, with status 200 whether
/// they hold or not, and each has a row in `audit`. A forged bundle is unattested, what is no request is a problem, and
/// without the scope `heap` nothing is said of heaps.
#[tokio::test]
async fn claims_are_verified() {
    let interface = Interface::with(Limits::default()).await;
    let token = interface.token("acme", &ALL).await;
    let bundle = interface.get(&format!("/v1/bundles/{FAILING}"), &token).await.json();
    let id = &bundle["bundle_id"];
    let claims = |predicate: &str| {
        let claim = json!({"id": "c1", "text": "payments failed", "anchors": ["span:b7ad6b7169203331"],
                           "predicates": [predicate]});
        json!({"schema": "tracerag.claims/1", "bundle_id": id, "claims": [claim]})
    };
    let (good, bad) = (claims("status(span:b7ad6b7169203331) = ERROR"), claims("status(span:b7ad6b7169203331) = OK"));
    let markdown = "payments failed [span:b7ad6b7169203331] `status(span:b7ad6b7169203331) = ERROR`.";
    for (request, holds) in [
        (json!({"bundle_id": id, "claims": good}), true),
        (json!({"bundle": bundle, "claims": good}), true),
        (json!({"bundle_id": id, "claims": markdown}), true),
        (json!({"bundle_id": id, "claims": good.to_string()}), true),
        (json!({"bundle_id": id, "claims": bad}), false),
    ] {
        let answer = interface.post("/v1/verify", &token, &request).await;
        assert_eq!((answer.status, &answer.json()["all_hold"]), (200, &json!(holds)), "{}", answer.text);
        assert_eq!(&answer.json()["bundle_id"], id);
    }
    let mut forged = bundle.clone();
    forged["evidence"]["trace"]["status"] = json!("OK");
    forged["bundle_id"] = json!(tracerag_schemas::bundle::content_id(&forged["evidence"]).unwrap());
    let answer = interface.post("/v1/verify", &token, &json!({"bundle": forged, "claims": markdown})).await;
    assert!(answer.status == 200 && answer.text.contains("unattested: "), "{}", answer.text);

    for (request, status) in [
        (json!({"claims": good}), 400),
        (json!({"bundle_id": id, "bundle": bundle, "claims": good}), 400),
        (json!({"bundle_id": id}), 400),
        (json!({"bundle_id": id, "claims": 7}), 400),
        (json!({"bundle_id": format!("sha256:{}", "0".repeat(64)), "claims": good}), 404),
    ] {
        let answer = interface.post("/v1/verify", &token, &request).await;
        assert_eq!((answer.status, answer.header("content-type")), (status, Some("application/problem+json")));
    }

    for unreadable in [json!({"schema": "tracerag.claims/2"}), json!("```")] {
        let request = json!({"bundle_id": id, "claims": unreadable});
        let report = interface.post("/v1/verify", &token, &request).await.json();
        assert_eq!(report["all_hold"], json!(false), "{report}");
        assert!(report["reasons"][0].as_str().is_some_and(|reason| reason.starts_with("claims: ")), "{report}");
    }

    let heap = "decimal.Big is in the heap [heap:0] `heap_bytes(heap:0, \"decimal.Big\") = 3840000`.";
    let request = json!({"bundle_id": id, "claims": heap});
    assert_eq!(interface.post("/v1/verify", &token, &request).await.json()["all_hold"], true);
    let without = interface.token("acme", &[Scope::Read]).await;
    let answer = interface.post("/v1/verify", &without, &request).await;
    assert!(answer.text.contains("existence: ") && !answer.text.contains("3840000 of"), "{}", answer.text);
    let nobody = interface.token("acme", &[Scope::Sql]).await;
    assert_eq!(interface.post("/v1/verify", &nobody, &request).await.status, 403);

    interface.app.gate().close().await;
    let session = interface.lake.session("acme").await;
    let rows = ask_lake(&session, "select distinct operation, bundle_id from audit where outcome = 'ok' and operation = 'verify' and bundle_id is not null").await;
    assert!(rows.as_array().unwrap().iter().any(|row| &row["bundle_id"] == id), "{rows:#}");
}

/// The lake is asked for what goes beyond the bundle: the same error in some of several traces, and failures of a
/// fingerprint up to the end of the trace; not for another tenant's.
#[tokio::test]
async fn claims_over_traces_ask_the_lake() {
    let interface = Interface::with(Limits::default()).await;
    let token = interface.token("acme", &ALL).await;
    let bundle = interface.get(&format!("/v1/bundles/{FAILING}"), &token).await.json();
    let good = "1bf7651916cd43dd8448eb211c80319c";
    for (predicate, reason) in [
        (format!("same_error(\"abcd\", \"{FAILING}\", \"{good}\") = 1"), ""),
        (format!("same_error(\"abcd\", \"{FAILING}\", \"{good}\") = 2"), "predicate"),
        (format!("same_error(\"abcd\", \"{FOREIGN}\") = 0"), "existence"),
        ("lake_failures(\"abcd\") = 1".to_owned(), ""),
        ("lake_failures(\"abcd\") = 2".to_owned(), "predicate"),
    ] {
        let claims = format!("The error of payments is known [failure:0] `{predicate}`.");
        let request = json!({"bundle_id": bundle["bundle_id"], "claims": claims});
        let report = interface.post("/v1/verify", &token, &request).await.json();
        let reasons = report["claims"][0]["reasons"].to_string();
        assert_eq!(report["all_hold"], reason.is_empty(), "{predicate}: {reasons}");
        assert!(reasons.contains(reason), "{predicate}: {reasons}");
    }
}

/// An epoch that is written while the server runs is seen by the queries that follow.
#[tokio::test]
async fn new_epochs_are_seen() {
    let interface = Interface::to(TestLake::empty().await, Limits::default());
    let token = interface.token("acme", &[Scope::Sql]).await;
    let count = format!("select count(*) as n from spans where trace_id = '{FAILING}'");
    assert_eq!(interface.sql(&token, &count).await.json(), json!([{"n": 0}]));
    interface.lake.write(&crate::tests::lake::example(), crate::tests::lake::NOON).await;
    let until = tokio::time::Instant::now() + Duration::from_secs(30);
    while interface.sql(&token, &count).await.json() != json!([{"n": 2}]) {
        assert!(tokio::time::Instant::now() < until, "the new epoch is not seen");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

//! The protocol on the example lake, in JSON-RPC as clients write it.

#![allow(clippy::unwrap_used)]

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};
use tracerag_schemas::Table;

use crate::access::{Limits, Scope};
use crate::server::http::tests::{Answer, Interface};
use crate::tests::lake::{FAILING, FOREIGN, at, batch};
use crate::tokens;

const ACCEPT: &str = "application/json, text/event-stream";

async fn send(interface: &Interface, token: &str, headers: &[(&str, &str)], message: &Value) -> Answer {
    let mut request = Request::builder().method(Method::POST).uri("/mcp").header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    interface.answer(request, token, ACCEPT, Body::from(message.to_string())).await
}

/// A request of the older era.
async fn request(interface: &Interface, token: &str, method: &str, params: Value) -> Value {
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let answer = send(interface, token, &[("mcp-protocol-version", "2025-11-25")], &message).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

async fn called(interface: &Interface, token: &str, tool: &str, arguments: Value) -> Value {
    let answer = request(interface, token, "tools/call", json!({"name": tool, "arguments": arguments})).await;
    answer["result"].clone()
}

/// The answer of a tool that did what it was asked for; its text is the same document.
async fn told(interface: &Interface, token: &str, tool: &str, arguments: Value) -> Value {
    let result = called(interface, token, tool, arguments).await;
    assert_eq!(result["isError"], false, "{result}");
    let text: Value = serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(text, result["structuredContent"]);
    text
}

/// Each tool answers on the example: the bundle begins with the failure, pages of it meet, a trace shows the failing
/// path, rows have columns, and what a bundle says can be cited and a fix recorded.
#[tokio::test(flavor = "multi_thread")]
async fn every_tool_answers() {
    let interface = Interface::with(Limits::default()).await;
    let token = interface.token("acme", &Scope::ALL).await;
    let ask = async |tool: &str, arguments: Value| told(&interface, &token, tool, arguments).await;

    let bundle = ask("get_evidence_bundle", json!({"trace_id": FAILING, "max_tokens": 25_000})).await;
    let data = &bundle["data"];
    let sections: Vec<&String> = data.as_object().unwrap().keys().filter(|name| data[name].is_array()).collect();
    assert_eq!(sections[..2], ["failures", "failing_path"], "{sections:?}");
    let failure = &data["failures"][0];
    assert!(failure["frames"].is_array() && failure["anchor"] == "failure:0", "{failure}");
    let bundle_id = data["bundle_id"].as_str().unwrap();

    let mut cursor = Value::Null;
    let mut seen = 0;
    loop {
        let page = json!({"bundle_id": bundle_id, "max_tokens": 700, "cursor": cursor});
        let page = ask("get_evidence_bundle", page).await;
        assert!(tokens::count(&page.to_string()) <= 700, "{page}");
        assert_eq!(page["data"]["bundle_id"], bundle_id);
        seen += page["data"].as_object().unwrap().values().filter_map(Value::as_array).map(Vec::len).sum::<usize>();
        cursor = page["next_cursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    let whole: usize = sections.iter().map(|name| data[name].as_array().unwrap().len()).sum();
    assert_eq!(seen, whole);

    let one = ask("get_evidence_bundle", json!({"trace_id": FAILING, "sections": ["flags"]})).await;
    assert!(one["data"]["flags"].is_array() && one["data"].get("logs").is_none(), "{one}");

    let fingerprint = failure["fingerprint"].as_str().unwrap();
    let similar = ask("find_similar_incidents", json!({"trace_id": FAILING, "k": 3})).await;
    assert_eq!(similar["data"]["incidents"][0]["fingerprint"], fingerprint, "{similar}");
    let compared = ask("compare_to_baseline", json!({"trace_id": FAILING})).await;
    assert_eq!(compared["data"]["fingerprint"], fingerprint, "{compared}");
    assert!(compared["data"]["said"].as_str().unwrap().contains("1 failing and 0 good"), "{compared}");
    let traces = ask("search_traces", json!({"status": "error", "fingerprint": fingerprint})).await;
    assert_eq!(traces["data"]["traces"][0]["trace_id"], FAILING, "{traces}");
    let none =
        ask("search_traces", json!({"service": "nobody", "min_duration_ms": 1, "since": "2026-01-01T00:00:00Z"})).await;
    assert_eq!(none["data"], json!({}));
    let trace = ask("get_trace", json!({"trace_id": FAILING})).await;
    assert!(trace["data"]["failures"][0]["frames"].is_array(), "{trace}");
    let failing = trace["data"]["failing_path"].as_array().unwrap();
    assert!(failing.iter().any(|span| span["status_code"] == "ERROR"), "{trace}");
    let span_id = failing[0]["span_id"].as_str().unwrap();
    let span = ask("get_trace", json!({"trace_id": FAILING, "span_id": span_id})).await;
    assert_eq!(span["data"]["spans"][0]["span_id"], span_id);
    let logs = ask("get_logs", json!({"trace_id": FAILING})).await;
    let body = logs["data"]["logs"][0]["body"].as_str().unwrap();
    let found = ask("get_logs", json!({"text": body.to_uppercase(), "since": "2026-01-01T00:00:00Z"})).await;
    assert_eq!(found["data"]["logs"][0]["body"], body, "{found}");

    let rows = ask("run_sql", json!({"query": "select 1 as a, null as b, $1 as a2", "params": ["x"]})).await;
    assert_eq!(rows["data"], json!({"columns": ["a", "b", "a2"], "rows": [[1, null, "x"]]}));
    let schema = ask("describe_schema", json!({})).await;
    let spans = schema["data"]["tables"].as_array().unwrap().iter().find(|table| table["table"] == "spans").unwrap();
    assert!(spans["columns"].as_str().unwrap().contains("duration_ns"), "{spans}");
    let columns = ask("describe_schema", json!({"table": "spans"})).await;
    assert!(columns["data"]["columns"].as_array().unwrap().len() > 20, "{columns}");

    let root = data["failing_path"][0]["anchor"].as_str().unwrap();
    let claims = json!([
        {"id": "c1", "text": "checkout failed.", "anchors": [root], "predicates": [format!("status({root}) = ERROR")]},
        {"id": "c2", "text": "It failed.", "anchors": ["log:4711"]},
    ]);
    let report = ask("verify_citations", json!({"bundle_id": bundle_id, "claims": claims})).await;
    assert_eq!(report["data"]["all_hold"], false);
    assert_eq!(report["data"]["claims"][0]["accepted"], true, "{report}");
    assert!(report["data"]["claims"][1]["reasons"].to_string().contains("existence: "), "{report}");
    let fix =
        ask("record_fix", json!({"fingerprint": fingerprint, "summary": "round first, told jane@example.org"})).await;
    assert_eq!(fix["fix_id"].as_str().unwrap().len(), 32);
    let fixes = ask("run_sql", json!({"query": "select summary from fixes"})).await;
    assert!(fixes["data"]["rows"].to_string().contains("told <email>"), "{fixes}");
}

/// A release has mapped two old fingerprints to that of a failing trace. Guarantees that the trace is found by each of the
/// three, as on the page of the incident, and by no other.
#[tokio::test(flavor = "multi_thread")]
async fn traces_are_found_by_old_fingerprints() {
    let interface = Interface::with(Limits::default()).await;
    let token = interface.token("acme", &[Scope::Read]).await;
    let map = |old: &str| {
        json!({"tenant_id": "acme", "rule_id": old, "action": "map", "fingerprint": old, "target": "abcd",
               "created_at": at(0), "from_version": 1, "to_version": 2})
    };
    let rules = batch(Table::GroupingRules, &[map("old"), map("older")]);
    interface.lake.lake.append_side(Table::GroupingRules, rules).await.unwrap();
    for (fingerprint, is_found) in [("abcd", true), ("old", true), ("older", true), ("other", false)] {
        let found = told(&interface, &token, "search_traces", json!({"fingerprint": fingerprint})).await;
        assert_eq!(found["data"]["traces"][0]["trace_id"] == FAILING, is_found, "{fingerprint}: {found}");
    }
}

/// SQL with an order is paged to its last row, on one head; without one, what has no room is counted and the way to it
/// named.
#[tokio::test(flavor = "multi_thread")]
async fn rows_are_paged() {
    let interface = Interface::with(Limits::default()).await;
    let token = interface.token("acme", &[Scope::Sql]).await;
    let numbers = "select value as n, repeat('word ', 20) as text from generate_series(1, 300)";
    let ordered = format!("{numbers} order by n");
    let (mut cursor, mut seen) = (Value::Null, Vec::new());
    loop {
        let page = json!({"query": ordered, "cursor": cursor, "max_tokens": 2_000});
        let page = told(&interface, &token, "run_sql", page).await;
        assert!(tokens::count(&page.to_string()) <= 2_000);
        seen.extend(page["data"]["rows"].as_array().unwrap().iter().map(|row| row[0].as_u64().unwrap()));
        cursor = page["next_cursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(seen, (1..=300).collect::<Vec<_>>());
    let unordered = told(&interface, &token, "run_sql", json!({"query": numbers, "max_tokens": 2_000})).await;
    let shown = unordered["data"]["rows"].as_array().unwrap().len() as u64;
    assert_eq!(unordered["left_out"]["rows"], 300 - shown);
    assert!(unordered["left_out"]["why_no_cursor"].as_str().unwrap().contains("order by"));
    assert!(unordered.get("next_cursor").is_none());
}

/// Failures are results with a way on: unknown ids, wrong arguments, wrong SQL, changes, missing scopes, another's
/// trace and bundle, cursors of something else. What is no tool is an error of the protocol.
#[tokio::test(flavor = "multi_thread")]
async fn failures_say_what_to_do() {
    let interface = Interface::with(Limits::default()).await;
    let token = interface.token("acme", &[Scope::Sql, Scope::Read]).await;
    let theirs = interface.token("other", &Scope::ALL).await;
    let foreign = told(&interface, &theirs, "get_evidence_bundle", json!({"trace_id": FOREIGN})).await;
    for (tool, arguments, code, way) in [
        ("get_evidence_bundle", json!({"trace_id": "f".repeat(32)}), "trace-unknown", "search_traces"),
        ("get_evidence_bundle", json!({"trace_id": FOREIGN}), "trace-unknown", "search_traces"),
        ("get_evidence_bundle", json!({"bundle_id": foreign["data"]["bundle_id"]}), "bundle-unknown", "trace_id"),
        ("get_evidence_bundle", json!({}), "wrong-request", "bundle_id"),
        ("get_evidence_bundle", json!({"trace_id": FAILING, "sections": ["all"]}), "wrong-request", "failing_path"),
        ("get_evidence_bundle", json!({"trace_id": FAILING, "cursor": "1-1-1"}), "wrong-request", "cursor"),
        ("get_trace", json!({"trace_id": "nonsense"}), "not-a-trace-id", "search_traces"),
        ("get_logs", json!({"min_severity": "LOUD"}), "wrong-request", "WARN"),
        ("search_traces", json!({"colour": "red"}), "wrong-request", "inputSchema"),
        ("run_sql", json!({"query": "select nothing from spans"}), "wrong-query", "describe_schema"),
        ("run_sql", json!({"query": "drop table spans"}), "read-only", "SELECT"),
        ("describe_schema", json!({"table": "nothing"}), "wrong-request", "describe_schema"),
        ("find_similar_incidents", json!({"text": "x"}), "scope-missing", "similar"),
        ("record_fix", json!({"fingerprint": "0", "summary": "x"}), "scope-missing", "write"),
    ] {
        let result = called(&interface, &token, tool, arguments.clone()).await;
        assert_eq!(result["isError"], true, "{tool} {arguments}: {result}");
        let text = result["content"][0]["text"].as_str().unwrap();
        assert!(text.starts_with(&format!("{code}: ")) && text.contains(way), "{tool} {arguments}: {text}");
    }
    let answer = request(&interface, &token, "tools/call", json!({"name": "guess", "arguments": {}})).await;
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    // Rows of another tenant do not show, whatever is asked.
    let rows = told(&interface, &token, "run_sql", json!({"query": "select distinct tenant_id from spans"})).await;
    assert_eq!(rows["data"]["rows"], json!([["acme"]]));
}

/// Without the scope for heaps a bundle has none, and nothing can be found out of them by claims.
#[tokio::test(flavor = "multi_thread")]
async fn heaps_need_their_scope() {
    let interface = Interface::with(Limits::default()).await;
    let (all, token) = (interface.token("acme", &Scope::ALL).await, interface.token("acme", &[Scope::Read]).await);
    let arguments = json!({"trace_id": FAILING, "max_tokens": 25_000});
    let whole = told(&interface, &all, "get_evidence_bundle", arguments.clone()).await;
    assert!(whole["data"]["heaps"].is_array(), "{whole}");
    let bundle = told(&interface, &token, "get_evidence_bundle", arguments).await;
    assert!(bundle["data"].get("heaps").is_none() && bundle["data"]["not_in_bundle"]["heaps"].is_object(), "{bundle}");
    let predicate = "heap_bytes(heap:0, \"decimal.Big\") > 1";
    let claims = json!([{"id": "c", "text": "x", "anchors": ["heap:0"], "predicates": [predicate]}]);
    let arguments = json!({"bundle_id": bundle["data"]["bundle_id"], "claims": claims});
    let reasons = |report: &Value| report["data"]["claims"][0]["reasons"].to_string();
    let report = told(&interface, &token, "verify_citations", arguments.clone()).await;
    assert!(reasons(&report).contains("existence"), "{report}");
    let report = told(&interface, &all, "verify_citations", arguments).await;
    assert!(!reasons(&report).contains("existence"), "{report}");
}

/// Both eras of the protocol, on one path and without a session: the older begins with `initialize`, the newer says its
/// version with each request and may ask `server/discover`. Header and body have to agree.
#[tokio::test(flavor = "multi_thread")]
async fn both_eras_are_answered() {
    let interface = Interface::with(Limits::default()).await;
    let token = interface.token("acme", &[Scope::Read]).await;
    let client = json!({"name": "test", "version": "1"});
    let initialize = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
    let answer = request(&interface, &token, "initialize", initialize).await;
    assert_eq!(answer["result"]["protocolVersion"], "2025-11-25", "{answer}");
    assert_eq!(answer["result"]["serverInfo"]["name"], "tracerag");
    let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(send(&interface, &token, &[], &initialized).await.status, 202);
    let older = request(&interface, &token, "tools/list", json!({})).await;

    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": client,
    });
    let modern = async |method: &str, mentioned: &str| {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"_meta": meta}});
        let headers = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", mentioned)];
        send(&interface, &token, &headers, &message).await
    };
    let discovered = modern("server/discover", "server/discover").await.json();
    let versions = discovered["result"]["supportedVersions"].as_array().unwrap();
    assert!(versions.contains(&json!("2026-07-28")) && versions.contains(&json!("2025-11-25")), "{discovered}");
    let newer = modern("tools/list", "tools/list").await.json();
    assert_eq!(newer["result"]["tools"], older["result"]["tools"]);
    assert_eq!(
        (&newer["result"]["resultType"], &newer["result"]["cacheScope"]),
        (&json!("complete"), &json!("public"))
    );
    let mismatch = modern("tools/list", "tools/call").await;
    assert_eq!((mismatch.status, &mismatch.json()["error"]["code"]), (400, &json!(-32020)), "{}", mismatch.text);
    assert_eq!(modern("ping", "ping").await.status, 404);
    assert_eq!(interface.get("/mcp", &token).await.status, 405);
}

/// Who shows no token that holds is refused before anything is read, and told where tokens come from; so is a page of
/// elsewhere, and a request that is too long.
#[tokio::test(flavor = "multi_thread")]
async fn the_gate_is_that_of_http() {
    let interface = Interface::with(Limits::default()).await;
    let token = interface.token("acme", &[Scope::Read]).await;
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    for wrong in ["", "tracerag_00"] {
        let answer = send(&interface, wrong, &[], &list).await;
        assert_eq!(answer.status, 401, "{}", answer.text);
        let challenge = answer.header("www-authenticate").unwrap();
        assert_eq!(challenge.ends_with("error=\"invalid_token\""), !wrong.is_empty(), "{challenge}");
        let metadata = challenge.split('"').find(|part| part.starts_with("https://")).unwrap();
        let path = metadata.strip_prefix("https://tracerag.example.com").unwrap();
        let document = interface.get(path, "").await.json();
        assert_eq!(document["resource"], "https://tracerag.example.com/mcp");
        assert_eq!(document["authorization_servers"], json!(["https://login.example.com"]));
    }
    let elsewhere = send(&interface, &token, &[("origin", "https://evil.example.com")], &list).await;
    assert_eq!(elsewhere.status, 403, "{}", elsewhere.text);
    let long = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"x": "x".repeat(3 << 20)}});
    assert_eq!(send(&interface, &token, &[], &long).await.status, 413);
}

/// Resources are what the tools answer, for the caller's tenant; the prompt names the trace.
#[tokio::test(flavor = "multi_thread")]
async fn resources_and_the_prompt() {
    let interface = Interface::with(Limits::default()).await;
    let token = interface.token("acme", &[Scope::Read, Scope::Sql]).await;
    let listed = request(&interface, &token, "resources/list", json!({})).await;
    let uris: Vec<&str> =
        listed["result"]["resources"].as_array().unwrap().iter().filter_map(|r| r["uri"].as_str()).collect();
    assert!(uris.contains(&"schema://spans") && !uris.contains(&"schema://audit"), "{uris:?}");
    let read = async |uri: &str| request(&interface, &token, "resources/read", json!({"uri": uri})).await;
    for (uri, part) in [("schema://spans".to_owned(), "duration_ns"), (format!("bundle://{FAILING}"), "failing_path")] {
        let answer = read(&uri).await;
        assert!(answer["result"]["contents"][0]["text"].as_str().unwrap().contains(part), "{answer}");
    }
    let unknown = read(&format!("bundle://{FOREIGN}")).await;
    assert_eq!(unknown["error"]["code"], -32002, "{unknown}");
    assert!(unknown["error"]["message"].as_str().unwrap().starts_with("trace-unknown"), "{unknown}");
    let arguments = json!({"name": "root_cause_with_citations", "arguments": {"trace_id": FAILING}});
    let prompt = request(&interface, &token, "prompts/get", arguments).await;
    assert!(prompt["result"]["messages"][0]["content"]["text"].as_str().unwrap().contains(FAILING), "{prompt}");
}

/// Every tool that is listed is there to be called: one that is asked with an argument that none has looks at it and
/// refuses it. Guarantees that no tool answers for another, and none is listed without being made.
#[tokio::test]
async fn every_listed_tool_is_made() {
    let interface = Interface::with(Limits::default()).await;
    let token = interface.token("acme", &Scope::ALL).await;
    let listed = request(&interface, &token, "tools/list", json!({})).await;
    let tools = listed["result"]["tools"].as_array().unwrap();
    assert_eq!(tools.len(), 10);
    for tool in tools {
        let name = tool["name"].as_str().unwrap();
        let result = called(&interface, &token, name, json!({"no_such_argument": {"a": 1}})).await;
        let text = result["content"][0]["text"].as_str().unwrap();
        assert_eq!(result["isError"], true, "{name}: {text}");
        assert!(!text.contains("not made"), "{name}: {text}");
    }
}

//! The conversation of the agents' manual, held with a server on the recording that its answers were taken from.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use crate::checkout::replayed;
use crate::support::client::Client;
use crate::support::served::{ALL, Served};

/// The distances of similar incidents are those of the model that needs no download.
const MODEL: (&str, &str) = ("TRACERAG_EMBEDDING__MODEL", "hashed-ngrams");
/// One flush: which traces are closed when would else depend on how fast the machine replays.
const ONE_FLUSH: (&str, &str) = ("TRACERAG_LAKE__FLUSH_INTERVAL", "1h");
/// What stands in the page for the id of the bundle, which the redaction key changes.
const BUNDLE_ID: &str = "$BUNDLE_ID";
/// Members that differ each time, and what stands for them.
const VARYING: [(&str, &str); 4] =
    [("next_cursor", "$NEXT_CURSOR"), ("fix_id", "$FIX_ID"), ("author", "$AUTHOR"), ("fixed_at", "$NOW")];

/// A call of the page.
struct Call<'a> {
    /// As it stands between the fences.
    text: &'a str,
    by_mcp: bool,
    /// The answer that stands below it.
    shown: &'a str,
}

/// Every call in the page, in its order.
///
/// # Panics
/// If no answer stands below a call.
fn calls(document: &str) -> Vec<Call<'_>> {
    let mut calls = Vec::new();
    let mut rest = document;
    while let Some((_, after)) = rest.split_once("\n```").filter(|(_, after)| !after.is_empty()) {
        let (kind, body) = after.split_once('\n').expect("a fence has a line of its own");
        let by_mcp = match kind {
            "mcp" => true,
            "http" => false,
            _ => {
                rest = after;
                continue;
            }
        };
        let (text, after) = body.split_once("```\n").expect("a call has an end");
        let answer = after.strip_prefix("\n```json\n").and_then(|after| after.split_once("```\n"));
        let (shown, after) = answer.unwrap_or_else(|| panic!("no answer stands below\n{text}"));
        calls.push(Call { text, by_mcp, shown });
        rest = after;
    }
    calls
}

/// What a tool answers.
fn by_mcp(client: &Client, tool: &str, arguments: &Value) -> Value {
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
                         "params": {"name": tool, "arguments": arguments}});
    let headers = [("mcp-protocol-version", "2025-11-25"), ("accept", "application/json, text/event-stream")];
    let answer = client.send(Method::POST, "/mcp", &headers, Some(&message)).expect("the server answers").good();
    let result = &answer["result"];
    assert_eq!(result["isError"], false, "{tool}: {answer}");
    result["structuredContent"].clone()
}

/// What the call is answered, once the id of the bundle is in its place.
fn made(client: &Client, call: &Call<'_>, bundle_id: &str) -> Value {
    let text = call.text.replace(BUNDLE_ID, bundle_id);
    let (first, rest) = text.split_once('\n').unwrap_or((text.as_str(), ""));
    let body: Option<Value> =
        (!rest.trim().is_empty()).then(|| serde_json::from_str(rest).unwrap_or_else(|error| panic!("{error}: {rest}")));
    if call.by_mcp {
        return by_mcp(client, first, &body.expect("a tool has arguments"));
    }
    let (method, path) = first.split_once(' ').expect("a method and a path");
    let method: Method = method.parse().expect("a method");
    client.send(method, path, &[], body.as_ref()).expect("the server answers").good()
}

/// The same with a name in the place of what differs each time.
fn steady(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, member)| {
                let stands = VARYING.iter().find(|(varying, _)| *varying == name).filter(|_| member.is_string());
                let member = stands.map_or_else(|| steady(member), |(_, stands)| json!(stands));
                (name, member)
            });
            Value::Object(members.collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(steady).collect()),
        other => other,
    }
}

/// The calls of `docs/conversation.md` are made one after the other of a server on a lake of the recording, by MCP and over
/// HTTP, and each answer is compared with the block below it. Guarantees that an agent that does what the page does is
/// answered so. With `TRACERAG_TEST_WRITE_DOCS` set, answers that are others are written into the page instead.
#[test]
fn the_conversation_is_as_the_page_shows_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/conversation.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let calls = calls(&document);
    assert_eq!((calls.len(), calls.iter().filter(|call| call.by_mcp).count()), (7, 5), "calls, and those by MCP");
    let served = Served::start(replayed(&[MODEL, ONE_FLUSH]), "[embedding]\nmodel = \"hashed-ngrams\"");
    let client = served.client(&served.token("default", ALL));
    let bundle = client.get("/v1/bundles/1e37579f8f900adff29da769896c016c").good();
    let bundle_id = bundle["bundle_id"].as_str().unwrap();
    let write = std::env::var_os("TRACERAG_TEST_WRITE_DOCS").is_some();
    let mut written = document.clone();
    for call in &calls {
        let answer = steady(made(&client, call, bundle_id));
        let answer = format!("{answer:#}\n").replace(bundle_id, BUNDLE_ID);
        let block = |answer: &str| format!("{}```\n\n```json\n{answer}```\n", call.text);
        written = written.replacen(&block(call.shown), &block(&answer), 1);
        assert!(write || call.shown == answer, "the page shows another answer than\n{}has:\n{answer}", call.text);
    }
    if write {
        std::fs::write(path, written).unwrap();
    }
}

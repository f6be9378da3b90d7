//! Agents, by the official clients of MCP, on the example that everybody knows.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::clients::Clients;
use crate::support::program::{Ran, Tracerag};
use crate::support::served::{ALL, Served};
use crate::support::tenants::{self, Interface};
use crate::worked_example::{self, TRACE};

/// Both eras of the protocol, as `tests/clients/agent.py` names them, with the version that is agreed on.
const ERAS: [(&str, &str); 2] = [("legacy", "2025-11-25"), ("2026-07-28", "2026-07-28")];

/// What a client said that went through.
fn said(ran: &Ran) -> Value {
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
    serde_json::from_str(ran.stdout.lines().last().unwrap_or_default()).unwrap()
}

/// The official clients, Python's in both eras of the protocol and TypeScript's, ask a running server for everything that
/// an agent needs: see `tests/clients/agent.py`. Guarantees that every tool, resource and prompt is understood by clients
/// of others, that all get the same bundle, and that every call is in `audit`.
#[test]
fn clients_of_others_ask_a_server() {
    let Some(clients) = Clients::find() else { return };
    let served = Served::start(worked_example::replayed(), "");
    let token = served.token("default", ALL);
    let url = format!("http://127.0.0.1:{}/mcp", served.port);
    let bundle = served.client(&token).get(&format!("/v1/bundles/{TRACE}")).good();
    for (era, version) in ERAS {
        let told = said(&clients.python("agent.py", &[era, TRACE, &url, &token]));
        assert_eq!((&told["version"], &told["bundle_id"]), (&Value::from(version), &bundle["bundle_id"]));
        assert_eq!(told["spans"], 3);
    }
    let told = said(&clients.node("agent.mjs", &[TRACE, &url, &token]));
    assert_eq!(told["bundle_id"], bundle["bundle_id"]);
    let Served { tracerag, replica } = served;
    assert!(replica.server.terminate(), "a signal ends the server");
    let calls = |operation: &str, outcome: &str| {
        tracerag.number(&format!(
            "select count(*) from audit where interface = 'mcp' and operation = '{operation}' and outcome = '{outcome}'"
        ))
    };
    assert_eq!((calls("record_fix", "ok"), calls("get_trace", "trace-unknown")), (2, 2));
    assert_eq!(calls("verify_citations", "ok"), 5);
}

/// The same over standard input and output, on a lake and by a server that is elsewhere, in both eras. Guarantees that
/// nothing but the protocol is on standard output, and that a lake that is asked so has its `audit`, too.
#[test]
fn clients_of_others_start_the_program() {
    let Some(clients) = Clients::find() else { return };
    let binary = env!("CARGO_BIN_EXE_tracerag");
    let on_lake = worked_example::replayed();
    let served = Served::start(worked_example::replayed(), "");
    let bundles = [&on_lake, &served.tracerag].map(|tracerag| tracerag.bundle(TRACE));
    let token = format!("TRACERAG_TOKEN={}", served.token("default", ALL));
    let url = format!("http://127.0.0.1:{}", served.port);
    for (era, version) in ERAS {
        let local = ["--", binary, "--lake", on_lake.lake(), "mcp"];
        let remote = ["--", "env", &token, binary, "--server", &url, "mcp"];
        for (command, bundle) in [&local[..], &remote].into_iter().zip(&bundles) {
            let told = said(&clients.python("agent.py", &[&[era, TRACE][..], command].concat()));
            assert_eq!(
                (&told["version"], &told["bundle_id"]),
                (&Value::from(version), &bundle["bundle_id"]),
                "{command:?}"
            );
        }
    }
    let asked =
        "select count(*) from audit where interface = 'mcp' and principal = 'local' and operation = 'record_fix'";
    assert_eq!(on_lake.number(asked), 2);
}

/// Who starts the program by hand and says nothing, or what is no message, gets no answer on standard output but those of
/// the protocol, and it ends with its input.
#[test]
fn the_program_ends_with_its_input() {
    let tracerag = worked_example::replayed();
    let ran = tracerag.run_with_input(&["mcp"], "");
    assert_eq!((ran.status, ran.stdout.as_str()), (0, ""), "{}", ran.stderr);
    let ran = Tracerag::new().run_with_input(&["mcp"], "");
    assert!(ran.status == 1 && ran.stdout.is_empty(), "a lake that is not there: {}", ran.stderr);
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
    let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let ran = tracerag.run_with_input(&["mcp"], &format!("{initialize}\n{initialized}\n"));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let lines: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["id"]), (1, &Value::from(1)), "{lines:?}");
}

/// A client of the protocol. A request is a tool with its arguments, `read` with the address of a resource, `prompt` with a
/// trace, or `list` with what is listed.
struct Mcp(Client);

impl Mcp {
    fn ask(&self, method: &str, params: &Value) -> String {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let headers = [("accept", "application/json, text/event-stream"), ("mcp-protocol-version", "2025-11-25")];
        let answer = self.0.send(Method::POST, "/mcp", &headers, Some(&message)).expect("the server answers");
        format!("{} {}", answer.status, answer.text)
    }

    fn call(&self, tool: &str, arguments: &Value) -> String {
        self.ask("tools/call", &json!({"name": tool, "arguments": arguments}))
    }
}

impl Interface for Mcp {
    fn sql(&self, statement: &str, values: &[&str]) -> String {
        let params = if values.is_empty() { Value::Null } else { json!(values) };
        self.call("run_sql", &json!({"query": statement, "params": params, "max_tokens": 25_000}))
    }

    fn requests(&self) -> Vec<&'static str> {
        vec![
            r#"get_evidence_bundle {"trace_id": "{trace}", "max_tokens": 25000}"#,
            r#"get_evidence_bundle {"bundle_id": "{bundle}", "max_tokens": 25000}"#,
            r#"get_trace {"trace_id": "{trace}"}"#,
            r#"get_trace {"trace_id": "{trace}", "span_id": "ac1d92b0ac1d92b0"}"#,
            r#"get_logs {"trace_id": "{trace}"}"#,
            r#"get_logs {"text": "overflow"}"#,
            r#"search_traces {}"#,
            r#"search_traces {"service": "{word}pay"}"#,
            r#"search_traces {"fingerprint": "{fingerprint}"}"#,
            r#"find_similar_incidents {"trace_id": "{trace}"}"#,
            r#"compare_to_baseline {"trace_id": "{trace}"}"#,
            r#"compare_to_baseline {"fingerprint": "{fingerprint}"}"#,
            r#"find_similar_incidents {"text": "overflow", "k": 100}"#,
            r#"find_similar_incidents {"text": "overflow", "service": "{word}pay"}"#,
            r#"verify_citations {"bundle_id": "{bundle}", "claims": "{word}pay failed [log:0]"}"#,
            r#"record_fix {"fingerprint": "none", "summary": "seen", "bundle_id": "{bundle}"}"#,
            r#"describe_schema {}"#,
            r#"describe_schema {"table": "{word}"}"#,
            "read bundle://{trace}",
            "read bundle://{bundle}",
            "read schema://{word}",
            "prompt {trace}",
            "list tools",
            "list prompts",
            "list resources",
            "list resources/templates",
        ]
    }

    fn request(&self, request: &str) -> String {
        match request.split_once(' ').unwrap() {
            ("read", uri) => self.ask("resources/read", &json!({"uri": uri})),
            ("prompt", trace) => {
                let arguments = json!({"trace_id": trace});
                self.ask("prompts/get", &json!({"name": "root_cause_with_citations", "arguments": arguments}))
            }
            ("list", what) => self.ask(&format!("{what}/list"), &json!({})),
            (tool, arguments) => self.call(tool, &serde_json::from_str(arguments).unwrap()),
        }
    }
}

/// See [`tenants::keeps_apart`]. Beyond it, a cursor of the other leads to rows of one's own, or nowhere.
#[test]
fn mcp_keeps_tenants_apart() {
    let (tracerag, names) = tenants::two();
    let served = Served::start(tracerag, "");
    let of = |names: &tenants::Names, scopes: &str| Mcp(served.client(&served.token(names.word, scopes)));
    let scopes = "sql,read,similar,heap,write";
    let clients = names.each_ref().map(|names| -> Box<dyn Interface> { Box::new(of(names, scopes)) });
    tenants::keeps_apart(&served.tracerag, &names, &clients);
    tenants::shows_no_plan(&of(&names[0], ALL));

    let (ours, theirs) = (of(&names[0], scopes), of(&names[1], scopes));
    for (tool, mut arguments) in [
        ("run_sql", json!({"query": "select * from spans order by name", "max_tokens": 500})),
        ("get_trace", json!({"trace_id": names[1].trace, "max_tokens": 500})),
        ("get_evidence_bundle", json!({"trace_id": names[1].trace, "max_tokens": 500})),
    ] {
        let first = theirs.call(tool, &arguments);
        let (_, body) = first.split_once(' ').unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        let cursor = &body["result"]["structuredContent"]["next_cursor"];
        assert!(cursor.is_string(), "there is a second page: {first}");
        arguments["cursor"] = cursor.clone();
        let asked = arguments.to_string();
        // An error repeats the id that was asked for.
        let answer = ours.call(tool, &arguments).replace(&names[1].trace, "");
        tenants::is_without(&answer, &names[1], &asked);
        assert!(theirs.call(tool, &arguments).contains(names[1].word), "{asked}");
    }
}

//! Tests from bundles that are made for the purpose.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Value, json};
use tracerag_schemas::bundle::Context;

use super::*;

const ALL: [Language; 4] = [Language::Python, Language::Go, Language::Node, Language::Java];

fn span(id: &str, parent: Option<&str>, service: &str, kind: &str, status: &str, attributes: Value) -> Value {
    json!({"anchor": format!("span:{id}"), "span_id": id, "parent_span_id": parent, "name": id, "kind": kind,
           "service": service, "resource": 0, "build": null, "started_at": null, "duration_ns": 1, "status": status,
           "status_message": null, "attributes": attributes, "events": [], "links": [], "on_critical_path": true})
}

fn flag(kind: &str, key: &str, variant: Value, value: Value, service: Value, how: &str) -> Value {
    let of = service.as_str().unwrap_or("*").to_owned();
    json!({"anchor": format!("{kind}:{key}@{of}"), "kind": kind, "key": key, "variant": variant, "value": value,
           "service": service, "instance": null, "environment": null, "since": null, "match": how, "span_id": null,
           "candidates": []})
}

/// An order that checkout takes over HTTP and payments fails to charge over gRPC, after inventory has confirmed it.
fn evidence() -> Value {
    let http = |path: &str, route: &str, status: u16| {
        json!({"http.request.method": "POST", "url.path": path, "http.route": route,
               "url.full": format!("http://shop{path}?voucher=****&lang=de"), "http.response.status_code": status})
    };
    let grpc =
        json!({"rpc.system.name": "grpc", "rpc.method": "pay.v1.Payments/Charge", "rpc.status_code": "INTERNAL"});
    json!({
        "schema": "tracerag.bundle/1", "tenant": "default", "sealed": true,
        "trace": {"trace_id": "7c1e0b0fd36c44a1b36f0c5a3d1e9f42", "revision": 1, "root_span_id": "a1",
                  "root_name": "POST /checkout", "services": ["checkout", "payments"], "service_graph": [],
                  "started_at": null, "duration_ns": 5, "status": "ERROR", "complete": true, "incomplete_reasons": []},
        "resources": [], "logs": [], "metrics": [], "heaps": [], "linked": [],
        "spans": [
            span("a1", None, "checkout", "SERVER", "ERROR", http("/checkout", "/checkout", 502)),
            span("a2", Some("a1"), "checkout", "CLIENT", "ERROR", grpc.clone()),
            span("b1", Some("a2"), "payments", "SERVER", "ERROR", grpc),
            span("b2", Some("b1"), "payments", "CLIENT", "UNSET", http("/reservations/7", "", 200)),
            span("c1", Some("b2"), "inventory", "SERVER", "UNSET", http("/reservations/7", "/reservations/{sku}", 200)),
            span("b3", Some("b1"), "payments", "CLIENT", "UNSET", json!({"db.system.name": "sqlite"})),
        ],
        "payloads": [{"anchor": "payload:a1#request", "span_id": "a1", "direction": "request",
                      "content_type": "application/json", "size_bytes": 90,
                      "shape": {"amount": "number", "note": "string", "lines": [{"sku": "string"}]},
                      "sample": {"amount": "12.345678901234567890", "note": "<string:3>", "lines": [{"sku": "A-1"}]},
                      "redactions": ["customer_id", "lines/0/name"]}],
        "failures": [
            {"anchor": "failure:0", "fingerprint": "aa", "kind": "exception", "time": null, "exception_type": "RpcError",
             "message": "INTERNAL", "service": "checkout", "span_id": "a2", "frames": [], "grouped_by": null},
            {"anchor": "failure:1", "fingerprint": "bb", "kind": "exception", "time": null, "exception_type": "Overflow",
             "message": "decimal overflow", "service": "payments", "span_id": "b1", "grouped_by": null,
             "frames": [{"function": "shop/payv1._Payments_Charge_Handler.func1", "file": "pay.go", "line": 7,
                         "in_app": true, "anchor": "code:pay.go:7@a1b2c3d"}]}],
        "builds": [{"anchor": "build:payments@1.9.0", "service": "payments", "instance": null, "environment": null,
                    "version": "1.9.0", "git_sha": "a1b2c3d", "build_number": null, "artifact": null,
                    "lockfile_digests": {}, "schema_migrations": [], "deployed_at": null, "match": "stated",
                    "candidates": []}],
        "flags": [
            flag("config", "pool.size", Value::Null, json!("20"), json!("payments"), "as_of"),
            flag("flag", "express", json!("on"), json!("true"), Value::Null, "as_of"),
            flag("flag", "mode", json!("lenient"), json!("lenient"), Value::Null, "as_of"),
            flag("flag", "mode", json!("strict"), Value::Null, json!("payments"), "evaluated"),
            flag("flag", "unrelated", json!("on"), json!("true"), json!("worker"), "as_of")],
        "redaction": {"policy": "standard", "version": 1, "counts": {}}, "omitted": {},
    })
}

fn bundle(evidence: Value) -> Bundle {
    Bundle::new(serde_json::from_value(evidence).unwrap(), Context::default()).unwrap()
}

fn made(evidence: Value, language: Language) -> Result<String, Error> {
    scaffold(&bundle(evidence), language).map(|test| test.text)
}

/// In Go the test calls the service of the failure itself: the messages are those that the stack names, the payload is
/// that of the order, and what payments calls is answered for it.
#[test]
fn go_enters_where_it_failed() {
    let text = made(evidence(), Language::Go).unwrap();
    for wanted in [
        "// The messages. [code:pay.go:7@a1b2c3d]\n\t_ \"shop/payv1\"",
        "serviceName  = \"pay.v1.Payments\"",
        "boundary: [span:b1] payments, gRPC pay.v1.Payments/Charge, which answered INTERNAL",
        "members of [payload:a1#request] are taken for fields of the same name",
        "runs for real: payments\n",
        "called for real: [span:b3] b3 of payments",
        "case 2, 4, 12, 13, 14, 15:",
        "{\"POST\", \"^/reservations/[^/]+$\", 200, \"\", \"\"},",
    ] {
        assert!(text.contains(wanted), "{wanted} in\n{text}");
    }
}

/// Without messages the test goes one request up, where the payload was taken; all services on the way run. Every value
/// has its anchor, and what was redacted says that it is a stand-in. Digits are those of the request.
#[test]
fn others_enter_at_the_nearest_http_request() {
    for (language, mark) in [(Language::Python, "# "), (Language::Node, "// "), (Language::Java, "// ")] {
        let text = made(evidence(), language).unwrap();
        for wanted in [
            "[span:a1] checkout, HTTP POST /checkout?lang=de, which answered 502".to_owned(),
            "the parameter voucher of [span:a1] is left out".to_owned(),
            "runs for real: checkout, payments\n".to_owned(),
            "build in effect: [build:payments@1.9.0] commit a1b2c3d, stated".to_owned(),
            format!("{mark}[payload:a1#request/amount]\n"),
            "\"\\\"amount\\\": 12.345678901234567890,\"".to_owned(),
            format!("{mark}[payload:a1#request] redacted, a stand-in: /customer_id\n"),
            "\"\\\"note\\\": \\\"xxx\\\",\"".to_owned(),
            "{\\\"sku\\\": \\\"A-1\\\", \\\"name\\\": \\\"redacted\\\"}".to_owned(),
            "\"SCAFFOLD_MOCK_INVENTORY\"".to_owned(),
        ] {
            assert!(text.contains(&wanted), "{language:?}: {wanted} in\n{text}");
        }
    }
}

/// The evaluated variant counts before the one that held for all; a value that nobody told is said to be lacking; flags
/// of other services are not there, and configuration is named, not set.
#[test]
fn flags_are_those_in_effect() {
    let text = made(evidence(), Language::Python).unwrap();
    for (wanted, count) in [
        (r#"\"mode\": {\"state\":\"ENABLED\",\"variants\":{\"strict\":\"strict\"},\"defaultVariant\":\"strict\"}"#, 1),
        (r#"\"variants\":{\"on\":true}"#, 1),
        ("[flag:mode@payments] evaluated; its value is not in the evidence", 1),
        ("configuration in effect: [config:pool.size@payments] pool.size = 20", 1),
        ("lenient", 0),
        ("unrelated", 0),
    ] {
        assert_eq!(text.matches(wanted).count(), count, "{wanted} in\n{text}");
    }
    let mut unclear = evidence();
    unclear["flags"][3]["candidates"] = json!(["strict", "lenient"]);
    let text = made(unclear, Language::Python).unwrap();
    assert!(text.contains("not set, several may have held: [flag:mode@payments] mode: strict, lenient"), "{text}");
}

/// Whatever the evidence lacks is named, and there is no test: a failure, a request above it, a payload, the whole of
/// it, a value that the failure names, an answer that shows the failure, a path, a parameter, the messages.
#[test]
fn what_is_missing_is_said() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 10] = [
        (|evidence| evidence["failures"] = json!([]), "no failure of the trace belongs to one of its spans"),
        (|evidence| evidence["payloads"] = json!([]), "the evidence has no payload of POST /checkout"),
        (|evidence| evidence["payloads"][0]["shape"]["<more>"] = json!(3), "is a part of the payload only"),
        (
            |evidence| evidence["payloads"][0]["sample"]["note"] = json!("<string:5000>"),
            "is a part of the payload only",
        ),
        (|evidence| evidence["failures"][1]["message"] = json!("no customer id"), "[failure:1] names customer_id"),
        (|evidence| evidence["failures"][1]["message"] = json!("bad note"), "[failure:1] names note"),
        (|evidence| evidence["failures"][1]["message"] = json!("voucher used"), "names the parameter voucher"),
        (|evidence| evidence["spans"][0]["attributes"]["http.response.status_code"] = json!(200), "it answered 200"),
        (
            |evidence| evidence["spans"][0]["attributes"]["url.path"] = json!("/of/<email>"),
            "its path /of/<email> is redacted",
        ),
        (|evidence| evidence["spans"][0]["kind"] = json!("CONSUMER"), "it took a message"),
    ];
    for (change, wanted) in cases {
        let mut evidence = evidence();
        change(&mut evidence);
        let error = made(evidence, Language::Node).unwrap_err();
        assert!(matches!(error, Error::NotEnoughEvidence(_)), "{error}");
        assert!(error.to_string().contains(wanted), "{wanted} in {error}");
    }
    let mut evidence = evidence();
    evidence["failures"][1]["frames"] = json!([]);
    let text = made(evidence, Language::Go).unwrap();
    assert!(text.contains("HTTP POST /checkout"), "without messages the test in Go goes up as the others do: {text}");
}

/// A failure that was handled below a span that went well is not the origin where another one was not handled.
#[test]
fn what_was_handled_is_no_origin() {
    let mut evidence = evidence();
    evidence["spans"][2]["status"] = json!("OK");
    let text = made(evidence, Language::Node).unwrap();
    assert!(text.contains("failure: [failure:0] checkout"), "{text}");
}

proptest! {
    /// Whatever systems wrote, a test has the same lines of source: nothing gets out of a literal or a comment. The same
    /// bundle gives the same bytes.
    #[test]
    fn no_text_changes_the_source(text in "[^\u{0}]{0,20}(\n|\r|\\*/|\"|'|`|\\\\|\\\\u000a|\u{2028}|\u{202e}|\\{\\{|\\{%|#|//){0,4}[a-z]{1,4}") {
        let with = |text: &str| {
            let mut evidence = evidence();
            let named = format!("n{text}");
            evidence["failures"][1]["message"] = json!(text);
            evidence["failures"][1]["exception_type"] = json!(text);
            evidence["spans"][0]["service"] = json!(named);
            evidence["spans"][5]["name"] = json!(text);
            evidence["flags"][3]["key"] = json!(named);
            evidence["flags"][3]["anchor"] = json!(format!("flag:{named}"));
            evidence["flags"][3]["variant"] = json!(named);
            evidence["payloads"][0]["content_type"] = json!(named);
            evidence["payloads"][0]["sample"]["note"] = json!(named);
            evidence["builds"][0]["git_sha"] = json!(text);
            evidence
        };
        for language in ALL {
            let lines = |text: &str| made(with(text), language).map(|source| source.split(['\n', '\r', '\u{2028}']).count());
            // A text may happen to name what is redacted; then there is no test, which is right.
            if let (Ok(hostile), Ok(plain)) = (lines(&text), lines("plain")) {
                prop_assert_eq!(hostile, plain, "{:?} {:?}", language, text);
            }
            let (once, again) = (made(with(&text), language), made(with(&text), language));
            prop_assert_eq!(once.ok(), again.ok());
        }
    }
}

/// Every template says of a failure that is not that of the trace that it is another one, in the words by which a trial
/// knows it.
#[test]
fn another_failure_is_said_in_the_same_words() {
    for template in [
        include_str!("templates/go.go.jinja"),
        include_str!("templates/java.java.jinja"),
        include_str!("templates/node.mjs.jinja"),
        include_str!("templates/python.py.jinja"),
    ] {
        assert!(template.contains(ANOTHER_FAILURE), "{template}");
    }
}

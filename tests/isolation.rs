//! Tenants of one server, and what they may not learn of each other, over every interface.

use reqwest::Method;
use serde_json::{Value, json};

use crate::kafka_worker::get;
use crate::support::client::{Answer, Client};
use crate::support::served::Served;
use crate::support::tenants::{self, Interface, is_without};

/// All that a tenant can be given: an administrator sees the installation.
const SCOPES: &str = "sql,read,similar,heap,write";

/// A client of the HTTP interface. A request is a method, a path and a body, if it has one.
struct Http(Client);

impl Http {
    fn ask(&self, request: &str) -> Answer {
        let mut parts = request.splitn(3, ' ');
        let method = Method::from_bytes(parts.next().unwrap().as_bytes()).unwrap();
        let path = parts.next().unwrap();
        let body: Option<Value> = parts.next().map(|text| serde_json::from_str(text).unwrap());
        self.0.send(method, path, &[], body.as_ref()).expect("the server answers")
    }
}

impl Interface for Http {
    fn sql(&self, statement: &str, values: &[&str]) -> String {
        let params = if values.is_empty() { Value::Null } else { json!(values) };
        let answer = self.0.post("/v1/sql", &json!({"query": statement, "params": params}));
        format!("{} {}", answer.status, answer.text)
    }

    fn requests(&self) -> Vec<&'static str> {
        vec![
            "GET /v1/bundles/{trace}",
            "GET /v1/bundles/{trace}?format=markdown",
            "GET /v1/bundles/{bundle}",
            "POST /v1/bundles/{bundle}/pin",
            "DELETE /v1/bundles/{bundle}/pin",
            "GET /v1/traces/{trace}",
            "GET /v1/incidents",
            "GET /v1/incidents?service={word}pay",
            "GET /v1/status",
            r#"POST /v1/similar {"text": "quokkadigits overflow numbatdigits overflow", "k": 100}"#,
            r#"POST /v1/similar {"trace_id": "{trace}"}"#,
            r#"POST /v1/similar {"text": "overflow", "service": "{word}pay"}"#,
            r#"POST /v1/fixes {"fingerprint": "none", "summary": "seen", "bundle_id": "{bundle}"}"#,
            r#"POST /v1/sql {"query": "select * from spans order by name", "page_size": 1}"#,
            r#"POST /v1/sql {"query": "select * from logs", "format": "csv"}"#,
        ]
    }

    fn request(&self, request: &str) -> String {
        let answer = self.ask(request);
        format!("{} {}", answer.status, answer.text)
    }
}

/// See [`tenants::keeps_apart`]. Beyond it: a fix for the other's incident is refused like one for an incident that there
/// is not, a cursor of the other leads to rows of one's own, the other's bundle stays as it was, and the metrics of the
/// server name nobody.
#[test]
fn http_keeps_tenants_apart() {
    let (tracerag, names) = tenants::two();
    let served = Served::start(tracerag, "");
    let tokens = names.each_ref().map(|names| served.token(names.word, SCOPES));
    let http = tokens.each_ref().map(|token| Http(served.client(token)));
    let clients = tokens.each_ref().map(|token| -> Box<dyn Interface> { Box::new(Http(served.client(token))) });
    tenants::keeps_apart(&served.tracerag, &names, &clients);

    let fix = |names: &tenants::Names| {
        let body = json!({"fingerprint": names.fingerprint, "summary": format!("{}pay rounds first", names.word)});
        format!("POST /v1/fixes {body}")
    };
    assert_eq!(http[0].ask(&fix(&names[1])).code(), "incident-unknown");
    assert_eq!(http[1].ask(&fix(&names[1])).status, 201);
    http[1].ask(&format!("POST /v1/bundles/{}/pin", names[1].bundle)).good();
    assert_eq!(http[0].ask(&format!("DELETE /v1/bundles/{}/pin", names[1].bundle)).code(), "bundle-unknown");
    assert_eq!(http[1].0.sql("select pinned from bundles").good(), json!([{"pinned": true}]));
    for question in ["select * from fixes", "select * from fix_events", "select * from bundle_events"] {
        is_without(&http[0].sql(question, &[]), &names[1], question);
    }

    let mut page = json!({"query": "select * from spans order by name", "page_size": 1});
    let first = http[1].0.post("/v1/sql", &page);
    page["cursor"] = json!(first.headers["tracerag-next-cursor"].to_str().unwrap());
    let second = http[0].0.post("/v1/sql", &page);
    assert_eq!(second.good()[0]["tenant_id"], names[0].word);
    is_without(&second.text, &names[1], "a cursor of the other");

    let (_, metrics) = get(served.metrics, "/metrics").unwrap();
    for names in &names {
        is_without(&metrics, names, "/metrics");
    }
}

//! Who is answered, what they see, and what is written down of it.

use super::*;

/// No way of asking shows anything of another tenant: rows, names, counts, plans, errors and settings are as if it
/// were not there, and its traces and bundles as if they never were.
#[tokio::test]
async fn nothing_of_others_shows() {
    let interface = Interface::with(Limits::default()).await;
    let theirs = interface.token("other", &ALL).await;
    let foreign = interface.get(&format!("/v1/bundles/{FOREIGN}"), &theirs).await.json();
    let bundle_id = foreign["bundle_id"].as_str().unwrap().to_owned();
    // With administration, too: it is of one tenant as every other.
    let token = interface.token("acme", &ALL).await;
    let mut answers = vec![];
    for path in [
        format!("/v1/bundles/{FOREIGN}"),
        format!("/v1/bundles/{bundle_id}"),
        format!("/v1/traces/{FOREIGN}"),
        "/v1/incidents".to_owned(),
        "/v1/trends?since=2000-01-01T00:00:00Z&until=2100-01-01T00:00:00Z".to_owned(),
        "/v1/status".to_owned(),
    ] {
        answers.push(interface.get(&path, &token).await);
    }
    for (index, status) in [404, 404, 404, 200, 200, 200].into_iter().enumerate() {
        assert_eq!(answers[index].status, status, "{}", answers[index].text);
    }
    let pin = format!("/v1/bundles/{bundle_id}/pin");
    assert_eq!(interface.post(&pin, &token, &json!({})).await.status, 404);
    answers.push(interface.post("/v1/similar", &token, &json!({"text": "secret"})).await);
    answers.push(interface.post("/v1/similar", &token, &json!({"trace_id": FOREIGN})).await);
    for query in [
        "select * from spans",
        "select * from traces union all select * from trace_revisions",
        "select * from logs where body like '%'",
        "with s as (select * from spans) select * from (select * from s) where tenant_id <> 'acme'",
        "select cast(name as int) from spans where name <> 'charge'",
        "select name from spans where cast(name as int) = 1",
        "select * from spans where 1 / (case when tenant_id = 'other' then 0 else 1 end) = 1",
        "select * from bundles",
        "select * from information_schema.tables",
        "select * from information_schema.columns",
        "select * from information_schema.df_settings",
        "explain select * from spans where name = 'x'",
        "explain verbose select * from spans where name = 'x'",
        "explain format tree select * from spans",
        "explain analyze select count(*) from spans",
        "show all",
        "show tables",
        "select * from dead_letters",
    ] {
        answers.push(interface.sql(&token, query).await);
    }
    let lake = interface.lake.lake.uri().to_owned();
    for answer in &answers {
        // An error repeats the id that was asked for.
        let text = match answer.status {
            404 => answer.text.replace(FOREIGN, "").replace(&bundle_id, ""),
            _ => answer.text.clone(),
        };
        for other in ["secret", FOREIGN, "\"other\"", &bundle_id, &lake, "LanceRead"] {
            assert!(!text.contains(other), "{other} in {}", answer.text);
        }
    }
    let analyze = interface.sql(&token, "explain analyze select count(*) from spans").await;
    assert_eq!(analyze.json()["code"], "wrong-query", "{}", analyze.text);
}

/// Without a token, with an unknown one, and without the scope nobody gets an answer; the document needs none.
#[tokio::test]
async fn tokens_and_scopes_are_required() {
    let interface = Interface::with(Limits::default()).await;
    let answer = interface.get("/v1/status", "").await;
    assert_eq!((answer.status, &answer.json()["code"]), (401, &json!("token-missing")));
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"tracerag\""));
    let answer = interface.get("/v1/status", "tracerag_00").await;
    assert_eq!(answer.json()["code"], "token-unknown");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"tracerag\", error=\"invalid_token\""));
    assert_eq!(interface.get("/openapi.json", "").await.status, 200);
    let requests = [
        (Method::POST, "/v1/sql", Scope::Sql, json!({"query": "select 1"})),
        (Method::POST, "/v1/sql", Scope::Sql, json!({"query": "select 1 order by 1", "page_size": 1})),
        (Method::POST, "/v1/similar", Scope::Similar, json!({"text": "x"})),
        (Method::GET, "/v1/bundles/x", Scope::Read, Value::Null),
        (Method::POST, "/v1/bundles/x/pin", Scope::Write, Value::Null),
        (Method::DELETE, "/v1/bundles/x/pin", Scope::Write, Value::Null),
        (Method::GET, "/v1/traces/x", Scope::Read, Value::Null),
        (Method::GET, "/v1/incidents", Scope::Read, Value::Null),
        (Method::GET, "/v1/incidents/x", Scope::Read, Value::Null),
        (Method::GET, "/v1/trends?since=2030-01-01T00:00:00Z&until=2030-01-01T00:00:00Z", Scope::Read, Value::Null),
        (Method::GET, "/v1/status", Scope::Read, Value::Null),
        (Method::POST, "/v1/fixes", Scope::Write, json!({"fingerprint": "abcd", "summary": "x"})),
        (Method::POST, "/v1/groupings", Scope::Write, json!({"action": "split", "fingerprint": "abcd"})),
    ];
    for (method, path, scope, body) in requests {
        let others: Vec<Scope> = ALL.into_iter().filter(|other| *other != scope).collect();
        let token = interface.token("acme", &others).await;
        let answer = interface.send(method, path, &token, "", Body::from(body.to_string())).await;
        assert_eq!((answer.status, &answer.json()["code"]), (403, &json!("scope-missing")), "{path}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(scope.name()), "{}", answer.text);
    }
}

/// Every answer, and every refusal of somebody who is known, is a row of its tenant once the server has stopped; only
/// administrators see them.
#[tokio::test]
async fn answers_are_written_down() {
    let interface = Interface::with(Limits::default()).await;
    let token = interface.token("acme", &[Scope::Sql]).await;
    assert_eq!(interface.sql(&token, "select 'jane@example.org' as who").await.status, 200);
    assert_eq!(interface.sql(&token, "select no_such").await.status, 400);
    assert_eq!(interface.get("/v1/status", &token).await.status, 403);
    assert_eq!(interface.sql(&token, "select * from audit").await.status, 400);
    interface.app.gate().close().await;
    let session = interface.lake.session("acme").await;
    let query = "select operation, arguments, \"rows\", outcome from audit order by time";
    assert_eq!(
        ask_lake(&session, query).await,
        json!([
            {"operation": "sql", "arguments": "select '<email>' as who", "rows": 1, "outcome": "ok"},
            {"operation": "sql", "arguments": "select no_such", "rows": 0, "outcome": "wrong-query"},
            {"operation": "status", "arguments": "", "rows": 0, "outcome": "scope-missing"},
            {"operation": "sql", "arguments": "select * from audit", "rows": 0, "outcome": "wrong-query"},
        ])
    );
}

/// A page that may ask can read the answers, and its browser is told so before it sends a token; a page of elsewhere is
/// refused and told nothing.
#[tokio::test]
async fn pages_that_may_ask_may_read() {
    let interface = Interface::with(Limits::default()).await;
    let ask = async |method: Method, path: &str, origin: &str| {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "tracerag.example.com")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type");
        interface.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    };
    let own = "https://tracerag.example.com";
    let before = ask(Method::OPTIONS, "/v1/sql", own).await;
    assert_eq!(before.status(), 204);
    for (name, value) in [
        ("access-control-allow-origin", own),
        ("access-control-allow-methods", "GET, POST, DELETE"),
        ("access-control-allow-headers", "authorization,content-type"),
    ] {
        assert_eq!(before.headers()[name], value);
    }
    let refused = ask(Method::POST, "/v1/sql", own).await;
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.headers()["access-control-allow-origin"], own);
    for method in [Method::OPTIONS, Method::POST] {
        let answer = ask(method, "/v1/sql", "https://evil.example.com").await;
        assert_eq!(answer.status(), 403);
        assert!(!answer.headers().contains_key("access-control-allow-origin"), "{:?}", answer.headers());
    }
}

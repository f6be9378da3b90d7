//! Requests that are not as the document has them, and headers that are unusual.

use super::*;

/// What is malformed is refused as a problem that names the culprit: bodies that are no object, ids that are no text,
/// numbers out of range, parameters that are given twice or that there are not.
#[tokio::test]
async fn what_is_malformed_is_told() {
    let interface = Interface::with(Limits::default()).await;
    let token = interface.token("acme", &ALL).await;
    for (path, body, part) in [
        ("/v1/sql", "", "no object"),
        ("/v1/sql", "select 1", "no object"),
        ("/v1/sql", r#"["select 1", null, null, null, null]"#, "no object"),
        ("/v1/fixes", r#"["abcd", "x", null, null, null, null]"#, "no object"),
        ("/v1/sql", r#"{"query": "select 1""#, "EOF"),
        ("/v1/sql", r#"{"query": 1}"#, "string"),
        ("/v1/sql", r#"{"query": "select 1", "page_size": true}"#, "page_size|boolean"),
        ("/v1/sql", r#"{"query": "select 1 as n order by n", "page_size": 0}"#, "page_size"),
        ("/v1/sql", r#"{"query": "select 1 as n order by n", "cursor": "1-2-3"}"#, "another query"),
        ("/v1/similar", r#"{"text": "x", "k": 0}"#, "k is"),
        ("/v1/similar", r#"{"text": "x", "k": 1001}"#, "k is"),
    ] {
        let answer = interface.send(Method::POST, path, &token, "", Body::from(body)).await;
        assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("wrong-request")), "{body}: {}", answer.text);
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(part.split('|').any(|part| detail.contains(part)), "{body}: {detail}");
    }
    for (path, part) in [
        ("/v1/traces/%FF", "id"),
        ("/v1/bundles/a%C3", "id"),
        ("/v1/incidents?limit=0", "limit"),
        ("/v1/incidents?limit=1001", "limit"),
        ("/v1/incidents?limit=-1", "limit"),
        ("/v1/incidents?limit=1&limit=2", "limit"),
        ("/v1/incidents?colour=red", "colour"),
        ("/v1/incidents?appeared_with=perhaps", "appeared_with"),
        ("/v1/bundles/x?wait=soon", "wait"),
        ("/v1/incidents/%FF", "id"),
        ("/v1/incidents/abcd?limit=1", "limit"),
        ("/v1/trends?until=2030-01-01T00:00:00Z", "since"),
        ("/v1/trends?since=2030-01-01T00:00:00Z", "until"),
        ("/v1/trends?since=2030-01-01T00:00:00Z&until=2030-01-01T00:00:00Z&bins=0", "bins"),
        ("/v1/trends?since=2030-01-01T00:00:00Z&until=2030-01-01T00:00:00Z&bins=241", "bins"),
    ] {
        let answer = interface.get(path, &token).await;
        assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("wrong-request")), "{path}: {}", answer.text);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{path}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(part), "{path}: {}", answer.text);
    }
    for since in ["", "soon", "0001-01-01T00:00:00Z"] {
        let answer = interface.get(&format!("/v1/incidents?service=none&since={since}"), &token).await;
        assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("wrong-argument")), "{}", answer.text);
    }
    for (since, until) in [
        ("soon", "2030-01-01T00:00:00Z"),
        ("2030-01-02T00:00:00Z", "2030-01-01T00:00:00Z"),
        ("1700-01-01T00:00:00Z", "2200-01-01T00:00:00Z"),
    ] {
        let answer = interface.get(&format!("/v1/trends?since={since}&until={until}"), &token).await;
        assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("wrong-argument")), "{}", answer.text);
    }
    let many = json!({"query": "select $1", "params": vec![1; crate::bounds::VALUES + 1]});
    assert_eq!(interface.post("/v1/sql", &token, &many).await.json()["code"], "wrong-request");
}

/// A method that a path does not have is answered with those that it has; a room and a wait that no number holds are as
/// much as there can be.
#[tokio::test]
async fn what_is_unusual_is_answered() {
    let interface = Interface::with(Limits::default()).await;
    let token = interface.token("acme", &ALL).await;
    for (method, path, allowed) in [
        (Method::GET, "/v1/sql", "POST"),
        (Method::TRACE, "/v1/incidents", "GET,HEAD"),
        (Method::OPTIONS, "/v1/bundles/x/pin", "POST,DELETE"),
    ] {
        let answer = interface.send(method, path, &token, "", Body::empty()).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allowed)), "{path}");
        assert_eq!(answer.json()["code"], "method-unknown");
    }
    let most = "9".repeat(40);
    let path = format!("/v1/bundles/{FAILING}");
    let whole = interface.get(&format!("{path}?max_tokens={most}&wait={most}"), &token).await;
    assert_eq!((whole.status, &whole.json()["view"]), (200, &Value::Null), "{}", whole.text);
    for (accept, media_type) in [
        ("text/markdown;q=0.1, application/json", "application/json"),
        ("text/html, text/*;q=0.5", "text/markdown; charset=utf-8"),
        ("image/png", "application/json"),
    ] {
        let answer = interface.send(Method::GET, &path, &token, accept, Body::empty()).await;
        assert_eq!(answer.header("content-type"), Some(media_type), "{accept}");
    }
}

//! Canaries as they are asked for: by address, and by a webhook.

use super::*;

/// The same question by address and by webhook, on a lake with too few spans for a verdict: the address answers 200
/// with the verdict, the webhook 200 or 409 as it accepts the verdict or not, with the token in the header or in the
/// metadata. Each is one row of `audit`, in which no token stands. Without a token, without the scope, and with what
/// there is not, it is refused.
#[tokio::test]
async fn verdicts_come_by_answer_and_by_status() {
    let interface = Interface::with(Limits::default()).await;
    let token = interface.token("acme", &[Scope::Read]).await;
    let path = "/v1/canary?service=payments&baseline=1.8.2&candidate=1.9.0\
        &since=2026-11-23T11:00:00Z&until=2026-11-23T13:00:00Z";
    let answer = interface.get(path, &token).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.text.starts_with(r#"{"verdict":"inconclusive","#), "{}", answer.text);
    assert_eq!(answer.json()["errors"]["candidate"]["spans"], 1, "{}", answer.text);

    let webhook = |more: &[(&str, &str)]| {
        let mut body = json!({"name": "payments", "namespace": "shop", "phase": "Progressing", "checksum": "85d557f47b",
            "metadata": {"service": "payments", "baseline": "1.8.2", "candidate": "1.9.0", "since": "2026-11-23T11:00:00Z",
                "until": "2026-11-23T13:00:00Z"}});
        for (name, value) in more {
            body["metadata"][*name] = json!(value);
        }
        body
    };
    let refused = interface.post("/v1/canary", &token, &webhook(&[])).await;
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("canary-inconclusive")), "{}", refused.text);
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("the candidate 1.9.0 has 1 spans"), "{detail}");
    let accepting = webhook(&[("accept", "pass, inconclusive"), ("token", &token)]);
    let accepted = interface.post("/v1/canary", "", &accepting).await;
    assert_eq!((accepted.status, accepted.text), (200, answer.text));

    for (body, status, code) in [
        (webhook(&[]), 401, "token-missing"),
        (webhook(&[("token", "tr_none")]), 401, "token-unknown"),
        (webhook(&[("token", &token), ("accept", "perhaps")]), 400, "wrong-argument"),
        (webhook(&[("token", &token), ("colour", "red")]), 400, "wrong-argument"),
        (webhook(&[("token", &token), ("service", "")]), 400, "wrong-argument"),
        (webhook(&[("token", &token), ("bundle", "sha256:0")]), 404, "bundle-unknown"),
    ] {
        let answer = interface.post("/v1/canary", "", &body).await;
        assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(code)), "{}", answer.text);
    }
    let without_scope = interface.token("acme", &[Scope::Sql]).await;
    assert_eq!(interface.get(path, &without_scope).await.status, 403);

    interface.app.gate().close().await;
    let session = interface.lake.session("acme").await;
    let query = "select outcome, count(*) as n from audit where operation = 'canary' group by 1 order by 1";
    let outcomes = json!([
        {"outcome": "bundle-unknown", "n": 1},
        {"outcome": "canary-inconclusive", "n": 1},
        {"outcome": "ok", "n": 2},
        {"outcome": "scope-missing", "n": 1},
        {"outcome": "wrong-argument", "n": 1},
    ]);
    assert_eq!(ask_lake(&session, query).await, outcomes);
    let arguments = ask_lake(&session, "select distinct arguments from audit").await.to_string();
    assert!(arguments.contains("candidate=1.9.0") && !arguments.contains(&token), "{arguments}");
}

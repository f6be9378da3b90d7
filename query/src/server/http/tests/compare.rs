//! Comparisons as they are asked for over HTTP.

use super::*;

/// A failing trace is compared; on a lake with one failing trace the answer says that this is too few. Wrong requests,
/// traces that there are not, another tenant's and a token without the scope are refused, and each request is a row of
/// `audit`.
#[tokio::test]
async fn comparisons_are_asked_for() {
    let interface = Interface::with(Limits::default()).await;
    let token = interface.token("acme", &[Scope::Read]).await;
    let answer = interface.post("/v1/compare", &token, &json!({"trace_id": FAILING})).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let report = answer.json();
    assert!(
        report["said"].as_str().unwrap().starts_with("nothing is said: there are 1 failing and 0 good"),
        "{report}"
    );
    assert_eq!((&report["differences"], &report["failing"]["traces"]), (&json!([]), &json!(1)));
    for (body, status, code) in [
        (json!({}), 400, "wrong-request"),
        (json!({"trace_id": FAILING, "fingerprint": "abcd"}), 400, "wrong-request"),
        (json!({"trace_id": FAILING, "colour": "red"}), 400, "wrong-argument"),
        (json!({"trace_id": FAILING, "since": "soon"}), 400, "wrong-argument"),
        (json!({"trace_id": crate::tests::lake::GOOD}), 400, "wrong-argument"),
        (json!({"trace_id": FOREIGN}), 404, "trace-unknown"),
        (json!({"fingerprint": "ffff"}), 404, "incident-unknown"),
    ] {
        let answer = interface.post("/v1/compare", &token, &body).await;
        assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(code)), "{body}: {}", answer.text);
    }
    let without_scope = interface.token("acme", &[Scope::Sql]).await;
    assert_eq!(interface.post("/v1/compare", &without_scope, &json!({"trace_id": FAILING})).await.status, 403);
    interface.app.gate().close().await;
    let session = interface.lake.session("acme").await;
    let query = "select outcome, count(*) as n from audit where operation = 'compare' and outcome in ('ok', 'trace-unknown') \
                 group by 1 order by 1";
    let outcomes = json!([{"outcome": "ok", "n": 1}, {"outcome": "trace-unknown", "n": 1}]);
    assert_eq!(ask_lake(&session, query).await, outcomes);
}

//! What is compared beside the texts: where incidents happened, and with what.

use super::*;

const CHARGE: &str = "payments\ncheckout: POST /checkout > payments: Charge";

/// A trace whose failure happened where another incident did, of which it shares no word; eight other texts are nearer,
/// four incidents have each of them. Guarantees that the incident is found by its place alone and passes the one before
/// it, that the reason says so, that without a context it is not in the answer, and that a sentence is answered as if
/// there were none.
#[tokio::test]
async fn another_message_in_the_same_place_is_found() {
    let near = [
        "decimals overflowed",
        "decimally overflowing",
        "overflows decimalized",
        "decimalize overflower",
        "predecimal overflown",
        "overflowable decimality",
        "nondecimal overflowed",
        "decimalism misoverflow",
    ];
    let mut sentences = Vec::new();
    for context in [None, Some(CHARGE)] {
        let mut fixture = Fixture::new().await;
        let mut all: Vec<Incident> = (0..32).map(|n| incident(&format!("near{n:02}"), near[n % near.len()])).collect();
        all.push(Incident { context, ..incident("place", "socket closed by its peer") });
        all.push(Incident { context, service: "checkout", ..incident("own", "decimal overflow") });
        fixture.incidents(&all).await;
        fixture.failure("default", "own", "decimal overflow").await;
        fixture.embed(&hashed()).await;
        let request = SimilarRequest { service: Some("payments".to_owned()), ..about(TRACE, 7) };
        let found = fixture.ask(Some(&hashed()), &request).await;
        assert_eq!(found.len(), 7, "{found:?}");
        let reason = found.iter().find(|incident| incident.fingerprint == "place").map(|place| place.reason.as_str());
        assert_eq!(reason.is_some(), context.is_some(), "{found:?}");
        assert!(reason.is_none_or(|reason| reason.contains("service and path alike (distance 0.000)")), "{reason:?}");
        sentences.push(fixture.ask(Some(&hashed()), &about("decimal overflow", 20)).await);
    }
    assert_eq!(sentences[0], sentences[1]);
}

/// Of two incidents the one that is farther by one place in its text comes first if it happened where the trace's failure
/// did; another tenant's incident in that place does not exist.
#[tokio::test]
async fn a_place_is_worth_a_place() {
    let mut fixture = Fixture::new().await;
    let placed =
        |fingerprint: &str, message: &str| Incident { context: Some(CHARGE), ..incident(fingerprint, message) };
    let foreign = Incident { tenant: "other", ..placed("theirs", "decimals overflowed") };
    let elsewhere = Incident { context: Some("stock\nstock: reserve"), ..incident("text", "decimals overflowed") };
    fixture
        .incidents(&[
            placed("own", "decimal overflow"),
            placed("place", "socket closed by its peer"),
            elsewhere,
            foreign,
        ])
        .await;
    fixture.failure("default", "own", "decimal overflow").await;
    fixture.embed(&hashed()).await;
    let found = fixture.ask(Some(&hashed()), &about(TRACE, 5)).await;
    assert_eq!(fingerprints(&found), ["own", "place", "text"], "{found:?}");
    assert!(!found[2].reason.contains("alike"), "{found:?}");
}

/// A pasted stack is compared with contexts by its calls, which the reason names.
#[tokio::test]
async fn a_stack_is_compared_by_its_calls() {
    let mut fixture = Fixture::new().await;
    let calls = Some("com.shop.Pool.take, com.shop.Cart.pay");
    fixture.incidents(&[Incident { context: calls, ..incident("f0", "no connection left") }]).await;
    fixture.embed(&hashed()).await;
    let stack = "Error: pool exhausted\n\tat com.shop.Pool.take(Pool.java:12)\n\tat com.shop.Cart.pay(Cart.java:9)";
    let found = fixture.ask(Some(&hashed()), &about(stack, 1)).await;
    assert!(found[0].reason.contains("calls alike (distance 0.000)"), "{found:?}");
}

/// A path and a payload find what is near by its vector behind what is alike as it is, and nothing of that without a
/// model.
#[tokio::test]
async fn structures_are_near_as_well() {
    let mut fixture = Fixture::new().await;
    let shape = Some("amount: string, currency: string");
    fixture
        .incidents(&[incident("exact", "boom"), Incident { context: Some(CHARGE), shape, ..incident("near", "bang") }])
        .await;
    let path = "checkout: POST /checkout > payments: Charge";
    let failure = json!({"trace_id": "trace of exact", "fingerprint": "exact", "service_name": "payments",
                                "exception_type": "Error", "span_path": path, "frames": []});
    fixture.write(Table::Failures, rows(Table::Failures, &[row("default", 1, 1, failure)])).await;
    fixture.embed(&hashed()).await;
    let asked = |asked: Asked, text: &str| SimilarRequest { asked: Some(asked), ..about(text, 5) };
    let found = fixture.ask(Some(&hashed()), &asked(Asked::SpanPath, path)).await;
    assert_eq!(fingerprints(&found), ["exact", "near"], "{found:?}");
    assert!(found[0].reason.starts_with("same span path"), "{found:?}");
    assert!(found[1].reason.starts_with("service and path alike (distance 0."), "{found:?}");
    assert_eq!(fingerprints(&fixture.ask(None, &asked(Asked::SpanPath, path)).await), ["exact"]);
    let payload = asked(Asked::Payload, r#"{"amount": "12.5", "currency": "EUR"}"#);
    let found = fixture.ask(Some(&hashed()), &payload).await;
    assert_eq!(fingerprints(&found), ["near"], "{found:?}");
    assert_eq!(found[0].reason, "spans and payloads alike (distance 0.000 by hashed-ngrams)");
}

/// SQL reads the texts of all kinds as one table; a filter by the kind, or by anything else, holds over all of them.
#[tokio::test]
async fn sql_reads_all_kinds() {
    let mut fixture = Fixture::new().await;
    let shape = Some("POST /checkout > Charge");
    fixture
        .incidents(&[incident("a", "boom"), Incident { context: Some(CHARGE), shape, ..incident("b", "bang") }])
        .await;
    let embedding = Arc::new(hashed());
    fixture.embed(&embedding).await;
    let ask = async |query: &str| {
        let options = SessionOptions { embedding: Some(Arc::clone(&embedding)), ..SessionOptions::new("default") };
        let session = Session::open(&fixture.lake, options).await.unwrap();
        let batches = session.collect(query, None).await.unwrap();
        Value::from(batches.iter().flat_map(|batch| shown(batch).unwrap()).collect::<Vec<_>>())
    };
    let kinds = ask("select kind, count(*) as n from incident_vectors group by kind order by kind").await;
    assert_eq!(kinds, json!([{"kind": "context", "n": 1}, {"kind": "masked", "n": 2}, {"kind": "shape", "n": 1}]));
    let context = ask("select fingerprint, text, model from incident_vectors where kind = 'context'").await;
    assert_eq!(context, json!([{"fingerprint": "b", "text": CHARGE, "model": "hashed-ngrams"}]));
    let of_one = ask("select kind from incident_vectors where fingerprint = 'b' order by kind limit 2").await;
    assert_eq!(of_one, json!([{"kind": "context"}, {"kind": "masked"}]));
    assert_eq!(ask("select count(*) as n from incidents where model = 'hashed-ngrams'").await, json!([{"n": 2}]));
    let named = ask("select fingerprint, model from incidents where fingerprint = 'b'").await;
    assert_eq!(named, json!([{"fingerprint": "b", "model": "hashed-ngrams"}]));
}

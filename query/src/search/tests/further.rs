//! What is compared beside the texts: where incidents happened, and with what.

use super::*;

const CHARGE: &str = "payments\ncheckout: POST /checkout > payments: Charge";

/// A failing trace, an incident whose text is near, one with another text and the same context, and so many others of
/// another service and place.
async fn in_one_place(context: Option<&'static str>, others: usize, options: IndexerOptions) -> Fixture {
    let mut fixture = Fixture::new().await;
    let mut all = vec![
        incident("text", "decimals overflowed"),
        Incident { context, ..incident("place", "socket closed by its peer") },
        Incident { context, service: "checkout", ..incident("own", "decimal overflow") },
    ];
    all.extend((0..others).map(|n| Incident {
        context: Some(&*format!("stock\nstock: reserve shelf{n}x").leak()),
        service: "stock",
        ..incident(&format!("other{n}"), &format!("cannot reserve shelf{n}x"))
    }));
    fixture.incidents(&all).await;
    fixture.failure("default", "own", "decimal overflow").await;
    Indexer::with_options(fixture.lake.clone(), Arc::new(hashed()), options).catch_up().await.unwrap();
    fixture
}

/// What is like the failing trace in another service than its own.
fn of_payments() -> SimilarRequest {
    SimilarRequest { service: Some("payments".to_owned()), ..about(TRACE, 7) }
}

/// Whether the incident with the same context comes before the one with the nearer text, and says so.
fn comes_up(found: &[SimilarIncident], comes: bool) {
    assert_eq!(fingerprints(found), if comes { ["place", "text"] } else { ["text", "place"] }, "{found:?}");
    let place = found.iter().find(|incident| incident.fingerprint == "place").unwrap();
    assert_eq!(place.reason.contains("service and path alike (distance 0.000)"), comes, "{found:?}");
}

/// A trace whose failure happened where another incident did, of which it shares no word. Guarantees that the incident
/// passes the one before it, that the reason says so, that without a context neither is the case, and that a sentence is
/// answered as if there were none.
#[tokio::test]
async fn another_message_in_the_same_place_comes_up() {
    let mut sentences = Vec::new();
    for context in [None, Some(CHARGE)] {
        let fixture = in_one_place(context, 0, IndexerOptions::default()).await;
        let found = fixture.ask(Some(&hashed()), &of_payments()).await;
        comes_up(&found, context.is_some());
        sentences.push(fixture.ask(Some(&hashed()), &about("decimal overflow", 20)).await);
    }
    assert_eq!(sentences[0], sentences[1]);
}

/// The same in tables that are large enough for indices. Guarantees that contexts are found there, too.
#[tokio::test]
async fn places_are_compared_through_the_index() {
    let options = IndexerOptions { indexed_rows: 200, ..IndexerOptions::default() };
    let fixture = in_one_place(Some(CHARGE), 300, options).await;
    comes_up(&fixture.ask(Some(&hashed()), &of_payments()).await, true);
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

//! Questions that are no messages: stacks, paths of spans, payloads.

use super::*;

/// A failure in an incident's example trace, with a stack of functions, the innermost first.
fn failure_with(fingerprint: &str, span_path: &str, functions: &[&str]) -> Value {
    let frame = |name: &&str| json!({"function": name, "file": "x.java", "line": 1, "in_app": true});
    let frames: Vec<Value> = functions.iter().map(frame).collect();
    let trace = format!("trace of {fingerprint}");
    row(
        "default",
        1,
        1,
        json!({"trace_id": trace, "fingerprint": fingerprint, "service_name": "payments",
                                "exception_type": "Error", "span_path": span_path, "frames": frames}),
    )
}

/// Of two incidents whose texts are equally near, the one whose stack is like the stack that was pasted comes first, and
/// the reason says what they share. A text that is said to be a message is none.
#[tokio::test]
async fn a_pasted_stack_finds_its_like() {
    let mut fixture = Fixture::new().await;
    fixture.incidents(&[incident("f0", "pool exhausted: alpha"), incident("f1", "pool exhausted: gamma")]).await;
    let failures = [
        failure_with("f0", "", &["com.shop.Stock.count", "com.shop.Main.main"]),
        failure_with("f1", "", &["com.shop.Pool.take", "com.shop.Cart.pay", "com.shop.Main.main"]),
    ];
    fixture.write(Table::Failures, rows(Table::Failures, &failures)).await;
    let stack = "Error: pool exhausted\n\tat com.shop.Pool.take(Pool.java:12)\n\tat com.shop.Cart.pay(Cart.java:9)";
    let found = fixture.ask(None, &about(stack, 2)).await;
    assert_eq!(fingerprints(&found), ["f1", "f0"], "{found:?}");
    assert!(found[0].reason.contains("shares 2 of 2 stack frames, com.shop.Pool.take the innermost"), "{found:?}");
    let words = SimilarRequest { asked: Some(Asked::Message), ..about(stack, 2) };
    let found = fixture.ask(None, &words).await;
    assert!(found.iter().all(|incident| !incident.reason.contains("stack frames")), "{found:?}");
}

/// A path of spans finds the failures that lie on one like it, a payload those with such a payload in their example
/// trace, each with distance and reason; filters hold, and what is no payload is refused.
#[tokio::test]
async fn structures_are_looked_for() {
    let mut fixture = Fixture::new().await;
    fixture.incidents(&[incident("f0", "boom"), incident("f1", "bang")]).await;
    let failures = [
        failure_with("f0", "cart: GET /cart > stock: reserve", &[]),
        failure_with("f1", "checkout: POST /checkout > payments: Charge", &[]),
    ];
    fixture.write(Table::Failures, rows(Table::Failures, &failures)).await;
    let payload = |fingerprint: &str, shape: &str| {
        row("default", 1, 1, json!({"trace_id": format!("trace of {fingerprint}"), "span_id": "s", "shape": shape}))
    };
    let payloads = [payload("f0", r#"{"sku":"string"}"#), payload("f1", r#"{"amount":"string","currency":"string"}"#)];
    fixture.write(Table::Payloads, rows(Table::Payloads, &payloads)).await;
    let asked = |asked: Asked, text: &str| SimilarRequest { asked: Some(asked), ..about(text, 5) };
    let path = asked(Asked::SpanPath, "checkout > payments/Charge");
    let found = fixture.ask(None, &path).await;
    assert_eq!(fingerprints(&found), ["f1"], "{found:?}");
    assert!(found[0].distance.is_some_and(|distance| distance < 0.2), "{found:?}");
    assert!(found[0].reason.contains("checkout: POST /checkout > payments: Charge"), "{found:?}");
    let elsewhere = SimilarRequest { service: Some("stock".to_owned()), ..path };
    assert!(fixture.ask(None, &elsewhere).await.is_empty());
    let found = fixture.ask(None, &asked(Asked::Payload, r#"{"amount": "12.5", "currency": "EUR"}"#)).await;
    assert_eq!(fingerprints(&found), ["f1"], "{found:?}");
    assert!(found[0].reason.starts_with("same payload shape"), "{found:?}");
    let wrong = fixture.ask_as("default", None, &asked(Asked::Payload, "no json")).await;
    assert!(matches!(wrong, Err(QueryError::Argument { .. })), "{wrong:?}");
}

//! What a query and a tenant may have.

use tokio::time::Instant;

use super::*;

/// The answer to a good query. It is asked again where a slow machine takes longer for it than it may.
async fn good(interface: &Interface, token: &str) -> Value {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = interface.sql(token, "select count(*) as n from spans").await;
        match (answer.status, answer.text.as_str()) {
            // The time may be over between its row and its end.
            (200, "broken off") => {}
            (200, _) => return answer.json(),
            _ => assert_eq!(answer.json()["code"], "time-limit", "{}", answer.text),
        }
        assert!(Instant::now() < until, "a good query is not answered");
    }
}

/// Hostile queries end at a limit, each with the limit's name, and a good one is answered after each. Those that another
/// limit than the time is to end have long: guarantees that it does, however slow the machine is.
#[tokio::test]
async fn hostile_queries_end_at_their_limits() {
    let within = async |seconds: u64| {
        let time = Duration::from_secs(seconds);
        let limits = Limits { time, memory: 32 << 20, rows: 1_000, bytes: 1 << 20, ..Limits::default() };
        let interface = Interface::with(limits).await;
        let token = interface.token("acme", &[Scope::Sql]).await;
        (interface, token)
    };
    let (brief, long) = (within(2).await, within(60).await);
    let everything =
        ["a", "b", "c", "d", "e", "f"].map(|name| format!("generate_series(1, 1000) as {name}")).join(", ");
    let list = (0..1_000_000).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let doubling = (1..40).map(|n| format!("c{n} as (select * from c{m} union all select * from c{m})", m = n - 1));
    let doubling = doubling.collect::<Vec<_>>().join(", ");
    let hostile = [
        (format!("select count(*) from {everything}"), "time-limit|memory-limit"),
        (format!("select * from {everything}"), "time-limit|memory-limit|row-limit"),
        ("select value from generate_series(1, 100000)".to_owned(), "row-limit|broken off"),
        ("select array_agg(a.value) from generate_series(1, 100000000) as a".to_owned(), "memory-limit|time-limit"),
        ("select repeat('x', 1000000000) as x".to_owned(), "memory-limit"),
        (format!("select 1 where 1 in ({list})"), "body-too-large|too-large"),
        (format!("select 1{}", " + 1".repeat(100_000)), "too-large"),
        (format!("select {}1{}", "(".repeat(10_000), ")".repeat(10_000)), "wrong-query|too-large"),
        (format!("with c0 as (select 1 as x), {doubling} select count(*) from c39"), "too-large"),
        (
            "select regexp_like('aaaaaaaaab', '((a{0,1000}){0,1000}){0,1000}$')".to_owned(),
            "query-failed|wrong-query|too-large",
        ),
    ];
    for (query, codes) in hostile {
        let (interface, token) = if codes.contains("time-limit") { &brief } else { &long };
        let answer = interface.sql(token, &query).await;
        let shown: String = query.chars().take(80).collect();
        let code = match answer.status {
            200 => answer.text.clone(),
            _ => answer.json()["code"].as_str().unwrap().to_owned(),
        };
        assert!(codes.split('|').any(|expected| expected == code), "{shown}: {code}");
        assert_eq!(good(interface, token).await, json!([{"n": 4}]), "after {shown}");
    }
}

/// A page is bounded like a whole answer, though it is short: what has to be read for it is not.
#[tokio::test]
async fn pages_end_at_their_limits() {
    let limits = Limits { time: Duration::from_secs(2), ..Limits::default() };
    let interface = Interface::with(limits).await;
    let token = interface.token("acme", &[Scope::Sql]).await;
    let endless =
        "select b.value from generate_series(1, 1000) as a, generate_series(1, 9000000000000) as b order by 1";
    let answer = interface.post("/v1/sql", &token, &json!({"query": endless, "page_size": 1})).await;
    assert_eq!((answer.status, &answer.json()["code"]), (422, &json!("time-limit")), "{}", answer.text);
}

/// When as many queries of a tenant run and wait as may, the next is told to come again; other tenants are answered.
#[tokio::test]
async fn a_tenant_has_its_turns() {
    let limits = Limits { queries_per_tenant: 1, waiting_per_tenant: 0, ..Limits::default() };
    let interface = Interface::with(limits).await;
    let token = interface.token("acme", &[Scope::Sql]).await;
    let theirs = interface.token("other", &[Scope::Sql]).await;
    let caller = interface.app.gate().caller(Some(&token)).unwrap();
    let turn = interface.app.gate().turn(&caller).await.unwrap();
    let answer = interface.sql(&token, "select 1").await;
    assert_eq!((answer.status, &answer.json()["code"]), (429, &json!("busy")));
    assert_eq!(answer.header("retry-after"), Some("2"));
    assert_eq!(interface.sql(&theirs, "select 1").await.status, 200);
    drop(turn);
    assert_eq!(interface.sql(&token, "select 1").await.status, 200);
}

/// A client that reads no further ends its query: its turn is free, and `audit` says `cancelled`. A server that stops
/// breaks off what is under way.
#[tokio::test]
async fn queries_end_with_their_readers() {
    let limits =
        Limits { queries_per_tenant: 1, waiting_per_tenant: 0, rows: u64::MAX, bytes: u64::MAX, ..Limits::default() };
    let interface = Interface::with(limits).await;
    let token = interface.token("acme", &[Scope::Sql]).await;
    let endless =
        json!({"query": "select a.value from generate_series(1, 100000) as a, generate_series(1, 100000) as b"});
    let begun = || {
        let request = Request::builder()
            .method(Method::POST)
            .uri("/v1/sql")
            .header("host", "tracerag.example.com")
            .header("authorization", format!("Bearer {token}"));
        interface.router.clone().oneshot(request.body(Body::from(endless.to_string())).unwrap())
    };
    let response = begun().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(interface.sql(&token, "select 1").await.status, 429);
    drop(response);
    // The turn is given back by the thread that computes, when it has come to the end of a step.
    let until = Instant::now() + Duration::from_secs(30);
    while interface.sql(&token, "select 1").await.status != 200 {
        assert!(Instant::now() < until, "the turn is not given back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let response = begun().await.unwrap();
    interface.cut.send(true).unwrap();
    assert!(axum::body::to_bytes(response.into_body(), usize::MAX).await.is_err());
    interface.app.gate().close().await;
    let session = interface.lake.session("acme").await;
    let outcomes = ask_lake(&session, "select outcome from audit where \"rows\" > 1 order by time").await;
    assert_eq!(outcomes, json!([{"outcome": "cancelled"}, {"outcome": "stopped"}]));
}

/// A client that stays and reads no further has its turn no longer than a query may take. What it reads after that is
/// broken off, and does not look whole.
#[tokio::test]
async fn a_turn_ends_though_nobody_reads() {
    // Within the time the first rows have to be there, and whoever waits for the turn waits longer than that.
    let (time, wait) = (Duration::from_secs(15), Duration::from_secs(60));
    let limits = Limits { queries_per_tenant: 1, waiting_per_tenant: 1, time, wait, ..Limits::default() };
    let interface = Interface::with(limits).await;
    let token = interface.token("acme", &[Scope::Sql]).await;
    let endless =
        json!({"query": "select a.value from generate_series(1, 100000) as a, generate_series(1, 100000) as b"});
    let request = Request::builder()
        .method(Method::POST)
        .uri("/v1/sql")
        .header("host", "tracerag.example.com")
        .header("authorization", format!("Bearer {token}"));
    let request = request.body(Body::from(endless.to_string())).unwrap();
    let unread = interface.router.clone().oneshot(request).await.unwrap();
    assert_eq!(unread.status(), 200);
    assert_eq!(interface.sql(&token, "select 1").await.status, 200);
    assert!(axum::body::to_bytes(unread.into_body(), usize::MAX).await.is_err());
}

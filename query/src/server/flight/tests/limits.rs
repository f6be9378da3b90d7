//! What a query and a tenant may have.

use std::time::Duration;

use arrow_flight::CancelFlightInfoRequest;
use tokio::time::Instant;

use super::*;

const ENDLESS: &str = "select a.value from generate_series(1, 100000) as a, generate_series(1, 100000) as b";

fn endless() -> Limits {
    Limits { queries_per_tenant: 1, waiting_per_tenant: 0, rows: u64::MAX, bytes: u64::MAX, ..Limits::default() }
}

/// The answer to a good query. It is asked again where a slow machine takes longer for it than it may.
async fn good(client: &mut Client) -> Value {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        match asked(client, "select count(*) as n from spans").await {
            Ok(rows) => return rows,
            Err(error) => assert_eq!(short(&error), "time-limit", "{error:?}"),
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
        let served = Served::with(limits).await;
        let client = served.client("acme", &[Scope::Sql]).await;
        (served, client)
    };
    let ((_brief, mut brief), (_long, mut long)) = (within(2).await, within(60).await);
    let doubling = (1..40).map(|n| format!("c{n} as (select * from c{m} union all select * from c{m})", m = n - 1));
    let doubling = doubling.collect::<Vec<_>>().join(", ");
    for (query, codes) in [
        (format!("select count(*) from ({ENDLESS}), generate_series(1, 100000) as c"), "time-limit|memory-limit"),
        (ENDLESS.to_owned(), "row-limit|time-limit"),
        ("select repeat('x', 100000) as x from generate_series(1, 900)".to_owned(), "byte-limit|memory-limit"),
        ("select length(replace(repeat('x', 1000000), 'x', repeat('y', 1000)))".to_owned(), "memory-limit"),
        ("select levenshtein(repeat('a', 1000000), repeat('b', 1000000))".to_owned(), "too-large"),
        (format!("select 1{}", " + 1".repeat(100_000)), "too-large"),
        (format!("with c0 as (select 1 as x), {doubling} select count(*) from c39"), "too-large"),
    ] {
        let client = if codes.contains("time-limit") { &mut brief } else { &mut long };
        let error = asked(client, &query).await.unwrap_err();
        assert!(codes.split('|').any(|code| code == short(&error)), "{error:?}");
        assert!([Code::ResourceExhausted, Code::DeadlineExceeded].contains(&error.code()), "{error:?}");
        assert_eq!(good(client).await, json!([{"n": 4}]), "after {error:?}");
    }
}

/// A query that is cancelled by its flight, one whose client goes away, and one that runs when the server stops all end
/// and give back their turn; meanwhile the tenant's next query is told to come again. `audit` tells the three apart.
#[tokio::test]
async fn queries_end_when_they_are_cancelled() {
    let served = Served::with(endless()).await;
    let mut client = served.client("acme", &[Scope::Sql]).await;
    let info = client.execute(ENDLESS.to_owned(), None).await.unwrap();
    let mut rows = client.do_get(ticket(&info)).await.unwrap();
    rows.next().await.unwrap().unwrap();
    let busy = asked(&mut client, "select 1").await.unwrap_err();
    assert_eq!((busy.code(), short(&busy)), (Code::ResourceExhausted, "busy"));
    assert_eq!(busy.metadata().get("retry-after").unwrap(), "2");
    let cancel = Action::new("CancelFlightInfo", CancelFlightInfoRequest::new(info).encode_to_vec());
    let result = client.do_action(cancel).await.unwrap().message().await.unwrap().unwrap();
    let result = arrow_flight::CancelFlightInfoResult::decode(result.body.as_ref()).unwrap();
    assert_eq!(result.status(), arrow_flight::CancelStatus::Cancelled);
    assert_eq!(ended(rows).await.code(), Code::Cancelled);
    free(&mut client).await;

    let info = client.execute(ENDLESS.to_owned(), None).await.unwrap();
    let mut rows = client.do_get(ticket(&info)).await.unwrap();
    rows.next().await.unwrap().unwrap();
    drop(rows);
    free(&mut client).await;

    let info = client.execute(ENDLESS.to_owned(), None).await.unwrap();
    let mut rows = client.do_get(ticket(&info)).await.unwrap();
    rows.next().await.unwrap().unwrap();
    served.interface.cut.send(true).unwrap();
    assert_eq!(ended(rows).await.code(), Code::Unavailable);
    served.interface.app.gate().close().await;
    let session = served.interface.lake.session("acme").await;
    let query = "select outcome from audit where \"rows\" > 1 order by time";
    let outcomes = json!([{"outcome": "cancelled"}, {"outcome": "cancelled"}, {"outcome": "stopped"}]);
    assert_eq!(ask_lake(&session, query).await, outcomes);
}

/// A ticket for which there was no turn still holds, so the client can do what it is told: ask again.
#[tokio::test]
async fn a_ticket_outlives_a_refusal() {
    let served = Served::with(endless()).await;
    let mut client = served.client("acme", &[Scope::Sql]).await;
    let info = client.execute("select 1 as n".to_owned(), None).await.unwrap();
    let gate = served.interface.app.gate();
    let caller = gate.caller(client.token().map(String::as_str)).unwrap();
    let turn = gate.turn(&caller).await.unwrap();
    assert_eq!(short(&fetched(&mut client, ticket(&info)).await.unwrap_err()), "busy");
    drop(turn);
    assert_eq!(as_json(fetched(&mut client, ticket(&info)).await.unwrap()), json!([{"n": 1}]));
}

/// The error that ends a stream.
async fn ended(mut rows: arrow_flight::decode::FlightRecordBatchStream) -> Status {
    loop {
        match rows.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => return status(error),
            None => panic!("the stream ended well"),
        }
    }
}

/// Waits until the tenant has its turn again.
async fn free(client: &mut Client) {
    let until = Instant::now() + Duration::from_secs(30);
    while asked(client, "select 1 as n").await.is_err() {
        assert!(Instant::now() < until, "the turn is not given back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

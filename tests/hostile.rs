//! Queries that mean harm, sent to a server as it runs: each ends within its limits and hurts no neighbour.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::served::{LIMIT, Served};
use crate::support::wait_for;
use crate::worked_example;

/// Counts for days, and holds next to nothing meanwhile.
const ENDLESS: &str = "select count(*) from generate_series(1, 1000) as a, generate_series(1, 9000000000000) as b";

/// A tenant asks more endless queries at once than it may: those that run end at the limit of time, the others are told
/// to come again, and another tenant is answered all the while.
#[test]
fn a_hostile_tenant_hurts_no_neighbour() {
    let limits = "query_time = \"10s\"\nqueries_per_tenant = 2\nwaiting_per_tenant = 2";
    let served = Served::start(worked_example::replayed(), limits);
    let hostile = served.token("hostile", "sql");
    let client = served.client(&served.token("default", "sql"));
    let asking: Vec<_> = (0..12)
        .map(|_| {
            let client = served.client(&hostile);
            std::thread::spawn(move || {
                let answer = client.sql(ENDLESS);
                (answer.status, answer.code(), answer.headers.contains_key("retry-after"))
            })
        })
        .collect();
    let mut answered = 0;
    while asking.iter().any(|thread| !thread.is_finished()) {
        assert_eq!(client.sql("select count(*) as n from spans").good(), json!([{"n": 3}]));
        answered += 1;
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(answered > 0, "the neighbour asked while the others ran");
    let ends: Vec<_> = asking.into_iter().map(|thread| thread.join().unwrap()).collect();
    let count = |end: (u16, &str, bool)| ends.iter().filter(|(a, b, c)| (*a, b.as_str(), *c) == end).count();
    let (stopped, busy) = (count((422, "time-limit", false)), count((429, "busy", true)));
    assert!(stopped >= 2 && busy >= 1 && stopped + busy == ends.len(), "{ends:?}");
}

/// Two tenants ask for as many turns as there are, each more than it may have at once. Guarantees that a third tenant is
/// answered all the while, though each of theirs takes its whole time.
#[test]
fn two_hostile_tenants_leave_a_turn() {
    // Four turns, of which a tenant that asks before all others would have three without a bound of its own.
    let limits = "query_time = \"10s\"\nquery_memory = \"512MiB\"\nwaiting_time = \"3s\"\nqueries_per_tenant = 2";
    let served = Served::start(worked_example::replayed(), limits);
    let client = served.client(&served.token("default", "sql"));
    // The first answer takes longest, and would keep a turn from the others.
    client.sql("select count(*) as n from spans").good();
    let hostile = [served.token("one", "sql"), served.token("two", "sql")];
    let asking: Vec<_> = (0..8)
        .map(|number| {
            let client = served.client(&hostile[number % hostile.len()]);
            std::thread::spawn(move || client.sql(ENDLESS).status)
        })
        .collect();
    while asking.iter().any(|thread| !thread.is_finished()) {
        assert_eq!(client.sql("select count(*) as n from spans").good(), json!([{"n": 3}]));
        std::thread::sleep(Duration::from_millis(100));
    }
    let ends: Vec<u16> = asking.into_iter().map(|thread| thread.join().unwrap()).collect();
    // Of four turns one tenant has two and the other one, or each one, if the third tenant is answered when they come. The
    // queries that have none are told so after a while.
    let count = |status: u16| ends.iter().filter(|end| **end == status).count();
    let (stopped, busy) = (count(422), count(429));
    assert!(stopped >= 2 && busy >= 1 && stopped + busy == ends.len(), "{ends:?}");
}

/// A tool of MCP refuses what would take a thread for hours as HTTP does, in words that say what to do.
#[test]
fn tools_refuse_endless_work() {
    let served = Served::start(worked_example::replayed(), "query_time = \"60s\"");
    let client = served.client(&served.token("default", "sql"));
    let query = "select levenshtein(repeat('a', 1000000), repeat('b', 1000000)) as n";
    let message = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "run_sql", "arguments": {"query": query, "max_tokens": 2_000}},
    });
    let headers = [("accept", "application/json, text/event-stream"), ("mcp-protocol-version", "2025-11-25")];
    let answer = client.send(Method::POST, "/mcp", &headers, Some(&message)).expect("the server answers");
    assert!(answer.text.contains("levenshtein") && answer.text.contains("left(text, 1000)"), "{}", answer.text);
}

/// A client breaks its connection off while its query computes, before there is a first row. Guarantees that the query
/// ends then: the only turn of the tenant is free, long before the limit of time, and `audit` says `cancelled`.
#[test]
fn who_goes_away_ends_the_query() {
    let served = Served::start(
        worked_example::replayed(),
        "query_time = \"1h\"\nqueries_per_tenant = 1\nwaiting_per_tenant = 2\nwaiting_time = \"5s\"",
    );
    let token = served.token("default", "sql");
    let client = served.client(&token);
    let one = || client.sql("select 1 as n");
    // The first answer takes longest: the query must not have waited too long for its turn behind it.
    one().good();
    let body = json!({"query": ENDLESS}).to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", served.port)).unwrap();
    write!(
        stream,
        "POST /v1/sql HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    // Two may wait: so who is refused was not one too many, but has waited for its whole time while the query had the turn.
    wait_for("the query has its turn", LIMIT, || (one().status == 429).then_some(()));
    drop(stream);
    wait_for("the turn is free", LIMIT, || (one().status == 200).then_some(()));

    let Served { tracerag, replica } = served;
    assert!(replica.server.terminate(), "a signal ends the server");
    let cancelled = tracerag.sql("select arguments from audit where outcome = 'cancelled'");
    let is_endless = |row: &Value| row["arguments"].as_str().is_some_and(|text| text.starts_with("select count(*)"));
    assert!(cancelled.iter().any(is_endless), "{cancelled:?}");
}

/// Statements that are large or deep, and values that are many, are refused in words that say what to do; after each a
/// good one is answered.
#[test]
fn monstrous_requests_are_refused() {
    let served = Served::start(worked_example::replayed(), "query_time = \"60s\"\nquery_memory = \"64MiB\"");
    let client = served.client(&served.token("default", "sql"));
    let numbers = |count: usize| (0..count).map(|number| (number % 10).to_string()).collect::<Vec<_>>().join(",");
    let places = (1..=150_000).map(|number| format!("${number}")).collect::<Vec<_>>().join(",");
    let query = |text: String| json!({"query": text});
    let nested = (0..500).fold(json!(1), |inner, _| json!([inner]));
    let hostile = [
        (query(format!("select 1 where 1 in ({})", numbers(1_000_000))), "too-large"),
        (query(format!("select 1 where 1 in ({})", numbers(400_000))), "too-large"),
        (json!({"query": format!("select 1 where 1 in ({places})"), "params": vec![1; 150_000]}), "wrong-request"),
        (json!({"query": "select $1", "params": vec![1; 400_000]}), "wrong-request"),
        (json!({"query": "select 1", "params": nested}), "wrong-request"),
        (query(format!("select {}1{}", "(".repeat(100_000), ")".repeat(100_000))), "wrong-query"),
        (query(format!("select 1{}", " or true".repeat(100_000))), "too-large"),
        (query(format!("select 'x' like '{}'", "%a".repeat(600_000))), "too-large"),
        (
            query("select regexp_like('aaaaaaaaab', '((a{0,1000}){0,1000}){0,1000}$')".to_owned()),
            "too-large|query-failed|wrong-query",
        ),
        (query("select repeat('x', 2000000000) as x".to_owned()), "memory-limit"),
        (query("select length(replace(repeat('x', 10000000), 'x', repeat('y', 1000)))".to_owned()), "memory-limit"),
        (query(format!("select length({})", vec!["repeat('x', 10000000)"; 50].join(" || "))), "memory-limit"),
        (query("select repeat('x', 100000) from generate_series(1, 8000)".to_owned()), "memory-limit"),
        (query("select levenshtein(repeat('a', 1000000), repeat('b', 1000000))".to_owned()), "too-large"),
        (query("select array_has_all(range(1000000), range(1000000))".to_owned()), "too-large"),
    ];
    for (request, codes) in hostile {
        let answer = client.post("/v1/sql", &request);
        let shown: String = request.to_string().chars().take(80).collect();
        assert!(codes.split('|').any(|code| code == answer.code()), "{shown}: {} {}", answer.status, answer.text);
        let detail = answer.json()["detail"].as_str().map(str::len).unwrap_or_default();
        assert!((20..2_000).contains(&detail), "{shown}: {}", answer.text);
        assert_eq!(client.sql("select count(*) as n from spans").good(), json!([{"n": 3}]), "after {shown}");
    }
}

//! Several servers of one lake that compute a large query together, as its users see it: the answers of one server.

use std::fmt::Write as _;

use arrow_flight::error::FlightError;
use arrow_flight::sql::client::FlightSqlServiceClient;
use serde_json::{Value, json};
use tokio::runtime::Builder;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::kafka_worker::get;
use crate::support::client::Client;
use crate::support::program::Tracerag;
use crate::support::served::{ALL, LIMIT, Replica};
use crate::support::{free_port, wait_for};

const NAMES: [&str; 3] = ["first", "second", "third"];
const TENANTS: [&str; 2] = ["default", "acme"];
/// Files that are replayed one after the other, so that each table has as many fragments of a tenant.
const FILES: u64 = 3;
/// Traces of a file.
const TRACES: u64 = 24;
/// 2026-11-16T12:00:00Z.
const START: u64 = 1_794_830_400_000_000_000;

/// Questions of analysts whose answers have one order.
const QUESTIONS: [&str; 6] = [
    "select service_name, count(*) as n, sum(duration_ns) as spent, max(name) as name from spans
     group by service_name order by service_name",
    "select count(*) as n, count(distinct trace_id) as traces from spans",
    "select distinct name, service_name from spans order by name, service_name",
    "select s.service_name, l.body, count(*) as n from spans s join logs l on s.trace_id = l.trace_id
     group by s.service_name, l.body order by 1, 2",
    "select trace_id, name, duration_ns from spans where status_code <> 'ERROR' order by duration_ns desc, trace_id limit 9",
    "select name, trace_id, row_number() over (partition by name order by duration_ns, trace_id) as place from spans
     order by name, place limit 20",
];

/// Spans and logs of a file, a line each; names and texts have the tenant in them.
fn telemetry(tenant: &str, file: u64) -> (String, String) {
    let text = |key: &str, value: String| json!({"key": key, "value": {"stringValue": value}});
    let (mut spans, mut logs) = (String::new(), String::new());
    for trace in 0..TRACES {
        let number = file * TRACES + trace;
        let salt = if tenant == "acme" { 1_000_000 } else { 1 };
        let (trace_id, span_id) = (format!("{:032x}", salt + number), format!("{:016x}", salt + number));
        let (begun, took) = (START + number * 1_000_000_000, 1_000_000 + number % 7 * 1_000);
        let resource = json!({"attributes": [text("service.name", format!("{tenant}-service-{}", number % 4))]});
        let span = json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [
            {"traceId": trace_id, "spanId": span_id, "name": format!("{tenant} {}", number % 3), "kind": 2,
             "startTimeUnixNano": begun.to_string(), "endTimeUnixNano": (begun + took).to_string(),
             "status": {"code": if number.is_multiple_of(5) { 2 } else { 1 }}}]}]}]});
        let log = json!({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [
            {"timeUnixNano": begun.to_string(), "severityNumber": 9, "traceId": trace_id, "spanId": span_id,
             "body": {"stringValue": format!("a line of {tenant}, {}", number % 6)}}]}]}]});
        writeln!(spans, "{span}").unwrap();
        writeln!(logs, "{log}").unwrap();
    }
    (spans, logs)
}

/// A lake of both tenants.
fn replayed() -> Tracerag {
    let tracerag = Tracerag::new();
    for tenant in TENANTS {
        for file in 0..FILES {
            let (spans, logs) = telemetry(tenant, file);
            let spans = tracerag.write(&format!("{tenant}-spans-{file}.jsonl"), spans);
            let logs = tracerag.write(&format!("{tenant}-logs-{file}.jsonl"), logs);
            let files = [spans.to_str().unwrap(), logs.to_str().unwrap()];
            tracerag.done(&[&["--tenant", tenant, "replay"][..], &files[..]].concat());
        }
    }
    tracerag
}

/// A lake with three servers that know each other, and one that knows none.
struct Peers {
    tracerag: Tracerag,
    servers: Vec<Replica>,
    exchanges: [u16; 3],
    alone: Replica,
}

impl Peers {
    fn start() -> Peers {
        let tracerag = replayed();
        let exchanges = NAMES.map(|_| free_port());
        let urls = exchanges.map(|port| format!("\"http://127.0.0.1:{port}\"")).join(", ");
        let servers = NAMES.iter().zip(exchanges).map(|(name, exchange)| {
            let more = format!("exchange = \"127.0.0.1:{exchange}\"\npeers = [{urls}]\npeers_from_rows = 1");
            Replica::start(&tracerag, name, &more)
        });
        let servers = servers.collect();
        let alone = Replica::start(&tracerag, "alone", "");
        Peers { tracerag, servers, exchanges, alone }
    }

    /// A token that all servers know.
    fn token(&self, tenant: &str) -> String {
        let config = self.alone.config.to_str().unwrap();
        let arguments = ["--config", config, "token", "create", "--tenant", tenant, "--scopes", ALL];
        let token = self.tracerag.done(&arguments).trim().to_owned();
        for server in self.servers.iter().chain([&self.alone]) {
            server.client(&token);
        }
        token
    }
}

/// What a server counted under a name.
fn counted(server: &Replica, name: &str) -> u64 {
    let (_, text) = get(server.metrics, "/metrics").expect("the server tells its metrics");
    let values = text.lines().filter(|line| line.starts_with(name)).filter_map(|line| line.rsplit(' ').next());
    values.map(|value| value.parse::<u64>().unwrap()).sum()
}

/// How many answers a server has computed together with others, from their beginning to their end.
fn together(server: &Replica) -> u64 {
    let outcome = |outcome: &str| counted(server, &format!("tracerag_query_spread_total{{outcome=\"{outcome}\"}}"));
    outcome("spread") - outcome("alone")
}

fn answer(client: &Client, question: &str) -> Value {
    client.sql(question).good()
}

/// Both tenants ask the questions of a server that computes alone and of each of three that compute together. Guarantees
/// that the answers are the same, row by row and without a word of the other tenant, and that each is computed by several of
/// the three, of which all have taken part.
#[test]
fn three_servers_answer_as_one() {
    let peers = Peers::start();
    for (tenant, other) in [("default", "acme"), ("acme", "default")] {
        let token = peers.token(tenant);
        let alone = peers.alone.client(&token);
        for question in QUESTIONS {
            let expected = answer(&alone, question);
            assert!(expected.as_array().is_some_and(|rows| !rows.is_empty()), "{question}");
            assert!(!expected.to_string().contains(&format!("{other} ")), "{question}");
            for server in &peers.servers {
                let client = server.client(&token);
                // A peer that a busy machine keeps from answering is done without; then the question is asked once more.
                wait_for(&format!("several servers compute {question}"), LIMIT, || {
                    let before = together(server);
                    assert_eq!(answer(&client, question), expected, "{tenant}: {question}");
                    (together(server) > before).then_some(())
                });
            }
        }
    }
    for server in &peers.servers {
        assert!(counted(server, "tracerag_query_peer_tasks_total") > 0, "{}", server.server.log_tail());
    }
    assert_eq!(counted(&peers.alone, "tracerag_query_peer_tasks_total"), 0);
}

/// One of three servers stands still, so that it takes work and does none, and then is killed, while the others are asked.
/// Guarantees that each answer is as before, and that the failure is counted under its address.
#[test]
fn a_server_that_fails_changes_no_answer() {
    let mut peers = Peers::start();
    let token = peers.token("default");
    let expected = answer(&peers.alone.client(&token), QUESTIONS[3]);
    let mut third = peers.servers.pop().expect("there are three");
    let clients: Vec<Client> = peers.servers.iter().map(|server| server.client(&token)).collect();
    for client in &clients {
        assert_eq!(answer(client, QUESTIONS[3]), expected);
    }
    third.server.signal("STOP");
    assert_eq!(answer(&clients[0], QUESTIONS[3]), expected, "one stands still");
    third.server.signal("CONT");
    third.server.kill();
    for client in &clients {
        for _ in 0..2 {
            assert_eq!(answer(client, QUESTIONS[3]), expected, "one is gone");
        }
    }
    for server in &peers.servers {
        let name = format!("tracerag_query_peer_failures_total{{peer=\"http://127.0.0.1:{}/\"}}", peers.exchanges[2]);
        assert!(counted(server, &name) > 0, "{}", server.server.log_tail());
    }
}

/// Somebody who has a token of every scope, and somebody who has none, asks at the door of the servers. Guarantees that
/// both are refused: who may ask there is no caller, but a server of the lake.
#[test]
fn the_exchange_answers_nobody_else() {
    let peers = Peers::start();
    let token = peers.token("default");
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let refused = |token: Option<&str>| {
        runtime.block_on(async {
            let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{}", peers.exchanges[0])).unwrap();
            let mut client = FlightSqlServiceClient::new(endpoint.connect().await.unwrap());
            if let Some(token) = token {
                client.set_token(token.to_owned());
            }
            match client.execute(String::from("select 1"), None).await {
                Err(FlightError::Tonic(status)) => status.code(),
                other => panic!("{other:?}"),
            }
        })
    };
    assert_eq!(refused(None), Code::Unauthenticated);
    assert_eq!(refused(Some(&token)), Code::Unauthenticated);
    assert_eq!(counted(&peers.servers[0], "tracerag_query_peer_refusals_total"), 2);
}

/// A server that computes for others and names none does not start, and says what to change; one whose peers would be
/// reached in clear does not either, also when they are named on the command line.
#[test]
fn peers_that_cannot_be_are_refused() {
    let tracerag = Tracerag::new();
    let lonely = tracerag.write("lonely.toml", "[serve]\nexchange = \"127.0.0.1:0\"\n");
    let ran = tracerag.run(&["--config", lonely.to_str().unwrap(), "serve"]);
    assert!(ran.status != 0 && ran.stderr.contains("serve.peers"), "{} {}", ran.status, ran.stderr);
    let ran = tracerag.run(&["serve", "--peers", "http://serve-1:8082,http://serve-2:8082"]);
    assert!(ran.status != 0 && ran.stderr.contains("serve.peers"), "{} {}", ran.status, ran.stderr);
}

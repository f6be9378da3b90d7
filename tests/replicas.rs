//! Several servers of one lake behind a balancer that knows nothing of them: whatever a client asks for in several steps,
//! each step may reach another server.

use std::time::{Duration, Instant};

use arrow::record_batch::RecordBatch;
use arrow_flight::Ticket;
use arrow_flight::error::FlightError;
use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::TryStreamExt as _;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::support::balancer::Balancer;
use crate::support::client::{Answer, Client};
use crate::support::clients::Clients;
use crate::support::program::Tracerag;
use crate::support::served::{ALL, LIMIT, Replica};
use crate::support::{in_time, wait_for};
use crate::worked_example::{self, TRACE};

const NAMES: [&str; 3] = ["first", "second", "third"];
/// Limits under which an endless query can be read for a while.
const LIMITS: &str = "query_rows = 100000000000\nquery_time = \"10m\"";

/// A lake with three servers.
struct Replicas {
    tracerag: Tracerag,
    replicas: [Replica; 3],
}

impl Replicas {
    fn start(tracerag: Tracerag) -> Replicas {
        let replicas = NAMES.map(|name| Replica::start(&tracerag, name, LIMITS));
        Replicas { tracerag, replicas }
    }

    fn grpc(&self) -> Balancer {
        Balancer::grpc(&self.replicas.each_ref().map(|replica| replica.flight_sql))
    }

    fn http(&self) -> Balancer {
        Balancer::http(&self.replicas.each_ref().map(|replica| replica.port))
    }

    /// A token that all servers know.
    fn token(&self, tenant: &str, scopes: &str) -> String {
        let token = made(&self.tracerag, &self.replicas[0], tenant, scopes);
        for replica in &self.replicas {
            replica.client(&token);
        }
        token
    }
}

/// A token that the servers come to know.
fn made(tracerag: &Tracerag, replica: &Replica, tenant: &str, scopes: &str) -> String {
    let config = replica.config.to_str().unwrap();
    let arguments = ["--config", config, "token", "create", "--tenant", tenant, "--scopes", scopes];
    tracerag.done(&arguments).trim().to_owned()
}

/// Drivers of ADBC and JDBC and an agent work behind a balancer as they do with one server: planning and reading,
/// preparing, binding and running, and the pages of a bundle reach three servers in turn. Guarantees that nothing has to be
/// sticky for clients as they are: both drivers ask on with the handle that came with the values.
#[test]
fn clients_of_others_need_no_server_of_their_own() {
    let Some(clients) = Clients::find() else { return };
    let replicas = Replicas::start(worked_example::replayed());
    let (token, other) = (replicas.token("default", ALL), replicas.token("acme", ALL));
    let grpc = replicas.grpc();
    let uri = format!("grpc://127.0.0.1:{}", grpc.port);
    let ran = clients.python("adbc.py", &[&uri, &token, &other]);
    assert_eq!((ran.status, ran.stdout.trim()), (0, "3"), "{}", ran.stderr);
    let ran = clients.java("FlightJdbc.java", &[&grpc.port.to_string(), &token, &other]);
    assert_eq!((ran.status, ran.stdout.trim()), (0, "3"), "{}", ran.stderr);
    let http = replicas.http();
    let url = format!("http://127.0.0.1:{}/mcp", http.port);
    let ran = clients.python("agent.py", &["legacy", TRACE, &url, &token]);
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
    let told: Value = serde_json::from_str(ran.stdout.lines().last().unwrap_or_default()).unwrap();
    assert_eq!(told["bundle_id"], replicas.tracerag.bundle(TRACE)["bundle_id"]);
    assert!(grpc.given() > 30 && http.given() > 10, "{} {}", grpc.given(), http.given());
}

/// A change of a flag, as a line of a file.
fn flag(name: &str) -> String {
    format!(
        "{{\"time\": \"2026-11-16T12:00:01Z\", \"feature_flag.key\": \"{name}\", \"feature_flag.result.variant\": \"on\"}}\n"
    )
}

/// A page of an answer over HTTP: its key, and where the next one begins.
fn http_page(client: &Client, query: &str, cursor: Option<&str>) -> (String, Option<String>) {
    let asked = match cursor {
        Some(cursor) => json!({"query": query, "page_size": 1, "cursor": cursor}),
        None => json!({"query": query, "page_size": 1}),
    };
    let answer: Answer = client.post("/v1/sql", &asked);
    let key = answer.good()[0]["key"].as_str().unwrap_or_default().to_owned();
    let next = answer.headers.get("tracerag-next-cursor").map(|next| next.to_str().unwrap().to_owned());
    (key, next)
}

/// The pages of one answer over HTTP are read from three servers while the lake moves on between them; the third server
/// was started after that, so it has never seen the state that the first page was of. Guarantees that the pages are of one state all the
/// same, each row of it once, and that a cursor of another query is refused by any of them.
#[test]
fn pages_are_of_one_state_at_any_server() {
    let tracerag = Tracerag::new();
    let seeded = ["a", "c", "e"].map(flag).concat();
    tracerag.replay(&[&tracerag.write("first.jsonl", seeded)]);
    let [first, second, third] = NAMES;
    let first = Replica::start(&tracerag, first, "");
    let second = Replica::start(&tracerag, second, "");
    let token = made(&tracerag, &first, "default", ALL);
    let query = "select key from flag_events order by key";
    let (key, next) = http_page(&first.client(&token), query, None);
    assert_eq!(key, "a");
    tracerag.replay(&[&tracerag.write("second.jsonl", ["b", "d"].map(flag).concat())]);
    let third = Replica::start(&tracerag, third, "");
    let (key, next) = http_page(&third.client(&token), query, next.as_deref());
    assert_eq!(key, "c");
    let (key, last) = http_page(&second.client(&token), query, next.as_deref());
    assert_eq!((key.as_str(), last), ("e", None));
    let keys: Vec<Value> = tracerag.sql(query);
    assert_eq!(keys.len(), 5, "the lake has moved on: {keys:?}");
    let other = json!({"query": "select key from flags", "page_size": 1, "cursor": next});
    for replica in [&first, &second, &third] {
        assert_eq!(replica.client(&token).post("/v1/sql", &other).status, 400);
    }
}

/// A client of Flight SQL behind a balancer.
struct Flight {
    client: FlightSqlServiceClient<Channel>,
}

impl Flight {
    fn of(runtime: &Runtime, port: u16, token: &str) -> Flight {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
        let mut client = FlightSqlServiceClient::new(runtime.block_on(endpoint.connect()).unwrap());
        client.set_token(token.to_owned());
        Flight { client }
    }

    /// The rows behind a ticket, or the code of the error.
    async fn rows(&mut self, ticket: Ticket) -> Result<Value, Code> {
        let fetched = async { self.client.do_get(ticket).await?.try_collect::<Vec<RecordBatch>>().await };
        let batches = fetched.await.map_err(|error| match error {
            FlightError::Tonic(status) => status.code(),
            other => panic!("{other}"),
        })?;
        let rows = batches.iter().flat_map(|batch| tracerag_query::json::rows(batch).unwrap());
        Ok(rows.map(Value::Object).collect())
    }
}

/// A ticket of one server is asked for at the next. Guarantees that it gives its rows to its caller at each of them, and
/// nothing once one byte of it is another, or in the hands of another tenant.
#[test]
fn a_ticket_holds_for_its_caller_everywhere() {
    let replicas = Replicas::start(worked_example::replayed());
    let (token, other) = (replicas.token("default", ALL), replicas.token("acme", ALL));
    let grpc = replicas.grpc();
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut ours = Flight::of(&runtime, grpc.port, &token);
    let mut theirs = Flight::of(&runtime, grpc.port, &other);
    runtime.block_on(async {
        let info = ours.client.execute("select count(*) as n from spans".to_owned(), None).await.unwrap();
        let ticket = info.endpoint[0].ticket.clone().unwrap();
        let mut changed = ticket.ticket.to_vec();
        *changed.last_mut().unwrap() ^= 1;
        let changed = Ticket::new(changed);
        // As often as there are servers, so that each is asked for each.
        for _ in NAMES {
            assert_eq!(theirs.rows(ticket.clone()).await, Err(Code::NotFound));
        }
        for _ in NAMES {
            assert_eq!(ours.rows(changed.clone()).await, Err(Code::NotFound));
        }
        for _ in NAMES {
            assert_eq!(ours.rows(ticket.clone()).await, Ok(json!([{"n": 3}])));
        }
    });
}

/// A token that is revoked is refused by all servers within five seconds, for which a busy machine is given several tokens.
#[test]
fn a_revoked_token_ends_everywhere() {
    let replicas = Replicas::start(worked_example::replayed());
    let config = replicas.replicas[0].config.to_str().unwrap();
    in_time("to refuse a revoked token everywhere", Duration::from_secs(5), || {
        let token = replicas.token("default", ALL);
        let clients = replicas.replicas.each_ref().map(|replica| replica.client(&token));
        let list = replicas.tracerag.done(&["--config", config, "token", "list", "--format", "json"]);
        let list: Value = serde_json::from_str(&list).unwrap();
        let id = list["tokens"][0]["id"].as_str().unwrap();
        replicas.tracerag.done(&["--config", config, "token", "revoke", id]);
        let revoked = Instant::now();
        wait_for("the token is refused everywhere", LIMIT, || {
            clients.iter().all(|client| client.sql("select 1").status == 401).then_some(())
        });
        ((), revoked.elapsed())
    });
}

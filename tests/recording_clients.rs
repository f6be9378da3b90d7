//! Clients of others that read the whole recording of `examples/checkout`: more rows than a batch, large maps, real heaps,
//! bundles and traces of many pages. One server answers all of them; nothing that they do changes a row that another reads.

use std::path::PathBuf;
use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::checkout::{recorded, replayed};
use crate::postgres;
use crate::support::clients::Clients;
use crate::support::program::Ran;
use crate::support::served::{ALL, Served};
use crate::support::telemetry;
use crate::support::truth::Truth;

/// The model that needs no download.
const MODEL: (&str, &str) = ("TRACERAG_EMBEDDING__MODEL", "hashed-ngrams");
/// Many flushes, so that a table has many parts.
const MANY_FLUSHES: (&str, &str) = ("TRACERAG_LAKE__FLUSH_INTERVAL", "20ms");

/// The server, and what it has to answer.
struct Recorded {
    served: Served,
    token: String,
    /// A file for the programs: numbers of the recording and of its truth.
    truth: PathBuf,
    spans: i64,
    /// Of all spans, in ns.
    duration: i64,
}

static RECORDED: LazyLock<Recorded> = LazyLock::new(|| {
    // Clients that read everything at once share the processors of a test machine.
    let more = "query_time = \"300s\"\n[embedding]\nmodel = \"hashed-ngrams\"";
    let served = Served::start(replayed(&[MODEL, MANY_FLUSHES]), more);
    let token = served.token("default", ALL);
    let truth = Truth::of_the_recording();
    let requests: Vec<Value> = truth.of("request").iter().map(|row| json!([row["trace_id"], row["status"]])).collect();
    let query =
        std::fs::read_to_string(telemetry::checkout("queries/requests.sql")).expect("the example has its queries");
    let spans = recorded("traces", "resourceSpans", "scopeSpans", "spans");
    let duration = served.tracerag.number("select sum(duration_ns) from spans");
    let known = json!({
        "spans": spans,
        "logs": recorded("logs", "resourceLogs", "scopeLogs", "logRecords"),
        "heaps": truth.of("heap").len(),
        "duration_ns": duration,
        "requests": requests,
        "requests_query": query,
    });
    let truth = served.tracerag.write("truth.json", known.to_string());
    Recorded { served, token, truth, spans, duration }
});

impl Recorded {
    fn truth(&self) -> &str {
        self.truth.to_str().expect("a path in UTF-8")
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.served.port)
    }
}

fn well(ran: &Ran) {
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
}

/// ADBC fetches spans, logs, heaps, payloads and traces whole: see `tests/clients/recording_adbc.py`. Guarantees that every
/// value of every column is the one that `POST /v1/sql` gives as Arrow, that pandas and polars add up alike, maps included,
/// that many batches are the whole, and that the orders found are those that were sent.
#[test]
fn adbc_reads_the_recording() {
    let Some(clients) = Clients::find() else { return };
    let recorded = &*RECORDED;
    let grpc = format!("grpc://127.0.0.1:{}", recorded.served.flight_sql);
    well(&clients.python("recording_adbc.py", &[&grpc, &recorded.url(), &recorded.token, recorded.truth()]));
}

/// Both JDBC drivers read every column of every span, the one of PostgreSQL part by part: see
/// `tests/clients/RecordingJdbc.java`. Guarantees that no row is lost, doubled or unreadable on the way.
#[test]
fn jdbc_reads_the_recording() {
    let Some(clients) = Clients::find() else { return };
    let recorded = &*RECORDED;
    let [flight, postgres, spans, duration] = [
        recorded.served.flight_sql.to_string(),
        recorded.served.postgres.to_string(),
        recorded.spans.to_string(),
        recorded.duration.to_string(),
    ];
    well(&clients.java("RecordingJdbc.java", &[&flight, &postgres, &recorded.token, &spans, &duration]));
}

/// psycopg reads all spans from a cursor of the server, as text and as binary, SQLAlchemy streams them into pandas, and psql
/// fetches them in parts: see `tests/clients/recording_postgres.py`. Guarantees the same rows in either format, each once.
#[test]
fn postgres_clients_read_the_recording() {
    let Some(clients) = Clients::find() else { return };
    let recorded = &*RECORDED;
    let port = recorded.served.postgres;
    well(&clients.python("recording_postgres.py", &[&port.to_string(), &recorded.token, recorded.truth()]));

    let target = postgres::target(port, "anna");
    let query = "select trace_id, span_id, attributes from spans";
    let ran = clients.psql(&[("PGPASSWORD", &recorded.token)], &[&target, "-At", "-v", "FETCH_COUNT=500", "-c", query]);
    well(&ran);
    assert_eq!(i64::try_from(ran.stdout.lines().count()).unwrap(), recorded.spans, "{}", ran.stderr);
}

/// An agent pages through the bundles of the failing trace with the most spans and of a trace with a heap, through the traces
/// and their logs, through all failing traces and all spans: see `tests/clients/recording_agent.py`. Guarantees that the
/// pages until the last cursor are the whole, that each entry is on one of them, and that small pages hold what large ones do.
/// The TypeScript client cites the bundle of the failing trace: see `tests/clients/agent.mjs`.
#[test]
fn an_agent_pages_through_the_recording() {
    let Some(clients) = Clients::find() else { return };
    let recorded = &*RECORDED;
    let one = |query: &str| {
        let rows = recorded.served.tracerag.sql(query);
        rows[0]["trace_id"].as_str().expect("a trace is found").to_owned()
    };
    let failing = one(
        "select trace_id from traces where status = 'ERROR' and failure_count > 0 order by span_count desc, trace_id limit 1",
    );
    let with_heap = one("select trace_id from heaps where trace_id is not null order by captured_at, trace_id limit 1");
    let program = "recording_agent.py";
    well(&clients.python(program, &[&recorded.url(), &recorded.token, recorded.truth(), &failing, &with_heap]));

    let mcp = format!("{}/mcp", recorded.url());
    let ran = clients.node("agent.mjs", &[&failing, &mcp, &recorded.token]);
    well(&ran);
    let told: Value = serde_json::from_str(ran.stdout.trim()).unwrap();
    let bundle = recorded.served.client(&recorded.token).get(&format!("/v1/bundles/{failing}")).good();
    assert_eq!(told["bundle_id"], bundle["bundle_id"]);
}

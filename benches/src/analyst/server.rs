//! A running `tracerag serve`, asked as tools ask it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Outcome;
use crate::watch::alive;

/// How long the server may take until it answers.
const START: Duration = Duration::from_secs(120);
/// Clients that ask at once, each one request after the other.
pub const CLIENTS: usize = 64;
/// How long they ask.
pub const STORM: Duration = Duration::from_secs(20);

/// What is asked about a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Its spans and logs.
    Trace,
    /// Its spans, by SQL.
    Sql,
    /// Its bundle.
    Bundle,
    /// Its bundle, as an agent gets it.
    Mcp,
}

impl Ask {
    /// All of them.
    pub const ALL: [Ask; 4] = [Ask::Trace, Ask::Sql, Ask::Bundle, Ask::Mcp];

    /// How it is called in the table.
    pub fn name(self) -> &'static str {
        match self {
            Ask::Trace => "GET /v1/traces/{id}",
            Ask::Sql => "POST /v1/sql, spans of a trace",
            Ask::Bundle => "GET /v1/bundles/{id}",
            Ask::Mcp => "MCP get_evidence_bundle",
        }
    }
}

/// A running server. Dropping it kills it.
pub struct Server {
    child: Child,
    client: Client,
}

/// What asks it; clones share connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    address: Arc<str>,
}

impl Server {
    /// Starts the program on a lake, for this machine alone and so without tokens, and waits until it answers.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(program: &str, lake: &Path, folder: &Path) -> Outcome<Self> {
        // The ports are free again when the listeners go.
        let free = || -> Outcome<String> { Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string()) };
        let (http, metrics) = (free()?, free()?);
        let config = folder.join("serve.toml");
        // More may wait than clients ask at once: this is about throughput, not about who is turned away.
        fs::write(
            &config,
            format!(
                "[embedding]\nmodel = \"hashed-ngrams\"\n[metrics]\nlisten = \"{metrics}\"\n[serve]\nhttp = \"{http}\"\n\
                 flight_sql = \"\"\npostgres = \"\"\nwaiting_per_tenant = {CLIENTS}\n"
            ),
        )?;
        let child = Command::new(program)
            .arg("--config")
            .arg(&config)
            .arg("--lake")
            .arg(lake)
            .arg("serve")
            .stdout(Stdio::null())
            .stderr(File::create(folder.join("serve.log"))?)
            .spawn()?;
        let client =
            Client { http: reqwest::Client::builder().no_proxy().build()?, address: format!("http://{http}").into() };
        let mut server = Self { child, client };
        let begun = Instant::now();
        while server.client.http.get(format!("{}/healthz", server.client.address)).send().await.is_err() {
            alive(&mut server.child)?;
            if begun.elapsed() > START {
                return Err(format!("{program} does not answer after {START:?}").into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(server)
    }

    /// What asks it.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody to tell of any other failure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Client {
    /// Asks about a trace and reads the whole answer.
    ///
    /// # Errors
    /// With the status and the text of an answer that is none, or why there is none.
    pub async fn ask(&self, ask: Ask, trace: &str) -> Result<(), String> {
        let address = &self.address;
        let post = |path: &str, body: &Value| {
            let request = self.http.post(format!("{address}{path}")).header("content-type", "application/json");
            request.body(body.to_string())
        };
        let request = match ask {
            Ask::Trace => self.http.get(format!("{address}/v1/traces/{trace}")),
            Ask::Bundle => self.http.get(format!("{address}/v1/bundles/{trace}")),
            Ask::Sql => {
                let query = "select span_id, parent_span_id, service_name, name, start_time, duration_ns, status_code \
                             from spans where trace_id = $1 order by start_time, span_id";
                post("/v1/sql", &json!({"query": query, "params": [trace]}))
            }
            Ask::Mcp => {
                let call = json!({"name": "get_evidence_bundle", "arguments": {"trace_id": trace}});
                let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call});
                post("/mcp", &message)
                    .header("accept", "application/json, text/event-stream")
                    .header("mcp-protocol-version", "2025-11-25")
            }
        };
        let response = request.send().await.map_err(|error| error.to_string())?;
        let status = response.status();
        let text = response.text().await.map_err(|error| error.to_string())?;
        // An agent is told of an error in a good answer.
        let is_good = status.is_success() && !(ask == Ask::Mcp && text.contains("\"isError\":true"));
        if is_good { Ok(()) } else { Err(format!("{status} {}", text.chars().take(200).collect::<String>())) }
    }

    /// How long it takes to ask about each trace, one after the other; the first ones warm up and are not counted.
    ///
    /// # Errors
    /// When the server does not answer one of them.
    pub async fn times(&self, ask: Ask, traces: &[String], warm_up: usize) -> Outcome<Vec<Duration>> {
        let mut times = Vec::with_capacity(traces.len());
        for trace in traces.iter().take(warm_up).chain(traces) {
            let begun = Instant::now();
            self.ask(ask, trace).await?;
            times.push(begun.elapsed());
        }
        Ok(times.split_off(warm_up.min(traces.len())))
    }
}

/// What many clients got.
#[derive(Debug, Default)]
pub struct Storm {
    /// Answers in each second.
    pub answers: Vec<usize>,
    /// Errors by their text.
    pub errors: BTreeMap<String, usize>,
    /// How long each answer took.
    pub times: Vec<Duration>,
}

/// Lets all clients ask at once, each about other traces and in all ways in turn.
///
/// # Errors
/// When a client does not come to its end.
pub async fn storm(client: &Client, traces: &Arc<[String]>) -> Outcome<Storm> {
    let begun = Instant::now();
    let clients: Vec<_> =
        (0..CLIENTS).map(|number| tokio::spawn(one(client.clone(), Arc::clone(traces), number, begun))).collect();
    let mut all = Storm { answers: vec![0; STORM.as_secs() as usize], ..Storm::default() };
    for client in clients {
        for (at, answer) in client.await? {
            match answer {
                Ok(time) => {
                    // An answer under way at the end counts for no second.
                    if let Some(second) = all.answers.get_mut(at.as_secs() as usize) {
                        *second += 1;
                    }
                    all.times.push(time);
                }
                Err(error) => *all.errors.entry(error).or_default() += 1,
            }
        }
    }
    Ok(all)
}

/// When each request of one client was done, and how long it took or what went wrong.
async fn one(
    client: Client,
    traces: Arc<[String]>,
    number: usize,
    begun: Instant,
) -> Vec<(Duration, Result<Duration, String>)> {
    let mut answers = Vec::new();
    let ways = Ask::ALL.iter().cycle().skip(number);
    let about = traces.iter().cycle().skip(number * traces.len() / CLIENTS);
    for (ask, trace) in ways.zip(about) {
        if begun.elapsed() > STORM {
            break;
        }
        let asked = Instant::now();
        let answer = client.ask(*ask, trace).await;
        answers.push((begun.elapsed(), answer.map(|()| asked.elapsed())));
    }
    answers
}

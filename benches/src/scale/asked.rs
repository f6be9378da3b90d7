//! A server in this process that a tenant asks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tracerag_index::Lake;
use tracerag_query::SessionOptions;
use tracerag_query::access::{GateOptions, Limits};
use tracerag_query::server::{Server, ServerOptions};

use crate::{Outcome, incidents};

/// Characters of an answer that is none, in a message.
const SHOWN: usize = 200;

/// A question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// Incidents that are like a message.
    Similar,
    /// The twenty that were seen last.
    Newest,
    /// Those that were first seen within the last hour.
    New,
    /// One, with its traces and fixes.
    One,
}

impl Ask {
    /// All of them.
    pub(super) const ALL: [Ask; 4] = [Ask::Similar, Ask::Newest, Ask::New, Ask::One];

    /// How it is called in the table.
    pub(super) fn name(self) -> &'static str {
        match self {
            Ask::Similar => "POST /v1/similar",
            Ask::Newest => "GET /v1/incidents?limit=20",
            Ask::New => "POST /v1/sql, new_incidents of an hour",
            Ask::One => "GET /v1/incidents/{fingerprint}",
        }
    }
}

/// A server for one tenant, and what asks it.
pub(super) struct Asked {
    server: Server,
    http: reqwest::Client,
    address: String,
}

impl Asked {
    /// Starts a server on a lake, for this machine alone and so without tokens.
    pub(super) async fn start(lake: Lake, tenant: &str) -> Outcome<Self> {
        let gate = GateOptions {
            tokens_file: None,
            issuer: None,
            tenant: tenant.to_owned(),
            limits: Limits::default(),
            mask: Arc::new(str::to_owned),
        };
        let options = ServerOptions {
            http: String::from("127.0.0.1:0"),
            flight_sql: String::new(),
            postgres: String::new(),
            exchange: String::new(),
            exchange_memory: 0,
            peers: None,
            tls: None,
            is_behind_tls: false,
            gate,
            session: SessionOptions { embedding: Some(incidents::embedding()), ..SessionOptions::new(tenant) },
            origins: vec![],
            oauth: None,
            changes: None,
        };
        let server = Server::start(lake, options).await?;
        let address = format!("http://{}", server.address());
        Ok(Self { server, http: reqwest::Client::builder().no_proxy().build()?, address })
    }

    /// Asks about a text, or about an incident. Gives the time until the whole answer was there, and the answer.
    ///
    /// # Errors
    /// With the status and the text of an answer that is none, or why there is none.
    pub(super) async fn ask(&self, ask: Ask, text: &str, fingerprint: &str) -> Result<(Duration, Value), String> {
        let address = &self.address;
        let post = |path: &str, body: &Value| {
            let request = self.http.post(format!("{address}{path}")).header("content-type", "application/json");
            request.body(body.to_string())
        };
        let request = match ask {
            Ask::Similar => post("/v1/similar", &json!({"text": text, "k": 10})),
            Ask::Newest => self.http.get(format!("{address}/v1/incidents?limit=20")),
            Ask::New => {
                let query = "select fingerprint, title, service_name, first_seen, failure_count from new_incidents \
                             where first_seen >= now() - interval '1 hour' order by first_seen desc limit 100";
                post("/v1/sql", &json!({"query": query}))
            }
            Ask::One => self.http.get(format!("{address}/v1/incidents/{fingerprint}")),
        };
        let begun = Instant::now();
        let response = request.send().await.map_err(|error| error.to_string())?;
        let status = response.status();
        let answer = response.text().await.map_err(|error| error.to_string())?;
        let time = begun.elapsed();
        if !status.is_success() {
            return Err(format!("{status} {}", answer.chars().take(SHOWN).collect::<String>()));
        }
        Ok((time, serde_json::from_str(&answer).unwrap_or_default()))
    }

    /// Ends it.
    pub(super) async fn stop(self) {
        self.server.stop().await;
    }
}

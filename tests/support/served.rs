//! A server on a lake, as its users run it.

use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::client::Client;
use super::process::Process;
use super::program::{Ran, Tracerag};
use super::{free_port, wait_for};
use crate::kafka_worker::get;

/// Every scope.
pub const ALL: &str = "sql,read,similar,heap,write,admin";
/// More than any start or answer takes, on a machine that has much other work, too. Only what fails waits so long.
pub const LIMIT: Duration = Duration::from_secs(900);

/// One of the servers of a lake.
pub struct Replica {
    pub config: PathBuf,
    pub port: u16,
    pub flight_sql: u16,
    /// Of PostgreSQL's protocol.
    pub postgres: u16,
    pub metrics: u16,
    pub server: Process,
}

impl Replica {
    /// Starts a server of this name with more lines in its section. All servers of a lake have the same tokens.
    pub fn start(tracerag: &Tracerag, name: &str, more: &str) -> Replica {
        let (port, flight_sql, postgres, metrics) = (free_port(), free_port(), free_port(), free_port());
        let text = format!(
            "[metrics]\nlisten = \"127.0.0.1:{metrics}\"\n[serve]\nhttp = \"127.0.0.1:{port}\"\n\
             flight_sql = \"127.0.0.1:{flight_sql}\"\npostgres = \"127.0.0.1:{postgres}\"\ntokens_file = \"{}\"\n{more}\n",
            tracerag.path("tokens.json").display()
        );
        let config = tracerag.write(&format!("{name}.toml"), text);
        let server = tracerag.background(&config, &["serve"], &format!("{name}.log"));
        let replica = Replica { config, port, flight_sql, postgres, metrics, server };
        wait_for("the server is ready", LIMIT, || {
            assert!(replica.server.alive(), "{}", replica.server.log_tail());
            get(replica.metrics, "/readyz").filter(|(status, _)| *status == 200)
        });
        replica
    }

    /// A client with a token, once the server knows it.
    pub fn client(&self, token: &str) -> Client {
        let client = Client::of(self.port, Some(token));
        until_known(&client);
        client
    }
}

/// Waits until a server knows the token of a client.
fn until_known(client: &Client) {
    wait_for("a new token is known", LIMIT, || {
        let asked = client.send(Method::POST, "/v1/sql", &[], Some(&json!({"query": ""})))?;
        (asked.status != 401).then_some(())
    });
}

/// A server on a lake, with tokens.
pub struct Served {
    pub tracerag: Tracerag,
    pub replica: Replica,
}

/// Its ports, its configuration and its process.
impl Deref for Served {
    type Target = Replica;

    fn deref(&self) -> &Replica {
        &self.replica
    }
}

impl Served {
    /// Starts a server with more lines in its section.
    pub fn start(tracerag: Tracerag, more: &str) -> Served {
        let replica = Replica::start(&tracerag, "serve", more);
        Served { tracerag, replica }
    }

    /// A command with the server's configuration.
    pub fn done(&self, arguments: &[&str]) -> String {
        self.tracerag.done(&[&["--config", self.config.to_str().unwrap()][..], arguments].concat())
    }

    /// A token that the server knows.
    pub fn token(&self, tenant: &str, scopes: &str) -> String {
        let made = self.done(&["token", "create", "--tenant", tenant, "--scopes", scopes, "--expires", "90d"]);
        let token = made.trim().to_owned();
        until_known(&self.client(&token));
        token
    }

    pub fn client(&self, token: &str) -> Client {
        Client::of(self.port, Some(token))
    }

    /// Runs a command against the server.
    pub fn remote(&self, token: &str, arguments: &[&str]) -> Ran {
        let url = format!("http://127.0.0.1:{}", self.port);
        let token = [("TRACERAG_TOKEN".to_owned(), token.to_owned())];
        self.tracerag.run_elsewhere(&token, &[&["--server", &url][..], arguments].concat())
    }
}

//! `tracerag serve`: the lake for others, over HTTP and MCP.
//!
//! - **In:** a [`Lake`] that a worker may be writing, and [`ServerOptions`].
//! - **Out:** answers, each on the newest head and on one head throughout; a row in `audit` for each.
//!
//! Every interface asks the same [`Gate`] who somebody is and takes its sessions from the same place, so tenants, scopes
//! and limits hold alike for all of them.

mod engine;
mod http;
mod mcp;
mod sessions;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::serve::ListenerExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracerag_index::Lake;

use crate::access::{Gate, GateOptions, Limits};
use crate::error::Result;
use crate::session::SessionOptions;
use engine::Engine;
use http::{App, Origins};
pub use mcp::{ProtectedResource, serve_stdio};
use sessions::Sessions;

/// How long answers that are under way may take when the server stops.
const GRACE: Duration = Duration::from_secs(10);
/// How long connections may take to end after that.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// Certificate and key, both PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate, and those between it and its root.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// How a server is run.
#[derive(Debug)]
pub struct ServerOptions {
    /// Address of HTTP, as `127.0.0.1:8080`.
    pub http: String,
    /// With it HTTP is HTTPS.
    pub tls: Option<TlsFiles>,
    /// Whether clients reach the server over TLS all the same, through a proxy that speaks it.
    pub is_behind_tls: bool,
    /// Who comes in, and how much each may have.
    pub gate: GateOptions,
    /// How sessions are made; tenant and limits are those of each caller.
    pub session: SessionOptions,
    /// Where pages may be from that ask in a browser, besides this server: `https://wiki.example.com`.
    pub origins: Vec<String>,
    /// Who gives the tokens, for agents that can log in by OAuth.
    pub oauth: Option<ProtectedResource>,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is no address, or is taken.
    #[error("cannot listen on {address}: {source}; change serve.http")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// Tokens would cross the network in clear.
    #[error(
        "{address} is reached from other machines, and tokens would cross the network in clear; set serve.tls_certificate and serve.tls_key, or serve.behind_tls = true where a proxy in front speaks TLS"
    )]
    InClear {
        /// The address.
        address: String,
    },
    /// Certificate or key cannot be used.
    #[error("cannot use {}: {reason}; see serve.tls_certificate and serve.tls_key", .file.display())]
    Tls {
        /// The file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// The threads for queries did not start.
    #[error("cannot start the threads for queries: {0}")]
    Threads(std::io::Error),
    /// What comes on standard input is not what an MCP client sends.
    #[error("standard input does not speak MCP: {0}; this command is for agents to start, docs/agents.md says how")]
    Client(String),
}

/// A server that answers.
#[derive(Debug)]
pub struct Server {
    app: App,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    cut: watch::Sender<bool>,
    http: JoinHandle<std::io::Result<()>>,
}

impl Server {
    /// Starts to answer.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn start(lake: Lake, options: ServerOptions) -> std::result::Result<Self, ServeError> {
        let is_open = options.gate.tokens_file.is_none();
        let listener = listen(&options.http, is_open).await?;
        let listen_error = |source| ServeError::Listen { address: options.http.clone(), source };
        let address = listener.local_addr().map_err(listen_error)?;
        if !address.ip().is_loopback() && options.tls.is_none() && !options.is_behind_tls {
            return Err(ServeError::InClear { address: address.to_string() });
        }
        let tls = options.tls.as_ref().map(tls::Acceptor::new).transpose()?;
        let template = template(options.session, &options.gate.limits);
        let (stop, mut stopped) = watch::channel(false);
        let (cut, is_cut) = watch::channel(false);
        let app = App::new(
            Gate::open(lake.clone(), options.gate),
            Sessions::new(lake, template),
            Engine::start().map_err(ServeError::Threads)?,
            Origins::new(options.origins, is_open),
            stopped.clone(),
            is_cut,
        );
        let router = http::router(app.clone(), mcp::routes(app.clone(), options.oauth));
        let until = async move {
            // A sender that is gone has stopped, too.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        let http = match tls {
            None => {
                let listener = listener.tap_io(|stream| without_delay(stream));
                tokio::spawn(axum::serve(listener, router).with_graceful_shutdown(until).into_future())
            }
            Some(tls) => {
                let listener = tls::TlsListener::new(listener, tls);
                tokio::spawn(axum::serve(listener, router).with_graceful_shutdown(until).into_future())
            }
        };
        Ok(Self { app, address, stop, cut, http })
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether everybody comes in who reaches it.
    pub fn is_open(&self) -> bool {
        self.app.gate().is_open()
    }

    /// That the newest head can be read.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn look(&self) -> Result<()> {
        self.app.sessions().look().await
    }

    /// Takes no more requests, lets answers that are under way end for 10 s, breaks the others off, and writes `audit`
    /// to its end.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        if tokio::time::timeout(GRACE, &mut self.http).await.is_err() {
            let _ = self.cut.send(true);
            if tokio::time::timeout(CLOSE_WITHIN, &mut self.http).await.is_err() {
                tracing::warn!("connections were still open");
            }
        }
        self.app.gate().close().await;
    }
}

/// How sessions are made: each within the limits of a query.
fn template(session: SessionOptions, limits: &Limits) -> SessionOptions {
    SessionOptions { memory_limit: limits.memory, time_limit: limits.time, ..session }
}

/// Listens on an address; where nobody needs a token, on this machine only.
async fn listen(address: &str, is_open: bool) -> std::result::Result<TcpListener, ServeError> {
    let failed = |source| ServeError::Listen { address: address.to_owned(), source };
    let found: Vec<SocketAddr> = tokio::net::lookup_host(address).await.map_err(failed)?.collect();
    let Some(given) = found.first() else {
        return Err(failed(std::io::Error::other("the name has no address")));
    };
    if is_open && !given.ip().is_loopback() {
        let loopback = match given {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        let instead = SocketAddr::new(loopback, given.port());
        tracing::warn!(
            %address, listening = %instead,
            "no tokens are configured, so this machine alone is answered; set serve.tokens_file and make a token with \
             `tracerag token create`"
        );
        return TcpListener::bind(instead).await.map_err(failed);
    }
    TcpListener::bind(found.as_slice()).await.map_err(failed)
}

/// Small pieces of an answer leave at once.
fn without_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps its delay");
    }
}

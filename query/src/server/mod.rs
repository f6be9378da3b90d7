//! `tracerag serve`: the lake for others, over HTTP with a page for people, MCP, Arrow Flight SQL and PostgreSQL's
//! protocol, and as Jaeger and as Tempo for the tools that show traces.
//!
//! - **In:** a [`Lake`] that a worker may be writing, and [`ServerOptions`].
//! - **Out:** answers, each on the newest head and on one head throughout; a row in `audit` for each.
//!
//! Beside these stands `exchange`, by which the servers of a lake compute parts of each other's queries.
//!
//! Every interface asks the same [`Gate`] who somebody is and takes its sessions from the same place, so tenants, scopes
//! and limits hold alike for all of them.

mod app;
mod bearer;
mod bundles;
mod changes;
mod connections;
mod cursor;
mod engine;
mod exchange;
mod fixes;
mod flight;
mod http;
mod jaeger;
mod mcp;
mod meter;
mod page;
mod patient;
mod postgres;
mod problem;
mod sessions;
mod tempo;
mod terms;
mod tls;
mod traces;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracerag_index::Lake;

use crate::access::{Gate, GateOptions, Limits};
use crate::error::{QueryError, Result};
use crate::peers::{Peers, WorkLimits};
pub use crate::peers::{PeersError, PeersOptions};
use crate::session::SessionOptions;
use app::App;
pub use changes::{ChangeIntake, ChangeRefusal, Delivery, Taken};
use engine::Engine;
use http::Origins;
pub use mcp::{ProtectedResource, Toolbox, serve_stdio};
use sessions::Sessions;

/// Bytes of a request's body; in protocols of messages, of one.
const MOST_BYTES: usize = 2 << 20;
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
    /// Address of Flight SQL; empty: it is not served.
    pub flight_sql: String,
    /// Address of PostgreSQL's protocol; empty: it is not spoken.
    pub postgres: String,
    /// Address at which other servers of the lake have parts of their queries computed; empty: this one computes none for
    /// them.
    pub exchange: String,
    /// Bytes that all such parts may hold at once.
    pub exchange_memory: usize,
    /// The servers that parts of large queries are computed by; without them all is computed here.
    pub peers: Option<PeersOptions>,
    /// With it every address speaks TLS.
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
    /// What takes changes of flags and deployments; without it they are refused.
    pub changes: Option<Arc<dyn ChangeIntake>>,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is no address, or is taken.
    #[error("cannot listen on {address}: {source}; change serve.{key}")]
    Listen {
        /// The key of the section that names the address.
        key: &'static str,
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
    /// The other servers of the lake cannot be asked.
    #[error(transparent)]
    Peers(#[from] PeersError),
    /// What the servers of a lake know each other by cannot be had.
    #[error("cannot read the secret that the servers of this lake share: {0}")]
    Secret(Box<QueryError>),
    /// The memory for work of other servers cannot be set up.
    #[error("cannot compute for other servers: {0}")]
    Exchange(Box<QueryError>),
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
    flight_sql: Option<SocketAddr>,
    postgres: Option<SocketAddr>,
    exchange: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    cut: watch::Sender<bool>,
    /// What answers; each ends when the server stops.
    interfaces: JoinSet<()>,
}

impl Server {
    /// Starts to answer.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn start(lake: Lake, options: ServerOptions) -> std::result::Result<Self, ServeError> {
        let is_open = options.gate.is_open();
        let is_secret = options.tls.is_some() || options.is_behind_tls;
        let (listener, address) = listen("http", &options.http, is_open, is_secret).await?;
        let flight_sql = listen_if_named("flight_sql", &options.flight_sql, is_open, is_secret).await?;
        let postgres = listen_if_named("postgres", &options.postgres, is_open, is_secret).await?;
        let exchange = match &options.peers {
            Some(_) => listen_if_named("exchange", &options.exchange, is_open, is_secret).await?,
            None => None,
        };
        let tls = |protocol| options.tls.as_ref().map(|files| tls::Acceptor::new(files, protocol)).transpose();
        let (http_tls, flight_tls, postgres_tls) = (tls("http/1.1")?, tls("h2")?, tls("postgresql")?);
        let exchange_tls = tls("h2")?;
        let limits = &options.gate.limits;
        let work = WorkLimits { memory: options.exchange_memory, query_memory: limits.memory, time: limits.time };
        let mut template = template(options.session, &options.gate.limits);
        let mut known = None;
        if let Some(peers) = &options.peers {
            let key = exchange::key(&lake).await?;
            let peers = Arc::new(Peers::new(lake.clone(), peers, &key)?);
            template.peers = Some(Arc::clone(&peers));
            known = Some((peers, key));
        }
        let (stop, stopped) = watch::channel(false);
        let (cut, is_cut) = watch::channel(false);
        let app = App::new(
            Gate::open(lake.clone(), options.gate),
            Sessions::new(lake, template),
            Engine::start().map_err(ServeError::Threads)?,
            Origins::new(options.origins, is_open),
            stopped.clone(),
            is_cut,
        )
        .with_changes(options.changes);
        let mut interfaces = JoinSet::new();
        let others = page::routes().merge(mcp::routes(app.clone(), options.oauth));
        let router = http::router(app.clone(), others);
        match http_tls {
            None => {
                let listener = listener.tap_io(|stream| without_delay(stream));
                interfaces.spawn(connections::serve(listener, router, stopped.clone()));
            }
            Some(tls) => {
                let listener = tls::TlsListener::new(listener, tls);
                interfaces.spawn(connections::serve(listener, router, stopped.clone()));
            }
        }
        let flight_address = flight_sql.as_ref().map(|(_, address)| *address);
        match (flight_sql, flight_tls) {
            (None, _) => {}
            (Some((listener, _)), None) => {
                let listener = listener.tap_io(|stream| without_delay(stream));
                interfaces.spawn(flight::serve(app.clone(), listener, stopped.clone()));
            }
            (Some((listener, _)), Some(tls)) => {
                let listener = tls::TlsListener::new(listener, tls);
                interfaces.spawn(flight::serve(app.clone(), listener, stopped.clone()));
            }
        }
        let postgres_address = postgres.as_ref().map(|(_, address)| *address);
        if let Some((listener, _)) = postgres {
            let tls = postgres_tls.map(tls::Acceptor::into_inner);
            interfaces.spawn(postgres::serve(listener, tls, app.clone(), stopped.clone()));
        }
        let mut exchange_address = None;
        if let (Some((listener, address)), Some((peers, key))) = (exchange, known) {
            exchange_address = Some(address);
            let router = exchange::router(peers, key, work)?;
            // What is computed for others is computed by the threads for queries, as is what is asked here. Their connections
            // are not there: a step may hold a thread for seconds, and a peer that says nothing for as long is taken for gone.
            let threads = app.engine().handle().clone();
            match exchange_tls {
                None => {
                    let listener = listener.tap_io(|stream| without_delay(stream));
                    interfaces.spawn(exchange::serve(listener, router, work, threads, stopped.clone()));
                }
                Some(tls) => {
                    let listener = tls::TlsListener::new(listener, tls);
                    interfaces.spawn(exchange::serve(listener, router, work, threads, stopped.clone()));
                }
            }
        }
        Ok(Self {
            app,
            address,
            flight_sql: flight_address,
            postgres: postgres_address,
            exchange: exchange_address,
            stop,
            cut,
            interfaces,
        })
    }

    /// Where it answers HTTP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it answers Flight SQL, if it does.
    pub fn flight_sql_address(&self) -> Option<SocketAddr> {
        self.flight_sql
    }

    /// Where it speaks PostgreSQL's protocol, if it does.
    pub fn postgres_address(&self) -> Option<SocketAddr> {
        self.postgres
    }

    /// Where it computes for other servers of the lake, if it does.
    pub fn exchange_address(&self) -> Option<SocketAddr> {
        self.exchange
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
        if tokio::time::timeout(GRACE, all(&mut self.interfaces)).await.is_err() {
            let _ = self.cut.send(true);
            if tokio::time::timeout(CLOSE_WITHIN, all(&mut self.interfaces)).await.is_err() {
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

/// Waits until all have ended.
async fn all(interfaces: &mut JoinSet<()>) {
    while interfaces.join_next().await.is_some() {}
}

/// Listens on the address that a key of the section names; where nobody needs a token, on this machine only. Gives the
/// address that it became, too. `is_secret` says that what is sent cannot be read on its way.
async fn listen(
    key: &'static str,
    address: &str,
    is_open: bool,
    is_secret: bool,
) -> std::result::Result<(TcpListener, SocketAddr), ServeError> {
    let failed = |source| ServeError::Listen { key, address: address.to_owned(), source };
    let found: Vec<SocketAddr> = tokio::net::lookup_host(address).await.map_err(failed)?.collect();
    let Some(given) = found.first() else {
        return Err(failed(std::io::Error::other("the name has no address")));
    };
    // A name may have several addresses, of which any may be the one that is taken.
    let listener = if is_open && !found.iter().all(|address| address.ip().is_loopback()) {
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
        TcpListener::bind(instead).await.map_err(failed)?
    } else {
        TcpListener::bind(found.as_slice()).await.map_err(failed)?
    };
    let address = listener.local_addr().map_err(failed)?;
    if !address.ip().is_loopback() && !is_secret {
        return Err(ServeError::InClear { address: address.to_string() });
    }
    Ok((listener, address))
}

/// The same for an interface that an empty address turns off.
async fn listen_if_named(
    key: &'static str,
    address: &str,
    is_open: bool,
    is_secret: bool,
) -> std::result::Result<Option<(TcpListener, SocketAddr)>, ServeError> {
    match address {
        "" => Ok(None),
        address => listen(key, address, is_open, is_secret).await.map(Some),
    }
}

/// Small pieces of an answer leave at once.
fn without_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps its delay");
    }
}

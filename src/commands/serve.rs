//! `tracerag serve`: answers others until a signal.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Args;
use tracerag_index::Lake;
use tracerag_ingest::IngestError;
use tracerag_ingest::redact::{RedactionCounts, Redactor};
use tracerag_query::SessionOptions;
use tracerag_query::access::{GateOptions, IssuerOptions, Limits, Mask};
use tracerag_query::server::{PeersOptions, ProtectedResource, Server, ServerOptions, TlsFiles};

use crate::changes::intake::Intake;
use crate::cli::Context;
use crate::config::Config;
use crate::error::Error;
use crate::telemetry::Readiness;

/// How soon a signal is noticed.
const STOP_WITHIN: Duration = Duration::from_millis(100);
/// How often it is looked whether the newest head can be read.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long such a look may take.
const LOOK_WITHIN: Duration = Duration::from_secs(5);

/// How long a bundle waits, once it is there, for what tells its trace from good ones: it is to come at once.
const COMPARES_WITHIN: Duration = Duration::from_millis(5);

/// Options of `serve`: all others are in the section `[serve]` of the configuration.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Servers of the lake that compute parts of large queries, by the addresses of their `serve.exchange`; this one may
    /// be among them. In place of `serve.peers`
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    peers: Vec<String>,
}

/// Serves the lake until SIGINT or SIGTERM.
pub(crate) async fn run(context: Context, args: ServeArgs) -> Result<(), Error> {
    let mut config = context.config;
    if !args.peers.is_empty() {
        config.serve.peers = args.peers;
        config.check()?;
    }
    serve(&config, |_| ()).await
}

/// The same; `answering` is told the address.
pub(super) async fn serve(config: &Config, answering: impl FnOnce(&str)) -> Result<(), Error> {
    config.require(&["lake", "embedding", "serve", "tenant", "metrics", "redaction.deny_patterns"])?;
    config.check_exchange()?;
    let (readiness, stop) = super::run::attend(config).await?;
    let lake = Lake::open_to_ask(config.lake.options()).await?;
    let server = Server::start(lake, options(config)?).await?;
    let scheme = if config.serve.tls_certificate.is_empty() { "http" } else { "https" };
    let address = format!("{scheme}://{}", server.address());
    let to = if server.is_open() { "this machine only, for no tokens are configured" } else { "who has a token" };
    let flight_sql = server.flight_sql_address().map(tracing::field::display);
    let postgres = server.postgres_address().map(tracing::field::display);
    let exchange = server.exchange_address().map(tracing::field::display);
    tracing::info!(address, flight_sql, postgres, exchange, to, "answering");
    answering(&address);
    while !stop.load(Ordering::Relaxed) {
        tell(&server, &readiness).await;
        let again = Instant::now() + LOOK_EVERY;
        while Instant::now() < again && !stop.load(Ordering::Relaxed) {
            tokio::time::sleep(STOP_WITHIN).await;
        }
    }
    server.stop().await;
    tracing::info!("stopped");
    Ok(())
}

/// Tells `/readyz` whether the newest head can be read.
async fn tell(server: &Server, readiness: &Readiness) {
    let fault = match tokio::time::timeout(LOOK_WITHIN, server.look()).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(format!("the newest head cannot be read: {error}\n")),
        Err(_) => Some(String::from("the newest head is not read within 5 s\n")),
    };
    if let Some(reason) = &fault {
        tracing::warn!(reason = reason.trim_end(), "not ready");
    }
    readiness.set_assigned(true);
    readiness.landed_with(LOOK_EVERY + LOOK_WITHIN);
    readiness.set_fault(fault);
}

/// How a server of this configuration is run.
pub(super) fn options(config: &Config) -> Result<ServerOptions, Error> {
    let serve = &config.serve;
    // What is computed for other servers has half of the memory, where that is done.
    let exchange_memory = if serve.exchange.is_empty() { 0 } else { config.memory_limit.0.0 / 2 };
    let limits = Limits {
        memory: serve.query_memory.0,
        time: serve.query_time.0,
        rows: serve.query_rows,
        bytes: serve.query_bytes.0 as u64,
        queries: ((config.memory_limit.0.0 - exchange_memory) / serve.query_memory.0).max(1),
        queries_per_tenant: serve.queries_per_tenant,
        waiting_per_tenant: serve.waiting_per_tenant,
        wait: serve.waiting_time.0,
    };
    let file = |path: &str| (!path.is_empty()).then(|| PathBuf::from(path));
    let tls = file(&serve.tls_certificate).zip(file(&serve.tls_key));
    let mut origins = serve.allowed_origins.clone();
    let oauth = (!serve.oauth_issuer.is_empty())
        .then(|| ProtectedResource { issuer: serve.oauth_issuer.clone(), public_url: serve.public_url.clone() });
    let issuer = oauth.as_ref().map(|resource| IssuerOptions {
        issuer: resource.issuer.clone(),
        audiences: vec![match serve.oauth_audience.as_str() {
            "" => resource.resource(),
            audience => audience.to_owned(),
        }],
        tenant_claim: serve.oauth_tenant_claim.clone(),
    });
    origins.extend(Some(&serve.public_url).filter(|url| !url.is_empty()).cloned());
    Ok(ServerOptions {
        http: serve.http.clone(),
        flight_sql: serve.flight_sql.clone(),
        postgres: serve.postgres.clone(),
        exchange: serve.exchange.clone(),
        exchange_memory,
        peers: (!serve.peers.is_empty()).then(|| PeersOptions {
            urls: serve.peers.clone(),
            certificates: file(&serve.peers_certificates),
            from_rows: serve.peers_from_rows,
        }),
        tls: tls.map(|(certificate, key)| TlsFiles { certificate, key }),
        is_behind_tls: serve.behind_tls,
        gate: GateOptions {
            tokens_file: file(&serve.tokens_file),
            issuer,
            tenant: config.tenant.default.clone(),
            limits,
            mask: mask(config)?,
        },
        session: SessionOptions {
            compares_within: Some(COMPARES_WITHIN),
            ..super::session_options(config, &config.tenant.default)
        },
        origins,
        oauth,
        changes: Some(Arc::new(Intake::new(config, redactor(config)?))),
    })
}

/// What masks the texts that clients send, by the rules that hold for telemetry. It makes no tokens of identifiers, so
/// any key will do, and a server needs none of its own.
pub(super) fn mask(config: &Config) -> Result<Mask, Error> {
    let redactor = redactor(config)?;
    Ok(Arc::new(move |text: &str| redactor.redact_text(text, &mut RedactionCounts::default()).into_owned()))
}

/// A redactor for texts whose tokens nobody looks up.
pub(super) fn redactor(config: &Config) -> Result<Arc<Redactor>, Error> {
    let mut redaction = config.redaction.clone();
    redaction.key = hex::encode(rand::random::<[u8; 32]>());
    redaction.previous_keys.clear();
    Ok(Arc::new(Redactor::new(&redaction, &config.payload).map_err(IngestError::from)?))
}

//! The PostgreSQL interface, for psql, drivers of PostgreSQL, and the tools that use them.
//!
//! pgwire speaks the protocol, datafusion-pg-catalog knows the catalog that tools read and how their statements have to
//! be rewritten for DataFusion, and arrow-pg encodes values. Ours is what gate and limits demand: what is read is bounded
//! (`socket`, `stream`), who somebody is (`startup`), that each statement is a visit with a turn and a session on the
//! newest head (`query`), that answers are sent while they are computed, within their limits (`answer`), in types that
//! the protocol has (`shown`), and that a client that is gone, idles or does not read holds none of it without end
//! (`socket`, `stream`). Where DataFusion lacks what tools of PostgreSQL say, their statements are rewritten (`rewrite`).

mod answer;
mod arrays;
mod catalog;
mod collation;
mod computed;
mod connection;
mod constants;
mod cursor;
mod door;
mod execute;
mod failure;
mod prepare;
mod query;
mod rewrite;
mod settings;
mod shown;
mod socket;
mod startup;
mod statement;
mod stream;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use pgwire::api::{ConnectionManager, RandomPidSecretKeyGenerator};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::app::App;
use catalog::Catalogs;
use door::{Door, LetIn};

/// What `audit` calls this interface.
const INTERFACE: &str = "postgres";
/// Connections of clients that were let in, of all tenants: each keeps what it prepared, and a pool of a tool has a few.
const MOST_CONNECTIONS: usize = 256;
/// Pause after a connection could not be accepted: there are no file descriptors left.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What every connection has; clones share it.
#[derive(Clone)]
struct Service {
    inner: Arc<Inner>,
}

struct Inner {
    app: App,
    /// Whether who does not speak TLS is sent away, before a password is asked for.
    needs_tls: bool,
    connections: Arc<ConnectionManager>,
    places: Arc<Semaphore>,
    keys: RandomPidSecretKeyGenerator,
    parser: PostgresCompatibilityParser,
    catalogs: Catalogs,
}

impl Service {
    fn new(app: App, needs_tls: bool) -> Self {
        Self {
            inner: Arc::new(Inner {
                app,
                needs_tls,
                connections: Arc::new(ConnectionManager::new()),
                places: Arc::new(Semaphore::new(MOST_CONNECTIONS)),
                keys: RandomPidSecretKeyGenerator::default(),
                parser: PostgresCompatibilityParser::new(),
                catalogs: Catalogs::default(),
            }),
        }
    }
}

/// Answers connections until the server stops: then answers that are under way come to their end or are cut, and
/// connections that wait for a statement are closed.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    app: App,
    mut stopped: watch::Receiver<bool>,
) {
    let service = Service::new(app, tls.is_some());
    let mut connections = JoinSet::new();
    let mut door = Door::default();
    loop {
        let stop = async {
            // A sender that is gone has stopped, too.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        let accepted = tokio::select! {
            biased;
            () = stop => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let let_in = LetIn::default();
                let speaking = socket::speak(service.clone(), stream, tls.clone(), let_in.clone(), stopped.clone());
                let task = connections.spawn(async move {
                    if let Err(error) = speaking.await {
                        tracing::debug!(%address, %error, "a connection of PostgreSQL failed");
                    }
                });
                door.come(let_in, task);
            }
            Err(error) => {
                tracing::warn!(%error, "a connection of PostgreSQL could not be accepted");
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
    }
    drop(listener);
    // Each ends when the answer that is under way has ended, or was cut.
    while connections.join_next().await.is_some() {}
}

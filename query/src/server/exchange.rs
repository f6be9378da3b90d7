//! The door for the other servers of the lake, which have parts of their large queries computed here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use futures::FutureExt as _;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tracerag_index::Lake;

use super::sessions::in_time;
use super::{ServeError, connections};
use crate::peers::{Key, Peers, WorkLimits, service};

/// How much longer than a query a request may take, which is there before the query runs and after it.
const BEYOND: Duration = Duration::from_secs(30);

/// What the servers of a lake know each other by.
pub(super) async fn key(lake: &Lake) -> Result<Key, ServeError> {
    in_time(Key::of(lake).boxed()).await.map_err(|error| ServeError::Secret(Box::new(error)))
}

/// The service.
pub(super) fn router(peers: Arc<Peers>, key: Key, work: WorkLimits) -> Result<Router, ServeError> {
    let runtime = work.runtime().map_err(|error| ServeError::Exchange(Box::new(error)))?;
    Ok(service(peers, key, work, runtime))
}

/// Answers on a listener until it is told to stop, and what is under way then. What is asked is computed on the threads that
/// are given; the connections live on those that this runs on.
pub(super) async fn serve<L>(
    listener: L,
    router: Router,
    work: WorkLimits,
    threads: Handle,
    stopped: watch::Receiver<bool>,
) where
    L: Listener<Addr = SocketAddr>,
{
    connections::serve_peers(listener, router, work.time + BEYOND, threads, stopped).await;
}

#[cfg(test)]
mod tests;

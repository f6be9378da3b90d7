//! MCP over standard input and output, for an agent that starts the program: one client, the tenant of the
//! configuration, and no token, for whoever starts it can read the lake anyhow.

use rmcp::ServiceExt as _;
use rmcp::service::ServerInitializeError;
use rmcp::transport::stdio;
use tokio::sync::watch;
use tracerag_index::Lake;

use super::Handler;
use super::toolbox::local;
use crate::server::{ServeError, ServerOptions};

/// Answers one client until it closes standard input, or `stopped` is done, and writes `audit` to its end. Of the
/// options, those of HTTP are of no account.
///
/// # Errors
/// [`ServeError::Threads`], and [`ServeError::Client`] for a client that does not speak the protocol.
pub async fn serve_stdio(
    lake: Lake,
    options: ServerOptions,
    stopped: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let (_stop, stopping) = watch::channel(false);
    let (_cut, is_cut) = watch::channel(false);
    let app = local(lake, options, stopping, is_cut)?;
    let ended = tokio::select! {
        ended = answer(Handler::new(app.clone())) => ended,
        () = stopped => Ok(()),
    };
    app.gate().close().await;
    ended
}

async fn answer(handler: Handler) -> Result<(), ServeError> {
    match handler.serve(stdio()).await {
        Ok(running) => {
            if let Err(error) = running.waiting().await {
                tracing::error!(%error, "answering failed");
            }
            Ok(())
        }
        // It went before it asked for anything.
        Err(ServerInitializeError::ConnectionClosed(_) | ServerInitializeError::Cancelled) => Ok(()),
        Err(error) => Err(ServeError::Client(error.to_string())),
    }
}

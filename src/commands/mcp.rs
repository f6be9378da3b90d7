//! `tracerag mcp`: the tools of agents over standard input and output, for an agent that starts programs.

mod relay;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use tracerag_index::Lake;
use tracerag_query::server::serve_stdio;

use crate::cli::Context;
use crate::error::Error;

/// How soon a signal is noticed.
const STOP_WITHIN: Duration = Duration::from_millis(100);

/// Options of `mcp`: there are none, a lake or a server is named as for every command.
#[derive(Debug, Args)]
pub(crate) struct McpArgs {}

/// Answers the agent that started this program, until it closes standard input or a signal comes.
pub(crate) async fn run(context: Context, _: McpArgs) -> Result<(), Error> {
    let stop = Arc::new(AtomicBool::new(false));
    super::run::stop_on_signal(Arc::clone(&stop))?;
    let stopped = async move {
        while !stop.load(Ordering::Relaxed) {
            tokio::time::sleep(STOP_WITHIN).await;
        }
    };
    if let Some(server) = context.server {
        return relay::run(server, stopped).await;
    }
    let config = &context.config;
    config.require(&["lake", "embedding", "serve", "tenant", "redaction.deny_patterns"])?;
    let lake = Lake::open_to_ask(config.lake.options()).await?;
    Ok(serve_stdio(lake, super::serve::options(config)?, stopped).await?)
}

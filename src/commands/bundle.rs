//! `tracerag bundle`: the evidence of one trace, stored and printed.

use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use tracerag_query::{Session, bundle};
use tracerag_schemas::bundle::Bundle;

use crate::cli::Context;
use crate::error::Error;
use crate::output;
use crate::server::Server;

/// Tokens of a Markdown view, about four bytes each: what most agents accept as one result.
const MARKDOWN_TOKENS: usize = 8_000;

/// Options of `bundle`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct BundleArgs {
    #[command(subcommand)]
    action: Option<Action>,
    /// How the bundle is printed
    #[arg(long, value_enum, default_value_t = BundleFormat::Json)]
    format: BundleFormat,
    /// A trace id, or the id of a bundle that was handed out (sha256:...)
    #[arg(value_name = "TRACE_ID|BUNDLE_ID", required = true)]
    id: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Keep a bundle beyond the retention of bundles
    Pin {
        /// sha256:...
        bundle_id: String,
    },
    /// Erase the content of a stored bundle, on request; its id answers from then on that it was erased. It needs the lake:
    /// a server (--server) erases nothing
    Erase {
        /// sha256:...
        bundle_id: String,
    },
    /// Let a bundle go with the retention of bundles, counted from now
    Unpin {
        /// sha256:...
        bundle_id: String,
    },
}

/// Formats of `bundle`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BundleFormat {
    /// The whole bundle
    Json,
    /// A view for people and models: the failing path first
    Markdown,
}

/// Prints the bundle of a trace, and stores what it hands out.
pub(crate) async fn run(context: Context, args: BundleArgs) -> Result<(), Error> {
    if let Some(server) = &context.server {
        return ask(server, args).await;
    }
    let session = super::session(&context).await?;
    match (args.action, args.id) {
        (Some(Action::Pin { bundle_id }), _) => pin(&session, &bundle_id, true).await,
        (Some(Action::Unpin { bundle_id }), _) => pin(&session, &bundle_id, false).await,
        (Some(Action::Erase { bundle_id }), _) => {
            bundle::erase(&session, &bundle_id).await?;
            output::note(&format!("{bundle_id} is erased; the rows of its trace go with their retention"));
            Ok(())
        }
        (None, Some(id)) => {
            let bundle = bundle::hand_out(&session, &id).await?;
            let bundle = signed(&context, bundle)?;
            match args.format {
                BundleFormat::Json => {
                    let text = serde_json::to_string_pretty(&bundle).map_err(tracerag_query::QueryError::from)?;
                    output::data(&format!("{text}\n"))
                }
                BundleFormat::Markdown => output::data(&bundle::markdown::view(&bundle, MARKDOWN_TOKENS)),
            }
        }
        (None, None) => Err(no_id()),
    }
}

/// The bundle with a signature where there is a key. Who may not read the key gets it without one.
fn signed(context: &Context, bundle: Bundle) -> Result<Bundle, Error> {
    if let Err(error) = context.config.require(&["signing"]) {
        output::note(&format!("the bundle is not signed: {error}"));
        return Ok(bundle);
    }
    Ok(match context.config.signing.key()? {
        Some(key) => key.signed(bundle),
        None => bundle,
    })
}

/// Asks a server for the same.
async fn ask(server: &Server, args: BundleArgs) -> Result<(), Error> {
    let (method, bundle_id) = match (args.action, args.id) {
        (Some(Action::Pin { bundle_id }), _) => (Method::POST, bundle_id),
        (Some(Action::Unpin { bundle_id }), _) => (Method::DELETE, bundle_id),
        (Some(Action::Erase { .. }), _) => {
            return Err(Error::Usage(String::from(
                "a server erases nothing; run this command where the lake can be reached",
            )));
        }
        (None, Some(id)) => {
            let path = ["v1", "bundles", id.as_str()];
            return match args.format {
                BundleFormat::Json => {
                    let answer = server.ask(Method::GET, &path, "application/json").await?;
                    output::data(&format!("{:#}\n", server.json(answer).await?))
                }
                BundleFormat::Markdown => {
                    let answer = server.ask(Method::GET, &path, "text/markdown").await?;
                    server.each(answer, output::bytes).await
                }
            };
        }
        (None, None) => return Err(no_id()),
    };
    let pinned = method == Method::POST;
    server.ask(method, &["v1", "bundles", &bundle_id, "pin"], "application/json").await?;
    tell_pinned(&bundle_id, pinned);
    Ok(())
}

fn no_id() -> Error {
    Error::Usage(String::from("give a trace id or a bundle id"))
}

async fn pin(session: &Session, bundle_id: &str, pinned: bool) -> Result<(), Error> {
    bundle::pin(session, bundle_id, pinned).await?;
    tell_pinned(bundle_id, pinned);
    Ok(())
}

fn tell_pinned(bundle_id: &str, pinned: bool) {
    output::note(&format!("{bundle_id} is {}", if pinned { "pinned" } else { "no longer pinned" }));
}

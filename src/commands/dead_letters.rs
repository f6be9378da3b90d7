//! `tracerag dead-letters`: records that could not be read.

mod dump;
mod list;
mod place;
mod replay;
mod show;

use clap::{Args, Subcommand};
use tracerag_query::letters::LETTERS;

use crate::cli::Context;
use crate::error::Error;

/// Options of `dead-letters`.
#[derive(Debug, Args)]
pub(crate) struct DeadLettersArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List letters by reason, topic and partition, and the newest of them
    List(list::ListArgs),
    /// Show all that is kept of one letter. It is not redacted
    Show(show::ShowArgs),
    /// Decode letters again with the configuration as it is now, and write those that are good, each once
    Replay(replay::ReplayArgs),
}

/// Runs one of the three.
pub(crate) async fn run(context: Context, args: DeadLettersArgs) -> Result<(), Error> {
    match args.action {
        Action::List(args) => list::run(context, args).await,
        Action::Show(args) => show::run(context, args).await,
        Action::Replay(args) => replay::run(context, args).await,
    }
}

/// Text as SQL has it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

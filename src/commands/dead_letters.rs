//! `tracerag dead-letters`: records that could not be read.

mod dump;
mod list;
mod place;
mod replay;
mod show;

use clap::{Args, Subcommand};

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

/// All letters with all columns that everybody may read, and when each was replayed: null where it was not.
pub(super) const LETTERS: &str = "\
    select l.*, m.replayed_at from \
    (select d.reason, d.detail, d.size_bytes, d.timestamp as stamp, d.kafka_topic as topic, \
     d.kafka_partition as part, d.kafka_offset as pos, d.ingested_at \
     from dead_letters d where d.reason <> 'replayed') as l \
    left join \
    (select d.size_bytes as of_size, d.timestamp as of_stamp, d.kafka_topic as of_topic, d.kafka_partition as of_part, \
     d.kafka_offset as of_pos, d.ingested_at as replayed_at \
     from dead_letters d where d.reason = 'replayed') as m \
    on l.topic = m.of_topic and l.part = m.of_part and l.pos = m.of_pos and l.size_bytes = m.of_size \
    and l.stamp is not distinct from m.of_stamp";

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

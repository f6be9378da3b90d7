//! `tracerag check`: what was sent is read again and compared with the lake.

use std::path::PathBuf;

use clap::Args;
use tracerag_index::Lake;
use tracerag_ingest::IngestError;
use tracerag_ingest::redact::Redactor;
use tracerag_ingest::source::InitialOffset;

use super::status::StatusFormat;
use crate::check::{Inputs, Range, check};
use crate::cli::Context;
use crate::config::Config;
use crate::error::Error;
use crate::output;

/// Options of `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Files that were replayed, to compare with instead of the topics
    #[arg(value_name = "FILE", conflicts_with_all = ["since", "until", "rekey"])]
    files: Vec<PathBuf>,
    /// Only messages from this time on, by their timestamps: 2026-11-16T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<i64>,
    /// Only messages before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<i64>,
    /// Compare with what was re-keyed: the lake is that of `tracerag run --rekey`
    #[arg(long)]
    rekey: bool,
    /// How it is printed
    #[arg(long, value_enum, default_value_t = StatusFormat::Table)]
    format: StatusFormat,
}

/// An RFC 3339 time as ns since the epoch.
fn time(text: &str) -> Result<i64, String> {
    match InitialOffset::parse(text) {
        Ok(InitialOffset::At(time)) => Ok(time),
        _ => Err(String::from("give an RFC 3339 time such as 2026-11-16T12:00:00Z")),
    }
}

/// Prints what was found. Ends with an error where the lake differs from what was sent.
pub(crate) async fn run(mut context: Context, args: CheckArgs) -> Result<(), Error> {
    if let (Some(since), Some(until)) = (args.since, args.until)
        && since >= until
    {
        return Err(Error::Usage(String::from("there is nothing to check: give a time after --since with --until")));
    }
    let inputs = match args.files.is_empty() {
        true => {
            // Tokens of what came from Kafka have to be those of the worker.
            context.config.require(&[])?;
            if args.rekey {
                context.config.topics = context.config.rekey.behind(&context.config.topics);
            }
            Inputs::Topics(Range { since: args.since, until: args.until })
        }
        false => {
            super::demo_key(&mut context.config)?;
            context.config.require(&["lake", "window", "payload", "tenant"])?;
            Inputs::Files(args.files)
        }
    };
    let lake = Lake::open_to_ask(context.config.lake.options()).await?;
    compare_keys(&context.config, &lake).await?;
    let report = check(&context.config, &lake, inputs).await?;
    match args.format {
        StatusFormat::Table => output::data(&report.text())?,
        StatusFormat::Json => output::data(&format!("{:#}\n", report.json()))?,
    }
    match report.differences() {
        0 => Ok(()),
        differences => Err(Error::Differs { differences }),
    }
}

/// With another key than the lake's every token differs from what is stored, and nothing would be said of the rest.
async fn compare_keys(config: &Config, lake: &Lake) -> Result<(), Error> {
    let redactor = Redactor::new(&config.redaction, &config.payload).map_err(IngestError::from)?;
    match (lake.redaction_keys().await?.pop(), redactor.key_id()) {
        (Some(current), Some(own)) if current.id != own => {
            Err(tracerag_index::Error::OtherKey { current: current.id, own: own.to_owned() }.into())
        }
        _ => Ok(()),
    }
}

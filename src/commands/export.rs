//! `tracerag export`: tables as Parquet files or Delta tables, for other engines.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tracerag_index::Lake;
use tracerag_query::{QueryError, Session, SessionOptions};

use crate::cli::Context;
use crate::error::Error;
use crate::export::{Format, Maps, Options, Times, export};
use crate::output;

/// How long one day of a table may take.
const PATIENCE: Duration = Duration::from_secs(7 * 86_400);

/// Options of `export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// What is written
    #[arg(long, value_enum, default_value_t = Format::Parquet)]
    format: Format,
    /// The folder; an export that is there is brought up to date
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// Tables, separated by commas [default: all that can be exported]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    tables: Vec<String>,
    /// Print what has changed since the export of this position, 0 for everything [default: the last one]
    #[arg(long, value_name = "N")]
    since_position: Option<u64>,
    /// How maps of attributes are written
    #[arg(long, value_enum, default_value_t = Maps::Map)]
    maps: Maps,
    /// How exact times are [default: ns for Parquet, us for Delta]
    #[arg(long, value_enum)]
    times: Option<Times>,
}

/// Exports, and prints what has changed as JSON.
pub(crate) async fn run(context: Context, args: ExportArgs) -> Result<(), Error> {
    let times = match (args.format, args.times) {
        (Format::Parquet, times) => times.unwrap_or(Times::Ns),
        (Format::Delta, None | Some(Times::Us)) => Times::Us,
        (Format::Delta, Some(Times::Ns)) => {
            return Err(Error::Usage(String::from("--times ns: Delta's times are microseconds; leave the option out")));
        }
    };
    context.config.require(&["lake", "embedding"])?;
    let lake = Lake::open_to_ask(context.config.lake.options()).await?;
    let session = SessionOptions { time_limit: PATIENCE, ..super::session_options(&context.config, &context.tenant) };
    let session = Session::open(&lake, session).await?;
    let options = Options {
        format: args.format,
        to: args.to,
        tables: args.tables,
        since_position: args.since_position,
        maps: args.maps,
        times,
    };
    let report = export(&session, &options).await?;
    let text = serde_json::to_string_pretty(&report).map_err(QueryError::from)?;
    output::data(&format!("{text}\n"))
}

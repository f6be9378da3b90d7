//! `tracerag try`: a test and a patch, run at the commit of the build that failed.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tracerag_query::QueryError;

use crate::cli::Context;
use crate::error::Error;
use crate::output;
use crate::repository::Repository;
use crate::trial::{Limits, Open, TryRequest, try_patch};

/// Options of `try`.
#[derive(Debug, Args)]
pub(crate) struct TryArgs {
    /// The bundle that the patch rests on: its id (sha256:...), or a file that `tracerag bundle` printed
    #[arg(long, value_name = "ID|FILE")]
    bundle: String,
    /// The git repository that the service is built from
    #[arg(long, value_name = "PATH", default_value = ".")]
    repo: PathBuf,
    /// The diff that adds the failing test, as `git diff` prints it
    #[arg(long, value_name = "DIFF")]
    test: String,
    /// The diff that mends the failure
    #[arg(long, value_name = "DIFF")]
    patch: String,
    /// A file of the tests, or one by which they are found, that the patch may change all the same, and why
    #[arg(long, value_name = "PATH=REASON", value_parser = super::pair)]
    allow: Vec<(String, String)>,
    /// A command that may mend the patch once: it reads a line of JSON and answers with one
    #[arg(long, value_name = "COMMAND")]
    agent: Option<String>,
    /// The command that runs all tests, at the root of the repository [default: that of the language of the test]
    #[arg(long, value_name = "COMMAND")]
    command: Option<String>,
    /// The service whose build is tried [default: the one that failed first]
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// The commit to try on, where the bundle has none or another; the record says that it was stated
    #[arg(long, value_name = "SHA")]
    commit: Option<String>,
    /// A variable for the tests, which get no others than PATH and where their tools lie
    #[arg(long, value_name = "NAME=VALUE", value_parser = super::pair)]
    env: Vec<(String, String)>,
    /// Leave the tests their network
    #[arg(long)]
    network: bool,
    /// Let the tests write every file that you can; with --network nothing is isolated, for machines that cannot
    #[arg(long)]
    write_files: bool,
    /// How long one run of the tests may take
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    timeout: Duration,
    /// Address space that one process may have
    #[arg(long, value_name = "SIZE", default_value = "8GiB", value_parser = super::bytes)]
    memory: u64,
}

/// Prints the record; an error unless the trial ended green.
pub(crate) async fn run(context: Context, args: TryArgs) -> Result<(), Error> {
    let bundle = super::verify::vouched(&context, &args.bundle).await?;
    let (test, patch) = (super::verify::read(&args.test)?, super::verify::read(&args.patch)?);
    let repository = Repository::open(&args.repo)?;
    let allowed = args.allow.into_iter().collect();
    let request = TryRequest {
        bundle: &bundle,
        repository: &repository,
        commit: args.commit.as_deref(),
        service: args.service.as_deref(),
        test: &test,
        patch: &patch,
        allowed: &allowed,
        agent: args.agent.as_deref(),
        command: args.command.as_deref(),
        variables: &args.env,
        open: Open { network: args.network, files: args.write_files },
        limits: Limits { time: args.timeout, memory: args.memory },
    };
    // Nothing else runs here, so it may block.
    let record = try_patch(&request)?;
    let text = serde_json::to_string_pretty(&record).map_err(QueryError::from)?;
    output::data(&format!("{text}\n"))?;
    if record.holds {
        return Ok(());
    }
    Err(Error::TrialNotGreen { outcome: record.outcome.name(), reason: record.reason })
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| format!("`{text}` is no duration, write e.g. 90s or 10m"))
}

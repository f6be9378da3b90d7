//! `tracerag guard-patch`: whether a patch keeps to what the evidence points to.

use std::path::PathBuf;

use clap::Args;
use tracerag_query::QueryError;
use tracerag_query::untrusted::line;

use super::status::StatusFormat;
use crate::cli::Context;
use crate::error::Error;
use crate::output;
use crate::patch::{Report, Rules, guard};
use crate::repository::{Prefix, Repository};

/// Options of `guard-patch`.
#[derive(Debug, Args)]
pub(crate) struct GuardPatchArgs {
    /// The bundle that the patch rests on: its id (sha256:...), or a file that `tracerag bundle` printed
    #[arg(long, value_name = "ID|FILE")]
    bundle: String,
    /// The patch, as `git diff` prints it; `-` reads it from standard input
    #[arg(long, value_name = "FILE")]
    diff: String,
    /// The git repository that the builds are made from
    #[arg(long, value_name = "PATH", default_value = ".")]
    repo: PathBuf,
    /// A beginning of file names in stacks, and what stands for it in the repository, as in /app/=payments/
    #[arg(long, value_name = "FROM=TO", value_parser = super::prefix)]
    prefix: Vec<Prefix>,
    /// A file that may be changed although no evidence points to it, and why
    #[arg(long, value_name = "PATH=REASON", value_parser = super::pair)]
    allow: Vec<(String, String)>,
    /// Files that it may change
    #[arg(long, value_name = "N", default_value_t = 10)]
    max_files: usize,
    /// Lines that it may add and take away together
    #[arg(long, value_name = "N", default_value_t = 400)]
    max_lines: usize,
    /// How the report is printed
    #[arg(long, value_enum, default_value_t = StatusFormat::Table)]
    format: StatusFormat,
}

/// Prints what comes of each file; an error unless all of it holds.
pub(crate) async fn run(context: Context, args: GuardPatchArgs) -> Result<(), Error> {
    let bundle = super::verify::vouched(&context, &args.bundle).await?;
    let diff = super::verify::read_bytes(&args.diff)?;
    let repository = Repository::open(&args.repo)?;
    let rules =
        Rules { allowed: args.allow.into_iter().collect(), most_files: args.max_files, most_lines: args.max_lines };
    let report = guard(&bundle, &diff, &repository, &args.prefix, &rules)?;
    match args.format {
        StatusFormat::Table => output::data(&table(&report))?,
        StatusFormat::Json => {
            let text = serde_json::to_string_pretty(&report).map_err(QueryError::from)?;
            output::data(&format!("{text}\n"))?;
        }
    }
    if report.holds { Ok(()) } else { Err(Error::PatchRefused) }
}

fn table(report: &Report) -> String {
    let holds = |holds: bool| String::from(if holds { "holds" } else { "refused" });
    let mut rows: Vec<Vec<String>> = Vec::new();
    for file in &report.files {
        let change = format!("{} +{} -{}", file.change, file.added, file.deleted);
        rows.push(vec![line(&file.path), change, file.verdict.shown().to_owned(), line(&file.why)]);
    }
    for lock in &report.lock_files {
        rows.push(vec![lock.file.clone(), format!("lock file of {}", lock.build), holds(lock.holds), lock.why.clone()]);
    }
    for limit in &report.limits {
        let why = format!("{} of {}", limit.value, limit.most);
        rows.push(vec![String::new(), limit.name.clone(), holds(limit.holds), why]);
    }
    let mut text = output::table(&["file", "what", "verdict", "why"], rows, &[]);
    for allowed in report.allowed.iter().filter(|allowed| !allowed.used) {
        text.push_str(&format!("{} is allowed by name and not changed\n", line(&allowed.path)));
    }
    for unclear in &report.unclear {
        text.push_str(&format!("unclear: {unclear}\n"));
    }
    for reason in &report.reasons {
        text.push_str(&format!("{}\n", line(reason)));
    }
    text.push_str(if report.holds { "the patch keeps to the evidence\n" } else { "the patch is refused\n" });
    text
}

//! `tracerag group`: what belongs together although its fingerprints differ, and what does not after all.

use clap::{Args, Subcommand};
use tracerag_query::grouping;

use crate::cli::Context;
use crate::error::Error;
use crate::output;

/// Options of `group`.
#[derive(Debug, Args)]
pub(crate) struct GroupArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Let a fingerprint count for another one, from its first failure on, and print the one that counts
    Merge(MergeArgs),
    /// Let a merged fingerprint count for itself again, and print the one that it counted for
    Split(SplitArgs),
}

/// Options of `group merge`.
#[derive(Debug, Args)]
struct MergeArgs {
    /// The incident that goes into another one
    fingerprint: String,
    /// The incident that stays
    into: String,
    #[command(flatten)]
    why: Why,
}

/// Options of `group split`.
#[derive(Debug, Args)]
struct SplitArgs {
    /// The fingerprint that was merged
    fingerprint: String,
    #[command(flatten)]
    why: Why,
}

/// Who does it, and why.
#[derive(Debug, Args)]
struct Why {
    /// Why; personal data in it is masked
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// Who does it
    #[arg(long, value_name = "NAME", env = "USER", default_value = "local", hide_env_values = true)]
    author: String,
}

/// Adds a rule; `select * from grouping_rules` lists them.
pub(crate) async fn run(context: Context, args: GroupArgs) -> Result<(), Error> {
    context.config.require(&["redaction.deny_patterns"])?;
    let mask = super::serve::mask(&context.config)?;
    let session = super::session(&context).await?;
    let counts = match args.action {
        Action::Merge(MergeArgs { fingerprint, into, why }) => {
            grouping::merge(&session, &why.author, &fingerprint, &into, &mask(&why.reason)).await?
        }
        Action::Split(SplitArgs { fingerprint, why }) => {
            grouping::split(&session, &why.author, &fingerprint, &mask(&why.reason)).await?
        }
    };
    output::data(&format!("{counts}\n"))
}

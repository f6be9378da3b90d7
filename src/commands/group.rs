//! `tracerag group`: what belongs together although its fingerprints differ, and what does not after all.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tracerag_query::QueryError;
use tracerag_query::grouping::{NewGrouping, group, listing};

use super::sql::Asked;
use super::status::StatusFormat;
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
    /// List merges and splits, newest first, and what became of incidents when the rules of fingerprints changed
    List(ListArgs),
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

/// Options of `group list`.
#[derive(Debug, Args)]
struct ListArgs {
    /// Only those about this fingerprint
    #[arg(long)]
    fingerprint: Option<String>,
    /// How they are printed
    #[arg(long, value_enum, default_value_t = StatusFormat::Table)]
    format: StatusFormat,
}

/// Who does it, and why.
#[derive(Debug, Args)]
struct Why {
    /// Why; personal data in it is masked
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// Who does it; a server takes the name of the token
    #[arg(long, value_name = "NAME", env = "USER", default_value = "local", hide_env_values = true)]
    author: String,
}

/// Adds a rule, or lists them.
pub(crate) async fn run(context: Context, args: GroupArgs) -> Result<(), Error> {
    let (grouping, author) = match args.action {
        Action::List(args) => return list(&context, args).await,
        Action::Merge(MergeArgs { fingerprint, into, why }) => {
            (NewGrouping::Merge { fingerprint, into, reason: Some(why.reason) }, why.author)
        }
        Action::Split(SplitArgs { fingerprint, why }) => {
            (NewGrouping::Split { fingerprint, reason: Some(why.reason) }, why.author)
        }
    };
    let counts = match &context.server {
        Some(server) => {
            let request = serde_json::to_value(&grouping).map_err(QueryError::from)?;
            let answer = server.post(&["v1", "groupings"], &request).await?;
            server.json(answer).await?["fingerprint"].as_str().unwrap_or_default().to_owned()
        }
        None => {
            context.config.require(&["redaction.deny_patterns"])?;
            let mask = super::serve::mask(&context.config)?;
            grouping.check()?;
            let session = super::session(&context).await?;
            group(&session, &author, &grouping.masked(|text| mask(text))).await?
        }
    };
    output::data(&format!("{counts}\n"))
}

async fn list(context: &Context, args: ListArgs) -> Result<(), Error> {
    let found = Asked::of(context).rows(&listing(args.fingerprint.as_deref())).await?;
    match args.format {
        StatusFormat::Json => output::data(&format!("{:#}\n", json!(found))),
        StatusFormat::Table if found.is_empty() => {
            output::note("no rule is there; `tracerag group merge` adds one");
            Ok(())
        }
        StatusFormat::Table => {
            let header = ["created at", "action", "fingerprint", "target", "versions", "reason", "author"];
            output::data(&output::table(&header, found.iter().map(row).collect(), &[]))
        }
    }
}

fn row(rule: &Value) -> Vec<String> {
    let text = |name: &str| rule.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let version = |name: &str| rule.get(name).and_then(Value::as_i64);
    let versions = version("from_version").zip(version("to_version"));
    vec![
        text("created_at"),
        text("action"),
        text("fingerprint"),
        text("target"),
        versions.map(|(from, to)| format!("{from} to {to}")).unwrap_or_default(),
        text("reason"),
        text("author"),
    ]
}

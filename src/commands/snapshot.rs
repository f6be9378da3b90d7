//! `tracerag snapshot`: the lake as it is now, under a name, for questions that have to be asked again.

use clap::{Args, Subcommand};
use serde_json::json;
use tracerag_index::{Lake, Pinned};
use tracerag_schemas::time::rfc3339;

use super::status::StatusFormat;
use crate::cli::Context;
use crate::error::Error;
use crate::output;

/// Options of `snapshot`.
#[derive(Debug, Args)]
pub(crate) struct SnapshotArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Hold all tables at the newest position: `--snapshot NAME` reads them so, whatever retention and clean-up do
    Create {
        /// Letters, digits, - and _
        name: String,
    },
    /// List the snapshots
    List {
        /// How they are printed
        #[arg(long, value_enum, default_value_t = StatusFormat::Table)]
        format: StatusFormat,
    },
    /// Let a snapshot go; the next clean-up frees what only it has held
    Drop {
        /// Its name
        name: String,
    },
}

/// Makes, lists or drops.
pub(crate) async fn run(context: Context, args: SnapshotArgs) -> Result<(), Error> {
    context.config.require(&["lake"])?;
    let lake = Lake::open(context.config.lake.options()).await?;
    match args.action {
        Action::Create { name } => {
            let pinned = lake.create_snapshot(&name).await?;
            output::note(&format!("{name} holds the lake at position {}", pinned.head.position));
            Ok(())
        }
        Action::List { format } => list(&lake.snapshots().await?, format),
        Action::Drop { name } => {
            lake.drop_snapshot(&name).await?;
            output::note(&format!("{name} is dropped; the next clean-up frees what only it has held"));
            Ok(())
        }
    }
}

fn list(snapshots: &[Pinned], format: StatusFormat) -> Result<(), Error> {
    match format {
        StatusFormat::Json => {
            let rows: Vec<_> = snapshots
                .iter()
                .map(|one| json!({"name": one.name, "position": one.head.position, "created_at": rfc3339(one.created_at)}))
                .collect();
            output::data(&format!("{:#}\n", json!(rows)))
        }
        StatusFormat::Table if snapshots.is_empty() => {
            output::note("there is no snapshot; `tracerag snapshot create NAME` makes one");
            Ok(())
        }
        StatusFormat::Table => {
            let row = |one: &Pinned| vec![one.name.clone(), one.head.position.to_string(), rfc3339(one.created_at)];
            output::data(&output::table(&["name", "position", "created at"], snapshots.iter().map(row).collect(), &[1]))
        }
    }
}

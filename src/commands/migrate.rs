//! `tracerag migrate`: the lake gets the schema of this release.

use clap::Args;
use tracerag_index::{Lake, Migration};

use crate::cli::Context;
use crate::error::Error;
use crate::output;

/// Options of `migrate`.
#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    /// Print what would be done, and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// Prints what is done: the versions, and the columns that each dataset gets.
pub(crate) async fn run(context: Context, args: MigrateArgs) -> Result<(), Error> {
    let lake = Lake::open(context.config.lake.options()).await?;
    let migration = match args.dry_run {
        true => Migration::plan(&lake).await?,
        false => tracerag_index::migrate(&lake, &super::run::worker_id()).await?,
    };
    output::data(&text(lake.uri(), &migration, args.dry_run))
}

fn text(uri: &str, migration: &Migration, dry_run: bool) -> String {
    let Migration { from, to, columns, older } = migration;
    if migration.is_done() {
        return format!("lake {uri} has schema version {to}, that of this release: nothing to do\n");
    }
    let mut text =
        format!("lake {uri}: schema version {from} {} {to}\n", if dry_run { "would become" } else { "became" });
    for worker in older {
        text.push_str(&format!(
            "not yet: worker {} knows no version beyond {} and wrote {} s ago; replace it by this release\n",
            worker.worker, worker.able, worker.seconds
        ));
    }
    if !columns.is_empty() {
        let rows = columns.iter().map(|(dataset, added)| vec![dataset.clone(), added.join(", ")]).collect();
        text.push_str(&output::table(&["dataset", "new columns, null so far"], rows, &[]));
    }
    text
}

#[cfg(test)]
mod tests {
    use tracerag_index::migrate::OlderWorker;

    use super::*;

    /// A plan names the versions, each dataset with its new columns and the workers that stand in the way; a lake that
    /// has the release's schema is told apart from one that gets it.
    #[test]
    fn a_plan_says_what_would_be_done() {
        let mut migration = Migration {
            from: 1,
            to: 2,
            columns: [(String::from("spans/2026-11-23"), vec![String::from("a"), String::from("b")])].into(),
            older: vec![OlderWorker { worker: String::from("host-7"), able: 1, seconds: 30 }],
        };
        let plan = text("./lake", &migration, true);
        for expected in ["version 1 would become 2", "host-7", "30 s ago", "spans/2026-11-23", "a, b"] {
            assert!(plan.contains(expected), "no {expected:?} in\n{plan}");
        }
        migration.older.clear();
        assert!(text("./lake", &migration, false).contains("version 1 became 2"));
        let done = Migration { from: 2, columns: [].into(), ..migration };
        assert_eq!(text("./lake", &done, true), text("./lake", &done, false));
        assert!(text("./lake", &done, true).contains("nothing to do"));
    }
}

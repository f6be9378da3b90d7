//! Flags and builds that the lake knows: what closing traces are joined with.

use arrow::array::RecordBatch;
use tracerag_index::{Head, Lake, stored};
use tracerag_schemas::Table;

use super::Pipeline;
use crate::error::Error;

/// How far the tables of flags and builds are known.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// Rows that were ever written to each: while these stay, there is nothing to look for.
    rows: [u64; 2],
    /// How far each was read, so that rows which are known are not read again whenever an evaluation of a flag, or a
    /// sighting of a build, was written.
    flags: stored::ReadTo,
    builds: stored::ReadTo,
}

fn rows(head: &Head) -> [u64; 2] {
    [Table::Flags, Table::Builds].map(|table| head.of(table).map(|(_, dataset)| dataset.rows).sum())
}

/// What the lake knows at a head.
pub(super) struct Changes {
    flags: RecordBatch,
    builds: RecordBatch,
    /// How far the tables are known with it.
    seen: Seen,
}

impl Changes {
    pub(super) async fn of(lake: &Lake, head: &Head) -> Result<Self, Error> {
        Self::since(lake, head, &Seen::default()).await
    }

    /// What is there beyond what was seen.
    async fn since(lake: &Lake, head: &Head, seen: &Seen) -> Result<Self, Error> {
        let (flags, flags_to) = stored::changes_since(lake, head, Table::Flags, seen.flags).await?;
        let (builds, builds_to) = stored::changes_since(lake, head, Table::Builds, seen.builds).await?;
        Ok(Self { flags, builds, seen: Seen { rows: rows(head), flags: flags_to, builds: builds_to } })
    }

    /// Rows of `flags`, in the order of the journal.
    pub(super) fn flags(&self) -> &RecordBatch {
        &self.flags
    }
}

impl Pipeline {
    /// Flags and builds that were written hold until something newer is read. What is known already is not taken
    /// twice.
    pub(super) async fn load_changes(&mut self) -> Result<(), Error> {
        let head = self.lake.newest_head().await?;
        let changes = Changes::of(&self.lake, &head).await?;
        self.take_changes(&changes)
    }

    /// Takes in what was read at a head, from its beginning.
    pub(super) fn take_changes(&mut self, changes: &Changes) -> Result<(), Error> {
        let waiting = self.waiting.rows.iter().filter(|(_, table, _)| *table == Table::Flags).map(|(.., rows)| rows);
        self.intake.seed_flags(std::iter::once(&changes.flags).chain(waiting))?;
        self.join_with(changes)
    }

    /// Takes in the flags and builds that other processes have written since they were loaded last: what no topic tells
    /// now, such as letters that were replayed, and builds that other workers saw. What this worker decodes of flags
    /// itself goes on from what it had.
    ///
    /// # Errors
    /// When the lake cannot be read. What was known holds then.
    pub(crate) async fn follow_changes(&mut self) -> Result<(), Error> {
        let head = self.lake.newest_head().await?;
        if rows(&head) == self.changes_seen.rows {
            return Ok(());
        }
        let changes = Changes::since(&self.lake, &head, &self.changes_seen).await?;
        self.join_with(&changes)
    }

    fn join_with(&mut self, changes: &Changes) -> Result<(), Error> {
        self.window.push_flag_events(&changes.flags)?;
        self.window.push_build_events(&changes.builds)?;
        self.changes_seen = changes.seen.clone();
        Ok(())
    }
}

//! Flags and builds that the lake knows: what closing traces are joined with.

use arrow::array::RecordBatch;
use tracerag_index::{Head, Lake, stored};
use tracerag_schemas::Table;

use super::Pipeline;
use crate::error::Error;

/// The state of the tables of flags and builds at a head: how many rows were ever written to each.
pub(super) type Seen = [u64; 2];

fn seen(head: &Head) -> Seen {
    [Table::Flags, Table::Builds].map(|table| head.of(table).map(|(_, dataset)| dataset.rows).sum())
}

/// What the lake knows at a head.
pub(super) struct Changes {
    flags: RecordBatch,
    builds: RecordBatch,
}

impl Changes {
    pub(super) async fn of(lake: &Lake, head: &Head) -> Result<Self, Error> {
        let flags = stored::changes(lake, head, Table::Flags).await?;
        let builds = stored::changes(lake, head, Table::Builds).await?;
        Ok(Self { flags, builds })
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
        self.take_changes(&changes, &head)
    }

    /// Takes in what was read at a head.
    pub(super) fn take_changes(&mut self, changes: &Changes, head: &Head) -> Result<(), Error> {
        let waiting = self.waiting.rows.iter().filter(|(_, table, _)| *table == Table::Flags).map(|(.., rows)| rows);
        self.intake.seed_flags(std::iter::once(&changes.flags).chain(waiting))?;
        self.join_with(changes, head)
    }

    /// Takes in the flags and builds that other processes have written since they were loaded last: what no topic tells
    /// now, such as letters that were replayed, and builds that other workers saw. What this worker decodes of flags
    /// itself goes on from what it had.
    ///
    /// # Errors
    /// When the lake cannot be read. What was known holds then.
    pub(crate) async fn follow_changes(&mut self) -> Result<(), Error> {
        let head = self.lake.newest_head().await?;
        if seen(&head) == self.changes_seen {
            return Ok(());
        }
        let changes = Changes::of(&self.lake, &head).await?;
        self.join_with(&changes, &head)
    }

    fn join_with(&mut self, changes: &Changes, head: &Head) -> Result<(), Error> {
        self.window.push_flag_events(&changes.flags)?;
        self.window.push_build_events(&changes.builds)?;
        self.changes_seen = seen(head);
        Ok(())
    }
}

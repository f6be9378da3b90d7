//! Flags and builds that the lake knows: what closing traces are joined with.

use tracerag_index::{Head, stored};
use tracerag_schemas::Table;

use super::Pipeline;
use crate::error::Error;

/// The state of the tables of flags and builds at a head: how many rows were ever written to each.
pub(super) type Seen = [u64; 2];

fn seen(head: &Head) -> Seen {
    [Table::Flags, Table::Builds].map(|table| head.of(table).map(|(_, dataset)| dataset.rows).sum())
}

impl Pipeline {
    /// Flags and builds that were written hold until something newer is read. What is known already is not taken
    /// twice.
    pub(super) async fn load_changes(&mut self) -> Result<(), Error> {
        let head = self.lake.newest_head().await?;
        let flags = stored::changes(&self.lake, &head, Table::Flags).await?;
        let waiting = self.waiting.rows.iter().filter(|(_, table, _)| *table == Table::Flags).map(|(.., rows)| rows);
        self.intake.seed_flags(std::iter::once(&flags).chain(waiting))?;
        self.window.push_flag_events(&flags)?;
        let builds = stored::changes(&self.lake, &head, Table::Builds).await?;
        self.window.push_build_events(&builds)?;
        self.changes_seen = seen(&head);
        Ok(())
    }

    /// Takes in the flags and builds that other workers have written since they were loaded last. What this worker
    /// decodes of flags itself goes on from what it had.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub(crate) async fn follow_changes(&mut self) -> Result<(), Error> {
        let head = self.lake.newest_head().await?;
        let now = seen(&head);
        if now == self.changes_seen {
            return Ok(());
        }
        self.window.push_flag_events(&stored::changes(&self.lake, &head, Table::Flags).await?)?;
        self.window.push_build_events(&stored::changes(&self.lake, &head, Table::Builds).await?)?;
        self.changes_seen = now;
        Ok(())
    }
}

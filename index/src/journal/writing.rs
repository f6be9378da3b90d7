//! One epoch on its way into the lake, over faults of the store.
//!
//! | what has failed | the next attempt |
//! | --- | --- |
//! | staging | stages again; the files that were written are deleted, or left to the clean-up |
//! | recording, before it landed | records the same files, if they are still there, and else stages again |
//! | recording, after it landed | finds the epoch in the journal by its id, and goes on |
//! | applying | applies what is missing; whoever comes along may have done it |
//!
//! So the epoch is written again and not put together again: what the window remembers as written stays true, and the
//! partitions need no new claim.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracerag_schemas::Table;

use super::{Epoch, Staged, Writer};
use crate::error::Result;

/// An epoch and how far it is.
#[derive(Debug)]
pub struct Writing {
    epoch: Epoch,
    staged: Option<Arc<Staged>>,
    position: Option<u64>,
    stage_millis: u64,
}

/// What writing an epoch came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Position of the epoch in the journal.
    pub position: u64,
    /// Position up to which all tables hold what is recorded: that of the head, at least the epoch's own.
    pub applied: u64,
    /// Rows by table.
    pub rows: BTreeMap<Table, u64>,
    /// Rows left out because retention has dropped their day.
    pub expired: u64,
    /// Milliseconds to write the files.
    pub stage_millis: u64,
    /// Milliseconds to record and to apply, which is what a flush interval must exceed. Of the last attempt, where
    /// there were several.
    pub commit_millis: u64,
}

impl Writing {
    /// An epoch of which nothing is written yet.
    pub fn new(epoch: Epoch) -> Self {
        Self { epoch, staged: None, position: None, stage_millis: 0 }
    }

    /// The position of the epoch once it is recorded, whether or not it is applied.
    pub fn recorded(&self) -> Option<u64> {
        self.position
    }
}

impl Writer {
    /// Stages, records and applies an epoch.
    ///
    /// # Errors
    /// As [`Self::go_on`].
    pub async fn write(&mut self, epoch: Epoch) -> Result<Written> {
        self.go_on(&mut Writing::new(epoch)).await
    }

    /// Writes an epoch, or what an earlier attempt has left of it. Dropping the future is like a failure of the step
    /// that it was at.
    ///
    /// An epoch that is tried for days is to be given up and read again: staged files that no record names are removed
    /// after seven days.
    ///
    /// # Errors
    /// [`crate::Error::is_passing`] says which are worth another call. After any other the epoch never happens, unless it
    /// was recorded, which the next claim shows.
    pub async fn go_on(&mut self, writing: &mut Writing) -> Result<Written> {
        let staged = self.staged(writing).await?;
        let begun = Instant::now();
        let position = match writing.position {
            Some(position) => position,
            None => self.record(&staged).await?,
        };
        writing.position = Some(position);
        // The rows are in files for good.
        writing.epoch = Epoch::default();
        let head = self.apply().await?;
        Ok(Written {
            position,
            applied: head.position,
            rows: staged.rows.clone(),
            expired: staged.expired,
            stage_millis: writing.stage_millis,
            commit_millis: millis(begun.elapsed()),
        })
    }

    async fn staged(&mut self, writing: &mut Writing) -> Result<Arc<Staged>> {
        // What is kept here has seen a fault.
        if let Some(staged) = &writing.staged
            && (writing.position.is_some() || self.can_record(staged).await?)
        {
            return Ok(Arc::clone(staged));
        }
        let begun = Instant::now();
        let staged = Arc::new(self.stage(writing.epoch.clone()).await?);
        writing.stage_millis = millis(begun.elapsed());
        writing.staged = Some(Arc::clone(&staged));
        Ok(staged)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

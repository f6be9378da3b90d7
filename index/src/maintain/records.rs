//! Removing records of the journal that nobody asks about any more.
//!
//! They go by whole fragments, the oldest first, so that a round of upkeep reads no more of the journal than one
//! fragment that stays, however long the journal is, and rewrites nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::MaintainOptions;
use super::clean::nanos;
use crate::error::{At, Result};
use crate::journal::SourceState;
use crate::journal::log::{Columns, JOURNAL, read};
use crate::journal::record::{Closed, Record};
use crate::lake::Lake;

/// Removes the oldest fragments all of whose records are old, are applied, and lie below the offsets that a worker would
/// read again.
pub(super) async fn prune(lake: &Lake, options: &MaintainOptions) -> Result<()> {
    let (_, head) = lake.head().await?;
    let before = options.now.saturating_sub(nanos(options.journal_keep));
    let states: BTreeMap<_, &SourceState> = head.sources.iter().map(|state| (&state.source, state)).collect();
    let is_done = |record: &Record| {
        record.recorded_at < before
            && record.position < head.position
            && record.sources.iter().all(|interval| {
                let low = states.get(&interval.source).and_then(|state| state.low_watermark);
                interval.to.is_none() || low.is_some_and(|low| interval.to.is_some_and(|to| to <= low))
            })
    };
    let journal = lake.newest(JOURNAL).await?;
    let mut done: Vec<Record> = Vec::new();
    // Fragments stand in the order of positions.
    for fragment in journal.fragments().iter() {
        let records = read(&journal, vec![fragment.clone()], Columns::Offsets).await?;
        if !records.iter().all(is_done) {
            break;
        }
        done.extend(records);
    }
    let Some(last) = done.iter().map(|record| record.position).max() else { return Ok(()) };
    let mut pruned = (*journal).clone();
    let deleted = pruned.delete(&format!("position <= {last}")).await.at(JOURNAL, "removing old records")?;
    lake.remember(JOURNAL, Arc::unwrap_or_clone(deleted.new_dataset));
    for record in done {
        if let Closed::File(name) = &record.closed {
            lake.remove_file(JOURNAL, name).await?;
        }
    }
    Ok(())
}

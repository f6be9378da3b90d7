//! Upkeep, in the background of a worker: indices, compaction, retention and clean-up.
//!
//! Readers see none of it happen. Its result is published as a further head of the same position, and
//! versions that a reader may still hold are kept. A failure in one dataset is reported and the next
//! one goes on.

mod bundles;
mod clean;
mod compact;
mod flags;
mod indices;
mod lease;
mod merge;
mod records;
mod retain;
mod sizes;
mod strays;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tracerag_schemas::Table;

pub(crate) use bundles::quoted;
pub(crate) use compact::merge as merge_fragments;
#[cfg(test)]
pub(crate) use flags::Expired as ExpiredFlags;
pub use lease::Lease;
pub use sizes::{Share, shares};

use crate::error::{Error, Result};
use crate::journal::heads::{self, HEADS};
use crate::journal::position::position_of;
use crate::journal::{Head, now};
use crate::lake::{Lake, table_of};

/// How to keep a lake in shape.
#[derive(Debug, Clone)]
pub struct MaintainOptions {
    /// The present, in ns since the epoch; what retention counts back from.
    pub now: i64,
    /// Rows that a fragment should have. Fragments with fewer are merged.
    pub target_rows_per_fragment: usize,
    /// Fragments below the target that a dataset may have before they are merged.
    pub small_fragments: usize,
    /// Rows from which a table that is not kept by day gets indices.
    pub small_table_rows: u64,
    /// Rows outside an index that are always put up with (beside 5 % of all rows), for `index_delay`.
    pub unindexed_rows: u64,
    /// How long rows may stay outside an index.
    pub index_delay: Duration,
    /// Deltas that one index has at most.
    pub index_deltas: usize,
    /// Longest time that a reader may use a head after a newer one was published.
    pub longest_query: Duration,
    /// Versions that nobody needs any more before a dataset is cleaned.
    pub stale_versions: usize,
    /// How long records of the journal stay at least.
    pub journal_keep: Duration,
    /// Whether files are looked for that nothing names: it lists every folder.
    pub looks_for_strays: bool,
    /// How old such a file is at least when it is removed. Longer than any epoch takes to be recorded after its files
    /// were written: a worker gives an epoch up after a day.
    pub stray_after: Duration,
    /// What is dropped when.
    pub retention: Retention,
}

impl Default for MaintainOptions {
    fn default() -> Self {
        Self {
            now: now(),
            target_rows_per_fragment: 100_000,
            small_fragments: 8,
            small_table_rows: 10_000,
            unindexed_rows: 5_000,
            index_delay: Duration::from_secs(30),
            index_deltas: 6,
            longest_query: Duration::from_secs(600),
            stale_versions: 64,
            journal_keep: Duration::from_secs(7 * 86_400),
            looks_for_strays: true,
            stray_after: Duration::from_secs(7 * 86_400),
            retention: Retention::default(),
        }
    }
}

/// How long rows stay, counted by their `ingested_at`, and bundles, counted by their `created_at`.
#[derive(Debug, Clone, Default)]
pub struct Retention {
    /// For tables by day, payloads, heaps and bundles that nobody has pinned; `None` keeps them for ever.
    pub default: Option<Duration>,
    /// For single tables. Changes of flags, builds, incident counts and dead letters are dropped only if named here: what
    /// was in effect long ago is the base of what is in effect now, and dead letters have a time of their own.
    pub tables: BTreeMap<Table, Duration>,
    /// For evaluations of flags, of which each span may bring some. Without it they stay as long as `flags` where that is
    /// named, else as long as spans.
    pub flag_evaluations: Option<Duration>,
    /// Bytes of data and indices that the lake may have, those that only snapshots hold included; beyond them whole days
    /// go, the oldest first. Where tables that are not kept by day and snapshots are beyond it alone, no day goes.
    pub max_bytes: Option<u64>,
}

impl Retention {
    /// How long a table's rows stay; `None`: for ever.
    pub fn of(&self, table: Table) -> Option<Duration> {
        let named = self.tables.get(&table).copied();
        match table {
            Table::Payloads | Table::Heaps | Table::Bundles => named.or(self.default),
            _ if table.by_day() => named.or(self.default),
            _ => named,
        }
    }

    /// How long evaluations of flags stay; `None`: for ever.
    pub fn of_evaluations(&self) -> Option<Duration> {
        self.flag_evaluations.or_else(|| self.of(Table::Flags)).or_else(|| self.of(Table::Spans))
    }
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MaintainReport {
    /// Datasets whose fragments were merged, with the fragments before and after.
    pub compacted: Vec<(String, usize, usize)>,
    /// Indices that were built or extended, as dataset and column.
    pub indexed: Vec<(String, String)>,
    /// Days that retention dropped.
    pub dropped: Vec<String>,
    /// Rows that retention removed from tables that are not kept by day.
    pub expired_rows: u64,
    /// Datasets whose folder was deleted.
    pub deleted: Vec<String>,
    /// Versions removed by clean-up.
    pub cleaned_versions: u64,
    /// Files removed that nothing named: rows that were staged and never recorded.
    pub strays: usize,
    /// Bytes freed by clean-up.
    pub freed_bytes: u64,
    /// Bytes that only snapshots hold, where the lake's bytes are bounded.
    pub snapshot_bytes: u64,
    /// Bytes of each table before days went for them, where the lake's bytes are bounded.
    pub table_bytes: BTreeMap<Table, u64>,
    /// Whether a head was published.
    pub published: bool,
    /// Datasets in which a step failed, with the reason; the next run tries again.
    pub failed: Vec<(String, String)>,
}

impl MaintainReport {
    /// Notes a failure and goes on.
    fn check<T>(&mut self, dataset: &str, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                tracing::warn!(dataset, %error, "upkeep failed and will be tried again");
                self.failed.push((dataset.to_owned(), error.to_string()));
                None
            }
        }
    }
}

/// One round of upkeep over the whole lake.
///
/// # Errors
/// Only if the newest head cannot be read; everything else is in the report.
pub async fn maintain(lake: &Lake, options: &MaintainOptions) -> Result<MaintainReport> {
    let mut report = MaintainReport::default();
    retain::drop_days(lake, options, &mut report).await?;
    let (_, head) = lake.head().await?;
    let side = Table::ALL.iter().filter(|table| table.is_side()).map(|table| table.name().to_owned());
    let mut names: BTreeSet<String> = head.datasets.keys().cloned().chain(side).collect();
    for name in &names {
        let Some((table, _)) = table_of(name) else { continue };
        let expired = match table {
            Table::Bundles => bundles::expire(lake, options).await,
            Table::Flags => flags::expire(lake, options).await,
            _ => retain::expire_rows(lake, table, name, options).await,
        };
        let expired = report.check(name, expired).unwrap_or_default();
        report.expired_rows += expired;
        // Fragments inside and outside an index are never merged, so indices come first.
        let indexed = indices::update(lake, table, name, options).await;
        let indexed = report.check(name, indexed).unwrap_or_default();
        report.indexed.extend(indexed.into_iter().map(|column| (name.clone(), column)));
        // Rows that are deleted lie on the disk until their fragment is written again.
        let patience = if expired > 0 { 0 } else { options.small_fragments };
        let compacting = MaintainOptions { small_fragments: patience, ..options.clone() };
        let compacted = compact::data(lake, name, &compacting).await;
        if let Some(Some((before, after))) = report.check(name, compacted) {
            report.compacted.push((name.clone(), before, after));
            // Zone maps cannot be carried over to merged fragments: those are read again, now.
            let at_once = MaintainOptions { now: i64::MAX, index_delay: Duration::ZERO, ..options.clone() };
            let extended = indices::update(lake, table, name, &at_once).await;
            report.check(name, extended);
        }
    }
    let published = publish(lake, &names).await;
    report.published |= report.check(HEADS, published).unwrap_or_default();
    // Days go for bytes only when the rows are gone that were over in any case.
    let bounded = retain::drop_days_beyond_bytes(lake, options, &mut report).await;
    report.check(HEADS, bounded);
    names.retain(|name| !report.dropped.contains(name));
    clean::clean(lake, &names, options, &mut report).await?;
    Ok(report)
}

/// Publishes the newest versions that hold nothing beyond the head's position.
async fn publish(lake: &Lake, names: &BTreeSet<String>) -> Result<bool> {
    for attempt in 0..crate::journal::fence::ATTEMPTS {
        let (heads, head) = lake.head().await?;
        let mut next = (*head).clone();
        for name in names {
            let Some(known) = head.datasets.get(name) else { continue };
            let dataset = lake.newest(name).await?;
            if dataset.version_id() <= known.version {
                continue;
            }
            // An epoch that is applied here but not everywhere yet must not be seen: the head that
            // comes with it will name a version that includes this work, or the next round will.
            if position_of(name, &dataset, Some((known, head.position))).await? <= head.position
                && let Some(entry) = next.datasets.get_mut(name)
            {
                entry.version = dataset.version_id();
            }
        }
        if next == *head {
            return Ok(false);
        }
        if publish_after(lake, &heads, next).await? {
            return Ok(true);
        }
        crate::journal::fence::back_off(attempt).await;
    }
    Err(Error::Contention { dataset: HEADS.to_owned(), step: "publishing", attempts: crate::journal::fence::ATTEMPTS })
}

async fn publish_after(lake: &Lake, heads: &Arc<lance::Dataset>, next: Head) -> Result<bool> {
    Ok(heads::publish(lake, heads, next).await?.is_some())
}

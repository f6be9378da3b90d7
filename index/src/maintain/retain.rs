//! Retention: whole days leave the head, and rows leave the tables that are not kept by day.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use lance::index::DatasetIndexExt;
use tracerag_schemas::{Table, time};

use super::{MaintainOptions, MaintainReport, publish_after};
use crate::error::{At, Error, Result};
use crate::journal::heads::HEADS;
use crate::journal::{Head, fence};
use crate::lake::{Lake, table_of};
use crate::pinned::Pinned;

/// The first day whose rows may be younger than the table's retention, as `YYYY-MM-DD`.
pub(super) fn first_kept(table: Table, options: &MaintainOptions) -> Option<String> {
    Some(first_day(options.retention.of(table)?, options.now))
}

/// The first day whose rows may be younger than a time before `now` (ns), as `YYYY-MM-DD`.
pub(super) fn first_day(keep: Duration, now: i64) -> String {
    let keep = i64::try_from(keep.as_nanos()).unwrap_or(i64::MAX);
    time::day_name(time::day(now.saturating_sub(keep)))
}

/// What holds the bytes of a lake.
struct Held {
    /// Bytes that only snapshots hold.
    by_snapshots: u64,
    /// Bytes of the newest state, by table.
    by_table: BTreeMap<Table, u64>,
    /// Datasets of the newest state that are one day of a table: the day, the dataset, and what dropping it would free.
    days: Vec<(String, String, u64)>,
}

impl Held {
    async fn of(lake: &Lake, head: &Head, snapshots: &[Pinned]) -> Result<Self> {
        let mut current: BTreeMap<&str, Files> = BTreeMap::new();
        for (name, known) in &head.datasets {
            current.insert(name, files(lake, name, known.version).await?);
        }
        let mut held: BTreeMap<&str, Files> = BTreeMap::new();
        // Snapshots have most versions in common, with each other and with the head.
        let versions: BTreeSet<(&str, u64)> = snapshots.iter().flat_map(Pinned::versions).collect();
        for (name, version) in versions {
            let is_current = head.datasets.get(name).is_some_and(|known| known.version == version);
            let found = match current.get(name).filter(|_| is_current) {
                Some(known) => known.clone(),
                None => files(lake, name, version).await?,
            };
            held.entry(name).or_default().extend(found);
        }
        let none = Files::new();
        let outside = |files: &Files, others: Option<&Files>| -> u64 {
            let others = others.unwrap_or(&none);
            files.iter().filter(|(file, _)| !others.contains_key(*file)).map(|(_, bytes)| *bytes).sum()
        };
        let by_snapshots = held.iter().map(|(name, files)| outside(files, current.get(name))).sum();
        let mut by_table: BTreeMap<Table, u64> = BTreeMap::new();
        let mut days = Vec::new();
        for (name, files) in &current {
            let Some((table, day)) = table_of(name) else { continue };
            *by_table.entry(table).or_default() += outside(files, None);
            if let Some(day) = day {
                days.push((day.to_owned(), (*name).to_owned(), outside(files, held.get(name))));
            }
        }
        days.sort_unstable();
        Ok(Self { by_snapshots, by_table, days })
    }

    fn total(&self) -> u64 {
        self.by_snapshots + self.by_table.values().sum::<u64>()
    }

    /// The oldest days over which the lake has more bytes than it may have, newest data first. What is written today
    /// stays in any case, and so does a day of which snapshots hold everything: dropping it would free nothing. Nothing
    /// goes where what no day holds is too much alone: the lake would lose its days and still be beyond its bytes.
    fn beyond(&self, max_bytes: u64) -> Vec<String> {
        let mut total = self.total();
        if total <= max_bytes {
            return vec![];
        }
        let without_days = self.by_table.iter().filter(|(table, _)| !table.by_day()).map(|(_, bytes)| bytes);
        let fixed = self.by_snapshots + without_days.sum::<u64>();
        let mut over = Vec::new();
        let newest = self.days.last().map_or("", |(day, ..)| day.as_str());
        // A day goes as a whole, in all its tables: half of a day is no evidence.
        for group in self.days.chunk_by(|a, b| a.0 == b.0) {
            if fixed > max_bytes || total <= max_bytes || group[0].0 == newest {
                break;
            }
            let freed: u64 = group.iter().map(|(.., bytes)| bytes).sum();
            if freed > 0 {
                total = total.saturating_sub(freed);
                over.extend(group.iter().map(|(_, name, _)| name.clone()));
            }
        }
        if total > max_bytes {
            tracing::warn!(
                bytes = total,
                max_bytes,
                only_snapshots = self.by_snapshots,
                tables = self.largest(),
                "the lake is beyond its bytes, and no more days can go for it: shorten the [retention] of the tables that hold \
                 them, drop snapshots, or raise max_bytes"
            );
        }
        over
    }

    /// The tables with their bytes, the largest first.
    fn largest(&self) -> String {
        let mut tables: Vec<(&Table, &u64)> = self.by_table.iter().filter(|(_, bytes)| **bytes > 0).collect();
        tables.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let shown: Vec<String> = tables.iter().map(|(table, bytes)| format!("{} {bytes}", table.name())).collect();
        shown.join(", ")
    }

    /// Tells of the bytes by table, and of those that only snapshots hold.
    fn show(&self) {
        for (table, bytes) in &self.by_table {
            metrics::gauge!("tracerag_lake_bytes", "table" => table.name()).set(*bytes as f64);
        }
        metrics::gauge!("tracerag_lake_bytes", "table" => "snapshots").set(self.by_snapshots as f64);
    }
}

/// Files of data and indices with their bytes.
type Files = BTreeMap<String, u64>;

/// The files of a version, as its manifest knows them.
async fn files(lake: &Lake, name: &str, version: u64) -> Result<Files> {
    let dataset = lake.dataset(name, version).await?;
    let fragments = dataset.fragments().iter().flat_map(|fragment| &fragment.files);
    let mut files: Files =
        fragments.filter_map(|file| Some((file.path.clone(), file.file_size_bytes.get().map(NonZero::get)?))).collect();
    for index in dataset.load_indices().await.at(name, "summing its files")?.iter() {
        for file in index.files.iter().flatten() {
            files.insert(format!("{}/{}", index.uuid, file.path), file.size_bytes);
        }
    }
    Ok(files)
}

/// Takes days that are over out of the head. Their files go later, with the clean-up.
pub(super) async fn drop_days(lake: &Lake, options: &MaintainOptions, report: &mut MaintainReport) -> Result<()> {
    for attempt in 0..fence::ATTEMPTS {
        let (heads, head) = lake.head().await?;
        let is_over = |name: &&String| {
            let Some((table, Some(day))) = table_of(name) else { return false };
            first_kept(table, options).is_some_and(|first| day < first.as_str())
        };
        let over = head.datasets.keys().filter(is_over).cloned().collect();
        if drop_from(lake, &heads, &head, over, report).await? {
            return Ok(());
        }
        fence::back_off(attempt).await;
    }
    Err(Error::Contention { dataset: HEADS.to_owned(), step: "dropping days", attempts: fence::ATTEMPTS })
}

/// Takes the oldest days out of the head where the lake has more bytes than it may have.
pub(super) async fn drop_days_beyond_bytes(
    lake: &Lake,
    options: &MaintainOptions,
    report: &mut MaintainReport,
) -> Result<()> {
    let Some(max_bytes) = options.retention.max_bytes else { return Ok(()) };
    for attempt in 0..fence::ATTEMPTS {
        let (heads, head) = lake.head().await?;
        let held = Held::of(lake, &head, &lake.snapshots().await?).await?;
        held.show();
        let over = held.beyond(max_bytes);
        (report.snapshot_bytes, report.table_bytes) = (held.by_snapshots, held.by_table);
        if drop_from(lake, &heads, &head, over, report).await? {
            return Ok(());
        }
        fence::back_off(attempt).await;
    }
    Err(Error::Contention { dataset: HEADS.to_owned(), step: "dropping days", attempts: fence::ATTEMPTS })
}

/// Publishes a head without these days; `false` if another one was published meanwhile.
async fn drop_from(
    lake: &Lake,
    heads: &Arc<lance::Dataset>,
    head: &Head,
    days: Vec<String>,
    report: &mut MaintainReport,
) -> Result<bool> {
    if days.is_empty() {
        return Ok(true);
    }
    let mut next = head.clone();
    for name in &days {
        next.datasets.remove(name);
        let Some((table, Some(day))) = table_of(name) else { continue };
        let newest = next.dropped.entry(table.name().to_owned()).or_default();
        if newest.as_str() < day {
            day.clone_into(newest);
        }
    }
    if !publish_after(lake, heads, next).await? {
        return Ok(false);
    }
    tracing::info!(days = days.len(), "retention dropped days");
    report.dropped.extend(days);
    report.published = true;
    Ok(true)
}

/// Deletes the rows of a small table that are past its retention. Gives their number.
pub(super) async fn expire_rows(lake: &Lake, table: Table, name: &str, options: &MaintainOptions) -> Result<u64> {
    if table.by_day() || table.is_side() {
        return Ok(0);
    }
    let Some(first) = first_kept(table, options) else { return Ok(0) };
    let dataset = lake.newest(name).await?;
    let over = format!("ingested_at < timestamp '{first} 00:00:00'");
    let rows = dataset.count_rows(Some(over.clone())).await.at(name, "counting rows past retention")?;
    if rows == 0 {
        return Ok(0);
    }
    let mut kept = (*dataset).clone();
    let deleted = kept.delete(&over).await.at(name, "deleting rows past retention")?;
    lake.remember(name, Arc::unwrap_or_clone(deleted.new_dataset));
    Ok(rows as u64)
}

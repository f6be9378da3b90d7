//! Retention: whole days leave the head, and rows leave the tables that are not kept by day.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::sync::Arc;

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
    let keep = i64::try_from(options.retention.of(table)?.as_nanos()).unwrap_or(i64::MAX);
    Some(time::day_name(time::day(options.now.saturating_sub(keep))))
}

/// The oldest days over which the lake has more bytes than it may have, newest data first. What is written today
/// stays in any case, and so does a day of which snapshots hold everything: dropping it would free nothing. With the
/// bytes that only snapshots hold.
async fn beyond_bytes(lake: &Lake, head: &Head, snapshots: &[Pinned], max_bytes: u64) -> Result<(Vec<String>, u64)> {
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
    let only_held: u64 = held.iter().map(|(name, files)| outside(files, current.get(name))).sum();
    let mut total = only_held + current.values().map(|files| outside(files, None)).sum::<u64>();
    let mut days: Vec<(&str, &str, u64)> = Vec::new();
    for (name, files) in &current {
        if let Some((_, Some(day))) = table_of(name) {
            days.push((day, *name, outside(files, held.get(name))));
        }
    }
    days.sort_unstable();
    let newest = days.last().map_or("", |(day, ..)| day);
    let mut over = Vec::new();
    // A day goes as a whole, in all its tables: half of a day is no evidence.
    for group in days.chunk_by(|a, b| a.0 == b.0) {
        if total <= max_bytes || group[0].0 == newest {
            break;
        }
        let freed: u64 = group.iter().map(|(.., bytes)| bytes).sum();
        if freed > 0 {
            total = total.saturating_sub(freed);
            over.extend(group.iter().map(|(_, name, _)| (*name).to_owned()));
        }
    }
    if total > max_bytes && only_held > 0 {
        tracing::warn!(
            bytes = total,
            max_bytes,
            only_held,
            "the lake is beyond its bytes, and snapshots hold a part of them"
        );
    }
    Ok((over, only_held))
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
        let mut next = (*head).clone();
        let mut dropped = Vec::new();
        let mut beyond = Vec::new();
        if let Some(max_bytes) = options.retention.max_bytes {
            (beyond, report.snapshot_bytes) = beyond_bytes(lake, &head, &lake.snapshots().await?, max_bytes).await?;
        }
        for name in head.datasets.keys() {
            let Some((table, Some(day))) = table_of(name) else { continue };
            if first_kept(table, options).is_some_and(|first| day < first.as_str()) || beyond.contains(name) {
                next.datasets.remove(name);
                let newest = next.dropped.entry(table.name().to_owned()).or_default();
                if newest.as_str() < day {
                    day.clone_into(newest);
                }
                dropped.push(name.clone());
            }
        }
        if dropped.is_empty() {
            return Ok(());
        }
        if publish_after(lake, &heads, next).await? {
            tracing::info!(days = dropped.len(), "retention dropped days");
            report.dropped = dropped;
            report.published = true;
            return Ok(());
        }
        fence::back_off(attempt).await;
    }
    Err(Error::Contention { dataset: HEADS.to_owned(), step: "dropping days", attempts: fence::ATTEMPTS })
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

//! Retention: whole days leave the head, and rows leave the tables that are not kept by day.

use std::num::NonZero;
use std::sync::Arc;

use lance::Dataset;
use lance::index::DatasetIndexExt;
use tracerag_schemas::{Table, time};

use super::{MaintainOptions, MaintainReport, publish_after};
use crate::error::{At, Error, Result};
use crate::journal::heads::HEADS;
use crate::journal::{Head, fence};
use crate::lake::{Lake, table_of};

/// The first day whose rows may be younger than the table's retention, as `YYYY-MM-DD`.
pub(super) fn first_kept(table: Table, options: &MaintainOptions) -> Option<String> {
    let keep = i64::try_from(options.retention.of(table)?.as_nanos()).unwrap_or(i64::MAX);
    Some(time::day_name(time::day(options.now.saturating_sub(keep))))
}

/// The oldest days over which the lake has more bytes than it may have, newest data first. What is written today
/// stays in any case.
async fn beyond_bytes(lake: &Lake, head: &Head, max_bytes: u64) -> Result<Vec<String>> {
    let mut days: Vec<(&str, &str, u64)> = Vec::new();
    let mut total = 0u64;
    for (name, known) in &head.datasets {
        let dataset = lake.dataset(name, known.version).await?;
        let bytes = bytes(&dataset).await.at(name, "summing its files")?;
        total = total.saturating_add(bytes);
        if let Some((_, Some(day))) = table_of(name) {
            days.push((day, name, bytes));
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
        for (_, name, bytes) in group {
            total = total.saturating_sub(*bytes);
            over.push((*name).to_owned());
        }
    }
    Ok(over)
}

/// Bytes of a version's data and index files, as its manifest knows them.
async fn bytes(dataset: &Dataset) -> lance::Result<u64> {
    let files = dataset.fragments().iter().flat_map(|fragment| &fragment.files);
    let data: u64 = files.filter_map(|file| file.file_size_bytes.get()).map(NonZero::get).sum();
    let indices = dataset.load_indices().await?;
    let index_files = indices.iter().filter_map(|index| index.files.as_ref()).flatten();
    Ok(data + index_files.map(|file| file.size_bytes).sum::<u64>())
}

/// Takes days that are over out of the head. Their files go later, with the clean-up.
pub(super) async fn drop_days(lake: &Lake, options: &MaintainOptions, report: &mut MaintainReport) -> Result<()> {
    for attempt in 0..fence::ATTEMPTS {
        let (heads, head) = lake.head().await?;
        let mut next = (*head).clone();
        let mut dropped = Vec::new();
        let beyond = match options.retention.max_bytes {
            Some(max_bytes) => beyond_bytes(lake, &head, max_bytes).await?,
            None => vec![],
        };
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

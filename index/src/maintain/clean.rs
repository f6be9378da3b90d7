//! Clean-up: versions, records and files that nobody can need any more.
//!
//! A commit is checked only against versions whose manifests still exist. So before versions are
//! removed, a barrier is committed, with which every fenced writer from before conflicts, and nothing
//! from the barrier on is removed: a writer that slept through any number of clean-ups adds nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use lance::Dataset;
use lance::dataset::cleanup::CleanupPolicy;
use tracerag_schemas::Table;

use super::{MaintainOptions, MaintainReport, merge, records, strays};
use crate::error::{At, Result};
use crate::journal::Head;
use crate::journal::heads::{self, HEADS};
use crate::journal::log::JOURNAL;
use crate::journal::position::{POSITION, position_of};
use crate::lake::{Lake, table_of};
use crate::pinned::{Held, Pinned, hold, hold_changes};

pub(super) async fn clean(
    lake: &Lake,
    names: &BTreeSet<String>,
    options: &MaintainOptions,
    report: &mut MaintainReport,
) -> Result<()> {
    let pruned = prune_heads(lake, options).await;
    let Some(kept) = report.check(HEADS, pruned) else { return Ok(()) };
    // Where it is not known what snapshots hold, nothing is removed.
    let snapshots = lake.snapshots().await;
    let Some(snapshots) = report.check("snapshots", snapshots) else { return Ok(()) };
    for name in names {
        let is_side = table_of(name).is_some_and(|(table, _)| table.is_side());
        let cleaned = match hold_changes(lake, name, &snapshots).await {
            Ok(held) if is_side => by_time(lake, name, held, &snapshots, options).await,
            Ok(held) => data(lake, name, &kept, held, &snapshots, options).await,
            Err(error) => Err(error),
        };
        note(report, name, cleaned);
    }
    let pruned = records::prune(lake, options).await;
    report.check(JOURNAL, pruned);
    for name in [JOURNAL, HEADS] {
        let merged = merge::merge_tail(lake, name, options).await;
        report.check(name, merged);
        let cleaned = by_time(lake, name, Held::default(), &[], options).await;
        note(report, name, cleaned);
    }
    if options.looks_for_strays {
        strays::remove(lake, names, options, report).await;
    }
    let deleted = delete_dropped(lake, &kept, &snapshots).await;
    report.deleted = report.check("lake", deleted).unwrap_or_default();
    Ok(())
}

fn note(report: &mut MaintainReport, name: &str, cleaned: Result<(u64, u64)>) {
    let (versions, bytes) = report.check(name, cleaned).unwrap_or_default();
    report.cleaned_versions += versions;
    report.freed_bytes += bytes;
}

/// Removes heads that no reader can hold any more, and gives those that stay.
async fn prune_heads(lake: &Lake, options: &MaintainOptions) -> Result<Vec<Head>> {
    let heads = lake.newest(HEADS).await?;
    let all = heads::read_all(&heads).await?;
    let since = options.now.saturating_sub(nanos(options.longest_query));
    // A head was the newest until the next one came.
    let first = all.windows(2).position(|pair| pair[1].published_at > since).unwrap_or(all.len().saturating_sub(1));
    let kept = all[first..].to_vec();
    if first > options.stale_versions
        && let Some(oldest) = kept.first()
    {
        let mut pruned = (*heads).clone();
        let deleted =
            pruned.delete(&format!("sequence < {}", oldest.sequence)).await.at(HEADS, "removing old heads")?;
        lake.remember(HEADS, Arc::unwrap_or_clone(deleted.new_dataset));
    }
    Ok(kept)
}

/// Old versions that are left until there are more of them.
fn left(held: Held, options: &MaintainOptions) -> usize {
    // What a dropped snapshot leaves may be all that ever gets old: nothing more is written to a day that is over.
    held.versions + if held.let_go { 0 } else { options.stale_versions }
}

/// Removes a data table's versions that are older than every head that stays, but for those that snapshots hold.
async fn data(
    lake: &Lake,
    name: &str,
    kept: &[Head],
    held: Held,
    snapshots: &[Pinned],
    options: &MaintainOptions,
) -> Result<(u64, u64)> {
    let Some(oldest) = kept.iter().filter_map(|head| head.datasets.get(name)).map(|known| known.version).min() else {
        return Ok((0, 0));
    };
    let dataset = lake.newest(name).await?;
    let versions = dataset.version_refs().await.at(name, "listing its versions")?;
    if versions.iter().filter(|version| version.version < oldest).count() <= left(held, options) {
        return Ok((0, 0));
    }
    let floor = kept.last().and_then(|head| Some((head.datasets.get(name)?, head.position)));
    let position = position_of(name, &dataset, floor).await?;
    let noted = dataset.metadata().get(POSITION).and_then(|noted| noted.parse::<u64>().ok());
    let dataset = if noted.is_none_or(|noted| noted < position) {
        let mut stamped = (*dataset).clone();
        stamped.update_metadata([(POSITION, position.to_string().as_str())]).await.at(name, "keeping its position")?;
        lake.remember(name, stamped)
    } else {
        dataset
    };
    hold(lake, name, snapshots).await?;
    let barrier = lake.barrier(name, &dataset).await?;
    remove(name, &barrier, CleanupPolicy { before_version: Some(oldest), ..policy() }).await
}

/// Removes versions that are older than the longest query of a dataset that no head names, but for those that snapshots
/// hold.
async fn by_time(
    lake: &Lake,
    name: &str,
    held: Held,
    snapshots: &[Pinned],
    options: &MaintainOptions,
) -> Result<(u64, u64)> {
    let dataset = lake.newest(name).await?;
    let before = DateTime::<Utc>::from_timestamp_nanos(options.now.saturating_sub(nanos(options.longest_query)));
    let mut versions: Vec<u64> =
        dataset.version_refs().await.at(name, "listing its versions")?.iter().map(|found| found.version).collect();
    versions.sort_unstable();
    // Worth a barrier only if that many versions can go.
    let Some(version) = versions.get(left(held, options)) else { return Ok((0, 0)) };
    let written = dataset.read_version_transaction(*version).await.at(name, "reading the age of a version")?;
    if written.timestamp >= before {
        return Ok((0, 0));
    }
    hold(lake, name, snapshots).await?;
    let barrier = lake.barrier(name, &dataset).await?;
    let policy =
        CleanupPolicy { before_version: Some(barrier.version_id()), before_timestamp: Some(before), ..policy() };
    remove(name, &barrier, policy).await
}

fn policy() -> CleanupPolicy {
    // Files that no version ever named are staged rows of somebody: Lance leaves them for seven days, and comes to
    // them only where it removes versions (see `strays`).
    CleanupPolicy { delete_unverified: false, error_if_tagged_old_versions: false, ..CleanupPolicy::default() }
}

async fn remove(name: &str, dataset: &Dataset, policy: CleanupPolicy) -> Result<(u64, u64)> {
    let removed = dataset.cleanup_with_policy(policy).await.at(name, "cleaning up")?;
    Ok((removed.old_versions, removed.bytes_removed))
}

/// Deletes the folders of days that retention dropped, once no kept head and no snapshot names them.
async fn delete_dropped(lake: &Lake, kept: &[Head], snapshots: &[Pinned]) -> Result<Vec<String>> {
    let Some(newest) = kept.last() else { return Ok(vec![]) };
    let mut deleted = Vec::new();
    for table in Table::ALL.iter().copied().filter(|table| newest.dropped.contains_key(table.name())) {
        for day in lake.day_folders(table).await? {
            let name = format!("{}/{day}", table.name());
            let mut heads = kept.iter().chain(snapshots.iter().map(|snapshot| &snapshot.head));
            if newest.is_dropped(&name) && !heads.any(|head| head.datasets.contains_key(&name)) {
                lake.remove_dataset(&name).await?;
                deleted.push(name);
            }
        }
    }
    Ok(deleted)
}

pub(super) fn nanos(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

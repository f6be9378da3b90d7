//! Applying: what is recorded goes into the tables, and a head makes it visible.
//!
//! Everything recorded after the newest head, up to position b, is one run. Each dataset takes what
//! it lacks of the run in one commit that is fenced by every position of the run, so two appliers
//! whose runs overlap cannot both add a row. `traces` comes last: who sees a trace sees its spans.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use futures::StreamExt;
use futures::future::try_join_all;
use futures::stream;
use lance::Dataset;
use lance_table::format::Fragment;
use tracerag_schemas::Table;

use super::fence::{self, Fenced};
use super::heads::{self, HEADS};
use super::log::{Log, State};
use super::position::{POSITION, position_of};
use super::record::Kind;
use super::{Head, StagedDataset};
use crate::error::{At, Error, Result, is_absent};
use crate::fail_point::FailPoint;
use crate::lake::{Lake, table_of};

/// Files whose existence is checked at once.
const CHECKS: usize = 16;

/// What one dataset has to take in, with the position it was recorded at.
type Entries = Vec<(u64, StagedDataset)>;

enum Applied {
    /// The version that holds everything up to the end of the run, and nothing after it.
    Version(u64),
    /// Another applier is beyond the end of this run: begin again with a longer one.
    Overtaken,
}

/// Brings all tables to the end of the journal and publishes the head. `own` are epochs that this
/// process staged itself, whose files need no check.
pub(crate) async fn apply(lake: &Lake, log: &mut Log, own: &HashSet<String>) -> Result<Arc<Head>> {
    for attempt in 0..fence::ATTEMPTS {
        let head = if log.takes_end() {
            lake.known_head().await?.1
        } else {
            let (_, head) = lake.head().await?;
            log.refresh(&head).await?;
            head
        };
        let records = log.after(&head);
        let Some(last) = records.last().map(|record| record.position) else { return Ok(head) };

        let mut state = State::of(&head);
        let mut runs: BTreeMap<String, Entries> = BTreeMap::new();
        for record in records {
            state.take(record);
            if state.void.last() == Some(&record.position) || record.kind != Kind::Epoch {
                continue;
            }
            let dropped = |staged: &&StagedDataset| !head.is_dropped(&staged.name);
            for staged in record.staged.iter().filter(dropped) {
                runs.entry(staged.name.clone()).or_default().push((record.position, staged.clone()));
            }
        }
        let checked: HashSet<u64> =
            records.iter().filter(|record| own.contains(&record.epoch)).map(|record| record.position).collect();

        let (traces, others): (Vec<_>, Vec<_>) =
            runs.iter().partition(|(name, _)| matches!(table_of(name), Some((Table::Traces, _))));
        let mut versions = HashMap::new();
        let mut overtaken = false;
        for (group, done) in [(others, FailPoint::DataApplied), (traces, FailPoint::TracesApplied)] {
            let applied = try_join_all(group.into_iter().map(|(name, entries)| {
                let (lake, head, name, entries, checked) =
                    (lake.clone(), Arc::clone(&head), name.clone(), entries.clone(), checked.clone());
                let dataset = name.clone();
                let task =
                    tokio::spawn(async move { apply_dataset(&lake, &head, &dataset, &entries, last, &checked).await });
                async move {
                    let applied = task.await.map_err(|error| Error::Cut {
                        dataset: name.clone(),
                        step: "applying",
                        detail: error.to_string(),
                    })??;
                    Ok::<_, Error>((name, applied))
                }
            }))
            .await?;
            for (name, applied) in applied {
                match applied {
                    Applied::Version(version) => {
                        versions.insert(name, version);
                    }
                    Applied::Overtaken => overtaken = true,
                }
            }
            if overtaken {
                break;
            }
            done.pass();
        }
        if !overtaken && let Some(published) = publish(lake, &head, &state, &runs, &versions).await? {
            FailPoint::Published.pass();
            return Ok(published);
        }
        fence::back_off(attempt).await;
    }
    Err(Error::Contention { dataset: HEADS.to_owned(), step: "applying", attempts: fence::ATTEMPTS })
}

/// Takes into one dataset what it lacks of `entries`, in one commit.
async fn apply_dataset(
    lake: &Lake,
    head: &Head,
    name: &str,
    entries: &Entries,
    last: u64,
    checked: &HashSet<u64>,
) -> Result<Applied> {
    'attempts: for attempt in 0..fence::ATTEMPTS {
        let opened = if attempt == 0 { lake.base(name).await } else { lake.newest(name).await };
        let dataset = match opened {
            Err(Error::Lance { source, .. }) if is_absent(&source) => {
                let position = entries.first().map_or(last, |(position, _)| *position);
                return Err(gone(lake, position, name, lake.dataset_uri(name)).await);
            }
            other => other?,
        };
        let floor = head.datasets.get(name).map(|known| (known, head.position));
        let at = position_of(name, &dataset, floor).await?.max(head.position);
        if at > last {
            return Ok(Applied::Overtaken);
        }
        let missing: Vec<&(u64, StagedDataset)> = entries.iter().filter(|(position, _)| *position > at).collect();
        if missing.is_empty() {
            return Ok(Applied::Version(dataset.version_id()));
        }
        for (position, staged) in missing.iter().filter(|(position, _)| !checked.contains(position)) {
            if let Some(file) = missing_file(name, &dataset, &staged.fragments).await? {
                // Since the position was read another may have added the rows, and upkeep may have merged their files.
                if lake.newest(name).await?.version_id() > dataset.version_id() {
                    fence::back_off(attempt).await;
                    continue 'attempts;
                }
                return Err(gone(lake, *position, name, file).await);
            }
        }
        let fragments: Vec<Fragment> = missing.iter().flat_map(|(_, staged)| staged.fragments.clone()).collect();
        let keys: HashSet<u64> = (at + 1..=last).map(fence::position_key).collect();
        let stamp = HashMap::from([(POSITION.to_owned(), last.to_string())]);
        FailPoint::Applying.pass();
        match fence::append(lake, &dataset, fragments, keys, stamp).await.at(name, "applying")? {
            Fenced::Landed(landed) => {
                FailPoint::TableApplied.pass();
                let landed = lake.remember(name, landed);
                return Ok(Applied::Version(landed.version_id()));
            }
            Fenced::Lost => fence::back_off(attempt).await,
        }
    }
    Err(Error::Contention { dataset: name.to_owned(), step: "applying", attempts: fence::ATTEMPTS })
}

/// A recorded file that is gone must stop everything: later records may depend on its rows, and a
/// table that named a missing file could not be read at all. Where the whole lake is gone, because its volume is not
/// mounted, the error is that of the store.
async fn gone(lake: &Lake, position: u64, name: &str, file: String) -> Error {
    match lake.newest(HEADS).await {
        Ok(_) => Error::MissingFile { position, dataset: name.to_owned(), file },
        Err(error) => error,
    }
}

/// The first of staged fragments' files that does not exist.
pub(crate) async fn missing_file(name: &str, dataset: &Dataset, fragments: &[Fragment]) -> Result<Option<String>> {
    let store = dataset.object_store(None).await.at(name, "checking staged files")?;
    let folder = dataset.data_dir();
    let mut paths = Vec::new();
    for file in fragments.iter().flat_map(|fragment| fragment.files.iter()) {
        paths.push(folder.clone().join(file.path.as_str()));
    }
    let mut checks = stream::iter(paths)
        .map(|path| {
            let store = Arc::clone(&store);
            async move { (store.exists(&path).await, path.to_string()) }
        })
        .buffer_unordered(CHECKS);
    while let Some((exists, file)) = checks.next().await {
        if !exists.at(name, "checking staged files")? {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// Publishes the head of the run. `None`: a head of another position came first.
async fn publish(
    lake: &Lake,
    from: &Head,
    state: &State,
    runs: &BTreeMap<String, Entries>,
    versions: &HashMap<String, u64>,
) -> Result<Option<Arc<Head>>> {
    for attempt in 0..fence::ATTEMPTS {
        let (dataset, newest) = if attempt == 0 { lake.known_head().await? } else { lake.head().await? };
        // Maintenance publishes newer versions of the same position, and those may be built upon.
        if newest.position != from.position {
            return Ok(None);
        }
        let mut next = (*newest).clone();
        next.position = state.position;
        next.schema_version = state.schema_version;
        next.void.clone_from(&state.void);
        next.sources = state.sources.values().cloned().collect();
        next.sources.sort_by(|a, b| a.source.cmp(&b.source));
        next.derive_stream_times();
        for (name, entries) in runs.iter().filter(|(name, _)| !newest.is_dropped(name)) {
            let known = next.datasets.entry(name.clone()).or_default();
            for (_, staged) in entries {
                known.add(staged);
            }
            if let Some(version) = versions.get(name) {
                known.version = known.version.max(*version);
            }
        }
        if let Some(published) = heads::publish(lake, &dataset, next).await? {
            return Ok(Some(published));
        }
        fence::back_off(attempt).await;
    }
    Err(Error::Contention { dataset: HEADS.to_owned(), step: "publishing", attempts: fence::ATTEMPTS })
}

/// An applier that dies before it has done all datasets: brings only some of them to the end of the
/// journal, and publishes no head.
#[cfg(test)]
pub(crate) async fn apply_only(lake: &Lake, names: &[String]) -> Result<()> {
    let (_, head) = lake.head().await?;
    let mut log = Log::new(lake.clone());
    log.refresh(&head).await?;
    let records = log.after(&head);
    let Some(last) = records.last().map(|record| record.position) else { return Ok(()) };
    for name in names {
        let entries: Entries = records
            .iter()
            .flat_map(|record| record.staged.iter().map(|staged| (record.position, staged.clone())))
            .filter(|(_, staged)| staged.name == *name)
            .collect();
        apply_dataset(lake, &head, name, &entries, last, &HashSet::new()).await?;
    }
    Ok(())
}

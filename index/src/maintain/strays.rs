//! Strays: files that no version of a dataset and no record of the journal names.
//!
//! A worker that dies, or gives an epoch up because the lake cannot be written, leaves the files that it has staged.
//! Lance removes such files when they are seven days old, but only together with old versions, and only such as are
//! older than the oldest version that stays. A day that is over gets no versions any more, so its strays would stay as
//! long as the day; Lance's temporary files, and the lists of closed traces beside the journal, for ever.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use lance::Dataset;
use object_store::ObjectMeta;
use tracerag_schemas::Table;

use super::clean::nanos;
use super::{MaintainOptions, MaintainReport};
use crate::error::{At, Error, Result, is_absent};
use crate::journal::heads::HEADS;
use crate::journal::log::{Columns, JOURNAL, read_back};
use crate::journal::record::{Closed, Record};
use crate::lake::Lake;

/// Files by the name that fragments and records have for them.
type Files = HashMap<String, ObjectMeta>;

/// Removes strays of all datasets, and of the folder beside the journal. A failure is in the report.
pub(super) async fn remove(
    lake: &Lake,
    names: &BTreeSet<String>,
    options: &MaintainOptions,
    report: &mut MaintainReport,
) {
    let mut names = names.clone();
    names.extend([JOURNAL, HEADS].map(str::to_owned));
    // A day of which only an epoch was staged that never landed is in no head.
    for table in Table::ALL.iter().copied().filter(|table| table.by_day()) {
        let days = lake.day_folders(table).await;
        let days = report.check(table.name(), days).unwrap_or_default();
        names.extend(days.iter().map(|day| format!("{}/{day}", table.name())));
    }
    let before = DateTime::<Utc>::from_timestamp_nanos(options.now.saturating_sub(nanos(options.stray_after)));
    for name in names {
        let removed = of_dataset(lake, &name, before).await;
        note(report, &name, removed);
    }
    let removed = beside_the_journal(lake, before).await;
    note(report, JOURNAL, removed);
}

fn note(report: &mut MaintainReport, name: &str, removed: Result<Files>) {
    for (file, meta) in report.check(name, removed).unwrap_or_default() {
        tracing::debug!(dataset = name, file, "removed a file that nothing named");
        report.strays += 1;
        report.freed_bytes += meta.size;
    }
}

/// Removes old files of a dataset's rows that nothing names.
async fn of_dataset(lake: &Lake, name: &str, before: DateTime<Utc>) -> Result<Files> {
    // Read before the dataset, which then has all that this head shows. What is applied after it, however long it was
    // recorded before, is named by the journal.
    let (_, head) = lake.head().await?;
    let dataset = match lake.newest(name).await {
        Ok(dataset) => dataset,
        // Somebody was quicker to delete the day, or died while creating it.
        Err(Error::Lance { source, .. }) if is_absent(&source) => return Ok(Files::new()),
        Err(error) => return Err(error),
    };
    let store = dataset.object_store(None).await.at(name, "opening the store")?;
    let folder = dataset.data_dir();
    let listed: Vec<ObjectMeta> =
        store.list(Some(folder.clone())).try_collect::<Vec<_>>().await.at(name, "listing its files")?;
    let in_folder = |file: &ObjectMeta| file.location.prefix_match(&folder).is_some_and(|rest| rest.count() == 1);
    let mut strays = old_files(listed.into_iter().filter(in_folder), before);
    keep_named(&mut strays, &dataset);
    if strays.is_empty() {
        return Ok(strays);
    }
    for version in dataset.version_refs().await.at(name, "listing its versions")? {
        match lake.load(name, Some(version.version)).await {
            Ok(older) => keep_named(&mut strays, &older),
            // Another worker's clean-up was quicker.
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(error).at(name, "opening a version"),
        }
    }
    // What is recorded and not applied yet, which should never be that old, is named by the journal only.
    let journal = lake.newest(JOURNAL).await?;
    let reached = |records: &[Record]| records.first().is_some_and(|first| first.position <= head.position);
    for record in read_back(&journal, Columns::All, reached).await? {
        for file in record.staged.iter().flat_map(|staged| &staged.fragments).flat_map(|fragment| &fragment.files) {
            strays.remove(file.path.as_str());
        }
    }
    for file in strays.values() {
        store.delete(&file.location).await.at(name, "deleting files that nothing names")?;
    }
    Ok(strays)
}

fn keep_named(strays: &mut Files, dataset: &Dataset) {
    for file in dataset.fragments().iter().flat_map(|fragment| &fragment.files) {
        strays.remove(file.path.as_str());
    }
}

/// Removes old lists of closed traces whose epoch never came into the journal, or has left it.
async fn beside_the_journal(lake: &Lake, before: DateTime<Utc>) -> Result<Files> {
    let mut strays = old_files(lake.list_files(JOURNAL).await?.into_iter(), before);
    if strays.is_empty() {
        return Ok(strays);
    }
    let journal = lake.newest(JOURNAL).await?;
    for record in read_back(&journal, Columns::Offsets, |_| false).await? {
        if let Closed::File(name) = &record.closed {
            strays.remove(name);
        }
    }
    for name in strays.keys() {
        lake.remove_file(JOURNAL, name).await?;
    }
    Ok(strays)
}

fn old_files(listed: impl Iterator<Item = ObjectMeta>, before: DateTime<Utc>) -> Files {
    listed
        .filter(|file| file.last_modified < before)
        .filter_map(|file| Some((file.location.filename()?.to_owned(), file)))
        .collect()
}

//! Snapshots: one head of the lake by a name, which stays readable until the name is dropped.
//!
//! A snapshot is a small file below `snapshots/`, written once: the head, and the versions of what no head names. That
//! file is the truth. Before clean-up removes versions of a dataset, it tags those that snapshots name, which Lance then
//! keeps, and takes away the tags of snapshots that are gone.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use tracerag_schemas::Table;

use crate::error::{At, Error, Result, is_absent};
use crate::incidents::vectors;
use crate::journal::{Head, now};
use crate::lake::Lake;

/// The folder.
const FOLDER: &str = "snapshots";
/// Ending of its files.
const ENDING: &str = ".json";
/// How tags of snapshots begin.
const TAG: &str = "snapshot-";
/// Versions that are looked for at the same time.
const LOOKED_AT_ONCE: usize = 16;
/// Characters of a name at most.
const LONGEST: usize = 64;

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pinned {
    /// Its name.
    pub name: String,
    /// When it was made, in ns by the clock of whoever made it.
    pub created_at: i64,
    /// The versions of all data tables at one position.
    pub head: Head,
    /// Versions of datasets that no head names, as they were when it was made: side tables and vectors of incidents.
    pub beside: BTreeMap<String, u64>,
}

impl Pinned {
    /// All datasets with the version that is held.
    pub(crate) fn versions(&self) -> impl Iterator<Item = (&str, u64)> {
        let of_head = self.head.datasets.iter().map(|(name, known)| (name.as_str(), known.version));
        of_head.chain(self.beside.iter().map(|(name, version)| (name.as_str(), *version)))
    }

    /// The tag of its versions; a later snapshot of the same name has another.
    fn tag(&self) -> String {
        format!("{TAG}{}-{}", self.name, self.created_at)
    }
}

impl Lake {
    /// Holds the newest head under a name.
    ///
    /// # Errors
    /// [`Error::SnapshotName`], [`Error::SnapshotIsThere`], [`Error::SnapshotOvertaken`], and when the lake cannot be read or written.
    pub async fn create_snapshot(&self, name: &str) -> Result<Pinned> {
        check(name)?;
        let head = self.newest_head().await?;
        let mut beside = BTreeMap::new();
        let side = Table::ALL.iter().filter(|table| table.is_side()).map(|table| table.name().to_owned());
        let vectors = self.datasets_in(vectors::TABLE).await?;
        for dataset in side.chain(vectors.iter().map(|model| format!("{}/{model}", vectors::TABLE))) {
            let version = self.newest(&dataset).await?.version_id();
            beside.insert(dataset, version);
        }
        let pinned = Pinned { name: name.to_owned(), created_at: now(), head, beside };
        let bytes = serde_json::to_vec(&pinned).map_err(|error| damaged(name, &error))?;
        let file = format!("{name}{ENDING}");
        if !self.create_file(FOLDER, &file, &bytes).await? {
            return Err(Error::SnapshotIsThere { name: name.to_owned() });
        }
        // A clean-up that had listed the snapshots before may have removed a version since. From now on none does.
        if !self.has_all(&pinned).await? {
            self.remove_file(FOLDER, &file).await?;
            return Err(Error::SnapshotOvertaken { name: name.to_owned() });
        }
        Ok(pinned)
    }

    /// Whether the versions of a snapshot are in the store, whatever of them is known here.
    async fn has_all(&self, pinned: &Pinned) -> Result<bool> {
        let versions: Vec<(String, u64)> = pinned
            .versions()
            .map(|(name, version)| (name.to_owned(), version))
            .filter(|(_, version)| *version > 0)
            .collect();
        let looked = stream::iter(versions).map(|(name, version)| async move {
            let dataset = self.dataset(&name, version).await?;
            let stored = dataset.version_refs().await.at(&name, "listing its versions")?;
            Ok::<_, Error>(stored.iter().any(|stored| stored.version == version))
        });
        let found: Vec<bool> = looked.buffer_unordered(LOOKED_AT_ONCE).try_collect().await?;
        Ok(found.into_iter().all(|is_there| is_there))
    }

    /// All snapshots, by name.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn snapshots(&self) -> Result<Vec<Pinned>> {
        let files = self.list_files(FOLDER).await?;
        let mut names: Vec<String> = files
            .iter()
            .filter_map(|file| file.location.filename()?.strip_suffix(ENDING).map(str::to_owned))
            .filter(|name| check(name).is_ok())
            .collect();
        names.sort_unstable();
        let mut all = Vec::with_capacity(names.len());
        for name in names {
            match self.snapshot(&name).await {
                Ok(pinned) => all.push(pinned),
                // Somebody dropped it meanwhile.
                Err(Error::NoSnapshot { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// A snapshot by its name.
    ///
    /// # Errors
    /// [`Error::NoSnapshot`]; [`Error::TooNew`] and [`Error::TooOld`] if this release does not know its schema.
    pub async fn snapshot(&self, name: &str) -> Result<Pinned> {
        check(name)?;
        let bytes = self.read_file(FOLDER, &format!("{name}{ENDING}")).await?;
        let bytes = bytes.ok_or_else(|| Error::NoSnapshot { name: name.to_owned() })?;
        let mut pinned: Pinned = serde_json::from_slice(&bytes).map_err(|error| damaged(name, &error))?;
        pinned.head.derive_stream_times();
        self.accept(pinned.head.schema_version)?;
        Ok(pinned)
    }

    /// Lets a snapshot go. The next clean-up frees what only it has held.
    ///
    /// # Errors
    /// [`Error::NoSnapshot`], and when the lake cannot be written.
    pub async fn drop_snapshot(&self, name: &str) -> Result<()> {
        let pinned = self.snapshot(name).await?;
        self.remove_file(FOLDER, &format!("{}{ENDING}", pinned.name)).await
    }
}

/// A name is a part of a file's name and of a tag.
fn check(name: &str) -> Result<()> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let is_name =
        name.len() <= LONGEST && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(is_of_name);
    if is_name { Ok(()) } else { Err(Error::SnapshotName { name: name.to_owned() }) }
}

fn damaged(name: &str, error: &serde_json::Error) -> Error {
    Error::Damaged { position: 0, detail: format!("snapshot {name}: {error}") }
}

/// What snapshots hold of a dataset.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Held {
    /// Versions with a tag.
    pub versions: usize,
    /// Whether a snapshot has let a version go since the last time, which is worth a clean-up however few versions go.
    pub let_go: bool,
}

/// What [`hold`] gives, without a request where this process has held the same snapshots already. Before anything is
/// removed, [`hold`] has to look itself.
pub(crate) async fn hold_changes(lake: &Lake, name: &str, snapshots: &[Pinned]) -> Result<Held> {
    let held = tags_of(name, snapshots);
    let is_known = lake.snapshot_tags().get(name) == Some(&held);
    match is_known {
        true => Ok(Held { versions: held.len(), let_go: false }),
        false => hold(lake, name, snapshots).await,
    }
}

/// The tags that a dataset has to have.
fn tags_of(name: &str, snapshots: &[Pinned]) -> BTreeMap<String, u64> {
    let mut held = BTreeMap::new();
    for snapshot in snapshots {
        let version = snapshot.versions().find(|(held, _)| *held == name).map(|(_, version)| version);
        held.extend(version.map(|version| (snapshot.tag(), version)));
    }
    held
}

/// Makes the tags of a dataset those of the snapshots, so that its clean-up keeps their versions.
pub(crate) async fn hold(lake: &Lake, name: &str, snapshots: &[Pinned]) -> Result<Held> {
    let dataset = lake.newest(name).await?;
    let tags = dataset.tags();
    let found = tags.list().await.at(name, "listing its tags")?;
    let held = tags_of(name, snapshots);
    for (tag, version) in held.iter().filter(|(tag, _)| !found.contains_key(*tag)) {
        match tags.create(tag, *version).await {
            Ok(()) => {}
            // Another worker's clean-up was quicker.
            Err(_) if tags.get_version(tag).await.is_ok_and(|tagged| tagged == *version) => {}
            Err(error) if is_absent(&error) => {
                tracing::warn!(dataset = name, tag, version, "a snapshot names a version that is gone");
            }
            Err(error) => return Err(error).at(name, "tagging a version for a snapshot"),
        }
    }
    let mut let_go = false;
    for tag in found.keys().filter(|tag| tag.starts_with(TAG) && !held.contains_key(*tag)) {
        match tags.delete(tag).await {
            Err(lance::Error::RefNotFound { .. }) => {}
            other => other.at(name, "taking a snapshot's tag away")?,
        }
        let_go = true;
    }
    let versions = held.len();
    lake.snapshot_tags().insert(name.to_owned(), held);
    Ok(Held { versions, let_go })
}

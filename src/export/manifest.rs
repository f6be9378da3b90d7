//! What an export has written: the files of each table and day at one position.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Format, Maps, Options, Times, files};
use crate::error::Error;

/// The manifest of the newest export.
const NEWEST: &str = "manifest.json";
/// Those of all exports that are kept, by position. Engines pass over what begins with `_`.
const KEPT: &str = "_manifests";
/// How many are kept.
const MOST_KEPT: usize = 1_000;
const SCHEMA: &str = "tracerag.export/1";

/// An export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) schema: String,
    /// Address of the lake; absent in exports of before.
    #[serde(default)]
    pub(super) lake: String,
    pub(super) tenant: String,
    pub(super) format: String,
    pub(super) maps: String,
    pub(super) times: String,
    /// Position of the lake.
    pub(super) position: u64,
    pub(super) tables: BTreeMap<String, ExportedTable>,
}

/// A table of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ExportedTable {
    /// Names and Arrow types.
    pub(super) columns: Vec<(String, String)>,
    /// By day, as `2026-11-16`.
    pub(super) partitions: BTreeMap<String, Partition>,
}

/// A day of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Partition {
    /// Version of the dataset that it was read from.
    pub(super) version: u64,
    /// Which commit that is; see [`tracerag_index::Lake::commit_id`].
    #[serde(default)]
    pub(super) commit: String,
    /// What tells its rows from others, where one dataset has all days of the table; absent in exports of before.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) content: String,
    pub(super) rows: u64,
    pub(super) files: Vec<File>,
}

/// A Parquet file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct File {
    /// Below the folder of the export.
    pub(super) path: String,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

/// What has changed since an earlier export: what a loader does next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    /// Position that was exported.
    pub(crate) position: u64,
    /// Position of the earlier export; absent: there was none.
    pub(crate) since_position: Option<u64>,
    /// Days to load, in place of what was loaded of them before.
    pub(crate) changed: Vec<Changed>,
    /// Days without rows now, to be dropped.
    pub(crate) dropped: Vec<Changed>,
}

/// A day that has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Changed {
    pub(crate) table: String,
    pub(crate) day: String,
    pub(crate) rows: u64,
    /// Below the folder of the export.
    pub(crate) files: Vec<String>,
}

impl Partition {
    /// Whether its files are there: another program may have put its own in their place.
    pub(super) fn is_there(&self, to: &Path) -> bool {
        self.files.iter().all(|file| to.join(&file.path).is_file())
    }
}

impl Manifest {
    /// One without tables.
    pub(super) fn new(lake: &str, tenant: &str, options: &Options, position: u64) -> Self {
        let format = match options.format {
            Format::Parquet => "parquet",
            Format::Delta => "delta",
        };
        let maps = match options.maps {
            Maps::Map => "map",
            Maps::Json => "json",
        };
        let times = match options.times {
            Times::Ns => "ns",
            Times::Us => "us",
        };
        Self {
            schema: SCHEMA.to_owned(),
            lake: lake.to_owned(),
            tenant: tenant.to_owned(),
            format: format.to_owned(),
            maps: maps.to_owned(),
            times: times.to_owned(),
            position,
            tables: BTreeMap::new(),
        }
    }

    /// The newest one of a folder, if it has any.
    pub(super) fn newest(to: &Path) -> Result<Option<Self>, Error> {
        let path = to.join(NEWEST);
        if !path.is_file() {
            return Ok(None);
        }
        Self::read(&path).map(Some)
    }

    /// That of a position; none for 0, before which nothing was exported.
    pub(super) fn of_position(to: &Path, position: u64) -> Result<Option<Self>, Error> {
        if position == 0 {
            return Ok(None);
        }
        let path = kept(to, position);
        if !path.is_file() {
            return Err(Error::Usage(format!(
                "--since-position {position}: {} has no export of this position; name one of {}, or 0 for everything",
                to.display(),
                to.join(KEPT).display()
            )));
        }
        Self::read(&path).map(Some)
    }

    fn read(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let bytes = fs::read(path).map_err(Error::io(format!("read {name}")))?;
        let manifest: Self = serde_json::from_slice(&bytes).map_err(|error| not_one(path, &error.to_string()))?;
        match manifest.schema == SCHEMA {
            true => Ok(manifest),
            false => Err(not_one(path, "it is of another schema")),
        }
    }

    /// That another export may go on with this one's folder.
    pub(super) fn is_continued_by(&self, next: &Self, to: &Path) -> Result<(), Error> {
        let what = |manifest: &Self| {
            let Self { tenant, format, maps, times, .. } = manifest;
            format!("tenant {tenant}, format {format}, maps {maps}, times {times}")
        };
        if what(self) != what(next) {
            return Err(Error::Usage(format!(
                "{} holds an export of {}, and this would be one of {}; name another folder",
                to.display(),
                what(self),
                what(next)
            )));
        }
        Ok(())
    }

    /// Removes those that are kept: they are of another lake, and its positions say nothing of this one's.
    pub(super) fn forget_kept(to: &Path) -> Result<(), Error> {
        let folder = to.join(KEPT);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io(format!("remove {}", folder.display()))(error))
            }
            _ => Ok(()),
        }
    }

    /// Writes it beside those that are kept, and then in the place of the newest.
    pub(super) fn write(&self, to: &Path) -> Result<(), Error> {
        let folder = to.join(KEPT);
        fs::create_dir_all(&folder).map_err(Error::io(format!("make the folder {}", folder.display())))?;
        let text = serde_json::to_vec_pretty(self).map_err(tracerag_query::QueryError::from)?;
        // The first of a position stays: whoever loaded by it has none of the tables that were added since.
        let first = kept(to, self.position);
        if !first.is_file() {
            whole_file(&first, &text)?;
        }
        whole_file(&to.join(NEWEST), &text)?;
        forget_old(&folder);
        Ok(())
    }

    /// Removes files of exports that are in no table now, also those of an export that broke off: who reads whole folders
    /// would find rows twice. Of Delta tables only files that nobody ended; of the others its log knows who reads them.
    pub(super) fn sweep(&self, format: Format, to: &Path) {
        let current: BTreeSet<PathBuf> = self.files().map(|path| to.join(path)).collect();
        let days = self.tables.keys().flat_map(|table| entries(&to.join(table)));
        for path in days.filter(|day| is_named(day, |name| name.starts_with("day="))).flat_map(|day| entries(&day)) {
            let is_old = format == Format::Parquet && is_named(&path, files::is_whole) && !current.contains(&path);
            if !is_old && !is_named(&path, files::is_begun) {
                continue;
            }
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "a file of an earlier export is still there");
            }
        }
    }

    fn files(&self) -> impl Iterator<Item = &str> {
        let partitions = self.tables.values().flat_map(|table| table.partitions.values());
        partitions.flat_map(|partition| partition.files.iter().map(|file| file.path.as_str()))
    }

    fn days(&self) -> impl Iterator<Item = (&str, &str, &Partition)> {
        self.tables.iter().flat_map(|(table, exported)| {
            exported.partitions.iter().map(move |(day, partition)| (table.as_str(), day.as_str(), partition))
        })
    }

    fn day(&self, table: &str, day: &str) -> Option<&Partition> {
        self.tables.get(table)?.partitions.get(day)
    }

    /// What has changed since another one.
    pub(super) fn since(&self, base: Option<&Self>) -> Report {
        let files = |partition: &Partition| partition.files.iter().map(|file| file.path.clone()).collect();
        let changed = self.days().filter(|(table, day, partition)| {
            base.and_then(|base| base.day(table, day)).is_none_or(|before| before.files != partition.files)
        });
        let changed = changed.map(|(table, day, partition)| Changed {
            table: table.to_owned(),
            day: day.to_owned(),
            rows: partition.rows,
            files: files(partition),
        });
        let gone = base.into_iter().flat_map(Self::days).filter(|(table, day, _)| self.day(table, day).is_none());
        let dropped = gone.map(|(table, day, partition)| Changed {
            table: table.to_owned(),
            day: day.to_owned(),
            rows: partition.rows,
            files: files(partition),
        });
        Report {
            position: self.position,
            since_position: base.map(|base| base.position),
            changed: changed.collect(),
            dropped: dropped.collect(),
        }
    }
}

/// What is in a folder; nothing if there is none.
fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn is_named(path: &Path, fits: impl Fn(&str) -> bool) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(fits)
}

fn kept(to: &Path, position: u64) -> PathBuf {
    // So many digits that names are in the order of positions.
    to.join(KEPT).join(format!("{position:020}.json"))
}

fn not_one(path: &Path, why: &str) -> Error {
    Error::WrongFile {
        option: "--to",
        file: path.display().to_string(),
        why: format!("it is no manifest of an export ({why}); name another folder"),
    }
}

/// Keeps the newest of a folder's manifests. A loader that is further behind begins anew.
fn forget_old(folder: &Path) {
    let mut paths = entries(folder);
    paths.sort();
    for path in paths.iter().take(paths.len().saturating_sub(MOST_KEPT)) {
        if let Err(error) = fs::remove_file(path) {
            tracing::warn!(path = %path.display(), %error, "an old manifest is still there");
        }
    }
}

/// Writes a file so that nobody ever sees a part of it.
fn whole_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    use std::io::Write as _;
    let begun = path.with_extension("part");
    let write = || {
        let mut file = fs::File::create(&begun)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&begun, path)
    };
    write().map_err(Error::io(format!("write {}", path.display())))
}

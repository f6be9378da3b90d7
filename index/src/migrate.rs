//! Migration: the lake gets the schema of this release.
//!
//! Before it, all workers write the lake's schema, which the release before knows, too: workers are replaced one by
//! one, and may be rolled back. Only nullable columns are added, and no row is rewritten. Each step leaves a lake that
//! both releases read and write, up to the record that is the point of no return, so a migration that was killed is
//! simply done again:
//!
//! 1. All that is recorded is applied.
//! 2. Each dataset gets the columns that it lacks. The release before passes over them.
//! 3. One record raises the version. The journal is one total order, so a worker of the release before meets it before
//!    anything more of its own is recorded or applied, and stops ([`Error::TooNew`]).
//! 4. Applying the record publishes a head of the new version, which readers of the release before refuse.
//!
//! Nobody else needs to be kept away meanwhile: every commit is fenced, as those of several appliers are.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use arrow::datatypes::SchemaRef;
use tracerag_schemas::{SourcePartition, Table};
use uuid::Uuid;

use crate::columns;
use crate::error::{Error, Result, is_absent};
use crate::journal::apply::apply;
use crate::journal::heads::{self, HEADS};
use crate::journal::log::{Columns, JOURNAL, Log, State, read_back};
use crate::journal::record::{Kind, Record};
use crate::journal::writer::blank;
use crate::journal::{Head, now};
use crate::lake::{Lake, table_of};

/// Seconds for which a worker that has written nothing is still taken to be at work.
const PRESENT_SECONDS: u64 = 600;

/// What a migration does, or has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// The lake's version.
    pub from: u32,
    /// This release's.
    pub to: u32,
    /// The columns that datasets lack, by dataset.
    pub columns: BTreeMap<String, Vec<String>>,
    /// Workers that know no schema as new as this release's and wrote within the last ten minutes. They have to be
    /// replaced first.
    pub older: Vec<OlderWorker>,
}

/// A worker that a migration would stop.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OlderWorker {
    /// Its name: host and process id.
    pub worker: String,
    /// The newest schema that it writes.
    pub able: u32,
    /// Seconds since its last record.
    pub seconds: u64,
}

impl Migration {
    /// Looks what a migration would do, and writes nothing.
    ///
    /// # Errors
    /// When the lake cannot be read, or is not of a schema that this release knows.
    pub async fn plan(lake: &Lake) -> Result<Migration> {
        Self::plan_at(lake, now()).await
    }

    /// The plan at a time, in ns.
    async fn plan_at(lake: &Lake, now: i64) -> Result<Migration> {
        let (_, head) = lake.head().await?;
        let mut log = Log::new(lake.clone());
        log.refresh(&head).await?;
        let (from, to) = (log.state(&head).schema_version, lake.schemas().version());
        let mut columns = BTreeMap::new();
        if from == to {
            return Ok(Migration { from, to, columns, older: vec![] });
        }
        for (name, wanted) in datasets(lake, &head).await? {
            let dataset = match lake.newest(&name).await {
                Err(Error::Lance { source, .. }) if is_absent(&source) => continue,
                other => other?,
            };
            let missing = columns::missing(&dataset, &wanted);
            if !missing.is_empty() {
                columns.insert(name, missing.iter().map(|field| field.name().clone()).collect());
            }
        }
        Ok(Migration { from, to, columns, older: older(lake, to, now).await? })
    }

    /// Whether there is nothing to do.
    pub fn is_done(&self) -> bool {
        self.from == self.to
    }
}

/// Gives the lake the schema of this release, under a worker's name. Gives what was done; nothing if it has it already.
///
/// # Errors
/// [`Error::OlderWorker`] while a worker of an older release is at work; otherwise when the lake cannot be read or
/// written. The lake can be used as before then, and migrated again.
pub async fn migrate(lake: &Lake, worker: &str) -> Result<Migration> {
    migrate_at(lake, worker, now()).await
}

/// Migrates as at a time, in ns: from then on workers are counted back that have written.
pub(crate) async fn migrate_at(lake: &Lake, worker: &str, now: i64) -> Result<Migration> {
    let mut log = Log::new(lake.clone());
    let head = apply(lake, &mut log, &HashSet::new()).await?;
    let migration = Migration::plan_at(lake, now).await?;
    if migration.is_done() {
        return Ok(migration);
    }
    if let Some(OlderWorker { worker, able, seconds }) = migration.older.first().cloned() {
        return Err(Error::OlderWorker { worker, able, seconds, wait: PRESENT_SECONDS });
    }
    for (name, wanted) in datasets(lake, &head).await? {
        if let Some(added) = migration.columns.get(&name) {
            columns::add(lake, &name, &wanted).await?;
            tracing::info!(dataset = name.as_str(), columns = ?added, "columns added");
        }
    }
    let (from, to) = (migration.from, migration.to);
    let epoch = Uuid::new_v4().to_string();
    let draft = |_: &State| Ok(Record { schema_version: to, ..blank(Kind::Migration, &epoch, worker, vec![]) });
    let record = log.append(&epoch, draft).await?;
    tracing::info!(position = record.position, from, to, "migrated");
    apply(lake, &mut log, &HashSet::new()).await?;
    Ok(migration)
}

/// All datasets that a schema describes, with its newest columns: days that no head names yet, too.
async fn datasets(lake: &Lake, head: &Head) -> Result<Vec<(String, SchemaRef)>> {
    let mut names: BTreeSet<String> = head.datasets.keys().cloned().collect();
    for table in Table::ALL.iter().copied() {
        if table.by_day() {
            let days = lake.day_folders(table).await?;
            names.extend(days.into_iter().map(|day| format!("{}/{day}", table.name())));
        } else {
            names.insert(table.name().to_owned());
        }
    }
    let mut datasets = vec![(HEADS.to_owned(), heads::schema())];
    for name in names.into_iter().filter(|name| !head.is_dropped(name)) {
        if let Some((table, _)) = table_of(&name) {
            datasets.push((name, lake.schemas().newest(table)));
        }
    }
    Ok(datasets)
}

/// Workers that had a partition last, have written since some time, and know no schema as new as `to`. A worker that
/// waits for data writes nothing and is not seen; the migration stops it, and nothing is lost by that.
async fn older(lake: &Lake, to: u32, now: i64) -> Result<Vec<OlderWorker>> {
    let seconds_since = |record: &Record| now.saturating_sub(record.recorded_at).max(0).unsigned_abs() / 1_000_000_000;
    let is_recent = |record: &Record| seconds_since(record) < PRESENT_SECONDS;
    let journal = lake.newest(JOURNAL).await?;
    let reached = |records: &[Record]| records.first().is_some_and(|first| !is_recent(first));
    let records = read_back(&journal, Columns::WithoutStaged, reached).await?;
    let mut owners: BTreeMap<&SourcePartition, &Record> = BTreeMap::new();
    for record in &records {
        owners.extend(record.sources.iter().map(|interval| (&interval.source, record)));
    }
    let mut older: BTreeMap<&str, OlderWorker> = BTreeMap::new();
    for record in owners.into_values().filter(|record| record.able < to && is_recent(record)) {
        let seconds = seconds_since(record);
        let known = older.entry(&record.worker).or_insert_with(|| OlderWorker {
            worker: record.worker.clone(),
            able: record.able,
            seconds,
        });
        known.seconds = known.seconds.min(seconds);
    }
    Ok(older.into_values().collect())
}

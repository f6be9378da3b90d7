//! The journal: one total order of everything that was taken, and what the tables hold of it.
//!
//! 1. [`Writer::claim`] takes partitions with a record of their own, which shuts out whoever had them.
//! 2. [`Writer::stage`] writes an epoch's rows as Lance fragments that no version names yet.
//! 3. [`Writer::record`] appends one row that names those fragments and the offsets they come from.
//!    This single commit is the atomic point for all tables.
//! 4. [`Writer::apply`] adds everything recorded to the tables, each table in one commit, and then
//!    publishes a [`Head`].
//!
//! A record carries the lake's schema version, and a record of its own raises it (see `crate::migrate`).
//!
//! Intervals are half-open: `[from, to)`, where `from` is the `to` of the partition's last record and
//! `to` is the offset that will be read next. `from` is null as long as a partition was never read.

pub(crate) mod apply;
pub(crate) mod closed;
pub(crate) mod fence;
pub(crate) mod heads;
pub(crate) mod log;
pub(crate) mod position;
pub(crate) mod record;
mod recover;
pub(crate) mod writer;
mod writing;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use lance_table::format::Fragment;
use serde::{Deserialize, Serialize};
use tracerag_schemas::{SourcePartition, Table};

pub use writer::Writer;
pub use writing::{Writing, Written};

/// What a worker writes in one atomic step.
#[derive(Debug, Clone, Default)]
pub struct Epoch {
    /// Rows in their table's lake schema; several batches a table and several days are fine.
    pub rows: Vec<(Table, RecordBatch)>,
    /// How far each partition was read for this epoch.
    pub sources: Vec<SourceProgress>,
    /// Traces closed in this epoch.
    pub closed: Vec<ClosedTrace>,
}

/// How far a partition was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceProgress {
    /// The partition.
    pub source: SourcePartition,
    /// Offset that will be read next: everything below it is in this or an earlier epoch, or open.
    pub to: i64,
    /// Lowest offset that an open trace still needs; `to` when there is none.
    pub low_watermark: i64,
    /// Stream time of the partition, in ns.
    pub stream_time: i64,
}

/// A trace that was closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedTrace {
    /// Tenant.
    pub tenant: Arc<str>,
    /// Trace id.
    pub trace_id: [u8; 16],
    /// Stream time of the close, in ns.
    pub closed_at: i64,
    /// Greatest offset that belongs to the trace, per index into the epoch's `sources`.
    pub last_offsets: Vec<(u32, i64)>,
}

/// Where to go on with a partition that was claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// The partition.
    pub source: SourcePartition,
    /// Generation of the claim.
    pub generation: u64,
    /// Offset up to which rows that never wait are written already; `None` if never read.
    pub next: Option<i64>,
    /// Offset to read from, so that open traces are built again; `None` if never read.
    pub seek: Option<i64>,
    /// Stream time that was reached, in ns; `None` if never read.
    pub stream_time: Option<i64>,
    /// Traces that have rows at or after `seek`; and those closed within the late horizon before `stream_time` of which
    /// nothing is read again, each with one of its partitions only.
    pub closed: Vec<ResumedTrace>,
}

/// A trace that is written already, as far as one partition goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumedTrace {
    /// Tenant.
    pub tenant: Arc<str>,
    /// Trace id.
    pub trace_id: [u8; 16],
    /// Stream time of the close, in ns.
    pub closed_at: i64,
    /// Rows of the trace at offsets up to and including this one are in the lake.
    pub last_offset: i64,
}

/// The versions of all datasets at one position, which are one consistent picture.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// Number of this head: maintenance publishes further heads of the same position.
    pub sequence: u64,
    /// Position of the journal; 0 before the first record.
    pub position: u64,
    /// Version of the lake's schema.
    pub schema_version: u32,
    /// When it was published, in ns by the clock of the worker.
    pub published_at: i64,
    /// Datasets by name: `spans/2026-11-23`, `flags`.
    pub datasets: BTreeMap<String, DatasetHead>,
    /// Stream time of each partition that was read, in ns. It follows from `sources`.
    #[serde(skip)]
    pub stream_times: Vec<(SourcePartition, i64)>,
    /// Where each partition stands.
    pub sources: Vec<SourceState>,
    /// Positions whose record counts for nothing: its writer had lost a partition.
    pub void: Vec<u64>,
    /// Newest day that retention dropped, by table; rows of that day or an older one are not kept.
    pub dropped: BTreeMap<String, String>,
}

/// One dataset in a head.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetHead {
    /// Version of the dataset.
    pub version: u64,
    /// Least and greatest `ingested_at`, in ns; `None` without rows.
    pub ingested_at: Option<(i64, i64)>,
    /// Least and greatest value of each of the table's time columns, in ns; absent without values.
    pub times: BTreeMap<String, (i64, i64)>,
    /// Rows written. Retention by rows does not lower it.
    pub rows: u64,
}

/// Where a partition stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceState {
    /// The partition.
    pub source: SourcePartition,
    /// Generation of the newest claim.
    pub generation: u64,
    /// Offset that is read next; `None` if never read.
    pub next: Option<i64>,
    /// Lowest offset that an open trace still needs.
    pub low_watermark: Option<i64>,
    /// Stream time, in ns.
    pub stream_time: Option<i64>,
}

/// Rows that lie in the lake's folders but in no version of any dataset yet.
#[derive(Debug, Clone)]
pub struct Staged {
    /// Identity of the epoch; a record that is written twice under it counts once.
    pub epoch: String,
    /// What was staged, by dataset.
    pub datasets: Vec<StagedDataset>,
    /// Progress of the partitions.
    pub sources: Vec<SourceProgress>,
    /// Traces closed in the epoch.
    pub closed: Vec<ClosedTrace>,
    /// Rows by table.
    pub rows: BTreeMap<Table, u64>,
    /// Rows that retention would have dropped already, which were left out.
    pub expired: u64,
}

/// Fragments that wait for one dataset, with what a head wants to know of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StagedDataset {
    /// Name of the dataset.
    pub name: String,
    /// Rows in the fragments.
    pub rows: u64,
    /// Least and greatest `ingested_at`, in ns.
    pub ingested_at: Option<(i64, i64)>,
    /// Least and greatest value of each time column, in ns.
    pub times: BTreeMap<String, (i64, i64)>,
    /// The fragments, as Lance wrote them.
    pub fragments: Vec<Fragment>,
}

impl Head {
    /// The datasets of a table, oldest day first.
    pub fn of(&self, table: Table) -> impl Iterator<Item = (&str, &DatasetHead)> {
        // '0' follows '/' in ASCII, so this is every name below the table's folder.
        let (from, to) = match table.by_day() {
            true => (format!("{}/", table.name()), format!("{}0", table.name())),
            false => (table.name().to_owned(), format!("{}\0", table.name())),
        };
        self.datasets.range(from..to).map(|(name, dataset)| (name.as_str(), dataset))
    }

    /// Where a partition stands.
    pub fn source(&self, source: &SourcePartition) -> Option<&SourceState> {
        self.sources.iter().find(|state| &state.source == source)
    }

    /// Whether retention has dropped the dataset's day or a later one of its table.
    pub(crate) fn is_dropped(&self, name: &str) -> bool {
        let Some((table, day)) = name.split_once('/') else { return false };
        self.dropped.get(table).is_some_and(|dropped| day <= dropped.as_str())
    }
}

impl DatasetHead {
    pub(crate) fn empty(version: u64) -> Self {
        Self { version, ..Self::default() }
    }

    /// Takes in what was staged.
    pub(crate) fn add(&mut self, staged: &StagedDataset) {
        self.rows += staged.rows;
        self.ingested_at = widest(self.ingested_at, staged.ingested_at);
        for (column, range) in &staged.times {
            let known = self.times.get(column).copied();
            if let Some(wider) = widest(known, Some(*range)) {
                self.times.insert(column.clone(), wider);
            }
        }
    }
}

/// The range that covers both.
pub(crate) fn widest(a: Option<(i64, i64)>, b: Option<(i64, i64)>) -> Option<(i64, i64)> {
    match (a, b) {
        (Some((a0, a1)), Some((b0, b1))) => Some((a0.min(b0), a1.max(b1))),
        (one, other) => one.or(other),
    }
}

/// Nanoseconds since the epoch by this machine's clock.
pub(crate) fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

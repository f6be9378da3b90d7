//! What a flush gives.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use tracerag_schemas::ids::TraceId;
use tracerag_schemas::{SourcePartition, Table};

/// Why a trace closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CloseReason {
    /// Its root had ended and nothing came for `root_grace`.
    RootEnded,
    /// Nothing came for `idle_gap`.
    Idle,
    /// It was open for `max_duration`.
    MaxDuration,
    /// It passed `max_trace_bytes`.
    MaxBytes,
    /// The window was over its memory.
    Memory,
    /// The input of a replay or demo ended.
    Drained,
}

impl CloseReason {
    /// Every reason, in the order of [`Counts::closed`].
    pub const ALL: [CloseReason; 6] =
        [Self::RootEnded, Self::Idle, Self::MaxDuration, Self::MaxBytes, Self::Memory, Self::Drained];

    /// The text in `traces.close_reason`.
    pub fn text(self) -> &'static str {
        match self {
            Self::RootEnded => "root_ended",
            Self::Idle => "idle",
            Self::MaxDuration => "max_duration",
            Self::MaxBytes => "max_bytes",
            Self::Memory => "memory",
            Self::Drained => "drained",
        }
    }
}

/// A trace that this flush closed, or whose late logs it wrote: what the journal lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// Tenant.
    pub tenant: Arc<str>,
    /// Trace id.
    pub trace_id: TraceId,
    /// Stream time of the close, in ns.
    pub closed_at: i64,
    /// Why it closed.
    pub reason: CloseReason,
    /// Whether something of it may be in the lake already: then [`crate::revise`] has to see it.
    pub fragment: bool,
    /// Whether it was closed within the late horizon before: what is in the lake of it may be logs alone. A fragment
    /// that was not has spans there or nothing.
    pub late: bool,
    /// Whether the sampler dropped it: it is listed, so that it is not asked about again.
    pub sampled_away: bool,
    /// Greatest offset of its rows in each partition, duplicates included.
    pub last_offsets: Vec<(SourcePartition, i64)>,
}

/// How far a partition was read when the flush was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The partition.
    pub source: SourcePartition,
    /// Offset up to which rows that never wait are written. It does not go back while a partition is read
    /// again after a restart.
    pub next_offset: i64,
    /// Lowest offset that an open trace still needs; the offset read next if none does.
    pub low_watermark: i64,
    /// Stream time, in ns; `None` before the first record.
    pub stream_time: Option<i64>,
}

/// What one flush saw, in rows and traces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Spans given out.
    pub spans: u64,
    /// Log records given out.
    pub logs: u64,
    /// Spans dropped because their (trace id, span id) was there already.
    pub duplicate_spans: u64,
    /// Log records dropped because an equal record came in another message.
    pub duplicate_logs: u64,
    /// Spans and logs of traces that had been closed before.
    pub late: u64,
    /// Rows read again after a restart that were in the lake already.
    pub suppressed: u64,
    /// Spans without a trace id, which are dropped.
    pub without_trace: u64,
    /// Traces and fragments with spans that closed, in the order of [`CloseReason::ALL`].
    pub closed: [u64; 6],
    /// Traces that the sampler dropped.
    pub sampled_away: u64,
    /// Times that the record of closed traces or of log hashes was cut short of its horizon by memory.
    pub horizon_cuts: u64,
}

/// Everything that was due. Rows are clustered by trace: sorted by tenant and trace id, spans then by
/// start time and span id, logs by time. Logs without a trace stand last.
#[derive(Debug, Clone)]
pub struct Flushed {
    /// Spans, in flight.
    pub spans: RecordBatch,
    /// Log records, in flight.
    pub logs: RecordBatch,
    /// One row a closed trace that has spans, in lake schema. `failure_count` is that of the stored revisions, absent
    /// where there are none: whoever extracts failures adds those of these rows.
    pub traces: RecordBatch,
    /// Flag evaluations found in these spans and logs, in lake schema, source `evaluation`.
    pub flags: RecordBatch,
    /// First sightings of a build on a resource, in lake schema, source `resource`.
    pub builds: RecordBatch,
    /// The traces that closed.
    pub closed: Vec<Closed>,
    /// How far each assigned partition was read.
    pub progress: Vec<Progress>,
    /// Counters.
    pub counts: Counts,
    /// Whether more is due: flush again. One flush is bounded in bytes, as Arrow's offsets are.
    pub more: bool,
}

impl Flushed {
    /// A flush without rows.
    pub fn empty() -> Self {
        Self {
            spans: RecordBatch::new_empty(Table::Spans.in_flight_schema()),
            logs: RecordBatch::new_empty(Table::Logs.in_flight_schema()),
            traces: RecordBatch::new_empty(Table::Traces.lake_schema()),
            flags: RecordBatch::new_empty(Table::Flags.lake_schema()),
            builds: RecordBatch::new_empty(Table::Builds.lake_schema()),
            closed: vec![],
            progress: vec![],
            counts: Counts::default(),
            more: false,
        }
    }

    /// Whether there is no row in any table.
    pub fn is_empty(&self) -> bool {
        [&self.spans, &self.logs, &self.traces, &self.flags, &self.builds].iter().all(|batch| batch.num_rows() == 0)
            && self.closed.is_empty()
    }

    /// Whether any trace has to go through [`crate::revise`] before it is written.
    pub fn has_fragments(&self) -> bool {
        self.closed.iter().any(|trace| trace.fragment)
    }
}

//! Where a partition stands when the window gets it, and what of it is written already.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use tracerag_schemas::SourcePartition;
use tracerag_schemas::ids::TraceId;

/// What a worker knows of a partition that it takes, read back from the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumeState {
    /// The partition.
    pub source: SourcePartition,
    /// Whether it brings spans or logs. Other partitions hold no trace open, however far they are behind.
    pub feeds_traces: bool,
    /// Offset up to which rows that never wait are written; `None` if the partition was never read.
    pub next: Option<i64>,
    /// Offset from which it is read again, so that open traces are built again; `None` if never read.
    pub seek: Option<i64>,
    /// Stream time that was reached, in ns.
    pub stream_time: Option<i64>,
    /// Traces that have rows at or after `seek`; and others closed within the late horizon, each with one partition.
    pub closed: Vec<ResumedTrace>,
}

impl ResumeState {
    /// A partition of spans or logs that was never read.
    pub fn fresh(source: SourcePartition) -> Self {
        Self { source, feeds_traces: true, next: None, seek: None, stream_time: None, closed: vec![] }
    }
}

/// A trace that is written already, as far as one partition goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumedTrace {
    /// Tenant.
    pub tenant: Arc<str>,
    /// Trace id.
    pub trace_id: TraceId,
    /// Stream time of the close, in ns.
    pub closed_at: i64,
    /// Rows of the trace at offsets up to and including this one are in the lake.
    pub last_offset: i64,
}

/// Tells rows that are written already from those that are not, while a partition is read again.
#[derive(Debug, Default)]
pub(crate) struct Suppression {
    /// Rows at this offset or above were never read.
    pub next: i64,
    /// Last written offset of each closed trace that has rows to be read again.
    written: FxHashMap<(u32, TraceId), i64>,
}

impl Suppression {
    pub(crate) fn new(state: &ResumeState, mut tenant: impl FnMut(&str) -> u32) -> Self {
        let (next, seek) = (state.next.unwrap_or(0), state.seek.or(state.next).unwrap_or(0));
        let mut written = FxHashMap::default();
        for trace in state.closed.iter().filter(|trace| trace.last_offset >= seek) {
            let last = written.entry((tenant(&trace.tenant), trace.trace_id)).or_insert(i64::MIN);
            *last = trace.last_offset.max(*last);
        }
        Self { next, written }
    }

    /// Whether a row of a trace is in the lake.
    pub(crate) fn is_written(&self, tenant: u32, trace: TraceId, offset: i64) -> bool {
        offset < self.next && self.written.get(&(tenant, trace)).is_some_and(|last| offset <= *last)
    }

    /// Forgets what cannot be asked any more once the partition was read to `next`.
    pub(crate) fn passed(&mut self, next: i64) {
        if next >= self.next && !self.written.is_empty() {
            self.written = FxHashMap::default();
        }
    }
}

//! What was taken, for progress lines and for the closing summary.

use std::collections::BTreeMap;

use tracerag_enrich::CloseReason;
use tracerag_index::Written;
use tracerag_schemas::Table;

/// Counts since the pipeline started.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// Records (messages or lines) taken.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Spans decoded, doubled ones included.
    pub spans: u64,
    /// Log records decoded, doubled ones included.
    pub logs: u64,
    /// Metric points decoded.
    pub points: u64,
    /// Messages that went to the dead letters.
    pub dead_letters: u64,
    /// Records without payload.
    pub tombstones: u64,
    /// Bad records inside good messages, leniencies and the like, by kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Spans dropped because they were there already.
    pub duplicate_spans: u64,
    /// Log records dropped because they were there already.
    pub duplicate_logs: u64,
    /// Rows written, by table.
    pub written: BTreeMap<Table, u64>,
    /// Epochs written.
    pub epochs: u64,
    /// Newest position of the journal.
    pub position: u64,
}

impl Tally {
    /// Counts an epoch that landed.
    pub fn landed(&mut self, written: &Written) {
        self.epochs += 1;
        self.position = written.position;
        // A worker's own epoch is applied in the same step that recorded it.
        metrics::gauge!("tracerag_position_recorded").set(written.position as f64);
        metrics::gauge!("tracerag_position_applied").set(written.position as f64);
        metrics::histogram!("tracerag_epoch_seconds")
            .record((written.stage_millis + written.commit_millis) as f64 / 1e3);
        for (table, rows) in &written.rows {
            *self.written.entry(*table).or_default() += rows;
        }
    }

    /// Counts what the window saw.
    pub fn flushed(&mut self, counts: &tracerag_enrich::Counts) {
        self.duplicate_spans += counts.duplicate_spans;
        self.duplicate_logs += counts.duplicate_logs;
        for (reason, closed) in CloseReason::ALL.iter().zip(counts.closed) {
            metrics::counter!("tracerag_traces_closed_total", "reason" => reason.text()).increment(closed);
        }
        metrics::counter!("tracerag_duplicate_spans_total").increment(counts.duplicate_spans);
        metrics::counter!("tracerag_duplicate_logs_total").increment(counts.duplicate_logs);
        metrics::counter!("tracerag_late_rows_total").increment(counts.late);
    }

    /// Counts `number` of a kind.
    pub fn count(&mut self, kind: &'static str, number: u64) {
        if number > 0 {
            *self.kinds.entry(kind).or_default() += number;
        }
    }

    /// Rows written to a table.
    pub fn rows(&self, table: Table) -> u64 {
        self.written.get(&table).copied().unwrap_or(0)
    }
}

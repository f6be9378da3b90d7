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
        show_recorded(written.position);
        metrics::gauge!("tracerag_position_applied").set(written.applied as f64);
        metrics::histogram!("tracerag_epoch_seconds")
            .record((written.stage_millis + written.commit_millis) as f64 / 1e3);
        for (table, rows) in &written.rows {
            *self.written.entry(*table).or_default() += rows;
        }
    }

    /// Counts what the window saw, and what was found to be stored already.
    pub fn flushed(&mut self, counts: &tracerag_enrich::Counts) {
        self.duplicate_spans += counts.duplicate_spans;
        self.duplicate_logs += counts.duplicate_logs;
        for (reason, closed) in CloseReason::ALL.iter().zip(counts.closed) {
            metrics::counter!("tracerag_traces_closed_total", "reason" => reason.text()).increment(closed);
        }
        metrics::counter!("tracerag_duplicate_spans_total").increment(counts.duplicate_spans);
        metrics::counter!("tracerag_duplicate_logs_total").increment(counts.duplicate_logs);
        metrics::counter!("tracerag_late_rows_total").increment(counts.late);
        metrics::counter!("tracerag_suppressed_rows_total").increment(counts.suppressed);
        metrics::counter!("tracerag_spans_without_trace_total").increment(counts.without_trace);
        metrics::counter!("tracerag_sampled_away_traces_total").increment(counts.sampled_away);
        metrics::counter!("tracerag_horizon_cuts_total").increment(counts.horizon_cuts);
        // Nothing of these is written, so the summary has to say it.
        self.count("spans_without_trace", counts.without_trace);
        self.count("suppressed_rows", counts.suppressed);
        self.count("sampled_away_traces", counts.sampled_away);
        self.count("horizon_cuts", counts.horizon_cuts);
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

/// Tells of an epoch that the journal holds. If it cannot be applied, the applied position stays behind.
pub(super) fn show_recorded(position: u64) {
    metrics::gauge!("tracerag_position_recorded").set(position as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the window did not give out stands among the kinds; what did not happen is not listed.
    #[test]
    fn what_is_not_written_is_said() {
        let mut tally = Tally::default();
        for _ in 0..2 {
            tally.flushed(&tracerag_enrich::Counts {
                without_trace: 2,
                suppressed: 3,
                duplicate_spans: 1,
                ..tracerag_enrich::Counts::default()
            });
        }
        let kinds: Vec<_> = tally.kinds.into_iter().collect();
        assert_eq!(kinds, [("spans_without_trace", 4), ("suppressed_rows", 6)]);
        assert_eq!(tally.duplicate_spans, 2);
    }
}

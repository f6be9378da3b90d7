//! How long the window waits and how much it holds.

use tracerag_schemas::time::SECOND;

/// Waits in ns of stream time, sizes in bytes. The defaults are those of `tracerag.example.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowConfig {
    /// A trace whose root has ended closes when nothing came for this long.
    pub root_grace: i64,
    /// A trace without its root closes when nothing came for this long.
    pub idle_gap: i64,
    /// A trace closes this long after its first row, whatever comes.
    pub max_duration: i64,
    /// How long closed traces are remembered, so that what comes late is known as late. A whole trace that is
    /// sent again, with its root, after that is written again. At most a quarter of `memory` is used for it.
    pub late_horizon: i64,
    /// How long the hashes of written log records are remembered: a copy that closes later is written again. At
    /// most an eighth of `memory` is used for it.
    pub dedupe_horizon: i64,
    /// How long after its close a trace is sealed; see [`crate::Window::take_due_seals`].
    pub seal_after: i64,
    /// Bytes that the window may hold, all of its state included, and what is made of it: the flush that is being
    /// written, and batches that are being rewritten.
    pub memory: usize,
    /// Bytes of one trace beyond which it closes, with the message that it came to, and what follows becomes further
    /// revisions. An eighth of `memory` at most, or a flush takes more than its share.
    pub max_trace_bytes: usize,
    /// A partition without data is left out of its group's time after this long, in ns of the worker's clock.
    pub idle_partition: i64,
    /// Whether topics are keyed by trace id: time then runs per partition number, over its co-partitioned
    /// topics. Otherwise it is the minimum over all partitions, which is always safe.
    pub keyed: bool,
}

impl Default for WindowConfig {
    fn default() -> Self {
        Self {
            root_grace: 2 * SECOND,
            idle_gap: 10 * SECOND,
            max_duration: 300 * SECOND,
            late_horizon: 3600 * SECOND,
            dedupe_horizon: 600 * SECOND,
            seal_after: 600 * SECOND,
            memory: 512 << 20,
            max_trace_bytes: 64 << 20,
            idle_partition: 5 * SECOND,
            keyed: false,
        }
    }
}

impl WindowConfig {
    /// Bytes that may be open. Most of the rest is for the flush that is being written: it is there three times, as it
    /// was collected, unpacked and encoded. And while batches are rewritten, a part of them is there twice.
    pub(crate) fn open_memory(&self) -> usize {
        self.memory / 16 * 9
    }

    /// Bytes that one flush closes at most.
    pub(crate) fn flush_memory(&self) -> usize {
        (self.memory / 16).clamp(16 << 20, 64 << 20)
    }
}

//! The topics of changes, read whole beside the group: a flag that another worker reads holds for this one's traces,
//! too, and at once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tracerag_ingest::source::{Cluster, MessageBatch, Signal, SourceError, WholeTopics};
use tracerag_schemas::SourcePartition;

/// What closing traces are joined with.
const CHANGES: &[Signal] = &[Signal::Flags, Signal::Deployments];

/// How long telemetry waits for the changes that are there when the worker begins: a topic that cannot be read must not
/// stop all others.
const BEHIND_AT_MOST: Duration = Duration::from_secs(60);

/// What a worker reads of changes, whichever worker writes them.
pub(crate) struct ChangesBeside {
    /// `None`: there is nothing to read.
    cluster: Option<Cluster>,
    reading: Option<WholeTopics>,
    /// Present as long as telemetry waits.
    behind_since: Option<Instant>,
}

impl ChangesBeside {
    /// Nothing is read until [`Self::begin`].
    pub(crate) fn of(cluster: &Cluster) -> Self {
        Self { cluster: Some(cluster.clone()), reading: None, behind_since: None }
    }

    /// Without topics of changes.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self { cluster: None, reading: None, behind_since: None }
    }

    /// Begins to read, each partition from its offset or its oldest record on. What is read already goes on.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub(crate) fn begin(&mut self, from: impl FnOnce() -> BTreeMap<SourcePartition, i64>) -> Result<(), SourceError> {
        if let (Some(cluster), None) = (&self.cluster, &self.reading) {
            self.reading = Some(cluster.read_whole(CHANGES, from())?);
            self.behind_since = Some(Instant::now());
        }
        Ok(())
    }

    /// Ends reading: what was taken of it is forgotten.
    pub(crate) fn end(&mut self) {
        self.reading = None;
        self.behind_since = None;
    }

    /// Records that came, if any.
    pub(crate) fn next_batch(&mut self) -> Option<MessageBatch> {
        let reading = self.reading.as_ref()?;
        // What was there at the beginning was taken before this call, or it has not caught up yet.
        if let Some(since) = self.behind_since {
            if reading.has_caught_up() {
                tracing::info!("all changes of flags and deployments are read, telemetry goes on");
                self.behind_since = None;
            } else if since.elapsed() >= BEHIND_AT_MOST {
                tracing::warn!(
                    seconds = BEHIND_AT_MOST.as_secs(),
                    "changes of flags and deployments cannot be read to their end; telemetry goes on without those that \
                     are missing"
                );
                self.behind_since = None;
            }
        }
        reading.next_batch()
    }

    /// Whether telemetry has to wait: the first traces would be joined with too little.
    pub(crate) fn is_behind(&self) -> bool {
        self.behind_since.is_some()
    }
}

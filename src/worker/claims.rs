//! Claiming what the group has assigned: the lake says where each partition goes on, and then it is read.
//!
//! Both the lake and the brokers may be away; then it is tried again. The group must not wait with it: a worker that
//! waits takes an assignment for its own, without reading anything of it, and hears of the next one meanwhile.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures::FutureExt;
use tracerag_ingest::source::{Signal, SourceError, Start};
use tracerag_schemas::SourcePartition;

use super::{POLL, Worker};
use crate::error::Error;
use crate::patience::{Backoff, Patience, Step};
use crate::source::Source;

/// A claim that takes longer is given up for what the group has to tell.
const CLAIM_ALONE: Duration = Duration::from_millis(500);

/// Partitions that were assigned and are not claimed yet.
#[derive(Default)]
pub(super) struct Unclaimed {
    pub(super) sources: Vec<SourcePartition>,
    /// When they are claimed; `None`: at once.
    pub(super) at: Option<Instant>,
    pub(super) backoff: Backoff,
}

/// Where partitions are begun, and those that were never read before.
type Begun = (Vec<Start>, Vec<SourcePartition>);

impl<S: Source> Worker<S> {
    /// Claims what was assigned, if that is to be done now; serves the group where it is not.
    pub(super) async fn claim_or_wait(&mut self) -> Result<(), Error> {
        // What was revoked meanwhile is not to be claimed: the source begins exactly what is assigned when all is told.
        if self.unclaimed.sources.is_empty() || self.source.has_news() {
            return Ok(());
        }
        // The epoch in flight has to land first.
        let cannot_write = self.patience.as_ref().is_some_and(Patience::cannot_write);
        if cannot_write || self.unclaimed.at.is_some_and(|at| at > Instant::now()) {
            return Ok(self.source.attend()?);
        }
        self.claim().await
    }

    /// Claims what was assigned and begins to read it, or tries again a while later.
    async fn claim(&mut self) -> Result<(), Error> {
        let sources = self.unclaimed.sources.clone();
        let feeds_traces = |partition: &&SourcePartition| {
            let signal = self.source.kind(&partition.topic).map(|kind| kind.signal);
            matches!(signal, Some(Signal::Spans | Signal::Logs))
        };
        let feeding: BTreeSet<SourcePartition> = sources.iter().filter(feeds_traces).cloned().collect();
        // Before what may be given up: the epoch in flight has the writer.
        self.pipeline.settle_or_give_up().await?;
        let assigning = self.pipeline.assign(&sources, |source| feeding.contains(source)).boxed_local();
        let Some(claimed) = while_attending(&mut self.source, assigning).await? else {
            tracing::info!(partitions = sources.len(), "a claim is given up, because the group has something to tell");
            return Ok(());
        };
        let Some(known) = self.outlasts(Step::Claim, claimed)? else {
            self.unclaimed.at = Some(Instant::now() + self.unclaimed.backoff.wait());
            return Ok(());
        };
        let begun = self.begin(known);
        let Some((starts, fresh)) = self.outlasts(Step::Begin, begun)? else {
            // As if it had just been assigned.
            self.pipeline.revoke(&sources).await?;
            self.unclaimed.at = Some(Instant::now() + self.unclaimed.backoff.wait());
            return Ok(());
        };
        self.unclaimed = Unclaimed::default();
        let has_others = self.announce(&starts, &fresh);
        // Only who comes to others is in question: those that read already go on.
        if std::mem::take(&mut self.is_new) && has_others {
            self.keying.meet_others(self.source.members());
            self.keying.permits()?;
        }
        for Start { source, .. } in starts {
            // A partition that is begun is not held back, whatever it was before.
            self.held.remove(&source);
            match self.source.kind(&source.topic).map(|kind| kind.signal) {
                Some(Signal::Flags | Signal::Deployments) => self.changes.push(source),
                _ => self.telemetry.push(source),
            }
        }
        let pipeline = &self.pipeline;
        self.beside.begin(|| pipeline.changes_from())?;
        self.readiness.set_assigned(self.has_partitions());
        self.hold_telemetry()
    }

    /// Begins to read what was claimed. Gives where, and the partitions that were never read.
    fn begin(&mut self, known: Vec<(SourcePartition, Option<i64>)>) -> Result<Begun, Error> {
        let fresh: Vec<SourcePartition> =
            known.iter().filter(|(_, next)| next.is_none()).map(|(source, _)| source.clone()).collect();
        let initial = self.source.initial_offsets(&fresh)?;
        let mut starts = Vec::with_capacity(known.len());
        for (source, next) in known {
            let at = match next {
                Some(offset) => offset,
                None => {
                    let offset = initial.iter().find(|(fresh, _)| *fresh == source).map_or(0, |(_, offset)| *offset);
                    self.pipeline.begin_at(&source, offset);
                    offset
                }
            };
            let read_to = self.pipeline.read_to(&source).max(at);
            starts.push(Start { source, at, read_to });
        }
        let gaps = self.source.start(&starts)?;
        for gap in &gaps {
            self.pipeline.skip(gap, self.source.now())?;
        }
        Ok((starts, fresh))
    }

    /// Says what will be read, before anything is taken. Gives whether others may read these topics, too.
    fn announce(&mut self, starts: &[Start], fresh: &[SourcePartition]) -> bool {
        let taken = starts.iter().map(|start| (start.source.clone(), start.at)).collect();
        let plan = match self.source.plan(&taken) {
            Ok(plan) => plan,
            // It tells of all partitions. One of others that has no leader does not stop who reads its own.
            Err(error) => {
                tracing::warn!(%error, "what others read is not known; their changes are looked for in the lake");
                self.changes_elsewhere = Some(Instant::now());
                return true;
            }
        };
        for line in plan.iter().filter(|line| line.is_continued) {
            let start = if fresh.contains(&line.source) { "kafka.initial_offset" } else { "the lake" };
            tracing::info!(
                topic = %line.source.topic,
                partition = line.source.partition,
                signal = %line.signal,
                encoding = line.encoding.name(),
                from = line.start,
                to = line.end,
                messages = line.messages,
                start_is_by = start,
                "will read"
            );
        }
        let elsewhere: Vec<_> =
            plan.iter().filter(|line| !self.has(&line.source) && !taken.contains_key(&line.source)).collect();
        let has_changes = elsewhere.iter().any(|line| matches!(line.signal, Signal::Flags | Signal::Deployments));
        self.changes_elsewhere = has_changes.then(Instant::now);
        if !has_changes {
            self.patience.iter().for_each(|patience| patience.forget(Step::Changes));
        }
        let elsewhere = elsewhere.len();
        if elsewhere > 0 {
            match self.keying.doubt() {
                // A trace must meet itself and its logs in one worker.
                Some(why) => tracing::warn!(
                    partitions = elsewhere,
                    why,
                    "other members of the group have partitions of these topics; traces whose parts lie in both are cut"
                ),
                None => tracing::info!(partitions = elsewhere, "other members of the group have the other partitions"),
            }
        }
        elsewhere > 0
    }
}

/// Waits for a claim, and serves the group where that takes a while. `None`: the group has told something, and the claim
/// is given up, which changes nothing but its generation in the lake.
///
/// # Errors
/// When Kafka cannot be used any more.
pub(super) async fn while_attending<T>(
    source: &mut impl Source,
    claim: impl Future<Output = T>,
) -> Result<Option<T>, SourceError> {
    let mut claim = pin!(claim);
    let mut alone = CLAIM_ALONE;
    loop {
        tokio::select! {
            biased;
            claimed = &mut claim => return Ok(Some(claimed)),
            () = tokio::time::sleep(alone) => {}
        }
        source.attend()?;
        if source.has_news() {
            return Ok(None);
        }
        alone = POLL;
    }
}

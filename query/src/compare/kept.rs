//! Comparisons that stand beside bundles: made in the background and kept, so that no bundle waits for one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::sides::{AROUND, Asked, Found, Root, Sides};
use super::{Depth, Report, reported};
use crate::error::{QueryError, Result};
use crate::search::SharedMerges;
use crate::snapshot::Snapshot;

/// Reports that are kept at once; each takes some kilobytes.
const KEPT: usize = 256;
/// How long a comparison may go on that nobody waits for any more; in tests, which wait for it, without optimisation.
const LONGEST: Duration = Duration::from_secs(if cfg!(test) { 600 } else { 30 });

/// What a report holds of. Traces of one hour share one: it names its own example.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    lake: String,
    tenant: String,
    position: u64,
    fingerprint: String,
    root: Root,
    hour: i64,
}

/// Reports, the newest last.
type Kept = VecDeque<(Key, Arc<Report>)>;

/// What sessions keep of comparisons for bundles, and the turn of those that are made; clones share both.
#[derive(Clone)]
pub struct Comparisons {
    kept: Arc<Mutex<Kept>>,
    turn: Arc<Semaphore>,
}

impl Default for Comparisons {
    fn default() -> Self {
        // Each goes through all traces of a root, so that many at once would take from the bundles what they are made of.
        Self { kept: Arc::default(), turn: Arc::new(Semaphore::new(1)) }
    }
}

impl std::fmt::Debug for Comparisons {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Comparisons")
    }
}

/// The failing trace of a bundle.
pub(crate) enum Failing {
    /// As the bundle has read it, with what it failed of first.
    Read { trace: Found, fingerprint: String },
    /// By its id.
    Id(String),
}

/// What came of a comparison.
pub(crate) enum Compared {
    Report(Arc<Report>),
    /// The trace did not fail, or is there no more.
    Nothing,
    /// Another one is being made.
    Busy,
}

impl Comparisons {
    /// Begins a comparison, or finds it. It goes on when nobody waits for it any more, for the next bundle.
    pub(crate) fn begin(
        &self,
        snapshot: &Snapshot,
        merges: &SharedMerges,
        failing: Failing,
    ) -> JoinHandle<Result<Compared>> {
        let (own, snapshot, merges) = (self.clone(), snapshot.clone(), merges.clone());
        let made = async move {
            let made = own.of(&snapshot, &merges, failing).boxed();
            timeout(LONGEST, made).await.unwrap_or(Ok(Compared::Busy))
        };
        tokio::spawn(made)
    }

    async fn of(&self, snapshot: &Snapshot, merges: &SharedMerges, failing: Failing) -> Result<Compared> {
        let merges = merges.of(snapshot).await?;
        let asked = match failing {
            Failing::Read { trace, fingerprint } => Asked::around(trace, merges.target(&fingerprint)),
            Failing::Id(id) => match Asked::of_trace(snapshot, &id, merges).await {
                Ok(Some(asked)) => asked,
                Ok(None) | Err(QueryError::Argument { .. }) => return Ok(Compared::Nothing),
                Err(error) => return Err(error),
            },
        };
        let Some(trace) = &asked.trace else { return Ok(Compared::Nothing) };
        let key = Key {
            lake: snapshot.lake().uri().to_owned(),
            tenant: snapshot.tenant().to_owned(),
            position: snapshot.head().position,
            fingerprint: asked.fingerprint.clone(),
            root: trace.root.clone(),
            hour: trace.start.div_euclid(AROUND),
        };
        if let Some((_, report)) = self.kept().iter().find(|(known, _)| *known == key) {
            return Ok(Compared::Report(Arc::clone(report)));
        }
        let Ok(_turn) = self.turn.try_acquire() else { return Ok(Compared::Busy) };
        let depth = Depth::brief();
        let sides = Sides::around(snapshot, merges, asked, None, depth).await?;
        let report = Arc::new(reported(snapshot, sides, depth).await?);
        let mut kept = self.kept();
        kept.push_back((key, Arc::clone(&report)));
        if kept.len() > KEPT {
            kept.pop_front();
        }
        Ok(Compared::Report(report))
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<(Key, Arc<Report>)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! What differs between failing traces and comparable good ones.
//!
//! - **In:** a [`Request`] (a failing trace, or an incident) and one head of the lake.
//! - **Out:** a [`Report`]: what is over-represented among the failing traces, with counts, a test and its correction
//!   for all that was tested; and in words what was compared, or why nothing can be said.
//!
//! `sides` and `chosen` choose the traces, in bounded memory however many there are, `reading` reads their rows,
//! `observe` makes variables of them, and `judge` tests these. What processes told beside the traces is read when it is
//! known where these ran, of a bounded time (`near`), and batch by batch.
//! Everything after the reading is a function of rows alone. What is tested is chosen without a look at which of the
//! traces with a value failed, so that the correction holds; what only says that a trace failed is no variable (`consequence`).

mod chosen;
mod consequence;
mod judge;
mod kept;
mod lowest;
mod near;
mod observe;
mod reading;
mod report;
mod request;
mod sides;
mod variables;

#[cfg(test)]
mod tests;

use datafusion::common::runtime::SpawnedTask;
use datafusion::error::DataFusionError;

pub use kept::Comparisons;
pub(crate) use kept::{Compared, Failing};
pub use report::{Counted, Difference, Report};
pub use request::{Request, Subject};
pub use variables::Kind;

use crate::error::Result;
use crate::snapshot::Snapshot;
use near::Near;
use observe::Traces;
use sides::Sides;
pub(crate) use sides::{Found, Root, origin};

/// How much is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Depth {
    /// Failing traces at most.
    pub failing: usize,
    /// Good traces at most.
    pub good: usize,
    /// Whether memory metrics are compared.
    pub memory: bool,
    /// Whether heap summaries are compared; they need a scope of their own.
    pub heaps: bool,
}

impl Depth {
    /// For whoever asks for a comparison. More traces would tell no more of a cause that is worth to be told.
    pub(crate) fn whole(heaps: bool) -> Self {
        Self { failing: 200, good: 600, memory: true, heaps }
    }

    /// For what stands beside a bundle: little, and nothing that has to be looked for by time.
    pub(crate) fn brief() -> Self {
        Self { failing: 30, good: 60, memory: false, heaps: false }
    }
}

/// Compares the failing traces of a request with good ones.
///
/// # Errors
/// [`crate::QueryError::TraceUnknown`] and the others that say why there is no such trace,
/// [`crate::QueryError::IncidentUnknown`], [`crate::QueryError::Argument`] for a trace that did not fail, and when the
/// lake cannot be read. That there are too few traces is no error.
pub(crate) async fn compare(snapshot: &Snapshot, request: &Request, depth: Depth) -> Result<Report> {
    let sides = Sides::of(snapshot, request, depth).await?;
    reported(snapshot, sides, depth).await
}

/// What tells the sides apart, if there are enough traces.
async fn reported(snapshot: &Snapshot, sides: Sides, depth: Depth) -> Result<Report> {
    let position = snapshot.head().position;
    match sides.too_few() {
        Some(too_few) => Ok(Report::without(&sides, too_few, position)),
        None => judged(snapshot, sides, depth, position).await,
    }
}

/// Compares two sets of traces that somebody has chosen.
///
/// # Errors
/// When the lake cannot be read. Traces that are not there are left out, and too few are no error.
pub(crate) async fn compare_sets(snapshot: &Snapshot, these: &[&str], others: &[&str], depth: Depth) -> Result<Report> {
    let sides = Sides::given(snapshot, these, others).await?;
    let rule = format!("{} named traces against {} other named ones", sides.failing.len(), sides.good.len());
    let report = reported(snapshot, sides, depth).await?;
    Ok(Report { rule, ..report })
}

async fn judged(snapshot: &Snapshot, sides: Sides, depth: Depth, position: u64) -> Result<Report> {
    let rows = reading::read(snapshot, &sides).await?;
    // A thousand traces are some ten thousand spans, which keep a thread busy for a while.
    let (mut observed, sides) = on_its_own(move || Ok((observe::observe(&rows, &sides)?, sides))).await?;
    let near = Near::of(&sides.failing, &sides.good).filter(|_| depth.heaps || depth.memory);
    if let Some(near) = near {
        let (traces, services) = (Traces::of(&sides), observed.services());
        if depth.heaps {
            reading::heaps(snapshot, &sides, &services, near, |batch| observed.heaps(&traces, batch)).await?;
        }
        if depth.memory {
            reading::memory(snapshot, &services, near, |batch| observed.memory(batch)).await?;
        }
    }
    on_its_own(move || {
        let judged = judge::judge(&observed.variables(), sides.failing.len());
        let mut report = Report::of(&sides, judged, position);
        report.notes.extend(near.and_then(Near::note));
        Ok(report)
    })
    .await
}

/// Work that takes a thread for itself.
async fn on_its_own<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match SpawnedTask::spawn_blocking(work).join_unwind().await {
        Ok(done) => done,
        Err(error) => Err(DataFusionError::ExecutionJoin(Box::new(error)).into()),
    }
}

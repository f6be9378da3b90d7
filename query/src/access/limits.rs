//! How much a query and a tenant may have, and whose turn it is.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::caller::Refusal;

/// Seconds after which a tenant that has too many queries should ask again.
const RETRY_AFTER: u64 = 2;
/// Lanes from which on those of tenants that ask for nothing are forgotten: tenants come and go with an issuer's tokens.
const LANES: usize = 1_024;

/// What one query and one tenant may have.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes that a query may hold; what can be spilled is, beyond it.
    pub memory: usize,
    /// Time of a query, from planning to its last row.
    pub time: Duration,
    /// Rows of an answer.
    pub rows: u64,
    /// Bytes of an answer, as it is sent.
    pub bytes: u64,
    /// Queries that run at once, of all tenants: so many times `memory` is what they may hold together.
    pub queries: usize,
    /// Queries of a tenant that run at once.
    pub queries_per_tenant: usize,
    /// Queries of a tenant that wait for their turn.
    pub waiting_per_tenant: usize,
    /// How long a query waits for its turn.
    pub wait: Duration,
}

impl Default for Limits {
    /// 256 MiB, 60 s, a million rows, 1 GiB; eight queries at once, four of them of one tenant, of which 16 may wait
    /// for up to 10 s.
    fn default() -> Self {
        Self {
            memory: 256 << 20,
            time: Duration::from_secs(60),
            rows: 1_000_000,
            bytes: 1 << 30,
            queries: 8,
            queries_per_tenant: 4,
            waiting_per_tenant: 16,
            wait: Duration::from_secs(10),
        }
    }
}

/// The right to run one query, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    _of_tenant: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Turn {
    /// The same turn until a time comes. It needs a Tokio runtime.
    pub(super) fn until(self, time: Instant) -> TimedTurn {
        let turn = Arc::new(Mutex::new(Some(self)));
        let held = Arc::clone(&turn);
        let timer = tokio::spawn(async move {
            sleep_until(time).await;
            drop(held.lock().unwrap_or_else(PoisonError::into_inner).take());
        });
        TimedTurn { turn, timer }
    }
}

/// A turn that ends when it is dropped, or when its time has come. What is sent while it is computed needs one: a
/// client that reads no further, and does not leave either, would keep its turn for ever.
#[derive(Debug)]
pub struct TimedTurn {
    turn: Arc<Mutex<Option<Turn>>>,
    timer: JoinHandle<()>,
}

impl Drop for TimedTurn {
    fn drop(&mut self) {
        self.timer.abort();
        drop(self.turn.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Gives turns.
#[derive(Debug)]
pub(super) struct Admission {
    limits: Limits,
    all: Arc<Semaphore>,
    lanes: Mutex<HashMap<Arc<str>, Arc<Lane>>>,
}

/// The queries of one tenant.
#[derive(Debug)]
struct Lane {
    running: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// A place in a lane's queue, until it is dropped.
struct Place<'a>(&'a Lane);

impl<'a> Place<'a> {
    fn take(lane: &'a Lane, most: usize) -> Option<Self> {
        let place = Self(lane);
        // The place is counted before it is looked at, and given back if it was one too many.
        (lane.waiting.fetch_add(1, Ordering::Relaxed) < most).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Admission {
    pub(super) fn new(limits: Limits) -> Self {
        Self { all: Arc::new(Semaphore::new(limits.queries.max(1))), lanes: Mutex::default(), limits }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A turn for a query of a tenant, at once or after those before it.
    ///
    /// # Errors
    /// [`Refusal::Busy`] if too many wait, or it waited too long.
    pub(super) async fn turn(&self, tenant: &Arc<str>) -> Result<Turn, Refusal> {
        let lane = self.lane(tenant);
        if let Some(turn) = self.at_once(&lane) {
            return Ok(turn);
        }
        let busy = || Refusal::Busy { retry_after: RETRY_AFTER };
        let _place = Place::take(&lane, self.limits.waiting_per_tenant).ok_or_else(busy)?;
        let turn = async {
            let of_tenant = Arc::clone(&lane.running).acquire_owned().await.ok()?;
            let of_all = Arc::clone(&self.all).acquire_owned().await.ok()?;
            Some(Turn { _of_tenant: of_tenant, _of_all: of_all })
        };
        timeout(self.limits.wait, turn).await.ok().flatten().ok_or_else(busy)
    }

    fn at_once(&self, lane: &Lane) -> Option<Turn> {
        let of_tenant = Arc::clone(&lane.running).try_acquire_owned().ok()?;
        let of_all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(Turn { _of_tenant: of_tenant, _of_all: of_all })
    }

    fn most_running(&self) -> usize {
        self.limits.queries_per_tenant.max(1)
    }

    fn lane(&self, tenant: &Arc<str>) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if lanes.len() >= LANES && !lanes.contains_key(tenant) {
            // Whoever asks or waits holds the lane, and who runs a query one of its places.
            let most = self.most_running();
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1 || lane.running.available_permits() < most);
        }
        let lane = lanes.entry(Arc::clone(tenant)).or_insert_with(|| {
            let running = Arc::new(Semaphore::new(self.most_running()));
            Arc::new(Lane { running, waiting: AtomicUsize::new(0) })
        });
        Arc::clone(lane)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Of many tenants that came once nothing is kept; one whose query runs keeps its lane, and so its bound.
    #[tokio::test]
    async fn lanes_are_forgotten() {
        let admission = Admission::new(Limits { queries_per_tenant: 1, waiting_per_tenant: 0, ..Limits::default() });
        let busy: Arc<str> = "busy".into();
        let turn = admission.turn(&busy).await.unwrap();
        for tenant in 0..3 * LANES {
            admission.turn(&tenant.to_string().into()).await.unwrap();
        }
        assert!(admission.lanes.lock().unwrap().len() <= LANES);
        assert!(admission.turn(&busy).await.is_err(), "its query still runs");
        drop(turn);
        admission.turn(&busy).await.unwrap();
    }
}

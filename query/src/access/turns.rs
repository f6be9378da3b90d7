//! Whose turn it is: who runs a query, who waits, and who is served next.
//!
//! Queries run for as long as a minute, so whoever holds all turns shuts out everybody else for that long. A tenant
//! therefore runs no more queries than are left for the others (a dynamic threshold) as soon as there are others: of eight
//! turns the one has four, the next two, and two more one each. As long as it is alone it leaves one turn, for whoever comes
//! next, and none where there are two or fewer: a person with a cursor open asks something else. Those that wait are served tenant by tenant, not in the order in which they came:
//! a tenant that asks for much waits behind its own queries only.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::caller::Refusal;
use super::limits::Limits;

/// Seconds after which a tenant that has too many queries should ask again.
const RETRY_AFTER: u64 = 2;

/// The right to run one query, until it is dropped. Whatever computes for the query holds it, so that it is given back
/// when the last of them has ended, and not when nobody waits for them any more.
#[derive(Debug)]
pub struct Turn {
    line: Arc<Line>,
    tenant: Arc<str>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.line.give_back(&self.tenant);
    }
}

/// A hold on a turn that ends when it is dropped, or when its time has come. What is sent while it is computed needs
/// one: a client that reads no further, and does not leave either, would keep the turn for ever.
#[derive(Debug)]
pub struct TimedTurn {
    turn: Arc<Mutex<Option<Arc<Turn>>>>,
    timer: JoinHandle<()>,
}

impl TimedTurn {
    /// A hold until a time. It needs a Tokio runtime.
    pub(super) fn new(turn: Arc<Turn>, until: Instant) -> Self {
        let turn = Arc::new(Mutex::new(Some(turn)));
        let held = Arc::clone(&turn);
        let timer = tokio::spawn(async move {
            sleep_until(until).await;
            drop(held.lock().unwrap_or_else(PoisonError::into_inner).take());
        });
        Self { turn, timer }
    }
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
    line: Arc<Line>,
}

impl Admission {
    pub(super) fn new(limits: Limits) -> Self {
        let line = Line {
            most: limits.queries.max(1),
            most_of_tenant: limits.queries_per_tenant.max(1),
            most_waiting: limits.waiting_per_tenant,
            state: Mutex::default(),
        };
        Self { limits, line: Arc::new(line) }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A turn for a query of a tenant, at once or after those before it.
    ///
    /// # Errors
    /// [`Refusal::Busy`] if too many wait, or it waited too long.
    pub(super) async fn turn(&self, tenant: &Arc<str>) -> Result<Turn, Refusal> {
        let busy = Refusal::Busy { retry_after: RETRY_AFTER };
        match Line::enter(&self.line, tenant) {
            Entered::Runs(turn) => Ok(turn),
            Entered::Waits(mut place) => match timeout(self.limits.wait, &mut place.call).await {
                Ok(Ok(turn)) => Ok(turn),
                Ok(Err(_)) | Err(_) => Err(busy),
            },
            Entered::Refused => Err(busy),
        }
    }

    /// Tenants of which something is known.
    #[cfg(test)]
    fn tenants(&self) -> usize {
        self.line.state().lanes.len()
    }
}

/// All queries that run or wait.
#[derive(Debug)]
struct Line {
    /// Queries that run at once.
    most: usize,
    most_of_tenant: usize,
    most_waiting: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: usize,
    /// Of tenants that run or wait, and of no others: tenants come and go with an issuer's tokens.
    lanes: HashMap<Arc<str>, Lane>,
    /// The tenants that wait, in the order in which they are served.
    next: VecDeque<Arc<str>>,
    /// How many have waited.
    waited: u64,
}

/// The queries of one tenant.
#[derive(Debug, Default)]
struct Lane {
    running: usize,
    waiting: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    called: oneshot::Sender<Turn>,
}

/// What becomes of who asks for a turn.
enum Entered {
    Runs(Turn),
    Waits(Place),
    Refused,
}

/// A place in the line, until it is dropped.
struct Place {
    line: Arc<Line>,
    tenant: Arc<str>,
    number: u64,
    call: oneshot::Receiver<Turn>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.line.leave(&self.tenant, self.number);
        // A turn that came and was not taken is dropped with the receiver, and so given back.
    }
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a tenant may run one more: only if it runs fewer than are left, or nobody else runs or waits.
    fn has_room(&self, state: &State, tenant: &Arc<str>) -> bool {
        let most = match state.lanes.keys().all(|known| known == tenant) {
            true if self.most <= 2 => self.most,
            true => self.most - 1,
            false => self.most.saturating_sub(state.running),
        };
        state.running(tenant) < self.most_of_tenant.min(most)
    }

    fn enter(line: &Arc<Self>, tenant: &Arc<str>) -> Entered {
        let mut state = line.state();
        let waiting = state.lanes.get(tenant).map_or(0, |lane| lane.waiting.len());
        // Who waits, waits because there is no room: there is none to be passed over.
        if line.has_room(&state, tenant) {
            state.running += 1;
            state.lanes.entry(Arc::clone(tenant)).or_default().running += 1;
            return Entered::Runs(Turn { line: Arc::clone(line), tenant: Arc::clone(tenant) });
        }
        if waiting >= line.most_waiting {
            return Entered::Refused;
        }
        let number = state.waited;
        state.waited += 1;
        let (called, call) = oneshot::channel();
        if waiting == 0 {
            state.next.push_back(Arc::clone(tenant));
        }
        state.lanes.entry(Arc::clone(tenant)).or_default().waiting.push_back(Waiter { number, called });
        Entered::Waits(Place { line: Arc::clone(line), tenant: Arc::clone(tenant), number, call })
    }

    fn leave(&self, tenant: &Arc<str>, number: u64) {
        let mut state = self.state();
        if let Some(lane) = state.lanes.get_mut(tenant) {
            lane.waiting.retain(|waiter| waiter.number != number);
            state.tidy(tenant);
        }
    }

    /// Ends a query of a tenant, and calls those whose turn it is then.
    fn give_back(self: &Arc<Self>, tenant: &Arc<str>) {
        let called = {
            let mut state = self.state();
            state.running = state.running.saturating_sub(1);
            if let Some(lane) = state.lanes.get_mut(tenant) {
                lane.running = lane.running.saturating_sub(1);
                state.tidy(tenant);
            }
            self.next(&mut state)
        };
        // Outside of the lock: a turn for somebody who has just left comes back at once.
        for (tenant, called) in called {
            drop(called.send(Turn { line: Arc::clone(self), tenant }));
        }
    }

    /// Whose turn it is, as many as there is room for.
    fn next(&self, state: &mut State) -> Vec<(Arc<str>, oneshot::Sender<Turn>)> {
        let mut called = Vec::new();
        while let Some(index) = state.next.iter().position(|tenant| self.has_room(state, tenant)) {
            let Some(tenant) = state.next.remove(index) else { break };
            let Some(lane) = state.lanes.get_mut(&tenant) else { continue };
            let Some(waiter) = lane.waiting.pop_front() else { continue };
            lane.running += 1;
            state.running += 1;
            if !lane.waiting.is_empty() {
                state.next.push_back(Arc::clone(&tenant));
            }
            called.push((tenant, waiter.called));
        }
        called
    }
}

impl State {
    /// How many queries of a tenant run.
    fn running(&self, tenant: &Arc<str>) -> usize {
        self.lanes.get(tenant).map_or(0, |lane| lane.running)
    }

    /// Forgets of a tenant what is over.
    fn tidy(&mut self, tenant: &Arc<str>) {
        let Some(lane) = self.lanes.get(tenant) else { return };
        if lane.waiting.is_empty() {
            self.next.retain(|next| next != tenant);
            if lane.running == 0 {
                self.lanes.remove(tenant);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    const BUSY: Refusal = Refusal::Busy { retry_after: RETRY_AFTER };

    fn admission(limits: Limits) -> Arc<Admission> {
        Arc::new(Admission::new(limits))
    }

    /// Asks for a turn beside the test, and has found its place, or its turn, when this returns.
    async fn asks(admission: &Arc<Admission>, tenant: &Arc<str>) -> JoinHandle<Result<Turn, Refusal>> {
        let (admission, tenant) = (Arc::clone(admission), Arc::clone(tenant));
        let asking = tokio::spawn(async move { admission.turn(&tenant).await });
        // On a runtime of one thread the task has run up to its waiting when this one goes on.
        tokio::task::yield_now().await;
        asking
    }

    /// Two queries of a tenant run and one waits; the next is refused at once, one of another tenant is not. When a turn
    /// ends, who waits has it.
    #[tokio::test]
    async fn turns_are_given_by_tenant() {
        let limits = Limits { queries: 4, queries_per_tenant: 2, waiting_per_tenant: 1, ..Limits::default() };
        let admission = admission(limits);
        let (acme, other): (Arc<str>, Arc<str>) = ("acme".into(), "other".into());
        let first = admission.turn(&acme).await.unwrap();
        let _second = admission.turn(&acme).await.unwrap();
        let waits = asks(&admission, &acme).await;
        assert_eq!(admission.turn(&acme).await.unwrap_err(), BUSY);
        let _theirs = admission.turn(&other).await.unwrap();
        drop(first);
        waits.await.unwrap().unwrap();
    }

    /// Tenants that ask for all they can get leave a turn for one that runs nothing: it is answered at once, though they
    /// wait for more.
    #[tokio::test]
    async fn a_tenant_that_runs_nothing_has_a_turn() {
        let admission = admission(Limits { queries: 8, queries_per_tenant: 4, ..Limits::default() });
        let mut asking = Vec::new();
        for hostile in ["one", "two", "one", "two"].map(Arc::<str>::from) {
            for _ in 0..4 {
                asking.push(asks(&admission, &hostile).await);
            }
        }
        for name in ["third", "fourth"] {
            admission.turn(&name.into()).await.unwrap();
        }
        let (run, wait): (Vec<_>, Vec<_>) = asking.into_iter().partition(JoinHandle::is_finished);
        assert_eq!((run.len(), wait.len()), (6, 10), "two of eight turns are left");
    }

    /// One tenant asks for more than there is, and nobody else for anything. Guarantees that it has all turns but one, at once;
    /// that this one is there for whoever comes next; and that of two it has both, so that whoever has a cursor open may ask
    /// something else.
    #[tokio::test]
    async fn who_is_alone_leaves_one_turn() {
        for (queries, alone) in [(1, 1), (2, 2), (3, 2), (8, 7)] {
            let admission = admission(Limits { queries, queries_per_tenant: 8, ..Limits::default() });
            let mut asking = Vec::new();
            for _ in 0..9 {
                asking.push(asks(&admission, &"many".into()).await);
            }
            assert_eq!(asking.iter().filter(|asking| asking.is_finished()).count(), alone, "of {queries}");
            let other = asks(&admission, &"other".into()).await;
            assert_eq!(other.is_finished(), alone < queries, "of {queries}");
        }
    }

    /// A tenant has three of four turns and waits for more when two others come. Guarantees that the one has the turn that is
    /// left, and the other one the next that is free, before those that have waited for longer; and that the first tenant
    /// has three again once the others are gone.
    #[tokio::test]
    async fn who_was_alone_gives_way() {
        let admission = admission(Limits { queries: 4, queries_per_tenant: 4, ..Limits::default() });
        let (many, one, two): (Arc<str>, Arc<str>, Arc<str>) = ("many".into(), "one".into(), "two".into());
        let mut running = Vec::new();
        for _ in 0..3 {
            running.push(admission.turn(&many).await.unwrap());
        }
        let waits = asks(&admission, &many).await;
        let of_one = admission.turn(&one).await.unwrap();
        let of_two = asks(&admission, &two).await;
        assert!(!of_two.is_finished(), "all turns are given");
        drop(running.pop());
        let of_two = of_two.await.unwrap().unwrap();
        drop(of_one);
        tokio::task::yield_now().await;
        assert!(!waits.is_finished(), "it has two, and one is left");
        drop(of_two);
        waits.await.unwrap().unwrap();
    }

    /// Those that wait are served tenant by tenant: the one query of a tenant comes before the second of another, though
    /// this one asked for many before.
    #[tokio::test]
    async fn tenants_are_served_in_turn() {
        let admission = admission(Limits { queries: 1, queries_per_tenant: 1, ..Limits::default() });
        let (many, few): (Arc<str>, Arc<str>) = ("many".into(), "few".into());
        let held = admission.turn(&many).await.unwrap();
        let first = asks(&admission, &many).await;
        let second = asks(&admission, &many).await;
        let theirs = asks(&admission, &few).await;
        drop(held);
        let first = first.await.unwrap().unwrap();
        assert!(!second.is_finished() && !theirs.is_finished());
        drop(first);
        let theirs = theirs.await.unwrap().unwrap();
        assert!(!second.is_finished(), "it is not its tenant's turn");
        drop(theirs);
        second.await.unwrap().unwrap();
    }

    /// Sixty-four clients of one tenant that ask at once are all answered with the limits as they are.
    #[tokio::test]
    async fn many_clients_of_a_tenant_find_a_place() {
        let admission = admission(Limits::default());
        let acme: Arc<str> = "acme".into();
        let mut asking = Vec::new();
        for _ in 0..64 {
            asking.push(asks(&admission, &acme).await);
        }
        for asking in asking {
            drop(asking.await.unwrap().unwrap());
        }
    }

    /// Who waits longer than a query may is refused, and leaves its place to the next.
    #[tokio::test]
    async fn waiting_ends() {
        let wait = Duration::from_millis(1);
        let admission = admission(Limits { queries_per_tenant: 1, waiting_per_tenant: 1, wait, ..Limits::default() });
        let acme: Arc<str> = "acme".into();
        let turn = admission.turn(&acme).await.unwrap();
        for _ in 0..2 {
            assert_eq!(admission.turn(&acme).await.unwrap_err(), BUSY);
        }
        drop(turn);
        admission.turn(&acme).await.unwrap();
    }

    /// Who goes away while it waits, or when it was just called, keeps nobody from its place and its turn.
    #[tokio::test]
    async fn who_goes_away_leaves_nothing() {
        let admission = admission(Limits { queries_per_tenant: 1, waiting_per_tenant: 1, ..Limits::default() });
        let acme: Arc<str> = "acme".into();
        let held = admission.turn(&acme).await.unwrap();
        let waits = asks(&admission, &acme).await;
        waits.abort();
        waits.await.unwrap_err();
        let called = asks(&admission, &acme).await;
        drop(held);
        // It was called, and has not gone on yet.
        called.abort();
        drop(called.await);
        admission.turn(&acme).await.unwrap();
        assert_eq!(admission.tenants(), 0);
    }

    /// A hold for a time ends with its time, though it is kept; the turn is another's when nothing else holds it.
    #[tokio::test]
    async fn a_hold_ends_with_its_time() {
        let admission = admission(Limits { queries_per_tenant: 1, waiting_per_tenant: 1, ..Limits::default() });
        let acme: Arc<str> = "acme".into();
        let turn = Arc::new(admission.turn(&acme).await.unwrap());
        let computes = Arc::clone(&turn);
        let held = TimedTurn::new(turn, Instant::now());
        while Arc::strong_count(&computes) > 1 {
            tokio::task::yield_now().await;
        }
        let next = asks(&admission, &acme).await;
        assert!(!next.is_finished(), "what computes holds the turn");
        drop(computes);
        next.await.unwrap().unwrap();
        drop(held);
    }

    /// Of tenants that came once nothing is kept.
    #[tokio::test]
    async fn tenants_are_forgotten() {
        let admission = admission(Limits { queries_per_tenant: 1, waiting_per_tenant: 0, ..Limits::default() });
        let busy: Arc<str> = "busy".into();
        let turn = admission.turn(&busy).await.unwrap();
        for tenant in 0..100 {
            admission.turn(&tenant.to_string().into()).await.unwrap();
        }
        assert_eq!(admission.tenants(), 1);
        assert_eq!(admission.turn(&busy).await.unwrap_err(), BUSY, "its query still runs");
        drop(turn);
        assert_eq!(admission.tenants(), 0);
    }
}

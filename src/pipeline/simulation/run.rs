//! A run: workers on one broker and one store, step by step as the plan says, and then in peace until all is written.
//!
//! One worker moves at a time, until its step is done and its epoch has landed, or until it stands still at an operation
//! on the store. Then the next one moves, and finds it there.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use object_store::memory::InMemory;
use tracerag_index::Lake;
use tracerag_schemas::time::SECOND;

use super::broker::{Broker, SimulatedSource, TOPICS};
use super::checks::{self, Sent};
use super::keeper::{Keep, Keeper};
use super::plan::{Plan, Turn};
use super::store::Tap;
use super::traffic::BEGIN;
use crate::beside::ChangesBeside;
use crate::config::{Config, Span};
use crate::error::Error;
use crate::keying::KeyingCheck;
use crate::pipeline::Pipeline;
use crate::pipeline::pace::Pace;
use crate::telemetry::Readiness;
use crate::worker::Worker;

/// Within so many rounds of all workers everything is read and written once nothing fails any more.
const ROUNDS: usize = 400;
/// So often a worker writes in peace.
const FLUSH_EVERY: usize = 12;
/// Longer than any wait of the window and any jump of a clock.
const QUIET: i64 = 3_000 * SECOND;
const NEVER: Duration = Duration::MAX;

type Simulated = Worker<SimulatedSource>;
type Step = LocalBoxFuture<'static, (Option<Simulated>, Result<(), Error>)>;

/// What a worker is doing.
enum Doing {
    /// It has not started, or has died.
    Nothing,
    /// It waits for its next step.
    Waiting(Box<Simulated>),
    /// It stands still in the middle of a step.
    Standing(Step),
}

struct Process {
    tap: Tap,
    doing: Doing,
    /// Upkeep has removed versions that it may hold.
    is_overtaken: bool,
}

impl Process {
    fn new(store: &Arc<InMemory>) -> Self {
        Self { tap: Tap::new(Arc::clone(store)), doing: Doing::Nothing, is_overtaken: false }
    }
}

pub(super) struct Run {
    plan: Plan,
    config: Arc<Config>,
    store: Arc<InMemory>,
    broker: Rc<RefCell<Broker>>,
    processes: Vec<Process>,
    keeper: Keeper,
    /// Looks at heads, and meets no fault.
    observer: Option<Lake>,
    /// Bursts that were sent, and those of them before there was peace.
    sent: usize,
    before_peace: usize,
    /// Partition and offset of what nobody can read.
    bad: Vec<(String, i32, i64)>,
    /// What happened, turn by turn.
    pub story: Vec<String>,
}

impl Run {
    /// Nothing has begun yet. `empty` is the store with a lake of which nothing was written.
    pub fn new(plan: Plan, empty: &InMemory) -> Self {
        let store = Arc::new(if plan.has_lake { empty.fork() } else { InMemory::new() });
        let broker = Rc::new(RefCell::new(Broker::new(plan.numbers, plan.workers, BEGIN)));
        let processes = (0..plan.workers).map(|_| Process::new(&store)).collect();
        let config = Arc::new(configuration(plan.is_calm));
        let keeper = Keeper::default();
        let (observer, bad, story) = (None, Vec::new(), Vec::new());
        Self { plan, config, store, broker, processes, keeper, observer, sent: 0, before_peace: 0, bad, story }
    }

    /// Runs to the end; gives what is wrong by then.
    pub async fn finish(&mut self) -> Result<(), String> {
        for turn in std::mem::take(&mut self.plan.turns) {
            self.take(&turn).await?;
        }
        self.heal();
        self.keeper.finish().await;
        self.catch_up().await?;
        self.broker.borrow_mut().clock += QUIET;
        self.come_to_rest().await?;
        if self.plan.is_kept {
            let became = self.keep(Keep::whole()).await?;
            checks::same("upkeep in peace", &became, &"done")?;
        }
        let lake = Tap::new(Arc::clone(&self.store)).lake().await.map_err(|error| error.to_string())?;
        let ends = self.broker.borrow().ends().map(|(source, end)| (source.clone(), end)).collect();
        let Plan { traffic, is_calm, .. } = &self.plan;
        let (bad, is_calm, before_peace) = (self.bad.as_slice(), *is_calm, self.before_peace);
        checks::check(&lake, &Sent { traffic, bad, ends, is_calm, before_peace }).await
    }

    async fn take(&mut self, turn: &Turn) -> Result<(), String> {
        let mut became = "done";
        match turn {
            Turn::Send => self.send(),
            Turn::Step { worker, may_flush } => became = self.step(*worker, *may_flush).await?,
            Turn::Tick(time) => self.broker.borrow_mut().clock += time,
            Turn::Jump { worker, by } => self.broker.borrow_mut().jump(*worker, *by),
            Turn::Rebalance(wanted) => self.broker.borrow_mut().rebalance(wanted),
            Turn::Expel { worker, polls } => self.broker.borrow_mut().expel(*worker, *polls),
            Turn::Hold { worker, after } => self.processes[*worker].tap.hold(*after),
            Turn::Release { worker } => self.processes[*worker].tap.release(),
            Turn::Fail { worker, after, fault } => self.processes[*worker].tap.fail(*after, *fault),
            Turn::Kill { worker, after, fault } => self.processes[*worker].tap.kill(*after, *fault),
            Turn::Delete => self.delete().await?,
            Turn::Keep(keep) => became = self.keep(*keep).await?,
        }
        self.story.push(format!("{turn:?}: {became}"));
        Ok(())
    }

    /// Sends the next burst, one millisecond after the other.
    fn send(&mut self) {
        let Some(burst) = self.plan.traffic.bursts.get(self.sent) else { return };
        let mut broker = self.broker.borrow_mut();
        for message in burst {
            broker.clock += SECOND / 1_000;
            let (source, offset) = broker.append(message.topic, message.number, message.value.clone());
            if message.is_bad {
                self.bad.push((source.topic.to_string(), source.partition, offset));
            }
        }
        self.sent += 1;
    }

    /// Deletes all records before the oldest that an open trace needs.
    async fn delete(&mut self) -> Result<(), String> {
        let observer = match self.observer.take() {
            Some(lake) => lake,
            // To open it reads every table: many operations for one look.
            None => Tap::new(Arc::clone(&self.store)).lake().await.map_err(|error| error.to_string())?,
        };
        let head = observer.newest_head().await.map_err(|error| error.to_string())?;
        self.observer = Some(observer);
        for state in &head.sources {
            if let Some(low) = state.low_watermark.or(state.next) {
                self.broker.borrow_mut().delete(&state.source, low);
            }
        }
        Ok(())
    }

    /// A round of upkeep, to its end or until it stands still. Says what became of it.
    async fn keep(&mut self, keep: Keep) -> Result<&'static str, String> {
        for process in &mut self.processes {
            process.is_overtaken |= keep.is_hasty;
        }
        self.keeper.keep(keep, &self.store).await
    }

    /// One step of a worker, to its end or until it stands still. Says what became of it.
    async fn step(&mut self, worker: usize, may_flush: bool) -> Result<&'static str, String> {
        if self.processes[worker].tap.has_ended() {
            // It has died since its last step, while it wrote.
            self.bury(worker);
            return Ok("died");
        }
        let mut step = match std::mem::replace(&mut self.processes[worker].doing, Doing::Nothing) {
            Doing::Nothing => self.start(worker),
            Doing::Waiting(mut process) => {
                process.pipeline_mut().pace = Pace::new(if may_flush { Duration::ZERO } else { NEVER });
                async move {
                    let done = process.turn().await;
                    (Some(*process), done)
                }
                .boxed_local()
            }
            Doing::Standing(step) => step,
        };
        let tap = self.processes[worker].tap.clone();
        let done = tokio::select! {
            biased;
            done = &mut step => Some(done),
            () = tap.stopped() => None,
        };
        if tap.has_ended() {
            self.bury(worker);
            return Ok("died");
        }
        let Some((process, done)) = done else {
            self.processes[worker].doing = Doing::Standing(step);
            return Ok("stands still");
        };
        match (process, done) {
            (Some(process), Ok(())) => {
                while is_writing(process.pipeline()) && !tap.is_stalled() && !tap.has_ended() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                self.processes[worker].doing = Doing::Waiting(Box::new(process));
                Ok("done")
            }
            (_, Err(error)) if is_grave(&error) || !(tap.has_failed() || self.is_excused(worker, &error)) => {
                Err(format!("worker {worker} ended: {error}"))
            }
            _ => {
                self.bury(worker);
                Ok("ended with an error")
            }
        }
    }

    /// Whether an error may come of holding a version for longer than any query may take; a worker would try again.
    fn is_excused(&self, worker: usize, error: &Error) -> bool {
        self.processes[worker].is_overtaken && error.is_passing()
    }

    /// A new process in the place of one that has died.
    fn start(&mut self, worker: usize) -> Step {
        let tap = self.processes[worker].tap.clone();
        let config = Arc::clone(&self.config);
        let source = SimulatedSource::new(Rc::clone(&self.broker), worker, self.plan.batch);
        async move {
            match Pipeline::on(tap.lake(), &config, &format!("worker-{worker}")).await {
                Ok(mut pipeline) => {
                    pipeline.pace = Pace::new(NEVER);
                    let (readiness, keying) = (Arc::new(Readiness::default()), KeyingCheck::passed());
                    let worker = Worker::new(source, pipeline, readiness, keying, ChangesBeside::none());
                    (Some(worker), Ok(()))
                }
                Err(error) => (None, Err(error)),
            }
        }
        .boxed_local()
    }

    /// Whatever a process that has died left under way is never done.
    fn bury(&mut self, worker: usize) {
        self.processes[worker].tap.end();
        self.processes[worker] = Process::new(&self.store);
        self.broker.borrow_mut().leave(worker);
    }

    /// From now on nothing fails, and all that was not sent yet is sent.
    fn heal(&mut self) {
        for process in &self.processes {
            process.tap.heal();
        }
        let wanted: Vec<usize> = (0..self.plan.numbers).map(|number| number % self.plan.workers).collect();
        self.broker.borrow_mut().heal();
        self.broker.borrow_mut().rebalance(&wanted);
        self.before_peace = self.sent;
        while self.sent < self.plan.traffic.bursts.len() {
            self.send();
        }
        self.story.push(String::from("peace"));
    }

    /// Until every record was read, and what was written of it has landed.
    async fn catch_up(&mut self) -> Result<(), String> {
        let mut rounds_at_end = 0;
        for round in 0..ROUNDS {
            self.round(rounds_at_end > 0 || round % FLUSH_EVERY == 0).await?;
            rounds_at_end = if self.is_all_read() { rounds_at_end + 1 } else { 0 };
            // An epoch that failed is noticed with the one after it.
            if rounds_at_end > 3 {
                return Ok(());
            }
        }
        Err(format!("not everything was read within {ROUNDS} rounds"))
    }

    fn is_all_read(&self) -> bool {
        let lag = self.waiting().flat_map(|worker| worker.lag());
        lag.filter(|lag| lag.records() == 0).count() == TOPICS.len() * self.plan.numbers
    }

    /// Until nothing is open and everything is written.
    async fn come_to_rest(&mut self) -> Result<(), String> {
        for round in 0..ROUNDS {
            self.round(true).await?;
            let at_rest = self.waiting().filter(|worker| is_at_rest(worker.pipeline())).count();
            // After the first rounds each of them has seen what time it is.
            if round >= 2 && at_rest == self.plan.workers && self.is_all_read() {
                return Ok(());
            }
        }
        Err(format!("not everything was written within {ROUNDS} rounds"))
    }

    async fn round(&mut self, may_flush: bool) -> Result<(), String> {
        for worker in 0..self.plan.workers {
            let became = self.step(worker, may_flush).await?;
            if became != "done" {
                self.story.push(format!("worker {worker} {became}"));
            }
        }
        Ok(())
    }

    fn waiting(&self) -> impl Iterator<Item = &Simulated> {
        self.processes.iter().filter_map(|process| match &process.doing {
            Doing::Waiting(worker) => Some(worker.as_ref()),
            _ => None,
        })
    }

    /// Operations on the store of the processes that live.
    pub fn operations(&self) -> u64 {
        self.processes.iter().map(|process| process.tap.operations()).sum()
    }
}

impl Drop for Run {
    /// What a failed run has under way must not outlive it.
    fn drop(&mut self) {
        for process in &self.processes {
            process.tap.end();
        }
    }
}

fn is_writing(pipeline: &Pipeline) -> bool {
    pipeline.in_flight.as_ref().is_some_and(|task| !task.is_finished())
}

/// Whether a store that fails is no excuse: a task has panicked, or the lake contradicts itself.
fn is_grave(error: &Error) -> bool {
    use tracerag_index::Error::{Cut, Damaged, MissingFile};
    matches!(error, Error::Stopped { .. } | Error::Index(Cut { .. } | Damaged { .. } | MissingFile { .. }))
}

/// Whether there is nothing of which an epoch would have to be written.
fn is_at_rest(pipeline: &Pipeline) -> bool {
    pipeline.in_flight.is_none()
        && pipeline.held().0 == 0
        && !pipeline.held.is_due(&[], 0, true)
        && pipeline.waiting.rows.is_empty()
        && !pipeline.progress.values().any(|progress| progress.is_dirty())
}

/// The defaults, but that copies are known for longer than a run takes. Where it is calm, no partition is left out
/// because a worker has not come round to it.
fn configuration(is_calm: bool) -> Config {
    let mut config = Config::default();
    config.redaction.key = String::from("0123456789abcdef0123456789abcdef");
    config.window.dedupe_horizon = Span::seconds(6 * 3_600);
    config.window.late_horizon = Span::seconds(6 * 3_600);
    if is_calm {
        config.window.idle_partition = Span::seconds(3_600);
    }
    config
}

/// A store with a lake of which nothing was written.
pub(super) async fn empty_lake() -> Result<Arc<InMemory>, tracerag_index::Error> {
    let store = Arc::new(InMemory::new());
    Tap::new(Arc::clone(&store)).lake().await?;
    Ok(store)
}

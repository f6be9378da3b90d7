//! What every interface has, and how each does what a caller asks for: as one visit, with a turn, in a session.

use std::sync::Arc;

use tokio::sync::watch;

use super::changes::ChangeIntake;
use super::engine::Engine;
use super::http::Origins;
use super::problem::Problem;
use super::sessions::Sessions;
use crate::access::{Caller, Gate, Scope, Visit};
use crate::error::{QueryError, Result as QueryResult};
use crate::session::Session;

/// What every handler has; clones share it.
#[derive(Clone, Debug)]
pub(super) struct App {
    inner: Arc<Inner>,
    changes: Option<Arc<dyn ChangeIntake>>,
}

#[derive(Debug)]
struct Inner {
    gate: Gate,
    sessions: Sessions,
    engine: Engine,
    origins: Origins,
    stopping: watch::Receiver<bool>,
    is_cut: watch::Receiver<bool>,
}

impl App {
    /// `stopping` is true from when no more requests are taken, `is_cut` when answers that are under way are broken off.
    pub(super) fn new(
        gate: Gate,
        sessions: Sessions,
        engine: Engine,
        origins: Origins,
        stopping: watch::Receiver<bool>,
        is_cut: watch::Receiver<bool>,
    ) -> Self {
        Self { inner: Arc::new(Inner { gate, sessions, engine, origins, stopping, is_cut }), changes: None }
    }

    /// The same, with what takes changes.
    pub(super) fn with_changes(self, changes: Option<Arc<dyn ChangeIntake>>) -> Self {
        Self { changes, ..self }
    }

    /// What takes changes, if anything does.
    pub(super) fn changes(&self) -> Option<&dyn ChangeIntake> {
        self.changes.as_deref()
    }

    pub(super) fn gate(&self) -> &Gate {
        &self.inner.gate
    }

    pub(super) fn sessions(&self) -> &Sessions {
        &self.inner.sessions
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// True from when answers that are under way are broken off.
    pub(super) fn is_cut(&self) -> watch::Receiver<bool> {
        self.inner.is_cut.clone()
    }

    pub(super) fn origins(&self) -> &Origins {
        &self.inner.origins
    }

    /// Whether no more requests are taken.
    pub(super) fn is_stopping(&self) -> bool {
        *self.inner.stopping.borrow()
    }

    /// Does what a caller asks for, as one visit: requires the scope, waits for a turn, opens a session on the newest
    /// head, and runs the work on the threads for queries.
    pub(super) fn ask<T, W>(
        &self,
        caller: &Caller,
        scope: Scope,
        visit: &mut Visit,
        work: impl FnOnce(Session) -> W + Send + 'static,
    ) -> impl Future<Output = Result<T, Problem>>
    where
        T: Send + 'static,
        W: Future<Output = QueryResult<T>> + Send + 'static,
    {
        self.ask_at(None, caller, scope, visit, work)
    }

    /// The same on the head of a position, where one is given.
    pub(super) async fn ask_at<T, W>(
        &self,
        position: Option<u64>,
        caller: &Caller,
        scope: Scope,
        visit: &mut Visit,
        work: impl FnOnce(Session) -> W + Send + 'static,
    ) -> Result<T, Problem>
    where
        T: Send + 'static,
        W: Future<Output = QueryResult<T>> + Send + 'static,
    {
        let asked = async {
            caller.require(scope)?;
            let turn = self.gate().turn(caller).await?;
            let session = match position {
                Some(position) => self.sessions().open_at(caller, position).await?,
                None => self.sessions().open(caller).await?,
            };
            let limit = self.gate().limits().time;
            // The work has the turn, for nobody may wait for it any more when its thread still computes.
            let session = session.holding(turn);
            let work = async move {
                let done = tokio::time::timeout(limit, work(session)).await;
                done.unwrap_or_else(|_| Err(QueryError::TimeLimit { seconds: limit.as_secs() }))
            };
            self.inner.engine.run(work).await.map_err(Problem::from)
        };
        noted(visit, asked.await)
    }
}

/// Writes down why a visit failed, if it did.
pub(super) fn noted<T>(visit: &mut Visit, result: Result<T, Problem>) -> Result<T, Problem> {
    if let Err(problem) = &result {
        visit.end(problem.code());
    }
    result
}

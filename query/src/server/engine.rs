//! The threads that queries run on, apart from those that answer: a query that computes for long keeps nobody from
//! being answered, and a deep plan has the stack it needs.

use hyper::rt::Executor;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinSet;

use crate::error::{QueryError, Result};

/// Bytes of stack of each thread; only what is used takes memory.
const STACK: usize = 64 << 20;
/// Threads for each processor: queries of one tenant shall not have all of them.
const THREADS: usize = 2;
/// Threads at least. A step of a query keeps its thread until it ends; with these a tenant needs more of its queries to
/// keep all of them than it may run on two processors, with a task a processor each.
const FEWEST: usize = 12;

/// A runtime for queries.
#[derive(Debug)]
pub(crate) struct Engine {
    /// There until it is dropped.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Engine {
    pub(crate) fn start() -> std::io::Result<Self> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = Builder::new_multi_thread()
            .worker_threads((processors * THREADS).max(FEWEST))
            .thread_name("query")
            .thread_stack_size(STACK)
            .enable_all()
            .build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Runs work on these threads. It ends when nobody waits for it any more.
    ///
    /// # Errors
    /// [`QueryError::Stopped`] if it fails in a way that it should not.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let mut tasks = JoinSet::new();
        tasks.spawn_on(work, &self.handle);
        match tasks.join_next().await {
            Some(Ok(done)) => done,
            Some(Err(error)) => {
                tracing::error!(%error, "a query failed in a way that it should not");
                Err(QueryError::Stopped)
            }
            None => Err(QueryError::Stopped),
        }
    }

    /// The threads.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Begins work on these threads. It ends when the set is dropped.
    pub(crate) fn begin(&self, work: impl Future<Output = ()> + Send + 'static) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        tasks.spawn_on(work, &self.handle);
        tasks
    }
}

/// The threads on which what is asked on a connection of HTTP/2 is answered; without any, those of the connection.
#[derive(Debug, Clone)]
pub(super) struct Threads(pub(super) Option<Handle>);

impl<F> Executor<F> for Threads
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, work: F) {
        match &self.0 {
            Some(threads) => drop(threads.spawn(work)),
            None => drop(tokio::spawn(work)),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // A runtime that is dropped waits for its threads, which no asynchronous task may do.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

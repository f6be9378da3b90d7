//! What computes an answer: it holds what it was given until its last thread has left it, and a panic in it is its error.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Once};

use datafusion::common::runtime::{JoinSetTracer, set_join_set_tracer};
use datafusion::error::DataFusionError;
use futures::FutureExt;
use futures::future::BoxFuture;

/// What is told of a panic in DataFusion: what it says itself is for its authors, and in the log.
const BROKEN: &str = "a function or an operator of the statement does not bear what it was given, which is a fault of the \
                      query engine; write the statement differently";

/// What is held as long as something computes.
pub(crate) type Held = Arc<dyn Any + Send + Sync>;

tokio::task_local! {
    static HELD: Held;
}

/// Computes, and holds something meanwhile. Operators that start tasks of their own leave these behind when an answer is
/// no longer wanted, each within the step that it is at: all hold it too, and the last one lets it go.
pub(crate) async fn holding<T>(held: Option<Held>, work: impl Future<Output = T>) -> T {
    static INHERITED: Once = Once::new();
    // A second tracer is refused: whoever embeds the library and has one sees tasks that hold nothing.
    INHERITED.call_once(|| drop(set_join_set_tracer(&Inherited)));
    match held {
        Some(held) => HELD.scope(held, work).await,
        None => work.await,
    }
}

/// Computes, and makes an error of a panic, which would go on in whoever reads: that may be the connection of a client.
///
/// # Errors
/// As the work, and when it panics.
pub(crate) async fn caught<T, E: From<DataFusionError>>(work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let done = AssertUnwindSafe(work).catch_unwind().await;
    done.unwrap_or_else(|_| Err(DataFusionError::Execution(String::from(BROKEN)).into()))
}

/// Gives a task of DataFusion what the one holds that starts it.
struct Inherited;

type Output = Box<dyn Any + Send>;

impl JoinSetTracer for Inherited {
    fn trace_future(&self, task: BoxFuture<'static, Output>) -> BoxFuture<'static, Output> {
        match HELD.try_with(Arc::clone) {
            Ok(held) => HELD.scope(held, task).boxed(),
            Err(_) => task,
        }
    }

    fn trace_block(&self, task: Box<dyn FnOnce() -> Output + Send>) -> Box<dyn FnOnce() -> Output + Send> {
        match HELD.try_with(Arc::clone) {
            Ok(held) => Box::new(move || HELD.sync_scope(held, task)),
            Err(_) => task,
        }
    }
}

//! How long what a query needs is held.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use arrow::datatypes::DataType;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use tokio::time::Instant;

use super::lake::TestLake;

/// A thread of an answer is within a step, and nobody wants the answer any more. Guarantees that what the session holds
/// for it, a turn of a server, is let go when the thread has left the step, and not before: also when the step belongs to
/// a task that an operator started, which ends later than the answer's own.
///
/// Each of two partitions may block a thread; others are there to end the answer's own task, and to keep the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_computes_holds_its_turn() {
    let lake = TestLake::example(false, 100).await;
    for query in ["select step(value) from generate_series(1, 3)", "select step(value) from generate_series(1, 100000)"]
    {
        let ((begins, begun), (go_on, waits)) = (mpsc::channel::<()>(), mpsc::channel::<()>());
        let waits = Mutex::new(waits);
        let step = move |values: &[ColumnarValue]| {
            begins.send(()).ok();
            waits.lock().unwrap().recv().ok();
            Ok::<_, DataFusionError>(values[0].clone())
        };
        let step = create_udf("step", vec![DataType::Int64], DataType::Int64, Volatility::Volatile, Arc::new(step));
        let turn = Arc::new(());
        let session = lake.session("acme").await.holding(Arc::clone(&turn));
        session.context().register_udf(step);
        let answer = session.sql(query, None).await.unwrap();
        drop(session);
        begun.recv().unwrap();
        drop(answer);
        // The answer's own task is told to end, and needs a thread to do so.
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(Arc::strong_count(&turn) > 1, "{query}: a thread is within the step");
        drop(go_on);
        let until = Instant::now() + Duration::from_secs(30);
        while Arc::strong_count(&turn) > 1 {
            assert!(Instant::now() < until, "{query}: the turn is not given back");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

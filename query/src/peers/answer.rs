//! An answer that several servers compute, and what becomes of it when one of them fails.

use arrow::error::ArrowError;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};

/// The rows of `spread`, or those of `alone` if that fails before it gave any. Errors of the query itself, and later ones,
/// are given out as they are.
pub(super) fn or_alone(
    spread: SendableRecordBatchStream,
    alone: impl Future<Output = Result<SendableRecordBatchStream>> + Send + 'static,
) -> SendableRecordBatchStream {
    let schema = spread.schema();
    let begun: (SendableRecordBatchStream, Option<BoxFuture<'static, _>>) = (spread, Some(alone.boxed()));
    let rows = futures::stream::try_unfold(begun, |(mut rows, mut alone)| async move {
        loop {
            match rows.next().await {
                Some(Ok(batch)) if batch.num_rows() == 0 => {}
                Some(Ok(batch)) => return Ok(Some((batch, (rows, None)))),
                None => return Ok(None),
                Some(Err(error)) => match alone.take().filter(|_| !is_own(&error)) {
                    Some(alone) => {
                        tracing::warn!(%error, "a query could not be computed by several servers and is computed here");
                        metrics::counter!("tracerag_query_spread_total", "outcome" => "alone").increment(1);
                        // What others still compute ends with this.
                        drop(rows);
                        rows = alone.await?;
                    }
                    None => return Err(error),
                },
            }
        }
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}

/// Messages of the library that are of the way of a query over several servers, and yet told as those of its expressions.
const OF_THE_WAY: [&str; 2] = ["Worker::execute_task timed-out", "URLs available during routing"];

/// Whether an error is of the query's expressions, as a division by zero, and would come again on one server.
fn is_own(error: &DataFusionError) -> bool {
    match error.find_root() {
        DataFusionError::Execution(message) => !OF_THE_WAY.iter().any(|part| message.contains(part)),
        DataFusionError::ArrowError(error, _) => !matches!(
            **error,
            ArrowError::ExternalError(_)
                | ArrowError::IoError(..)
                | ArrowError::IpcError(_)
                | ArrowError::MemoryError(_)
                | ArrowError::SchemaError(_)
        ),
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};
    use arrow::datatypes::{DataType, Field, Schema};
    use arrow::record_batch::RecordBatch;
    use datafusion::common::{exec_datafusion_err, internal_datafusion_err};
    use futures::TryStreamExt as _;

    use super::*;
    use crate::error::QueryError;

    fn rows(parts: Vec<Result<Vec<i64>>>) -> SendableRecordBatchStream {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let batches = parts.into_iter().map({
            let schema = Arc::clone(&schema);
            move |part| {
                let column: ArrayRef = Arc::new(Int64Array::from(part?));
                Ok(RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap())
            }
        });
        let batches: Vec<Result<RecordBatch>> = batches.collect();
        Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter(batches)))
    }

    fn failed() -> Result<Vec<i64>> {
        Err(internal_datafusion_err!("a peer is gone"))
    }

    async fn answer(spread: Vec<Result<Vec<i64>>>, alone: Vec<Result<Vec<i64>>>) -> Result<usize> {
        let batches: Vec<RecordBatch> = or_alone(rows(spread), async { Ok(rows(alone)) }).try_collect().await?;
        Ok(batches.iter().map(RecordBatch::num_rows).sum())
    }

    /// An answer that fails before its first row is computed alone, from the beginning; one that fails later ends with
    /// the error, because rows would come twice; and what fails alone as well fails once.
    #[tokio::test]
    async fn an_answer_is_computed_alone_only_before_its_first_row() {
        assert_eq!(answer(vec![Ok(vec![1, 2]), Ok(vec![3])], vec![failed()]).await.unwrap(), 3);
        assert_eq!(answer(vec![failed()], vec![Ok(vec![1, 2, 3, 4])]).await.unwrap(), 4);
        assert_eq!(answer(vec![Ok(vec![]), failed()], vec![Ok(vec![1])]).await.unwrap(), 1);
        assert!(answer(vec![Ok(vec![1]), failed()], vec![Ok(vec![1, 2])]).await.is_err());
        assert!(answer(vec![failed()], vec![failed()]).await.is_err());
    }

    /// An error of the query itself is given out and not looked for again; one of memory, of a peer, or of a plan that a
    /// peer never got is answered alone.
    #[tokio::test]
    async fn an_error_of_the_query_is_given_out() {
        let zero = DataFusionError::from(ArrowError::DivideByZero).context("of a column");
        let cast = DataFusionError::from(ArrowError::CastError(String::from("no number")));
        for own in [zero, cast, exec_datafusion_err!("no regular expression")] {
            assert!(answer(vec![Err(own)], vec![Ok(vec![1])]).await.is_err());
        }
        let never = exec_datafusion_err!("Worker::execute_task timed-out while waiting for the plan");
        let memory = DataFusionError::ResourcesExhausted(String::from("of a peer"));
        for other in [never, memory, QueryError::PeerFailed.into()] {
            assert_eq!(answer(vec![Err(other)], vec![Ok(vec![1])]).await.unwrap(), 1);
        }
    }
}

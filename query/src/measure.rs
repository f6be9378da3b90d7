//! What queries tell of themselves: how long they took, how many rows they gave, what was refused.

use arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use tokio::time::Instant;

use crate::error::QueryError;

/// Counts the rows of an answer, and its time once nobody reads on.
pub(crate) fn measured(answer: SendableRecordBatchStream, begun: Instant) -> SendableRecordBatchStream {
    let schema = answer.schema();
    let query = Query { begun };
    let measured = answer.inspect(move |batch| query.gave(batch.as_ref()));
    Box::pin(RecordBatchStreamAdapter::new(schema, measured))
}

/// Counts a query that was refused: what it asks for, or that it took too much.
pub(crate) fn refused(error: &QueryError) {
    let reason = match error {
        QueryError::ReadOnly { .. } => "read_only",
        QueryError::Sql(_) | QueryError::Parameters(_) | QueryError::Argument { .. } => "wrong",
        QueryError::TooLarge { .. } => "too_large",
        QueryError::TimeLimit { .. } => "time_limit",
        QueryError::MemoryLimit { .. } => "memory_limit",
        // The lake failed, or does not have what was asked for; neither is a refusal.
        _ => return,
    };
    metrics::counter!("tracerag_query_refusals_total", "reason" => reason).increment(1);
}

struct Query {
    begun: Instant,
}

impl Query {
    fn gave(&self, batch: Result<&RecordBatch, &DataFusionError>) {
        match batch {
            Ok(batch) => metrics::counter!("tracerag_query_rows_total").increment(batch.num_rows() as u64),
            Err(error) => {
                if let DataFusionError::External(error) = error.find_root()
                    && let Some(error) = error.downcast_ref()
                {
                    refused(error);
                }
            }
        }
    }
}

impl Drop for Query {
    fn drop(&mut self) {
        metrics::histogram!("tracerag_query_seconds").record(self.begun.elapsed().as_secs_f64());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};
    use metrics::{
        Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    };

    use super::*;

    /// Sums what is counted, and counts what is timed, by name and labels.
    #[derive(Clone, Default)]
    struct Sums(Arc<Mutex<BTreeMap<String, u64>>>);

    struct Sum(Sums, String);

    impl Sum {
        fn add(&self, value: u64) {
            *self.0.0.lock().unwrap().entry(self.1.clone()).or_default() += value;
        }
    }

    impl CounterFn for Sum {
        fn increment(&self, value: u64) {
            self.add(value);
        }
        fn absolute(&self, _: u64) {}
    }

    impl HistogramFn for Sum {
        fn record(&self, _: f64) {
            self.add(1);
        }
    }

    impl Sums {
        fn sum(&self, key: &Key) -> Arc<Sum> {
            let labels: Vec<&str> = key.labels().map(metrics::Label::value).collect();
            Arc::new(Sum(self.clone(), format!("{} {}", key.name(), labels.join(",")).trim_end().to_owned()))
        }
    }

    impl Recorder for Sums {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.sum(key))
        }
        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }
        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(self.sum(key))
        }
    }

    /// An answer of two batches that ends at the time limit: five rows, one refusal with its reason, one time. What
    /// the lake lacks is no refusal.
    #[test]
    fn an_answer_is_measured() {
        let sums = Sums::default();
        metrics::with_local_recorder(&sums, || {
            let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
            let batch = |numbers: Vec<i64>| {
                Ok(RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from(numbers))]).unwrap())
            };
            let late = Err(DataFusionError::from(QueryError::TimeLimit { seconds: 60 }));
            let batches = futures::stream::iter(vec![batch(vec![1, 2, 3]), batch(vec![4, 5]), late]);
            let answer = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), batches));
            let read = futures::executor::block_on(measured(answer, Instant::now()).collect::<Vec<_>>());
            assert_eq!(read.len(), 3);
            refused(&QueryError::ReadOnly { statement: "drop table".to_owned() });
            refused(&QueryError::TraceUnknown { trace_id: "00".to_owned(), wait_seconds: None });
        });
        let expected = [
            ("tracerag_query_refusals_total read_only", 1),
            ("tracerag_query_refusals_total time_limit", 1),
            ("tracerag_query_rows_total", 5),
            ("tracerag_query_seconds", 1),
        ];
        let expected: BTreeMap<String, u64> = expected.into_iter().map(|(name, sum)| (name.to_owned(), sum)).collect();
        assert_eq!(*sums.0.lock().unwrap(), expected);
    }
}

//! Rows that are sent while they are computed. An answer ends at the limits of rows and bytes, when it is cancelled,
//! when the server stops, and when nobody reads it any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow_flight::FlightData;
use arrow_flight::encode::{FlightDataEncoder, FlightDataEncoderBuilder};
use arrow_flight::error::FlightError;
use datafusion::error::DataFusionError;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;

use super::{status, taken, wire};
use crate::access::{Limits, TimedTurn, Visit};
use crate::error::{QueryError, Result};
use crate::server::meter::Meter;
use crate::server::problem::Problem;

/// How long a client may take to take a message of about 2 MiB, once the time of its query is over.
const TAKEN_WITHIN: Duration = Duration::from_secs(60);

/// What is being computed and sent, and the visit that it is.
pub(super) struct Answer {
    messages: FlightDataEncoder,
    /// Rows that were encoded since the visit was told.
    encoded: Arc<AtomicUsize>,
    meter: Meter,
    is_cut: watch::Receiver<bool>,
    is_cancelled: watch::Receiver<bool>,
    visit: Visit,
    /// When the time of a query that begins now is over.
    until: Instant,
    /// Where something is computed.
    _turn: Option<TimedTurn>,
}

impl Answer {
    /// The rows of these batches, in the types of the schema, which is sent first. `is_cut` becomes true when the
    /// server breaks off what is under way, `is_cancelled` when the caller does.
    pub(super) fn new(
        batches: impl Stream<Item = Result<RecordBatch, DataFusionError>> + Send + 'static,
        schema: SchemaRef,
        limits: &Limits,
        is_cut: watch::Receiver<bool>,
        is_cancelled: watch::Receiver<bool>,
        visit: Visit,
        turn: Option<TimedTurn>,
    ) -> Self {
        let encoded = Arc::new(AtomicUsize::new(0));
        let messages = FlightDataEncoderBuilder::new().with_schema(Arc::clone(&schema));
        let mut rows = Rows { schema, meter: Meter::new(limits), encoded: Arc::clone(&encoded) };
        let batches = batches.map(move |batch| rows.take(batch).map_err(boxed));
        Self {
            messages: messages.build(batches),
            encoded,
            meter: Meter::new(limits),
            is_cut,
            is_cancelled,
            visit,
            until: Instant::now() + limits.time,
            _turn: turn,
        }
    }

    /// The next message; `None` at the end.
    async fn next(&mut self) -> Result<Option<FlightData>, Problem> {
        let (is_cut, is_cancelled) = (&mut self.is_cut, &mut self.is_cancelled);
        let cut = async {
            // A sender that is gone has stopped the server, too.
            let _ = is_cut.wait_for(|is_cut| *is_cut).await;
        };
        let cancelled = async {
            // What is not kept any more can be cancelled by nobody.
            if is_cancelled.wait_for(|is_cancelled| *is_cancelled).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let message = tokio::select! {
            biased;
            () = cancelled => return Err(status::cancelled()),
            () = cut => return Err(QueryError::Stopped.into()),
            message = self.messages.next() => message,
        };
        let Some(message) = message else { return Ok(None) };
        let message = message.map_err(unboxed)?;
        let bytes = message.data_header.len() + message.data_body.len();
        self.meter.bytes(bytes)?;
        self.visit.gave(self.encoded.swap(0, Ordering::Relaxed), bytes);
        Ok(Some(message))
    }

    /// All messages; an error is the last of them.
    pub(super) fn into_stream(self) -> BoxStream<'static, Result<FlightData, Status>> {
        let until = self.until;
        let messages = futures::stream::unfold(Some(self), |answer| async move {
            let mut answer = answer?;
            match answer.next().await {
                Ok(Some(message)) => Some((Ok(message), Some(answer))),
                Ok(None) => {
                    answer.visit.end("ok");
                    None
                }
                Err(problem) => {
                    answer.visit.end(problem.code());
                    Some((Err(Status::from(problem)), None))
                }
            }
        });
        taken::in_time(messages.boxed(), until, TAKEN_WITHIN)
    }
}

/// Brings rows into the announced types, and counts them.
struct Rows {
    schema: SchemaRef,
    meter: Meter,
    encoded: Arc<AtomicUsize>,
}

impl Rows {
    fn take(&mut self, batch: Result<RecordBatch, DataFusionError>) -> Result<RecordBatch> {
        let batch = wire::batch(&batch?, &self.schema)?;
        let rows = batch.num_rows();
        self.meter.rows(rows)?;
        self.encoded.fetch_add(rows, Ordering::Relaxed);
        Ok(batch)
    }
}

/// An error as the encoder hands it through.
fn boxed(error: QueryError) -> FlightError {
    FlightError::ExternalError(Box::new(error))
}

/// The error that was handed through, or one of the encoder's own.
fn unboxed(error: FlightError) -> QueryError {
    match error {
        FlightError::ExternalError(inner) => match inner.downcast::<QueryError>() {
            Ok(error) => *error,
            Err(inner) => DataFusionError::External(inner).into(),
        },
        FlightError::Arrow(error) => error.into(),
        other => DataFusionError::External(Box::new(other)).into(),
    }
}

//! An answer that is sent while it is computed. Batches become rows of the protocol on the threads for queries; the
//! client takes them at its own pace, within the time of the query. It ends at the limits of rows and bytes, when it
//! is cancelled, when the server stops, and when nobody reads it any more.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow_pg::datatypes::arrow_schema_to_pg_fields;
use arrow_pg::encoder::encode_value;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use pgwire::api::portal::Format;
use pgwire::api::results::{DataRowEncoder, FieldInfo, QueryResponse};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::data::DataRow;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::connection::Cancelled;
use super::query::Started;
use super::{Service, failure, shown};
use crate::access::{Turn, Visit};
use crate::error::{QueryError, Result};
use crate::server::meter::Meter;
use crate::server::problem::Problem;

/// Rows that are encoded at once.
const ROWS: usize = 1_024;
/// How many times as many may wait for the client.
const CHUNKS_AHEAD: usize = 2;

/// A query that has begun.
pub(super) struct Begun {
    pub(super) batches: SendableRecordBatchStream,
    /// As clients are told of it.
    pub(super) schema: SchemaRef,
    /// Held until the last row is made.
    pub(super) _turn: Arc<Turn>,
    pub(super) deadline: Instant,
    /// The time that the query has, as errors tell it.
    pub(super) seconds: u64,
}

/// The columns of an answer, in the formats that the client wants.
pub(super) fn fields(schema: &SchemaRef, format: &Format) -> PgWireResult<Arc<Vec<FieldInfo>>> {
    Ok(Arc::new(arrow_schema_to_pg_fields(schema, format, None)?))
}

impl Service {
    /// The rows of a query, in the formats that the client wants.
    pub(super) fn answer(&self, started: Started, format: &Format) -> PgWireResult<QueryResponse> {
        let Started { begun, visit, cancelled } = started;
        let app = &self.inner.app;
        let fields = fields(&begun.schema, format)?;
        let (chunks, inbox) = mpsc::channel(CHUNKS_AHEAD);
        let seconds = begun.seconds;
        let computing = app.engine().begin(Computing { begun, fields: Arc::clone(&fields), chunks }.run());
        let rows = Rows {
            inbox,
            ready: Vec::new().into_iter(),
            meter: Meter::new(app.gate().limits()),
            seconds,
            cancelled,
            is_cut: app.is_cut(),
            visit,
            _computing: computing,
        };
        let stream = futures::stream::unfold(Some(rows), |rows| async move {
            let mut rows = rows?;
            match rows.next().await {
                Ok(Some(row)) => Some((Ok(row), Some(rows))),
                Ok(None) => {
                    rows.visit.end("ok");
                    None
                }
                Err(ended) => Some((Err(ended.noted(&mut rows.visit)), None)),
            }
        });
        // A cursor is asked again after its end.
        Ok(QueryResponse::new(fields, stream.fuse()))
    }
}

/// What goes to the client.
enum Chunk {
    Rows(Vec<DataRow>),
    Failed(QueryError),
    End,
}

/// The side of an answer that computes.
struct Computing {
    begun: Begun,
    fields: Arc<Vec<FieldInfo>>,
    chunks: mpsc::Sender<Chunk>,
}

impl Computing {
    async fn run(mut self) {
        let last = match self.rows().await {
            Ok(true) => Chunk::End,
            // Nobody reads on, or not in time.
            Ok(false) => return,
            Err(error) => Chunk::Failed(error),
        };
        self.send(last).await;
    }

    /// Whether they were taken, all of them.
    async fn rows(&mut self) -> Result<bool> {
        while let Some(batch) = self.next().await? {
            let batch = shown::batch(&batch, &self.begun.schema)?;
            for begin in (0..batch.num_rows()).step_by(ROWS) {
                let part = batch.slice(begin, ROWS.min(batch.num_rows() - begin));
                let rows = encoded(&part, &self.fields)
                    .map_err(|error| QueryError::from(DataFusionError::External(Box::new(error))))?;
                if !self.send(Chunk::Rows(rows)).await {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        match timeout_at(self.begun.deadline, self.begun.batches.next()).await {
            Ok(batch) => Ok(batch.transpose()?),
            Err(_) => Err(QueryError::TimeLimit { seconds: self.begun.seconds }),
        }
    }

    async fn send(&mut self, chunk: Chunk) -> bool {
        matches!(timeout_at(self.begun.deadline, self.chunks.send(chunk)).await, Ok(Ok(())))
    }
}

fn encoded(batch: &RecordBatch, fields: &Arc<Vec<FieldInfo>>) -> PgWireResult<Vec<DataRow>> {
    let mut encoder = DataRowEncoder::new(Arc::clone(fields));
    let mut rows = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let columns = batch.columns().iter().zip(batch.schema_ref().fields()).zip(fields.iter());
        for ((column, field), info) in columns {
            if column.is_null(row) {
                let absent = None::<i8>;
                encoder.encode_field_with_type_and_format(
                    &absent,
                    info.datatype(),
                    info.format(),
                    info.format_options(),
                )?;
            } else {
                encode_value(&mut encoder, column, row, field, info)?;
            }
        }
        rows.push(encoder.take_row());
    }
    Ok(rows)
}

/// The side of an answer that is read.
struct Rows {
    inbox: mpsc::Receiver<Chunk>,
    ready: std::vec::IntoIter<DataRow>,
    meter: Meter,
    seconds: u64,
    cancelled: Cancelled,
    is_cut: watch::Receiver<bool>,
    visit: Visit,
    _computing: JoinSet<()>,
}

/// Why an answer ended before its last row.
enum Ended {
    Cancelled,
    Failed(QueryError),
}

impl From<QueryError> for Ended {
    fn from(error: QueryError) -> Self {
        Self::Failed(error)
    }
}

impl Ended {
    /// As the client is told, once it is written down.
    fn noted(self, visit: &mut Visit) -> PgWireError {
        match self {
            Self::Cancelled => {
                visit.end("cancelled");
                PgWireError::QueryCanceled
            }
            Self::Failed(error) => {
                let problem = Problem::from(error);
                visit.end(problem.code());
                failure::error(&problem)
            }
        }
    }
}

impl Rows {
    async fn next(&mut self) -> Result<Option<DataRow>, Ended> {
        loop {
            if let Some(row) = self.ready.next() {
                self.take(&row)?;
                return Ok(Some(row));
            }
            let is_cut = &mut self.is_cut;
            let cut = async {
                // A sender that is gone has stopped the server, too.
                let _ = is_cut.wait_for(|is_cut| *is_cut).await;
            };
            let chunk = tokio::select! {
                biased;
                () = self.cancelled.wait() => return Err(Ended::Cancelled),
                () = cut => return Err(QueryError::Stopped.into()),
                chunk = self.inbox.recv() => chunk,
            };
            match chunk {
                Some(Chunk::Rows(rows)) => self.ready = rows.into_iter(),
                Some(Chunk::Failed(error)) => return Err(error.into()),
                Some(Chunk::End) => return Ok(None),
                // The computing side gave up waiting.
                None => return Err(QueryError::TimeLimit { seconds: self.seconds }.into()),
            }
        }
    }

    fn take(&mut self, row: &DataRow) -> Result<()> {
        self.meter.rows(1)?;
        let bytes = row.data.len();
        self.meter.bytes(bytes)?;
        self.visit.gave(1, bytes);
        Ok(())
    }
}

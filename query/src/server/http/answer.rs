//! An answer that is sent while it is computed. It ends at the limits of rows and bytes, when the server stops, and
//! when nobody reads it any more.

use arrow::record_batch::RecordBatch;
use axum::body::{Body, Bytes};
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use tokio::sync::watch;

use crate::access::{Limits, TimedTurn, Visit};
use crate::encode::Encoder;
use crate::error::{QueryError, Result};
use crate::server::meter::Meter;

/// What is being computed, with the turn that it has and the visit that it is.
pub(super) struct Answer {
    batches: SendableRecordBatchStream,
    /// There until the last bytes are made.
    encoder: Option<Encoder>,
    meter: Meter,
    is_cut: watch::Receiver<bool>,
    visit: Visit,
    _turn: TimedTurn,
}

impl Answer {
    pub(super) fn new(
        batches: SendableRecordBatchStream,
        encoder: Encoder,
        limits: &Limits,
        is_cut: watch::Receiver<bool>,
        visit: Visit,
        turn: TimedTurn,
    ) -> Self {
        Self { batches, encoder: Some(encoder), meter: Meter::new(limits), is_cut, visit, _turn: turn }
    }

    pub(super) fn visit(&mut self) -> &mut Visit {
        &mut self.visit
    }

    /// The next bytes; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.encoder.is_none() {
                return Ok(None);
            }
            let is_cut = &mut self.is_cut;
            let cut = async {
                // A sender that is gone has stopped the server, too.
                let _ = is_cut.wait_for(|is_cut| *is_cut).await;
            };
            let batch = tokio::select! {
                biased;
                () = cut => return Err(QueryError::Stopped),
                batch = self.batches.next() => batch,
            };
            let (rows, bytes) = match batch {
                Some(batch) => self.encode(&batch?)?,
                None => match self.encoder.take() {
                    Some(encoder) => (0, encoder.end()?),
                    None => return Ok(None),
                },
            };
            self.meter.bytes(bytes.len())?;
            self.visit.gave(rows, bytes.len());
            if !bytes.is_empty() {
                return Ok(Some(bytes.into()));
            }
        }
    }

    fn encode(&mut self, batch: &RecordBatch) -> Result<(usize, Vec<u8>)> {
        self.meter.rows(batch.num_rows())?;
        match &mut self.encoder {
            Some(encoder) => Ok((batch.num_rows(), encoder.batch(batch)?)),
            None => Ok((0, vec![])),
        }
    }

    /// The body of a response: these bytes, then all that follow. An error breaks the connection off, for the status
    /// was sent long ago; whoever reads notices, because the body does not end as HTTP has it.
    pub(super) fn into_body(self, first: Option<Bytes>) -> Body {
        let rest = futures::stream::unfold(Some(self), |answer| async move {
            let mut answer = answer?;
            match answer.next().await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(answer))),
                Ok(None) => {
                    answer.visit.end("ok");
                    None
                }
                Err(error) => {
                    answer.visit.end(error.code().unwrap_or("failed"));
                    tracing::warn!(%error, "an answer was broken off");
                    Some((Err(std::io::Error::other(error)), None))
                }
            }
        });
        Body::from_stream(futures::stream::iter(first.map(Ok)).chain(rest))
    }
}

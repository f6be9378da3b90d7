//! One partition that is being read, with its queue.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use tracerag_schemas::SourcePartition;

use super::context::SourceContext;
use super::{MessageBatch, TopicKind};

/// Records and bytes after which a batch is handed out although more is there.
pub(super) const BATCH_RECORDS: usize = 8_192;
pub(super) const BATCH_BYTES: usize = 4 << 20;

/// A partition that is being read.
pub(super) struct Reading {
    pub(super) source: SourcePartition,
    pub(super) kind: TopicKind,
    /// Names of the headers that become attributes.
    pub(super) named_headers: Arc<[String]>,
    pub(super) queue: PartitionQueue<SourceContext>,
    pub(super) next: i64,
    /// The worker's clock when the queue was last seen empty at the end of the partition; `None`: there is more.
    pub(super) at_end: Option<i64>,
    pub(super) is_paused: bool,
    /// Bytes of the last batch: the next one's buffer starts with so many.
    pub(super) usual_bytes: usize,
}

/// Why a batch ended.
pub(super) enum DrainEnd {
    Empty,
    Full,
    AtEnd,
    Failed(KafkaError),
}

impl Reading {
    /// Begins at an offset, with a queue that was split off.
    pub(super) fn new(
        source: SourcePartition,
        kind: TopicKind,
        named_headers: Arc<[String]>,
        queue: PartitionQueue<SourceContext>,
        next: i64,
    ) -> Self {
        Self { source, kind, named_headers, queue, next, at_end: None, is_paused: false, usual_bytes: 0 }
    }

    /// Takes what lies in the queue, up to a batch.
    pub(super) fn drain(&mut self) -> (Option<MessageBatch>, DrainEnd) {
        let mut batch: Option<MessageBatch> = None;
        let end = loop {
            match self.queue.poll(Duration::ZERO) {
                None => break DrainEnd::Empty,
                Some(Ok(message)) if message.offset() < self.next => {}
                Some(Ok(message)) => {
                    let batch = batch.get_or_insert_with(|| {
                        let named = Arc::clone(&self.named_headers);
                        MessageBatch::new(self.source.clone(), self.kind, named, now(), self.next, self.usual_bytes)
                    });
                    batch.push(&message);
                    if batch.len() >= BATCH_RECORDS || batch.bytes() >= BATCH_BYTES {
                        break DrainEnd::Full;
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => break DrainEnd::AtEnd,
                Some(Err(error)) => break DrainEnd::Failed(error),
            }
        };
        if let Some(batch) = &batch {
            self.next = batch.next_offset();
            self.usual_bytes = batch.bytes();
        }
        self.at_end = match end {
            DrainEnd::AtEnd => Some(now()),
            DrainEnd::Empty if batch.is_none() => self.at_end.map(|_| now()),
            _ => self.at_end.filter(|_| batch.is_none()),
        };
        (batch, end)
    }
}

/// The worker's clock, in nanoseconds since the epoch.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

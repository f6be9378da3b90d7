//! Records of one partition, copied out of the client into one piece of memory.
//!
//! A topic that is keyed by trace id carries several hundred thousand messages of some hundred bytes
//! a second, so nothing is allocated per record: payloads, keys and headers lie one behind the other
//! in one buffer. Copying them frees the client's fetch buffers at once and costs less than the
//! reference count of a message that is kept.

use std::ops::Range;
use std::sync::Arc;

use rdkafka::message::{BorrowedMessage, Headers, Message};
use tracerag_schemas::SourcePartition;

use super::{Encoding, Signal, TopicKind};

/// Consecutive records of one partition, in offset order. Offsets may have gaps (compacted topics,
/// aborted transactions).
#[derive(Debug, Clone)]
pub struct MessageBatch {
    source: SourcePartition,
    kind: TopicKind,
    /// The headers that are asked for by name.
    named: Arc<[String]>,
    read_at: i64,
    next_offset: i64,
    data: Vec<u8>,
    records: Vec<Entry>,
    headers: Vec<HeaderEntry>,
}

/// `None` for a null key or value: it is not the same as an empty one.
type Span = Option<Range<usize>>;

#[derive(Debug, Clone)]
struct Entry {
    offset: i64,
    timestamp: Option<i64>,
    key: Span,
    value: Span,
    headers: Range<usize>,
}

#[derive(Debug, Clone)]
struct HeaderEntry {
    name: Range<usize>,
    value: Span,
}

impl MessageBatch {
    pub(super) fn new(
        source: SourcePartition,
        kind: TopicKind,
        named: Arc<[String]>,
        read_at: i64,
        next_offset: i64,
        bytes: usize,
    ) -> Self {
        let data = Vec::with_capacity(bytes);
        Self { source, kind, named, read_at, next_offset, data, records: Vec::new(), headers: Vec::new() }
    }

    /// Records that no client has read, each with its offset, its timestamp in ns and its payload, without keys and
    /// headers: what a simulated broker brings. `read_at` is the clock of the worker, in ns.
    #[doc(hidden)]
    pub fn simulated<'a>(
        source: SourcePartition,
        kind: TopicKind,
        read_at: i64,
        records: impl IntoIterator<Item = (i64, i64, &'a [u8])>,
    ) -> Self {
        let mut batch = Self::new(source, kind, Arc::default(), read_at, 0, 0);
        for (offset, timestamp, value) in records {
            let value = Some(append(&mut batch.data, value));
            batch.records.push(Entry { offset, timestamp: Some(timestamp), key: None, value, headers: 0..0 });
            batch.next_offset = offset + 1;
        }
        batch
    }

    pub(super) fn push(&mut self, message: &BorrowedMessage<'_>) {
        let first_header = self.headers.len();
        for header in message.headers().into_iter().flat_map(Headers::iter) {
            let name = append(&mut self.data, header.key.as_bytes());
            let value = header.value.map(|value| append(&mut self.data, value));
            self.headers.push(HeaderEntry { name, value });
        }
        let key = message.key().map(|key| append(&mut self.data, key));
        let value = message.payload().map(|value| append(&mut self.data, value));
        let timestamp = message.timestamp().to_millis().map(|millis| millis.saturating_mul(1_000_000));
        let headers = first_header..self.headers.len();
        self.records.push(Entry { offset: message.offset(), timestamp, key, value, headers });
        self.next_offset = message.offset() + 1;
    }

    /// Where the records come from.
    pub fn source(&self) -> &SourcePartition {
        &self.source
    }

    /// What the records carry.
    pub fn signal(&self) -> Signal {
        self.kind.signal
    }

    /// How OTLP payloads are written.
    pub fn encoding(&self) -> Encoding {
        self.kind.encoding
    }

    /// The worker's clock when the records were read, in nanoseconds since the epoch: no record is younger.
    pub fn read_at(&self) -> i64 {
        self.read_at
    }

    /// The offset behind the last record.
    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of payloads, keys and headers.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// A record by its place in the batch.
    pub fn get(&self, index: usize) -> Option<Record<'_>> {
        self.records.get(index).map(|entry| Record { batch: self, entry })
    }

    /// The records, in offset order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Record<'_>> {
        self.records.iter().map(|entry| Record { batch: self, entry })
    }
}

fn append(data: &mut Vec<u8>, bytes: &[u8]) -> Range<usize> {
    let start = data.len();
    data.extend_from_slice(bytes);
    start..data.len()
}

/// One record of a [`MessageBatch`].
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    batch: &'a MessageBatch,
    entry: &'a Entry,
}

impl<'a> Record<'a> {
    /// Its offset.
    pub fn offset(&self) -> i64 {
        self.entry.offset
    }

    /// Its Kafka timestamp in nanoseconds since the epoch; Kafka knows milliseconds.
    pub fn timestamp(&self) -> Option<i64> {
        self.entry.timestamp
    }

    /// Its key; never trusted to be a trace id.
    pub fn key(&self) -> Option<&'a [u8]> {
        self.slice(&self.entry.key)
    }

    /// Its payload; `None` for a tombstone.
    pub fn value(&self) -> Option<&'a [u8]> {
        self.slice(&self.entry.value)
    }

    /// Its headers in their order; a name may come more than once.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> + use<'a> {
        let record = *self;
        self.batch.headers[self.entry.headers.clone()].iter().map(move |header| {
            // Header names come out of the client as text; a slice of whole pieces stays text.
            let name = std::str::from_utf8(&record.batch.data[header.name.clone()]).unwrap_or_default();
            (name, record.slice(&header.value))
        })
    }

    /// Those of its headers that `kafka.headers` names, exactly so.
    pub fn named_headers(&self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> + use<'a> {
        let named = &self.batch.named;
        let record = (!named.is_empty()).then_some(*self);
        let headers = record.into_iter().flat_map(|record| record.headers());
        headers.filter(move |(name, _)| named.iter().any(|other| other == name))
    }

    fn slice(&self, span: &Span) -> Option<&'a [u8]> {
        span.clone().map(|span| &self.batch.data[span])
    }
}

//! The decoder of one partition.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::attributes::Walker;
use super::counts::DecodeCounts;
use super::envelope::{Dictionaries, Reading, Rows, Shared, Stop, read_message};
use super::error::DecodeError;
use super::headers::header_attributes;
use super::json::{Converted, to_proto};
use super::logs::LogRows;
use super::metrics::MetricRows;
use super::origin::{Names, Origin};
use super::payloads::PayloadRows;
use super::resource::{Place, Resources, Scopes};
use super::spans::SpanRows;
use super::{Encoding, Signal};
use crate::redact::{RedactionCounts, Redactor};

/// Larger messages are refused: text may grow sixfold on the way into a column with 32-bit offsets.
pub(crate) const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// Most records of one message, unless said otherwise.
pub(crate) const MAX_RECORDS: usize = 2_000_000;

/// What a decoder needs to know.
#[derive(Debug, Clone)]
pub struct DecoderConfig {
    /// What must not be stored, and which attributes are payloads.
    pub redactor: Arc<Redactor>,
    /// Most records that one message may have. A record without content has a hundred times its size in
    /// memory, so bytes alone are no bound.
    pub max_records: usize,
    /// Most bytes that the points of one message may take: each repeats the texts of its metric.
    pub max_point_bytes: usize,
    /// Most bytes that the rows of one signal may take, those of earlier messages that wait to be cut into a batch
    /// included: a message is held whole. It may be passed by a thousand records.
    pub max_row_bytes: usize,
}

impl DecoderConfig {
    /// The configuration for a redactor, with the default bounds.
    pub fn new(redactor: Arc<Redactor>) -> Self {
        Self {
            redactor,
            max_records: MAX_RECORDS,
            max_point_bytes: MAX_MESSAGE_BYTES,
            max_row_bytes: i32::MAX as usize,
        }
    }
}

/// A Kafka message, or a line of a file.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The bytes.
    pub value: &'a [u8],
    /// The topic it came from.
    pub topic: &'a str,
    /// The partition it came from.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Whose it is.
    pub tenant: &'a str,
    /// Time of the Kafka record in ns; 0 if unknown. The time of a log record that has none.
    pub timestamp_ns: i64,
    /// Stream time of its partition when it was taken, in ns.
    pub ingested_at: i64,
    /// Headers of the Kafka record that become attributes `kafka.header.<name>` of its resources.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

/// Everything decoded since the last [`OtlpDecoder::finish`].
#[derive(Debug, Default)]
pub struct DecodedBatches {
    /// Rows of `spans` in flight.
    pub spans: Option<RecordBatch>,
    /// Rows of `logs` in flight.
    pub logs: Option<RecordBatch>,
    /// Rows of `metrics` in flight.
    pub metrics: Option<RecordBatch>,
    /// Rows of `payloads` in the schema of the lake.
    pub payloads: Option<RecordBatch>,
    /// What was dropped, changed or put up with.
    pub counts: DecodeCounts,
    /// What was masked.
    pub redactions: RedactionCounts,
}

/// Decodes messages of a partition; see the [module](super).
pub struct OtlpDecoder {
    max_records: usize,
    max_point_bytes: usize,
    max_row_bytes: usize,
    shared: Shared,
    tenants: Names,
    topics: Names,
    spans: SpanRows,
    logs: LogRows,
    metrics: MetricRows,
}

impl OtlpDecoder {
    /// A decoder without rows.
    pub fn new(config: DecoderConfig) -> Self {
        Self {
            max_records: config.max_records,
            max_point_bytes: config.max_point_bytes,
            max_row_bytes: config.max_row_bytes,
            shared: Shared {
                walker: Walker::new(config.redactor),
                resources: Resources::default(),
                scopes: Scopes::default(),
                payloads: PayloadRows::default(),
            },
            tenants: Names::default(),
            topics: Names::default(),
            spans: SpanRows::default(),
            logs: LogRows::default(),
            metrics: MetricRows::default(),
        }
    }

    /// Appends the rows of a message.
    ///
    /// # Errors
    /// When the message cannot be decoded. It has left nothing then, and the decoder goes on.
    pub fn decode(&mut self, signal: Signal, encoding: Encoding, message: Message<'_>) -> Result<(), DecodeError> {
        if message.value.len() > MAX_MESSAGE_BYTES {
            return Err(DecodeError::TooLarge { bytes: message.value.len(), limit: MAX_MESSAGE_BYTES });
        }
        match encoding {
            Encoding::Proto => self.decode_proto(signal, encoding, message),
            Encoding::Json => self.decode_json(signal, message),
            Encoding::Auto => match message.value.iter().find(|byte| !byte.is_ascii_whitespace()) {
                Some(b'{') if message.value.first() == Some(&b'\n') => {
                    let proto = self.decode_proto(signal, encoding, message);
                    proto.or_else(|_| self.decode_json(signal, message))
                }
                Some(b'{') => self.decode_json(signal, message),
                _ => self.decode_proto(signal, encoding, message),
            },
        }
    }

    fn decode_json(&mut self, signal: Signal, message: Message<'_>) -> Result<(), DecodeError> {
        let before = (self.shared.walker.counts, self.shared.walker.redactions);
        let rows = self.rows();
        let converted = to_proto(signal, message.value, &mut self.shared.walker.counts)
            .map_err(|error| DecodeError::json(signal, &error));
        let result = converted.and_then(|Converted { proto, misfit }| {
            let result = self.decode_proto(signal, Encoding::Json, Message { value: &proto, ..message });
            match (result, misfit) {
                // Where nothing is left of a message it is most likely another one.
                (Ok(()) | Err(DecodeError::Json { .. } | DecodeError::Foreign { .. }), Some(reason))
                    if self.rows() == rows =>
                {
                    Err(DecodeError::misfit(signal, reason))
                }
                (result, _) => result,
            }
        });
        if result.is_err() {
            (self.shared.walker.counts, self.shared.walker.redactions) = before;
        }
        result
    }

    fn decode_proto(&mut self, signal: Signal, encoding: Encoding, message: Message<'_>) -> Result<(), DecodeError> {
        let tenant_key = self.tenants.intern(message.tenant);
        let origin = Origin {
            tenant: tenant_key,
            topic: self.topics.intern(message.topic),
            partition: message.partition,
            offset: message.offset,
            ingested_at: message.ingested_at,
        };
        let headers = header_attributes(message.headers);
        let place = Place { data: message.value, headers: &headers, tenant: message.tenant, tenant_key };
        let counts = (self.shared.walker.counts, self.shared.walker.redactions);
        let payloads = self.shared.payloads.rows();
        let rows = [self.spans.rows(), self.logs.rows(), self.metrics.rows()];
        let bounds =
            |rows: usize| Reading::new(rows.saturating_add(self.max_records), self.max_point_bytes, self.max_row_bytes);
        let (shared, time) = (&mut self.shared, message.timestamp_ns);
        let result = match signal {
            Signal::Spans => read_message(&mut self.spans, shared, place, origin, time, bounds(rows[0])),
            Signal::Logs => read_message(&mut self.logs, shared, place, origin, time, bounds(rows[1])),
            Signal::Metrics => read_message(&mut self.metrics, shared, place, origin, time, bounds(rows[2])),
        };
        let result = result.map_err(|stop| match stop {
            Stop::Wire(error) => DecodeError::proto(signal, encoding, message.value, error),
            Stop::TooManyRecords => DecodeError::TooManyRecords { limit: self.max_records },
            Stop::TooManyBytes { bytes, limit } => DecodeError::TooLarge { bytes, limit },
            Stop::Foreign(reason) => DecodeError::Foreign { signal, reason },
        });
        // Offsets are 32 bits wide. Only who never cuts a batch gets here.
        let bytes = self.bytes();
        let result = result.and_then(|()| match i32::try_from(bytes) {
            Ok(_) => Ok(()),
            Err(_) => Err(DecodeError::TooLarge { bytes, limit: i32::MAX as usize }),
        });
        if result.is_err() {
            self.spans.truncate(rows[0]);
            self.logs.truncate(rows[1]);
            self.metrics.truncate(rows[2]);
            self.shared.payloads.truncate(payloads);
            (self.shared.walker.counts, self.shared.walker.redactions) = counts;
        }
        result
    }

    /// Rows of all signals held.
    pub fn rows(&self) -> usize {
        self.spans.rows() + self.logs.rows() + self.metrics.rows()
    }

    /// Bytes held in the builders, to cut a batch by. Cheap, but not free: ask once a message.
    pub fn bytes(&self) -> usize {
        self.spans.bytes()
            + self.logs.bytes()
            + self.metrics.bytes()
            + self.shared.payloads.bytes()
            + self.shared.resources.bytes()
            + self.shared.scopes.bytes()
    }

    /// Hands out everything decoded since the last time; the decoder is empty again.
    ///
    /// # Errors
    /// Only by a defect: the rows do not fit their schema. They are lost then.
    pub fn finish(&mut self) -> Result<DecodedBatches, DecodeError> {
        let dictionaries = Dictionaries {
            tenants: std::mem::take(&mut self.tenants),
            topics: std::mem::take(&mut self.topics),
            resources: self.shared.resources.finish()?,
            scopes: self.shared.scopes.finish()?,
        };
        let spans = self.spans.finish(&dictionaries);
        let logs = self.logs.finish(&dictionaries);
        let metrics = self.metrics.finish(&dictionaries);
        let payloads = self.shared.payloads.finish(&dictionaries.tenants, &dictionaries.topics);
        Ok(DecodedBatches {
            spans: spans?,
            logs: logs?,
            metrics: metrics?,
            payloads: payloads?,
            counts: std::mem::take(&mut self.shared.walker.counts),
            redactions: std::mem::take(&mut self.shared.walker.redactions),
        })
    }
}

//! OTLP to Arrow: from the bytes of a Kafka message straight into columns.
//!
//! [`OtlpDecoder`] has the builders of one partition. Every message is read in one pass over its bytes; a
//! message that turns out to be bad halfway is cut out of the builders again. Renames, redaction and hashing
//! of a resource happen once per distinct resource.
//!
//! Batches have the in-flight schema (`tracerag_schemas::in_flight`). Of its dictionary columns the **keys are
//! never null** but for `temporality`; what is absent is a null among the *values*: use `logical_nulls`.

mod any_value;
mod attributes;
mod batch;
mod clean;
mod column;
mod counts;
mod decoder;
mod derive;
mod envelope;
mod error;
mod glance;
mod headers;
mod json;
mod json_repair;
mod json_scalars;
mod json_schema;
mod keys;
mod logs;
mod metric_point;
mod metrics;
mod origin;
mod payloads;
mod plain_json;
mod resource;
mod span_lists;
mod spans;
mod wire;

#[cfg(test)]
pub(crate) mod tests;

pub use counts::DecodeCounts;
pub use decoder::{DecodedBatches, DecoderConfig, Message, OtlpDecoder};
pub(crate) use decoder::{MAX_MESSAGE_BYTES, MAX_RECORDS};
pub use error::DecodeError;
pub(crate) use glance::{glance, trace_of};
pub(crate) use json::{Converted, to_proto};
pub(crate) use wire::{Reader, Slice};
pub use wire::{WireError, WireErrorKind};

/// A signal of OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Traces.
    Spans,
    /// Log records.
    Logs,
    /// Metric points.
    Metrics,
}

impl Signal {
    /// The protobuf message that carries it.
    pub fn request(self) -> &'static str {
        match self {
            Signal::Spans => "ExportTraceServiceRequest",
            Signal::Logs => "ExportLogsServiceRequest",
            Signal::Metrics => "ExportMetricsServiceRequest",
        }
    }
}

/// How a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Encoding {
    /// `otlp_proto`: protobuf.
    #[default]
    Proto,
    /// `otlp_json`: OTLP/JSON.
    Json,
    /// Found out from the first byte of each message. A message that begins with a newline may be either,
    /// for that is also the first byte of OTLP in protobuf: it is tried as protobuf first.
    Auto,
}

//! Bytes to Arrow: everything between a broker or a file and the rows of the tables.
//!
//! - **In:** Kafka messages or lines of files ([`source`]): OTLP in protobuf or JSON, changes of flags and
//!   configuration, deployments, heap summaries.
//! - **Out:** record batches in the schemas of `tracerag_schemas`: telemetry in flight ([`otlp`]), changes
//!   ([`changes`]), and what could not be taken ([`dead_letter`]). Every row knows its tenant ([`tenant`]) and
//!   its origin, and nothing leaves here that [`redact`] has not seen. [`rekey`] writes messages back to Kafka, taken
//!   apart by trace.
//!
//! ```
//! use std::sync::Arc;
//! use tracerag_ingest::otlp::{DecoderConfig, Encoding, Message, OtlpDecoder, Signal};
//! use tracerag_ingest::redact::{PayloadConfig, RedactionConfig, Redactor};
//!
//! let config = RedactionConfig { key: "an example is no secret".into(), ..Default::default() };
//! let redactor = Arc::new(Redactor::new(&config, &PayloadConfig::default())?);
//! let mut decoder = OtlpDecoder::new(DecoderConfig::new(redactor));
//! let value = br#"{"resourceSpans": [{"scopeSpans": [{"spans": [{
//!     "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "name": "mail to jane@example.com"
//! }]}]}]}"#;
//! let message = Message {
//!     value,
//!     topic: "otlp_spans",
//!     partition: 0,
//!     offset: 0,
//!     tenant: "default",
//!     timestamp_ns: 0,
//!     ingested_at: 0,
//!     headers: &[],
//! };
//! decoder.decode(Signal::Spans, Encoding::Auto, message)?;
//! let batches = decoder.finish()?;
//! assert_eq!(batches.spans.map(|rows| rows.num_rows()), Some(1));
//! assert_eq!(batches.redactions.iter().collect::<Vec<_>>(), [("email", 1)]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod changes;
pub mod dead_letter;
mod error;
pub mod otlp;
pub mod redact;
pub mod rekey;
pub mod source;
pub mod tenant;

pub use error::IngestError;

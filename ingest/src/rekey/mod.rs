//! Re-keying: messages of spans and logs in, a message a trace out, keyed by trace id.
//!
//! A trace meets itself and its logs in one worker only if all its parts lie under one partition number. Where the
//! senders do not see to that, this stage does: it takes each message apart (`split.rs`) and writes the parts, with the
//! headers and the timestamp of the message, to a topic of spans and one of logs that have equal numbers of partitions
//! (`topics.rs`). The key is what the Collector's exporter writes, the hash that of Java's clients.
//!
//! - **In:** the topics of spans and logs of `[topics]`, keyed or not, in either encoding: both must go by one hash.
//! - **Out:** `otlp_proto`. What is no message of its signal is passed on as it came, without a key, so that the worker
//!   makes a dead letter of it.
//!
//! **At least once.** The stage has no state but the offsets of its group, which are committed after the broker has
//! what was made of the records before them (`flights.rs`). After a kill the last second or so is written again, and the
//! worker's window drops what it has already: each span by its ids, each log record by its content.

mod config;
mod error;
mod flights;
mod outbox;
mod split;
mod stage;
mod topics;
mod underway;

pub use config::RekeyConfig;
pub use error::RekeyError;
pub use stage::{Rekey, Tally};
pub use topics::prepare;

/// The header that names the record a message was made of: `otlp_spans/3/42` is offset 42 of partition 3.
pub const ORIGIN_HEADER: &str = "tracerag.rekeyed_from";

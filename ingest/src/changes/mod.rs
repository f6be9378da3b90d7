//! Records of the project's own topics: changes of flags and configuration, deployed versions, heap summaries.
//!
//! - **In:** the bytes of one record, and where they came from ([`Origin`]).
//! - **Out:** rows with the lake's schema; or a [`ChangeError`] whose text says what is wrong, for the dead letters.
//!
//! These topics bring a few records a minute, so the decoders read JSON trees; nothing here is on the hot path.

mod cleaning;
pub mod deployments;
mod flag_configuration;
pub mod flags;
pub mod heaps;
mod json;
mod purl;
mod rows;

use tracerag_schemas::SourcePartition;

pub use deployments::{DeploymentDecoder, DeploymentOutcome};
pub use flags::FlagDecoder;
pub use heaps::HeapDecoder;

/// Where a record came from, and whose it is.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// The partition or file.
    pub source: &'a SourcePartition,
    /// The offset or line.
    pub offset: i64,
    /// The record's own timestamp in nanoseconds since the epoch; the time of what it says where that says none.
    pub timestamp: Option<i64>,
    /// The stream time of the partition when the record was taken, in nanoseconds since the epoch.
    pub ingested_at: i64,
}

impl Origin<'_> {
    fn time(&self) -> i64 {
        self.timestamp.unwrap_or(self.ingested_at)
    }
}

/// Why a record could not be taken, in words. They name fields and what must stand there, never what does: the
/// record was not redacted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ChangeError {
    /// The bytes are no JSON.
    #[error("not JSON: {reason}; send one JSON object a record")]
    NotJson {
        /// What the parser says.
        reason: String,
    },
    /// The JSON is not an object.
    #[error("not a JSON object; send one JSON object a record")]
    NotAnObject,
    /// A field has a type that it cannot have.
    #[error("field {field:?} must be {wanted}")]
    FieldType {
        /// Its path.
        field: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// A field that must be there is not.
    #[error("field {field:?} is missing")]
    Missing {
        /// Its path.
        field: &'static str,
    },
    /// A time that is not RFC 3339.
    #[error("field {field:?} is not an RFC 3339 time; write it as \"2026-11-16T12:00:01.234Z\"")]
    Time {
        /// Its path.
        field: String,
    },
    /// Neither a change nor a whole flag configuration.
    #[error(
        "neither a change nor a flag configuration: it has none of \"feature_flag.key\", \"config.key\" and \"flags\""
    )]
    NotAChange,
    /// A change of a flag and of a configuration key in one.
    #[error("both \"feature_flag.key\" and \"config.key\"; send one record for each")]
    TwoChanges,
    /// A change that does not say to what.
    #[error("the change has neither {first:?} nor {second:?}; give one, or null for both to delete")]
    NoValue {
        /// The first of the two.
        first: &'static str,
        /// The second.
        second: &'static str,
    },
    /// Not a CDEvent.
    #[error("not a CDEvent: {detail}")]
    NotACdEvent {
        /// What is missing or wrong.
        detail: String,
    },
    /// A heap record of an unknown format.
    #[error("the heap format is not known; use pprof, v8, hprof, jfr, tracemalloc or summary")]
    HeapFormat,
    /// A heap record without evidence.
    #[error("the heap record has no top_types, top_sites, retained_paths or snapshot_uri")]
    EmptyHeap,
}

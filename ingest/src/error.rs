//! What can go wrong between a byte and a row.

use tracerag_schemas::otlp::EncodeError;

use crate::changes::ChangeError;
use crate::otlp::DecodeError;
use crate::redact::RedactError;
use crate::rekey::RekeyError;
use crate::source::{PublishError, SourceError};
use crate::tenant::TenantError;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The redaction cannot be configured so.
    #[error(transparent)]
    Redact(#[from] RedactError),
    /// A tenant cannot be called so.
    #[error(transparent)]
    Tenant(#[from] TenantError),
    /// A topic or file cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A change cannot be written to its topic.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Spans or logs cannot be re-keyed.
    #[error(transparent)]
    Rekey(#[from] RekeyError),
    /// A message is no OTLP.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A record is no change, deployment or heap summary.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// Rows cannot be written as OTLP.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

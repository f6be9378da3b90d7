//! What can go wrong in the window.

use arrow::error::ArrowError;
use tracerag_schemas::SourcePartition;

/// Errors of this crate. None depends on the content of telemetry: each is a stage that handed in
/// something of another shape, or a batch beyond Arrow's limits.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A batch lacks a column or has it in another type.
    #[error("column {name} has to be {wanted}; pass batches in the schema that the table has at this stage")]
    Column {
        /// Name of the column.
        name: String,
        /// What it has to be.
        wanted: &'static str,
    },
    /// Rows of a partition that this window does not hold.
    #[error("{0} is not assigned to this window; assign it first, or drop what is still queued after a revocation")]
    NotAssigned(SourcePartition),
    /// Rows of a partition whose record time was never said.
    #[error("{0} has no stream time yet; call advance with the record time of the batch before pushing it")]
    NoTime(SourcePartition),
    /// Offsets within one output column would pass 2 GiB.
    #[error("a column of one flush passes 2 GiB; lower window.memory or flush more often")]
    TooLarge,
    /// Arrow refused to build an array.
    #[error("cannot build a batch: {0}")]
    Arrow(#[from] ArrowError),
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

//! Failures: what went wrong in a trace, and under which fingerprint it counts.
//!
//! - **In:** the spans and log records of closed traces, of which [`suspects`] picks those in which something failed,
//!   and the traces' own rows.
//! - **Out:** rows of `failures`, one for each distinct error of a trace, and of `incident_counts`.
//!
//! Columns are scanned for what failed (`candidates`), and only those rows cost more: they are read
//! into drafts (`drafts`), merged where one error is told several times (`dedupe`, over the span trees of
//! `topology`), given a fingerprint ([`fingerprint`]) from their type, stack ([`frames`]) and masked message
//! ([`mask`]), and told apart as origins and their echoes (`origins`; `alone` for records without a trace). What the lake
//! holds of the same traces takes part in that (`before`). From a stored row the same fingerprint can be made once more, by
//! other rules (`stored`).

mod alone;
mod before;
mod candidates;
mod causes;
mod codes;
mod columns;
mod counts;
mod dedupe;
mod drafts;
mod extract;
pub mod fingerprint;
pub mod frames;
mod identity;
mod interruption;
pub mod mask;
mod origins;
pub mod projections;
mod rows;
mod slow;
mod stacks;
mod stored;
mod suspects;
mod topology;

use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

pub use before::{BEFORE_FAILURES, BEFORE_SPANS, Before, LOG_COLUMNS, failed, split_by_trace};
pub use extract::{extract, extract_after};
pub use fingerprint::{FINGERPRINT_VERSION, Grouping};
pub use frames::InAppRules;
pub use mask::MASK_VERSION;
pub use stored::{Anew, STORED, anew};
pub use suspects::{Suspects, suspects};

/// What can be set about failures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureRules {
    /// By what failures are grouped.
    pub grouping: Grouping,
    /// Which frames belong to the application, beside the built-in rules.
    pub in_app: InAppRules,
    /// Attributes of an exception, log record or span that state a fingerprint; the first that is there wins.
    pub fingerprint_attributes: Vec<String>,
    /// Bytes of a message that are kept.
    pub max_message_bytes: usize,
    /// Bytes of a stack trace that are kept and read.
    pub max_stacktrace_bytes: usize,
}

impl Default for FailureRules {
    fn default() -> Self {
        FailureRules {
            grouping: Grouping::default(),
            in_app: InAppRules::default(),
            fingerprint_attributes: ["error.fingerprint", "exception.fingerprint", "sentry.fingerprint"]
                .map(str::to_owned)
                .to_vec(),
            max_message_bytes: 16 * 1024,
            max_stacktrace_bytes: 64 * 1024,
        }
    }
}

/// The failures of one epoch.
#[derive(Debug, Clone)]
pub struct Extracted {
    /// Rows of `failures`.
    pub failures: RecordBatch,
    /// Rows of `incident_counts`.
    pub counts: RecordBatch,
}

/// Why no failures could be found.
#[derive(Debug, thiserror::Error)]
pub enum FailureError {
    /// A batch does not have the lake's schema.
    #[error("the batch of {table} has no column {column} of the lake's type; give it in the lake's schema")]
    Column {
        /// The table's name.
        table: &'static str,
        /// The column's name.
        column: &'static str,
    },
    /// Arrow refused to build a batch.
    #[error("cannot build the rows of failures: {0}")]
    Arrow(#[from] ArrowError),
}

#[cfg(test)]
pub(crate) mod tests;

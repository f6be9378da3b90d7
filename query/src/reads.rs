//! What a question reads, told at the level `trace`: planned scans, and rows that are taken without a plan. These are what
//! a question takes its time for, and a test holds how many a bundle makes.

/// Where events are told.
pub(crate) const TARGET: &str = "tracerag_query::reads";

/// A scan of a table is planned.
pub(crate) fn planned(table: &str) {
    tracing::trace!(target: TARGET, table, how = "plan");
}

/// Rows of a table are taken by their addresses.
pub(crate) fn taken(table: &str) {
    tracing::trace!(target: TARGET, table, how = "take");
}

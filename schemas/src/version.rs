//! Versions of what is stored.

/// Version of the lake's tables and journal. A release reads and writes this one and the one before.
pub const SCHEMA_VERSION: u32 = 1;

/// The schema name that every bundle carries under `evidence.schema`.
pub const BUNDLE_SCHEMA: &str = "tracerag.bundle/1";

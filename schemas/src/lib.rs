//! The vocabulary of tracerag: what its tables, ids, attributes, anchors and bundles look like.
//!
//! Nothing here does I/O. Every other crate depends on this one, and only on this one and the
//! stage before it, so two stages can never disagree about a column.
//!
//! - **In:** nothing.
//! - **Out:** Arrow schemas ([`Table::lake_schema`], [`Table::in_flight_schema`]), the rename map of
//!   the semantic conventions ([`conventions`]), ids, anchors, the bundle's canonical form, [`claims`], rows as [`otlp`].
//!
//! ```
//! use tracerag_schemas::Table;
//! let spans = Table::Spans.lake_schema();
//! assert!(spans.field_with_name("trace_id").is_ok());
//! assert!(Table::Spans.by_day());
//! ```

pub mod anchor;
pub mod attributes;
pub mod bundle;
pub mod claims;
pub mod conventions;
pub mod ids;
pub mod in_flight;
pub mod letters;
pub mod otlp;
pub mod source;
pub mod staged;
pub mod tables;
pub mod time;
pub mod values;
pub mod version;

pub use source::SourcePartition;
pub use tables::Table;
pub use version::Schemas;

//! The lake: versioned Lance tables that many workers write exactly once and that readers open as
//! one consistent picture.
//!
//! - **In:** epochs ([`Epoch`]): the rows of each table in the schema as stored, the offsets they
//!   were read from, and the traces closed in them.
//! - **Out:** a [`Lake`]: the newest [`Head`] (dataset and version of every table at one position of
//!   the journal) and the Lance datasets it names.
//!
//! A [`Writer`] stages an epoch as uncommitted fragments, records it with one row in the journal
//! (the atomic point for all tables), and applies what is recorded to the tables. A kill at any
//! instruction loses nothing and doubles nothing: whoever comes next claims the partitions, applies
//! what is recorded, and reads on from the offsets in the journal.
//!
//! ```no_run
//! use tracerag_index::{Epoch, Lake, LakeOptions, SourceProgress, Writer};
//! use tracerag_schemas::{SourcePartition, Table};
//!
//! # async fn example(spans: arrow::record_batch::RecordBatch) -> tracerag_index::Result<()> {
//! let lake = Lake::open_or_create(LakeOptions::new("./lake")).await?;
//! let mut writer = Writer::new(lake.clone(), "worker-1".into()).await?;
//! let source = SourcePartition::new("cluster", "otlp_spans", 0);
//! let resume = writer.claim(std::slice::from_ref(&source)).await?;
//! let next = resume[0].next.unwrap_or(0);
//! writer
//!     .write(Epoch {
//!         rows: vec![(Table::Spans, spans)],
//!         sources: vec![SourceProgress { source, to: next + 100, low_watermark: next + 100, stream_time: 1 }],
//!         closed: vec![],
//!     })
//!     .await?;
//! for (name, dataset) in lake.newest_head().await?.of(Table::Spans) {
//!     let spans = lake.dataset(name, dataset.version).await?;
//!     assert_eq!(spans.version_id(), dataset.version);
//! }
//! # Ok(())
//! # }
//! ```

pub mod activity;
#[cfg(target_os = "linux")]
mod cached_reads;
pub mod columns;
mod cursor;
mod deltas;
mod document;
mod erase;
pub mod error;
pub mod fail_point;
pub mod failures;
mod files;
mod folder_store;
mod fragment_key;
pub mod incidents;
pub mod journal;
mod keys;
pub mod lake;
mod later_revisions;
pub mod letters;
pub mod maintain;
pub mod migrate;
#[cfg(target_os = "linux")]
mod open_files;
mod pinned;
mod place;
#[cfg(feature = "s3")]
mod s3;
mod stage;
pub mod stored;
pub mod successors;
pub mod templates;
mod tenants;
pub mod tree;
mod unindexed;

pub use document::Document;
pub use error::{Error, Result};
pub use journal::{
    ClosedTrace, DatasetHead, Epoch, Head, Resume, ResumedTrace, SourceProgress, SourceState, Staged, StagedDataset,
    Writer, Writing, Written,
};
pub use keys::RedactionKey;
pub use lake::{Lake, LakeOptions};
pub use later_revisions::LaterRevisions;
pub use letters::{LetterFilter, WaitingLetters};
pub use maintain::{Lease, MaintainOptions, MaintainReport, Retention, maintain};
pub use migrate::{Migration, migrate};
pub use pinned::Pinned;
pub use stored::stored_rows;
pub use successors::Successors;
pub use tenants::{Tenants, Whose};
pub use unindexed::UnindexedIds;

#[cfg(test)]
mod tests;

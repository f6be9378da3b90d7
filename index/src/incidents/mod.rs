//! Incidents: the text of every new fingerprint becomes a vector, behind the journal and in its order.
//!
//! - **In:** rows of `incident_counts` at the newest head; a sentence model ([`Embedding`]).
//! - **Out:** tables of vectors, one a model, form ([`Form`]), dimension and kind of text ([`vectors`]), which only grow.
//!
//! The pipeline never waits for a model: an [`Indexer`] looks for fingerprints that a table lacks,
//! embeds each distinct text once, and appends. Without a model texts wait in `incident_counts`, where
//! [`waiting_texts`] finds them for a search by words.

mod embedder;
mod embedding;
mod fast;
mod filler;
mod gloss;
mod hashed;
mod indexer;
mod model;
mod payloads;
mod texts;
mod upkeep;
pub mod vectors;

pub use embedder::{Embedder, EmbeddingError};
pub use embedding::{Embedding, Model};
pub use gloss::Form;
pub use hashed::HashedNgrams;
pub use indexer::{Indexer, IndexerOptions};
pub(crate) use texts::WaitingTexts;
pub use texts::{IncidentText, Waiting, waiting_texts};
pub use upkeep::index_vectors;

#[cfg(test)]
mod tests;

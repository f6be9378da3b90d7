//! The tail of the journal: texts of new fingerprints are embedded and appended.

use std::sync::Arc;

use rustc_hash::FxHashSet;
use tracerag_schemas::Table;

use super::embedding::Embedding;
use super::filler::{Filler, Work};
use super::texts;
use super::vectors::{self, Kind};
use crate::error::Result;
use crate::lake::Lake;

/// How an [`Indexer`] works.
#[derive(Debug, Clone)]
pub struct IndexerOptions {
    /// Texts in one commit: what is lost of the work if the process dies.
    pub texts_per_commit: usize,
    /// Bytes of these texts and their messages, which are held until the commit.
    pub bytes_per_commit: usize,
    /// Rows of `incident_counts` without a new text after which it is noted that they were looked at.
    pub rows_per_note: u64,
    /// Rows from which a table has indices.
    pub indexed_rows: usize,
}

impl Default for IndexerOptions {
    fn default() -> Self {
        Self {
            texts_per_commit: 1_024,
            bytes_per_commit: 16 << 20,
            rows_per_note: 500,
            indexed_rows: vectors::INDEXED_ROWS,
        }
    }
}

/// Embeds what is new. Any number may run on one lake: of two that append at once, one looks again.
#[derive(Debug)]
pub struct Indexer {
    lake: Lake,
    embedding: Arc<Embedding>,
    options: IndexerOptions,
    /// Version of `incident_counts` that was looked at to its end.
    done: Option<u64>,
    /// One a kind, in the order in which they are filled.
    fillers: [Filler; 3],
    waiting: Option<String>,
    queue: usize,
    backlog: Backlog,
}

/// Incidents that wait for a model that is not there. Which of them have vectors already is not known then: only
/// the model's dimension tells which table holds these.
#[derive(Debug, Default)]
struct Backlog {
    incidents: FxHashSet<u128>,
    /// Fragments of `incident_counts` below this id were looked at.
    end: u64,
}

impl Indexer {
    /// An indexer for a lake. Nothing is read yet.
    pub fn new(lake: Lake, embedding: Arc<Embedding>) -> Self {
        Self::with_options(lake, embedding, IndexerOptions::default())
    }

    /// An indexer with other than the usual settings.
    pub fn with_options(lake: Lake, embedding: Arc<Embedding>, options: IndexerOptions) -> Self {
        Self {
            lake,
            embedding,
            options,
            done: None,
            fillers: Kind::ALL.map(Filler::new),
            waiting: None,
            queue: 0,
            backlog: Backlog::default(),
        }
    }

    /// Why texts wait; `None` if none do.
    pub fn waiting_for(&self) -> Option<&str> {
        self.waiting.as_deref()
    }

    /// How many incidents wait for their vector, as last counted: the gauge `tracerag_embedding_queue`.
    pub fn queue(&self) -> usize {
        self.queue
    }

    fn set_queue(&mut self, incidents: usize) {
        self.queue = incidents;
        show_queue(incidents);
    }

    /// Embeds every text that the newest head has and the model's tables lack, one kind after the other: what went wrong
    /// before where. Gives their number. Without the model it gives 0, and [`Indexer::waiting_for`] says why.
    ///
    /// # Errors
    /// When the lake cannot be read or written, or the model fails on a text. What was committed stays.
    pub async fn catch_up(&mut self) -> Result<usize> {
        let (_, head) = self.lake.head().await?;
        let counts = head.of(Table::IncidentCounts).next().filter(|(_, counts)| counts.rows > 0);
        let Some((_, counts)) = counts else { return Ok(0) };
        if self.done == Some(counts.version) {
            return Ok(0);
        }
        let model = match self.embedding.model().await {
            Ok(model) => model,
            Err(error) if error.is_unavailable() => {
                let reason = error.to_string();
                if self.waiting.as_ref() != Some(&reason) {
                    tracing::warn!(reason, "texts wait for the sentence model");
                }
                self.waiting = Some(reason);
                let Backlog { incidents, end } = &mut self.backlog;
                *end = texts::unknown_incidents(&self.lake, &head, Kind::Masked, *end, |_| false, incidents).await?;
                let waiting = incidents.len();
                self.set_queue(waiting);
                return Ok(0);
            }
            Err(error) => return Err(error.into()),
        };
        self.waiting = None;
        self.backlog = Backlog::default();
        let Self { lake, embedding, options, fillers, .. } = self;
        let work = Work { lake, head: &head, embedding, model: &model, options };
        let mut embedded = 0;
        for filler in fillers {
            embedded += filler.fill(&work).await?;
        }
        self.set_queue(0);
        self.done = Some(counts.version);
        if embedded > 0 {
            metrics::counter!("tracerag_embedded_texts_total").increment(embedded as u64);
        }
        Ok(embedded)
    }

    /// How many different masked texts are known to be embedded.
    #[cfg(test)]
    pub(super) fn known_texts(&self) -> usize {
        self.fillers.first().map_or(0, Filler::known_texts)
    }
}

/// Tells how many incidents wait for a vector.
pub(super) fn show_queue(incidents: usize) {
    metrics::gauge!("tracerag_embedding_queue").set(incidents as f64);
}

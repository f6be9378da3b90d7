//! What is searched: the texts that a model has embedded, and those that wait for it.

use std::sync::Arc;

use lance::Dataset;
use lance::index::DatasetIndexExt;
use tokio::sync::OnceCell;
use tracerag_index::incidents::vectors::{self, Kind};
use tracerag_index::incidents::{Embedding, EmbeddingError, Model, Waiting, waiting_texts};

use super::allowed::SearchCache;
use super::failed;
use super::hybrid::lance;
use super::small::Small;
use crate::error::Result;
use crate::snapshot::Snapshot;

/// A model is behind where for so many texts that it has embedded more than one waits.
const BEHIND: usize = 10;
/// Texts from which it is said that so many wait. Those of the last epochs always do, and what is found of them says so
/// itself.
const LAGS: usize = 100;

/// Where incidents are searched.
pub(super) struct Corpus {
    /// The masked texts; `None` without a model, or before it has embedded any.
    pub table: Option<Stored>,
    /// The tenant's masked texts that are in no table; filters are not applied yet.
    waiting: OnceCell<Arc<Waiting>>,
    /// The model whose vectors are searched, with their form. It is not the configured one while that is behind.
    embedding: Option<Embedding>,
    model: Option<String>,
    words_only: Option<String>,
}

/// A table of vectors.
pub(super) struct Stored {
    name: String,
    pub dataset: Arc<Dataset>,
    pub rows: usize,
    /// Whether there is an index of words.
    pub has_words: bool,
    /// The rows, of a table that has none of the indices of a large one yet.
    pub small: Option<Arc<Small>>,
}

impl Corpus {
    pub(super) async fn open(snapshot: &Snapshot, embedding: Option<&Embedding>, cache: &SearchCache) -> Result<Self> {
        let none = Self::without;
        let Some(embedding) = embedding else { return Ok(none("no sentence model is configured".to_owned())) };
        match embedding.model().await {
            Ok(_) => {}
            Err(EmbeddingError::Absent { model, .. }) => {
                return Ok(none(format!("the sentence model {model} is not installed")));
            }
            Err(error) if error.is_unavailable() => {
                return Ok(none(format!("the sentence model {} cannot be loaded", embedding.model_name())));
            }
            Err(error) => return Err(failed(error)),
        }
        let embedding = &snapshot.with_its_form(embedding).await?;
        let model = embedding.model().await.map_err(failed)?;
        let table = match snapshot.vectors(embedding, Kind::Masked).await? {
            Some(dataset) => Some(Stored::of(vectors::dataset_name(&model, Kind::Masked), dataset, cache).await?),
            None => None,
        };
        let words_only = table.is_none().then(|| "no text is embedded yet".to_owned());
        let waiting = OnceCell::new();
        Ok(Self { table, waiting, embedding: Some(embedding.clone()), model: Some(model.name), words_only })
    }

    /// What answers by words alone.
    pub(super) fn without(why: String) -> Self {
        Self { table: None, waiting: OnceCell::new(), embedding: None, model: None, words_only: Some(why) }
    }

    /// What the model that was configured before has embedded, or this one in the form before, where this one is behind.
    pub(super) async fn instead(&self, snapshot: &Snapshot, cache: &SearchCache) -> Result<Option<Self>> {
        let Some(embedding) = &self.embedding else { return Ok(None) };
        let rows = self.table.as_ref().map_or(0, |table| table.rows);
        // What a snapshot holds of the own model is all that it has ever answered with.
        if snapshot.is_pinned() || self.waiting(snapshot).await?.texts.len() * BEHIND <= rows {
            embedding.forget_other();
            return Ok(None);
        }
        let model = embedding.model().await.map_err(failed)?;
        Self::before(snapshot, embedding, &model, rows, cache).await
    }

    /// The vectors of the model or the form that was there before, if there are more of them and it is still installed.
    async fn before(
        snapshot: &Snapshot,
        embedding: &Embedding,
        model: &Model,
        rows: usize,
        cache: &SearchCache,
    ) -> Result<Option<Self>> {
        let mut most: Option<(vectors::Other, usize)> = None;
        for other in vectors::of_others(snapshot.lake(), model).await? {
            let count = other.dataset.count_rows(None).await.map_err(lance)?;
            if count > most.as_ref().map_or(rows, |(_, known)| *known) {
                most = Some((other, count));
            }
        }
        let Some((other, _)) = most else { return Ok(None) };
        let before = embedding.other(&other.model);
        match before.model().await {
            Ok(model) if vectors::dataset_name(&model, Kind::Masked) == other.name => Ok(Some(Self {
                table: Some(Stored::of(other.name, other.dataset, cache).await?),
                waiting: OnceCell::new(),
                embedding: Some(before),
                model: Some(model.name),
                words_only: None,
            })),
            // Its files are gone, or others are there under its name.
            _ => Ok(None),
        }
    }

    /// The table of another kind of texts, by the model whose vectors are searched.
    pub(super) async fn further(&self, snapshot: &Snapshot, kind: Kind, cache: &SearchCache) -> Result<Option<Stored>> {
        let Some(embedding) = &self.embedding else { return Ok(None) };
        let name = vectors::dataset_name(&embedding.model().await.map_err(failed)?, kind);
        match snapshot.vectors(embedding, kind).await? {
            Some(dataset) => Ok(Some(Stored::of(name, dataset, cache).await?)),
            None => Ok(None),
        }
    }

    /// The vectors of texts of a kind by that model; none without one.
    pub(super) async fn embed(&self, kind: Kind, texts: Vec<String>) -> Result<Vec<Vec<f32>>> {
        match &self.embedding {
            Some(embedding) => embedding.embed(kind, texts).await.map_err(failed),
            None => Ok(vec![]),
        }
    }

    /// Whether the model knows words of people, and has nothing to explain to itself in a masked text: no code, no name.
    pub(super) fn knows_words_of(&self, masked: &str) -> bool {
        self.embedding.as_ref().is_some_and(|embedding| embedding.compares_meanings() && embedding.reads_as_is(masked))
    }

    /// Name of the table of masked texts, which tells model, form and dimension; empty without one.
    pub(super) fn table_name(&self) -> &str {
        self.table.as_ref().map_or("", |table| table.name.as_str())
    }

    /// Name of the model that made the vectors.
    pub(super) fn model_name(&self) -> &str {
        self.model.as_deref().unwrap_or("no model")
    }

    /// Why there are no vectors at all.
    pub(super) fn words_only(&self) -> Option<&str> {
        self.words_only.as_deref()
    }

    /// What is said of every answer while many texts wait: what is not embedded is compared by its words alone.
    pub(super) fn lag(&self) -> Option<String> {
        let waiting = self.waiting.get()?;
        let count = waiting.texts.len();
        match waiting.is_cut {
            true => Some(format!(
                "{count} incidents or more are not embedded yet, of which only the newest are searched, by words"
            )),
            false if self.words_only.is_none() && count >= LAGS => {
                Some(format!("{count} incidents are not embedded yet and are searched by words only"))
            }
            false => None,
        }
    }

    /// The tenant's masked texts that are in no table, read once.
    pub(super) async fn waiting(&self, snapshot: &Snapshot) -> Result<&Waiting> {
        let read = async {
            let table = self.table.as_ref().map(|table| (table.name.as_str(), &*table.dataset));
            waiting_texts(snapshot.lake(), snapshot.head(), snapshot.tenant(), table).await
        };
        Ok(self.waiting.get_or_try_init(|| read).await?)
    }
}

impl Stored {
    async fn of(name: String, dataset: Arc<Dataset>, cache: &SearchCache) -> Result<Self> {
        let rows = dataset.count_rows(None).await.map_err(lance)?;
        let indices = dataset.load_indices().await.map_err(lance)?;
        let has = |column: &str| {
            let name = format!("{column}_idx");
            indices.iter().any(|index| index.name == name)
        };
        let (has_words, has_ids) = (has(vectors::WORDS), has("fingerprint"));
        let is_small = !has_words && !has_ids && rows < vectors::WORDS_INDEXED_ROWS;
        let small = if is_small { Some(cache.small(&dataset).await?) } else { None };
        Ok(Self { name, has_words, rows, small, dataset })
    }
}

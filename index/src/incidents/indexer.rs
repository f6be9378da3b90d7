//! The tail of the journal: texts of new fingerprints are embedded and appended.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, FixedSizeListArray, Float32Array, Int64Array, StringArray, TimestampNanosecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Float32Type};
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::{col, lit};
use futures::TryStreamExt;
use lance::Dataset;
use lance::dataset::{InsertBuilder, WriteMode};
use rustc_hash::FxHashSet;
use tracerag_schemas::Table;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::embedding::{Embedding, Model};
use super::texts::{self, IncidentText, Most, column, incident_key};
use super::upkeep;
use super::vectors::{self, MASKED, Stamp};
use crate::error::{At, Error, Result};
use crate::journal::Head;
use crate::journal::fence::{self, Fenced};
use crate::lake::Lake;
use crate::stage::appended;

/// Texts of a backlog that are embedded between two looks after the table.
const TEXTS_PER_UPKEEP: usize = 16_384;

/// How an [`Indexer`] works.
#[derive(Debug, Clone)]
pub struct IndexerOptions {
    /// Texts in one commit: what is lost of the work if the process dies.
    pub texts_per_commit: usize,
    /// Bytes of these texts and their messages, which are held until the commit.
    pub bytes_per_commit: usize,
    /// Rows of `incident_counts` without a new text after which it is noted that they were looked at.
    pub rows_per_note: u64,
    /// Rows from which the table has indices.
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
    known: Option<Known>,
    /// Vectors that were computed but are not committed yet, by text.
    fresh: HashMap<String, Vec<f32>>,
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

/// What a table of vectors holds.
#[derive(Debug)]
struct Known {
    name: String,
    version: u64,
    stamp: Stamp,
    /// Fragments that were looked at, whether that was noted or not.
    taken: u64,
    rows_since_stamp: u64,
    /// Fragments of the table below this id are in what follows.
    end: u64,
    incidents: FxHashSet<u128>,
    texts: FxHashSet<u128>,
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
            known: None,
            fresh: HashMap::new(),
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
        metrics::gauge!("tracerag_embedding_queue").set(incidents as f64);
    }

    /// Embeds every text that the newest head has and the model's table lacks. Gives their number. Without
    /// the model it gives 0, and [`Indexer::waiting_for`] says why.
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
                *end = unknown_incidents(&self.lake, &head, *end, |_| false, incidents).await?;
                let waiting = incidents.len();
                self.set_queue(waiting);
                return Ok(0);
            }
            Err(error) => return Err(error.into()),
        };
        self.waiting = None;
        self.backlog = Backlog::default();
        let name = vectors::dataset_name(&model);
        self.lake.ensure(&name, vectors::schema(model.dimension)).await?;
        let embedded = self.embed_all(&head, &model, &name).await;
        self.fresh.clear();
        let embedded = embedded?;
        self.set_queue(0);
        self.done = Some(counts.version);
        if embedded > 0 {
            metrics::counter!("tracerag_embedded_texts_total").increment(embedded as u64);
            self.keep(&name).await;
        }
        Ok(embedded)
    }

    /// How many different texts the table holds.
    #[cfg(test)]
    pub(super) fn known_texts(&self) -> usize {
        self.known.as_ref().map_or(0, |known| known.texts.len())
    }

    async fn embed_all(&mut self, head: &Head, model: &Model, name: &str) -> Result<usize> {
        let mut embedded = 0;
        let mut lost = 0;
        let mut unkept = 0;
        let mut waiting = None;
        loop {
            self.refresh(name).await?;
            let Some(known) = &self.known else { continue };
            let is_known = |key| known.incidents.contains(&key);
            let most = Most { texts: self.options.texts_per_commit, bytes: self.options.bytes_per_commit };
            let new = texts::new_texts(&self.lake, head, known.taken, most, is_known).await?;
            let rows_since_stamp = known.rows_since_stamp + new.rows;
            if new.texts.is_empty() && rows_since_stamp < self.options.rows_per_note {
                if let Some(known) = &mut self.known {
                    known.taken = new.end;
                    known.rows_since_stamp = rows_since_stamp;
                }
                return Ok(embedded);
            }
            // One commit takes a part of them; how many there are in all is counted once.
            let counted = match waiting {
                Some(waiting) => waiting,
                None if new.complete => new.texts.len(),
                None => {
                    let mut incidents = FxHashSet::default();
                    unknown_incidents(&self.lake, head, known.taken, is_known, &mut incidents).await?;
                    incidents.len()
                }
            };
            waiting = Some(counted);
            let stamp = Stamp { position: head.position, taken: new.end };
            self.set_queue(counted);
            if self.append(model, name, &new.texts, stamp).await? {
                embedded += new.texts.len();
                // What is committed is in the table: of a long backlog no more is held than of a short one.
                self.fresh.clear();
                waiting = Some(counted.saturating_sub(new.texts.len()));
                lost = 0;
            } else {
                lost += 1;
                if lost == fence::ATTEMPTS {
                    return Err(Error::Contention {
                        dataset: name.to_owned(),
                        step: "appending vectors",
                        attempts: lost,
                    });
                }
                fence::back_off(lost).await;
                continue;
            }
            if new.complete {
                return Ok(embedded);
            }
            unkept += new.texts.len();
            if unkept >= TEXTS_PER_UPKEEP {
                // While a long backlog is embedded, the table is searched already.
                unkept = 0;
                self.keep(name).await;
            }
        }
    }

    /// Looks after the table. Rows are found without indices too, only more slowly.
    async fn keep(&self, name: &str) {
        if let Err(error) = upkeep::keep(&self.lake, name, self.options.indexed_rows).await {
            tracing::warn!(dataset = name, %error, "upkeep failed and will be tried again");
        }
    }

    /// What the newest version of the table holds. Rows are only ever added, so of what others have written or merged
    /// only the new fragments are read.
    async fn refresh(&mut self, name: &str) -> Result<()> {
        let dataset = self.lake.newest(name).await?;
        let version = dataset.version_id();
        let known = match self.known.take().filter(|known| known.name == name && known.version <= version) {
            Some(known) if known.version == version => known,
            before => {
                let stamp = Stamp::of(name, &dataset).await?;
                let mut known = before.unwrap_or_else(|| Known {
                    name: name.to_owned(),
                    version,
                    stamp,
                    taken: stamp.taken,
                    rows_since_stamp: 0,
                    end: 0,
                    incidents: FxHashSet::default(),
                    texts: FxHashSet::default(),
                });
                if stamp.taken > known.taken {
                    (known.taken, known.rows_since_stamp) = (stamp.taken, 0);
                }
                (known.version, known.stamp) = (version, stamp);
                read_keys(name, &dataset, &mut known).await?;
                known
            }
        };
        self.known = Some(known);
        Ok(())
    }

    /// Appends rows with their vectors. False: another was quicker, look again.
    async fn append(&mut self, model: &Model, name: &str, texts: &[IncidentText], stamp: Stamp) -> Result<bool> {
        let dataset = self.lake.newest(name).await?;
        if self.known.as_ref().is_none_or(|known| known.version != dataset.version_id()) {
            return Ok(false);
        }
        let mut fragments = vec![];
        if !texts.is_empty() {
            self.vectors_of(name, texts).await?;
            let rows = self.rows(model, name, texts, stamp.position)?;
            let params = self.lake.write_params(WriteMode::Append);
            let staged = InsertBuilder::new(Arc::clone(&dataset))
                .with_params(&params)
                .execute_uncommitted(vec![rows])
                .await
                .at(name, "staging vectors")?;
            fragments = appended(name, staged.operation)?;
        }
        // One key that all appends share: what is new is judged by everything that is there.
        let keys = [xxh3_64(b"incident_vectors")].into();
        match fence::append(&self.lake, &dataset, fragments, keys, stamp.properties())
            .await
            .at(name, "appending vectors")?
        {
            Fenced::Lost => Ok(false),
            Fenced::Landed(landed) => {
                let landed = self.lake.remember(name, landed);
                // Maintenance may have landed in between, but no other append.
                if let Some(known) = &mut self.known {
                    known.version = landed.version_id();
                    known.end = known.end.max(end_of(&landed));
                    known.stamp = stamp;
                    known.taken = stamp.taken;
                    known.rows_since_stamp = 0;
                    for text in texts {
                        known.incidents.insert(incident_key(&text.tenant, &text.fingerprint));
                        known.texts.insert(xxh3_128(text.text.as_bytes()));
                    }
                }
                Ok(true)
            }
        }
    }

    /// Makes sure that `fresh` has the vector of each text: from the table, or from the model.
    async fn vectors_of(&mut self, name: &str, texts: &[IncidentText]) -> Result<()> {
        let mut missing: Vec<String> = Vec::new();
        let mut stored = Vec::new();
        for text in texts.iter().map(|text| &text.text) {
            if self.fresh.contains_key(text) || missing.contains(text) {
                continue;
            }
            let hash = xxh3_128(text.as_bytes());
            if self.known.as_ref().is_some_and(|known| known.texts.contains(&hash)) {
                stored.push(vectors::text_hash(text));
            }
            missing.push(text.clone());
        }
        if !stored.is_empty() {
            let dataset = self.lake.newest(name).await?;
            let mut scan = dataset.scan();
            scan.project(&["text", vectors::VECTOR]).at(name, "reading vectors")?;
            scan.filter_expr(col("text_hash").in_list(stored.into_iter().map(lit).collect(), false));
            let mut rows = scan.try_into_stream().await.at(name, "reading vectors")?;
            while let Some(batch) = rows.try_next().await.at(name, "reading vectors")? {
                let texts = column(&batch, "text")?;
                let Some(lists) = batch.column_by_name(vectors::VECTOR).and_then(|c| c.as_fixed_size_list_opt()) else {
                    continue;
                };
                for row in 0..batch.num_rows() {
                    let vector = lists.value(row).as_primitive::<Float32Type>().values().to_vec();
                    self.fresh.insert(texts.value(row).to_owned(), vector);
                }
            }
            missing.retain(|text| !self.fresh.contains_key(text));
        }
        let computed = self.embedding.embed(missing.clone()).await?;
        self.fresh.extend(missing.into_iter().zip(computed));
        Ok(())
    }

    fn rows(&self, model: &Model, name: &str, texts: &[IncidentText], position: u64) -> Result<RecordBatch> {
        let schema = vectors::schema(model.dimension);
        let required = |get: &dyn Fn(&IncidentText) -> String| -> ArrayRef {
            Arc::new(texts.iter().map(|text| Some(get(text))).collect::<StringArray>())
        };
        let optional = |get: &dyn Fn(&IncidentText) -> Option<String>| -> ArrayRef {
            Arc::new(texts.iter().map(get).collect::<StringArray>())
        };
        let mut values = Vec::with_capacity(texts.len() * model.dimension);
        for text in texts {
            match self.fresh.get(&text.text) {
                Some(vector) => values.extend_from_slice(vector),
                None => values.resize(values.len() + model.dimension, 0.0),
            }
        }
        let present = NullBuffer::from_iter(texts.iter().map(|text| self.fresh.contains_key(&text.text)));
        let item = Arc::new(Field::new("item", DataType::Float32, true));
        let length = i32::try_from(model.dimension).unwrap_or(i32::MAX);
        let lists = FixedSizeListArray::try_new(item, length, Arc::new(Float32Array::from(values)), Some(present))
            .at(name, "building its rows")?;
        let position = i64::try_from(position).unwrap_or(i64::MAX);
        let columns: Vec<ArrayRef> = vec![
            required(&|text| text.tenant.clone()),
            required(&|text| text.fingerprint.clone()),
            required(&|_| MASKED.to_owned()),
            required(&|text| text.text.clone()),
            required(&|text| vectors::text_hash(&text.text)),
            optional(&|text| text.message.clone()),
            required(&IncidentText::words),
            optional(&|text| text.title.clone()),
            optional(&|text| text.service_name.clone()),
            optional(&|text| text.exception_type.clone()),
            required(&|_| model.name.clone()),
            Arc::new(lists),
            Arc::new(Int64Array::from(vec![position; texts.len()])),
            Arc::new(
                texts.iter().map(|text| text.ingested_at).collect::<TimestampNanosecondArray>().with_timezone("UTC"),
            ),
        ];
        RecordBatch::try_new(schema, columns).at(name, "building its rows")
    }
}

/// Adds the keys of fragments that were not read yet.
async fn read_keys(name: &str, dataset: &Dataset, known: &mut Known) -> Result<()> {
    let fragments: Vec<_> = dataset.fragments().iter().filter(|fragment| fragment.id >= known.end).cloned().collect();
    if fragments.is_empty() {
        return Ok(());
    }
    let mut scan = dataset.scan();
    scan.project(&["tenant_id", "fingerprint", "text_hash"]).at(name, "reading its keys")?;
    scan.with_fragments(fragments);
    let mut rows = scan.try_into_stream().await.at(name, "reading its keys")?;
    while let Some(batch) = rows.try_next().await.at(name, "reading its keys")? {
        let tenants = column(&batch, "tenant_id")?;
        let fingerprints = column(&batch, "fingerprint")?;
        let hashes = column(&batch, "text_hash")?;
        for row in 0..batch.num_rows() {
            known.incidents.insert(incident_key(tenants.value(row), fingerprints.value(row)));
            known.texts.extend(u128::from_str_radix(hashes.value(row), 16));
        }
    }
    known.end = known.end.max(end_of(dataset));
    Ok(())
}

/// The id behind that of the newest fragment.
fn end_of(dataset: &Dataset) -> u64 {
    dataset.fragments().iter().map(|fragment| fragment.id + 1).max().unwrap_or(0)
}

/// Adds the incidents for which `is_known` does not hold from fragments of `incident_counts` with ids from `from` on;
/// gives the id behind the last of them.
async fn unknown_incidents(
    lake: &Lake,
    head: &Head,
    from: u64,
    is_known: impl Fn(u128) -> bool,
    incidents: &mut FxHashSet<u128>,
) -> Result<u64> {
    let Some((name, counts)) = head.of(Table::IncidentCounts).next() else { return Ok(from) };
    let dataset = lake.dataset(name, counts.version).await?;
    let fragments: Vec<_> = dataset.fragments().iter().filter(|fragment| fragment.id >= from).cloned().collect();
    let Some(last) = fragments.iter().map(|fragment| fragment.id).max() else { return Ok(from) };
    let mut scan = dataset.scan();
    scan.project(&["tenant_id", "fingerprint"]).at(name, "counting incidents")?;
    scan.with_fragments(fragments);
    let mut rows = scan.try_into_stream().await.at(name, "counting incidents")?;
    while let Some(batch) = rows.try_next().await.at(name, "counting incidents")? {
        let (tenants, fingerprints) = (column(&batch, "tenant_id")?, column(&batch, "fingerprint")?);
        let keys = (0..batch.num_rows()).map(|row| incident_key(tenants.value(row), fingerprints.value(row)));
        incidents.extend(keys.filter(|key| !is_known(*key)));
    }
    Ok(last + 1)
}

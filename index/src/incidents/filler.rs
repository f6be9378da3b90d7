//! The table of vectors of one kind of text is filled with what it lacks.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, FixedSizeListArray, Float32Array, Int64Array, StringArray, TimestampNanosecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Float32Type, UInt64Type};
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::{col, lit};
use futures::{FutureExt, TryStreamExt};
use lance::Dataset;
use lance::dataset::{InsertBuilder, ProjectionRequest, WriteMode};
use rustc_hash::FxHashSet;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::embedding::{Embedding, Model};
use super::indexer::{IndexerOptions, show_queue};
use super::texts::{self, IncidentText, Most, column, incident_key};
use super::vectors::{self, Kind, Stamp};
use super::{payloads, upkeep};
use crate::error::{At, Error, Result};
use crate::journal::Head;
use crate::journal::fence::{self, Fenced};
use crate::lake::Lake;
use crate::stage::appended;

/// Texts of a backlog that are embedded between two looks after the table.
const TEXTS_PER_UPKEEP: usize = 16_384;
/// Vectors that are held from one commit to the next, at 1.5 KiB each with 384 numbers.
const MOST_FRESH: usize = 4_096;

/// What all tables are filled with.
pub(super) struct Work<'a> {
    pub lake: &'a Lake,
    pub head: &'a Head,
    pub embedding: &'a Embedding,
    pub model: &'a Model,
    pub options: &'a IndexerOptions,
}

/// Fills the table of a kind.
#[derive(Debug)]
pub(super) struct Filler {
    kind: Kind,
    known: Option<Known>,
    /// Vectors of the last texts, by text; those that are not committed yet among them.
    fresh: HashMap<String, Vec<f32>>,
}

/// What a table of vectors holds.
#[derive(Debug)]
struct Known {
    name: String,
    /// 0 before there is a table.
    version: u64,
    /// Fragments that were looked at, whether that was noted or not.
    taken: u64,
    rows_since_stamp: u64,
    /// Fragments of the table below this id are in what follows.
    end: u64,
    incidents: FxHashSet<u128>,
    texts: FxHashSet<u128>,
}

impl Known {
    /// What is known of a table before it is read, or there is one.
    fn nothing_of(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: 0,
            taken: 0,
            rows_since_stamp: 0,
            end: 0,
            incidents: FxHashSet::default(),
            texts: FxHashSet::default(),
        }
    }

    /// Adds the keys of fragments that were not read yet.
    async fn read(&mut self, dataset: &Dataset) -> Result<()> {
        let fragments: Vec<_> =
            dataset.fragments().iter().filter(|fragment| fragment.id >= self.end).cloned().collect();
        if fragments.is_empty() {
            return Ok(());
        }
        let mut scan = dataset.scan();
        scan.project(&["tenant_id", "fingerprint", "text_hash"]).at(&self.name, "reading its keys")?;
        scan.with_fragments(fragments);
        let mut rows = scan.try_into_stream().await.at(&self.name, "reading its keys")?;
        while let Some(batch) = rows.try_next().await.at(&self.name, "reading its keys")? {
            let tenants = column(&batch, "tenant_id")?;
            let fingerprints = column(&batch, "fingerprint")?;
            let hashes = column(&batch, "text_hash")?;
            for row in 0..batch.num_rows() {
                self.incidents.insert(incident_key(tenants.value(row), fingerprints.value(row)));
                self.texts.extend(u128::from_str_radix(hashes.value(row), 16));
            }
        }
        self.end = self.end.max(end_of(dataset));
        Ok(())
    }
}

impl Filler {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, known: None, fresh: HashMap::new() }
    }

    /// How many different texts the table holds.
    #[cfg(test)]
    pub(super) fn known_texts(&self) -> usize {
        self.known.as_ref().map_or(0, |known| known.texts.len())
    }

    /// Embeds every text that the head has and the table lacks, and looks after the table. Gives their number.
    pub(super) async fn fill(&mut self, work: &Work<'_>) -> Result<usize> {
        let name = vectors::dataset_name(work.model, self.kind);
        let embedded = self.embed_all(work, &name).await;
        self.fresh.clear();
        let embedded = embedded?;
        if embedded > 0 {
            self.keep(work, &name).await;
        }
        Ok(embedded)
    }

    /// Looks after the table. Rows are found without indices too, only more slowly.
    async fn keep(&self, work: &Work<'_>, name: &str) {
        if let Err(error) = upkeep::keep(work.lake, name, self.kind, work.options.indexed_rows).await {
            tracing::warn!(dataset = name, %error, "upkeep failed and will be tried again");
        }
    }

    async fn embed_all(&mut self, work: &Work<'_>, name: &str) -> Result<usize> {
        let Work { lake, head, options, .. } = *work;
        let mut embedded = 0;
        let mut lost = 0;
        let mut unkept = 0;
        let mut waiting = None;
        loop {
            self.refresh(lake, name).await?;
            let Some(known) = &self.known else { continue };
            let is_known = |key| known.incidents.contains(&key);
            let most = Most { texts: options.texts_per_commit, bytes: options.bytes_per_commit };
            let mut new = texts::new_texts(lake, head, self.kind, known.taken, most, is_known).await?;
            let rows_since_stamp = known.rows_since_stamp + new.rows;
            let has_table = known.version > 0;
            if new.texts.is_empty() && !(has_table && rows_since_stamp >= options.rows_per_note) {
                if let Some(known) = &mut self.known {
                    known.taken = new.end;
                    known.rows_since_stamp = rows_since_stamp;
                }
                return Ok(embedded);
            }
            // A lake whose failures have no text of this kind gets no table for it.
            if !has_table {
                lake.ensure(name, vectors::schema(work.model.dimension)).await?;
                continue;
            }
            // One commit takes a part of them; how many there are in all is counted once.
            let counted = match waiting {
                Some(waiting) => waiting,
                None if new.complete => new.texts.len(),
                None => {
                    let mut incidents = FxHashSet::default();
                    texts::unknown_incidents(lake, head, self.kind, known.taken, is_known, &mut incidents).await?;
                    incidents.len()
                }
            };
            waiting = Some(counted);
            let stamp = Stamp { position: head.position, taken: new.end };
            show_queue(counted);
            if self.kind == Kind::Shape {
                payloads::add(lake, head, &mut new.texts).await?;
            }
            if self.append(work, name, &new.texts, stamp).await? {
                embedded += new.texts.len();
                // What is committed is in the table: of a long backlog no more is held than of a short one. What many
                // incidents share is not looked up for each commit all the same.
                if self.fresh.len() >= MOST_FRESH {
                    self.fresh.clear();
                }
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
                self.keep(work, name).await;
            }
        }
    }

    /// What the newest version of the table holds, if there is one. Rows are only ever added, so of what others have
    /// written or merged only the new fragments are read.
    async fn refresh(&mut self, lake: &Lake, name: &str) -> Result<()> {
        let dataset = vectors::newest(lake, name).await?;
        let version = dataset.as_ref().map_or(0, |dataset| dataset.version_id());
        let known = self.known.take().filter(|known| known.name == name && known.version <= version);
        let mut known = known.unwrap_or_else(|| Known::nothing_of(name));
        if let Some(dataset) = dataset.filter(|_| known.version != version) {
            let taken = Stamp::of(name, &dataset).await?.taken;
            if taken > known.taken {
                (known.taken, known.rows_since_stamp) = (taken, 0);
            }
            known.version = version;
            known.read(&dataset).await?;
        }
        self.known = Some(known);
        Ok(())
    }

    /// Appends rows with their vectors. False: another was quicker, look again.
    async fn append(&mut self, work: &Work<'_>, name: &str, texts: &[IncidentText], stamp: Stamp) -> Result<bool> {
        let lake = work.lake;
        let dataset = lake.newest(name).await?;
        if self.known.as_ref().is_none_or(|known| known.version != dataset.version_id()) {
            return Ok(false);
        }
        let mut fragments = vec![];
        if !texts.is_empty() {
            self.vectors_of(work, name, texts).await?;
            let rows = self.rows(work.model, name, texts, stamp.position)?;
            let params = lake.write_params(WriteMode::Append);
            let staged = InsertBuilder::new(Arc::clone(&dataset))
                .with_params(&params)
                .execute_uncommitted(vec![rows])
                .await
                .at(name, "staging vectors")?;
            fragments = appended(name, staged.operation)?;
        }
        // One key that all appends share: what is new is judged by everything that is there.
        let keys = [xxh3_64(b"incident_vectors")].into();
        match fence::append(lake, &dataset, fragments, keys, stamp.properties()).await.at(name, "appending vectors")? {
            Fenced::Lost => Ok(false),
            Fenced::Landed(landed) => {
                let landed = lake.remember(name, landed);
                // Maintenance may have landed in between, but no other append.
                if let Some(known) = &mut self.known {
                    known.version = landed.version_id();
                    known.end = known.end.max(end_of(&landed));
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
    async fn vectors_of(&mut self, work: &Work<'_>, name: &str, texts: &[IncidentText]) -> Result<()> {
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
            self.take_stored(work.lake, name, stored).await?;
            missing.retain(|text| !self.fresh.contains_key(text));
        }
        let computed = work.embedding.embed(self.kind, missing.clone()).await?;
        self.fresh.extend(missing.into_iter().zip(computed));
        Ok(())
    }

    /// Takes the vectors of texts with these hashes from the table. Very many incidents may share a context or a shape, so
    /// of each text one row is read.
    async fn take_stored(&mut self, lake: &Lake, name: &str, hashes: Vec<String>) -> Result<()> {
        let dataset = lake.newest(name).await?;
        let mut scan = dataset.scan();
        scan.project(&["text_hash"]).at(name, "looking up texts")?;
        scan.with_row_id().filter_expr(col("text_hash").in_list(hashes.into_iter().map(lit).collect(), false));
        let mut rows = scan.try_into_stream().await.at(name, "looking up texts")?;
        let mut one_each: HashMap<u128, u64> = HashMap::new();
        while let Some(batch) = rows.try_next().await.at(name, "looking up texts")? {
            let hashes = column(&batch, "text_hash")?;
            let Some(ids) = batch.column_by_name("_rowid").and_then(|ids| ids.as_primitive_opt::<UInt64Type>()) else {
                continue;
            };
            for (row, id) in ids.values().iter().enumerate() {
                if let Ok(hash) = u128::from_str_radix(hashes.value(row), 16) {
                    one_each.entry(hash).or_insert(*id);
                }
            }
        }
        let mut ids: Vec<u64> = one_each.into_values().collect();
        if ids.is_empty() {
            return Ok(());
        }
        ids.sort_unstable();
        let schema = dataset.schema().project(&["text", vectors::VECTOR]).at(name, "reading vectors")?;
        let taken = dataset.take_rows(&ids, ProjectionRequest::from_schema(schema)).boxed().await;
        let batch = taken.at(name, "reading vectors")?;
        let texts = column(&batch, "text")?;
        let lists = batch.column_by_name(vectors::VECTOR).and_then(|column| column.as_fixed_size_list_opt());
        for (row, list) in lists.into_iter().flat_map(|lists| lists.iter()).enumerate() {
            if let Some(vector) = list.as_ref().and_then(|list| list.as_primitive_opt::<Float32Type>()) {
                self.fresh.insert(texts.value(row).to_owned(), vector.values().to_vec());
            }
        }
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
            required(&|_| self.kind.name().to_owned()),
            required(&|text| text.text.clone()),
            required(&|text| vectors::text_hash(&text.text)),
            optional(&|text| text.message.clone()),
            // Only masked texts are searched by words.
            optional(&|text| (self.kind == Kind::Masked).then(|| text.words())),
            optional(&|text| text.title.clone()),
            optional(&|text| text.service_name.clone()),
            optional(&|text| text.exception_type.clone()),
            required(&|_| model.stored_name(self.kind)),
            Arc::new(lists),
            Arc::new(Int64Array::from(vec![position; texts.len()])),
            Arc::new(
                texts.iter().map(|text| text.ingested_at).collect::<TimestampNanosecondArray>().with_timezone("UTC"),
            ),
        ];
        RecordBatch::try_new(schema, columns).at(name, "building its rows")
    }
}

/// The id behind that of the newest fragment.
fn end_of(dataset: &Dataset) -> u64 {
    dataset.fragments().iter().map(|fragment| fragment.id + 1).max().unwrap_or(0)
}

//! The tables of vectors: one a model, form, dimension and kind of text.
//!
//! That of the masked texts is `incident_vectors/<model>-<dimension>`, with the form behind the model where it is not plain
//! (`all-minilm-l6-v2-gloss1-384`); those of the other kinds, whose texts are embedded as they are, have the kind behind it.
//! They are not rows of one table: half of what an index of vectors finds would be of another kind, so a search of one
//! kind would have to look deeper, or filter by the kind first.
//!
//! A row is one text of one incident, and rows are only ever added. Its key is tenant, fingerprint, kind
//! and hash of the text. Each append carries, in the same commit, the journal position up to which
//! texts were looked at, and how many fragments of `incident_counts` that were.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{AsArray, Float32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use lance::Dataset;
use lance::dataset::scanner::Scanner;
use lance_linalg::distance::MetricType;
use tracerag_schemas::tables::timestamp;
use xxhash_rust::xxh3::xxh3_128;

use super::embedding::{Embedding, Model};
use super::gloss::Form;
use crate::error::{At, Error, Result, is_absent};
use crate::journal::position::POSITION;
use crate::lake::Lake;
use crate::pinned::Pinned;

/// Folder of the tables, and the name under which SQL reads that of the configured model.
pub const TABLE: &str = "incident_vectors";
/// The column of vectors.
pub const VECTOR: &str = "vector";
/// The column that is searched by words.
pub const WORDS: &str = "words";
/// Rows from which a table has an index of vectors. Below, an exact scan is as quick.
pub const INDEXED_ROWS: usize = 10_000;
/// Rows of a partition of the vector index.
pub const ROWS_PER_PARTITION: usize = 4_096;
/// Partitions of the vector index that are searched at least: a sixteenth, but of few partitions more.
const PROBED_PART: usize = 16;
const LEAST_PROBES: usize = 8;
/// Rows that are compared exactly for each that is wanted.
const REFINE: u32 = 2;
/// Rows from which it has the other indices: texts are searched in by words, which without an index means
/// that all of them are read.
pub const WORDS_INDEXED_ROWS: usize = 2_000;

/// Transaction property, and key of the table's metadata: fragments of `incident_counts` with an id
/// below this number have been looked at.
const TAKEN: &str = "tracerag.counts_fragments";

/// What a text of an incident tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// What went wrong: type, masked message, and the innermost function of the application.
    Masked,
    /// Where: service, span path, and the first functions of the application.
    Context,
    /// With what: names of the spans on the path, and shapes of the payloads of an example trace.
    Shape,
}

impl Kind {
    /// Every kind, in the order in which they are embedded.
    pub const ALL: [Self; 3] = [Self::Masked, Self::Context, Self::Shape];

    /// The value of the column `kind`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Masked => "masked",
            Self::Context => "context",
            Self::Shape => "shape",
        }
    }

    /// The column of `incident_counts` that has the text, or what it is made of.
    pub(super) fn column(self) -> &'static str {
        match self {
            Self::Masked => "text",
            Self::Context => "context",
            Self::Shape => "shape",
        }
    }

    /// What the name of a dataset ends with.
    fn ending(self) -> String {
        match self {
            Self::Masked => String::new(),
            Self::Context | Self::Shape => format!("-{}", self.name()),
        }
    }
}

/// Name of the dataset in the lake that has a model's vectors of a kind of text.
pub fn dataset_name(model: &Model, kind: Kind) -> String {
    let slug: String = model
        .stored_name(kind)
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .collect();
    format!("{TABLE}/{slug}-{}{}", model.dimension, kind.ending())
}

/// The columns of a table with vectors of a dimension. `position` is the journal's when the row was made;
/// `words` is what a search by words looks at: exception type, first message, place; null but in the masked texts.
pub fn schema(dimension: usize) -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let length = i32::try_from(dimension).unwrap_or(i32::MAX);
    Arc::new(Schema::new(vec![
        text("tenant_id"),
        text("fingerprint"),
        text("kind"),
        text("text"),
        text("text_hash"),
        text("message"),
        text(WORDS),
        text("title"),
        text("service_name"),
        text("exception_type"),
        text("model"),
        Field::new(VECTOR, DataType::FixedSizeList(item, length), true),
        Field::new("position", DataType::Int64, true),
        Field::new("ingested_at", timestamp(), true),
    ]))
}

/// Lets a scan of a table with so many rows give those that are nearest to a vector, by true cosine distance.
///
/// # Errors
/// When the table has no vectors of this length.
pub fn nearest(scan: &mut Scanner, vector: &Float32Array, wanted: usize, rows: usize) -> lance::Result<()> {
    let probes = (rows / ROWS_PER_PARTITION).div_ceil(PROBED_PART).max(LEAST_PROBES);
    scan.nearest(VECTOR, vector, wanted)?;
    scan.distance_metric(MetricType::Cosine).minimum_nprobes(probes).refine(REFINE);
    Ok(())
}

/// Hash of a text, as 32 hex digits.
pub fn text_hash(text: &str) -> String {
    format!("{:032x}", xxh3_128(text.as_bytes()))
}

/// The newest version of a model's table of a kind; `None` if nothing of it was ever embedded.
///
/// # Errors
/// When the model is not available, or the table cannot be opened.
pub async fn open(lake: &Lake, embedding: &Embedding, kind: Kind) -> Result<Option<Arc<Dataset>>> {
    newest(lake, &dataset_name(&embedding.model().await?, kind)).await
}

/// The newest version of a table; `None` if there is no such table.
pub(super) async fn newest(lake: &Lake, name: &str) -> Result<Option<Arc<Dataset>>> {
    match lake.newest(name).await {
        Ok(dataset) => Ok(Some(dataset)),
        Err(Error::Lance { source, .. }) if is_absent(&source) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A table of a model that is not the configured one, or of another form than it has now.
#[derive(Debug, Clone)]
pub struct Other {
    /// Name of the dataset, as of [`dataset_name`].
    pub name: String,
    /// Name of the model, and the form behind it, as of [`Model::stored_name`].
    pub model: String,
    /// The newest version.
    pub dataset: Arc<Dataset>,
}

/// The tables of masked texts of other models than this one, or in other forms, that have rows: those of before.
///
/// # Errors
/// When the lake cannot be listed or a table cannot be read.
pub async fn of_others(lake: &Lake, model: &Model) -> Result<Vec<Other>> {
    let own = dataset_name(model, Kind::Masked);
    // A dimension is a number, so no model's masked texts have such a name.
    let is_of_other_kind =
        |folder: &str| [Kind::Context, Kind::Shape].iter().any(|kind| folder.ends_with(&kind.ending()));
    let mut others = Vec::new();
    for folder in lake.datasets_in(TABLE).await? {
        let name = format!("{TABLE}/{folder}");
        if name == own || is_of_other_kind(&folder) {
            continue;
        }
        let dataset = lake.newest(&name).await?;
        let mut scan = dataset.scan();
        scan.project(&["model"]).at(&name, "reading its model")?;
        scan.limit(Some(1), None).at(&name, "reading its model")?;
        let row = scan.try_into_batch().await.at(&name, "reading its model")?;
        let models = row.column_by_name("model").and_then(|column| column.as_string_opt::<i32>());
        if let Some(model) = models.and_then(|models| models.iter().flatten().next()) {
            others.push(Other { model: model.to_owned(), name, dataset });
        }
    }
    Ok(others)
}

/// A model with the form of messages that a snapshot holds vectors of: the newest that it has, and as it is where it has
/// none.
///
/// # Errors
/// When the model is not available.
pub async fn as_pinned(embedding: &Embedding, pinned: &Pinned) -> Result<Embedding> {
    let model = embedding.model().await?;
    let is_held = |form: &Form| {
        let of_form = Model { form: *form, ..model.clone() };
        pinned.beside.contains_key(&dataset_name(&of_form, Kind::Masked))
    };
    let held = model.form.and_before().find(is_held);
    Ok(embedding.with_form(held.unwrap_or(model.form)))
}

/// The version of a model's table of a kind that a snapshot holds, in whatever form ([`as_pinned`]); `None` if it holds
/// none.
///
/// # Errors
/// As [`open`].
pub async fn open_pinned(
    lake: &Lake,
    embedding: &Embedding,
    pinned: &Pinned,
    kind: Kind,
) -> Result<Option<Arc<Dataset>>> {
    let name = dataset_name(&as_pinned(embedding, pinned).await?.model().await?, kind);
    match pinned.beside.get(&name) {
        Some(version) => Ok(Some(lake.dataset(&name, *version).await?)),
        None => Ok(None),
    }
}

/// How far a table is behind `incident_counts`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Journal position.
    pub position: u64,
    /// Fragments of `incident_counts` with an id below this have been looked at. Ids only grow, and what a
    /// compaction writes under new ids is looked at again, which changes nothing.
    pub taken: u64,
}

impl Stamp {
    pub(super) fn properties(self) -> HashMap<String, String> {
        HashMap::from([(POSITION.to_owned(), self.position.to_string()), (TAKEN.to_owned(), self.taken.to_string())])
    }

    fn read(properties: &HashMap<String, String>) -> Option<Self> {
        let number = |key: &str| properties.get(key)?.parse().ok();
        Some(Self { position: number(POSITION)?, taken: number(TAKEN)? })
    }

    /// The greatest stamp on the versions of a table up to this one.
    pub(super) async fn of(name: &str, dataset: &Dataset) -> Result<Self> {
        let kept = Self::read(dataset.metadata());
        let mut version = dataset.version_id();
        while version > 0 {
            match dataset.read_transaction_by_version(version).await {
                Ok(transaction) => {
                    let stamp = transaction
                        .and_then(|transaction| transaction.transaction_properties)
                        .and_then(|properties| Self::read(&properties));
                    if let Some(stamp) = stamp {
                        return Ok(stamp);
                    }
                }
                // Cleaned away: its stamp is in the metadata.
                Err(error) if is_absent(&error) => break,
                Err(error) => return Err(error).at(name, "reading how far it is"),
            }
            version -= 1;
        }
        Ok(kept.unwrap_or_default())
    }
}

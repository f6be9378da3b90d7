//! The two searches: by vector and by words, over what is embedded and what waits to be.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, FixedSizeListArray, Float32Array};
use arrow::datatypes::{Float32Type, UInt64Type};
use arrow::record_batch::RecordBatch;
use datafusion::common::runtime::SpawnedTask;
use datafusion::logical_expr::Expr;
use futures::FutureExt;
use lance::Dataset;
use lance::dataset::ProjectionRequest;
use lance::dataset::scanner::{RowAddrMask, Scanner};
use lance::index::DatasetIndexExt;
use lance_index::scalar::FullTextSearchQuery;
use tokio::sync::OnceCell;
use tracerag_index::incidents::{Embedding, EmbeddingError, IncidentText, Model, Waiting, vectors, waiting_texts};

use super::allowed::SearchCache;
use super::failed;
use super::filter::Filter;
use super::probe::{Probe, Question};
use super::rank::{Weights, places};
use super::stack::Overlap;
use super::words::Query;
use crate::error::{QueryError, Result};
use crate::rows::{Columns, owned};
use crate::snapshot::Snapshot;

/// Texts of each ranking that are fused: three for each that is asked for, within these bounds. A search
/// compares twice as many rows exactly, which is what it takes its time for.
const LEAST_DEPTH: usize = 24;
const DEPTH: usize = 100;
/// Rows that are looked at for that many different texts, where many incidents share one.
const DEEPEST: usize = 6_400;
/// A model is behind where for so many texts that it has embedded more than one waits.
const BEHIND: usize = 10;
/// Texts from which it is said that so many wait. Those of the last epochs always do, and what is found of them says so
/// itself.
const LAGS: usize = 100;
/// Shared words that a reason names.
const NAMED_WORDS: usize = 4;

/// Where incidents are searched.
pub(super) struct Corpus {
    table: Option<Stored>,
    /// The tenant's texts that are in no table; filters are not applied yet.
    waiting: OnceCell<Arc<Waiting>>,
    /// The model whose vectors are searched. It is not the configured one while that is behind.
    embedding: Option<Embedding>,
    model: Option<String>,
    words_only: Option<String>,
}

struct Stored {
    name: String,
    dataset: Arc<Dataset>,
    rows: usize,
    /// Whether there is an index of words; without one the table is small.
    has_words: bool,
}

impl Corpus {
    pub(super) async fn open(snapshot: &Snapshot, embedding: Option<&Embedding>) -> Result<Self> {
        let none = Self::without;
        let Some(embedding) = embedding else { return Ok(none("no sentence model is configured".to_owned())) };
        let model = match embedding.model().await {
            Ok(model) => model,
            Err(EmbeddingError::Absent { model, .. }) => {
                return Ok(none(format!("the sentence model {model} is not installed")));
            }
            Err(error) if error.is_unavailable() => {
                return Ok(none(format!("the sentence model {} cannot be loaded", embedding.model_name())));
            }
            Err(error) => return Err(failed(error)),
        };
        let table = match snapshot.vectors(embedding).await? {
            Some(dataset) => Some(Stored::of(vectors::dataset_name(&model), dataset).await?),
            None => None,
        };
        let words_only = table.is_none().then(|| "no text is embedded yet".to_owned());
        let waiting = OnceCell::new();
        Ok(Self { table, waiting, embedding: Some(embedding.clone()), model: Some(model.name.clone()), words_only })
    }

    /// What answers by words alone, or compares no texts at all.
    pub(super) fn without(why: String) -> Self {
        Self { table: None, waiting: OnceCell::new(), embedding: None, model: None, words_only: Some(why) }
    }

    /// What the model that was configured before has embedded, where this one is behind.
    pub(super) async fn instead(&self, snapshot: &Snapshot) -> Result<Option<Self>> {
        let Some(embedding) = &self.embedding else { return Ok(None) };
        let rows = self.table.as_ref().map_or(0, |table| table.rows);
        // What a snapshot holds of the own model is all that it has ever answered with.
        if snapshot.is_pinned() || self.waiting(snapshot).await?.texts.len() * BEHIND <= rows {
            embedding.forget_other();
            return Ok(None);
        }
        let model = embedding.model().await.map_err(failed)?;
        Self::before(snapshot, embedding, &model, rows).await
    }

    /// The vectors of the model that was configured before, if there are more of them and it is still installed.
    async fn before(snapshot: &Snapshot, embedding: &Embedding, model: &Model, rows: usize) -> Result<Option<Self>> {
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
            Ok(model) if vectors::dataset_name(&model) == other.name => Ok(Some(Self {
                table: Some(Stored::of(other.name, other.dataset).await?),
                waiting: OnceCell::new(),
                embedding: Some(before),
                model: Some(model.name),
                words_only: None,
            })),
            // Its files are gone, or others are there under its name.
            _ => Ok(None),
        }
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

    /// The tenant's texts that are in no table, read once.
    pub(super) async fn waiting(&self, snapshot: &Snapshot) -> Result<&Waiting> {
        let read = async {
            let table = self.table.as_ref().map(|table| (table.name.as_str(), &*table.dataset));
            waiting_texts(snapshot.lake(), snapshot.head(), snapshot.tenant(), table).await
        };
        Ok(self.waiting.get_or_try_init(|| read).await?)
    }
}

impl Stored {
    async fn of(name: String, dataset: Arc<Dataset>) -> Result<Self> {
        let indices = dataset.load_indices_by_name(&format!("{}_idx", vectors::WORDS)).await.map_err(lance)?;
        let rows = dataset.count_rows(None).await.map_err(lance)?;
        Ok(Self { name, has_words: !indices.is_empty(), rows, dataset })
    }
}

/// An incident that one of the searches found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub fingerprint: String,
    pub score: f64,
    pub distance: Option<f64>,
    /// Whether its masked text is the question's.
    pub same_text: bool,
    /// Words that it shares with the question, where it was found by words.
    pub shared: Vec<String>,
    /// The question's identifier that stands in it.
    pub identifier: Option<String>,
    /// Other incidents with the same text, which it stands for.
    pub alike: usize,
    /// What its stack shares with the question's.
    pub frames: Option<Overlap>,
    /// Why it is like a structure that was asked for, in words.
    pub by_structure: Option<String>,
}

impl Found {
    /// An incident of which nothing is known yet.
    pub(super) fn of(fingerprint: String) -> Self {
        Self {
            fingerprint,
            score: 0.0,
            distance: None,
            same_text: false,
            shared: vec![],
            identifier: None,
            alike: 0,
            frames: None,
            by_structure: None,
        }
    }
}

/// A text of an incident, as a search found it.
#[derive(Debug, Clone)]
struct Candidate {
    fingerprint: String,
    hash: String,
    /// Empty where the search did not need them.
    words: String,
    distance: Option<f64>,
    /// Its row in the table, if it is embedded.
    row: Option<u64>,
}

/// The vector of each of the question's probes; `None` where there is no model or no table.
pub(super) async fn vectors(corpus: &Corpus, question: &Question) -> Result<Vec<Option<Vec<f32>>>> {
    let (Some(_), Some(embedding)) = (&corpus.table, &corpus.embedding) else {
        return Ok(vec![None; question.probes.len()]);
    };
    let texts = question.probes.iter().map(|probe| probe.masked.clone()).collect();
    Ok(embedding.embed(texts).await.map_err(failed)?.into_iter().map(Some).collect())
}

/// Which rows of the table are searched.
pub(super) struct Scope<'a> {
    filter: &'a Filter,
    expr: Option<Expr>,
    mask: Option<RowAddrMask>,
}

impl<'a> Scope<'a> {
    pub(super) async fn of(corpus: &Corpus, cache: &SearchCache, filter: &'a Filter) -> Result<Self> {
        let Some(table) = &corpus.table else { return Ok(Self { filter, expr: filter.expr(false), mask: None }) };
        let mask = filter.mask(&table.dataset).await?;
        Ok(Self { filter, expr: filter.expr(filter.is_whole(cache, &table.dataset).await?), mask })
    }

    /// Keeps a search to these rows, before it ranks them, and asks for their ids.
    fn bound(&self, scan: &mut Scanner) {
        scan.with_row_id().prefilter(true);
        if let Some(expr) = &self.expr {
            scan.filter_expr(expr.clone());
        }
        if let Some(mask) = &self.mask {
            scan.with_row_id_prefilter(mask.clone());
        }
    }
}

/// Incidents like a probe, best first: at most one for each text, and never one of the question's own.
pub(super) async fn search(
    snapshot: &Snapshot,
    corpus: &Corpus,
    scope: &Scope<'_>,
    question: &Question,
    probe: &Probe,
    vector: Option<&[f32]>,
    k: usize,
) -> Result<Vec<Found>> {
    let query = Query::new(&probe.raw);
    let depth = (3 * k).clamp(LEAST_DEPTH, DEPTH).max(k);
    let (mut near, mut by_words) = tokio::try_join!(
        nearest(corpus, scope, question, vector, k, depth),
        matching(snapshot, corpus, scope, question, &query, depth),
    )?;
    if let Some(vector) = vector {
        let mut distances: HashMap<u64, f64> =
            near.iter().filter_map(|candidate| Some((candidate.row?, candidate.distance?))).collect();
        let far = by_words.iter().filter_map(|candidate| candidate.row).filter(|row| !distances.contains_key(row));
        // Only an identifier is looked for in texts that were not found by their words.
        let unread = match probe.identifiers.is_empty() {
            true => vec![],
            false => near.iter().filter_map(|candidate| candidate.row).collect(),
        };
        let (measured, words) = tokio::try_join!(measure(corpus, vector, far.collect()), read_words(corpus, unread))?;
        distances.extend(measured);
        for candidate in &mut by_words {
            candidate.distance = candidate.row.and_then(|row| distances.get(&row).copied());
        }
        for candidate in &mut near {
            if let Some(words) = candidate.row.and_then(|row| words.get(&row)) {
                candidate.words.clone_from(words);
            }
        }
        // What the words found has a place among the near ones as well, if it is near.
        let known: HashSet<&str> = near.iter().map(|candidate| candidate.fingerprint.as_str()).collect();
        let more: Vec<Candidate> = by_words
            .iter()
            .filter(|candidate| candidate.distance.is_some() && !known.contains(candidate.fingerprint.as_str()))
            .cloned()
            .collect();
        near.extend(more);
        near.sort_by(|a, b| {
            let (a_distance, b_distance) = (a.distance.unwrap_or(f64::MAX), b.distance.unwrap_or(f64::MAX));
            a_distance.total_cmp(&b_distance).then_with(|| a.fingerprint.cmp(&b.fingerprint))
        });
    }
    Ok(fuse(probe, vector.is_some(), &near, &by_words, &query))
}

fn fuse(probe: &Probe, has_vectors: bool, near: &[Candidate], by_words: &[Candidate], query: &Query) -> Vec<Found> {
    let near_places = places(near.iter().map(|candidate| candidate.hash.as_str()));
    let word_places = places(by_words.iter().map(|candidate| candidate.hash.as_str()));
    let identifier_of = |words: &str| {
        let lower = words.to_lowercase();
        probe.identifiers.iter().find(|identifier| lower.contains(identifier.as_str())).cloned()
    };
    let weights = Weights::route(by_words.iter().any(|candidate| identifier_of(&candidate.words).is_some()));
    let own_hash = vectors::text_hash(&probe.masked);
    let mut texts: HashMap<&str, Ranked<'_>> = HashMap::new();
    for (candidate, place) in near.iter().zip(&near_places) {
        let ranked = texts.entry(&candidate.hash).or_insert_with(|| Ranked::new(candidate));
        ranked.near.get_or_insert(*place);
        ranked.alike.insert(&candidate.fingerprint);
    }
    for (candidate, place) in by_words.iter().zip(&word_places) {
        let ranked = texts.entry(&candidate.hash).or_insert_with(|| Ranked::new(candidate));
        // Equal masked texts differ in the message: the one with the words stands for all.
        if ranked.words.is_none() {
            ranked.candidate = candidate;
            ranked.words = Some(*place);
        }
        ranked.alike.insert(&candidate.fingerprint);
    }
    let mut found: Vec<Found> = texts
        .into_values()
        .map(|Ranked { candidate, near, words, alike }| {
            let identifier = identifier_of(&candidate.words);
            // A text without a vector could be in no other ranking, so the words alone are its measure.
            let vectors = (has_vectors && candidate.distance.is_some()).then_some(near.filter(|place| *place < DEPTH));
            let strength = match identifier.is_some() || !has_vectors {
                true => 1.0,
                false => query.coverage(&candidate.words),
            };
            Found {
                score: weights.fuse(vectors, Some(words), strength),
                distance: candidate.distance,
                same_text: candidate.hash == own_hash,
                shared: if words.is_some() { query.shared(&candidate.words, NAMED_WORDS) } else { vec![] },
                identifier,
                alike: alike.len() - 1,
                ..Found::of(candidate.fingerprint.clone())
            }
        })
        .filter(|found| found.score > 0.0)
        .collect();
    found.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.fingerprint.cmp(&b.fingerprint)));
    found
}

/// One masked text with its places in the two rankings, and the fingerprints that share it.
struct Ranked<'a> {
    candidate: &'a Candidate,
    near: Option<usize>,
    words: Option<usize>,
    alike: HashSet<&'a str>,
}

impl<'a> Ranked<'a> {
    fn new(candidate: &'a Candidate) -> Self {
        Self { candidate, near: None, words: None, alike: HashSet::new() }
    }
}

/// The nearest texts by true cosine distance, without their words. The filter holds before the search.
/// `texts` are wanted that differ, among so many rows at first.
async fn nearest(
    corpus: &Corpus,
    scope: &Scope<'_>,
    question: &Question,
    vector: Option<&[f32]>,
    texts: usize,
    depth: usize,
) -> Result<Vec<Candidate>> {
    let (Some(table), Some(vector)) = (&corpus.table, vector) else { return Ok(vec![]) };
    let key = Float32Array::from(vector.to_vec());
    let mut rows = depth + question.own.len();
    loop {
        let mut scan = table.dataset.scan();
        scan.project(&["fingerprint", "text_hash", "_distance"]).map_err(lance)?;
        scope.bound(&mut scan);
        vectors::nearest(&mut scan, &key, rows, table.rows).map_err(lance)?;
        let batch = scanned(scan).await?;
        let mut near = candidates(&batch)?;
        let distances = batch
            .column_by_name("_distance")
            .and_then(|column| column.as_primitive_opt::<Float32Type>())
            .ok_or_else(|| unknown("_distance"))?;
        for (row, candidate) in near.iter_mut().enumerate() {
            candidate.distance = distances.is_valid(row).then(|| f64::from(distances.value(row)).max(0.0));
        }
        let is_all = near.len() < rows;
        near.retain(|candidate| !question.own.contains(&candidate.fingerprint));
        let different: HashSet<&str> = near.iter().map(|candidate| candidate.hash.as_str()).collect();
        // Many incidents with one text would leave no room for others.
        if is_all || different.len() >= texts.max(depth / 4) || rows >= DEEPEST {
            return Ok(near);
        }
        rows *= 4;
    }
}

/// Texts that share words with the probe, best first.
async fn matching(
    snapshot: &Snapshot,
    corpus: &Corpus,
    scope: &Scope<'_>,
    question: &Question,
    query: &Query,
    depth: usize,
) -> Result<Vec<Candidate>> {
    let mut stored = Vec::new();
    let mut total = 0;
    let mut is_ranked = false;
    if let Some(table) = &corpus.table {
        let mut scan = table.dataset.scan();
        scope.bound(&mut scan);
        if table.has_words {
            let words = FullTextSearchQuery::new(query.text())
                .with_column(vectors::WORDS.to_owned())
                .map_err(lance)?
                .limit(Some(i64::try_from(depth + question.own.len()).unwrap_or(i64::MAX)));
            scan.full_text_search(words).map_err(lance)?;
            scan.project(&["fingerprint", "text_hash", vectors::WORDS, "_score"]).map_err(lance)?;
            is_ranked = true;
        } else {
            scan.project(&["fingerprint", "text_hash", vectors::WORDS]).map_err(lance)?;
        }
        stored = candidates(&scanned(scan).await?)?;
        stored.retain(|candidate| !question.own.contains(&candidate.fingerprint));
        total = table.rows;
    }
    let waiting = corpus.waiting(snapshot).await?.texts.iter();
    let waiting: Vec<(&IncidentText, String)> = waiting
        .filter(|incident| scope.filter.takes(incident) && !question.own.contains(&incident.fingerprint))
        .map(|incident| (incident, incident.words()))
        .collect();
    if is_ranked && waiting.is_empty() {
        return Ok(stored);
    }
    // Both kinds get scores of one measure: how common a word is, is judged by the texts that were read,
    // among all there are.
    total += waiting.len();
    let texts = stored.iter().map(|candidate| &candidate.words).chain(waiting.iter().map(|(_, words)| words));
    let ranked = query.rank(texts.map(String::as_str), if is_ranked { total } else { 0 });
    let candidate = |index: usize| match index.checked_sub(stored.len()) {
        None => stored.get(index).cloned(),
        Some(index) => waiting.get(index).map(|(incident, words)| Candidate {
            fingerprint: incident.fingerprint.clone(),
            hash: vectors::text_hash(&incident.text),
            words: words.clone(),
            distance: None,
            row: None,
        }),
    };
    Ok(ranked.into_iter().take(depth).filter_map(|(index, _)| candidate(index)).collect())
}

/// True distances of rows that have a vector.
async fn measure(corpus: &Corpus, vector: &[f32], rows: Vec<u64>) -> Result<HashMap<u64, f64>> {
    let Some((rows, batch)) = taken(corpus, rows, vectors::VECTOR).await? else { return Ok(HashMap::new()) };
    let lists: &FixedSizeListArray = batch
        .column_by_name(vectors::VECTOR)
        .and_then(|column| column.as_fixed_size_list_opt())
        .ok_or_else(|| unknown(vectors::VECTOR))?;
    let distance = |(index, row): (usize, u64)| {
        let stored = lists.is_valid(index).then(|| lists.value(index))?;
        Some((row, cosine(vector, stored.as_primitive_opt::<Float32Type>()?.values())))
    };
    Ok(rows.into_iter().enumerate().filter_map(distance).collect())
}

/// Words of rows.
async fn read_words(corpus: &Corpus, rows: Vec<u64>) -> Result<HashMap<u64, String>> {
    let Some((rows, batch)) = taken(corpus, rows, vectors::WORDS).await? else { return Ok(HashMap::new()) };
    let words = Columns::of(vectors::TABLE, &batch).text(vectors::WORDS)?;
    Ok(rows.into_iter().enumerate().filter_map(|(index, row)| Some((row, owned(words, index)?))).collect())
}

/// A column of rows, with their ids, rising; `None` of none.
async fn taken(corpus: &Corpus, mut rows: Vec<u64>, column: &str) -> Result<Option<(Vec<u64>, RecordBatch)>> {
    rows.sort_unstable();
    rows.dedup();
    let Some(table) = corpus.table.as_ref().filter(|_| !rows.is_empty()) else { return Ok(None) };
    let schema = table.dataset.schema().project(&[column]).map_err(lance)?;
    let batch = table.dataset.take_rows(&rows, ProjectionRequest::from_schema(schema)).boxed().await.map_err(lance)?;
    Ok(Some((rows, batch)))
}

fn cosine(one: &[f32], other: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    let norm = (dot(one, one) * dot(other, other)).sqrt();
    if norm > 0.0 { (1.0 - dot(one, other) / norm).max(0.0) } else { 1.0 }
}

/// What a scan finds, on a task of its own: the two searches of a question are work for two cores. Dropped with who asks.
async fn scanned(scan: Scanner) -> Result<RecordBatch> {
    let batch = SpawnedTask::spawn(async move { scan.try_into_batch().await }.boxed()).join().await;
    batch.map_err(failed)?.map_err(lance)
}

fn candidates(batch: &RecordBatch) -> Result<Vec<Candidate>> {
    let columns = Columns::of(vectors::TABLE, batch);
    let (fingerprints, hashes) = (columns.text("fingerprint")?, columns.text("text_hash")?);
    let words = if batch.column_by_name(vectors::WORDS).is_some() { Some(columns.text(vectors::WORDS)?) } else { None };
    let rows = batch
        .column_by_name("_rowid")
        .and_then(|column| column.as_primitive_opt::<UInt64Type>())
        .ok_or_else(|| unknown("_rowid"))?;
    Ok((0..batch.num_rows())
        .filter_map(|row| {
            Some(Candidate {
                fingerprint: owned(fingerprints, row)?,
                hash: owned(hashes, row)?,
                words: words.and_then(|words| owned(words, row)).unwrap_or_default(),
                distance: None,
                row: Some(rows.value(row)),
            })
        })
        .collect())
}

pub(super) fn lance(source: lance::Error) -> QueryError {
    QueryError::Lance { dataset: vectors::TABLE.to_owned(), source: Box::new(source) }
}

pub(super) fn unknown(column: &str) -> QueryError {
    QueryError::Column { dataset: vectors::TABLE.to_owned(), column: column.to_owned() }
}

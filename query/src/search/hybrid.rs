//! The two searches of texts: by vector and by words, over what is embedded and what waits to be.

use std::collections::{HashMap, HashSet};

use arrow::array::{Array, AsArray, Float32Array};
use arrow::datatypes::{Float32Type, UInt64Type};
use arrow::record_batch::RecordBatch;
use datafusion::common::runtime::SpawnedTask;
use datafusion::logical_expr::Expr;
use futures::FutureExt;
use futures::future::try_join_all;
use lance::dataset::ProjectionRequest;
use lance::dataset::scanner::{RowAddrMask, Scanner};
use lance_index::scalar::FullTextSearchQuery;
use tracerag_index::incidents::IncidentText;
use tracerag_index::incidents::vectors;

use super::allowed::SearchCache;
use super::corpus::{Corpus, Stored};
use super::failed;
use super::filter::Filter;
use super::further::{self, Further};
use super::meaning::Meaning;
use super::measure::measure;
use super::probe::{Probe, Question};
use super::rank::{Ranking, Weights, places};
use super::stack::Overlap;
use super::words::{Counted, Query};
use crate::error::{QueryError, Result};
use crate::reads;
use crate::rows::{Columns, owned};
use crate::snapshot::Snapshot;

/// Texts of each ranking that are fused: three for each that is asked for, within these bounds. A search
/// compares twice as many rows exactly, which is what it takes its time for.
const LEAST_DEPTH: usize = 24;
const DEPTH: usize = 100;
/// Rows that are looked at for that many different texts, where many incidents share one.
const DEEPEST: usize = 6_400;
/// Shared words that a reason names.
const NAMED_WORDS: usize = 4;

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
    /// What else is like the question's: what that is, and the distance of its vectors.
    pub further: Vec<(&'static str, f64)>,
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
            further: vec![],
            frames: None,
            by_structure: None,
        }
    }
}

/// A text of an incident, as a search found it.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub fingerprint: String,
    pub hash: String,
    /// Empty where the search did not need them.
    pub words: String,
    pub distance: Option<f64>,
    /// Its row in the table, if it is embedded.
    pub row: Option<u64>,
}

/// Which rows of the table are searched.
pub(super) struct Scope<'a> {
    filter: &'a Filter,
    expr: Option<Expr>,
    mask: Option<RowAddrMask>,
}

impl<'a> Scope<'a> {
    pub(super) async fn of(table: Option<&Stored>, cache: &SearchCache, filter: &'a Filter) -> Result<Self> {
        // What is held in memory is filtered row by row.
        let Some(table) = table.filter(|table| table.small.is_none()) else {
            return Ok(Self { filter, expr: None, mask: None });
        };
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

/// What a search needs of a question.
pub(super) struct Ready<'a> {
    /// What each of the question's probes is compared by with vectors.
    pub meanings: Vec<Option<Meaning>>,
    pub scope: Scope<'a>,
    pub further: Vec<Further>,
}

impl<'a> Ready<'a> {
    pub(super) async fn of(
        snapshot: &Snapshot,
        corpus: &Corpus,
        cache: &SearchCache,
        filter: &'a Filter,
        question: &Question,
    ) -> Result<Self> {
        // What waits is needed by the search for words in any case. It is read now, for it tells as well whether the table
        // is behind.
        let (meanings, scope, further, _) = tokio::try_join!(
            Meaning::of(corpus, cache, question),
            Scope::of(corpus.table.as_ref(), cache, filter),
            further::open(snapshot, corpus, cache, question),
            corpus.waiting(snapshot),
        )?;
        Ok(Self { meanings, scope, further })
    }
}

/// Where a question is searched for.
pub(super) struct Searched<'a> {
    pub snapshot: &'a Snapshot,
    pub corpus: &'a Corpus,
    pub scope: &'a Scope<'a>,
    /// What is compared beside the texts.
    pub further: &'a [Further],
    pub question: &'a Question,
}

/// Incidents like the question's probe of a number, best first: at most one for each text, and never one of the
/// question's own.
pub(super) async fn search(
    searched: &Searched<'_>,
    number: usize,
    probe: &Probe,
    meaning: Option<&Meaning>,
    k: usize,
) -> Result<Vec<Found>> {
    let Searched { snapshot, corpus, scope, further, question } = *searched;
    let query = Query::new(&probe.raw);
    let depth = (3 * k).clamp(LEAST_DEPTH, DEPTH).max(k);
    let (mut near, mut by_words) = tokio::try_join!(
        nearest(corpus, scope, question, meaning, k, depth),
        matching(snapshot, corpus, scope, question, &query, depth),
    )?;
    // What is alike in other respects is worth about one place, so it is compared of what the texts have found.
    let found = near.iter().take(depth).chain(by_words.iter().take(depth));
    let mut compared: Vec<&str> = found.map(|candidate| candidate.fingerprint.as_str()).collect();
    compared.sort_unstable();
    compared.dedup();
    let rankings = further.iter().map(|further| further.ranking(snapshot, number, probe, &compared));
    // Only an identifier is looked for in texts that were not found by their words.
    let unread = match probe.identifiers.is_empty() {
        true => vec![],
        false => near.iter().filter_map(|candidate| candidate.row).collect(),
    };
    let (measured, words, rankings) = tokio::try_join!(
        measure(corpus, meaning, &query, &near, &by_words),
        read_words(corpus, unread),
        try_join_all(rankings)
    )?;
    let rankings: Vec<Ranking> = rankings.into_iter().flatten().collect();
    for candidate in near.iter_mut().chain(&mut by_words) {
        candidate.distance = measured.distance(candidate);
    }
    for candidate in &mut near {
        if let Some(words) = candidate.row.and_then(|row| words.get(&row)) {
            candidate.words.clone_from(words);
        }
    }
    // What was found by its words has a place among the near ones as well, if it is near.
    let known: HashSet<&str> = near.iter().map(|candidate| candidate.fingerprint.as_str()).collect();
    let more: Vec<Candidate> = by_words
        .iter()
        .filter(|candidate| candidate.distance.is_some() && !known.contains(candidate.fingerprint.as_str()))
        .cloned()
        .collect();
    near.extend(more);
    measured.sort(&mut near);
    Ok(fuse(probe, meaning.is_some(), (near.as_slice(), by_words.as_slice()), &rankings, &query))
}

fn fuse(
    probe: &Probe,
    has_vectors: bool,
    (near, by_words): (&[Candidate], &[Candidate]),
    rankings: &[Ranking],
    query: &Query,
) -> Vec<Found> {
    let possible: f64 = rankings.iter().map(|ranking| ranking.weight).sum();
    let beside = |fingerprint: &str| rankings.iter().map(|ranking| ranking.part(fingerprint)).sum::<f64>();
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
        // Of incidents with one text the one whose place is like the question's stands for all.
        if beside(&candidate.fingerprint) > beside(&ranked.candidate.fingerprint) {
            ranked.candidate = candidate;
        }
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
                score: weights.fuse(vectors, Some(words), strength, (beside(&candidate.fingerprint), possible)),
                distance: candidate.distance,
                same_text: candidate.hash == own_hash,
                shared: if words.is_some() { query.shared(&candidate.words, NAMED_WORDS) } else { vec![] },
                identifier,
                alike: alike.len() - 1,
                further: rankings.iter().filter_map(|ranking| ranking.named(&candidate.fingerprint)).collect(),
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

/// The nearest texts by true cosine distance from what is searched with, without their words. The filter holds before the
/// search. `texts` are wanted that differ, among so many rows at first.
async fn nearest(
    corpus: &Corpus,
    scope: &Scope<'_>,
    question: &Question,
    meaning: Option<&Meaning>,
    texts: usize,
    depth: usize,
) -> Result<Vec<Candidate>> {
    let (Some(table), Some(meaning)) = (&corpus.table, meaning) else { return Ok(vec![]) };
    let depth = depth.max(meaning.least_depth());
    let mut rows = depth + question.own.len();
    loop {
        let mut near = nearest_rows(table, scope, meaning.asked(), rows).await?;
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

/// So many rows of a table that are nearest to a vector, with their distances.
pub(super) async fn nearest_rows(
    table: &Stored,
    scope: &Scope<'_>,
    vector: &[f32],
    rows: usize,
) -> Result<Vec<Candidate>> {
    if let Some(small) = &table.small {
        return Ok(small.nearest(scope.filter, vector, rows));
    }
    let mut scan = table.dataset.scan();
    scan.project(&["fingerprint", "text_hash", "_distance"]).map_err(lance)?;
    scope.bound(&mut scan);
    vectors::nearest(&mut scan, &Float32Array::from(vector.to_vec()), rows, table.rows).map_err(lance)?;
    let batch = scanned(scan).await?;
    let mut near = candidates(&batch)?;
    let distances = batch
        .column_by_name("_distance")
        .and_then(|column| column.as_primitive_opt::<Float32Type>())
        .ok_or_else(|| unknown("_distance"))?;
    for (row, candidate) in near.iter_mut().enumerate() {
        candidate.distance = distances.is_valid(row).then(|| f64::from(distances.value(row)).max(0.0));
    }
    Ok(near)
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
    let waiting = corpus.waiting(snapshot).await?.texts.iter();
    let waiting: Vec<(&IncidentText, String)> = waiting
        .filter(|incident| scope.filter.takes(incident) && !question.own.contains(&incident.fingerprint))
        .map(|incident| (incident, incident.words()))
        .collect();
    if let Some(small) = corpus.table.as_ref().and_then(|table| table.small.as_deref()) {
        let (numbers, of_stored): (Vec<usize>, Vec<Counted>) =
            small.counted(scope.filter, &question.own, query).into_iter().unzip();
        let of_waiting = waiting.iter().map(|(_, words)| query.count(words));
        let ranked = query.rank(of_stored.into_iter().chain(of_waiting), 0);
        let candidate = |index: usize| match numbers.get(index) {
            Some(number) => small.candidate(*number),
            None => waiting.get(index - numbers.len()).map(not_embedded),
        };
        return Ok(ranked.into_iter().take(depth).filter_map(|(index, _)| candidate(index)).collect());
    }
    let (mut stored, mut total, mut is_ranked) = (Vec::new(), 0, false);
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
    if is_ranked && waiting.is_empty() {
        return Ok(stored);
    }
    // Both kinds get scores of one measure: how common a word is, is judged by the texts that were read,
    // among all there are.
    total += waiting.len();
    let of_stored = stored.iter().map(|candidate| query.count(&candidate.words));
    let of_waiting = waiting.iter().map(|(_, words)| query.count(words));
    let ranked = query.rank(of_stored.chain(of_waiting), if is_ranked { total } else { 0 });
    let candidate = |index: usize| match stored.get(index) {
        Some(candidate) => Some(candidate.clone()),
        None => waiting.get(index - stored.len()).map(not_embedded),
    };
    Ok(ranked.into_iter().take(depth).filter_map(|(index, _)| candidate(index)).collect())
}

/// A text that waits to be embedded, with its words.
fn not_embedded((incident, words): &(&IncidentText, String)) -> Candidate {
    Candidate {
        fingerprint: incident.fingerprint.clone(),
        hash: vectors::text_hash(&incident.text),
        words: words.clone(),
        distance: None,
        row: None,
    }
}

/// Words of rows, where these were found without them.
async fn read_words(corpus: &Corpus, rows: Vec<u64>) -> Result<HashMap<u64, String>> {
    let Some((rows, batch)) = taken(corpus, rows, vectors::WORDS).await? else { return Ok(HashMap::new()) };
    let words = Columns::of(vectors::TABLE, &batch).text(vectors::WORDS)?;
    Ok(rows.into_iter().enumerate().filter_map(|(index, row)| Some((row, owned(words, index)?))).collect())
}

/// A column of rows, with their ids, rising; `None` of none.
pub(super) async fn taken(
    corpus: &Corpus,
    mut rows: Vec<u64>,
    column: &str,
) -> Result<Option<(Vec<u64>, RecordBatch)>> {
    rows.sort_unstable();
    rows.dedup();
    let is_asked = |table: &&Stored| table.small.is_none() && !rows.is_empty();
    let Some(table) = corpus.table.as_ref().filter(is_asked) else { return Ok(None) };
    reads::taken(vectors::TABLE);
    let schema = table.dataset.schema().project(&[column]).map_err(lance)?;
    let batch = table.dataset.take_rows(&rows, ProjectionRequest::from_schema(schema)).boxed().await.map_err(lance)?;
    Ok(Some((rows, batch)))
}

pub(super) fn cosine(one: &[f32], other: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    let norm = (dot(one, one) * dot(other, other)).sqrt();
    if norm > 0.0 { (1.0 - dot(one, other) / norm).max(0.0) } else { 1.0 }
}

/// What a scan finds, on a task of its own: the two searches of a question are work for two cores. Dropped with who asks.
pub(super) async fn scanned(scan: Scanner) -> Result<RecordBatch> {
    reads::planned(vectors::TABLE);
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

//! What is embedded of incidents beside their texts, each kind in a table of vectors of its own: where they happened, and
//! with which spans and payloads.
//!
//! A trace is compared by what is embedded of its own incidents, so no model is asked, and one that is not embedded yet
//! is compared by its text alone. What people give (a stack, a path, a payload) becomes a text as that of a failure does.
//! A table that a weight of 0 makes useless is not opened.

use std::collections::HashMap;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Float32Type;
use datafusion::logical_expr::{col, lit};
use futures::future::try_join_all;
use tracerag_index::failures::frames::StackTrace;
use tracerag_index::failures::projections;
use tracerag_index::incidents::vectors::{self, Kind};

use super::allowed::SearchCache;
use super::corpus::{Corpus, Stored};
use super::filter::Filter;
use super::hybrid::{Found, Scope, lance, nearest_rows, scanned, unknown};
use super::probe::{Question, Structure};
use super::rank::{self, Beside, Ranking, likeness};
use super::structure::LEAST;
use crate::error::Result;
use crate::rows::{Columns, owned};
use crate::snapshot::Snapshot;

/// A table of vectors that a question is compared with beside that of the texts.
pub(super) struct Further<'a> {
    weight: f64,
    what: &'static str,
    table: Stored,
    scope: Scope<'a>,
    /// The vector of each of the question's probes, where there is one.
    vectors: Vec<Option<Vec<f32>>>,
}

/// The tables that a question is compared with, of the model whose vectors are searched.
pub(super) async fn open<'a>(
    snapshot: &Snapshot,
    corpus: &Corpus,
    cache: &SearchCache,
    filter: &'a Filter,
    question: &Question,
) -> Result<Vec<Further<'a>>> {
    let opened = rank::beside(question).map(|(kind, weight, what): Beside| async move {
        let Some(table) = corpus.further(snapshot, kind).await? else { return Ok(None) };
        let (vectors, scope) = tokio::try_join!(
            vectors_of(snapshot, corpus, &table, kind, question),
            Scope::of(Some(&table), cache, filter)
        )?;
        Ok::<_, crate::QueryError>(Some(Further { weight, what, table, scope, vectors }))
    });
    Ok(try_join_all(opened).await?.into_iter().flatten().collect())
}

impl Further<'_> {
    /// So many incidents that are near the question's probe of a number; `None` where there is nothing to compare with.
    pub(super) async fn ranking(&self, number: usize, own: &[String], depth: usize) -> Result<Option<Ranking>> {
        let Some(vector) = self.vectors.get(number).and_then(Option::as_deref) else { return Ok(None) };
        let mut near = nearest_rows(&self.table, &self.scope, vector, depth + own.len()).await?;
        near.retain(|candidate| !own.contains(&candidate.fingerprint));
        let near = near.iter().filter_map(|candidate| {
            Some((candidate.fingerprint.as_str(), candidate.hash.as_str(), candidate.distance?))
        });
        Ok(Some(Ranking::of(self.weight, self.what, near)))
    }
}

/// What each probe is compared by in the table of a kind: for a trace what is embedded of its incident there.
async fn vectors_of(
    snapshot: &Snapshot,
    corpus: &Corpus,
    table: &Stored,
    kind: Kind,
    question: &Question,
) -> Result<Vec<Option<Vec<f32>>>> {
    let probes = &question.probes;
    if question.trace_id.is_some() {
        let incidents: Vec<&str> = probes.iter().filter_map(|probe| probe.fingerprint.as_deref()).collect();
        let embedded = embedded(snapshot, table, &incidents).await?;
        return Ok(probes.iter().map(|probe| embedded.get(probe.fingerprint.as_deref()?).cloned()).collect());
    }
    let texts: Vec<Option<String>> = probes
        .iter()
        .map(|probe| match (kind, question.stacks.is_empty()) {
            (Kind::Context, false) => probe.context.clone(),
            (Kind::Context, true) => Some(probe.masked.clone()),
            (Kind::Masked | Kind::Shape, _) => None,
        })
        .collect();
    let mut made = corpus.embed(kind, texts.iter().flatten().cloned().collect()).await?.into_iter();
    Ok(texts.iter().map(|text| text.as_ref().and_then(|_| made.next())).collect())
}

/// The vectors of incidents in a table, by fingerprint.
async fn embedded(snapshot: &Snapshot, table: &Stored, incidents: &[&str]) -> Result<HashMap<String, Vec<f32>>> {
    if incidents.is_empty() {
        return Ok(HashMap::new());
    }
    let mut scan = table.dataset.scan();
    scan.project(&["fingerprint", vectors::VECTOR]).map_err(lance)?;
    let listed = incidents.iter().map(|fingerprint| lit(*fingerprint)).collect();
    scan.filter_expr(snapshot.wall().and(col("fingerprint").in_list(listed, false)));
    let batch = scanned(scan).await?;
    let fingerprints = Columns::of(vectors::TABLE, &batch).text("fingerprint")?;
    let lists = batch
        .column_by_name(vectors::VECTOR)
        .and_then(|column| column.as_fixed_size_list_opt())
        .ok_or_else(|| unknown(vectors::VECTOR))?;
    let vector = |row: usize| {
        let stored = lists.is_valid(row).then(|| lists.value(row))?;
        Some((owned(fingerprints, row)?, stored.as_primitive_opt::<Float32Type>()?.values().to_vec()))
    };
    Ok((0..batch.num_rows()).filter_map(vector).collect())
}

/// Incidents whose context is near a path of spans, or whose shape is near a payload. All of them score below what the
/// exact comparison finds; without a model there are none.
pub(super) async fn by_structure(
    snapshot: &Snapshot,
    corpus: &Corpus,
    cache: &SearchCache,
    filter: &Filter,
    structure: &Structure,
    most: usize,
) -> Result<Vec<Found>> {
    let (kind, text, what) = match structure {
        Structure::Path(path) => {
            let text = projections::context("", path, &StackTrace::default());
            (Kind::Context, text, "service and path alike")
        }
        Structure::Payload(payload) => {
            let payload = projections::payload(payload);
            (Kind::Shape, projections::shape("", payload.as_deref()), "spans and payloads alike")
        }
    };
    if text.is_empty() {
        return Ok(vec![]);
    }
    let Some(table) = corpus.further(snapshot, kind).await? else { return Ok(vec![]) };
    let (scope, made) = tokio::try_join!(Scope::of(Some(&table), cache, filter), corpus.embed(kind, vec![text]))?;
    let Some(vector) = made.first() else { return Ok(vec![]) };
    let near = nearest_rows(&table, &scope, vector, most).await?;
    let found = near.into_iter().filter_map(|candidate| {
        let distance = candidate.distance?;
        let alike = likeness(distance);
        let why = format!("{what} (distance {distance:.3} by {})", corpus.model_name());
        (alike > 0.0).then(|| Found {
            score: LEAST * alike,
            distance: Some(distance),
            by_structure: Some(why),
            ..Found::of(candidate.fingerprint)
        })
    });
    Ok(found.collect())
}

//! What is embedded of incidents beside their texts, each kind in a table of vectors of its own: where they happened, and
//! with which spans and payloads.
//!
//! Of a trace or a stack, these are compared of the incidents that its texts and words have found, by their exact distance,
//! and nothing is searched for them: an equal context is worth one place of the ranking by meaning, and what that has not
//! found stands behind all that it has. So incidents are looked up by their ids, without a plan.
//! A trace is compared by what is embedded of its own incidents, so no model is asked, and one that is not embedded yet
//! is compared by its text alone. What people give (a stack, a path, a payload) becomes a text as that of a failure does.
//! A table that a weight of 0 makes useless is not opened.

use arrow::array::{Array, AsArray};
use arrow::datatypes::Float32Type;
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::{col, lit};
use futures::FutureExt;
use futures::future::try_join_all;
use lance::dataset::ProjectionRequest;
use tracerag_index::failures::frames::StackTrace;
use tracerag_index::failures::projections;
use tracerag_index::incidents::vectors::{self, Kind};

use super::allowed::SearchCache;
use super::corpus::{Corpus, Stored};
use super::filter::Filter;
use super::hybrid::{Found, Scope, cosine, lance, nearest_rows, scanned, unknown};
use super::probe::{Probe, Question, Structure};
use super::rank::{self, Beside, Ranking, likeness};
use super::structure::LEAST;
use crate::error::Result;
use crate::indexed;
use crate::reads;
use crate::rows::{Columns, owned, text};
use crate::snapshot::Snapshot;

/// What is read of the incidents that are compared.
const COLUMNS: [&str; 4] = ["tenant_id", "fingerprint", "text_hash", vectors::VECTOR];

/// A table of vectors that a question is compared with beside that of the texts.
pub(super) struct Further {
    weight: f64,
    what: &'static str,
    table: Stored,
    /// The vector of each of the question's probes, where it is not that of an incident.
    given: Vec<Option<Vec<f32>>>,
}

/// What is embedded of an incident.
struct Embedded {
    fingerprint: String,
    hash: String,
    vector: Vec<f32>,
}

/// The tables that a question is compared with, of the model whose vectors are searched.
pub(super) async fn open(
    snapshot: &Snapshot,
    corpus: &Corpus,
    cache: &SearchCache,
    question: &Question,
) -> Result<Vec<Further>> {
    let opened = rank::beside(question).map(|(kind, weight, what): Beside| async move {
        let Some(table) = corpus.further(snapshot, kind, cache).await? else { return Ok(None) };
        let given = given(corpus, kind, question).await?;
        Ok::<_, crate::QueryError>(Some(Further { weight, what, table, given }))
    });
    Ok(try_join_all(opened).await?.into_iter().flatten().collect())
}

impl Further {
    /// How near some incidents, in order, are to the question's probe of a number; `None` where there is nothing to
    /// compare with.
    pub(super) async fn ranking(
        &self,
        snapshot: &Snapshot,
        number: usize,
        probe: &Probe,
        incidents: &[&str],
    ) -> Result<Option<Ranking>> {
        let given = self.given.get(number).and_then(Option::as_deref);
        let own = probe.fingerprint.as_deref().filter(|_| given.is_none());
        if incidents.is_empty() || (own.is_none() && given.is_none()) {
            return Ok(None);
        }
        let mut asked: Vec<&str> = incidents.iter().copied().chain(own).collect();
        asked.sort_unstable();
        let embedded = self.embedded(snapshot, &asked).await?;
        let of_own = || embedded.iter().find(|found| Some(found.fingerprint.as_str()) == own);
        let Some(vector) = given.or_else(|| Some(of_own()?.vector.as_slice())) else { return Ok(None) };
        let others = embedded.iter().filter(|found| Some(found.fingerprint.as_str()) != own);
        let mut near: Vec<(&str, &str, f64)> = others
            .map(|found| (found.fingerprint.as_str(), found.hash.as_str(), cosine(vector, &found.vector)))
            .collect();
        near.sort_by(|(one, _, a), (other, _, b)| a.total_cmp(b).then_with(|| one.cmp(other)));
        Ok(Some(Ranking::of(self.weight, self.what, near.iter().copied())))
    }

    /// What is embedded of some of the tenant's incidents, given in order.
    async fn embedded(&self, snapshot: &Snapshot, incidents: &[&str]) -> Result<Vec<Embedded>> {
        if let Some(small) = &self.table.small {
            let found = small.embedded(snapshot.tenant(), incidents);
            let found = found.map(|(fingerprint, hash, vector)| Embedded {
                fingerprint: fingerprint.to_owned(),
                hash: hash.to_owned(),
                vector: vector.to_vec(),
            });
            return Ok(found.collect());
        }
        let dataset = &self.table.dataset;
        let unindexed = snapshot.lake().unindexed();
        let batch = match indexed::rows(unindexed, dataset, "fingerprint", incidents).await.map_err(lance)? {
            Some(rows) if rows.is_empty() => return Ok(vec![]),
            Some(rows) => {
                reads::taken(vectors::TABLE);
                let schema = dataset.schema().project(&COLUMNS).map_err(lance)?;
                dataset.take_rows(&rows, ProjectionRequest::from_schema(schema)).boxed().await.map_err(lance)?
            }
            None => {
                let mut scan = dataset.scan();
                scan.project(&COLUMNS).map_err(lance)?;
                let listed = incidents.iter().map(|fingerprint| lit(*fingerprint)).collect();
                scan.filter_expr(snapshot.wall().and(col("fingerprint").in_list(listed, false)));
                scanned(scan).await?
            }
        };
        of_tenant(&batch, snapshot.tenant())
    }
}

/// What stands in a batch with [`COLUMNS`] of a tenant's incidents.
fn of_tenant(batch: &RecordBatch, tenant: &str) -> Result<Vec<Embedded>> {
    let columns = Columns::of(vectors::TABLE, batch);
    let (tenants, fingerprints) = (columns.text("tenant_id")?, columns.text("fingerprint")?);
    let hashes = columns.text("text_hash")?;
    let lists = batch
        .column_by_name(vectors::VECTOR)
        .and_then(|column| column.as_fixed_size_list_opt())
        .ok_or_else(|| unknown(vectors::VECTOR))?;
    let embedded = |row: usize| {
        let stored = lists.is_valid(row).then(|| lists.value(row))?;
        let vector = stored.as_primitive_opt::<Float32Type>()?.values().to_vec();
        Some(Embedded { fingerprint: owned(fingerprints, row)?, hash: owned(hashes, row)?, vector })
    };
    let of_tenant = (0..batch.num_rows()).filter(|row| text(tenants, *row) == Some(tenant));
    Ok(of_tenant.filter_map(embedded).collect())
}

/// What each probe is compared by in the table of a kind, where that is not what is embedded of an incident.
async fn given(corpus: &Corpus, kind: Kind, question: &Question) -> Result<Vec<Option<Vec<f32>>>> {
    if question.trace_id.is_some() {
        return Ok(vec![]);
    }
    let texts: Vec<Option<String>> = question
        .probes
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
    let Some(table) = corpus.further(snapshot, kind, cache).await? else { return Ok(vec![]) };
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

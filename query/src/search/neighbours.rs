//! Neighbours of incidents: those whose masked texts are nearest to the incident's own, by vector alone.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, Float32Array};
use arrow::datatypes::Float32Type;
use datafusion::logical_expr::Expr;
use futures::{FutureExt, TryStreamExt};
use lance::Dataset;
use tracerag_index::incidents::Embedding;
use tracerag_index::incidents::vectors::{self, Kind};

use super::hybrid;
use super::merges::Merges;
use crate::error::{QueryError, Result};
use crate::rows::{Columns, owned, text};
use crate::snapshot::Snapshot;

/// Neighbours of one incident.
const MOST_NEIGHBOURS: usize = 10;
/// Incidents whose neighbours one query may look up: a search for each takes some milliseconds.
const MOST_ASKED: usize = 1_000;
/// Rows that are looked at for each that is wanted: several may be of one incident, or merged into one.
const DEEPER: usize = 4;

/// A neighbour of an incident.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Neighbour {
    /// The incident that is asked about.
    pub fingerprint: String,
    /// One that is like it.
    pub neighbour: String,
    /// Cosine distance of their texts, from 0 to 2.
    pub distance: f64,
}

/// Incidents of a tenant with the vectors of their texts.
pub(crate) struct Neighbours {
    snapshot: Snapshot,
    dataset: Arc<Dataset>,
    merges: Merges,
    asked: Vec<(String, Vec<f32>)>,
}

impl Neighbours {
    /// Prepares to look up neighbours of the incidents whose `fingerprint` a filter admits; `None`: of all. Without a
    /// model, or before anything is embedded, there are none.
    ///
    /// # Errors
    /// [`QueryError::Argument`] for more than [`MOST_ASKED`] incidents, and when the lake cannot be read.
    pub(crate) async fn of(snapshot: &Snapshot, embedding: &Embedding, filter: Option<Expr>) -> Result<Option<Self>> {
        let dataset = match snapshot.vectors(embedding, Kind::Masked).await {
            Ok(Some(dataset)) => dataset,
            Ok(None) => return Ok(None),
            Err(tracerag_index::Error::Embedding(error)) if error.is_unavailable() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let merges = Merges::read(snapshot).await?;
        let wall = snapshot.wall();
        let mut scan = dataset.scan();
        scan.project(&["fingerprint", vectors::VECTOR]).map_err(hybrid::lance)?;
        scan.filter_expr(match filter {
            Some(filter) => wall.and(filter),
            None => wall,
        });
        let mut rows = scan.try_into_stream().boxed().await.map_err(hybrid::lance)?;
        let (mut asked, mut known): (Vec<(String, Vec<f32>)>, HashSet<String>) = (vec![], HashSet::new());
        while let Some(batch) = rows.try_next().await.map_err(hybrid::lance)? {
            let fingerprints = Columns::of(vectors::TABLE, &batch).text("fingerprint")?;
            let list = batch
                .column_by_name(vectors::VECTOR)
                .and_then(|column| column.as_fixed_size_list_opt())
                .ok_or_else(|| hybrid::unknown(vectors::VECTOR))?;
            for row in (0..batch.num_rows()).filter(|row| list.is_valid(*row)) {
                let vector = list.value(row);
                let (Some(fingerprint), Some(vector)) =
                    (owned(fingerprints, row), vector.as_primitive_opt::<Float32Type>())
                else {
                    continue;
                };
                if !known.insert(fingerprint.clone()) {
                    continue;
                }
                if asked.len() == MOST_ASKED {
                    return Err(QueryError::Argument {
                        function: "incident_neighbours",
                        why: format!(
                            "the tenant has more than {MOST_ASKED} incidents, which are too many to look up at once; name \
                             some: where fingerprint = '...' or fingerprint in ('...', '...')"
                        ),
                    });
                }
                asked.push((fingerprint, vector.values().to_vec()));
            }
        }
        Ok(Some(Self { snapshot: snapshot.clone(), dataset, merges, asked }))
    }

    /// How many incidents are asked about.
    pub(crate) fn len(&self) -> usize {
        self.asked.len()
    }

    /// The neighbours of one of them, the nearest first. What people have merged is one incident, and never a neighbour
    /// of itself.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub(crate) async fn look_up(&self, asked: usize) -> Result<Vec<Neighbour>> {
        let Some((fingerprint, vector)) = self.asked.get(asked) else { return Ok(vec![]) };
        let key = Float32Array::from(vector.clone());
        let wanted = MOST_NEIGHBOURS * DEEPER + 1;
        let mut scan = self.dataset.scan();
        scan.project(&["fingerprint", "_distance"]).map_err(hybrid::lance)?;
        scan.prefilter(true);
        scan.filter_expr(self.snapshot.wall());
        let rows = self.dataset.count_rows(None).await.map_err(hybrid::lance)?;
        vectors::nearest(&mut scan, &key, wanted, rows).map_err(hybrid::lance)?;
        let batch = scan.try_into_batch().boxed().await.map_err(hybrid::lance)?;
        let columns = Columns::of(vectors::TABLE, &batch);
        let fingerprints = columns.text("fingerprint")?;
        let distances = batch
            .column_by_name("_distance")
            .and_then(|column| column.as_primitive_opt::<Float32Type>())
            .ok_or_else(|| hybrid::unknown("_distance"))?;
        let own = self.merges.target(fingerprint);
        let mut nearest: HashMap<&str, f64> = HashMap::new();
        for row in (0..batch.num_rows()).filter(|row| distances.is_valid(*row)) {
            let Some(found) = text(fingerprints, row) else { continue };
            let found = self.merges.target(found);
            let distance = f64::from(distances.value(row)).max(0.0);
            if found != own && nearest.get(found).is_none_or(|known| distance < *known) {
                nearest.insert(found, distance);
            }
        }
        let mut neighbours: Vec<Neighbour> = nearest
            .into_iter()
            .map(|(found, distance)| Neighbour {
                fingerprint: fingerprint.clone(),
                neighbour: found.to_owned(),
                distance,
            })
            .collect();
        neighbours.sort_by(|a, b| a.distance.total_cmp(&b.distance).then_with(|| a.neighbour.cmp(&b.neighbour)));
        neighbours.truncate(MOST_NEIGHBOURS);
        Ok(neighbours)
    }
}

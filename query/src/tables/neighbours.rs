//! `incident_neighbours`: incidents with those that are most like them, so that similarity can be joined.
//!
//! Nothing is stored. A query looks up the neighbours of the incidents that its filter on `fingerprint` names, which
//! goes down to here through a join as well; the answer comes incident by incident, so a limit ends the work.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, StringArray, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::{StreamExt, TryStreamExt};
use tracerag_index::incidents::Embedding;
use tracerag_schemas::tables::timestamp;

use super::pushdown;
use crate::error::QueryError;
use crate::search::{Neighbour, Neighbours};
use crate::snapshot::Snapshot;

/// Look-ups at once.
const AT_ONCE: usize = 4;
/// The column that filters are taken on.
const FINGERPRINT: &str = "fingerprint";

/// The neighbours, behind the tenant's wall.
pub(crate) struct NeighboursTable {
    snapshot: Snapshot,
    embedding: Option<Arc<Embedding>>,
    schema: SchemaRef,
}

impl fmt::Debug for NeighboursTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NeighboursTable")
    }
}

impl NeighboursTable {
    /// Its name.
    pub(crate) const NAME: &str = "incident_neighbours";

    pub(crate) fn new(snapshot: Snapshot, embedding: Option<Arc<Embedding>>) -> Self {
        let text = |name: &str| Field::new(name, DataType::Utf8, true);
        let schema = Arc::new(Schema::new(vec![
            text("tenant_id"),
            text(FINGERPRINT),
            text("neighbour_fingerprint"),
            Field::new("distance", DataType::Float64, true),
            Field::new("score", DataType::Float64, true),
            text("model"),
            // It is computed: these stay null.
            text("kafka_topic"),
            Field::new("kafka_partition", DataType::Int32, true),
            Field::new("kafka_offset", DataType::Int64, true),
            Field::new("ingested_at", timestamp(), true),
        ]));
        Self { snapshot, embedding, schema }
    }
}

#[async_trait]
impl TableProvider for NeighboursTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let is_taken = |filter: &Expr| filter.column_refs().iter().all(|column| column.name == FINGERPRINT);
        let support = |filter: &&Expr| match is_taken(filter) {
            true => pushdown::support(filter, &self.schema),
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let lookups = LookUps {
            snapshot: self.snapshot.clone(),
            embedding: self.embedding.clone(),
            filter: conjunction(filters.iter().cloned()),
            schema: Arc::clone(&self.schema),
        };
        let schema = Arc::clone(&self.schema);
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![Arc::new(lookups)], projection, [], false, limit)?))
    }
}

/// The look-ups of one query.
struct LookUps {
    snapshot: Snapshot,
    embedding: Option<Arc<Embedding>>,
    filter: Option<Expr>,
    schema: SchemaRef,
}

impl fmt::Debug for LookUps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LookUps")
    }
}

impl PartitionStream for LookUps {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (snapshot, embedding) = (self.snapshot.clone(), self.embedding.clone());
        let (filter, schema) = (self.filter.clone(), Arc::clone(&self.schema));
        let prepared = async move {
            let Some(embedding) = embedding else { return Ok(futures::stream::empty().boxed()) };
            let Some(neighbours) = Neighbours::of(&snapshot, &embedding, filter).await? else {
                return Ok(futures::stream::empty().boxed());
            };
            let (neighbours, model) = (Arc::new(neighbours), embedding.model_name().to_owned());
            let batches = futures::stream::iter(0..neighbours.len()).map(move |asked| {
                let (neighbours, schema) = (Arc::clone(&neighbours), Arc::clone(&schema));
                let (tenant, model) = (snapshot.tenant().to_owned(), model.clone());
                async move {
                    let found = neighbours.look_up(asked).await?;
                    batch(&schema, &tenant, &model, &found).map_err(DataFusionError::from)
                }
            });
            Ok::<_, DataFusionError>(batches.buffered(AT_ONCE).boxed())
        };
        let batches = futures::stream::once(prepared).try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}

fn batch(schema: &SchemaRef, tenant: &str, model: &str, found: &[Neighbour]) -> Result<RecordBatch, QueryError> {
    let text = |get: fn(&Neighbour) -> &str| -> ArrayRef {
        Arc::new(found.iter().map(|neighbour| Some(get(neighbour))).collect::<StringArray>())
    };
    let same = |value: &str| -> ArrayRef { Arc::new(StringArray::from(vec![value; found.len()])) };
    let number = |get: fn(&Neighbour) -> f64| -> ArrayRef {
        Arc::new(found.iter().map(|neighbour| Some(get(neighbour))).collect::<Float64Array>())
    };
    let columns = schema.fields().iter().map(|field| match field.name().as_str() {
        "tenant_id" => same(tenant),
        FINGERPRINT => text(|neighbour| neighbour.fingerprint.as_str()),
        "neighbour_fingerprint" => text(|neighbour| neighbour.neighbour.as_str()),
        "distance" => number(|neighbour| neighbour.distance),
        "score" => number(|neighbour| 1.0 - neighbour.distance),
        "model" => same(model),
        _ => new_null_array(field.data_type(), found.len()),
    });
    Ok(RecordBatch::try_new(Arc::clone(schema), columns.collect())?)
}

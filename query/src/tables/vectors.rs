//! `incident_vectors`: the vectors of the configured model, of all kinds of texts, at their newest versions.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use futures::future::try_join_all;
use lance::Dataset;
use tracerag_index::incidents::Embedding;
use tracerag_index::incidents::vectors::{self, Kind};
use tracerag_schemas::tables::timestamp;

use super::pushdown;
use crate::error::QueryError;
use crate::snapshot::Snapshot;

/// Beginning of the columns that say where a row came from. They are not stored, so Lance cannot filter by them.
const ORIGIN: &str = "kafka_";

/// The vectors, behind the tenant's wall.
pub(crate) struct VectorsTable {
    snapshot: Snapshot,
    embedding: Option<Arc<Embedding>>,
    schema: SchemaRef,
}

impl std::fmt::Debug for VectorsTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VectorsTable")
    }
}

impl VectorsTable {
    pub(crate) fn new(snapshot: Snapshot, embedding: Option<Arc<Embedding>>) -> Self {
        let text = |name: &str| Field::new(name, DataType::Utf8, true);
        // Models differ in their dimension; a list holds any, so that the table looks the same for all.
        let vector = DataType::List(Arc::new(Field::new("item", DataType::Float32, true)));
        let schema = Arc::new(Schema::new(vec![
            text("tenant_id"),
            text("fingerprint"),
            text("kind"),
            text("text"),
            text("title"),
            text("service_name"),
            text("exception_type"),
            text("model"),
            Field::new(vectors::VECTOR, vector, true),
            // No row of it comes from one place: these stay null.
            text("kafka_topic"),
            Field::new("kafka_partition", DataType::Int32, true),
            Field::new("kafka_offset", DataType::Int64, true),
            Field::new("ingested_at", timestamp(), true),
        ]));
        Self { snapshot, embedding, schema }
    }

    /// The tables of the configured model that may have rows which pass the filters; none without a model, or before it
    /// has embedded anything.
    async fn datasets(&self, filters: &[Expr]) -> Result<Vec<Arc<Dataset>>> {
        let Some(embedding) = &self.embedding else { return Ok(vec![]) };
        let may_pass = |kind: &Kind| !filters.iter().any(|filter| excludes(filter, *kind));
        let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(may_pass).collect();
        let mut datasets = Vec::new();
        for kind in kinds {
            match self.snapshot.vectors(embedding, kind).await {
                Ok(dataset) => datasets.extend(dataset),
                Err(tracerag_index::Error::Embedding(error)) if error.is_unavailable() => return Ok(vec![]),
                Err(error) => return Err(QueryError::from(error).into()),
            }
        }
        Ok(datasets)
    }
}

/// Whether a filter is `kind = '...'` with another kind: a table has rows of one kind only.
fn excludes(filter: &Expr, kind: Kind) -> bool {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = filter else { return false };
    let (Expr::Column(Column { name, .. }), Expr::Literal(value, _)) = (&**left, &**right) else { return false };
    let (ScalarValue::Utf8(Some(value)) | ScalarValue::Utf8View(Some(value)) | ScalarValue::LargeUtf8(Some(value))) =
        value
    else {
        return false;
    };
    name == "kind" && value != kind.name()
}

#[async_trait]
impl TableProvider for VectorsTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let is_of_origin = |filter: &Expr| filter.column_refs().iter().any(|column| column.name.starts_with(ORIGIN));
        let support = |filter: &&Expr| match is_of_origin(filter) {
            true => TableProviderFilterPushDown::Unsupported,
            false => pushdown::support(filter, &self.schema),
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let wanted = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => Arc::clone(&self.schema),
        };
        let datasets = self.datasets(filters).await?;
        let mut walled = vec![self.snapshot.wall()];
        walled.extend_from_slice(filters);
        let is_narrowed = walled.len() > 1;
        let scans = datasets
            .into_iter()
            .map(|dataset| super::scan_dataset(state, dataset, &self.schema, &wanted, &walled, is_narrowed, limit));
        let mut scans = try_join_all(scans).await?;
        match scans.len() {
            0 => Ok(Arc::new(EmptyExec::new(wanted))),
            1 => Ok(scans.remove(0)),
            _ => UnionExec::try_new(scans),
        }
    }
}

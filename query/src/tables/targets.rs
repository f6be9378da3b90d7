//! `fingerprint_targets`: the fingerprint that counts, for each that does not count for itself.
//!
//! It is computed from `grouping_rules` when it is scanned. Views and questions join it, so that SQL and the search cannot
//! differ about what people have merged and what releases have mapped.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use tracerag_schemas::tables::timestamp;

use crate::search::Merges;
use crate::snapshot::Snapshot;

/// The targets, behind the tenant's wall.
pub(crate) struct TargetsTable {
    snapshot: Snapshot,
    schema: SchemaRef,
}

impl fmt::Debug for TargetsTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TargetsTable")
    }
}

impl TargetsTable {
    /// Its name.
    pub(crate) const NAME: &str = "fingerprint_targets";

    pub(crate) fn new(snapshot: Snapshot) -> Self {
        let text = |name: &str| Field::new(name, DataType::Utf8, true);
        let schema = Arc::new(Schema::new(vec![
            text("tenant_id"),
            text("fingerprint"),
            text("target"),
            // It is computed: these stay null.
            text("kafka_topic"),
            Field::new("kafka_partition", DataType::Int32, true),
            Field::new("kafka_offset", DataType::Int64, true),
            Field::new("ingested_at", timestamp(), true),
        ]));
        Self { snapshot, schema }
    }

    fn rows(&self, merges: &Merges) -> Result<RecordBatch> {
        let mut targets: Vec<(&str, &str)> = merges.targets().collect();
        targets.sort_unstable();
        let columns = self.schema.fields().iter().map(|field| -> ArrayRef {
            match field.name().as_str() {
                "tenant_id" => Arc::new(StringArray::from(vec![self.snapshot.tenant(); targets.len()])),
                "fingerprint" => {
                    Arc::new(StringArray::from_iter_values(targets.iter().map(|(fingerprint, _)| fingerprint)))
                }
                "target" => Arc::new(StringArray::from_iter_values(targets.iter().map(|(_, target)| target))),
                _ => new_null_array(field.data_type(), targets.len()),
            }
        });
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns.collect())?)
    }
}

#[async_trait]
impl TableProvider for TargetsTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let merges = Merges::read(&self.snapshot).await.map_err(DataFusionError::from)?;
        let table = MemTable::try_new(self.schema(), vec![vec![self.rows(&merges)?]])?;
        table.scan(state, projection, filters, limit).await
    }
}

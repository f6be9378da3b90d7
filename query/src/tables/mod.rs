//! Tables for SQL: one provider unites a table's day datasets at the head's versions.
//!
//! What goes down into Lance: the tenant's wall (always), projection, limit, and comparisons of plain
//! columns. What does not: anything that reads a map, a list or a struct. `LanceTableProvider` says
//! that it can filter by any expression, but reads `attributes['k']` as a field of a struct and then
//! fails, so it is only ever given what [`pushdown`] has let through.

mod appeared;
mod conform;
mod incidents;
mod logs;
mod named;
mod neighbours;
mod prune;
mod pushdown;
mod targets;
mod traces;
mod vectors;

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::union::UnionExec;
use futures::future::try_join_all;
use lance::Dataset;
use lance::datafusion::LanceTableProvider;
use tracerag_schemas::Table;

pub(crate) use incidents::IncidentsTable;
pub(crate) use logs::LogsTable;
pub(crate) use neighbours::NeighboursTable;
pub(crate) use targets::TargetsTable;
pub(crate) use traces::TracesTable;
pub(crate) use vectors::VectorsTable;

use crate::snapshot::Snapshot;

/// Columns of `dead_letters` that hold bytes as they came, not redacted.
const UNREDACTED: [&str; 3] = ["key", "headers", "value"];

/// A stored table at one head, behind the tenant's wall.
#[derive(Debug)]
pub(crate) struct LakeTable {
    snapshot: Snapshot,
    table: Table,
    schema: SchemaRef,
}

impl LakeTable {
    /// A table with the columns that everybody may read; `unredacted` adds those of dead letters
    /// that hold bytes as they came.
    pub(crate) fn new(snapshot: Snapshot, table: Table, unredacted: bool) -> Self {
        let schema = snapshot.lake().schemas().newest(table);
        let schema = match table {
            Table::DeadLetters if !unredacted => {
                let open = |field: &&FieldRef| !UNREDACTED.contains(&field.name().as_str());
                Arc::new(Schema::new(schema.fields().iter().filter(open).cloned().collect::<Vec<_>>()))
            }
            _ => schema,
        };
        Self { snapshot, table, schema }
    }
}

/// Whether a filter is about the trace id alone; then it holds alike for whatever is joined by the trace id.
fn is_about_trace(filter: &Expr) -> bool {
    let columns = filter.column_refs();
    !columns.is_empty() && columns.iter().all(|column| column.name == "trace_id")
}

/// Scans one dataset of a table for rows of the wanted schema. The filters hold the tenant's wall.
///
/// A dataset of an older schema may lack columns, and one of a lake that is being migrated may have more. What is
/// absent is read as null, also by a filter that names it; Lance would refuse such a filter, so it stands above the
/// scan.
async fn scan_dataset(
    state: &dyn Session,
    dataset: Arc<Dataset>,
    table: &Schema,
    wanted: &SchemaRef,
    walled: &[Expr],
    limit: Option<usize>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let provider = LanceTableProvider::new_with_ordering(dataset, false, false, false);
    let stored = provider.schema();
    let is_stored = |filter: &&Expr| filter.column_refs().iter().all(|column| stored.index_of(&column.name).is_ok());
    let (below, above): (Vec<&Expr>, Vec<&Expr>) = walled.iter().partition(is_stored);
    let below: Vec<Expr> = below.into_iter().cloned().collect();
    let read = with_columns_of(&above, wanted, table)?;
    let present: Vec<usize> = read.fields().iter().filter_map(|field| stored.index_of(field.name()).ok()).collect();
    let limit = limit.filter(|_| above.is_empty());
    let plan = conform::conform(provider.scan(state, Some(&present), &below, limit).await?, &read)?;
    let Some(filter) = conjunction(above.into_iter().cloned()) else { return Ok(plan) };
    let filter = state.create_physical_expr(filter, &DFSchema::try_from(read)?)?;
    conform::conform(Arc::new(FilterExec::try_new(filter, plan)?), wanted)
}

/// The wanted columns of a table, and those that filters name.
fn with_columns_of(filters: &[&Expr], wanted: &SchemaRef, table: &Schema) -> Result<SchemaRef> {
    if filters.is_empty() {
        return Ok(Arc::clone(wanted));
    }
    let mut fields = wanted.fields().to_vec();
    for column in filters.iter().flat_map(|filter| filter.column_refs()) {
        if !fields.iter().any(|field| *field.name() == column.name) {
            fields.push(Arc::new(table.field_with_name(&column.name)?.clone()));
        }
    }
    Ok(Arc::new(Schema::new(fields)))
}

#[async_trait]
impl TableProvider for LakeTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(filters.iter().map(|filter| pushdown::support(filter, &self.schema)).collect())
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
        let ranges = prune::ranges(filters);
        let datasets = self.snapshot.open(self.table, &ranges).await?;
        let mut walled = vec![self.snapshot.wall()];
        walled.extend_from_slice(filters);
        let scans =
            datasets.into_iter().map(|dataset| scan_dataset(state, dataset, &self.schema, &wanted, &walled, limit));
        let scans = try_join_all(scans).await?;
        match scans.len() {
            0 => Ok(Arc::new(EmptyExec::new(wanted))),
            _ => UnionExec::try_new(scans),
        }
    }
}

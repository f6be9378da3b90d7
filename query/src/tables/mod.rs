//! Tables for SQL: one provider unites a table's day datasets at the head's versions.
//!
//! What goes down into Lance: the tenant's wall (unless all rows are known to be the tenant's), projection, limit, and
//! comparisons of plain columns. What does not: anything that reads a map, a list or a struct. `LanceTableProvider` says
//! that it can filter by any expression, but reads `attributes['k']` as a field of a struct and then
//! fails, so it is only ever given what [`pushdown`] has let through.

mod appeared;
mod by_id;
mod conform;
mod evaluated;
mod incidents;
mod logs;
mod named;
mod neighbours;
pub(crate) mod pieces;
mod prune;
mod pushdown;
mod regressed;
mod scan;
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
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::union::UnionExec;
use futures::future::try_join_all;
use lance::Dataset;
use tracerag_index::Whose;
use tracerag_schemas::Table;

pub(crate) use incidents::IncidentsTable;
pub(crate) use logs::LogsTable;
pub(crate) use neighbours::NeighboursTable;
pub(crate) use targets::TargetsTable;
pub(crate) use traces::TracesTable;
pub(crate) use vectors::VectorsTable;

use crate::error::QueryError;
use crate::peers::{InPieces, LakeScanExec};
use crate::snapshot::{Range, Snapshot};
use pieces::Wanted;

/// Columns of `dead_letters` that hold bytes as they came, not redacted.
const UNREDACTED: [&str; 3] = ["key", "headers", "value"];

/// A stored table at one head, behind the tenant's wall.
#[derive(Debug)]
pub(crate) struct LakeTable {
    snapshot: Snapshot,
    table: Table,
    schema: SchemaRef,
    /// Ranges that datasets must meet to be opened, beside those that filters say. Rows are not filtered by them.
    within: Vec<Range>,
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
        Self { snapshot, table, schema, within: vec![] }
    }

    /// The same table with only those datasets that may meet all ranges.
    fn within(&self, ranges: &[Range]) -> Self {
        let within = self.within.iter().chain(ranges).cloned().collect();
        Self { snapshot: self.snapshot.clone(), table: self.table, schema: Arc::clone(&self.schema), within }
    }

    /// The ranges that a dataset must meet for a scan with these filters to open it.
    fn ranges(&self, filters: &[Expr]) -> Vec<Range> {
        let mut ranges = prune::ranges(filters);
        ranges.extend_from_slice(&self.within);
        ranges
    }

    /// Whose the rows of a dataset are. A scan of a time, or of a few rows, leaves out most of what lies beside them, so
    /// nothing is read for it.
    async fn whose(&self, dataset: &Dataset, filters: &[Expr], limit: Option<usize>) -> Result<Whose> {
        let learn = limit.is_none() && self.ranges(filters).is_empty();
        let whose = self.snapshot.lake().tenants().whose(dataset, self.snapshot.tenant(), learn).await;
        let failed = |source| QueryError::Lance { dataset: self.table.name().to_owned(), source: Box::new(source) };
        Ok(whose.map_err(failed)?)
    }

    /// Rows of the datasets that a scan with these filters opens; none where the filters name the traces.
    fn rows(&self, filters: &[Expr]) -> u64 {
        if filters.iter().any(by_id::names_traces) {
            return 0;
        }
        let datasets = self.snapshot.datasets(self.table, &self.ranges(filters));
        datasets.iter().map(|(_, dataset)| dataset.rows).sum()
    }
}

/// Rows that a scan of a table goes through, as far as its head tells; 0 for tables that are computed, and for side tables.
pub(crate) fn rows_scanned(table: &dyn TableProvider, filters: &[Expr]) -> u64 {
    if let Some(stored) = table.downcast_ref::<LakeTable>() {
        return stored.rows(filters);
    }
    if let Some(logs) = table.downcast_ref::<LogsTable>() {
        return logs.stored().rows(filters);
    }
    table.downcast_ref::<TracesTable>().map_or(0, |traces| traces.stored().rows(filters))
}

/// Whether a filter is about the trace id alone; then it holds alike for whatever is joined by the trace id.
fn is_about_trace(filter: &Expr) -> bool {
    let columns = filter.column_refs();
    !columns.is_empty() && columns.iter().all(|column| column.name == "trace_id")
}

/// What of a scan is left to Lance, and what stands above it.
///
/// A dataset of an older schema may lack columns, and one of a lake that is being migrated may have more. What is
/// absent is read as null, also by a filter that names it; Lance would refuse such a filter, so it stands above the
/// scan.
struct Division {
    /// What the scan gives.
    read: SchemaRef,
    /// Of that, the columns that are stored, by their places in the dataset.
    present: Vec<usize>,
    below: Vec<Expr>,
    above: Vec<Expr>,
    limit: Option<usize>,
}

impl Division {
    /// Of a scan of a dataset with the columns `stored`.
    fn new(
        stored: &Schema,
        table: &Schema,
        wanted: &SchemaRef,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Self> {
        let is_stored =
            |filter: &&Expr| filter.column_refs().iter().all(|column| stored.index_of(&column.name).is_ok());
        let (below, above): (Vec<&Expr>, Vec<&Expr>) = filters.iter().partition(is_stored);
        let read = with_columns_of(&above, wanted, table)?;
        let present = read.fields().iter().filter_map(|field| stored.index_of(field.name()).ok()).collect();
        let limit = limit.filter(|_| above.is_empty());
        let [below, above] = [below, above].map(|filters| filters.into_iter().cloned().collect());
        Ok(Self { read, present, below, above, limit })
    }

    /// Puts above a scan what was not left to it.
    fn above(
        self,
        scan: Arc<dyn ExecutionPlan>,
        wanted: &SchemaRef,
        physical: impl FnOnce(Expr, &DFSchema) -> Result<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = conform::conform(scan, &self.read)?;
        let Some(filter) = conjunction(self.above) else { return Ok(plan) };
        let filter = physical(filter, &DFSchema::try_from(self.read)?)?;
        conform::conform(Arc::new(FilterExec::try_new(filter, plan)?), wanted)
    }
}

/// Scans one dataset of a table for rows of the wanted schema. The filters hold the tenant's wall, unless all rows are the
/// tenant's.
async fn scan_dataset(
    state: &dyn Session,
    dataset: Arc<Dataset>,
    table: &Schema,
    wanted: &SchemaRef,
    filters: &[Expr],
    is_narrowed: bool,
    limit: Option<usize>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let division = Division::new(&Schema::from(dataset.schema()), table, wanted, filters, limit)?;
    let scan = scan::of(&dataset, &division, is_narrowed)?.create_plan().await?;
    division.above(scan, wanted, |filter, schema| state.create_physical_expr(filter, schema))
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
        let ranges = self.ranges(filters);
        let mut walled = vec![self.snapshot.wall()];
        walled.extend_from_slice(filters);
        if state.config().get_extension::<InPieces>().is_some() {
            let pieces = pieces::all(&self.snapshot.open_named(self.table, &ranges).await?);
            if pieces.is_empty() {
                return Ok(Arc::new(EmptyExec::new(wanted)));
            }
            let wanted = Wanted { table: self.table, schema: wanted, filters: walled, limit };
            let partitions = state.config().target_partitions();
            return Ok(Arc::new(LakeScanExec::new(self.snapshot.lake().clone(), wanted, pieces, partitions)));
        }
        let mut datasets = self.snapshot.open(self.table, &ranges).await?;
        let mut plans = Vec::new();
        if let Some(mut looked_up) = by_id::look_up(&self.snapshot, self.table, &datasets, filters).await? {
            plans.extend(looked_up.plan(state, self.table, &self.schema, &wanted, &walled)?);
            datasets = looked_up.unknown;
        }
        let scans = datasets.into_iter().map(|dataset| async {
            let filters = match self.whose(&dataset, filters, limit).await? {
                Whose::Own => filters,
                Whose::Others => return Ok(None),
                Whose::Mixed => walled.as_slice(),
            };
            let is_narrowed = walled.len() > 1;
            scan_dataset(state, dataset, &self.schema, &wanted, filters, is_narrowed, limit).await.map(Some)
        });
        plans.extend(try_join_all(scans).await?.into_iter().flatten());
        match plans.len() {
            0 => Ok(Arc::new(EmptyExec::new(wanted))),
            _ => UnionExec::try_new(plans),
        }
    }
}

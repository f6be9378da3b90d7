//! Rows that a query names by an id, as in `trace_id = '…'`: the index tells where they are, and they are taken from there.
//!
//! Planning a scan takes a millisecond or two for each day of a table, and most days have no row of a trace. Asking their
//! indices takes a tenth of that. What a filter says beside the id, and the tenant's wall, stand above.

use std::fmt;
use std::sync::Arc;

use arrow::array::new_null_array;
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::catalog::Session;
use datafusion::common::{Column, DFSchema, Result, ScalarValue, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::{FutureExt, StreamExt, TryStreamExt};
use lance::Dataset;
use tracerag_schemas::Table;

use super::{conform, with_columns_of};
use crate::error::QueryError;
use crate::snapshot::Snapshot;
use crate::{indexed, lookup};

/// Columns of ids that have an index in every table that has them and a day of rows.
const IDS: [&str; 3] = [TRACE_ID, "fingerprint", "bundle_id"];
const TRACE_ID: &str = "trace_id";
/// Ids that a query may name; more are scanned for.
const MOST_IDS: usize = 100;
/// Rows of a dataset that are taken; more are scanned for.
const MOST_ROWS: usize = 10_000;
/// Datasets that are read at once.
const AT_ONCE: usize = 4;

/// A dataset, and the addresses of some of its rows.
type Found = (Arc<Dataset>, Vec<u64>);

/// The datasets in which ids may be, told apart by what is known of them.
pub(super) struct LookedUp {
    found: Vec<Found>,
    /// Those that only a scan can tell of.
    pub unknown: Vec<Arc<Dataset>>,
}

/// Where the rows are that filters name by an id; `None`: they name none.
pub(super) async fn look_up(
    snapshot: &Snapshot,
    table: Table,
    datasets: &[Arc<Dataset>],
    filters: &[Expr],
) -> Result<Option<LookedUp>> {
    let named = filters.iter().find_map(named).filter(|(_, ids)| ids.len() <= MOST_IDS);
    let Some((column, ids)) = named else { return Ok(None) };
    let asked = datasets.iter().map(|dataset| {
        let (lake, ids) = (snapshot.lake(), &ids);
        async move {
            let is_stored = dataset.schema().field(column).is_some();
            let rows = match is_stored {
                true => indexed::rows(lake.unindexed(), dataset, column, ids).await?,
                false => None,
            };
            Ok::<_, lance::Error>((Arc::clone(dataset), rows.filter(|rows| rows.len() <= MOST_ROWS)))
        }
        .boxed()
    });
    let asked = futures::future::try_join_all(asked).await;
    let failed = |source| QueryError::Lance { dataset: table.name().to_owned(), source: Box::new(source) };
    let (mut found, mut unknown) = (Vec::new(), Vec::new());
    for (dataset, rows) in asked.map_err(failed)? {
        match rows {
            Some(rows) if rows.is_empty() => {}
            Some(rows) => found.push((dataset, rows)),
            None => unknown.push(dataset),
        }
    }
    Ok(Some(LookedUp { found, unknown }))
}

impl LookedUp {
    /// The plan that takes the rows that were found, of which those that meet the filters are given; `None` where none was
    /// found.
    pub(super) fn plan(
        &mut self,
        state: &dyn Session,
        table: Table,
        known: &SchemaRef,
        wanted: &SchemaRef,
        walled: &[Expr],
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if self.found.is_empty() {
            return Ok(None);
        }
        let filters: Vec<&Expr> = walled.iter().collect();
        let read = with_columns_of(&filters, wanted, known)?;
        let mut plan: Arc<dyn ExecutionPlan> =
            Arc::new(TakenExec::new(table, std::mem::take(&mut self.found), Arc::clone(&read)));
        if let Some(filter) = conjunction(walled.iter().cloned()) {
            let filter = state.create_physical_expr(filter, &DFSchema::try_from(read)?)?;
            plan = Arc::new(FilterExec::try_new(filter, plan)?);
        }
        conform::conform(plan, wanted).map(Some)
    }
}

/// Whether a filter names the traces that are read: these are looked up, not scanned for.
pub(super) fn names_traces(filter: &Expr) -> bool {
    named(filter).is_some_and(|(column, _)| column == TRACE_ID)
}

/// The column and the ids that a filter names: every row that meets it has one of them.
fn named(filter: &Expr) -> Option<(&'static str, Vec<&str>)> {
    let id_column = |expr: &Expr| match expr {
        Expr::Column(Column { name, .. }) => IDS.iter().find(|column| **column == name).copied(),
        _ => None,
    };
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            let (column, id) = match id_column(left) {
                Some(column) => (column, text(right)?),
                None => (id_column(right)?, text(left)?),
            };
            Some((column, vec![id]))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => named(left).or_else(|| named(right)),
        // A short list comes as alternatives.
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let ((column, mut ids), (other, more)) = (named(left)?, named(right)?);
            ids.extend(more);
            (column == other).then_some((column, ids))
        }
        Expr::InList(InList { expr, list, negated: false }) => {
            Some((id_column(expr)?, list.iter().map(text).collect::<Option<_>>()?))
        }
        _ => None,
    }
}

fn text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(text), _) => text.as_deref(),
        _ => None,
    }
}

/// Takes rows of datasets by their addresses, a batch for each dataset.
struct TakenExec {
    table: Table,
    found: Vec<Found>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl TakenExec {
    fn new(table: Table, found: Vec<Found>, schema: SchemaRef) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { table, found, schema, properties: Arc::new(properties) }
    }
}

impl fmt::Debug for TakenExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TakenExec").field("table", &self.table).finish_non_exhaustive()
    }
}

impl DisplayAs for TakenExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: usize = self.found.iter().map(|(_, rows)| rows.len()).sum();
        let columns: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        let (table, datasets) = (self.table.name(), self.found.len());
        write!(f, "TakenExec: table={table}, datasets={datasets}, rows={rows}, columns=[{}]", columns.join(", "))
    }
}

impl ExecutionPlan for TakenExec {
    fn name(&self) -> &str {
        "TakenExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        if !children.is_empty() {
            return internal_err!("rows that are taken have no children");
        }
        Ok(self)
    }

    fn execute(&self, partition: usize, _context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("rows that are taken have one partition, not {partition}");
        }
        let (table, schema) = (self.table, Arc::clone(&self.schema));
        let takes = self.found.clone().into_iter().map(move |(dataset, rows)| {
            let schema = Arc::clone(&schema);
            async move {
                let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
                let batch = lookup::take_rows(table, &dataset, &rows, &columns).await?;
                batch.map(|batch| conformed(&batch, &schema)).transpose()
            }
            .boxed()
        });
        let batches = futures::stream::iter(takes).buffer_unordered(AT_ONCE).try_filter_map(futures::future::ok);
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches)))
    }
}

/// A batch with the columns of a schema, and their types.
fn conformed(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
        Some(column) => cast(column, field.data_type()),
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    });
    Ok(RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_, _>>()?)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::logical_expr::{col, lit};

    use super::*;

    /// An equality with an id, or a list of ids, names rows, also beside something else, and so do alternatives that all
    /// name some; negations do not, nor do other columns.
    #[test]
    fn filters_name_rows_by_ids() {
        let is = |id: &str| col("trace_id").eq(lit(id));
        assert_eq!(named(&is("a")), Some(("trace_id", vec!["a"])));
        assert_eq!(named(&lit("a").eq(col("fingerprint"))), Some(("fingerprint", vec!["a"])));
        assert!(names_traces(&is("a")) && !names_traces(&lit("a").eq(col("fingerprint"))));
        assert_eq!(named(&col("name").eq(lit("x")).and(is("a"))), Some(("trace_id", vec!["a"])));
        let list = |negated| col("trace_id").in_list(vec![lit("a"), lit("b")], negated);
        assert_eq!(named(&list(false)), Some(("trace_id", vec!["a", "b"])));
        assert_eq!(named(&is("a").or(is("b"))), Some(("trace_id", vec!["a", "b"])));
        let elsewhere = is("a").or(col("fingerprint").eq(lit("b")));
        for other in [list(true), elsewhere, col("name").eq(lit("a")), col("trace_id").eq(col("name"))] {
            assert!(named(&other).is_none() && !names_traces(&other), "{other}");
        }
    }
}

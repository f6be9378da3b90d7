//! `incidents` and `new_incidents`: a view in SQL, and beside it what each incident appeared with, and whether it came back.
//!
//! The view is planned for each scan, so that a query pays only for what it asks for: `appeared_with` needs the spans
//! of a trace of every incident, `regressed_at` the counts of every one with a fix, and `model` a look at all vectors.
//! Where a query names incidents by their fingerprints, or few by a time since when they were seen, only the counts of
//! these are read, and of those that people have merged into them.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, internal_err};
use datafusion::datasource::ViewTable;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType, col};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties,
};
use futures::TryStreamExt;
use tracerag_schemas::time::SECOND;

use super::appeared::{self, APPEARED_WITH};
use super::named;
use super::regressed::{self, REGRESSED};
use crate::bundle::now;
use crate::error::QueryError;
use crate::search::SharedMerges;
use crate::snapshot::{Snapshot, time_literal};

/// The column of the model that embedded an incident's text.
const MODEL: &str = "model";

/// Incidents with what they appeared with, and whether they came back.
#[derive(Debug)]
pub(crate) struct IncidentsTable {
    view: ViewTable,
    without_model: ViewTable,
    /// Whether it has new incidents only.
    is_of_new: bool,
    snapshot: Snapshot,
    schema: SchemaRef,
}

impl IncidentsTable {
    /// The table over a view that has the columns which the added ones are made of, and null in place of those that say
    /// whether they came back; and over the same view without a model. `is_of_new`: the view has new incidents only.
    ///
    /// # Errors
    /// When it lacks one of them.
    pub(crate) fn new(view: ViewTable, without_model: ViewTable, is_of_new: bool, snapshot: Snapshot) -> Result<Self> {
        let columns = view.schema();
        for needed in appeared::NEEDED.iter().chain(&regressed::NEEDED).chain(&REGRESSED) {
            columns.index_of(needed)?;
        }
        let appeared = Arc::new(Field::new(APPEARED_WITH, appeared::data_type(), true));
        let schema = Arc::new(Schema::new(columns.fields().iter().cloned().chain([appeared]).collect::<Vec<_>>()));
        Ok(Self { view, without_model, is_of_new, snapshot, schema })
    }

    /// Those that were seen since a time, where filters or the view itself say one and they are few.
    async fn seen_since(&self, filters: &[Expr]) -> Result<Option<BTreeSet<String>>> {
        let new = self.is_of_new.then(|| col("first_seen").gt_eq(time_literal(now() - NEW)));
        let filters: Vec<Expr> = filters.iter().cloned().chain(new).collect();
        Ok(named::seen_since(&self.snapshot, &filters).await?)
    }

    /// Incidents without what is added.
    async fn stored(
        &self,
        state: &dyn Session,
        wanted: &[usize],
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let model = self.view.schema().index_of(MODEL)?;
        let is_asked = wanted.contains(&model) || filters.iter().any(|filter| names(filter, MODEL));
        let view = if is_asked { &self.view } else { &self.without_model };
        let projection = wanted.to_vec();
        let named = match named::fingerprints(filters) {
            Some(named) => Some(named),
            None => self.seen_since(filters).await?,
        };
        match named {
            Some(named) => {
                let plan = named::only(view.logical_plan().clone(), &self.snapshot, named).await?;
                ViewTable::new(plan, None).scan(state, Some(&projection), filters, limit).await
            }
            None => view.scan(state, Some(&projection), filters, limit).await,
        }
    }
}

/// How far a view of what is new looks back, at least, in ns: a minute more than it says, for its clock is read later.
const NEW: i64 = (24 * 3_600 + 60) * SECOND;

/// Whether an expression names a column that is added to those which the view has computed.
fn names_added(expr: &Expr) -> bool {
    expr.column_refs().iter().any(|named| named.name == APPEARED_WITH || REGRESSED.contains(&named.name.as_str()))
}

/// Whether an expression names a column.
fn names(expr: &Expr, column: &str) -> bool {
    expr.column_refs().iter().any(|named| named.name == column)
}

#[async_trait]
impl TableProvider for IncidentsTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn get_table_definition(&self) -> Option<&str> {
        self.view.get_table_definition()
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match names_added(filter) {
            true => TableProviderFilterPushDown::Unsupported,
            false => TableProviderFilterPushDown::Exact,
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
        let stored = self.view.schema();
        let appeared = stored.fields().len();
        let wanted: Vec<usize> = projection.cloned().unwrap_or_else(|| (0..=appeared).collect());
        let schema = Arc::new(self.schema.project(&wanted)?);
        let asks = |column: &str| schema.index_of(column).is_ok();
        let mut needed: Vec<&str> = Vec::new();
        if asks(APPEARED_WITH) {
            needed.extend(appeared::NEEDED);
        }
        if REGRESSED.into_iter().any(asks) {
            needed.extend(regressed::NEEDED);
        }
        if needed.is_empty() {
            return self.stored(state, &wanted, filters, limit).await;
        }
        let mut read: Vec<usize> = wanted.iter().copied().filter(|column| *column != appeared).collect();
        for needed in needed {
            let column = stored.index_of(needed)?;
            if !read.contains(&column) {
                read.push(column);
            }
        }
        let input = self.stored(state, &read, filters, limit).await?;
        Ok(Arc::new(IncidentsExec::new(input, self.snapshot.clone(), SharedMerges::default(), schema)))
    }
}

/// Adds what they appeared with to incidents, and whether they came back.
struct IncidentsExec {
    input: Arc<dyn ExecutionPlan>,
    snapshot: Snapshot,
    /// Those of the snapshot, for all batches of all partitions.
    merges: SharedMerges,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl IncidentsExec {
    fn new(input: Arc<dyn ExecutionPlan>, snapshot: Snapshot, merges: SharedMerges, schema: SchemaRef) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { input, snapshot, merges, schema, properties: Arc::new(properties) }
    }
}

impl fmt::Debug for IncidentsExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IncidentsExec")
    }
}

impl DisplayAs for IncidentsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IncidentsExec")
    }
}

impl ExecutionPlan for IncidentsExec {
    fn name(&self) -> &str {
        "IncidentsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = children.as_slice() else {
            return internal_err!("columns of incidents are added to one input");
        };
        let (snapshot, merges) = (self.snapshot.clone(), self.merges.clone());
        Ok(Arc::new(Self::new(Arc::clone(input), snapshot, merges, Arc::clone(&self.schema))))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (snapshot, merges, schema) = (self.snapshot.clone(), self.merges.clone(), Arc::clone(&self.schema));
        let incidents = self.input.execute(partition, context)?;
        let rows = incidents.and_then(move |batch| {
            let (snapshot, merges, schema) = (snapshot.clone(), merges.clone(), Arc::clone(&schema));
            async move { completed(&snapshot, &merges, &batch, &schema).await.map_err(DataFusionError::from) }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows)))
    }
}

/// The rows of a batch in the wanted form.
async fn completed(
    snapshot: &Snapshot,
    merges: &SharedMerges,
    incidents: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch, QueryError> {
    let asks = |column: &str| schema.index_of(column).is_ok();
    let mut added: HashMap<&str, ArrayRef> = HashMap::new();
    if asks(APPEARED_WITH) {
        added.insert(APPEARED_WITH, appeared::column(snapshot, incidents).await?);
    }
    if REGRESSED.into_iter().any(asks) {
        added.extend(REGRESSED.into_iter().zip(regressed::columns(snapshot, merges, incidents).await?));
    }
    let column = |field: &Arc<Field>| {
        let name = field.name().as_str();
        added.get(name).or_else(|| incidents.column_by_name(name)).cloned()
    };
    let columns = schema.fields().iter().map(|field| {
        let missing = || QueryError::Column { dataset: String::from("incidents"), column: field.name().clone() };
        column(field).ok_or_else(missing)
    });
    Ok(RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_, _>>()?)?)
}

//! `logs` with `joined_by`, which says what of a log record's trace is in the lake.
//!
//! A log record may arrive before its span, so the answer is looked up when it is asked for: only a
//! query that names the column pays for the join. It is joined with few traces where it can be: what the
//! query says of trace ids holds for them as well, and of a query that wants few rows these come first. Of a query for a
//! time only the days are looked into that have something of that time, or of the day before it.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Column, JoinType, Result, ScalarValue};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::{
    Expr, LogicalPlan, LogicalPlanBuilder, TableProviderFilterPushDown, TableType, col, lit, when,
};
use datafusion::physical_plan::{ExecutionPlan, collect};
use tracerag_schemas::time::{DAY, SECOND};

use super::{LakeTable, is_about_trace, prune};
use crate::snapshot::Range;

/// The column's name.
const JOINED_BY: &str = "joined_by";
const TRACE_ID: &str = "trace_id";
const SPAN_ID: &str = "span_id";
/// Rows that are read before their traces are looked up, at most; the ids of more make a slow filter.
const READ_FIRST: usize = 1_000;
/// How long before a record its span may have ended, in ns: what a request began may go on, and telemetry is kept by days. A
/// day that has anything within it is looked into as a whole.
const BEFORE: i64 = DAY;
/// How long after a record its span may begin, in ns: by clocks that differ.
const AFTER: i64 = 3_600 * SECOND;

/// `logs`, with `joined_by` as its last column.
#[derive(Debug)]
pub(crate) struct LogsTable {
    logs: Arc<LakeTable>,
    spans: Arc<LakeTable>,
    traces: Arc<LakeTable>,
    schema: SchemaRef,
}

impl LogsTable {
    pub(crate) fn new(logs: Arc<LakeTable>, spans: Arc<LakeTable>, traces: Arc<LakeTable>) -> Self {
        let mut fields = logs.schema().fields().to_vec();
        fields.push(Arc::new(Field::new(JOINED_BY, DataType::Utf8, true)));
        Self { logs, spans, traces, schema: Arc::new(Schema::new(fields)) }
    }

    /// The stored rows.
    pub(super) fn stored(&self) -> &LakeTable {
        &self.logs
    }

    fn last(&self) -> usize {
        self.schema.fields().len() - 1
    }

    /// Indices of the wanted columns, and of the columns of `logs` that are read for them: those, and the ids.
    fn columns(&self, projection: Option<&Vec<usize>>) -> Result<(Vec<usize>, Vec<usize>)> {
        let wanted = projection.cloned().unwrap_or_else(|| (0..=self.last()).collect());
        let mut needed: Vec<usize> = wanted.iter().copied().filter(|index| *index != self.last()).collect();
        for id in [TRACE_ID, SPAN_ID] {
            let index = self.schema.index_of(id)?;
            if !needed.contains(&index) {
                needed.push(index);
            }
        }
        Ok((wanted, needed))
    }

    /// The rows of a query that wants few, and what is to be looked up for them. They are read while the query
    /// is planned.
    async fn few(
        &self,
        state: &dyn Session,
        needed: Vec<usize>,
        filters: &[Expr],
        limit: usize,
    ) -> Result<(LogicalPlan, LookUp)> {
        let schema = Arc::new(self.schema.project(&needed)?);
        let plan = self.logs.scan(state, Some(&needed), filters, Some(limit)).await?;
        let mut rows = Vec::new();
        let mut left = limit;
        for batch in collect(plan, state.task_ctx()).await? {
            let batch = batch.slice(0, batch.num_rows().min(left));
            left -= batch.num_rows();
            rows.push(RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec())?);
        }
        let mut ids = BTreeSet::new();
        for batch in &rows {
            if let Some(traces) = batch.column_by_name(TRACE_ID).and_then(|column| column.as_string_opt::<i32>()) {
                ids.extend(traces.iter().flatten().map(str::to_owned));
            }
        }
        let look_up = match ids.is_empty() {
            true => LookUp::Nothing,
            false => LookUp::Among(vec![col(TRACE_ID).in_list(ids.into_iter().map(lit).collect(), false)]),
        };
        let source = provider_as_source(Arc::new(MemTable::try_new(schema, vec![rows])?));
        Ok((LogicalPlanBuilder::scan("logs", source, None)?.build()?, look_up))
    }

    /// The rows of any other query, and what is to be looked up for them.
    fn all(&self, needed: Vec<usize>, filters: &[Expr], limit: Option<usize>) -> Result<(LogicalPlan, LookUp)> {
        let source = provider_as_source(Arc::clone(&self.logs) as Arc<dyn TableProvider>);
        let rows = LogicalPlanBuilder::scan_with_filters_fetch("logs", source, Some(needed), filters.to_vec(), limit)?;
        let look_up = match filters.iter().any(is_without_trace) {
            true => LookUp::Nothing,
            false => LookUp::Among(filters.iter().filter(|filter| is_about_trace(filter)).cloned().collect()),
        };
        Ok((rows.build()?, look_up))
    }

    /// Rows of `logs` with the ids that are in the lake beside their own; `within` says of when those are.
    fn joined(&self, rows: LogicalPlan, look_up: LookUp, within: &[Range], wanted: &[usize]) -> Result<LogicalPlan> {
        let (plan, joined_by) = match look_up {
            LookUp::Nothing => (LogicalPlanBuilder::from(rows), lit(ScalarValue::Utf8(None))),
            LookUp::Among(filters) => {
                let known = |table: &Arc<LakeTable>, name: &str, ids: &[&str]| {
                    let columns = ids.iter().map(|id| table.schema().index_of(id)).collect::<Result<_, _>>()?;
                    let source = provider_as_source(Arc::new(table.within(within)) as Arc<dyn TableProvider>);
                    LogicalPlanBuilder::scan_with_filters(name, source, Some(columns), filters.clone())
                };
                let known_spans = known(&self.spans, "known_spans", &[TRACE_ID, SPAN_ID])?
                    .project([
                        col("known_spans.trace_id").alias("s_trace_id"),
                        col("known_spans.span_id").alias("s_span_id"),
                    ])?
                    .distinct()?
                    .build()?;
                let known_traces = known(&self.traces, "known_traces", &[TRACE_ID])?
                    .project([col("known_traces.trace_id").alias("t_trace_id")])?
                    .distinct()?
                    .build()?;
                let plan = LogicalPlanBuilder::from(rows)
                    .join(
                        known_spans,
                        JoinType::Left,
                        (vec!["logs.trace_id", "logs.span_id"], vec!["s_trace_id", "s_span_id"]),
                        None,
                    )?
                    .join(known_traces, JoinType::Left, (vec!["logs.trace_id"], vec!["t_trace_id"]), None)?;
                let joined_by = when(col("s_span_id").is_not_null(), lit("ids"))
                    .when(col("t_trace_id").is_not_null(), lit("trace"))
                    .end()?;
                (plan, joined_by)
            }
        };
        let joined_by = joined_by.alias(JOINED_BY);
        let columns = wanted.iter().map(|index| {
            if *index == self.last() {
                joined_by.clone()
            } else {
                let name = self.schema.field(*index).name();
                Expr::Column(Column::new(Some("logs"), name)).alias(name)
            }
        });
        plan.project(columns)?.build()
    }
}

/// Which traces and spans may be those of the rows.
enum LookUp {
    /// None: no row has a trace id.
    Nothing,
    /// Those that meet all filters.
    Among(Vec<Expr>),
}

/// Whether only rows without a trace id are asked for.
fn is_without_trace(filter: &Expr) -> bool {
    matches!(filter, Expr::IsNull(inner) if matches!(&**inner, Expr::Column(column) if column.name == TRACE_ID))
}

/// The times of spans and traces that records may belong to which meet the filters. A span is of all the time that it
/// takes.
fn around(filters: &[Expr]) -> Vec<Range> {
    let mut around = Vec::new();
    for range in prune::ranges(filters).iter().filter(|range| range.column == "time") {
        if range.from > i64::MIN {
            around.push(Range::new("end_time", range.from.saturating_sub(BEFORE), i64::MAX));
        }
        if range.to < i64::MAX {
            around.push(Range::new("start_time", i64::MIN, range.to.saturating_add(AFTER)));
        }
    }
    around
}

#[async_trait]
impl TableProvider for LogsTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        self.logs.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let asked = projection.is_none_or(|columns| columns.contains(&self.last()));
        if !asked {
            return self.logs.scan(state, projection, filters, limit).await;
        }
        let (columns, needed) = self.columns(projection)?;
        let is_open = !filters.iter().any(is_about_trace);
        let (rows, look_up) = match limit.filter(|limit| *limit <= READ_FIRST && is_open) {
            Some(limit) => self.few(state, needed, filters, limit).await?,
            None => self.all(needed, filters, limit)?,
        };
        let plan = self.joined(rows, look_up, &around(filters), &columns)?;
        let wanted = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => Arc::clone(&self.schema),
        };
        super::conform::conform(state.create_physical_plan(&plan).await?, &wanted)
    }
}

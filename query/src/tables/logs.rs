//! `logs` with `joined_by`, which says what of a log record's trace is in the lake.
//!
//! A log record may arrive before its span, so the answer is looked up when it is asked for: only a
//! query that names the column pays for the join.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{JoinType, Result};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{
    Expr, LogicalPlan, LogicalPlanBuilder, TableProviderFilterPushDown, TableType, col, lit, when,
};
use datafusion::physical_plan::ExecutionPlan;

use super::LakeTable;

/// The column's name.
const JOINED_BY: &str = "joined_by";

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

    fn last(&self) -> usize {
        self.schema.fields().len() - 1
    }

    /// Rows of `logs` with the ids that are in the lake beside their own.
    fn joined(&self, projection: Option<&Vec<usize>>, filters: &[Expr], limit: Option<usize>) -> Result<LogicalPlan> {
        let every: Vec<usize> = (0..=self.last()).collect();
        let wanted = projection.unwrap_or(&every);
        let mut needed: Vec<usize> = wanted.iter().copied().filter(|index| *index != self.last()).collect();
        for id in ["trace_id", "span_id"] {
            let index = self.schema.index_of(id)?;
            if !needed.contains(&index) {
                needed.push(index);
            }
        }
        let table = |table: &Arc<LakeTable>, name: &str, columns: Vec<usize>| {
            let source = provider_as_source(Arc::clone(table) as Arc<dyn TableProvider>);
            LogicalPlanBuilder::scan(name, source, Some(columns))
        };
        let ids = |table: &LakeTable, names: &[&str]| -> Result<Vec<usize>> {
            Ok(names.iter().map(|name| table.schema().index_of(name)).collect::<Result<_, _>>()?)
        };
        let known_spans = table(&self.spans, "known_spans", ids(&self.spans, &["trace_id", "span_id"])?)?
            .project([col("known_spans.trace_id").alias("s_trace_id"), col("known_spans.span_id").alias("s_span_id")])?
            .distinct()?
            .build()?;
        let known_traces = table(&self.traces, "known_traces", ids(&self.traces, &["trace_id"])?)?
            .project([col("known_traces.trace_id").alias("t_trace_id")])?
            .distinct()?
            .build()?;
        let source = provider_as_source(Arc::clone(&self.logs) as Arc<dyn TableProvider>);
        let mut plan =
            LogicalPlanBuilder::scan_with_filters_fetch("logs", source, Some(needed), filters.to_vec(), limit)?;
        plan = plan.join(
            known_spans,
            JoinType::Left,
            (vec!["logs.trace_id", "logs.span_id"], vec!["s_trace_id", "s_span_id"]),
            None,
        )?;
        plan = plan.join(known_traces, JoinType::Left, (vec!["logs.trace_id"], vec!["t_trace_id"]), None)?;
        let joined_by = when(col("s_span_id").is_not_null(), lit("ids"))
            .when(col("t_trace_id").is_not_null(), lit("trace"))
            .end()?
            .alias(JOINED_BY);
        let columns = wanted.iter().map(|index| {
            if *index == self.last() {
                joined_by.clone()
            } else {
                let name = self.schema.field(*index).name();
                Expr::Column(datafusion::common::Column::new(Some("logs"), name)).alias(name)
            }
        });
        plan.project(columns)?.build()
    }
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
        let plan = self.joined(projection, filters, limit)?;
        let wanted = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => Arc::clone(&self.schema),
        };
        super::conform::conform(state.create_physical_plan(&plan).await?, &wanted)
    }
}

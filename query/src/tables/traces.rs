//! `traces`: of each trace the newest revision.
//!
//! Few traces have more than one, so rows are held against the later revisions alone, and where there is none, against
//! nothing. A later revision has all spans of
//! those before it: it starts no later, ends no earlier, and was taken no earlier. So what a query says of times says
//! also in which days a later revision can lie, and the others are not opened.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{JoinType, Result};
use datafusion::datasource::provider_as_source;
use datafusion::functions_aggregate::expr_fn::max;
use datafusion::logical_expr::{
    Expr, LogicalPlan, LogicalPlanBuilder, TableProviderFilterPushDown, TableType, col, lit,
};
use datafusion::physical_plan::ExecutionPlan;
use tracerag_schemas::Table;
use tracerag_schemas::time::DAY;

use super::{LakeTable, is_about_trace, prune};
use crate::error::QueryError;
use crate::snapshot::{Range, time_literal};

const TRACE_ID: &str = "trace_id";
const REVISION: &str = "revision";
/// How far, in ns, the time of ingest may go back from one revision to the next. It never does within a partition; a
/// trace that was keyed anew may come by another one.
const SKEW: i64 = DAY;

/// The newest revisions of `trace_revisions`.
#[derive(Debug)]
pub(crate) struct TracesTable {
    revisions: Arc<LakeTable>,
}

impl TracesTable {
    pub(crate) fn new(revisions: Arc<LakeTable>) -> Self {
        Self { revisions }
    }

    /// The stored rows.
    pub(super) fn stored(&self) -> &LakeTable {
        &self.revisions
    }

    /// When the first row that meets all ranges can have been taken, in ns; `None`: no row meets them.
    fn taken_since(&self, ranges: &[Range]) -> Option<i64> {
        let days = self.revisions.snapshot.datasets(Table::Traces, ranges);
        days.iter().map(|(_, day)| day.ingested_at.map_or(i64::MIN, |(least, _)| least)).min()
    }

    fn scan_of(&self, name: &str, columns: &[&str], filters: Vec<Expr>) -> Result<LogicalPlanBuilder> {
        let schema = self.revisions.schema();
        let columns = columns.iter().map(|column| schema.index_of(column)).collect::<Result<Vec<_>, _>>()?;
        let source = provider_as_source(Arc::clone(&self.revisions) as Arc<dyn TableProvider>);
        LogicalPlanBuilder::scan_with_filters(name, source, Some(columns), filters)
    }

    /// What a later revision of a row that meets the filters must meet.
    fn implied(filters: &[Expr], ranges: &[Range], taken_since: i64) -> Vec<Expr> {
        let mut implied = vec![
            col(REVISION).gt(lit(1_i32)),
            col("ingested_at").gt_eq(time_literal(taken_since.saturating_sub(SKEW))),
        ];
        for range in ranges {
            match range.column.as_str() {
                "start_time" if range.to < i64::MAX => implied.push(col("start_time").lt_eq(time_literal(range.to))),
                "end_time" if range.from > i64::MIN => implied.push(col("end_time").gt_eq(time_literal(range.from))),
                _ => {}
            }
        }
        implied.extend(filters.iter().filter(|filter| is_about_trace(filter)).cloned());
        implied
    }

    /// Whether any trace has a revision that meets this.
    async fn has(&self, implied: &[Expr]) -> Result<bool> {
        let snapshot = &self.revisions.snapshot;
        for dataset in snapshot.open(Table::Traces, &self.revisions.ranges(implied)).await? {
            let any = snapshot.lake().later_revisions().any(&dataset).await;
            if any.map_err(|source| QueryError::Lance { dataset: String::from("traces"), source: Box::new(source) })? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Traces with a revision that meets this, and their newest.
    fn later(&self, implied: Vec<Expr>) -> Result<LogicalPlan> {
        self.scan_of("later", &[TRACE_ID, REVISION], implied)?
            .aggregate([col("later.trace_id")], [max(col("later.revision")).alias("newest")])?
            .project([col("later.trace_id").alias("later_trace_id"), col("newest")])?
            .build()
    }

    /// The wanted columns of rows that meet the filters and have no later revision, and what decides that.
    fn newest(&self, wanted: &SchemaRef, filters: &[Expr], later: LogicalPlan) -> Result<LogicalPlan> {
        let mut columns: Vec<&str> = wanted.fields().iter().map(|field| field.name().as_str()).collect();
        for needed in [TRACE_ID, REVISION] {
            if !columns.contains(&needed) {
                columns.push(needed);
            }
        }
        let is_old = col("traces.revision").lt(col("newest"));
        self.scan_of("traces", &columns, filters.to_vec())?
            .join(later, JoinType::LeftAnti, (vec!["traces.trace_id"], vec!["later_trace_id"]), Some(is_old))?
            .build()
    }
}

#[async_trait]
impl TableProvider for TracesTable {
    fn schema(&self) -> SchemaRef {
        self.revisions.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        self.revisions.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let ranges = prune::ranges(filters);
        let Some(taken_since) = self.taken_since(&ranges) else {
            return self.revisions.scan(state, projection, filters, limit).await;
        };
        let implied = Self::implied(filters, &ranges, taken_since);
        if !self.has(&implied).await? {
            return self.revisions.scan(state, projection, filters, limit).await;
        }
        let wanted = match projection {
            Some(columns) => Arc::new(self.schema().project(columns)?),
            None => self.schema(),
        };
        let later = self.later(implied)?;
        let plan = self.newest(&wanted, filters, later)?;
        super::conform::conform(state.create_physical_plan(&plan).await?, &wanted)
    }
}

//! An answer in pages: the same statement on the same head, from a row on.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use futures::TryStreamExt;

use crate::error::{QueryError, Result};
use crate::functions::scalars::json_text;
use crate::session::{Parameters, Session};

/// Some rows of an answer.
#[derive(Debug)]
pub struct Page {
    /// Columns.
    pub schema: SchemaRef,
    /// Rows.
    pub batches: Vec<RecordBatch>,
    /// Whether rows follow.
    pub has_more: bool,
}

/// The rows of a statement behind the first `skip`, `size` at most. The statement has to say an order; rows that it
/// leaves equal are ordered by their other columns, so that pages of one head meet without gap and overlap.
///
/// # Errors
/// As [`Session::sql`]; [`QueryError::Sql`] for a statement without an order.
pub async fn page(
    session: &Session,
    query: &str,
    parameters: Option<Parameters>,
    skip: usize,
    size: usize,
) -> Result<Page> {
    let plan = in_total_order(session.plan(query).await?)?;
    let plan = LogicalPlanBuilder::from(plan).limit(skip, Some(size.saturating_add(1)))?.build()?;
    let stream = session.execute(plan, parameters).await?;
    let schema = stream.schema();
    let read: Vec<RecordBatch> = stream.try_collect().await?;
    let mut room = size;
    let mut batches = Vec::with_capacity(read.len());
    let mut has_more = false;
    for batch in read {
        let taken = batch.num_rows().min(room);
        has_more |= taken < batch.num_rows();
        room -= taken;
        if taken > 0 {
            batches.push(batch.slice(0, taken));
        }
    }
    Ok(Page { schema, batches, has_more })
}

/// Whether a statement says an order, so that there can be pages of it.
///
/// # Errors
/// As [`Session::plan`].
pub async fn has_order(session: &Session, query: &str) -> Result<bool> {
    Ok(in_total_order(session.plan(query).await?).is_ok())
}

/// The plan with its outermost order made total.
fn in_total_order(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut is_ordered = false;
    let ordered = plan.transform_down(|node| match node {
        LogicalPlan::Sort(mut sort) => {
            is_ordered = true;
            let schema = sort.input.schema().clone();
            let columns = schema.columns().into_iter().zip(schema.fields());
            sort.expr.extend(columns.map(|(column, field)| {
                let column = Expr::Column(column);
                // Maps cannot be compared, and a tie between them must not be broken otherwise on the next page.
                let key = if field.data_type().is_nested() { json_text(column) } else { column };
                key.sort(true, true)
            }));
            Ok(Transformed::new(LogicalPlan::Sort(sort), true, TreeNodeRecursion::Stop))
        }
        // These give on the order of what is below them.
        node @ (LogicalPlan::Projection(_) | LogicalPlan::Limit(_)) => Ok(Transformed::no(node)),
        node => Ok(Transformed::new(node, false, TreeNodeRecursion::Stop)),
    })?;
    match is_ordered {
        true => Ok(ordered.data),
        false => Err(QueryError::Sql(String::from(
            "pages need an order, or they would overlap; add e.g. `order by start_time` at the end of the query",
        ))),
    }
}

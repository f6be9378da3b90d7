//! Levels of a query that are written alike and are not the same: in `select s + 1 as s from (select s + 1 as s from t)` each
//! reads what the other made.
//!
//! DataFusion 54 drops one of two projections in a row whose expressions are equal, whatever they read (apache/datafusion
//! pull request 24686, which is in no release yet that is used here). So just before the rule that does so, each projection
//! that has an equal one below it gets a name within its own name, of which nobody sees anything.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::expr::Alias;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};
use datafusion::optimizer::optimizer::Optimizer;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// The rule that drops projections.
const DROPS: &str = "optimize_projections";

/// The rules of DataFusion's optimizer, each that drops projections behind one that keeps it from dropping too many.
pub(crate) fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let rules = Optimizer::new().rules.into_iter().flat_map(|rule| {
        let before = (rule.name() == DROPS).then(|| -> Arc<dyn OptimizerRule + Send + Sync> { Arc::new(Levels) });
        before.into_iter().chain([rule])
    });
    rules.collect()
}

/// Makes equal projections in a row differ.
#[derive(Debug)]
struct Levels;

impl OptimizerRule for Levels {
    fn name(&self) -> &str {
        "levels"
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        plan.transform_down_with_subqueries(|node| match node {
            LogicalPlan::Projection(projection) => numbered(projection),
            other => Ok(Transformed::no(other)),
        })
    }
}

/// The projection, numbered by the equal ones that are below it with only projections between.
fn numbered(projection: Projection) -> Result<Transformed<LogicalPlan>> {
    let (mut equal, mut below) = (0, projection.input.as_ref());
    while let LogicalPlan::Projection(lower) = below {
        equal += usize::from(lower.expr == projection.expr);
        below = lower.input.as_ref();
    }
    let first = projection.expr.iter().position(|expr| !matches!(expr, Expr::Column(_)));
    let (1.., Some(first)) = (equal, first) else { return Ok(Transformed::no(LogicalPlan::Projection(projection))) };
    let Projection { mut expr, input, schema, .. } = projection;
    let own = match expr.swap_remove(first) {
        Expr::Alias(alias) => alias,
        other => {
            let name = other.schema_name().to_string();
            Alias::new(other, None::<&str>, name)
        }
    };
    expr.push(Expr::Alias(Alias { expr: Box::new(own.expr.alias(format!("level {equal}"))), ..own }));
    let last = expr.len() - 1;
    expr.swap(first, last);
    Projection::try_new_with_schema(expr, input, schema).map(|own| Transformed::yes(LogicalPlan::Projection(own)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use crate::tests::lake::{TestLake, ask};

    /// Levels that are written alike, three to six of them, of numbers, of texts and with other columns between: each is
    /// computed, and the names are those that were written. Guarantees that no level is dropped.
    #[tokio::test]
    async fn each_level_is_computed() {
        let lake = TestLake::empty().await;
        let session = lake.session("acme").await;
        for levels in 1..=6_u32 {
            for (begin, level, expected) in [
                ("select value + 6 as s, value as t", "select s + 1 as s from", json!({"s": 7 + levels})),
                (
                    "select repeat('x', value) as s, value as t",
                    "select s || 'y' as s from",
                    json!({"s": format!("x{}", "y".repeat(levels as usize))}),
                ),
                (
                    "select repeat('x', value) as s, value as t",
                    "select s || s as s from",
                    json!({"s": "x".repeat(1 << levels)}),
                ),
                ("select value + 6 as s, value as t", "select t, s * 2 as s from", json!({"s": 7 << levels, "t": 1})),
                ("select value + 2 as s, value as t", "select s + t as t, t as s from", {
                    let (s, t) = (0..levels).fold((3, 1), |(s, t), _| (t, s + t));
                    json!({"s": s, "t": t})
                }),
            ] {
                let begin = format!("{begin} from generate_series(1, 1)");
                let query = (0..levels).fold(begin, |inner, _| format!("{level} ({inner})"));
                assert_eq!(ask(&session, &query).await, json!([expected]), "{query}");
            }
            let begin = "select value as s from generate_series(5, 5)".to_owned();
            let query = (0..levels).fold(begin, |inner, _| format!("select s + 1 as s from ({inner}) where s > 0"));
            assert_eq!(ask(&session, &query).await, json!([{"s": 5 + levels}]), "{query}");
            let between = (0..levels).fold("select value as s from generate_series(5, 5)".to_owned(), |inner, _| {
                format!("select s from (select s + 1 as s from ({inner}))")
            });
            assert_eq!(ask(&session, &between).await, json!([{"s": 5 + levels}]), "{between}");
        }
    }
}

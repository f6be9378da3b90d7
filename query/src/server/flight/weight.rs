//! About how much memory is taken by what is kept for a caller. A few lines of SQL can make a plan of many megabytes, so
//! the length of a text says little.

use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::statement::{Planned, Prepared};

/// Bytes of a session of its own: its state and its limits of memory.
const SESSION: usize = 16 << 10;
/// Bytes of a step of a plan without its columns.
const STEP: usize = 512;
/// Bytes of a column of a step: a field, its qualifier, and their places in a schema.
const COLUMN: usize = 160;
/// Bytes of an expression without its text.
const EXPRESSION: usize = size_of::<Expr>();

/// A statement that only has to be run.
pub(super) fn planned(planned: &Planned) -> usize {
    planned.query.len() + SESSION + plan(&planned.plan)
}

/// A prepared statement, without the values that are bound to it.
pub(super) fn prepared(prepared: &Prepared) -> usize {
    prepared.statement.query.len() + STEP + prepared.parameters.len() * COLUMN
}

fn plan(plan: &LogicalPlan) -> usize {
    let mut bytes: usize = 0;
    let walked = plan.apply_with_subqueries(|step| {
        bytes += STEP + step.schema().fields().len() * COLUMN;
        step.apply_expressions(|expression| {
            expression.apply(|part| {
                let text = match part {
                    // Without what is part of the expression.
                    Expr::Literal(value, _) => value.size() - size_of_val(value),
                    _ => 0,
                };
                bytes += EXPRESSION + text;
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    match walked {
        Ok(_) => bytes,
        // What cannot be walked is taken for as much as may be kept at all.
        Err(_) => usize::MAX >> 1,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::super::kept::Kept;
    use super::*;
    use crate::access::Caller;
    use crate::bounds::VALUES;
    use crate::tests::lake::TestLake;

    /// A plan with a thousand values weighs more by what these take, and one that reads a view more often weighs more with
    /// each time, though the text hardly grows.
    #[tokio::test]
    async fn plans_weigh_what_they_hold() {
        let lake = TestLake::example(false, 10_000).await;
        let session = lake.session("acme").await;
        let weigh = async |query: String| plan(&session.plan(&query).await.unwrap());
        let values = (0..1_000).map(|value| value.to_string()).collect::<Vec<_>>().join(",");
        let short = weigh(String::from("select count(*) from spans where duration_ns in (1)")).await;
        let long = weigh(format!("select count(*) from spans where duration_ns in ({values})")).await;
        assert!(long > short + 900 * EXPRESSION, "{short} {long}");
        let once = weigh(String::from("select 1 from spans a")).await;
        let often = weigh(String::from("select 1 from spans a, spans b, spans c, spans d")).await;
        assert!(often > 3 * once, "{once} {often}");
    }

    /// A list of as many values as a statement may have is kept until its rows are fetched: numbers, and texts.
    #[tokio::test]
    async fn a_long_list_can_be_asked() {
        let lake = TestLake::example(false, 10_000).await;
        let session = lake.session("acme").await;
        for (column, quote) in [("duration_ns", ""), ("name", "'")] {
            let values = (0..VALUES).map(|value| format!("{quote}{value}{quote}")).collect::<Vec<_>>().join(",");
            let plan = session.plan(&format!("select count(*) from spans where {column} in ({values})")).await.unwrap();
            let bytes = super::plan(&plan);
            let kept = Kept::new(Duration::from_secs(3600), 1);
            let caller =
                Caller { tenant: "acme".into(), principal: "somebody".into(), scopes: [].into_iter().collect() };
            assert!(kept.put(&caller, (), bytes).is_ok(), "{column}: {bytes}");
        }
    }
}

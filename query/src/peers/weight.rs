//! How much a query reads: whether it is worth several servers.

use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::LogicalPlan;

use crate::tables::rows_scanned;

/// Rows that the scans of an optimized plan go through together, as far as the head tells. A scan that wants few rows
/// goes through about as many.
///
/// # Errors
/// When the plan is of tables that are none of a session's.
pub(super) fn rows(plan: &LogicalPlan) -> Result<u64> {
    let mut rows = 0_u64;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let table = source_as_provider(&scan.source)?;
            let all = rows_scanned(table.as_ref(), &scan.filters);
            let wanted = scan.fetch.map_or(u64::MAX, |fetch| fetch as u64);
            rows = rows.saturating_add(all.min(wanted));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(rows)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::tests::lake::{GOOD, TestLake};

    /// What a query reads is what its scans open: all tables that it joins count, days outside its times do not, and
    /// neither does what is looked up by the trace or what a limit leaves out.
    #[tokio::test]
    async fn what_is_read_counts() {
        let lake = TestLake::example(false, 10_000).await;
        let session = lake.session("acme").await;
        let weigh = async |query: &str| {
            let plan = session.plan(query).await.unwrap();
            rows(&session.context().state().optimize(&plan).unwrap()).unwrap()
        };
        let spans = weigh("select count(duration_ns) from spans").await;
        let logs = weigh("select count(body) from logs").await;
        assert!(spans > 2 && logs > 0, "{spans} {logs}");
        let joined = "select count(body) from spans join logs using (trace_id)";
        assert_eq!(weigh(joined).await, spans + logs);
        let subquery = "select count(*) from spans where service_name in (select service_name from logs)";
        assert_eq!(weigh(subquery).await, spans + logs);
        let late = "select count(duration_ns) from spans where ingested_at > timestamp '2030-01-01'";
        assert_eq!(weigh(late).await, 0);
        assert_eq!(weigh(&format!("select count(duration_ns) from spans where trace_id = '{GOOD}'")).await, 0);
        assert_eq!(weigh("select name from spans limit 1").await, 1);
        assert_eq!(weigh("select 1").await, 0);
    }
}

//! When the spans started that are looked at.

use datafusion::logical_expr::{Expr, col};
use tracerag_schemas::Table;

use crate::session::Session;
use crate::snapshot::time_literal;

/// From and to, both included, in ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) struct Interval {
    pub from: i64,
    pub to: i64,
}

impl Interval {
    /// What a request says, where it says something. Left to itself it is the time before the newest span of the lake,
    /// of this many ns: a lake that was replayed has old spans only.
    pub(in crate::server) fn of(from: Option<i64>, to: Option<i64>, session: &Session, lookback: i64) -> Self {
        let newest = || {
            let datasets = session.snapshot().head().of(Table::Spans);
            datasets.filter_map(|(_, dataset)| dataset.times.get("start_time").map(|(_, last)| *last)).max()
        };
        let to = to.unwrap_or(i64::MAX);
        let until = || to.min(newest().unwrap_or(to));
        Self { from: from.unwrap_or_else(|| until().saturating_sub(lookback)), to }
    }

    /// That a span started within it.
    pub(in crate::server) fn filter(self) -> Expr {
        let (from, to) = (time_literal(self.from), time_literal(self.to));
        col("start_time").gt_eq(from).and(col("start_time").lt_eq(to))
    }
}

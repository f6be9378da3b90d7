//! Time ranges that a query's filters imply, by which day datasets are left out unopened.

use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};

use crate::snapshot::Range;

/// One range for each bound of a time column that all rows of the answer must meet. Bounds below an
/// `or` or a `not` bind nothing and are passed over.
pub(super) fn ranges(filters: &[Expr]) -> Vec<Range> {
    let mut ranges = Vec::new();
    for filter in filters {
        collect(filter, &mut ranges);
    }
    ranges
}

fn collect(filter: &Expr, ranges: &mut Vec<Range>) {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            collect(left, ranges);
            collect(right, ranges);
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let bound = match (column(left), time(right)) {
                (Some(column), Some(time)) => Some((column, *op, time)),
                _ => match (time(left), column(right), op.swap()) {
                    (Some(time), Some(column), Some(op)) => Some((column, op, time)),
                    _ => None,
                },
            };
            ranges.extend(bound.and_then(|(column, op, time)| range(column, op, time)));
        }
        Expr::Between(Between { expr, negated: false, low, high }) => {
            if let (Some(column), Some(low), Some(high)) = (column(expr), time(low), time(high)) {
                ranges.push(Range::new(column, low, high));
            }
        }
        _ => {}
    }
}

fn range(column: &str, op: Operator, time: i64) -> Option<Range> {
    match op {
        Operator::Eq => Some(Range::new(column, time, time)),
        Operator::Gt => Some(Range::new(column, time.saturating_add(1), i64::MAX)),
        Operator::GtEq => Some(Range::new(column, time, i64::MAX)),
        Operator::Lt => Some(Range::new(column, i64::MIN, time.saturating_sub(1))),
        Operator::LtEq => Some(Range::new(column, i64::MIN, time)),
        _ => None,
    }
}

fn column(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Column(Column { name, .. }) => Some(name),
        _ => None,
    }
}

fn time(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::TimestampNanosecond(time, _), _) => *time,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{col, lit};

    use super::*;
    use crate::snapshot::time_literal;

    /// Bounds that every row must meet become ranges, whichever side the column stands on.
    #[test]
    fn bounds_become_ranges() {
        let filters = [
            col("start_time").gt(time_literal(10)).and(time_literal(20).gt_eq(col("start_time"))),
            col("ingested_at").between(time_literal(1), time_literal(2)),
        ];
        let expected = [
            Range::new("start_time", 11, i64::MAX),
            Range::new("start_time", i64::MIN, 20),
            Range::new("ingested_at", 1, 2),
        ];
        assert_eq!(ranges(&filters), expected);
    }

    /// A bound that only some rows must meet prunes nothing.
    #[test]
    fn alternatives_bind_nothing() {
        let filters = [
            col("start_time").gt(time_literal(10)).or(col("name").eq(lit("a"))),
            Expr::Not(Box::new(col("start_time").gt(time_literal(10)))),
            col("start_time").not_between(time_literal(1), time_literal(2)),
        ];
        assert_eq!(ranges(&filters), []);
    }
}

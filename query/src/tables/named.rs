//! Incidents that a query names by their fingerprints, or by a time since when they were seen.
//!
//! The view of incidents groups by the fingerprint that counts, which is not that of the stored rows where people have
//! merged some, and times are those of a whole group. So filters on them stand above the groups, and all counts of the
//! tenant would be read and grouped for a few incidents.

use std::collections::BTreeSet;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, LogicalPlanBuilder, Operator, col, lit};
use tracerag_index::incidents::vectors;
use tracerag_schemas::Table;

use super::prune;
use crate::error::QueryError;
use crate::rows::{Columns, owned};
use crate::search::Merges;
use crate::snapshot::{Read, Snapshot, time_literal};

const FINGERPRINT: &str = "fingerprint";
/// Times of incidents, which the rows of their counts have as well.
const SEEN: [&str; 2] = ["first_seen", "last_seen"];
/// Fingerprints up to which they are looked up one by one.
const LISTED: usize = 5_000;

/// The fingerprints that all rows have one of, as filters say; `None` where these name none.
pub(super) fn fingerprints(filters: &[Expr]) -> Option<BTreeSet<String>> {
    filters.iter().find_map(listed)
}

/// The fingerprints of counts without which no incident was seen since the times that filters say; `None` where these
/// say none, or there are too many to be listed.
///
/// An incident that was last seen after a time has a row of counts that was, and of one that was first seen after it all
/// rows were.
///
/// # Errors
/// When the counts cannot be read.
pub(super) async fn seen_since(snapshot: &Snapshot, filters: &[Expr]) -> Result<Option<BTreeSet<String>>, QueryError> {
    let ranges = prune::ranges(filters);
    let bounds = ranges.iter().filter(|range| SEEN.contains(&range.column.as_str()) && range.from > i64::MIN);
    let Some(bound) = bounds.max_by_key(|range| range.from) else { return Ok(None) };
    let filter = Some(col(bound.column.as_str()).gt_eq(time_literal(bound.from)));
    let mut seen = BTreeSet::new();
    let read = Read { columns: &[FINGERPRINT], filter, ranges: vec![] };
    let each = snapshot.each(Table::IncidentCounts, read, |batch| {
        let fingerprints = Columns::of("incident_counts", batch).text(FINGERPRINT)?;
        for row in 0..batch.num_rows() {
            if seen.len() > LISTED {
                break;
            }
            seen.extend(owned(fingerprints, row));
        }
        Ok(())
    });
    each.await?;
    if seen.len() > LISTED {
        return Ok(None);
    }
    let merges = Merges::read(snapshot).await?;
    Ok(Some(seen.iter().map(|fingerprint| merges.target(fingerprint).to_owned()).collect()))
}

fn listed(filter: &Expr) -> Option<BTreeSet<String>> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => listed(left).or_else(|| listed(right)),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let (mut one, other) = (listed(left)?, listed(right)?);
            one.extend(other);
            Some(one)
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            let value = match (is_fingerprint(left), is_fingerprint(right)) {
                (true, false) => text(right)?,
                (false, true) => text(left)?,
                _ => return None,
            };
            Some(BTreeSet::from([value]))
        }
        Expr::InList(InList { expr, list, negated: false }) if is_fingerprint(expr) => list.iter().map(text).collect(),
        _ => None,
    }
}

fn is_fingerprint(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(column) if column.name == FINGERPRINT)
}

fn text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Literal(
            ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text)),
            _,
        ) => Some(text.clone()),
        _ => None,
    }
}

/// The plan of a view of incidents that reads counts and vectors of these fingerprints only, and of those that may
/// count for them.
///
/// # Errors
/// When the rules of people cannot be read.
pub(super) async fn only(plan: LogicalPlan, snapshot: &Snapshot, named: BTreeSet<String>) -> Result<LogicalPlan> {
    let members = members(snapshot, named).await?;
    let tables = [Table::IncidentCounts.name(), vectors::TABLE];
    let narrowed = plan.transform_up(|node| {
        let scanned = match &node {
            LogicalPlan::TableScan(scan) if tables.contains(&scan.table_name.table()) => scan.table_name.clone(),
            _ => return Ok(Transformed::no(node)),
        };
        let fingerprint = Expr::Column(Column::new(Some(scanned), FINGERPRINT));
        let condition = match members.is_empty() {
            true => lit(false),
            false => fingerprint.in_list(members.iter().map(lit).collect(), false),
        };
        let narrowed = LogicalPlanBuilder::from(node).filter(condition)?.build()?;
        Ok(Transformed::yes(narrowed))
    })?;
    Ok(narrowed.data)
}

/// The fingerprints, and those that count for them.
async fn members(snapshot: &Snapshot, named: BTreeSet<String>) -> Result<BTreeSet<String>, QueryError> {
    let merges = Merges::read(snapshot).await?;
    let named: Vec<&str> = named.iter().map(String::as_str).collect();
    Ok(merges.members(&named).into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fingerprints are named by equality, by a list, and by alternatives that all name some; where one alternative
    /// names none, or a filter excludes some, all incidents are read.
    #[test]
    fn filters_name_fingerprints() {
        let is = |name: &str| col(FINGERPRINT).eq(lit(name));
        let named = |filter: Expr| fingerprints(&[col("title").is_not_null(), filter]).map(Vec::from_iter);
        assert_eq!(named(is("a")), Some(vec![String::from("a")]));
        assert_eq!(named(lit("a").eq(col(FINGERPRINT))), Some(vec![String::from("a")]));
        let both = Some(vec![String::from("a"), String::from("b")]);
        assert_eq!(named(is("b").or(is("a"))), both);
        assert_eq!(named(col(FINGERPRINT).in_list(vec![lit("a"), lit("b")], false)), both);
        assert_eq!(named(is("a").and(col("title").eq(lit("t")))), Some(vec![String::from("a")]));
        for wide in [
            is("a").or(col("title").eq(lit("t"))),
            col(FINGERPRINT).in_list(vec![lit("a")], true),
            col(FINGERPRINT).not_eq(lit("a")),
            col(FINGERPRINT).in_list(vec![lit("a"), col("title")], false),
        ] {
            assert_eq!(named(wide.clone()), None, "{wide}");
        }
    }
}

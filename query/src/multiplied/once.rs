//! Joins that write a row out once at most: the other side has one row for each key, or only says whether there is one.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::physical_expr::PhysicalExprRef;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::joins::{HashJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;

/// Whether an operator writes each row of its left and its right side once at most.
pub(super) fn sides(plan: &Arc<dyn ExecutionPlan>) -> [bool; 2] {
    let (left, right, on, join_type, is_filtered) = if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        (join.left(), join.right(), join.on(), *join.join_type(), join.filter().is_some())
    } else if let Some(join) = plan.downcast_ref::<SortMergeJoinExec>() {
        (join.left(), join.right(), join.on(), join.join_type(), join.filter.is_some())
    } else {
        return [false, false];
    };
    // With a filter it looks at all pairs.
    let only_looks = !is_filtered
        && matches!(
            join_type,
            JoinType::LeftSemi
                | JoinType::RightSemi
                | JoinType::LeftAnti
                | JoinType::RightAnti
                | JoinType::LeftMark
                | JoinType::RightMark
        );
    let left_keys: Vec<&PhysicalExprRef> = on.iter().map(|(left, _)| left).collect();
    let right_keys: Vec<&PhysicalExprRef> = on.iter().map(|(_, right)| right).collect();
    [only_looks || is_distinct(right, &columns(&right_keys)), only_looks || is_distinct(left, &columns(&left_keys))]
}

/// The columns among expressions.
fn columns(keys: &[&PhysicalExprRef]) -> BTreeSet<usize> {
    keys.iter().filter_map(|key| key.downcast_ref::<Column>()).map(Column::index).collect()
}

/// Whether no two rows have the same values in some columns, as far as the plan shows: it groups by them, or some of them.
fn is_distinct(plan: &Arc<dyn ExecutionPlan>, keys: &BTreeSet<usize>) -> bool {
    if plan.is::<EmptyExec>() {
        return true;
    }
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        let groups = aggregate.group_expr();
        let is_whole = matches!(
            aggregate.mode(),
            AggregateMode::Final
                | AggregateMode::FinalPartitioned
                | AggregateMode::Single
                | AggregateMode::SinglePartitioned
        );
        return is_whole && groups.is_single() && (0..groups.expr().len()).all(|group| keys.contains(&group));
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let below = keys.iter().filter_map(|key| projection.expr().get(*key)).map(|column| &column.expr);
        return is_distinct(projection.input(), &columns(&below.collect::<Vec<_>>()));
    }
    let hands_on = plan.is::<RepartitionExec>()
        || plan.is::<CoalescePartitionsExec>()
        || plan.is::<SortExec>()
        || plan.is::<SortPreservingMergeExec>();
    hands_on && plan.children().into_iter().all(|child| is_distinct(child, keys))
}

//! What operators write out or hold that no memory is counted for: a join writes a row as often as the other side has
//! matches, an `unnest` as often as a list has items, and a window function holds its rows until it has seen all of them.
//! So a guard stands before each of them.

use std::fmt;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, Statistics, internal_err};
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::windows::WindowAggExec;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;

use crate::error::QueryError;
use crate::functions::bounded::sizes;

/// How many times a query's memory a join may write out at once, were every row of a batch the widest.
const WRITTEN: u64 = 2;
/// What part of a query's memory an `unnest` may write out at once.
const PART: usize = 4;
/// How many times its rows a window function holds: as they came, and as one batch.
const HELD: u64 = 2;

/// The same plan with its guards.
///
/// # Errors
/// When an operator does not take them, which would be an error of this program.
pub(crate) fn guarded(plan: Arc<dyn ExecutionPlan>, memory_limit: usize) -> Result<Arc<dyn ExecutionPlan>> {
    guarded_until(plan, memory_limit, |_| false)
}

/// The same plan with guards in the part of it that is above such nodes.
///
/// # Errors
/// As [`guarded`].
pub(crate) fn guarded_until(
    plan: Arc<dyn ExecutionPlan>,
    memory_limit: usize,
    is_end: impl Fn(&Arc<dyn ExecutionPlan>) -> bool,
) -> Result<Arc<dyn ExecutionPlan>> {
    with_guards(plan, memory_limit, true, is_end)
}

/// The same plan with guards that are no nodes of it: who sent the plan counts its nodes.
///
/// # Errors
/// As [`guarded`].
pub(crate) fn guarded_unseen(plan: Arc<dyn ExecutionPlan>, memory_limit: usize) -> Result<Arc<dyn ExecutionPlan>> {
    with_guards(plan, memory_limit, false, |_| false)
}

fn with_guards(
    plan: Arc<dyn ExecutionPlan>,
    memory_limit: usize,
    is_seen: bool,
    is_end: impl Fn(&Arc<dyn ExecutionPlan>) -> bool,
) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_down(|node| {
        if is_end(&node) {
            return Ok(Transformed::new(node, false, TreeNodeRecursion::Jump));
        }
        let Some(multiplies) = Multiplies::of(&node) else { return Ok(Transformed::no(node)) };
        let guard = |child: &Arc<dyn ExecutionPlan>| -> Arc<dyn ExecutionPlan> {
            Arc::new(GuardExec { input: Arc::clone(child), multiplies: multiplies.clone(), memory_limit, is_seen })
        };
        let children = node.children().into_iter().map(guard).collect();
        Ok(Transformed::yes(node.with_new_children(children)?))
    })
    .data()
}

/// Whether an operator is a join.
pub(crate) fn is_join(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<HashJoinExec>()
        || plan.is::<CrossJoinExec>()
        || plan.is::<NestedLoopJoinExec>()
        || plan.is::<SortMergeJoinExec>()
}

/// Whether as much comes out of an operator as goes in, or more, whatever goes in. A join by keys is none of these.
pub(crate) fn multiplies(plan: &Arc<dyn ExecutionPlan>) -> bool {
    match Multiplies::of(plan) {
        Some(Multiplies::Joined) => plan.is::<CrossJoinExec>() || plan.is::<NestedLoopJoinExec>(),
        Some(Multiplies::Unnested(_) | Multiplies::Held) => true,
        None => false,
    }
}

/// What becomes of a row.
#[derive(Debug, Clone)]
enum Multiplies {
    /// It may be written out for each row of a batch.
    Joined,
    /// It is written out for each item of the lists in these columns, of the lists in these lists where it is said.
    Unnested(Arc<[(usize, bool)]>),
    /// It is held until the last has come.
    Held,
}

impl Multiplies {
    fn of(plan: &Arc<dyn ExecutionPlan>) -> Option<Self> {
        if let Some(unnest) = plan.downcast_ref::<UnnestExec>() {
            let lists = unnest.list_column_indices().iter().map(|list| (list.index_in_input_schema, list.depth > 1));
            return Some(Self::Unnested(lists.collect()));
        }
        if plan.is::<WindowAggExec>() {
            return Some(Self::Held);
        }
        is_join(plan).then_some(Self::Joined)
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Joined => "rows of a join",
            Self::Unnested(_) => "rows of an unnest",
            Self::Held => "rows of a window",
        }
    }
}

/// Looks at what goes into an operator, and gives it on as it is.
#[derive(Debug)]
struct GuardExec {
    input: Arc<dyn ExecutionPlan>,
    multiplies: Multiplies,
    memory_limit: usize,
    /// Whether it is a node of its plan. Otherwise it shows itself as its input, and has the children of that.
    is_seen: bool,
}

impl DisplayAs for GuardExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GuardExec: {}", self.multiplies.name())
    }
}

impl ExecutionPlan for GuardExec {
    fn name(&self) -> &str {
        "GuardExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn downcast_delegate(&self) -> Option<&dyn ExecutionPlan> {
        (!self.is_seen).then_some(self.input.as_ref())
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        match self.is_seen {
            true => vec![true],
            false => self.input.maintains_input_order(),
        }
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        match self.is_seen {
            true => vec![&self.input],
            false => self.input.children(),
        }
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let input = match (self.is_seen, children.len()) {
            (true, 1) => children.remove(0),
            (true, _) => return internal_err!("a guard has one input"),
            (false, _) => Arc::clone(&self.input).with_new_children(children)?,
        };
        let Self { multiplies, memory_limit, is_seen, .. } = &*self;
        Ok(Arc::new(Self { input, multiplies: multiplies.clone(), memory_limit: *memory_limit, is_seen: *is_seen }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, Arc::clone(&context))?;
        let schema = input.schema();
        let guard = Guard {
            multiplies: self.multiplies.clone(),
            memory_limit: self.memory_limit,
            batch_size: context.session_config().batch_size().max(1),
            reservation: MemoryConsumer::new(self.multiplies.name()).register(context.memory_pool()),
        };
        let batches = input.flat_map(move |batch| {
            let parts: Vec<Result<RecordBatch>> = match batch.and_then(|batch| guard.pass(batch)) {
                Ok(parts) => parts.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            };
            futures::stream::iter(parts)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        (!self.is_seen).then(|| self.input.metrics()).flatten()
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        self.input.partition_statistics(partition)
    }
}

/// The guard of one partition. What it reserves is free when its stream is gone, and so is what that was reserved for.
struct Guard {
    multiplies: Multiplies,
    memory_limit: usize,
    batch_size: usize,
    reservation: MemoryReservation,
}

impl Guard {
    /// The same rows, in batches that may be given on.
    fn pass(&self, batch: RecordBatch) -> Result<Vec<RecordBatch>> {
        match &self.multiplies {
            Multiplies::Joined => {
                let widest = widths(&batch, &[]).into_iter().max().unwrap_or_default();
                if widest.saturating_mul(self.batch_size as u64) > (self.memory_limit as u64).saturating_mul(WRITTEN) {
                    return Err(DataFusionError::ResourcesExhausted(format!(
                        "a join would write out rows of {widest} bytes; shorten them before it, as with left(body, 1000)"
                    )));
                }
                // A cross join writes a row out for each batch of the other side, however long that is.
                let begins = (0..batch.num_rows()).step_by(self.batch_size);
                Ok(begins.map(|begin| batch.slice(begin, self.batch_size.min(batch.num_rows() - begin))).collect())
            }
            Multiplies::Unnested(lists) => self.unnested(&batch, lists),
            Multiplies::Held => {
                let bytes = widths(&batch, &[]).into_iter().fold(0, u64::saturating_add).saturating_mul(HELD);
                self.reservation.try_grow(usize::try_from(bytes).unwrap_or(usize::MAX))?;
                Ok(vec![batch])
            }
        }
    }

    /// As many rows at once as write out no more than may be.
    fn unnested(&self, batch: &RecordBatch, lists: &[(usize, bool)]) -> Result<Vec<RecordBatch>> {
        let most = (self.memory_limit / PART) as u64;
        let columns: Vec<usize> = lists.iter().map(|(column, _)| *column).collect();
        let others = widths(batch, &columns);
        // Items of inner lists are no more than their bytes.
        let items = lists.iter().map(|(column, is_deep)| match is_deep {
            true => sizes::bytes(batch.column(*column)),
            false => sizes::items(batch.column(*column)),
        });
        let lists: Vec<Vec<u64>> = items.collect();
        let bytes = others.into_iter().enumerate().map(|(row, width)| {
            let items = lists.iter().filter_map(|items| items.get(row)).copied().max().unwrap_or(1);
            width.saturating_mul(items)
        });
        let (mut parts, mut begin, mut sum) = (Vec::new(), 0, 0_u64);
        for (row, bytes) in bytes.enumerate() {
            if bytes > most {
                let detail = format!("unnest would write a row out to {bytes} bytes");
                let error = QueryError::MemoryLimit { bytes: usize::try_from(most).unwrap_or(usize::MAX), detail };
                return Err(DataFusionError::from(error));
            }
            if sum.saturating_add(bytes) > most {
                parts.push(batch.slice(begin, row - begin));
                (begin, sum) = (row, 0);
            }
            sum = sum.saturating_add(bytes);
        }
        parts.push(batch.slice(begin, batch.num_rows() - begin));
        Ok(parts)
    }
}

/// Bytes of each row, but for some columns.
fn widths(batch: &RecordBatch, without: &[usize]) -> Vec<u64> {
    let mut widths = vec![0_u64; batch.num_rows()];
    for (_, column) in batch.columns().iter().enumerate().filter(|(index, _)| !without.contains(index)) {
        widths.iter_mut().zip(sizes::bytes(column)).for_each(|(width, bytes)| *width = width.saturating_add(bytes));
    }
    widths
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::physical_plan::empty::EmptyExec;

    use super::*;

    fn nodes(plan: &Arc<dyn ExecutionPlan>) -> usize {
        1 + plan.children().into_iter().map(nodes).sum::<usize>()
    }

    /// Guards that are seen are nodes of their own, but below where they end; those that are not leave each node in its
    /// place, and known as what it is.
    #[test]
    fn guards_are_seen_where_they_may_be() {
        let leaf = |name: &str| -> Arc<dyn ExecutionPlan> {
            Arc::new(EmptyExec::new(Arc::new(Schema::new(vec![Field::new(name, DataType::Int64, true)]))))
        };
        let inner: Arc<dyn ExecutionPlan> = Arc::new(CrossJoinExec::new(leaf("a"), leaf("b")));
        let plan: Arc<dyn ExecutionPlan> = Arc::new(CrossJoinExec::new(inner, leaf("c")));
        assert_eq!(nodes(&plan), 5);
        assert_eq!(nodes(&guarded(Arc::clone(&plan), 1 << 20).unwrap()), 9);
        let ended = guarded_until(Arc::clone(&plan), 1 << 20, |node| nodes(node) == 3).unwrap();
        assert_eq!(nodes(&ended), 7);
        let unseen = guarded_unseen(plan, 1 << 20).unwrap();
        assert_eq!(nodes(&unseen), 5);
        let children = unseen.children();
        assert!(children[0].is::<CrossJoinExec>() && children[1].is::<EmptyExec>());
        let below = children[0].children();
        assert!(below.iter().all(|leaf| leaf.is::<EmptyExec>()));
        assert!(children.iter().chain(&below).all(|node| node.name() == "GuardExec"));
    }
}

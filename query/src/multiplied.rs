//! What operators write out or hold that no memory is counted for: a join writes a row as often as the other side has
//! matches, an `unnest` as often as a list has items, and a window function holds its rows until it has seen all of them.
//! So a guard stands before each of them, but for joins that write a row out once (`once`) and windows that look no
//! further than a batch or two (`far`).

mod far;
mod once;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::record_batch::RecordBatch;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, Statistics, internal_err};
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;

use crate::error::QueryError;
use crate::functions::bounded::sizes;

/// How many times a query's memory a join may write out at once, were every row of a batch the widest.
const WRITTEN: u64 = 2;
/// What part of a query's memory an `unnest` may write out at once, and a join that runs for wide rows.
const PART: usize = 4;
/// How many times its rows a window function holds: as they came, and as one batch.
const HELD: u64 = 2;

/// Bytes of the widest row that a join was refused for, or of as wide a row as a sort was, for all ways to run one query.
#[derive(Debug, Clone, Default)]
pub(crate) struct Widest(Arc<AtomicU64>);

impl Widest {
    fn note(&self, bytes: u64) {
        self.0.fetch_max(bytes, Ordering::Relaxed);
    }

    /// Notes that batches of more rows do not fit where something has to hold several.
    pub(crate) fn note_rows(&self, rows: usize, memory_limit: usize) {
        self.note(((memory_limit / PART) as u64).div_ceil(rows.max(1) as u64));
    }

    /// Rows of a batch, of so many at most, with which joins write out a row that is as wide, and others hold what they
    /// have written.
    pub(crate) fn rows(&self, most: usize, memory_limit: usize) -> usize {
        let rows = (memory_limit / PART) as u64 / self.0.load(Ordering::Relaxed).max(1);
        usize::try_from(rows).unwrap_or(usize::MAX).clamp(1, most.max(1))
    }
}

/// Bytes that a join may write out at once.
fn written(memory_limit: usize) -> u64 {
    (memory_limit as u64).saturating_mul(WRITTEN)
}

/// The same plan with its guards, which note what was too wide.
///
/// # Errors
/// When an operator does not take them, which would be an error of this program.
pub(crate) fn guarded(
    plan: Arc<dyn ExecutionPlan>,
    memory_limit: usize,
    widest: &Widest,
) -> Result<Arc<dyn ExecutionPlan>> {
    with_guards(plan, memory_limit, widest, true, |_| false)
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
    with_guards(plan, memory_limit, &Widest::default(), true, is_end)
}

/// The same plan with guards that are no nodes of it: who sent the plan counts its nodes.
///
/// # Errors
/// As [`guarded`].
pub(crate) fn guarded_unseen(plan: Arc<dyn ExecutionPlan>, memory_limit: usize) -> Result<Arc<dyn ExecutionPlan>> {
    with_guards(plan, memory_limit, &Widest::default(), false, |_| false)
}

fn with_guards(
    plan: Arc<dyn ExecutionPlan>,
    memory_limit: usize,
    widest: &Widest,
    is_seen: bool,
    is_end: impl Fn(&Arc<dyn ExecutionPlan>) -> bool,
) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_down(|node| {
        if is_end(&node) {
            return Ok(Transformed::new(node, false, TreeNodeRecursion::Jump));
        }
        let Some(multiplies) = Multiplies::of(&node) else { return Ok(Transformed::no(node)) };
        let once = once::sides(&node);
        let guard = |(side, child): (usize, &Arc<dyn ExecutionPlan>)| -> Arc<dyn ExecutionPlan> {
            let input = Arc::clone(child);
            if once.get(side).is_some_and(|is_once| *is_once) {
                return input;
            }
            Arc::new(GuardExec { input, multiplies: multiplies.clone(), memory_limit, widest: widest.clone(), is_seen })
        };
        let children = node.children().into_iter().enumerate().map(guard).collect();
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
        Some(Multiplies::Joined(_)) => plan.is::<CrossJoinExec>() || plan.is::<NestedLoopJoinExec>(),
        Some(Multiplies::Unnested(_) | Multiplies::Held) => true,
        None => false,
    }
}

/// What becomes of a row.
#[derive(Debug, Clone)]
enum Multiplies {
    /// It may be written out for each row of a batch, of so many rows at most.
    Joined(usize),
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
        let looks_far =
            |window: &BoundedWindowAggExec| window.window_expr().iter().any(|window| far::looks_far(window.as_ref()));
        if plan.is::<WindowAggExec>() || plan.downcast_ref::<BoundedWindowAggExec>().is_some_and(looks_far) {
            return Some(Self::Held);
        }
        is_join(plan).then(|| Self::Joined(pairs(plan)))
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Joined(_) => "rows of a join",
            Self::Unnested(_) => "rows of an unnest",
            Self::Held => "rows of a window",
        }
    }
}

/// Rows that a join may give, where it is known how many its sides have.
fn pairs(join: &Arc<dyn ExecutionPlan>) -> usize {
    let rows = join.children().into_iter().map(|side| match side.partition_statistics(None).ok()?.num_rows {
        Precision::Exact(rows) => Some(rows),
        _ => None,
    });
    // Of outer joins, also those without a match.
    let pairs = |rows: Vec<usize>| rows.into_iter().map(|rows| rows.saturating_add(1)).fold(1, usize::saturating_mul);
    rows.collect::<Option<Vec<_>>>().map_or(usize::MAX, pairs)
}

/// Looks at what goes into an operator, and gives it on as it is.
#[derive(Debug)]
struct GuardExec {
    input: Arc<dyn ExecutionPlan>,
    multiplies: Multiplies,
    memory_limit: usize,
    widest: Widest,
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
        Ok(Arc::new(Self {
            input,
            multiplies: self.multiplies.clone(),
            memory_limit: self.memory_limit,
            widest: self.widest.clone(),
            is_seen: self.is_seen,
        }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, Arc::clone(&context))?;
        let schema = input.schema();
        let guard = Guard {
            multiplies: self.multiplies.clone(),
            memory_limit: self.memory_limit,
            widest: self.widest.clone(),
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
    widest: Widest,
    batch_size: usize,
    reservation: MemoryReservation,
}

impl Guard {
    /// The same rows, in batches that may be given on.
    fn pass(&self, batch: RecordBatch) -> Result<Vec<RecordBatch>> {
        match &self.multiplies {
            Multiplies::Joined(pairs) => {
                let widest = widths(&batch, &[]).into_iter().max().unwrap_or_default();
                let rows = self.batch_size.min(*pairs) as u64;
                if widest.saturating_mul(rows) > written(self.memory_limit) {
                    self.widest.note(widest);
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
pub(crate) fn widths(batch: &RecordBatch, without: &[usize]) -> Vec<u64> {
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
        assert_eq!(nodes(&guarded(Arc::clone(&plan), 1 << 20, &Widest::default()).unwrap()), 9);
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

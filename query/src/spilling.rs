//! A query that its memory does not suffice for, once more in a way that needs less: what can be sorted on the disk is.
//!
//! A hash join holds one side as a whole and cannot spill it, and sorts that take memory as it comes starve those that
//! begin later; a join of wide rows needs memory for a batch of them. All are the faster way, so they are tried first.
//! Nothing was given out yet when memory fails, as a rule: a side is read, and what is sorted is, before the first row.
//!
//! Each sort has a part of the memory that no other operator takes (`shares`), and its batches are what they count as
//! (`compact`). How many sorts there are depends on the memory and not on how many processors a machine has.

mod compact;
mod shares;

use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::TrackConsumersPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{EmptyRecordBatchStream, ExecutionPlan, execute_stream};
use futures::StreamExt;

use self::compact::Compact;
use self::shares::Shares;
use crate::error::Result;
use crate::functions::bounded::planning;
use crate::multiplied::{self, Widest};

/// How many times its memory a query may have in temporary files.
pub(crate) const SPILLED: u64 = 16;
/// Consumers of memory that an error names.
const NAMED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4);
/// Rows of a batch, at most.
pub(crate) const ROWS: usize = 256;
/// Bytes of a file after which an operator that distributes rows begins another one: each batch has its own. Of two files that
/// are written at once, DataFusion 54 waits for more of the first while what it needs is in the second, for ever
/// (apache/datafusion issue 24883).
pub(crate) const FILE: usize = 0;
/// How often a query is begun again because a join or a sort met rows that are wider than those before.
const TRIES: usize = 4;
/// Partitions of the other way, at least: on one processor there would be no join but that by a hash table.
const PARTITIONS: usize = 2;
/// Bytes of a query's memory for each partition beyond those. Each has sorts of its own, and rows of several kilobytes fit
/// into what each of these has.
const PARTITION: usize = 64 << 20;
/// What part of a query's memory all its sorts together keep for merging what they spilled, at most.
const FOR_MERGING: usize = 8;

/// Bytes that each sort of a query keeps for merging what it spilled. A processor has a sort of its own, so with many
/// of them, what DataFusion keeps for each would be more than the query has.
pub(crate) fn kept_for_merging(memory_limit: usize, sorts: usize, most: usize) -> usize {
    (memory_limit / FOR_MERGING / sorts.max(1)).clamp(1, most.max(1))
}

/// Another way to run a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// With joins of sorted sides.
    Sorted,
    /// With joins as they are, for it has `not in`, and the others do not know what nulls mean in it.
    Hashed,
}

impl Way {
    /// The other way of a plan; none for one that only holds what nothing can spill.
    pub(crate) fn of(plan: &Arc<dyn ExecutionPlan>) -> Option<Self> {
        let own = match plan.downcast_ref::<HashJoinExec>() {
            Some(join) if join.null_aware => Some(Self::Hashed),
            _ => (plan.is::<SortExec>() || plan.is::<AggregateExec>() || multiplied::is_join(plan))
                .then_some(Self::Sorted),
        };
        plan.children().into_iter().map(Self::of).chain([own]).flatten().reduce(|one, other| match (one, other) {
            (Self::Sorted, Self::Sorted) => Self::Sorted,
            _ => Self::Hashed,
        })
    }
}

/// Memory and temporary files for the other way, for a plan of so many sorts.
fn shared(memory_limit: usize, sorts: usize) -> Result<Arc<RuntimeEnv>> {
    let pool = TrackConsumersPool::new(Shares::new(memory_limit, sorts), NAMED);
    Ok(RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        .with_max_temp_directory_size((memory_limit as u64).saturating_mul(SPILLED))
        .build_arc()?)
}

/// A plan that may be run another way.
pub(crate) struct Other {
    pub(crate) way: Way,
    pub(crate) state: SessionState,
    pub(crate) plan: LogicalPlan,
    pub(crate) memory_limit: usize,
    /// What joins and sorts were refused for, whichever way.
    pub(crate) widest: Widest,
}

impl Other {
    /// Rows of a batch. Wide rows are written out for fewer others at once.
    fn rows(&self) -> usize {
        self.widest.rows(ROWS.min(self.state.config().batch_size()), self.memory_limit)
    }

    /// The plan for batches of so many rows, with memory and temporary files of its own.
    pub(crate) async fn planned(
        &self,
        rows: usize,
    ) -> Result<(Arc<dyn ExecutionPlan>, Arc<TaskContext>), DataFusionError> {
        let mut config = self.state.config().clone();
        let options = config.options_mut();
        options.optimizer.prefer_hash_join = self.way == Way::Hashed;
        let execution = &mut options.execution;
        let most = (self.memory_limit / PARTITION).max(PARTITIONS);
        execution.target_partitions = execution.target_partitions.clamp(PARTITIONS, most);
        execution.batch_size = rows;
        // Each has its part anyway.
        execution.sort_spill_reservation_bytes = 0;
        // What is sorted as one batch comes in parts that each count as the whole.
        execution.sort_in_place_threshold_bytes = 0;
        let state = SessionStateBuilder::new_from_existing(self.state.clone()).with_config(config).build();
        let physical = planning(self.memory_limit, state.create_physical_plan(&self.plan)).await?;
        let sorts = shares::sorts(&physical);
        let physical = multiplied::guarded(physical, self.memory_limit, &self.widest)?;
        let compact = Compact {
            rows,
            memory_limit: self.memory_limit,
            share: Shares::share(self.memory_limit, sorts),
            widest: self.widest.clone(),
        };
        let context = TaskContext::from(&state).with_runtime(shared(self.memory_limit, sorts)?);
        Ok((compact.around_sorts(physical)?, Arc::new(context)))
    }

    /// The answer up to its first batch. It is begun again as long as joins and sorts meet rows that are wider than those
    /// that it was begun for.
    async fn begun(&self) -> Result<(SendableRecordBatchStream, Option<RecordBatch>), DataFusionError> {
        let mut tries = TRIES;
        loop {
            let rows = self.rows();
            tries -= 1;
            let (plan, context) = self.planned(rows).await?;
            let mut stream = execute_stream(plan, context)?;
            match stream.next().await.transpose() {
                Err(error) if is_for_memory(&error) && tries > 0 && self.rows() < rows => {}
                first => return Ok((stream, first?)),
            }
        }
    }
}

/// The same answer; where memory fails before there is a row of it, another in its place.
pub(crate) fn or_else(first: SendableRecordBatchStream, other: Other) -> SendableRecordBatchStream {
    let schema = first.schema();
    let batches = futures::stream::unfold((first, Some(other)), |(stream, other)| next(stream, other));
    Box::pin(RecordBatchStreamAdapter::new(schema, batches))
}

fn is_for_memory(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ResourcesExhausted(_))
}

/// What comes next, and what is left then.
type Step = (Result<RecordBatch, DataFusionError>, (SendableRecordBatchStream, Option<Other>));

async fn next(mut stream: SendableRecordBatchStream, other: Option<Other>) -> Option<Step> {
    let batch = stream.next().await?;
    let other = other.filter(|_| batch.as_ref().is_err_and(is_for_memory));
    let Some(other) = other else { return Some((batch, (stream, None))) };
    let schema = stream.schema();
    // What it holds is needed now.
    drop((stream, batch));
    match other.begun().await {
        Ok((stream, first)) => first.map(|batch| (Ok(batch), (stream, None))),
        Err(error) => Some((Err(error), (Box::pin(EmptyRecordBatchStream::new(schema)), None))),
    }
}

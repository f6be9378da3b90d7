//! The plan of a query that several servers compute.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::execution::SessionState;
use datafusion::execution::TaskContext;
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::scalar_subquery::ScalarSubqueryExec;
use datafusion_distributed::{
    DesiredTaskCountEvent, DesiredTaskCountEventResponse, DistributedExec, DistributedExt as _, DistributedLeafExec,
    ScaleUpLeafNodeEvent, ScaleUpLeafNodeEventResponse, SessionStateBuilderExt as _,
};
use tracerag_index::Lake;

use super::channel::Channels;
use super::codec::ScanCodec;
use super::only_lake;
use super::scan::LakeScanExec;
use crate::multiplied;

/// In the extensions of a session whose stored tables are read in pieces that travel.
#[derive(Debug)]
pub(crate) struct InPieces;

/// A plan over several servers, and what it is run with.
pub(super) struct Spread {
    pub(super) plan: Arc<dyn ExecutionPlan>,
    pub(super) context: Arc<TaskContext>,
}

/// Plans an optimized query over several servers. `None`: nothing of it can be computed by others, or it holds what does
/// not travel: what is computed here, as incidents and calls of our functions are, or what lies in this server's memory.
///
/// # Errors
/// When the query cannot be planned.
pub(super) async fn spread(
    lake: &Lake,
    channels: &Channels,
    state: &SessionState,
    query: &LogicalPlan,
) -> Result<Option<Spread>> {
    // Where all is planned for one thread nothing changes hands, and so nothing could be divided.
    let threads = state.config().target_partitions().max(2);
    let config = state.config().clone().with_extension(Arc::new(InPieces)).with_target_partitions(threads);
    let pieces = SessionStateBuilder::new_from_existing(state.clone()).with_config(config).build();
    let whole = pieces.query_planner().create_physical_plan(query, &pieces).await?;
    if !travels(&whole)? {
        return Ok(None);
    }
    // Tables are planned within the query, so only the whole may be divided: the planner that does it is handed the plan.
    let spread = SessionStateBuilder::new_from_existing(pieces)
        .with_query_planner(Arc::new(Planned(whole)))
        .with_distributed_planner()
        .with_distributed_worker_resolver(channels.clone())
        .with_distributed_channel_resolver(channels.clone())
        .with_distributed_user_codec(ScanCodec::new(lake.clone()))
        .with_distributed_desired_task_count_handler(servers_wanted)
        .with_distributed_scale_up_leaf_node_handler(dealt_out)
        .build();
    let plan = spread.query_planner().create_physical_plan(query, &spread).await?;
    Ok(has(&plan, |node| node.is::<DistributedExec>())?.then(|| Spread { plan, context: spread.task_ctx() }))
}

/// As many servers as there are pieces; there are never more tasks than peers. What stands above a scan that is not
/// divided may count on getting all of it.
fn servers_wanted(event: DesiredTaskCountEvent<'_>) -> Option<Result<DesiredTaskCountEventResponse>> {
    let scan = event.plan.downcast_ref::<LakeScanExec>()?;
    Some(Ok(match scan.partitions() {
        1 => DesiredTaskCountEventResponse::maximum(1),
        _ => DesiredTaskCountEventResponse::desired(scan.pieces().len()),
    }))
}

/// A scan of which each task reads its share.
fn dealt_out(event: ScaleUpLeafNodeEvent<'_>) -> Option<Result<ScaleUpLeafNodeEventResponse>> {
    let scan = event.plan.downcast_ref::<LakeScanExec>()?;
    if event.task_count < 2 {
        return None;
    }
    let leaf = DistributedLeafExec::try_new(Arc::clone(event.plan), scan.shares(event.task_count));
    Some(leaf.map(|leaf| ScaleUpLeafNodeEventResponse::new(Arc::new(leaf))))
}

/// Whether all of a plan can be sent to others and computed there.
fn travels(plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    let stays = |node: &Arc<dyn ExecutionPlan>| match node.children().is_empty() {
        true => !only_lake::reads_nothing_else(node),
        // The value of a subquery is shared in memory with whoever asks for it. Of what multiplies rows all would cross the
        // network.
        false => node.is::<ScalarSubqueryExec>() || multiplied::multiplies(node),
    };
    Ok(!has(plan, stays)?)
}

/// Whether a plan has a node that is so.
fn has(plan: &Arc<dyn ExecutionPlan>, is_so: impl Fn(&Arc<dyn ExecutionPlan>) -> bool) -> Result<bool> {
    let mut found = false;
    plan.apply(|node| {
        found = is_so(node);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// Gives out a plan that was made before.
struct Planned(Arc<dyn ExecutionPlan>);

impl fmt::Debug for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Planned")
    }
}

#[async_trait]
impl QueryPlanner for Planned {
    async fn create_physical_plan(&self, _: &LogicalPlan, _: &SessionState) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::clone(&self.0))
    }
}

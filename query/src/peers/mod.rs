//! A large query over several servers of one lake.
//!
//! - **In:** a query of a session, once it is optimized, on a server that knows its [`Peers`].
//! - **Out:** the same answer as that server would give alone, computed by all of them; or nothing, where that is not worth
//!   it or not possible, and the server computes it as ever.
//!
//! What a query reads is weighed by the head ([`weight`]); from `serve.peers_from_rows` on, its tables are planned in
//! pieces that travel ([`scan`], [`codec`]), and `datafusion-distributed` cuts the plan where rows change hands and sends
//! the parts to the peers ([`plan`], [`channel`]). These are told what to read by names and versions within the lake, and
//! read it from their own ([`worker`]), and nothing else ([`only_lake`]). A peer is known by a token that only who can read the lake's files can make
//! ([`token`]). When one fails before the first row was given out, the server that was asked computes all of it alone
//! ([`answer`]).

mod answer;
mod channel;
mod codec;
mod only_lake;
mod plan;
mod scan;
mod token;
mod weight;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::common::display::{PlanType, StringifiedPlan};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::explain::ExplainExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion_distributed::{NetworkBoundaryExt as _, display_plan_ascii};
use tracerag_index::Lake;

use channel::Channels;
pub use channel::PeersError;
pub(crate) use plan::InPieces;
use plan::Spread;
pub(crate) use scan::LakeScanExec;
pub(crate) use token::Key;
pub(crate) use worker::{WorkLimits, service};

use crate::multiplied;

/// Who else answers for the lake, and what is given to them.
#[derive(Debug, Clone)]
pub struct PeersOptions {
    /// Addresses of the servers that compute parts of large queries, as `https://serve-1.example.com:8082`; this server's
    /// own may be among them, and the list is the same at all of them.
    pub urls: Vec<String>,
    /// Certificates in PEM of which one has signed those of the peers; for https addresses.
    pub certificates: Option<PathBuf>,
    /// Rows from which on a query is computed by several servers.
    pub from_rows: u64,
}

/// The servers that a session's large queries are spread over. A server makes one for all its sessions.
#[derive(Debug)]
pub struct Peers {
    lake: Lake,
    channels: Channels,
    from_rows: u64,
}

impl Peers {
    /// Peers of a server of a lake. It has to be called within a runtime, which the connections live on.
    ///
    /// # Errors
    /// See [`PeersError`].
    pub(crate) fn new(lake: Lake, options: &PeersOptions, key: &Key) -> Result<Self, PeersError> {
        let channels = Channels::new(&options.urls, options.certificates.as_deref(), key)?;
        Ok(Self { lake, channels, from_rows: options.from_rows })
    }

    /// The answer to an optimized query as several servers compute it, or that of `alone` where one of them fails. Joins
    /// here are guarded by the bytes that the query may hold. `None`: it is not worth it, or not possible.
    pub(crate) async fn answer(
        &self,
        state: &SessionState,
        query: &LogicalPlan,
        memory_limit: usize,
        alone: impl Future<Output = Result<SendableRecordBatchStream, DataFusionError>> + Send + 'static,
    ) -> Option<SendableRecordBatchStream> {
        if let LogicalPlan::Explain(explain) = query {
            let spread = self.spread(state, &explain.plan).await?;
            return self.explained(state, query, &spread).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "a plan for several servers cannot be shown");
                None
            });
        }
        let Spread { plan, context } = self.spread(state, query).await?;
        // Peers guard the parts that they are sent.
        let guarded = multiplied::guarded_until(plan, memory_limit, |node| node.is_network_boundary());
        let rows = match guarded.and_then(|plan| execute_stream(plan, context)) {
            Ok(rows) => rows,
            Err(error) => {
                tracing::warn!(%error, "a query could not be begun on several servers and is computed here");
                return None;
            }
        };
        metrics::counter!("tracerag_query_spread_total", "outcome" => "spread").increment(1);
        Some(answer::or_alone(rows, alone))
    }

    /// The plan over several servers, if there is one that is worth it.
    async fn spread(&self, state: &SessionState, query: &LogicalPlan) -> Option<Spread> {
        let is_worth_it = weight::rows(query).is_ok_and(|rows| rows >= self.from_rows);
        if !is_worth_it || self.channels.ready().len() < 2 {
            return None;
        }
        plan::spread(&self.lake, &self.channels, state, query).await.unwrap_or_else(|error| {
            // An error of the query itself is told when it is planned for one server.
            tracing::debug!(%error, "a query was not planned for several servers");
            None
        })
    }

    /// What `EXPLAIN` shows, with the plan over several servers in place of that for one.
    async fn explained(
        &self,
        state: &SessionState,
        query: &LogicalPlan,
        spread: &Spread,
    ) -> Result<Option<SendableRecordBatchStream>, DataFusionError> {
        let alone = state.query_planner().create_physical_plan(query, state).await?;
        let Some(explain) = alone.downcast_ref::<ExplainExec>() else { return Ok(None) };
        let shown = explain.stringified_plans().iter().map(|shown| match shown.plan_type {
            PlanType::FinalPhysicalPlan => {
                StringifiedPlan::new(PlanType::FinalPhysicalPlan, display_plan_ascii(spread.plan.as_ref(), false))
            }
            _ => shown.clone(),
        });
        let explain: Arc<dyn ExecutionPlan> =
            Arc::new(ExplainExec::new(explain.schema(), shown.collect(), explain.verbose()));
        execute_stream(explain, state.task_ctx()).map(Some)
    }
}

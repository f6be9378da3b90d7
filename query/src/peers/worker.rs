//! What a server does for others: it takes the parts of plans that they send, reads their leaves from its own lake, and
//! gives the rows back.
//!
//! Who asks is another server of the lake, or nobody: the token is looked at before a byte of a request is. A part reads the
//! lake and nothing else ([`only_lake`](super::only_lake)), whoever made its token. Each part runs
//! within the memory that this server has for such work and within its own time limit, with the functions of its own
//! sessions, and ends when who asked reads no further.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{FunctionRegistry as _, SessionState};
use datafusion_distributed::{
    DistributedExt as _, Worker, WorkerPlanRewriteEvent, WorkerPlanRewriteEventResponse, WorkerQueryContext,
    WorkerSessionBuilder,
};
use tokio::time::Instant;
use tonic::Status;
use tonic::service::Routes;

use super::Peers;
use super::codec::ScanCodec;
use super::only_lake::{self, NoStores};
use super::scan::Deadline;
use super::token::Key;
use crate::functions::{bounded, scalars};
use crate::multiplied;
use crate::session::runtime;
use crate::spilling;

/// What work for others may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WorkLimits {
    /// Bytes that all of it may hold at once.
    pub memory: usize,
    /// Bytes that a query may hold, by which the values that functions make are bounded.
    pub query_memory: usize,
    /// How long a part of a query may take.
    pub time: Duration,
}

impl WorkLimits {
    /// The memory, and temporary files for what it can spill; there are no other files.
    ///
    /// # Errors
    /// When they cannot be set up.
    pub(crate) fn runtime(&self) -> crate::Result<Arc<RuntimeEnv>> {
        Ok(RuntimeEnvBuilder::from_runtime_env(runtime(self.memory)?.as_ref())
            .with_object_store_registry(Arc::new(NoStores))
            .build_arc()?)
    }
}

/// The service by which others have a part of their queries computed, with the runtime of its limits.
pub(crate) fn service(peers: Arc<Peers>, key: Key, limits: WorkLimits, runtime: Arc<RuntimeEnv>) -> Router {
    let worker = Worker::from_session_builder(Sessions { peers, limits }).with_runtime_env(runtime);
    let routes = Routes::new(worker.into_worker_server()).into_axum_router();
    routes.layer(from_fn(move |request: Request, next: Next| admitted(key.clone(), request, next)))
}

/// The answer to a request of another server of the lake.
async fn admitted(key: Key, request: Request, next: Next) -> Response {
    if key.admits(request.headers()) {
        return next.run(request).await;
    }
    metrics::counter!("tracerag_query_peer_refusals_total").increment(1);
    tracing::warn!(
        "a request to serve.exchange was refused: it is of no server of this lake, or of one whose clock is wrong"
    );
    Status::unauthenticated("only servers of this lake are answered here, and only with clocks that agree").into_http()
}

/// Makes the session of each part.
#[derive(Clone)]
struct Sessions {
    peers: Arc<Peers>,
    limits: WorkLimits,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("limits", &self.limits).finish_non_exhaustive()
    }
}

#[async_trait]
impl WorkerSessionBuilder for Sessions {
    async fn build_session_state(&self, context: WorkerQueryContext) -> Result<SessionState> {
        metrics::counter!("tracerag_query_peer_tasks_total").increment(1);
        let WorkLimits { query_memory, time, .. } = self.limits;
        let mut builder = context.builder;
        let config = builder.config().get_or_insert_default();
        config.options_mut().execution.time_zone = Some("UTC".to_owned());
        config.options_mut().execution.max_spill_file_size_bytes = spilling::FILE;
        config.set_extension(Arc::new(Deadline { at: Instant::now() + time, seconds: time.as_secs() }));
        config.set_distributed_user_codec(ScanCodec::new(self.peers.lake.clone()));
        config.set_distributed_channel_resolver(self.peers.channels.clone());
        config.set_distributed_worker_plan_rewrite_handler(move |event: WorkerPlanRewriteEvent<'_>| {
            only_lake::check(&event.plan)?;
            let plan = multiplied::guarded_unseen(event.plan, query_memory)?;
            Ok::<_, DataFusionError>(WorkerPlanRewriteEventResponse::new(plan))
        });
        let mut state = builder.build();
        let bounded = bounded::functions(&state, query_memory);
        for scalar in scalars::all().into_iter().chain(bounded) {
            state.register_udf(Arc::new(scalar))?;
        }
        Ok(state)
    }
}

//! One session: one tenant, one head of the lake, read only.

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::common::ParamValues;
use datafusion::error::DataFusionError;
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::stream::{RecordBatchReceiverStream, RecordBatchStreamAdapter};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;
use futures::{StreamExt, TryStreamExt};
use tokio::time::{Instant, timeout_at};
use tracerag_index::failures::InAppRules;
use tracerag_index::incidents::Embedding;
use tracerag_index::{Head, Lake, Pinned};

use crate::bounds;
use crate::bundle::Bundler;
use crate::catalog::{CATALOG, LakeSchema, SCHEMA, Sees, catalogs};
use crate::compare::{self, Comparisons};
use crate::computing::{self, Held, caught};
use crate::error::{QueryError, Result};
use crate::functions::bounded::{self, BoundFunctions, LongConstants, planning};
use crate::functions::{FunctionPlanner, FunctionRelations, scalars};
use crate::levels;
use crate::links::LinkCache;
use crate::measure;
use crate::multiplied::{self, Widest};
use crate::peers::Peers;
use crate::search::{SearchCache, SimilarIncident, SimilarRequest};
use crate::snapshot::Snapshot;
use crate::spilling::{self, Other, SPILLED, Way};
use crate::statement;

/// Batches computed before the reader asks for them.
const BATCHES_AHEAD: usize = 2;
/// Values of a query's parameters: none, `$1`, `$2` .. by position, or `$name` by name.
pub type Parameters = ParamValues;

/// What a session may do.
#[derive(Clone)]
pub struct SessionOptions {
    /// The tenant whose rows are seen; no others ever are.
    pub tenant: String,
    /// Bytes that a query may hold at once.
    pub memory_limit: usize,
    /// Time that a query may take, from planning to its last row.
    pub time_limit: Duration,
    /// Time after a trace's close until which rows are evidence of it; as in `[window].seal_after`.
    pub seal_after: Duration,
    /// Time without a span after which a trace is closed, if it is known; as in `[window].idle_gap`. Who asks for
    /// an open trace is told to wait that long, else 10 s.
    pub idle_gap: Option<Duration>,
    /// Which frames of a stack that is asked with belong to the application; as in `[failures].in_app` and `not_in_app`,
    /// by which the stacks of stored failures were read.
    pub in_app: Arc<InAppRules>,
    /// Whether `dead_letters` shows keys, headers and values, which are not redacted.
    pub unredacted: bool,
    /// Whether heap summaries are seen. Without them there are no tables `heaps`, `bundles` and `bundle_events`, and
    /// what assembles bundles leaves the summaries out.
    pub heaps: bool,
    /// Whether `audit` is seen.
    pub audit: bool,
    /// Whether `EXPLAIN` shows how a statement is run, and `EXPLAIN ANALYZE` works: both name files and count rows of
    /// all tenants.
    pub plans: bool,
    /// What is kept of links from one session to the next; clones share it.
    pub links: LinkCache,
    /// What is kept of searches from one session to the next; clones share it.
    pub searches: SearchCache,
    /// How long a bundle that is handed out waits, once it is there, for what tells its trace from good ones; without
    /// it nobody looks.
    pub compares_within: Option<Duration>,
    /// What is kept of those comparisons from one session to the next; clones share it.
    pub comparisons: Comparisons,
    /// The sentence model that similar incidents are looked for with; without one, words alone.
    pub embedding: Option<Arc<Embedding>>,
    /// Other servers of the lake, which compute parts of large queries; without them all is computed here.
    pub peers: Option<Arc<Peers>>,
}

impl SessionOptions {
    /// A tenant with the default limits: 1 GiB, 60 s, sealed after 10 minutes.
    pub fn new(tenant: impl Into<String>) -> Self {
        Self {
            tenant: tenant.into(),
            memory_limit: 1 << 30,
            time_limit: Duration::from_secs(60),
            seal_after: Duration::from_secs(600),
            idle_gap: None,
            in_app: Arc::default(),
            unredacted: false,
            heaps: true,
            audit: true,
            plans: true,
            links: LinkCache::default(),
            searches: SearchCache::default(),
            compares_within: None,
            comparisons: Comparisons::default(),
            embedding: None,
            peers: None,
        }
    }
}

impl std::fmt::Debug for SessionOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionOptions")
            .field("tenant", &self.tenant)
            .field("memory_limit", &self.memory_limit)
            .field("time_limit", &self.time_limit)
            .finish_non_exhaustive()
    }
}

/// A DataFusion session over one head. It is cheap to open, and stays on its head.
pub struct Session {
    context: SessionContext,
    bundler: Bundler,
    memory_limit: usize,
    time_limit: Duration,
    shows_plans: bool,
    peers: Option<Arc<Peers>>,
    held: Option<Held>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("snapshot", self.snapshot()).finish_non_exhaustive()
    }
}

impl Session {
    /// A session on the newest head.
    ///
    /// # Errors
    /// When `heads` cannot be read.
    pub async fn open(lake: &Lake, options: SessionOptions) -> Result<Self> {
        let head = lake.newest_head().await?;
        Self::at(lake, Arc::new(head), options)
    }

    /// A session on a snapshot that was made by name.
    ///
    /// # Errors
    /// When the limits cannot be set up.
    pub fn on(lake: &Lake, pinned: Pinned, options: SessionOptions) -> Result<Self> {
        let head = Arc::new(pinned.head.clone());
        let snapshot = Snapshot::new(lake.clone(), head, &options.tenant).with_pinned(Arc::new(pinned));
        Self::of(snapshot, options)
    }

    /// A session on a given head.
    ///
    /// # Errors
    /// When the limits cannot be set up.
    pub fn at(lake: &Lake, head: Arc<Head>, options: SessionOptions) -> Result<Self> {
        let snapshot = Snapshot::new(lake.clone(), head, &options.tenant);
        Self::of(snapshot, options)
    }

    fn of(snapshot: Snapshot, options: SessionOptions) -> Result<Self> {
        let mut snapshot = snapshot.with_in_app(options.in_app);
        if let Some(idle_gap) = options.idle_gap {
            snapshot = snapshot.with_idle_gap(idle_gap);
        }
        let bundler = Bundler::new(
            snapshot.clone(),
            options.seal_after,
            options.links,
            options.searches,
            options.embedding.clone(),
            options.heaps,
        )
        .comparing_within(options.compares_within, options.comparisons);
        let mut config = SessionConfig::new()
            .with_default_catalog_and_schema(CATALOG, SCHEMA)
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(true);
        config.options_mut().execution.time_zone = Some("UTC".to_owned());
        config.options_mut().explain.logical_plan_only = !options.plans;
        let execution = &mut config.options_mut().execution;
        execution.sort_spill_reservation_bytes = spilling::kept_for_merging(
            options.memory_limit,
            execution.target_partitions,
            execution.sort_spill_reservation_bytes,
        );
        execution.max_spill_file_size_bytes = spilling::FILE;
        let runtime = runtime(options.memory_limit)?;
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_default_features()
            // Functions of lambdas write the columns that a lambda names out for each item of a list, which nothing bounds.
            .with_higher_order_functions(vec![])
            .with_analyzer_rule(Arc::new(BoundFunctions::new(options.memory_limit)))
            .with_optimizer_rules(levels::optimizer_rules())
            .with_optimizer_rule(Arc::new(LongConstants::new(options.memory_limit)))
            .with_relation_planners(vec![Arc::new(FunctionRelations)])
            .with_query_planner(Arc::new(Planner { bundler: bundler.clone() }))
            .build();
        let context = SessionContext::new_with_state(state);
        for scalar in scalars::all() {
            context.register_udf(scalar);
        }
        for function in bounded::functions(&context.state(), options.memory_limit) {
            context.register_udf(function);
        }
        let sees = Sees { unredacted: options.unredacted, heaps: options.heaps, audit: options.audit };
        let schema = LakeSchema::new(&snapshot, sees, options.embedding, &context.state())?;
        context.register_catalog_list(catalogs(Arc::new(schema))?);
        Ok(Self {
            context,
            bundler,
            memory_limit: options.memory_limit,
            time_limit: options.time_limit,
            shows_plans: options.plans,
            peers: options.peers,
            held: None,
        })
    }

    /// The same session for one query among several: with memory of its own, and with what is planned already.
    ///
    /// # Errors
    /// When the limits cannot be set up.
    pub fn for_query(&self) -> Result<Self> {
        let state = SessionStateBuilder::new_from_existing(self.context.state())
            .with_runtime_env(runtime(self.memory_limit)?)
            .build();
        Ok(Self {
            context: SessionContext::new_with_state(state),
            bundler: self.bundler.clone(),
            memory_limit: self.memory_limit,
            time_limit: self.time_limit,
            shows_plans: self.shows_plans,
            peers: self.peers.clone(),
            held: self.held.clone(),
        })
    }

    /// The same session, which holds something as long as it is there or a query of it computes: also beyond the query's
    /// time limit, and after nobody waits for its answer any more, for no thread is stopped within a step. Operators that
    /// compute in tasks of their own (a repartition has one for each input) leave these behind then, each within the step
    /// that it is in: all hold it too, and the last one lets it go.
    pub fn holding<T: Any + Send + Sync>(self, held: Arc<T>) -> Self {
        Self { held: Some(held), ..self }
    }

    /// The same session to be kept, without what it holds.
    pub(crate) fn released(self) -> Self {
        Self { held: None, ..self }
    }

    /// The same session with another state, for a protocol that brings functions and schemas of its own.
    pub(crate) fn with_state(self, state: SessionState) -> Self {
        Self { context: SessionContext::new_with_state(state), ..self }
    }

    /// The head that the session reads, for its tenant.
    pub fn snapshot(&self) -> &Snapshot {
        self.bundler.snapshot()
    }

    /// How long a query may take.
    pub(crate) fn time_limit(&self) -> Duration {
        self.time_limit
    }

    /// Bytes that a query may hold.
    pub(crate) fn memory_limit(&self) -> usize {
        self.memory_limit
    }

    /// Assembles bundles of this session's head.
    pub fn bundler(&self) -> &Bundler {
        &self.bundler
    }

    /// The DataFusion context, for servers that speak a protocol of their own. Statements that come
    /// through it are not checked: hand them to [`Session::plan`].
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// Plans a statement without running it.
    ///
    /// # Errors
    /// [`QueryError::ReadOnly`] for whatever is not a question, [`QueryError::Sql`] for what is wrong,
    /// [`QueryError::TooLarge`] for what could not be planned in sensible time and memory.
    pub async fn plan(&self, query: &str) -> Result<LogicalPlan> {
        let state = self.context.state();
        let dialect = state.config().options().sql_parser.dialect;
        bounds::check_text(query)?;
        self.plan_parsed(state.sql_to_statement(query, &dialect)?).await
    }

    /// Plans a statement that was parsed already, of a text that [`bounds::check_text_in`] let through.
    ///
    /// # Errors
    /// As [`Session::plan`].
    pub(crate) async fn plan_parsed(&self, parsed: Statement) -> Result<LogicalPlan> {
        statement::refuse_changes(&parsed)?;
        bounds::check_relations(&parsed)?;
        let state = self.context.state();
        let plan = caught(planning(self.memory_limit, state.statement_to_plan(parsed))).await?;
        statement::verify(&plan)?;
        if !self.shows_plans {
            statement::refuse_plans(&plan)?;
        }
        Ok(plan)
    }

    /// Runs a statement. The answer comes as it is computed, and ends with an error when the session's
    /// time or memory is used up.
    ///
    /// # Errors
    /// As [`Session::plan`], and when parameters are missing.
    pub async fn sql(&self, query: &str, parameters: Option<Parameters>) -> Result<SendableRecordBatchStream> {
        let begun = Instant::now();
        let deadline = begun + self.time_limit;
        let stream = async {
            let plan = bind(self.plan(query).await?, parameters)?;
            self.start(&plan).await
        };
        let stream = timeout_at(deadline, stream).await.unwrap_or_else(|_| Err(self.too_slow()));
        let stream = stream.inspect_err(measure::refused)?;
        Ok(measure::measured(self.limited(stream, deadline), begun))
    }

    /// Runs a plan of [`Session::plan`].
    ///
    /// # Errors
    /// As [`Session::sql`].
    pub async fn execute(
        &self,
        plan: LogicalPlan,
        parameters: Option<Parameters>,
    ) -> Result<SendableRecordBatchStream> {
        let begun = Instant::now();
        let deadline = begun + self.time_limit;
        statement::verify(&plan)?;
        let plan = bind(plan, parameters)?;
        let stream = timeout_at(deadline, self.start(&plan)).await.unwrap_or_else(|_| Err(self.too_slow()));
        let stream = stream.inspect_err(measure::refused)?;
        Ok(measure::measured(self.limited(stream, deadline), begun))
    }

    /// Runs a statement and gathers its answer.
    ///
    /// # Errors
    /// As [`Session::sql`].
    pub async fn collect(&self, query: &str, parameters: Option<Parameters>) -> Result<Vec<RecordBatch>> {
        Ok(self.sql(query, parameters).await?.try_collect().await?)
    }

    /// Incidents of the tenant that are like a text or a trace, most alike first.
    ///
    /// # Errors
    /// As [`crate::search::similar`].
    pub async fn similar(&self, request: &SimilarRequest) -> Result<Vec<SimilarIncident>> {
        self.bundler.similar(request).await
    }

    /// What differs between failing traces and comparable good ones of the tenant.
    ///
    /// # Errors
    /// [`QueryError::TraceUnknown`] and the others that say why there is no such trace, [`QueryError::IncidentUnknown`],
    /// [`QueryError::Argument`] for a trace that did not fail, and when the lake cannot be read.
    pub async fn compare(&self, request: &compare::Request) -> Result<compare::Report> {
        self.bundler.compare(request).await
    }

    /// What differs between two sets of traces of the tenant: what is over-represented among `these`, as if they were
    /// the failing ones. No time of failure is known, so also what came of a failure counts.
    ///
    /// # Errors
    /// When the lake cannot be read. Traces that are not there are left out; too few are no error, and said.
    pub async fn compare_sets(&self, these: &[&str], others: &[&str]) -> Result<compare::Report> {
        self.bundler.compare_sets(these, others).await
    }

    /// Some operators start their tasks here, before anything is asked of them.
    async fn start(&self, plan: &LogicalPlan) -> Result<SendableRecordBatchStream> {
        computing::holding(self.held.clone(), caught(self.started(plan))).await
    }

    async fn started(&self, plan: &LogicalPlan) -> Result<SendableRecordBatchStream> {
        let (state, memory_limit) = (self.context.state(), self.memory_limit);
        let optimized = planning(memory_limit, async { state.optimize(plan) }).await?;
        if let Some(peers) = &self.peers {
            let alone = alone(state.clone(), plan.clone(), optimized.clone(), memory_limit);
            let answer = planning(memory_limit, peers.answer(&state, &optimized, memory_limit, alone)).await;
            if let Some(answer) = answer {
                return Ok(answer);
            }
        }
        Ok(alone(state, plan.clone(), optimized, memory_limit).await?)
    }

    /// The answer is computed by a task of its own, which ends with the stream: an operator that computes for
    /// long without giving way would otherwise keep the clock from being looked at.
    fn limited(&self, mut computed: SendableRecordBatchStream, deadline: Instant) -> SendableRecordBatchStream {
        let schema = computed.schema();
        let mut answer = RecordBatchReceiverStream::builder(Arc::clone(&schema), BATCHES_AHEAD);
        let batches = answer.tx();
        let (seconds, bytes) = (self.time_limit.as_secs(), self.memory_limit);
        let held = self.held.clone();
        answer.spawn(async move {
            let all = async move {
                while let Some(batch) = computed.next().await {
                    if batches.send(batch).await.is_err() {
                        break;
                    }
                }
                Ok::<_, DataFusionError>(())
            };
            // A reader that reads no further looks at no clock, and shall not keep what the query holds.
            let all = timeout_at(deadline, computing::holding(held, caught(all))).await;
            all.unwrap_or_else(|_| Err(DataFusionError::from(QueryError::TimeLimit { seconds })))
        });
        let stream = answer.build();
        let limited = futures::stream::unfold(Some(stream), move |stream| async move {
            let mut stream = stream?;
            match timeout_at(deadline, stream.next()).await {
                Ok(Some(Ok(batch))) => Some((Ok(batch), Some(stream))),
                Ok(Some(Err(error))) => Some((Err(memory_error(error, bytes)), None)),
                Ok(None) => None,
                Err(_) => Some((Err(DataFusionError::from(QueryError::TimeLimit { seconds })), None)),
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, limited))
    }

    fn too_slow(&self) -> QueryError {
        QueryError::TimeLimit { seconds: self.time_limit.as_secs() }
    }
}

/// Runs a plan, of which the optimized form is there already, as one server does.
async fn alone(
    state: SessionState,
    plan: LogicalPlan,
    optimized: LogicalPlan,
    memory_limit: usize,
) -> Result<SendableRecordBatchStream, DataFusionError> {
    let planner = state.query_planner();
    let physical = planning(memory_limit, planner.create_physical_plan(&optimized, &state)).await?;
    let widest = Widest::default();
    let other =
        Way::of(&physical).map(|way| Other { way, state: state.clone(), plan, memory_limit, widest: widest.clone() });
    let physical = multiplied::guarded(physical, memory_limit, &widest)?;
    let stream = execute_stream(physical, state.task_ctx()).map_err(|error| memory_error(error, memory_limit))?;
    Ok(match other {
        Some(other) => spilling::or_else(stream, other),
        None => stream,
    })
}

/// Memory for one query, or for all work that is done for other servers, and temporary files for what it can spill.
pub(crate) fn runtime(memory_limit: usize) -> Result<Arc<RuntimeEnv>> {
    Ok(RuntimeEnvBuilder::new()
        .with_memory_limit(memory_limit, 1.0)
        .with_max_temp_directory_size((memory_limit as u64).saturating_mul(SPILLED))
        .build_arc()?)
}

fn memory_error(error: DataFusionError, bytes: usize) -> DataFusionError {
    let detail = match error.find_root() {
        // Its own words name settings that nobody has.
        DataFusionError::ResourcesExhausted(detail) if detail.contains("disk space") => {
            format!("and its temporary files more than {} bytes", (bytes as u64).saturating_mul(SPILLED))
        }
        DataFusionError::ResourcesExhausted(detail) => detail.lines().next().unwrap_or_default().to_owned(),
        _ => return error,
    };
    QueryError::MemoryLimit { bytes, detail }.into()
}

/// The plan with its parameters' values in their places.
///
/// # Errors
/// [`QueryError::Parameters`] for a parameter without a value, and a value without a parameter.
pub(crate) fn bind(plan: LogicalPlan, parameters: Option<Parameters>) -> Result<LogicalPlan> {
    let names = plan.get_parameter_names()?;
    // Clients choose how many there are: looked up one by one in a list, they would take for ever.
    let given: BTreeSet<String> = match &parameters {
        None => BTreeSet::new(),
        Some(ParamValues::List(values)) => (1..=values.len()).map(|number| format!("${number}")).collect(),
        Some(ParamValues::Map(values)) => values.keys().map(|name| format!("${name}")).collect(),
    };
    if let Some(missing) = names.iter().filter(|name| !given.contains(name.as_str())).min() {
        return Err(QueryError::Parameters(format!("parameter {missing} has no value")));
    }
    if let Some(unused) = given.iter().find(|name| !names.contains(name.as_str())) {
        return Err(QueryError::Parameters(format!("the query has no parameter {unused}")));
    }
    match parameters {
        Some(parameters) => Ok(plan.with_param_values(parameters)?),
        None => Ok(plan),
    }
}

/// DataFusion's planner with the table functions added.
struct Planner {
    bundler: Bundler,
}

impl std::fmt::Debug for Planner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Planner")
    }
}

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        state: &SessionState,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let functions = FunctionPlanner::new(self.bundler.clone());
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(functions)]);
        planner.create_physical_plan(plan, state).await
    }
}

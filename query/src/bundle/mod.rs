//! Evidence bundles: everything the lake knows of one trace, as one JSON document with an id.
//!
//! Assembly is a pure function of the rows at one head that were taken up to [`SessionOptions::seal_after`]
//! past the trace's close. Lists stand in a stated order that does not depend on how rows lie in the
//! lake, so whoever assembles a sealed revision, and when, gets the same bytes.
//!
//! [`SessionOptions::seal_after`]: crate::SessionOptions::seal_after

pub(crate) mod changes;
mod context;
mod failures;
mod footprint;
mod heaps;
mod logs;
pub mod markdown;
mod metrics;
mod origin;
mod payloads;
pub(crate) mod reading;
mod redaction;
mod skeleton;
mod spans;
mod store;
mod trace;
pub mod view;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arrow::record_batch::RecordBatch;
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, col};
use futures::FutureExt;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracerag_index::incidents::Embedding;
use tracerag_schemas::anchor::Anchors;
use tracerag_schemas::bundle::{Bundle, Context, Evidence, Omitted};
use tracerag_schemas::ids::parse_hex;
use tracerag_schemas::version::BUNDLE_SCHEMA;

use crate::Session;
use crate::compare::{self, Compared, Comparisons, Depth, Failing, Found};
use crate::error::{QueryError, Result};
use crate::links::{InboundLink, LinkCache};
use crate::lookup::ById;
use crate::search::{self, FailureText, SearchCache, SharedMerges, SimilarIncident, SimilarRequest};
use crate::snapshot::{Range, Snapshot, time_literal};
pub(crate) use footprint::Footprint;
pub(crate) use heaps::AROUND as HEAPS_AROUND;
use logs::LogRows;
use spans::SpanRows;
pub(crate) use store::refuse;
pub use store::{by_id, erase, pin, store};
use trace::TraceRow;
pub(crate) use trace::why_absent;

/// Assembles the bundle of a trace's newest revision, with similar incidents beside the evidence, and with what
/// differs from good traces where the session says how long to wait for it; without storing it.
///
/// # Errors
/// [`QueryError::TraceUnknown`] and the others that say why there is none; never an empty bundle.
pub async fn assemble(session: &Session, trace_id: &str) -> Result<Bundle> {
    session.bundler().assemble_in_context(trace_id).boxed().await
}

/// The stored bundle of an id (`sha256:...`), or the one of a trace, which is stored now. What differs from good traces
/// is told as it is now, for it is not stored.
///
/// # Errors
/// As [`assemble()`], [`store()`] and [`by_id`].
pub async fn hand_out(session: &Session, id: &str) -> Result<Bundle> {
    if !id.starts_with("sha256:") {
        return store(session, assemble(session, id).await?).await;
    }
    let mut bundle = by_id(session, id).await?;
    bundle.context.baseline = session.bundler().baseline_of(&bundle).boxed().await;
    Ok(bundle)
}

/// What was left out, by section.
type OmittedBy = BTreeMap<String, Omitted>;

/// Assembles bundles of one head.
#[derive(Clone)]
pub struct Bundler {
    snapshot: Snapshot,
    seal_after: i64,
    links: LinkCache,
    searches: SearchCache,
    embedding: Option<Arc<Embedding>>,
    shows_heaps: bool,
    compares_within: Option<Duration>,
    comparisons: Comparisons,
}

impl std::fmt::Debug for Bundler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bundler").field("snapshot", &self.snapshot).finish_non_exhaustive()
    }
}

impl Bundler {
    pub(crate) fn new(
        snapshot: Snapshot,
        seal_after: Duration,
        links: LinkCache,
        searches: SearchCache,
        embedding: Option<Arc<Embedding>>,
        shows_heaps: bool,
    ) -> Self {
        let seal_after = i64::try_from(seal_after.as_nanos()).unwrap_or(i64::MAX);
        let (compares_within, comparisons) = (None, Comparisons::default());
        Self { snapshot, seal_after, links, searches, embedding, shows_heaps, compares_within, comparisons }
    }

    /// The same with what differs from good traces, as [`crate::SessionOptions::compares_within`] says.
    pub(crate) fn comparing_within(self, compares_within: Option<Duration>, comparisons: Comparisons) -> Self {
        Self { compares_within, comparisons, ..self }
    }

    /// Whether who asks may see heap summaries; see [`view::without_heaps`].
    pub(crate) fn shows_heaps(&self) -> bool {
        self.shows_heaps
    }

    pub(crate) async fn similar(&self, request: &SimilarRequest) -> Result<Vec<SimilarIncident>> {
        search::similar_with(&self.snapshot, self.embedding.as_deref(), &self.searches, request).await
    }

    pub(crate) async fn compare(&self, request: &compare::Request) -> Result<compare::Report> {
        compare::compare(&self.snapshot, request, Depth::whole(self.shows_heaps)).boxed().await
    }

    pub(crate) async fn compare_sets(&self, these: &[&str], others: &[&str]) -> Result<compare::Report> {
        compare::compare_sets(&self.snapshot, these, others, Depth::whole(self.shows_heaps)).boxed().await
    }

    /// The head, for its tenant.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The bundle without similar incidents.
    ///
    /// # Errors
    /// See [`assemble`].
    pub async fn assemble(&self, trace: &str) -> Result<Bundle> {
        let id = trace_id(trace)?;
        let rows = self.read(&id, |_, _| ()).await?;
        self.build(rows).await
    }

    /// The bundle with similar incidents.
    ///
    /// # Errors
    /// See [`assemble`].
    pub(crate) async fn assemble_with_similar(&self, trace: &str) -> Result<Bundle> {
        self.assemble_beside(&trace_id(trace)?, &SharedMerges::kept_in(&self.searches), |_, _| ()).await
    }

    /// The bundle with similar incidents: they are looked for as soon as the failures are read, while everything else
    /// is read and put together. So is what else begins with the failures.
    async fn assemble_beside(
        &self,
        id: &str,
        merges: &SharedMerges,
        begin: impl FnOnce(&TraceRow, &[RecordBatch]),
    ) -> Result<Bundle> {
        let (tell, told) = oneshot::channel();
        let bundle = async {
            let rows = self
                .read(id, |trace, failures| {
                    begin(trace, failures);
                    drop(tell.send(failures::told(failures)));
                })
                .await?;
            self.build(rows).await
        };
        let similar = async {
            match told.await {
                Ok(Ok(told)) => context::similar_to(self, merges, id, told).await,
                // What went wrong is the bundle's error, too.
                Ok(Err(_)) | Err(_) => vec![],
            }
        };
        let (bundle, similar) = tokio::join!(bundle, similar);
        let mut bundle = bundle?;
        bundle.context.similar = similar;
        Ok(bundle)
    }

    /// The bundle with similar incidents, and with what differs from good traces as far as that is known in time: it is
    /// looked for beside everything else, and then waited for no longer than the session says.
    ///
    /// # Errors
    /// See [`assemble`].
    async fn assemble_in_context(&self, trace: &str) -> Result<Bundle> {
        let Some(within) = self.compares_within else { return self.assemble_with_similar(trace).await };
        let (id, merges) = (trace_id(trace)?, SharedMerges::kept_in(&self.searches));
        let mut comparison = None;
        let begin = |trace: &TraceRow, failures: &[RecordBatch]| comparison = self.begin(&merges, trace, failures);
        let mut bundle = self.assemble_beside(&id, &merges, begin).await?;
        if let Some(comparison) = comparison {
            bundle.context.baseline = context::baseline(&id, comparison, within).await;
        }
        Ok(bundle)
    }

    /// Begins the comparison of a trace that was read with good ones; `None` of one that did not fail.
    fn begin(
        &self,
        merges: &SharedMerges,
        trace: &TraceRow,
        failures: &[RecordBatch],
    ) -> Option<JoinHandle<Result<Compared>>> {
        // What cannot be read of the failures is the bundle's error, too.
        let fingerprint = compare::origin(failures).ok().flatten()?;
        let trace = Found { trace_id: trace.id.clone(), root: trace.root.clone(), start: trace.start };
        Some(self.comparisons.begin(&self.snapshot, merges, Failing::Read { trace, fingerprint }))
    }

    /// What differs from good traces now, for a bundle that was stored.
    async fn baseline_of(&self, bundle: &Bundle) -> Option<serde_json::Value> {
        let within = self.compares_within.filter(|_| !bundle.evidence.failures.is_empty())?;
        let id = &bundle.evidence.trace.trace_id;
        let failing = Failing::Id(id.clone());
        let comparison = self.comparisons.begin(&self.snapshot, &SharedMerges::kept_in(&self.searches), failing);
        context::baseline(id, comparison, within).await
    }

    /// Puts a bundle together on a thread that may be kept busy: a large one takes milliseconds.
    async fn build(&self, rows: Rows) -> Result<Bundle> {
        let (tenant, position) = (self.snapshot.tenant().to_owned(), self.snapshot.head().position);
        match SpawnedTask::spawn_blocking(move || rows.bundle(tenant, position)).join_unwind().await {
            Ok(bundle) => bundle,
            Err(error) => Err(DataFusionError::ExecutionJoin(Box::new(error)).into()),
        }
    }

    /// Looks for incidents like the failures of a trace.
    async fn similar_to(
        &self,
        merges: &SharedMerges,
        trace_id: &str,
        failures: Vec<FailureText>,
        k: usize,
    ) -> Result<Vec<SimilarIncident>> {
        let (model, asked) = (self.embedding.as_deref(), (trace_id, failures));
        search::similar_to(&self.snapshot, model, &self.searches, merges, asked, k).await
    }

    /// Reads whatever may be evidence of a trace. Its failures are told of as soon as they are there.
    async fn read(&self, id: &str, tell: impl FnOnce(&TraceRow, &[RecordBatch])) -> Result<Rows> {
        let snapshot = &self.snapshot;
        // What lies in one dataset for all days needs no time of the trace to be found.
        let (trace, payloads, mut heaps) = futures::try_join!(
            trace::newest(snapshot, id, self.seal_after),
            payloads::read(snapshot, id),
            heaps::by_ids(snapshot, id),
        )?;
        let failures = async {
            let failures = failures::read(snapshot, &trace).await?;
            tell(&trace, &failures);
            Ok(failures)
        };
        let (spans, logs, failures, heaps_by_time, metrics, links) = futures::try_join!(
            spans::read(snapshot, &trace),
            logs::read(snapshot, &trace),
            failures,
            heaps::by_time(snapshot, &trace),
            metrics::read(snapshot, &trace),
            self.links.leading_to(snapshot, id, trace.start),
        )?;
        heaps.extend(heaps_by_time);
        Ok(Rows { trace, spans, logs, failures, payloads, heaps, metrics, links })
    }
}

/// The rows that a bundle is made of.
struct Rows {
    trace: TraceRow,
    spans: SpanRows,
    logs: LogRows,
    failures: Vec<RecordBatch>,
    payloads: Vec<RecordBatch>,
    heaps: Vec<RecordBatch>,
    metrics: Vec<RecordBatch>,
    links: Vec<InboundLink>,
}

impl Rows {
    /// The bundle that the rows make, without similar incidents.
    fn bundle(self, tenant: String, position: u64) -> Result<Bundle> {
        let Self { trace, spans, logs, failures, payloads, heaps, metrics, links } = self;
        let mut omitted = OmittedBy::new();
        let mut anchors = Anchors::default();
        let builds = changes::builds(trace.builds.clone(), &mut anchors);
        let flags = changes::flags(trace.flags.clone(), &mut anchors);
        let assembled = spans::assemble(&spans, &trace, &builds, &mut anchors, &mut omitted)?;
        let footprint = &assembled.footprint;
        let (heaps, late_heaps) = heaps::assemble(&heaps, &trace, footprint, &mut omitted)?;
        let (linked, late_links) = spans::linked(&assembled.spans, links, &trace, &mut omitted);
        let failing: HashSet<&str> = assembled
            .spans
            .iter()
            .filter(|span| span.status.as_deref() == Some("ERROR"))
            .filter_map(|span| span.service.as_deref())
            .collect();
        let metrics = metrics::assemble(&metrics, &trace, footprint, &failing, &mut omitted)?;
        let mut document = trace.document.clone();
        document.service_graph = assembled.graph;
        let mut evidence = Evidence {
            schema: BUNDLE_SCHEMA.to_owned(),
            tenant,
            sealed: trace.sealed,
            trace: document,
            resources: assembled.resources,
            logs: logs::assemble(&logs, footprint, &mut omitted)?,
            failures: failures::assemble(&failures)?,
            metrics,
            payloads: payloads::assemble(&payloads, &trace, &mut anchors)?,
            heaps,
            builds,
            flags,
            linked,
            redaction: trace.redaction.clone(),
            spans: assembled.spans,
            omitted,
        };
        evidence.redaction.counts = redaction::counts(&evidence)?;
        let late = context::late(late_heaps, late_links)?;
        let context = Context { position, late, ..Context::default() };
        Ok(Bundle::new(evidence, context)?)
    }
}

/// The canonical form of a trace id: 32 lower-case hex digits.
pub(crate) fn trace_id(text: &str) -> Result<String> {
    match parse_hex::<16>(text.trim()) {
        Some(id) => Ok(hex::encode(id)),
        None => Err(QueryError::NotATraceId { text: text.to_owned() }),
    }
}

/// Rows of the trace that are evidence of its revision.
fn of_trace(trace: &TraceRow) -> ById<'_> {
    ById::one("trace_id", &trace.id).until(trace.limit).within(days(trace))
}

/// Rows that were taken before the revision was sealed.
fn in_time(trace: &TraceRow) -> Expr {
    col("ingested_at").lt_eq(time_literal(trace.limit))
}

/// Days that may hold evidence of the trace.
fn days(trace: &TraceRow) -> Vec<Range> {
    // The first rows were taken before a revision closed, by the length of a trace and the time that partitions
    // differ by, and not before it began, by the clock of whoever sent it. Either clock may be ahead of the
    // other, so the earlier one counts, and a day before it.
    let first = trace.start.min(trace.first_taken).saturating_sub(tracerag_schemas::time::DAY);
    vec![Range::new("ingested_at", first, trace.limit)]
}

/// The time by this machine's clock, in ns.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Notes that entries were left out.
fn omit(omitted: &mut OmittedBy, section: &str, count: usize, why: &str) {
    if count > 0 {
        omitted.insert(section.to_owned(), Omitted { omitted: count as u64, why: why.to_owned() });
    }
}

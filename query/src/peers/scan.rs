//! The leaf of a plan that several servers compute: pieces of a stored table, which whoever has the leaf reads from the
//! lake that it serves itself.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::{Result, internal_err};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, execute_stream,
};
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use tokio::time::{Instant, timeout_at};
use tracerag_index::Lake;

use crate::error::QueryError;
use crate::tables::pieces::{self, Piece, Wanted};

/// Until when work for another server may go on here; in the extensions of the session that does it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    pub(super) at: Instant,
    /// Of the limit, for who is told of it.
    pub(super) seconds: u64,
}

/// Reads pieces of a stored table, each at its version.
pub(crate) struct LakeScanExec {
    lake: Lake,
    wanted: Arc<Wanted>,
    pieces: Vec<Piece>,
    /// Pieces that are read at once, at most.
    partitions: usize,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl LakeScanExec {
    /// Reads pieces, so many at once at most. Partition `p` of `n` reads every `n`th piece from the `p`th on.
    pub(crate) fn new(lake: Lake, wanted: Wanted, pieces: Vec<Piece>, partitions: usize) -> Self {
        let most = pieces.len().clamp(1, partitions.max(1));
        Self::with_partitions(lake, Arc::new(wanted), pieces, most)
    }

    /// The same with exactly so many partitions, of which some may have nothing to read.
    pub(super) fn with_partitions(lake: Lake, wanted: Arc<Wanted>, pieces: Vec<Piece>, partitions: usize) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&wanted.schema)),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        let metrics = ExecutionPlanMetricsSet::new();
        Self { lake, wanted, pieces, partitions, properties: Arc::new(properties), metrics }
    }

    pub(super) fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    pub(super) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    pub(super) fn partitions(&self) -> usize {
        self.partitions
    }

    /// The pieces dealt out to so many servers, which read every one of them once. All shares have as many partitions.
    pub(super) fn shares(&self, servers: usize) -> Vec<Arc<dyn ExecutionPlan>> {
        let servers = servers.max(1);
        let partitions = self.pieces.len().div_ceil(servers).clamp(1, self.partitions.max(1));
        let share = |server: usize| {
            let pieces = self.pieces.iter().skip(server).step_by(servers).cloned().collect();
            let share = Self::with_partitions(self.lake.clone(), Arc::clone(&self.wanted), pieces, partitions);
            Arc::new(share) as Arc<dyn ExecutionPlan>
        };
        (0..servers).map(share).collect()
    }
}

impl fmt::Debug for LakeScanExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LakeScanExec")
            .field("wanted", &self.wanted)
            .field("pieces", &self.pieces)
            .finish_non_exhaustive()
    }
}

impl DisplayAs for LakeScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Wanted { table, schema, filters, limit } = &*self.wanted;
        let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let filters: Vec<String> = filters.iter().map(ToString::to_string).collect();
        write!(f, "LakeScanExec: table={}, fragments={}", table.name(), self.pieces.len())?;
        write!(f, ", columns=[{}], filters=[{}]", columns.join(", "), filters.join(", "))?;
        match limit {
            Some(limit) => write!(f, ", limit={limit}"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for LakeScanExec {
    fn name(&self) -> &str {
        "LakeScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        if !children.is_empty() {
            return internal_err!("a scan of the lake has no children");
        }
        Ok(self)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition >= self.partitions {
            return internal_err!("a scan of the lake has {} partitions, not {partition}", self.partitions);
        }
        let pieces: Vec<Piece> = self.pieces.iter().skip(partition).step_by(self.partitions).cloned().collect();
        let deadline = context.session_config().get_extension::<Deadline>();
        let rows = MetricBuilder::new(&self.metrics).output_rows(partition);
        let (lake, wanted) = (self.lake.clone(), Arc::clone(&self.wanted));
        let schema = Arc::clone(&self.wanted.schema);
        let named = Arc::clone(&schema);
        let batches = futures::stream::iter(pieces)
            .then(move |piece| {
                let (lake, wanted, context) = (lake.clone(), Arc::clone(&wanted), Arc::clone(&context));
                // Futures of reads are deep; boxed, those that wait for them are not.
                async move { execute_stream(pieces::plan(&lake, &wanted, &piece).await?, context) }.boxed()
            })
            .try_flatten()
            .map(move |batch| as_named(&batch?, &named))
            .inspect_ok(move |batch| rows.add(batch.num_rows()))
            .boxed();
        let batches = match deadline {
            Some(deadline) => until(*deadline, batches),
            None => batches,
        };
        Ok(make_cooperative(Box::pin(RecordBatchStreamAdapter::new(schema, batches))))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// The batch with the columns as they were announced, which a dataset may have written down otherwise: another server
/// takes them as it was told.
fn as_named(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), batch.columns().to_vec(), &options)?)
}

/// The batches that come in time; then the error that says that it is over.
fn until(
    deadline: Deadline,
    batches: BoxStream<'static, Result<RecordBatch>>,
) -> BoxStream<'static, Result<RecordBatch>> {
    let Deadline { at, seconds } = deadline;
    futures::stream::try_unfold(batches, move |mut batches| async move {
        match timeout_at(at, batches.next()).await {
            Ok(Some(batch)) => Ok(Some((batch?, batches))),
            Ok(None) => Ok(None),
            Err(_) => Err(DataFusionError::from(QueryError::TimeLimit { seconds })),
        }
    })
    .boxed()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};
    use tracerag_schemas::Table;

    use super::*;
    use crate::tests::lake::TestLake;

    fn pieces(count: usize) -> Vec<Piece> {
        let piece = |fragment| Piece { dataset: String::from("spans/2026-11-23"), version: 1, fragment };
        (0..count as u64).map(piece).collect()
    }

    /// However many pieces there are for however many servers: each is in exactly one share, all shares have as many
    /// partitions, and never more than the whole.
    #[tokio::test]
    async fn every_piece_is_in_one_share() {
        let lake = TestLake::empty().await;
        let schema = lake.lake.schemas().newest(Table::Spans);
        let wanted = Wanted { table: Table::Spans, schema, filters: vec![], limit: None };
        let check = |(count, servers, most): (usize, usize, usize)| {
            let whole = LakeScanExec::new(lake.lake.clone(), wanted.clone(), pieces(count), most);
            let shares = whole.shares(servers);
            let shares: Vec<&LakeScanExec> =
                shares.iter().map(|share| share.downcast_ref::<LakeScanExec>().unwrap()).collect();
            prop_assert_eq!(shares.len(), servers);
            let mut dealt: Vec<u64> =
                shares.iter().flat_map(|share| share.pieces().iter().map(|piece| piece.fragment)).collect();
            dealt.sort_unstable();
            prop_assert_eq!(dealt, (0..count as u64).collect::<Vec<_>>());
            prop_assert!(shares.iter().all(|share| share.partitions() == shares[0].partitions()));
            prop_assert!(shares[0].partitions() <= whole.partitions());
            Ok(())
        };
        TestRunner::new(Config::with_cases(256)).run(&(0_usize..40, 1_usize..9, 1_usize..9), check).unwrap();
    }

    /// What is read for another server ends with the time limit, also while nothing comes.
    #[tokio::test]
    async fn work_for_others_ends() {
        let deadline = Deadline { at: Instant::now(), seconds: 60 };
        let mut batches = until(deadline, futures::stream::pending().boxed());
        let error = batches.next().await.unwrap().unwrap_err();
        assert!(error.to_string().contains("60"), "{error}");
        assert!(batches.next().await.is_none());
    }
}

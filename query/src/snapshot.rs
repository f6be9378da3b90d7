//! One head of the lake as one tenant sees it. Every read of this crate goes through here, and the
//! tenant's wall is put up here: each scan carries the tenant's filter.

use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, col, lit};
use futures::future::try_join_all;
use futures::{FutureExt, TryStreamExt};
use lance::Dataset;
use lance::dataset::scanner::DatasetRecordBatchStream;
use tracerag_index::columns::{present, with_absent};
use tracerag_index::failures::InAppRules;
use tracerag_index::incidents::Embedding;
use tracerag_index::incidents::vectors::{self, Kind};
use tracerag_index::{DatasetHead, Head, Lake, Pinned};
use tracerag_schemas::Table;

use crate::error::{QueryError, Result};
use crate::lookup::{self, ById, Found, UpTo};
use crate::reads;

/// One head of the lake, for one tenant.
#[derive(Debug, Clone)]
pub struct Snapshot {
    lake: Lake,
    head: Arc<Head>,
    /// Where it is one that was made by name: what no head names is read as it was then.
    pinned: Option<Arc<Pinned>>,
    tenant: Arc<str>,
    wait_seconds: u64,
    in_app: Arc<InAppRules>,
}

/// Seconds after which an open trace is usually closed, where it is not said: the window's default idle gap.
const WAIT_SECONDS: u64 = 10;

/// What to read of a table.
#[derive(Debug, Default)]
pub(crate) struct Read<'a> {
    /// Columns; never empty. Those that a dataset of an older schema lacks are null.
    pub columns: &'a [&'a str],
    /// Rows, besides the tenant's: comparisons on plain columns only, which the oldest schema that is read has.
    pub filter: Option<Expr>,
    /// Ranges that rows must meet: datasets outside are not opened. Rows are not filtered by them.
    pub ranges: Vec<Range>,
}

/// A closed interval of a time column, in ns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    pub column: String,
    pub from: i64,
    pub to: i64,
}

impl Range {
    pub(crate) fn new(column: &str, from: i64, to: i64) -> Self {
        Self { column: column.to_owned(), from, to }
    }

    /// Whether a dataset may hold a row within the range. Without knowledge of a column, it may.
    pub(crate) fn may_meet(&self, dataset: &DatasetHead) -> bool {
        let known =
            if self.column == "ingested_at" { dataset.ingested_at } else { dataset.times.get(&self.column).copied() };
        known.is_none_or(|(least, greatest)| self.from <= greatest && self.to >= least)
    }
}

impl Snapshot {
    /// A head of a lake, for a tenant.
    pub fn new(lake: Lake, head: Arc<Head>, tenant: &str) -> Self {
        let (tenant, in_app) = (Arc::from(tenant), Arc::default());
        Self { lake, head, pinned: None, tenant, wait_seconds: WAIT_SECONDS, in_app }
    }

    /// The same, where traces close after an idle gap that is known; as in `[window].idle_gap`.
    #[must_use]
    pub fn with_idle_gap(mut self, idle_gap: Duration) -> Self {
        self.wait_seconds = idle_gap.as_secs().max(1);
        self
    }

    /// The same, where rules say which frames belong to the application; as in `[failures]`.
    #[must_use]
    pub fn with_in_app(mut self, in_app: Arc<InAppRules>) -> Self {
        self.in_app = in_app;
        self
    }

    /// The same, where the head is that of a snapshot that was made by name.
    #[must_use]
    pub(crate) fn with_pinned(mut self, pinned: Arc<Pinned>) -> Self {
        self.pinned = Some(pinned);
        self
    }

    /// The same with side tables at their newest. A bundle that was handed out is found there, whenever that was.
    pub(crate) fn with_newest_beside(&self) -> Self {
        Self { pinned: None, ..self.clone() }
    }

    /// Whether it is a snapshot that was made by name.
    pub(crate) fn is_pinned(&self) -> bool {
        self.pinned.is_some()
    }

    /// The table of vectors that a model has made of a kind of text; `None` before it has made any.
    pub(crate) async fn vectors(
        &self,
        embedding: &Embedding,
        kind: Kind,
    ) -> tracerag_index::Result<Option<Arc<Dataset>>> {
        match &self.pinned {
            Some(pinned) => vectors::open_pinned(&self.lake, embedding, pinned, kind).await,
            None => vectors::open(&self.lake, embedding, kind).await,
        }
    }

    /// A model with the form of messages whose vectors are searched: where a snapshot is read, the one that it holds.
    ///
    /// # Errors
    /// When the model is not available.
    pub(crate) async fn with_its_form(&self, embedding: &Embedding) -> tracerag_index::Result<Embedding> {
        match &self.pinned {
            Some(pinned) => vectors::as_pinned(embedding, pinned).await,
            None => Ok(embedding.clone()),
        }
    }

    /// Seconds after which a trace that is open now is worth asking for again.
    pub(crate) fn wait_seconds(&self) -> u64 {
        self.wait_seconds
    }

    /// Which frames of a stack that is asked with belong to the application.
    pub(crate) fn in_app(&self) -> &InAppRules {
        &self.in_app
    }

    /// The lake.
    pub fn lake(&self) -> &Lake {
        &self.lake
    }

    /// The head.
    pub fn head(&self) -> &Arc<Head> {
        &self.head
    }

    /// The tenant.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// `tenant_id = TENANT`, which every scan carries.
    pub(crate) fn wall(&self) -> Expr {
        col("tenant_id").eq(lit(self.tenant.as_ref()))
    }

    /// Names and heads of a table's datasets that have rows and may meet all ranges, oldest first.
    pub(crate) fn datasets(&self, table: Table, ranges: &[Range]) -> Vec<(String, DatasetHead)> {
        self.head
            .of(table)
            .filter(|(_, dataset)| dataset.rows > 0 && ranges.iter().all(|range| range.may_meet(dataset)))
            .map(|(name, dataset)| (name.to_owned(), dataset.clone()))
            .collect()
    }

    /// A table's datasets that have rows, opened: at the head's versions, side tables at their newest or at those of a
    /// snapshot that was made by name.
    pub(crate) async fn open(&self, table: Table, ranges: &[Range]) -> Result<Vec<Arc<Dataset>>> {
        Ok(self.open_named(table, ranges).await?.into_iter().map(|(_, dataset)| dataset).collect())
    }

    /// The same with their names.
    pub(crate) async fn open_named(&self, table: Table, ranges: &[Range]) -> Result<Vec<(String, Arc<Dataset>)>> {
        let mut opened = if table.is_side() {
            let held = self.pinned.as_ref().and_then(|pinned| pinned.beside.get(table.name()));
            let dataset = match held {
                Some(version) => self.lake.dataset(table.name(), *version).await?,
                None => self.lake.newest(table.name()).await?,
            };
            vec![(table.name().to_owned(), dataset)]
        } else {
            let datasets = self.datasets(table, ranges).into_iter();
            try_join_all(datasets.map(|(name, dataset)| async move {
                let opened = self.lake.dataset(&name, dataset.version).await?;
                Ok::<_, QueryError>((name, opened))
            }))
            .await?
        };
        // A plan of a scan costs a millisecond, though nothing is there to be scanned.
        opened.retain(|(_, dataset)| dataset.count_fragments() > 0);
        Ok(opened)
    }

    /// Rows of the tenant with one of some ids, dataset by dataset in the order of days; within one as they
    /// lie. Cheaper than [`Snapshot::read`]: only the ids' column is filtered by, so that its index answers,
    /// and the wide columns are read once, of the rows that are the tenant's.
    pub(crate) async fn read_id(&self, table: Table, columns: &[&str], by: ById<'_>) -> Result<Vec<RecordBatch>> {
        let datasets = self.open(table, &by.ranges).await?;
        lookup::read(table, self, datasets, columns, &by).await
    }

    /// The rows that [`Snapshot::read_id`] would read, where these are no more than `most`; of more it is only known
    /// which they are.
    pub(crate) async fn read_up_to(&self, table: Table, columns: &[&str], by: ById<'_>, most: usize) -> Result<UpTo> {
        let datasets = self.open(table, &by.ranges).await?;
        lookup::read_up_to(table, self, datasets, columns, &by, most).await
    }

    /// The rows that [`Snapshot::read_id`] would read, not read yet: for whoever has no room for all of them.
    pub(crate) async fn find(&self, table: Table, by: ById<'_>) -> Result<Vec<Found>> {
        let datasets = self.open(table, &by.ranges).await?;
        lookup::find(table, self, datasets, &by).await
    }

    /// Rows of the tenant that are chosen by what is read of them: for whoever reads the wide columns of few
    /// among many. The columns come with the choice and are not kept.
    pub(crate) async fn choose(
        &self,
        table: Table,
        read: Read<'_>,
        chosen: impl Fn(&RecordBatch) -> Result<Vec<bool>>,
    ) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        for (dataset, batches) in self.scan(table, read, true).await? {
            let mut of_dataset: Option<Found> = None;
            for batch in batches.into_iter().filter(|batch| batch.num_rows() > 0) {
                let chosen = chosen(&batch)?;
                let is_chosen = |row: usize| chosen.get(row).copied().unwrap_or_default();
                let more = Found::of_batch(table, Arc::clone(&dataset), &batch, is_chosen)?;
                of_dataset = Some(match of_dataset {
                    Some(known) => known.and(more),
                    None => more,
                });
            }
            found.extend(of_dataset);
        }
        Ok(found)
    }

    /// Columns of rows that were found: a batch for each that has rows, in their order.
    pub(crate) async fn take(&self, table: Table, columns: &[&str], found: &[Found]) -> Result<Vec<RecordBatch>> {
        lookup::take(table, columns, found).await
    }

    /// Reads rows of the tenant, dataset by dataset in the order of days; within one in no order.
    pub(crate) async fn read(&self, table: Table, read: Read<'_>) -> Result<Vec<RecordBatch>> {
        let datasets = self.scan(table, read, false).await?;
        Ok(datasets.into_iter().flat_map(|(_, batches)| batches).filter(|batch| batch.num_rows() > 0).collect())
    }

    /// Hands out rows of the tenant batch by batch, for whoever keeps little of many; within a dataset in no order.
    pub(crate) async fn each(
        &self,
        table: Table,
        read: Read<'_>,
        mut take: impl FnMut(&RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let filter = self.within_wall(read.filter);
        let schema = self.lake.schemas().newest(table);
        for dataset in self.open(table, &read.ranges).await? {
            let mut rows = stream(table, &dataset, filter.clone(), read.columns, false).await?;
            while let Some(batch) = rows.try_next().await.map_err(|source| failed(table, source))? {
                take(&with_absent(batch, &schema, read.columns)?)?;
            }
        }
        Ok(())
    }

    fn within_wall(&self, filter: Option<Expr>) -> Expr {
        match filter {
            Some(filter) => self.wall().and(filter),
            None => self.wall(),
        }
    }

    /// Rows of the tenant by dataset, with their row ids if asked for.
    async fn scan(
        &self,
        table: Table,
        read: Read<'_>,
        with_row_id: bool,
    ) -> Result<Vec<(Arc<Dataset>, Vec<RecordBatch>)>> {
        let filter = self.within_wall(read.filter);
        let datasets = self.open(table, &read.ranges).await?;
        let scans = datasets.into_iter().map(|dataset| {
            let filter = filter.clone();
            async move {
                let rows = stream(table, &dataset, filter, read.columns, with_row_id).await?;
                let batches: Vec<RecordBatch> = rows.try_collect().await.map_err(|source| failed(table, source))?;
                let schema = self.lake.schemas().newest(table);
                let batches = batches.into_iter().map(|batch| with_absent(batch, &schema, read.columns));
                let batches = batches.collect::<Result<Vec<_>, _>>()?;
                Ok::<_, QueryError>((dataset, batches))
            }
        });
        try_join_all(scans).await
    }
}

/// Those of the columns that a dataset has, of the rows that meet a filter.
async fn stream(
    table: Table,
    dataset: &Dataset,
    filter: Expr,
    columns: &[&str],
    with_row_id: bool,
) -> Result<DatasetRecordBatchStream> {
    reads::planned(table.name());
    let mut scan = dataset.scan();
    scan.project(&present(dataset, columns)).map_err(|source| failed(table, source))?;
    scan.filter_expr(filter);
    scan.scan_in_order(false);
    if with_row_id {
        scan.with_row_id();
    }
    scan.try_into_stream().boxed().await.map_err(|source| failed(table, source))
}

fn failed(table: Table, source: lance::Error) -> QueryError {
    QueryError::Lance { dataset: table.name().to_owned(), source: Box::new(source) }
}

/// A time as a literal of the lake's type.
pub(crate) fn time_literal(ns: i64) -> Expr {
    lit(ScalarValue::TimestampNanosecond(Some(ns), Some(Arc::from("UTC"))))
}

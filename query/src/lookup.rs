//! Rows by their ids: the index gives the rows, and what is wide is read of the tenant's own only.
//!
//! Where it can be told without a plan which rows these are ([`crate::indexed`]), they are read at once.
//! Otherwise a scan finds them. A filter that names the tenant or the time of ingestion beside the id would make
//! Lance read every row twice, these columns first and all others in a second pass. So the id alone is filtered by, the
//! tenant's wall is put up over what comes back, and the rest is taken by row. Each dataset has a task
//! of its own, because planning a look-up costs more than reading for it; tasks end with the question.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::UInt64Type;
use arrow::record_batch::RecordBatch;
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, col, lit};
use futures::FutureExt;
use futures::future::try_join_all;
use lance::Dataset;
use lance::dataset::ProjectionRequest;
use tracerag_index::Lake;
use tracerag_index::columns::{present, with_absent};
use tracerag_schemas::Table;

use crate::error::{QueryError, Result};
use crate::reads;
use crate::rows::{Columns, number, text};
use crate::snapshot::{Range, Snapshot};

/// Lance's column of row ids.
pub(crate) const ROW_ID: &str = "_rowid";

/// Which rows to look up.
#[derive(Debug, Clone)]
pub(crate) struct ById<'a> {
    column: &'a str,
    ids: Vec<&'a str>,
    until: Option<i64>,
    /// Ranges that rows must meet: datasets outside are not opened. Rows are not filtered by them.
    pub ranges: Vec<Range>,
}

impl<'a> ById<'a> {
    /// Rows with an id, in a column that has an index.
    pub(crate) fn one(column: &'a str, id: &'a str) -> Self {
        Self::any(column, vec![id])
    }

    /// Rows with any of some ids.
    pub(crate) fn any(column: &'a str, ids: Vec<&'a str>) -> Self {
        Self { column, ids, until: None, ranges: vec![] }
    }

    /// Only rows that were taken up to a time, in ns. Side tables do not say when rows were taken.
    pub(crate) fn until(mut self, time: i64) -> Self {
        self.until = Some(time);
        self
    }

    /// Only of datasets that may meet all ranges.
    pub(crate) fn within(mut self, ranges: Vec<Range>) -> Self {
        self.ranges = ranges;
        self
    }
}

/// Rows of one dataset that were found. They are the tenant's.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    dataset: Arc<Dataset>,
    /// Row ids, rising.
    rows: Vec<u64>,
}

impl Found {
    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Only the rows at some positions.
    pub(crate) fn only(&self, mut positions: Vec<usize>) -> Self {
        positions.sort_unstable();
        let rows = positions.into_iter().map(|position| self.rows[position]).collect();
        Self { dataset: Arc::clone(&self.dataset), rows }
    }

    /// These, and others of the same dataset.
    pub(crate) fn and(mut self, others: Self) -> Self {
        self.rows.extend(others.rows);
        self.rows.sort_unstable();
        self
    }

    /// The rows of a batch with row ids that are chosen.
    pub(crate) fn of_batch(
        table: Table,
        dataset: Arc<Dataset>,
        batch: &RecordBatch,
        is_chosen: impl Fn(usize) -> bool,
    ) -> Result<Self> {
        let ids = batch
            .column_by_name(ROW_ID)
            .and_then(|ids| ids.as_primitive_opt::<UInt64Type>())
            .ok_or_else(|| QueryError::Column { dataset: table.name().to_owned(), column: ROW_ID.to_owned() })?;
        let mut rows: Vec<u64> =
            (0..batch.num_rows()).filter(|row| is_chosen(*row)).map(|row| ids.value(row)).collect();
        // In the order of rows Lance reads each page once.
        rows.sort_unstable();
        Ok(Self { dataset, rows })
    }
}

/// A look-up without the borrowed parts, for tasks.
struct LookUp {
    table: Table,
    lake: Lake,
    tenant: String,
    column: String,
    ids: Vec<String>,
    until: Option<i64>,
}

impl LookUp {
    fn new(table: Table, snapshot: &Snapshot, by: &ById<'_>) -> Arc<Self> {
        Arc::new(Self {
            table,
            lake: snapshot.lake().clone(),
            tenant: snapshot.tenant().to_owned(),
            column: by.column.to_owned(),
            ids: by.ids.iter().map(|id| (*id).to_owned()).collect(),
            until: by.until,
        })
    }

    fn failed(&self) -> impl Fn(lance::Error) -> QueryError + use<> {
        failed(self.table)
    }

    /// Columns that tell whether a row is the tenant's and was taken in time.
    fn narrow(&self) -> &'static [&'static str] {
        if self.until.is_some() { &["tenant_id", "ingested_at"] } else { &["tenant_id"] }
    }

    fn filter(&self) -> Expr {
        match self.ids.as_slice() {
            [id] => col(&self.column).eq(lit(id)),
            ids => col(&self.column).in_list(ids.iter().map(lit).collect(), false),
        }
    }

    /// Rows with the ids, whoever's they are, if it can be told without a scan.
    async fn indexed(&self, dataset: &Dataset) -> Result<Option<Vec<u64>>> {
        let ids: Vec<&str> = self.ids.iter().map(String::as_str).collect();
        crate::indexed::rows(self.lake.unindexed(), dataset, &self.column, &ids).await.map_err(self.failed())
    }

    /// Which rows of a batch with the narrow columns are the tenant's and were taken in time.
    fn chosen(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let columns = Columns::of(self.table.name(), batch);
        let tenants = columns.text("tenant_id")?;
        let ingested = if self.until.is_some() { Some(columns.time("ingested_at")?) } else { None };
        let in_time = |row: usize| match (self.until, ingested) {
            (Some(until), Some(ingested)) => number(ingested, row).is_some_and(|time| time <= until),
            _ => true,
        };
        let is_chosen = |row| Some(text(tenants, row) == Some(self.tenant.as_str()) && in_time(row));
        Ok((0..batch.num_rows()).map(is_chosen).collect())
    }

    /// The tenant's rows in a dataset that were taken in time.
    async fn find(&self, dataset: Arc<Dataset>) -> Result<Found> {
        match self.indexed(&dataset).await? {
            Some(rows) => self.find_among(dataset, rows).await,
            None => self.find_by_scan(dataset).await,
        }
    }

    async fn find_by_scan(&self, dataset: Arc<Dataset>) -> Result<Found> {
        reads::planned(self.table.name());
        let mut scan = dataset.scan();
        scan.project(self.narrow()).map_err(self.failed())?;
        scan.filter_expr(self.filter());
        scan.with_row_id();
        scan.scan_in_order(false);
        let batch = scan.try_into_batch().boxed().await.map_err(self.failed())?;
        let chosen = self.chosen(&batch)?;
        Found::of_batch(self.table, dataset, &batch, |row| chosen.value(row))
    }

    async fn find_among(&self, dataset: Arc<Dataset>, rows: Vec<u64>) -> Result<Found> {
        let Some(batch) = take_rows(self.table, &dataset, &rows, self.narrow()).await? else {
            return Ok(Found { dataset, rows: vec![] });
        };
        let chosen = self.chosen(&batch)?;
        let rows = rows.into_iter().zip(chosen.iter()).filter_map(|(row, is_chosen)| is_chosen?.then_some(row));
        Ok(Found { dataset, rows: rows.collect() })
    }

    /// Columns of the tenant's rows in a dataset that were taken in time, in one batch if there are any; `None` where there
    /// are more than `most`, other tenants' among them.
    async fn read(&self, dataset: Arc<Dataset>, columns: &[String], most: usize) -> Result<Option<Vec<RecordBatch>>> {
        let Some(rows) = self.indexed(&dataset).await? else {
            let found = self.find_by_scan(dataset).await?;
            if found.len() > most {
                return Ok(None);
            }
            return Ok(Some(take_rows(self.table, &found.dataset, &found.rows, columns).await?.into_iter().collect()));
        };
        if rows.len() > most {
            return Ok(None);
        }
        // Nearly all rows are the tenant's, so all columns are read together.
        let more = self.narrow().iter().filter(|narrow| !columns.iter().any(|column| column == *narrow));
        let all: Vec<&str> = columns.iter().map(String::as_str).chain(more.copied()).collect();
        let Some(batch) = take_rows(self.table, &dataset, &rows, &all).await? else { return Ok(Some(vec![])) };
        let wanted = columns.iter().map(|column| batch.schema().index_of(column)).collect::<Result<Vec<_>, _>>()?;
        let batch = filter_record_batch(&batch.project(&wanted)?, &self.chosen(&batch)?)?;
        Ok(Some(Some(batch).filter(|batch| batch.num_rows() > 0).into_iter().collect()))
    }
}

fn failed(table: Table) -> impl Fn(lance::Error) -> QueryError + use<> {
    move |source| QueryError::Lance { dataset: table.name().to_owned(), source: Box::new(source) }
}

/// Columns of rows by their ids, in the order of these; `None` of none. Whose rows they are is not looked at. Columns
/// that a dataset of an older schema lacks are null.
pub(crate) async fn take_rows<T: AsRef<str>>(
    table: Table,
    dataset: &Dataset,
    rows: &[u64],
    columns: &[T],
) -> Result<Option<RecordBatch>> {
    if rows.is_empty() {
        return Ok(None);
    }
    reads::taken(table.name());
    let names: Vec<&str> = columns.iter().map(AsRef::as_ref).collect();
    let schema = dataset.schema().project(&present(dataset, &names)).map_err(failed(table))?;
    let batch = dataset.take_rows(rows, ProjectionRequest::from_schema(schema)).boxed().await.map_err(failed(table))?;
    Ok(Some(with_absent(batch, &table.lake_schema(), &names)?))
}

/// What a task gave; the task's end without an answer is an error of the engine.
async fn joined<T: 'static>(task: SpawnedTask<Result<T>>) -> Result<T> {
    match task.join_unwind().await {
        Ok(answer) => answer,
        Err(error) => Err(DataFusionError::ExecutionJoin(Box::new(error)).into()),
    }
}

/// Rows by id with all wanted columns.
pub(crate) async fn read(
    table: Table,
    snapshot: &Snapshot,
    datasets: Vec<Arc<Dataset>>,
    columns: &[&str],
    by: &ById<'_>,
) -> Result<Vec<RecordBatch>> {
    Ok(read_within(table, snapshot, datasets, columns, by, usize::MAX).await?.unwrap_or_default())
}

/// Rows by id, of which there may be more than there is room for.
pub(crate) enum UpTo {
    /// All of them, with the wanted columns.
    All(Vec<RecordBatch>),
    /// There are more, which are not read yet.
    More(Vec<Found>),
}

/// Rows by id with all wanted columns, if there are no more than `most`. A trace of usual size is read at once so, and
/// not looked at first.
pub(crate) async fn read_up_to(
    table: Table,
    snapshot: &Snapshot,
    datasets: Vec<Arc<Dataset>>,
    columns: &[&str],
    by: &ById<'_>,
    most: usize,
) -> Result<UpTo> {
    if let Some(batches) = read_within(table, snapshot, datasets.clone(), columns, by, most).await? {
        return Ok(UpTo::All(batches));
    }
    let found = find(table, snapshot, datasets, by).await?;
    match found.iter().map(Found::len).sum::<usize>() <= most {
        true => Ok(UpTo::All(take(table, columns, &found).await?)),
        false => Ok(UpTo::More(found)),
    }
}

/// Rows by id with all wanted columns; `None` where there may be more than `most`.
async fn read_within(
    table: Table,
    snapshot: &Snapshot,
    datasets: Vec<Arc<Dataset>>,
    columns: &[&str],
    by: &ById<'_>,
    most: usize,
) -> Result<Option<Vec<RecordBatch>>> {
    if by.ids.is_empty() {
        return Ok(Some(vec![]));
    }
    let look_up = LookUp::new(table, snapshot, by);
    let columns: Arc<[String]> = columns.iter().map(|column| (*column).to_owned()).collect();
    let tasks: Vec<_> = datasets
        .into_iter()
        .map(|dataset| {
            let (look_up, columns) = (Arc::clone(&look_up), Arc::clone(&columns));
            SpawnedTask::spawn(async move { look_up.read(dataset, &columns, most).await })
        })
        .collect();
    let read: Option<Vec<Vec<RecordBatch>>> = try_join_all(tasks.into_iter().map(joined)).await?.into_iter().collect();
    let batches = read.map(|batches| batches.into_iter().flatten().collect::<Vec<_>>());
    Ok(batches.filter(|batches| batches.iter().map(RecordBatch::num_rows).sum::<usize>() <= most))
}

/// Rows by id, not read yet; none that has no row.
pub(crate) async fn find(
    table: Table,
    snapshot: &Snapshot,
    datasets: Vec<Arc<Dataset>>,
    by: &ById<'_>,
) -> Result<Vec<Found>> {
    if by.ids.is_empty() {
        return Ok(vec![]);
    }
    let look_up = LookUp::new(table, snapshot, by);
    let tasks: Vec<_> = datasets
        .into_iter()
        .map(|dataset| {
            let look_up = Arc::clone(&look_up);
            SpawnedTask::spawn(async move { look_up.find(dataset).await })
        })
        .collect();
    let mut found = try_join_all(tasks.into_iter().map(joined)).await?;
    found.retain(|found| found.len() > 0);
    Ok(found)
}

/// Columns of rows that were found: a batch for each that has rows, in their order.
pub(crate) async fn take(table: Table, columns: &[&str], found: &[Found]) -> Result<Vec<RecordBatch>> {
    let reads = found.iter().map(|found| take_rows(table, &found.dataset, &found.rows, columns));
    Ok(try_join_all(reads).await?.into_iter().flatten().collect())
}

//! Staging: an epoch's rows become Lance fragments that no version of a dataset names yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, UInt64Array};
use arrow::compute::{max, min, take_record_batch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit, TimestampNanosecondType};
use arrow::record_batch::RecordBatch;
use futures::future::join_all;
use lance::dataset::transaction::Operation;
use lance_table::format::Fragment;
use tracerag_schemas::staged::is_form_of;
use tracerag_schemas::{Table, time};
use uuid::Uuid;

use crate::columns;
use crate::error::{At, Error, Result};
use crate::fail_point::FailPoint;
use crate::files;
use crate::journal::{Epoch, Head, Staged, StagedDataset, widest};
use crate::lake::{Lake, day_dataset};

impl Lake {
    /// Writes an epoch's rows as fragments, all datasets at once. Nothing sees them yet, and if no
    /// [`crate::Writer`] records them they are removed after seven days. The next epoch may be staged
    /// while this one is recorded and applied.
    ///
    /// # Errors
    /// [`Error::Schema`] and [`Error::NoIngestedAt`] for rows that do not fit their table,
    /// [`Error::WrongWay`] for rows of a side table.
    pub async fn stage(&self, epoch: Epoch) -> Result<Staged> {
        let (_, head) = self.head().await?;
        let mut staged = Staged {
            epoch: Uuid::new_v4().to_string(),
            datasets: vec![],
            sources: epoch.sources,
            closed: epoch.closed,
            rows: BTreeMap::new(),
            expired: 0,
        };
        stage_rows(self, &head, epoch.rows, &mut staged).await?;
        FailPoint::Staged.pass();
        Ok(staged)
    }
}

/// Datasets that do not exist are created empty first, because an uncommitted write to a path without
/// a dataset is an overwrite.
async fn stage_rows(lake: &Lake, head: &Head, rows: Vec<(Table, RecordBatch)>, staged: &mut Staged) -> Result<()> {
    let mut datasets: BTreeMap<String, (Table, Vec<RecordBatch>)> = BTreeMap::new();
    for (table, batch) in rows {
        if table.is_side() {
            return Err(Error::WrongWay { table: table.name(), what: "a side table; write it with Lake::append_side" });
        }
        let batch = conform(table, &lake.schemas().newest(table), batch)?;
        for (name, part) in split(table, batch)? {
            let count = part.num_rows() as u64;
            if head.is_dropped(&name) {
                staged.expired += count;
                continue;
            }
            *staged.rows.entry(table).or_default() += count;
            datasets.entry(name).or_insert_with(|| (table, Vec::new())).1.push(part);
        }
    }
    if staged.expired > 0 {
        tracing::warn!(rows = staged.expired, "rows of days that retention has dropped were not written");
    }
    let writes =
        datasets.into_iter().map(|(name, (table, batches))| {
            let lake = lake.clone();
            let task = tokio::spawn(write(lake, table, head.schema_version, name.clone(), batches));
            async move {
                task.await.map_err(|error| Error::Cut { dataset: name, step: "staging", detail: error.to_string() })?
            }
        });
    // All of them are waited for, or those that still write would leave their files behind.
    let mut failed = None;
    for written in join_all(writes).await {
        match written {
            Ok(dataset) => staged.datasets.push(dataset),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    let Some(error) = failed else { return Ok(()) };
    for written in &staged.datasets {
        match lake.newest(&written.name).await {
            Ok(dataset) => files::remove(&dataset, &written.fragments).await,
            Err(error) => tracing::debug!(dataset = written.name, %error, "staged files are left to the clean-up"),
        }
    }
    Err(error)
}

/// Writes what the dataset has a column for: a lake that is not migrated yet lacks the release's newest columns.
async fn write(
    lake: Lake,
    table: Table,
    version: u32,
    name: String,
    batches: Vec<RecordBatch>,
) -> Result<StagedDataset> {
    let mut staged = describe(table, &name, &batches);
    let dataset = columns::ensure(&lake, &name, table, version).await?;
    let fitted = batches.iter().map(|batch| columns::fit(&dataset, batch)).collect::<Result<Vec<_>, _>>();
    let batches = fitted.at(&name, "staging")?;
    staged.fragments = files::write(&dataset, &batches).await.at(&name, "staging")?;
    Ok(staged)
}

/// The fragments of an uncommitted append.
pub(crate) fn appended(name: &str, operation: Operation) -> Result<Vec<Fragment>> {
    match operation {
        Operation::Append { fragments } => Ok(fragments),
        other => Err(Error::Cut {
            dataset: name.to_owned(),
            step: "staging",
            detail: format!("Lance planned {other} where an append was asked for"),
        }),
    }
}

/// The batch, if it has the table's columns in a form in which they may be staged, or the first difference. Field
/// metadata and nullability are the table's.
fn conform(table: Table, schema: &SchemaRef, batch: RecordBatch) -> Result<RecordBatch> {
    if batch.schema_ref() == schema {
        return Ok(batch);
    }
    let detail = difference(schema, batch.schema_ref());
    if let Some(detail) = detail {
        return Err(Error::Schema { table: table.name(), detail });
    }
    let form =
        |(field, column): (&FieldRef, &ArrayRef)| field.as_ref().clone().with_data_type(column.data_type().clone());
    let fields: Vec<Field> = schema.fields().iter().zip(batch.columns()).map(form).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), batch.columns().to_vec()).at(table.name(), "taking over rows")
}

fn difference(expected: &Schema, found: &Schema) -> Option<String> {
    if expected.fields().len() != found.fields().len() {
        return Some(format!("{} columns instead of {}", found.fields().len(), expected.fields().len()));
    }
    expected.fields().iter().zip(found.fields()).find_map(|(expected, found)| {
        if expected.name() != found.name() {
            Some(format!("column {} where {} belongs", found.name(), expected.name()))
        } else if !is_form_of(found.data_type(), expected.data_type()) {
            Some(format!("column {} is {} instead of {}", found.name(), found.data_type(), expected.data_type()))
        } else {
            None
        }
    })
}

/// The batch by dataset: as it is, or cut by UTC day of `ingested_at`.
fn split(table: Table, batch: RecordBatch) -> Result<Vec<(String, RecordBatch)>> {
    if batch.num_rows() == 0 {
        return Ok(vec![]);
    }
    if !table.by_day() {
        return Ok(vec![(table.name().to_owned(), batch)]);
    }
    let Some(column) = batch.column_by_name("ingested_at") else {
        return Err(Error::NoIngestedAt { table: table.name() });
    };
    if column.null_count() > 0 {
        return Err(Error::NoIngestedAt { table: table.name() });
    }
    let Some((first, last)) = range(column) else {
        return Err(Error::NoIngestedAt { table: table.name() });
    };
    // Nearly every epoch lies within one day, and then nothing is copied.
    if time::day(first) == time::day(last) {
        return Ok(vec![(day_dataset(table, time::day(first)), batch)]);
    }
    let mut rows: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
    for (row, ingested_at) in column.as_primitive::<TimestampNanosecondType>().values().iter().enumerate() {
        rows.entry(time::day(*ingested_at)).or_default().push(row as u64);
    }
    rows.into_iter()
        .map(|(day, rows)| {
            let name = day_dataset(table, day);
            let part = take_record_batch(&batch, &UInt64Array::from(rows)).at(&name, "cutting by day")?;
            Ok((name, part))
        })
        .collect()
}

fn describe(table: Table, name: &str, batches: &[RecordBatch]) -> StagedDataset {
    let mut staged =
        StagedDataset { name: name.to_owned(), rows: 0, ingested_at: None, times: BTreeMap::new(), fragments: vec![] };
    for batch in batches {
        staged.rows += batch.num_rows() as u64;
        staged.ingested_at = widest(staged.ingested_at, batch.column_by_name("ingested_at").and_then(range));
        for column in table.time_columns() {
            let known = staged.times.get(*column).copied();
            if let Some(wider) = widest(known, batch.column_by_name(column).and_then(range)) {
                staged.times.insert((*column).to_owned(), wider);
            }
        }
    }
    staged
}

/// Least and greatest value of a time column.
fn range(column: &ArrayRef) -> Option<(i64, i64)> {
    match column.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            let times = column.as_primitive::<TimestampNanosecondType>();
            Some((min(times)?, max(times)?))
        }
        _ => None,
    }
}

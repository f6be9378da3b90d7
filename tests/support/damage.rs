//! Lakes that are damaged on purpose: rows change without the journal, and a head shows it.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchIterator, StringArray, UInt64Array};
use arrow::datatypes::UInt64Type;
use serde_json::{Value, json};
use tracerag_index::{Lake, LakeOptions};
use tracerag_schemas::Table;

/// Replaces the one row of a table that a predicate names by what `change` makes of it.
///
/// # Panics
/// When the first dataset of the table has no such row, or several.
pub fn damage(lake: &Path, table: Table, predicate: &str, change: impl FnOnce(RecordBatch) -> Vec<RecordBatch>) {
    let runtime = tokio::runtime::Runtime::new().expect("an async runtime");
    runtime.block_on(async {
        let lake = Lake::open(LakeOptions::new(lake.to_str().expect("a path in UTF-8"))).await.expect("a lake");
        let head = lake.newest_head().await.expect("a head");
        let (name, known) = head.of(table).next().expect("the table has a dataset");
        let dataset = lake.dataset(name, known.version).await.expect("the dataset opens");
        let mut scan = dataset.scan();
        scan.filter(predicate).expect("a predicate");
        let row = scan.try_into_batch().await.expect("the row is read");
        assert_eq!(row.num_rows(), 1, "{predicate} names no single row of {name}");
        let mut dataset = (*dataset).clone();
        let deleted = dataset.delete(predicate).await.expect("the row is deleted");
        let mut dataset = Arc::unwrap_or_clone(deleted.new_dataset);
        for rows in change(row) {
            let schema = rows.schema();
            let rows = RecordBatchIterator::new(vec![Ok(rows)], schema);
            dataset.append(rows, None).await.expect("rows are appended");
        }
        show(&lake, name, dataset.version_id()).await;
    });
}

/// Publishes a head that is the newest one but for the version of one dataset.
async fn show(lake: &Lake, name: &str, version: u64) {
    let mut heads = (*lake.newest("heads").await.expect("there are heads")).clone();
    let all = heads.scan().try_into_batch().await.expect("heads are read");
    let sequences = all["sequence"].as_primitive::<UInt64Type>();
    let newest = (0..all.num_rows()).max_by_key(|row| sequences.value(*row)).expect("there is a head");
    let mut datasets: Value =
        serde_json::from_str(all["datasets"].as_string::<i32>().value(newest)).expect("datasets are JSON");
    datasets[name]["version"] = json!(version);
    let head = all.slice(newest, 1);
    let head = with(&head, "sequence", Arc::new(UInt64Array::from(vec![sequences.value(newest) + 1])));
    let head = with(&head, "datasets", Arc::new(StringArray::from(vec![datasets.to_string()])));
    let schema = head.schema();
    heads.append(RecordBatchIterator::new(vec![Ok(head)], schema), None).await.expect("the head is appended");
}

/// The batch with another column in the place of one.
///
/// # Panics
/// When it has no such column, or the other does not fit.
pub fn with(batch: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
    let mut columns = batch.columns().to_vec();
    columns[batch.schema().index_of(name).expect("the column is there")] = column;
    RecordBatch::try_new(batch.schema(), columns).expect("the column fits")
}

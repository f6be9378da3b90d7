//! Columns that a dataset lacks, or has beyond those that are known.
//!
//! A release meets datasets of the schema before its own, and, while the lake is migrated or before it is rolled back,
//! datasets with columns that it does not know. Columns are told by their names, never by their places: what is read
//! and absent is null, and what is written and absent is left out. So what a new column would hold is not kept before
//! the lake is migrated.

use std::sync::Arc;

use arrow::array::{ArrayRef, new_null_array};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use lance::Dataset;
use lance::dataset::NewColumnTransform;
use tracerag_schemas::Table;

use crate::error::{At, Error, Result};
use crate::journal::fence;
use crate::lake::Lake;

/// Those of the named columns that a dataset has. None of them is a part of another.
pub fn present<'a>(dataset: &Dataset, columns: &[&'a str]) -> Vec<&'a str> {
    columns.iter().copied().filter(|name| dataset.schema().field(name).is_some()).collect()
}

/// A batch with exactly the columns of a schema, those that it lacks as null.
///
/// # Errors
/// When a column has another type, or lacks where it may not be null.
pub fn complete(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let column = |field: &Arc<Field>| -> ArrayRef {
        match batch.column_by_name(field.name()) {
            Some(column) => Arc::clone(column),
            None => new_null_array(field.data_type(), batch.num_rows()),
        }
    };
    RecordBatch::try_new(Arc::clone(schema), schema.fields().iter().map(column).collect())
}

/// A batch with those of the named columns that it lacks added, as null.
///
/// # Errors
/// When the schema has no such column.
pub fn with_absent(batch: RecordBatch, schema: &Schema, names: &[&str]) -> Result<RecordBatch, ArrowError> {
    if names.iter().all(|name| batch.schema_ref().index_of(name).is_ok()) {
        return Ok(batch);
    }
    let mut fields = batch.schema_ref().fields().to_vec();
    for name in names.iter().filter(|name| batch.schema_ref().index_of(name).is_err()) {
        fields.push(Arc::new(schema.field_with_name(name)?.clone()));
    }
    complete(&batch, &Arc::new(Schema::new(fields)))
}

/// A batch with those of its columns that a dataset has.
pub(crate) fn fit(dataset: &Dataset, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema_ref();
    let is_kept = |index: &usize| dataset.schema().field(schema.field(*index).name()).is_some();
    let kept: Vec<usize> = (0..batch.num_columns()).filter(is_kept).collect();
    if kept.len() == batch.num_columns() { Ok(batch.clone()) } else { batch.project(&kept) }
}

/// The columns of a schema that a dataset lacks.
pub(crate) fn missing(dataset: &Dataset, wanted: &Schema) -> Vec<Arc<Field>> {
    wanted.fields().iter().filter(|field| dataset.schema().field(field.name()).is_none()).cloned().collect()
}

/// A table's dataset to write to, created if need be, with all columns of the lake's schema version: a worker of the
/// release before may create a day in the very moment in which the lake is migrated.
pub(crate) async fn ensure(lake: &Lake, name: &str, table: Table, version: u32) -> Result<Arc<Dataset>> {
    let wanted = lake.schemas().at(version, table);
    let dataset = lake.ensure(name, Arc::clone(&wanted)).await?;
    if missing(&dataset, &wanted).is_empty() {
        return Ok(dataset);
    }
    add(lake, name, &wanted).await
}

/// Adds to a dataset the columns of a schema that it lacks, as null. No row is rewritten.
pub(crate) async fn add(lake: &Lake, name: &str, wanted: &Schema) -> Result<Arc<Dataset>> {
    for attempt in 0..fence::ATTEMPTS {
        let dataset = lake.newest(name).await?;
        let missing = missing(&dataset, wanted);
        if missing.is_empty() {
            return Ok(dataset);
        }
        let nulls = NewColumnTransform::AllNulls(Arc::new(Schema::new(missing)));
        let mut extended = (*dataset).clone();
        match extended.add_columns(nulls, None, None).await {
            Ok(()) => return Ok(lake.remember(name, extended)),
            Err(error) if fence::is_lost(&error) => fence::back_off(attempt).await,
            Err(error) => return Err(error).at(name, "adding columns"),
        }
    }
    Err(Error::Contention { dataset: name.to_owned(), step: "adding columns", attempts: fence::ATTEMPTS })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::array::{Array, AsArray, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Int64Type};

    use super::*;

    fn batch() -> RecordBatch {
        let fields = vec![Field::new("b", DataType::Int64, true), Field::new("_rowid", DataType::Int64, true)];
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from(vec![1, 2])), Arc::new(Int64Array::from(vec![8, 9]))];
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    }

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8, true), Field::new("b", DataType::Int64, true)]))
    }

    /// Exactly the wanted columns come in their order, absent ones as null; a column of another type is refused.
    #[test]
    fn a_batch_is_completed_by_names() {
        let completed = complete(&batch(), &schema()).unwrap();
        assert_eq!((completed.schema(), completed.num_rows()), (schema(), 2));
        assert_eq!(completed.column(0).null_count(), 2);
        assert_eq!(completed.column(1).as_primitive::<Int64Type>().values().to_vec(), [1, 2]);
        let texts = vec![Arc::new(StringArray::from(vec!["x"])) as ArrayRef];
        let fields = vec![Field::new("b", DataType::Utf8, true)];
        let other = RecordBatch::try_new(Arc::new(Schema::new(fields)), texts).unwrap();
        assert!(complete(&other, &schema()).is_err());
    }

    /// Absent columns stand behind those that are there, of which none is lost; where none is absent, or a name is no
    /// column at all, nothing is made up.
    #[test]
    fn absent_columns_are_added() {
        let added = with_absent(batch(), &schema(), &["a", "b"]).unwrap();
        let names: Vec<String> = added.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["b", "_rowid", "a"]);
        assert_eq!(added["a"].null_count(), 2);
        assert_eq!(with_absent(batch(), &schema(), &["b"]).unwrap(), batch());
        assert!(with_absent(batch(), &schema(), &["c"]).is_err());
    }
}

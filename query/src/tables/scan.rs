//! How Lance is to read a dataset for a query.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::common::Result;
use datafusion::logical_expr::utils::conjunction;
use lance::Dataset;
use lance::dataset::scanner::{MaterializationStyle, Scanner};

use super::Division;

/// The scan that gives what a division leaves to Lance, in no order. `is_narrowed`: it has filters beside the tenant's wall.
pub(super) fn of(dataset: &Dataset, division: &Division, is_narrowed: bool) -> Result<Scanner> {
    let stored = Schema::from(dataset.schema());
    let columns: Vec<&str> = division.present.iter().map(|index| stored.field(*index).name().as_str()).collect();
    let mut scan = dataset.scan();
    scan.project(&columns)?;
    if let Some(filter) = conjunction(division.below.iter().cloned()) {
        scan.filter_expr(filter);
    }
    scan.materialization_style(materialization(dataset, &stored, is_narrowed)?);
    scan.limit(division.limit.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX)), None)?;
    scan.scan_in_order(false);
    Ok(scan)
}

/// Texts of which few are alike: ids, and what is written in sentences. They take longer to read than all other columns.
const UNLIKE: [&str; 12] = [
    "trace_id",
    "span_id",
    "parent_span_id",
    "failure_id",
    "record_hash",
    "body",
    "status_message",
    "message",
    "stacktrace",
    "url_path",
    "sample",
    "text",
];

/// Which columns are read with those that filters look at, and which only of the rows that these let through.
///
/// Lance expects one row in a thousand to pass, and takes all texts row by row. Of telemetry far more do: the wall of a
/// tenant lets all rows of most lakes through. So columns that repeat are read as they lie, and all are where the wall is
/// the only filter.
fn materialization(dataset: &Dataset, stored: &Schema, is_narrowed: bool) -> Result<MaterializationStyle> {
    if !is_narrowed {
        return Ok(MaterializationStyle::AllEarly);
    }
    let is_last = |field: &&Arc<Field>| field.data_type().is_nested() || UNLIKE.contains(&field.name().as_str());
    let last: Vec<&str> = stored.fields().iter().filter(is_last).map(|field| field.name().as_str()).collect();
    Ok(MaterializationStyle::all_early_except(&last, dataset.schema())?)
}

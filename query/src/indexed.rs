//! Rows by an index alone, without a plan.
//!
//! Planning a scan for a look-up by id takes a millisecond, and the look-up itself a tenth of one. So the index is asked
//! directly, and for rows that it does not know, the ids that are kept of them.

use std::collections::HashSet;

use datafusion::common::ScalarValue;
use lance::Dataset;
use lance::index::{DatasetIndexExt, DatasetIndexInternalExt};
use lance_index::metrics::NoOpMetricsCollector;
use lance_index::scalar::{SargableQuery, SearchResult};
use tracerag_index::UnindexedIds;

/// Ids of the rows that have one of some texts in a column, rising; `None` where only a scan can tell: too many rows are
/// in no index, or rows were deleted.
///
/// # Errors
/// When the index cannot be read.
pub(crate) async fn rows(
    unindexed: &UnindexedIds,
    dataset: &Dataset,
    column: &str,
    texts: &[&str],
) -> lance::Result<Option<Vec<u64>>> {
    let name = format!("{column}_idx");
    let has_deleted = dataset.fragments().iter().any(|fragment| fragment.deletion_file.is_some());
    if has_deleted || dataset.manifest().uses_stable_row_ids() {
        return Ok(None);
    }
    let segments = dataset.load_indices_by_name(&name).await?;
    let outside = match segments.is_empty() {
        true => dataset.fragments().to_vec(),
        false => dataset.unindexed_fragments(&name).await?,
    };
    let Some(mut rows) = unindexed.rows(dataset, column, &outside, texts).await? else { return Ok(None) };
    let text = |text: &&str| ScalarValue::Utf8(Some((*text).to_owned()));
    let query = match texts {
        // A list would be looked for in a whole page of the index by hashing all of that.
        [only] => SargableQuery::Equals(text(only)),
        _ => SargableQuery::IsIn(texts.iter().map(text).collect()),
    };
    for segment in segments {
        let index = dataset.open_scalar_index(column, &segment.uuid, &NoOpMetricsCollector).await?;
        let SearchResult::Exact(found) = index.search(&query, &NoOpMetricsCollector).await? else { return Ok(None) };
        // Whole fragments are not told row by row.
        let Some(found) = found.true_rows().row_addrs().map(|rows| rows.map(u64::from).collect::<Vec<_>>()) else {
            return Ok(None);
        };
        rows.extend(found);
    }
    // An index may still know rows of fragments that retention has dropped. Without stable ids the upper half of a row's
    // id is its fragment's.
    let fragments: HashSet<u64> = dataset.fragments().iter().map(|fragment| fragment.id).collect();
    rows.retain(|row| fragments.contains(&(row >> 32)));
    rows.sort_unstable();
    rows.dedup();
    Ok(Some(rows))
}

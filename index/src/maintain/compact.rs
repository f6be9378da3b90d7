//! Compaction: many small fragments become few.

use lance::Dataset;
use lance::dataset::optimize::{CompactionOptions, compact_files};

use super::MaintainOptions;
use crate::error::{At, Result};
use crate::lake::Lake;

/// Merges a dataset's small fragments if there are many. Gives the fragments before and after.
pub(super) async fn data(lake: &Lake, name: &str, options: &MaintainOptions) -> Result<Option<(usize, usize)>> {
    let target = options.target_rows_per_fragment;
    let dataset = lake.newest(name).await?;
    if small_fragments(&dataset, target) <= options.small_fragments {
        return Ok(None);
    }
    let before = dataset.count_fragments();
    let mut compacted = (*dataset).clone();
    let plan = CompactionOptions {
        target_rows_per_fragment: target,
        // The pipeline has the other cores.
        num_threads: Some(1),
        ..CompactionOptions::default()
    };
    compact_files(&mut compacted, plan, None).await.at(name, "compacting")?;
    let after = compacted.count_fragments();
    lake.remember(name, compacted);
    Ok(Some((before, after)))
}

fn small_fragments(dataset: &Dataset, target: usize) -> usize {
    dataset.iter_fragments().filter(|fragment| fragment.physical_rows.is_none_or(|rows| rows < target)).count()
}

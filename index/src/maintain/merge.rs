//! Merging the end of `journal` and of `heads`, whose fragments must stay in the order of their rows.
//!
//! Lance keeps fragments sorted by id, and a compaction takes its ids before it commits: rows that are
//! appended meanwhile would stand *before* the older rows that were merged, and whoever reads from the
//! end would take an old head for the newest. So these two are merged by a fenced commit of our own. It
//! replaces a tail of the fragments by one, and conflicts with every append of the next row: either
//! nothing was appended meanwhile, and the new fragment is the last, or nothing is merged.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use lance::Dataset;
use lance::dataset::{InsertBuilder, WriteMode};
use lance_table::format::Fragment;

use super::MaintainOptions;
use crate::error::{At, Result};
use crate::journal::fence::{self, Fenced};
use crate::journal::heads::HEADS;
use crate::journal::log::last_position;
use crate::lake::Lake;
use crate::stage::appended;

/// Rows of a fragment that is left alone: rows are some KiB each and are read from the end.
const FULL_FRAGMENT: usize = 1_000;
/// Busy writers win against a merge; there is another round soon.
const ATTEMPTS: usize = 8;

/// Merges the last fragments of `heads` or `journal` where there are too many of them.
pub(super) async fn merge_tail(lake: &Lake, name: &str, options: &MaintainOptions) -> Result<()> {
    for attempt in 0..ATTEMPTS {
        let dataset = lake.newest(name).await?;
        if tail(&dataset).len() <= options.stale_versions.max(1) {
            return Ok(());
        }
        match merge(lake, name, &dataset).await? {
            Fenced::Landed(merged) => {
                lake.remember(name, merged);
                return Ok(());
            }
            Fenced::Lost => fence::back_off(attempt).await,
        }
    }
    tracing::debug!(dataset = name, "writers were quicker than the merge of its fragments");
    Ok(())
}

/// Merges the tail that `dataset` has at its version.
pub(crate) async fn merge(lake: &Lake, name: &str, dataset: &Arc<Dataset>) -> Result<Fenced> {
    let tail = tail(dataset);
    let mut scan = dataset.scan();
    scan.with_fragments(tail.to_vec());
    let rows = scan.try_into_batch().await.at(name, "reading what to merge")?;
    let next_append = match name {
        HEADS => fence::head_key(),
        _ => fence::position_key(last_position(&rows)? + 1),
    };
    let staged = InsertBuilder::new(Arc::clone(dataset))
        .with_params(&lake.write_params(WriteMode::Append))
        .execute_uncommitted(vec![rows])
        .await
        .at(name, "merging fragments")?;
    let merged = appended(name, staged.operation)?;
    let replaced = tail.iter().map(|fragment| fragment.id).collect();
    fence::replace(lake, dataset, replaced, merged, HashSet::from([next_append]), HashMap::new())
        .await
        .at(name, "merging fragments")
}

/// The fragments behind the last full one.
fn tail(dataset: &Dataset) -> &[Fragment] {
    let fragments = dataset.fragments();
    let is_full = |fragment: &Fragment| fragment.num_rows().is_none_or(|rows| rows >= FULL_FRAGMENT);
    let begin = fragments.iter().rposition(is_full).map_or(0, |full| full + 1);
    &fragments[begin..]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::journal::heads;
    use crate::journal::log::{Columns, JOURNAL, read_back};
    use crate::tests::{Fixture, NOON, epoch, source};

    /// What was appended while a merge was being prepared makes the merge fail, and the newest head and
    /// the last record are still the last; a merge of the present lands, changes no row, and the next
    /// append stands behind it.
    #[tokio::test]
    async fn a_merge_never_puts_old_rows_behind_new_ones() {
        let fixture = Fixture::new().await;
        let mut writer = fixture.worker("w", &[source(0)]).await;
        for step in 0..3 {
            writer.write(epoch(source(0), step, step + 1, NOON)).await.unwrap();
        }
        let lake = fixture.reopen().await;
        for name in [HEADS, JOURNAL] {
            let before = lake.newest(name).await.unwrap();
            let next = writer.write(epoch(source(0), 3, 3, NOON)).await.unwrap().position;
            let overtaken = merge(&lake, name, &before).await.unwrap();
            assert!(matches!(overtaken, Fenced::Lost), "{name}");
            assert_eq!(lake.newest_head().await.unwrap().position, next, "{name}");

            let present = lake.newest(name).await.unwrap();
            let rows = present.count_rows(None).await.unwrap();
            let Fenced::Landed(merged) = merge(&lake, name, &present).await.unwrap() else {
                panic!("nobody else writes to {name}")
            };
            assert_eq!((merged.count_fragments(), merged.count_rows(None).await.unwrap()), (1, rows), "{name}");
            let next = writer.write(epoch(source(0), 3, 3, NOON)).await.unwrap().position;
            let reopened = fixture.reopen().await;
            let heads = reopened.newest(HEADS).await.unwrap();
            assert_eq!(heads::read_newest(&heads).await.unwrap().position, next, "{name}");
            let journal = reopened.newest(JOURNAL).await.unwrap();
            let records = read_back(&journal, Columns::WithoutStaged, |_| true).await.unwrap();
            assert_eq!(records.last().unwrap().position, next, "{name}");
        }
    }
}

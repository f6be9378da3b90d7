//! How many deltas of an index are merged when it is extended.
//!
//! A merge reads and writes all that it merges. To merge every delta after some rounds would write the largest one,
//! which is nearly all of the index, again and again. So a delta is merged with newer ones only when these have as many
//! rows together: each row is written anew as often as the index doubles. Searches ask each delta, so where there would
//! be too many, the newest are merged all the same.

use std::collections::BTreeMap;

use lance::Dataset;
use lance::index::DatasetIndexExt;
use lance_index::optimize::OptimizeOptions;
use lance_table::format::IndexMetadata;

use crate::error::{At, Result};

/// An index that lacks rows.
#[derive(Debug)]
pub(crate) struct Lagging {
    /// Its name.
    pub index: String,
    /// Rows of its deltas, the oldest first.
    pub deltas: Vec<u64>,
    /// Rows outside all of them.
    pub outside: u64,
}

impl Lagging {
    /// An index as its deltas are; what a compaction has merged since is of no delta.
    pub(crate) fn of(index: String, dataset: &Dataset, deltas: &[IndexMetadata]) -> Self {
        let has =
            |delta: &IndexMetadata, id: u32| delta.fragment_bitmap.as_ref().is_some_and(|known| known.contains(id));
        let outside = rows(dataset, |id| !deltas.iter().any(|delta| has(delta, id)));
        let deltas = deltas.iter().map(|delta| rows(dataset, |id| has(delta, id))).collect();
        Self { index, deltas, outside }
    }
}

/// Rows of the fragments that are chosen by their ids.
fn rows(dataset: &Dataset, is_chosen: impl Fn(u32) -> bool) -> u64 {
    dataset
        .iter_fragments()
        .filter(|fragment| u32::try_from(fragment.id).is_ok_and(&is_chosen))
        .map(|fragment| fragment.physical_rows.unwrap_or_default() as u64)
        .sum()
}

/// Extends indices by the rows that they lack, with `most` deltas each at most.
///
/// # Errors
/// When an index cannot be read or written.
pub(crate) async fn extend(name: &str, dataset: &mut Dataset, lagging: Vec<Lagging>, most: usize) -> Result<()> {
    // Those that merge alike are one commit, which mostly are all.
    let mut plans: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for Lagging { index, deltas, outside } in lagging {
        plans.entry(merged(&deltas, outside, most)).or_default().push(index);
    }
    for (merged, indices) in plans {
        let plan = if merged > 0 { OptimizeOptions::merge(merged) } else { OptimizeOptions::append() };
        dataset.optimize_indices(&plan.index_names(indices)).await.at(name, "extending its indices")?;
    }
    Ok(())
}

/// How many of the newest deltas are merged with rows that no delta has, given the rows of each, the oldest first:
/// those that are not larger than what is merged already, and whatever is beyond `most`.
fn merged(deltas: &[u64], outside: u64, most: usize) -> usize {
    let (mut rows, mut merged) = (outside, 0);
    for delta in deltas.iter().rev() {
        let left = deltas.len() - merged + 1;
        if *delta > rows && left <= most {
            break;
        }
        rows += delta;
        merged += 1;
    }
    merged
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::merged;

    /// What is larger than all that is newer stays as it is; equals are merged, and so is what would be too many.
    #[test]
    fn the_large_ones_stay() {
        for (deltas, outside, expected) in [
            (&[][..], 5, 0),
            (&[1_000_000], 5_000, 0),
            (&[1_000_000, 5_000], 5_000, 1),
            (&[1_000_000, 10_000, 5_000], 5_000, 2),
            (&[1_000_000, 500, 400, 300, 200], 1, 1),
            (&[4, 3], 9, 2),
            // What a compaction has merged has left an empty one behind.
            (&[1_000_000, 0], 1, 1),
        ] {
            assert_eq!(merged(deltas, outside, 5), expected, "{deltas:?} and {outside}");
        }
    }

    proptest! {
        /// An index grows by rounds of any size. Guarantees that it loses no row and never has more deltas than it may,
        /// and, where it may have as many as come, that a row is written no more often than the index doubles.
        #[test]
        fn the_whole_is_seldom_written(rounds in prop::collection::vec(1_u64..100, 1..400), bound in 1_usize..8) {
            for most in [bound, usize::MAX] {
                let (mut deltas, mut written, mut all): (Vec<u64>, u64, u64) = (vec![], 0, 0);
                for outside in &rounds {
                    let count = merged(&deltas, *outside, most);
                    let rows = outside + deltas.split_off(deltas.len() - count).iter().sum::<u64>();
                    deltas.push(rows);
                    (written, all) = (written + rows, all + outside);
                    prop_assert!(deltas.len() <= most, "{:?}", deltas);
                }
                prop_assert_eq!(deltas.iter().sum::<u64>(), all);
                let doublings = u64::from(all.ilog2()) + 2;
                prop_assert!(most == bound || written <= all * doublings, "{} of {} rows", written, all);
            }
        }
    }
}

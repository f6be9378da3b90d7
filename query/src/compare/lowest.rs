//! The members of a set whose hashes are lowest: a sample that is the same whatever the order in which they come, and of
//! which no more is held than is wanted, however large the set is.

use std::collections::BTreeMap;

/// At most so many members, by hash. One that had to go for a lower one does not come back, so whatever is known of a
/// member that is held is all that came of it.
#[derive(Debug)]
pub(super) struct Lowest<T> {
    most: usize,
    by_hash: BTreeMap<u64, T>,
    /// Whether there were more.
    is_part: bool,
}

impl<T> Lowest<T> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, by_hash: BTreeMap::new(), is_part: false }
    }

    /// Takes a member, if its hash is low enough: a new one as `first` makes it, one that is held by `again`.
    pub(super) fn take(&mut self, hash: u64, first: impl FnOnce() -> T, again: impl FnOnce(&mut T)) {
        if let Some(known) = self.by_hash.get_mut(&hash) {
            return again(known);
        }
        let is_full = self.by_hash.len() >= self.most;
        self.is_part |= is_full;
        if is_full && self.by_hash.last_key_value().is_none_or(|(greatest, _)| hash > *greatest) {
            return;
        }
        self.by_hash.insert(hash, first());
        if is_full {
            self.by_hash.pop_last();
        }
    }

    pub(super) fn get(&self, hash: u64) -> Option<&T> {
        self.by_hash.get(&hash)
    }

    pub(super) fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// Whether some members were left out.
    pub(super) fn is_part(&self) -> bool {
        self.is_part
    }

    /// Those that are held, in the order of their hashes.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.by_hash.values()
    }

    pub(super) fn into_values(self) -> impl Iterator<Item = T> {
        self.by_hash.into_values()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Members come in any order, some of them again. Guarantees that those with the lowest hashes are held, never
        /// more than are wanted, and of each all that came of it.
        #[test]
        fn the_lowest_stay(hashes in prop::collection::vec(0_u64..40, 0..200), most in 0_usize..20) {
            let mut lowest = Lowest::new(most);
            for hash in &hashes {
                lowest.take(*hash, || 1_usize, |count| *count += 1);
                prop_assert!(lowest.len() <= most);
            }
            let distinct: BTreeSet<u64> = hashes.iter().copied().collect();
            let expected: Vec<usize> =
                distinct.iter().take(most).map(|hash| hashes.iter().filter(|other| *other == hash).count()).collect();
            prop_assert_eq!(lowest.is_part(), distinct.len() > most);
            prop_assert_eq!(lowest.into_values().collect::<Vec<_>>(), expected);
        }
    }
}

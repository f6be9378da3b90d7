//! Which traces were closed within the late horizon: a set that forgets by age.
//!
//! Of each trace 32 bits of a hash are kept, about 8 bytes with the table's overhead. A wrong hit (one
//! in 4,000 with a million traces) costs one look-up in the lake and nothing else.

use std::collections::VecDeque;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// A horizon is this many generations; the oldest goes as a whole.
const GENERATIONS: i64 = 4;

/// The set.
#[derive(Debug)]
pub(crate) struct LateFilter {
    horizon: i64,
    max_bytes: usize,
    /// Newest last: start of the generation, and what was added in it.
    generations: VecDeque<(i64, HashTable<u32>)>,
    cuts: u64,
}

fn spread(print: u32) -> u64 {
    u64::from(print).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl LateFilter {
    pub(crate) fn new(horizon: i64, max_bytes: usize) -> Self {
        Self { horizon, max_bytes, generations: VecDeque::new(), cuts: 0 }
    }

    fn span(&self) -> i64 {
        (self.horizon / GENERATIONS).max(1)
    }

    /// Adds a trace by its hash. `at` may go back: it is then kept longer than needed.
    pub(crate) fn insert(&mut self, hash: u64, at: i64) {
        let start = at - at.rem_euclid(self.span());
        if self.generations.back().is_none_or(|(newest, _)| *newest < start) {
            self.generations.push_back((start, HashTable::new()));
        }
        let Some((_, newest)) = self.generations.back_mut() else { return };
        let print = (hash >> 32) as u32;
        if let Entry::Vacant(vacant) = newest.entry(spread(print), |known| *known == print, |known| spread(*known)) {
            vacant.insert(print);
        }
    }

    pub(crate) fn contains(&self, hash: u64) -> bool {
        let print = (hash >> 32) as u32;
        self.generations.iter().any(|(_, prints)| prints.find(spread(print), |known| *known == print).is_some())
    }

    /// Forgets what is older than the horizon, and the oldest where memory does not reach.
    pub(crate) fn expire(&mut self, now: i64) {
        let span = self.span();
        while self.generations.front().is_some_and(|(start, _)| start.saturating_add(span + self.horizon) <= now) {
            self.generations.pop_front();
        }
        while self.bytes() > self.max_bytes && self.generations.pop_front().is_some() {
            self.cuts += 1;
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.generations.iter().map(|(_, prints)| prints.allocation_size()).sum()
    }

    /// How often memory cut the horizon short since it was last asked.
    pub(crate) fn take_cuts(&mut self) -> u64 {
        std::mem::take(&mut self.cuts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u64) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&n.to_le_bytes())
    }

    /// A trace is known for the whole horizon after its close and forgotten soon after.
    #[test]
    fn remembers_for_the_horizon() {
        let mut filter = LateFilter::new(3600, usize::MAX);
        filter.insert(hash(1), 100);
        filter.insert(hash(2), 3000);
        filter.expire(3700);
        assert!(filter.contains(hash(1)) && filter.contains(hash(2)) && !filter.contains(hash(3)));
        filter.expire(100 + 3600 + 900);
        assert!(!filter.contains(hash(1)) && filter.contains(hash(2)));
    }

    /// Beyond its memory the oldest goes first, and that is counted.
    #[test]
    fn memory_cuts_the_oldest() {
        let mut filter = LateFilter::new(4000, 25_000);
        for n in 0..1000 {
            filter.insert(hash(n), 0);
        }
        for n in 1000..3000 {
            filter.insert(hash(n), 1500);
        }
        filter.expire(1500);
        assert!(filter.bytes() <= 25_000 && filter.take_cuts() == 1);
        assert!(!filter.contains(hash(5)) && filter.contains(hash(2000)));
    }
}

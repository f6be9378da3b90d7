//! Which traces were closed within the late horizon: a set that forgets by age.
//!
//! Of each trace the 64 bits of a hash are kept, about 16 bytes with the table's overhead: a wrong hit, which costs
//! a look-up in the lake, is not to be expected in years.

use std::collections::VecDeque;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// A horizon is at least this many generations; the oldest goes as a whole.
const GENERATIONS: i64 = 4;
/// A full generation that takes this part of the memory is followed by another, so that the oldest is never all.
const PART: usize = 8;

/// The set.
#[derive(Debug)]
pub(crate) struct LateFilter {
    horizon: i64,
    max_bytes: usize,
    /// Newest last: start of the generation, and what was added in it.
    generations: VecDeque<(i64, HashTable<u64>)>,
}

impl LateFilter {
    pub(crate) fn new(horizon: i64, max_bytes: usize) -> Self {
        Self { horizon, max_bytes, generations: VecDeque::new() }
    }

    fn span(&self) -> i64 {
        (self.horizon / GENERATIONS).max(1)
    }

    /// Adds a trace by its hash. `at` may go back: it is then kept longer than needed.
    pub(crate) fn insert(&mut self, hash: u64, at: i64) {
        let start = at - at.rem_euclid(self.span());
        let full = (self.max_bytes / PART).max(1);
        let goes_on = self.generations.back().is_some_and(|(newest, prints)| {
            *newest >= start && (prints.len() < prints.capacity() || prints.allocation_size() < full)
        });
        if !goes_on {
            // Starts never go back, or a generation would hide older ones behind it.
            let start = self.generations.back().map_or(start, |(newest, _)| start.max(*newest));
            self.generations.push_back((start, HashTable::new()));
        }
        let Some((_, newest)) = self.generations.back_mut() else { return };
        if let Entry::Vacant(vacant) = newest.entry(hash, |known| *known == hash, |known| *known) {
            vacant.insert(hash);
        }
    }

    pub(crate) fn contains(&self, hash: u64) -> bool {
        self.generations.iter().any(|(_, prints)| prints.find(hash, |known| *known == hash).is_some())
    }

    /// Forgets what is older than the horizon.
    pub(crate) fn expire(&mut self, now: i64) {
        let span = self.span();
        while self.generations.front().is_some_and(|(start, _)| start.saturating_add(span + self.horizon) <= now) {
            self.generations.pop_front();
        }
    }

    /// Forgets the oldest where memory does not reach. Gives how often that cut the horizon short.
    pub(crate) fn cut(&mut self) -> u64 {
        let mut cuts = 0;
        while self.bytes() > self.max_bytes && self.generations.pop_front().is_some() {
            cuts += 1;
        }
        cuts
    }

    pub(crate) fn bytes(&self) -> usize {
        self.generations.iter().map(|(_, prints)| prints.allocation_size()).sum()
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

    /// Beyond its memory the oldest go first, also of a burst within one generation's time, and that is counted;
    /// what came last stays.
    #[test]
    fn memory_cuts_the_oldest() {
        let mut filter = LateFilter::new(4000, 100_000);
        for n in 0..10_000 {
            filter.insert(hash(n), 0);
        }
        let cuts = filter.cut();
        assert!(filter.bytes() <= 100_000 && filter.bytes() > 50_000, "{}", filter.bytes());
        assert!(cuts > 0 && filter.cut() == 0);
        assert!(!filter.contains(hash(5)) && filter.contains(hash(9_000)) && filter.contains(hash(9_999)));
        filter.expire(5000);
        assert!(!filter.contains(hash(9_999)), "its time has passed as well");
    }
}

//! Which log records were written within the dedupe horizon.
//!
//! A record has no id: an equal record of another message is the same record sent again, while equal
//! records within one message are all meant. So what is written of a record is the greatest number of
//! times that any one message holds it. Of each record 64 bits of its hash are kept.

use std::collections::VecDeque;

use hashbrown::HashTable;

/// A horizon is this many generations.
const GENERATIONS: i64 = 2;

#[derive(Debug, Clone, Copy)]
struct Record {
    hash: u64,
    /// The message that held it last, and how often it did so far.
    message: u32,
    seen: u32,
    /// How often it is written.
    written: u32,
}

/// The memory of written records.
#[derive(Debug)]
pub(crate) struct LogHistory {
    horizon: i64,
    max_bytes: usize,
    generations: VecDeque<(i64, HashTable<Record>)>,
    cuts: u64,
}

impl LogHistory {
    pub(crate) fn new(horizon: i64, max_bytes: usize) -> Self {
        Self { horizon, max_bytes, generations: VecDeque::new(), cuts: 0 }
    }

    fn span(&self) -> i64 {
        (self.horizon / GENERATIONS).max(1)
    }

    /// A record occurs `count` more times in one message: how many of these are to be written.
    pub(crate) fn admit(&mut self, hash: u64, message: u32, count: u32, now: i64) -> u32 {
        let known =
            self.generations.iter_mut().find_map(|(_, records)| records.find_mut(hash, |record| record.hash == hash));
        if let Some(known) = known {
            let seen = if known.message == message { known.seen.saturating_add(count) } else { count };
            let more = seen.saturating_sub(known.written);
            known.message = message;
            known.seen = seen;
            known.written = known.written.saturating_add(more);
            return more;
        }
        let start = now - now.rem_euclid(self.span());
        if self.generations.back().is_none_or(|(newest, _)| *newest < start) {
            self.generations.push_back((start, HashTable::new()));
        }
        if let Some((_, newest)) = self.generations.back_mut() {
            let record = Record { hash, message, seen: count, written: count };
            newest.insert_unique(hash, record, |record| record.hash);
        }
        count
    }

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
        self.generations.iter().map(|(_, records)| records.allocation_size()).sum()
    }

    /// How often memory cut the horizon short since it was last asked.
    pub(crate) fn take_cuts(&mut self) -> u64 {
        std::mem::take(&mut self.cuts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message that holds a record twice gives two; the same message sent again gives none; one that
    /// holds it three times gives one more, also when it comes in two parts.
    #[test]
    fn the_greatest_number_in_one_message_counts() {
        let mut history = LogHistory::new(600, usize::MAX);
        assert_eq!(history.admit(7, 1, 2, 0), 2);
        assert_eq!(history.admit(7, 2, 2, 100), 0);
        assert_eq!(history.admit(7, 3, 1, 200), 0);
        assert_eq!(history.admit(7, 3, 2, 200), 1);
        assert_eq!(history.admit(8, 3, 1, 200), 1);
    }

    /// Beyond the horizon, or beyond its memory, a record is new again.
    #[test]
    fn forgets_by_age_and_memory() {
        let mut history = LogHistory::new(600, 4096);
        assert_eq!(history.admit(7, 1, 1, 0), 1);
        history.expire(600);
        assert_eq!(history.admit(7, 2, 1, 600), 0);
        history.expire(900);
        assert_eq!(history.admit(7, 2, 1, 900), 1);
        for hash in 0..1000u64 {
            history.admit(hash << 20, 1, 1, 900);
        }
        history.expire(900);
        assert!(history.bytes() <= 4096);
        assert_eq!(history.take_cuts(), 1);
    }
}

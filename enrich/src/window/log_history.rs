//! Which log records were written within the dedupe horizon.
//!
//! A record has no id: an equal record of another message is the same record sent again, while equal
//! records within one message are all meant. So what is written of a record is the greatest number of
//! times that any one message holds it. Of each record 64 bits of its hash are kept.

use std::collections::VecDeque;

use hashbrown::HashTable;

/// A horizon is at least this many generations; the oldest goes as a whole.
const GENERATIONS: i64 = 2;
/// A full generation that takes this part of the memory is followed by another, so that the oldest is never all.
const PART: usize = 8;

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
}

impl LogHistory {
    pub(crate) fn new(horizon: i64, max_bytes: usize) -> Self {
        Self { horizon, max_bytes, generations: VecDeque::new() }
    }

    fn span(&self) -> i64 {
        (self.horizon / GENERATIONS).max(1)
    }

    /// A record occurs `count` more times in one message: how many of these are to be written.
    pub(crate) fn admit(&mut self, hash: u64, message: u32, count: u32, now: i64) -> u32 {
        if let Some(known) = self.find(hash) {
            let seen = if known.message == message { known.seen.saturating_add(count) } else { count };
            let more = seen.saturating_sub(known.written);
            known.message = message;
            known.seen = seen;
            known.written = known.written.saturating_add(more);
            return more;
        }
        self.insert(Record { hash, message, seen: count, written: count }, now);
        count
    }

    /// A record is stored `count` times. Saying so again changes nothing.
    pub(crate) fn remember(&mut self, hash: u64, message: u32, count: u32, at: i64) {
        match self.find(hash) {
            Some(known) => known.written = known.written.max(count),
            None => self.insert(Record { hash, message, seen: count, written: count }, at),
        }
    }

    fn find(&mut self, hash: u64) -> Option<&mut Record> {
        self.generations.iter_mut().find_map(|(_, records)| records.find_mut(hash, |record| record.hash == hash))
    }

    fn insert(&mut self, record: Record, at: i64) {
        let start = at - at.rem_euclid(self.span());
        let full = (self.max_bytes / PART).max(1);
        let goes_on = self.generations.back().is_some_and(|(newest, records)| {
            *newest >= start && (records.len() < records.capacity() || records.allocation_size() < full)
        });
        if !goes_on {
            // Starts never go back, or a generation would hide older ones behind it.
            let start = self.generations.back().map_or(start, |(newest, _)| start.max(*newest));
            self.generations.push_back((start, HashTable::new()));
        }
        if let Some((_, newest)) = self.generations.back_mut() {
            newest.insert_unique(record.hash, record, |record| record.hash);
        }
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
        self.generations.iter().map(|(_, records)| records.allocation_size()).sum()
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

    /// Beyond the horizon, or beyond its memory, a record is new again; what was written last stays known.
    #[test]
    fn forgets_by_age_and_memory() {
        let mut history = LogHistory::new(600, 16_384);
        assert_eq!(history.admit(7, 1, 1, 0), 1);
        history.expire(600);
        assert_eq!(history.admit(7, 2, 1, 600), 0);
        history.expire(900);
        assert_eq!(history.admit(7, 2, 1, 900), 1);
        for hash in 1..=1000u64 {
            history.admit(hash.wrapping_mul(0x9e37_79b9_7f4a_7c15), 1, 1, 900);
        }
        assert!(history.cut() > 0);
        assert!(history.bytes() <= 16_384 && history.bytes() > 8_192, "{}", history.bytes());
        assert_eq!(history.admit(1000u64.wrapping_mul(0x9e37_79b9_7f4a_7c15), 2, 1, 900), 0);
        assert_eq!(history.admit(7, 3, 1, 900), 1);
    }

    /// What is loaded from the lake counts once, however often it is loaded.
    #[test]
    fn remembering_again_changes_nothing() {
        let mut history = LogHistory::new(600, usize::MAX);
        assert_eq!(history.admit(7, 1, 2, 0), 2);
        for _ in 0..3 {
            history.remember(7, 1, 2, 0);
            history.remember(8, 1, 1, 0);
        }
        assert_eq!((history.admit(7, 2, 3, 0), history.admit(8, 2, 1, 0)), (1, 0));
    }
}

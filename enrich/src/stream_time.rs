//! Stream time: how far a group of partitions has come.
//!
//! A source's own time is the greatest record time that was read of it. A group's time is the least
//! over its sources that count, and never goes back. Only sources of spans and logs count: nothing else
//! belongs to a trace. A source does not count while it is idle, that is without data for
//! `idle_partition` and not paused; one that stands at its high watermark counts with
//! the worker's clock, for what comes next is not older. So the last traces of a quiet topic close, and
//! a quiet topic holds up no other.

use rustc_hash::FxHashMap;
use tracerag_schemas::SourcePartition;
use tracerag_schemas::time::SECOND;

use crate::window::resume::Suppression;

/// The worker's clock is looked at more often than that while it reads.
const LONGEST_STEP: i64 = SECOND;

/// One assigned partition.
#[derive(Debug)]
pub(crate) struct Source {
    pub id: SourcePartition,
    pub group: u32,
    pub assigned: bool,
    /// Whether traces wait for it: it brings spans or logs.
    counts: bool,
    /// Offset that is read next.
    pub next_offset: i64,
    pub suppression: Suppression,
    /// Greatest record time read.
    time: Option<i64>,
    /// The worker's clock when the partition was last seen at its high watermark, if nothing came since.
    caught_up: Option<i64>,
    /// The worker's clock when data was last noticed; `None` before the first tick.
    last_data: Option<i64>,
    fresh: bool,
    idle: bool,
    paused: bool,
    finished: bool,
}

/// All sources, and the time of their groups.
#[derive(Debug)]
pub(crate) struct Clock {
    sources: Vec<Source>,
    index: FxHashMap<SourcePartition, u32>,
    /// Partition number of each group where topics are keyed.
    groups: Vec<Group>,
    idle_partition: i64,
    keyed: bool,
    /// The worker's clock at the last tick.
    ticked: Option<i64>,
}

#[derive(Debug)]
struct Group {
    partition: i32,
    time: Option<i64>,
}

impl Clock {
    pub(crate) fn new(idle_partition: i64, keyed: bool) -> Self {
        Self { sources: vec![], index: FxHashMap::default(), groups: vec![], idle_partition, keyed, ticked: None }
    }

    /// Takes a partition, anew if it was there before. Its number stays the same.
    /// `counts`: whether its time holds that of its group.
    pub(crate) fn assign(
        &mut self,
        id: &SourcePartition,
        seek: i64,
        time: Option<i64>,
        counts: bool,
        suppression: Suppression,
    ) {
        let partition = if self.keyed { id.partition } else { 0 };
        let group = self.groups.iter().position(|group| group.partition == partition).unwrap_or_else(|| {
            self.groups.push(Group { partition, time: None });
            self.groups.len() - 1
        });
        let source = Source {
            id: id.clone(),
            group: group as u32,
            assigned: true,
            counts,
            next_offset: seek,
            suppression,
            time,
            caught_up: None,
            last_data: None,
            fresh: true,
            idle: false,
            paused: false,
            finished: false,
        };
        match self.index.get(id) {
            Some(number) => self.sources[*number as usize] = source,
            None => {
                self.index.insert(id.clone(), self.sources.len() as u32);
                self.sources.push(source);
            }
        }
        self.move_group(group as u32);
    }

    pub(crate) fn revoke(&mut self, number: u32) {
        let source = &mut self.sources[number as usize];
        source.assigned = false;
        let group = source.group;
        self.move_group(group);
    }

    /// The number of an assigned source.
    pub(crate) fn number(&self, id: &SourcePartition) -> Option<u32> {
        self.index.get(id).copied().filter(|number| self.sources[*number as usize].assigned)
    }

    pub(crate) fn source(&self, number: u32) -> &Source {
        &self.sources[number as usize]
    }

    pub(crate) fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Data was read up to `next_offset`; the greatest of its record times is `record_time`.
    pub(crate) fn advance(&mut self, number: u32, record_time: i64, next_offset: i64) {
        let source = &mut self.sources[number as usize];
        source.time = Some(source.time.map_or(record_time, |time| time.max(record_time)));
        // Rows from here on are still to be pushed.
        source.suppression.passed(source.next_offset);
        source.next_offset = source.next_offset.max(next_offset);
        source.caught_up = None;
        source.fresh = true;
        source.idle = false;
        let group = source.group;
        self.move_group(group);
    }

    pub(crate) fn at_high_watermark(&mut self, number: u32, wall_clock: i64) {
        let source = &mut self.sources[number as usize];
        source.caught_up = Some(wall_clock);
        let group = source.group;
        self.move_group(group);
    }

    pub(crate) fn set_paused(&mut self, number: u32, paused: bool) {
        let source = &mut self.sources[number as usize];
        source.paused = paused;
        // Its silence so far was our doing: the wait begins again.
        source.fresh = true;
        source.idle = false;
        let group = source.group;
        self.move_group(group);
    }

    /// The input has ended: the source counts no more.
    pub(crate) fn finish(&mut self, number: u32) {
        self.sources[number as usize].finished = true;
        let group = self.sources[number as usize].group;
        self.move_group(group);
    }

    /// Finds idle partitions by the worker's clock. While the worker itself stood still, in a slow commit or with
    /// its machine, no partition could bring anything: that time counts for none.
    pub(crate) fn tick(&mut self, wall_clock: i64) {
        let gap = self.ticked.map_or(0, |ticked| wall_clock.saturating_sub(ticked));
        self.ticked = Some(wall_clock);
        if gap > LONGEST_STEP {
            for last in self.sources.iter_mut().filter_map(|source| source.last_data.as_mut()) {
                *last = last.saturating_add(gap);
            }
        }
        for source in &mut self.sources {
            if std::mem::take(&mut source.fresh) || source.paused || source.last_data.is_none() {
                source.last_data = Some(wall_clock);
            } else if let Some(last) = source.last_data {
                source.idle = wall_clock.saturating_sub(last) >= self.idle_partition;
            }
        }
        for group in 0..self.groups.len() {
            self.move_group(group as u32);
        }
    }

    fn move_group(&mut self, group: u32) {
        let counting = self
            .sources
            .iter()
            .filter(|source| source.group == group && source.assigned && source.counts && !source.finished)
            // At its high watermark a source counts even if it is idle: with the clock.
            .filter(|source| source.caught_up.is_some() || !source.idle);
        let mut least: Option<i64> = None;
        for source in counting {
            let Some(time) = source.caught_up.max(source.time) else { return };
            least = Some(least.map_or(time, |least| least.min(time)));
        }
        let time = &mut self.groups[group as usize].time;
        *time = (*time).max(least);
    }

    pub(crate) fn groups(&self) -> usize {
        self.groups.len()
    }

    /// Stream time of a group.
    pub(crate) fn time(&self, group: u32) -> Option<i64> {
        self.groups[group as usize].time
    }

    /// Sources that have been read by more than `limit` ns beyond the time of their group, or while it has none: then
    /// another source was not heard of yet, and will be, or be idle.
    pub(crate) fn ahead(&self, limit: i64) -> impl Iterator<Item = &SourcePartition> {
        let counting = self.sources.iter().filter(|source| source.assigned && source.counts && !source.finished);
        let ahead = counting.filter(move |source| {
            let group = self.time(source.group);
            source.time.is_some_and(|time| group.is_none_or(|group| time.saturating_sub(group) > limit))
        });
        ahead.map(|source| &source.id)
    }

    /// The time at which rows of a source arrive now.
    pub(crate) fn arrival(&self, number: u32) -> Option<i64> {
        let source = &self.sources[number as usize];
        source.time.max(self.time(source.group))
    }

    /// The least time of all assigned sources, whatever they carry and whether they are idle; `None` until each has
    /// one. What the head of the lake shows has passed this time everywhere.
    pub(crate) fn least_of_sources(&self) -> Option<i64> {
        let assigned = self.sources.iter().filter(|source| source.assigned);
        assigned.map(|source| source.caught_up.max(source.time)).min().flatten()
    }

    /// The greatest time of all sources; `None` before the first record.
    pub(crate) fn greatest(&self) -> Option<i64> {
        self.sources.iter().filter_map(|source| source.time).max()
    }

    /// The least time of all groups that have one and an assigned source: nothing older is asked about.
    pub(crate) fn least(&self) -> Option<i64> {
        let assigned = self.sources.iter().filter(|source| source.assigned);
        assigned.filter_map(|source| self.time(source.group)).min()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn clock(keyed: bool, ids: &[(&str, i32)]) -> Clock {
        let mut clock = Clock::new(5, keyed);
        for (topic, partition) in ids {
            clock.assign(&SourcePartition::new("c", *topic, *partition), 0, None, true, Suppression::default());
        }
        clock
    }

    /// A group waits for its slowest source, never goes back, and is unknown until every source has a time.
    #[test]
    fn least_time_of_the_group_counts() {
        let mut clock = clock(false, &[("s", 0), ("s", 1)]);
        clock.advance(0, 100, 1);
        assert_eq!(clock.time(0), None);
        clock.advance(1, 40, 1);
        assert_eq!(clock.time(0), Some(40));
        clock.advance(1, 30, 2);
        assert_eq!((clock.time(0), clock.arrival(0), clock.arrival(1)), (Some(40), Some(100), Some(40)));
        clock.advance(1, 130, 3);
        assert_eq!(clock.time(0), Some(100));
    }

    /// Keyed topics run by partition number: partition 1 does not wait for partition 0, but the log
    /// partition of the same number does.
    #[test]
    fn keyed_topics_run_by_partition_number() {
        let mut clock = clock(true, &[("s", 0), ("l", 0), ("s", 1)]);
        clock.advance(0, 10, 1);
        clock.advance(2, 50, 1);
        assert_eq!((clock.time(0), clock.time(1)), (None, Some(50)));
        clock.advance(1, 7, 1);
        assert_eq!(clock.time(0), Some(7));
    }

    /// A partition without data, also one never written to, is left out after the wait; one that is
    /// paused is not; the next record brings it back, without turning time back.
    #[test]
    fn idle_partitions_are_left_out() {
        let mut clock = clock(false, &[("s", 0), ("s", 1)]);
        clock.tick(1000);
        clock.advance(0, 100, 1);
        clock.set_paused(1, true);
        clock.tick(1001);
        clock.advance(0, 101, 2);
        clock.tick(1006);
        assert_eq!(clock.time(0), None, "paused is not idle");
        clock.set_paused(1, false);
        clock.tick(1007);
        clock.advance(0, 102, 3);
        clock.tick(1012);
        assert_eq!(clock.time(0), Some(102));
        clock.advance(1, 50, 1);
        clock.advance(0, 200, 4);
        assert_eq!(clock.time(0), Some(102));
    }

    /// A step of the worker that takes longer than the wait makes no partition idle; silence before and after it
    /// still adds up.
    #[test]
    fn a_worker_that_stood_still_finds_nothing_idle() {
        let mut clock = Clock::new(5 * SECOND, false);
        for partition in 0..2 {
            clock.assign(&SourcePartition::new("c", "s", partition), 0, None, true, Suppression::default());
        }
        clock.advance(1, 40, 1);
        let step = |clock: &mut Clock, second: i64| {
            clock.advance(0, 100 + second, 1);
            clock.tick(second * SECOND);
        };
        (0..=3).for_each(|second| step(&mut clock, second));
        step(&mut clock, 60);
        assert_eq!(clock.time(0), Some(40));
        step(&mut clock, 61);
        assert_eq!(clock.time(0), Some(40));
        step(&mut clock, 62);
        assert_eq!(clock.time(0), Some(162));
    }

    /// A source that brings neither spans nor logs holds nobody up and has its own time nevertheless.
    #[test]
    fn other_signals_hold_up_no_trace() {
        let mut clock = Clock::new(5, false);
        let sources = [("s", true), ("metrics", false), ("flags", false)];
        for (topic, counts) in sources {
            clock.assign(&SourcePartition::new("c", topic, 0), 0, None, counts, Suppression::default());
        }
        clock.advance(1, 50, 1);
        assert_eq!((clock.time(0), clock.arrival(1)), (None, Some(50)));
        clock.advance(0, 100, 1);
        assert_eq!((clock.time(0), clock.least()), (Some(100), Some(100)));
        clock.at_high_watermark(2, 70);
        assert_eq!(clock.least_of_sources(), Some(50), "for seals every source counts");
    }

    /// When every source stands at its high watermark the clock moves time, also past idle sources.
    #[test]
    fn the_clock_moves_time_at_the_end_of_the_topics() {
        let mut clock = clock(false, &[("s", 0), ("s", 1)]);
        clock.advance(0, 100, 1);
        clock.advance(1, 90, 1);
        clock.at_high_watermark(0, 500);
        assert_eq!(clock.time(0), Some(90));
        clock.at_high_watermark(1, 510);
        assert_eq!(clock.time(0), Some(500));
        clock.finish(0);
        assert_eq!(clock.time(0), Some(510));
    }

    /// Who has been read further than the others is told by the time of the group: not the slowest, not who is close
    /// behind, everybody while one has no time, and fewer once the slowest is left out.
    #[test]
    fn sources_that_run_ahead_are_known() {
        let mut clock = clock(false, &[("s", 0), ("s", 1), ("s", 2)]);
        let ahead = |clock: &Clock| clock.ahead(10).map(|source| source.partition).collect::<Vec<_>>();
        clock.tick(1000);
        clock.advance(0, 100, 1);
        clock.advance(1, 150, 1);
        assert_eq!(ahead(&clock), [0, 1]);
        clock.advance(2, 110, 1);
        assert_eq!(ahead(&clock), [1]);
        clock.set_paused(1, true);
        clock.tick(1001);
        clock.advance(2, 120, 2);
        assert_eq!(ahead(&clock), [1, 2]);
        // Partition 0 brings nothing more and is idle in the end.
        clock.set_paused(2, true);
        clock.tick(1007);
        assert_eq!((clock.time(0), ahead(&clock)), (Some(120), vec![1]));
    }

    /// For seals the slowest source counts although it is idle or has ended, and all wait for one without a time.
    #[test]
    fn every_source_counts_for_seals() {
        let mut clock = clock(false, &[("s", 0), ("s", 1)]);
        clock.advance(0, 100, 1);
        assert_eq!(clock.least_of_sources(), None);
        clock.advance(1, 40, 1);
        clock.finish(1);
        assert_eq!((clock.time(0), clock.least_of_sources()), (Some(100), Some(40)));
        clock.at_high_watermark(1, 120);
        assert_eq!(clock.least_of_sources(), Some(100));
    }
}

//! Which offsets may be committed: those before which everything has reached the broker.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracerag_schemas::SourcePartition;

/// How often a flight ends, and offsets are committed.
const EVERY: Duration = Duration::from_secs(1);

/// Messages that are sent one after the other. Each carries a reference until the broker has it or refuses it, so the
/// flight has landed when its own reference is the only one.
#[derive(Debug, Default)]
pub(super) struct Flight;

/// By partition, the offset behind the last record of which all parts were sent.
type Positions = BTreeMap<SourcePartition, i64>;

/// Flights that have not landed, the oldest first.
#[derive(Debug)]
pub(super) struct Flights {
    ended: VecDeque<(Arc<Flight>, Positions)>,
    open: (Arc<Flight>, Positions),
    opened_at: Instant,
    /// Of flights that have landed, and not committed yet.
    landed: Positions,
}

impl Flights {
    pub(super) fn new() -> Self {
        Self { ended: VecDeque::new(), open: Default::default(), opened_at: Instant::now(), landed: Positions::new() }
    }

    /// The flight that messages join now.
    pub(super) fn open(&self) -> &Arc<Flight> {
        &self.open.0
    }

    /// All parts of the records of a partition before this offset have joined this flight or earlier ones.
    pub(super) fn reached(&mut self, source: &SourcePartition, offset: i64) {
        match self.open.1.get_mut(source) {
            Some(position) => *position = offset,
            None => {
                self.open.1.insert(source.clone(), offset);
            }
        }
    }

    /// The offsets of these partitions are another member's to commit from now on.
    pub(super) fn forget(&mut self, sources: &[SourcePartition]) {
        for (_, positions) in self.ended.iter_mut().chain(std::iter::once(&mut self.open)) {
            positions.retain(|source, _| !sources.contains(source));
        }
        self.landed.retain(|source, _| !sources.contains(source));
    }

    /// Ends the open flight if it is old enough. One that has no whole record yet goes on.
    pub(super) fn end_if_due(&mut self) {
        if self.opened_at.elapsed() >= EVERY {
            self.end();
        }
    }

    /// Ends the open flight.
    pub(super) fn end(&mut self) {
        self.opened_at = Instant::now();
        if !self.open.1.is_empty() {
            self.ended.push_back(std::mem::take(&mut self.open));
        }
    }

    /// The offsets up to which everything has landed, and that are not committed. A message that was refused counts as
    /// landed: look for refusals after this and before the commit.
    pub(super) fn landed(&mut self) -> Vec<(SourcePartition, i64)> {
        // `get_mut` succeeds once nobody else refers to it, and then whatever the others did before is seen.
        while let Some((flight, _)) = self.ended.front_mut()
            && Arc::get_mut(flight).is_some()
            && let Some((_, positions)) = self.ended.pop_front()
        {
            self.landed.extend(positions);
        }
        self.landed.iter().map(|(source, offset)| (source.clone(), *offset)).collect()
    }

    /// What [`Self::landed`] gave last is committed.
    pub(super) fn committed(&mut self) {
        self.landed.clear();
    }

    /// Whether nothing waits to be committed.
    pub(super) fn is_empty(&self) -> bool {
        self.ended.is_empty() && self.open.1.is_empty() && self.landed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(partition: i32) -> SourcePartition {
        SourcePartition::new("c", "otlp_spans", partition)
    }

    /// Offsets are given out once all messages before them have landed, in the order of the flights: one that lands
    /// early waits for those before it.
    #[test]
    fn offsets_follow_what_has_landed() {
        let mut flights = Flights::new();
        let first = Arc::clone(flights.open());
        flights.reached(&source(0), 5);
        flights.end();
        let second = Arc::clone(flights.open());
        flights.reached(&source(0), 9);
        flights.reached(&source(1), 2);
        flights.end();
        assert!(!Arc::ptr_eq(&first, &second));

        drop(second);
        assert!(flights.landed().is_empty());
        drop(first);
        for _ in 0..2 {
            assert_eq!(flights.landed(), [(source(0), 9), (source(1), 2)]);
        }
        flights.committed();
        assert!(flights.is_empty());
        assert!(flights.landed().is_empty());
    }

    /// A flight without a whole record is not ended: its messages belong to the record that is not whole yet.
    #[test]
    fn parts_of_a_record_wait_for_the_others() {
        let mut flights = Flights::new();
        let part = Arc::clone(flights.open());
        flights.end();
        assert!(Arc::ptr_eq(&part, flights.open()));
        flights.reached(&source(0), 1);
        flights.end();
        assert!(flights.landed().is_empty());
        drop(part);
        assert_eq!(flights.landed(), [(source(0), 1)]);
    }

    /// Offsets of a partition that was taken away are never committed by who had it.
    #[test]
    fn a_partition_that_is_gone_is_forgotten() {
        let mut flights = Flights::new();
        flights.reached(&source(0), 5);
        flights.reached(&source(1), 5);
        flights.end();
        flights.reached(&source(0), 6);
        flights.forget(&[source(0)]);
        flights.end();
        assert_eq!(flights.landed(), [(source(1), 5)]);
        flights.forget(&[source(1)]);
        assert!(flights.landed().is_empty());
    }
}

//! Kafka as a worker sees it: partitions with records, a group that shares them out, and sessions that time out.
//!
//! The group shares out numbers of partitions. The partitions of all topics with the same number go to the same member,
//! as those of spans and of logs do with the real source.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use tracerag_ingest::source::{
    Encoding, Event, Gap, Lag, Member, MessageBatch, PlanLine, Signal, SourceError, Start, TopicKind,
};
use tracerag_schemas::SourcePartition;

use crate::source::Source;

pub(super) const SPANS: &str = "otlp_spans";
pub(super) const LOGS: &str = "otlp_logs";
pub(super) const METRICS: &str = "otlp_metrics";
pub(super) const FLAGS: &str = "feature_flags";
pub(super) const DEPLOYMENTS: &str = "deployments";
pub(super) const HEAPS: &str = "heap_summaries";
pub(super) const TOPICS: [&str; 6] = [SPANS, LOGS, METRICS, FLAGS, DEPLOYMENTS, HEAPS];

/// The cluster and its group. Members are counted from 0.
pub(super) struct Broker {
    logs: BTreeMap<SourcePartition, Log>,
    /// By number of a partition: the member that is to have it.
    wanted: Vec<usize>,
    /// By number of a partition: the member that has it, as far as the group knows.
    held: Vec<Option<usize>>,
    members: Vec<Seat>,
    /// In ns since the epoch.
    pub clock: i64,
}

#[derive(Default)]
struct Log {
    low: i64,
    /// Timestamp in ns and payload, from offset 0 on.
    records: Vec<(i64, String)>,
}

/// What the group and the schedule have decided of one member.
#[derive(Default)]
struct Seat {
    /// How far its clock is ahead, in ns.
    skew: i64,
    /// Its session has timed out, and it learns so after so many polls.
    lost_in: Option<u32>,
}

impl Broker {
    pub fn new(numbers: usize, members: usize, clock: i64) -> Self {
        let logs = (0..numbers).flat_map(|number| sources_of(number).map(|source| (source, Log::default())));
        Self {
            logs: logs.collect(),
            wanted: (0..numbers).map(|number| number % members).collect(),
            held: vec![None; numbers],
            members: (0..members).map(|_| Seat::default()).collect(),
            clock,
        }
    }

    /// Appends a record, stamped with the broker's clock; gives where it went.
    pub fn append(&mut self, topic: &str, number: usize, value: String) -> (SourcePartition, i64) {
        let source = source(topic, number);
        let log = self.logs.entry(source.clone()).or_default();
        log.records.push((self.clock, value));
        (source, log.high() - 1)
    }

    /// Every partition with the offset behind its newest record.
    pub fn ends(&self) -> impl Iterator<Item = (&SourcePartition, i64)> {
        self.logs.iter().map(|(source, log)| (source, log.high()))
    }

    /// Deletes what lies before an offset.
    pub fn delete(&mut self, source: &SourcePartition, below: i64) {
        if let Some(log) = self.logs.get_mut(source) {
            log.low = log.low.max(below);
        }
    }

    /// Shares the partitions out anew: by number, the member that is to have it.
    pub fn rebalance(&mut self, wanted: &[usize]) {
        self.wanted.clear();
        self.wanted.extend_from_slice(wanted);
    }

    /// A member was silent for too long: others get its partitions, and it learns so after `polls` more.
    pub fn expel(&mut self, member: usize, polls: u32) {
        for held in self.held.iter_mut().filter(|held| **held == Some(member)) {
            *held = None;
        }
        let next = (member + 1) % self.members.len();
        for wanted in self.wanted.iter_mut().filter(|wanted| **wanted == member) {
            *wanted = next;
        }
        self.members[member].lost_in = Some(polls);
    }

    /// A member is gone; what was its is free.
    pub fn leave(&mut self, member: usize) {
        for held in self.held.iter_mut().filter(|held| **held == Some(member)) {
            *held = None;
        }
        self.members[member].lost_in = None;
    }

    /// A member's clock jumps, in ns.
    pub fn jump(&mut self, member: usize, by: i64) {
        self.members[member].skew += by;
    }

    /// Clocks are right again, and whoever has lost its partitions learns so at once.
    pub fn heal(&mut self) {
        for seat in &mut self.members {
            seat.skew = 0;
            seat.lost_in = seat.lost_in.map(|_| 0);
        }
    }

    fn log(&self, source: &SourcePartition) -> (i64, i64) {
        self.logs.get(source).map_or((0, 0), |log| (log.low, log.high()))
    }
}

impl Log {
    fn high(&self) -> i64 {
        self.records.len() as i64
    }
}

fn source(topic: &str, number: usize) -> SourcePartition {
    SourcePartition::new("simulated", topic, i32::try_from(number).unwrap_or(i32::MAX))
}

fn sources_of(number: usize) -> [SourcePartition; TOPICS.len()] {
    TOPICS.map(|topic| source(topic, number))
}

/// One partition that a member reads.
struct Reading {
    source: SourcePartition,
    next: i64,
    at_end: Option<i64>,
    is_paused: bool,
}

/// A member of the group.
pub(super) struct SimulatedSource {
    broker: Rc<RefCell<Broker>>,
    member: usize,
    /// Most records that one poll brings.
    batch: usize,
    /// Numbers of the partitions that it takes for its own.
    own: BTreeSet<usize>,
    /// Numbers that it has given up; the group gets them at its next poll.
    given_up: Vec<usize>,
    readings: Vec<Reading>,
    turn: usize,
}

impl SimulatedSource {
    pub fn new(broker: Rc<RefCell<Broker>>, member: usize, batch: usize) -> Self {
        Self { broker, member, batch, own: BTreeSet::new(), given_up: Vec::new(), readings: Vec::new(), turn: 0 }
    }

    /// What of the group this member has to learn, if anything.
    fn group_event(&mut self) -> Option<Event> {
        let member = self.member;
        let mut broker = self.broker.borrow_mut();
        for number in self.given_up.drain(..) {
            if broker.held[number] == Some(member) {
                broker.held[number] = None;
            }
        }
        let is_overtaken = self.readings.iter().any(|reading| reading.next < broker.log(&reading.source).0);
        if is_overtaken {
            // Only the records that another worker has written can be gone.
            broker.members[member].lost_in = Some(0);
        }
        let lost_in = broker.members[member].lost_in;
        match lost_in {
            Some(0) => {
                broker.leave(member);
                self.readings.clear();
                let lost: Vec<_> = std::mem::take(&mut self.own).into_iter().flat_map(sources_of).collect();
                return (!lost.is_empty()).then_some(Event::Lost(lost));
            }
            Some(polls) => {
                broker.members[member].lost_in = Some(polls - 1);
                return None;
            }
            None => {}
        }
        let revoked: Vec<usize> = self.own.iter().copied().filter(|number| broker.wanted[*number] != member).collect();
        if !revoked.is_empty() {
            self.own.retain(|number| !revoked.contains(number));
            self.given_up.clone_from(&revoked);
            let sources: Vec<_> = revoked.into_iter().flat_map(sources_of).collect();
            self.readings.retain(|reading| !sources.contains(&reading.source));
            return Some(Event::Revoked(sources));
        }
        let is_free = |number: &usize| broker.wanted[*number] == member && broker.held[*number].is_none();
        let assigned: Vec<usize> = (0..broker.wanted.len()).filter(is_free).collect();
        if assigned.is_empty() {
            return None;
        }
        for number in &assigned {
            broker.held[*number] = Some(member);
        }
        self.own.extend(assigned.iter().copied());
        Some(Event::Assigned(assigned.into_iter().flat_map(sources_of).collect()))
    }

    /// Records of the partitions in turn.
    fn next_batch(&mut self) -> Option<MessageBatch> {
        let now = self.now();
        let broker = self.broker.borrow();
        let mut batch = None;
        for _ in 0..self.readings.len() {
            self.turn = (self.turn + 1) % self.readings.len();
            let reading = &mut self.readings[self.turn];
            let Some(log) = broker.logs.get(&reading.source) else { continue };
            if reading.is_paused || reading.next >= log.high() {
                continue;
            }
            let records = (reading.next..log.high()).take(self.batch).map(|offset| {
                let (timestamp, value) = &log.records[offset as usize];
                (offset, *timestamp, value.as_bytes())
            });
            let taken = MessageBatch::simulated(reading.source.clone(), kind_of(&reading.source.topic), now, records);
            reading.next = taken.next_offset();
            batch = Some(taken);
            break;
        }
        for reading in self.readings.iter_mut().filter(|reading| !reading.is_paused) {
            reading.at_end = (reading.next >= broker.log(&reading.source).1).then_some(now);
        }
        batch
    }

    fn set_paused(&mut self, sources: &[SourcePartition], is_paused: bool) {
        for reading in self.readings.iter_mut().filter(|reading| sources.contains(&reading.source)) {
            reading.is_paused = is_paused;
        }
    }
}

fn kind_of(topic: &str) -> TopicKind {
    let signal = match topic {
        LOGS => Signal::Logs,
        METRICS => Signal::Metrics,
        FLAGS => Signal::Flags,
        DEPLOYMENTS => Signal::Deployments,
        HEAPS => Signal::Heaps,
        _ => Signal::Spans,
    };
    TopicKind { signal, encoding: Encoding::Json }
}

impl Source for SimulatedSource {
    fn now(&self) -> i64 {
        let broker = self.broker.borrow();
        broker.clock + broker.members[self.member].skew
    }

    fn poll(&mut self, _: Duration) -> Result<Event, SourceError> {
        if let Some(event) = self.group_event() {
            return Ok(event);
        }
        Ok(self.next_batch().map_or(Event::Idle, Event::Messages))
    }

    /// What happens is found out by the poll that tells of it.
    fn has_news(&self) -> bool {
        false
    }

    /// The group needs no answer.
    fn attend(&mut self) -> Result<(), SourceError> {
        Ok(())
    }

    fn rejoin(&mut self) -> Result<(), SourceError> {
        self.broker.borrow_mut().leave(self.member);
        self.own.clear();
        self.given_up.clear();
        self.readings.clear();
        Ok(())
    }

    fn kind(&self, topic: &str) -> Option<TopicKind> {
        Some(kind_of(topic))
    }

    fn members(&self) -> Result<Vec<Member>, SourceError> {
        Ok(Vec::new())
    }

    fn initial_offsets(&self, sources: &[SourcePartition]) -> Result<Vec<(SourcePartition, i64)>, SourceError> {
        let broker = self.broker.borrow();
        Ok(sources.iter().map(|source| (source.clone(), broker.log(source).0)).collect())
    }

    /// Nothing that a worker still needs is deleted here, so there is no gap; what is behind the end is no offset of
    /// the partition.
    fn start(&mut self, from: &[Start]) -> Result<Vec<Gap>, SourceError> {
        let broker = self.broker.borrow();
        for Start { source, at, read_to } in from {
            let (low, high) = broker.log(source);
            let read_to = (*read_to).max(*at);
            if *at < low || read_to > high {
                let source_partition = source.clone();
                return Err(SourceError::OutOfRange { source_partition, offset: read_to, low, high });
            }
            self.readings.push(Reading { source: source.clone(), next: *at, at_end: None, is_paused: false });
        }
        Ok(Vec::new())
    }

    /// A plan is for people, and nobody reads this one.
    fn plan(&self, _: &BTreeMap<SourcePartition, i64>) -> Result<Vec<PlanLine>, SourceError> {
        Ok(Vec::new())
    }

    fn pause(&mut self, sources: &[SourcePartition]) {
        self.set_paused(sources, true);
    }

    fn resume(&mut self, sources: &[SourcePartition]) {
        self.set_paused(sources, false);
    }

    fn reading(&self) -> impl Iterator<Item = (&SourcePartition, Option<i64>)> {
        self.readings.iter().map(|reading| (&reading.source, reading.at_end))
    }

    fn commit(&self, _: &[(SourcePartition, i64)]) -> Result<(), SourceError> {
        Ok(())
    }

    fn lag(&self) -> Vec<Lag> {
        let broker = self.broker.borrow();
        let lag = |reading: &Reading| {
            let (low, high) = broker.log(&reading.source);
            Lag { source: reading.source.clone(), next: reading.next, low, high }
        };
        self.readings.iter().map(lag).collect()
    }
}

//! What a worker makes of what its source tells, on a lake in a temporary folder.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, VecDeque};

use tracerag_ingest::source::{Encoding, Gap, Member, PlanLine, Signal, SourceError, Start, TopicKind};

use super::*;
use crate::pipeline::tests::Bench;

/// A source that tells one event a poll of those that have happened. As Kafka's does, it begins exactly what is
/// assigned after all of them.
#[derive(Default)]
struct Script {
    events: VecDeque<Event>,
    assigned: BTreeSet<SourcePartition>,
    begun: BTreeSet<SourcePartition>,
    /// What the group tells when it is attended to.
    when_attended: Option<Event>,
    /// No broker answers when partitions are begun.
    is_away: bool,
    /// A broker does not answer for partitions of others.
    is_blind: bool,
}

impl Script {
    fn happens(&mut self, event: Event) {
        match &event {
            Event::Assigned(sources) => self.assigned.extend(sources.iter().cloned()),
            Event::Revoked(sources) => {
                self.assigned.retain(|source| !sources.contains(source));
                self.begun.retain(|source| !sources.contains(source));
            }
            _ => {}
        }
        self.events.push_back(event);
    }
}

impl Source for Script {
    fn now(&self) -> i64 {
        now()
    }

    fn poll(&mut self, _: Duration) -> Result<Event, SourceError> {
        Ok(self.events.pop_front().unwrap_or(Event::Idle))
    }

    fn has_news(&self) -> bool {
        !self.events.is_empty()
    }

    fn attend(&mut self) -> Result<(), SourceError> {
        if let Some(event) = self.when_attended.take() {
            self.happens(event);
        }
        Ok(())
    }

    fn rejoin(&mut self) -> Result<(), SourceError> {
        *self = Self::default();
        Ok(())
    }

    fn kind(&self, _: &str) -> Option<TopicKind> {
        Some(TopicKind { signal: Signal::Spans, encoding: Encoding::Json })
    }

    fn members(&self) -> Result<Vec<Member>, SourceError> {
        Ok(Vec::new())
    }

    fn initial_offsets(&self, sources: &[SourcePartition]) -> Result<Vec<(SourcePartition, i64)>, SourceError> {
        Ok(sources.iter().map(|source| (source.clone(), 0)).collect())
    }

    fn start(&mut self, from: &[Start]) -> Result<Vec<Gap>, SourceError> {
        if self.is_away {
            return Err(unreachable());
        }
        let wanted: BTreeSet<SourcePartition> = from.iter().map(|start| start.source.clone()).collect();
        if wanted != self.assigned {
            return Err(SourceError::Assignment { detail: format!("{wanted:?} is not {:?}", self.assigned) });
        }
        self.begun.append(&mut self.assigned);
        Ok(Vec::new())
    }

    fn plan(&self, _: &BTreeMap<SourcePartition, i64>) -> Result<Vec<PlanLine>, SourceError> {
        match self.is_blind {
            true => Err(unreachable()),
            false => Ok(Vec::new()),
        }
    }

    fn pause(&mut self, _: &[SourcePartition]) {}

    fn resume(&mut self, _: &[SourcePartition]) {}

    fn reading(&self) -> impl Iterator<Item = (&SourcePartition, Option<i64>)> {
        self.begun.iter().map(|source| (source, None))
    }

    fn commit(&self, _: &[(SourcePartition, i64)]) -> Result<(), SourceError> {
        Ok(())
    }

    fn lag(&self) -> Vec<Lag> {
        Vec::new()
    }
}

fn unreachable() -> SourceError {
    SourceError::Unreachable { servers: String::from("k:9092"), reason: String::from("no leader") }
}

fn partition(number: i32) -> SourcePartition {
    SourcePartition::new("c", "otlp_spans", number)
}

/// A worker that waits for its lake, and what it tells of its readiness.
async fn worker(bench: &Bench) -> (Worker<Script>, Arc<Readiness>) {
    let readiness = Arc::new(Readiness::default());
    let keying = KeyingCheck::passed();
    let beside = ChangesBeside::none();
    let mut worker = Worker::new(Script::default(), bench.pipeline().await, Arc::clone(&readiness), keying, beside);
    worker.outlast_faults(Patience::new(Arc::clone(&readiness)));
    (worker, readiness)
}

/// Partitions are assigned, one of them is taken back and another one assigned before the worker has heard of any of it,
/// as after a long pause. Guarantees that it claims once, when all is told, and then what is its own.
#[tokio::test(flavor = "multi_thread")]
async fn claims_wait_until_all_is_told() {
    let bench = Bench::new();
    let (mut worker, _) = worker(&bench).await;
    worker.source.happens(Event::Assigned(vec![partition(0), partition(1)]));
    worker.source.happens(Event::Revoked(vec![partition(0)]));
    worker.source.happens(Event::Assigned(vec![partition(2)]));
    while worker.source.has_news() {
        assert!(worker.source.begun.is_empty());
        worker.turn().await.unwrap();
    }
    assert_eq!(worker.source.begun, BTreeSet::from([partition(1), partition(2)]));
}

/// The group takes partitions back while a claim of them waits for a lake that does not answer. Guarantees that the
/// claim is given up, however long the lake takes, and that one which is done at once is not.
#[tokio::test]
async fn a_claim_does_not_keep_the_group_waiting() {
    let mut source = Script { when_attended: Some(Event::Revoked(vec![partition(0)])), ..Script::default() };
    let done = claims::while_attending(&mut source, std::future::ready(7)).await.unwrap();
    assert_eq!((done, source.has_news()), (Some(7), false));
    let given_up = claims::while_attending(&mut source, std::future::pending::<u8>()).await.unwrap();
    assert_eq!((given_up, source.has_news()), (None, true));
}

/// A claim has failed, and its partition is taken back before the next attempt; changes of others could not be read, and
/// then nobody else reads changes any more. Guarantees that a worker is ready again that has nothing left to try.
#[tokio::test(flavor = "multi_thread")]
async fn faults_end_with_what_was_to_be_done() {
    let bench = Bench::new();
    let (mut worker, readiness) = worker(&bench).await;
    let is_ready = || readiness.ready(Duration::from_secs(600));
    let patience = worker.patience.clone().unwrap();
    worker.source.happens(Event::Assigned(vec![partition(0)]));
    worker.turn().await.unwrap();
    assert_eq!(is_ready(), Ok(()));

    worker.source.assigned.insert(partition(1));
    worker.unclaimed.sources.push(partition(1));
    worker.unclaimed.at = Some(Instant::now() + Duration::from_secs(600));
    patience.failed(Step::Claim, &Error::GivenUp);
    worker.source.happens(Event::Revoked(vec![partition(1)]));
    assert!(is_ready().unwrap_err().contains("(claim)"));
    worker.turn().await.unwrap();
    assert_eq!(is_ready(), Ok(()));

    worker.changes_elsewhere = Some(Instant::now());
    patience.failed(Step::Changes, &Error::GivenUp);
    worker.source.happens(Event::Assigned(vec![partition(2)]));
    assert!(is_ready().unwrap_err().contains("(changes)"));
    worker.turn().await.unwrap();
    assert_eq!(is_ready(), Ok(()));
}

/// No broker says where a claimed partition begins. Guarantees that the worker says so, and claims and begins it when
/// one does.
#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_are_away_are_waited_for() {
    let bench = Bench::new();
    let (mut worker, readiness) = worker(&bench).await;
    worker.source.is_away = true;
    worker.source.happens(Event::Assigned(vec![partition(0)]));
    worker.turn().await.unwrap();
    assert!(worker.source.begun.is_empty());
    assert!(readiness.ready(Duration::from_secs(600)).unwrap_err().contains("(begin)"));

    worker.source.is_away = false;
    worker.unclaimed.at = None;
    worker.turn().await.unwrap();
    assert_eq!(worker.source.begun, BTreeSet::from([partition(0)]));
    assert_eq!(readiness.ready(Duration::from_secs(600)), Ok(()));
}

/// A partition that others read has no leader when this worker begins with its own. Guarantees that it reads these, and
/// looks in the lake for changes that others may write.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_of_others_stop_nothing() {
    let bench = Bench::new();
    let (mut worker, readiness) = worker(&bench).await;
    worker.source.is_blind = true;
    worker.source.happens(Event::Assigned(vec![partition(0)]));
    worker.turn().await.unwrap();
    assert_eq!(worker.source.begun, BTreeSet::from([partition(0)]));
    assert!(worker.changes_elsewhere.is_some());
    assert_eq!(readiness.ready(Duration::from_secs(600)), Ok(()));
}

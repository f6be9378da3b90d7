//! The lease of upkeep, and what holds without it.

use std::time::Duration;

use futures::future::join_all;
use tracerag_schemas::Table;

use super::failing_store::{Fault, Faults};
use super::upkeep::eager;
use super::{Fixture, NOON, epoch, source, write};
use crate::{Lake, LakeOptions, Lease, MaintainOptions, maintain};

const LONG: Duration = Duration::from_secs(3_600);

impl Fixture {
    /// The lease as another process sees it.
    async fn lease(&self, worker: &str, term: Duration) -> Lease {
        Lease::with_term(self.reopen().await, worker, term)
    }

    /// The lake of a process whose store fails.
    async fn failing(&self, faults: &Faults) -> Lake {
        let options = LakeOptions::new(self.folder.path().to_str().unwrap());
        Lake::open_or_create_on(options, faults.registry()).await.unwrap()
    }

    /// Files of the lease.
    fn lease_files(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("upkeep")).unwrap().count()
    }
}

/// Of several that try at the same time one has the lease, and keeps it as long as it comes back; however often it was
/// renewed, one file is left of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_at_a_time_has_the_lease() {
    let fixture = Fixture::new().await;
    let mut leases = Vec::new();
    for worker in 0..6 {
        leases.push(fixture.lease(&format!("worker {worker}"), LONG).await);
    }
    let mut holder = None;
    for _ in 0..3 {
        let taken: Vec<bool> =
            join_all(leases.iter_mut().map(Lease::take)).await.into_iter().map(Result::unwrap).collect();
        let holders: Vec<usize> = (0..taken.len()).filter(|worker| taken[*worker]).collect();
        assert_eq!(holders.len(), 1, "{taken:?}");
        assert_eq!(*holder.get_or_insert(holders[0]), holders[0], "whoever has it keeps it");
    }
    // A place that was lost in the race is cleared with the next renewal.
    assert!(leases[holder.unwrap()].take().await.unwrap());
    assert_eq!(fixture.lease_files(), 1);
}

/// Who gives the lease back is followed at once, and can have it again when it is free.
#[tokio::test]
async fn a_lease_that_is_given_back_is_free() {
    let fixture = Fixture::new().await;
    let (mut first, mut second) = (fixture.lease("first", LONG).await, fixture.lease("second", LONG).await);
    assert!(first.take().await.unwrap());
    assert!(!second.take().await.unwrap());
    first.give_back().await.unwrap();
    assert!(second.take().await.unwrap());
    // It is not the first one's any more.
    first.give_back().await.unwrap();
    assert!(!first.take().await.unwrap());
    second.give_back().await.unwrap();
    assert!(first.take().await.unwrap());
}

/// A holder that has died loses the lease to who has seen it unchanged for the term, and not before; one that renews it
/// does not. Guarantees that upkeep goes on within a bounded time, whatever the clocks of the machines say.
#[tokio::test]
async fn a_dead_worker_loses_the_lease() {
    let fixture = Fixture::new().await;
    let mut dead = fixture.lease("dead", LONG).await;
    let (mut patient, mut other) = (fixture.lease("patient", LONG).await, fixture.lease("other", Duration::ZERO).await);
    assert!(dead.take().await.unwrap());
    for _ in 0..3 {
        assert!(!patient.take().await.unwrap(), "the term is not over");
    }
    assert!(!other.take().await.unwrap(), "seen for the first time");
    assert!(dead.take().await.unwrap(), "it lives");
    assert!(!other.take().await.unwrap(), "another number");
    assert!(other.take().await.unwrap(), "the same number for the whole term");
    assert!(!dead.take().await.unwrap(), "it has lost the lease, and learns so");
}

/// Work ends where another takes the lease meanwhile, and is not begun without it.
#[tokio::test]
async fn work_needs_the_lease() {
    let fixture = Fixture::new().await;
    let mut holder = fixture.lease("holder", Duration::from_millis(400)).await;
    assert_eq!(holder.during(async { 5 }).await.unwrap(), Some(5));
    let mut other = fixture.lease("other", Duration::ZERO).await;
    let (dropped, ()) = tokio::join!(holder.during(std::future::pending::<()>()), async {
        // It lasts until this one has seen a number twice between two renewals.
        while !other.take().await.unwrap() {}
    });
    assert_eq!(dropped.unwrap(), None);
    assert_eq!(fixture.lease("third", LONG).await.during(async { 5 }).await.unwrap(), None);
}

/// A lease whose answers are lost or refused is had by nobody for a while, and then by one.
#[tokio::test]
async fn a_lost_answer_costs_a_term() {
    for fault in [Fault::Refused, Fault::AnswerLost] {
        let fixture = Fixture::new().await;
        let faults = Faults::default();
        let mut lease = Lease::with_term(fixture.failing(&faults).await, "failing", Duration::ZERO);
        faults.plan(0, 1, fault);
        lease.take().await.unwrap_err();
        assert!(faults.end(), "nothing has failed");
        let mut attempts = 1;
        while !lease.take().await.unwrap() {
            attempts += 1;
        }
        assert!(attempts <= 2, "{fault:?}: {attempts} attempts");
    }
}

/// Upkeep that puts up with nothing but a moment between reading a head and opening its versions.
fn hasty() -> MaintainOptions {
    MaintainOptions { now: crate::journal::now(), longest_query: Duration::from_millis(500), ..eager() }
}

/// Two workers do upkeep at once, as they may with a wrong lease, each on a store that refuses a write or loses an answer
/// now and then, while two others write, which try again as workers do. Guarantees that no row is lost or doubled, whatever
/// upkeep does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_at_once_lose_nothing() {
    let fixture = Fixture::new().await;
    let mut writers = Vec::new();
    for partition in 0..2 {
        let mut writer = fixture.worker(&format!("worker {partition}"), &[source(partition)]).await;
        writers.push(tokio::spawn(async move {
            for step in 0..10 {
                let from = i64::from(partition) * 100 + step * 3;
                write(&mut writer, epoch(source(partition), from, from + 3, NOON)).await;
            }
        }));
    }
    let (done, is_done) = tokio::sync::watch::channel(false);
    let mut keepers = Vec::new();
    for keeper in 0..2_usize {
        let faults = Faults::default();
        let lake = fixture.failing(&faults).await;
        let is_done = is_done.clone();
        keepers.push(tokio::spawn(async move {
            let mut failed = 0;
            for round in 0_usize.. {
                let is_last = *is_done.borrow();
                let fault = if (round + keeper).is_multiple_of(2) { Fault::Refused } else { Fault::AnswerLost };
                faults.plan(round * 7 % 23, 1, fault);
                // Whatever fails is tried again with the next round.
                let _ = maintain(&lake, &hasty()).await;
                failed += usize::from(faults.end());
                if is_last {
                    return failed;
                }
            }
            failed
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    done.send(true).unwrap();
    let mut failed = 0;
    for keeper in keepers {
        failed += keeper.await.unwrap();
    }
    assert!(failed > 0, "no round of upkeep has met its fault");
    let report = maintain(&fixture.reopen().await, &hasty()).await.unwrap();
    assert_eq!(report.failed, vec![]);
    let expected: Vec<i64> = (0..30).chain(100..130).collect();
    for table in [Table::Spans, Table::Traces, Table::Flags] {
        assert_eq!(fixture.offsets(table).await, expected, "{}", table.name());
    }
}

//! Whole workers (source, window, journal, applies) on a simulated Kafka, a simulated clock, and an object store in
//! memory on which operations fail, wait and end. A seed says what happens.
//!
//! What is real: [`crate::worker::Worker`] and all below it, down to Lance and its commits. What is simulated is below
//! `broker.rs` and `store.rs`. `plan.rs` draws from the seed what is sent and what happens when, `run.rs` does it, one
//! worker or the upkeep (`keeper.rs`) at a time, and `checks.rs` says what has to hold at the end.
//!
//! A seed fixes every decision of a run: what is sent, who moves, and at which of its operations a worker dies, waits or
//! gets a wrong answer. It does not fix the names of files and epochs, nor in which order tasks of one worker that run
//! side by side, as when several tables are staged, come to the store: so the n-th operation of a run that is replayed
//! may be that of another table.
//!
//! `TRACERAG_SIM_SEEDS` is how many seeds are run, which `./check --quick` sets to fewer, and `TRACERAG_SIM_FIRST` the
//! first of them. `TRACERAG_SIM_STORY=1` prints what happened in each; with a seed that fails it is printed always.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod broker;
mod checks;
/// What storms send, too.
#[path = "../../../tests/support/evidence.rs"]
mod evidence;
mod keeper;
mod plan;
mod run;
mod store;
mod traffic;

use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use broker::HEAPS;
use plan::Plan;
use run::Run;
use traffic::Traffic;

/// Seeds that are run unless said otherwise.
const SEEDS: u64 = 500;

fn setting<T: FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Workers are killed at any operation on the store, stand still and go on after others have taken their partitions,
/// get no answer to what was done, and see their clocks jump, while the group shares the partitions out again and again,
/// senders send twice, Kafka deletes what nobody needs, and upkeep merges and cleans, stands still and is killed in the
/// middle. Guarantees that every span, log record, point, change, heap, failure and dead letter is in the lake exactly
/// once, that the counts of incidents add up to the failures, that a record without a trace is an echo of the failure that
/// it repeats, that traces are whole and their revisions dense, that heads never go back, and that no partition has a gap or
/// two owners at a time in the journal.
#[test]
fn nothing_is_lost_or_doubled() {
    let (first, seeds) = (setting("TRACERAG_SIM_FIRST", 0), setting("TRACERAG_SIM_SEEDS", SEEDS));
    let next = AtomicU64::new(first);
    // A run waits for most of its time: for held operations, and between attempts.
    let threads = 8 * std::thread::available_parallelism().map_or(2, |threads| threads.get());
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let empty = runtime.block_on(run::empty_lake()).unwrap();
        let mut failed = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed - first >= seeds {
                return failed;
            }
            let _said = Said(seed);
            let mut run = Run::new(Plan::of(seed), &empty);
            let ended = runtime.block_on(run.finish());
            if ended.is_err() || setting("TRACERAG_SIM_STORY", 0) > 0 {
                let story = run.story.join("\n  ");
                eprintln!("seed {seed}, {} operations\n  {story}\n  {ended:?}", run.operations());
            }
            failed.extend(ended.err().map(|wrong| format!("seed {seed}: {wrong}")));
        }
    };
    let failed: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(
        failed.is_empty(),
        "{} of {seeds} seeds failed; run one again with TRACERAG_SIM_SEEDS=1 TRACERAG_SIM_FIRST=SEED\n{}",
        failed.len(),
        failed.join("\n")
    );
}

/// The same seed draws the same run, and another seed another one: what is printed is enough to replay it.
#[test]
fn a_seed_names_a_run() {
    let drawn = |seed| format!("{:?}", Plan::of(seed));
    assert_eq!(drawn(7), drawn(7));
    assert_ne!(drawn(7), drawn(8));
}

/// Runs of which something else is expected than what was sent: a span more, a log record once more, a dead letter less,
/// a failure less, one that counts twice, a payload, an evaluation, a version and a heap less. Guarantees that the checks
/// see what is lost and what is doubled, in every table.
#[test]
fn the_checks_see_what_is_wrong() {
    type Falsify = fn(&mut Traffic);
    let falsify: [(Falsify, &str); 10] = [
        (|traffic| traffic.spans.extend([(String::from("trace"), String::from("span"))]), "spans"),
        (|traffic| traffic.logs.values_mut().for_each(|times| *times += 1), "log records"),
        (
            |traffic| traffic.evidence.by_trace.values_mut().for_each(|failures| *failures += 1),
            "failures of each trace",
        ),
        (|traffic| traffic.bursts.iter_mut().flatten().for_each(|message| message.is_bad = false), "dead letters"),
        (|traffic| drop(traffic.evidence.failures.pop_first()), "failures"),
        (|traffic| traffic.evidence.counts.values_mut().for_each(|counts| counts.traces += 1), "counts of incidents"),
        (|traffic| drop(traffic.evidence.payloads.pop_first()), "payloads"),
        (|traffic| drop(traffic.evidence.evaluations.pop_first()), "evaluations"),
        (|traffic| drop(traffic.evidence.versions.pop_first()), "versions"),
        (|traffic| *traffic.sent.entry(HEAPS).or_default() += 1, "rows of heaps"),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let empty = runtime.block_on(run::empty_lake()).unwrap();
    // The first run that has all of it.
    let seed = (1..).find(|seed| !Plan::of(*seed).traffic.evidence.by_trace.is_empty()).unwrap();
    for (falsify, named) in falsify {
        let mut plan = Plan::of(seed);
        falsify(&mut plan.traffic);
        let wrong = runtime.block_on(Run::new(plan, &empty).finish()).unwrap_err();
        assert!(wrong.starts_with(named), "{named}: {wrong}");
    }
}

/// Names the seed of a run that panics.
struct Said(u64);

impl Drop for Said {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {} panicked; run it again with TRACERAG_SIM_SEEDS=1 TRACERAG_SIM_FIRST={}", self.0, self.0);
        }
    }
}

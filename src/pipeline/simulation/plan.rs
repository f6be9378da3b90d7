//! What happens in a run, drawn from its seed before it begins: nothing that happens in the run changes what is drawn.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tracerag_schemas::time::SECOND;

use super::keeper::Keep;
use super::store::Fault;
use super::traffic::Traffic;

const MILLISECOND: i64 = SECOND / 1_000;
/// Turns of a run. More of them make a run longer, not more different.
const TURNS: usize = 90;
/// Within so many operations of a worker something happens that was drawn: an epoch of this size makes about as many;
/// and where its traffic has evidence, which goes into many tables.
const OPERATIONS: u64 = 60;
const TELLING_OPERATIONS: u64 = 120;
/// One run in so many begins without a lake; the others begin with the same empty one, because making it takes long.
const WITHOUT_LAKE: u64 = 50;
/// The part of the runs with upkeep: a round of it takes as long as many turns.
const KEPT: f64 = 0.2;

/// One thing that happens. Workers are counted from 0, operations are those on the worker's store.
#[derive(Debug, Clone)]
pub(super) enum Turn {
    /// The next messages are sent.
    Send,
    /// A worker handles what comes, and writes an epoch if it may; one that has died starts again.
    Step { worker: usize, may_flush: bool },
    /// Time passes, in ns.
    Tick(i64),
    /// A worker's clock jumps, in ns.
    Jump { worker: usize, by: i64 },
    /// The group shares the partitions out anew: a worker for each number.
    Rebalance(Vec<usize>),
    /// A worker's session times out, which it learns after some polls.
    Expel { worker: usize, polls: u32 },
    /// A worker stands still at an operation: a pause, a slow store, a commit that is delayed.
    Hold { worker: usize, after: u64 },
    /// It goes on.
    Release { worker: usize },
    /// An operation fails.
    Fail { worker: usize, after: u64, fault: Fault },
    /// A worker is killed at an operation.
    Kill { worker: usize, after: u64, fault: Fault },
    /// Kafka deletes what no worker needs any more.
    Delete,
    /// Upkeep: a round, or the end of one.
    Keep(Keep),
}

/// A run.
#[derive(Debug)]
pub(super) struct Plan {
    pub workers: usize,
    /// Partitions of each topic.
    pub numbers: usize,
    /// Most records that one poll brings.
    pub batch: usize,
    /// All parts of a trace come within all waits, so it closes once, whole.
    pub is_calm: bool,
    pub has_lake: bool,
    pub is_kept: bool,
    pub traffic: Traffic,
    pub turns: Vec<Turn>,
}

impl Plan {
    pub fn of(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let workers = rng.random_range(2..4);
        let numbers = rng.random_range(2..4);
        let is_calm = rng.random_bool(0.3);
        let traffic = Traffic::random(&mut rng, numbers, is_calm);
        let operations = if traffic.is_telling { TELLING_OPERATIONS } else { OPERATIONS };
        let mut turns: Vec<Turn> = (0..TURNS).map(|_| turn(&mut rng, workers, numbers, is_calm, operations)).collect();
        let is_kept = rng.random_bool(KEPT);
        let rounds = if is_kept { rng.random_range(1..4) } else { 0 };
        for _ in 0..rounds {
            let at = rng.random_range(0..=turns.len());
            turns.insert(at, Turn::Keep(Keep::random(&mut rng)));
        }
        let batch = rng.random_range(1..8);
        let has_lake = !seed.is_multiple_of(WITHOUT_LAKE);
        Self { workers, numbers, batch, is_calm, has_lake, is_kept, traffic, turns }
    }
}

fn turn(rng: &mut StdRng, workers: usize, numbers: usize, is_calm: bool, operations: u64) -> Turn {
    let worker = rng.random_range(0..workers);
    let after = rng.random_range(0..operations);
    let fault = if rng.random_bool(0.5) { Fault::Before } else { Fault::After };
    match rng.random_range(0..100) {
        0..25 => Turn::Send,
        25..65 => Turn::Step { worker, may_flush: rng.random_bool(0.3) },
        65..74 => Turn::Tick(rng.random_range(1..3_000) * MILLISECOND),
        74..76 if !is_calm => Turn::Jump { worker, by: rng.random_range(-120..120) * SECOND },
        74..80 => Turn::Rebalance((0..numbers).map(|_| rng.random_range(0..workers)).collect()),
        80..84 => Turn::Expel { worker, polls: rng.random_range(0..6) },
        84..88 => Turn::Hold { worker, after },
        88..92 => Turn::Release { worker },
        92..95 => Turn::Fail { worker, after, fault },
        95..98 => Turn::Kill { worker, after, fault },
        _ => Turn::Delete,
    }
}

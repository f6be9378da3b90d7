//! Storms: workers of one group are killed, stopped, put to sleep and joined by another one, and their broker is
//! restarted, over and over while traces come. Afterwards everything is in the lake once.
//!
//! Chance comes from a seed, which names the load and the order of the blows. What a blow meets depends on the machine as
//! well, so a seed says what was done and repeats it, but not always its outcome.

use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::check::is_all_there_once;
use crate::kafka_worker::LIMIT;
use crate::kafka_workers::SHORT_SESSION;
use crate::support::kafka::Kafka;
use crate::support::load::{Load, LoadTopics, Sent};
use crate::support::process::Process;
use crate::support::program::Tracerag;
use crate::support::s3::S3;
use crate::support::{note, wait_for};

const WORKERS: usize = 3;
const PARTITIONS: i32 = 8;

/// The worker that comes and goes.
const FURTHER: &str = "further";

/// How long a worker sleeps: beyond its session of six seconds, with time for the others to take its partitions.
const SLEEP: Duration = Duration::from_secs(9);

/// How long after the return of the lake's store a worker may have ended by itself: who opens the lake while the store
/// is away ends, and all others wait.
const AFTER_STORE: Duration = Duration::from_secs(60);

/// How long the store is away.
const STORE_AWAY: Duration = Duration::from_secs(5);

/// How long the last workers may take for what is left.
const CATCH_UP: Duration = Duration::from_secs(900);

/// Rounds of the storm in every run of the tests: one of each blow.
const FEW_ROUNDS: usize = BLOWS.len();
const FEW_ROUNDS_SEED: u64 = 20_261_128;

/// Rounds of a long storm, unless said otherwise; of one on S3.
const MANY_ROUNDS: u64 = 30;
const MANY_ROUNDS_ON_S3: u64 = 10;

/// What happens in a round.
#[derive(Clone, Copy, Debug)]
enum Blow {
    /// A worker is killed and started again.
    Kill,
    /// A worker stands still for longer than its session.
    Sleep,
    /// A worker is stopped by SIGTERM and started again.
    Stop,
    /// The broker, or one of them, is stopped or killed, and started again.
    RestartBroker,
    /// A further worker joins, or leaves if it is there.
    JoinOrLeave,
    /// The store of the lake is killed, and is back a while later.
    RestartStore,
}

/// Each comes once before any comes again; the further worker joins and leaves.
const BLOWS: [Blow; 6] =
    [Blow::Kill, Blow::Sleep, Blow::Stop, Blow::RestartBroker, Blow::JoinOrLeave, Blow::JoinOrLeave];

/// What a storm consists of.
enum Rounds {
    /// So many, by chance.
    Any(usize),
    /// These, one after the other.
    These(&'static [Blow]),
}

struct Worker {
    name: String,
    process: Process,
}

/// A broker or several, a lake in a folder or in a store of its own, and the workers between them. When a test fails,
/// dropping it says what was done.
struct Storm {
    seed: u64,
    random: StdRng,
    kafka: Kafka,
    store: Option<S3>,
    topics: LoadTopics,
    tracerag: Tracerag,
    workers: Vec<Worker>,
    /// When the store came back last.
    store_back: Option<Instant>,
    /// Blows that are to come, the next one last.
    ahead: Vec<Blow>,
    round: usize,
    done: Vec<String>,
}

impl Storm {
    fn new(kafka: Kafka, store: Option<S3>, seed: u64) -> Storm {
        let topics = LoadTopics::new(&kafka, "storm", PARTITIONS);
        let random = StdRng::seed_from_u64(seed);
        let (workers, ahead, done) = (Vec::new(), Vec::new(), Vec::new());
        let tracerag = store.as_ref().map_or_else(Tracerag::new, |store| Tracerag::in_s3(store, "storm"));
        Storm { seed, random, kafka, store, topics, tracerag, workers, store_back: None, ahead, round: 0, done }
    }

    fn start(&mut self, name: &str) {
        let config = self.topics.config(&self.tracerag, &self.kafka, name, SHORT_SESSION);
        let process = self.tracerag.worker_logging(&config, &format!("{name}.log"));
        self.workers.push(Worker { name: name.to_owned(), process });
    }

    /// Takes one of the workers out.
    fn take_any(&mut self) -> Worker {
        let index = self.random.random_range(0..self.workers.len());
        self.workers.remove(index)
    }

    /// Waits a moment, so that blows meet workers in every state, and strikes.
    fn round(&mut self) {
        std::thread::sleep(Duration::from_millis(self.random.random_range(500..3_000)));
        self.supervise();
        if self.ahead.is_empty() {
            self.ahead.extend(BLOWS);
            self.ahead.extend(self.store.is_some().then_some(Blow::RestartStore));
            self.ahead.shuffle(&mut self.random);
        }
        if let Some(blow) = self.ahead.pop() {
            self.strike(blow);
        }
    }

    fn strike(&mut self, blow: Blow) {
        match blow {
            Blow::Kill => {
                let Worker { name, process } = self.take_any();
                self.tell(blow, &name);
                process.kill();
                self.start(&name);
            }
            Blow::Sleep => {
                let mut worker = self.take_any();
                self.tell(blow, &worker.name);
                worker.process.signal("STOP");
                std::thread::sleep(SLEEP);
                worker.process.signal("CONT");
                self.workers.push(worker);
            }
            Blow::Stop => {
                let worker = self.take_any();
                self.tell(blow, &worker.name);
                let name = self.stop(worker);
                self.start(&name);
            }
            Blow::RestartBroker => {
                let is_killed: bool = self.random.random();
                let broker = self.random.random_range(0..self.kafka.count());
                self.tell(blow, &format!("{broker} {}", if is_killed { "killed" } else { "stopped" }));
                if is_killed {
                    self.kafka.kill(broker)
                } else {
                    self.kafka.stop(broker)
                }
                self.kafka.restart(broker);
            }
            Blow::RestartStore => {
                self.tell(blow, "killed");
                if let Some(store) = &mut self.store {
                    store.stop();
                    std::thread::sleep(STORE_AWAY);
                    store.restart();
                    self.store_back = Some(Instant::now());
                }
            }
            Blow::JoinOrLeave => match self.workers.iter().position(|worker| worker.name == FURTHER) {
                Some(index) => {
                    self.tell(blow, "leaves");
                    let worker = self.workers.remove(index);
                    self.stop(worker);
                }
                None => {
                    self.tell(blow, "joins");
                    self.start(FURTHER);
                }
            },
        }
    }

    fn tell(&mut self, blow: Blow, whom: &str) {
        self.round += 1;
        self.done.push(format!("{:4} {blow:?} {whom}", self.round));
    }

    /// Stops a worker as an operator does; gives its name.
    fn stop(&self, worker: Worker) -> String {
        let Worker { name, process } = worker;
        assert!(process.terminate(), "{name} does not end on SIGTERM");
        name
    }

    /// Starts workers again that have found no lake to open, as their supervisor does. Nothing else makes a worker end,
    /// whatever happens to the others and to the broker.
    fn supervise(&mut self) {
        let (alive, ended): (Vec<Worker>, Vec<Worker>) =
            std::mem::take(&mut self.workers).into_iter().partition(|worker| worker.process.alive());
        self.workers = alive;
        for Worker { name, process } in ended {
            let last = process.log_tail();
            let blames_the_lake = last.lines().next_back().is_some_and(|line| line.contains("of dataset"));
            let had_no_lake = self.store_back.is_some_and(|back| back.elapsed() < AFTER_STORE) && blames_the_lake;
            assert!(had_no_lake, "{name} has ended by itself:\n{last}");
            self.done.push(format!("     {name} had no lake, and is started again"));
            self.start(&name);
        }
    }

    /// Waits until everything is taken, and holds the lake against it: record by record by `tracerag check`, and by
    /// numbers that SQL counts.
    fn assert_once(&mut self, sent: &Sent) {
        let config = self.tracerag.path("worker-1.toml");
        wait_for("all is taken, and no trace is open", CATCH_UP, || {
            self.supervise();
            (is_all_there_once(&self.tracerag, &config) && sent.has_failures(&self.tracerag)).then_some(())
        });
        while let Some(worker) = self.workers.pop() {
            self.stop(worker);
        }
        sent.assert_once(&self.tracerag, &self.kafka, &self.topics);
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let mut text = format!("the storm of seed {} failed; what was done:\n", self.seed);
        for done in &self.done {
            let _ = writeln!(text, "{done}");
        }
        for Worker { name, process } in &self.workers {
            let _ = writeln!(text, "the last lines of {name}:\n{}", process.log_tail());
        }
        note(&text);
    }
}

fn storm(kafka: Option<Kafka>, store: Option<S3>, seed: u64, rounds: Rounds) {
    let Some(kafka) = kafka else { return };
    let mut storm = Storm::new(kafka, store, seed);
    let load = Load::start(&storm.kafka, &storm.topics, seed);
    for number in 1..=WORKERS {
        storm.start(&format!("worker-{number}"));
    }
    wait_for("the first rows", LIMIT, || {
        storm.supervise();
        storm.tracerag.has_spans().then_some(())
    });
    match rounds {
        Rounds::Any(count) => (0..count).for_each(|_| storm.round()),
        Rounds::These(blows) => {
            for blow in blows {
                storm.supervise();
                storm.strike(*blow);
            }
        }
    }
    let sent = load.end();
    storm.assert_once(&sent);
}

/// A whole number of the environment.
fn setting(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}, which is no whole number")))
}

/// Three workers share eight partitions under load, and every blow falls at least once. Guarantees that whatever
/// happens to them and to the broker, no record is lost, none is doubled, no trace is cut, and no worker gives up.
#[test]
fn a_short_storm_loses_nothing_and_doubles_nothing() {
    storm(Kafka::start(), None, FEW_ROUNDS_SEED, Rounds::Any(FEW_ROUNDS));
}

/// Three workers and three brokers, each partition on all three of which two are needed: a broker goes, a worker is
/// killed, another broker goes. Guarantees that the partitions' move from broker to broker loses and doubles nothing,
/// and that no worker ends for it.
#[test]
fn a_short_storm_over_three_brokers_loses_nothing_and_doubles_nothing() {
    let blows = &[Blow::RestartBroker, Blow::Kill, Blow::RestartBroker];
    storm(Kafka::start_three(), None, FEW_ROUNDS_SEED, Rounds::These(blows));
}

/// A short storm on a lake in S3: a worker sleeps for longer than its session, the store goes away under all of them, and
/// a worker is killed. Guarantees the same there, where a commit is a put on condition.
#[test]
fn a_short_storm_on_s3_loses_nothing_and_doubles_nothing() {
    let Some(store) = S3::start() else { return };
    let blows = &[Blow::Sleep, Blow::RestartStore, Blow::Kill];
    storm(Kafka::start(), Some(store), FEW_ROUNDS_SEED, Rounds::These(blows));
}

/// The same for as many rounds as `TRACERAG_STORM_ROUNDS` says, 30 without it, from the seed
/// `TRACERAG_STORM_SEED`, or from the clock.
#[test]
#[ignore = "takes minutes; docs/operators.md has the command"]
fn a_long_storm_loses_nothing_and_doubles_nothing() {
    long_storm(Kafka::start(), None, MANY_ROUNDS);
}

/// The same with three brokers, of which one at a time is stopped or killed.
#[test]
#[ignore = "takes minutes; docs/operators.md has the command"]
fn a_long_storm_over_three_brokers_loses_nothing_and_doubles_nothing() {
    long_storm(Kafka::start_three(), None, MANY_ROUNDS);
}

/// The same with a lake in S3, ten rounds unless said otherwise, in which the store goes away, too.
#[test]
#[ignore = "takes minutes; docs/operators.md has the command"]
fn a_long_storm_on_s3_loses_nothing_and_doubles_nothing() {
    let Some(store) = S3::start() else { return };
    long_storm(Kafka::start(), Some(store), MANY_ROUNDS_ON_S3);
}

fn long_storm(kafka: Option<Kafka>, store: Option<S3>, rounds: u64) {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let seed = setting("TRACERAG_STORM_SEED").unwrap_or(clock);
    let rounds = setting("TRACERAG_STORM_ROUNDS").unwrap_or(rounds);
    note(&format!("{rounds} rounds of seed {seed}"));
    storm(kafka, store, seed, Rounds::Any(usize::try_from(rounds).unwrap()));
}

//! Waiting for a lake that cannot be used, or for brokers that are away: how long, what is said of it, and who gives up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::error::Error;
use crate::telemetry::Readiness;

/// The first wait and the longest: a conflict is over soon, and a disk that has room again, or a broker that is back, is
/// noticed within seconds.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(15);

/// How long a fault is not told again at first, and at most: it grows as the fault goes on.
const QUIET: Duration = Duration::from_secs(10);
const QUIET_AT_MOST: Duration = Duration::from_secs(600);

/// What a worker does that may fail for a while. A fault of one says nothing of the others: a full disk can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// Writing an epoch.
    Write,
    /// Claiming partitions, and reading what the lake knows of them.
    Claim,
    /// Reading changes that other workers have written.
    Changes,
    /// Asking Kafka what there is, at the start, and where partitions begin that were assigned.
    Begin,
    /// Reading what was begun.
    Read,
}

impl Step {
    /// In words, for logs, metrics and `/readyz`.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Step::Write => "write",
            Step::Claim => "claim",
            Step::Changes => "changes",
            Step::Begin => "begin",
            Step::Read => "read",
        }
    }

    /// Who is to blame if it fails.
    fn by(self) -> &'static str {
        match self {
            Step::Write | Step::Claim | Step::Changes => "the lake",
            Step::Begin | Step::Read => "kafka",
        }
    }

    /// Whether another attempt may help after an error.
    fn may_pass(self, error: &Error) -> bool {
        match self {
            // An epoch that was given up is not written by another attempt of something else.
            Step::Write | Step::Claim | Step::Changes => error.is_passing() && !matches!(error, Error::GivenUp),
            Step::Begin | Step::Read => error.is_broker_away(),
        }
    }

    fn count_failure(self) {
        match self {
            Step::Write | Step::Claim | Step::Changes => {
                metrics::counter!("tracerag_lake_errors_total", "step" => self.text()).increment(1);
            }
            Step::Begin | Step::Read => {
                metrics::counter!("tracerag_kafka_errors_total", "step" => self.text()).increment(1);
            }
        }
    }
}

/// Waits that double up to a bound, each between its half and its whole: workers that have failed together do not come
/// back together.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// How long to wait before the next attempt.
    pub(crate) fn wait(&mut self) -> Duration {
        let most = FIRST.saturating_mul(1 << self.attempts.min(10)).min(LONGEST);
        self.attempts += 1;
        most.mul_f64(rand::random_range(0.5..=1.0))
    }
}

/// The faults that a worker waits out. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Patience {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    faults: Mutex<BTreeMap<Step, Fault>>,
    cannot_write: watch::Sender<bool>,
    readiness: Arc<Readiness>,
}

#[derive(Debug)]
struct Fault {
    since: Instant,
    failures: u64,
    told: Instant,
    quiet: Duration,
    reason: String,
}

impl Patience {
    /// Without a fault. `readiness` is told of each.
    pub(crate) fn new(readiness: Arc<Readiness>) -> Self {
        let inner = Inner { faults: Mutex::default(), cannot_write: watch::Sender::new(false), readiness };
        Self { inner: Arc::new(inner) }
    }

    /// The result of a step that may be tried again later; `None`: it is to be.
    ///
    /// # Errors
    /// If another attempt would not help.
    pub(crate) fn outlasts<T>(&self, step: Step, done: Result<T, Error>) -> Result<Option<T>, Error> {
        match done {
            Ok(done) => {
                self.works(step);
                Ok(Some(done))
            }
            Err(error) if step.may_pass(&error) => {
                self.failed(step, &error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// A step has failed and will be tried again. It is told at once and then at growing intervals.
    pub(crate) fn failed(&self, step: Step, error: &Error) {
        step.count_failure();
        let now = Instant::now();
        let mut faults = self.inner.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let fault = faults.entry(step).or_insert_with(|| {
            tracing::warn!(
                step = step.text(),
                %error,
                "{} cannot be used; what was read is held, and the step is tried again until it can",
                step.by()
            );
            Fault { since: now, failures: 0, told: now, quiet: QUIET, reason: String::new() }
        });
        fault.failures += 1;
        fault.reason = error.to_string();
        if now - fault.told >= fault.quiet {
            let seconds = (now - fault.since).as_secs();
            let failures = fault.failures;
            tracing::warn!(step = step.text(), %error, seconds, failures, "{} still cannot be used", step.by());
            fault.told = now;
            fault.quiet = fault.quiet.saturating_mul(2).min(QUIET_AT_MOST);
        }
        self.tell(&faults);
    }

    /// A step was done.
    pub(crate) fn works(&self, step: Step) {
        let mut faults = self.inner.faults.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fault) = faults.remove(&step) {
            let seconds = fault.since.elapsed().as_secs();
            let failures = fault.failures;
            tracing::info!(step = step.text(), seconds, failures, "{} can be used again", step.by());
            self.tell(&faults);
        }
    }

    /// There is no need any more to do a step: that it has failed says nothing now.
    pub(crate) fn forget(&self, step: Step) {
        let mut faults = self.inner.faults.lock().unwrap_or_else(PoisonError::into_inner);
        if faults.remove(&step).is_some() {
            self.tell(&faults);
        }
    }

    /// Whatever was tried is not tried any more.
    pub(crate) fn give_up(&self) {
        let mut faults = self.inner.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.clear();
        self.tell(&faults);
    }

    fn tell(&self, faults: &BTreeMap<Step, Fault>) {
        let first = faults.iter().next();
        self.inner.readiness.set_fault(
            first.map(|(step, fault)| format!("{} cannot be used ({}): {}\n", step.by(), step.text(), fault.reason)),
        );
        self.inner.cannot_write.send_replace(faults.contains_key(&Step::Write));
    }

    /// Whether an epoch waits for the lake.
    pub(crate) fn cannot_write(&self) -> bool {
        *self.inner.cannot_write.borrow()
    }

    /// Ends when an epoch waits for the lake, and after `limit` in any case.
    pub(crate) async fn until_cannot_write(&self, limit: Duration) {
        let mut cannot_write = self.inner.cannot_write.subscribe();
        // Whether it failed or took too long is one to those who wait.
        let _ = tokio::time::timeout(limit, cannot_write.wait_for(|cannot_write| *cannot_write)).await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tracerag_ingest::source::SourceError;

    use super::*;

    fn fault() -> Error {
        Error::Index(tracerag_index::Error::Contention {
            dataset: String::from("journal"),
            step: "recording",
            attempts: 64,
        })
    }

    /// Waits grow to their bound and no further, however often, and are never shorter than half of what they may be.
    #[test]
    fn waits_grow_to_a_bound() {
        let mut backoff = Backoff::default();
        let mut most = FIRST;
        for _ in 0..100 {
            let wait = backoff.wait();
            assert!(wait >= most / 2 && wait <= most, "{wait:?} of {most:?}");
            most = (most * 2).min(LONGEST);
        }
    }

    /// A fault takes the readiness away and gives its reason, until each step that has failed was done or need not be; a
    /// step that works says nothing of another. Guarantees that a worker whose disk is full does not seem well because
    /// it reads.
    #[test]
    fn each_step_has_to_work_again() {
        let readiness = Arc::new(Readiness::default());
        readiness.set_assigned(true);
        let patience = Patience::new(Arc::clone(&readiness));
        let is_ready = || readiness.ready(Duration::from_secs(600));
        assert_eq!(is_ready(), Ok(()));
        patience.failed(Step::Write, &fault());
        patience.failed(Step::Changes, &fault());
        assert!(is_ready().unwrap_err().contains("(write): recording of dataset journal"));
        patience.works(Step::Write);
        assert!(is_ready().unwrap_err().contains("(changes)"));
        patience.works(Step::Changes);
        assert_eq!(is_ready(), Ok(()));
        patience.failed(Step::Write, &fault());
        patience.failed(Step::Claim, &fault());
        patience.forget(Step::Write);
        assert!(is_ready().unwrap_err().contains("(claim)") && !patience.cannot_write());
        patience.forget(Step::Claim);
        assert_eq!(is_ready(), Ok(()));
        patience.failed(Step::Claim, &fault());
        patience.give_up();
        assert_eq!(is_ready(), Ok(()));
    }

    /// A broker that does not answer is waited for, and `/readyz` says so; a login that it refuses is an error at once,
    /// and so is an epoch that was given up.
    #[test]
    fn only_what_may_pass_is_outlasted() {
        let readiness = Arc::new(Readiness::default());
        readiness.set_assigned(true);
        let patience = Patience::new(Arc::clone(&readiness));
        let (servers, reason) = (String::from("k:9092"), String::from("refused"));
        let away = SourceError::Unreachable { servers: servers.clone(), reason: reason.clone() };
        assert!(patience.outlasts::<()>(Step::Begin, Err(away.into())).unwrap().is_none());
        let told = readiness.ready(Duration::from_secs(600)).unwrap_err();
        assert!(told.starts_with("kafka cannot be used (begin): no kafka broker answers at k:9092"), "{told}");
        assert_eq!(patience.outlasts(Step::Begin, Ok(7)).unwrap(), Some(7));
        assert_eq!(readiness.ready(Duration::from_secs(600)), Ok(()));
        let login = SourceError::Login { servers, reason };
        assert!(patience.outlasts::<()>(Step::Begin, Err(login.into())).is_err());
        assert!(patience.outlasts::<()>(Step::Claim, Err(Error::GivenUp)).is_err());
    }

    /// Who waits for an epoch is woken when it fails, also if it did before, and by no other fault. Guarantees that a
    /// rebalance and a signal to stop do not wait for the lake.
    #[tokio::test]
    async fn a_fault_ends_the_waiting() {
        let patience = Patience::new(Arc::new(Readiness::default()));
        patience.failed(Step::Changes, &fault());
        assert!(!patience.cannot_write());
        let waiting = patience.clone();
        let waiting = tokio::spawn(async move { waiting.until_cannot_write(Duration::from_secs(600)).await });
        patience.failed(Step::Write, &fault());
        waiting.await.unwrap();
        patience.until_cannot_write(Duration::from_secs(600)).await;
        assert!(patience.cannot_write());
    }
}

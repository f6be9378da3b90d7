//! How often epochs are written: as configured, and more rarely where a commit takes long.
//!
//! On a disk a commit takes milliseconds, in S3 half a second, and longer the more workers commit to one journal. A
//! worker that begins the next epoch as soon as the last one has landed makes the others lose their commits, pays for
//! requests, and leaves fragments that have to be merged. So the commit of an epoch takes a third of the time between
//! two of them at most. What waits longer is in fewer, larger files; what waits too much is written by its bytes.

use std::time::Duration;

/// How many times as long as a commit the time between two epochs is at least.
const TIMES: u32 = 3;
/// The most that a slow store delays what is closed.
const MOST: Duration = Duration::from_secs(30);
/// How much the last commit weighs against those before it: one that was slow by chance changes little.
const WEIGHT: f64 = 0.25;

/// The time between two epochs.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    configured: Duration,
    /// What a commit takes, smoothed. `None`: none has landed yet.
    commit: Option<Duration>,
}

impl Pace {
    /// As configured, until commits are seen to take longer.
    pub(super) fn new(configured: Duration) -> Self {
        Self { configured, commit: None }
    }

    /// A commit has landed, after so long.
    pub(super) fn landed(&mut self, took: Duration) {
        self.commit = Some(match self.commit {
            Some(before) => before.mul_f64(1.0 - WEIGHT) + took.mul_f64(WEIGHT),
            None => took,
        });
        metrics::gauge!("tracerag_flush_interval_seconds").set(self.interval().as_secs_f64());
    }

    /// The time between the begin of two epochs.
    pub(super) fn interval(&self) -> Duration {
        let slow = self.commit.unwrap_or_default().saturating_mul(TIMES).min(MOST);
        self.configured.max(slow)
    }
}

/// The longest time between the begin of two epochs, of any worker that is configured so.
pub(crate) fn longest(configured: Duration) -> Duration {
    configured.max(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIGURED: Duration = Duration::from_secs(2);

    fn after(commits: &[u64]) -> Duration {
        let mut pace = Pace::new(CONFIGURED);
        commits.iter().for_each(|millis| pace.landed(Duration::from_millis(*millis)));
        pace.interval()
    }

    /// Quick commits change nothing, and one slow one among them neither; where all are slow, a commit takes a third of
    /// the interval, up to the bound. Guarantees that a lake on a disk is written as configured.
    #[test]
    fn slow_commits_make_epochs_rarer() {
        assert_eq!((after(&[]), after(&[5; 10]), after(&[660; 10])), (CONFIGURED, CONFIGURED, CONFIGURED));
        assert_eq!(after(&[50, 50, 2_000, 50, 50]), CONFIGURED);
        assert_eq!(after(&[1_000; 10]).as_secs_f64().round(), 3.0);
        assert_eq!(after(&[60_000; 10]), longest(CONFIGURED));
    }

    /// When commits are quick again, the configured interval is back within a few of them, and one that is configured
    /// longer than the bound is never shortened.
    #[test]
    fn the_configured_interval_comes_back() {
        let commits: Vec<u64> = std::iter::repeat_n(5_000, 10).chain(std::iter::repeat_n(5, 10)).collect();
        assert_eq!(after(&commits), CONFIGURED);
        let mut rare = Pace::new(MOST * 4);
        rare.landed(MOST);
        assert_eq!((rare.interval(), longest(MOST * 4)), (MOST * 4, MOST * 4));
    }
}

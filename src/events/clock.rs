//! The time by which is decided whether a spike is over and an incident quiet.

use std::time::Duration;

use crate::pipeline::longest_interval;

/// What an epoch may come late by, beyond another interval: its commit, and the round that sees it.
const LATE: Duration = Duration::from_secs(30);

/// The time that the stream has reached: what lies in a backlog is neither quiet nor over because a clock goes on, and a
/// record from the future moves nothing. Where telemetry ends, the stream's time stands still, and what failed last would
/// be open for ever. So once nothing has come for a while, time goes on with the clock, from where it stood: old data that
/// was read today are as far from quiet as they were when they came. What stands still is what this worker has seen
/// stand still; a successor begins anew, for it cannot know yet what it is about to read.
#[derive(Debug)]
pub(super) struct StreamClock {
    /// How long nothing has to come until the clock moves time, in ns: longer than the pause between two epochs may be.
    still: i64,
    /// The time that the stream has reached last, and since when, by the clock, in ns.
    stands: Option<(i64, i64)>,
}

impl StreamClock {
    /// A clock for workers that write epochs so often, as configured.
    pub(super) fn new(flush_interval: Duration) -> Self {
        let still = longest_interval(flush_interval).saturating_mul(2).saturating_add(LATE);
        Self { still: i64::try_from(still.as_nanos()).unwrap_or(i64::MAX), stands: None }
    }

    /// Begins anew: what happens meanwhile is not seen.
    pub(super) fn forget(&mut self) {
        self.stands = None;
    }

    /// The time, given what the lake says that the stream has reached (nothing: it has no data yet), and the clock; all in ns
    /// since the epoch.
    pub(super) fn time(&mut self, reached: Option<i64>, now: i64) -> i64 {
        let Some(reached) = reached else { return now };
        let since = match self.stands {
            Some((known, since)) if known == reached => since,
            _ => {
                self.stands = Some((reached, now));
                now
            }
        };
        let stood = now.saturating_sub(since);
        let time = if stood < self.still { reached } else { reached.saturating_add(stood) };
        time.min(now)
    }
}

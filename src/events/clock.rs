//! The time by which is decided whether a spike is over and an incident quiet.

/// How long nothing has to come until the clock moves time, in ns: longer than the pause between two epochs is.
const STILL: i64 = 30_000_000_000;

/// The time that the stream has reached: what lies in a backlog is neither quiet nor over because a clock goes on, and a
/// record from the future moves nothing. Where telemetry ends, the stream's time stands still, and what failed last would
/// be open for ever. So once nothing has come for a while, time goes on with the clock, from where it stood: old data that
/// was read today are as far from quiet as they were when they came. What stands still is what this worker has seen
/// stand still; a successor begins anew, for it cannot know yet what it is about to read.
#[derive(Debug, Default)]
pub(super) struct StreamClock {
    /// The time that the stream has reached last, and since when, by the clock, in ns.
    stands: Option<(i64, i64)>,
}

impl StreamClock {
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
        let time = if stood < STILL { reached } else { reached.saturating_add(stood) };
        time.min(now)
    }
}

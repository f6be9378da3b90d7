//! A source that read and is shut out since: by certificates that one side refuses, or from a topic that it may not see
//! any more. Both look as if they might pass, and neither is waited for without an end.

use std::time::{Duration, Instant};

use super::context::SourceContext;
use super::{KafkaSource, ResolvedTopics, SourceError};

/// How long certificates may not fit: brokers that get new ones restart one after the other.
const PATIENCE: Duration = Duration::from_secs(300);

/// While a handshake fails over and over, librdkafka says so every half minute. Silence for so long: it fails no more.
const OVER_AFTER: Duration = Duration::from_secs(90);

/// TLS handshakes that fail, one after the other.
#[derive(Debug, Clone)]
pub(super) struct FailedHandshakes {
    since: Instant,
    last: Instant,
    reason: String,
}

impl FailedHandshakes {
    /// Another one has failed. What was known is over if it lies too far back.
    pub(super) fn note(known: &mut Option<Self>, reason: &str, now: Instant) {
        let since = known.as_ref().filter(|known| !known.is_over(now, None)).map_or(now, |known| known.since);
        *known = Some(Self { since, last: now, reason: reason.to_owned() });
    }

    /// `answered` is when brokers were asked that have all answered.
    fn is_over(&self, now: Instant, answered: Option<Instant>) -> bool {
        now.saturating_duration_since(self.last) >= OVER_AFTER || answered.is_some_and(|at| at > self.last)
    }

    /// Whether they have failed for too long. That the brokers answer some other client is no excuse.
    fn has_lasted(&self) -> bool {
        self.last.saturating_duration_since(self.since) >= PATIENCE
    }
}

impl KafkaSource {
    /// Why the client does not come back to its brokers, as long as one side refuses the other's certificate. After five
    /// minutes [`Self::poll`] ends with it.
    pub fn failed_handshake(&self) -> Option<SourceError> {
        let (now, answered) = (Instant::now(), self.watch.answered());
        let failed = self.clients.contexts().find_map(SourceContext::failed_handshakes)?;
        (!failed.is_over(now, answered)).then(|| self.handshake(failed))
    }

    /// # Errors
    /// When handshakes have failed for so long that another one would not help.
    pub(super) fn check_handshakes(&self) -> Result<(), SourceError> {
        let mut failed = self.clients.contexts().filter_map(SourceContext::failed_handshakes);
        failed.find(FailedHandshakes::has_lasted).map_or(Ok(()), |failed| Err(self.handshake(failed)))
    }

    fn handshake(&self, failed: FailedHandshakes) -> SourceError {
        SourceError::Handshake { servers: self.probe().servers().to_owned(), reason: failed.reason }
    }

    /// A topic that was there and is not listed any more was deleted, or is hidden from this user now; the latter would be
    /// waited for without an end.
    ///
    /// # Errors
    /// When one is hidden.
    pub(super) fn check_hidden(&self, now: &ResolvedTopics) -> Result<(), SourceError> {
        let before = &self.topics().missing;
        let gone: Vec<String> = now.missing.iter().filter(|topic| !before.contains(topic)).cloned().collect();
        self.probe().hidden(&gone).into_iter().next().map_or(Ok(()), |(_, hidden)| Err(hidden))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn failing(seconds: impl IntoIterator<Item = u64>) -> (FailedHandshakes, Instant) {
        let (mut known, start) = (None, Instant::now());
        for second in seconds {
            FailedHandshakes::note(&mut known, "refused", start + Duration::from_secs(second));
        }
        (known.unwrap(), start)
    }

    /// Handshakes that fail every forty seconds are given up after five minutes and not before; with a silence in
    /// between, in which they must have worked, the five minutes begin anew. Guarantees that a source ends when its
    /// certificate is not taken any more, and does not for brokers that get new ones within that time.
    #[test]
    fn handshakes_that_go_on_failing_are_given_up() {
        assert!(!failing((0..300).step_by(40)).0.has_lasted());
        assert!(failing((0..=320).step_by(40)).0.has_lasted());
        assert!(!failing([0, 40, 80, 200, 240, 280, 320]).0.has_lasted());
        assert!(!failing([0, 600]).0.has_lasted());
    }

    /// They are over when nothing is heard of them, or when every broker has answered a question that was asked since;
    /// an answer from before says nothing.
    #[test]
    fn failed_handshakes_are_over_some_time() {
        let (failed, start) = failing([10]);
        let at = |second| start + Duration::from_secs(second);
        assert!(!failed.is_over(at(11), None) && !failed.is_over(at(11), Some(at(9))));
        assert!(failed.is_over(at(13), Some(at(12))));
        assert!(!failed.is_over(at(99), None) && failed.is_over(at(100), None));
    }
}

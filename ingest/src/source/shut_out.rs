//! A source that read and is shut out since: by certificates that one side refuses, or from a topic that it may not see
//! any more. Both look as if they might pass, and neither is waited for without an end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::context::SourceContext;
use super::{KafkaSource, ResolvedTopics, SourceError};

/// How long certificates may not fit: brokers that get new ones restart one after the other.
const PATIENCE: Duration = Duration::from_secs(300);

/// While a handshake fails over and over, librdkafka says so every half minute. Silence for so long: it fails no more.
const OVER_AFTER: Duration = Duration::from_secs(90);

/// TLS handshakes of a client that fail, by the address of the broker: brokers that get new certificates one after the
/// other fail for a short time each, and all together for a long one.
#[derive(Debug, Clone, Default)]
pub(super) struct FailedHandshakes {
    brokers: BTreeMap<String, Failing>,
}

impl FailedHandshakes {
    /// Another one has failed, as librdkafka says it. What was known is over if it lies too far back.
    pub(super) fn note(&mut self, reason: &str, now: Instant) {
        self.brokers.retain(|_, failing| !failing.is_over(now, None));
        let first = || Failing { since: now, last: now, reason: String::new() };
        let failing = self.brokers.entry(broker(reason).to_owned()).or_insert_with(first);
        failing.last = now;
        reason.clone_into(&mut failing.reason);
    }
}

/// Handshakes with one broker that fail, one after the other.
#[derive(Debug, Clone)]
struct Failing {
    since: Instant,
    last: Instant,
    reason: String,
}

impl Failing {
    /// `answered` is when brokers were asked that have all answered.
    fn is_over(&self, now: Instant, answered: Option<Instant>) -> bool {
        now.saturating_duration_since(self.last) >= OVER_AFTER || answered.is_some_and(|at| at > self.last)
    }

    /// Whether they have failed for too long.
    fn has_lasted(&self) -> bool {
        self.last.saturating_duration_since(self.since) >= PATIENCE
    }
}

/// The address in what librdkafka says of a broker, which begins with `ssl://HOST:PORT/` and how it knows it: it may be
/// met as one of those that are configured, and by its number.
fn broker(reason: &str) -> &str {
    let name = reason.split_once(": ").map_or(reason, |(name, _)| name);
    name.rsplit_once('/').map_or(name, |(address, _)| address)
}

/// Why handshakes of these clients fail that are not over, the first of which `is_told` is true.
fn reason(
    clients: impl Iterator<Item = FailedHandshakes>,
    now: Instant,
    answered: Option<Instant>,
    is_told: impl Fn(&Failing) -> bool,
) -> Option<String> {
    let failing = clients.flat_map(|client| client.brokers.into_values());
    failing.filter(|failing| !failing.is_over(now, answered)).find(is_told).map(|failing| failing.reason)
}

impl KafkaSource {
    /// Why the client does not come back to its brokers, as long as one side refuses the other's certificate. After five
    /// minutes [`Self::poll`] ends with it.
    pub fn failed_handshake(&self) -> Option<SourceError> {
        self.handshake(|_| true)
    }

    /// # Errors
    /// When handshakes with a broker have failed for so long that another one would not help.
    pub(super) fn check_handshakes(&self) -> Result<(), SourceError> {
        self.handshake(Failing::has_lasted).map_or(Ok(()), Err)
    }

    fn handshake(&self, is_told: impl Fn(&Failing) -> bool) -> Option<SourceError> {
        let clients = self.clients.contexts().map(SourceContext::failed_handshakes);
        let reason = reason(clients, Instant::now(), self.watch.answered(), is_told)?;
        Some(SourceError::Handshake { servers: self.probe().servers().to_owned(), reason })
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
    use super::*;

    const REFUSED: &str = "SSL handshake failed: error:0A000086:SSL routines::certificate verify failed";

    /// A client with handshakes that failed with brokers, after so many seconds.
    fn failing<'a>(start: Instant, failures: impl IntoIterator<Item = (&'a str, u64)>) -> FailedHandshakes {
        let mut known = FailedHandshakes::default();
        for (broker, second) in failures {
            known.note(&format!("ssl://{broker}: {REFUSED}"), start + Duration::from_secs(second));
        }
        known
    }

    /// Whether a client is given up when the last of these handshakes with one broker has failed.
    fn is_given_up(seconds: impl IntoIterator<Item = u64>) -> bool {
        let start = Instant::now();
        let known = failing(start, seconds.into_iter().map(|second| ("a:9093/1", second)));
        let last = known.brokers.values().map(|failing| failing.last).max().unwrap_or(start);
        reason([known].into_iter(), last, None, Failing::has_lasted).is_some()
    }

    /// Handshakes that fail every forty seconds are given up after five minutes and not before; with a silence in
    /// between, in which they must have worked, the five minutes begin anew. Guarantees that a source ends when its
    /// certificate is not taken any more, and does not for brokers that get new ones within that time.
    #[test]
    fn handshakes_that_go_on_failing_are_given_up() {
        assert!(!is_given_up((0..300).step_by(40)));
        assert!(is_given_up((0..=320).step_by(40)));
        assert!(!is_given_up([0, 40, 80, 200, 240, 280, 320]));
        assert!(!is_given_up([0, 600]));
    }

    /// Eight brokers get new certificates one after the other; each fails for less than a minute, and there is no minute
    /// without a failure. Guarantees that this is no failure of eight minutes, and that one broker that fails for so long is, also
    /// among others and whether it is met by its number or as one that is configured.
    #[test]
    fn each_broker_fails_for_itself() {
        let start = Instant::now();
        let end = start + Duration::from_secs(560);
        let rolled = |name: &'static str, minute: u64| [(name, minute * 60), (name, minute * 60 + 20)];
        let names = ["a:9093/1", "b:9093/2", "c:9093/3", "d:9093/4", "e:9093/5", "f:9093/6", "g:9093/7", "h:9093/8"];
        let mut failures: Vec<(&str, u64)> = (2..).zip(names).flat_map(|(minute, name)| rolled(name, minute)).collect();
        let given_up = |failures: &[(&'static str, u64)]| {
            let known = failing(start, failures.iter().copied());
            reason([known].into_iter(), end, None, Failing::has_lasted)
        };
        assert_eq!(given_up(&failures), None);
        // It is met as one that is configured until the others have told its number.
        let name = |second| if second < 300 { "z:9093/bootstrap" } else { "z:9093/9" };
        failures.extend((200..=560).step_by(40).map(|second| (name(second), second)));
        failures.sort_by_key(|(_, second)| *second);
        assert_eq!(given_up(&failures), Some(format!("ssl://z:9093/9: {REFUSED}")));
    }

    /// They are over when nothing is heard of them, or when every broker has answered a question that was asked since;
    /// an answer from before says nothing. Guarantees that what is over neither ends a source, however long it lasted, nor
    /// hides what another client still fails with.
    #[test]
    fn failed_handshakes_are_over_some_time() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let first = failing(start, (0..=320).step_by(40).map(|second| ("a:9093/1", second)));
        for is_told in [(|_: &Failing| true) as fn(&Failing) -> bool, Failing::has_lasted] {
            let told = |now, answered: Option<u64>| {
                reason([first.clone()].into_iter(), at(now), answered.map(at), is_told).is_some()
            };
            assert!(told(321, None) && told(321, Some(319)));
            assert!(!told(323, Some(322)));
            assert!(told(409, None) && !told(410, None));
        }
        let second = failing(start, [("b:9093/2", 400)]);
        let told = reason([first, second].into_iter(), at(410), Some(at(330)), |_| true);
        assert_eq!(told, Some(format!("ssl://b:9093/2: {REFUSED}")));
    }
}

//! Which partitions follow which, so that the parts of a trace meet in one worker.
//!
//! ```text
//!             otlp_spans leads:          otlp_logs follows:
//!             the group shares it out    taken beside the group, by number
//! worker A    0  1                       0  1
//! worker B    2  3                       2  3
//! ```
//!
//! The group shares out one topic of spans or logs only, the one that leads. Whoever gets a partition of it takes those
//! of the same number of all other topics of spans and logs, too. A consumer group could not do it by itself:
//! `cooperative-sticky` does not keep equal numbers together, and `range` does so only for equal counts.
//!
//! - **What leads** is the topic of spans with the most partitions, of several the first by name; without topics of
//!   spans, that of logs. So equal numbers meet whatever the other counts are, and the work is spread as far as it can
//!   be. Every worker finds the same one, because it follows from the cluster alone.
//! - **A number that the leading topic does not have** goes with its remainder: with four partitions that lead,
//!   partition 5 of a follower goes with 1. So each partition is read by one worker, and where the count is a multiple,
//!   traces meet nevertheless, because producers take a remainder of the key's hash as well.
//!
//! Workers see a new count a few seconds apart. Two may then want one partition; the lake gives it to the one that
//! claimed it last, and the other one starts over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Signal;

/// The topics whose partitions go together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Following {
    /// The topic that the group shares out, and how many partitions it has; `None`: no topic has parts of traces.
    leader: Option<(Arc<str>, i32)>,
    /// The topics that follow it, with their numbers of partitions.
    followers: BTreeMap<Arc<str>, i32>,
}

impl Following {
    /// What leads and what follows among topics, each with its signal and its number of partitions.
    pub(super) fn new<'t>(topics: impl IntoIterator<Item = (&'t str, Signal, i32)>) -> Self {
        let mut of_traces: Vec<(&str, Signal, i32)> =
            topics.into_iter().filter(|(_, signal, _)| matches!(signal, Signal::Spans | Signal::Logs)).collect();
        of_traces.sort_by_key(|(topic, signal, partitions)| (*signal != Signal::Spans, -partitions, *topic));
        let mut of_traces = of_traces.into_iter().map(|(topic, _, partitions)| (Arc::from(topic), partitions));
        Self { leader: of_traces.next(), followers: of_traces.collect() }
    }

    /// The topic that leads; `None`: nothing follows anything.
    pub fn leader(&self) -> Option<&str> {
        self.leader.as_ref().map(|(topic, _)| topic.as_ref())
    }

    /// The topics that follow it, by name.
    pub fn followers(&self) -> impl Iterator<Item = &str> {
        self.followers.keys().map(AsRef::as_ref)
    }

    /// Whether the group does not share a topic out, because it follows another one.
    pub fn follows(&self, topic: &str) -> bool {
        self.followers.contains_key(topic)
    }

    /// The partition of the leading topic with which one of a follower goes; `None` if the topic does not follow.
    pub fn goes_with(&self, topic: &str, partition: i32) -> Option<i32> {
        let (_, leading) = self.leader.as_ref().filter(|_| self.follows(topic))?;
        partition.checked_rem(*leading)
    }

    /// All partitions of followers that go with some of the leading topic, which are given by their numbers.
    pub(super) fn of<'f>(&'f self, leading: &'f BTreeSet<i32>) -> impl Iterator<Item = (&'f Arc<str>, i32)> {
        self.followers.iter().flat_map(move |(topic, partitions)| {
            let goes =
                move |partition: &i32| self.goes_with(topic, *partition).is_some_and(|with| leading.contains(&with));
            (0..*partitions).filter(goes).map(move |partition| (topic, partition))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPICS: [(&str, Signal, i32); 5] = [
        ("logs", Signal::Logs, 6),
        ("metrics", Signal::Metrics, 12),
        ("spans-a", Signal::Spans, 2),
        ("spans-b", Signal::Spans, 4),
        ("spans-c", Signal::Spans, 4),
    ];

    /// The topic of spans with the most partitions leads, of equal ones the first by name, whatever the order in which
    /// the cluster lists them; all other topics of spans and logs follow, and no other signal. Guarantees that all
    /// workers agree.
    #[test]
    fn the_largest_topic_of_spans_leads() {
        let following = Following::new(TOPICS);
        assert_eq!(following, Following::new(TOPICS.into_iter().rev()));
        assert_eq!(following.leader(), Some("spans-b"));
        assert_eq!(following.followers().collect::<Vec<_>>(), ["logs", "spans-a", "spans-c"]);
        assert!(following.follows("logs") && !following.follows("spans-b") && !following.follows("metrics"));
    }

    /// Without spans the logs lead; without both nothing does.
    #[test]
    fn logs_lead_without_spans() {
        let logs = Following::new([("logs-b", Signal::Logs, 3), ("logs-a", Signal::Logs, 3)]);
        assert_eq!((logs.leader(), logs.follows("logs-b")), (Some("logs-a"), true));
        let none = Following::new([("metrics", Signal::Metrics, 3)]);
        assert_eq!((none.leader(), none.follows("metrics"), none.goes_with("metrics", 0)), (None, false, None));
    }

    /// However the partitions that lead are shared out, each partition of a follower is with exactly one worker, and
    /// with the one that has its number where there is such a number.
    #[test]
    fn every_partition_is_with_one_worker() {
        let following = Following::new(TOPICS);
        let workers = [BTreeSet::from([0, 3]), BTreeSet::from([1]), BTreeSet::from([2])];
        let mut all: Vec<(Arc<str>, i32)> = Vec::new();
        for leading in &workers {
            for (topic, partition) in following.of(leading) {
                assert!(partition >= 4 || leading.contains(&partition), "{topic}/{partition} with {leading:?}");
                all.push((Arc::clone(topic), partition));
            }
        }
        all.sort();
        let count = |topic: &str| all.iter().filter(|(of, _)| of.as_ref() == topic).count();
        assert_eq!((count("logs"), count("spans-a"), count("spans-c")), (6, 2, 4));
        all.dedup();
        assert_eq!(all.len(), 12, "none is with two");
        assert_eq!((following.goes_with("logs", 5), following.goes_with("spans-b", 1)), (Some(1), None));
    }

    /// A topic that is just being made has no partitions yet; nothing is divided by that.
    #[test]
    fn a_topic_without_partitions_leads_nothing() {
        let following = Following::new([("spans", Signal::Spans, 0), ("logs", Signal::Logs, 2)]);
        assert_eq!(following.goes_with("logs", 1), None);
        assert_eq!(following.of(&BTreeSet::from([0, 1])).count(), 0);
    }
}

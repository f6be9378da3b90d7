//! The `[rekey]` section of the configuration.

use std::num::NonZeroU16;

use serde::Deserialize;

use crate::source::{KafkaConfig, Rekeying, Signal, TopicsConfig};

/// The `[rekey]` section.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RekeyConfig {
    /// The topic that spans are written to.
    pub spans: String,
    /// The topic that log records are written to.
    pub logs: String,
    /// How many partitions a topic gets that does not exist yet, unless the other one has another number already.
    pub partitions: NonZeroU16,
    /// The consumer group, whose offsets say what was re-keyed; empty: that of `[kafka]` with `-rekey` behind it.
    pub group_id: String,
}

impl Default for RekeyConfig {
    fn default() -> Self {
        Self {
            spans: "otlp_spans_by_trace".to_owned(),
            logs: "otlp_logs_by_trace".to_owned(),
            partitions: NonZeroU16::new(8).unwrap_or(NonZeroU16::MIN),
            group_id: String::new(),
        }
    }
}

impl RekeyConfig {
    /// The signals that are re-keyed, those that `[topics]` names topics for, and the topic that each is written to.
    pub fn outputs(&self, topics: &TopicsConfig) -> Vec<(Signal, String)> {
        let all = [(Signal::Spans, &self.spans), (Signal::Logs, &self.logs)];
        let named = all.into_iter().filter(|(signal, _)| !topics.names(*signal).is_empty());
        named.map(|(signal, topic)| (signal, topic.clone())).collect()
    }

    /// The topics as a worker behind the re-keying reads them: what was written in place of what it was made from.
    pub fn behind(&self, topics: &TopicsConfig) -> TopicsConfig {
        TopicsConfig { rekeying: Rekeying::Behind { outputs: self.outputs(topics) }, ..topics.clone() }
    }

    /// The topics of one signal, to be re-keyed.
    pub(super) fn before(&self, topics: &TopicsConfig, signal: Signal) -> TopicsConfig {
        let written = vec![self.spans.clone(), self.logs.clone()];
        TopicsConfig { rekeying: Rekeying::Before { signal, written }, ..topics.clone() }
    }

    /// The consumer of one signal. Each signal has a member of the group to itself; static members need names of their
    /// own.
    pub(super) fn consumer(&self, kafka: &KafkaConfig, signal: Signal) -> KafkaConfig {
        let group_id = match self.group_id.as_str() {
            "" => format!("{}-rekey", kafka.group_id),
            group => group.to_owned(),
        };
        let mut own = KafkaConfig { group_id, ..kafka.clone() };
        if let Some(member) = own.options.get_mut("group.instance.id") {
            member.push_str(&format!("-{signal}"));
        }
        own
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The group is the worker's with an ending unless it is named, and static members of the two signals differ.
    #[test]
    fn the_group_is_another_one() {
        let kafka: KafkaConfig = serde_json::from_str(r#"{"options": {"group.instance.id": "a"}}"#).unwrap();
        let own = RekeyConfig::default().consumer(&kafka, Signal::Logs);
        assert_eq!((own.group_id.as_str(), own.options["group.instance.id"].as_str()), ("tracerag-rekey", "a-logs"));
        let named: RekeyConfig = serde_json::from_str(r#"{"group_id": "mine"}"#).unwrap();
        assert_eq!(named.consumer(&kafka, Signal::Spans).group_id, "mine");
        assert!(serde_json::from_str::<RekeyConfig>(r#"{"partitions": 0}"#).is_err());
    }

    /// A signal without topics is not re-keyed.
    #[test]
    fn only_what_is_read_is_written() {
        let topics: TopicsConfig = serde_json::from_str(r#"{"logs": {"topics": []}}"#).unwrap();
        let outputs = RekeyConfig::default().outputs(&topics);
        assert_eq!(outputs, [(Signal::Spans, "otlp_spans_by_trace".to_owned())]);
    }
}

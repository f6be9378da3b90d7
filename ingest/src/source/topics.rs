//! Which of a cluster's topics are read, and as what.

use std::collections::BTreeMap;

use rdkafka::metadata::Metadata;
use regex::Regex;

use super::config::{Rekeying, TopicsConfig};
use super::{Encoding, Following, Signal, SourceError};

/// What one topic carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicKind {
    /// The signal.
    pub signal: Signal,
    /// The encoding; [`Encoding::Json`] for the signals that are not OTLP.
    pub encoding: Encoding,
}

/// The `[topics]` section, compiled. Names are matched here and not by librdkafka, so that what
/// a plan lists is what is read.
#[derive(Debug, Clone)]
pub struct TopicRules {
    names: BTreeMap<String, TopicKind>,
    patterns: Vec<Pattern>,
    /// Written and never read: each letter would come back as a bad record. Empty: there is none.
    dead_letters: String,
    rekeying: Rekeying,
}

#[derive(Debug, Clone)]
struct Pattern {
    regex: Regex,
    exclude: Vec<Regex>,
    kind: TopicKind,
}

/// The topics of a cluster, seen through the rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvedTopics {
    /// Topics that exist and are read.
    pub present: BTreeMap<String, TopicKind>,
    /// Topics that are named, but do not exist yet; they are waited for.
    pub missing: Vec<String>,
    /// Which of the present ones follow another one.
    pub following: Following,
}

impl ResolvedTopics {
    /// The topics that the group shares out.
    pub(super) fn of_group(&self) -> impl Iterator<Item = &str> {
        self.present.keys().map(String::as_str).filter(|topic| !self.following.follows(topic))
    }
}

impl TopicRules {
    /// Compiles the configuration. `dead_letters` is the topic of dead letters, or empty.
    ///
    /// # Errors
    /// When a regular expression is wrong, a topic is named for two signals or is that of dead letters, or nothing
    /// is named at all.
    pub fn new(config: &TopicsConfig, dead_letters: &str) -> Result<Self, SourceError> {
        let mut rules = Self {
            names: BTreeMap::new(),
            patterns: Vec::new(),
            dead_letters: dead_letters.to_owned(),
            rekeying: config.rekeying.clone(),
        };
        for of in config.signals() {
            let kind = TopicKind { signal: of.signal, encoding: of.encoding };
            let exclude = of.exclude.iter().map(|regex| compile(regex)).collect::<Result<Vec<_>, _>>()?;
            let patterns = rules.patterns.len();
            for topic in of.topics {
                if !topic.is_empty() && topic == dead_letters {
                    return Err(SourceError::ReadsDeadLetters { topic: topic.to_owned(), signal: of.signal });
                }
                if config.rekeying.is_written(topic) {
                    return Err(SourceError::ReadsRekeyed { topic: topic.to_owned(), signal: of.signal });
                }
                if topic.starts_with('^') {
                    rules.patterns.push(Pattern { regex: compile(topic)?, exclude: exclude.clone(), kind });
                } else if let Some(other) = rules.names.insert(topic.to_owned(), kind)
                    && other != kind
                {
                    return Err(SourceError::TopicTwice {
                        topic: topic.to_owned(),
                        first: other.signal,
                        second: kind.signal,
                    });
                }
            }
            if !of.exclude.is_empty() && patterns == rules.patterns.len() {
                return Err(SourceError::UselessExclude { signal: of.signal });
            }
        }
        if rules.names.is_empty() && rules.patterns.is_empty() {
            return Err(SourceError::NoTopics);
        }
        Ok(rules)
    }

    /// What a topic of this name carries; `None` if it is not read. A name wins over patterns, and of
    /// patterns the first one in the order of the signals.
    pub fn kind(&self, topic: &str) -> Option<TopicKind> {
        if let Some(signal) = self.rekeying.output(topic) {
            return Some(TopicKind { signal, encoding: Encoding::Proto });
        }
        self.configured(topic).filter(|kind| match &self.rekeying {
            Rekeying::None => true,
            Rekeying::Before { signal, .. } => kind.signal == *signal && !self.rekeying.is_written(topic),
            Rekeying::Behind { outputs } => outputs.iter().all(|(signal, _)| kind.signal != *signal),
        })
    }

    /// Whether this process writes a topic by re-keying, and reads it.
    pub(super) fn is_rekeyed(&self, topic: &str) -> bool {
        self.rekeying.output(topic).is_some()
    }

    /// What `[topics]` says of a topic.
    fn configured(&self, topic: &str) -> Option<TopicKind> {
        self.names.get(topic).copied().or_else(|| {
            // Kafka's own topics (`__consumer_offsets`) are never telemetry, whatever a pattern says.
            let matches = |pattern: &&Pattern| {
                !topic.starts_with("__")
                    && topic != self.dead_letters
                    && pattern.regex.is_match(topic)
                    && !pattern.exclude.iter().any(|exclude| exclude.is_match(topic))
            };
            self.patterns.iter().find(matches).map(|pattern| pattern.kind)
        })
    }

    /// The rules, applied to a cluster's topics with their numbers of partitions.
    pub fn resolve<'t>(&self, existing: impl IntoIterator<Item = (&'t str, usize)>) -> ResolvedTopics {
        let found: BTreeMap<&str, (TopicKind, usize)> = existing
            .into_iter()
            .filter_map(|(topic, partitions)| Some((topic, (self.kind(topic)?, partitions))))
            .collect();
        let outputs = match &self.rekeying {
            Rekeying::Behind { outputs } => outputs.as_slice(),
            _ => &[],
        };
        let named = self.names.keys().filter(|name| self.kind(name).is_some());
        let wanted = named.chain(outputs.iter().map(|(_, topic)| topic));
        let missing = wanted.filter(|name| !found.contains_key(name.as_str())).cloned().collect();
        let following =
            Following::new(found.iter().map(|(topic, (kind, partitions))| {
                (*topic, kind.signal, i32::try_from(*partitions).unwrap_or(i32::MAX))
            }));
        let present = found.into_iter().map(|(topic, (kind, _))| (topic.to_owned(), kind)).collect();
        ResolvedTopics { present, missing, following }
    }

    /// The rules, applied to what a cluster shows.
    pub(super) fn resolve_in(&self, metadata: &Metadata) -> ResolvedTopics {
        self.resolve(metadata.topics().iter().map(|topic| (topic.name(), topic.partitions().len())))
    }
}

fn compile(pattern: &str) -> Result<Regex, SourceError> {
    Regex::new(pattern)
        .map_err(|reason| SourceError::TopicPattern { pattern: pattern.to_owned(), reason: reason.to_string() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn rules(json: &str) -> Result<TopicRules, SourceError> {
        TopicRules::new(&serde_json::from_str(json).unwrap(), "dead_letters")
    }

    /// By default the six documented topics are read; those that do not exist are waited for.
    #[test]
    fn defaults_resolve() {
        let resolved = rules("{}").unwrap().resolve([("otlp_spans", 3), ("something", 3), ("feature_flags", 1)]);
        assert_eq!(resolved.present.keys().collect::<Vec<_>>(), ["feature_flags", "otlp_spans"]);
        assert_eq!(resolved.present["otlp_spans"].encoding, Encoding::Proto);
        assert_eq!(resolved.present["feature_flags"].signal, Signal::Flags);
        assert_eq!(resolved.missing, ["deployments", "heap_summaries", "otlp_logs", "otlp_metrics"]);
    }

    /// The group shares out one topic of spans or logs and all others that are read.
    #[test]
    fn one_topic_of_traces_is_shared_out() {
        let topics = [("otlp_logs", 3), ("otlp_spans", 3), ("otlp_metrics", 1), ("other", 3)];
        let resolved = rules("{}").unwrap().resolve(topics);
        assert_eq!(resolved.of_group().collect::<Vec<_>>(), ["otlp_metrics", "otlp_spans"]);
        assert_eq!(resolved.following.goes_with("otlp_logs", 2), Some(2));
    }

    /// Patterns take what they match, without what is excluded; a name wins over a pattern; Kafka's own
    /// topics are never taken.
    #[test]
    fn patterns_and_excludes() {
        let rules = rules(
            r#"{"spans": {"topics": ["^otlp", "^.*$"], "exclude": ["test"], "encoding": "auto"},
                "logs": {"topics": ["otlp_logs"]}}"#,
        )
        .unwrap();
        assert_eq!(rules.kind("otlp_a").unwrap().signal, Signal::Spans);
        assert_eq!(rules.kind("otlp_a").unwrap().encoding, Encoding::Auto);
        assert_eq!(rules.kind("otlp_test_a"), None);
        assert_eq!(rules.kind("otlp_logs").unwrap().signal, Signal::Logs);
        assert_eq!(rules.kind("__consumer_offsets"), None);
    }

    /// The topic of dead letters is never read: no pattern takes it, and naming it is an error. Without one every
    /// topic may be read.
    #[test]
    fn dead_letters_are_not_read() {
        let all = r#"{"logs": {"topics": ["^.*"]}, "spans": {"topics": ["otlp_spans"]}}"#;
        assert_eq!(rules(all).unwrap().kind("dead_letters"), None);
        assert!(rules(all).unwrap().kind("dead_letters_2").is_some());
        let without = TopicRules::new(&serde_json::from_str(all).unwrap(), "").unwrap();
        assert!(without.kind("dead_letters").is_some());
        let named = rules(r#"{"logs": {"topics": ["otlp_logs", "dead_letters"]}}"#).unwrap_err().to_string();
        assert!(named.contains("dead_letters") && named.contains("kafka.dead_letter_topic"), "{named}");
    }

    /// Who re-keys spans reads their topics only, and none that is written, which a pattern takes; who reads behind the
    /// re-keying reads what was written in place of all topics of these signals, also where a pattern of another signal
    /// takes them. To name what is written is an error.
    #[test]
    fn rekeying_is_read_from_one_side() {
        let config: TopicsConfig = serde_json::from_str(
            r#"{"spans": {"topics": ["^spans"]}, "logs": {"topics": ["logs"], "encoding": "otlp_json"},
                "metrics": {"topics": ["^"]}}"#,
        )
        .unwrap();
        let with = |rekeying| TopicRules::new(&TopicsConfig { rekeying, ..config.clone() }, "").unwrap();
        let written = vec!["spans_by_trace".to_owned(), "logs_by_trace".to_owned()];
        let before = with(Rekeying::Before { signal: Signal::Spans, written: written.clone() });
        let topics = ["spans_a", "spans_by_trace", "logs", "logs_by_trace", "others"].map(|topic| (topic, 2));
        let resolved = before.resolve(topics);
        assert_eq!(resolved.present.keys().collect::<Vec<_>>(), ["spans_a"]);
        assert!(resolved.missing.is_empty(), "{:?}", resolved.missing);

        let outputs = vec![(Signal::Spans, written[0].clone()), (Signal::Logs, written[1].clone())];
        let behind = with(Rekeying::Behind { outputs: outputs.clone() });
        let resolved = behind.resolve(["spans_a", "spans_by_trace", "logs", "others"].map(|topic| (topic, 2)));
        let signal = |topic: &str| resolved.present.get(topic).map(|kind| (kind.signal, kind.encoding));
        assert_eq!(signal("spans_by_trace"), Some((Signal::Spans, Encoding::Proto)));
        assert_eq!((signal("spans_a"), signal("logs")), (None, None));
        assert_eq!(signal("others").map(|(signal, _)| signal), Some(Signal::Metrics));
        assert!(resolved.missing.contains(&written[1]) && !resolved.missing.contains(&"logs".to_owned()));
        assert!(behind.is_rekeyed("spans_by_trace") && !behind.is_rekeyed("others"));

        let mut named = TopicsConfig { rekeying: Rekeying::Behind { outputs }, ..config };
        named.logs.topics = Some(vec!["spans_by_trace".to_owned()]);
        let error = TopicRules::new(&named, "").unwrap_err().to_string();
        assert!(error.contains("spans_by_trace") && error.contains("topics.logs.topics"), "{error}");
    }

    /// A topic for two signals, a wrong pattern, an exclude without pattern and an empty list are errors.
    #[test]
    fn contradictions_are_refused() {
        let error = |json| rules(json).unwrap_err().to_string();
        assert!(error(r#"{"logs": {"topics": ["otlp_spans"]}}"#).contains("otlp_spans"));
        assert!(error(r#"{"logs": {"topics": ["^(" ]}}"#).contains("^("));
        assert!(error(r#"{"logs": {"exclude": ["x"]}}"#).contains("exclude"));
        let none = r#"{"topics": []}"#;
        let all_empty = format!(
            r#"{{"spans": {none}, "logs": {none}, "metrics": {none}, "flags": {none}, "deployments": {none}, "heaps": {none}}}"#
        );
        assert!(matches!(rules(&all_empty), Err(SourceError::NoTopics)));
    }
}

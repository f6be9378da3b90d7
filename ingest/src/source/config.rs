//! The `[kafka]` and `[topics]` sections of the configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use chrono::DateTime;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Encoding, Signal};

/// The `[kafka]` section. Its `Debug` form never shows the values of `options`: they may hold passwords.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaConfig {
    /// `host:port` of one or more brokers, separated by commas.
    pub bootstrap_servers: String,
    /// The consumer group. Its offsets are committed for lag tools only and never read.
    pub group_id: String,
    /// Where a partition starts that the lake knows nothing of yet.
    pub initial_offset: InitialOffset,
    /// What happens when records that are wanted were deleted from their topic.
    pub out_of_range: OutOfRange,
    /// The topic to which records go that could not be taken; empty: they are kept in the table only.
    pub dead_letter_topic: String,
    /// Names of record headers that become attributes `kafka.header.<name>` of the resources in the record.
    pub headers: Vec<String>,
    /// The region of an Amazon MSK cluster that the client logs in to by AWS's IAM; empty: it does not.
    pub aws_msk_iam_region: String,
    /// Any settings of librdkafka; they win over the built-in ones, except those that exactly-once rests on.
    /// Numbers and truth values may stand without quotes.
    #[serde(deserialize_with = "settings")]
    pub options: BTreeMap<String, String>,
}

/// Settings as librdkafka takes them, all as text.
fn settings<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Setting {
        Text(String),
        Flag(bool),
        Number(i64),
    }
    let settings = BTreeMap::<String, Setting>::deserialize(deserializer)?;
    let text = |setting| match setting {
        Setting::Text(text) => text,
        Setting::Flag(flag) => flag.to_string(),
        Setting::Number(number) => number.to_string(),
    };
    Ok(settings.into_iter().map(|(name, setting)| (name, text(setting))).collect())
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            bootstrap_servers: "127.0.0.1:9092".to_owned(),
            group_id: "tracerag".to_owned(),
            initial_offset: InitialOffset::Earliest,
            out_of_range: OutOfRange::Fail,
            dead_letter_topic: String::new(),
            headers: Vec::new(),
            aws_msk_iam_region: String::new(),
            options: BTreeMap::from([("security.protocol".to_owned(), "plaintext".to_owned())]),
        }
    }
}

impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaConfig")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("group_id", &self.group_id)
            .field("initial_offset", &self.initial_offset)
            .field("out_of_range", &self.out_of_range)
            .field("dead_letter_topic", &self.dead_letter_topic)
            .field("headers", &self.headers)
            .field("aws_msk_iam_region", &self.aws_msk_iam_region)
            .field("options", &self.options.keys().collect::<Vec<_>>())
            .finish()
    }
}

/// Where a partition starts that nothing has been taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitialOffset {
    /// At the oldest record.
    Earliest,
    /// Behind the newest record.
    Latest,
    /// At the first record of the last so many seconds.
    Ago(Duration),
    /// At the first record from this time on, in nanoseconds since the epoch.
    At(i64),
}

impl InitialOffset {
    /// Reads `earliest`, `latest`, `-2h` (`s`, `m`, `h`, `d`) or an RFC 3339 time.
    ///
    /// # Errors
    /// Says in words which forms there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "earliest" => return Ok(Self::Earliest),
            "latest" => return Ok(Self::Latest),
            _ => {}
        }
        if let Some(ago) = text.strip_prefix('-').and_then(parse_duration) {
            return Ok(Self::Ago(ago));
        }
        DateTime::parse_from_rfc3339(text).ok().and_then(|time| time.timestamp_nanos_opt()).map(Self::At).ok_or_else(
            || {
                format!(
                    "initial_offset {text:?} is not known; \
                     write \"earliest\", \"latest\", \"-2h\" or a time such as \"2026-11-16T12:00:00Z\""
                )
            },
        )
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(seconds).map(Duration::from_secs)
}

impl fmt::Display for InitialOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::Ago(ago) => write!(f, "-{}s", ago.as_secs()),
            Self::At(time) => f.write_str(&tracerag_schemas::time::rfc3339(*time)),
        }
    }
}

impl<'de> Deserialize<'de> for InitialOffset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

impl Serialize for InitialOffset {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What happens when records that are wanted were deleted from their topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutOfRange {
    /// The worker stops, and says what is gone.
    #[default]
    Fail,
    /// The worker goes on at the oldest record that is left, and the gap is written into the dead letters.
    Continue,
}

/// Topics of one OTLP signal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OtlpTopics {
    /// Names, or regular expressions that start with `^`; absent: the default topic of the signal.
    pub topics: Option<Vec<String>>,
    /// Regular expressions of names that a `^regex` above must not take.
    pub exclude: Vec<String>,
    /// How the payloads are written; no header says it.
    pub encoding: Encoding,
}

/// Topics of flags, deployments or heaps, whose records are always JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JsonTopics {
    /// Names, or regular expressions that start with `^`; absent: the default topic of the signal.
    pub topics: Option<Vec<String>>,
    /// Regular expressions of names that a `^regex` above must not take.
    pub exclude: Vec<String>,
}

/// The `[topics]` section. A signal whose list is empty is not read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TopicsConfig {
    /// OTLP traces, by default from `otlp_spans`.
    pub spans: OtlpTopics,
    /// OTLP logs, by default from `otlp_logs`.
    pub logs: OtlpTopics,
    /// OTLP metrics, by default from `otlp_metrics`.
    pub metrics: OtlpTopics,
    /// Changes of flags and configuration, by default from `feature_flags`.
    pub flags: JsonTopics,
    /// CDEvents, by default from `deployments`.
    pub deployments: JsonTopics,
    /// Heap summaries, by default from `heap_summaries`.
    pub heaps: JsonTopics,
    /// Which of these topics are read when spans and logs are re-keyed. Not a key of the configuration.
    #[serde(skip)]
    pub rekeying: Rekeying,
}

/// From which side of a re-keying the topics are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Rekeying {
    /// Nothing is re-keyed here: every topic is read as it is configured.
    #[default]
    None,
    /// The topics of one signal are read, to be re-keyed.
    Before {
        /// The signal.
        signal: Signal,
        /// The topics that are written. They are never read, whatever a `^regex` says: all would go in circles.
        written: Vec<String>,
    },
    /// What was re-keyed is read, and the topics of those signals are not.
    Behind {
        /// The signals, and the topic that each was written to: in protobuf, and read from its oldest record on.
        outputs: Vec<(Signal, String)>,
    },
}

impl Rekeying {
    /// What was re-keyed into a topic.
    pub(super) fn output(&self, topic: &str) -> Option<Signal> {
        let Self::Behind { outputs } = self else { return None };
        outputs.iter().find(|(_, output)| output == topic).map(|(signal, _)| *signal)
    }

    /// Whether re-keying writes a topic.
    pub(super) fn is_written(&self, topic: &str) -> bool {
        match self {
            Self::None => false,
            Self::Before { written, .. } => written.iter().any(|output| output == topic),
            Self::Behind { .. } => self.output(topic).is_some(),
        }
    }
}

/// The topics of one signal, whichever it is.
#[derive(Debug, Clone)]
pub(super) struct SignalTopics<'a> {
    pub(super) signal: Signal,
    pub(super) encoding: Encoding,
    pub(super) topics: Vec<&'a str>,
    pub(super) exclude: &'a [String],
}

impl TopicsConfig {
    /// Names and `^regex` of a signal.
    pub fn names(&self, signal: Signal) -> Vec<String> {
        let signals = self.signals();
        let of_signal = signals.iter().filter(|topics| topics.signal == signal);
        of_signal.flat_map(|topics| topics.topics.iter().map(|name| (*name).to_owned())).collect()
    }

    pub(super) fn signals(&self) -> [SignalTopics<'_>; 6] {
        [
            otlp_topics(Signal::Spans, "otlp_spans", &self.spans),
            otlp_topics(Signal::Logs, "otlp_logs", &self.logs),
            otlp_topics(Signal::Metrics, "otlp_metrics", &self.metrics),
            json_topics(Signal::Flags, "feature_flags", &self.flags),
            json_topics(Signal::Deployments, "deployments", &self.deployments),
            json_topics(Signal::Heaps, "heap_summaries", &self.heaps),
        ]
    }
}

fn otlp_topics<'a>(signal: Signal, default: &'a str, of: &'a OtlpTopics) -> SignalTopics<'a> {
    SignalTopics { signal, encoding: of.encoding, topics: names(of.topics.as_deref(), default), exclude: &of.exclude }
}

fn json_topics<'a>(signal: Signal, default: &'a str, of: &'a JsonTopics) -> SignalTopics<'a> {
    SignalTopics {
        signal,
        encoding: Encoding::Json,
        topics: names(of.topics.as_deref(), default),
        exclude: &of.exclude,
    }
}

fn names<'a>(configured: Option<&'a [String]>, default: &'a str) -> Vec<&'a str> {
    configured.map_or_else(|| vec![default], |names| names.iter().map(String::as_str).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Empty sections give the documented defaults; unknown keys and encodings are refused.
    #[test]
    fn defaults_and_unknown_keys() {
        let kafka: KafkaConfig = serde_json::from_str("{}").unwrap();
        assert_eq!(kafka, KafkaConfig::default());
        let topics: TopicsConfig = serde_json::from_str("{}").unwrap();
        assert_eq!(topics.signals()[0].topics, ["otlp_spans"]);
        assert_eq!(topics.spans.encoding, Encoding::Proto);
        assert!(serde_json::from_str::<KafkaConfig>(r#"{"bootstrap": ""}"#).is_err());
        assert!(serde_json::from_str::<TopicsConfig>(r#"{"spans": {"encoding": "json"}}"#).is_err());
        let logs: TopicsConfig =
            serde_json::from_str(r#"{"logs": {"topics": ["^logs-"], "encoding": "otlp_json"}}"#).unwrap();
        assert_eq!(logs.logs.encoding, Encoding::Json);
        assert_eq!(logs.signals()[1].topics, ["^logs-"]);
        let renamed: TopicsConfig =
            serde_json::from_str(r#"{"spans": {"encoding": "auto"}, "heaps": {"topics": []}}"#).unwrap();
        assert_eq!(renamed.signals()[0].topics, ["otlp_spans"], "an encoding alone keeps the default topic");
        assert!(renamed.signals()[5].topics.is_empty());
    }

    /// Every documented form of the start is read; anything else says what is permitted.
    #[test]
    fn initial_offsets() {
        assert_eq!(InitialOffset::parse("earliest"), Ok(InitialOffset::Earliest));
        assert_eq!(InitialOffset::parse("latest"), Ok(InitialOffset::Latest));
        assert_eq!(InitialOffset::parse("-2h"), Ok(InitialOffset::Ago(Duration::from_secs(7_200))));
        assert_eq!(InitialOffset::parse("1970-01-01T00:00:01Z"), Ok(InitialOffset::At(1_000_000_000)));
        for wrong in ["", "-2", "-2w", "2h", "first", "-99999999999999999999d", "-18446744073709551615d"] {
            assert!(InitialOffset::parse(wrong).unwrap_err().contains("earliest"), "{wrong}");
        }
    }

    /// Records that were deleted stop the worker unless the user has said otherwise; any other word is refused, and the
    /// permitted ones are named.
    #[test]
    fn a_gap_stops_the_worker_by_default() {
        let policy = |json: &str| serde_json::from_str::<KafkaConfig>(json).map(|kafka| kafka.out_of_range);
        assert_eq!(policy("{}").unwrap(), OutOfRange::Fail);
        assert_eq!(policy(r#"{"out_of_range": "fail"}"#).unwrap(), OutOfRange::Fail);
        assert_eq!(policy(r#"{"out_of_range": "continue"}"#).unwrap(), OutOfRange::Continue);
        let error = policy(r#"{"out_of_range": "earliest"}"#).unwrap_err().to_string();
        assert!(error.contains("`fail`") && error.contains("`continue`"), "{error}");
    }

    /// Passwords among the options never show in logs.
    #[test]
    fn debug_hides_option_values() {
        let kafka: KafkaConfig = serde_json::from_str(r#"{"options": {"sasl.password": "hunter2"}}"#).unwrap();
        let shown = format!("{kafka:?}");
        assert!(shown.contains("sasl.password") && !shown.contains("hunter2"), "{shown}");
    }
}

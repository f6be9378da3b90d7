//! Where bytes come from: Kafka topics ([`kafka`]) or replayed files ([`files`]).
//!
//! - **In:** the `[kafka]` and `[topics]` sections of the configuration, or paths.
//! - **Out:** payloads in offset order per [`tracerag_schemas::SourcePartition`], with what the reader
//!   must know to decode them: their [`Signal`] and their [`Encoding`].

mod access;
mod again;
mod batch;
mod clients;
mod cluster;
mod committed;
mod config;
mod context;
mod dead_letter_topic;
mod error;
mod event;
mod event_topic;
pub mod files;
mod following;
pub mod kafka;
mod keying;
pub(crate) mod msk;
mod offsets;
mod partitioner;
mod plan;
mod publisher;
mod reading;
mod sample;
pub(crate) mod settings;
mod shut_out;
mod start;
mod survey;
mod topics;
mod watch;
mod whole;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::otlp;

pub use again::Interval;
pub use batch::{MessageBatch, Record};
pub use cluster::{Cluster, Member};
pub use config::{InitialOffset, JsonTopics, KafkaConfig, OtlpTopics, OutOfRange, Rekeying, TopicsConfig};
pub use dead_letter_topic::DeadLetterTopic;
pub use error::SourceError;
pub use event::{Event, Lag};
pub use event_topic::EventTopic;
pub use following::Following;
pub use kafka::{KafkaSource, SourceLimits};
pub use keying::{Keying, Verdict};
pub use plan::PlanLine;
pub use publisher::{Change, ChangePublisher, PublishError, Written};
pub use sample::{EncodingsSeen, Findings, TopicFinding};
pub use start::{Gap, Start};
pub use survey::{Survey, SurveyLine};
pub use topics::{ResolvedTopics, TopicKind, TopicRules};
pub use whole::WholeTopics;

/// What a topic or a file carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// OTLP traces.
    Spans,
    /// OTLP logs.
    Logs,
    /// OTLP metrics.
    Metrics,
    /// Changes of flags and of configuration.
    Flags,
    /// CDEvents about deployed versions.
    Deployments,
    /// Heap summaries.
    Heaps,
}

impl Signal {
    /// Every signal.
    pub const ALL: [Signal; 6] =
        [Signal::Spans, Signal::Logs, Signal::Metrics, Signal::Flags, Signal::Deployments, Signal::Heaps];

    /// The name in the configuration and in messages to people.
    pub fn name(self) -> &'static str {
        match self {
            Signal::Spans => "spans",
            Signal::Logs => "logs",
            Signal::Metrics => "metrics",
            Signal::Flags => "flags",
            Signal::Deployments => "deployments",
            Signal::Heaps => "heaps",
        }
    }

    /// Whether the payload is OTLP, as opposed to one JSON object of the project's own formats.
    pub fn is_otlp(self) -> bool {
        self.otlp().is_some()
    }

    /// The signal as the OTLP decoder knows it; `None` for the project's own formats.
    pub fn otlp(self) -> Option<otlp::Signal> {
        match self {
            Signal::Spans => Some(otlp::Signal::Spans),
            Signal::Logs => Some(otlp::Signal::Logs),
            Signal::Metrics => Some(otlp::Signal::Metrics),
            Signal::Flags | Signal::Deployments | Signal::Heaps => None,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How an OTLP payload is written. Topics of the other signals are always JSON and ignore it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Encoding {
    /// Protobuf, one `Export*ServiceRequest` a message.
    #[default]
    #[serde(rename = "otlp_proto")]
    Proto,
    /// OTLP/JSON, one `Export*ServiceRequest` a message.
    #[serde(rename = "otlp_json")]
    Json,
    /// Told apart message by message: no header names the encoding, so this is never the default.
    #[serde(rename = "auto")]
    Auto,
}

impl Encoding {
    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Proto => "otlp_proto",
            Encoding::Json => "otlp_json",
            Encoding::Auto => "auto",
        }
    }
}

impl From<Encoding> for otlp::Encoding {
    fn from(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Proto => otlp::Encoding::Proto,
            Encoding::Json => otlp::Encoding::Json,
            Encoding::Auto => otlp::Encoding::Auto,
        }
    }
}

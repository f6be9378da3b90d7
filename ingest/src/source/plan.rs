//! What a start would read, before it reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::consumer::Consumer;
use rdkafka::metadata::{Metadata, MetadataTopic};
use tracerag_schemas::SourcePartition;

use super::{Cluster, Encoding, KafkaSource, Signal, SourceError, TopicKind};

/// One partition of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanLine {
    /// The partition.
    pub source: SourcePartition,
    /// What it carries.
    pub signal: Signal,
    /// How OTLP payloads in it are written.
    pub encoding: Encoding,
    /// The offset at which reading would start.
    pub start: i64,
    /// The oldest offset there is.
    pub low: i64,
    /// The offset behind the newest record.
    pub end: i64,
    /// Records between the two, at most: compacted and aborted ones count too.
    pub messages: i64,
    /// Whether the start comes from the lake, and not from `kafka.initial_offset`.
    pub is_continued: bool,
}

impl KafkaSource {
    /// See [`Cluster::plan`].
    ///
    /// # Errors
    /// When the broker does not answer or refuses.
    pub fn plan(&self, taken: &BTreeMap<SourcePartition, i64>) -> Result<Vec<PlanLine>, SourceError> {
        self.probe().plan(taken)
    }
}

impl Cluster {
    /// What a worker that owned every partition would read: from `taken` on where the lake has taken something,
    /// else from `kafka.initial_offset`. Ordered by topic and partition.
    ///
    /// # Errors
    /// When the broker does not answer or refuses.
    pub fn plan(&self, taken: &BTreeMap<SourcePartition, i64>) -> Result<Vec<PlanLine>, SourceError> {
        let metadata = self.metadata()?;
        let mut lines = Vec::new();
        for (topic, kind) in self.topics_in(&metadata) {
            lines.extend(self.plan_topic(topic, kind, taken)?);
        }
        lines.sort_by(|a, b| a.source.cmp(&b.source));
        Ok(lines)
    }

    /// All topics of the cluster that it shows.
    pub(super) fn metadata(&self) -> Result<Metadata, SourceError> {
        let failed = |reason| SourceError::Kafka { action: "asking for the topics".to_owned(), reason };
        self.client().fetch_metadata(None, self.within).map_err(failed)
    }

    /// Topics that are named and do not exist.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub fn missing(&self) -> Result<Vec<String>, SourceError> {
        Ok(self.rules.resolve_in(&self.metadata()?).missing)
    }

    /// Those that are read.
    pub(super) fn topics_in<'m>(&self, metadata: &'m Metadata) -> Vec<(&'m MetadataTopic, TopicKind)> {
        metadata.topics().iter().filter_map(|topic| Some((topic, self.kind(topic.name())?))).collect()
    }

    /// The lines of one topic.
    pub(super) fn plan_topic(
        &self,
        topic: &MetadataTopic,
        kind: TopicKind,
        taken: &BTreeMap<SourcePartition, i64>,
    ) -> Result<Vec<PlanLine>, SourceError> {
        let name: Arc<str> = Arc::from(topic.name());
        let source = |partition| SourcePartition::new(Arc::clone(self.id()), Arc::clone(&name), partition);
        let mut sources: Vec<SourcePartition> =
            topic.partitions().iter().map(|partition| source(partition.id())).collect();
        sources.sort();
        let new: Vec<SourcePartition> = sources.iter().filter(|source| !taken.contains_key(source)).cloned().collect();
        let initial: BTreeMap<SourcePartition, i64> = self.initial_offsets(&new)?.into_iter().collect();
        sources
            .into_iter()
            .map(|source| {
                let (low, end) = self.watermarks(&source)?;
                let known = taken.get(&source).copied();
                // What is gone already cannot be read.
                let start = known.or_else(|| initial.get(&source).copied()).unwrap_or(end).max(low);
                Ok(PlanLine {
                    source,
                    signal: kind.signal,
                    encoding: kind.encoding,
                    start,
                    low,
                    end,
                    messages: (end - start).max(0),
                    is_continued: known.is_some(),
                })
            })
            .collect()
    }
}

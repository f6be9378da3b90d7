//! What a start would read, before it reads.

use std::collections::BTreeMap;

use rdkafka::consumer::Consumer;
use tracerag_schemas::SourcePartition;

use super::{Encoding, KafkaSource, Signal, SourceError};
use std::sync::Arc;
use std::time::Duration;

const ANSWER_WITHIN: Duration = Duration::from_secs(15);

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
    /// The offset behind the newest record.
    pub end: i64,
    /// Records between the two, at most: compacted and aborted ones count too.
    pub messages: i64,
    /// Whether the start comes from the lake, and not from `kafka.initial_offset`.
    pub is_continued: bool,
}

impl KafkaSource {
    /// What a worker that owned every partition would read: from `taken` on where the lake has taken something,
    /// else from `kafka.initial_offset`. Ordered by topic and partition.
    ///
    /// # Errors
    /// When the broker does not answer or refuses.
    pub fn plan(&self, taken: &BTreeMap<SourcePartition, i64>) -> Result<Vec<PlanLine>, SourceError> {
        let failed = |reason| SourceError::Kafka { action: "asking for the topics".to_owned(), reason };
        let metadata = self.probe.fetch_metadata(None, ANSWER_WITHIN).map_err(failed)?;
        let mut sources = Vec::new();
        for topic in metadata.topics() {
            let Some(kind) = self.kind(topic.name()) else { continue };
            let name: Arc<str> = Arc::from(topic.name());
            for partition in topic.partitions() {
                sources
                    .push((SourcePartition::new(Arc::clone(self.cluster()), Arc::clone(&name), partition.id()), kind));
            }
        }
        sources.sort_by(|a, b| a.0.cmp(&b.0));
        let new: Vec<SourcePartition> =
            sources.iter().map(|(source, _)| source).filter(|source| !taken.contains_key(source)).cloned().collect();
        let initial: BTreeMap<SourcePartition, i64> = self.initial_offsets(&new)?.into_iter().collect();
        sources
            .into_iter()
            .map(|(source, kind)| {
                let (low, end) = self.watermarks(&source)?;
                let known = taken.get(&source).copied();
                // What is gone already cannot be read.
                let start = known.or_else(|| initial.get(&source).copied()).unwrap_or(end).max(low);
                Ok(PlanLine {
                    source,
                    signal: kind.signal,
                    encoding: kind.encoding,
                    start,
                    end,
                    messages: (end - start).max(0),
                    is_continued: known.is_some(),
                })
            })
            .collect()
    }
}

//! Questions to the broker about offsets: what a partition holds, and where to begin.

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tracerag_schemas::SourcePartition;

use super::access::{Wanted, refused};
use super::reading::now;
use super::{Cluster, InitialOffset, KafkaSource, SourceError};

impl Cluster {
    /// Asks the broker for the oldest offset of a partition and the offset behind its newest record.
    ///
    /// # Errors
    /// When the broker does not answer or refuses.
    pub fn watermarks(&self, source: &SourcePartition) -> Result<(i64, i64), SourceError> {
        self.client().fetch_watermarks(&source.topic, source.partition, self.within).map_err(|reason| {
            refused(&format!("reading {source}"), Wanted::topic(&source.topic), &reason)
                .unwrap_or(SourceError::Kafka { action: format!("asking for the offsets of {source}"), reason })
        })
    }

    /// Where partitions begin that the lake knows nothing of, by `kafka.initial_offset`. What this process re-keys it
    /// reads whole: the key says where re-keying begins.
    ///
    /// # Errors
    /// When the broker does not answer or refuses.
    pub fn initial_offsets(&self, sources: &[SourcePartition]) -> Result<Vec<(SourcePartition, i64)>, SourceError> {
        let (rekeyed, others): (Vec<_>, Vec<_>) =
            sources.iter().cloned().partition(|source| self.rules.is_rekeyed(&source.topic));
        let mut offsets = self.by_watermark(&rekeyed, |(low, _)| low)?;
        offsets.extend(self.configured_offsets(&others)?);
        Ok(offsets)
    }

    fn configured_offsets(&self, sources: &[SourcePartition]) -> Result<Vec<(SourcePartition, i64)>, SourceError> {
        let time = match self.config.initial_offset {
            InitialOffset::Earliest => return self.by_watermark(sources, |(low, _)| low),
            InitialOffset::Latest => return self.by_watermark(sources, |(_, high)| high),
            InitialOffset::Ago(ago) => now().saturating_sub(i64::try_from(ago.as_nanos()).unwrap_or(i64::MAX)),
            InitialOffset::At(time) => time,
        };
        self.offsets_at(sources, time)
    }

    /// The first offset of each partition whose record is from `time` (ns since the epoch) on; where there is none, the
    /// offset behind the newest record.
    ///
    /// # Errors
    /// When the broker does not answer or refuses.
    pub fn offsets_at(
        &self,
        sources: &[SourcePartition],
        time: i64,
    ) -> Result<Vec<(SourcePartition, i64)>, SourceError> {
        // librdkafka refuses to look up nothing.
        if sources.is_empty() {
            return Ok(Vec::new());
        }
        let failed = |reason| SourceError::Kafka { action: "looking up offsets by time".to_owned(), reason };
        // Kafka wants milliseconds; the first record at or after that time is the answer.
        let millis = (time.max(0) + 999_999) / 1_000_000;
        let mut list = TopicPartitionList::with_capacity(sources.len());
        for source in sources {
            list.add_partition_offset(&source.topic, source.partition, Offset::Offset(millis)).map_err(failed)?;
        }
        let found = self.client().offsets_for_times(list, self.within).map_err(failed)?;
        sources
            .iter()
            .map(|source| {
                let answer = found.find_partition(&source.topic, source.partition);
                match time_answer(source, answer.map(|answer| answer.error().map(|()| answer.offset())))? {
                    Some(offset) => Ok((source.clone(), offset)),
                    None => Ok((source.clone(), self.watermarks(source)?.1)),
                }
            })
            .collect()
    }

    fn by_watermark(
        &self,
        sources: &[SourcePartition],
        pick: impl Fn((i64, i64)) -> i64,
    ) -> Result<Vec<(SourcePartition, i64)>, SourceError> {
        sources.iter().map(|source| Ok((source.clone(), pick(self.watermarks(source)?)))).collect()
    }
}

impl KafkaSource {
    /// See [`Cluster::watermarks`].
    ///
    /// # Errors
    /// When the broker does not answer or refuses.
    pub fn watermarks(&self, source: &SourcePartition) -> Result<(i64, i64), SourceError> {
        self.probe().watermarks(source)
    }

    /// See [`Cluster::initial_offsets`].
    ///
    /// # Errors
    /// When the broker does not answer or refuses.
    pub fn initial_offsets(&self, sources: &[SourcePartition]) -> Result<Vec<(SourcePartition, i64)>, SourceError> {
        self.probe().initial_offsets(sources)
    }
}

/// The first offset from the asked time on; `None` if nothing is as young as that, and reading begins behind the newest
/// record. An error of one partition is no answer: taken for one, it would skip all that the partition holds.
fn time_answer(source: &SourcePartition, answer: Option<KafkaResult<Offset>>) -> Result<Option<i64>, SourceError> {
    let action = || format!("looking up an offset of {source} by time");
    match answer {
        Some(Ok(Offset::Offset(offset))) if offset >= 0 => Ok(Some(offset)),
        Some(Ok(_)) | None => Ok(None),
        Some(Err(reason)) => {
            let refused = refused(&action(), Wanted::topic(&source.topic), &reason);
            Err(refused.unwrap_or_else(|| SourceError::Kafka { action: action(), reason }))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rdkafka::error::KafkaError;
    use rdkafka::types::RDKafkaErrorCode;

    use super::*;

    /// Only an answer of the broker says that nothing is as young as the asked time; an error of the partition is one.
    #[test]
    fn errors_are_no_answers() {
        let source = SourcePartition::new("c", "otlp_spans", 3);
        assert_eq!(time_answer(&source, Some(Ok(Offset::Offset(7)))).unwrap(), Some(7));
        assert_eq!(time_answer(&source, Some(Ok(Offset::End))).unwrap(), None);
        let error = KafkaError::OffsetFetch(RDKafkaErrorCode::NotLeaderForPartition);
        let error = time_answer(&source, Some(Err(error))).unwrap_err().to_string();
        assert!(error.contains("otlp_spans/3"), "{error}");
    }
}

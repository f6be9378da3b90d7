//! Records that were read before, read again: an interval of a partition, without joining the group.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tracerag_schemas::SourcePartition;

use super::access::judge;
use super::context::SourceContext;
use super::kafka::is_out_of_range;
use super::reading::{BATCH_BYTES, BATCH_RECORDS, now};
use super::{Cluster, MessageBatch, SourceError, TopicKind, settings};

const POLL: Duration = Duration::from_millis(100);
/// How long a broker may bring nothing, neither a record nor the end of the partition.
const SILENCE: Duration = Duration::from_secs(60);

/// Offsets `from..to` of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interval {
    /// The partition.
    pub source: SourcePartition,
    /// What it carries.
    pub kind: TopicKind,
    /// The first offset.
    pub from: i64,
    /// The offset behind the last one.
    pub to: i64,
}

impl Cluster {
    /// Reads an interval and hands it out in batches, in offset order. Aborted transactions are left out, as a worker
    /// leaves them out. Nothing is committed.
    ///
    /// # Errors
    /// When the broker refuses or falls silent, when it deletes records meanwhile, or what `take` ends with.
    pub fn read_again<E: From<SourceError>>(
        &self,
        interval: &Interval,
        mut take: impl FnMut(&MessageBatch) -> Result<(), E>,
    ) -> Result<(), E> {
        if interval.from >= interval.to {
            return Ok(());
        }
        // A client for each interval: the end of a partition is told by its number only, whatever its topic is.
        let consumer = self.begin(interval)?;
        let named: Arc<[String]> = Arc::from(self.config.headers.as_slice());
        let batch = |from, bytes| {
            MessageBatch::new(interval.source.clone(), interval.kind, Arc::clone(&named), now(), from, bytes)
        };
        let mut taken = batch(interval.from, 0);
        let mut heard = Instant::now();
        loop {
            match consumer.poll(POLL) {
                None if heard.elapsed() > SILENCE => return Err(self.silent(&consumer, interval).into()),
                None => continue,
                Some(Ok(message)) if message.offset() >= interval.to => break,
                Some(Ok(message)) => {
                    taken.push(&message);
                    if taken.next_offset() >= interval.to {
                        break;
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => break,
                Some(Err(error)) if is_out_of_range(&error) => {
                    return Err(SourceError::Overtaken { source_partition: interval.source.clone() }.into());
                }
                Some(Err(error)) => {
                    judge(consumer.context(), &self.config, Some(&interval.source), &error)?;
                    continue;
                }
            }
            heard = Instant::now();
            if taken.len() >= BATCH_RECORDS || taken.bytes() >= BATCH_BYTES {
                take(&taken)?;
                taken = batch(taken.next_offset(), taken.bytes());
            }
        }
        if taken.is_empty() { Ok(()) } else { take(&taken) }
    }

    fn begin(&self, interval: &Interval) -> Result<BaseConsumer<SourceContext>, SourceError> {
        let consumer: BaseConsumer<SourceContext> = settings::rereader(&self.config)?
            .create_with_context(SourceContext::new(&self.config))
            .map_err(|reason| SourceError::Client { reason })?;
        let source = &interval.source;
        let failed = |reason| SourceError::Kafka { action: format!("beginning to read {source} again"), reason };
        let mut assignment = TopicPartitionList::with_capacity(1);
        let at = Offset::Offset(interval.from);
        assignment.add_partition_offset(&source.topic, source.partition, at).map_err(failed)?;
        consumer.assign(&assignment).map_err(failed)?;
        Ok(consumer)
    }

    fn silent(&self, consumer: &BaseConsumer<SourceContext>, interval: &Interval) -> SourceError {
        let nothing = || format!("nothing of {} came for {} seconds", interval.source, SILENCE.as_secs());
        let reason = consumer.context().last_error().unwrap_or_else(nothing);
        SourceError::Unreachable { servers: self.config.bootstrap_servers.clone(), reason }
    }
}

//! Topics that every worker reads whole, outside the group: those of changes, of which the group gives each partition to
//! one worker only.
//!
//! A thread of its own reads them, through a client that joins no group and commits nothing, and hands out batches
//! as they are taken. What it holds is bounded: the queues of the client, and one batch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::metadata::Metadata;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tracerag_schemas::SourcePartition;

use super::access::{Wanted, refused};
use super::context::{SourceContext, Wakeup};
use super::reading::{DrainEnd, Reading};
use super::{Cluster, MessageBatch, Signal, SourceError, TopicKind, settings};

/// Bytes that the client fetches ahead, for all partitions together.
const QUEUE_BYTES: u64 = 8 << 20;

/// How often topics and partitions are looked for that are new, and how soon again where that failed.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How long is waited for records before the client's own events are looked at.
const POLL: Duration = Duration::from_millis(100);
const EVENTS_AT_ONCE: usize = 32;

/// Reads the topics of some signals whole. Dropping it ends that.
pub struct WholeTopics {
    /// Closed first when this is dropped: the thread may wait for who takes a batch.
    batches: Option<Receiver<MessageBatch>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    is_stopping: AtomicBool,
    has_caught_up: AtomicBool,
    wakeup: Arc<Wakeup>,
}

impl Cluster {
    /// Begins to read all partitions of the topics of these signals: from `from` on, or from the oldest record that is
    /// left where that says nothing, or something that is gone. Topics and partitions that appear later are read from
    /// their beginning.
    ///
    /// # Errors
    /// When the client or the thread cannot be made. That a broker does not answer is none: it is asked again.
    pub fn read_whole(
        &self,
        signals: &'static [Signal],
        from: BTreeMap<SourcePartition, i64>,
    ) -> Result<WholeTopics, SourceError> {
        let shared = Arc::new(Shared::default());
        // Without room of its own: what was sent was taken.
        let (sender, batches) = sync_channel(0);
        let (cluster, told) = (self.clone(), Arc::clone(&shared));
        // How many partitions there are is not known yet; those of changes are few.
        let settings = settings::whole(&self.config, QUEUE_BYTES, from.len().max(4))?;
        let mut client: BaseConsumer<SourceContext> = settings
            .create_with_context(SourceContext::new(&self.config))
            .map_err(|reason| SourceError::Client { reason })?;
        client.set_nonempty_callback(shared.wakeup.callback());
        let client = Arc::new(client);
        let thread = std::thread::Builder::new()
            .name("kafka-changes".to_owned())
            .spawn(move || {
                let mut reader =
                    Reader { readings: Vec::new(), ahead: BTreeMap::new(), client, cluster, signals, from };
                reader.run(&told, &sender);
            })
            .map_err(SourceError::Thread)?;
        Ok(WholeTopics { batches: Some(batches), shared, thread: Some(thread) })
    }
}

impl WholeTopics {
    /// The next records, in offset order for each partition, if there are any now.
    pub fn next_batch(&self) -> Option<MessageBatch> {
        self.batches.as_ref()?.try_recv().ok()
    }

    /// Whether all records were taken that the topics held when reading began.
    pub fn has_caught_up(&self) -> bool {
        self.shared.has_caught_up.load(Ordering::Acquire)
    }
}

impl Drop for WholeTopics {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::Release);
        self.shared.wakeup.wake();
        self.batches = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("the thread that reads topics of changes panicked");
        }
    }
}

/// What the thread has.
struct Reader {
    // The order matters: queues before the client that they belong to.
    readings: Vec<Reading>,
    /// Offsets that the partitions held when they were begun and that were not read yet: where each ended.
    ahead: BTreeMap<SourcePartition, i64>,
    client: Arc<BaseConsumer<SourceContext>>,
    cluster: Cluster,
    signals: &'static [Signal],
    from: BTreeMap<SourcePartition, i64>,
}

impl Reader {
    /// Reads until it is told to stop, or nobody takes what it reads.
    fn run(&mut self, shared: &Shared, sender: &SyncSender<MessageBatch>) {
        let mut look_at = Instant::now();
        let mut has_looked = false;
        while !shared.is_stopping.load(Ordering::Acquire) {
            if look_at <= Instant::now() {
                let found = self.look(shared);
                has_looked |= found.is_ok();
                look_at = Instant::now() + if found.is_ok() { LOOK_EVERY } else { LOOK_AGAIN };
                if let Err(error) = found {
                    tracing::warn!(%error, "topics of changes cannot be read now; they are asked for again");
                }
            }
            self.serve();
            let Ok(has_read) = self.read(sender) else { return };
            if has_looked && self.ahead.is_empty() {
                shared.has_caught_up.store(true, Ordering::Release);
            }
            if !has_read {
                shared.wakeup.wait(POLL);
            }
        }
    }

    /// Begins partitions that are not read yet.
    ///
    /// # Errors
    /// If some of them could not be begun. Others were.
    fn look(&mut self, shared: &Shared) -> Result<(), SourceError> {
        let failed = |reason| SourceError::Kafka { action: "asking for the topics".to_owned(), reason };
        let metadata = self.cluster.client().fetch_metadata(None, ANSWER_WITHIN).map_err(failed)?;
        let mut result = Ok(());
        for (source, kind) in self.partitions(&metadata) {
            if self.readings.iter().all(|reading| reading.source != source)
                && let Err(error) = self.begin(source, kind, shared)
            {
                result = Err(error);
            }
        }
        result
    }

    fn partitions(&self, metadata: &Metadata) -> Vec<(SourcePartition, TopicKind)> {
        let mut found = Vec::new();
        for (topic, kind) in self.cluster.topics_in(metadata) {
            if self.signals.contains(&kind.signal) {
                let name: Arc<str> = Arc::from(topic.name());
                let source = |number| SourcePartition::new(Arc::clone(self.cluster.id()), Arc::clone(&name), number);
                found.extend(topic.partitions().iter().map(|partition| (source(partition.id()), kind)));
            }
        }
        found
    }

    fn begin(&mut self, source: SourcePartition, kind: TopicKind, shared: &Shared) -> Result<(), SourceError> {
        let failed = |reason| SourceError::Kafka { action: format!("beginning to read {source}"), reason };
        let (topic, partition) = (&*source.topic, source.partition);
        let (low, high) = self.cluster.client().fetch_watermarks(topic, partition, ANSWER_WITHIN).map_err(failed)?;
        let known = self.from.get(&source).copied();
        let at = known.filter(|known| (low..=high).contains(known)).unwrap_or(low);
        // Before it is assigned, so that none of its records goes to the common queue.
        let queue = self.client.split_partition_queue(topic, partition);
        let mut queue = queue.ok_or_else(|| SourceError::Assignment { detail: format!("{source} has no queue") })?;
        queue.set_nonempty_callback(shared.wakeup.callback());
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(topic, partition, Offset::Offset(at)).map_err(failed)?;
        self.client.incremental_assign(&list).map_err(failed)?;
        tracing::debug!(%source, at, high, "reading changes beside the group");
        if at < high {
            self.ahead.insert(source.clone(), high);
        }
        self.readings.push(Reading::new(source, kind, Arc::default(), queue, at));
        Ok(())
    }

    /// Lets the client do what it wants a polling thread to do.
    fn serve(&self) {
        for _ in 0..EVENTS_AT_ONCE {
            match self.client.poll(Duration::ZERO) {
                // Every partition has a queue of its own.
                None => return,
                Some(Ok(_)) => {}
                Some(Err(error)) => tracing::debug!(%error, "reading changes; the client tries again"),
            }
        }
    }

    /// Hands out a batch of each partition that has one; gives whether there was any.
    ///
    /// # Errors
    /// When nobody takes them any more.
    fn read(&mut self, sender: &SyncSender<MessageBatch>) -> Result<bool, Gone> {
        let mut has_read = false;
        for reading in &mut self.readings {
            let (batch, end) = reading.drain();
            let is_over = match &end {
                DrainEnd::AtEnd => true,
                DrainEnd::Failed(error) => {
                    let source = &reading.source;
                    tracing::warn!(%error, %source, "changes are not read; the client tries again");
                    // Whoever may not read a topic gets nothing of it, however long it waits.
                    refused("reading", Wanted::default(), error).is_some()
                }
                DrainEnd::Empty | DrainEnd::Full => false,
            };
            if let Some(batch) = batch {
                has_read = true;
                sender.send(batch).map_err(|_| Gone)?;
            }
            // Only when it was taken: then nothing is ahead any more.
            if is_over || self.ahead.get(&reading.source).is_some_and(|end| reading.next >= *end) {
                self.ahead.remove(&reading.source);
            }
        }
        Ok(has_read)
    }
}

/// Nobody takes what is read.
struct Gone;

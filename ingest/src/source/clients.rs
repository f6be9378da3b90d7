//! The two clients that read: a member of the group, and one beside it for the partitions that follow.
//!
//! Partitions of the second one are assigned by hand. It has no subscription, so librdkafka lets it add and take away
//! partitions whatever the group's assignors do: an eager group sets what its members have as a whole, and refuses
//! anything else.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tracerag_schemas::SourcePartition;

use super::context::{GroupEvent, SourceContext, Wakeup, answer_nothing, is_cooperative, let_go};
use super::{KafkaConfig, SourceError, settings};

/// Events of a client that are handled each time.
const EVENTS_AT_ONCE: usize = 32;

/// How the two clients are made.
pub(super) struct Settings {
    member: ClientConfig,
    beside: ClientConfig,
    kafka: KafkaConfig,
}

impl Settings {
    /// `queue_bytes` bounds what both fetch ahead, for all of `partitions` together.
    pub(super) fn new(config: &KafkaConfig, queue_bytes: u64, partitions: usize) -> Result<Self, SourceError> {
        Ok(Self {
            member: settings::consumer(config, queue_bytes, partitions)?,
            beside: settings::follower(config, queue_bytes, partitions)?,
            kafka: config.clone(),
        })
    }
}

/// Which of the two reads a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// The member of the group.
    Member,
    /// The one beside it.
    Beside,
}

/// Both clients. Dropping them leaves the group; drop the queues of their partitions first.
pub(super) struct Clients {
    member: Arc<BaseConsumer<SourceContext>>,
    beside: Arc<BaseConsumer<SourceContext>>,
    /// The group waits for an answer to an assignment.
    must_answer: bool,
    /// Partitions that the group has revoked and waits for.
    revoked: Vec<(String, i32)>,
}

impl Clients {
    /// Makes both. The group is joined with [`Self::subscribe`].
    pub(super) fn create(settings: &Settings, wakeup: &Arc<Wakeup>) -> Result<Self, SourceError> {
        let client = |config: &ClientConfig| -> Result<_, SourceError> {
            let mut client: BaseConsumer<SourceContext> = config
                .create_with_context(SourceContext::new(&settings.kafka))
                .map_err(|reason| SourceError::Client { reason })?;
            client.set_nonempty_callback(wakeup.callback());
            Ok(Arc::new(client))
        };
        let (member, beside) = (client(&settings.member)?, client(&settings.beside)?);
        Ok(Self { member, beside, must_answer: false, revoked: Vec::new() })
    }

    fn client(&self, reader: Reader) -> &Arc<BaseConsumer<SourceContext>> {
        match reader {
            Reader::Member => &self.member,
            Reader::Beside => &self.beside,
        }
    }

    /// What a client told of itself.
    pub(super) fn context(&self, reader: Reader) -> &SourceContext {
        self.client(reader).context()
    }

    /// What both told.
    pub(super) fn contexts(&self) -> impl Iterator<Item = &SourceContext> {
        [Reader::Member, Reader::Beside].into_iter().map(move |reader| self.context(reader))
    }

    /// The last complaint of either.
    pub(super) fn last_error(&self) -> Option<String> {
        self.context(Reader::Member).last_error().or_else(|| self.context(Reader::Beside).last_error())
    }

    /// Joins the group, or tells it other topics.
    pub(super) fn subscribe(&self, topics: &[&str]) -> Result<(), SourceError> {
        failing("subscribing to topics", self.member.subscribe(topics))
    }

    /// Lets the clients do what they want the polling thread to do. `judge` is given their errors, and ends it.
    pub(super) fn serve(
        &self,
        judge: impl Fn(&SourceContext, &KafkaError) -> Result<(), SourceError>,
    ) -> Result<(), SourceError> {
        for reader in [Reader::Member, Reader::Beside] {
            // A poll without waiting handles one event and does not say whether there are more.
            for _ in 0..EVENTS_AT_ONCE {
                match self.client(reader).poll(Duration::ZERO) {
                    None => {}
                    // Every partition has a queue of its own, so this one belongs to none that is still assigned.
                    Some(Ok(message)) => {
                        let (topic, partition) = (message.topic(), message.partition());
                        tracing::debug!(topic, partition, "a record of no partition");
                    }
                    Some(Err(error)) => judge(self.context(reader), &error)?,
                }
            }
        }
        Ok(())
    }

    /// What the group decided since the last call. Each is to be answered: by [`Self::assign`]
    /// or [`Self::accept`], or by [`Self::let_go`].
    pub(super) fn take_events(&mut self) -> Vec<GroupEvent> {
        let events = self.member.context().take_events();
        for event in &events {
            match event {
                GroupEvent::Assigned(_) => self.must_answer = true,
                GroupEvent::Revoked { partitions, .. } => self.revoked.extend(partitions.iter().cloned()),
                GroupEvent::Failed(_) => {}
            }
        }
        events
    }

    /// Splits a partition's queue off. To be done *before* it is assigned, so that none of its records goes to the
    /// common queue.
    pub(super) fn queue(&self, reader: Reader, source: &SourcePartition) -> Option<PartitionQueue<SourceContext>> {
        self.client(reader).split_partition_queue(&source.topic, source.partition)
    }

    /// Answers the group's last assignment, if it waits for that, without reading anything of it. [`Self::assign`] may
    /// follow at any time: until then librdkafka would hear of no further rebalance.
    pub(super) fn accept(&mut self) -> Result<(), SourceError> {
        match std::mem::take(&mut self.must_answer) {
            true => failing("taking an assignment", answer_nothing(&self.member)),
            false => Ok(()),
        }
    }

    /// Begins to read partitions at offsets. All that the group has assigned last is to be among them.
    pub(super) fn assign(&mut self, starts: &[(Reader, &SourcePartition, i64)]) -> Result<(), SourceError> {
        let list = |reader: Reader| {
            let mut list = TopicPartitionList::new();
            for (_, source, at) in starts.iter().filter(|(of, ..)| *of == reader) {
                let added = list.add_partition_offset(&source.topic, source.partition, Offset::Offset(*at));
                failing(&format!("assigning {source}"), added)?;
            }
            Ok::<_, SourceError>(list)
        };
        let (of_member, beside) = (list(Reader::Member)?, list(Reader::Beside)?);
        // An empty list is no answer where there is no question: it would take everything from an eager member.
        if self.must_answer || of_member.count() > 0 {
            let assigned = match is_cooperative(&self.member) {
                true => self.member.incremental_assign(&of_member),
                false => self.member.assign(&of_member),
            };
            failing("assigning partitions", assigned)?;
            self.must_answer = false;
        }
        if beside.count() > 0 {
            failing("assigning partitions that follow", self.beside.incremental_assign(&beside))?;
        }
        Ok(())
    }

    /// Gives up partitions that are read, without being asked to.
    pub(super) fn give_up(&self, reader: Reader, sources: &[SourcePartition]) -> Result<(), SourceError> {
        if sources.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::with_capacity(sources.len());
        for source in sources {
            list.add_partition(&source.topic, source.partition);
        }
        let given = match reader {
            Reader::Member if self.takes_whole() => self.member.unassign(),
            _ => self.client(reader).incremental_unassign(&list),
        };
        failing("giving partitions up", given)
    }

    /// Whether what the member has changes as a whole or not at all: the group is an eager one.
    pub(super) fn takes_whole(&self) -> bool {
        !is_cooperative(&self.member)
    }

    /// Answers what the group has revoked, if it waits for that.
    pub(super) fn let_go(&mut self) -> Result<(), SourceError> {
        if self.revoked.is_empty() {
            return Ok(());
        }
        let revoked = std::mem::take(&mut self.revoked);
        failing("giving partitions back to the group", let_go(&self.member, &revoked))
    }

    /// The offsets that the group has committed of the partitions in a list.
    pub(super) fn committed(&self, list: TopicPartitionList, within: Duration) -> KafkaResult<TopicPartitionList> {
        self.member.committed_offsets(list, within)
    }

    /// Writes offsets of the group. A broker takes those of topics to which the group
    /// has not subscribed as well.
    pub(super) fn commit(&self, mode: CommitMode, offsets: &[(SourcePartition, i64)]) -> Result<(), SourceError> {
        const ACTION: &str = "committing the group's offsets";
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for (source, offset) in offsets {
            let added = list.add_partition_offset(&source.topic, source.partition, Offset::Offset(*offset));
            failing(ACTION, added)?;
        }
        failing(ACTION, self.member.commit(&list, mode))
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        // The member leaves the group when it is dropped, and would wait for ever for an answer that nobody gives.
        self.member.context().close();
        // What was noted and not looked at, because an error came first, is a question as well.
        self.take_events();
        let answered = if std::mem::take(&mut self.must_answer) { answer_nothing(&self.member) } else { Ok(()) };
        for (what, result) in [
            ("the last assignment was not answered", answered.map_err(|error| error.to_string())),
            ("the last revocation was not answered", self.let_go().map_err(|error| error.to_string())),
            ("partitions that follow were not given up", self.beside.unassign().map_err(|error| error.to_string())),
        ] {
            if let Err(error) = result {
                tracing::debug!(error, "{what}");
            }
        }
    }
}

fn failing<T>(action: &str, result: KafkaResult<T>) -> Result<T, SourceError> {
    result.map_err(|reason| SourceError::Kafka { action: action.to_owned(), reason })
}

//! A thread that asks the cluster, now and then, what the reader should not wait for: whether topics or partitions
//! appeared, and how far each partition has grown.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use tracerag_schemas::SourcePartition;

use super::context::{SourceContext, Wakeup};
use super::{ResolvedTopics, SourceError, TopicRules, access};

const TOPICS_EVERY: Duration = Duration::from_secs(5);
const WATERMARKS_EVERY: Duration = Duration::from_secs(1);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Oldest offset and the offset behind the newest record of a partition.
pub(super) type Watermarks = (i64, i64);

#[derive(Debug, Default)]
struct State {
    is_stopping: bool,
    partitions: Vec<SourcePartition>,
    watermarks: HashMap<SourcePartition, Watermarks>,
    topics: Option<ResolvedTopics>,
    answered: Option<Instant>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    stop: Wakeup,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The running thread; dropping it stops it.
pub(super) struct Watch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(super) fn start(
        probe: Arc<BaseConsumer<SourceContext>>,
        rules: TopicRules,
        topics: ResolvedTopics,
        reader: Arc<Wakeup>,
    ) -> Result<Self, SourceError> {
        let shared = Arc::new(Shared::default());
        let watched = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("kafka-watch".to_owned())
            .spawn(move || run(&watched, &probe, &rules, topics, &reader))
            .map_err(SourceError::Thread)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Which partitions' watermarks are wanted.
    pub(super) fn set_partitions(&self, partitions: Vec<SourcePartition>) {
        let mut state = self.shared.state();
        state.watermarks.retain(|source, _| partitions.contains(source));
        state.partitions = partitions;
    }

    /// The newest watermarks known of a partition.
    pub(super) fn watermarks(&self, source: &SourcePartition) -> Option<Watermarks> {
        self.shared.state().watermarks.get(source).copied()
    }

    /// When brokers were asked last that have all answered.
    pub(super) fn answered(&self) -> Option<Instant> {
        self.shared.state().answered
    }

    /// The topics, if they or their numbers of partitions changed since the last call.
    pub(super) fn take_topics(&self) -> Option<ResolvedTopics> {
        self.shared.state().topics.take()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.state().is_stopping = true;
        self.shared.stop.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("the thread that watches kafka topics panicked");
        }
    }
}

fn run(
    shared: &Shared,
    probe: &BaseConsumer<SourceContext>,
    rules: &TopicRules,
    mut topics: ResolvedTopics,
    reader: &Wakeup,
) {
    let mut topics_due = Instant::now() + TOPICS_EVERY;
    loop {
        shared.stop.wait(WATERMARKS_EVERY);
        access::serve(probe);
        let partitions = {
            let state = shared.state();
            if state.is_stopping {
                return;
            }
            state.partitions.clone()
        };
        let (asked, mut is_answered) = (Instant::now(), !partitions.is_empty());
        for source in partitions {
            if shared.state().is_stopping {
                return;
            }
            match probe.fetch_watermarks(&source.topic, source.partition, ANSWER_WITHIN) {
                Ok(watermarks) => {
                    let mut state = shared.state();
                    if state.partitions.contains(&source) {
                        state.watermarks.insert(source, watermarks);
                    }
                }
                Err(error) => {
                    is_answered = false;
                    tracing::debug!(%error, %source, "no watermarks");
                }
            }
        }
        if is_answered {
            shared.state().answered = Some(asked);
        }
        if Instant::now() >= topics_due {
            topics_due = Instant::now() + TOPICS_EVERY;
            match probe.fetch_metadata(None, ANSWER_WITHIN) {
                Ok(metadata) => {
                    let now = rules.resolve_in(&metadata);
                    if now != topics {
                        topics = now.clone();
                        shared.state().topics = Some(now);
                        reader.wake();
                    }
                }
                Err(error) => tracing::debug!(%error, "no metadata"),
            }
        }
    }
}

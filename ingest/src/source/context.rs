//! What librdkafka tells: rebalances, errors, log lines.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

use super::KafkaConfig;
use super::access::{FailedLogin, is_failed_handshake, is_failed_login};
use super::msk::Msk;
use super::shut_out::FailedHandshakes;

/// What the group decided.
#[derive(Debug)]
pub(super) enum GroupEvent {
    /// Partitions (topic, number) that this member gets; nothing is read of them before `assign` is called.
    Assigned(Vec<(String, i32)>),
    /// Partitions that the group takes back; it waits until they are let go ([`let_go`]).
    Revoked {
        /// Topic and number of each.
        partitions: Vec<(String, i32)>,
        /// Whether the group has given them to others already: this member was silent for too long.
        is_lost: bool,
    },
    /// Rebalancing failed.
    Failed(KafkaError),
}

/// Context of all clients here.
#[derive(Debug, Default)]
pub(super) struct SourceContext {
    events: Mutex<Vec<GroupEvent>>,
    last_error: Mutex<Option<String>>,
    failed_login: Mutex<Option<FailedLogin>>,
    handshakes: Mutex<FailedHandshakes>,
    is_closing: AtomicBool,
    msk: Msk,
}

impl SourceContext {
    /// For a client of the configured cluster.
    pub(super) fn new(config: &KafkaConfig) -> Self {
        Self { msk: Msk::new(config), ..Self::default() }
    }

    /// What happened since the last call.
    pub(super) fn take_events(&self) -> Vec<GroupEvent> {
        std::mem::take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The last thing that librdkafka complained of, and retries by itself.
    pub(super) fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first login that failed since the last call. The code of the error alone does not say why.
    pub(super) fn take_failed_login(&self) -> Option<FailedLogin> {
        self.failed_login.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The last TLS handshakes that failed, whether or not others have worked since.
    pub(super) fn failed_handshakes(&self) -> FailedHandshakes {
        self.handshakes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on the group is answered at once, and nothing is taken: nobody is left to do it.
    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
    }

    fn push(&self, event: GroupEvent) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }
}

impl ClientContext for SourceContext {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.msk.token()
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::error!(target: "librdkafka", facility, "{message}");
            }
            RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", facility, "{message}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(target: "librdkafka", facility, "{message}")
            }
            RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        // The end of a partition is reported as an error, several times a second on a quiet topic.
        if matches!(error, KafkaError::PartitionEOF(_)) || code == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        tracing::warn!(target: "librdkafka", error = %error, "{reason}");
        if is_failed_login(&error) {
            let mut first = self.failed_login.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| FailedLogin::new(reason));
        }
        if is_failed_handshake(reason) {
            self.handshakes.lock().unwrap_or_else(PoisonError::into_inner).note(reason, Instant::now());
        }
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        // That all brokers are down comes after the reason why one of them is, and says less.
        if last.is_none() || code != Some(RDKafkaErrorCode::AllBrokersDown) {
            *last = Some(reason.to_owned());
        }
    }
}

impl ConsumerContext for SourceContext {
    /// What the group decides is only noted, and answered later; librdkafka sends heartbeats meanwhile. The worker
    /// claims assigned partitions in the lake first and then calls [`super::KafkaSource::start`]. Revoked ones it lets
    /// go when the epoch that it is writing has landed, so that whoever claims them next shuts out no epoch in vain.
    ///
    /// The default handler would read at once, and it ignores whether its calls succeed.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let listed = names(partitions);
        let result = match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                if listed.is_empty() || self.is_closing.load(Ordering::Acquire) {
                    answer_nothing(consumer)
                } else {
                    self.push(GroupEvent::Assigned(listed));
                    Ok(())
                }
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => {
                if listed.is_empty() || self.is_closing.load(Ordering::Acquire) {
                    let_go(consumer, &listed)
                } else {
                    self.push(GroupEvent::Revoked { partitions: listed, is_lost: consumer.assignment_lost() });
                    Ok(())
                }
            }
            other => {
                self.push(GroupEvent::Failed(KafkaError::Rebalance(other.into())));
                consumer.unassign()
            }
        };
        if let Err(error) = result {
            tracing::warn!(%error, "kafka did not accept the answer to a rebalance");
            self.push(GroupEvent::Failed(error));
        }
    }
}

/// Whether the group adds to and takes from what a member has, instead of setting it as a whole.
pub(super) fn is_cooperative(consumer: &BaseConsumer<SourceContext>) -> bool {
    matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative)
}

/// Answers an assignment without taking anything of it.
pub(super) fn answer_nothing(consumer: &BaseConsumer<SourceContext>) -> Result<(), KafkaError> {
    let nothing = TopicPartitionList::new();
    if is_cooperative(consumer) { consumer.incremental_assign(&nothing) } else { consumer.assign(&nothing) }
}

/// Answers a revocation. What is not read, because it is being begun anew, is left out: librdkafka refuses to take away
/// what it does not have.
pub(super) fn let_go(consumer: &BaseConsumer<SourceContext>, revoked: &[(String, i32)]) -> Result<(), KafkaError> {
    if !is_cooperative(consumer) {
        return consumer.unassign();
    }
    let read = consumer.assignment()?;
    let mut list = TopicPartitionList::with_capacity(revoked.len());
    for (topic, partition) in revoked.iter().filter(|(topic, number)| read.find_partition(topic, *number).is_some()) {
        list.add_partition(topic, *partition);
    }
    consumer.incremental_unassign(&list)
}

fn names(partitions: &TopicPartitionList) -> Vec<(String, i32)> {
    partitions.elements().iter().map(|element| (element.topic().to_owned(), element.partition())).collect()
}

/// Wakes the reader when one of its many queues has something.
#[derive(Debug, Default)]
pub(super) struct Wakeup {
    is_set: Mutex<bool>,
    changed: Condvar,
}

impl Wakeup {
    /// A callback that wakes.
    pub(super) fn callback(self: &Arc<Self>) -> impl Fn() + Send + Sync + 'static {
        let wakeup = Arc::clone(self);
        move || wakeup.wake()
    }

    /// Wakes whoever waits, or the next one who would.
    pub(super) fn wake(&self) {
        *self.is_set.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }

    /// Waits until woken since the last call, at most so long.
    pub(super) fn wait(&self, most: Duration) {
        let is_set = self.is_set.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut is_set, _) =
            self.changed.wait_timeout_while(is_set, most, |is_set| !*is_set).unwrap_or_else(PoisonError::into_inner);
        *is_set = false;
    }
}

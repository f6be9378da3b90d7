//! A real Kafka cluster: one broker, or three of which one may be away.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Message as _, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;

use super::broker::{Beside, Broker};
use super::{part, secured};

/// How long a broker may take for an answer, and until what it was told is known everywhere.
const WAIT: Duration = Duration::from_secs(120);

/// How long replicas may take to be in sync after their broker came back.
const IN_SYNC: Duration = Duration::from_secs(600);

/// How long all records of a test may take to be written to a topic, and those of a partition to be read.
const RECORDS: Duration = Duration::from_secs(300);

/// Who may log in, by password or with a token.
pub const USER: &str = "reader";
/// The password of [`USER`].
pub const PASSWORD: &str = "reader-secret";

/// Brokers of one cluster. Dropping them ends them and removes their data.
pub struct Kafka {
    brokers: Vec<Broker>,
}

/// One record to produce.
#[derive(Default)]
pub struct Record<'a> {
    pub key: Option<&'a [u8]>,
    pub payload: Option<&'a [u8]>,
    pub partition: Option<i32>,
    pub timestamp_ms: Option<i64>,
    pub headers: &'a [(&'a str, &'a [u8])],
}

impl Kafka {
    /// The broker that all tests share; each makes topics of its own with [`Kafka::topic`]. `None` if Kafka is not
    /// installed, see [`part`].
    pub fn shared() -> Option<&'static Kafka> {
        static SHARED: OnceLock<Option<Kafka>> = OnceLock::new();
        part("TRACERAG_TEST_KAFKA_LIBS", "Kafka")?;
        SHARED.get_or_init(Kafka::start).as_ref()
    }

    /// A broker, shared as well, that has a second listener where clients must log in: [`Kafka::login_bootstrap`].
    pub fn shared_with_login() -> Option<&'static Kafka> {
        static SHARED: OnceLock<Option<Kafka>> = OnceLock::new();
        part("TRACERAG_TEST_KAFKA_LIBS", "Kafka")?;
        SHARED.get_or_init(|| Kafka::start_brokers(1, Beside::Login)).as_ref()
    }

    /// A broker, shared as well, that has two more listeners with TLS, and permits there only what a test has granted
    /// ([`Kafka::permit`]): [`Kafka::scram_bootstrap`] and [`Kafka::certificate_bootstrap`].
    pub fn shared_and_secured() -> Option<&'static Kafka> {
        static SHARED: OnceLock<Option<Kafka>> = OnceLock::new();
        part("TRACERAG_TEST_KAFKA_LIBS", "Kafka")?;
        SHARED.get_or_init(|| Kafka::start_brokers(1, Beside::Secured)).as_ref()
    }

    /// A broker of the test's own, for tests that stop or kill it. `None` if Kafka is not installed.
    pub fn start() -> Option<Kafka> {
        Kafka::start_brokers(1, Beside::Nothing)
    }

    /// A secured broker of the test's own, see [`Kafka::shared_and_secured`].
    pub fn start_secured() -> Option<Kafka> {
        Kafka::start_brokers(1, Beside::Secured)
    }

    /// Three brokers of the test's own. Each partition lies on all of them, and two have to have what is written, so one
    /// may be stopped or killed at a time.
    pub fn start_three() -> Option<Kafka> {
        Kafka::start_brokers(3, Beside::Nothing)
    }

    fn start_brokers(count: usize, beside: Beside) -> Option<Kafka> {
        let libs = part("TRACERAG_TEST_KAFKA_LIBS", "Kafka")?;
        // Between choosing a port and listening on it, somebody else may take it.
        for attempt in 1..=3 {
            let brokers = (1..=count).map(|number| Broker::new(&libs, number, beside)).collect();
            let mut kafka = Kafka { brokers };
            let controllers: Vec<u16> = kafka.brokers.iter().map(Broker::controller).collect();
            let heap = kafka.heap();
            for broker in &mut kafka.brokers {
                broker.format(&controllers);
                broker.launch(heap);
            }
            match kafka.brokers.iter_mut().try_for_each(Broker::wait) {
                Ok(()) => return Some(kafka),
                Err(log) => assert!(attempt < 3, "the broker does not start:\n{log}"),
            }
        }
        unreachable!("the last attempt returns or panics")
    }

    /// What Java is given for a broker.
    fn heap(&self) -> &'static str {
        if self.brokers.len() == 1 { "512m" } else { "384m" }
    }

    /// `host:port` for clients, of each broker.
    pub fn bootstrap(&self) -> String {
        self.brokers.iter().map(Broker::address).collect::<Vec<_>>().join(",")
    }

    /// `host:port` for clients that log in: as [`USER`] with `PLAIN` or `SCRAM-SHA-256`, or as anybody with a token
    /// (`OAUTHBEARER`), which need not be signed.
    pub fn login_bootstrap(&self) -> String {
        self.beside_bootstrap(Beside::Login, 0)
    }

    /// `host:port` for clients that log in over TLS, as [`USER`] with `SCRAM-SHA-512`.
    pub fn scram_bootstrap(&self) -> String {
        self.beside_bootstrap(Beside::Secured, 0)
    }

    /// `host:port` for clients that show a certificate. Its common name is the name of the user.
    pub fn certificate_bootstrap(&self) -> String {
        self.beside_bootstrap(Beside::Secured, 1)
    }

    fn beside_bootstrap(&self, beside: Beside, listener: usize) -> String {
        let addresses = self.brokers.iter().map(|broker| broker.beside_address(beside, listener));
        addresses.collect::<Vec<_>>().join(",")
    }

    /// The certificates of a secured broker lie here, and those of its clients.
    pub fn certificates(&self) -> secured::Certificates {
        self.brokers[0].certificates()
    }

    /// Grants a user an operation on a topic or group.
    pub fn permit(&self, user: &str, operation: secured::Operation, on: secured::Resource<'_>) {
        secured::permit(&self.bootstrap(), user, operation, on);
    }

    /// Takes a grant back.
    pub fn withdraw(&self, user: &str, operation: secured::Operation, on: secured::Resource<'_>) {
        secured::withdraw(&self.bootstrap(), user, operation, on);
    }

    /// Takes the password of a user of SCRAM away. Who is connected stays so.
    pub fn forget_password(&self, user: &str) {
        secured::forget_password(&self.bootstrap(), user);
    }

    /// A client configuration that names this cluster.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap()).set_log_level(rdkafka::config::RDKafkaLogLevel::Critical);
        config
    }

    /// How many brokers there are.
    pub fn count(&self) -> usize {
        self.brokers.len()
    }

    /// Stops a broker, counted from 0, the way an operator does.
    pub fn stop(&mut self, broker: usize) {
        self.brokers[broker].stop();
    }

    /// Kills a broker, counted from 0 (`SIGKILL`).
    pub fn kill(&mut self, broker: usize) {
        self.brokers[broker].kill();
    }

    /// Starts a stopped or killed broker again, on the same port and with the same data, and waits until it has what the
    /// others have: then the next one may go.
    pub fn restart(&mut self, broker: usize) {
        let heap = self.heap();
        self.brokers[broker].restart(heap);
        let probe: BaseConsumer = self.client().create().expect("the configuration is valid");
        super::wait_for("all replicas are in sync", IN_SYNC, || {
            let metadata = probe.fetch_metadata(None, WAIT).ok()?;
            let mut partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
            partitions.all(|partition| partition.isr().len() == partition.replicas().len()).then_some(())
        });
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().expect("the configuration is valid")
    }

    /// Makes a topic with a name that no other test uses, and returns it: `stem`, the process and a number.
    pub fn topic(&self, stem: &str, partitions: i32) -> String {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("{stem}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        self.create_topic(&name, partitions, &[]);
        name
    }

    /// Makes a topic; `settings` are the broker's topic settings (`max.message.bytes`, `retention.ms`, ...).
    pub fn create_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(self.brokers.len() as i32));
        for &(key, value) in settings {
            topic = topic.set(key, value);
        }
        let results = block_on(self.admin().create_topics([&topic], &AdminOptions::new())).expect("the broker answers");
        for result in results {
            result.unwrap_or_else(|(topic, code)| panic!("topic {topic} cannot be created: {code}"));
        }
        // The answer comes before every client can see the topic.
        super::wait_for("the topic is known", WAIT, || (self.partitions(name) == partitions as usize).then_some(()));
    }

    /// Gives a topic more partitions, `total` in all, and waits until they are there.
    pub fn add_partitions(&self, name: &str, total: usize) {
        let more = NewPartitions::new(name, total);
        let results =
            block_on(self.admin().create_partitions([&more], &AdminOptions::new())).expect("the broker answers");
        for result in results {
            result.unwrap_or_else(|(topic, code)| panic!("topic {topic} cannot get more partitions: {code}"));
        }
        super::wait_for("the partitions are known", WAIT, || (self.partitions(name) == total).then_some(()));
    }

    /// Deletes topics and waits until they are gone.
    pub fn delete_topics(&self, names: &[&str]) {
        let results = block_on(self.admin().delete_topics(names, &AdminOptions::new())).expect("the broker answers");
        for (topic, code) in results.into_iter().filter_map(Result::err) {
            assert!(code == RDKafkaErrorCode::UnknownTopicOrPartition, "topic {topic} cannot be deleted: {code}");
        }
        super::wait_for("the topics are gone", WAIT, || {
            names.iter().all(|name| self.partitions(name) == 0).then_some(())
        });
    }

    /// Deletes the records of a partition before an offset, as retention does, and waits until they are gone.
    pub fn delete_records(&self, topic: &str, partition: i32, before: i64) {
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(topic, partition, Offset::Offset(before)).expect("a valid offset");
        let admin = self.admin();
        let deleted = block_on(admin.delete_records(&offsets, &AdminOptions::new())).expect("the broker answers");
        for element in deleted.elements() {
            element.error().expect("the records can be deleted");
        }
        super::wait_for("the records are gone", WAIT, || {
            (self.watermarks(topic)[partition as usize].0 == before).then_some(())
        });
    }

    /// How many partitions a topic has; 0 if there is no such topic.
    pub fn partitions(&self, topic: &str) -> usize {
        let consumer: BaseConsumer = self.client().create().expect("the configuration is valid");
        let metadata = consumer.fetch_metadata(Some(topic), WAIT).expect("the broker answers");
        metadata.topics().iter().filter(|t| t.error().is_none()).map(|t| t.partitions().len()).sum()
    }

    /// First and next offset of each partition.
    pub fn watermarks(&self, topic: &str) -> Vec<(i64, i64)> {
        let consumer: BaseConsumer = self.client().create().expect("the configuration is valid");
        (0..self.partitions(topic))
            .map(|p| consumer.fetch_watermarks(topic, p as i32, WAIT).expect("the broker answers"))
            .collect()
    }

    /// Produces messages with their keys: the partition is the hash of the key that librdkafka's producer takes.
    pub fn produce_keyed(&self, topic: &str, messages: impl IntoIterator<Item = (String, String)>) {
        let messages: Vec<(String, String)> = messages.into_iter().collect();
        self.produce(
            topic,
            messages.iter().map(|(key, message)| Record {
                key: Some(key.as_bytes()),
                payload: Some(message.as_bytes()),
                ..Record::default()
            }),
        );
    }

    /// Produces `records` and waits until the broker has them all.
    pub fn produce<'a>(&self, topic: &str, records: impl IntoIterator<Item = Record<'a>>) {
        self.produce_compressed("none", topic, records);
    }

    /// The same with a codec: `gzip`, `snappy`, `lz4`, `zstd`.
    pub fn produce_compressed<'a>(&self, codec: &str, topic: &str, records: impl IntoIterator<Item = Record<'a>>) {
        let producer: BaseProducer = self
            .client()
            .set("compression.type", codec)
            .set("message.max.bytes", "67108864")
            .set("linger.ms", "5")
            .set("enable.idempotence", "true")
            .create()
            .expect("the configuration is valid");
        for record in records {
            let mut headers = OwnedHeaders::new();
            for &(key, value) in record.headers {
                headers = headers.insert(rdkafka::message::Header { key, value: Some(value) });
            }
            let mut next: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).headers(headers);
            next.key = record.key;
            next.payload = record.payload;
            next.partition = record.partition;
            next.timestamp = record.timestamp_ms;
            while let Err((error, back)) = producer.send(next) {
                assert!(error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull), "producing failed: {error}");
                producer.poll(Duration::from_millis(20));
                next = back;
            }
        }
        producer.flush(RECORDS).expect("the broker takes everything");
    }

    /// By which codec each batch of a partition is compressed, as a single broker has stored it: 0 by none, 1 `gzip`,
    /// 2 `snappy`, 3 `lz4`, 4 `zstd`.
    pub fn codecs(&self, topic: &str, partition: usize) -> Vec<u8> {
        // The header of a batch: base offset 8 bytes, length of what follows 4, epoch 4, magic 1, checksum 4, attributes 2.
        const LENGTH: std::ops::Range<usize> = 8..12;
        const CODEC: usize = 22;
        let log = self.brokers[0].log(topic, partition);
        let (mut rest, mut codecs) = (log.as_slice(), Vec::new());
        while let (Some(length), Some(attributes)) = (rest.get(LENGTH), rest.get(CODEC)) {
            codecs.push(attributes & 7);
            let length = u32::from_be_bytes(length.try_into().expect("four bytes"));
            rest = rest.get(LENGTH.end + length as usize..).unwrap_or_default();
        }
        codecs
    }

    /// Everything that a topic holds, partition by partition, in offset order.
    pub fn read_all(&self, topic: &str) -> Vec<OwnedMessage> {
        let marks = self.watermarks(topic);
        let consumer: BaseConsumer = self
            .client()
            .set("group.id", "unused")
            .set("enable.auto.commit", "false")
            .set("fetch.message.max.bytes", "67108864")
            .create()
            .expect("the configuration is valid");
        let mut messages = Vec::new();
        for (partition, &(low, high)) in marks.iter().enumerate().filter(|(_, (low, high))| high > low) {
            let mut assignment = TopicPartitionList::new();
            assignment.add_partition_offset(topic, partition as i32, Offset::Offset(low)).expect("a valid offset");
            consumer.assign(&assignment).expect("the partition exists");
            let start = Instant::now();
            loop {
                assert!(start.elapsed() < RECORDS, "{topic}/{partition} cannot be read to its end");
                let Some(message) = consumer.poll(Duration::from_millis(200)) else {
                    continue;
                };
                let message = message.expect("the broker answers").detach();
                let offset = message.offset();
                messages.push(message);
                if offset + 1 >= high {
                    break;
                }
            }
        }
        messages
    }
}

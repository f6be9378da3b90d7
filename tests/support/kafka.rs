//! A real Kafka broker in KRaft mode: one process, broker and controller in one, from the jars on a class path.

use std::path::PathBuf;
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

use super::process::Process;
use super::{free_port, part};

const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qk";
const WAIT: Duration = Duration::from_secs(10);

/// Who may log in, by password or with a token.
pub const USER: &str = "reader";
/// The password of [`USER`].
pub const PASSWORD: &str = "reader-secret";

/// A broker on a free port of the loopback address. Dropping it ends it and removes its data.
pub struct Kafka {
    libs: PathBuf,
    // The broker goes before its folder does.
    process: Option<Process>,
    folder: tempfile::TempDir,
    port: u16,
    /// The port where clients must log in; 0 until it is chosen, `None` without such a listener.
    login_port: Option<u16>,
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

/// What a listener where clients must log in adds to the broker's configuration.
#[derive(Default)]
struct Login {
    listener: String,
    protocol: &'static str,
    properties: String,
    /// Words for the tool that formats the storage, which is where the user of SCRAM comes from.
    format: Vec<String>,
}

impl Login {
    fn on(port: u16) -> Login {
        const MODULES: &str = "org.apache.kafka.common.security";
        let properties = [
            ("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256,OAUTHBEARER".to_owned()),
            (
                "plain.sasl.jaas.config",
                format!("{MODULES}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";"),
            ),
            ("scram-sha-256.sasl.jaas.config", format!("{MODULES}.scram.ScramLoginModule required;")),
            // Without a handler of its own the broker takes unsigned tokens; the claim is what it would log in with.
            (
                "oauthbearer.sasl.jaas.config",
                format!(
                    "{MODULES}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"broker\";"
                ),
            ),
        ];
        Login {
            listener: format!(",LOGIN://127.0.0.1:{port}"),
            protocol: ",LOGIN:SASL_PLAINTEXT",
            properties: properties
                .iter()
                .map(|(name, value)| format!("listener.name.login.{name}={value}\n"))
                .collect(),
            format: vec!["--add-scram".to_owned(), format!("SCRAM-SHA-256=[name={USER},password={PASSWORD}]")],
        }
    }
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
        SHARED.get_or_init(|| Kafka::start_listening(Some(0))).as_ref()
    }

    /// A broker of the test's own, for tests that stop or kill it. `None` if Kafka is not installed.
    pub fn start() -> Option<Kafka> {
        Kafka::start_listening(None)
    }

    fn start_listening(login_port: Option<u16>) -> Option<Kafka> {
        let libs = part("TRACERAG_TEST_KAFKA_LIBS", "Kafka")?;
        let folder = tempfile::tempdir().expect("a folder for the broker");
        let mut kafka = Kafka { libs, process: None, folder, port: 0, login_port };
        // Between choosing a port and listening on it, somebody else may take it.
        for attempt in 1..=3 {
            kafka.configure();
            match kafka.launch() {
                Ok(()) => return Some(kafka),
                Err(log) => assert!(attempt < 3, "the broker does not start:\n{log}"),
            }
        }
        unreachable!("the last attempt returns or panics")
    }

    /// `host:port` for clients.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `host:port` for clients that log in: as [`USER`] with `PLAIN` or `SCRAM-SHA-256`, or as anybody with a token
    /// (`OAUTHBEARER`), which need not be signed.
    pub fn login_bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.login_port.expect("a broker with a listener for logins"))
    }

    /// A client configuration that names this broker.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap()).set_log_level(rdkafka::config::RDKafkaLogLevel::Critical);
        config
    }

    fn configure(&mut self) {
        self.port = free_port();
        self.login_port = self.login_port.map(|_| free_port());
        let controller = free_port();
        let folder = self.folder.path();
        let data = folder.join("data");
        let _ = std::fs::remove_dir_all(&data);
        let port = self.port;
        let login = self.login_port.map(Login::on).unwrap_or_default();
        let Login { listener, protocol, .. } = &login;
        let properties = format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=CLIENT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{listener}\n\
             advertised.listeners=CLIENT://127.0.0.1:{port}{listener}\n\
             listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT{protocol}\n\
             inter.broker.listener.name=CLIENT\n\
             controller.listener.names=CONTROLLER\n\
             log.dirs={}\n\
             auto.create.topics.enable=false\n\
             message.max.bytes=67108864\n\
             replica.fetch.max.bytes=67108864\n\
             socket.request.max.bytes=134217728\n\
             offsets.topic.num.partitions=4\n\
             offsets.topic.replication.factor=1\n\
             transaction.state.log.num.partitions=2\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             share.coordinator.state.topic.replication.factor=1\n\
             share.coordinator.state.topic.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\n\
             {}",
            data.display(),
            login.properties
        );
        std::fs::write(folder.join("server.properties"), properties).expect("the broker's folder is writable");
        // Without a configuration of its own Kafka's logger writes into the working directory.
        let logging = "Configuration:\n  status: ERROR\n  Appenders:\n    Console: {name: OUT, PatternLayout: {pattern: \"[%d] %p %m (%c)%n\"}}\n  \
                       Loggers:\n    Root: {level: WARN, AppenderRef: [{ref: OUT}]}\n";
        std::fs::write(folder.join("log4j2.yaml"), logging).expect("the broker's folder is writable");
        let mut words = vec!["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID];
        words.extend(login.format.iter().map(String::as_str));
        words.push("-c");
        let format = self.java("128m", &words);
        let output = std::process::Command::new(&format[0]).args(&format[1..]).output().expect("java is on the PATH");
        assert!(
            output.status.success(),
            "the broker's storage cannot be formatted:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// A Java command line; the file with the broker's properties is its last word.
    fn java(&self, heap: &str, words: &[&str]) -> Vec<String> {
        let folder = self.folder.path();
        let mut command = vec![
            "java".to_owned(),
            format!("-Xmx{heap}"),
            // It lives for minutes: quick to start matters more than quick in the long run.
            "-XX:TieredStopAtLevel=1".to_owned(),
            "-XX:+UseSerialGC".to_owned(),
            "-Djava.awt.headless=true".to_owned(),
            format!("-Dkafka.logs.dir={}", folder.display()),
            format!("-Dlog4j2.configurationFile={}", folder.join("log4j2.yaml").display()),
            "-cp".to_owned(),
            self.libs.join("*").display().to_string(),
        ];
        command.extend(words.iter().map(|&word| word.to_owned()));
        command.push(folder.join("server.properties").display().to_string());
        command
    }

    /// Starts the broker on the data that is there and waits until it answers; the end of its log if it ends first.
    fn launch(&mut self) -> Result<(), String> {
        let process = Process::start(&self.java("512m", &["kafka.Kafka"]), self.folder.path(), "broker.log");
        let probe: BaseConsumer = self.client().create().expect("the configuration is valid");
        let start = Instant::now();
        while probe.fetch_metadata(None, Duration::from_millis(500)).is_err() {
            if !process.alive() || start.elapsed() > Duration::from_secs(90) {
                return Err(process.log_tail());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        self.process = Some(process);
        Ok(())
    }

    /// Stops the broker the way an operator does.
    pub fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.terminate(Duration::from_secs(30));
        }
    }

    /// Kills the broker (`SIGKILL`).
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Starts a stopped or killed broker again, on the same port and with the same data.
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "stop or kill the broker first");
        // While nobody listens on the port, a client that tries to connect may have it as its own for a moment.
        for attempt in 1..=3 {
            match self.launch() {
                Ok(()) => return,
                Err(log) => assert!(attempt < 3, "the broker does not start again:\n{log}"),
            }
        }
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
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
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
        let producer: BaseProducer = self
            .client()
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
        producer.flush(Duration::from_secs(60)).expect("the broker takes everything within a minute");
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
                assert!(start.elapsed() < Duration::from_secs(60), "{topic}/{partition} cannot be read to its end");
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

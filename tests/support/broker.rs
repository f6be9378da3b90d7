//! One Kafka broker in KRaft mode: one process, broker and controller in one, from the jars on a class path.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::free_port;
use super::kafka::{PASSWORD, USER};
use super::process::Process;
use super::secured::{self, Certificates};

const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qk";

/// How long a broker may take until it answers.
const START: Duration = Duration::from_secs(600);

/// A broker on free ports of the loopback address, alone or one of several. Dropping it ends it and removes its data.
pub struct Broker {
    libs: PathBuf,
    /// From 1 on.
    number: usize,
    // The broker goes before its folder does.
    process: Option<Process>,
    folder: tempfile::TempDir,
    port: u16,
    controller: u16,
    beside: Beside,
    /// The ports of the listeners beside it.
    beside_ports: [u16; 2],
}

/// The listeners that a broker has beside the one where anybody may do anything.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    Nothing,
    /// One where clients must log in.
    Login,
    /// Two with TLS, where only what was granted is permitted: see [`secured`].
    Secured,
}

/// What further listeners add to the broker's configuration.
#[derive(Default)]
pub(super) struct Listeners {
    /// Their addresses, each behind a comma.
    pub(super) listeners: String,
    /// Their protocols, each behind a comma.
    pub(super) protocols: &'static str,
    pub(super) properties: String,
    /// Words for the tool that formats the storage, which is where users of SCRAM come from.
    pub(super) format: Vec<String>,
}

impl Listeners {
    fn login(port: u16) -> Listeners {
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
        Listeners {
            listeners: format!(",LOGIN://127.0.0.1:{port}"),
            protocols: ",LOGIN:SASL_PLAINTEXT",
            properties: properties
                .iter()
                .map(|(name, value)| format!("listener.name.login.{name}={value}\n"))
                .collect(),
            format: vec!["--add-scram".to_owned(), format!("SCRAM-SHA-256=[name={USER},password={PASSWORD}]")],
        }
    }
}

impl Broker {
    /// One that is neither configured nor started.
    pub fn new(libs: &Path, number: usize, beside: Beside) -> Broker {
        Broker {
            libs: libs.to_owned(),
            number,
            process: None,
            folder: tempfile::tempdir().expect("a folder for the broker"),
            port: free_port(),
            controller: free_port(),
            beside,
            beside_ports: [free_port(), free_port()],
        }
    }

    /// `host:port` for clients.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `host:port` for clients of a listener beside it.
    pub fn beside_address(&self, beside: Beside, listener: usize) -> String {
        assert!(self.beside == beside, "the broker has no such listener");
        format!("127.0.0.1:{}", self.beside_ports[listener])
    }

    /// The certificates of a secured broker and of its clients.
    pub fn certificates(&self) -> Certificates {
        Certificates::in_folder(self.folder.path())
    }

    /// The bytes of the first segment of a partition.
    pub fn log(&self, topic: &str, partition: usize) -> Vec<u8> {
        let folder = self.folder.path().join("data").join(format!("{topic}-{partition}"));
        std::fs::read(folder.join("00000000000000000000.log")).expect("the broker has the partition")
    }

    /// The port of its controller.
    pub fn controller(&self) -> u16 {
        self.controller
    }

    /// Writes its configuration and formats its storage. `controllers` are the ports of all brokers' controllers, by
    /// number.
    pub fn format(&self, controllers: &[u16]) {
        let folder = self.folder.path();
        let Broker { number, port, controller, .. } = self;
        let beside = match self.beside {
            Beside::Nothing => Listeners::default(),
            Beside::Login => Listeners::login(self.beside_ports[0]),
            Beside::Secured => secured::listeners(&self.certificates(), self.beside_ports),
        };
        let Listeners { listeners, protocols, .. } = &beside;
        let voters = controllers.iter().enumerate().map(|(index, port)| format!("{}@127.0.0.1:{port}", index + 1));
        let (voters, replicas) = (voters.collect::<Vec<_>>().join(","), controllers.len());
        // With three replicas one may be away.
        let in_sync = replicas.div_ceil(2);
        let properties = format!(
            "process.roles=broker,controller\n\
             node.id={number}\n\
             controller.quorum.voters={voters}\n\
             listeners=CLIENT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{listeners}\n\
             advertised.listeners=CLIENT://127.0.0.1:{port}{listeners}\n\
             listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}\n\
             inter.broker.listener.name=CLIENT\n\
             controller.listener.names=CONTROLLER\n\
             log.dirs={}\n\
             auto.create.topics.enable=false\n\
             message.max.bytes=67108864\n\
             replica.fetch.max.bytes=67108864\n\
             socket.request.max.bytes=134217728\n\
             default.replication.factor={replicas}\n\
             min.insync.replicas={in_sync}\n\
             offsets.topic.num.partitions=4\n\
             offsets.topic.replication.factor={replicas}\n\
             transaction.state.log.num.partitions=2\n\
             transaction.state.log.replication.factor={replicas}\n\
             transaction.state.log.min.isr={in_sync}\n\
             share.coordinator.state.topic.replication.factor={replicas}\n\
             share.coordinator.state.topic.min.isr={in_sync}\n\
             group.initial.rebalance.delay.ms=0\n\
             {}",
            folder.join("data").display(),
            beside.properties
        );
        std::fs::write(folder.join("server.properties"), properties).expect("the broker's folder is writable");
        // Without a configuration of its own Kafka's logger writes into the working directory.
        let logging = "Configuration:\n  status: ERROR\n  Appenders:\n    Console: {name: OUT, PatternLayout: {pattern: \"[%d] %p %m (%c)%n\"}}\n  \
                       Loggers:\n    Root: {level: WARN, AppenderRef: [{ref: OUT}]}\n";
        std::fs::write(folder.join("log4j2.yaml"), logging).expect("the broker's folder is writable");
        let mut words = vec!["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID];
        words.extend(beside.format.iter().map(String::as_str));
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

    /// Starts its process on the data that is there. `heap` is what Java is given: `512m`.
    pub fn launch(&mut self, heap: &str) {
        assert!(self.process.is_none(), "stop or kill the broker first");
        self.process = Some(Process::start(&self.java(heap, &["kafka.Kafka"]), self.folder.path(), "broker.log"));
    }

    /// Waits until it answers; the end of its log if it ends first.
    pub fn wait(&mut self) -> Result<(), String> {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", self.address()).set_log_level(rdkafka::config::RDKafkaLogLevel::Critical);
        let probe: BaseConsumer = client.create().expect("the configuration is valid");
        let start = Instant::now();
        while probe.fetch_metadata(None, Duration::from_millis(500)).is_err() {
            let is_lost = self.process.as_ref().is_none_or(|process| !process.alive());
            if is_lost || start.elapsed() > START {
                let process = self.process.take();
                return Err(process.map(|process| process.log_tail()).unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Stops it the way an operator does. One that takes long is killed, which loses nothing that it has acknowledged.
    pub fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.terminate_within(Duration::from_secs(30));
        }
    }

    /// Kills it (`SIGKILL`).
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Starts it again after it was stopped or killed, on the same ports and with the same data.
    pub fn restart(&mut self, heap: &str) {
        // While nobody listens on the port, a client that tries to connect may have it as its own for a moment.
        for attempt in 1..=3 {
            self.launch(heap);
            match self.wait() {
                Ok(()) => return,
                Err(log) => assert!(attempt < 3, "the broker does not start again:\n{log}"),
            }
        }
    }
}

//! A real OpenTelemetry Collector that takes OTLP over HTTP and writes to Kafka with its `kafkaexporter`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::kafka::Kafka;
use super::process::Process;
use super::{free_port, part, wait_for};

/// How long the Collector may take until it listens.
const START: Duration = Duration::from_secs(900);

/// How long an answer may take: one that waits for a broker has to start that first.
const ANSWER_WITHIN: Duration = Duration::from_secs(900);

/// How the Collector writes to Kafka.
#[derive(Clone, Debug)]
pub struct Export {
    pub spans_topic: String,
    pub logs_topic: String,
    pub metrics_topic: String,
    /// `otlp_proto` or `otlp_json`.
    pub encoding: &'static str,
    /// Key by trace id: one message for each trace and request, instead of one for each request.
    pub keyed: bool,
    /// `none`, `gzip`, `snappy`, `lz4`, `zstd`.
    pub compression: &'static str,
    /// Collect several requests into one message with the batch processor.
    pub batch: bool,
}

impl Export {
    /// Protobuf, without keys, uncompressed, a message for each request.
    pub fn proto(spans: &str, logs: &str, metrics: &str) -> Export {
        Export {
            spans_topic: spans.to_owned(),
            logs_topic: logs.to_owned(),
            metrics_topic: metrics.to_owned(),
            encoding: "otlp_proto",
            keyed: false,
            compression: "none",
            batch: false,
        }
    }

    /// The same, keyed by trace id.
    pub fn keyed(self) -> Export {
        Export { keyed: true, ..self }
    }

    /// The same as OTLP/JSON.
    pub fn json(self) -> Export {
        Export { encoding: "otlp_json", ..self }
    }
}

/// Configurations of the project, the later over the earlier ones, and single settings over all of them.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    files: Vec<PathBuf>,
    settings: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Layers {
    /// Files of `deploy/collector` by their names.
    pub fn of(names: &[&str]) -> Layers {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/collector");
        Layers { files: names.iter().map(|name| folder.join(name)).collect(), ..Layers::default() }
    }

    /// A setting, as `path::to::key: value`.
    pub fn set(mut self, setting: impl Into<String>) -> Layers {
        self.settings.push(setting.into());
        self
    }

    /// Topics of a test's own.
    pub fn to(self, spans: &str, logs: &str, metrics: &str) -> Layers {
        let topics = [("traces", spans), ("logs", logs), ("metrics", metrics)];
        topics
            .iter()
            .fold(self, |layers, (signal, topic)| layers.set(format!("exporters::kafka::{signal}::topic: {topic}")))
    }

    /// A variable of the environment that a configuration names.
    pub fn knowing(mut self, name: &str, value: impl Into<String>) -> Layers {
        self.variables.push((name.to_owned(), value.into()));
        self
    }
}

/// One of OTLP's signals.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    Traces,
    Logs,
    Metrics,
}

impl Signal {
    fn path(self) -> &'static str {
        match self {
            Signal::Traces => "/v1/traces",
            Signal::Logs => "/v1/logs",
            Signal::Metrics => "/v1/metrics",
        }
    }
}

/// A Collector on a free port of the loopback address. Dropping it kills it; [`Collector::stop`] lets it finish.
pub struct Collector {
    process: Process,
    port: u16,
    connection: Option<BufReader<TcpStream>>,
    // Last: the configuration must outlive the process.
    _folder: tempfile::TempDir,
}

impl Collector {
    /// Starts a Collector that exports to `kafka`. `None` if no Collector is installed, see [`part`].
    pub fn start(kafka: &Kafka, export: &Export) -> Option<Collector> {
        let binary = part("TRACERAG_TEST_COLLECTOR", "the OpenTelemetry Collector")?;
        let folder = tempfile::tempdir().expect("a folder for the Collector");
        let port = free_port();
        let file = folder.path().join("collector.yaml");
        std::fs::write(&file, configuration(&kafka.bootstrap(), port, export)).expect("the folder is writable");
        let command = [binary.display().to_string(), "--config".to_owned(), file.display().to_string()];
        Some(Collector::launch(&command, folder, port))
    }

    /// Starts a Collector with configurations of the project, on ports of its own. It answers a request before Kafka does,
    /// for it has a queue; [`Collector::stop`] lets that run empty. `bootstrap` are the brokers' addresses. `None` as
    /// above.
    pub fn layered(bootstrap: &str, layers: &Layers) -> Option<Collector> {
        let binary = part("TRACERAG_TEST_COLLECTOR", "the OpenTelemetry Collector")?;
        let folder = tempfile::tempdir().expect("a folder for the Collector");
        let port = free_port();
        let mut command = vec!["env".to_owned(), format!("KAFKA_BROKERS={bootstrap}")];
        command.extend(layers.variables.iter().map(|(name, value)| format!("{name}={value}")));
        command.push(binary.display().to_string());
        command.extend(layers.files.iter().map(|file| format!("--config={}", file.display())));
        let own = [
            format!("receivers::otlp::protocols::http::endpoint: 127.0.0.1:{port}"),
            format!("receivers::otlp::protocols::grpc::endpoint: 127.0.0.1:{}", free_port()),
            "service::telemetry::metrics::level: none".to_owned(),
        ];
        command.extend(own.iter().chain(&layers.settings).map(|setting| format!("--config=yaml:{setting}")));
        Some(Collector::launch(&command, folder, port))
    }

    fn launch(command: &[String], folder: tempfile::TempDir, port: u16) -> Collector {
        let process = Process::start(command, folder.path(), "collector.log");
        wait_for("the Collector listens", START, || {
            assert!(process.alive(), "the Collector ended:\n{}", process.log_tail());
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Collector { process, port, connection: None, _folder: folder }
    }

    /// `host:port` of the OTLP receiver (HTTP).
    pub fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Sends one OTLP/JSON export request. It is in Kafka when this returns: the exporter has no queue, and the
    /// Collector answers only after the broker did (unless [`Export::batch`] is set).
    ///
    /// # Panics
    /// If the Collector does not take it.
    pub fn post(&mut self, signal: Signal, request: &str) {
        let (status, body) = self.exchange(signal, request).unwrap_or_else(|error| {
            panic!("the Collector does not answer: {error}\n{}", self.process.log_tail());
        });
        assert!(status == 200, "the Collector answers {status}: {body}\n{}", self.process.log_tail());
    }

    /// Sends a request and reads the answer: HTTP status and body.
    fn exchange(&mut self, signal: Signal, request: &str) -> std::io::Result<(u16, String)> {
        let mut connection = match self.connection.take() {
            Some(open) => open,
            None => {
                let stream = TcpStream::connect(("127.0.0.1", self.port))?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(ANSWER_WITHIN))?;
                BufReader::new(stream)
            }
        };
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            signal.path(),
            self.endpoint(),
            request.len()
        );
        connection.get_mut().write_all(head.as_bytes())?;
        connection.get_mut().write_all(request.as_bytes())?;

        let mut line = String::new();
        connection.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let mut length = 0;
        loop {
            line.clear();
            connection.read_line(&mut line)?;
            let header = line.trim_end().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        connection.read_exact(&mut body)?;
        self.connection = Some(connection);
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    /// Sends every line of OTLP/JSON as a request of its own; returns how many there were.
    pub fn post_all<'a>(&mut self, signal: Signal, lines: impl IntoIterator<Item = &'a str>) -> usize {
        let mut count = 0;
        for line in lines {
            self.post(signal, line);
            count += 1;
        }
        count
    }

    /// Runs `telemetrygen` against this Collector: `signal` is `traces`, `logs` or `metrics`, `options` are its own.
    /// False if it is not installed.
    pub fn telemetrygen(&self, signal: &str, options: &[&str]) -> bool {
        let Some(binary) = part("TRACERAG_TEST_TELEMETRYGEN", "telemetrygen") else {
            return false;
        };
        let output = std::process::Command::new(binary)
            .args([signal, "--otlp-http", "--otlp-insecure", "--otlp-endpoint", &self.endpoint()])
            .args(options)
            .output()
            .expect("telemetrygen starts");
        assert!(output.status.success(), "telemetrygen failed:\n{}", String::from_utf8_lossy(&output.stderr));
        true
    }

    /// Stops the Collector and waits until what it holds is in Kafka.
    pub fn stop(self) {
        let Collector { process, connection, _folder, .. } = self;
        drop(connection);
        assert!(process.terminate(), "the Collector does not stop");
    }
}

fn configuration(bootstrap: &str, port: u16, export: &Export) -> String {
    let Export { spans_topic, logs_topic, metrics_topic, encoding, keyed, compression, batch } = export;
    let (processor, named) = if *batch { ("processors:\n  batch:\n", "processors: [batch], ") } else { ("", "") };
    let pipeline = format!("{{receivers: [otlp], {named}exporters: [kafka]}}");
    format!(
        "receivers:\n  otlp:\n    protocols:\n      http:\n        endpoint: 127.0.0.1:{port}\n        max_request_body_size: 67108864\n\
         {processor}\
         exporters:\n  kafka:\n    brokers: [\"{bootstrap}\"]\n    \
         traces: {{topic: {spans_topic}, encoding: {encoding}}}\n    \
         logs: {{topic: {logs_topic}, encoding: {encoding}}}\n    \
         metrics: {{topic: {metrics_topic}, encoding: {encoding}}}\n    \
         partition_traces_by_id: {keyed}\n    partition_logs_by_trace_id: {keyed}\n    \
         producer: {{max_message_bytes: 33554432, compression: {compression}, required_acks: -1}}\n    \
         sending_queue: {{enabled: false}}\n\
         service:\n  telemetry:\n    metrics: {{level: none}}\n    logs: {{level: warn}}\n  \
         pipelines:\n    traces: {pipeline}\n    logs: {pipeline}\n    metrics: {pipeline}\n"
    )
}

//! What is deployed: the parts of the Compose file and of the chart, without Docker and without a cluster.
//!
//! `tests/kit` holds images, paths, ports and volumes of both against each other; here the program and the Collector
//! read the configurations that they would get.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tracerag::{Config, Overrides};
use tracerag_ingest::source::Signal as Topic;

use crate::kafka_worker::until;
use crate::support::collector::{Collector, Signal};
use crate::support::kafka::Kafka;
use crate::support::program::Tracerag;
use crate::support::{free_port, part, telemetry};

const COMPOSE: &str = include_str!("../docker-compose.yml");
const DOCKERFILE: &str = include_str!("../deploy/Dockerfile");

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The variables that a worker of the Compose file gets: those of the image, then its own. The broker is another, and
/// what lies in the container lies in the test's folder.
fn variables(tracerag: &Tracerag, kafka: &Kafka) -> Vec<(String, String)> {
    let key = tracerag.write("hmac.key", "0123456789abcdef0123456789abcdef\n");
    let of_image = DOCKERFILE.split_whitespace().filter_map(|word| word.split_once('='));
    let of_service = COMPOSE.lines().filter_map(|line| line.trim().split_once(": "));
    let mut variables: Vec<(String, String)> = of_image
        .chain(of_service)
        .filter(|(name, _)| name.starts_with("TRACERAG_"))
        .map(|(name, value)| {
            let value = value.replace("$$", "$").replace("/etc/tracerag/hmac.key", &key.display().to_string());
            (name.to_owned(), value)
        })
        .collect();
    for (name, value) in &mut variables {
        match name.as_str() {
            "TRACERAG_KAFKA__BOOTSTRAP_SERVERS" => *value = kafka.bootstrap(),
            "TRACERAG_LAKE__URI" => *value = tracerag.path("lake").display().to_string(),
            "TRACERAG_METRICS__LISTEN" => *value = format!("127.0.0.1:{}", free_port()),
            _ => {}
        }
    }
    variables
}

/// Makes the topics that the Compose file makes.
fn make_topics(kafka: &Kafka) -> usize {
    let mut made = 0;
    for part in COMPOSE.split("for topic in ").skip(1) {
        let (names, rest) = part.split_once(';').expect("a list of topics");
        let (_, partitions) = rest.split_once("--partitions ").expect("a number of partitions");
        let partitions = partitions.split_whitespace().next().unwrap().parse().unwrap();
        for name in names.split_whitespace() {
            kafka.create_topic(name, partitions, &[]);
            made += 1;
        }
    }
    made
}

/// Both configurations of a Collector are read by the Collector itself. Guarantees that they are valid for it.
#[test]
fn the_collectors_configurations_are_valid() {
    let Some(collector) = part("TRACERAG_TEST_COLLECTOR", "the OpenTelemetry Collector") else { return };
    for name in ["kafka-keyed.yaml", "kafka-unkeyed.yaml"] {
        let output = Command::new(&collector)
            .args(["validate", "--config", at("deploy/collector").join(name).to_str().unwrap()])
            .env("KAFKA_BROKERS", "127.0.0.1:9092")
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The deployment of the Compose file in its parts: a broker with its topics, a Collector and a worker with its
/// configurations. The plan finds every topic and nothing that would keep a worker from starting; then traces that the
/// Collector is sent are in the lake, and keyed. Guarantees that the three fit each other.
#[test]
fn the_parts_of_compose_work_together() {
    let Some(kafka) = Kafka::start() else { return };
    assert_eq!(make_topics(&kafka), 6);
    let Some(mut collector) = Collector::configured(&kafka, &at("deploy/collector/kafka-keyed.yaml")) else { return };
    let tracerag = Tracerag::new();
    let variables = variables(&tracerag, &kafka);
    let planned = |expected: &str| {
        let ran = tracerag.run_with(&variables, &["run", "--plan", "--format", "json"]);
        assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
        let plan: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(plan["missing_topics"], serde_json::json!([]), "{plan:#}");
        let topics = plan["topics"].as_array().unwrap();
        let spans = topics.iter().find(|topic| topic["topic"] == "otlp_spans").unwrap();
        assert_eq!(spans["keying"], expected, "{plan:#}");
    };
    planned("unknown");

    let text = telemetry::read(&telemetry::sample().join("traces.jsonl.zst"));
    collector.post_all(Signal::Traces, text.lines());
    collector.stop();
    planned("keyed");
    let worker = tracerag.worker_with(&variables, "worker.log");
    until(&tracerag, "select count(*) from spans", 21_061, || worker.log_tail());
    assert!(worker.terminate(Duration::from_secs(30)), "the worker does not end on SIGTERM");
}

/// The configurations in the chart as it is rendered for several values.
fn rendered(tracerag: &Tracerag, values: &str) -> Vec<Config> {
    let text = std::fs::read_to_string(at("deploy/helm/snapshots").join(format!("{values}.yaml"))).unwrap();
    let blocks = text.split("  tracerag.toml: |\n").skip(1);
    blocks
        .map(|block| {
            let lines = block.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
            let file = tracerag.write("chart.toml", lines.collect::<Vec<_>>().join("\n"));
            let loaded = Config::load(&Overrides { config: Some(file), ..Overrides::default() });
            loaded.unwrap_or_else(|error| panic!("{values}: {error}"))
        })
        .collect()
}

/// Each configuration that the chart makes is loaded. Guarantees that the program takes what Helm writes as TOML, and
/// that probes and Prometheus find the port that they ask.
#[test]
fn the_charts_configurations_are_taken() {
    let tracerag = Tracerag::new();
    for values in ["one-worker", "shared-volume", "s3", "rekey"] {
        let configs = rendered(&tracerag, values);
        assert!(!configs.is_empty(), "{values}");
        for config in configs {
            assert_eq!(config.metrics.listen, "0.0.0.0:9464", "{values}");
            assert!(!config.redaction.key.is_empty(), "{values}");
        }
    }
}

/// With re-keying, the chart has two configurations: of the workers, and of what re-keys. Guarantees that the workers
/// read what is written for them, and that only the other reads the originals.
#[test]
fn the_charts_workers_read_what_is_rekeyed() {
    let configs = rendered(&Tracerag::new(), "rekey");
    let [worker, rekey] = configs.as_slice() else { panic!("{} configurations", configs.len()) };
    assert_eq!(worker.topics.names(Topic::Spans), std::slice::from_ref(&rekey.rekey.spans));
    assert_eq!(worker.topics.names(Topic::Logs), std::slice::from_ref(&rekey.rekey.logs));
    assert_eq!(rekey.topics.names(Topic::Spans), ["acme_spans", "^other_spans_.*"]);
    assert_eq!(rekey.rekey.partitions.get(), 12);
}

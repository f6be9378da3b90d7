//! What is deployed: the parts of the Compose file and of the chart, without Docker and without a cluster.
//!
//! `tests/kit` holds images, paths, ports and volumes of both against each other; here the program and the Collector
//! read the configurations that they would get.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use rdkafka::message::Message as _;
use tracerag::{Config, Overrides};
use tracerag_ingest::source::Signal as Topic;

use crate::kafka_worker::{get, until};
use crate::support::client::Client;
use crate::support::collector::{Collector, Layers, Signal};
use crate::support::kafka::Kafka;
use crate::support::program::Tracerag;
use crate::support::served::LIMIT;
use crate::support::{free_port, part, telemetry, wait_for};

const COMPOSE: &str = include_str!("../docker-compose.yml");
const DOCKERFILE: &str = include_str!("../deploy/Dockerfile");

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What the Compose file says of one service.
fn service(name: &str) -> &'static str {
    let (_, rest) = COMPOSE.split_once(&format!("\n  {name}:\n")).expect("the service is there");
    // It ends where the next one begins, which is indented as it is itself.
    let end = rest.match_indices("\n  ").find(|(at, _)| !rest[at + 3..].starts_with([' ', '#']));
    end.map_or(rest, |(at, _)| &rest[..at])
}

/// The arguments with which a service starts the program.
fn arguments(service: &str) -> Vec<&str> {
    let (_, rest) = service.split_once("command: [").expect("a command");
    rest.split(']').next().unwrap().split(", ").map(|word| word.trim_matches('"')).collect()
}

/// The variables that a service of the Compose file gets: those of the image, then its own. Kafka is another, what lies in
/// the container lies in the test's folder, and each port is one that is free.
fn variables(tracerag: &Tracerag, service: &str) -> Vec<(String, String)> {
    let key = tracerag.write("hmac.key", "0123456789abcdef0123456789abcdef\n");
    let of_image = DOCKERFILE.split_whitespace().filter_map(|word| word.split_once('='));
    let of_service = service.lines().filter_map(|line| line.trim().split_once(": "));
    let variables = of_image.chain(of_service).filter(|(name, _)| name.starts_with("TRACERAG_"));
    variables
        .map(|(name, value)| {
            let value = value.trim_matches('"').replace("$$", "$");
            let value = value.replace("/etc/tracerag/hmac.key", &key.display().to_string());
            let value = match (value.strip_prefix("/var/lib/tracerag/"), value.strip_prefix("0.0.0.0:")) {
                (Some(file), _) => tracerag.path(file).display().to_string(),
                (_, Some(_)) => format!("127.0.0.1:{}", free_port()),
                _ => value,
            };
            (name.to_owned(), value)
        })
        .collect()
}

fn value<'a>(variables: &'a [(String, String)], name: &str) -> &'a str {
    let found = variables.iter().find(|(found, _)| found == name);
    found.map_or_else(|| panic!("{name} is not set"), |(_, value)| value.as_str())
}

/// The port in an address.
fn port(address: &str) -> u16 {
    address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or_else(|| panic!("{address} has no port"))
}

/// Starts the server of the Compose file on the lake of its worker, makes a token as the file says, asks it over HTTP
/// with and without it, and looks whether it listens for the other protocols.
fn the_server_answers(tracerag: &Tracerag, spans: i64) {
    let service = service("serve");
    let variables = variables(tracerag, service);
    let server = tracerag.background_with(&variables, &arguments(service), "serve.log");
    let metrics = port(value(&variables, "TRACERAG_METRICS__LISTEN"));
    wait_for("the server is ready", LIMIT, || {
        assert!(server.alive(), "{}", server.log_tail());
        get(metrics, "/readyz").filter(|(status, _)| *status == 200)
    });
    let http = port(value(&variables, "TRACERAG_SERVE__HTTP"));
    let query = "select count(*) as n from spans";
    assert_eq!(Client::of(http, None).sql(query).status, 401);
    let (_, rest) = COMPOSE.split_once("exec serve tracerag ").expect("the file says how a token is made");
    let words: Vec<&str> = rest.lines().next().unwrap().split_whitespace().collect();
    let made = tracerag.run_with(&variables, &words);
    assert_eq!(made.status, 0, "{}", made.stderr);
    let client = Client::of(http, Some(made.stdout.trim()));
    let answer =
        wait_for("the token is known", LIMIT, || Some(client.sql(query)).filter(|answer| answer.status != 401));
    assert_eq!(answer.good()[0]["n"], spans);
    for name in ["TRACERAG_SERVE__FLIGHT_SQL", "TRACERAG_SERVE__POSTGRES"] {
        let address = value(&variables, name);
        assert!(TcpStream::connect(address).is_ok(), "nobody listens at {address}, which is {name}");
    }
    assert!(server.terminate(), "the server does not end on SIGTERM");
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

/// Each configuration of a Collector, alone and laid over others as the documents say, is read by the Collector itself.
/// Guarantees that they are valid for it.
#[test]
fn the_collectors_configurations_are_valid() {
    let Some(collector) = part("TRACERAG_TEST_COLLECTOR", "the OpenTelemetry Collector") else { return };
    let output = Command::new(at("scripts/collector/validate.sh")).arg(collector).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The configurations that the Compose file starts its Collector with, and its key: what lies in the container lies where
/// it is mounted from.
fn layers_of_compose(tracerag: &Tracerag) -> Layers {
    let collector = service("collector");
    let names: Vec<&str> = arguments(collector)
        .iter()
        .map(|word| word.strip_prefix("--config=/etc/otelcol/").unwrap_or_else(|| panic!("{word} is no configuration")))
        .collect();
    for name in &names {
        let mount = format!("./deploy/collector/{name}:/etc/otelcol/{name}:ro");
        assert!(collector.contains(&mount), "no {mount} in\n{collector}");
    }
    let key = tracerag.write("collector.key", "0123456789abcdef0123456789abcdef\n");
    let (_, value) = collector.split_once("REDACTION_KEY: ").expect("a key of the redaction");
    let value = value.lines().next().unwrap().replace("$$", "$");
    Layers::of(&names).knowing("REDACTION_KEY", value.replace("/etc/otelcol/hmac.key", &key.display().to_string()))
}

/// The only span of a trace, with what is personal.
const PERSONAL_SPAN: &str = r#"{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "5b8efff798038103d269b633813fc60c",
    "spanId": "eee19b7ec3c1b174", "name": "GET /", "startTimeUnixNano": "1764500000000000000",
    "endTimeUnixNano": "1764500001000000000", "attributes": [
        {"key": "user.id", "value": {"stringValue": "ann-7"}},
        {"key": "note", "value": {"stringValue": "mailed ann@shop.example"}}]}]}]}]}"#;

/// The deployment of the Compose file in its parts: a broker with its topics, a Collector, a worker and a server with their
/// commands and configurations. The plan finds every topic and nothing that would keep a worker from starting; then traces
/// that the Collector is sent are in the lake, and keyed, and who has a token is told of them by the server. What is
/// personal in one of them is not in Kafka. Guarantees that the four fit each other, and that nobody has to ask for
/// redaction.
#[test]
fn the_parts_of_compose_work_together() {
    let Some(kafka) = Kafka::start() else { return };
    assert_eq!(make_topics(&kafka), 6);
    let tracerag = Tracerag::new();
    let Some(mut collector) = Collector::layered(&kafka.bootstrap(), &layers_of_compose(&tracerag)) else { return };
    let of_worker = service("tracerag");
    let mut variables = variables(&tracerag, of_worker);
    for (name, value) in &mut variables {
        if name == "TRACERAG_KAFKA__BOOTSTRAP_SERVERS" {
            *value = kafka.bootstrap();
        }
    }
    let planned = |expected: &str| {
        // A busy broker may not show a plan all topics within the seconds that it waits.
        let ran = wait_for("the broker shows all topics in time", LIMIT, || {
            let ran = tracerag.run_with(&variables, &["run", "--plan", "--format", "json"]);
            (!ran.stdout.contains("was not looked at to the end")).then_some(ran)
        });
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
    collector.post(Signal::Traces, PERSONAL_SPAN);
    collector.stop();
    planned("keyed");
    for message in kafka.read_all("otlp_spans") {
        let payload = String::from_utf8_lossy(message.payload().unwrap()).into_owned();
        assert!(!payload.contains("ann-7") && !payload.contains("ann@shop.example"), "{payload}");
    }
    let worker = tracerag.background_with(&variables, &arguments(of_worker), "worker.log");
    until(&tracerag, "select count(*) from spans", 21_062, || worker.log_tail());
    the_server_answers(&tracerag, 21_062);
    assert!(worker.terminate(), "the worker does not end on SIGTERM");
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
            // A worker's configuration has a key of the redaction, a server's has a file of tokens.
            assert_ne!(config.redaction.key.is_empty(), config.serve.tokens_file.is_empty(), "{values}");
        }
    }
}

/// With servers, the chart has a configuration of theirs. Guarantees that a server starts with it: the values for TLS
/// or for a proxy, and the ports that are off, are taken as they are meant.
#[test]
fn the_charts_servers_listen_where_they_are_asked() {
    let tracerag = Tracerag::new();
    let server = |values: &str| {
        let configs = rendered(&tracerag, values);
        configs.into_iter().find(|config| !config.serve.tokens_file.is_empty()).expect("a server's configuration").serve
    };
    let all = server("shared-volume");
    assert_eq!((all.http.as_str(), all.flight_sql.as_str()), ("0.0.0.0:8080", "0.0.0.0:8081"));
    assert_eq!((all.postgres.as_str(), all.behind_tls), ("0.0.0.0:5433", false));
    assert_eq!(
        (all.tls_certificate.as_str(), all.tls_key.as_str()),
        ("/etc/tracerag/tls/tls.crt", "/etc/tracerag/tls/tls.key")
    );
    let http = server("s3");
    assert_eq!((http.flight_sql.as_str(), http.postgres.as_str(), http.behind_tls), ("", "", true));
    assert_eq!(http.public_url, "https://tracerag.example.com");
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

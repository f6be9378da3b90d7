//! A secured Kafka, on a real broker: SCRAM over TLS, client certificates, and grants to one user, which may be taken back.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use serde_json::{Value, json};
use tracerag_ingest::source::SourceError;

use crate::kafka_login::{connect, first_value};
use crate::kafka_worker::{LIMIT, Topics, config, get, metrics_port, until};
use crate::support::kafka::{Kafka, PASSWORD, Record, USER};
use crate::support::process::Process;
use crate::support::program::Tracerag;
use crate::support::secured::{Authority, Certificate, Operation, Resource};
use crate::support::{in_time, wait_for};

pub fn scram(authority: &Path, password: &str) -> Value {
    json!({
        "security.protocol": "sasl_ssl",
        "ssl.ca.location": authority,
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": USER,
        "sasl.password": password,
    })
}

fn certificate(authority: &Path, own: &Certificate) -> Value {
    json!({
        "security.protocol": "ssl",
        "ssl.ca.location": authority,
        "ssl.certificate.location": own.certificate,
        "ssl.key.location": own.key,
    })
}

/// Reads until a record comes. What was granted a moment ago may not be known to the broker yet.
fn read_when_permitted(servers: &str, topic: &str, options: &Value) -> Vec<u8> {
    wait_for("what was granted is known", LIMIT, || {
        match connect(servers, topic, options).and_then(|mut source| first_value(&mut source)) {
            Ok(value) => Some(value),
            Err(SourceError::Refused { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    })
}

/// What a reader that must fail says, within a time in which nobody is waited for.
fn refusal(servers: &str, topic: &str, options: &Value) -> SourceError {
    in_time("to refuse a reader", Duration::from_secs(20), || {
        let start = Instant::now();
        let read = connect(servers, topic, options).and_then(|mut source| first_value(&mut source));
        let error = read.err().unwrap_or_else(|| panic!("let in with {options}"));
        (error, start.elapsed())
    })
}

/// A user who may read a topic and its group reads it with SCRAM-SHA-512 over TLS and with a client certificate of its
/// name: guarantees that both ways work from the handshake to the record, and that READ on both is all that reading
/// needs.
#[test]
fn each_secured_way_reads() {
    let Some(kafka) = Kafka::shared_and_secured() else { return };
    let certificates = kafka.certificates();
    let trusted = certificates.authority(Authority::Trusted);
    let own = certificates.sign(Authority::Trusted, USER, true);
    for (servers, options) in [
        (kafka.scram_bootstrap(), scram(&trusted, PASSWORD)),
        (kafka.certificate_bootstrap(), certificate(&trusted, &own)),
    ] {
        let topic = kafka.topic("secured", 1);
        kafka.produce(&topic, [Record { payload: Some(b"here"), ..Record::default() }]);
        kafka.permit(USER, Operation::Read, Resource::Topic(&topic));
        kafka.permit(USER, Operation::Read, Resource::Group(&topic));
        assert_eq!(read_when_permitted(&servers, &topic, &options), b"here");
    }
}

/// A broker whose certificate another authority has signed, a client certificate that has expired or that the broker does
/// not trust, and none at all are errors within seconds that say so and name the settings to look at; so is a wrong
/// password. Guarantees that none of them is taken for a broker that is down.
#[test]
fn what_is_not_trusted_is_told() {
    let Some(kafka) = Kafka::shared_and_secured() else { return };
    let certificates = kafka.certificates();
    let (trusted, other) = (certificates.authority(Authority::Trusted), certificates.authority(Authority::Other));
    let expired = certificates.sign(Authority::Trusted, "expired", false);
    let foreign = certificates.sign(Authority::Other, "foreign", true);
    let none = json!({"security.protocol": "ssl", "ssl.ca.location": trusted});
    for (servers, options) in [
        (kafka.scram_bootstrap(), scram(&other, PASSWORD)),
        (kafka.certificate_bootstrap(), certificate(&trusted, &expired)),
        (kafka.certificate_bootstrap(), certificate(&trusted, &foreign)),
        (kafka.certificate_bootstrap(), none),
    ] {
        let error = refusal(&servers, "never-read", &options);
        assert!(matches!(error, SourceError::Handshake { .. }), "{error}");
        assert!(error.to_string().contains("ssl.ca.location"), "{error}");
    }
    let error = refusal(&kafka.scram_bootstrap(), "never-read", &scram(&trusted, "wrong"));
    assert!(matches!(error, SourceError::Login { .. }), "{error}");
}

/// Without READ on the group, with DESCRIBE on the topic only, and without anything on the topic, a reader ends within
/// seconds with the permission that is missing and what it is missing on. Guarantees that a topic which may not be seen
/// is not waited for as one that is not there.
#[test]
fn a_missing_permission_is_named() {
    let Some(kafka) = Kafka::shared_and_secured() else { return };
    let options = scram(&kafka.certificates().authority(Authority::Trusted), PASSWORD);
    let servers = kafka.scram_bootstrap();
    let [no_group, no_read, nothing] = ["no-group", "no-read", "nothing"].map(|stem| kafka.topic(stem, 1));
    kafka.permit(USER, Operation::Read, Resource::Topic(&no_group));
    kafka.permit(USER, Operation::Describe, Resource::Topic(&no_read));
    for topic in [&no_read, &nothing] {
        kafka.permit(USER, Operation::Read, Resource::Group(topic));
    }
    for (topic, kind) in [(&no_group, "group"), (&no_read, "topic"), (&nothing, "topic")] {
        let missing = format!("READ on {kind} {topic:?}");
        // As long as the broker does not know what was granted, something else is missing.
        wait_for(&missing, LIMIT, || {
            let error = refusal(&servers, topic, &options);
            assert!(matches!(error, SourceError::Refused { .. }), "{error}");
            error.to_string().contains(&missing).then_some(())
        });
    }
}

/// A configuration of [`config`] for a client of these options, as [`USER`]; `more` are further lines of `[kafka]`.
pub fn as_user(kafka: &Kafka, text: &str, options: &Value, more: &str) -> String {
    let options: String =
        options.as_object().unwrap().iter().map(|(name, value)| format!("\"{name}\" = {value}\n")).collect();
    let text = text.replace(&kafka.bootstrap(), &kafka.scram_bootstrap());
    text.replacen("[topics]\n", &format!("{more}[kafka.options]\n{options}[topics]\n"), 1)
}

/// Waits until a user sees a topic: the broker then knows what was granted on it.
pub fn until_seen(kafka: &Kafka, topic: &str, options: &Value) {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", kafka.scram_bootstrap());
    for (name, value) in options.as_object().unwrap() {
        client.set(name, value.as_str().unwrap());
    }
    let probe: BaseConsumer = client.create().unwrap();
    wait_for("what was granted is known", LIMIT, || {
        let metadata = probe.fetch_metadata(Some(topic), Duration::from_secs(5)).ok()?;
        metadata.topics().iter().all(|found| found.error().is_none()).then_some(())
    });
}

/// What a user may do and wants to do, on a secured broker.
struct Bench<'a> {
    kafka: &'a Kafka,
    tracerag: Tracerag,
    topics: Topics,
    /// Topics of changes and heaps, by their names in the configuration.
    others: [(&'static str, String); 3],
    options: Value,
}

impl<'a> Bench<'a> {
    fn new(kafka: &'a Kafka) -> Self {
        let options = scram(&kafka.certificates().authority(Authority::Trusted), PASSWORD);
        let others = ["flags", "deployments", "heaps"].map(|name| (name, kafka.topic(name, 1)));
        Bench { kafka, tracerag: Tracerag::new(), topics: Topics::new(kafka), others, options }
    }

    /// Every topic that is read.
    fn read(&self) -> impl Iterator<Item = &String> {
        let Topics { spans, logs, metrics } = &self.topics;
        [spans, logs, metrics].into_iter().chain(self.others.iter().map(|(_, topic)| topic))
    }

    /// A configuration that reads all topics; `more` are further lines of `[kafka]`.
    fn config(&self, more: &str) -> PathBuf {
        let mut text = std::fs::read_to_string(config(&self.tracerag, self.kafka, &self.topics, "otlp_json")).unwrap();
        for (name, topic) in &self.others {
            let none = format!("{name} = {{ topics = [] }}");
            assert!(text.contains(&none), "no {none} in {text}");
            text = text.replacen(&none, &format!("{name} = {{ topics = [\"{topic}\"] }}"), 1);
        }
        self.tracerag.write("secured.toml", as_user(self.kafka, &text, &self.options, more))
    }

    fn permit(&self, operation: Operation, topic: &str) {
        self.kafka.permit(USER, operation, Resource::Topic(topic));
    }

    /// Permits what the documentation says that reading needs.
    fn permit_reading(&self) {
        self.read().for_each(|topic| self.permit(Operation::Read, topic));
        self.kafka.permit(USER, Operation::Read, Resource::Group(&self.topics.spans));
    }

    fn until_planned(&self, config: &Path) {
        wait_for("a plan finds everything permitted", LIMIT, || {
            (self.tracerag.run(&["--config", config.to_str().unwrap(), "run", "--plan"]).status == 0).then_some(())
        });
    }

    fn produce(&self, topic: &str, message: &str) {
        let record = Record { payload: Some(message.as_bytes()), partition: Some(0), ..Record::default() };
        self.kafka.produce(topic, [record]);
    }

    /// A worker that has made a row of a span.
    fn reading_worker(&self, config: &Path) -> Process {
        self.produce(&self.topics.spans, SPAN);
        self.until_planned(config);
        let worker = self.tracerag.worker(config);
        until(&self.tracerag, "select count(*) from spans", 1, || worker.log_tail());
        worker
    }
}

const SPAN: &str = r#"{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "5b8efff798038103d269b633813fc60c",
    "spanId": "eee19b7ec3c1b174", "name": "GET /", "startTimeUnixNano": "1", "endTimeUnixNano": "2"}]}]}]}"#;

const HEAP: &str = r#"{"format": "pprof", "captured_at": "2026-11-16T12:00:00Z", "service.name": "payments",
    "top_types": [{"type": "Ledger", "bytes": 1024, "count": 1}], "total_bytes": 2048}"#;

fn stop(worker: Process) {
    assert!(worker.terminate(), "the worker does not end on SIGTERM");
}

/// Waits until a worker has ended by itself; what it said last.
fn end_of(worker: &Process, why: &str) -> String {
    wait_for(why, LIMIT, || (!worker.alive()).then_some(()));
    worker.log_tail()
}

/// A user who has the permissions of the documentation: READ on the six topics and the group, WRITE on those of changes
/// and of dead letters. A flag and a deployment that are published, a span, a heap and a letter are rows, and the letter
/// is in its topic. Before, a worker ends by itself and names a permission, a plan says the same, and what may not be
/// published is an error that names the topic. Guarantees that the documented permissions are enough, and that nobody who
/// lacks one waits for ever.
#[test]
fn the_documented_permissions_are_enough() {
    let Some(kafka) = Kafka::shared_and_secured() else { return };
    let bench = Bench::new(kafka);
    let letters = kafka.topic("letters", 1);
    let config = bench.config(&format!("dead_letter_topic = \"{letters}\"\n"));
    let path = config.to_str().unwrap();
    let [(_, flags), (_, deployments), (_, heaps)] = &bench.others;
    let flag = ["--config", path, "publish", "flag", "--key", "mode", "--variant", "strict"];
    let deployment =
        ["--config", path, "publish", "deployment", "--service", "payments", "--release", "1.9.0", "--no-git"];

    let hidden = bench.tracerag.worker_logging(&config, "hidden.log");
    let told = end_of(&hidden, "the worker that may not see its topics ends");
    assert!(told.contains("permit") && told.contains("READ on topic"), "{told}");
    let plan = bench.tracerag.run(&["--config", path, "run", "--plan"]);
    assert!(plan.status == 1 && plan.stderr.contains("READ on the topic"), "{}", plan.stderr);
    for (arguments, topic) in [(&flag[..], flags), (&deployment[..], deployments)] {
        let refused = bench.tracerag.run(arguments);
        assert!(refused.status == 1 && refused.stderr.contains(topic.as_str()), "{}", refused.stderr);
    }

    bench.permit_reading();
    for topic in [flags, deployments, &letters] {
        bench.permit(Operation::Write, topic);
    }
    bench.until_planned(&config);
    // That a topic may be written to is not seen before.
    for arguments in [&flag[..], &deployment[..]] {
        wait_for("a change is published", LIMIT, || (bench.tracerag.run(arguments).status == 0).then_some(()));
    }
    bench.produce(heaps, HEAP);
    bench.produce(&bench.topics.spans, "no telemetry");
    let worker = bench.reading_worker(&config);
    for table in ["flag_events", "build_events", "heaps", "dead_letters"] {
        until(&bench.tracerag, &format!("select count(*) from {table}"), 1, || worker.log_tail());
    }
    wait_for("the letter is sent", LIMIT, || (kafka.watermarks(&letters)[0].1 >= 1).then_some(()));
    stop(worker);
}

/// A worker that may not write to the topic of dead letters meets a message that it cannot read. The letter stands in
/// the table, the worker goes on and counts that it was not sent. Guarantees that this permission is the one whose lack
/// ends nothing.
#[test]
fn a_letter_that_may_not_be_sent_is_in_the_table() {
    let Some(kafka) = Kafka::shared_and_secured() else { return };
    let bench = Bench::new(kafka);
    let letters = kafka.topic("letters", 1);
    let config = bench.config(&format!("dead_letter_topic = \"{letters}\"\n"));
    bench.permit_reading();
    bench.produce(&bench.topics.spans, "no telemetry");
    let worker = bench.reading_worker(&config);
    until(&bench.tracerag, "select count(*) from dead_letters", 1, || worker.log_tail());
    let port = metrics_port(&config);
    wait_for("the letter that was not sent is counted", LIMIT, || {
        let (_, text) = get(port, "/metrics")?;
        text.lines().any(|line| line.starts_with("tracerag_dead_letters_unsent_total{")).then_some(())
    });
    assert_eq!(kafka.watermarks(&letters), [(0, 0)]);
    stop(worker);
}

/// A user who may read unkeyed topics and the group of the re-keying, and create and write those of `[rekey]`, re-keys a
/// span into topics that it has made. Before, it ends by itself and says which topic it cannot create. Guarantees that the
/// documented permissions are enough for `rekey`.
#[test]
fn the_documented_permissions_are_enough_to_rekey() {
    let Some(kafka) = Kafka::shared_and_secured() else { return };
    let bench = Bench::new(kafka);
    let by_trace = [&bench.topics.spans, &bench.topics.logs].map(|topic| format!("{topic}-by-trace"));
    let [spans, logs] = &by_trace;
    let group = format!("{}-rekey", bench.topics.spans);
    let rekey = format!("[rekey]\nspans = \"{spans}\"\nlogs = \"{logs}\"\npartitions = 2\n");
    let text = std::fs::read_to_string(bench.config("")).unwrap();
    let config = bench.tracerag.write("rekey.toml", format!("{text}{rekey}"));
    bench.produce(&bench.topics.spans, SPAN);
    bench.permit_reading();
    kafka.permit(USER, Operation::Read, Resource::Group(&group));
    bench.until_planned(&config);

    let refused = bench.tracerag.run(&["--config", config.to_str().unwrap(), "rekey"]);
    assert!(refused.status == 1 && refused.stderr.contains(&format!("topic {spans:?}")), "{}", refused.stderr);
    for topic in &by_trace {
        bench.permit(Operation::Create, topic);
        bench.permit(Operation::Write, topic);
    }
    // What was granted a moment ago may not be known to the broker yet.
    let rekeying = wait_for("the topics are created", LIMIT, || {
        let process = bench.tracerag.background(&config, &["rekey"], "rekey.log");
        wait_for("the re-keying has begun or ended", LIMIT, || {
            (!process.alive() || by_trace.iter().all(|topic| kafka.partitions(topic) == 2)).then_some(())
        });
        process.alive().then_some(process)
    });
    wait_for("the span is re-keyed", LIMIT, || {
        assert!(rekeying.alive(), "{}", rekeying.log_tail());
        kafka.watermarks(spans).iter().any(|(_, high)| *high > 0).then_some(())
    });
    stop(rekeying);
}

/// READ on the topic of spans is taken from a worker that reads it, and READ on the group from another one. Each ends by
/// itself, by the time that the group would have missed it, and names what it may not do any more. Guarantees that a
/// permission which is withdrawn is not retried for ever and not taken for a topic that is not there.
#[test]
fn a_permission_that_is_withdrawn_ends_a_worker() {
    let Some(kafka) = Kafka::shared_and_secured() else { return };
    for (is_topic, missing) in [(true, "READ on"), (false, "READ on group")] {
        let mut bench = Bench::new(kafka);
        for (name, value) in [("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "500")] {
            bench.options[name] = Value::from(value);
        }
        bench.permit_reading();
        let worker = bench.reading_worker(&bench.config(""));
        let spans = bench.topics.spans.as_str();
        let on = if is_topic { Resource::Topic(spans) } else { Resource::Group(spans) };
        kafka.withdraw(USER, Operation::Read, on);
        let told = end_of(&worker, "the worker ends that may not read any more");
        assert!(told.contains("kafka refuses") && told.contains(missing), "{told}");
    }
}

/// The password of a worker's user is taken away. It reads on as long as it is connected; when its broker starts again
/// it ends by itself and says that it cannot log in. Guarantees that a password which does not hold any more is not
/// retried for ever.
#[test]
fn a_password_that_is_withdrawn_ends_a_worker() {
    let Some(mut kafka) = Kafka::start_secured() else { return };
    let (_tracerag, worker) = {
        let bench = Bench::new(&kafka);
        bench.permit_reading();
        let worker = bench.reading_worker(&bench.config(""));
        (bench.tracerag, worker)
    };
    kafka.forget_password(USER);
    assert!(worker.alive(), "{}", worker.log_tail());
    kafka.stop(0);
    kafka.restart(0);
    let told = end_of(&worker, "the worker ends that cannot log in any more");
    assert!(told.contains("cannot log in to kafka at"), "{told}");
}

/// A broker starts again with a certificate that the worker does not trust. The worker lives, is not ready and says why;
/// with the right certificate it is ready by itself and reads on. Guarantees that certificates which are replaced end no
/// worker at once, and that nobody takes one for well that is shut out. How long that may last is tested beside the
/// code.
#[test]
fn a_certificate_that_is_not_trusted_is_waited_for() {
    let Some(mut kafka) = Kafka::start_secured() else { return };
    let (tracerag, topics, config, worker) = {
        let bench = Bench::new(&kafka);
        bench.permit_reading();
        let config = bench.config("");
        let worker = bench.reading_worker(&config);
        (bench.tracerag, bench.topics, config, worker)
    };
    let port = metrics_port(&config);
    kafka.stop(0);
    kafka.certificates().give_broker(Authority::Other);
    kafka.restart(0);
    wait_for("the worker says that it has no connection", LIMIT, || {
        assert!(worker.alive(), "{}", worker.log_tail());
        get(port, "/readyz").filter(|(status, reason)| {
            *status == 503 && reason.starts_with("kafka cannot be used (read): no tls connection to kafka")
        })
    });
    kafka.stop(0);
    kafka.certificates().give_broker(Authority::Trusted);
    kafka.restart(0);
    let another = SPAN.replace("5b8efff7", "6b8efff7");
    let record = Record { payload: Some(another.as_bytes()), partition: Some(0), ..Record::default() };
    kafka.produce(&topics.spans, [record]);
    until(&tracerag, "select count(*) from spans", 2, || worker.log_tail());
    wait_for("the worker is ready", LIMIT, || get(port, "/readyz").filter(|(status, _)| *status == 200));
    stop(worker);
}

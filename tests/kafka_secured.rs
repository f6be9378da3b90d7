//! A secured Kafka, on a real broker: SCRAM over TLS, client certificates, and grants to one user.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tracerag_ingest::source::SourceError;

use crate::kafka_login::{connect, first_value};
use crate::kafka_worker::{LIMIT, Topics, config, until};
use crate::support::kafka::{Kafka, PASSWORD, Record, USER};
use crate::support::program::Tracerag;
use crate::support::secured::{Authority, Certificate, Operation, Resource};
use crate::support::wait_for;

fn scram(authority: &Path, password: &str) -> Value {
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
    let start = Instant::now();
    let read = connect(servers, topic, options).and_then(|mut source| first_value(&mut source));
    let error = read.err().unwrap_or_else(|| panic!("let in with {options}"));
    assert!(start.elapsed() < Duration::from_secs(20), "told after {:?}: {error}", start.elapsed());
    error
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

/// A worker with the permissions of the documentation, READ on topics and group and WRITE on the topic of dead letters,
/// stores a span and sends a letter. One that may not see its topic ends by itself and names the permission, and a plan
/// says the same beforehand. Guarantees that the documented permissions are enough, and that a worker that lacks one does
/// not wait for ever.
#[test]
fn the_documented_permissions_are_enough() {
    let Some(kafka) = Kafka::shared_and_secured() else { return };
    let tracerag = Tracerag::new();
    let topics = Topics::new(kafka);
    let letters = kafka.topic("letters", 1);
    let text = std::fs::read_to_string(config(&tracerag, kafka, &topics, "otlp_json")).unwrap();
    let options = scram(&kafka.certificates().authority(Authority::Trusted), PASSWORD);
    let options: String =
        options.as_object().unwrap().iter().map(|(name, value)| format!("\"{name}\" = {value}\n")).collect();
    let text = text.replace(&kafka.bootstrap(), &kafka.scram_bootstrap()).replacen(
        "[topics]\n",
        &format!("dead_letter_topic = \"{letters}\"\n[kafka.options]\n{options}[topics]\n"),
        1,
    );
    let config = tracerag.write("secured.toml", text);

    let hidden = tracerag.worker_logging(&config, "hidden.log");
    wait_for("the worker that may not see its topics ends", LIMIT, || (!hidden.alive()).then_some(()));
    let told = hidden.log_tail();
    assert!(told.contains("permit") && told.contains("READ on topic"), "{told}");
    let plan = tracerag.run(&["--config", config.to_str().unwrap(), "run", "--plan"]);
    assert!(plan.status == 1 && plan.stderr.contains("READ on the topic"), "{}", plan.stderr);

    for topic in [&topics.spans, &topics.logs, &topics.metrics] {
        kafka.permit(USER, Operation::Read, Resource::Topic(topic));
    }
    kafka.permit(USER, Operation::Read, Resource::Group(&topics.spans));
    kafka.permit(USER, Operation::Write, Resource::Topic(&letters));
    let span = r#"{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "eee19b7ec3c1b174", "name": "GET /", "startTimeUnixNano": "1", "endTimeUnixNano": "2"}]}]}]}"#;
    let record = |payload| Record { payload: Some(payload), partition: Some(0), ..Record::default() };
    kafka.produce(&topics.spans, [record(span.as_bytes()), record(b"no telemetry")]);
    wait_for("a plan finds everything permitted", LIMIT, || {
        (tracerag.run(&["--config", config.to_str().unwrap(), "run", "--plan"]).status == 0).then_some(())
    });
    let worker = tracerag.worker_logging(&config, "permitted.log");
    until(&tracerag, "select count(*) from spans", 1, || worker.log_tail());
    wait_for("the letter is sent", LIMIT, || (kafka.watermarks(&letters)[0].1 >= 1).then_some(()));
    assert!(worker.terminate(Duration::from_secs(30)), "the worker does not end on SIGTERM");
}

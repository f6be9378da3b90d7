//! Personal data and secrets on the whole way: a Collector, Kafka, a worker that is killed and another one that goes on, and
//! everything that anybody can ask of the lake and of the worker.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use rdkafka::message::Message as _;
use serde_json::{Value, json};

use crate::kafka_worker::{LIMIT, Topics, config, get, metrics_port, until};
use crate::support::collector::{Collector, Export, Signal};
use crate::support::kafka::{Kafka, Record};
use crate::support::personal::Personal;
use crate::support::program::Tracerag;
use crate::support::wait_for;

const MAIL: &str = "planted.person@example.org";
const CARD: &str = "4012888888881881";
const KEY: &str = "ghp_Plant3dPlant3dPlant3dPlant3dPlant3d";
const PASSWORD: &str = "hunter2planted";
const IBAN: &str = "DE89370400440532013000";
const USER: &str = "u-planted-770031";
const CUSTOMER: &str = "cust-planted-771903";

/// Traces before and after the worker is killed, each with two spans and three log records.
const TRACES: [std::ops::Range<u32>; 2] = [1..21, 21..41];

fn all() -> Personal {
    Personal::of([MAIL, CARD, KEY, PASSWORD, IBAN, USER, CUSTOMER])
}

/// What stands in every place that takes a text.
fn said() -> String {
    format!("mail {MAIL} card {CARD} key {KEY} iban {IBAN} dsn postgres://app:{PASSWORD}@db.internal/shop end")
}

fn trace_id(number: u32) -> String {
    format!("{:032x}", 0xabc_0000 + number)
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()
}

/// Attributes with something planted in values, nested values, JSON in a text, and in names.
fn attributes() -> Vec<Value> {
    let said = said();
    vec![
        text("note", &said),
        text("db.statement", &format!("INSERT INTO t VALUES ('{said}')")),
        text("http.target", &format!("/search?q=planted.person%40example.org&card={CARD}")),
        text("app.json", &json!({"detail": said, "user.id": USER}).to_string()),
        text(&format!("orders of {MAIL} (open)"), "2"),
        json!({"key": "app.map", "value": {"kvlistValue": {"values": [text(MAIL, "3"), text("detail", &said)]}}}),
        json!({"key": "app.list", "value": {"arrayValue": {"values": [{"stringValue": said}]}}}),
        text("user.id", USER),
    ]
}

fn resource() -> Value {
    let mut attributes = attributes();
    attributes.extend([text("service.name", "payments"), text("service.version", "1.9.0")]);
    json!({"attributes": attributes})
}

/// A trace that fails in payments.
fn spans(number: u32) -> String {
    let (said, start) = (said(), now());
    let (at, end) = (start.to_string(), (start + 5_000_000).to_string());
    let mut of_root = attributes();
    of_root.extend([
        text("http.request.header.content-type", "application/json"),
        text(
            "http.request.body.content",
            &json!({"amount": 12.5, "customer_id": CUSTOMER, "email": MAIL, "note": said}).to_string(),
        ),
    ]);
    let id = trace_id(number);
    let root = format!("{number:016x}");
    let stack = format!("shop.Overflow: {said}\n\tat shop.payments.Rounding.round(Rounding.java:117)");
    let exception = json!({"timeUnixNano": at, "name": "exception", "attributes": [
        text("exception.type", "shop.Overflow"), text("exception.message", &format!("charge failed: {said}")),
        text("exception.stacktrace", &stack),
    ]});
    let link = json!({"traceId": trace_id(7), "spanId": format!("{:016x}", 7), "traceState": format!("v={MAIL}"), "attributes": attributes()});
    json!({"resourceSpans": [{"resource": resource(), "schemaUrl": said, "scopeSpans": [{
        "scope": {"name": said, "version": said, "attributes": attributes()}, "schemaUrl": said, "spans": [
            {"traceId": id, "spanId": root, "name": format!("POST /pay {said}"), "kind": 2, "traceState": format!("v={MAIL}"),
             "startTimeUnixNano": at, "endTimeUnixNano": end, "attributes": of_root, "links": [link],
             "status": {"code": 2, "message": said}},
            {"traceId": id, "spanId": format!("{:016x}", 0x1_0000 + number), "parentSpanId": root, "name": "charge", "kind": 1,
             "startTimeUnixNano": at, "endTimeUnixNano": end, "events": [exception], "status": {"code": 2}},
        ],
    }]}]})
    .to_string()
}

fn logs(number: u32) -> String {
    let record = |body: Value, severity: &str| {
        json!({"timeUnixNano": now().to_string(), "severityNumber": 17, "severityText": severity, "body": body,
            "traceId": trace_id(number), "spanId": format!("{number:016x}"), "attributes": attributes()})
    };
    let said = said();
    let nested = json!({"kvlistValue": {"values": [text(MAIL, "3"), text("detail", &said)]}});
    json!({"resourceLogs": [{"resource": resource(), "scopeLogs": [{"scope": {"name": "slog"}, "logRecords": [
        record(json!({"stringValue": format!("charge {number} failed: {said}")}), "ERROR"),
        record(json!({"stringValue": json!({"msg": said, "user.id": USER, "n": number}).to_string()}), &said),
        record(nested, "ERROR"),
    ]}]}]})
    .to_string()
}

fn metrics() -> String {
    let (said, at) = (said(), now().to_string());
    let exemplar = json!({"timeUnixNano": at, "asDouble": 1.0, "filteredAttributes": attributes()});
    let point = json!({"timeUnixNano": at, "asDouble": 1.0, "attributes": attributes(), "exemplars": [exemplar]});
    json!({"resourceMetrics": [{"resource": resource(), "scopeMetrics": [{"metrics": [
        {"name": format!("queue.length {MAIL}"), "description": said, "unit": said, "gauge": {"dataPoints": [point]}},
    ]}]}]})
    .to_string()
}

/// Records of the project's own topics.
fn changes() -> [Vec<String>; 3] {
    let said = said();
    let flags = [
        json!({"config.key": "payments.dsn", "config.value": said, "service.name": "payments"}),
        json!({"config.key": format!("limit of {MAIL}"), "config.digest": "sha256:ab", "config.version": said}),
        json!({"feature_flag.key": format!("beta {MAIL}"), "feature_flag.result.variant": "on",
            "feature_flag.result.value": {"to": said}, "feature_flag.provider.name": said, "service.name": "payments"}),
    ];
    let deployments = [json!({
        "context": {"id": "d-1", "source": "/ci", "type": "dev.cdevents.service.deployed.0.3.0"},
        "subject": {"id": "payments", "source": "/ci", "content": {"environment": {"id": said}, "artifactId": "pkg:oci/payments@1.9.0"}},
        "customData": {"service.version": "1.9.0", "service.instance.id": said, "build_number": said,
            "lockfile_digests": {MAIL: said}, "schema_migrations": [said]},
    })];
    let heaps = [json!({
        "format": "summary", "service.name": "payments", "service.instance.id": said, "trace_id": trace_id(1),
        "top_types": [{"type": said, "bytes": 3, "count": 1}],
        "top_sites": [{"function": said, "file": said, "line": 1, "bytes": 2, "count": 1}],
        "retained_paths": [["root", said]],
    })];
    [flags.to_vec(), deployments.to_vec(), heaps.to_vec()]
        .map(|records| records.iter().map(ToString::to_string).collect())
}

/// A real Collector sends traces, logs and metrics full of personal data and secrets to Kafka, beside changes and a record
/// that nobody can read; the worker is killed in the middle and another one goes on. Guarantees that nothing of what was
/// planted is in any column of any table but the bytes of the dead letter, in status, similar incidents, bundles and
/// prompts, in what the workers log and measure, or in the events about incidents; and that everything else is there once.
#[test]
fn planted_data_is_nowhere() {
    let Some(kafka) = Kafka::shared() else { return };
    let topics = Topics::new(kafka);
    let export = Export::proto(&topics.spans, &topics.logs, &topics.metrics).keyed();
    let Some(mut collector) = Collector::start(kafka, &export) else { return };
    let tracerag = Tracerag::new();
    let plain = config(&tracerag, kafka, &topics, "otlp_proto");
    let port = metrics_port(&plain);
    let own = ["flags", "deployments", "heaps"].map(|kind| (kind, kafka.topic(kind, 1)));
    let told = kafka.topic("incident-events", 1);
    let mut settings = std::fs::read_to_string(&plain).unwrap();
    for (kind, topic) in &own {
        let none = format!("{kind} = {{ topics = [] }}");
        assert!(settings.contains(&none), "{settings}");
        settings = settings.replace(&none, &format!("{kind} = {{ topics = [\"{topic}\"] }}"));
    }
    write!(settings, "[incident_events]\ntopic = \"{told}\"\n").unwrap();
    let config = tracerag.write("tracerag.toml", settings);
    for ((_, topic), records) in own.iter().zip(changes()) {
        kafka.produce(topic, records.iter().map(|text| Record { payload: Some(text.as_bytes()), ..Record::default() }));
    }

    let mut send = |numbers: std::ops::Range<u32>| {
        for number in numbers {
            collector.post(Signal::Traces, &spans(number));
            collector.post(Signal::Logs, &logs(number));
        }
        collector.post(Signal::Metrics, &metrics());
    };
    let [first, second] = TRACES;
    send(first);
    let worker = tracerag.worker_logging(&config, "one.log");
    wait_for("the first rows", LIMIT, || tracerag.has_spans().then_some(()));
    // Not after the kill: for three minutes, nobody else may tell of incidents.
    wait_for("the incident is told of", LIMIT, || {
        assert!(worker.alive(), "{}", worker.log_tail());
        (!kafka.read_all(&told).is_empty()).then_some(())
    });
    worker.kill();
    let unreadable = json!({"not": "protobuf", "note": said()}).to_string();
    kafka.produce(&topics.spans, [Record { payload: Some(unreadable.as_bytes()), ..Record::default() }]);
    send(second);
    let worker = tracerag.worker_logging(&config, "two.log");
    for (query, wanted) in [
        ("select count(*) from spans", 80),
        ("select count(distinct span_id) from spans", 80),
        ("select count(*) from traces", 40),
        ("select count(*) from logs", 120),
        ("select count(*) from metrics", 2),
        ("select count(*) from flag_events", 3),
        ("select count(*) from build_events where source = 'cdevent'", 1),
        ("select count(*) from heaps", 1),
        ("select count(*) from payloads", 40),
        ("select count(*) from dead_letters", 1),
    ] {
        until(&tracerag, query, wanted, || worker.log_tail());
    }
    let personal = all();
    let sent = kafka.read_all(&topics.spans);
    assert!(sent.iter().any(|message| personal.is_in(message.payload().unwrap())), "the topic has what was planted");
    let masked =
        "select count(*) from spans where name like 'POST /pay mail <email> card <card> key <key> iban <iban>%'";
    assert_eq!(tracerag.number(masked), 40);
    let token = "select count(*) from spans where attributes['user.id'] like 'hmac:%'";
    assert_eq!(tracerag.number(token), 40);

    let config = config.to_str().unwrap();
    let mut arguments = vec![
        vec!["--config", config, "status"],
        vec!["--config", config, "status", "--format", "json"],
        vec!["similar", "charge failed"],
    ];
    let ids = [1, 20, 21, 40].map(trace_id);
    for id in &ids {
        arguments.extend([
            vec!["similar", "--trace", id],
            vec!["bundle", id],
            vec!["bundle", "--format", "markdown", id],
            vec!["prompt", id],
        ]);
    }
    for arguments in arguments {
        let ran = tracerag.run(&arguments);
        assert_eq!(ran.status, 0, "{arguments:?}: {}", ran.stderr);
        personal.assert_not_in(&format!("{arguments:?}"), ran.stdout.as_bytes());
        personal.assert_not_in(&format!("{arguments:?}"), ran.stderr.as_bytes());
    }
    for event in kafka.read_all(&told) {
        personal.assert_not_in("an event about an incident", event.payload().unwrap());
        personal.assert_not_in("the key of an event", event.key().unwrap_or_default());
    }
    let measured = wait_for("the worker's metrics", LIMIT, || get(port, "/metrics"));
    personal.assert_not_in("/metrics", measured.1.as_bytes());
    assert!(worker.terminate(), "the worker does not end on SIGTERM");
    let logs = ["one.log", "two.log"].map(|name| std::fs::read_to_string(tracerag.path(name)).unwrap());
    assert!(logs[1].contains("dead letter"), "{}", logs[1]);
    for log in logs {
        personal.assert_not_in("a worker's log", log.as_bytes());
    }
    personal.assert_not_in_lake(&tracerag);
}

//! Changes that pipelines and platforms report, to a server and to Kafka, and what becomes of them.

use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::kafka_worker::{LIMIT, Topics, config, get, metrics_port, until};
use crate::support::kafka::{Kafka, Record};
use crate::support::program::Tracerag;
use crate::support::repository::TestRepository;
use crate::support::served::{ALL, Served};
use crate::support::wait_for;

const GITHUB: &str = include_str!("fixtures/webhooks/github.json");
const GITHUB_STATUS: &str = include_str!("fixtures/webhooks/github-deployment-status.json");
const UNLEASH_EVENTS: &str = include_str!("fixtures/webhooks/unleash-events.json");
const ARGOCD_APPLICATION: &str = include_str!("fixtures/webhooks/argocd-application.json");
const SECRET: &str = "swordfish";
const TRACE: &str = "0000000000000000000000000000c0de";

/// What a server has in its configuration so that webhooks may report.
const WEBHOOKS: &str =
    "[serve.webhooks.github]\nsecret = \"swordfish\"\nservices = { \"shop/payments-service\" = \"checkout\" }\n";

fn signature(body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// A message with a span of payments that failed, which begins now.
fn failing_span() -> String {
    let start = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let attribute = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let resource = [attribute("service.name", "payments"), attribute("deployment.environment.name", "production")];
    json!({"resourceSpans": [{"resource": {"attributes": resource}, "scopeSpans": [{"spans": [{
        "traceId": TRACE, "spanId": "00000000000000a1", "name": "POST /pay", "kind": 2,
        "startTimeUnixNano": start.to_string(), "endTimeUnixNano": (start + 1_000).to_string(), "status": {"code": 2},
    }]}]}]})
    .to_string()
}

/// A pipeline reports a flag to Kafka and a deployment through a server, with what its repository knows; GitHub reports
/// another one, signed, twice and forged. Then a span fails. Guarantees that each change is in its topic once and
/// acknowledged, that a forged one is not, and that flag and build stand in the bundle, the build with the digest of its
/// lock file as `guard-patch` compares it.
#[test]
fn reported_changes_are_evidence() {
    let Some(kafka) = Kafka::shared() else { return };
    let tracerag = Tracerag::new();
    let [spans, logs, metrics, flags, deployments] =
        ["spans", "logs", "metrics", "flags", "deployments"].map(|stem| kafka.topic(stem, 1));
    let topics = Topics { spans, logs, metrics };
    let mut text = std::fs::read_to_string(config(&tracerag, kafka, &topics, "otlp_json")).unwrap();
    for (stem, topic) in [("flags", &flags), ("deployments", &deployments)] {
        let none = format!("{stem} = {{ topics = [] }}");
        assert!(text.contains(&none), "no {none} in {text}");
        text = text.replacen(&none, &format!("{stem} = {{ topics = [\"{topic}\"] }}"), 1);
    }
    let path = tracerag.write("worker.toml", text);
    let worker = tracerag.worker_logging(&path, "worker.log");
    wait_for("the worker is ready", LIMIT, || get(metrics_port(&path), "/readyz").filter(|(status, _)| *status == 200));

    let published = tracerag.done(&[
        "--config",
        path.to_str().unwrap(),
        "publish",
        "flag",
        "--key",
        "payments.decimal_mode",
        "--variant",
        "strict",
        "--service",
        "payments",
        "--environment",
        "production",
    ]);
    let published: Value = serde_json::from_str(&published).unwrap();
    assert_eq!(published["feature_flag.result.variant"], "strict");
    assert_eq!(kafka.read_all(&flags).len(), 1);

    let more = format!(
        "{WEBHOOKS}[kafka]\nbootstrap_servers = \"{}\"\n[topics]\nflags = {{ topics = [\"{flags}\"] }}\n\
         deployments = {{ topics = [\"{deployments}\"] }}\n",
        kafka.bootstrap()
    );
    let served = Served::start(tracerag, &more);
    let token = served.token("default", ALL);
    let lock = "requests==2.34.2\n";
    let repository = TestRepository::of(&[("uv.lock", lock), ("main.py", "print()\n")]);
    repository.git(&["tag", "1.9.0"]);
    let ran = served.remote(
        &token,
        &[
            "publish",
            "deployment",
            "--service",
            "payments",
            "--environment",
            "production",
            "--build-number",
            "812",
            "--repo",
            repository.path().to_str().unwrap(),
        ],
    );
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert_eq!(kafka.read_all(&deployments).len(), 1);

    let client = served.client(&token);
    let body: Value = serde_json::from_str(GITHUB).unwrap();
    let anybody = crate::support::client::Client::of(served.port, None);
    let send = |signature: &str, delivery: &str| {
        let headers = [
            ("x-github-event", "deployment_status"),
            ("x-github-delivery", delivery),
            ("x-hub-signature-256", signature),
        ];
        anybody.send(Method::POST, "/v1/changes?from=github", &headers, Some(&body)).unwrap()
    };
    let forged = send("sha256=00", "d-1");
    assert_eq!((forged.status, forged.code()), (401, "signature-wrong".to_owned()));
    let signed = signature(&body.to_string());
    let taken = send(&signed, "d-1");
    assert_eq!((taken.status, &taken.json()["records"]), (202, &json!(1)), "{}", taken.text);
    let again = send(&signed, "d-1");
    assert_eq!((again.status, &again.json()["repeated"]), (200, &json!(true)), "{}", again.text);
    assert_eq!(kafka.read_all(&deployments).len(), 2);

    // Without a token, without the scope, and without a meaning nothing is taken.
    let flag = json!({"feature_flag.key": "a", "feature_flag.result.variant": "on"});
    assert_eq!(anybody.post("/v1/changes", &flag).status, 401);
    let reader = served.token("default", "read");
    assert_eq!(served.client(&reader).post("/v1/changes", &flag).status, 403);
    let unknown = client.post("/v1/changes", &json!({"zen": "x"}));
    assert_eq!((unknown.status, unknown.code()), (422, "change-unknown".to_owned()));
    assert_eq!(kafka.read_all(&flags).len(), 1);

    until(&served.tracerag, "select count(*) from build_events where source = 'cdevent'", 2, || worker.log_tail());
    until(&served.tracerag, "select count(*) from flag_events", 1, || worker.log_tail());
    let span = failing_span();
    kafka.produce(&topics.spans, [Record { payload: Some(span.as_bytes()), partition: Some(0), ..Record::default() }]);
    until(&served.tracerag, "select count(*) from traces", 1, || worker.log_tail());
    let evidence = &served.tracerag.bundle(TRACE)["evidence"];
    let flag = &evidence["flags"][0];
    assert_eq!((&flag["key"], &flag["variant"]), (&json!("payments.decimal_mode"), &json!("strict")), "{evidence:#}");
    let build = &evidence["builds"][0];
    assert_eq!((&build["version"], &build["build_number"]), (&json!("1.9.0"), &json!("812")), "{evidence:#}");
    assert_eq!(build["git_sha"], json!(repository.head()));
    let digest = format!("sha256:{}", hex::encode(Sha256::digest(lock)));
    assert_eq!(build["lockfile_digests"]["uv.lock"], json!(digest));
}

/// What each platform itself sent comes with the proof that it gives. Guarantees that every body is in its topic as the
/// records that it means, and that what means none is answered as such, not refused.
#[test]
fn what_platforms_sent_is_taken() {
    let Some(kafka) = Kafka::shared() else { return };
    let [flags, deployments] = ["flags", "deployments"].map(|stem| kafka.topic(stem, 1));
    let section = |name: &str| format!("[serve.webhooks.{name}]\nsecret = \"{SECRET}\"\n");
    let sections = ["unleash", "github", "argocd"].map(section).concat();
    let more = format!(
        "{sections}[kafka]\nbootstrap_servers = \"{}\"\n[topics]\nflags = {{ topics = [\"{flags}\"] }}\n\
         deployments = {{ topics = [\"{deployments}\"] }}\n",
        kafka.bootstrap()
    );
    let served = Served::start(crate::worked_example::replayed(), &more);
    let anybody = crate::support::client::Client::of(served.port, None);
    let send = |from: &str, header: &str, proof: &str, body: &Value| {
        let headers = [("x-github-event", "deployment_status"), (header, proof)];
        let path = format!("/v1/changes?from={from}");
        let answer = anybody.send(Method::POST, &path, &headers, Some(body)).unwrap();
        let records = answer.json()["records"].as_u64();
        let status = if records == Some(0) { 200 } else { 202 };
        assert_eq!(answer.status, status, "{from}: {}", answer.text);
        records.unwrap()
    };
    let body = |text: &str| -> Value { serde_json::from_str(text).unwrap() };
    let github = body(GITHUB_STATUS);
    assert_eq!(send("github", "x-hub-signature-256", &signature(&github.to_string()), &github), 1);
    assert_eq!(send("argocd", "authorization", SECRET, &body(ARGOCD_APPLICATION)), 1);
    let events = body(UNLEASH_EVENTS);
    let sent = events.as_array().unwrap().iter().map(|event| send("unleash", "authorization", SECRET, event));
    assert_eq!(sent.collect::<Vec<u64>>(), [0, 1, 1, 1, 1, 1, 0, 1, 1, 1]);
    assert_eq!((kafka.read_all(&flags).len(), kafka.read_all(&deployments).len()), (8, 2));
}

/// Nobody answers where Kafka should be: the server says so with a status that senders try again on, and takes nothing.
/// Which brokers and topics it has it says in its log only. A change that Kafka could never take is refused for good.
#[test]
fn without_kafka_changes_are_sent_again() {
    let port = crate::support::free_port();
    let more =
        format!("[kafka]\nbootstrap_servers = \"127.0.0.1:{port}\"\noptions = {{ \"message.timeout.ms\" = 1000 }}\n");
    let served = Served::start(crate::worked_example::replayed(), &more);
    let token = served.token("default", "write");
    let flag = json!({"feature_flag.key": "a", "feature_flag.result.variant": "on"});
    let answer = served.client(&token).post("/v1/changes", &flag);
    assert_eq!((answer.status, answer.code()), (503, "kafka-unavailable".to_owned()));
    assert!(answer.text.contains("in its log") && answer.headers.contains_key("retry-after"), "{}", answer.text);
    assert!(!answer.text.contains("127.0.0.1") && !answer.text.contains("topic"), "{}", answer.text);
    let large = json!({"feature_flag.key": "a", "feature_flag.result.variant": "on", "note": "x".repeat(1_500_000)});
    let answer = served.client(&token).post("/v1/changes", &large);
    assert_eq!((answer.status, answer.code()), (413, "body-too-large".to_owned()));
    assert!(!answer.headers.contains_key("retry-after"));
}

/// What a pipeline would send is printed and not sent, with the files that were asked for; a lock file that the commit
/// lacks is wrong use.
#[test]
fn a_dry_run_sends_nothing() {
    let tracerag = Tracerag::new();
    let repository = TestRepository::of(&[("a/go.sum", "x"), ("b/go.sum", "y"), ("b/main.go", "package main")]);
    let path = repository.path().to_str().unwrap();
    let deployment = ["publish", "--dry-run", "deployment", "--service", "payments", "--repo", path];
    let event =
        |more: &[&str]| -> Value { serde_json::from_str(&tracerag.done(&[&deployment[..], more].concat())).unwrap() };
    let digests = |event: &Value| {
        let digests = event["customData"]["lockfile_digests"].as_object().unwrap();
        digests.keys().cloned().collect::<Vec<String>>()
    };
    assert_eq!(digests(&event(&[])), ["a/go.sum", "b/go.sum"]);
    assert_eq!(digests(&event(&["--folder", "b"])), ["b/go.sum"]);
    assert_eq!(digests(&event(&["--lockfile", "a/go.sum"])), ["a/go.sum"]);
    assert_eq!(event(&[])["customData"]["vcs.ref.head.revision"], json!(repository.head()));
    let missing = tracerag.run(&[&deployment[..], &["--lockfile", "c/go.sum"]].concat());
    assert_eq!((missing.status, missing.stdout.as_str()), (2, ""), "{}", missing.stderr);
}

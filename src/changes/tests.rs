//! Each platform's webhook in the form that its documentation shows, what platforms sent themselves, and what is none.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;
use tracerag_ingest::redact::{PayloadConfig, RedactionConfig, Redactor};
use tracerag_ingest::source::Signal;
use tracerag_query::server::{ChangeIntake, ChangeRefusal, Delivery};

use super::intake::Intake;
use super::*;
use crate::config::Config;

const LAUNCHDARKLY: &str = include_str!("../../tests/fixtures/webhooks/launchdarkly.json");
const UNLEASH: &str = include_str!("../../tests/fixtures/webhooks/unleash.json");
const GITHUB: &str = include_str!("../../tests/fixtures/webhooks/github.json");
const ARGOCD: &str = include_str!("../../tests/fixtures/webhooks/argocd.json");
const UNLEASH_EVENTS: &str = include_str!("../../tests/fixtures/webhooks/unleash-events.json");
const GITHUB_STATUS: &str = include_str!("../../tests/fixtures/webhooks/github-deployment-status.json");
const GITHUB_PAGES: &str = include_str!("../../tests/fixtures/webhooks/github-deployment-status-pages.json");
const GITHUB_DEPLOYMENT: &str = include_str!("../../tests/fixtures/webhooks/github-deployment.json");
const ARGOCD_APPLICATION: &str = include_str!("../../tests/fixtures/webhooks/argocd-application.json");

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let header =
        |(name, value): &(&str, &str)| (HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
    pairs.iter().map(header).collect()
}

fn redactor() -> Arc<Redactor> {
    let config = RedactionConfig { key: "an example is no secret".to_owned(), ..RedactionConfig::default() };
    Arc::new(Redactor::new(&config, &PayloadConfig::default()).unwrap())
}

/// The JSON of each record, all of which a worker takes.
fn records(reported: Result<Reported, Misread>) -> Vec<Value> {
    let Reported::Changes(changes) = reported.unwrap() else { panic!("nothing is reported") };
    let redactor = redactor();
    let record = |change: &Change| {
        own::accepted(change, &redactor).unwrap();
        serde_json::from_slice(&change.value).unwrap()
    };
    changes.iter().map(record).collect()
}

fn read(platform: Platform, webhook: &WebhookSection, body: &str) -> Result<Reported, Misread> {
    let headers = headers(&[("x-github-event", "deployment_status")]);
    of_platform(platform, webhook, &headers, body.as_bytes())
}

/// An entry of LaunchDarkly's audit log gives the variation that its environment serves, and says nothing of the others.
/// Switched off, the variation for that holds; a rollout has weights and no variant; a deleted or archived flag has
/// neither.
#[test]
fn launchdarkly_serves_a_variation() {
    let webhook = WebhookSection::default();
    let found = records(read(Platform::LaunchDarkly, &webhook, LAUNCHDARKLY));
    let wanted = json!([{
        "time": "2026-11-16T12:00:01.234000000Z", "feature_flag.key": "payments.decimal_mode",
        "feature_flag.result.variant": "strict", "feature_flag.result.value": "strict",
        "feature_flag.result.reason": "static", "feature_flag.provider.name": "launchdarkly",
        "feature_flag.set.id": "shop", "feature_flag.version": "12", "deployment.environment.name": "production",
    }]);
    assert_eq!(Value::from(found), wanted);
    let off = LAUNCHDARKLY.replacen("\"on\": true", "\"on\": false", 1);
    assert_eq!(records(read(Platform::LaunchDarkly, &webhook, &off))[0]["feature_flag.result.variant"], "lenient");
    let mut split: Value = serde_json::from_str(LAUNCHDARKLY).unwrap();
    split["currentVersion"]["environments"]["production"]["fallthrough"] =
        json!({"rollout": {"variations": [{"variation": 0, "weight": 90000}, {"variation": 1, "weight": 10000}]}});
    let split = &records(read(Platform::LaunchDarkly, &webhook, &split.to_string()))[0];
    assert_eq!(split["feature_flag.result.variant"], Value::Null);
    assert_eq!(split["feature_flag.result.value"], "{\"lenient\":90000,\"strict\":10000}");
    let deleted = LAUNCHDARKLY.replace("updateFallthrough", "deleteFlag");
    let mut archived: Value = serde_json::from_str(LAUNCHDARKLY).unwrap();
    archived["currentVersion"]["archived"] = json!(true);
    for gone in [deleted, archived.to_string()] {
        let gone = &records(read(Platform::LaunchDarkly, &webhook, &gone))[0];
        let told = (&gone["feature_flag.result.variant"], &gone["feature_flag.result.value"]);
        assert_eq!(told, (&Value::Null, &Value::Null));
        assert_eq!(gone["deployment.environment.name"], "production");
    }
    // Few bytes that would become very many records, or very large ones.
    let mut wide: Value = serde_json::from_str(LAUNCHDARKLY).unwrap();
    wide["accesses"][0]["resource"] = json!("proj/shop:env/*:flag/payments.decimal_mode");
    let environments =
        |many: usize| (0..many).map(|number| (format!("e{number}"), json!({"offVariation": 0}))).collect();
    wide["currentVersion"]["environments"] = Value::Object(environments(own::MOST_CHANGES + 1));
    assert!(matches!(read(Platform::LaunchDarkly, &webhook, &wide.to_string()), Err(Misread::Unknown(_))));
    wide["currentVersion"]["environments"] = Value::Object(environments(20));
    assert_eq!(records(read(Platform::LaunchDarkly, &webhook, &wide.to_string())).len(), 20);
    wide["currentVersion"]["variations"][0]["value"] = json!("x".repeat(1 << 20));
    assert!(matches!(read(Platform::LaunchDarkly, &webhook, &wide.to_string()), Err(Misread::Unknown(_))));
    let other = LAUNCHDARKLY.replacen("\"kind\": \"flag\"", "\"kind\": \"segment\"", 1);
    assert!(matches!(read(Platform::LaunchDarkly, &webhook, &other), Ok(Reported::Nothing(_))));
}

/// Unleash turns a flag on and off in an environment and archives it; what changes nothing for anybody is passed over.
#[test]
fn unleash_turns_flags_on_and_off() {
    let webhook = WebhookSection::default();
    let of = |kind: &str| read(Platform::Unleash, &webhook, &UNLEASH.replace("feature-environment-enabled", kind));
    let on = &records(of("feature-environment-enabled"))[0];
    assert_eq!(
        (&on["feature_flag.key"], &on["feature_flag.result.variant"]),
        (&json!("payments.decimal_mode"), &json!("enabled"))
    );
    assert_eq!(
        (&on["deployment.environment.name"], &on["time"]),
        (&json!("production"), &json!("2026-11-16T12:00:01.234Z"))
    );
    assert_eq!(records(of("feature-environment-disabled"))[0]["feature_flag.result.value"], "false");
    assert_eq!(records(of("feature-archived"))[0]["feature_flag.result.variant"], Value::Null);
    assert!(matches!(of("feature-stale-on"), Ok(Reported::Nothing(_))));
    // A strategy that is not there is no strategy that changed.
    assert!(matches!(of("feature-strategy-update"), Err(Misread::Unknown(_))));
}

/// Unleash's own example of each kind of event about a flag. It is on or off in an environment; out of the archive it is
/// off everywhere. Strategies and variants are configuration beside it, and what they compare with is in no record.
#[test]
fn unleash_sent_these() {
    let services = [("my-other-project".to_owned(), "payments".to_owned())].into();
    let webhook = WebhookSection { services, ..WebhookSection::default() };
    let events: Vec<Value> = serde_json::from_str(UNLEASH_EVENTS).unwrap();
    let event = |kind: &str| events.iter().find(|event| event["type"] == kind).unwrap();
    let read = |event: &Value| read(Platform::Unleash, &webhook, &event.to_string());
    let of = |kind: &str| records(read(event(kind))).remove(0);

    assert_eq!(
        of("feature-environment-enabled"),
        json!({
            "time": "2022-06-02T12:09:03.045Z", "feature_flag.key": "new-feature",
            "feature_flag.result.variant": "enabled", "feature_flag.result.value": "true",
            "feature_flag.provider.name": "unleash", "feature_flag.set.id": "my-other-project",
            "service.name": "payments", "deployment.environment.name": "development",
        })
    );
    for (kind, variant, environment) in [
        ("feature-environment-disabled", json!("disabled"), json!("development")),
        ("feature-archived", Value::Null, Value::Null),
        ("feature-deleted", Value::Null, Value::Null),
        ("feature-revived", json!("disabled"), Value::Null),
    ] {
        let record = of(kind);
        assert_eq!(record["feature_flag.key"], "new-feature", "{kind}");
        assert_eq!(record["feature_flag.result.variant"], variant, "{kind}");
        assert_eq!(record["deployment.environment.name"], environment, "{kind}");
    }
    for kind in ["feature-created", "feature-stale-on"] {
        assert!(matches!(read(event(kind)), Ok(Reported::Nothing(_))), "{kind}");
    }

    assert_eq!(
        of("feature-strategy-add"),
        json!({
            "time": "2022-06-01T10:03:08.290Z",
            "config.key": "new-feature.strategies.3f4bf713-696c-43a4-8ce7-d6c607108858",
            "config.value": "{\"name\":\"flexibleRollout\",\"rollout\":\"67\"}",
            "service.name": "payments", "deployment.environment.name": "default",
        })
    );
    let updated = of("feature-strategy-update");
    assert_eq!(updated["config.key"], of("feature-strategy-add")["config.key"]);
    assert_eq!(updated["config.value"], "{\"name\":\"flexibleRollout\",\"rollout\":\"32\"}");
    let removed = of("feature-strategy-remove");
    assert_eq!(removed["config.key"], "new-feature.strategies.9591090e-acb0-4088-8958-21faaeb7147d");
    assert_eq!(removed["config.value"], Value::Null);

    let value = |record: &Value| -> Value { serde_json::from_str(record["config.value"].as_str().unwrap()).unwrap() };
    let variants = json!([{"name": "lenient", "weight": 900}, {"name": "strict", "weight": 100}]);
    let mut targeted = event("feature-strategy-add").clone();
    targeted["data"]["constraints"] =
        json!([{"contextName": "userId", "operator": "IN", "values": ["ariel@example.com"]}]);
    targeted["data"]["variants"] = variants.clone();
    targeted["data"]["disabled"] = json!(true);
    assert_eq!(
        value(&records(read(&targeted))[0]),
        json!({"name": "flexibleRollout", "rollout": "67", "disabled": true, "constraints": 1,
               "variants": {"lenient": 900, "strict": 100}})
    );
    let mut weighed = event("feature-strategy-add").clone();
    weighed["type"] = json!("feature-environment-variants-updated");
    weighed["data"] = json!({"variants": variants});
    let weighed_as = &records(read(&weighed))[0];
    assert_eq!(weighed_as["config.key"], "new-feature.variants");
    assert_eq!(value(weighed_as), json!({"lenient": 900, "strict": 100}));
    weighed["data"] = json!({"variants": []});
    assert_eq!(records(read(&weighed))[0]["config.value"], Value::Null);
}

/// A deployment of GitHub counts once it succeeded, with its commit, its tag as the version, and the service that the
/// configuration names for the repository.
#[test]
fn github_deploys_when_it_succeeded() {
    let services = [("shop/payments-service".to_owned(), "payments".to_owned())].into();
    let webhook = WebhookSection { services, ..WebhookSection::default() };
    let event = &records(read(Platform::GitHub, &webhook, GITHUB))[0];
    assert_eq!(
        (&event["subject"]["id"], &event["context"]["timestamp"]),
        (&json!("payments"), &json!("2026-11-16T11:59:30Z"))
    );
    assert_eq!(event["subject"]["content"]["environment"]["id"], "production");
    let custom = &event["customData"];
    assert_eq!(custom["vcs.ref.head.revision"], "a1b2c3d4e5f60718293a4b5c6d7e8f9001122334");
    assert_eq!((&custom["service.version"], &custom["build_number"]), (&json!("1.9.0"), &json!("812")));
    let pending = GITHUB.replace("\"success\"", "\"in_progress\"");
    assert!(matches!(read(Platform::GitHub, &webhook, &pending), Ok(Reported::Nothing(_))));
    let ping = of_platform(Platform::GitHub, &webhook, &headers(&[("x-github-event", "ping")]), b"{\"zen\": \"x\"}");
    assert!(matches!(ping, Ok(Reported::Nothing(_))));
}

/// GitHub sent the status of a deployment by hand, one of a workflow that still ran, and the deployment alone. Only what
/// succeeded is taken, with its commit; a branch is no version.
#[test]
fn github_sent_these() {
    let webhook = WebhookSection::default();
    let event = &records(read(Platform::GitHub, &webhook, GITHUB_STATUS))[0];
    assert_eq!((&event["subject"]["id"], &event["context"]["id"]), (&json!("Hello-World"), &json!("209916254")));
    assert_eq!(event["context"]["timestamp"], "2019-05-15T15:20:55Z");
    assert_eq!(event["subject"]["content"]["environment"]["id"], "production");
    assert_eq!(
        event["customData"],
        json!({
            "vcs.ref.head.revision": "f95f852bd8fca8fcc58a9a2d6c842781e32a215e",
            "vcs.repository.url.full": "https://github.com/Codertocat/Hello-World",
        })
    );
    assert!(matches!(read(Platform::GitHub, &webhook, GITHUB_PAGES), Ok(Reported::Nothing(_))));
    let ended = GITHUB_PAGES.replacen("\"in_progress\"", "\"success\"", 1);
    let event = &records(read(Platform::GitHub, &webhook, &ended))[0];
    assert_eq!(event["subject"]["content"]["environment"]["id"], "github-pages");
    let made = headers(&[("x-github-event", "deployment")]);
    let made = of_platform(Platform::GitHub, &webhook, &made, GITHUB_DEPLOYMENT.as_bytes());
    assert!(matches!(made, Ok(Reported::Nothing(_))));
}

/// An application of Argo CD is deployed once its sync has succeeded, in the version of its one image. Its revision is
/// that of the manifests, and a commit of the service only where the configuration says so.
#[test]
fn argocd_deploys_when_it_is_synced() {
    let mut webhook = WebhookSection::default();
    let event = &records(read(Platform::ArgoCd, &webhook, ARGOCD))[0];
    assert_eq!(
        (&event["subject"]["id"], &event["customData"]["service.version"]),
        (&json!("payments"), &json!("1.9.0"))
    );
    let artifact = event["subject"]["content"]["artifactId"].as_str().unwrap();
    assert!(artifact.starts_with("pkg:oci/payments@sha256%3A2d49") && artifact.ends_with("&tag=1.9.0"), "{artifact}");
    assert_eq!(event["customData"]["vcs.ref.head.revision"], Value::Null);
    webhook.revision_is_commit = true;
    let wrapped = format!("{{\"app\": {ARGOCD}}}");
    let event = &records(read(Platform::ArgoCd, &webhook, &wrapped))[0];
    assert_eq!(event["customData"]["vcs.ref.head.revision"], "53e28ff20cc530b9ada2173fbbd64d48338583ba");
    let mut later: Value = serde_json::from_str(ARGOCD).unwrap();
    later["status"]["operationState"]["syncResult"] = json!({"revision": "0f1e2d3c4b5a69788796a5b4c3d2e1f001122334"});
    let event = &records(read(Platform::ArgoCd, &webhook, &later.to_string()))[0];
    assert_eq!(
        event["customData"]["vcs.ref.head.revision"], "0f1e2d3c4b5a69788796a5b4c3d2e1f001122334",
        "what was synced"
    );
    let running = ARGOCD.replace("Succeeded", "Running");
    assert!(matches!(read(Platform::ArgoCd, &webhook, &running), Ok(Reported::Nothing(_))));
}

/// An application as Argo CD keeps it, which is what a notification hands over whole. Its commit is the one that was
/// synced, not what it has been compared with since.
#[test]
fn argocd_keeps_this() {
    let services = [("velero-test".to_owned(), "velero".to_owned())].into();
    let webhook = WebhookSection { services, revision_is_commit: true, ..WebhookSection::default() };
    let event = &records(read(Platform::ArgoCd, &webhook, ARGOCD_APPLICATION))[0];
    assert_eq!(
        (&event["subject"]["id"], &event["context"]["timestamp"]),
        (&json!("velero"), &json!("2024-03-05T07:33:04Z"))
    );
    let content = json!({"artifactId": "pkg:oci/nginx?repository_url=nginx&tag=latest"});
    assert_eq!(event["subject"]["content"], content);
    assert_eq!(event["customData"]["service.version"], "latest");
    assert_eq!(event["customData"]["vcs.ref.head.revision"], "ea8759964626a583667a2bfd08f334ec2070040a");
}

/// Changes, flagd configurations, CDEvents in every envelope and lists are known by what they are and go on as they came;
/// what a worker would refuse is refused here, and what is nothing is told what there is.
#[test]
fn own_formats_are_recognised() {
    let redactor = redactor();
    let read = |pairs: &[(&str, &str)], body: &str| own::read(&headers(pairs), body.as_bytes(), &redactor);
    let of = |pairs: &[(&str, &str)], body: &str| match read(pairs, body).unwrap() {
        Reported::Changes(changes) => changes,
        Reported::Nothing(why) => panic!("{why}"),
    };
    let flag = r#"{"feature_flag.key": "a", "feature_flag.result.variant": "on"}"#;
    let config = r#"{"config.key": "b", "config.value": "20"}"#;
    let flagd = r#"{"flags": {"a": {"state": "ENABLED", "variants": {"on": true}, "defaultVariant": "on"}}}"#;
    let event = r#"{"context": {"version": "0.4.1", "id": "1", "source": "/ci", "type": "dev.cdevents.service.deployed.0.2.0", "timestamp": "2026-11-16T12:00:00Z"}, "subject": {"id": "payments", "type": "service", "content": {}}}"#;
    for (body, key) in [(flag, Some("a")), (config, Some("b")), (flagd, None)] {
        let changes = of(&[], body);
        assert_eq!((changes[0].signal, changes[0].key.as_deref()), (Signal::Flags, key));
        assert_eq!(changes[0].value, body.as_bytes());
    }
    let changes = of(&[], event);
    assert_eq!((changes[0].signal, changes[0].key.as_deref()), (Signal::Deployments, Some("payments")));
    let structured = format!(r#"{{"specversion": "1.0", "id": "1", "source": "/ci", "type": "x", "data": {event}}}"#);
    assert_eq!(of(&[], &structured)[0].key.as_deref(), Some("payments"));
    let binary = of(&[("ce-specversion", "1.0"), ("ce-id", "1")], event);
    assert!(binary[0].headers.contains(&("ce_id".to_owned(), "1".to_owned())), "{binary:?}");
    assert_eq!(of(&[], &format!("[{flag}, {event}]")).len(), 2);

    assert!(matches!(read(&[], "nonsense"), Err(Misread::NotJson(_))));
    assert!(matches!(read(&[], r#"{"feature_flag.key": "a"}"#), Err(Misread::Unknown(_))));
    let unknown = read(&[], r#"{"zen": "x"}"#).unwrap_err().to_string();
    assert!(unknown.contains("feature_flag.key") && unknown.contains("launchdarkly"), "{unknown}");
}

fn signed(secret: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

fn intake() -> Intake {
    let mut config = Config::default();
    for platform in Platform::ALL {
        let webhook = WebhookSection { secret: "swordfish".to_owned(), ..WebhookSection::default() };
        config.serve.webhooks.insert(platform.name().to_owned(), webhook);
    }
    Intake::new(&config, redactor())
}

/// Each platform proves by its own scheme where its body is from. Another secret, another body, and no proof at all are
/// refused alike, and the refusal says what is wanted without the secret.
#[test]
fn forged_signatures_are_refused() {
    let intake = intake();
    for (name, header, body, wrap) in [
        ("launchdarkly", "x-ld-signature", LAUNCHDARKLY, ""),
        ("github", "x-hub-signature-256", GITHUB, "sha256="),
        ("unleash", "authorization", UNLEASH, "show"),
        ("argocd", "authorization", ARGOCD, "show"),
    ] {
        let proof = |secret: &str| match wrap {
            "show" => secret.to_owned(),
            wrap => format!("{wrap}{}", signed(secret, body)),
        };
        let verified = |pairs: &[(&str, &str)], body: &str| {
            let body = Bytes::copy_from_slice(body.as_bytes());
            intake.verify(name, &Delivery { from: Some(name.to_owned()), headers: headers(pairs), body })
        };
        assert_eq!(verified(&[(header, &proof("swordfish"))], body), Ok(()), "{name}");
        for pairs in [vec![], vec![(header, proof("guess"))], vec![(header, String::new())]] {
            let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let refused = verified(&pairs, body).unwrap_err();
            assert!(matches!(&refused, ChangeRefusal::Forged(_)), "{name}: {refused}");
            assert!(!refused.to_string().contains("swordfish"), "{refused}");
        }
        if wrap != "show" {
            let altered = body.replace("production", "elsewhere");
            assert!(verified(&[(header, &proof("swordfish"))], &altered).is_err(), "{name}");
        }
    }
}

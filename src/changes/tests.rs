//! Each platform's webhook in the form that its documentation shows, and what is none.

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
/// Switched off, the variation for that holds; a rollout has weights and no variant; a deleted flag has neither.
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
    let deleted = &records(read(Platform::LaunchDarkly, &webhook, &deleted))[0];
    assert_eq!(
        (&deleted["feature_flag.result.variant"], &deleted["feature_flag.result.value"]),
        (&Value::Null, &Value::Null)
    );
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

/// Unleash turns a flag on and off in an environment and archives it; what it says of strategies is passed over.
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
    assert!(matches!(of("feature-strategy-update"), Ok(Reported::Nothing(_))));
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

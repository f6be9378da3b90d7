#![allow(clippy::unwrap_used)]

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampNanosecondType;
use proptest::prelude::*;
use tracerag_schemas::SourcePartition;

use super::*;
use crate::redact::{PayloadConfig, RedactionConfig};

type Headers<'h> = &'h [(&'h str, Option<&'h [u8]>)];

fn decoder() -> DeploymentDecoder {
    let redaction = RedactionConfig { key: "0123456789abcdef".to_owned(), ..RedactionConfig::default() };
    DeploymentDecoder::new(Arc::new(Redactor::new(&redaction, &PayloadConfig::default()).unwrap()))
}

fn decode_with(
    decoder: &mut DeploymentDecoder,
    json: &str,
    headers: Headers<'_>,
) -> Result<DeploymentOutcome, ChangeError> {
    let source = SourcePartition::new("c", "deployments", 0);
    let origin = Origin { tenant: "default", source: &source, offset: 9, timestamp: Some(77), ingested_at: 100 };
    decoder.decode(json.as_bytes(), headers.iter().copied(), &origin)
}

fn decode(decoder: &mut DeploymentDecoder, json: &str) -> Result<DeploymentOutcome, ChangeError> {
    decode_with(decoder, json, &[])
}

/// The columns that tell a deployment, of the only row.
fn row(decoder: &mut DeploymentDecoder) -> [String; 6] {
    let batch = decoder.finish().unwrap();
    assert_eq!(batch.num_rows(), 1);
    ["service_name", "service_instance_id", "deployment_environment_name", "version", "git_sha", "event_type"]
        .map(|name| text(&batch, name))
}

fn text(batch: &RecordBatch, name: &str) -> String {
    let column = batch[name].as_string::<i32>();
    if column.is_valid(0) { column.value(0).to_owned() } else { "-".to_owned() }
}

fn event(kind: &str, subject: &str, content: &str, more: &str) -> String {
    format!(
        r#"{{"context": {{"specversion": "0.6.0", "id": "e-{subject}", "source": "/ci", "type": "dev.cdevents.{kind}",
             "timestamp": "2026-11-16T12:00:00Z"{more}}}, "subject": {{"id": "{subject}", "source": "/x", "content": {content}}}}}"#
    )
}

const DEPLOYED: &str = "service.deployed.0.3.0";

fn deployed(artifact: &str, more: &str) -> String {
    let content = format!(r#"{{"environment": {{"id": "production"}}, "artifactId": "{artifact}"}}"#);
    event(DEPLOYED, "/shop/payments", &content, more)
}

/// The example of the specification (conformance/service_deployed.json of cdevents/spec, Apache-2.0) gives a row.
#[test]
fn the_specifications_example() {
    let mut decoder = decoder();
    let example = r#"{"context": {"specversion": "0.6.0-draft", "id": "271069a8-fc18-44f1-b38f-9d70a1695819",
        "chainId": "4c8cb7dd-3448-41de-8768-eec704e2829b", "source": "/event/source/123",
        "type": "dev.cdevents.service.deployed.0.3.0", "timestamp": "2023-03-20T14:27:05.315384Z",
        "schemaUri": "https://myorg.com/schema/custom",
        "links": [{"linkType": "RELATION", "linkKind": "TRIGGER", "target": {"contextId": "5328c37f-bb7e-4bb7-84ea-9f5f85e4a7ce"}}]},
      "subject": {"id": "mySubject123", "source": "/event/source/123",
        "content": {"environment": {"id": "test123"}, "artifactId": "pkg:oci/myapp@sha256%3A0b31b1c02ff458ad9b7b81cbdf8f028bd54699fa151f221d1e8de6817db93427"}}}"#;
    assert_eq!(decode(&mut decoder, example), Ok(DeploymentOutcome::Row));
    let batch = decoder.finish().unwrap();
    assert_eq!(text(&batch, "service_name"), "mySubject123");
    assert_eq!(text(&batch, "deployment_environment_name"), "test123");
    assert_eq!(text(&batch, "version"), "-", "a digest is no version");
    assert!(text(&batch, "artifact").starts_with("pkg:oci/myapp@sha256"));
    assert_eq!(text(&batch, "source"), "cdevent");
    assert_eq!(batch["valid_from"].as_primitive::<TimestampNanosecondType>().value(0), 1_679_322_425_315_384_000);
    assert!(!batch["removed"].as_boolean().value(0));
}

/// The version comes from `service.version`, else the tag, else the purl's version; the service is the last
/// segment of a URI-like id.
#[test]
fn versions_and_names() {
    let mut decoder = decoder();
    let purl = "pkg:oci/payments@sha256%3A0b31b1c02ff458ad9b7b81cbdf8f028bd54699fa151f221d1e8de6817db93427?tag=1.9.0";
    decode(&mut decoder, &deployed(purl, "")).unwrap();
    assert_eq!(row(&mut decoder), ["payments", "-", "production", "1.9.0", "-", "service.deployed"]);
    let upgraded = deployed(purl, "").replace("deployed.0", "upgraded.0").replace(
        r#""subject":"#,
        r#""customData": {"service.version": "1.9.0+7", "git_sha": "a1b2c3d", "service.instance.id": "payments-b-1"}, "subject":"#,
    );
    decode(&mut decoder, &upgraded).unwrap();
    assert_eq!(row(&mut decoder), ["payments", "payments-b-1", "production", "1.9.0+7", "a1b2c3d", "service.upgraded"]);
    decode(&mut decoder, &deployed("pkg:npm/payments@1.8.2", "").replace("deployed.0", "rolledback.0")).unwrap();
    assert_eq!(row(&mut decoder), ["payments", "-", "production", "1.8.2", "-", "service.rolledback"]);
    for (id, name) in [("urn:shop:payments", "payments"), ("https://x/svc/payments/?a=b", "payments"), ("pay", "pay")] {
        assert_eq!(last_segment(id), name);
    }
}

/// `customData` carries build number, lock files and migrations into their columns.
#[test]
fn custom_data() {
    let mut decoder = decoder();
    let custom = r#""customData": {"vcs.ref.head.revision": "a1b2c3d", "build_number": 512,
        "lockfile_digests": {"Cargo.lock": "sha256:ab", "none": null}, "schema_migrations": ["0042_amount", 43]}, "subject":"#;
    decode(&mut decoder, &deployed("pkg:npm/payments@1.9.0", "").replace(r#""subject":"#, custom)).unwrap();
    let batch = decoder.finish().unwrap();
    assert_eq!((text(&batch, "build_number"), text(&batch, "git_sha")), ("512".to_owned(), "a1b2c3d".to_owned()));
    let digests = batch["lockfile_digests"].as_map().value(0);
    assert_eq!(digests.column(0).as_string::<i32>().value(0), "Cargo.lock");
    assert_eq!((digests.len(), digests.column(1).as_string::<i32>().value(0)), (1, "sha256:ab"));
    let migrations = batch["schema_migrations"].as_list::<i32>().value(0);
    assert_eq!(migrations.as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["0042_amount", "43"]);
    // Absent is null, not empty.
    decode(&mut decoder, &deployed("pkg:npm/payments@1.9.0", "")).unwrap();
    let batch = decoder.finish().unwrap();
    assert!(batch["lockfile_digests"].is_null(0) && batch["schema_migrations"].is_null(0));
}

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The commit is found in the purl, over the chain, over links through other events, and over the artifact's change.
#[test]
fn commits_are_found() {
    let commit_of = |events: &[String]| {
        let mut decoder = decoder();
        for event in events {
            decode(&mut decoder, event).unwrap();
        }
        row(&mut decoder)[4].clone()
    };
    let merged = |more: &str| event("change.merged.0.3.0", COMMIT, r#"{"repository": {"id": "shop"}}"#, more);
    let link = |id: &str| format!(r#", "links": [{{"linkType": "PATH", "from": {{"contextId": "{id}"}}}}]"#);
    let purl = "pkg:oci/payments?tag=1.9.0";

    assert_eq!(commit_of(&[deployed("pkg:golang/x/payments@234fd47e07d1004f0aed9c", "")]), "234fd47e07d1004f0aed9c");
    assert_eq!(commit_of(&[deployed(purl, "")]), "-");
    let chain = r#", "chainId": "c1""#;
    assert_eq!(commit_of(&[merged(chain), deployed(purl, chain)]), COMMIT);
    assert_eq!(commit_of(&[merged(chain), deployed(purl, r#", "chainId": "c2""#)]), "-");

    let step = event("taskrun.finished.0.3.0", "build", "{}", &link(&format!("e-{COMMIT}")));
    assert_eq!(commit_of(&[merged(""), step.clone(), deployed(purl, &link("e-build"))]), COMMIT);
    let mut decoder = decoder();
    assert_eq!(decode(&mut decoder, &step), Ok(DeploymentOutcome::Skipped("taskrun.finished".to_owned())));

    // A pull request's number is no commit: its customData says which it is.
    let pull = event("change.merged.0.3.0", "pull/7", r#"{"repository": {"id": "shop"}}"#, "")
        .replace(r#""subject":"#, &format!(r#""customData": {{"git_sha": "{COMMIT}"}}, "subject":"#));
    let packaged = event("artifact.packaged.0.3.0", purl, r#"{"change": {"id": "pull/7", "source": "/x"}}"#, "");
    assert_eq!(commit_of(&[pull, packaged, deployed(purl, "")]), COMMIT);
}

/// The same event comes structured (object, text or base64 data) and binary (with `ce_` headers).
#[test]
fn cloud_event_envelopes() {
    let bare = deployed("pkg:npm/payments@1.9.0", "");
    let expected = ["payments", "-", "production", "1.9.0", "-", "service.deployed"].map(str::to_owned);
    let envelope = r#""specversion": "1.0", "id": "x", "source": "/ci", "type": "dev.cdevents.service.deployed.0.3.0""#;
    let quoted = serde_json::to_string(&bare).unwrap();
    let base64 = BASE64_STANDARD.encode(&bare);
    for json in [
        bare.clone(),
        format!(r#"{{{envelope}, "data": {bare}}}"#),
        format!(r#"{{{envelope}, "data": {quoted}}}"#),
        format!(r#"{{{envelope}, "data_base64": "{base64}"}}"#),
    ] {
        let mut decoder = decoder();
        assert_eq!(decode(&mut decoder, &json), Ok(DeploymentOutcome::Row));
        assert_eq!(row(&mut decoder), expected, "{json}");
    }
    let data = r#"{"subject": {"id": "payments", "content": {"environment": {"id": "production"}, "artifactId": "pkg:npm/payments@1.9.0"}}}"#;
    let headers: Headers<'_> = &[
        ("ce_type", Some(b"dev.cdevents.service.deployed.0.3.0")),
        ("ce_time", Some(b"2026-11-16T12:00:00Z")),
        ("ce_specversion", Some(b"1.0")),
        ("content-type", Some(b"application/json")),
    ];
    let mut decoder = decoder();
    decode_with(&mut decoder, data, headers).unwrap();
    let batch = decoder.finish().unwrap();
    assert_eq!(text(&batch, "version"), "1.9.0");
    assert_eq!(batch["valid_from"].as_primitive::<TimestampNanosecondType>().value(0), 1_794_830_400_000_000_000);
}

/// Credentials of a registry in the name of an artifact are masked, plain and percent-encoded; the version is found.
#[test]
fn artifacts_lose_credentials() {
    for url in ["https://ci:hunter2@reg.io", "https%3A%2F%2Fci%3Ahunter2%40reg.io"] {
        let mut decoder = decoder();
        decode(&mut decoder, &deployed(&format!("pkg:oci/a@sha256%3A0b31?repository_url={url}&tag=1.9.0"), ""))
            .unwrap();
        let batch = decoder.finish().unwrap();
        let artifact = text(&batch, "artifact");
        assert!(artifact.starts_with("pkg:oci/a@sha256") && !artifact.contains("hunter2"), "{artifact}");
        assert_eq!(text(&batch, "version"), "1.9.0");
        assert!(!decoder.take_redactions().is_empty());
    }
}

/// Personal data and secrets in any field of a deployment are in no column; numbers of builds, digests and the names of
/// files stay as they are.
#[test]
fn no_field_is_stored_as_it_came() {
    let mail = "jane.doe@example.org";
    let custom = serde_json::json!({
        "git_sha": format!("of {mail}"), "service.version": format!("1.9.0 for {mail}"), "service.instance.id": mail,
        "build_number": format!("512 {mail}"),
        "lockfile_digests": {"Cargo.lock": "sha256:0b31", mail: "x", "mail": mail},
        "schema_migrations": [format!("0042_merge {mail}"), {"sql": "x", "password": "hunter2"}],
    });
    let content = format!(r#"{{"environment": {{"id": "{mail}"}}, "artifactId": "pkg:oci/a@1?by={mail}"}}"#);
    let deployed = |kind: &str| {
        let event = event(kind, mail, &content, "");
        format!(r#"{}, "customData": {custom}}}"#, event.strip_suffix('}').unwrap())
    };
    for kind in [DEPLOYED, "service.removed.0.3.0"] {
        let mut decoder = decoder();
        decode(&mut decoder, &deployed(kind)).unwrap();
        let all = format!("{:?}", decoder.finish().unwrap());
        assert!(!all.contains("jane.doe") && !all.contains("hunter2"), "{all}");
        assert!(all.contains("<email>") && all.contains("Cargo.lock") && all.contains("sha256:0b31"), "{all}");
        assert!(all.contains("0042_merge"), "{all}");
    }
    let number = r#""build_number": 4111111111111111"#;
    let mut decoder = decoder();
    let event = deployed(DEPLOYED).replace(&format!(r#""build_number":"512 {mail}""#), number);
    assert!(event.contains(number), "{event}");
    decode(&mut decoder, &event).unwrap();
    assert_eq!(text(&decoder.finish().unwrap(), "build_number"), "4111111111111111");
}

/// A removed service has no version from then on.
#[test]
fn removals() {
    let mut decoder = decoder();
    let removed = event("service.removed.0.3.0", "payments", r#"{"environment": {"id": "production"}}"#, "");
    decode(&mut decoder, &removed).unwrap();
    let batch = decoder.finish().unwrap();
    assert!(batch["removed"].as_boolean().value(0) && batch["version"].is_null(0));
}

/// Events of other types are counted by their type; what is no CDEvent is an error in words, which show nothing of
/// the record.
#[test]
fn other_types_and_errors() {
    let mut decoder = decoder();
    let other = event("incident.detected.0.3.0", "i", "{}", "");
    assert_eq!(decode(&mut decoder, &other), Ok(DeploymentOutcome::Skipped("incident.detected".to_owned())));
    for (json, part) in [
        ("nope", "not JSON"),
        ("{}", "context.type is missing"),
        (r#"{"context": {"type": "com.github.push by alice@example.com"}}"#, "dev.cdevents"),
        (r#"{"context": {"type": "dev.cdevents.service"}}"#, "dev.cdevents"),
        (r#"{"context": 1}"#, "must be an object"),
        (r#"{"context": {"type": "dev.cdevents.service.deployed.0.3.0"}}"#, "subject.id"),
        (r#"{"context": {"type": "dev.cdevents.service.deployed.0.3.0", "timestamp": "now"}}"#, "RFC 3339"),
        (r#"{"specversion": "1.0", "type": "dev.cdevents.service.deployed.0.3.0"}"#, "data is missing"),
        (r#"{"specversion": "1.0", "data_base64": "%"}"#, "base64"),
    ] {
        let error = decode(&mut decoder, json).unwrap_err().to_string();
        assert!(error.contains(part) && !error.contains("alice"), "{json}: {error}");
    }
    assert!(decoder.is_empty());
}

/// The memory of commits has a bound, and forgets the oldest first.
#[test]
fn memory_is_bounded() {
    let mut commits = Commits::default();
    for index in 0..=REMEMBERED {
        commits.put("t", "event", &index.to_string(), "c");
    }
    assert_eq!(commits.known.len(), REMEMBERED);
    assert_eq!(commits.get("t", "event", "0"), None);
    assert!(commits.get("t", "event", "1").is_some());
    assert!(commits.get("other", "event", "1").is_none(), "never across tenants");
}

proptest! {
    /// A good event with any part replaced by anything is taken or refused, without a panic.
    #[test]
    fn damaged_events_are_taken_or_refused(
        cut in 0..400usize,
        with in proptest::sample::select(vec!["", "null", "{", "}", "[1]", "\"", ":", "1e999", "\u{0}"]),
    ) {
        let whole = deployed("pkg:npm/payments@1.9.0", r#", "links": [{"from": {"contextId": "x"}}]"#);
        let cut = cut.min(whole.len());
        let damaged = format!("{}{with}{}", &whole[..cut], &whole[(cut + with.len()).min(whole.len())..]);
        let mut decoder = decoder();
        let is_row = decode(&mut decoder, &damaged) == Ok(DeploymentOutcome::Row);
        prop_assert_eq!(decoder.finish().unwrap().num_rows(), usize::from(is_row));
    }
}

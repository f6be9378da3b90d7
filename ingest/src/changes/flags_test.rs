#![allow(clippy::unwrap_used)]

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::TimestampNanosecondType;
use proptest::prelude::*;
use tracerag_schemas::{SourcePartition, Table};

use super::*;
use crate::redact::{PayloadConfig, RedactionConfig};

fn redactor() -> Arc<Redactor> {
    let redaction = RedactionConfig { key: "0123456789abcdef".to_owned(), ..RedactionConfig::default() };
    Arc::new(Redactor::new(&redaction, &PayloadConfig::default()).unwrap())
}

fn decoder() -> FlagDecoder {
    FlagDecoder::new(redactor())
}

fn decode(decoder: &mut FlagDecoder, json: &str) -> Result<FlagOutcome, ChangeError> {
    let source = SourcePartition::new("c", "feature_flags", 0);
    let origin = Origin { tenant: "default", source: &source, offset: 9, timestamp: Some(77), ingested_at: 100 };
    decoder.decode(json.as_bytes(), &origin)
}

fn rows(decoder: &mut FlagDecoder, json: &str) -> RecordBatch {
    decode(decoder, json).unwrap();
    decoder.finish().unwrap()
}

/// A row as `name=value` of its text columns that are not null.
fn text(batch: &RecordBatch, row: usize) -> Vec<String> {
    let columns = batch.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    let mut shown = Vec::new();
    for name in columns {
        if let Some(column) = batch[name.as_str()].as_string_opt::<i32>()
            && column.is_valid(row)
        {
            shown.push(format!("{name}={}", column.value(row)));
        }
    }
    shown
}

fn time(batch: &RecordBatch, row: usize) -> i64 {
    batch["valid_from"].as_primitive::<TimestampNanosecondType>().value(row)
}

/// The documented change of a flag becomes one row with all that it says; so does one with the older names.
#[test]
fn a_change_of_a_flag() {
    let mut decoder = decoder();
    let batch = rows(
        &mut decoder,
        r#"{"time": "2026-11-16T12:00:01.234Z", "feature_flag.key": "payments.decimal_mode",
            "feature_flag.result.variant": "strict", "feature_flag.result.value": "strict",
            "deployment.environment.name": "production", "service.name": "payments",
            "feature_flag.set.id": "shop", "feature_flag.version": 7, "feature_flag.provider.name": "flagd"}"#,
    );
    let expected = [
        "tenant_id=default",
        "kind=flag",
        "key=payments.decimal_mode",
        "variant=strict",
        "value=strict",
        "service_name=payments",
        "deployment_environment_name=production",
        "source=change",
        "provider_name=flagd",
        "set_id=shop",
        "version=7",
        "kafka_topic=feature_flags",
    ];
    assert_eq!(text(&batch, 0), expected);
    assert_eq!(time(&batch, 0), 1_794_830_401_234_000_000);
    let batch = rows(
        &mut decoder,
        r#"{"feature_flag.key": "a", "feature_flag.variant": "on", "deployment.environment": "test"}"#,
    );
    assert_eq!(text(&batch, 0)[3..5], ["variant=on", "deployment_environment_name=test"]);
    assert_eq!(time(&batch, 0), 77, "the record's timestamp stands in");
}

/// Values of any type are kept as text; null for both is a deletion, which is not the same as saying nothing.
#[test]
fn values_and_deletions() {
    let mut decoder = decoder();
    for (json, expected) in [
        (r#"true"#, "value=true"),
        (r#"12.5"#, "value=12.5"),
        (r#"{"a": [1, 2]}"#, r#"value={"a":[1,2]}"#),
        (r#""""#, "value="),
    ] {
        let batch = rows(&mut decoder, &format!(r#"{{"feature_flag.key": "k", "feature_flag.result.value": {json}}}"#));
        assert_eq!(text(&batch, 0)[3], expected);
    }
    let deletion =
        r#"{"feature_flag.key": "k", "feature_flag.result.variant": null, "feature_flag.result.value": null}"#;
    let batch = rows(&mut decoder, deletion);
    assert!(batch["variant"].is_null(0) && batch["value"].is_null(0) && batch["digest"].is_null(0));
    assert!(matches!(decode(&mut decoder, r#"{"feature_flag.key": "k"}"#), Err(ChangeError::NoValue { .. })));
}

/// Personal data in any field of a change is in no column: of a flag, of configuration, and of a whole flagd
/// configuration. Of flags whose keys become equal the first one stays and the others are counted; the rows are a base
/// for the next difference, as ever.
#[test]
fn no_field_is_stored_as_it_came() {
    let mail = "jane.doe@example.org";
    let flag = serde_json::json!({
        "feature_flag.key": format!("beta for {mail}"), "feature_flag.result.variant": mail,
        "feature_flag.result.value": {"password": "hunter2", "to": mail}, "feature_flag.set.id": mail,
        "feature_flag.version": mail, "feature_flag.provider.name": mail, "feature_flag.result.reason": mail,
        "service.name": mail, "service.instance.id": mail, "deployment.environment.name": mail,
    });
    let config = serde_json::json!({
        "config.key": format!("limit of {mail}"), "config.digest": format!("of {mail}"), "config.version": mail,
    });
    let state = |variant: &str| {
        let of = |person: &str| {
            (
                format!("beta for {person}"),
                serde_json::json!({
                    "state": "ENABLED", "variants": {"on": true, "off": mail}, "defaultVariant": variant,
                }),
            )
        };
        let flags: serde_json::Map<String, serde_json::Value> =
            [of(mail), of("max@example.org"), of("everybody")].into_iter().collect();
        serde_json::json!({"flags": flags, "metadata": {"id": mail, "version": mail, "service.name": mail}}).to_string()
    };
    let mut first = decoder();
    let base = rows(&mut first, &state("off"));
    assert_eq!(base.num_rows(), 2);
    for batch in [rows(&mut first, &flag.to_string()), rows(&mut first, &config.to_string()), base.clone()] {
        let all = format!("{batch:?}");
        assert!(!all.contains("example.org") && !all.contains("hunter2"), "{all}");
        assert!(all.contains("<email>"), "{all}");
    }
    let mut other = decoder();
    other.restore(&base).unwrap();
    let outcome = decode(&mut other, &state("off")).unwrap();
    assert_eq!((outcome.rows, outcome.skipped), (0, 1));
    assert_eq!(decode(&mut other, &state("on")).unwrap().rows, 2);
}

/// Config values are masked by what they are and by what their key says; a digest stands for a value; null deletes.
#[test]
fn changes_of_configuration_are_redacted() {
    let mut decoder = decoder();
    let batch = rows(
        &mut decoder,
        r#"{"time": "2026-11-16T12:00:02Z", "config.key": "payments.pool.size", "config.value": "20", "service.name": "payments"}"#,
    );
    assert_eq!(text(&batch, 0)[1..5], ["kind=config", "key=payments.pool.size", "value=20", "service_name=payments"]);
    for (key, secret) in [
        ("db.url", "postgres://app:hunter2secret@db/shop"),
        ("db.password", "hunter2secret"),
        ("alert.to", "hunter2secret@example.com"),
    ] {
        let batch = rows(&mut decoder, &format!(r#"{{"config.key": "{key}", "config.value": "{secret}"}}"#));
        let shown = text(&batch, 0).join(" ");
        assert!(!shown.contains("hunter2secret"), "{shown}");
        assert!(!batch["value"].is_null(0));
    }
    assert!(!decoder.take_redactions().is_empty());
    let batch = rows(&mut decoder, r#"{"config.key": "k", "config.digest": "sha256:ab"}"#);
    assert_eq!(text(&batch, 0)[3], "value=sha256:ab");
    assert_eq!(text(&batch, 0)[5], "digest=sha256:ab");
    let batch = rows(&mut decoder, r#"{"config.key": "k", "config.value": null}"#);
    assert!(batch["value"].is_null(0));
}

const FIRST: &str = r#"{"$schema": "https://flagd.dev/schema/v0/flags.json", "metadata": {"flagSetId": "shop", "version": "v1"},
    "flags": {
        "mode": {"state": "ENABLED", "variants": {"strict": "s", "lax": {"a": 1}}, "defaultVariant": "lax"},
        "beta": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off",
                 "targeting": {"if": [{"==": [{"var": "tier"}, "gold"]}, "on"]}},
        "old": {"state": "DISABLED", "variants": {"on": true}, "defaultVariant": "on"}}}"#;

/// The first whole configuration gives every flag, a later one only what differs: a new default, a new targeting
/// rule, a flag that is gone; an equal one, in whatever order its keys come, gives nothing.
#[test]
fn differences_of_whole_configurations() {
    let mut decoder = decoder();
    let batch = rows(&mut decoder, FIRST);
    let shown: Vec<String> = (0..batch.num_rows()).map(|row| text(&batch, row)[2..].join(" ")).collect();
    assert_eq!(shown.len(), 3);
    assert!(shown[0].starts_with("key=beta variant=off value=false source=change reason=default provider_name=flagd set_id=shop version=v1 digest=sha256:"), "{}", shown[0]);
    assert!(shown[1].starts_with(r#"key=mode variant=lax value={"a":1} source=change reason=static"#), "{}", shown[1]);
    assert!(shown[2].starts_with("key=old source=change reason=disabled"), "{}", shown[2]);

    let reordered =
        FIRST.replace(r#""strict": "s", "lax": {"a": 1}"#, r#""lax": {"a": 1}, "strict": "s""#).replace("v1", "v2");
    assert_eq!(decode(&mut decoder, &reordered), Ok(FlagOutcome { rows: 0, skipped: 0, is_configuration: true }));

    let second = r#"{"metadata": {"flagSetId": "shop"}, "flags": {
        "mode": {"state": "ENABLED", "variants": {"strict": "s", "lax": {"a": 1}}, "defaultVariant": "strict"},
        "beta": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off", "targeting": {}},
        "bad": 7}}"#;
    assert_eq!(decode(&mut decoder, second), Ok(FlagOutcome { rows: 3, skipped: 1, is_configuration: true }));
    let batch = decoder.finish().unwrap();
    assert_eq!(text(&batch, 0)[2..5], ["key=beta", "variant=off", "value=false"]);
    assert_eq!(text(&batch, 1)[2..5], ["key=mode", "variant=strict", "value=s"]);
    assert_eq!(text(&batch, 2)[2..4], ["key=old", "source=change"]);
    assert!(batch["digest"].is_null(2), "a flag that is gone");
    // Another set knows nothing of this one.
    let other = second.replace("shop", "other");
    assert_eq!(decode(&mut decoder, &other).unwrap().rows, 2);
}

/// flagd's array forms, and the text inside a sync message, say the same as the object form.
#[test]
fn array_forms_and_sync_messages() {
    let object = r#"{"metadata": {"flagSetId": "s"}, "flags": {"a": {"state": "ENABLED", "variants": {"on": 1}, "defaultVariant": "on"}}}"#;
    let array = r#"{"metadata": {"flagSetId": "s"}, "flags": [{"key": "a", "state": "ENABLED", "variants": [{"name": "on", "value": 1}], "defaultVariant": "on"}, {}]}"#;
    let sync = serde_json::json!({"flag_configuration": object, "sync_context": {}}).to_string();
    for (json, skipped) in [(object, 0), (array, 1), (sync.as_str(), 0)] {
        let mut decoder = decoder();
        assert_eq!(decode(&mut decoder, json), Ok(FlagOutcome { rows: 1, skipped, is_configuration: true }));
        let batch = decoder.finish().unwrap();
        assert_eq!(text(&batch, 0)[2..5], ["key=a", "variant=on", "value=1"]);
    }
}

/// A decoder that is given the stored rows goes on as if it had never stopped.
#[test]
fn the_last_configuration_is_restored_from_rows() {
    let second =
        FIRST.replace(r#""defaultVariant": "lax""#, r#""defaultVariant": "strict""#).replace(r#""old""#, r#""new""#);
    let single = r#"{"feature_flag.key": "mode", "feature_flag.result.variant": "x", "feature_flag.set.id": "shop"}"#;
    let mut first = decoder();
    let stored = [FIRST, single, &second].map(|json| rows(&mut first, json));
    assert_eq!(stored[2].num_rows(), 3);
    let stored = concat_batches(&Table::Flags.lake_schema(), &stored).unwrap();
    let mut next = decoder();
    next.restore(&stored).unwrap();
    assert_eq!(decode(&mut next, &second).unwrap().rows, 0);
    let mut without = decoder();
    assert_eq!(decode(&mut without, &second).unwrap().rows, 3);
    assert_eq!(decode(&mut next, FIRST).unwrap().rows, decode(&mut first, FIRST).unwrap().rows);
}

/// Flags of a configuration are deleted and set alone, then the same configuration comes again, or one without them.
/// Guarantees that the rows are those of the state that holds since, and that a decoder which was restored from the rows
/// gives the very rows that a running one does.
#[test]
fn a_restored_decoder_goes_on_like_a_running_one() {
    let set = |fields: &str| {
        format!(
            r#"{{"feature_flag.key": "mode", "feature_flag.set.id": "shop", "feature_flag.result.variant": {fields}}}"#
        )
    };
    let without = FIRST.replace(r#""mode""#, r#""other""#);
    let (deletion, other_instance) = (set("null"), set(r#"null, "service.instance.id": "b-1""#));
    for (change, next, expected) in [
        (deletion.as_str(), FIRST, &["mode"][..]),
        (&deletion, &without, &["other"]),
        (&set(r#""strict""#), FIRST, &["mode"]),
        (&set(r#""strict""#), &without, &["other", "mode"]),
        (&other_instance, FIRST, &[]),
        (&set(r#""strict""#).replace("shop", "else"), FIRST, &[]),
    ] {
        let mut running = decoder();
        let stored = [FIRST, change].map(|json| rows(&mut running, json));
        let mut restored = decoder();
        restored.restore(&concat_batches(&Table::Flags.lake_schema(), &stored).unwrap()).unwrap();
        let [of_running, of_restored] = [&mut running, &mut restored].map(|decoder| rows(decoder, next));
        assert_eq!(of_running, of_restored, "{change}");
        let keys: Vec<&str> = of_running["key"].as_string::<i32>().iter().flatten().collect();
        assert_eq!(keys, expected, "{change} {next}");
    }
}

/// Whatever is wrong is said in words, and leaves no row behind.
#[test]
fn errors_in_words() {
    let mut decoder = decoder();
    for (json, part) in [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "feature_flag.key"),
        (r#"{"feature_flag.key": "a", "config.key": "b"}"#, "both"),
        (r#"{"feature_flag.key": null, "feature_flag.result.value": 1}"#, "missing"),
        (r#"{"config.key": "a"}"#, "config.digest"),
        (r#"{"config.key": "a", "config.value": 1, "time": "yesterday"}"#, "RFC 3339"),
        (r#"{"config.key": "a", "config.value": 1, "time": 5}"#, "RFC 3339"),
        (r#"{"config.key": {}, "config.value": 1}"#, "must be a string"),
        (r#"{"config.key": "a", "config.value": 1, "service.name": []}"#, "service.name"),
        (r#"{"flags": 1}"#, "flags"),
    ] {
        let error = decode(&mut decoder, json).unwrap_err().to_string();
        assert!(error.contains(part), "{json}: {error}");
    }
    assert!(decoder.is_empty());
}

proptest! {
    /// Any JSON object around the known names is taken or refused, without a panic, and the rows fit the schema.
    #[test]
    fn any_object_is_taken_or_refused(
        fields in proptest::collection::btree_map(
            proptest::sample::select(vec![
                "time", "feature_flag.key", "feature_flag.result.variant", "feature_flag.result.value", "config.key",
                "config.value", "config.digest", "flags", "metadata", "flag_configuration", "service.name",
            ]),
            proptest::sample::select(vec![
                "null", "1", "\"\"", "\"x\"", "[]", "{}", "[{\"key\":\"a\",\"variants\":[1]}]", "{\"a\":{\"variants\":3}}",
                "\"2026-11-16T12:00:02Z\"", "true", "-1e300", "\"{\\\"flags\\\":{}}\"",
            ]),
            0..6,
        )
    ) {
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let mut decoder = decoder();
        let outcome = decode(&mut decoder, &format!("{{{}}}", fields.join(",")));
        let rows = outcome.map_or(0, |outcome| outcome.rows);
        prop_assert_eq!(decoder.finish().unwrap().num_rows(), rows);
    }

    /// Bytes that are anything at all never panic.
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = decode(&mut decoder(), &String::from_utf8_lossy(&bytes));
    }
}

/// Variants are masked as values are, in a change and in a whole configuration.
#[test]
fn variants_are_masked() {
    let mut decoder = decoder();
    for json in [
        r#"{"feature_flag.key": "k", "feature_flag.result.variant": "for alice@example.com"}"#,
        r#"{"flags": {"k": {"state": "ENABLED", "variants": {"for alice@example.com": 1}, "defaultVariant": "for alice@example.com"}}}"#,
    ] {
        let shown = text(&rows(&mut decoder, json), 0);
        assert!(shown.contains(&"variant=for <email>".to_owned()), "{shown:?}");
    }
}

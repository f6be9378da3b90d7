//! Keys of the redaction, with several workers on one lake.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::kafka_worker::{LIMIT, Topics, config, until};
use crate::support::kafka::Kafka;
use crate::support::program::Tracerag;
use crate::support::wait_for;

const OLD: &str = "the key of last year, long enough";
const NEW: &str = "the key of this year, long enough";

/// A configuration of its own, with these keys.
fn with_keys(tracerag: &Tracerag, kafka: &Kafka, topics: &Topics, name: &str, key: &str, previous: &[&str]) -> PathBuf {
    let text = std::fs::read_to_string(config(tracerag, kafka, topics, "otlp_json")).unwrap();
    let (before, behind) = text.split_once("[redaction]\n").unwrap();
    let (_, behind) = behind.split_once('\n').unwrap();
    let keys = format!("[redaction]\nkey = \"{key}\"\nprevious_keys = {}\n", json!(previous));
    tracerag.write(&format!("{name}.toml"), format!("{before}{keys}{behind}"))
}

/// A trace of one span of the user, with its key.
fn message(trace: usize) -> (String, String) {
    let id = format!("{trace:032x}");
    let span = json!({
        "traceId": id, "spanId": format!("{trace:016x}"), "name": "GET /", "startTimeUnixNano": "1764500000000000000",
        "endTimeUnixNano": "1764500001000000000",
        "attributes": [{"key": "user.id", "value": {"stringValue": "u-4711"}}],
    });
    (id, json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).to_string())
}

/// A worker with another key than the one that is at work ends by itself and says what to do. One that names the old key
/// as its previous one takes over; the old one ends at its next write, and nothing is lost or doubled. Then the tokens
/// under both keys are told, and find every span of the user. Guarantees that a change of the key is always meant, and
/// that somebody is found across it.
#[test]
fn a_key_is_changed_only_where_that_is_said() {
    let Some(kafka) = Kafka::shared() else { return };
    let tracerag = Tracerag::new();
    let topics = Topics::new(kafka);
    let old = tracerag.worker_logging(&with_keys(&tracerag, kafka, &topics, "old", OLD, &[]), "old.log");
    kafka.produce_keyed(&topics.spans, (1..7).map(message));
    until(&tracerag, "select count(*) from spans", 6, || old.log_tail());

    let other = tracerag.worker_logging(&with_keys(&tracerag, kafka, &topics, "other", NEW, &[]), "other.log");
    wait_for("the worker with another key ends", LIMIT, || (!other.alive()).then_some(()));
    assert!(other.log_tail().contains("redaction.previous_keys"), "{}", other.log_tail());
    assert!(!other.log_tail().contains(NEW) && old.alive(), "{}", old.log_tail());

    let changed = with_keys(&tracerag, kafka, &topics, "new", NEW, &[OLD]);
    let new = tracerag.worker_logging(&changed, "new.log");
    let mut sent = 6;
    wait_for("the worker with the old key ends", LIMIT, || {
        // It learns of the change when it has something to write.
        kafka.produce_keyed(&topics.spans, (sent + 1..sent + 4).map(message));
        sent += 3;
        std::thread::sleep(Duration::from_millis(500));
        (!old.alive()).then_some(())
    });
    assert!(old.log_tail().contains("redaction key"), "{}", old.log_tail());
    until(&tracerag, "select count(*) from spans", sent as i64, || new.log_tail());
    assert!(new.terminate(), "the worker does not end on SIGTERM");

    let told = tracerag.done(&["--config", changed.to_str().unwrap(), "redaction-token", "--format", "json", "u-4711"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    let tokens: Vec<&str> = told["tokens"].as_array().unwrap().iter().map(|token| token.as_str().unwrap()).collect();
    assert_eq!(tokens.len(), 2, "{told}");
    let of = |tokens: &str| format!("select count(*) from spans where attributes['user.id'] in ({tokens})");
    assert_eq!(tracerag.number(&of(&format!("'{}', '{}'", tokens[0], tokens[1]))), sent as i64);
    assert!(tracerag.number(&of(&format!("'{}'", tokens[1]))) >= 6, "{told}");
}

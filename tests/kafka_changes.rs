//! Changes of flags that one `tracerag run` reads and writes, and another one joins its traces with.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::kafka_worker::{LIMIT, Topics, config, get, metrics_port, until};
use crate::support::kafka::{Kafka, Record};
use crate::support::program::Tracerag;
use crate::support::wait_for;

const SPAN: &str = "00000000000000a1";

fn change(key: &str) -> String {
    format!(r#"{{"feature_flag.key": "{key}", "feature_flag.result.variant": "strict"}}"#)
}

/// A message with a span that failed, which begins now.
fn failing_span() -> String {
    let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    format!(
        "{{\"resourceSpans\": [{{\"scopeSpans\": [{{\"spans\": [{{\"traceId\": \"{:032x}\", \"spanId\": \"{SPAN}\", \
         \"name\": \"GET /\", \"startTimeUnixNano\": \"{start}\", \"endTimeUnixNano\": \"{}\", \
         \"status\": {{\"code\": 2}}}}]}}]}}]}}",
        1,
        start + 1_000
    )
}

/// One worker has the partition of flags and writes nothing for an hour; another one has the spans. One flag changes
/// before the second one starts, another one just before a span fails: both are in effect for its trace, though the lake
/// has neither. Guarantees that every worker reads all changes itself, those that are there before its first trace
/// closes and those that come later, whoever writes them.
#[test]
fn changes_that_another_worker_reads_are_in_effect() {
    let Some(kafka) = Kafka::shared() else { return };
    let (tracerag, flags) = (Tracerag::new(), kafka.topic("flags", 1));
    // Of one partition each: they need no keys.
    let [spans, logs, metrics] = ["spans", "logs", "metrics"].map(|stem| kafka.topic(stem, 1));
    let topics = Topics { spans, logs, metrics };
    let configured = |name: &str, changes: &[(&str, &str)]| {
        let mut text = std::fs::read_to_string(config(&tracerag, kafka, &topics, "otlp_json")).unwrap();
        text = text.replacen("flags = { topics = [] }", &format!("flags = {{ topics = [\"{flags}\"] }}"), 1);
        for (from, to) in changes {
            assert!(text.contains(from), "no {from} in {text}");
            text = text.replace(from, to);
        }
        tracerag.write(&format!("{name}.toml"), text)
    };
    // It does not subscribe to anything else, so the flags stay with it.
    let named = [&topics.spans, &topics.logs, &topics.metrics].map(|topic| format!("topics = [\"{topic}\"]"));
    let [spans, logs, metrics] = &named;
    let owner = configured(
        "owner",
        &[
            (spans.as_str(), "topics = []"),
            (logs.as_str(), "topics = []"),
            (metrics.as_str(), "topics = []"),
            ("flush_interval = \"500ms\"", "flush_interval = \"1h\""),
        ],
    );
    // The trace is open for so long that the change just before it has come meanwhile, however busy the machine.
    let window = "[window]\nroot_grace = \"30s\"\nidle_gap = \"30s\"\n[lake]\n";
    let reader = configured("reader", &[("[lake]\n", window)]);
    let produce = |topic: &str, message: String| {
        kafka.produce(topic, [Record { payload: Some(message.as_bytes()), partition: Some(0), ..Record::default() }]);
    };

    produce(&flags, change("before"));
    let owning = tracerag.worker_logging(&owner, "owner.log");
    wait_for("the owner has read the first change", LIMIT, || {
        let (_, text) = get(metrics_port(&owner), "/metrics")?;
        let is_of_flags = |line: &&str| line.starts_with("tracerag_records_total{") && line.contains(flags.as_str());
        text.lines().find(is_of_flags).filter(|line| line.ends_with(" 1")).map(str::to_owned)
    });
    let reading = tracerag.worker_logging(&reader, "reader.log");
    wait_for("the reader is ready", LIMIT, || {
        get(metrics_port(&reader), "/readyz").filter(|(status, _)| *status == 200)
    });
    produce(&flags, change("just-before"));
    produce(&topics.spans, failing_span());
    until(&tracerag, "select count(*) from traces", 1, || reading.log_tail());

    assert_eq!(tracerag.number("select count(*) from flag_events"), 0, "{}", owning.log_tail());
    let rows = tracerag.sql("select flags_in_effect from traces");
    let in_effect = rows[0]["flags_in_effect"].as_array().unwrap();
    let mut known: Vec<_> = in_effect.iter().map(|flag| (&flag["key"], &flag["variant"], &flag["match"])).collect();
    known.sort_by_key(|(key, ..)| key.as_str().map(str::to_owned));
    let (strict, as_of) = (Value::from("strict"), Value::from("as_of"));
    let keys = ["before", "just-before"].map(Value::from);
    let wanted: Vec<_> = keys.iter().map(|key| (key, &strict, &as_of)).collect();
    assert_eq!(known, wanted, "{}", reading.log_tail());
    for worker in [owning, reading] {
        assert!(worker.alive(), "{}", worker.log_tail());
    }
}

//! `tracerag run` where there is no lake, and there was one.

use tracerag_ingest::source::{Cluster, KafkaConfig, TopicsConfig};

use crate::kafka_worker::{LIMIT, Topics, config, lines, until};
use crate::support::kafka::{Kafka, Record};
use crate::support::process::Process;
use crate::support::program::Tracerag;
use crate::support::wait_for;

/// The lake of a group that has read something is away when its worker starts, as behind a volume that is not mounted:
/// the worker ends, says what to do, and makes nothing there; a plan says the same. With the lake in its place it goes
/// on, and where a new one is asked for it makes one and reads everything again. Guarantees that no second lake comes
/// into being by mistake, and that nobody is kept from a new one.
#[test]
fn a_missing_lake_is_not_made_anew_by_itself() {
    let Some(kafka) = Kafka::shared() else { return };
    let (tracerag, topics) = (Tracerag::new(), Topics::new(kafka));
    let path = config(&tracerag, kafka, &topics, "otlp_json");
    let spans = lines("traces.jsonl.zst");
    kafka.produce(
        &topics.spans,
        spans.iter().map(|line| Record { payload: Some(line.as_bytes()), ..Record::default() }),
    );
    let stop = |worker: Process| {
        assert!(worker.terminate(), "the worker does not end on SIGTERM");
    };
    let worker = tracerag.worker(&path);
    until(&tracerag, "select count(*) from spans", 21_061, || worker.log_tail());
    let group = format!(r#"{{"bootstrap_servers": "{}", "group_id": "{}"}}"#, kafka.bootstrap(), topics.spans);
    let group: KafkaConfig = serde_json::from_str(&group).unwrap();
    let read = format!(r#"{{"spans": {{"topics": ["{}"]}}}}"#, topics.spans);
    let read: TopicsConfig = serde_json::from_str(&read).unwrap();
    let cluster = Cluster::connect(&group, &read, LIMIT).unwrap();
    wait_for("the group has committed something", LIMIT, || cluster.first_committed().unwrap());
    stop(worker);

    let (lake, elsewhere) = (tracerag.path("lake"), tracerag.path("elsewhere"));
    std::fs::rename(&lake, &elsewhere).unwrap();
    let arguments = ["--config", path.to_str().unwrap(), "run"];
    for more in [vec![], vec!["--plan"]] {
        let told = tracerag.run(&[&arguments[..], more.as_slice()].concat());
        assert_eq!(told.status, 1, "{}", told.stderr);
        for part in ["there is no lake at", topics.spans.as_str(), "mount its volume", "--new-lake"] {
            assert!(told.stderr.contains(part), "no {part:?} in {}", told.stderr);
        }
        assert!(!lake.exists());
    }

    std::fs::rename(&elsewhere, &lake).unwrap();
    kafka.produce(&topics.metrics, [Record { payload: Some(b"no JSON"), ..Record::default() }]);
    let worker = tracerag.worker(&path);
    until(&tracerag, "select count(*) from dead_letters", 1, || worker.log_tail());
    assert_eq!(tracerag.number("select count(*) from spans"), 21_061);
    stop(worker);

    std::fs::rename(&lake, &elsewhere).unwrap();
    let worker = tracerag.background(&path, &["run", "--new-lake"], "new.log");
    until(&tracerag, "select count(*) from spans", 21_061, || worker.log_tail());
    stop(worker);
}

//! A worker that aborts between any two steps of its way into the lake.

use tracerag_index::fail_point::FailPoint;

use crate::check::is_all_there_once;
use crate::kafka_worker::LIMIT;
use crate::support::kafka::Kafka;
use crate::support::load::{Load, LoadTopics};
use crate::support::program::Tracerag;
use crate::support::wait_for;

/// Who comes back under the same name gets the partitions at once, though the one before was killed.
const NAMED: &str = "\"group.instance.id\" = \"one\", \"session.timeout.ms\" = 60000";

const SEED: u64 = 4;

/// At which pass a worker ends: in the middle of its work, but for points that it seldom passes.
fn pass(point: FailPoint) -> u32 {
    match point {
        FailPoint::Claimed | FailPoint::Committed => 1,
        _ => 3,
    }
}

/// Under load a worker aborts at one fail point, the next one at the next, through all of them; each takes over what the
/// one before has left undone, and the last one goes on to the end. Guarantees that no step of an epoch is one at which
/// a kill loses or doubles a record.
#[test]
fn a_worker_that_aborts_at_any_step_loses_nothing() {
    let Some(kafka) = Kafka::shared() else { return };
    let tracerag = Tracerag::new();
    let topics = LoadTopics::new(kafka, "steps", 2);
    let config = topics.config(&tracerag, kafka, "steps", NAMED);
    let load = Load::start(kafka, &topics, SEED);
    for point in FailPoint::ALL {
        let log = format!("{}.log", point.name());
        let worker = tracerag.worker_failing_at(&format!("{}:{}", point.name(), pass(point)), &config, &log);
        wait_for(&format!("the worker aborts at {}", point.name()), LIMIT, || (!worker.alive()).then_some(()));
        let text = std::fs::read_to_string(tracerag.path(&log)).unwrap();
        assert!(text.contains("aborting, as TRACERAG_FAIL_AT says"), "{}", worker.log_tail());
    }
    let worker = tracerag.worker_logging(&config, "last.log");
    let sent = load.end();
    wait_for("all is taken, and no trace is open", LIMIT, || {
        assert!(worker.alive(), "{}", worker.log_tail());
        (is_all_there_once(&tracerag, &config) && sent.has_failures(&tracerag)).then_some(())
    });
    assert!(worker.terminate(), "the worker does not end on SIGTERM");
    sent.assert_once(&tracerag, kafka, &topics);
}

//! An hour of a real system, where it lies beside the checkout; see the sample's README for its source.

use crate::kafka_worker::{Topics, config, until};
use crate::support::collector::{Collector, Export, Signal};
use crate::support::kafka::Kafka;
use crate::support::program::Tracerag;
use crate::support::telemetry;

/// Everything sent is there once: what a sender repeated is dropped, every log finds its span, no trace is incomplete.
#[test]
fn replay_counts_what_was_sent() {
    let Some(folder) = telemetry::data("trainticket") else { return };
    let tracerag = Tracerag::new();
    let files = ["traces", "logs", "metrics"].map(|name| folder.join(format!("{name}.jsonl.zst")));
    tracerag.replay(&files.each_ref().map(|path| path.as_path()));
    assert_eq!(tracerag.number("select count(*) from spans"), 178_156);
    assert_eq!(tracerag.number("select count(*) from traces"), 2_475);
    assert_eq!(tracerag.number("select count(*) from logs"), 94_138);
    assert_eq!(tracerag.number("select count(*) from metrics"), 651_339);
    assert_eq!(tracerag.number("select count(*) from (select distinct trace_id, span_id from spans)"), 178_156);
    assert_eq!(tracerag.number("select count(*) from logs where joined_by = 'ids'"), 94_138);
    assert_eq!(tracerag.number("select count(*) from dead_letters"), 0);
}

/// The same hour through a real Collector that does not key its messages, and a real broker, beside load of the
/// Collector's own generator: the lake counts what was sent.
#[test]
fn a_collector_brings_the_same_hour() {
    let Some(folder) = telemetry::data("trainticket") else { return };
    let Some(kafka) = Kafka::shared() else { return };
    let topics = Topics::new(kafka);
    let Some(mut collector) = Collector::start(kafka, &Export::proto(&topics.spans, &topics.logs, &topics.metrics))
    else {
        return;
    };
    let tracerag = Tracerag::new();
    let config = config(&tracerag, kafka, &topics, "otlp_proto");
    let worker = tracerag.worker(&config);
    let lines = |name: &str| telemetry::read(&folder.join(name));
    collector.post_all(Signal::Traces, lines("traces.jsonl.zst").lines());
    collector.post_all(Signal::Logs, lines("logs.jsonl.zst").lines());
    let generated = collector
        .telemetrygen("traces", &["--traces", "100", "--rate", "200", "--child-spans", "3", "--service", "generated"]);
    collector.stop();
    until(&tracerag, "select count(*) from spans where service_name <> 'generated'", 178_156, || worker.log_tail());
    until(&tracerag, "select count(*) from logs", 94_138, || worker.log_tail());
    if generated {
        until(&tracerag, "select count(*) from spans where service_name = 'generated'", 400, || worker.log_tail());
    }
    assert!(worker.terminate(), "the worker does not end on SIGTERM");
    assert_eq!(tracerag.number("select count(*) from traces where root_service_name <> 'generated'"), 2_475);
    assert_eq!(
        tracerag.number("select count(*) from (select distinct trace_id, span_id from spans)"),
        tracerag.number("select count(*) from spans")
    );
    assert_eq!(tracerag.number("select count(*) from logs where joined_by = 'ids'"), 94_138);
}

//! `tracerag run` while its broker is away.

use crate::kafka_worker::{LIMIT, Topics, config, get, lines, metrics_port, until};
use crate::support::kafka::{Kafka, Record};
use crate::support::program::Tracerag;
use crate::support::wait_for;

/// Workers are started while no broker answers. They live, are not ready and say why; one of them is told to stop and
/// ends as always, the other one begins by itself when the broker is there. `run --plan` ends with an error meanwhile:
/// whoever asks once wants an answer.
#[test]
fn a_worker_waits_for_its_broker() {
    let Some(mut kafka) = Kafka::start() else { return };
    let tracerag = Tracerag::new();
    let topics = Topics::new(&kafka);
    let spans = lines("traces.jsonl.zst");
    kafka.produce(
        &topics.spans,
        spans.iter().map(|line| Record { payload: Some(line.as_bytes()), ..Record::default() }),
    );
    let config = config(&tracerag, &kafka, &topics, "otlp_json");
    kafka.stop(0);
    let stays = tracerag.worker(&config);
    let says_so = || {
        get(metrics_port(&config), "/readyz").filter(|(status, reason)| {
            *status == 503 && reason.starts_with("kafka cannot be used (begin): no kafka broker answers at")
        })
    };
    wait_for("the worker says that it has no broker", LIMIT, says_so);
    let told = tracerag.run(&["--config", config.to_str().unwrap(), "run", "--plan"]);
    assert!(told.status == 1 && told.stderr.contains("no kafka broker answers at"), "{}", told.stderr);
    assert!(stays.alive(), "{}", stays.log_tail());
    assert!(stays.terminate(), "a worker without a broker does not end on SIGTERM");

    let waits = tracerag.worker(&config);
    wait_for("another worker says that it has no broker", LIMIT, says_so);
    kafka.restart(0);
    until(&tracerag, "select count(*) from spans", 21_061, || waits.log_tail());
    wait_for("the worker is ready", LIMIT, || {
        get(metrics_port(&config), "/readyz").filter(|(status, _)| *status == 200)
    });
    assert!(waits.terminate(), "the worker does not end on SIGTERM");
}

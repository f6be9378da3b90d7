//! The README's first command, without its set-up.

use crate::checkout::recorded;
use crate::support::program::Tracerag;
use crate::support::truth::Truth;

/// The demo publishes its recording to an embedded broker, takes it, and ends with counts, incidents, the worked example,
/// similar incidents and three commands. The trace that it chooses is an order that the truth calls the story's failure,
/// answered with 502, and its flag, build, heap, log and payload are cited. Every record of the recording is there once.
#[test]
fn the_demo_tells_its_story() {
    let tracerag = Tracerag::new();
    let told = tracerag.done(&["demo"]);
    for expected in [
        "Counts",
        "Incidents",
        "POST /checkout  502",
        "*payments.OverflowError  decimal overflow",
        "[code:payments/rounding.go:",
        "[flag:payments.decimal_mode@payments] = strict",
        "[build:payments@1.9.0]",
        "payments/rounding.go:117",
        "[log:",
        "\"amount\":\"string\"",
        "bundle    sha256:",
        "Similar incidents",
        "Try next",
    ] {
        assert!(told.contains(expected), "the demo does not show {expected}:\n{told}");
    }
    let requests = Truth::of_the_recording().of("request");
    let overflows = requests.iter().filter(|row| row["fault"] == "decimal_overflow" && row["status"] == 502);
    let mut chosen =
        overflows.filter(|row| told.contains(&format!("in trace {}\n", row["trace_id"].as_str().unwrap())));
    assert!(chosen.next().is_some(), "the demo chose another trace:\n{told}");

    let spans = recorded("traces", "resourceSpans", "scopeSpans", "spans");
    assert_eq!(tracerag.number("select count(*) from spans"), spans);
    assert_eq!(
        tracerag.number("select count(*) from logs"),
        recorded("logs", "resourceLogs", "scopeLogs", "logRecords")
    );
    assert_eq!(tracerag.number("select cast(sum(span_count) as bigint) from traces"), spans);
    assert_eq!(tracerag.number("select count(*) from dead_letters"), 0);
}

//! The README's first command, without its set-up.

use crate::support::program::Tracerag;

/// The demo publishes the sample to an embedded broker, takes it, and ends with counts, incidents, one bundle in which
/// flag, build, heap and log are cited, similar incidents and three commands. Every span of the sample is there once.
#[test]
fn the_demo_tells_its_story() {
    let tracerag = Tracerag::new();
    let told = tracerag.done(&["demo"]);
    for expected in [
        "Counts",
        "Incidents",
        "bundle    sha256:",
        "[build:",
        "[flag:",
        "[log:",
        "[heap:",
        "Similar incidents",
        "Try next",
    ] {
        assert!(told.contains(expected), "the demo does not show {expected}:\n{told}");
    }
    assert_eq!(tracerag.number("select count(*) from spans"), 21_061);
    assert_eq!(tracerag.number("select count(*) from traces"), 307);
    assert_eq!(tracerag.number("select count(*) from logs"), 10_955);
    assert_eq!(tracerag.number("select count(*) from metrics"), 7_032);
    assert_eq!(tracerag.number("select count(*) from dead_letters"), 0);
}

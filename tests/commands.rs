//! How commands end: status, streams, and what an error says to do next.

use crate::support::program::Tracerag;

/// A lake that is not there is an error with status 1, nothing on stdout, and the commands that make one.
#[test]
fn a_missing_lake_is_an_error() {
    let tracerag = Tracerag::new();
    for arguments in
        [&["sql", "select 1"][..], &["status"], &["similar", "x"], &["bundle", "00112233445566778899aabbccddeeff"]]
    {
        let ran = tracerag.run(arguments);
        assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("tracerag demo"), "{}", ran.stderr);
    }
}

/// Wrong use ends with status 2 and says what is right.
#[test]
fn wrong_use_is_status_2() {
    let tracerag = Tracerag::new();
    assert_eq!(tracerag.run(&["sql", "--format", "xml", "select 1"]).status, 2);
    assert_eq!(tracerag.run(&["sql"]).status, 2);
    // What the help offers is what there is.
    assert_eq!(tracerag.run(&["status", "--format", "csv"]).status, 2);
    assert!(!tracerag.done(&["status", "--help"]).contains("arrow"));
    assert_eq!(tracerag.run(&["replay"]).status, 2);
    let config = tracerag.write("wrong.toml", "[window]\nidle_gab = \"3s\"\n");
    let ran = tracerag.run(&["--config", config.to_str().unwrap(), "status"]);
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.contains("line 2") && ran.stderr.contains("idle_gap"), "{}", ran.stderr);
}

/// An unknown trace is an error that names a way to find known ones; the lake is read only, and says so.
#[test]
fn errors_say_what_to_do_next() {
    let tracerag = Tracerag::new();
    let flags = tracerag.write(
        "flags.jsonl",
        "{\"time\": \"2026-11-16T12:00:01Z\", \"feature_flag.key\": \"a\", \"feature_flag.result.variant\": \"on\"}\n",
    );
    tracerag.replay(&[&flags]);
    let ran = tracerag.run(&["bundle", "00112233445566778899aabbccddeeff"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.contains("trace-unknown"), "{}", ran.stderr);
    for statement in [
        "drop table spans",
        "insert into flags select * from flags",
        "copy spans to 'x.parquet'",
        "create external table t stored as csv location '/etc/passwd'",
    ] {
        let ran = tracerag.run(&["sql", statement]);
        assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{statement}");
        assert!(ran.stderr.contains("read only"), "{statement}: {}", ran.stderr);
    }
}

/// A message that cannot be decoded goes to the dead letters with its origin and a reason; what stands beside it is
/// taken. A table without rows answers with none.
#[test]
fn bad_lines_go_to_the_dead_letters() {
    let tracerag = Tracerag::new();
    let good =
        "{\"time\": \"2026-11-16T12:00:01Z\", \"feature_flag.key\": \"a\", \"feature_flag.result.variant\": \"on\"}";
    let flags = tracerag.write("flags.jsonl", format!("{good}\n{{\"feature_flag.key\": \n{good}\n"));
    tracerag.replay(&[&flags]);
    assert_eq!(tracerag.number("select count(*) from flag_events"), 2);
    let letters = tracerag.sql("select reason, detail, kafka_topic, kafka_offset from dead_letters");
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0]["kafka_offset"], 1);
    assert!(letters[0]["kafka_topic"].as_str().unwrap().starts_with("file:"), "{letters:?}");
    assert!(letters[0]["detail"].as_str().unwrap().contains("JSON"), "{letters:?}");
    assert_eq!(tracerag.sql("select * from spans"), Vec::<serde_json::Value>::new());
}

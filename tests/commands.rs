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

/// An address of a store that is not supported is refused by all who open a lake, with what there is instead, and no
/// folder of that name appears.
#[test]
fn other_stores_are_refused() {
    let tracerag = Tracerag::new();
    let file = tracerag.write(
        "flags.jsonl",
        "{\"time\": \"2026-11-16T12:00:01Z\", \"feature_flag.key\": \"a\", \"feature_flag.result.variant\": \"on\"}\n",
    );
    for arguments in [&["sql", "select 1"][..], &["replay", file.to_str().unwrap()], &["status"]] {
        for lake in ["gs://bucket/lake", "az://container/lake", "s3:///lake"] {
            let ran = tracerag.run(&[&["--lake", lake][..], arguments].concat());
            assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{arguments:?}");
            assert!(ran.stderr.contains("s3://BUCKET/PREFIX") && ran.stderr.contains(lake), "{}", ran.stderr);
        }
    }
    assert!(["s3:", "gs:", "az:"].iter().all(|folder| !tracerag.path(folder).exists()));
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

/// A lake with one flag in it.
fn with_a_flag() -> Tracerag {
    let tracerag = Tracerag::new();
    let flags = tracerag.write(
        "flags.jsonl",
        "{\"time\": \"2026-11-16T12:00:01Z\", \"feature_flag.key\": \"a\", \"feature_flag.result.variant\": \"on\"}\n",
    );
    tracerag.replay(&[&flags]);
    tracerag
}

/// A script prints the answers of its statements in order, from a file or from standard input. A mistake in the last
/// statement leaves nothing on stdout; several answers are no JSON document and no Arrow stream, and asking for one
/// is wrong use.
#[test]
fn a_script_is_planned_before_it_runs() {
    let tracerag = with_a_flag();
    let script = "select key from flags; -- then\nselect 40 + 2 as answer;";
    let file = tracerag.write("script.sql", script);
    let from_file = tracerag.done(&["sql", "--format", "csv", "-f", file.to_str().unwrap()]);
    assert_eq!(from_file, "key\na\nanswer\n42\n");
    let from_stdin = tracerag.run_with_input(&["sql", "--format", "csv", "-"], script);
    assert_eq!((from_stdin.status, from_stdin.stdout), (0, from_file), "{}", from_stdin.stderr);

    let ran = tracerag.run(&["sql", "select key from flags; select no_such_column from flags"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("no_such_column"), "{}", ran.stderr);
    for format in ["json", "arrow"] {
        let ran = tracerag.run(&["sql", "--format", format, script]);
        assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
        assert!(ran.stderr.contains("one statement at a time"), "{}", ran.stderr);
    }
}

/// Global options stand after the subcommand as well as before it, and `--format arrow` is an Arrow stream that any
/// reader takes.
#[test]
fn options_may_follow_the_command() {
    let tracerag = with_a_flag();
    let elsewhere = Tracerag::new();
    let lake = tracerag.path("lake");
    let bytes = elsewhere.bytes(&[
        "sql",
        "--format",
        "arrow",
        "select key, variant from flags",
        "--lake",
        lake.to_str().unwrap(),
    ]);
    let reader = arrow::ipc::reader::StreamReader::try_new(bytes.as_slice(), None).unwrap();
    let batches: Vec<arrow::array::RecordBatch> = reader.map(Result::unwrap).collect();
    assert_eq!(batches.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>(), 1);
    let schema = batches[0].schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["key", "variant"]);
    let text = elsewhere.done(&["status", "--lake", lake.to_str().unwrap(), "--format", "json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap()["tables"]["flags"], 1);
}

/// What names no tenant belongs to the one that `--tenant` names at the replay; no other tenant sees any of it.
#[test]
fn a_tenant_sees_its_own() {
    let tracerag = Tracerag::new();
    let flags = tracerag.write(
        "flags.jsonl",
        "{\"time\": \"2026-11-16T12:00:01Z\", \"feature_flag.key\": \"a\", \"feature_flag.result.variant\": \"on\"}\n",
    );
    tracerag.done(&["replay", "--tenant", "acme", flags.to_str().unwrap()]);
    assert_eq!(tracerag.number("select count(*) from flags"), 0);
    let query = "select tenant_id, key from flags";
    assert_eq!(tracerag.done(&["--tenant", "acme", "sql", "--format", "csv", query]), "tenant_id,key\nacme,a\n");
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

//! `tracerag check`: a lake that is whole passes, and one that was damaged on purpose is found out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use serde_json::{Value, json};
use tracerag_schemas::Table;

use crate::kafka_worker::{LIMIT, Topics, config};
use crate::support::damage::{self, damage};
use crate::support::evidence;
use crate::support::kafka::{Kafka, Record};
use crate::support::program::Tracerag;
use crate::support::{telemetry, wait_for};

/// A message with one span, the root of its trace unless it has a parent.
fn span(trace: u8, span: u8, parent: Option<u8>) -> String {
    let parent = parent.map_or_else(String::new, |parent| format!("\"parentSpanId\": \"{parent:016x}\", "));
    format!(
        "{{\"resourceSpans\": [{{\"scopeSpans\": [{{\"spans\": [{{\"traceId\": \"{trace:032x}\", \
         \"spanId\": \"{span:016x}\", {parent}\"name\": \"GET /\", \"startTimeUnixNano\": \"1764500000000000000\", \
         \"endTimeUnixNano\": \"1764500001000000000\", \"attributes\": [{{\"key\": \"n\", \"value\": \
         {{\"intValue\": \"{span}\"}}}}]}}]}}]}}]}}"
    )
}

/// A message with log records of no trace.
fn logs(bodies: &[&str]) -> String {
    let record = |body: &&str| {
        format!("{{\"timeUnixNano\": \"1764500000000000000\", \"body\": {{\"stringValue\": \"{body}\"}}}}")
    };
    let records: Vec<String> = bodies.iter().map(record).collect();
    format!("{{\"resourceLogs\": [{{\"scopeLogs\": [{{\"logRecords\": [{}]}}]}}]}}", records.join(", "))
}

/// A message with a point of each value.
fn points(values: &[u8]) -> String {
    let point = |value: &u8| format!("{{\"timeUnixNano\": \"1764500000000000000\", \"asDouble\": {value}}}");
    let points: Vec<String> = values.iter().map(point).collect();
    format!(
        "{{\"resourceMetrics\": [{{\"scopeMetrics\": [{{\"metrics\": [{{\"name\": \"pool\", \"gauge\": \
         {{\"dataPoints\": [{}]}}}}]}}]}}]}}",
        points.join(", ")
    )
}

/// What `check` says as JSON, and its exit status, which must say the same.
fn check(tracerag: &Tracerag, arguments: &[&str]) -> Value {
    let ran = tracerag.run(&[arguments, &["--format", "json"]].concat());
    let report: Value =
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("no report: {error}\n{}", ran.stderr));
    let expected = i32::from(report["differences"] != 0);
    assert_eq!(ran.status, expected, "{}\n{report:#}", ran.stderr);
    report
}

fn check_files(tracerag: &Tracerag, files: &[PathBuf]) -> Value {
    let names = files.iter().map(|file| file.to_str().unwrap());
    check(tracerag, &std::iter::once("check").chain(names).collect::<Vec<_>>())
}

/// Whether all messages are taken and all traces closed. If they are, the lake is held against what was sent.
///
/// # Panics
/// When a record is missing, doubled, different or extra then.
pub fn is_all_there_once(tracerag: &Tracerag, config: &Path) -> bool {
    let report = check(tracerag, &["--config", config.to_str().unwrap(), "check"]);
    let is_pending = |table: &str| report["tables"][table]["pending"] != 0;
    if report["not_taken"] != 0 || is_pending("spans") || is_pending("logs") {
        return false;
    }
    assert_eq!(report["differences"], 0, "{report:#}");
    true
}

/// The numbers of a table that are not 0.
fn of_table(report: &Value, table: &str) -> Value {
    let numbers = report["tables"][table].as_object().unwrap_or_else(|| panic!("no {table} in {report:#}"));
    numbers.iter().filter(|(_, number)| **number != 0).map(|(name, number)| (name.clone(), number.clone())).collect()
}

/// Files with spans of which one is sent twice, log records of which one message has two that are equal, points, a
/// change of a flag, and a line that is nothing.
fn files(tracerag: &Tracerag) -> Vec<PathBuf> {
    let flag =
        "{\"time\": \"2025-11-30T10:00:00Z\", \"feature_flag.key\": \"a\", \"feature_flag.result.variant\": \"on\"}";
    let content = [
        ("spans.jsonl", vec![span(1, 1, None), span(1, 2, Some(1)), span(2, 3, None), span(1, 2, Some(1))]),
        ("logs.jsonl", vec![logs(&["a", "a", "b"]), logs(&["a"]), String::from("nothing")]),
        ("metrics.jsonl", vec![points(&[1, 2, 2]), points(&[2])]),
        ("flags.jsonl", vec![flag.to_owned()]),
    ];
    content.map(|(name, lines)| tracerag.write(name, format!("{}\n", lines.join("\n")))).to_vec()
}

fn replayed() -> (Tracerag, Vec<PathBuf>) {
    let tracerag = Tracerag::new();
    let files = files(&tracerag);
    tracerag.replay(&files.iter().map(PathBuf::as_path).collect::<Vec<&Path>>());
    (tracerag, files)
}

/// A range that ends before it begins holds nothing, and nothing is no proof: it is wrong use, and not a lake that passes.
#[test]
fn an_empty_range_is_refused() {
    let times = ["--since", "2026-11-16T13:00:00Z", "--until", "2026-11-16T12:00:00Z"];
    let ran = Tracerag::new().run(&[&["check"][..], &times[..]].concat());
    assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("after --since"), "{}", ran.stderr);
}

/// A lake that holds what was sent passes: what a sender repeated is expected once, equal records within one message as
/// often as they stand there, and a message that is nothing as a dead letter. Guarantees that the check objects to
/// nothing that the pipeline promises.
#[test]
fn a_whole_lake_passes() {
    let (tracerag, files) = replayed();
    let report = check_files(&tracerag, &files);
    assert_eq!(report["differences"], 0, "{report:#}");
    for (table, number) in [("spans", 3), ("logs", 3), ("metrics", 4), ("flags", 1), ("dead_letters", 1)] {
        assert_eq!(of_table(&report, table), json!({"sent": number, "in_the_lake": number}), "{table}: {report:#}");
    }
    let ran = tracerag.run(&["check", files[0].to_str().unwrap()]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("in the lake") && !ran.stdout.contains("Examples"), "{}", ran.stdout);
}

/// Recorded telemetry of two systems, with its retries, its records without time, its changes and heaps, passes as well:
/// every column of every table comes back from the lake as it was decoded.
#[test]
fn recorded_telemetry_passes() {
    let telemetry_files = ["traces.jsonl.zst", "logs.jsonl.zst", "metrics.jsonl.zst"];
    let files = telemetry_files.map(|name| telemetry::sample().join(name));
    let report = replayed_and_checked(&files);
    for (table, number) in [("spans", 21_061), ("logs", 10_955), ("metrics", 7_032)] {
        assert_eq!(of_table(&report, table), json!({"sent": number, "in_the_lake": number}), "{table}: {report:#}");
    }
    let report = replayed_and_checked(&telemetry::recording());
    for table in ["spans", "logs", "metrics", "flags", "builds", "heaps"] {
        let row = of_table(&report, table);
        assert!(row["sent"].as_i64() > Some(0) && row["sent"] == row["in_the_lake"], "{table}: {report:#}");
    }
}

fn replayed_and_checked(files: &[PathBuf]) -> Value {
    let tracerag = Tracerag::new();
    tracerag.replay(&files.iter().map(PathBuf::as_path).collect::<Vec<&Path>>());
    let report = check_files(&tracerag, files);
    assert_eq!(report["differences"], 0, "{report:#}");
    report
}

/// Rows are deleted, written again and changed behind the lake's back, one after the other, and each is found, with the
/// right name and origin, beside those before it. Guarantees that the check is no rubber stamp.
#[test]
fn each_damage_is_found() {
    let (tracerag, files) = replayed();
    let lake = tracerag.path("lake");
    let found = |table: &str| of_table(&check_files(&tracerag, &files), table);

    damage(&lake, Table::Spans, "span_id = '0000000000000002'", |_| vec![]);
    let report = check_files(&tracerag, &files);
    assert_eq!(of_table(&report, "spans"), json!({"sent": 3, "in_the_lake": 2, "missing": 1}), "{report:#}");
    let example = &report["examples"][0];
    assert_eq!((&example["difference"], &example["span_id"]), (&json!("missing"), &json!("0000000000000002")));
    assert_eq!((&example["offset"], &example["trace_id"]), (&json!(1), &json!(format!("{:032x}", 1))), "{report:#}");
    assert!(example["topic"].as_str().unwrap().starts_with("file:"), "{report:#}");

    damage(&lake, Table::Logs, "body = 'b'", |row| vec![row.clone(), row]);
    assert_eq!(found("logs"), json!({"sent": 3, "in_the_lake": 4, "doubled": 1}));

    damage(&lake, Table::Spans, "span_id = '0000000000000003'", |row| {
        vec![damage::with(&row, "name", Arc::new(StringArray::from(vec!["GET /other"])))]
    });
    assert_eq!(found("spans"), json!({"sent": 3, "in_the_lake": 2, "missing": 1, "different": 1}));

    damage(&lake, Table::Spans, "span_id = '0000000000000001'", |row| {
        vec![damage::with(&row, "span_id", Arc::new(StringArray::from(vec!["00000000000000ff"])))]
    });
    assert_eq!(found("spans"), json!({"sent": 3, "in_the_lake": 2, "missing": 2, "different": 1, "extra": 1}));

    damage(&lake, Table::Metrics, "value = 1.0", |row| {
        vec![damage::with(&row, "value", Arc::new(arrow::array::Float64Array::from(vec![9.0])))]
    });
    damage(&lake, Table::Metrics, "kafka_offset = 1", |row| vec![row.clone(), row]);
    assert_eq!(found("metrics"), json!({"sent": 4, "in_the_lake": 5, "doubled": 1, "different": 1}));

    damage(&lake, Table::DeadLetters, "kafka_offset = 2", |_| vec![]);
    assert_eq!(found("dead_letters"), json!({"sent": 1, "missing": 1}));
    damage(&lake, Table::Flags, "kafka_offset = 0", |_| vec![]);
    assert_eq!(found("flags"), json!({"sent": 1, "missing": 1}));

    let report = check_files(&tracerag, &files);
    assert_eq!(report["differences"], 9, "{report:#}");
    let ran =
        tracerag.run(&[&["check"][..], &files.iter().map(|file| file.to_str().unwrap()).collect::<Vec<_>>()].concat());
    assert!(ran.stdout.contains("Examples") && ran.stderr.contains("differs"), "{}{}", ran.stdout, ran.stderr);
}

/// Payloads, heap records and deployments of two messages each: of one row what it says is changed, another one is
/// written again, and the changed one is deleted in the end. Guarantees that the check is no rubber stamp for what stands beside
/// telemetry, and that it leaves no snapshot behind.
#[test]
fn each_damage_beside_telemetry_is_found() {
    const TIME: i64 = 1_764_500_000_000_000_000;
    let tracerag = Tracerag::new();
    let payload = |trace: u8| {
        let body = format!(
            "{{\"key\": \"http.request.body.content\", \"value\": {{\"stringValue\": \"{{\\\"amount\\\": {trace}}}\"}}}}, "
        );
        span(trace, 1, None).replacen("\"attributes\": [", &format!("\"attributes\": [{body}"), 1)
    };
    let pairs = |message: fn(usize, i64) -> Value| [0, 1].map(|number| message(number, TIME).to_string());
    let files = [
        ("payloads.jsonl", [1, 2].map(payload)),
        ("deployments.jsonl", pairs(evidence::deployment)),
        ("heaps.jsonl", pairs(evidence::heap)),
    ];
    let files = files.map(|(name, lines)| tracerag.write(name, format!("{}\n", lines.join("\n")))).to_vec();
    tracerag.replay(&files.iter().map(PathBuf::as_path).collect::<Vec<&Path>>());
    assert_eq!(check_files(&tracerag, &files)["differences"], 0);

    let lake = tracerag.path("lake");
    let text = |text: &'static str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
    let changes: [(Table, &str, ArrayRef); 3] = [
        (Table::Payloads, "sample", text("{\"amount\":3}")),
        (Table::Heaps, "total_bytes", Arc::new(Int64Array::from(vec![7]))),
        (Table::Builds, "version", text("9.9.9")),
    ];
    for (table, column, other) in changes {
        let found = || of_table(&check_files(&tracerag, &files), table.name());
        assert_eq!(found(), json!({"sent": 2, "in_the_lake": 2}), "{}", table.name());
        damage(&lake, table, "kafka_offset = 1", |row| vec![damage::with(&row, column, other)]);
        assert_eq!(found(), json!({"sent": 2, "in_the_lake": 2, "different": 1}), "{}", table.name());
        damage(&lake, table, "kafka_offset = 0", |row| vec![row.clone(), row]);
        assert_eq!(found(), json!({"sent": 2, "in_the_lake": 3, "doubled": 1, "different": 1}), "{}", table.name());
        damage(&lake, table, "kafka_offset = 1", |_| vec![]);
        assert_eq!(found(), json!({"sent": 2, "in_the_lake": 2, "missing": 1, "doubled": 1}), "{}", table.name());
    }
    assert_eq!(tracerag.done(&["snapshot", "list", "--format", "json"]).trim(), "[]");
}

/// Files that were never replayed are missing as a whole. Of whole flag configurations only what has changed has rows,
/// and that passes; a row of one that is there twice does not.
#[test]
fn files_that_were_not_taken_are_missing() {
    let (tracerag, _) = replayed();
    let other = tracerag.write("other.jsonl", format!("{}\n", span(9, 9, None)));
    assert_eq!(of_table(&check_files(&tracerag, &[other]), "spans"), json!({"sent": 1, "missing": 1}));

    let configuration = |variant: &str| {
        format!(
            "{{\"flags\": {{\"mode\": {{\"state\": \"ENABLED\", \"variants\": {{\"x\": 1, \"y\": 2}}, \
             \"defaultVariant\": \"{variant}\"}}, \"other\": {{\"state\": \"ENABLED\", \"variants\": {{\"x\": 1}}, \
             \"defaultVariant\": \"x\"}}}}}}"
        )
    };
    let lines = [configuration("x"), configuration("x"), configuration("y")].join("\n");
    let flags = tracerag.write("configurations.jsonl", format!("{lines}\n"));
    tracerag.replay(&[&flags]);
    let files = [flags];
    assert_eq!(of_table(&check_files(&tracerag, &files), "flags"), json!({"sent": 3, "in_the_lake": 3}));
    damage(&tracerag.path("lake"), Table::Flags, "kafka_offset = 2", |row| vec![row.clone(), row]);
    assert_eq!(of_table(&check_files(&tracerag, &files), "flags"), json!({"sent": 3, "in_the_lake": 4, "doubled": 1}));
}

/// What cannot be asked is wrong use: a range of time of files, a time that is none, and a lake that began somewhere
/// within its topics. A lake that is not there is an error, and nothing is printed.
#[test]
fn what_cannot_be_checked_is_said() {
    let tracerag = Tracerag::new();
    let file = tracerag.write("spans.jsonl", format!("{}\n", span(1, 1, None)));
    let file = file.to_str().unwrap();
    let missing = tracerag.run(&["check", file]);
    assert_eq!((missing.status, missing.stdout.as_str()), (1, ""), "{}", missing.stderr);
    assert!(missing.stderr.contains("tracerag demo"), "{}", missing.stderr);
    for wrong in [&["check", file, "--since", "2026-11-16T12:00:00Z"][..], &["check", "--since", "yesterday"]] {
        let ran = tracerag.run(wrong);
        assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{wrong:?}: {}", ran.stderr);
    }
}

/// A worker takes spans that are sent twice, log records, points and a message that is nothing from a real broker, and
/// keeps one trace open. A check beside it never objects: what is not taken or not closed is told apart. Once all is
/// taken everything is there once, and a row that is deleted then is found. Guarantees that the check is an oracle for
/// running pipelines.
#[test]
fn a_worker_is_checked_while_it_runs() {
    let Some(kafka) = Kafka::shared() else { return };
    let tracerag = Tracerag::new();
    let topics = Topics::new(kafka);
    let text = std::fs::read_to_string(config(&tracerag, kafka, &topics, "otlp_json")).unwrap();
    let text = format!("{text}[window]\nidle_gap = \"1h\"\nmax_duration = \"2h\"\n");
    let config = tracerag.write("open.toml", text);
    let config = config.to_str().unwrap();
    let produce = |topic: &str, messages: &[String]| {
        let payloads = messages.iter().map(String::as_bytes);
        kafka.produce(topic, payloads.map(|payload| Record { payload: Some(payload), ..Record::default() }));
    };
    let roots: Vec<String> = (1..=40).map(|trace| span(trace, trace, None)).collect();
    produce(&topics.spans, &roots);
    produce(&topics.spans, &[&roots[..], &[String::from("nothing"), span(99, 2, Some(1))]].concat());
    produce(&topics.logs, &[logs(&["a", "a", "b"]), logs(&["a", "c"])]);
    produce(&topics.metrics, &[points(&[1, 2, 2]), points(&[2])]);
    kafka.produce(&topics.spans, [Record { key: Some(b"gone"), ..Record::default() }]);

    let worker = tracerag.worker(Path::new(config));
    wait_for("the lake is there", LIMIT, || (tracerag.run(&["sql", "select 1"]).status == 0).then_some(()));
    let report = wait_for("all is taken, and one trace open", LIMIT, || {
        let report = check(&tracerag, &["--config", config, "check"]);
        assert_eq!(report["differences"], 0, "{report:#}\n{}", worker.log_tail());
        let spans = of_table(&report, "spans");
        let is_settled = report["not_taken"] == 0 && spans == json!({"sent": 41, "in_the_lake": 40, "pending": 1});
        is_settled.then_some(report)
    });
    for (table, number) in [("logs", 4), ("metrics", 4), ("dead_letters", 1)] {
        assert_eq!(of_table(&report, table), json!({"sent": number, "in_the_lake": number}), "{table}: {report:#}");
    }
    assert!(worker.terminate(), "the worker does not end on SIGTERM");

    damage(&tracerag.path("lake"), Table::Spans, "span_id = '0000000000000007'", |_| vec![]);
    produce(&topics.metrics, &[points(&[5])]);
    let report = check(&tracerag, &["--config", config, "check"]);
    assert_eq!((&report["differences"], &report["not_taken"]), (&json!(1), &json!(1)), "{report:#}");
    assert_eq!(report["examples"][0]["topic"], topics.spans.as_str(), "{report:#}");
    let later = check(&tracerag, &["--config", config, "check", "--since", "2100-01-01T00:00:00Z"]);
    assert_eq!((&later["messages"], &later["differences"]), (&json!(0), &json!(0)), "{later:#}");

    let latest = std::fs::read_to_string(config).unwrap();
    let latest =
        tracerag.write("latest.toml", latest.replacen("[kafka]\n", "[kafka]\ninitial_offset = \"latest\"\n", 1));
    let ran = tracerag.run(&["--config", latest.to_str().unwrap(), "check"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("--since"), "{}", ran.stderr);
}

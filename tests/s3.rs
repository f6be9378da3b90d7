//! The program on a lake in a real S3 server.

use std::path::PathBuf;

use crate::check::is_all_there_once;
use crate::kafka_faults::Bench;
use crate::kafka_worker::{LIMIT, Topics, config, lines, named_config, until};
use crate::support::kafka::{Kafka, Record};
use crate::support::program::Tracerag;
use crate::support::s3::{S3, SECRET};
use crate::support::wait_for;

/// A configuration of [`config`] that reaches the lake by `[lake].storage_options`.
fn with_login(tracerag: &Tracerag, config: PathBuf, s3: &S3) -> PathBuf {
    let options: Vec<String> = s3.options().iter().map(|(name, value)| format!("{name} = \"{value}\"")).collect();
    let section = format!("[lake]\nstorage_options = {{ {} }}\n", options.join(", "));
    let text = std::fs::read_to_string(config).unwrap().replacen("[lake]\n", &section, 1);
    tracerag.write("tracerag.toml", text)
}

/// A worker writes into S3 with the login of its configuration, is killed in the middle, and another one goes on; then
/// SQL counts everything once, `check` finds no difference, and `status` and `migrate` read the lake. Guarantees that
/// S3 is a place for a lake like a folder, and that its password is nowhere in what the program says.
#[test]
fn a_lake_in_s3_is_written_once() {
    let (Some(kafka), Some(s3)) = (Kafka::shared(), S3::shared()) else { return };
    let tracerag = Tracerag::in_s3_without_login(s3, "once");
    let topics = Topics::new(kafka);
    let file = with_login(&tracerag, config(&tracerag, kafka, &topics, "otlp_json"), s3);
    let file_name = file.to_str().unwrap();
    let spans = lines("traces.jsonl.zst");
    let produce = |topic: &str, lines: &[String]| {
        kafka.produce(topic, lines.iter().map(|line| Record { payload: Some(line.as_bytes()), ..Record::default() }));
    };
    let (first, second) = spans.split_at(spans.len() / 2);
    produce(&topics.spans, first);
    produce(&topics.logs, &lines("logs.jsonl.zst"));
    let number = |query: &str| {
        let ran = tracerag.run(&["--config", file_name, "sql", "--format", "csv", query]);
        ran.stdout.lines().nth(1).and_then(|line| line.parse::<i64>().ok())
    };
    let worker = tracerag.worker(&file);
    wait_for("the first rows", LIMIT, || {
        assert!(worker.alive(), "{}", worker.log_tail());
        number("select count(*) from spans").filter(|rows| *rows > 0)
    });
    worker.kill();
    produce(&topics.spans, second);
    produce(&topics.metrics, &lines("metrics.jsonl.zst"));
    let worker = tracerag.worker(&file);
    wait_for("all is taken, and no trace is open", LIMIT, || {
        assert!(worker.alive(), "{}", worker.log_tail());
        is_all_there_once(&tracerag, &file).then_some(())
    });
    assert!(worker.terminate(), "the worker does not end on SIGTERM");
    for (query, expected) in [
        ("select count(*) from (select distinct trace_id, span_id from spans)", 21_061),
        ("select count(*) from spans", 21_061),
        ("select count(*) from logs", 10_955),
        ("select count(*) from metrics", 7_032),
        ("select count(*) from traces", 307),
    ] {
        assert_eq!(number(query), Some(expected), "{query}");
    }
    let mut told = std::fs::read_to_string(tracerag.path("worker.log")).unwrap();
    for arguments in [&["status"][..], &["migrate", "--dry-run"]] {
        let ran = tracerag.run(&[&["--config", file_name][..], arguments].concat());
        assert_eq!(ran.status, 0, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stdout.contains(tracerag.lake()), "{}", ran.stdout);
        told.push_str(&ran.stdout);
        told.push_str(&ran.stderr);
    }
    assert!(!told.contains(SECRET), "the password was told");
}

/// Files are replayed into S3 with login and address from the environment, as AWS's own tools take them, and answers are
/// the same as from a folder.
#[test]
fn the_environment_is_enough() {
    let Some(s3) = S3::shared() else { return };
    let (remote, local) = (Tracerag::in_s3(s3, "environment"), Tracerag::new());
    let sample = crate::support::telemetry::sample();
    let files = ["traces.jsonl.zst", "logs.jsonl.zst"].map(|name| sample.join(name));
    for tracerag in [&remote, &local] {
        tracerag.replay(&files.each_ref().map(PathBuf::as_path));
    }
    for query in [
        "select service_name, count(*) from spans group by 1 order by 1",
        "select fingerprint, failure_count from incidents order by 1",
    ] {
        assert_eq!(remote.sql(query), local.sql(query), "{query}");
    }
    assert!(!local.path("s3:").exists() && !remote.path("s3:").exists());
}

/// A bucket that does not exist, and a login that is refused, are errors that say which, for who writes and who reads; no
/// password is in them.
#[test]
fn a_refused_login_says_so() {
    let Some(s3) = S3::shared() else { return };
    let tracerag = Tracerag::in_s3_without_login(s3, "refused");
    let flags = tracerag.write(
        "flags.jsonl",
        "{\"time\": \"2026-11-16T12:00:01Z\", \"feature_flag.key\": \"a\", \"feature_flag.result.variant\": \"on\"}\n",
    );
    let mut options = s3.options();
    let run = |options: &std::collections::BTreeMap<String, String>, lake: &str, arguments: &[&str]| {
        let options: Vec<String> = options.iter().map(|(name, value)| format!("{name} = \"{value}\"")).collect();
        let text = format!("[lake]\nuri = \"{lake}\"\nstorage_options = {{ {} }}\n", options.join(", "));
        let config = tracerag.write("tracerag.toml", text);
        tracerag.run(&[&["--lake", lake, "--config", config.to_str().unwrap()][..], arguments].concat())
    };
    let ran = run(&options, "s3://nowhere/lake", &["replay", flags.to_str().unwrap()]);
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("NoSuchBucket"), "{}", ran.stderr);
    options.insert(String::from("aws_secret_access_key"), String::from("opensesame-wrong"));
    for arguments in [&["replay", flags.to_str().unwrap()][..], &["sql", "select 1"]] {
        let ran = run(&options, tracerag.lake(), arguments);
        assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("SignatureDoesNotMatch"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("opensesame") && !ran.stderr.contains("CanonicalRequest"), "{}", ran.stderr);
    }
}

/// The store is killed under a worker that has an epoch to write. It is not ready, says why, and tries again; when the
/// store is back it goes on by itself. Guarantees that nothing is lost or doubled by a store that goes away in the middle
/// of a commit.
#[test]
fn a_store_that_goes_away_is_waited_for() {
    let Some(kafka) = Kafka::shared() else { return };
    let Some(mut s3) = S3::start() else { return };
    let bench = Bench::new(kafka, Tracerag::in_s3(&s3, "away"));
    let worker = bench.start();
    s3.stop();
    bench.send_rest();
    bench.send_logs();
    bench.wait_until_failing(&worker);
    s3.restart();
    bench.assert_whole(worker);
}

/// Two workers share a lake in S3 from the first moment: one makes it, the other one finds it half made or whole.
/// Guarantees that a group may be started at once on an empty bucket.
#[test]
fn workers_may_start_at_once_on_an_empty_bucket() {
    let (Some(kafka), Some(s3)) = (Kafka::shared(), S3::shared()) else { return };
    let tracerag = Tracerag::in_s3(s3, "at-once");
    // One partition each, so that nothing has to be keyed.
    let [spans, logs, metrics] = ["spans", "logs", "metrics"].map(|name| kafka.topic(name, 1));
    let topics = Topics { spans, logs, metrics };
    let workers: Vec<_> = ["one", "two"]
        .iter()
        .map(|name| {
            let config = named_config(&tracerag, kafka, &topics, name, "");
            tracerag.worker_logging(&config, &format!("{name}.log"))
        })
        .collect();
    let metrics = lines("metrics.jsonl.zst");
    kafka.produce(
        &topics.metrics,
        metrics.iter().map(|line| Record { payload: Some(line.as_bytes()), ..Record::default() }),
    );
    until(&tracerag, "select count(*) from metrics", 7_032, || {
        workers.iter().map(|worker| worker.log_tail()).collect::<Vec<_>>().join("\n")
    });
    for worker in workers {
        assert!(worker.terminate(), "a worker does not end on SIGTERM");
    }
}

//! What producers may do, and where a worker may begin, on a real Kafka broker.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::check::is_all_there_once;
use crate::kafka_worker::{LIMIT, Topics, config, get, lines, metrics_port, until};
use crate::support::collector::{Collector, Export, Signal};
use crate::support::kafka::{Kafka, Record};
use crate::support::program::Tracerag;
use crate::support::wait_for;

/// Codecs with the numbers that Kafka has for them.
const CODECS: [(&str, u8); 4] = [("gzip", 1), ("snappy", 2), ("lz4", 3), ("zstd", 4)];

const HOUR: Duration = Duration::from_secs(3_600);

/// A message with the root span of a trace, which can be compressed.
fn root(trace: usize) -> String {
    let text = json!({"key": "text", "value": {"stringValue": "again and ".repeat(100)}});
    let span = json!({
        "traceId": format!("{trace:032x}"), "spanId": "0000000000000001", "name": "GET /", "attributes": [text],
        "startTimeUnixNano": "1764500000000000000", "endTimeUnixNano": "1764500001000000000",
    });
    json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).to_string()
}

/// Fifty messages by each codec, one codec a partition, and the broker has them so. Guarantees that whatever a producer
/// compresses with is read, and each span once.
#[test]
fn messages_of_every_codec_are_read() {
    const EACH: usize = 50;
    let Some(kafka) = Kafka::shared() else { return };
    let tracerag = Tracerag::new();
    let topics = Topics { spans: kafka.topic("codecs", 4), ..Topics::new(kafka) };
    for (partition, (codec, number)) in CODECS.into_iter().enumerate() {
        let messages: Vec<String> = (0..EACH).map(|trace| root(partition * EACH + trace + 1)).collect();
        let record =
            |message| Record { payload: Some(message), partition: i32::try_from(partition).ok(), ..Record::default() };
        kafka.produce_compressed(codec, &topics.spans, messages.iter().map(|message| record(message.as_bytes())));
        let found: BTreeSet<u8> = kafka.codecs(&topics.spans, partition).into_iter().collect();
        assert_eq!(found, BTreeSet::from([number]), "{codec}");
    }
    let config = config(&tracerag, kafka, &topics, "otlp_json");
    let worker = tracerag.worker(&config);
    until(&tracerag, "select count(*) from traces", (EACH * CODECS.len()) as i64, || worker.log_tail());
    assert!(is_all_there_once(&tracerag, &config), "{}", worker.log_tail());
}

/// The sample in four parts, each by a Collector that compresses with another codec, and the broker has them so.
/// Guarantees that the codecs as the Collector's client writes them are read.
#[test]
fn collectors_may_compress() {
    let Some(kafka) = Kafka::shared() else { return };
    let topics = Topics::new(kafka);
    let spans = lines("traces.jsonl.zst");
    for ((codec, _), part) in CODECS.into_iter().zip(spans.chunks(spans.len().div_ceil(CODECS.len()))) {
        let export = Export::proto(&topics.spans, &topics.logs, &topics.metrics).keyed();
        let Some(mut collector) = Collector::start(kafka, &Export { compression: codec, ..export }) else { return };
        collector.post_all(Signal::Traces, part.iter().map(String::as_str));
        collector.stop();
    }
    let partitions = 0..kafka.partitions(&topics.spans);
    let found: BTreeSet<u8> = partitions.flat_map(|partition| kafka.codecs(&topics.spans, partition)).collect();
    // What does not become smaller stays as it is.
    let named: BTreeSet<u8> = found.into_iter().filter(|codec| *codec != 0).collect();
    assert_eq!(named, CODECS.iter().map(|(_, number)| *number).collect::<BTreeSet<u8>>());
    let tracerag = Tracerag::new();
    let config = config(&tracerag, kafka, &topics, "otlp_proto");
    let worker = tracerag.worker(&config);
    until(&tracerag, "select count(*) from spans", 21_061, || worker.log_tail());
    assert_eq!(tracerag.number("select count(*) from dead_letters"), 0);
}

/// Two topics that a pattern names and one that it excludes, each with a message of three hours ago, one of one hour ago
/// and one of now. Workers begin two hours ago, at a time half an hour ago, and at the end; then one more message comes
/// into each. Guarantees that each worker takes what is behind its beginning in the topics of the pattern, and nothing
/// else.
#[test]
fn a_worker_begins_where_it_is_told_in_the_topics_of_a_pattern() {
    let Some(kafka) = Kafka::shared() else { return };
    let read = ["begin-read", "begin-read"].map(|stem| kafka.topic(stem, 2));
    let excluded = kafka.topic("begin-read-not", 1);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut last = 0;
    let mut produce = |topic: &str, ago: Duration| {
        last += 1;
        let (message, timestamp) = (root(last), i64::try_from((now - ago).as_millis()).unwrap());
        let payload = Some(message.as_bytes());
        kafka.produce(
            topic,
            [Record { payload, partition: Some(0), timestamp_ms: Some(timestamp), ..Record::default() }],
        );
    };
    // Traces 1 and 2 are of three hours ago, 4 and 5 of one hour ago, 7 and 8 of now; 3, 6 and 9 are excluded.
    for ago in [HOUR * 3, HOUR, Duration::ZERO] {
        for topic in read.iter().chain([&excluded]) {
            produce(topic, ago);
        }
    }
    let half_an_hour_ago = humantime::format_rfc3339_seconds(SystemTime::now() - HOUR / 2).to_string();
    let begins: [(&str, &[usize]); 3] = [("-2h", &[4, 5, 7, 8]), (&half_an_hour_ago, &[7, 8]), ("latest", &[])];
    let workers = begins.map(|(begin, traces)| {
        let (tracerag, topics) = (Tracerag::new(), Topics::new(kafka));
        let text = std::fs::read_to_string(config(&tracerag, kafka, &topics, "otlp_json")).unwrap();
        let named = format!("spans = {{ topics = [\"{}\"]", topics.spans);
        assert!(text.contains(&named), "{text}");
        let text = text
            .replacen(&named, "spans = { topics = [\"^begin-read-.*\"], exclude = [\"^begin-read-not-\"]", 1)
            .replacen("[kafka]\n", &format!("[kafka]\ninitial_offset = \"{begin}\"\n"), 1);
        let config = tracerag.write("tracerag.toml", text);
        let worker = tracerag.worker(&config);
        wait_for(&format!("the worker that begins at {begin} is ready"), LIMIT, || {
            get(metrics_port(&config), "/readyz").filter(|(status, _)| *status == 200)
        });
        (begin, traces, tracerag, config, worker)
    });
    for topic in read.iter().chain([&excluded]) {
        produce(topic, Duration::ZERO);
    }
    for (begin, traces, tracerag, config, worker) in workers {
        let wanted: Vec<String> = traces.iter().chain(&[10, 11]).map(|trace| format!("{trace:032x}")).collect();
        until(&tracerag, "select count(*) from traces", wanted.len() as i64, || worker.log_tail());
        let found = tracerag.sql("select trace_id from spans order by trace_id");
        let found: Vec<&str> = found.iter().filter_map(|row| row["trace_id"].as_str()).collect();
        assert_eq!(found, wanted, "{begin}");
        let (_, metrics) = get(metrics_port(&config), "/metrics").unwrap();
        assert!(metrics.contains(&read[0]) && !metrics.contains(&excluded), "{begin}: {metrics}");
        assert!(worker.terminate(), "the worker does not end on SIGTERM");
        let worker = tracerag.worker(&config);
        wait_for(&format!("a worker that begins at {begin} starts again"), LIMIT, || {
            assert!(worker.alive(), "{}", worker.log_tail());
            get(metrics_port(&config), "/readyz").filter(|(status, _)| *status == 200)
        });
    }
}

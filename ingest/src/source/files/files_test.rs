#![allow(clippy::unwrap_used)]

use std::io::Write;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric::Data,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use proptest::prelude::*;
use prost::Message;

use super::*;

fn traces(ends: &[u64]) -> ExportTraceServiceRequest {
    let span = |end: &u64| Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: "GET /".to_owned(),
        start_time_unix_nano: end - 1,
        end_time_unix_nano: *end,
        ..Span::default()
    };
    let scope = ScopeSpans { spans: ends.iter().map(span).collect(), ..ScopeSpans::default() };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() }],
    }
}

fn logs(time: u64, observed: u64) -> ExportLogsServiceRequest {
    let record = LogRecord { time_unix_nano: time, observed_time_unix_nano: observed, ..LogRecord::default() };
    let scope = ScopeLogs { log_records: vec![record], ..ScopeLogs::default() };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() }],
    }
}

fn metrics(time: u64) -> ExportMetricsServiceRequest {
    let point = NumberDataPoint { time_unix_nano: time, ..NumberDataPoint::default() };
    let metric = Metric {
        name: "sixteen bytes ok".to_owned(),
        description: "8 bytes!".to_owned(),
        data: Some(Data::Gauge(Gauge { data_points: vec![point] })),
        ..Metric::default()
    };
    let scope = ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { scope_metrics: vec![scope], ..ResourceMetrics::default() }],
    }
}

fn line(request: &impl serde::Serialize) -> String {
    serde_json::to_string(request).unwrap() + "\n"
}

fn delimited(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for message in messages {
        file.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
        file.extend_from_slice(message);
    }
    file
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

fn read(paths: &[PathBuf]) -> Vec<FileRecord> {
    Replay::open(paths).unwrap().map(Result::unwrap).collect()
}

fn shape(records: &[FileRecord]) -> Vec<(Signal, Encoding, i64, i64)> {
    records.iter().map(|record| (record.signal, record.encoding, record.offset, record.record_time)).collect()
}

/// Every kind of file is known by its content, plain, `.zst` or `.gz` under any name; offsets count lines, blank
/// ones too; time never goes back within a file.
#[test]
fn kinds_compressions_and_offsets() {
    let folder = Folder::new();
    let text = format!("{}\n{}{}", line(&traces(&[50, 40])), line(&traces(&[30])), line(&logs(60, 0)));
    let expected = [
        (Signal::Spans, Encoding::Json, 0, 50),
        (Signal::Spans, Encoding::Json, 2, 50),
        (Signal::Logs, Encoding::Json, 3, 60),
    ];
    let gz = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let zst = zstd::encode_all(text.as_bytes(), 1).unwrap();
    for (name, content) in [("a.jsonl", text.as_bytes()), ("b", &zst[..]), ("c.bin", &gz[..])] {
        let path = folder.file(name, content);
        let records = read(std::slice::from_ref(&path));
        assert_eq!(shape(&records), expected, "{name}");
        assert!(records[0].source.topic.starts_with("file:"));
        assert_eq!((&*records[0].source.cluster, records[0].source.partition), (FILE_CLUSTER, 0));
    }
}

/// Length-delimited protobuf is recognised for each signal, also compressed message by message, also mixed.
#[test]
fn length_delimited_protobuf() {
    let folder = Folder::new();
    let messages = [
        traces(&[7]).encode_to_vec(),
        logs(8, 0).encode_to_vec(),
        logs(0, 9).encode_to_vec(),
        metrics(10).encode_to_vec(),
    ];
    let expected = [
        (Signal::Spans, Encoding::Proto, 0, 7),
        (Signal::Logs, Encoding::Proto, 1, 8),
        (Signal::Logs, Encoding::Proto, 2, 9),
        (Signal::Metrics, Encoding::Proto, 3, 10),
    ];
    let plain = folder.file("otlp.binpb", delimited(&messages));
    assert_eq!(shape(&read(&[plain])), expected);
    let packed: Vec<Vec<u8>> = messages.iter().map(|message| zstd::encode_all(&message[..], 1).unwrap()).collect();
    let packed = folder.file("otlp.zst", delimited(&packed));
    let records = read(&[packed]);
    assert_eq!(shape(&records), expected);
    assert_eq!(records[3].value, messages[3]);
    for (index, message) in messages.iter().enumerate() {
        let alone = folder.file(&format!("{index}.binpb"), delimited(std::slice::from_ref(message)));
        assert_eq!(read(&[alone])[0].signal, expected[index].0);
    }
}

/// Flags and deployments come before everything else, the rest by record time over all files, ties as given.
#[test]
fn changes_first_then_by_time() {
    let folder = Folder::new();
    let spans = folder.file("spans", line(&traces(&[1_000])) + &line(&traces(&[3_000])));
    let logs = folder.file("logs", line(&logs(1_000, 0)) + &line(&logs(2_000, 0)));
    let heaps = r#"{"format": "pprof", "captured_at": "1970-01-01T00:00:00.0000025Z", "top_types": []}"#;
    let heaps = folder.file("heaps", heaps);
    let flags = folder.file("flags", r#"{"time": "2020-01-01T00:00:00Z", "config.key": "a", "config.value": "1"}"#);
    let event = r#"{"context": {"type": "dev.cdevents.service.deployed.0.3.0", "timestamp": "2019-01-01T00:00:00Z"}, "subject": {"id": "a"}}"#;
    let events = folder.file("events", event);
    let records = read(&[spans, logs, heaps, flags, events]);
    let order: Vec<(Signal, i64)> = records.iter().map(|record| (record.signal, record.offset)).collect();
    let expected = [
        (Signal::Deployments, 0),
        (Signal::Flags, 0),
        (Signal::Spans, 0),
        (Signal::Logs, 0),
        (Signal::Logs, 1),
        (Signal::Heaps, 0),
        (Signal::Spans, 1),
    ];
    assert_eq!(order, expected);
}

/// The end of a file is told once, with the record after its last one, while other files go on; that of a file which
/// is left out as a whole at once.
#[test]
fn ends_of_files_are_told_once() {
    let folder = Folder::new();
    let spans = folder.file("spans", line(&traces(&[1_000])) + &line(&traces(&[3_000])));
    let logs = folder.file("logs", line(&logs(2_000, 0)));
    let known = folder.file("known", line(&traces(&[500])));
    let mut replay = Replay::open(&[spans, logs, known]).unwrap();
    let sources: Vec<SourcePartition> = replay.files().iter().map(|file| file.source.clone()).collect();
    assert!(replay.take_ended().is_empty());
    replay.skip_before(&sources[2], 1).unwrap();
    assert_eq!(replay.take_ended(), sources[2..]);
    let mut ended = vec![];
    while let Some(record) = replay.next() {
        record.unwrap();
        ended.push(replay.take_ended());
    }
    assert_eq!(ended, [vec![], vec![], vec![sources[1].clone()]]);
    assert_eq!(replay.take_ended(), sources[..1]);
    assert!(replay.take_ended().is_empty());
}

/// A document over several lines is one record; so a flag configuration can be given as people write it.
#[test]
fn documents_over_lines() {
    let folder = Folder::new();
    let flags = "{\n  \"flags\": {\n    \"a\": {\"state\": \"ENABLED\"}\n  }\n}\n{\n \"flags\": {}\n}\n";
    let records = read(&[folder.file("flags.json", flags)]);
    let offsets: Vec<(Signal, i64)> = records.iter().map(|record| (record.signal, record.offset)).collect();
    assert_eq!(offsets, [(Signal::Flags, 0), (Signal::Flags, 1)]);
    assert_eq!(&records[1].value[..], b"{\n \"flags\": {}\n}");
}

/// The same content under two names is read once, records taken before are left out, and an empty file is none.
#[test]
fn known_content_is_not_read_again() {
    let folder = Folder::new();
    let text = line(&traces(&[10])) + &line(&traces(&[5])) + &line(&traces(&[20]));
    let (a, b, empty) = (folder.file("a", &text), folder.file("b", &text), folder.file("empty", ""));
    let mut replay = Replay::open(&[a, b, empty]).unwrap();
    assert_eq!(replay.files().len(), 1);
    assert_eq!(replay.total_bytes(), text.len() as u64);
    let source = replay.files()[0].source.clone();
    replay.skip_before(&source, 1).unwrap();
    let records: Vec<FileRecord> = replay.by_ref().map(Result::unwrap).collect();
    let times: Vec<(i64, i64)> = records.iter().map(|record| (record.offset, record.record_time)).collect();
    assert_eq!(times, [(1, 10), (2, 20)]);
    assert_eq!(replay.read_bytes(), replay.total_bytes());
    replay.skip_before(&source, 3).unwrap();
    assert!(replay.next().is_none());
}

/// A bad line in a good file is handed out as it is, for the dead letters; a file of another kind and one that
/// ends within a message are errors that name it.
#[test]
fn bad_lines_and_bad_files() {
    let folder = Folder::new();
    let records = read(&[folder.file("a", line(&logs(5, 0)) + "{\"resourceLogs\": [\nnot json\n")]);
    assert_eq!(records.len(), 3);
    assert!(records.iter().all(|record| record.signal == Signal::Logs));
    for (name, content) in
        [("csv", &b"a,b\n1,2\n"[..]), ("json", b"{\"a\": 1}\n"), ("png", b"\x89PNG\r\n\x1a\n00000000")]
    {
        let error = Replay::open(&[folder.file(name, content)]).err().unwrap();
        assert!(matches!(error, SourceError::UnknownKind { .. }), "{name}: {error}");
    }
    let mut cut = delimited(&[traces(&[7]).encode_to_vec(), traces(&[8]).encode_to_vec()]);
    cut.truncate(cut.len() - 3);
    let cut = folder.file("cut", cut);
    let last = Replay::open(&[cut]).unwrap().last().unwrap();
    assert!(matches!(last, Err(SourceError::Truncated { offset: 1, .. })));
    assert!(matches!(Replay::open(&[folder.0.path().join("none")]), Err(SourceError::File { .. })));
}

/// A sender whose clock is years ahead does not move time past the reader's clock.
#[test]
fn clocks_ahead_are_cut() {
    let folder = Folder::new();
    let records = read(&[folder.file("a", line(&traces(&[4_000_000_000_000_000_000])))]);
    assert!(records[0].record_time < 4_000_000_000_000_000_000);
    assert!(records[0].record_time > 1_600_000_000_000_000_000);
}

proptest! {
    /// Whatever a file holds, reading it ends, without a panic.
    #[test]
    fn any_bytes_end(content in proptest::collection::vec(any::<u8>(), 0..200), start in 0..4usize) {
        let starts: [&[u8]; 4] = [b"", b"{\"resourceSpans\":", b"\0\0\0\x10\n", b"\x28\xb5\x2f\xfd"];
        let folder = Folder::new();
        let path = folder.file("any", [starts[start], &content].concat());
        if let Ok(replay) = Replay::open(&[path]) {
            let records = replay.take_while(Result::is_ok).count();
            prop_assert!(records <= content.len() + 20);
        }
    }

    /// The scans for time and kind take any bytes.
    #[test]
    fn scans_take_any_bytes(record in proptest::collection::vec(any::<u8>(), 0..300)) {
        recognise::first(&record);
        for signal in Signal::ALL {
            for encoding in [Encoding::Json, Encoding::Proto] {
                record_time::of(&record, signal, encoding);
            }
        }
    }
}

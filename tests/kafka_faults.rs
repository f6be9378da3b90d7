//! `tracerag run` on a real Kafka broker, with a lake that goes away or a disk that is full: the worker waits, says so,
//! and goes on by itself.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::kafka_worker::{LIMIT, Topics, config, get, lines, metrics_port, until};
use crate::support::kafka::{Kafka, Record};
use crate::support::process::Process;
use crate::support::program::Tracerag;
use crate::support::{note, wait_for};

/// A worker, what it reads, and its lake.
pub struct Bench {
    kafka: &'static Kafka,
    tracerag: Tracerag,
    topics: Topics,
    config: PathBuf,
    spans: Vec<String>,
}

impl Bench {
    pub fn new(kafka: &'static Kafka, tracerag: Tracerag) -> Bench {
        let topics = Topics::new(kafka);
        let config = config(&tracerag, kafka, &topics, "otlp_json");
        Bench { kafka, tracerag, topics, config, spans: lines("traces.jsonl.zst") }
    }

    /// A worker that has taken half of the spans, and all points.
    pub fn start(&self) -> Process {
        self.produce(&self.topics.metrics, &lines("metrics.jsonl.zst"));
        self.produce(&self.topics.spans, &self.spans[..self.spans.len() / 2]);
        let worker = self.tracerag.worker(&self.config);
        until(&self.tracerag, "select count(*) from metrics", 7_032, || worker.log_tail());
        self.wait_until_ready(&worker);
        worker
    }

    /// Sends the other half of the spans.
    pub fn send_rest(&self) {
        self.produce(&self.topics.spans, &self.spans[self.spans.len() / 2..]);
    }

    /// Sends all log records.
    pub fn send_logs(&self) {
        self.produce(&self.topics.logs, &lines("logs.jsonl.zst"));
    }

    fn produce(&self, topic: &str, lines: &[String]) {
        let payloads = lines.iter().map(|line| Record { payload: Some(line.as_bytes()), ..Record::default() });
        self.kafka.produce(topic, payloads);
    }

    fn readiness(&self) -> Option<(u16, String)> {
        get(metrics_port(&self.config), "/readyz")
    }

    fn wait_until_ready(&self, worker: &Process) {
        wait_for("the worker is ready", LIMIT, || {
            assert!(worker.alive(), "{}", worker.log_tail());
            self.readiness().filter(|(status, _)| *status == 200)
        });
    }

    /// Waits until the worker has tried more than once, and says that it is the lake.
    pub fn wait_until_failing(&self, worker: &Process) {
        wait_for("the worker says that the lake fails", LIMIT, || {
            assert!(worker.alive(), "{}", worker.log_tail());
            self.readiness().filter(|(status, reason)| *status == 503 && reason.contains("the lake cannot be used"))
        });
        wait_for("the worker tries again", LIMIT, || {
            let (_, text) = get(metrics_port(&self.config), "/metrics")?;
            let errors = text.lines().find(|line| line.starts_with("tracerag_lake_errors_total{step=\"write\"}"))?;
            errors.rsplit(' ').next()?.parse::<u64>().ok().filter(|errors| *errors >= 3)
        });
    }

    /// Waits until everything is in the lake, and compares it with what was sent.
    pub fn assert_whole(&self, worker: Process) {
        until(&self.tracerag, "select count(*) from spans", 21_061, || worker.log_tail());
        until(&self.tracerag, "select count(*) from logs", 10_955, || worker.log_tail());
        until(&self.tracerag, "select count(*) from traces", 307, || worker.log_tail());
        self.wait_until_ready(&worker);
        assert!(worker.terminate(), "the worker does not end on SIGTERM");
        assert_eq!(self.tracerag.number("select count(*) from (select distinct trace_id, span_id from spans)"), 21_061);
        let config = self.config.to_str().unwrap();
        let report = self.tracerag.done(&["--config", config, "check", "--format", "json"]);
        let report: Value = serde_json::from_str(&report).unwrap();
        assert_eq!((&report["differences"], &report["not_taken"]), (&Value::from(0), &Value::from(0)), "{report:#}");
    }
}

/// The lake's folder is gone under a worker that has an epoch to write. It is not ready, says why, and tries again; when
/// the folder is back it goes on. The second time it is stopped meanwhile, and ends as always; another worker takes the
/// rest. Guarantees that nothing is lost or doubled by a volume that goes away, and that a worker which waits for one
/// can be stopped.
#[test]
fn a_lake_that_goes_away_is_waited_for() {
    let Some(kafka) = Kafka::shared() else { return };
    let bench = Bench::new(kafka, Tracerag::new());
    let (folder, nothing) = (bench.tracerag.path("folder"), bench.tracerag.write("nothing", ""));
    std::fs::create_dir(&folder).unwrap();
    bench.tracerag.point_lake_at(&folder);
    let worker = bench.start();

    bench.tracerag.point_lake_at(&nothing);
    bench.send_rest();
    bench.wait_until_failing(&worker);
    bench.tracerag.point_lake_at(&folder);
    until(&bench.tracerag, "select count(*) from spans", 21_061, || worker.log_tail());
    bench.wait_until_ready(&worker);

    bench.tracerag.point_lake_at(&nothing);
    bench.send_logs();
    bench.wait_until_failing(&worker);
    assert!(worker.terminate(), "the worker does not end while it waits for the lake");
    let log = std::fs::read_to_string(bench.tracerag.path("worker.log")).unwrap();
    assert!(log.contains("the last epoch is left to the next worker"), "{log}");
    assert!(log.contains("stopped; open traces are rebuilt by the next worker"), "{log}");
    bench.tracerag.point_lake_at(&folder);
    bench.assert_whole(bench.tracerag.worker(&bench.config));
}

/// A file system of its own, as long as the value lives.
struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// In memory, of 128 MiB; `None`, after a line that says so, where this process may not mount anything.
    fn mount(folder: PathBuf) -> Option<Disk> {
        std::fs::create_dir(&folder).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=128m", "tmpfs"]).arg(&folder).output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            note("left out, no file system can be mounted here");
            return None;
        }
        Some(Disk { folder })
    }

    /// Writes until there is no room.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.folder.join("filler")).unwrap();
        let block = [1; 4_096];
        while file.write_all(&block).is_ok() {}
    }

    /// Makes room again.
    fn clear(&self) {
        std::fs::remove_file(self.folder.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}

/// The disk is full, and has room again a while later. Guarantees that the worker goes on by itself, with every row
/// once, and that what it tried meanwhile has left no file that makes later ones fail.
#[test]
fn a_full_disk_is_waited_for() {
    let Some(kafka) = Kafka::shared() else { return };
    let bench = Bench::new(kafka, Tracerag::new());
    let Some(disk) = Disk::mount(bench.tracerag.path("disk")) else { return };
    let lake = disk.folder.join("lake");
    std::fs::create_dir(&lake).unwrap();
    bench.tracerag.point_lake_at(&lake);
    let worker = bench.start();
    disk.fill();
    bench.send_rest();
    bench.send_logs();
    bench.wait_until_failing(&worker);
    disk.clear();
    bench.assert_whole(worker);
}

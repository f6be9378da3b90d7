//! A Kafka backlog into joined, committed, queryable tables: one worker of tracerag, and beside it in the same
//! run the Collector's kafkareceiver with groupbytrace, once dropping everything and once writing files (protobuf, zstd).
//!
//! `cargo run --release -p tracerag-benches --bin backlog -- BROKER TRACERAG [SPANS] [COLLECTOR] [KEEP]`: a broker's
//! address, the program, how many `rich` spans (or `COPIES*FILE`, OTLP/JSON lines in .zst), the Collector's binary
//! (`-`: none), and where to keep the lake. CPU seconds are those of the measured process. The backlog is produced
//! first, so nothing is measured while it grows.

#![allow(clippy::print_stdout)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use tracerag_benches::broker::Producer;
use tracerag_benches::watch::{Measured, ShownSpans, alive, until_done};
use tracerag_benches::worker::{Setup, Worker};
use tracerag_benches::{Outcome, disk, machine, rich, trainticket};

/// What the Collector does with the traces.
struct Exporter {
    title: &'static str,
    name: &'static str,
    settings: &'static str,
}

const EXPORTERS: [Exporter; 2] = [
    Exporter { title: "Collector: groupbytrace (2 s), dropped", name: "nop", settings: "nop:" },
    Exporter {
        title: "Collector: groupbytrace (2 s) to files",
        name: "file",
        settings: "file:\n    path: FOLDER/traces.bin\n    format: proto\n    compression: zstd",
    },
];

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [broker, program, rest @ ..] = arguments.as_slice() else {
        return Err("usage: backlog BROKER TRACERAG [SPANS] [COLLECTOR] [KEEP]".into());
    };
    let what = rest.first().map_or("1000000", String::as_str);
    let topic = format!("rich-{}", std::process::id());
    println!("{}", machine::describe());
    let load = match what.split_once('*') {
        Some((copies, path)) => trainticket::messages(Path::new(path), copies.parse()?)?,
        None => rich::messages(42, what.parse()?),
    };
    println!("{} spans of {} bytes in {} messages", load.spans, load.bytes / load.spans, load.encoded.len());
    let producer = Producer::new(broker, &topic)?;
    for message in &load.encoded {
        producer.send(None, message, None)?;
    }
    producer.flush()?;
    let folder = tempfile::tempdir()?;
    let mut results = vec![tracerag(broker, program, &topic, load.distinct, folder.path())?];
    if let Some(collector) = rest.get(1).filter(|path| *path != "-") {
        for exporter in &EXPORTERS {
            results.push(groupbytrace(broker, collector, &topic, load.encoded.len(), folder.path(), exporter)?);
        }
    }
    println!("{:<40} {:>14} {:>12} {:>10} {:>10}", "", "spans/CPU-s", "spans/s", "peak MiB", "tracerag");
    let rate = |measured: &Measured| load.spans as f64 / measured.cpu.as_secs_f64();
    let first = results.first().map_or(f64::NAN, rate);
    for measured in &results {
        println!(
            "{:<40} {:>14.0} {:>12.0} {:>10} {:>9.2}x",
            measured.name,
            rate(measured),
            load.spans as f64 / measured.wall.as_secs_f64(),
            measured.peak >> 20,
            first / rate(measured)
        );
    }
    let lake = folder.path().join("lake");
    let per_span = |bytes: u64| bytes as f64 / load.spans as f64;
    println!("lake as written: {:.1} bytes a span", per_span(folder_bytes(&lake)?));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (total, lines) = runtime.block_on(disk::compacted(&lake.display().to_string()))?;
    println!("compacted, indices included: {:.1} bytes a span", per_span(total));
    for line in lines.iter().take(24) {
        println!(
            "  {:<44} {:>8.2} {:>7.1} %",
            line.name,
            per_span(line.bytes),
            line.bytes as f64 * 100.0 / total as f64
        );
    }
    if let Some(kept) = rest.get(2) {
        fs::rename(&lake, kept)?;
        println!("the lake is kept in {kept}");
    }
    Ok(())
}

fn tracerag(broker: &str, program: &str, topic: &str, spans: usize, folder: &Path) -> Outcome<Measured> {
    let lake = folder.join("lake");
    let setup = Setup { broker, program, topic, group: topic, lake: &lake, folder, more: "" };
    let mut shown = ShownSpans::of(&lake)?;
    let begun = Instant::now();
    let mut worker = Worker::start(&setup, "worker")?;
    until_done("tracerag: committed and queryable", &[worker.pid()], begun, || {
        worker.check()?;
        Ok(shown.count() == Some(spans as u64))
    })
}

fn groupbytrace(
    broker: &str,
    program: &str,
    topic: &str,
    messages: usize,
    folder: &Path,
    exporter: &Exporter,
) -> Outcome<Measured> {
    let group = format!("{topic}-{}", exporter.name);
    let config = folder.join("collector.yaml");
    fs::write(
        &config,
        format!(
            "receivers:\n  kafka:\n    brokers: [\"{broker}\"]\n    group_id: {group}\n    initial_offset: earliest\n    traces:\n      topics: [{topic}]\n\
             processors:\n  groupbytrace:\n    wait_duration: 2s\n    num_traces: 1000000\nexporters:\n  {}\n\
             service:\n  telemetry:\n    metrics:\n      level: none\n  pipelines:\n    traces:\n      receivers: [kafka]\n      processors: [groupbytrace]\n      exporters: [{}]\n",
            exporter.settings.replace("FOLDER", &folder.display().to_string()),
            exporter.name,
        ),
    )?;
    let offsets: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", broker).set("group.id", &group).create()?;
    let begun = Instant::now();
    let mut child = Command::new(program).arg("--config").arg(&config).stderr(Stdio::null()).spawn()?;
    let pid = child.id();
    // Offsets are committed before the traces are released: the work is done when the process rests.
    let is_done = || -> Outcome<bool> {
        alive(&mut child)?;
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, 0);
        let committed = offsets.committed_offsets(list, Duration::from_secs(5)).ok();
        let offset = committed.and_then(|list| list.find_partition(topic, 0).map(|found| found.offset()));
        Ok(offset == Some(Offset::Offset(messages as i64)) && rests(pid))
    };
    let measured = until_done(exporter.title, &[pid], begun, is_done);
    child.kill()?;
    child.wait()?;
    measured
}

/// Whether a process does next to nothing for a second.
fn rests(pid: u32) -> bool {
    let before = machine::cpu_time_of(pid);
    std::thread::sleep(Duration::from_secs(1));
    machine::cpu_time_of(pid).saturating_sub(before) < Duration::from_millis(50)
}

fn folder_bytes(folder: &Path) -> Outcome<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { folder_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

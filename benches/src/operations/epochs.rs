//! A lake over thousands of small epochs, with upkeep as a worker does it: whether queries slow down, and whether the disk
//! holds more than the data.
//!
//! Time is pressed together: what a worker keeps for minutes because a query may read it stays for seconds here, and a
//! round of upkeep follows thirty epochs, as many as a worker writes in the minute between two rounds.

#![allow(clippy::print_stdout)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray, new_null_array,
};
use tracerag_index::maintain::shares;
use tracerag_index::{Epoch, Lake, LakeOptions, MaintainOptions, SourceProgress, Writer, maintain};
use tracerag_query::{Session, SessionOptions};
use tracerag_schemas::{SourcePartition, Table};

use crate::{Outcome, machine};

/// Epochs between two rounds of upkeep, and between two lines.
const KEPT_EVERY: u64 = 30;
const SHOWN_EVERY: u64 = 1_000;
/// Rows that an epoch brings to each table.
const ROWS: u64 = 20;
const TABLES: [Table; 4] = [Table::Spans, Table::Traces, Table::Logs, Table::Failures];
/// How often a question is asked for the median.
const ASKED: usize = 21;
/// How long a version stays readable, and a record in the journal.
const READABLE: Duration = Duration::from_secs(5);
const RECORDED: Duration = Duration::from_secs(60);
/// Stream time of the first epoch: 2026-11-23 at noon, in ns; each takes two seconds.
const NOON: i64 = 1_795_435_200_000_000_000;
const FLUSH: i64 = 2_000_000_000;

/// Bytes in a folder, by what they are for.
#[derive(Debug, Default)]
struct Disk {
    files: u64,
    bytes: u64,
    manifests: u64,
    /// Journal and heads, their manifests included.
    journal: u64,
}

/// Writes the epochs, and prints after every thousand what has become of the lake.
///
/// # Errors
/// When the lake cannot be written, kept or read.
pub async fn run(epochs: u64) -> Outcome<()> {
    println!("{}", machine::describe());
    println!("{epochs} epochs of {ROWS} rows in each of {} tables, upkeep after every {KEPT_EVERY}", TABLES.len());
    println!(
        "{:>8} {:>9} {:>12} {:>11} {:>8} {:>10} {:>10} {:>14} {:>13} {:>9}",
        "epochs",
        "epochs/s",
        "look-up ms",
        "count ms",
        "files",
        "data KiB",
        "disk KiB",
        "manifests KiB",
        "journal KiB",
        "RSS MiB"
    );
    let folder = tempfile::tempdir()?;
    let uri = folder.path().display().to_string();
    let lake = Lake::open_or_create(LakeOptions::new(uri.as_str())).await?;
    let readers = Lake::open_to_ask(LakeOptions::new(uri)).await?;
    let mut writer = Writer::new(lake.clone(), String::from("bench")).await?;
    let source = SourcePartition::new("bench", "otlp_spans", 0);
    writer.claim(std::slice::from_ref(&source)).await?;
    let mut begun = Instant::now();
    for number in 1..=epochs {
        writer.write(epoch(&source, number)?).await?;
        if number.is_multiple_of(KEPT_EVERY) {
            let options =
                MaintainOptions { longest_query: READABLE, journal_keep: RECORDED, ..MaintainOptions::default() };
            let report = maintain(&lake, &options).await?;
            if let Some((dataset, error)) = report.failed.first() {
                return Err(format!("upkeep of {dataset} failed: {error}").into());
            }
        }
        if number.is_multiple_of(SHOWN_EVERY) || number == epochs {
            let written = (number - 1) % SHOWN_EVERY + 1;
            let pace = written as f64 / begun.elapsed().as_secs_f64();
            let trace_id = trace_id(number * ROWS / 2);
            let look_up = median(&readers, &format!("select * from spans where trace_id = '{trace_id}'")).await?;
            let count = median(&readers, "select count(*) from spans").await?;
            let mut disk = Disk::default();
            disk.add(folder.path(), false, false)?;
            println!(
                "{number:>8} {pace:>9.1} {look_up:>12.1} {count:>11.1} {:>8} {:>10} {:>10} {:>14} {:>13} {:>9}",
                disk.files,
                data(&lake).await? >> 10,
                disk.bytes >> 10,
                disk.manifests >> 10,
                disk.journal >> 10,
                machine::memory_of(std::process::id()) >> 20
            );
            begun = Instant::now();
        }
    }
    Ok(())
}

fn epoch(source: &SourcePartition, number: u64) -> Outcome<Epoch> {
    let stream_time = NOON + number as i64 * FLUSH;
    let mut rows = Vec::with_capacity(TABLES.len());
    for table in TABLES {
        rows.push((table, rows_of(table, number * ROWS, stream_time)?));
    }
    let to = number as i64;
    Ok(Epoch {
        rows,
        sources: vec![SourceProgress { source: source.clone(), to, low_watermark: to, stream_time }],
        closed: vec![],
    })
}

/// An id that looks like a random one, for a number.
fn trace_id(number: u64) -> String {
    let half = |seed: u64| {
        (number ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    };
    format!("{:016x}{:016x}", half(1), half(2))
}

fn rows_of(table: Table, from: u64, time: i64) -> Outcome<RecordBatch> {
    let count = ROWS as usize;
    let schema = table.lake_schema();
    let texts =
        |of: fn(u64) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values((from..from + ROWS).map(of))) };
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        match field.name().as_str() {
            "tenant_id" => texts(|_| String::from("default")),
            "trace_id" => texts(trace_id),
            "span_id" => texts(|number| format!("{number:016x}")),
            "name" | "root_name" => texts(|number| format!("GET /items/{}", number % 50)),
            "body" | "message" => texts(|number| format!("item {number} is not there")),
            "fingerprint" => texts(|number| format!("{:016x}", number % 100)),
            "revision" => Arc::new(Int32Array::from(vec![1; count])),
            "duration_ns" => Arc::new((from..from + ROWS).map(|number| Some(number as i64)).collect::<Int64Array>()),
            "time" | "start_time" | "end_time" | "ingested_at" => {
                Arc::new(TimestampNanosecondArray::from(vec![time; count]).with_timezone("UTC"))
            }
            _ => new_null_array(field.data_type(), count),
        }
    });
    Ok(RecordBatch::try_new(Arc::clone(&schema), columns.collect())?)
}

/// Milliseconds that a question takes in a session of its own, as a server opens them.
async fn median(lake: &Lake, question: &str) -> Outcome<f64> {
    let mut times = Vec::with_capacity(ASKED);
    for _ in 0..ASKED {
        let begun = Instant::now();
        let session = Session::open(lake, SessionOptions::new("default")).await?;
        session.collect(question, None).await?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(times.get(ASKED / 2).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3))
}

/// Bytes of columns and indices of the newest head.
async fn data(lake: &Lake) -> Outcome<u64> {
    let head = lake.newest_head().await?;
    let mut bytes = 0;
    for (name, known) in &head.datasets {
        let shares = shares(name, &lake.dataset(name, known.version).await?).await?;
        bytes += shares.iter().map(|share| share.bytes).sum::<u64>();
    }
    Ok(bytes)
}

impl Disk {
    fn add(&mut self, folder: &Path, of_manifests: bool, of_journal: bool) -> Outcome<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if entry.file_type()?.is_dir() {
                let of_manifests = of_manifests || name == "_versions" || name == "_transactions";
                let of_journal =
                    of_journal || ["journal", "journal.lance", "heads.lance"].iter().any(|own| name == *own);
                self.add(&entry.path(), of_manifests, of_journal)?;
                continue;
            }
            let bytes = entry.metadata()?.len();
            self.files += 1;
            self.bytes += bytes;
            self.manifests += if of_manifests { bytes } else { 0 };
            self.journal += if of_journal { bytes } else { 0 };
        }
        Ok(())
    }
}

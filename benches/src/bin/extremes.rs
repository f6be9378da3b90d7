//! The extremes at their real sizes, through `tracerag replay`: one trace of a million spans, one message of 64 MiB,
//! ten million open traces of one span.
//!
//! `cargo run --release -p tracerag-benches --bin extremes -- TRACERAG [PART]`: the program, and a number by which the
//! sizes of the first and the last are divided (1). The load is written to files first, so nothing of it is in the
//! figures. Memory is that of the process, from its start to its end: the upkeep after the replay counts, too.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tracerag_benches::machine;

type Outcome<T> = Result<T, Box<dyn Error>>;

const START: u64 = 1_767_225_600_000_000_000;
const SPANS_PER_MESSAGE: u64 = 2_048;
/// Bytes of an attribute that makes a span as large as usual ones.
const PADDING: usize = 200;

/// How the spans of a load are shared out.
struct Case {
    name: &'static str,
    spans: u64,
    spans_per_trace: u64,
    spans_per_message: u64,
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [program, rest @ ..] = arguments.as_slice() else {
        return Err("usage: extremes TRACERAG [PART]".into());
    };
    let part: u64 = rest.first().map_or(Ok(1), |part| part.parse())?;
    if part == 0 {
        return Err("PART is at least 1".into());
    }
    // Somewhat less than 64 MiB, as a broker that takes messages of that size would want it.
    let in_large = (63 << 20) / span(0, 1, START).encoded_len() as u64;
    let (endless, open) = (1_000_000 / part, 10_000_000 / part);
    let cases = [
        Case { name: "one trace", spans: endless, spans_per_trace: endless, spans_per_message: SPANS_PER_MESSAGE },
        Case { name: "one message", spans: in_large, spans_per_trace: 10, spans_per_message: in_large },
        Case { name: "open traces", spans: open, spans_per_trace: 1, spans_per_message: SPANS_PER_MESSAGE },
    ];
    println!("{}", machine::describe());
    println!("{:<12} {:>10} {:>9} {:>9} {:>8}  close reasons", "", "spans", "file MiB", "peak MiB", "seconds");
    for case in &cases {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("spans.binpb");
        write(case, &file)?;
        let (peak, wall) = replay(program, &file, folder.path())?;
        println!(
            "{:<12} {:>10} {:>9} {:>9} {:>8.1}  {}",
            case.name,
            case.spans,
            fs::metadata(&file)?.len() >> 20,
            peak >> 20,
            wall.as_secs_f64(),
            reasons(program, case, folder.path())?
        );
    }
    Ok(())
}

/// A span of a trace; the root if it is the first.
fn span(trace: u64, number: u64, time: u64) -> Span {
    let value = Some(AnyValue { value: Some(Value::StringValue("x".repeat(PADDING))) });
    // Ids that a hash could have made, so that nothing is won by their order.
    let mixed = |number: u64| number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    Span {
        trace_id: [mixed(trace), trace.to_be_bytes()].concat(),
        span_id: mixed(number).to_vec(),
        parent_span_id: if number == 0 { vec![] } else { mixed(0).to_vec() },
        name: String::from("work"),
        start_time_unix_nano: time,
        end_time_unix_nano: time + 1_000,
        attributes: vec![KeyValue { key: String::from("padding"), value, ..KeyValue::default() }],
        ..Span::default()
    }
}

/// Messages with their lengths before them, as the Collector writes files. All happens within less than `root_grace`,
/// so no trace closes by time.
fn write(case: &Case, file: &Path) -> Outcome<()> {
    let mut file = BufWriter::new(File::create(file)?);
    let mut first = 0;
    while first < case.spans {
        let end = (first + case.spans_per_message).min(case.spans);
        let spans = (first..end).map(|n| span(n / case.spans_per_trace, n % case.spans_per_trace, START + n)).collect();
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        let message = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        file.write_all(&u32::try_from(message.len())?.to_be_bytes())?;
        file.write_all(&message)?;
        first = end;
    }
    Ok(file.flush()?)
}

/// Peak memory in bytes, and how long it took.
fn replay(program: &str, file: &Path, folder: &Path) -> Outcome<(u64, Duration)> {
    let config = folder.join("tracerag.toml");
    fs::write(
        &config,
        "[redaction]\nkey = \"0123456789abcdef0123456789abcdef\"\n[embedding]\nmodel = \"hashed-ngrams\"\n",
    )?;
    let begun = Instant::now();
    let mut child = Command::new(program)
        .arg("--config")
        .arg(&config)
        .arg("--lake")
        .arg(folder.join("lake"))
        .arg("replay")
        .arg(file)
        .stderr(Stdio::null())
        .spawn()?;
    // The peak is gone with the process, so what was seen last counts.
    let mut peak = 0;
    loop {
        if let Some(status) = child.try_wait()? {
            if !status.success() {
                return Err(format!("the replay failed: {status}").into());
            }
            return Ok((peak, begun.elapsed()));
        }
        peak = machine::peak_memory_of(child.id()).max(peak);
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// How many revisions closed for each reason. Fails if a span is missing or there twice.
fn reasons(program: &str, case: &Case, folder: &Path) -> Outcome<String> {
    let csv = |query: &str| -> Outcome<Vec<String>> {
        let lake = folder.join("lake");
        let output = Command::new(program).arg("--lake").arg(lake).args(["sql", "--format", "csv", query]).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        Ok(String::from_utf8(output.stdout)?.lines().skip(1).map(str::to_owned).collect())
    };
    let counted = csv("select count(*) from spans")?;
    if counted != [case.spans.to_string()] {
        return Err(format!("{}: {counted:?} spans in the lake, {} were sent", case.name, case.spans).into());
    }
    let query = "select close_reason, count(*) from trace_revisions group by close_reason order by 1";
    Ok(csv(query)?.join("; ").replace(',', " "))
}

//! What analysts and agents wait for: twelve questions beside DuckDB on Parquet files of the same rows, look-ups and bundles
//! over HTTP and MCP, and many clients at once.
//!
//! The rows are made once: telemetry is replayed into a lake, whose tables are then written as Parquet by DuckDB itself.
//! Both sides are warm: a question is asked once before it counts, then in turn, and the median of each side is shown.

#![allow(clippy::print_stdout)]

mod duckdb;
mod queries;
mod server;
mod telemetry;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::AsArray as _;
use arrow::compute;
use arrow::datatypes::Int64Type;
use tracerag_index::{Lake, LakeOptions};
use tracerag_query::{Session, SessionOptions, json};

use crate::{Outcome, machine};
use duckdb::Duckdb;
use queries::{QUESTIONS, Question};
use server::{Ask, CLIENTS, STORM, Server};

/// Times that a question is asked and counts.
const ROUNDS: usize = 5;
/// Traces that are looked up, and how many of them first to warm up.
const LOOKUPS: usize = 300;
const WARM_UP: usize = 20;
/// What a question may take, far beyond what it does.
const LIMIT: Duration = Duration::from_secs(3_600);
const MEMORY: usize = 4 << 30;
/// Aims: as a multiple of DuckDB's time, of all questions together and of one.
const AIM: f64 = 1.0;
const AIM_OF_ONE: f64 = 2.0;
/// A throughput is flat when no second has less than this part of the median.
const FLAT: f64 = 0.5;

/// How it is measured.
#[derive(Debug)]
pub struct Setup<'a> {
    /// The program, built with `--release`.
    pub program: &'a str,
    /// A Python that has DuckDB.
    pub python: &'a str,
    /// Spans of the lake, at least.
    pub spans: u64,
    /// Where lake and Parquet files lie; those that are there are used again.
    pub folder: &'a Path,
    /// Traces and logs of the train-ticket system.
    pub train_ticket: &'a Path,
}

/// An answer to a question.
#[derive(Debug, Clone, Copy)]
struct Answer {
    time: Duration,
    rows: usize,
    /// Of its column `n`.
    sum: i64,
}

/// Makes what is not there yet, measures, and prints tables.
///
/// # Errors
/// When a part cannot be made, does not answer, or answers otherwise than DuckDB.
pub async fn run(setup: &Setup<'_>) -> Outcome<()> {
    println!("{}", machine::describe());
    let lake = setup.folder.join("lake");
    if !lake.exists() {
        replay(setup, &lake)?;
    }
    let session = session(&lake).await?;
    let files = setup.folder.join("parquet");
    duckdb::write(setup.python, &session, &files).await?;
    let ids = "select distinct trace_id as t from failures where trace_id is not null order by t";
    let traces: Arc<[String]> = texts(&session, &format!("{ids} limit {LOOKUPS}")).await?.into();
    if traces.len() <= WARM_UP {
        return Err(format!("{} traces with failures are too few; make a larger lake", traces.len()).into());
    }
    beside_duckdb(setup, &session, &files, &traces).await?;
    // The server has caches of its own.
    drop(session);
    let server = Server::start(setup.program, &lake, setup.folder).await?;
    look_ups(&server, &traces).await?;
    clients(&server, &traces).await
}

/// Makes the lake by replaying copies of the recordings.
fn replay(setup: &Setup<'_>, lake: &Path) -> Outcome<()> {
    let telemetry = setup.folder.join("telemetry");
    fs::create_dir_all(&telemetry)?;
    let files = telemetry::write(&telemetry, setup.train_ticket, setup.spans)?;
    let config = setup.folder.join("replay.toml");
    fs::write(
        &config,
        "[embedding]\nmodel = \"hashed-ngrams\"\n[redaction]\nkey = \"0123456789abcdef0123456789abcdef\"\n",
    )?;
    // It counts as there when it is whole.
    let unfinished: PathBuf = setup.folder.join("lake.unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    let begun = Instant::now();
    let mut command = Command::new(setup.program);
    command.arg("--config").arg(&config).arg("--lake").arg(&unfinished).arg("replay").args(&files);
    let status = command.status()?;
    if !status.success() {
        return Err(format!("replaying the telemetry failed: {status}").into());
    }
    println!("replayed in {:.0} s", begun.elapsed().as_secs_f64());
    fs::rename(unfinished, lake)?;
    fs::remove_dir_all(telemetry)?;
    Ok(())
}

async fn session(lake: &Path) -> Outcome<Session> {
    let lake = Lake::open_to_ask(LakeOptions::new(lake.display().to_string())).await?;
    let options = SessionOptions { memory_limit: MEMORY, time_limit: LIMIT, ..SessionOptions::new("default") };
    Ok(Session::open(&lake, options).await?)
}

/// The texts in the column `t` of an answer.
async fn texts(session: &Session, query: &str) -> Outcome<Vec<String>> {
    let mut texts = Vec::new();
    for batch in session.collect(query, None).await? {
        for row in json::rows(&batch)? {
            texts.extend(row.get("t").and_then(|value| value.as_str()).map(str::to_owned));
        }
    }
    Ok(texts)
}

async fn ask(session: &Session, sql: &str) -> Outcome<Answer> {
    let begun = Instant::now();
    let batches = session.collect(sql, None).await?;
    let time = begun.elapsed();
    let (mut rows, mut sum) = (0, 0);
    for batch in &batches {
        let column = batch.column_by_name("n").ok_or("an answer without n")?;
        let numbers = column.as_primitive_opt::<Int64Type>().ok_or("n is no whole number")?;
        rows += batch.num_rows();
        sum += compute::sum(numbers).unwrap_or(0);
    }
    Ok(Answer { time, rows, sum })
}

async fn beside_duckdb(setup: &Setup<'_>, session: &Session, files: &Path, traces: &[String]) -> Outcome<()> {
    let mut duckdb = Duckdb::start(setup.python, files)?;
    let counts = "select (select count(*) from spans) || ' spans, ' || (select count(*) from logs) || ' logs, ' || \
                  (select count(*) from traces) || ' traces, ' || (select count(*) from failures) || ' failures' as t";
    println!("{}; DuckDB {}", texts(session, counts).await?.concat(), duckdb.version);
    println!("{:<36} {:>8} {:>12} {:>12} {:>8}", "", "rows", "ours ms", "DuckDB ms", "ratio");
    let (mut logarithms, mut worst) = (0.0, 0.0_f64);
    for question in &QUESTIONS {
        let (ours, theirs, rows) = compare(session, &mut duckdb, question, traces).await?;
        let ratio = ours / theirs;
        let note = if ratio > AIM_OF_ONE { "  misses" } else { "" };
        println!("{:<36} {rows:>8} {ours:>12.2} {theirs:>12.2} {ratio:>8.2}{note}", question.name);
        logarithms += ratio.ln();
        worst = worst.max(ratio);
    }
    let mean = (logarithms / QUESTIONS.len() as f64).exp();
    let verdict = if mean <= AIM && worst <= AIM_OF_ONE { "holds" } else { "misses" };
    println!(
        "geometric mean {mean:.2}, worst {worst:.2}; the aim, {AIM} and {AIM_OF_ONE}: {verdict}; peak {} MiB",
        machine::peak_memory() >> 20
    );
    Ok(())
}

/// The medians of both sides in ms, and the rows of the answer.
async fn compare(
    session: &Session,
    duckdb: &mut Duckdb,
    question: &Question,
    traces: &[String],
) -> Outcome<(f64, f64, usize)> {
    let (mut ours, mut theirs, mut rows) = (Vec::new(), Vec::new(), 0);
    for (round, trace) in traces.iter().cycle().take(ROUNDS + 1).enumerate() {
        let our = ask(session, &question.sql.replace("{trace}", trace)).await?;
        let their = duckdb.ask(&question.for_duckdb.unwrap_or(question.sql).replace("{trace}", trace))?;
        if (our.rows, our.sum) != (their.rows, their.sum) {
            return Err(format!("{}: the answers differ, {our:?} and {their:?}", question.name).into());
        }
        rows = our.rows;
        // The first one warms up.
        if round > 0 {
            ours.push(our.time);
            theirs.push(their.time);
        }
    }
    Ok((quantile(&mut ours, 0.5), quantile(&mut theirs, 0.5), rows))
}

async fn look_ups(server: &Server, traces: &[String]) -> Outcome<()> {
    println!("{:<36} {:>8} {:>12} {:>12}", "one client", "requests", "p50 ms", "p99 ms");
    for ask in Ask::ALL {
        let mut times = server.client().times(ask, traces, WARM_UP).await?;
        let (p50, p99) = (quantile(&mut times, 0.5), quantile(&mut times, 0.99));
        println!("{:<36} {:>8} {p50:>12.2} {p99:>12.2}", ask.name(), times.len());
    }
    Ok(())
}

async fn clients(server: &Server, traces: &Arc<[String]>) -> Outcome<()> {
    let before = machine::cpu_time_of(server.pid());
    let mut storm = server::storm(server.client(), traces).await?;
    let cpu = machine::cpu_time_of(server.pid()) - before;
    println!("{CLIENTS} clients at once for {STORM:?}, answers in each second:");
    let seconds: Vec<String> = storm.answers.iter().map(usize::to_string).collect();
    println!("  {}", seconds.join(" "));
    // In the first second connections are made.
    let mut later: Vec<usize> = storm.answers.iter().skip(1).copied().collect();
    later.sort_unstable();
    let median = later.get(later.len() / 2).copied().unwrap_or(0);
    let least = later.first().copied().unwrap_or(0);
    let verdict = if least as f64 >= median as f64 * FLAT { "flat" } else { "NOT flat" };
    println!(
        "{verdict}: median {median}, least {least}; p50 {:.1} ms, p99 {:.1} ms; {:.1} CPU-seconds of the server, peak {} MiB",
        quantile(&mut storm.times, 0.5),
        quantile(&mut storm.times, 0.99),
        cpu.as_secs_f64(),
        machine::peak_memory_of(server.pid()) >> 20
    );
    println!("{} errors", storm.errors.values().sum::<usize>());
    for (error, count) in &storm.errors {
        println!("  {count} times {error}");
    }
    Ok(())
}

/// A quantile in ms, of the nearest rank below.
fn quantile(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    let rank = ((times.len() as f64 - 1.0) * share).max(0.0) as usize;
    times.get(rank).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

//! Memory of a worker over a soak: one rate for minutes, resident memory every ten seconds.

#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};

use crate::broker::create_topic;
use crate::rich::Traces;
use crate::steady::Steady;
use crate::worker::{Setup, Worker};
use crate::{Outcome, machine};

const PARTITIONS: i32 = 8;
const SAMPLE: Duration = Duration::from_secs(10);
/// Memory that grows by less than this part from the second quarter to the last is flat. The first is left out: caches
/// and the window fill then.
const FLAT: f64 = 0.1;

/// Prints least, median and greatest resident memory of each quarter, and whether it is flat.
///
/// # Errors
/// When the broker does not take the load, the worker ends, or the time is too short for a sample in each quarter.
pub fn run(broker: &str, program: &str, minutes: u64, spans_per_second: u64) -> Outcome<()> {
    println!("{}", machine::describe());
    let topic = format!("soak-{}", std::process::id());
    create_topic(broker, &topic, PARTITIONS)?;
    let folder = tempfile::tempdir()?;
    let lake = folder.path().join("lake");
    let setup = Setup { broker, program, topic: &topic, group: &topic, lake: &lake, folder: folder.path(), more: "" };
    let load = Steady::start(broker, &topic, spans_per_second, Traces::new(42))?;
    let mut worker = Worker::start(&setup, "worker")?;
    let samples = sampled(&mut worker, Duration::from_secs(minutes * 60))?;
    let cpu = machine::cpu_time_of(worker.pid()).as_secs_f64();
    let peak = machine::peak_memory_of(worker.pid());
    let lag = worker.metric("tracerag_lag_records").unwrap_or(f64::NAN);
    let sent = load.end()?;
    println!("{minutes} minutes, {sent} spans, {cpu:.1} CPU-seconds, {lag} messages unread at the end");
    println!("{:<10} {:>8} {:>10} {:>12} {:>10}", "RSS, MiB", "samples", "min", "median", "max");
    let mut medians = Vec::new();
    for (number, quarter) in quarters(&samples).enumerate() {
        let mut sorted = quarter.to_vec();
        sorted.sort_unstable();
        let (Some(min), Some(median), Some(max)) = (sorted.first(), sorted.get(sorted.len() / 2), sorted.last()) else {
            return Err("too short for a sample in each quarter; give a minute or more".into());
        };
        let name = format!("quarter {}", number + 1);
        println!("{name:<10} {:>8} {:>10} {:>12} {:>10}", sorted.len(), min >> 20, median >> 20, max >> 20);
        medians.push(*median as f64);
    }
    if let [_, second, .., last] = medians.as_slice() {
        let growth = last / second - 1.0;
        let verdict = if growth < FLAT { "flat" } else { "NOT flat" };
        println!("{verdict}: {:+.1} % from the second quarter to the last; peak {} MiB", growth * 100.0, peak >> 20);
    }
    Ok(())
}

/// Resident memory in bytes, as often as it fits into the time.
fn sampled(worker: &mut Worker, time: Duration) -> Outcome<Vec<u64>> {
    let begun = Instant::now();
    let mut samples = Vec::new();
    loop {
        let next = SAMPLE * (samples.len() as u32 + 1);
        if next > time {
            return Ok(samples);
        }
        std::thread::sleep(next.saturating_sub(begun.elapsed()));
        worker.check()?;
        samples.push(machine::memory_of(worker.pid()));
    }
}

/// Four parts of nearly one length.
fn quarters(samples: &[u64]) -> impl Iterator<Item = &[u64]> {
    (0..4).map(move |number| &samples[samples.len() * number / 4..samples.len() * (number + 1) / 4])
}

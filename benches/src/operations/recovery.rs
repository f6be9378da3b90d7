//! Recovery: a worker that holds five minutes of open traces of one partition dies by `kill -9` under load, and a new
//! one starts at once.
//!
//! The traces lack their roots, so that a window of `idle_gap = "5m"` holds each for five minutes. Those that are begun
//! before the start carry timestamps of the five minutes before, which is what decides: nobody has to wait for them.

#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::broker::{Producer, create_topic};
use crate::rich::Traces;
use crate::steady::Steady;
use crate::worker::{Setup, Worker};
use crate::{Outcome, machine};

/// How long each trace is open.
const OPEN: Duration = Duration::from_secs(300);
/// After this long without a sign of life the group gives a worker's partitions to another. The last sign came up to
/// three seconds before the kill.
const SESSION: Duration = Duration::from_secs(10);
const SETTINGS: &str = "[kafka.options]\n\"session.timeout.ms\" = \"10000\"\n[window]\nidle_gap = \"5m\"\n";
/// Lag of a worker that has caught up, in seconds of the load: its gauge is measured every second, and a fetch takes
/// its time.
const BEHIND: f64 = 3.0;
/// Part of the open traces that must be there.
const ENOUGH: f64 = 0.8;
/// Some epochs, after which the journal has everything that came before.
const SETTLED: Duration = Duration::from_secs(10);
const LIMIT: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(100);

/// What a worker that has caught up shows.
struct Wanted {
    /// Records that are not read yet, at most.
    lag: f64,
    /// Open traces, at least.
    open: f64,
}

/// When, after the kill, what was so.
struct Recovered {
    ready: Duration,
    caught_up: Duration,
    open: f64,
}

/// Prints how long it takes from the kill until `/readyz` of the new worker answers 200, its open traces are there
/// again, and nothing is left to read.
///
/// # Errors
/// When the broker does not take the load, or a worker ends or does not catch up.
pub fn run(broker: &str, program: &str, spans_per_second: u64) -> Outcome<()> {
    println!("{}", machine::describe());
    let topic = format!("recovery-{}", std::process::id());
    create_topic(broker, &topic, 1)?;
    let mut traces = Traces::without_roots(42);
    let (sent, spans) = send_past(broker, &topic, spans_per_second, &mut traces)?;
    let per_second = sent as f64 / OPEN.as_secs_f64();
    let wanted = Wanted { lag: per_second * BEHIND, open: sent as f64 * ENOUGH };
    let load = Steady::start(broker, &topic, spans_per_second, traces)?;
    println!("{spans} spans in {sent} traces without roots, of {OPEN:?}; {spans_per_second} more spans a second");

    let folder = tempfile::tempdir()?;
    let lake = folder.path().join("lake");
    let setup =
        Setup { broker, program, topic: &topic, group: &topic, lake: &lake, folder: folder.path(), more: SETTINGS };
    let mut first = Worker::start(&setup, "first")?;
    let filled = recovered(&mut first, Instant::now(), &wanted)?;
    std::thread::sleep(SETTLED);
    first.check()?;
    let open = first.metric("tracerag_open_traces").unwrap_or(filled.open);
    let held = first.metric("tracerag_window_bytes").unwrap_or(f64::NAN);
    println!("killed with {open} open traces, {:.0} MiB in the window", held / f64::from(1 << 20));

    let begun = Instant::now();
    drop(first);
    let mut second = Worker::start(&setup, "second")?;
    let again = recovered(&mut second, begun, &wanted)?;
    let pid = second.pid();
    println!("{:<44} {:>8} {:>24}", "", "s", "beyond session time-out");
    for (name, time) in [("ready", again.ready), ("ready, window rebuilt, nothing left to read", again.caught_up)] {
        let beyond = time.as_secs_f64() - SESSION.as_secs_f64();
        println!("{name:<44} {:>8.1} {beyond:>24.1}", time.as_secs_f64());
    }
    println!(
        "{} open traces again, {:.1} CPU-seconds, peak {} MiB; session time-out {SESSION:?}",
        again.open,
        machine::cpu_time_of(pid).as_secs_f64(),
        machine::peak_memory_of(pid) >> 20
    );
    load.end()?;
    Ok(())
}

/// Sends what came in the last five minutes; gives traces and spans.
fn send_past(broker: &str, topic: &str, spans_per_second: u64, traces: &mut Traces) -> Outcome<(u64, u64)> {
    let producer = Producer::new(broker, topic)?;
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let open = i64::try_from(OPEN.as_millis())?;
    let all = spans_per_second * OPEN.as_secs();
    let (mut sent, mut spans) = (0_u64, 0_u64);
    while spans < all {
        let trace = traces.draw();
        let passed = (open as f64 * spans as f64 / all as f64) as i64;
        producer.send(Some(&trace.id), &trace.encoded, Some(now - open + passed))?;
        spans += trace.spans as u64;
        sent += 1;
    }
    producer.flush()?;
    Ok((sent, spans))
}

/// Waits until a worker has caught up.
fn recovered(worker: &mut Worker, begun: Instant, wanted: &Wanted) -> Outcome<Recovered> {
    let mut ready = None;
    while begun.elapsed() < LIMIT {
        worker.check()?;
        if worker.is_ready() {
            let ready = *ready.get_or_insert_with(|| begun.elapsed());
            let lag = worker.metric("tracerag_lag_records").filter(|lag| *lag <= wanted.lag);
            let open = worker.metric("tracerag_open_traces").filter(|open| *open >= wanted.open);
            if let (Some(_), Some(open)) = (lag, open) {
                return Ok(Recovered { ready, caught_up: begun.elapsed(), open });
            }
        }
        std::thread::sleep(LOOK);
    }
    Err(format!(
        "after {LIMIT:?} the worker lags behind or has not {:.0} traces open; lower SPANS_PER_SECOND",
        wanted.open
    )
    .into())
}

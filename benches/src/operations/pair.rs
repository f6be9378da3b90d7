//! Two workers against one on the same backlog: a topic of eight partitions, keyed by trace id.

#![allow(clippy::print_stdout)]

use std::time::Instant;

use crate::broker::{Producer, create_topic};
use crate::rich::Traces;
use crate::watch::{Measured, ShownSpans, until_done};
use crate::worker::{Setup, Worker};
use crate::{Outcome, machine};

const PARTITIONS: i32 = 8;

/// Produces at least that many spans, lets one worker and then two take them into lakes of their own, and prints what
/// each took. The workers start at once, so the time to join the group is in both.
///
/// # Errors
/// When the broker does not take the spans, or a worker ends or does not come to their end.
pub fn run(broker: &str, program: &str, spans: u64) -> Outcome<()> {
    println!("{}", machine::describe());
    let topic = format!("pair-{}", std::process::id());
    create_topic(broker, &topic, PARTITIONS)?;
    let producer = Producer::new(broker, &topic)?;
    let mut traces = Traces::new(42);
    let (mut sent, mut bytes) = (0_u64, 0_u64);
    while sent < spans {
        let trace = traces.draw();
        producer.send(Some(&trace.id), &trace.encoded, None)?;
        sent += trace.spans as u64;
        bytes += trace.encoded.len() as u64;
    }
    producer.flush()?;
    println!("{sent} spans of {} bytes, a message a trace, {PARTITIONS} partitions", bytes / sent.max(1));
    let one = measured(broker, program, &topic, sent, 1)?;
    let two = measured(broker, program, &topic, sent, 2)?;
    println!("{:<12} {:>10} {:>10} {:>12} {:>14} {:>10}", "", "wall s", "CPU-s", "spans/s", "spans/CPU-s", "peak MiB");
    for measured in [&one, &two] {
        let (wall, cpu) = (measured.wall.as_secs_f64(), measured.cpu.as_secs_f64());
        println!(
            "{:<12} {wall:>10.1} {cpu:>10.1} {:>12.0} {:>14.0} {:>10}",
            measured.name,
            sent as f64 / wall,
            sent as f64 / cpu,
            measured.peak >> 20
        );
    }
    println!(
        "two workers: {:.2} times as fast, for {:.2} times the CPU",
        one.wall.as_secs_f64() / two.wall.as_secs_f64(),
        two.cpu.as_secs_f64() / one.cpu.as_secs_f64()
    );
    Ok(())
}

fn measured(broker: &str, program: &str, topic: &str, spans: u64, count: usize) -> Outcome<Measured> {
    let folder = tempfile::tempdir()?;
    let lake = folder.path().join("lake");
    let group = format!("{topic}-{count}");
    let setup = Setup { broker, program, topic, group: &group, lake: &lake, folder: folder.path(), more: "" };
    let mut shown = ShownSpans::of(&lake)?;
    let begun = Instant::now();
    let mut workers = Vec::with_capacity(count);
    for number in 1..=count {
        workers.push(Worker::start(&setup, &format!("worker-{number}"))?);
    }
    let pids: Vec<u32> = workers.iter().map(Worker::pid).collect();
    let name = if count == 1 { String::from("one worker") } else { format!("{count} workers") };
    until_done(&name, &pids, begun, || {
        workers.iter_mut().try_for_each(Worker::check)?;
        Ok(shown.count() == Some(spans))
    })
}

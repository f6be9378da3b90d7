//! Spans per CPU-second of the decoder, beside prost's structs and Arrow's builders on the same messages.
//!
//! `cargo run --release -p tracerag-benches --no-default-features --bin decode [spans]`

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::Duration;

use tracerag_benches::decoding::{decode, measured};
use tracerag_benches::{machine, reference, rich};
use tracerag_ingest::redact::Policy;

const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let spans = std::env::args().nth(1).map_or(Ok(400_000), |text| text.parse())?;
    let load = rich::messages(42, spans);
    println!(
        "{}; {} spans of {} bytes in {} messages",
        machine::describe(),
        load.spans,
        load.bytes / load.spans,
        load.encoded.len()
    );
    println!("{:<44} {:>16} {:>10}", "", "spans/CPU-second", "ratio");
    // Side by side: a round of each in turn, so that both see the same machine.
    let mut times = [Duration::MAX; 3];
    for _ in 0..ROUNDS {
        let runs = [
            measured(|| decode(&load.encoded, Policy::Standard))?,
            measured(|| decode(&load.encoded, Policy::Off))?,
            measured(|| Ok(reference::decode(&load.encoded)?))?,
        ];
        for (best, (time, rows)) in times.iter_mut().zip(runs) {
            assert_eq!(rows, load.spans, "every span is a row");
            *best = time.min(*best);
        }
    }
    let names = ["tracerag, redaction standard", "tracerag, redaction off", "prost + Arrow builders, no redaction"];
    let rate = |time: Duration| load.spans as f64 / time.as_secs_f64();
    for (name, time) in names.iter().zip(times) {
        println!("{name:<44} {:>16.0} {:>9.2}x", rate(time), rate(time) / rate(times[2]));
    }
    Ok(())
}

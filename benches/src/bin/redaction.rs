//! What redaction costs: CPU time a span under each policy, and time a byte of texts that are made to be slow.
//!
//! `cargo run --release -p tracerag-benches --no-default-features --bin redaction [SPANS]`. It fails if a byte of the
//! longest hostile text takes many times as long as one of a short one.

#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};

use tracerag_benches::decoding::{decode, measured, redactor};
use tracerag_benches::{Outcome, machine, rich};
use tracerag_ingest::redact::{Policy, RedactionCounts, Redactor};

const ROUNDS: usize = 5;
const POLICIES: [(&str, Policy); 3] =
    [("off", Policy::Off), ("standard", Policy::Standard), ("strict", Policy::Strict)];

/// Bytes of the texts.
const SIZES: [usize; 4] = [1 << 10, 64 << 10, 1 << 20, 4 << 20];

/// How many times as long a byte of the longest text may take. A text that is read again from each repetition on would
/// take thousands of times as long.
const MOST: f64 = 8.0;

/// Of what the texts are made: ordinary ones to compare with, and beginnings of what is looked for without its end.
const PIECES: [(&str, &str); 12] = [
    ("clean", "order placed by the shop "),
    ("secrets", "password=hunter2 mail to jane@example.com, "),
    ("addresses", "a@"),
    ("begin lines", "-----BEGIN PRIVATE KEY-----\""),
    ("lists", "secret={"),
    ("basic", "basic+"),
    ("data sources", "a@tcp("),
    ("tokens", "eyJhbGciOiJIUzI1NiJ9."),
    ("assignments", "token=a,"),
    ("percent", "%2540"),
    ("escapes", "\\\\\""),
    ("cards", "4111 1111 1111 1111 "),
];

fn main() -> Outcome<()> {
    let spans = std::env::args().nth(1).map_or(Ok(400_000), |text| text.parse())?;
    println!("{}", machine::describe());
    cost_of_spans(spans)?;
    hostile_texts()
}

fn cost_of_spans(spans: usize) -> Outcome<()> {
    let load = rich::messages(42, spans);
    // In turn, so that all see the same machine.
    let mut times = [Duration::MAX; POLICIES.len()];
    for _ in 0..ROUNDS {
        for (best, (_, policy)) in times.iter_mut().zip(POLICIES) {
            let (time, rows) = measured(|| decode(&load.encoded, policy))?;
            if rows != load.spans {
                return Err(format!("{rows} rows of {} spans", load.spans).into());
            }
            *best = time.min(*best);
        }
    }
    let nanos = |time: Duration| time.as_nanos() as f64 / load.spans as f64;
    println!("\n{:<12} {:>14} {:>16}", "policy", "CPU ns a span", "more than off");
    for ((name, _), time) in POLICIES.iter().zip(times) {
        println!("{name:<12} {:>14.0} {:>15.0} %", nanos(time), 100.0 * (nanos(time) / nanos(times[0]) - 1.0));
    }
    Ok(())
}

fn hostile_texts() -> Outcome<()> {
    let redactor = redactor(Policy::Standard)?;
    println!("\n{:<14} {:>9} {:>9} {:>9} {:>9}", "ns a byte", "1 KiB", "64 KiB", "1 MiB", "4 MiB");
    let mut slow = Vec::new();
    for (name, piece) in PIECES {
        let costs = SIZES.map(|size| nanos_a_byte(&redactor, &piece.repeat(size.div_ceil(piece.len()))));
        println!("{name:<14} {:>9.2} {:>9.2} {:>9.2} {:>9.2}", costs[0], costs[1], costs[2], costs[3]);
        // Below a nanosecond a byte the caches make the difference.
        if costs[3] > MOST * costs[1].max(1.0) {
            slow.push(name);
        }
    }
    if slow.is_empty() { Ok(()) } else { Err(format!("not linear: {}", slow.join(", ")).into()) }
}

/// The best of several rounds, each long enough to be measured.
fn nanos_a_byte(redactor: &Redactor, text: &str) -> f64 {
    let repeats = (SIZES[2] / text.len()).max(1);
    let round = || {
        let start = Instant::now();
        for _ in 0..repeats {
            std::hint::black_box(redactor.redact_text(text, &mut RedactionCounts::default()));
        }
        start.elapsed().as_nanos() as f64 / (repeats * text.len()) as f64
    };
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}

//! Spans per CPU-second of the decoder, beside prost's structs and Arrow's builders on the same messages.
//!
//! `cargo run --release -p tracerag-benches --no-default-features --bin decode [spans]`

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tracerag_benches::{machine, reference, rich};
use tracerag_ingest::otlp::{DecoderConfig, Encoding, Message, OtlpDecoder, Signal};
use tracerag_ingest::redact::{PayloadConfig, RedactionConfig, Redactor};

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
            measured(|| decode(&load.encoded, "standard"))?,
            measured(|| decode(&load.encoded, "off"))?,
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

fn measured(run: impl FnOnce() -> Result<usize, Box<dyn Error>>) -> Result<(Duration, usize), Box<dyn Error>> {
    let before = machine::cpu_time();
    let rows = run()?;
    Ok((machine::cpu_time() - before, rows))
}

fn decode(messages: &[Vec<u8>], policy: &str) -> Result<usize, Box<dyn Error>> {
    let config: RedactionConfig = redaction(policy)?;
    let redactor = Arc::new(Redactor::new(&config, &PayloadConfig::default())?);
    let mut decoder = OtlpDecoder::new(DecoderConfig::new(redactor));
    let topic: Arc<str> = Arc::from("otlp_spans");
    let tenant: Arc<str> = Arc::from("default");
    let mut rows = 0;
    for (offset, value) in messages.iter().enumerate() {
        let message = Message {
            value,
            topic: &topic,
            partition: 0,
            offset: offset as i64,
            tenant: &tenant,
            timestamp_ns: 1,
            ingested_at: 1,
            headers: &[],
        };
        decoder.decode(Signal::Spans, Encoding::Proto, message)?;
        if decoder.rows() >= 8_192 {
            rows += decoder.finish()?.spans.map_or(0, |batch| batch.num_rows());
        }
    }
    Ok(rows + decoder.finish()?.spans.map_or(0, |batch| batch.num_rows()))
}

fn redaction(policy: &str) -> Result<RedactionConfig, Box<dyn Error>> {
    let policy = match policy {
        "off" => tracerag_ingest::redact::Policy::Off,
        _ => tracerag_ingest::redact::Policy::Standard,
    };
    Ok(RedactionConfig { policy, key: "0123456789abcdef0123456789abcdef".to_owned(), ..RedactionConfig::default() })
}

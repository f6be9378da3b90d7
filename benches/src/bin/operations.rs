//! What it costs to lose nothing and to write nothing twice.
//!
//! `cargo run --release -p tracerag-benches --bin operations -- COMMAND ...`
//!
//! - `journal LAKE [SPANS_PER_EPOCH]...`: CPU time of epochs through the journal beside plain appends of the same rows.
//!   They come from a lake that `backlog` has kept, and are held in memory: half a million spans are enough.
//! - `epochs [EPOCHS]`: queries, files and bytes of a lake over thousands of small epochs with upkeep.
//! - `requests LAKE VERSITYGW [SPANS_PER_EPOCH]...`: requests of the same epochs to S3, by kind, beside their bound.
//!   VERSITYGW is the server's binary, which `scripts/versitygw/build.sh` makes.
//! - `recovery BROKER TRACERAG [SPANS_PER_SECOND]`: seconds from `kill -9` of a worker to a new one that has caught up.
//! - `pair BROKER TRACERAG [SPANS]`: two workers against one on the same backlog.
//! - `soak BROKER TRACERAG [MINUTES] [SPANS_PER_SECOND]`: whether a worker's memory stays flat.
//!
//! BROKER is a broker's address, TRACERAG the program, built with `--release`.

use tracerag_benches::Outcome;
use tracerag_benches::operations::{epochs, journal, pair, recovery, requests, soak};

const USAGE: &str = "usage: operations journal LAKE [SPANS_PER_EPOCH]... | epochs [EPOCHS] \
                     | requests LAKE VERSITYGW [SPANS_PER_EPOCH]... | recovery BROKER TRACERAG [SPANS_PER_SECOND] \
                     | pair BROKER TRACERAG [SPANS] | soak BROKER TRACERAG [MINUTES] [SPANS_PER_SECOND]";

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["journal", lake, sizes @ ..] => runtime()?.block_on(journal::run(lake, &numbers(sizes)?)),
        ["epochs", rest @ ..] => runtime()?.block_on(epochs::run(number(rest, 0, 10_000)?)),
        ["requests", lake, server, sizes @ ..] => runtime()?.block_on(requests::run(lake, server, &numbers(sizes)?)),
        ["recovery", broker, program, rest @ ..] => recovery::run(broker, program, number(rest, 0, 1_000)?),
        ["pair", broker, program, rest @ ..] => pair::run(broker, program, number(rest, 0, 1_000_000)?),
        ["soak", broker, program, rest @ ..] => {
            soak::run(broker, program, number(rest, 0, 20)?, number(rest, 1, 2_000)?)
        }
        _ => Err(USAGE.into()),
    }
}

fn runtime() -> Outcome<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

fn numbers(arguments: &[&str]) -> Outcome<Vec<usize>> {
    Ok(arguments.iter().map(|text| text.parse::<usize>()).collect::<Result<Vec<usize>, _>>()?)
}

/// The argument at a place, or what stands for it.
fn number(arguments: &[&str], place: usize, otherwise: u64) -> Outcome<u64> {
    Ok(arguments.get(place).map_or(Ok(otherwise), |text| text.parse())?)
}

//! Whether analysts can use tracerag as they use a database: twelve questions beside DuckDB on the same rows, then look-ups,
//! bundles and many clients over HTTP and MCP.
//!
//! `cargo run --release -p tracerag-benches --bin analyst -- TRACERAG PYTHON [SPANS] [FOLDER]`
//!
//! TRACERAG is the program, built with `--release`; PYTHON one that has DuckDB: `scripts/duckdb/build.sh` makes it and
//! prints its path. SPANS are 10 million, if nothing is said. FOLDER keeps lake and Parquet files, and those that are there
//! are used again. `TRACERAG_TEST_DATA` may name a folder with more of the train-ticket system than the repository has.

use std::path::{Path, PathBuf};

use tracerag_benches::Outcome;
use tracerag_benches::analyst::{Setup, run};

const USAGE: &str = "usage: analyst TRACERAG PYTHON [SPANS] [FOLDER]";

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let program = arguments.next().ok_or(USAGE)?;
    let python = arguments.next().ok_or(USAGE)?;
    let spans: u64 = arguments.next().map_or(Ok(10_000_000), |text| text.parse())?;
    let temporary = tempfile::tempdir()?;
    let folder = arguments.next().map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    let data = std::env::var_os("TRACERAG_TEST_DATA").map(|data| Path::new(&data).join("trainticket"));
    let train_ticket =
        data.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/trainticket"));
    run(&Setup { program: &program, python: &python, spans, folder: &folder, train_ticket: &train_ticket }).await
}

//! Whether failures are grouped right, and whether what is called similar is: figures beside their floors.
//!
//! `cargo run --release -p tracerag-benches --bin quality -- [DATA FOLDER] [TASK]... [OPTION VALUE]...`
//!
//! DATA FOLDER holds `trainticket/logs.jsonl.zst` and `traces.jsonl.zst`; without it the little that the repository has of
//! them is taken. A TASK is one of `statements`, `pairs`, `origins`, `causes`, `questions`,
//! `further-questions`, `contexts`, `merges`, `splits`, `vectors` and `pace`; without one, all are measured. Options:
//!
//! - `--program PATH`: tracerag, built with `--release`; without it, the one beside this program
//! - `--size N`: vectors to search in, 100,000 if nothing is said; `--queries N`: how many are looked for
//! - `--splits N`: splits of good traffic, 1,000 if nothing is said
//! - `--failures N`: failures that are distinct, 10,000 if nothing is said
//! - `--export FOLDER`: keeps the vectors there as `base.npy` and `queries.fvecs`
//! - `--python PATH`: a Python that has faiss and hnswlib, which are then measured on the exported vectors
//!   (`scripts/peers/build.sh` makes it and prints its path)
//! - `--seed N`

use std::path::PathBuf;

use tracerag_benches::Outcome;
use tracerag_benches::quality::{self, Setup, Task};

#[tokio::main]
async fn main() -> Outcome<()> {
    quality::run(&setup(std::env::args().skip(1))?).await
}

fn setup(mut arguments: impl Iterator<Item = String>) -> Outcome<Setup> {
    let mut setup = Setup::new()?;
    while let Some(argument) = arguments.next() {
        if let Some(task) = Task::named(&argument) {
            setup.tasks.push(task);
            continue;
        }
        if !argument.starts_with("--") {
            setup.data = Some(PathBuf::from(argument));
            continue;
        }
        let value = arguments.next().ok_or_else(|| format!("{argument} needs a value"))?;
        match argument.as_str() {
            "--program" => setup.program = PathBuf::from(value),
            "--export" => setup.export = Some(PathBuf::from(value)),
            "--python" => setup.python = Some(PathBuf::from(value)),
            "--size" => setup.size = value.parse()?,
            "--queries" => setup.queries = value.parse()?,
            "--splits" => setup.splits = value.parse()?,
            "--failures" => setup.failures = value.parse()?,
            "--seed" => setup.seed = value.parse()?,
            _ => return Err(format!("there is no option {argument}; see the head of quality.rs").into()),
        }
    }
    if let Some(folder) = setup.data.as_ref().filter(|folder| !folder.is_dir()) {
        return Err(format!("{} is neither a task nor a folder", folder.display()).into());
    }
    Ok(setup)
}

//! Whether questions about incidents stay quick with a million incidents in one tenant, and with ten thousand tenants
//! of a hundred.
//!
//! `cargo run --release -p tracerag-benches --bin incidents -- [OPTION VALUE]...`
//!
//! - `--incidents N`: incidents of the large tenant, 1,000,000 if nothing is said; 0 leaves that lake out
//! - `--tenants N`: tenants of a hundred incidents, 10,000 if nothing is said; 0 leaves that lake out
//! - `--rounds N`: how often each question is asked, 200 if nothing is said
//! - `--seconds N`: how long questions are asked beside upkeep, 60 if nothing is said
//! - `--folder PATH`: keeps the lakes there for the next run, which then only asks; after an hour nothing in them is new
//! - `--seed N`

use std::path::PathBuf;

use tracerag_benches::Outcome;
use tracerag_benches::scale::{self, Setup};

#[tokio::main]
async fn main() -> Outcome<()> {
    scale::run(&setup(std::env::args().skip(1))?).await
}

fn setup(mut arguments: impl Iterator<Item = String>) -> Outcome<Setup> {
    let mut setup = Setup::default();
    while let Some(argument) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{argument} needs a value"))?;
        match argument.as_str() {
            "--incidents" => setup.incidents = value.parse()?,
            "--tenants" => setup.tenants = value.parse()?,
            "--rounds" => setup.rounds = value.parse()?,
            "--seconds" => setup.seconds = value.parse()?,
            "--folder" => setup.folder = Some(PathBuf::from(value)),
            "--seed" => setup.seed = value.parse()?,
            _ => return Err(format!("there is no option {argument}; see the head of incidents.rs").into()),
        }
    }
    Ok(setup)
}

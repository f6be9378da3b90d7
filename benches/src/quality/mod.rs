//! Figures of grouping, similarity and comparison, each beside its floor on the same split.
//!
//! - **In:** the recording of `examples/checkout` with its truth, telemetry of the train-ticket system, incidents and
//!   questions that were written by hand (`benches/quality`), and failures and vectors drawn with a seed.
//! - **Out:** one line a figure: what it is, what stands beside it, and what it should reach.
//!
//! Everything that is measured is the program's own code: its failures, templates, searches and comparisons. What is
//! written here are the floors, the generators and the counting. None of it was used to tune the program.

#![allow(clippy::print_stdout)]

mod causes;
mod contexts;
mod drawn;
mod extracted;
mod lakes;
mod merges;
mod origins;
mod pace;
mod pairs;
mod peers;
mod questions;
mod splits;
mod stacks;
mod statements;
mod table;
mod tfidf;
mod truth;
mod vectors;

use std::path::{Path, PathBuf};

use tracerag_index::failures::{FINGERPRINT_VERSION, MASK_VERSION};
use tracerag_index::templates::TEMPLATE_VERSION;

use crate::{Outcome, machine};
use lakes::Lakes;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Whether the nearest message is of the same log statement.
    Statements,
    /// Whether failures of one cause, and only these, have one fingerprint.
    Pairs,
    /// Whether the failure that the others come of is found.
    Origins,
    /// Whether what the story did is among the first three that differ.
    Causes,
    /// Whether a plain question finds its incident.
    Questions,
    /// The same with further questions, among more incidents.
    Further,
    /// Whether a trace finds the other incidents of its fault, with and without what is compared beside the texts.
    Contexts,
    /// How many distinct failures share a fingerprint.
    Merges,
    /// How often good traffic differs from itself.
    Splits,
    /// How well and how fast the nearest vectors are found.
    Vectors,
    /// Failures a CPU-second.
    Pace,
}

impl Task {
    const ALL: [Self; 11] = [
        Self::Statements,
        Self::Pairs,
        Self::Origins,
        Self::Causes,
        Self::Questions,
        Self::Further,
        Self::Contexts,
        Self::Merges,
        Self::Splits,
        Self::Vectors,
        Self::Pace,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Statements => "statements",
            Self::Pairs => "pairs",
            Self::Origins => "origins",
            Self::Causes => "causes",
            Self::Questions => "questions",
            Self::Further => "further-questions",
            Self::Contexts => "contexts",
            Self::Merges => "merges",
            Self::Splits => "splits",
            Self::Vectors => "vectors",
            Self::Pace => "pace",
        }
    }

    /// The task of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|task| task.name() == name)
    }
}

/// How it is measured.
#[derive(Debug)]
pub struct Setup {
    /// A folder with more of the train-ticket telemetry than the repository has.
    pub data: Option<PathBuf>,
    /// What is measured; nothing: everything.
    pub tasks: Vec<Task>,
    /// The program that makes lakes of telemetry.
    pub program: PathBuf,
    /// Vectors that are searched.
    pub size: usize,
    /// Vectors that are looked for.
    pub queries: usize,
    /// Splits of good traffic.
    pub splits: usize,
    /// Distinct failures.
    pub failures: usize,
    /// Where vectors are exported to.
    pub export: Option<PathBuf>,
    /// A Python that has the peers.
    pub python: Option<PathBuf>,
    /// Of everything that is drawn.
    pub seed: u64,
}

impl Setup {
    /// What is measured if nothing is said.
    ///
    /// # Errors
    /// When the place of this program is not known.
    pub fn new() -> Outcome<Self> {
        Ok(Self {
            data: None,
            tasks: vec![],
            program: std::env::current_exe()?.with_file_name("tracerag"),
            size: 100_000,
            queries: 500,
            splits: 1_000,
            failures: 10_000,
            export: None,
            python: None,
            seed: 42,
        })
    }

    /// The folder with the train-ticket telemetry.
    fn train_ticket(&self) -> PathBuf {
        match &self.data {
            Some(data) => data.join("trainticket"),
            None => repository("tests/fixtures/trainticket"),
        }
    }
}

/// A path in the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Measures and prints.
///
/// # Errors
/// When a part cannot be made or does not answer.
pub async fn run(setup: &Setup) -> Outcome<()> {
    println!("{}", machine::describe());
    println!(
        "seed {}; fingerprints version {FINGERPRINT_VERSION}, masks {MASK_VERSION}, templates {TEMPLATE_VERSION}",
        setup.seed
    );
    let lakes = Lakes::new(setup)?;
    table::head();
    for task in Task::ALL {
        if !setup.tasks.is_empty() && !setup.tasks.contains(&task) {
            continue;
        }
        match task {
            Task::Statements => statements::measure(setup).await?,
            Task::Pairs => pairs::measure(&lakes).await?,
            Task::Origins => origins::measure(&lakes).await?,
            Task::Causes => causes::measure(&lakes).await?,
            Task::Questions => questions::measure(&lakes, &questions::WRITTEN).await?,
            Task::Further => questions::measure(&lakes, &questions::FURTHER).await?,
            Task::Contexts => contexts::measure(&lakes).await?,
            Task::Merges => merges::measure(setup)?,
            Task::Splits => splits::measure(setup, &lakes).await?,
            Task::Vectors => vectors::measure(setup).await?,
            Task::Pace => pace::measure(setup)?,
        }
    }
    println!("peak {} MiB", machine::peak_memory() >> 20);
    Ok(())
}

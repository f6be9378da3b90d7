//! Lakes with very many incidents: what questions about them take, how soon a new one is found, and the slowest answer
//! while the lake is written and kept.
//!
//! A server in this process is asked over HTTP, as clients ask it. Texts are drawn and embedded by hashed n-grams, so
//! neither the lake nor a question waits for a model: what is measured is the search.

#![allow(clippy::print_stdout)]

mod asked;
mod upkeep;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use tracerag_index::{Lake, LakeOptions};

use crate::incidents::{self, Drawn, Shape};
use crate::{Outcome, machine};
use asked::{Ask, Asked};

/// Incidents of each of many tenants.
const OF_EACH: usize = 100;
/// Of many tenants so many are asked for.
const ASKED_FOR: usize = 10;
/// Questions of each kind that are asked before it counts.
const WARM_UP: usize = 5;

/// What is measured.
#[derive(Debug)]
pub struct Setup {
    /// Incidents of the large tenant.
    pub incidents: usize,
    /// Tenants of a hundred incidents.
    pub tenants: usize,
    /// How often each question is asked.
    pub rounds: usize,
    /// How long questions are asked beside upkeep, in seconds.
    pub seconds: u64,
    /// Where the lakes are kept; without it they go when all is measured.
    pub folder: Option<PathBuf>,
    /// Of what is drawn.
    pub seed: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self { incidents: 1_000_000, tenants: 10_000, rounds: 200, seconds: 60, folder: None, seed: 42 }
    }
}

/// Makes the lakes where they are not there yet, and prints a table of each.
///
/// # Errors
/// When a lake cannot be written, kept or read.
pub async fn run(setup: &Setup) -> Outcome<()> {
    println!("{}", machine::describe());
    println!(
        "seed {}; texts embedded by hashed n-grams, in microseconds; asked over HTTP, one after the other",
        setup.seed
    );
    let temporary = tempfile::tempdir()?;
    let folder = setup.folder.as_deref().unwrap_or(temporary.path());
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?;
    let shapes = [
        Shape { tenants: 1, incidents: setup.incidents, seed: setup.seed, now },
        Shape { tenants: setup.tenants, incidents: OF_EACH, seed: setup.seed, now },
    ];
    for shape in shapes.iter().filter(|shape| shape.all() > 0) {
        measure(setup, folder, shape).await?;
    }
    println!("\npeak {} MiB, of server, worker and this program together", machine::peak_memory() >> 20);
    Ok(())
}

async fn measure(setup: &Setup, folder: &Path, shape: &Shape) -> Outcome<()> {
    let name = format!("{}x{}-{}", shape.tenants, shape.incidents, shape.seed);
    let lake = folder.join(&name);
    println!("\n{} tenants of {} incidents", shape.tenants, shape.incidents);
    if !lake.exists() {
        let begun = Instant::now();
        // One that was given up half way is not taken for whole.
        let part = folder.join(format!("{name}.part"));
        if part.exists() {
            fs::remove_dir_all(&part)?;
        }
        incidents::make(&part.display().to_string(), shape).await?;
        fs::rename(&part, &lake)?;
        println!("made, embedded and indexed in {:.1} s", begun.elapsed().as_secs_f64());
    }
    let lake = lake.display().to_string();
    println!("{:<44} {:>7} {:>9} {:>9} {:>9}  ", "", "answers", "p50 ms", "p99 ms", "most ms");
    let readers = Lake::open_to_ask(LakeOptions::new(lake.as_str())).await?;
    let tenants = ASKED_FOR.min(shape.tenants);
    let mut times: Vec<Times> = Ask::ALL.iter().map(|ask| Times::new(ask.name())).collect();
    for chosen in 0..tenants {
        // Every so many-th, so that their rows lie in all parts of the lake.
        let number = chosen * shape.tenants / tenants;
        let asked = Asked::start(readers.clone(), &shape.tenant(number)).await?;
        let questions = Drawn::new(&mut SmallRng::seed_from_u64(setup.seed + 1), shape, 0, OF_EACH);
        for (ask, times) in Ask::ALL.into_iter().zip(&mut times) {
            let rounds = setup.rounds.div_ceil(tenants);
            for round in 0..WARM_UP + rounds {
                let text = &questions.messages()[round % OF_EACH];
                let fingerprint = incidents::fingerprint(number * shape.incidents + round % shape.incidents);
                let answer = asked.ask(ask, text, &fingerprint).await;
                if round >= WARM_UP {
                    times.add(answer.map(|(time, _)| time));
                }
            }
        }
        asked.stop().await;
    }
    times.iter_mut().for_each(Times::print);
    upkeep::measure(setup, &lake, shape).await
}

/// How long answers took, and what was refused.
#[derive(Debug)]
struct Times {
    name: String,
    times: Vec<Duration>,
    refused: usize,
    why: String,
}

impl Times {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), times: vec![], refused: 0, why: String::new() }
    }

    fn add(&mut self, answer: Result<Duration, String>) {
        match answer {
            Ok(time) => self.times.push(time),
            Err(why) => {
                self.refused += 1;
                self.why = why;
            }
        }
    }

    fn print(&mut self) {
        self.times.sort_unstable();
        let at = |share: f64| {
            let place = (self.times.len() as f64 - 1.0) * share;
            self.times.get(place.max(0.0) as usize).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
        };
        let (count, p50, p99, most) = (self.times.len(), at(0.5), at(0.99), at(1.0));
        println!("{:<44} {count:>7} {p50:>9.1} {p99:>9.1} {most:>9.1}", self.name);
        if self.refused > 0 {
            println!("  and {} without an answer: {}", self.refused, self.why);
        }
    }
}

//! Failures a CPU-second: spans in flight are looked through, and what failed is taken apart, masked and given its
//! fingerprint.

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tracerag_index::failures::FailureRules;

use super::Setup;
use super::drawn::{self, Failure};
use super::extracted::{rows, spans};
use super::table::{Aim, note, row};
use crate::Outcome;
use crate::decoding::measured;

/// Failures that are extracted in a round.
const FAILURES: usize = 100_000;
/// Kinds of failures, where they repeat: as many as fail at a time in a bad hour.
const KINDS: usize = 50;
const ROUNDS: usize = 3;

pub(super) fn measure(setup: &Setup) -> Outcome<()> {
    let mut rng = SmallRng::seed_from_u64(setup.seed);
    let all: Vec<Failure> = (0..FAILURES).map(|_| drawn::draw(&mut rng)).collect();
    let distinct = rate(&all)?;
    let few: Vec<Failure> = all.iter().take(KINDS).cycle().take(FAILURES).cloned().collect();
    let repeated = rate(&few)?;
    row("failures a CPU-second, each with another stack", distinct, None, Aim::AtLeast(50_000.0));
    row("failures a CPU-second, of 50 kinds", repeated, None, Aim::AtLeast(50_000.0));
    note(&format!("the best of {ROUNDS} rounds of {FAILURES} failures; decoding is not part of it"));
    Ok(())
}

fn rate(failures: &[Failure]) -> Outcome<f64> {
    let batches = spans(failures)?;
    let rules = FailureRules::default();
    let mut best: f64 = 0.0;
    for _ in 0..ROUNDS {
        let (time, found) = measured(|| {
            let mut found = 0;
            for batch in &batches {
                found += rows(batch, &rules)?.num_rows();
            }
            Ok(found)
        })?;
        if found != failures.len() {
            return Err(format!("{found} rows of {} failures", failures.len()).into());
        }
        best = best.max(found as f64 / time.as_secs_f64().max(0.01));
    }
    Ok(best)
}

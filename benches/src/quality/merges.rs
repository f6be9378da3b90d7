//! Over-merging: how many distinct failures have the fingerprint of another one; and how many have more than one of their
//! own, once a release has moved their lines.
//!
//! One half are drawn anew, the others differ from an earlier one in one respect only, which is where merges happen.
//! Failures that only differ in the message, at one place, with a type of their own, have no truth and are not drawn: by
//! rule they are one.

use std::collections::{BTreeMap, HashSet};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::Setup;
use super::drawn::{self, Differs, Failure};
use super::extracted::fingerprints;
use super::table::{Aim, note, row};
use crate::Outcome;

const THOUSAND: f64 = 1_000.0;

pub(super) fn measure(setup: &Setup) -> Outcome<()> {
    let drawn = distinct(setup.failures.max(1), setup.seed);
    let all = drawn.len() as f64;
    let mut rng = SmallRng::seed_from_u64(setup.seed + 1);
    let mut twice: Vec<Failure> = drawn.iter().map(|(failure, _)| failure.clone()).collect();
    twice.extend(drawn.iter().map(|(failure, _)| drawn::moved(&mut rng, failure)));
    let prints = fingerprints(&twice)?;
    let (first, second) = prints.split_at(drawn.len());

    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (number, print) in first.iter().enumerate() {
        groups.entry(print).or_default().push(number);
    }
    let mut merged: BTreeMap<Differs, usize> = BTreeMap::new();
    // The first of a group is where it belongs.
    for number in groups.values().flat_map(|group| group.iter().skip(1)) {
        *merged.entry(drawn[*number].1).or_default() += 1;
    }
    let wrong: usize = merged.values().sum();
    let moved = first.iter().zip(second).filter(|(one, other)| one != other).count();
    row("over-merged, per 1,000 distinct failures", THOUSAND * wrong as f64 / all, None, Aim::AtMost(1.0));
    row("split by moved lines, per 1,000 failures", THOUSAND * moved as f64 / all, None, Aim::None);
    let of_each = Differs::ALL.map(|differs| {
        let drawn = drawn.iter().filter(|(_, how)| *how == differs).count();
        format!("{} {} of {drawn}", differs.name(), merged.get(&differs).copied().unwrap_or_default())
    });
    note(&format!("{all} failures in 8 languages; merged that differ {}", of_each.join(", ")));
    Ok(())
}

/// Failures of which none is another one, with how each was made.
fn distinct(wanted: usize, seed: u64) -> Vec<(Failure, Differs)> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut known: HashSet<Failure> = HashSet::new();
    let mut drawn: Vec<(Failure, Differs)> = Vec::with_capacity(wanted);
    while drawn.len() < wanted {
        let (failure, differs) = if drawn.is_empty() || rng.random_bool(0.5) {
            (drawn::draw(&mut rng), Differs::Wholly)
        } else {
            let differs = Differs::ALL[rng.random_range(1..Differs::ALL.len())];
            let of = rng.random_range(0..drawn.len());
            let Some(sibling) = drawn::sibling(&mut rng, &drawn[of].0, differs) else { continue };
            (sibling, differs)
        };
        if known.insert(drawn::identity(&failure)) {
            drawn.push((failure, differs));
        }
    }
    drawn
}

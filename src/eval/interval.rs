//! How sure a figure is, from a few incidents: Wilson's interval for rates, the bootstrap for means and differences, and a
//! test of whether two runs differ at all. Intervals are at 95 %, and what is drawn is seeded, so that a report can be
//! computed again.
//!
//! Every value is that of an incident: runs of one are not independent, and two of the same tell little more than one.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
use tracerag_query::wilson;

/// Samples of a bootstrap.
const SAMPLES: usize = 2_000;
/// Changes up to which all of their signs are tried.
const MOST_EXACT: usize = 16;
/// Signs that are tried of more changes.
const FLIPS: usize = 20_000;

/// A figure with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// How many incidents it is made of.
    pub n: usize,
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

/// The rate over incidents, with the interval of Wilson (1927). `None` of nothing.
pub(crate) fn rate(values: &[f64]) -> Option<Figure> {
    if values.is_empty() {
        return None;
    }
    let value = average(values.iter().copied(), values.len());
    let [low, high] = wilson(value, values.len() as u64);
    Some(Figure { n: values.len(), value, low, high })
}

/// The mean, with the interval of the percentile bootstrap. `None` of nothing.
pub(crate) fn mean(values: &[f64], seed: u64) -> Option<Figure> {
    if values.is_empty() {
        return None;
    }
    let mut rng = StdRng::seed_from_u64(seed);
    let mut means: Vec<f64> = (0..SAMPLES)
        .map(|_| average(values.iter().map(|_| values[rng.random_range(0..values.len())]), values.len()))
        .collect();
    means.sort_by(f64::total_cmp);
    let (low, high) = (means[SAMPLES / 40], means[SAMPLES - 1 - SAMPLES / 40]);
    Some(Figure { n: values.len(), value: average(values.iter().copied(), values.len()), low, high })
}

/// How probable a mean as far from 0 or farther is if each change might as well have the other sign: the permutation test
/// of pairs (Fisher 1935), two-sided, over all signs of few changes, else over a seeded draw.
pub(crate) fn sign_flips(changes: &[f64], seed: u64) -> f64 {
    let seen = changes.iter().sum::<f64>().abs();
    // What rounding makes of the order of a sum is no difference.
    let bound = seen - 1e-9 * changes.iter().map(|change| change.abs()).sum::<f64>();
    let is_as_far = |is_flipped: &mut dyn FnMut(usize) -> bool| {
        let signed =
            changes.iter().enumerate().map(|(place, change)| if is_flipped(place) { -change } else { *change });
        signed.sum::<f64>().abs() >= bound
    };
    if changes.len() <= MOST_EXACT {
        let all = 1_u32 << changes.len();
        let as_far = (0..all).filter(|signs| is_as_far(&mut |place| (signs >> place) & 1 == 1)).count();
        return as_far as f64 / f64::from(all);
    }
    let mut rng = StdRng::seed_from_u64(seed);
    let as_far = (0..FLIPS).filter(|_| is_as_far(&mut |_| rng.random_bool(0.5))).count();
    // What was seen is one of them.
    (as_far + 1) as f64 / (FLIPS + 1) as f64
}

#[allow(clippy::cast_precision_loss)]
pub(super) fn average(values: impl Iterator<Item = f64>, count: usize) -> f64 {
    values.sum::<f64>() / count as f64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Wilson's interval is that of the published example (81 of 263: 0.2553 to 0.3662), keeps to 0 and 1, and has a
    /// width at the ends, where the textbook's has none.
    #[test]
    fn rates_have_wilsons_interval() {
        let values: Vec<f64> = (0..263).map(|n| f64::from(u8::from(n < 81))).collect();
        let figure = rate(&values).unwrap();
        assert!((figure.low - 0.2553).abs() < 5e-4 && (figure.high - 0.3662).abs() < 5e-4, "{figure:?}");
        let all = rate(&[1.0; 8]).unwrap();
        assert_eq!((all.value, all.high), (1.0, 1.0));
        assert!(all.low > 0.6 && all.low < 0.7, "{all:?}");
        assert_eq!(rate(&[]), None);
    }

    /// Changes of one sign are improbable by the number of signs; those that cancel are not, nor is nothing at all. A draw
    /// says nearly what all signs say.
    #[test]
    fn signs_tell_what_is_chance() {
        assert_eq!(sign_flips(&[1.0; 6], 1), 2.0 / 64.0);
        assert_eq!(sign_flips(&[0.5, -0.5, 2.0, -2.0], 1), 1.0);
        assert_eq!(sign_flips(&[0.0; 7], 1), 1.0);
        assert_eq!(sign_flips(&[1.0, 2.0, 3.0], 1), 0.25);
        let many: Vec<f64> = (0..20_u8).map(|n| if n < 14 { 1.0 } else { -1.0 }).collect();
        // Fourteen or more of twenty on one side: 0.1153.
        assert!((sign_flips(&many, 7) - 0.1153).abs() < 0.01);
        assert_eq!(sign_flips(&many, 7), sign_flips(&many, 7));
    }

    /// The bootstrap's interval holds the mean, is the same for the same seed, and has no width where nothing varies.
    #[test]
    fn means_have_a_bootstrap() {
        let values = [1.0, 2.0, 3.0, 10.0];
        let figure = mean(&values, 7).unwrap();
        assert_eq!(figure.value, 4.0);
        assert!(figure.low < 4.0 && figure.high > 4.0 && figure.low >= 1.0 && figure.high <= 10.0, "{figure:?}");
        assert_eq!(mean(&values, 7), Some(figure));
        let same = mean(&[5.0; 9], 1).unwrap();
        assert_eq!((same.low, same.value, same.high), (5.0, 5.0, 5.0));
        assert_eq!(mean(&[], 1), None);
    }
}

//! How sure a figure is, from a few runs: Wilson's interval for rates, the bootstrap for means and differences. Both are
//! at 95 %, and the bootstrap is seeded, so that a report can be computed again.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

/// The quantile of the normal distribution for 95 %.
const Z: f64 = 1.959_963_984_540_054;
/// Samples of a bootstrap.
const SAMPLES: usize = 2_000;

/// A figure with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// How many values it is made of.
    pub n: usize,
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

/// The rate of those that are true, with the interval of Wilson (1927). `None` of nothing.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn rate(values: &[bool]) -> Option<Figure> {
    if values.is_empty() {
        return None;
    }
    let n = values.len() as f64;
    let p = values.iter().filter(|value| **value).count() as f64 / n;
    let (square, scale) = (Z * Z / n, 1.0 + Z * Z / n);
    let centre = (p + square / 2.0) / scale;
    let half = Z * (p * (1.0 - p) / n + square / (4.0 * n)).sqrt() / scale;
    // At the ends the sum is exact only on paper.
    let low = if p == 0.0 { 0.0 } else { (centre - half).max(0.0) };
    let high = if p == 1.0 { 1.0 } else { (centre + half).min(1.0) };
    Some(Figure { n: values.len(), value: p, low, high })
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

#[allow(clippy::cast_precision_loss)]
fn average(values: impl Iterator<Item = f64>, count: usize) -> f64 {
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
        let values: Vec<bool> = (0..263).map(|n| n < 81).collect();
        let figure = rate(&values).unwrap();
        assert!((figure.low - 0.2553).abs() < 5e-4 && (figure.high - 0.3662).abs() < 5e-4, "{figure:?}");
        let all = rate(&[true; 8]).unwrap();
        assert_eq!((all.value, all.high), (1.0, 1.0));
        assert!(all.low > 0.6 && all.low < 0.7, "{all:?}");
        assert_eq!(rate(&[]), None);
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

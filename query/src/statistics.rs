//! The tests that verdicts rest on. Pure functions of numbers; each names where it comes from.
//!
//! Every test is one-sided: a small probability says that the candidate is worse, never that it is better.

use libm::{erfc, lgamma};

/// Standard normal quantile of a two-sided interval of 95 %.
const Z: f64 = 1.959_963_984_540_054;
/// Values of both samples together up to which the rank test is exact: what it takes grows with the fourth power.
const MOST_EXACT: usize = 40;

/// How many of how many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Share {
    pub events: u64,
    pub of: u64,
}

impl Share {
    /// The events can never be more than what they are of.
    pub(crate) fn new(events: u64, of: u64) -> Self {
        Self { events: events.min(of), of }
    }

    /// 0 for none of none.
    pub(crate) fn rate(self) -> f64 {
        match self.of {
            0 => 0.0,
            of => self.events as f64 / of as f64,
        }
    }

    /// Wilson's score interval of 95 % (1927).
    pub(crate) fn interval(self) -> [f64; 2] {
        wilson(self.rate(), self.of)
    }
}

/// Wilson's score interval of 95 % (1927) for a rate of 0 to 1 that was found in so many.
pub fn wilson(rate: f64, of: u64) -> [f64; 2] {
    if of == 0 {
        return [0.0, 1.0];
    }
    let n = of as f64;
    let scale = 1.0 + Z * Z / n;
    let middle = (rate + Z * Z / (2.0 * n)) / scale;
    let half = Z * (rate * (1.0 - rate) / n + Z * Z / (4.0 * n * n)).sqrt() / scale;
    // At the ends the interval ends there, too, whatever rounding says.
    let low = if rate <= 0.0 { 0.0 } else { (middle - half).max(0.0) };
    let high = if rate >= 1.0 { 1.0 } else { (middle + half).min(1.0) };
    [low, high]
}

/// An interval of 95 % for how much larger the candidate's rate is: Newcombe (1998), method 10.
pub(crate) fn rate_difference(baseline: Share, candidate: Share) -> [f64; 2] {
    let ([low_b, high_b], [low_c, high_c]) = (baseline.interval(), candidate.interval());
    combined(baseline.rate(), [low_b, high_b], candidate.rate(), [low_c, high_c])
}

/// The interval of a difference from the intervals of both: Zou and Donner (2008).
fn combined(baseline: f64, of_baseline: [f64; 2], candidate: f64, of_candidate: [f64; 2]) -> [f64; 2] {
    let difference = candidate - baseline;
    let ([low_b, high_b], [low_c, high_c]) = (of_baseline, of_candidate);
    [
        difference - (candidate - low_c).hypot(high_b - baseline),
        difference + (high_c - candidate).hypot(baseline - low_b),
    ]
}

/// Fisher's exact test, one-sided: how probable it is that of all events so many or more fall to the candidate, if both
/// have the same rate. It conditions on the number of events, so it holds for any number of them and never says
/// "worse" more often than it may, where a normal approximation does for the few errors of a good service. Barnard's
/// test would see a little more in small groups, for a maximum over all rates that could be.
pub(crate) fn fisher(baseline: Share, candidate: Share) -> f64 {
    let events = baseline.events + candidate.events;
    if events == 0 || baseline.of == 0 || candidate.of == 0 {
        return 1.0;
    }
    let [of_b, of_c, all] = [baseline.of, candidate.of, events].map(|count| count as f64);
    // The hypergeometric distribution of the events that fall to the baseline.
    let probability = |i: u64| {
        let ways = ln_binomial(baseline.of, i) + ln_binomial(candidate.of, events.saturating_sub(i));
        (ways - ln_binomial(baseline.of + candidate.of, events)).exp()
    };
    let seen = baseline.events;
    if (seen as f64) < all * of_b / (of_b + of_c) {
        let fewer =
            (0..=seen).rev().map(|i| i as f64).map(|i| i * (of_c - all + i) / ((of_b - i + 1.0) * (all - i + 1.0)));
        sum_of(probability(seen), fewer)
    } else if seen < events {
        let more = (seen + 1..=events).map(|i| i as f64);
        let more = more.map(|i| (of_b - i) * (all - i) / ((i + 1.0) * (of_c - all + i + 1.0)));
        (1.0 - sum_of(probability(seen + 1), more)).max(0.0)
    } else {
        1.0
    }
}

/// The exact binomial test, one-sided: how probable so many events or more are at a rate.
pub(crate) fn binomial(observed: Share, rate: f64) -> f64 {
    if observed.events == 0 || rate >= 1.0 {
        return 1.0;
    }
    if rate <= 0.0 {
        return 0.0;
    }
    let (all, odds) = (observed.of as f64, rate / (1.0 - rate));
    let probability = |i: u64| {
        let others = (observed.of - i) as f64;
        (ln_binomial(observed.of, i) + i as f64 * rate.ln() + others * (-rate).ln_1p()).exp()
    };
    if observed.rate() > rate {
        let more = (observed.events..=observed.of).map(|i| i as f64).map(|i| (all - i) / (i + 1.0) * odds);
        sum_of(probability(observed.events), more)
    } else {
        let fewer = (0..observed.events).rev().map(|i| i as f64).map(|i| i / (all - i + 1.0) / odds);
        (1.0 - sum_of(probability(observed.events - 1), fewer)).max(0.0)
    }
}

/// The sum of terms, given the first and the ratio of each to the one before. They are taken on the side of the mean on
/// which they fall off, so that a few are enough; the last ratio is 0.
fn sum_of(first: f64, ratios: impl Iterator<Item = f64>) -> f64 {
    let (mut term, mut sum) = (first, 0.0);
    for ratio in ratios {
        sum += term;
        term *= ratio;
        if term <= sum * f64::EPSILON {
            break;
        }
    }
    sum.min(1.0)
}

/// The logarithm of the number of ways to choose `chosen` of `all`.
fn ln_binomial(all: u64, chosen: u64) -> f64 {
    let Some(others) = all.checked_sub(chosen) else { return f64::NEG_INFINITY };
    let ln_factorial = |count: u64| lgamma(count as f64 + 1.0);
    ln_factorial(all) - ln_factorial(chosen) - ln_factorial(others)
}

/// The rank sum test of Mann and Whitney, one-sided: how probable it is that the candidate's values rank so high or
/// higher, if both are of one distribution. Over all arrangements for few values, ties included; else by the normal
/// distribution with the correction for ties.
pub(crate) fn rank_sum(baseline: &[f64], candidate: &[f64]) -> f64 {
    if baseline.is_empty() || candidate.is_empty() {
        return 1.0;
    }
    let mut all: Vec<(f64, bool)> = baseline.iter().map(|value| (*value, false)).collect();
    all.extend(candidate.iter().map(|value| (*value, true)));
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Twice the rank is a whole number for ties, too.
    let mut doubled = Vec::with_capacity(all.len());
    let mut of_candidate = 0;
    let mut ties = 0.0;
    for tied in all.chunk_by(|a, b| a.0 == b.0) {
        let rank = 2 * doubled.len() + tied.len() + 1;
        doubled.resize(doubled.len() + tied.len(), rank);
        of_candidate += rank * tied.iter().filter(|(_, is_candidate)| *is_candidate).count();
        let size = tied.len() as f64;
        ties += size * size * size - size;
    }
    if all.len() <= MOST_EXACT {
        return arrangements(&doubled, candidate.len(), of_candidate);
    }
    let (n, of_b, of_c) = (all.len() as f64, baseline.len() as f64, candidate.len() as f64);
    let variance = of_b * of_c / 12.0 * (n + 1.0 - ties / (n * (n - 1.0)));
    if variance <= 0.0 {
        return 1.0;
    }
    let above = of_candidate as f64 / 2.0 - of_c * (n + 1.0) / 2.0 - 0.5;
    (0.5 * erfc(above / (2.0 * variance).sqrt())).clamp(0.0, 1.0)
}

/// The rank sum test of numbers most of which may be one and the same, as counters are 0. A few ranks apart from all the
/// others are then far from normally distributed: three of five above what nine in ten have come in 1 of 100 cases, and
/// the approximation says 1 of 10,000. So it counts for no more than Fisher's test of who lies above the common value, or
/// at it, whichever divides all of them more evenly. That one is exact, so the larger of both keeps its level.
pub(crate) fn rank_sum_of_tied(baseline: &[f64], candidate: &[f64]) -> f64 {
    let p = rank_sum(baseline, candidate);
    let mut all = [baseline, candidate].concat();
    all.sort_by(f64::total_cmp);
    let common = all.chunk_by(|a, b| a == b).max_by_key(|tied| tied.len());
    let Some([common, ..]) = common.filter(|tied| all.len() > MOST_EXACT && 2 * tied.len() > all.len()) else {
        return p;
    };
    let below = all.iter().filter(|value| *value < common).count();
    let above = all.iter().filter(|value| *value > common).count();
    let is_high = |value: &f64| value > common || (value == common && below > above);
    let high = |values: &[f64]| {
        let events = values.iter().copied().filter(is_high).count();
        Share::new(events as u64, values.len() as u64)
    };
    p.max(fisher(high(baseline), high(candidate)))
}

/// The share of all choices of so many ranks whose sum is so large or larger.
fn arrangements(ranks: &[usize], chosen: usize, sum: usize) -> f64 {
    let most: usize = ranks.iter().sum();
    // Ways to choose, by how many and by their sum.
    let mut ways = vec![vec![0.0; most + 1]; chosen + 1];
    if let Some(none) = ways.first_mut().and_then(|of_none| of_none.first_mut()) {
        *none = 1.0;
    }
    for rank in ranks {
        for count in (1..=chosen).rev() {
            let (fewer, more) = ways.split_at_mut(count);
            let (Some(fewer), Some(more)) = (fewer.last(), more.first_mut()) else { continue };
            for (to, from) in more.iter_mut().skip(*rank).zip(fewer) {
                *to += from;
            }
        }
    }
    let Some(of_chosen) = ways.last() else { return 1.0 };
    let all: f64 = of_chosen.iter().sum();
    let so_large: f64 = of_chosen.iter().skip(sum).sum();
    (so_large / all).clamp(0.0, 1.0)
}

/// A quantile of sorted values by the nearest rank; `None` of none.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

/// An interval of 95 % for a quantile of sorted values, by the ranks that the binomial distribution allows (Conover
/// 1999, section 3.2); `None` where there are too few values for an end.
fn quantile_interval(sorted: &[f64], share: f64) -> Option<[f64; 2]> {
    let n = sorted.len() as f64;
    let half = Z * (n * share * (1.0 - share)).sqrt();
    let low = (n * share - half).floor();
    let high = (n * share + half).ceil();
    if low < 1.0 {
        return None;
    }
    Some([*sorted.get(low as usize - 1)?, *sorted.get((high as usize).checked_sub(1)?)?])
}

/// How much larger a quantile of the candidate is, with an interval of 95 % where there are enough values for one.
pub(crate) fn quantile_difference(baseline: &[f64], candidate: &[f64], share: f64) -> Option<(f64, Option<[f64; 2]>)> {
    let (of_b, of_c) = (quantile(baseline, share)?, quantile(candidate, share)?);
    let ends = quantile_interval(baseline, share).zip(quantile_interval(candidate, share));
    Some((of_c - of_b, ends.map(|(ends_b, ends_c)| combined(of_b, ends_b, of_c, ends_c))))
}

/// The quantile test for the slowest twentieth (Johnson and others 1987): whether more of the values above the 95th
/// percentile of both together are the candidate's than may be by chance. The rank test hardly sees a tail.
pub(crate) fn tail(baseline: &[f64], candidate: &[f64]) -> f64 {
    let mut all = [baseline, candidate].concat();
    all.sort_by(f64::total_cmp);
    let Some(bound) = quantile(&all, 0.95) else { return 1.0 };
    let above = |values: &[f64]| {
        let above = values.iter().filter(|value| **value > bound).count();
        Share::new(above as u64, values.len() as u64)
    };
    fisher(above(baseline), above(candidate))
}

/// A hypothesis among several: its probability, and how much of the error that is allowed it may use.
#[derive(Debug, Clone, Copy)]
pub struct Weighted {
    /// The probability.
    pub p: f64,
    /// Its part of the error; those of weight 0 are not tested.
    pub weight: f64,
}

/// Probabilities corrected for their number: Holm (1979), with the weights of its section 3. Those at or below a level
/// are rejected; that any true one is has at most that probability, however the hypotheses hang together.
pub fn holm(hypotheses: &[Weighted]) -> Vec<f64> {
    let mut order: Vec<(usize, Weighted)> =
        hypotheses.iter().copied().enumerate().filter(|(_, one)| one.weight > 0.0).collect();
    order.sort_by(|(_, a), (_, b)| (a.p / a.weight).total_cmp(&(b.p / b.weight)));
    let mut left: f64 = order.iter().map(|(_, one)| one.weight).sum();
    let mut adjusted = vec![1.0; hypotheses.len()];
    let mut least = 0.0_f64;
    for (index, Weighted { p, weight }) in order {
        // Rounding may leave less than the weight of the last.
        least = least.max((p * left.max(weight) / weight).min(1.0));
        if let Some(adjusted) = adjusted.get_mut(index) {
            *adjusted = least;
        }
        left -= weight;
    }
    adjusted
}

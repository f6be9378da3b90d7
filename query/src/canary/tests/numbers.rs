//! The tests against published values, and against sums that are written out.

use proptest::prelude::*;

use super::super::sample::{MOST, Sample};
use crate::statistics::{
    Share, Weighted, binomial, fisher, holm, quantile, quantile_difference, rank_sum, rank_sum_of_tied,
    rate_difference, tail,
};

fn near(value: f64, wanted: f64, digits: i32) -> bool {
    (value - wanted).abs() < 0.5 * 10_f64.powi(-digits)
}

/// Fisher's lady who tastes tea (1935: 17 of 70) and his convicted twins (10 of 13 against 2 of 17: 0.000465), and
/// tables at the ends: no events, nothing but events, all of them the baseline's.
#[test]
fn fishers_test_gives_his_figures() {
    let share = Share::new;
    assert!(near(fisher(share(1, 4), share(3, 4)), 17.0 / 70.0, 9));
    assert!(near(fisher(share(2, 17), share(10, 13)), 0.000_465_181, 9));
    assert!(near(fisher(share(0, 100), share(0, 100)), 1.0, 9));
    assert!(near(fisher(share(100, 100), share(100, 100)), 1.0, 9));
    assert!(near(fisher(share(5, 100), share(0, 100)), 1.0, 9));
    assert!(near(fisher(share(0, 0), share(3, 3)), 1.0, 9));
    // Where the sum has a million terms, it is done all the same, and the probability of an equal rate is about a half.
    let half = fisher(share(1_000_000, 10_000_000), share(1_000_000, 10_000_000));
    assert!((0.5..0.501).contains(&half), "{half}");
    assert!(fisher(share(1_000_000, 10_000_000), share(1_010_000, 10_000_000)) < 1e-9);
}

/// Eight heads or more of ten throws are 56 of 1,024; the ends are certain or impossible.
#[test]
fn the_binomial_test_counts_throws() {
    assert!(near(binomial(Share::new(8, 10), 0.5), 56.0 / 1024.0, 9));
    assert!(near(binomial(Share::new(3, 10), 0.5), 968.0 / 1024.0, 9));
    assert!(near(binomial(Share::new(10, 10), 0.5), 1.0 / 1024.0, 9));
    assert!(near(binomial(Share::new(0, 10), 0.5), 1.0, 9));
    assert!(near(binomial(Share::new(1, 10), 0.0), 0.0, 9));
    assert!(near(binomial(Share::new(10, 10), 1.0), 1.0, 9));
}

/// The permeability of membranes in Hollander and Wolfe (1973, table 4.1): p is 0.1272; four against four that lie
/// apart are 1 of 70; values that are all equal say nothing; and the normal distribution takes over where the exact sum
/// ends.
#[test]
fn the_rank_test_gives_published_figures() {
    let at_term = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46];
    let early = [1.15, 0.88, 0.90, 0.74, 1.21];
    assert!(near(rank_sum(&early, &at_term), 382.0 / 3003.0, 9));
    assert!(near(rank_sum(&[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0, 7.0, 8.0]), 1.0 / 70.0, 9));
    assert!(near(rank_sum(&[1.0; 5], &[1.0; 5]), 1.0, 9));
    assert!(near(rank_sum(&[1.0; 50], &[1.0; 50]), 1.0, 9));
    assert!(near(rank_sum(&[], &[1.0]), 1.0, 9));
    // 20 against 20 are summed, 21 against 20 are not: nearly the same order has nearly the same probability.
    let odd: Vec<f64> = (0..20).map(|n| f64::from(2 * n)).collect();
    let even: Vec<f64> = (0..20).map(|n| f64::from(2 * n + 7)).collect();
    let exact = rank_sum(&odd, &even);
    let approximate = rank_sum(&[odd.as_slice(), &[19.0]].concat(), &even);
    assert!((exact - approximate).abs() < 0.01, "{exact} {approximate}");
}

/// Of 605 values 63 are not 0, three of them among the candidate's five: so many or more come in 0.926 of 100 cases
/// (hypergeometric), however improbable their ranks are normally. Without a value that most have the rank test stands,
/// and where most have the largest value, who has less counts.
#[test]
fn ranks_of_tied_values_say_no_more_than_fishers_test() {
    let few = |zeros: usize, others: u32| [vec![0.0; zeros], (1..=others).map(f64::from).collect()].concat();
    let (baseline, candidate) = (few(540, 60), vec![0.0, 0.0, 20.5, 30.5, 40.5]);
    assert!(rank_sum(&baseline, &candidate) < 0.001);
    assert!(near(rank_sum_of_tied(&baseline, &candidate), 0.009_260_05, 8));
    let (low, high) = (few(0, 60), vec![50.5; 5]);
    assert!(near(rank_sum_of_tied(&low, &high), rank_sum(&low, &high), 12));
    let capped = [few(0, 60), vec![100.0; 300]].concat();
    let expected = fisher(Share::new(300, 360), Share::new(50, 50));
    assert!((expected..0.01).contains(&rank_sum_of_tied(&capped, &[100.0; 50])));
}

/// Newcombe's own example (1998, method 10): 56 of 70 against 48 of 80 is 0.2000 with 0.0524 to 0.3339; and Wilson's
/// interval for 15 of 148 is 0.0624 to 0.1605 there.
#[test]
fn intervals_are_those_of_newcombe() {
    let [low, high] = rate_difference(Share::new(48, 80), Share::new(56, 70));
    assert!(near(low, 0.0524, 4) && near(high, 0.3339, 4), "{low} {high}");
    let [low, high] = Share::new(15, 148).interval();
    assert!(near(low, 0.0624, 4) && near(high, 0.1605, 4), "{low} {high}");
    assert_eq!(Share::new(0, 10).interval()[0], 0.0);
    assert_eq!(Share::new(10, 10).interval()[1], 1.0);
    assert_eq!(Share::default().interval(), [0.0, 1.0]);
}

/// Holm's steps on four hypotheses of equal weight; one with half of all weight is corrected by two only.
#[test]
fn holm_corrects_by_weight() {
    let equal = [0.01, 0.04, 0.03, 0.005].map(|p| Weighted { p, weight: 1.0 });
    let adjusted = holm(&equal);
    let wanted = [0.03, 0.06, 0.06, 0.02];
    assert!(adjusted.iter().zip(wanted).all(|(p, wanted)| near(*p, wanted, 9)), "{adjusted:?}");
    let heavy = [(0.02, 3.0), (0.5, 1.0), (0.5, 1.0), (0.5, 1.0)].map(|(p, weight)| Weighted { p, weight });
    assert!(near(holm(&heavy)[0], 0.04, 9));
    assert!(holm(&[]).is_empty());
}

/// Quantiles are values by the nearest rank. Their difference has an interval only where there are enough values, which
/// then holds the difference.
#[test]
fn quantiles_have_intervals_where_they_can() {
    let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
    assert_eq!([0.5, 0.95, 0.99].map(|share| quantile(&hundred, share).unwrap()), [50.0, 95.0, 99.0]);
    assert_eq!(quantile(&[], 0.5), None);
    let later: Vec<f64> = hundred.iter().map(|value| value + 30.0).collect();
    let (difference, interval) = quantile_difference(&hundred, &later, 0.5).unwrap();
    let [low, high] = interval.unwrap();
    assert!(near(difference, 30.0, 9) && low > 10.0 && low < 30.0 && high > 30.0 && high < 50.0, "{low} {high}");
    assert_eq!(quantile_difference(&hundred, &later, 0.99).unwrap().1, None);
}

/// A slow tail that leaves the middle alone is seen by the test for it, and by the ranks hardly.
#[test]
fn a_slow_tail_is_seen() {
    let before: Vec<f64> = (0..1_000).map(f64::from).collect();
    let after: Vec<f64> = (0..1_000).map(|n| if n % 20 == 0 { 5_000.0 } else { f64::from(n) }).collect();
    assert!(tail(&before, &after) < 1e-5);
    assert!(rank_sum(&before, &after) > 0.001);
}

/// However a scan hands its rows out, the same ones are kept, no more than the stated number, and they are like all.
#[test]
fn a_sample_does_not_depend_on_the_order() {
    let values: Vec<i64> = (0..3 * i64::try_from(MOST).unwrap()).collect();
    let forward = sampled(values.iter());
    assert_eq!(forward, sampled(values.iter().rev()));
    assert_eq!(forward.len(), MOST);
    let middle = quantile(&forward, 0.5).unwrap() / values.len() as f64;
    assert!((0.48..0.52).contains(&middle), "{middle}");
}

fn sampled<'a>(values: impl Iterator<Item = &'a i64>) -> Vec<f64> {
    let mut sample = Sample::default();
    for value in values {
        sample.add(&[b"trace".as_slice(), &value.to_le_bytes()], *value);
    }
    sample.sorted()
}

/// Ways to choose, exactly.
fn ways(all: u64, chosen: u64) -> u128 {
    (0..u128::from(chosen)).fold(1, |ways, n| ways * (u128::from(all) - n) / (n + 1))
}

proptest! {
    /// Fisher's test is the share of all ways to give the events to both sides, counted in whole numbers.
    #[test]
    fn fisher_counts_ways(of_b in 1_u64..30, of_c in 1_u64..30, b in 0_u64..30, c in 0_u64..30) {
        let (b, c) = (b.min(of_b), c.min(of_c));
        let events = b + c;
        let so_few = (events.saturating_sub(of_c)..=b).map(|b| ways(of_b, b) * ways(of_c, events - b)).sum::<u128>();
        let wanted = so_few as f64 / ways(of_b + of_c, events) as f64;
        let p = fisher(Share::new(b, of_b), Share::new(c, of_c));
        prop_assert!((p - wanted).abs() < 1e-9, "{} {}", p, wanted);
    }

    /// One event more of the candidate never makes it look better.
    #[test]
    fn more_errors_are_never_better(of in 2_u64..5_000, b in 0_u64..5_000, c in 0_u64..5_000) {
        let (b, c) = (b.min(of), c.min(of - 1));
        let (less, more) = (Share::new(c, of), Share::new(c + 1, of));
        prop_assert!(fisher(Share::new(b, of), more) <= fisher(Share::new(b, of), less) + 1e-9);
        prop_assert!(binomial(more, 0.01) <= binomial(less, 0.01) + 1e-9);
    }

    /// Corrected probabilities are never smaller than they were, and never more than 1.
    #[test]
    fn holm_never_helps(given in prop::collection::vec((0.0_f64..=1.0, 0.1_f64..10.0), 0..20)) {
        let hypotheses: Vec<Weighted> = given.iter().map(|(p, weight)| Weighted { p: *p, weight: *weight }).collect();
        let adjusted = holm(&hypotheses);
        prop_assert_eq!(adjusted.len(), hypotheses.len());
        for (one, adjusted) in hypotheses.iter().zip(adjusted) {
            prop_assert!(adjusted >= one.p - 1e-12 && adjusted <= 1.0);
        }
    }
}

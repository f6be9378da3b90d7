//! From variables to differences. Nothing here reads the lake or a clock.
//!
//! Values with the same traces, a flag and the build that came with it, are one hypothesis with several names. Which
//! hypotheses are tested follows from how many traces have a value, and from how many of each side it is known at all,
//! never from how many of those with the value failed; of numbers all are tested of which enough is known, whether they
//! are higher where traces fail and whether they are lower: two hypotheses. All that
//! are tested count in the correction ([`statistics::holm`]): each kind has the same part of the error that is allowed,
//! so that hundreds of attributes do not blunt the test of a few flags. So traces that were divided at random, with
//! nothing between them, show any difference in 5 of 100 cases at most.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::report::{Difference, Judged};
use super::variables::{Ends, Key, Kind, Numbers, Texts, Variables};
use crate::statistics::{self, Share, Weighted};

/// The probability of naming anything where there is nothing.
pub(super) const ALPHA: f64 = 0.05;
/// Failing traces without which nothing is tested.
pub(super) const FEWEST_FAILING: usize = 5;
/// Good traces without which nothing is tested.
pub(super) const FEWEST_GOOD: usize = 10;
/// Traces that have a value, failing and good ones together, without which it is not tested.
const FEWEST_WITH: usize = 5;
/// How much larger the share of the failing traces with a value has to be, at least, to be worth naming.
const LEAST_DIFFERENCE: f64 = 0.2;
/// How many times as large it has to be.
const LEAST_LIFT: f64 = 1.25;
/// How many times as large the higher median has to be.
const LEAST_GROWTH: f64 = 1.25;
/// How probable it has to be that a number of the higher side is above one of the other.
const LEAST_ABOVE: f64 = 0.75;
/// Numbers of an attribute up to which each is a value of its own.
const MOST_VALUES: usize = 10;
/// The part of their traces that two differences share if they are one group.
const SAME: f64 = 0.9;
/// Groups in an answer.
const MOST_GROUPS: usize = 20;
/// Members of a group in an answer.
const MOST_MEMBERS: usize = 8;

/// Something that may be over-represented among the failing traces.
struct Hypothesis {
    /// What it is called: several names where their traces are the same. Never empty.
    names: Vec<Name>,
    known: BTreeSet<u32>,
    with: BTreeSet<u32>,
    failing: Share,
    good: Share,
    p: f64,
    /// Whether it is large enough to be worth naming.
    is_material: bool,
    /// Of numbers, on which side of the good ones they lie, and the medians.
    of_numbers: Option<(Direction, [f64; 2])>,
}

/// Where the numbers of failing traces lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Higher,
    Lower,
}

impl Direction {
    /// Those that a kind is tested for. A span that gives up takes less time of itself, and that follows from a failure.
    fn of(kind: Kind) -> &'static [Self] {
        match kind {
            Kind::SelfTime => &[Self::Higher],
            _ => &[Self::Higher, Self::Lower],
        }
    }
}

#[derive(Clone)]
struct Name {
    kind: Kind,
    name: String,
    value: String,
    anchor: Option<String>,
}

impl Hypothesis {
    fn kind(&self) -> Kind {
        self.names.iter().map(|name| name.kind).min().unwrap_or(Kind::SelfTime)
    }

    /// Causes before what is derived, then by probability, then the larger difference.
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        let gain = |of: &Self| of.failing.rate() - of.good.rate();
        (self.kind().is_derived().cmp(&other.kind().is_derived()))
            .then(self.p.total_cmp(&other.p))
            .then(gain(other).total_cmp(&gain(self)))
            .then(self.kind().cmp(&other.kind()))
    }

    /// Whether both have nearly the same traces, of those of which both are known.
    fn goes_along(&self, other: &Self) -> bool {
        let of_both = |set: &BTreeSet<u32>| -> BTreeSet<u32> {
            set.iter().filter(|trace| self.known.contains(trace) && other.known.contains(trace)).copied().collect()
        };
        let (own, theirs) = (of_both(&self.with), of_both(&other.with));
        let shared = own.intersection(&theirs).count();
        shared > 0 && shared as f64 >= SAME * own.union(&theirs).count() as f64
    }
}

/// What differs. Traces below `failing` are the failing ones.
pub(super) fn judge(variables: &Variables, failing: usize) -> Judged {
    let mut hypotheses = Hypotheses { failing, all: vec![], by_traces: HashMap::new(), untold: vec![] };
    for (key, texts) in &variables.texts {
        if !counts_as_numbers(variables.numbers.get(key)) {
            hypotheses.add_texts(key, texts);
        }
    }
    for (key, numbers) in &variables.numbers {
        if key.0 != Kind::Attribute || counts_as_numbers(Some(numbers)) {
            for direction in Direction::of(key.0) {
                hypotheses.add_numbers(key, numbers, *direction);
            }
        }
    }
    let Hypotheses { all, untold, .. } = hypotheses;
    let mut of_kind: BTreeMap<Kind, usize> = BTreeMap::new();
    for hypothesis in &all {
        *of_kind.entry(hypothesis.kind()).or_default() += 1;
    }
    let weighted = |one: &Hypothesis| {
        let number = of_kind.get(&one.kind()).copied().unwrap_or(1);
        Weighted { p: one.p, weight: 1.0 / number as f64 }
    };
    let corrected = statistics::holm(&all.iter().map(weighted).collect::<Vec<_>>());
    let tested = all.len() as u64;
    let mut found: Vec<(Hypothesis, f64)> =
        all.into_iter().zip(corrected).filter(|(one, q)| one.is_material && *q <= ALPHA).collect();
    found.sort_by(|(a, _), (b, _)| a.order(b));
    let mut groups: Vec<Vec<(Hypothesis, f64)>> = Vec::new();
    for one in found {
        let group = groups.iter_mut().find(|group| group.first().is_some_and(|(lead, _)| lead.goes_along(&one.0)));
        match group {
            Some(group) => group.push(one),
            None => groups.push(vec![one]),
        }
    }
    let left_out = groups.len().saturating_sub(MOST_GROUPS) as u64;
    groups.truncate(MOST_GROUPS);
    let differences = (1..).zip(&groups).flat_map(|(rank, group)| members(rank, group)).collect();
    let consequences = variables.consequences.iter().cloned().collect();
    Judged { differences, tested, untold, consequences, left_out }
}

/// Whether an attribute has so many numbers that they are compared as such.
fn counts_as_numbers(numbers: Option<&Numbers>) -> bool {
    numbers.is_some_and(|numbers| {
        let distinct: BTreeSet<u64> = numbers.of.values().map(|ends| ends.greatest.to_bits()).collect();
        distinct.len() > MOST_VALUES
    })
}

struct Hypotheses {
    failing: usize,
    all: Vec<Hypothesis>,
    /// Positions by the traces that are known and those that have the value.
    by_traces: HashMap<(BTreeSet<u32>, BTreeSet<u32>), usize>,
    /// Variables of which too few traces are known on a side, with how many there are.
    untold: Vec<(Key, [u64; 2])>,
}

impl Hypotheses {
    /// How many of some traces are failing, and how many good.
    fn sides(&self, traces: &BTreeSet<u32>) -> [u64; 2] {
        let failing = traces.iter().filter(|trace| (**trace as usize) < self.failing).count();
        [failing as u64, (traces.len() - failing) as u64]
    }

    /// How many are known on both sides, if they are enough.
    fn enough(&mut self, key: &Key, known: &BTreeSet<u32>) -> Option<[u64; 2]> {
        let sides = self.sides(known);
        if !is_enough(&sides) && sides[0] > 0 {
            self.untold.push((key.clone(), sides));
        }
        Some(sides).filter(is_enough)
    }

    fn add_texts(&mut self, key: &Key, texts: &Texts) {
        let Some([of_failing, of_good]) = self.enough(key, &texts.known) else { return };
        for (value, said) in &texts.values {
            let with = said.traces.len();
            if with < FEWEST_WITH || with == texts.known.len() {
                continue;
            }
            // A value that could not be told even if all that can were failing takes nothing of the error (Tarone 1990).
            let most = (with as u64).min(of_failing);
            let extreme = statistics::fisher(Share::new(with as u64 - most, of_good), Share::new(most, of_failing));
            if extreme > ALPHA {
                continue;
            }
            let name = Name { kind: key.0, name: key.1.clone(), value: value.clone(), anchor: said.anchor.clone() };
            let traces = (texts.known.clone(), said.traces.clone());
            if let Some(same) = self.by_traces.get(&traces).and_then(|position| self.all.get_mut(*position)) {
                same.names.push(name);
                continue;
            }
            let [failing_with, good_with] = self.sides(&said.traces);
            let (failing, good) = (Share::new(failing_with, of_failing), Share::new(good_with, of_good));
            self.by_traces.insert(traces, self.all.len());
            self.all.push(Hypothesis {
                names: vec![name],
                known: texts.known.clone(),
                with: said.traces.clone(),
                failing,
                good,
                p: statistics::fisher(good, failing),
                is_material: failing.rate() - good.rate() >= LEAST_DIFFERENCE
                    && failing.rate() >= LEAST_LIFT * good.rate(),
                of_numbers: None,
            });
        }
    }

    fn add_numbers(&mut self, key: &Key, numbers: &Numbers, direction: Direction) {
        let known: BTreeSet<u32> = numbers.of.keys().copied().collect();
        // What is not known enough is told of once.
        let enough = match direction {
            Direction::Higher => self.enough(key, &known),
            Direction::Lower => Some(self.sides(&known)).filter(is_enough),
        };
        let Some([of_failing, of_good]) = enough else { return };
        let number = |ends: &Ends| match direction {
            Direction::Higher => ends.greatest,
            Direction::Lower => ends.least,
        };
        let side = |is_failing: bool| {
            let of_side = numbers.of.iter().filter(|(trace, _)| ((**trace as usize) < self.failing) == is_failing);
            let mut sorted: Vec<f64> = of_side.map(|(_, ends)| number(ends)).collect();
            sorted.sort_by(f64::total_cmp);
            sorted
        };
        let (failing, good) = (side(true), side(false));
        let median = |sorted: &[f64]| statistics::quantile(sorted, 0.5).unwrap_or_default();
        let medians @ [of_f, of_g] = [median(&failing), median(&good)];
        // Only to count and to group by; the test is of all numbers.
        let bound = f64::midpoint(of_f, of_g);
        let (word, low, high) = match direction {
            Direction::Higher => ("above", (&good, of_g), (&failing, of_f)),
            Direction::Lower => ("below", (&failing, of_f), (&good, of_g)),
        };
        let is_beyond = |ends: &Ends| match direction {
            Direction::Higher => number(ends) > bound,
            Direction::Lower => number(ends) < bound,
        };
        let with: BTreeSet<u32> =
            numbers.of.iter().filter(|(_, ends)| is_beyond(ends)).map(|(trace, _)| *trace).collect();
        let [failing_with, good_with] = self.sides(&with);
        let name = Name {
            kind: key.0,
            name: key.1.clone(),
            value: format!("{word} {}", shown(key.0, bound)),
            anchor: numbers.anchor.clone(),
        };
        self.all.push(Hypothesis {
            names: vec![name],
            known,
            with,
            failing: Share::new(failing_with, of_failing),
            good: Share::new(good_with, of_good),
            p: statistics::rank_sum_of_tied(low.0, high.0),
            is_material: high.1 - low.1 >= (LEAST_GROWTH - 1.0) * low.1.abs() && above(high.0, low.0) >= LEAST_ABOVE,
            of_numbers: Some((direction, medians)),
        });
    }
}

/// Whether as many failing and good traces are known of something as a test needs.
fn is_enough([failing, good]: &[u64; 2]) -> bool {
    *failing >= FEWEST_FAILING as u64 && *good >= FEWEST_GOOD as u64
}

/// How probable it is that a number of the first is above one of the second; half for equal ones. Both are sorted.
fn above(first: &[f64], second: &[f64]) -> f64 {
    let of_each = first.iter().map(|number| {
        let below = second.partition_point(|other| other < number);
        let up_to = second.partition_point(|other| other <= number);
        f64::midpoint(below as f64, up_to as f64)
    });
    of_each.sum::<f64>() / (first.len() * second.len()).max(1) as f64
}

/// A number as people read it.
fn shown(kind: Kind, number: f64) -> String {
    match kind {
        Kind::SelfTime => format!("{:.3} ms", number / 1e6),
        _ if number.abs() >= 1e4 => format!("{number:.0}"),
        _ => format!("{number:.3}"),
    }
}

/// The members of a group as they are answered, the lead first.
fn members(rank: u64, group: &[(Hypothesis, f64)]) -> Vec<Difference> {
    let mut named: Vec<(&Hypothesis, f64, &Name)> = group
        .iter()
        .flat_map(|(one, q)| {
            let mut names: Vec<&Name> = one.names.iter().collect();
            names.sort_by_key(|name| name.kind);
            names.into_iter().map(move |name| (one, *q, name))
        })
        .collect();
    let left_out = named.len().saturating_sub(MOST_MEMBERS);
    named.truncate(MOST_MEMBERS);
    let Some(lead) = named.first().map(|(.., name)| (*name).clone()) else { return vec![] };
    let differences = named.iter().enumerate().map(|(place, (one, q, name))| {
        let mut reason = reason(one, *q, name.kind);
        if place > 0 {
            reason.push_str(&format!(
                "; it goes along with {} {} = {}, so these traces do not tell the two apart",
                lead.kind.name(),
                lead.name,
                lead.value
            ));
        } else if left_out > 0 {
            reason.push_str(&format!("; {left_out} more that go along with it are not listed"));
        }
        Difference {
            rank,
            kind: name.kind,
            name: name.name.clone(),
            value: name.value.clone(),
            failing_with: one.failing.events,
            failing: one.failing.of,
            good_with: one.good.events,
            good: one.good.of,
            lift: lift(one),
            p_value: one.p,
            q_value: *q,
            reason,
            anchors: name.anchor.iter().cloned().collect(),
        }
    });
    differences.collect()
}

/// How many times as often the failing traces have it; `None` where no good one does.
fn lift(one: &Hypothesis) -> Option<f64> {
    (one.good.events > 0).then(|| one.failing.rate() / one.good.rate())
}

fn reason(one: &Hypothesis, q: f64, kind: Kind) -> String {
    let (failing, good) = (one.failing, one.good);
    match one.of_numbers {
        Some((direction, [of_failing, of_good])) => format!(
            "{}: median {} in {} failing traces, {} in {} good ones (rank sum test of Mann and Whitney, corrected p {q:.1e})",
            match direction {
                Direction::Higher => "higher",
                Direction::Lower => "lower",
            },
            shown(kind, of_failing),
            failing.of,
            shown(kind, of_good),
            good.of
        ),
        None => {
            let times = match lift(one) {
                Some(lift) => format!("{lift:.1} times as often"),
                None => String::from("in no good one"),
            };
            format!(
                "{} of {} failing traces, {} of {} good ones: {times} (Fisher's exact test, corrected p {q:.1e})",
                failing.events, failing.of, good.events, good.of
            )
        }
    }
}

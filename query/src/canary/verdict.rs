//! From figures to a verdict. Nothing here reads the lake or a clock.
//!
//! The error that is allowed is shared out among what is tested, by [`statistics::holm`]: half of it goes to errors,
//! for they matter most and are one test only, the rest in equal parts to durations, memory and incidents, and within
//! those to each name. So many names of spans do not blunt the test of errors.

use std::collections::{BTreeMap, BTreeSet};

use tracerag_schemas::time::rfc3339;

use super::report::{
    Allowed, Difference, Durations, Errors, Failure, Latency, LeftOut, Memory, Rate, Report, Test, Usage, Verdict,
};
use super::request::{Against, By, Request};
use crate::statistics::{self, Share, Weighted};

/// The parts of the allowed error.
const ERRORS: f64 = 3.0;
const LATENCY: f64 = 1.0;
const MEMORY: f64 = 1.0;
const FAILURES: f64 = 1.0;

/// Durations of a name on each side without which they are not compared.
pub(super) const LEAST_DURATIONS: usize = 20;
/// Instances on each side without which memory is not tested: points of one instance hang together, so an instance is
/// one value, and of three against three the most extreme order is as probable as 1 in 20.
const LEAST_INSTANCES: usize = 4;
/// Relative growth of memory in fewer instances that keeps a candidate from passing.
const DOUBTFUL_GROWTH: f64 = 0.5;
/// Incidents in a report.
const MOST_FAILURES: usize = 50;
/// The quantiles that are compared.
const QUANTILES: [f64; 3] = [0.5, 0.95, 0.99];

/// What was seen of one version or variant.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// Spans that failed, of all.
    pub spans: Share,
    /// Durations in ascending order, ns, by the name of the span.
    pub durations: BTreeMap<String, Vec<f64>>,
    /// By the name of the metric.
    pub memory: BTreeMap<String, Instances>,
    /// By fingerprint.
    pub failures: BTreeMap<String, Seen>,
}

/// Memory of the instances.
#[derive(Debug, Default)]
pub(super) struct Instances {
    pub unit: Option<String>,
    /// The mean over time of each instance.
    pub means: Vec<f64>,
    pub max: f64,
}

/// An incident as it was seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub title: Option<String>,
    /// RFC 3339.
    pub first_seen: Option<String>,
    pub service: Option<String>,
    pub span_names: BTreeSet<String>,
    /// Traces with it.
    pub traces: u64,
}

/// Hypotheses, with what is left of the allowed error for each.
#[derive(Default)]
struct Tests {
    hypotheses: Vec<Weighted>,
}

impl Tests {
    /// Adds a hypothesis and gives its place.
    fn add(&mut self, p: f64, weight: f64) -> usize {
        self.hypotheses.push(Weighted { p, weight });
        self.hypotheses.len() - 1
    }

    fn done(&self) -> Vec<Test> {
        let adjusted = statistics::holm(&self.hypotheses);
        self.hypotheses.iter().zip(adjusted).map(|(one, p_adjusted)| Test { p_value: one.p, p_adjusted }).collect()
    }
}

/// Judges a candidate. `baseline` is there unless an objective is; `of_bundle` are the fingerprints of the bundle, if
/// there is one.
pub(super) fn judge(
    request: &Request,
    baseline: Option<&Observed>,
    candidate: &Observed,
    of_bundle: Option<&BTreeSet<String>>,
    span_names: u64,
    position: u64,
) -> Report {
    let mut tests = Tests::default();
    let error_test = tests.add(error_probability(request, baseline, candidate), ERRORS);
    let names = comparable(baseline, candidate);
    let share = LATENCY / (2 * names.len()).max(1) as f64;
    let latency_tests: Vec<(usize, usize)> = names
        .iter()
        .map(|(_, of_b, of_c)| {
            (tests.add(statistics::rank_sum(of_b, of_c), share), tests.add(statistics::tail(of_b, of_c), share))
        })
        .collect();
    let metrics = metrics(baseline, candidate);
    let tested = metrics.iter().filter(|(_, of_b, of_c)| has_enough(of_b, of_c)).count();
    let memory_tests: Vec<Option<usize>> = metrics
        .iter()
        .map(|(_, of_b, of_c)| {
            let p = statistics::rank_sum(&of_b.means, &of_c.means);
            has_enough(of_b, of_c).then(|| tests.add(p, MEMORY / tested as f64))
        })
        .collect();
    let incidents = incidents(baseline, candidate);
    let probabilities: Vec<Option<f64>> = incidents
        .iter()
        .map(|(_, of_b, of_c)| testable(request, baseline?, candidate, of_b.traces, of_c.traces))
        .collect();
    let tested = probabilities.iter().flatten().count();
    let failure_tests: Vec<Option<usize>> =
        probabilities.iter().map(|p| p.map(|p| tests.add(p, FAILURES / tested as f64))).collect();

    let tests = tests.done();
    let test = |place: usize| tests.get(place).copied().unwrap_or(Test { p_value: 1.0, p_adjusted: 1.0 });
    let enough = candidate.spans.of >= request.min_sample
        && baseline.is_none_or(|baseline| baseline.spans.of >= request.min_sample);
    let is_less = |test: Test| enough && test.p_adjusted <= request.alpha;
    let errors = errors(request, baseline, candidate, test(error_test), is_less);
    let latency: Vec<Latency> = names
        .iter()
        .zip(latency_tests)
        .map(|((name, of_b, of_c), (shift, tail))| latency(request, name, of_b, of_c, test(shift), test(tail), is_less))
        .collect();
    let memory: Vec<Memory> = metrics
        .iter()
        .zip(memory_tests)
        .map(|((name, of_b, of_c), place)| memory(request, name, of_b, of_c, place.map(test), is_less))
        .collect();
    let mut failures: Vec<Failure> = incidents
        .iter()
        .zip(failure_tests)
        .map(|((fingerprint, of_b, of_c), place)| {
            let test = place.map(test);
            let seen = if of_c.traces > 0 { of_c } else { of_b };
            Failure {
                fingerprint: (*fingerprint).clone(),
                title: seen.title.clone(),
                service: seen.service.clone(),
                span_names: of_b.span_names.union(&of_c.span_names).cloned().collect(),
                new: match baseline {
                    Some(_) => of_b.traces == 0,
                    None => seen.first_seen.as_ref().is_some_and(|first| *first >= rfc3339(request.since)),
                },
                of_bundle: of_bundle.is_some_and(|of_bundle| of_bundle.contains(*fingerprint)),
                baseline: of_b.traces,
                candidate: of_c.traces,
                test,
                worse: test.is_some_and(is_less),
            }
        })
        .collect();
    failures.sort_by(|a, b| {
        (b.worse, b.of_bundle, b.candidate, &a.fingerprint).cmp(&(a.worse, a.of_bundle, a.candidate, &b.fingerprint))
    });

    let mut report = Report {
        verdict: Verdict::Inconclusive,
        reasons: vec![],
        service: request.service.clone(),
        environment: request.environment.clone(),
        by: match &request.by {
            By::Version => String::from("version"),
            By::Flag(key) => format!("flag:{key}"),
        },
        baseline: match &request.against {
            Against::Baseline(baseline) => Some(baseline.clone()),
            Against::Objective(_) => None,
        },
        objective: match &request.against {
            Against::Baseline(_) => None,
            Against::Objective(objective) => {
                Some(Allowed { objective: objective.clone(), allowed_rate: request.allowed().unwrap_or_default() })
            }
        },
        candidate: request.candidate.clone(),
        since: rfc3339(request.since),
        until: rfc3339(request.until),
        bundle_id: request.bundle_id.clone(),
        position,
        alpha: request.alpha,
        min_sample: request.min_sample,
        tolerance: request.tolerance,
        left_out: LeftOut { span_names: span_names.saturating_sub(latency.len() as u64), failures: 0 },
        errors,
        latency,
        memory,
        failures,
    };
    (report.verdict, report.reasons) = conclude(&report);
    report.left_out.failures = report.failures.len().saturating_sub(MOST_FAILURES) as u64;
    report.failures.truncate(MOST_FAILURES);
    report
}

fn error_probability(request: &Request, baseline: Option<&Observed>, candidate: &Observed) -> f64 {
    match (baseline, request.allowed()) {
        (Some(baseline), _) => statistics::fisher(baseline.spans, candidate.spans),
        (None, Some(allowed)) => statistics::binomial(candidate.spans, allowed),
        (None, None) => 1.0,
    }
}

fn errors(
    request: &Request,
    baseline: Option<&Observed>,
    candidate: &Observed,
    test: Test,
    is_less: impl Fn(Test) -> bool,
) -> Errors {
    let rate =
        |share: Share| Rate { spans: share.of, errors: share.events, rate: share.rate(), interval: share.interval() };
    let is_material =
        baseline.is_none_or(|baseline| candidate.spans.rate() > baseline.spans.rate() * (1.0 + request.tolerance));
    Errors {
        baseline: baseline.map(|baseline| rate(baseline.spans)),
        candidate: rate(candidate.spans),
        difference_interval: baseline.map(|baseline| statistics::rate_difference(baseline.spans, candidate.spans)),
        test,
        worse: is_material && is_less(test),
    }
}

/// The names of which both sides have enough durations.
fn comparable<'a>(
    baseline: Option<&'a Observed>,
    candidate: &'a Observed,
) -> Vec<(&'a String, &'a Vec<f64>, &'a Vec<f64>)> {
    let Some(baseline) = baseline else { return vec![] };
    let of_both =
        candidate.durations.iter().filter_map(|(name, of_c)| Some((name, baseline.durations.get(name)?, of_c)));
    of_both.filter(|(_, of_b, of_c)| of_b.len().min(of_c.len()) >= LEAST_DURATIONS).collect()
}

fn latency(
    request: &Request,
    name: &str,
    of_b: &[f64],
    of_c: &[f64],
    shift: Test,
    tail: Test,
    is_less: impl Fn(Test) -> bool,
) -> Latency {
    let durations = |sorted: &[f64]| {
        let [p50_ns, p95_ns, p99_ns] = QUANTILES.map(|share| statistics::quantile(sorted, share).unwrap_or_default());
        Durations { sampled: sorted.len() as u64, p50_ns, p95_ns, p99_ns }
    };
    let differences: Vec<Difference> = QUANTILES
        .iter()
        .filter_map(|share| {
            let (ns, interval_ns) = statistics::quantile_difference(of_b, of_c, *share)?;
            Some(Difference { quantile: *share, ns, interval_ns })
        })
        .collect();
    let is_material = differences.iter().any(|difference| {
        let before = statistics::quantile(of_b, difference.quantile).unwrap_or_default();
        difference.ns > before * request.tolerance
    });
    Latency {
        span_name: name.to_owned(),
        baseline: durations(of_b),
        candidate: durations(of_c),
        differences,
        shift,
        tail,
        worse: is_material && (is_less(shift) || is_less(tail)),
    }
}

/// The metrics that both sides have.
fn metrics<'a>(
    baseline: Option<&'a Observed>,
    candidate: &'a Observed,
) -> Vec<(&'a String, &'a Instances, &'a Instances)> {
    let Some(baseline) = baseline else { return vec![] };
    candidate.memory.iter().filter_map(|(name, of_c)| Some((name, baseline.memory.get(name)?, of_c))).collect()
}

fn has_enough(of_b: &Instances, of_c: &Instances) -> bool {
    of_b.means.len().min(of_c.means.len()) >= LEAST_INSTANCES
}

fn memory(
    request: &Request,
    name: &str,
    of_b: &Instances,
    of_c: &Instances,
    test: Option<Test>,
    is_less: impl Fn(Test) -> bool,
) -> Memory {
    let usage = |of: &Instances| Usage {
        instances: of.means.len() as u64,
        mean: of.means.iter().sum::<f64>() / of.means.len().max(1) as f64,
        max: of.max,
    };
    let (baseline, candidate) = (usage(of_b), usage(of_c));
    let is_material = candidate.mean > baseline.mean * (1.0 + request.tolerance);
    Memory {
        metric: name.to_owned(),
        unit: of_c.unit.clone(),
        worse: is_material && test.is_some_and(is_less),
        baseline,
        candidate,
        test,
    }
}

/// Every incident of either side.
fn incidents<'a>(baseline: Option<&'a Observed>, candidate: &'a Observed) -> Vec<(&'a String, Seen, Seen)> {
    let of_b = baseline.map(|baseline| &baseline.failures);
    let names: BTreeSet<&String> = candidate.failures.keys().chain(of_b.into_iter().flat_map(BTreeMap::keys)).collect();
    names
        .into_iter()
        .map(|name| {
            let of_b = of_b.and_then(|failures| failures.get(name)).cloned().unwrap_or_default();
            (name, of_b, candidate.failures.get(name).cloned().unwrap_or_default())
        })
        .collect()
}

/// The probability of so many traces with an incident, if there are enough of both sides together to tell anything. One
/// that is too rare even if all were the candidate's takes nothing of the allowed error (Tarone 1990).
fn testable(request: &Request, baseline: &Observed, candidate: &Observed, of_b: u64, of_c: u64) -> Option<f64> {
    let share = |traces, of: &Observed| Share::new(traces, of.spans.of);
    let most = statistics::fisher(share(0, baseline), share(of_b + of_c, candidate));
    (most <= request.alpha).then(|| statistics::fisher(share(of_b, baseline), share(of_c, candidate)))
}

/// The verdict of a report, and why.
fn conclude(report: &Report) -> (Verdict, Vec<String>) {
    let too_few = too_few(report);
    if !too_few.is_empty() {
        return (Verdict::Inconclusive, too_few);
    }
    let worse = worse(report);
    if !worse.is_empty() {
        return (Verdict::Fail, worse);
    }
    let doubts = doubts(report);
    if !doubts.is_empty() {
        return (Verdict::Inconclusive, doubts);
    }
    let than = match (&report.errors.baseline, &report.objective) {
        (Some(baseline), _) => format!("than in {} of the baseline", baseline.spans),
        (None, _) => String::from("than the objective allows"),
    };
    (
        Verdict::Pass,
        vec![format!("nothing is worse in {} spans of the candidate {than}", report.errors.candidate.spans)],
    )
}

fn too_few(report: &Report) -> Vec<String> {
    let sides = [
        (Some(&report.errors.candidate), "candidate", Some(&report.candidate)),
        (report.errors.baseline.as_ref(), "baseline", report.baseline.as_ref()),
    ];
    let of_side = |(rate, side, name): (Option<&Rate>, &str, Option<&String>)| {
        let (spans, name) = (rate?.spans, name?);
        (spans < report.min_sample).then(|| {
            format!(
                "the {side} {name} has {spans} spans in the time that was looked at, and {} are the fewest: wait, look \
                 further back, or see whether the service states its {}",
                report.min_sample,
                if report.by == "version" { "version" } else { "evaluations of the flag" }
            )
        })
    };
    sides.into_iter().filter_map(of_side).collect()
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

fn worse(report: &Report) -> Vec<String> {
    let mut reasons = Vec::new();
    let errors = &report.errors;
    if errors.worse {
        let (rate, p) = (percent(errors.candidate.rate), errors.test.p_adjusted);
        reasons.push(match (&errors.baseline, &report.objective) {
            (Some(baseline), _) => {
                format!("errors: {rate} of the spans failed, {} in the baseline (p {p:.1e})", percent(baseline.rate))
            }
            (None, objective) => {
                let allowed = objective.as_ref().map_or(0.0, |objective| objective.allowed_rate);
                format!("errors: {rate} of the spans were not good, {} are allowed (p {p:.1e})", percent(allowed))
            }
        });
    }
    for latency in report.latency.iter().filter(|latency| latency.worse) {
        let p = latency.shift.p_adjusted.min(latency.tail.p_adjusted);
        let ms = |ns: f64| ns / 1e6;
        reasons.push(format!(
            "latency: {} has p50 {:.1} ms and p95 {:.1} ms, {:.1} and {:.1} in the baseline (p {p:.1e})",
            latency.span_name,
            ms(latency.candidate.p50_ns),
            ms(latency.candidate.p95_ns),
            ms(latency.baseline.p50_ns),
            ms(latency.baseline.p95_ns)
        ));
    }
    for memory in report.memory.iter().filter(|memory| memory.worse) {
        let growth = percent(memory.candidate.mean / memory.baseline.mean - 1.0);
        reasons.push(format!("memory: {} is {growth} above the baseline", memory.metric));
    }
    for failure in report.failures.iter().filter(|failure| failure.worse) {
        let kind = if failure.new { "a new failure" } else { "more of a failure" };
        let p = failure.test.map_or(1.0, |test| test.p_adjusted);
        reasons.push(format!(
            "failures: {kind}, {} in {} traces, {} in the baseline (p {p:.1e})",
            told(failure),
            failure.candidate,
            failure.baseline
        ));
    }
    reasons
}

/// What keeps a candidate from passing that did not fail.
fn doubts(report: &Report) -> Vec<String> {
    let mut reasons = Vec::new();
    if let Some(objective) = &report.objective
        && report.errors.candidate.rate > objective.allowed_rate
    {
        reasons.push(format!(
            "errors: {} of the spans were not good and {} are allowed, which may be by chance; wait for more spans",
            percent(report.errors.candidate.rate),
            percent(objective.allowed_rate)
        ));
    }
    for memory in report.memory.iter().filter(|memory| memory.test.is_none()) {
        if memory.candidate.mean > memory.baseline.mean * (1.0 + DOUBTFUL_GROWTH.max(report.tolerance)) {
            reasons.push(format!(
                "memory: {} is {} above the baseline, in too few instances ({}, {} of the baseline) to say more",
                memory.metric,
                percent(memory.candidate.mean / memory.baseline.mean - 1.0),
                memory.candidate.instances,
                memory.baseline.instances
            ));
        }
    }
    if report.bundle_id.is_some() {
        for failure in report.failures.iter().filter(|failure| failure.candidate > 0) {
            if failure.of_bundle {
                reasons.push(format!(
                    "failures: what the bundle is about still happens, {} in {} traces",
                    told(failure),
                    failure.candidate
                ));
            } else if failure.new {
                reasons.push(format!(
                    "failures: {} is new on the path of the bundle and too rare to say more, in {} traces",
                    told(failure),
                    failure.candidate
                ));
            }
        }
    }
    reasons
}

fn told(failure: &Failure) -> String {
    let title = failure.title.as_deref().unwrap_or("without a title");
    format!("{title} ({})", failure.fingerprint.chars().take(12).collect::<String>())
}

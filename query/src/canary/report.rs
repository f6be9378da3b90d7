//! What comes of a canary: the verdict, and every figure that it rests on.

use serde::{Deserialize, Serialize};

use super::request::Objective;

/// What is said of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing that was tested is worse, and there was enough to test.
    Pass,
    /// Something is worse, by more than chance.
    Fail,
    /// The figures do not suffice for either.
    Inconclusive,
}

impl Verdict {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// The whole answer. Durations are in ns, shares between 0 and 1, intervals of 95 %.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What is said of the candidate.
    pub verdict: Verdict,
    /// Why, in sentences.
    pub reasons: Vec<String>,
    /// The service.
    pub service: String,
    /// The only environment that was looked at, if one was named.
    pub environment: Option<String>,
    /// `version`, or `flag:KEY`.
    pub by: String,
    /// The version or variant that the candidate is held against.
    pub baseline: Option<String>,
    /// What it is held against instead, with the rate that it allows in the time that was looked at.
    pub objective: Option<Allowed>,
    /// The version or variant that is judged.
    pub candidate: String,
    /// Begin of the time that was looked at, RFC 3339.
    pub since: String,
    /// Its end.
    pub until: String,
    /// The bundle whose path failures were looked for on.
    pub bundle_id: Option<String>,
    /// Position of the lake.
    pub position: u64,
    /// Probability of failing a candidate that is as good as its baseline.
    pub alpha: f64,
    /// Spans of each side without which there is no verdict.
    pub min_sample: u64,
    /// Relative worsening up to which nothing fails.
    pub tolerance: f64,
    /// Spans that failed.
    pub errors: Errors,
    /// Durations, by the name of the span; the names with the most spans.
    pub latency: Vec<Latency>,
    /// Memory, by the name of the metric.
    pub memory: Vec<Memory>,
    /// Incidents, those first that the candidate has the most of.
    pub failures: Vec<Failure>,
    /// What was tested or counted and is not listed.
    pub left_out: LeftOut,
}

/// An objective and what it comes to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Allowed {
    pub objective: Objective,
    pub allowed_rate: f64,
}

/// A test of "worse"; all are one-sided.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// How probable such figures are if the candidate is as good as its baseline.
    pub p_value: f64,
    /// The same, corrected for the number of tests.
    pub p_adjusted: f64,
}

/// Spans that failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Errors {
    pub baseline: Option<Rate>,
    pub candidate: Rate,
    /// Of the candidate's rate less the baseline's.
    pub difference_interval: Option<[f64; 2]>,
    pub test: Test,
    pub worse: bool,
}

/// How many of how many.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Rate {
    pub spans: u64,
    pub errors: u64,
    pub rate: f64,
    pub interval: [f64; 2],
}

/// Durations of the spans of one name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Latency {
    pub span_name: String,
    pub baseline: Durations,
    pub candidate: Durations,
    pub differences: Vec<Difference>,
    /// Of all durations.
    pub shift: Test,
    /// Of the slowest twentieth.
    pub tail: Test,
    pub worse: bool,
}

/// Quantiles of durations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Durations {
    /// How many were taken: all, or a sample of 20,000.
    pub sampled: u64,
    pub p50_ns: f64,
    pub p95_ns: f64,
    pub p99_ns: f64,
}

/// How much slower a quantile is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Difference {
    pub quantile: f64,
    pub ns: f64,
    /// Absent where there are too few spans for one.
    pub interval_ns: Option<[f64; 2]>,
}

/// Memory by one metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Memory {
    pub metric: String,
    pub unit: Option<String>,
    pub baseline: Usage,
    pub candidate: Usage,
    /// Absent where there are too few instances.
    pub test: Option<Test>,
    pub worse: bool,
}

/// Memory of some instances.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Usage {
    pub instances: u64,
    /// Of the means of the instances over time.
    pub mean: f64,
    /// Of any instance at any time.
    pub max: f64,
}

/// An incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Failure {
    pub fingerprint: String,
    pub title: Option<String>,
    pub service: Option<String>,
    pub span_names: Vec<String>,
    /// The baseline has none of it; against an objective: it was first seen in the time that was looked at.
    pub new: bool,
    /// The bundle is about it.
    pub of_bundle: bool,
    /// Traces with it.
    pub baseline: u64,
    pub candidate: u64,
    /// Absent where it is too rare for any test, and without a baseline.
    pub test: Option<Test>,
    pub worse: bool,
}

/// What is not listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Names of spans whose durations were not tested: too few spans, or behind the 20 names with the most.
    pub span_names: u64,
    /// Incidents that were tested and are not listed.
    pub failures: u64,
}

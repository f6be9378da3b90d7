//! What is asked of a canary. The parameters have the same names on the command line, in an address and in a webhook.

use std::time::Duration;

use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use serde::{Deserialize, Serialize};

use crate::bundle;
use crate::error::{QueryError, Result};

/// The names of all parameters.
pub const PARAMETERS: [&str; 15] = [
    "service",
    "baseline",
    "candidate",
    "since",
    "until",
    "by",
    "environment",
    "bundle",
    "alpha",
    "min_sample",
    "tolerance",
    "target",
    "window",
    "budget",
    "slower_than",
];

/// Time that is looked at unless it is said.
const SINCE: &str = "30m";
/// Probability of failing a candidate that is as good as its baseline, unless it is said.
const ALPHA: f64 = 0.05;
/// Spans of each side without which there is no verdict, unless it is said.
const MIN_SAMPLE: u64 = 100;
/// Relative worsening up to which nothing fails, unless it is said.
const TOLERANCE: f64 = 0.1;

/// What tells two groups of spans apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum By {
    /// The version of the service, or the commit of its build.
    Version,
    /// The variant that the trace's evaluations of a flag gave.
    Flag(String),
}

/// What a candidate is held against.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Against {
    /// Another version or variant.
    Baseline(String),
    /// What was promised.
    Objective(Objective),
}

/// A service level objective.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objective {
    /// Share of spans that are to be good, such as 0.999.
    pub target: f64,
    /// Time over which the target holds, such as 30d.
    pub window: String,
    /// Share of the window's allowed errors that may be used up in the time that is looked at, such as 0.02.
    pub budget: f64,
    /// Duration above which a span is not good either, such as 300ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slower_than: Option<String>,
}

/// A question that makes sense.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub(super) service: String,
    pub(super) environment: Option<String>,
    pub(super) by: By,
    pub(super) against: Against,
    pub(super) candidate: String,
    /// Nanoseconds of the epoch; the first is part of what is looked at, the second is not.
    pub(super) since: i64,
    pub(super) until: i64,
    pub(super) bundle_id: Option<String>,
    pub(super) alpha: f64,
    pub(super) min_sample: u64,
    pub(super) tolerance: f64,
    /// Nanoseconds.
    pub(super) slower_than: Option<i64>,
}

impl Request {
    /// Reads a question; `given` gives the text of a parameter, if there is one.
    ///
    /// # Errors
    /// [`QueryError::Argument`], with what would be right.
    pub fn read(mut given: impl FnMut(&str) -> Option<String>) -> Result<Self> {
        let mut text = |name: &str| given(name).filter(|text| !text.is_empty());
        let needed = |name: &str, text: Option<String>| text.ok_or_else(|| wrong(format!("{name} is missing")));
        let service = needed("service", text("service"))?;
        let candidate = needed("candidate", text("candidate"))?;
        let by = match text("by").as_deref() {
            None | Some("version") => By::Version,
            Some(by) => match by.strip_prefix("flag:").filter(|key| !key.is_empty()) {
                Some(key) => By::Flag(key.to_owned()),
                None => return Err(wrong(format!("by is version or flag:KEY, not {by:?}"))),
            },
        };
        let now = bundle::now();
        let until = text("until").map_or(Ok(now), |text| time(&text, now))?;
        let since = time(&text("since").unwrap_or_else(|| SINCE.to_owned()), now)?;
        if since >= until {
            return Err(wrong(String::from("since is not before until, so there is nothing to look at")));
        }
        let objective = objective(&mut text)?;
        let against = match (text("baseline"), objective) {
            (Some(baseline), None) if baseline == candidate => {
                return Err(wrong(format!("baseline and candidate are both {candidate:?}; name two")));
            }
            (Some(baseline), None) => Against::Baseline(baseline),
            (None, Some(objective)) => Against::Objective(objective),
            _ => return Err(wrong(String::from("name either a baseline or an objective (target, window, budget)"))),
        };
        let slower_than = match &against {
            Against::Objective(Objective { slower_than: Some(text), .. }) => {
                Some(nanos(duration("slower_than", text)?))
            }
            _ => None,
        };
        Ok(Self {
            service,
            environment: text("environment"),
            by,
            against,
            candidate,
            since,
            until,
            bundle_id: text("bundle"),
            alpha: text("alpha").map_or(Ok(ALPHA), |text| share("alpha", &text))?,
            min_sample: match text("min_sample") {
                None => MIN_SAMPLE,
                Some(text) => {
                    text.parse::<u64>().map_err(|_| wrong(format!("min_sample is a number of spans, not {text:?}")))?
                }
            },
            tolerance: match text("tolerance") {
                None => TOLERANCE,
                Some(text) => text
                    .parse::<f64>()
                    .ok()
                    .filter(|tolerance| (0.0..=100.0).contains(tolerance))
                    .ok_or_else(|| wrong(format!("tolerance is a share such as 0.1, not {text:?}")))?,
            },
            slower_than,
        })
    }

    /// The rate of errors that an objective allows in the time that is looked at: the budget of the whole window, as
    /// far as it may be used up, over what of the window the time is. A budget of 2 % in an hour of 30 days allows 14.4
    /// times the rate of the target, as the Site Reliability Workbook has it (chapter 5).
    pub(super) fn allowed(&self) -> Option<f64> {
        let Against::Objective(objective) = &self.against else { return None };
        let window = humantime::parse_duration(&objective.window).ok()?;
        let looked_at = self.until.saturating_sub(self.since) as f64 / 1e9;
        Some(((1.0 - objective.target) * objective.budget * window.as_secs_f64() / looked_at).min(1.0))
    }
}

/// All of an objective or nothing of it.
fn objective(text: &mut impl FnMut(&str) -> Option<String>) -> Result<Option<Objective>> {
    let slower_than = text("slower_than");
    match (text("target"), text("window"), text("budget")) {
        (Some(target), Some(window), Some(budget)) => {
            duration("window", &window)?;
            let (target, budget) = (share("target", &target)?, share("budget", &budget)?);
            Ok(Some(Objective { target, window, budget, slower_than }))
        }
        (None, None, None) if slower_than.is_none() => Ok(None),
        _ => Err(wrong(String::from("an objective has target, window and budget; name all three"))),
    }
}

/// A number above 0 and below 1.
fn share(name: &str, text: &str) -> Result<f64> {
    match text.parse::<f64>() {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err(wrong(format!("{name} is a number between 0 and 1, not {text:?}"))),
    }
}

/// A time as in RFC 3339, or how long before now.
fn time(text: &str, now: i64) -> Result<i64> {
    if let Ok(before) = humantime::parse_duration(text) {
        return Ok(now.saturating_sub(nanos(before)));
    }
    string_to_timestamp_nanos(text)
        .map_err(|_| wrong(format!("{text:?} is no time; write how long ago, such as 30m, or 2026-11-16T12:00:00Z")))
}

fn duration(name: &str, text: &str) -> Result<Duration> {
    humantime::parse_duration(text)
        .ok()
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| wrong(format!("{name} is a duration such as 300ms or 30d, not {text:?}")))
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

pub(super) fn wrong(why: String) -> QueryError {
    QueryError::Argument { function: "canary", why }
}

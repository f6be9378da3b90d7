//! Which events follow from how an incident has gone: a function of counts and times, without I/O and clock.
//!
//! | event | when | once for |
//! | --- | --- | --- |
//! | `new` | it is not open, and was first seen after everything that may have been told of before | an incident |
//! | `regressed` | it was seen after its newest fix | a fix |
//! | `spiking` | its failures in the last window are too many, by [`is_spike`] | a spike, which ends with the first window that is none |
//! | `quiet` | it is open, and was not seen for `quiet_after` | its last failure; it is not open then |
//!
//! Only failures of the incident's own count. An error that passes five services makes one incident new and not five: the
//! others have echoes of it, which never come here.
//!
//! What is remembered of an incident is remembered only while it is open, so that a million old ones cost nothing.

use serde::{Deserialize, Serialize};
use tracerag_query::{Activity, KnownActivity};

use crate::config::{EventKind, SpikeRule};

/// Windows that a history has at least, the last one included.
const LEAST_WINDOWS: usize = 7;

/// By what is decided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rules {
    pub spike: SpikeRule,
    /// In ns.
    pub quiet_after: i64,
}

/// An incident that was seen lately. Times are ns since the epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Open {
    pub last_seen: i64,
    /// The fix after which it came back, as was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regressed: Option<String>,
    /// Since when it is spiking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spiking: Option<i64>,
    /// How it went up to a time, so that not all of its rows are read in each round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<KnownActivity>,
}

/// Something that happened to an incident.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Occurrence {
    pub kind: EventKind,
    /// When, in ns since the epoch.
    pub at: i64,
    /// What tells it from others of its kind and incident.
    pub which: String,
    /// Of a spike: failures in the window, and how many there were in one on average.
    pub spike: Option<(i64, f64)>,
}

/// Decides about one incident at a time of the stream. `told_until` is the first time of which nothing may have been told
/// yet: what was first seen before it and is not open has been told of, or was there before anybody was to be told.
pub(crate) fn decide(
    rules: &Rules,
    open: Option<&Open>,
    told_until: i64,
    now: i64,
    seen: &Activity,
) -> (Option<Open>, Vec<Occurrence>) {
    let mut occurrences = Vec::new();
    let mut next = open.cloned().unwrap_or_default();
    next.last_seen = seen.last_seen;
    next.known = Some(seen.known.clone());
    if open.is_none() && seen.first_seen >= told_until {
        occurrences.push(Occurrence { kind: EventKind::New, at: seen.first_seen, which: String::new(), spike: None });
    }
    if let (Some(fix), Some((at, _))) = (&seen.fix, &seen.regressed)
        && next.regressed.as_deref() != Some(fix.fix_id.as_str())
    {
        next.regressed = Some(fix.fix_id.clone());
        if open.is_some() || *at >= told_until {
            let which = fix.fix_id.clone();
            occurrences.push(Occurrence { kind: EventKind::Regressed, at: *at, which, spike: None });
        }
    }
    match is_spike(&rules.spike, now, seen) {
        None => next.spiking = None,
        Some(_) if next.spiking.is_some() => {}
        spike => {
            next.spiking = Some(now);
            occurrences.push(Occurrence { kind: EventKind::Spiking, at: now, which: now.to_string(), spike });
        }
    }
    if open.is_some() && seen.last_seen.saturating_add(rules.quiet_after) <= now {
        let which = seen.last_seen.to_string();
        occurrences.push(Occurrence { kind: EventKind::Quiet, at: now, which, spike: None });
        return (None, occurrences);
    }
    (Some(next), occurrences)
}

/// Whether the failures of the last window are a spike: their number, and how many there are in a window on average.
///
/// They are if they are `least` at least, and if so many would come by chance `chance` at most (Poisson's upper tail),
/// did they come independently at the rate of the busiest window of the history; of a history without a failure, at one
/// in its time. Against the average each step of what comes in bursts, or stays high, would be a spike of its own. A
/// history of fewer than six windows tells nothing: what is new is told of as that.
pub(crate) fn is_spike(rule: &SpikeRule, now: i64, seen: &Activity) -> Option<(i64, f64)> {
    let window = rule.window.nanos().max(1);
    let from = seen.first_seen.max(now.saturating_sub(rule.history.nanos()));
    let windows = usize::try_from(now.saturating_sub(from) / window).unwrap_or_default();
    if windows < LEAST_WINDOWS {
        return None;
    }
    // Each window ends where the one after it begins; the first is the last one, which ends now.
    let mut counts = vec![0_i64; windows];
    for (at, count) in &seen.seen {
        let age = now.saturating_sub(*at);
        let place = usize::try_from(age.div_euclid(window)).unwrap_or(usize::MAX);
        if let Some(counted) = counts.get_mut(place) {
            *counted = counted.saturating_add(*count);
        }
    }
    let (last, before) = counts.split_first()?;
    if *last < i64::try_from(rule.least).unwrap_or(i64::MAX) {
        return None;
    }
    let average = before.iter().sum::<i64>() as f64 / before.len() as f64;
    let busiest = before.iter().copied().max().unwrap_or_default() as f64;
    let rate = busiest.max(1.0 / before.len() as f64);
    (ln_tail(*last as f64, rate) <= rule.chance.ln()).then_some((*last, average))
}

/// Natural logarithm of the chance of `count` or more events where `expected` come on average (Poisson). `count` is
/// greater than `expected` and ten at least; otherwise it is taken for certain.
fn ln_tail(count: f64, expected: f64) -> f64 {
    if count <= expected || count < 10.0 {
        return 0.0;
    }
    // The first term by Stirling's series, whose error is below 1e-6 from ten on; the others by their ratios.
    let ln_factorial =
        count * count.ln() - count + 0.5 * (2.0 * std::f64::consts::PI * count).ln() + 1.0 / (12.0 * count)
            - 1.0 / (360.0 * count.powi(3));
    let first = count * expected.ln() - expected - ln_factorial;
    let (mut sum, mut term, mut next) = (1.0, 1.0, count + 1.0);
    while term > 1e-12 * sum {
        term *= expected / next;
        next += 1.0;
        sum += term;
    }
    (first + sum.ln()).min(0.0)
}

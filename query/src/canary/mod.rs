//! Whether a version, or a flag's variant, is worse than another one: errors, durations, memory and new incidents.
//!
//! - **In:** a [`Request`] and a session; everything is read from its one head.
//! - **Out:** a [`Report`]: a verdict with the figures that it rests on.
//!
//! `reading` asks the lake, `verdict` judges by the tests of `crate::statistics`; the last two are functions of numbers
//! alone.

mod reading;
mod report;
mod request;
mod sample;
mod verdict;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use report::{
    Allowed, Difference, Durations, Errors, Failure, Latency, LeftOut, Memory, Rate, Report, Test, Usage, Verdict,
};
pub use request::{Objective, PARAMETERS, Request};

use reading::{Group, Way, describe, shared_names};
use request::Against;
use verdict::{Observed, judge};

use crate::error::Result;
use crate::session::Session;

/// Compares a candidate with its baseline, or with an objective.
///
/// # Errors
/// [`crate::QueryError::BundleUnknown`] for a bundle that the tenant does not have, [`crate::QueryError::Argument`] for
/// one whose failing path does not pass through the service, and when the lake cannot be read within the session's
/// limits.
pub async fn compare(session: &Session, request: &Request) -> Result<Report> {
    let way = match &request.bundle_id {
        Some(bundle_id) => Some(Way::of(&crate::bundle::by_id(session, bundle_id).await?, &request.service)?),
        None => None,
    };
    let candidate = Group::of(session, request, &request.candidate).await?;
    let of_candidate = candidate.counts().await?;
    let baseline = match &request.against {
        Against::Baseline(baseline) => {
            let group = Group::of(session, request, baseline).await?;
            let counts = group.counts().await?;
            Some((group, counts))
        }
        Against::Objective(_) => None,
    };
    let none = BTreeMap::new();
    let names = shared_names(baseline.as_ref().map_or(&none, |(_, counts)| counts), &of_candidate);
    let mut before = match &baseline {
        Some((group, counts)) => group.observe(counts, &names, way.as_ref()).await?,
        None => Observed::default(),
    };
    let mut now = candidate.observe(&of_candidate, &names, way.as_ref()).await?;
    describe(session, [&mut before, &mut now]).await?;
    let all: BTreeSet<&String> =
        of_candidate.keys().chain(baseline.iter().flat_map(|(_, counts)| counts.keys())).collect();
    Ok(judge(
        request,
        baseline.as_ref().map(|_| &before),
        &now,
        way.as_ref().map(|way| &way.fingerprints),
        all.len() as u64,
        session.snapshot().head().position,
    ))
}

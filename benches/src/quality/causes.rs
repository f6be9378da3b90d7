//! Whether what the story did is among the first three things that differ, for each trace that failed of it.

use std::collections::BTreeMap;

use tracerag_query::compare::{Report, Request};

use super::lakes::Lakes;
use super::table::{Aim, note, row, share};
use super::truth;
use crate::Outcome;

/// Kind, name and value of a difference.
type Cause = (&'static str, &'static str, &'static str);

/// Ranks that count.
const FIRST: u64 = 3;

/// What the story did to bring about its faults. Faults of which flags, builds and payloads are no cause are not asked
/// about. Of the overflow all three are wanted: neither flag nor release fails alone.
static INJECTED: [(&str, &[Cause]); 3] = [
    (
        "decimal_overflow",
        &[
            ("payload", "checkout POST /checkout request /amount", "string of 16 to 31 characters"),
            ("flag", "payments.decimal_mode", "strict"),
            ("build", "payments", "1.9.0"),
        ],
    ),
    ("missing_field", &[("payload", "checkout POST /checkout request /currency", "absent")]),
    ("panic", &[("payload", "checkout POST /checkout request /installments", "zero")]),
];

pub(super) async fn measure(lakes: &Lakes<'_>) -> Outcome<()> {
    let session = lakes.recording().await?;
    let mut by_fault: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (trace, fault) in truth::faults()? {
        let Some((fault, causes)) = INJECTED.iter().find(|(name, _)| *name == fault) else { continue };
        let report = session.compare(&Request::about(&trace)).await?;
        let (found, of) = by_fault.entry(*fault).or_default();
        *found += usize::from(causes.iter().all(|cause| is_among_first(&report, *cause)));
        *of += 1;
    }
    let (found, of) =
        by_fault.values().fold((0_usize, 0_usize), |(found, of), (more, of_more)| (found + more, of + of_more));
    row("injected cause among the first three that differ", share(found, of), None, Aim::AtLeast(0.9));
    let each: Vec<String> = by_fault.iter().map(|(fault, (found, of))| format!("{fault} {found} of {of}")).collect();
    note(&each.join(", "));
    Ok(())
}

fn is_among_first(report: &Report, (kind, name, value): Cause) -> bool {
    let is_it = |kind_of: &str, name_of: &str, value_of: &str| (kind_of, name_of, value_of) == (kind, name, value);
    report.differences.iter().any(|one| one.rank <= FIRST && is_it(one.kind.name(), &one.name, &one.value))
}
